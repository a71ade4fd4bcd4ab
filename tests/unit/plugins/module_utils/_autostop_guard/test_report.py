# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of an installation and of a removal, from the results of the role's tasks."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import model, report
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import GuardLocation, GuardState

LOCATION = GuardLocation("guard", "eu-central-1", "123456789012")
OK, CHANGED = {"changed": False}, {"changed": True}
FAILED = {"failed": True, "msg": "no"}
PARTS = [
    {"kind": "event_rule", "name": "guard-events", "status": "changed", "unmanaged": False},
    {"kind": "alarm", "name": "guard-dlq", "status": "skipped", "unmanaged": True},
]


def region(present: tuple[str, ...] = (), unmanaged: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "name": LOCATION.region,
        "prefix": LOCATION.prefix,
        "names": LOCATION.names,
        "present": list(present),
        "unmanaged": list(unmanaged),
    }


def outcomes(found: dict[str, Any]) -> dict[str, str]:
    """The outcome of each part by kind, as the lines show it."""
    kinds = [*model.GuardLocation.names.fget(LOCATION), "policy", "event source mapping"]  # type: ignore[attr-defined]
    known = {kind.replace("_", " "): kind for kind in kinds}
    result = {}
    for line in found["lines"]:
        _region, part, outcome = line.split(": ", 2)
        result[next(known[kind] for kind in sorted(known, key=len, reverse=True) if part.startswith(kind))] = outcome
    return result


def of(results: dict[str, Any], state: str = "present", failure: Optional[dict[str, Any]] = None) -> dict[str, Any]:
    return report.build_region_report(region(), results, state, failure)


def test_a_region_in_which_no_task_ran() -> None:
    found = of({})
    assert set(outcomes(found).values()) == {"not done"}
    assert len(found["lines"]) == 10
    assert (found["changed"], found["error"]) == (False, None)


def test_the_lines_of_an_installation() -> None:
    results = {
        "log_group": CHANGED,
        "dead_letter_queue": OK,
        "queue": OK,
        "role": OK,
        "policy": {"skipped": True},  # check mode, before the role exists
        "function": FAILED,
        "trigger": {},
    }
    found = of(results, failure={"task": "Create the function", "result": FAILED})
    assert found["lines"][0] == "eu-central-1: log group /aws/lambda/guard: changed"
    assert found["lines"][4] == "eu-central-1: policy guard: changed"
    assert outcomes(found)["function"] == "failed"
    assert outcomes(found)["event source mapping"] == "not done"
    assert found["changed"]
    assert found["error"] == "eu-central-1: Create the function: no"


def test_the_trigger_has_its_own_parts() -> None:
    found = of({"trigger": {"changed": False, "parts": PARTS}})
    assert "eu-central-1: event rule guard-events: changed" in found["lines"]
    assert "eu-central-1: alarm guard-dlq: skipped, not managed by the guard" in found["lines"]


@pytest.mark.parametrize("result", [FAILED, {**FAILED, "parts": []}])
def test_a_trigger_that_failed_without_parts(result: dict[str, Any]) -> None:
    assert outcomes(of({"trigger": result}))["alarm"] == "failed"


def test_a_trigger_that_failed_after_a_change_has_changed() -> None:
    assert of({"trigger": {**FAILED, "changed": True}})["changed"]


def test_the_lines_of_a_removal() -> None:
    queues = {
        "changed": True,
        "results": [
            {"ansible_loop_var": "kind", "kind": "queue", "changed": True},
            {"ansible_loop_var": "kind", "kind": "dead_letter_queue", "failed": True, "msg": "no"},
        ],
    }
    found = report.build_region_report(
        region(("function", "queue", "dead_letter_queue", "log_group"), ("role",)),
        {"trigger": {"parts": PARTS}, "function": CHANGED, "queue": queues, "dead_letter_queue": queues},
        "absent",
        {"task": "Remove the queues", "result": queues},
    )
    assert outcomes(found) == {
        "event_rule": "changed",
        "alarm": "skipped, not managed by the guard",
        "function": "changed",
        "queue": "changed",
        "dead_letter_queue": "failed",
        "role": "skipped, not managed by the guard",
        "log_group": "not done",
    }
    assert found["error"] == "eu-central-1: Remove the queues: no"


def test_a_removal_where_nothing_is_changes_nothing() -> None:
    """A loop over no queue has no results, and a skipped task has no change."""
    empty = {"changed": False, "results": [], "skipped": True}
    skipped = {"changed": False, "skipped": True}
    results = {"function": skipped, "queue": empty, "dead_letter_queue": empty, "role": skipped, "log_group": skipped}
    found = report.build_region_report(region(), {**results, "trigger": {"parts": []}}, "absent")
    kinds = ("function", "queue", "dead_letter_queue", "role", "log_group")
    assert {kind: outcomes(found)[kind] for kind in kinds} == dict.fromkeys(kinds, "ok")
    assert not found["changed"]


def test_a_failure_without_a_message_has_a_text() -> None:
    assert of({}, failure={"task": "Make", "result": {"failed": True}})["error"].endswith("without a message.")


def test_unmanaged_resources_are_named_with_their_region() -> None:
    other = GuardLocation("guard", "us-west-2", "123456789012")
    guards = [GuardState(LOCATION, {"queue": {}}), GuardState(other, {"role": {"daytwo-aws-autostop-guard": "guard"}})]
    reason = report.get_unmanaged_reason(guards)
    assert reason
    assert "guard (queue in eu-central-1)." in reason
    assert "us-west-2" not in reason
    assert "daytwo-aws-autostop-guard=guard" in reason
    assert report.get_unmanaged_reason(guards[1:]) is None
    assert report.get_unmanaged_reason([]) is None
