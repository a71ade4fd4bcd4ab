# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of the role sysctl_nodegroup: what it plans, and which groups and instances its steps are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def build_report(result: Mapping[str, Any], keep_old: bool) -> dict[str, Any]:
    """Build the report from the result of eks_sysctl_nodegroup. The same in check mode and in the run."""
    groups = list(result.get("node_groups_to_drain") or ())
    plan = result.get("plan") or {}
    steps = [str(step["action"]) for step in plan.get("steps") or ()]
    if groups:
        steps += ["freeze", "drain", *([] if keep_old else ["delete"])]
    would = [f"would: {step}" for step in steps]
    deletable = [str(group["name"]) for group in groups if not group.get("owner")]
    return {
        "node_group_required": bool(result.get("node_group_required")),
        "plan": dict(plan),
        "classification": list(result.get("classification") or ()),
        "node_groups_to_drain": [str(group["name"]) for group in groups],
        "old_instances": [str(node["instance_id"]) for group in groups for node in group.get("nodes") or ()],
        "deletable": [] if keep_old else deletable,
        "externally_owned": [dict(group) for group in groups if group.get("owner")],
        "would": would,
        "lines": [str(plan.get("reason") or "Nothing is planned."), *would],
    }
