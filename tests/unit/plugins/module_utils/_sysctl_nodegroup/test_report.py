# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's report, also where there is nothing to report."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.report import build_report

GROUPS: list[dict[str, Any]] = [
    {"name": "workers", "owner": None, "nodes": [{"instance_id": "i-1"}, {"instance_id": "i-2"}]},
    {"name": "stack", "owner": "eksctl prod", "nodes": [{"instance_id": "i-3"}]},
]
RESULT: dict[str, Any] = {
    "node_group_required": True,
    "plan": {"change": "create", "reason": "Because.", "steps": [{"action": "create_template"}]},
    "classification": [{"name": "net.core.somaxconn"}],
    "node_groups_to_drain": GROUPS,
}


def test_a_replacement_with_old_groups() -> None:
    report = build_report(RESULT, keep_old=False)
    assert report["node_groups_to_drain"] == ["workers", "stack"]
    assert report["old_instances"] == ["i-1", "i-2", "i-3"]
    assert report["deletable"] == ["workers"]
    assert [group["name"] for group in report["externally_owned"]] == ["stack"]
    steps = ["would: create_template", "would: freeze", "would: drain", "would: delete"]
    assert (report["would"], report["lines"]) == (steps, ["Because.", *steps])


def test_old_groups_that_are_kept_are_not_deleted() -> None:
    report = build_report(RESULT, keep_old=True)
    assert (report["deletable"], report["would"][-1]) == ([], "would: drain")


@pytest.mark.parametrize("result", [{}, {"plan": None}, {"plan": {"reason": ""}, "node_groups_to_drain": None}])
def test_nothing_to_report(result: dict[str, Any]) -> None:
    report = build_report(result, keep_old=False)
    assert (report["would"], report["lines"]) == ([], ["Nothing is planned."])
    assert report["old_instances"] == report["deletable"] == report["externally_owned"] == []
