# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an existing node group a new one takes over. Every field has its line, and an unknown one is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from . import freeze, model
from .errors import SysctlError
from .model import CUSTOM_AMI_TYPE, ClusterConfig, NodeGroup

COPIED, TRANSLATED, DROPPED = "copied", "translated", "dropped"

# DescribeNodegroup, field by field; nested ones with a dot. What is not here stops the clone.
FIELDS: Mapping[str, tuple[str, str]] = {
    "nodegroupName": (DROPPED, "the new group has its own"),
    "nodegroupArn": (DROPPED, "the new group has its own"),
    "clusterName": (COPIED, "groups stay in their cluster"),
    "version": (COPIED, "always sent; shown and asked for where EKS would take another"),
    "releaseVersion": (COPIED, "always sent; none with an AMI of one's own"),
    "createdAt": (DROPPED, "EKS sets it"),
    "modifiedAt": (DROPPED, "EKS sets it"),
    "status": (DROPPED, "EKS sets it"),
    "capacityType": (COPIED, ""),
    "scalingConfig": (COPIED, "of a frozen group what it was before; desiredSize on creation only"),
    "scalingConfig.minSize": (COPIED, ""),
    "scalingConfig.maxSize": (COPIED, ""),
    "scalingConfig.desiredSize": (COPIED, ""),
    "instanceTypes": (COPIED, "unless the template names one"),
    "subnets": (COPIED, ""),
    "remoteAccess": (TRANSLATED, "not allowed beside a template"),
    "remoteAccess.ec2SshKey": (TRANSLATED, "to the template's KeyName"),
    "remoteAccess.sourceSecurityGroups": (DROPPED, "listed as lost: EKS's own group for SSH goes with the old one"),
    "amiType": (COPIED, "none with an AMI of one's own"),
    "nodeRole": (COPIED, "unless a stack owns it"),
    "labels": (COPIED, "without alpha.eksctl.io/*"),
    "taints": (COPIED, "of a frozen group what it was before"),
    "resources": (DROPPED, "the new group has its own"),
    "resources.autoScalingGroups": (DROPPED, "listed as lost: tags, target groups and hooks put on the ASG by hand"),
    "resources.remoteAccessSecurityGroup": (DROPPED, "goes with the old group"),
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
    "launchTemplate": (TRANSLATED, "its content is copied into a template of our own"),
    "launchTemplate.name": (TRANSLATED, ""),
    "launchTemplate.version": (TRANSLATED, ""),
    "launchTemplate.id": (TRANSLATED, ""),
    "tags": (COPIED, "without aws:*, alpha.eksctl.io/* and our own"),
    "warmPoolConfig": (COPIED, ""),
    "warmPoolConfig.enabled": (COPIED, ""),
    "warmPoolConfig.minSize": (COPIED, ""),
    "warmPoolConfig.maxGroupPreparedCapacity": (COPIED, ""),
    "warmPoolConfig.poolState": (COPIED, ""),
    "warmPoolConfig.reuseOnScaleIn": (COPIED, ""),
}
_USER_KEYED_FIELDS = ("labels", "tags")  # mappings whose keys are the user's
_COPIED_FIELDS = ("subnets", "capacityType", "updateConfig", "nodeRepairConfig", "warmPoolConfig", "nodeRole")
# What EKS refuses in a template of a managed group.
UNSUPPORTED_IN_TEMPLATE = (
    "IamInstanceProfile",
    "InstanceMarketOptions",
    "HibernationOptions",
    "InstanceInitiatedShutdownBehavior",
    "DisableApiTermination",
)
# Read-only, or not accepted back by CreateLaunchTemplate.
_READ_ONLY = ("Operator", "UserData")
# The volume that diskSize sizes: Bottlerocket keeps its data apart from its system.
_DISK_DEVICES = {"al2023": "/dev/xvda", "al2": "/dev/xvda", "bottlerocket": "/dev/xvdb"}


@dataclass(frozen=True)
class NodeGroupSpec:
    """A group as it is to be: C(group) in CreateNodegroup's words, C(template) without user data."""

    group: Mapping[str, Any]
    template: Mapping[str, Any]
    family: str
    custom_ami: bool
    user_data: bytes = b""
    not_cloned: tuple[str, ...] = ()
    clone_table: Mapping[str, str] = field(default_factory=dict)


def list_unknown_fields(description: Mapping[str, Any]) -> list[str]:
    found = []
    for key, value in description.items():
        if key not in FIELDS:
            found.append(key)
        elif isinstance(value, Mapping) and key not in _USER_KEYED_FIELDS:
            found += [f"{key}.{inner}" for inner in value if f"{key}.{inner}" not in FIELDS]
    return found


