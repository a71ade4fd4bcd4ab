# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clone a node group: what a new group takes over. Every field has an entry, and an unknown field is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import freeze, model
from .errors import SysctlError
from .model import CUSTOM_AMI_TYPE, ClusterConfig, GroupInstance, NodeGroup

COPIED, TRANSLATED, DROPPED = "copied", "translated", "dropped"

# The fields of DescribeNodegroup, nested ones with a dot. A field that is not listed stops the clone.
FIELDS: Mapping[str, tuple[str, str]] = {
    "nodegroupName": (DROPPED, "the new group gets a new one"),
    "nodegroupArn": (DROPPED, "the new group gets a new one"),
    "clusterName": (COPIED, "the new group is in the same cluster"),
    "version": (COPIED, "always sent; a change is shown, and needs allow_version_change"),
    "releaseVersion": (COPIED, "always sent; not sent with a custom AMI"),
    "createdAt": (DROPPED, "EKS sets it"),
    "modifiedAt": (DROPPED, "EKS sets it"),
    "status": (DROPPED, "EKS sets it"),
    "capacityType": (COPIED, ""),
    "scalingConfig": (COPIED, "of a frozen group the original scaling; desiredSize, the real one, only on creation"),
    "scalingConfig.minSize": (COPIED, ""),
    "scalingConfig.maxSize": (COPIED, ""),
    "scalingConfig.desiredSize": (COPIED, ""),
    "instanceTypes": (COPIED, "unless the template sets one"),
    "subnets": (COPIED, ""),
    "remoteAccess": (TRANSLATED, "EKS does not accept it with a template"),
    "remoteAccess.ec2SshKey": (TRANSLATED, "to the template's KeyName"),
    "remoteAccess.sourceSecurityGroups": (
        DROPPED,
        "listed as not cloned: EKS deletes its security group for SSH with the old group",
    ),
    "amiType": (COPIED, "not sent with a custom AMI"),
    "nodeRole": (COPIED, "unless a stack owns the role"),
    "labels": (COPIED, "without alpha.eksctl.io/*"),
    "taints": (COPIED, "of a frozen group the original taints"),
    "resources": (DROPPED, "the new group gets a new one"),
    "resources.autoScalingGroups": (
        DROPPED,
        "listed as not cloned: tags, target groups and hooks of the Auto Scaling group itself",
    ),
    "resources.remoteAccessSecurityGroup": (DROPPED, "EKS deletes it with the old group"),
    "diskSize": (TRANSLATED, "to the template's block device"),
    "health": (DROPPED, "EKS sets it"),
    "health.issues": (DROPPED, "EKS sets it"),
    "updateConfig": (COPIED, ""),
    "updateConfig.maxUnavailable": (COPIED, ""),
    "updateConfig.maxUnavailablePercentage": (COPIED, ""),
    "updateConfig.updateStrategy": (COPIED, ""),
    "nodeRepairConfig": (COPIED, ""),
    "nodeRepairConfig.enabled": (COPIED, ""),
    "nodeRepairConfig.maxUnhealthyNodeThresholdCount": (COPIED, ""),
    "nodeRepairConfig.maxUnhealthyNodeThresholdPercentage": (COPIED, ""),
    "nodeRepairConfig.maxParallelNodesRepairedCount": (COPIED, ""),
    "nodeRepairConfig.maxParallelNodesRepairedPercentage": (COPIED, ""),
    "nodeRepairConfig.nodeRepairConfigOverrides": (COPIED, ""),
    "launchTemplate": (TRANSLATED, "the content is copied into a managed launch template"),
    "launchTemplate.name": (TRANSLATED, ""),
    "launchTemplate.version": (TRANSLATED, ""),
    "launchTemplate.id": (TRANSLATED, ""),
    "tags": (COPIED, "without aws:*, alpha.eksctl.io/* and daytwo.aws/*"),
    "warmPoolConfig": (COPIED, ""),
    "warmPoolConfig.enabled": (COPIED, ""),
    "warmPoolConfig.minSize": (COPIED, ""),
    "warmPoolConfig.maxGroupPreparedCapacity": (COPIED, ""),
    "warmPoolConfig.poolState": (COPIED, ""),
    "warmPoolConfig.reuseOnScaleIn": (COPIED, ""),
}
_USER_KEYED_FIELDS = ("labels", "tags")  # mappings with the user's own keys
_COPIED_FIELDS = ("subnets", "capacityType", "updateConfig", "nodeRepairConfig", "warmPoolConfig", "nodeRole")
CAPACITY_BLOCK, CAPACITY_BLOCK_MARKET = "CAPACITY_BLOCK", "capacity-block"
# Fields that are read-only, or that CreateLaunchTemplate does not accept back.
_READ_ONLY = ("Operator", "UserData")
# The metadata options of a running instance that a launch template can set.
_METADATA_KEYS = (
    "HttpTokens",
    "HttpPutResponseHopLimit",
    "HttpEndpoint",
    "HttpProtocolIpv6",
    "InstanceMetadataTags",
)
DEFAULT_HOP_LIMIT = 2
# The volume whose size diskSize sets. Bottlerocket keeps data and system on two volumes.
_DISK_DEVICES = {"al2023": "/dev/xvda", "al2": "/dev/xvda", "bottlerocket": "/dev/xvdb"}


