# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation or a removal did in a region, from the results of the tasks of the role. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .model import ALARM, DEAD_LETTER_QUEUE, EVENT_RULE, FUNCTION, LOG_GROUP, QUEUE, ROLE, SWEEP_RULE, GuardState
from .plan import MAPPING

POLICY = "policy"
TRIGGER = "trigger"
PRESENT_ORDER = (LOG_GROUP, DEAD_LETTER_QUEUE, QUEUE, ROLE, POLICY, FUNCTION, TRIGGER)
ABSENT_ORDER = (TRIGGER, FUNCTION, QUEUE, DEAD_LETTER_QUEUE, ROLE, LOG_GROUP)

UNMANAGED = "skipped, not managed by the guard"
NOT_DONE = "not done"


def get_unmanaged_reason(guards: Sequence[GuardState]) -> Optional[str]:
    """Why the guard is not installed anywhere: names that belong to others. None if there are none."""
    found = [
        f"{guard.location.names[kind]} ({kind.replace('_', ' ')} in {guard.location.region})."
        for guard in guards
        for kind in guard.unmanaged
    ]
    if not found:
        return None
    ((key, value),) = guards[0].location.owner_tag.items()
    return (
        f"Nothing was changed, because these resources have no tag {key}={value}, and the guard does not manage them: "
        f"{' '.join(found)} Choose another prefix, or remove these resources."
    )


def build_region_report(
    region: Mapping[str, Any], results: Mapping[str, Any], state: str, failure: Optional[Mapping[str, Any]] = None
) -> dict[str, Any]:
    """A line for each part, whether any changed, and the error of the task that ended the region.

    C(region): an entry of the module aurora_autostop_guard_info. C(results): by kind, the result of the role's task;
    empty if the task did not run. C(failure): the name and the result of the task that failed.
    """
    parts: list[tuple[str, str, str]] = []
    for kind in PRESENT_ORDER if state == "present" else ABSENT_ORDER:
        result = results.get(kind) or {}
        if kind == TRIGGER:
            parts += _list_trigger_parts(region, result)
            continue
        outcome = _get_outcome(result) if state == "present" else _get_removal_outcome(region, kind, result)
        parts.append((kind, region["names"].get(kind) or region["prefix"], outcome))
    changed = any(outcome == "changed" for _kind, _name, outcome in parts)
    return {
        "lines": [f"{region['name']}: {kind.replace('_', ' ')} {name}: {outcome}" for kind, name, outcome in parts],
        "changed": changed or bool((results.get(TRIGGER) or {}).get("changed")),
        "error": _describe_failure(region, failure) if failure else None,
    }


def _get_outcome(result: Mapping[str, Any]) -> str:
    """A task that check mode skips would change its part: its prerequisite does not exist yet."""
    if not result:
        return NOT_DONE
    if result.get("failed"):
        return "failed"
    return "changed" if result.get("changed") or result.get("skipped") else "ok"


def _get_removal_outcome(region: Mapping[str, Any], kind: str, result: Mapping[str, Any]) -> str:
    if kind in region["unmanaged"]:
        return UNMANAGED
    if kind not in region["present"]:
        return "ok"
    item = _find_loop_item(result, kind) if "results" in result else result
    if not item:
        return NOT_DONE
    return "failed" if item.get("failed") else "changed" if item.get("changed") else "ok"


def _find_loop_item(result: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The result for this kind in the results of a task that loops over kinds."""
    for item in result["results"]:
        if item.get(str(item.get("ansible_loop_var") or "item")) == kind:
            found: Mapping[str, Any] = item
            return found
    return {}


def _list_trigger_parts(region: Mapping[str, Any], result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Kind, name and outcome of each part of the trigger, also if its task did not run."""
    if result.get("parts"):
        return [
            (part["kind"], part["name"], UNMANAGED if part["unmanaged"] else part["status"]) for part in result["parts"]
        ]
    names = region["names"]
    outcome = "failed" if result.get("failed") else NOT_DONE
    return [
        (MAPPING, f"{names[QUEUE]} to {names[FUNCTION]}", outcome),
        *((kind, names[kind], outcome) for kind in (EVENT_RULE, SWEEP_RULE, ALARM)),
    ]


def _describe_failure(region: Mapping[str, Any], failure: Mapping[str, Any]) -> str:
    """The messages of the failed task. A loop has one for each item."""
    result = failure["result"]
    failed = [item for item in result.get("results") or [result] if item.get("failed")]
    messages = [str(item.get("msg") or "It failed without a message.") for item in failed]
    return f"{region['name']}: {failure['task']}: {' '.join(messages)}"
