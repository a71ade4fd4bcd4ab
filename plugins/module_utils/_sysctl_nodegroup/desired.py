# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the desired node group: the source's settings, changed by every option that is set. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from . import clone, sysctls, userdata
from .clone import CAPACITY_BLOCK, NodeGroupSpec
from .errors import SysctlError
from .model import ClusterConfig, NodeGroup, SysctlNodegroupOptions, get_ami_family

AL2_LAST_MINOR = 32  # the last minor with AL2 AMIs: docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
DEDICATED_KEY = "daytwo.aws/sysctls"


def build_desired_spec(
    options: SysctlNodegroupOptions, cluster: ClusterConfig, source: Optional[NodeGroup]
) -> NodeGroupSpec:
    """Build the desired specification: the source's, changed by every option that is set."""
    if source is None:
        family = options.ami_family if options.ami_family != "auto" else "al2023"
        spec = NodeGroupSpec(
            {"scalingConfig": {"minSize": 1, "maxSize": 2, "desiredSize": 1}}, {}, family, bool(options.ami_id)
        )
        if not options.ami_id:
            spec = replace(spec, group={**spec.group, "amiType": _get_ami_type(family, "AL2023_x86_64_STANDARD")})
        hops = {"HttpTokens": "required", "HttpPutResponseHopLimit": clone.DEFAULT_HOP_LIMIT}
        spec = replace(spec, template={"MetadataOptions": hops})
    else:
        clone.check_template_exists(source)
        raw = source.user_data
        family = clone.choose_ami_family(
            source, "auto" if get_ami_family(source.ami_type) else options.ami_family, _detect_family(raw, options)
        )
        spec = clone.build_spec(source, family, raw, cluster)
        if options.ami_family not in ("auto", family):
            spec = _switch_family(options, spec, source, raw)
    group, template = dict(spec.group), dict(spec.template)
    for key, value in options.overrides.items():
        if key == "scalingConfig":
            group[key] = merge_scaling(group.get(key) or {}, value)
        elif key in ("labels", "tags"):
            group[key] = {**(group.get(key) or {}), **value}
        elif key == "instanceTypes" and template.get("InstanceType"):
            if len(value) == 1:
                template["InstanceType"] = value[0]
            else:
                template.pop("InstanceType")
                group[key] = list(value)
        else:
            group[key] = value
    if options.ami_id:
        template["ImageId"] = options.ami_id
        group.pop("amiType", None)
    if options.disk_size:
        template["BlockDeviceMappings"] = _resize_disk(template, spec.family, options.disk_size)
    if options.security_groups is not None:
        # Security groups in the template replace the cluster's security group, so it is added again.
        # docs/facts/sysctl_nodegroup.md#managed-node-group-api
        own = [cluster.security_group] if cluster.security_group else []
        template = set_security_groups(template, sysctls.merge_lists(options.security_groups, own))
    custom = bool(options.ami_id) or spec.custom_ami
    template, refused = clone.drop_refused_fields(template, str(group.get("capacityType") or ""))
    not_cloned = [*spec.not_cloned, *refused]
    pool_reason = clone.get_warm_pool_reason(group.get("warmPoolConfig") or {}, spec.family, custom)
    if group.get("warmPoolConfig") and pool_reason:
        group.pop("warmPoolConfig")
        not_cloned.append(f"the warm pool: {pool_reason}")
    return replace(spec, group=group, template=template, custom_ami=custom, not_cloned=tuple(not_cloned))


def merge_scaling(source: Mapping[str, int], requested: Mapping[str, int]) -> dict[str, int]:
    """Merge the sizes. A desired size that is not requested stays within the requested bounds."""
    merged = {**source, **requested}
    low, size, high = (merged.get(key) for key in ("minSize", "desiredSize", "maxSize"))
    if "desiredSize" not in requested and size is not None:
        merged["desiredSize"] = max(min(size, size if high is None else high), 0 if low is None else low)
    return merged


