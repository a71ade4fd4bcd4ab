# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what makes the function run, and carries changes of it out; one that fails ends none of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._result import ItemResult
from . import cloudwatch, events, mapping
from .model import ALARM, EVENT_RULE, FUNCTION, QUEUE, SWEEP_RULE, Place
from .plan import MAPPING, Change
from .service import GuardError


@dataclass(frozen=True)
class Clients:
    awslambda: Any
    events: Any
    cloudwatch: Any


def observe(clients: Clients, place: Place) -> dict[str, Optional[Mapping[str, Any]]]:
    names, arns = place.names, place.arns
    return {
        MAPPING: mapping.read(clients.awslambda, names[FUNCTION], arns[QUEUE]),
        **{kind: events.read(clients.events, names[kind], arns[kind]) for kind in (EVENT_RULE, SWEEP_RULE)},
        ALARM: cloudwatch.read(clients.cloudwatch, names[ALARM]),
    }


def carry_out(clients: Clients, place: Place, changes: Sequence[Change]) -> list[ItemResult]:
    """Writes, then reads everything back: what that does not show is told as not verified."""
    troubles: dict[str, str] = {}
    for change in changes:
        if change.action:
            try:
                _write(clients, place, change)
            except GuardError as error:
                troubles[change.kind] = str(error)
    if not any(change.action for change in changes):
        return preview(changes)
    seen = observe(clients, place)
    return [_result(change, seen.get(change.kind), troubles.get(change.kind)) for change in changes]


def preview(changes: Sequence[Change]) -> list[ItemResult]:
    """As if every change had been carried out: what check mode shows."""
    return [
        ItemResult(
            change.name,
            "skipped" if change.foreign else "changed" if change.action else "ok",
            change.reason,
            change.before,
            change.after,
            {"kind": change.kind, "verified": None},
        )
        for change in changes
    ]


def _result(change: Change, seen: Optional[Mapping[str, Any]], trouble: Optional[str]) -> ItemResult:
    (told,) = preview([change])
    if not change.action:
        return told
    if trouble:
        reason = f"{change.reason} {trouble}"
        fields = {"kind": change.kind, "verified": False}
        return replace(told, status="failed", reason=reason, after=seen, fields=fields)
    proved = seen is None if change.after is None else seen is not None and _shows(seen, change.after)
    reason = told.reason if proved else f"{told.reason} AWS took it, but a reading does not show it yet: not verified."
    return replace(told, reason=reason, fields={"kind": change.kind, "verified": proved})


def _shows(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(seen.get(key) == value for key, value in wanted.items())


def _write(clients: Clients, place: Place, change: Change) -> None:
    before, after = change.before, change.after
    if change.kind == MAPPING:
        if after is None:
            mapping.delete(clients.awslambda, before or {})
        elif before is None:
            mapping.create(clients.awslambda, place.names[FUNCTION], place.arns[QUEUE], after)
        else:
            mapping.update(clients.awslambda, before, after)
    elif change.kind == ALARM:
        if after is None:
            cloudwatch.delete(clients.cloudwatch, change.name)
        else:
            cloudwatch.put(clients.cloudwatch, change.name, place.arns[ALARM], before, after)
    elif after is None:
        events.delete(clients.events, change.name, before or {})
    elif before is None:
        events.create(clients.events, change.name, after)
    else:
        events.update(clients.events, change.name, place.arns[change.kind], before, after)
