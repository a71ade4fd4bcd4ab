# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision of the nodes' controller as a table, without nodes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from testbed.nodes.decide import Group, Limits, NodeState, Plan, decide

LIMITS = Limits(join=60, evict=30, drain=10)


def plan(status: str, desired: int, *nodes: NodeState, **more: Any) -> Plan:
    return decide(Group("g", status, desired, **more), nodes, LIMITS)


def set_fields(found: Plan) -> dict[str, Any]:
    """What of a plan is not empty."""
    return {key: value for key, value in dataclasses.asdict(found).items() if value and key != "issue"}


def new(key: str, **more: Any) -> NodeState:
    return NodeState(key, f"ip-{key}", **more)


def old(key: str, **more: Any) -> NodeState:
    return NodeState(key, f"ip-{key}", current=False, **more)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (plan("CREATING", 2), {"launch": 2}),
        (plan("CREATING", 2, new("a", ready=False, unready=59)), {"launch": 1}),
        (plan("CREATING", 1, new("a")), {"outcome": "created"}),
        (plan("CREATING", 0), {"outcome": "created"}),
        (plan("CREATING", 1, new("a", ready=False, unready=61)), {"outcome": "create_failed"}),
        (plan("ACTIVE", 1, new("a")), {}),
        (plan("ACTIVE", 2, new("a")), {"launch": 1}),
        (plan("ACTIVE", 1, new("a"), old("b"), new("c")), {"drain": ["b", "c"]}),
        (plan("ACTIVE", 1, new("a"), new("b", draining=1, empty=False)), {}),
        (plan("ACTIVE", 1, new("a"), new("b", draining=11, empty=False)), {"terminate": ["b"]}),
        (plan("ACTIVE", 1, new("a", ready=False, unready=61)), {"outcome": "degraded"}),
        (plan("DEGRADED", 1, new("a")), {"outcome": "healthy"}),
        (plan("UPDATING", 1, new("a"), new("b")), {"drain": ["b"]}),
        (plan("UPDATING", 1, new("a")), {"outcome": "updated"}),
        (plan("CREATE_FAILED", 3), {}),
        (plan("DELETING", 1, new("a")), {"drain": ["a"]}),
        (plan("DELETING", 1, new("a", draining=5, empty=False)), {}),
        (plan("DELETING", 1, new("a", draining=11, empty=False)), {"terminate": ["a"]}),
        (plan("DELETING", 1), {"outcome": "deleted"}),
    ],
)
def test_creating_scaling_deleting(found: Plan, expected: dict[str, Any]) -> None:
    assert set_fields(found) == expected


def roll(desired: int, *nodes: NodeState, **more: Any) -> Plan:
    return plan("UPDATING", desired, *nodes, rolling=True, **more)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (roll(2, old("a"), old("b")), {"launch": 1}),  # first a new node
        (roll(2, old("a"), old("b"), new("c", ready=False)), {}),  # the new node must be ready
        (roll(2, old("a"), old("b"), new("c")), {"drain": ["a"]}),
        (roll(2, old("a", draining=1, empty=False), old("b"), new("c")), {}),
        (roll(2, old("a", draining=1), old("b"), new("c")), {"terminate": ["a"]}),
        (roll(2, old("b"), new("c")), {"launch": 1}),
        (roll(2, new("c"), new("d")), {"outcome": "updated"}),
        (roll(2, old("a"), old("b"), unavailable=2), {"launch": 2}),
        (roll(2, old("a"), old("b"), new("c"), new("d"), unavailable=2), {"drain": ["a", "b"]}),
        (roll(2, old("a"), old("b"), minimal=True), {"drain": ["a"]}),  # no more nodes than before
        (roll(2, old("b"), minimal=True), {"launch": 1}),
        (roll(1, old("a", ready=False, unready=99), new("c")), {"drain": ["a"]}),
        (roll(0), {"outcome": "updated"}),
        (
            roll(1, old("a", draining=31, empty=False), new("c")),
            {"release": ["a"], "outcome": "update_failed"},
        ),
        (roll(1, old("a", draining=31, empty=False), new("c"), force=True), {"terminate": ["a"]}),
        (roll(1, old("a"), new("c", ready=False, unready=61)), {"terminate": ["c"], "outcome": "update_failed"}),
    ],
)
def test_rolling(found: Plan, expected: dict[str, Any]) -> None:
    assert set_fields(found) == expected


def test_failures_name_what_failed() -> None:
    stuck = roll(1, old("a", draining=31, empty=False), new("c")).issue
    assert (stuck["code"], stuck["resourceIds"]) == ("PodEvictionFailure", ["ip-a"])
    missing = plan("CREATING", 1, new("a", ready=False, unready=61)).issue
    assert (missing["code"], missing["resourceIds"]) == ("NodeCreationFailure", ["a"])
