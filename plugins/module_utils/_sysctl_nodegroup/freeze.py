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
    return {**group.scaling, "desiredSize": group.desired_size}


def get_original_taints(group: NodeGroup) -> list[dict[str, Any]]:
    """Get the taints that the group has when it is not frozen."""
    found: Sequence[Mapping[str, Any]] = group.description.get("taints") or []
    return [dict(taint) for taint in found if taint.get("key") != FROZEN_TAINT["key"]]


def plan_freeze(group: NodeGroup) -> list[Step]:
    """Plan the freeze: first the tag, then the taint, then the maximum.

    A run that stops in between keeps the original scaling. The taint comes first, because an autoscaler does not grow a
    group whose nodes its pods do not tolerate. The maximum then covers every node, and the number of nodes is not sent.
    """
    steps = []
    if not is_frozen(group):
        original = get_original_scaling(group)
        tagged = "/".join(str(original.get(key, 0)) for key in ("minSize", "maxSize", "desiredSize"))
        before, after = {TAG_SCALING: None}, {TAG_SCALING: tagged}
        steps.append(Step("tag", group.name, "keep the original scaling in a tag", before, after))
    if not any(taint.get("key") == FROZEN_TAINT["key"] for taint in group.description.get("taints") or []):
        steps.append(
            Step(
                "update_config",
                group.name,
                "no new pod may be scheduled to the group while it is drained",
                {"taints": {"addOrUpdateTaints": []}},
                {"taints": {"addOrUpdateTaints": [FROZEN_TAINT]}},
            )
        )
    current_max = group.scaling.get("maxSize")
    max_size = max(group.largest_size, group.scaling.get("minSize", 0), 1)  # EKS does not accept a maximum of 0
    if current_max != max_size:
        reason = f"no autoscaler may add nodes to the group's {group.largest_size} while it is drained"
        before_max, after_max = {"scalingConfig": {"maxSize": current_max}}, {"scalingConfig": {"maxSize": max_size}}
        steps.append(Step("update_config", group.name, reason, before_max, after_max))
    return steps


def plan_thaw(group: NodeGroup) -> list[Step]:
    """Plan the thaw: restore the bounds that the tag holds, and remove the tag last.

    The number of nodes is not sent, because an autoscaler owns it. A bound that it violates is not restored: EKS
    accepts no minimum above it, and a maximum below it ends nodes.
    """
    steps = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    reason = "restore the original scaling and taints"
    if is_frozen(group):
        original = get_original_scaling(group)
        bounds = {
            "minSize": min(original["minSize"], max(group.desired_size, group.scaling.get("minSize", 0))),
            "maxSize": max(original["maxSize"], group.largest_size, 1),
        }
        changed = {key: size for key, size in bounds.items() if group.scaling.get(key) != size}
        if changed:
            before["scalingConfig"] = {key: group.scaling.get(key) for key in changed}
            after["scalingConfig"] = changed
        if any(original[key] != size for key, size in bounds.items()):
            reason += (
                f"; not fully, because the group has {group.desired_size} nodes and had a minimum of "
                f"{original['minSize']} and a maximum of {original['maxSize']}"
            )
    frozen_taint: Optional[Mapping[str, Any]] = next(
        (taint for taint in group.description.get("taints") or [] if taint.get("key") == FROZEN_TAINT["key"]), None
    )
    if frozen_taint:
        before["taints"], after["taints"] = {"removeTaints": []}, {"removeTaints": [dict(frozen_taint)]}
    if after:
        steps.append(Step("update_config", group.name, reason, before, after))
    if is_frozen(group):
        kept_text = group.tags[TAG_SCALING]
        steps.append(
            Step("untag", group.name, "the original scaling is restored", {TAG_SCALING: kept_text}, {TAG_SCALING: None})
        )
    return steps
