# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group that takes no new nodes and no new pods for a while, and what it was before, kept in its own tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._plan import Step
from .model import NodeGroup

# Cordoning stops neither Cluster Autoscaler nor the ASG from adding nodes (facts: sysctl_nodegroup).
TAG_SCALING = "daytwo.aws/frozen-scaling"
FROZEN_TAINT = {"key": "daytwo.aws/frozen", "value": "true", "effect": "NO_SCHEDULE"}


def is_frozen(group: NodeGroup) -> bool:
    return TAG_SCALING in group.tags


def get_original_scaling(group: NodeGroup) -> dict[str, int]:
    """Its scaling when it is not frozen."""
    kept = group.tags.get(TAG_SCALING)
    if kept:
        least, most, desired = (int(one) for one in kept.split("/"))
        return {"minSize": least, "maxSize": most, "desiredSize": desired}
    return {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}


def get_original_taints(group: NodeGroup) -> list[dict[str, Any]]:
    """Its taints when it is not frozen."""
    found: Sequence[Mapping[str, Any]] = group.description.get("taints") or []
    return [dict(one) for one in found if one.get("key") != FROZEN_TAINT["key"]]


def plan_freeze(group: NodeGroup) -> list[Step]:
    """First the tag, then the change: whatever stops in between, the originals are known."""
    now = {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}
    steps = []
    if not is_frozen(group):
        kept = f"{now.get('minSize', 0)}/{now.get('maxSize', 0)}/{now.get('desiredSize', 0)}"
        steps.append(Step("tag", group.name, "to know what it was before", {TAG_SCALING: None}, {TAG_SCALING: kept}))
    size = now.get("desiredSize", 0)
    most = max(size, 1)  # EKS takes no maximum of 0
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if now.get("maxSize") != most:
        # minSize may not be above the maximum; it stays otherwise, so that nothing is added to reach it.
        wanted = {"minSize": min(now.get("minSize", 0), size), "maxSize": most, "desiredSize": size}
        before["scalingConfig"], after["scalingConfig"] = now, wanted
    if not any(one.get("key") == FROZEN_TAINT["key"] for one in group.description.get("taints") or []):
        before["taints"], after["taints"] = {"addOrUpdateTaints": []}, {"addOrUpdateTaints": [FROZEN_TAINT]}
    if after:
        reason = "so that no autoscaler adds nodes to it, and no pod lands on it while it is drained"
        steps.append(Step("update_config", group.name, reason, before, after))
    return steps


def plan_thaw(group: NodeGroup) -> list[Step]:
    """Back to what the tag says. The tag goes last."""
    steps = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    now = {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}
    if is_frozen(group):
        kept = get_original_scaling(group)
        # An autoscaler owns the desired size: what it is now stays, within the old bounds.
        desired = min(max(now.get("desiredSize", 0), kept["minSize"]), kept["maxSize"])
        wanted = {**kept, "desiredSize": desired}
        if now != wanted:
            before["scalingConfig"], after["scalingConfig"] = now, wanted
    tainted: Optional[Mapping[str, Any]] = next(
        (one for one in group.description.get("taints") or [] if one.get("key") == FROZEN_TAINT["key"]), None
    )
    if tainted:
        before["taints"], after["taints"] = {"removeTaints": []}, {"removeTaints": [dict(tainted)]}
    if after:
        steps.append(Step("update_config", group.name, "it is in use again", before, after))
    if is_frozen(group):
        kept_text = group.tags[TAG_SCALING]
        steps.append(Step("untag", group.name, "it is as it was", {TAG_SCALING: kept_text}, {TAG_SCALING: None}))
    return steps