@dataclass(frozen=True)
class NodeGroupSpec:
    """The desired node group: C(group) as parameters of CreateNodegroup, C(template) without user data."""

    group: Mapping[str, Any]
    template: Mapping[str, Any]
    family: str
    custom_ami: bool
    user_data: bytes = b""
    not_cloned: tuple[str, ...] = ()
    clone_table: Mapping[str, str] = field(default_factory=dict)


def _get_market_reason(template: Mapping[str, Any], capacity_type: str) -> str:
    market = str((template.get("InstanceMarketOptions") or {}).get("MarketType") or "")
    if not market or (market == CAPACITY_BLOCK_MARKET and capacity_type == CAPACITY_BLOCK):
        return ""
    return f"EKS refuses market type {market} for capacity type {capacity_type or 'ON_DEMAND'}"


def _get_lifecycle_reason(_template: Mapping[str, Any], _capacity_type: str) -> str:
    return "EKS refuses it, because EKS controls the life of the instances"


# Whether EKS takes a field of a launch template depends on the group. Each condition returns why it refuses the field,
# or nothing. docs/facts/sysctl_nodegroup.md#managed-node-group-api
TEMPLATE_CONDITIONS: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "IamInstanceProfile": lambda _template, _capacity_type: "EKS refuses it, because the group's node role sets it",
    "HibernationOptions": _get_lifecycle_reason,
    "InstanceInitiatedShutdownBehavior": _get_lifecycle_reason,
    "DisableApiTermination": _get_lifecycle_reason,
    "InstanceMarketOptions": _get_market_reason,
    "CapacityReservationSpecification": _get_market_reason,  # the reservation of a capacity block goes with its market
}


def list_capacity_block_gaps(template: Mapping[str, Any]) -> list[str]:
    """List what the template of a capacity block group must hold and does not.

    docs/facts/sysctl_nodegroup.md#managed-node-group-api
    """
    market = template.get("InstanceMarketOptions") or {}
    reservation = (template.get("CapacityReservationSpecification") or {}).get("CapacityReservationTarget") or {}
    gaps = {
        f"InstanceMarketOptions with MarketType {CAPACITY_BLOCK_MARKET}": market.get("MarketType")
        == CAPACITY_BLOCK_MARKET,
        "CapacityReservationSpecification with a CapacityReservationTarget": bool(reservation),
        "InstanceType": bool(template.get("InstanceType")),
    }
    return [name for name, is_there in gaps.items() if not is_there]


def get_warm_pool_reason(pool: Mapping[str, Any], family: str, custom_ami: bool) -> str:
    """Get the reason why EKS does not support this warm pool. Empty: it does.

    docs/facts/sysctl_nodegroup.md#managed-node-group-api
    """
    if custom_ami:
        return "EKS has no warm pools with a custom AMI"
    if family == "bottlerocket" and pool.get("poolState") == "HIBERNATED":
        return "EKS has no hibernated warm pools with Bottlerocket"
    if family == "bottlerocket" and pool.get("reuseOnScaleIn"):
        return "EKS does not reuse instances in warm pools with Bottlerocket"
    return ""


