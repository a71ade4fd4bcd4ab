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
    tagged_scaling = group.tags.get(TAG_SCALING)
    if tagged_scaling:
        min_size, max_size, desired = (int(size) for size in tagged_scaling.split("/"))
        return {"minSize": min_size, "maxSize": max_size, "desiredSize": desired}
    return {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}


def get_original_taints(group: NodeGroup) -> list[dict[str, Any]]:
    """Its taints when it is not frozen."""
    found: Sequence[Mapping[str, Any]] = group.description.get("taints") or []
    return [dict(taint) for taint in found if taint.get("key") != FROZEN_TAINT["key"]]


def plan_freeze(group: NodeGroup) -> list[Step]:
    """First the tag, then the change: whatever stops in between, the originals are known."""
    current_scaling = {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}
    steps = []
    if not is_frozen(group):
        original_scaling = f"{current_scaling.get('minSize', 0)}/{current_scaling.get('maxSize', 0)}/{current_scaling.get('desiredSize', 0)}"
        steps.append(Step("tag", group.name, "to know what it was before", {TAG_SCALING: None}, {TAG_SCALING: original_scaling}))
    desired_size = current_scaling.get("desiredSize", 0)
    max_size = max(desired_size, 1)  # EKS takes no maximum of 0
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if current_scaling.get("maxSize") != max_size:
        # minSize may not be above the maximum; it stays otherwise, so that nothing is added to reach it.
        frozen_scaling = {"minSize": min(current_scaling.get("minSize", 0), desired_size), "maxSize": max_size, "desiredSize": desired_size}
        before["scalingConfig"], after["scalingConfig"] = current_scaling, frozen_scaling
    if not any(taint.get("key") == FROZEN_TAINT["key"] for taint in group.description.get("taints") or []):
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
    current_scaling = {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}
    if is_frozen(group):
        tagged_scaling = get_original_scaling(group)
        # An autoscaler owns the desired size: what it is now stays, within the old bounds.
        desired = min(max(current_scaling.get("desiredSize", 0), tagged_scaling["minSize"]), tagged_scaling["maxSize"])
        original_scaling = {**tagged_scaling, "desiredSize": desired}
        if current_scaling != original_scaling:
            before["scalingConfig"], after["scalingConfig"] = current_scaling, original_scaling
    frozen_taint: Optional[Mapping[str, Any]] = next(
        (taint for taint in group.description.get("taints") or [] if taint.get("key") == FROZEN_TAINT["key"]), None
    )
    if frozen_taint:
        before["taints"], after["taints"] = {"removeTaints": []}, {"removeTaints": [dict(frozen_taint)]}
    if after:
        steps.append(Step("update_config", group.name, "it is in use again", before, after))
    if is_frozen(group):
        kept_text = group.tags[TAG_SCALING]
        steps.append(Step("untag", group.name, "it is as it was", {TAG_SCALING: kept_text}, {TAG_SCALING: None}))
    return steps
