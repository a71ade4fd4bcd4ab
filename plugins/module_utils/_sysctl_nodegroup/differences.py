# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a node group and its launch template with what is desired. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import clone, sysctls, userdata
from .clone import NodeGroupSpec
from .model import NodeGroup, SysctlNodegroupOptions

# Where each field changes. "group": only by a blue/green replacement. "template": by a new template version and a
# rolling update. "config": by UpdateNodegroupConfig.
# docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place
FIELD_SCOPES: Mapping[str, str] = {
    "subnets": "group",
    "nodeRole": "group",
    "amiType": "group",
    "capacityType": "group",
    "instanceTypes": "group",
    "diskSize": "group",
    "launchTemplate": "group",
    "customAmi": "group",
    "InstanceType": "template",
    "ImageId": "template",
    "BlockDeviceMappings": "template",
    "KeyName": "template",
    "SecurityGroupIds": "template",
    "NetworkInterfaces": "template",
    "MetadataOptions": "template",
    "TagSpecifications": "template",
    "UserData": "template",
    "labels": "config",
    "taints": "config",
    "scalingConfig": "config",
    "updateConfig": "config",
    "nodeRepairConfig": "config",
    "warmPoolConfig": "config",
    "tags": "config",
}
_UNORDERED = ("subnets",)


def is_same_template(before: Mapping[str, Any], after: Mapping[str, Any], family: str) -> bool:
    return not list_template_differences(before, after, family)


def list_template_differences(before: Mapping[str, Any], after: Mapping[str, Any], family: str) -> list[str]:
    """List the fields that differ in meaning. Empty fields count as absent, and MIME boundaries do not count."""
    left, right = clone.normalize_template(before), clone.normalize_template(after)
    found = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    texts = (before.get("UserData"), after.get("UserData"))
    meanings = [userdata.normalize_user_data(family, bytes(text)) if text else None for text in texts]
    return [*found, "UserData"] if meanings[0] != meanings[1] else found


def list_unmanaged_differences(
    options: SysctlNodegroupOptions, current: NodeGroup, spec: NodeGroupSpec, data: Mapping[str, Any]
) -> list[str]:
    """List the differences of a template that is not managed here. Only requested settings count.

    Such a template can allow the sysctls already.
    """
    before: Mapping[str, Any] = current.template.data if current.template else {}
    found = []
    raw = current.user_data
    allowed = userdata.list_allowed_sysctls(spec.family, raw)
    is_missing = any(sysctls.find_allowing_pattern(allowed, sysctl) is None for sysctl in options.sysctls)
    has_new_content = options.user_data is not None or options.kubelet_config
    if is_missing or (
        has_new_content and list_template_differences({"UserData": raw}, {"UserData": data["UserData"]}, spec.family)
    ):
        found.append("UserData")
    requested = {
        "ImageId": options.ami_id,
        "BlockDeviceMappings": options.disk_size,
        "SecurityGroupIds": options.security_groups,
        "NetworkInterfaces": options.security_groups,
    }
    left, right = clone.normalize_template(before), clone.normalize_template(data)
    found += [key for key, option in requested.items() if option and left.get(key) != right.get(key)]
    return found


def list_immutable_differences(current: NodeGroup, group: Mapping[str, Any], spec: NodeGroupSpec) -> list[str]:
    found = []
    for key in ("subnets", "nodeRole", "capacityType", "instanceTypes", "amiType"):
        before, after = current.description.get(key), group.get(key)
        if key == "amiType" and (spec.custom_ami or current.custom_ami):
            continue
        if key == "instanceTypes" and current.template and current.template.data.get("InstanceType") and not after:
            continue
        if after is not None and sort_unordered(key, before) != sort_unordered(key, after):
            found.append(f"{key} ({before} to {after})")
    if spec.custom_ami != current.custom_ami:
        found.append(f"customAmi (currently {'with' if current.custom_ami else 'without'} a custom AMI)")
    return found


def sort_unordered(key: str, value: Any) -> Any:
    return sorted(value or []) if key in _UNORDERED else value
