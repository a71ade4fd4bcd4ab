# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze a node group, so that it gets no new nodes and no new pods, and thaw it.

The original scaling is kept in a tag of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._plan import Step
from .model import NodeGroup

# Cordoning does not stop Cluster Autoscaler or the Auto Scaling group from adding nodes.
# docs/facts/sysctl_nodegroup.md#freezing-a-group
TAG_SCALING = "daytwo.aws/frozen-scaling"
FROZEN_TAINT = {"key": "daytwo.aws/frozen", "value": "true", "effect": "NO_SCHEDULE"}


def is_frozen(group: NodeGroup) -> bool:
    return TAG_SCALING in group.tags


def get_original_scaling(group: NodeGroup) -> dict[str, int]:
    """Get the scaling that the group has when it is not frozen."""
    tagged_scaling = group.tags.get(TAG_SCALING)
    if tagged_scaling:
        min_size, max_size, desired = (int(size) for size in tagged_scaling.split("/"))
        return {"minSize": min_size, "maxSize": max_size, "desiredSize": desired}
    return {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}


def get_original_taints(group: NodeGroup) -> list[dict[str, Any]]:
    """Get the taints that the group has when it is not frozen."""
    found: Sequence[Mapping[str, Any]] = group.description.get("taints") or []
    return [dict(taint) for taint in found if taint.get("key") != FROZEN_TAINT["key"]]


def plan_freeze(group: NodeGroup) -> list[Step]:
    """Plan the freeze: first the tag, then the change. A run that stops in between keeps the original scaling."""
    current_scaling = {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}
    steps = []
    if not is_frozen(group):
        original_scaling = "/".join(str(current_scaling.get(key, 0)) for key in ("minSize", "maxSize", "desiredSize"))
        steps.append(
            Step(
                "tag",
                group.name,
                "keep the original scaling in a tag",
                {TAG_SCALING: None},
                {TAG_SCALING: original_scaling},
            )
        )
    desired_size = current_scaling.get("desiredSize", 0)
    max_size = max(desired_size, 1)  # EKS does not accept a maximum of 0
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if current_scaling.get("maxSize") != max_size:
        # minSize must not exceed the maximum. Otherwise it stays, so that EKS adds no node to reach it.
        frozen_scaling = {
            "minSize": min(current_scaling.get("minSize", 0), desired_size),
            "maxSize": max_size,
            "desiredSize": desired_size,
        }
        before["scalingConfig"], after["scalingConfig"] = current_scaling, frozen_scaling
    if not any(taint.get("key") == FROZEN_TAINT["key"] for taint in group.description.get("taints") or []):
        before["taints"], after["taints"] = {"addOrUpdateTaints": []}, {"addOrUpdateTaints": [FROZEN_TAINT]}
    if after:
        reason = "no autoscaler may add nodes to the group, and no new pod may be scheduled to it, while it is drained"
        steps.append(Step("update_config", group.name, reason, before, after))
    return steps


def plan_thaw(group: NodeGroup) -> list[Step]:
    """Plan the thaw: restore the scaling that the tag holds, and remove the tag last."""
    steps = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    current_scaling = {key: int(value) for key, value in (group.description.get("scalingConfig") or {}).items()}
    if is_frozen(group):
        tagged_scaling = get_original_scaling(group)
        # An autoscaler owns the desired size: it keeps its current value within the original bounds.
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
        steps.append(Step("update_config", group.name, "restore the original scaling and taints", before, after))
    if is_frozen(group):
        kept_text = group.tags[TAG_SCALING]
        steps.append(
            Step("untag", group.name, "the original scaling is restored", {TAG_SCALING: kept_text}, {TAG_SCALING: None})
        )
    return steps