def set_security_groups(template: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    """Set the security groups in the network interfaces where the template has some, else in the template itself.

    EC2 takes one or the other. docs/facts/sysctl_nodegroup.md#managed-node-group-api
    """
    result = {key: value for key, value in template.items() if key not in ("SecurityGroupIds", "SecurityGroups")}
    interfaces = template.get("NetworkInterfaces")
    if not interfaces:
        return {**result, "SecurityGroupIds": list(groups)}
    return {**result, "NetworkInterfaces": [{**interface, "Groups": list(groups)} for interface in interfaces]}


def check_capacity_block(name: str, group: Mapping[str, Any], template: Mapping[str, Any]) -> None:
    gaps = clone.list_capacity_block_gaps(template)
    if group.get("capacityType") == CAPACITY_BLOCK and gaps:
        raise SysctlError(
            f"node group {name} cannot be created with capacity type {CAPACITY_BLOCK}: EKS requires in its launch "
            f"template {' and '.join(gaps)}. Nothing was changed. Set clone_from to a group whose template holds them"
        )


def check_scaling(name: str, scaling: Mapping[str, int]) -> None:
    """Check the sizes of a new group, of which some are the source's and some are options."""
    low, size, high = (scaling.get(key) for key in ("minSize", "desiredSize", "maxSize"))
    if low is None or size is None or high is None or low <= size <= high:
        return
    raise SysctlError(
        f"node group {name} cannot be created with these sizes: minimum {low}, desired {size}, maximum {high}. EKS "
        "requires that the desired size is between the others. Nothing was changed. Set all three in scaling"
    )


def _detect_family(raw: bytes, options: SysctlNodegroupOptions) -> Optional[str]:
    return clone.detect_ami_family(raw) or clone.detect_ami_family(options.user_data or b"")


def _get_ami_type(family: str, similar_type: str) -> str:
    arm = "ARM_64" in similar_type
    return {
        "al2023": f"AL2023_{'ARM_64' if arm else 'x86_64'}_STANDARD",
        "bottlerocket": f"BOTTLEROCKET_{'ARM_64' if arm else 'x86_64'}",
        "al2": "AL2_ARM_64" if arm else "AL2_x86_64",
    }[family]


def _switch_family(
    options: SysctlNodegroupOptions, spec: NodeGroupSpec, source: NodeGroup, raw: bytes
) -> NodeGroupSpec:
    if raw.strip() and options.user_data is None:
        raise SysctlError(
            f"node group {source.name} cannot be switched to {options.ami_family}: its user data is written for "
            f"{spec.family}. Set user_data for {options.ami_family}"
        )
    if any(variant in source.ami_type for variant in ("GPU", "NVIDIA", "NEURON", "FIPS")):
        raise SysctlError(
            f"node group {source.name} cannot be switched to {options.ami_family}: the AMI type that corresponds to "
            f"{source.ami_type} is unknown. Set ami_id"
        )
    group = dict(spec.group)
    if not spec.custom_ami:
        group["amiType"] = _get_ami_type(options.ami_family, source.ami_type)
    return replace(spec, group=group, family=options.ami_family)


def _resize_disk(template: Mapping[str, Any], family: str, size: int) -> list[dict[str, Any]]:
    desired_device = clone.build_block_devices(family, size)[0]
    devices = [dict(device) for device in template.get("BlockDeviceMappings") or []]
    for device in devices:
        if device.get("DeviceName") == desired_device["DeviceName"]:
            device["Ebs"] = {**(device.get("Ebs") or {}), **desired_device["Ebs"]}
            return devices
    return [*devices, desired_device]


def add_dedication(options: SysctlNodegroupOptions, group: Mapping[str, Any]) -> dict[str, Any]:
    if not options.dedicated:
        return dict(group)
    taint = {"key": DEDICATED_KEY, "value": options.name, "effect": "NO_SCHEDULE"}
    taints = [taint for taint in group.get("taints") or [] if taint.get("key") != DEDICATED_KEY]
    labels = {**(group.get("labels") or {}), DEDICATED_KEY: options.name}
    return {**group, "labels": labels, "taints": [*taints, taint]}


def build_template_data(
    options: SysctlNodegroupOptions, cluster: ClusterConfig, spec: NodeGroupSpec, group: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes]:
    base = spec.user_data if options.user_data is None else options.user_data
    bootstrap = None
    if spec.custom_ami:
        _check_cluster_is_complete(cluster)
        bootstrap = userdata.BootstrapSettings(
            cluster.name,
            cluster.endpoint,
            cluster.certificate_authority,
            cluster.service_cidr,
            cluster.dns_ip,
            group.get("labels") or {},
            group.get("taints") or (),
        )
    text = userdata.render(
        userdata.UserDataRequest(spec.family, options.sysctls, base, bootstrap, options.kubelet_config),
    )
    return {**spec.template, "UserData": text}, text


def _check_cluster_is_complete(cluster: ClusterConfig) -> None:
    """Check what the user data of a custom AMI names. Without it, nodes boot and do not join."""
    found = {
        "endpoint": cluster.endpoint,
        "certificate authority": cluster.certificate_authority,
        "service CIDR range": cluster.service_cidr,
    }
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise SysctlError(
            f"user data for a custom AMI cannot be written: DescribeCluster of {cluster.name} returned no "
            f"{' and no '.join(missing)}. Nothing was changed. Run again when the cluster is ACTIVE"
        )


def check_owner(options: SysctlNodegroupOptions, source: Optional[NodeGroup]) -> None:
    owner = source.owner if source else None
    if source and owner and "nodeRole" not in options.overrides and not options.accept_shared_role:
        raise SysctlError(
            f"the nodes of a clone of node group {source.name} can lose their role: the group belongs to {owner}, "
            f"which usually owns its node role {source.description.get('nodeRole')} too. "
            f"Nodes that share the role break when {owner.tool} deletes it. "
            f"Set node_role, or accept_shared_role=true if {owner.tool} does not own the role"
        )


def choose_version(
    options: SysctlNodegroupOptions, cluster: ClusterConfig, source: Optional[NodeGroup], spec: NodeGroupSpec
) -> dict[str, str]:
    """Choose the version and AMI release to send: the source's own.

    CreateNodegroup accepts only the cluster's version.
    """
    if spec.custom_ami:
        return {}
    own = source.version if source else cluster.version
    planned = options.version or own
    release = options.release_version or (source.release_version if source and planned == own else "")
    changed = [f"version {own} to {options.version}"] if options.version and options.version != own else []
    if source and options.release_version and options.release_version != source.release_version:
        changed.append(f"AMI release {source.release_version} to {options.release_version}")
    if planned != cluster.version:
        changed = [f"version {planned} to {cluster.version}, the only version that EKS accepts for a new group"]
        planned, release = cluster.version, options.release_version or ""
    if changed and not options.allow_version_change:
        group_name = source.name if source else options.name
        raise SysctlError(
            f"nothing was changed, because the new group for {group_name} would change {' and '.join(changed)}. "
            "Set allow_version_change=true if its pods may run on that version",
            {"before": {"version": own}, "after": {"version": planned, "releaseVersion": release or "latest"}},
        )
    if spec.family == "al2" and sysctls.parse_minor(planned) > AL2_LAST_MINOR:
        raise SysctlError(
            f"node group {options.name} cannot be created: there are no AL2 AMIs for Kubernetes {planned}, because "
            f"they end with 1.{AL2_LAST_MINOR}. Set ami_family=al2023 with user_data of that family, or a custom ami_id"
        )
    return {"version": planned, **({"releaseVersion": release} if release else {})}
