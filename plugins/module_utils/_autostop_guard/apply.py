# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes and applies the guard's trigger: mapping, rules, alarm. A change that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._aws_call import ApiError
from .._result import ItemResult
from . import cloudwatch, events, mapping
from .model import ALARM, EVENT_RULE, FUNCTION, QUEUE, SWEEP_RULE, GuardLocation
from .plan import MAPPING, GuardChange


@dataclass(frozen=True)
class GuardClients:
    awslambda: Any
    events: Any
    cloudwatch: Any


def observe(clients: GuardClients, location: GuardLocation) -> dict[str, Optional[Mapping[str, Any]]]:
    names, arns = location.names, location.arns
    return {
        MAPPING: mapping.read_mapping(clients.awslambda, names[FUNCTION], arns[QUEUE]),
        **{kind: events.read_rule(clients.events, names[kind], arns[kind]) for kind in (EVENT_RULE, SWEEP_RULE)},
        ALARM: cloudwatch.read_alarm(clients.cloudwatch, names[ALARM]),
    }


def apply_changes(clients: GuardClients, location: GuardLocation, changes: Sequence[GuardChange]) -> list[ItemResult]:
    """Writes, then reads everything back. A change that the reading does not show is reported as not verified."""
    errors: dict[str, str] = {}
    for change in changes:
        if change.action:
            try:
                _write_change(clients, location, change)
            except ApiError as error:
                errors[change.kind] = error.explanation
    if not any(change.action for change in changes):
        return preview(changes)
    try:
        current = observe(clients, location)
    except ApiError as error:  # the writes stay reported
        return [_build_unread_result(change, errors.get(change.kind), error) for change in changes]
    return [_build_result(change, current.get(change.kind), errors.get(change.kind)) for change in changes]


def preview(changes: Sequence[GuardChange]) -> list[ItemResult]:
    """The results as if every change had succeeded: what check mode shows."""
    return [
        ItemResult(
            change.name,
            "skipped" if change.unmanaged else "changed" if change.action else "ok",
            change.reason,
            change.before,
            change.after,
            {"kind": change.kind, "verified": None, "unmanaged": change.unmanaged},
        )
        for change in changes
    ]


def refuse_changes(changes: Sequence[GuardChange], reason: str) -> list[ItemResult]:
    """The results where nothing can be changed: a failure for each part that had to change."""
    results = [replace(result, after=result.before) for result in preview(changes)]
    return [
        replace(result, status="failed", reason=f"It is not changed, because {reason}") if change.action else result
        for change, result in zip(changes, results)
    ]


def _build_result(change: GuardChange, current: Optional[Mapping[str, Any]], error: Optional[str]) -> ItemResult:
    (result,) = preview([change])
    if not change.action:
        return result
    if error:
        reason = f"{change.reason} {error}"
        return replace(
            result, status="failed", reason=reason, after=current, fields={**result.fields, "verified": False}
        )
    verified = (
        current is None if change.after is None else current is not None and _matches_desired(current, change.after)
    )
    reason = (
        result.reason
        if verified
        else f"{result.reason} AWS accepted the change, but a reading does not show it yet: not verified."
    )
    return replace(result, reason=reason, fields={**result.fields, "verified": verified})


def _build_unread_result(change: GuardChange, error: Optional[str], reading_error: ApiError) -> ItemResult:
    """The result where the reading after the writes failed. Whether a failed write had an effect is not known."""
    (result,) = preview([change])
    if not change.action:
        return result
    outcome = error or "AWS accepted the change."
    reason = f"{change.reason} {outcome} The reading after it failed: {reading_error.explanation}"
    status = "failed" if error else result.status
    return replace(result, status=status, reason=reason, fields={**result.fields, "verified": False})


def _matches_desired(current: Mapping[str, Any], desired: Mapping[str, Any]) -> bool:
    return all(current.get(key) == value for key, value in desired.items())


def _write_change(clients: GuardClients, location: GuardLocation, change: GuardChange) -> None:
    before, after = change.before, change.after
    if change.kind == MAPPING:
        if after is None:
            mapping.delete_mapping(clients.awslambda, before or {})
        elif before is None:
            mapping.create_mapping(clients.awslambda, location.names[FUNCTION], location.arns[QUEUE], after)
        else:
            mapping.update_mapping(clients.awslambda, before, after)
    elif change.kind == ALARM:
        if after is None:
            cloudwatch.delete_alarm(clients.cloudwatch, change.name)
        else:
            cloudwatch.put_alarm(clients.cloudwatch, change.name, location.arns[ALARM], before, after)
    elif after is None:
        events.delete_rule(clients.events, change.name, before or {})
    elif before is None:
        events.create_rule(clients.events, change.name, after)
    else:
        events.update_rule(clients.events, change.name, location.arns[change.kind], before, after)