def is_reserved_key(key: str) -> bool:
    """Tags and labels that belong to AWS, eksctl, or to our own bookkeeping."""
    return key.startswith(("aws:", "alpha.eksctl.io/", "eks:", "daytwo.aws/", "kubernetes.io/cluster/"))


def choose_ami_family(group: NodeGroup, requested: str, detected: Optional[str]) -> str:
    """Its AMI family, for which user data is to be written."""
    known = model.get_ami_family(group.ami_type)
    if known == "windows":
        raise SysctlError(
            f"node group {group.name} runs Windows ({group.ami_type}), which has no sysctls: leave it out"
        )
    if requested != "auto":
        return requested
    found = known or detected
    if not found:
        raise SysctlError(
            f"node group {group.name} has AMI type {group.ami_type or 'unknown'}, and its user data does not show "
            "which family it is: give ami_family"
        )
    return found


def detect_ami_family(user_data: bytes) -> Optional[str]:
    """The family that user data is written for; None where it does not show."""
    if b"node.eks.aws" in user_data:
        return "al2023"
    if b"/etc/eks/bootstrap.sh" in user_data:
        return "al2"
    if b"[settings" in user_data or user_data.startswith(b"settings."):
        return "bottlerocket"
    return None


def build_spec(group: NodeGroup, chosen_family: str, user_data: bytes, cluster: ClusterConfig) -> NodeGroupSpec:
    """The same group again, in a template of our own."""
    unknown = list_unknown_fields(group.description)
    if unknown:
        raise SysctlError(
            f"node group {group.name} has {', '.join(unknown)}, which this version does not know how to take over: "
            "nothing was changed. Update the collection, or give every field yourself without clone_from"
        )
    description = group.description
    result: dict[str, Any] = {key: description[key] for key in _COPIED_FIELDS if description.get(key)}
    result["labels"] = {key: value for key, value in group.labels.items() if not is_reserved_key(key)}
    result["tags"] = {key: value for key, value in group.tags.items() if not is_reserved_key(key)}
    result["scalingConfig"] = freeze.get_original_scaling(group)
    result["taints"] = freeze.get_original_taints(group)
    template, not_cloned = _build_template(group, chosen_family, cluster)
    if not template.get("InstanceType") and not template.get("InstanceRequirements"):
        result["instanceTypes"] = list(description.get("instanceTypes") or [])
    custom = group.custom_ami
    if not custom:
        result["amiType"] = group.ami_type
    not_cloned += [
        f"what was put on the Auto Scaling group {auto_scaling_group.get('name')} itself (tags, target groups, lifecycle hooks)"
        for auto_scaling_group in (description.get("resources") or {}).get("autoScalingGroups") or []
    ]
    table = {
        key: f"{FIELDS[key][0]}{': ' + FIELDS[key][1] if FIELDS[key][1] else ''}"
        for key in description
        if key in FIELDS
    }
    return NodeGroupSpec(result, template, chosen_family, custom, user_data, tuple(not_cloned), table)


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
            f"SSH access from {', '.join(sources)}: EKS's security group for it goes with {group.name}; give your own "
            "in security_groups"
        )
    if group.description.get("diskSize"):
        data["BlockDeviceMappings"] = build_block_devices(chosen_family, int(group.description["diskSize"]))
    # What EKS sets in its own template, and EC2 does not: two hops, so that containers reach IMDSv2.
    data["MetadataOptions"] = {
        "HttpTokens": "optional" if chosen_family == "al2" else "required",
        "HttpPutResponseHopLimit": 2,
    }
    return data, not_cloned


def _copy_template(group: NodeGroup, source: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    not_cloned = [f"{key} of its template, which EKS refuses" for key in UNSUPPORTED_IN_TEMPLATE if source.get(key)]
    if any("SubnetId" in interface for interface in source.get("NetworkInterfaces") or []):
        not_cloned.append("SubnetId of its template's network interfaces, which EKS refuses")
    data = clean_template_data(source)
    if group.ami_type != CUSTOM_AMI_TYPE and not group.custom_ami:
        data.pop("ImageId", None)
    return data, not_cloned


def clean_template_data(source: Mapping[str, Any]) -> dict[str, Any]:
    """A template's content without what EKS refuses or sets, without foreign tags, and without user data."""
    data = {key: value for key, value in source.items() if key not in (*UNSUPPORTED_IN_TEMPLATE, *_READ_ONLY) and value}
    if data.get("NetworkInterfaces"):
        data["NetworkInterfaces"] = [
            {key: value for key, value in interface.items() if key != "SubnetId"} for interface in data["NetworkInterfaces"]
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
    """Only the size: everything else stays as the AMI has it."""
    return [{"DeviceName": _DISK_DEVICES[chosen_family], "Ebs": {"VolumeSize": size}}]