def list_unknown_fields(description: Mapping[str, Any]) -> list[str]:
    found = []
    for key, value in description.items():
        if key not in FIELDS:
            found.append(key)
        elif isinstance(value, Mapping) and key not in _USER_KEYED_FIELDS:
            found += [f"{key}.{inner}" for inner in value if f"{key}.{inner}" not in FIELDS]
    return found


def is_reserved_key(key: str) -> bool:
    """Whether a tag or label belongs to AWS, to eksctl or to this collection."""
    return key.startswith(("aws:", "alpha.eksctl.io/", "eks:", "daytwo.aws/", "kubernetes.io/cluster/"))


def choose_ami_family(group: NodeGroup, requested: str, detected: Optional[str]) -> str:
    """Choose the AMI family for which the user data is written."""
    known = model.get_ami_family(group.ami_type)
    if known == "windows":
        raise SysctlError(
            f"node group {group.name} cannot be used: it runs Windows ({group.ami_type}), which has no sysctls. "
            "Name a Linux node group"
        )
    if requested != "auto":
        return requested
    found = known or detected
    if not found:
        raise SysctlError(
            f"the AMI family of node group {group.name} is unknown: its AMI type is {group.ami_type or 'unknown'}, and "
            "its user data does not show the family. Set ami_family"
        )
    return found


def detect_ami_family(user_data: bytes) -> Optional[str]:
    """Detect the AMI family from user data; None where the user data does not show it."""
    if b"node.eks.aws" in user_data:
        return "al2023"
    if b"/etc/eks/bootstrap.sh" in user_data:
        return "al2"
    if b"[settings" in user_data or user_data.startswith(b"settings."):
        return "bottlerocket"
    return None


def check_template_exists(group: NodeGroup) -> None:
    if group.missing_template:
        raise SysctlError(
            f"node group {group.name} cannot be a source: its launch template {group.missing_template} does not "
            "exist any more, so its user data, disk and security groups cannot be read. Nothing was changed. Set a "
            "name without a node group, and every option without clone_from"
        )


def build_spec(group: NodeGroup, chosen_family: str, user_data: bytes, cluster: ClusterConfig) -> NodeGroupSpec:
    """Build the specification of a clone, with a managed launch template."""
    unknown = list_unknown_fields(group.description)
    if unknown:
        raise SysctlError(
            f"node group {group.name} cannot be cloned: this version does not know its fields {', '.join(unknown)}. "
            "Nothing was changed. Upgrade the collection, or set every option without clone_from"
        )
    description = group.description
    result: dict[str, Any] = {key: description[key] for key in _COPIED_FIELDS if description.get(key)}
    result["labels"] = {key: value for key, value in group.labels.items() if not is_reserved_key(key)}
    result["tags"] = {key: value for key, value in group.tags.items() if not is_reserved_key(key)}
    result["scalingConfig"] = _copy_scaling(group)
    result["taints"] = freeze.get_original_taints(group)
    template, not_cloned = _build_template(group, chosen_family, cluster)
    if not template.get("InstanceType") and not template.get("InstanceRequirements"):
        result["instanceTypes"] = list(description.get("instanceTypes") or [])
    custom = group.custom_ami
    if not custom:
        result["amiType"] = group.ami_type
    not_cloned += [
        f"changes of the Auto Scaling group {auto_scaling_group.get('name')} itself (tags, target groups, lifecycle "
        "hooks)"
        for auto_scaling_group in (description.get("resources") or {}).get("autoScalingGroups") or []
    ]
    if not group.template:
        template["MetadataOptions"], unknown_options = _choose_metadata_options(group, chosen_family)
        not_cloned += unknown_options
    table = {
        key: f"{FIELDS[key][0]}{': ' + FIELDS[key][1] if FIELDS[key][1] else ''}"
        for key in description
        if key in FIELDS
    }
    return NodeGroupSpec(result, template, chosen_family, custom, user_data, tuple(not_cloned), table)


def _copy_scaling(group: NodeGroup) -> dict[str, int]:
    """Copy the scaling, with the size that the group really has, within its bounds."""
    scaling = freeze.get_original_scaling(group)
    desired, low, high = (scaling.get(key) for key in ("desiredSize", "minSize", "maxSize"))
    if desired is not None and low is not None and high is not None:
        scaling["desiredSize"] = min(max(desired, low), high)
    return scaling


