# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the steps of a chosen change. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._plan import Step
from . import freeze
from .desired import DEDICATED_KEY
from .differences import FIELD_SCOPES, is_same_template, sort_unordered
from .errors import GroupSizeError, SysctlError
from .model import TAG_CLUSTER, TAG_NAME, NodeGroup, NodeGroupState, SysctlNodegroupOptions

_NAME_LENGTH = 63


def build_template_name(cluster: str, group: str) -> str:
    """Build the template name. EC2 allows 128 characters."""
    name = f"daytwo-{cluster}-{group}"
    return name if len(name) <= 128 else name[:119] + "-" + _hash_values(name)


def build_blue_green_name(
    options: SysctlNodegroupOptions, state: NodeGroupState, group: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    """Build the name of a blue/green replacement: the logical name and a hash of the immutable fields.

    No other generation has that name.
    """
    fields = {key: sort_unordered(key, group.get(key)) for key, column in FIELD_SCOPES.items() if column == "group"}
    taken = {generation.name for generation in state.generations}
    stem = options.name[: _NAME_LENGTH - 9]
    name = f"{stem}-{_hash_values(options.cluster, fields)}"
    salt = 0
    while name in taken:
        salt += 1
        name = f"{stem}-{_hash_values(options.cluster, fields, data, salt)}"
    return name


def _hash_values(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]


def plan_template_steps(
    options: SysctlNodegroupOptions, state: NodeGroupState, name: str, data: Mapping[str, Any], family: str
) -> list[Step]:
    """Plan the template. No step where its latest version has the content, so an interrupted run continues."""
    found = state.templates.get(name)
    if found is None:
        tags = {TAG_NAME: options.name, TAG_CLUSTER: options.cluster}
        after = {"data": data, "tags": tags}
        return [Step("create_template", name, "the launch template of the group holds the user data", None, after)]
    if found.tags.get(TAG_NAME) != options.name or found.tags.get(TAG_CLUSTER) != options.cluster:
        raise SysctlError(
            f"launch template {name} cannot be used: it is not managed by this collection, because it has no tag "
            f"{TAG_NAME}={options.name}. Rename or delete it"
        )
    if is_same_template(found.data, data, family):
        return []
    return [Step("create_template_version", name, "the content differs", {"data": found.data}, {"data": data})]


def plan_rolling_update(options: SysctlNodegroupOptions, current: NodeGroup, new_template: bool) -> Step:
    """Plan the rolling update. Version and release are always sent.

    Without them EKS updates to the cluster's version and its latest AMI.
    docs/facts/sysctl_nodegroup.md#changing-a-node-group-in-place
    """
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if not current.custom_ami:
        before = {"version": current.version, "releaseVersion": current.release_version}
        after = {"version": options.version or current.version}
        release = options.release_version or (current.release_version if not options.version else "")
        if release:
            after["releaseVersion"] = release
    if current.template:
        before["launchTemplate"] = {"name": current.template.name, "version": current.template.version}
        version = "new" if new_template else current.template.version
        after["launchTemplate"] = {"name": current.template.name, "version": version}
    return Step("update_version", current.name, "EKS replaces the nodes in a rolling update", before, after)


def plan_config_update(options: SysctlNodegroupOptions, current: NodeGroup, group: Mapping[str, Any]) -> Optional[Step]:
    """Plan an UpdateNodegroupConfig. An autoscaler owns the number of nodes, so it is never sent."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    labels = {**options.overrides.get("labels", {}), **({DEDICATED_KEY: options.name} if options.dedicated else {})}
    added = {key: value for key, value in labels.items() if current.labels.get(key) != value}
    if added:
        before["labels"] = {"addOrUpdateLabels": {key: current.labels.get(key) for key in added}}
        after["labels"] = {"addOrUpdateLabels": added}
    if "taints" in options.overrides or options.dedicated:
        _plan_taint_changes(current, group, before, after)
    bounds = get_changed_bounds(options, current)
    if bounds:
        check_bounds(current, bounds)
        before["scalingConfig"] = {key: current.scaling.get(key) for key in bounds}
        after["scalingConfig"] = bounds
    for key in ("updateConfig", "nodeRepairConfig", "warmPoolConfig"):
        requested_settings, current_settings = options.overrides.get(key), current.description.get(key) or {}
        if requested_settings and any(
            current_settings.get(inner) != value for inner, value in requested_settings.items()
        ):
            before[key], after[key] = current_settings, requested_settings
    if not after:
        return None
    return Step("update_config", current.name, "these fields change in place", before, after)


def get_changed_bounds(options: SysctlNodegroupOptions, current: NodeGroup) -> dict[str, int]:
    """Get the requested minimum and maximum that differ. A frozen group gets its bounds when it is thawed."""
    if freeze.is_frozen(current):
        return {}
    requested = options.overrides.get("scalingConfig") or {}
    return {
        key: requested[key]
        for key in ("minSize", "maxSize")
        if key in requested and requested[key] != current.scaling.get(key)
    }


def check_bounds(group: NodeGroup, bounds: Mapping[str, int]) -> None:
    """Check that new bounds leave the number of nodes as it is, because it is never sent.

    docs/facts/sysctl_nodegroup.md#the-size-of-a-group
    """
    low = bounds.get("minSize", group.scaling.get("minSize", 0))
    high = bounds.get("maxSize", group.scaling.get("maxSize", 0))
    start = f"the bounds of node group {group.name} cannot be changed to a minimum of {low} and a maximum of {high}: "
    owner = "This module never sets the number of nodes of an existing group, because an autoscaler owns it. "
    if low > high:
        raise GroupSizeError(f"{start}the minimum is above the maximum. Set both min_size and max_size in scaling")
    if "minSize" in bounds and low > group.desired_size:
        raise GroupSizeError(
            f"{start}it has {group.desired_size} nodes, and EKS accepts no minimum above that. {owner}"
            f"Scale the group to {low} nodes first, or set a smaller min_size"
        )
    if "maxSize" in bounds and high < group.largest_size:
        raise GroupSizeError(
            f"{start}it has {group.largest_size} nodes, and a maximum below that ends nodes with their pods. {owner}"
            f"Drain nodes and scale the group to {high} first, or set a larger max_size"
        )


def _plan_taint_changes(
    current: NodeGroup, group: Mapping[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> None:
    def map_by_key(taints: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        return {(str(taint["key"]), str(taint["effect"])): dict(taint) for taint in taints}

    current_taints = map_by_key(freeze.get_original_taints(current))
    desired_taints = map_by_key(group.get("taints") or [])
    added = [
        taint
        for key, taint in desired_taints.items()
        if (current_taints.get(key) or {}).get("value", "") != taint.get("value", "") or key not in current_taints
    ]
    removed = [taint for key, taint in current_taints.items() if key not in desired_taints]
    if added or removed:
        before["taints"] = {"taints": list(current_taints.values())}
        after["taints"] = {
            **({"addOrUpdateTaints": added} if added else {}),
            **({"removeTaints": removed} if removed else {}),
        }


def plan_tag_update(options: SysctlNodegroupOptions, current: NodeGroup) -> Optional[Step]:
    changed_tags = {
        key: value for key, value in options.overrides.get("tags", {}).items() if current.tags.get(key) != value
    }
    if not changed_tags:
        return None
    return Step("tag", current.name, "tags differ", {key: current.tags.get(key) for key in changed_tags}, changed_tags)