def _build_template(group: NodeGroup, chosen_family: str, cluster: ClusterConfig) -> tuple[dict[str, Any], list[str]]:
    if group.template:
        return _copy_template(group, group.template.data)
    not_cloned = []
    data: dict[str, Any] = {}
    access = group.description.get("remoteAccess") or {}
    if access.get("ec2SshKey"):
        data["KeyName"] = access["ec2SshKey"]
        if cluster.security_group:
            data["SecurityGroupIds"] = [cluster.security_group]
        sources = access.get("sourceSecurityGroups") or ["anywhere"]
        not_cloned.append(
            f"SSH access from {', '.join(sources)}: EKS deletes its security group for it with {group.name}. Set "
            "security_groups"
        )
    if group.description.get("diskSize"):
        data["BlockDeviceMappings"] = build_block_devices(chosen_family, int(group.description["diskSize"]))
    return data, not_cloned


def _choose_metadata_options(group: NodeGroup, chosen_family: str) -> tuple[dict[str, Any], list[str]]:
    """Choose what EKS sets in its own template and EC2 does not: that of a running instance, which shows it.

    docs/facts/sysctl_nodegroup.md#managed-node-group-api
    """
    shown = next((instance.metadata_options for instance in _list_instances(group) if instance.metadata_options), {})
    found = {key: shown[key] for key in _METADATA_KEYS if shown.get(key) is not None}
    if "HttpPutResponseHopLimit" in found:
        return found, []
    default = {
        "HttpTokens": "optional" if chosen_family == "al2" else "required",
        "HttpPutResponseHopLimit": DEFAULT_HOP_LIMIT,
    }
    return default, [
        f"the metadata options of {group.name}, which no running instance shows: the hop limit becomes "
        f"{DEFAULT_HOP_LIMIT}, with which containers reach the node's credentials"
    ]


def _list_instances(group: NodeGroup) -> Sequence[GroupInstance]:
    return group.running.instances if group.running else ()


def _copy_template(group: NodeGroup, source: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    not_cloned = []
    if any("SubnetId" in interface for interface in source.get("NetworkInterfaces") or []):
        not_cloned.append("SubnetId of the launch template's network interfaces, which EKS refuses")
    data = normalize_template(source)
    if group.ami_type != CUSTOM_AMI_TYPE and not group.custom_ami:
        data.pop("ImageId", None)
    return data, not_cloned


def drop_refused_fields(template: Mapping[str, Any], capacity_type: str) -> tuple[dict[str, Any], list[str]]:
    """Drop the fields that EKS refuses in a group of this capacity type, and list each with its reason."""
    reasons = {
        key: condition(template, capacity_type) for key, condition in TEMPLATE_CONDITIONS.items() if template.get(key)
    }
    kept = {key: value for key, value in template.items() if not reasons.get(key)}
    return kept, [f"{key} of the launch template: {reason}" for key, reason in reasons.items() if reason]


def normalize_template(source: Mapping[str, Any]) -> dict[str, Any]:
    """Remove from a template's content what is read-only or empty, reserved tags, subnets, and the user data."""
    data = {key: value for key, value in source.items() if key not in _READ_ONLY and value}
    if data.get("NetworkInterfaces"):
        data["NetworkInterfaces"] = [
            {key: value for key, value in interface.items() if key != "SubnetId"}
            for interface in data["NetworkInterfaces"]
        ]
    kept = []
    for specification in data.get("TagSpecifications") or []:
        tags = [tag for tag in specification.get("Tags") or [] if not is_reserved_key(str(tag.get("Key")))]
        if tags:
            kept.append({**specification, "Tags": tags})
    data.pop("TagSpecifications", None)
    if kept:
        data["TagSpecifications"] = kept
    options = data.get("MetadataOptions")
    if options:
        data["MetadataOptions"] = {key: value for key, value in options.items() if key != "State"}
    return data


def build_block_devices(chosen_family: str, size: int) -> list[dict[str, Any]]:
    """Build the block device mapping for a size. Other settings stay as in the AMI."""
    return [{"DeviceName": _DISK_DEVICES[chosen_family], "Ebs": {"VolumeSize": size}}]
