# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a task: an entry for each pull, and lines for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._result import join_names
from .checks import PullDiagnosis
from .context import OK, UNKNOWN, WRONG, PullCheck
from .model import Snapshot

_LONGEST_TEXT = 1024


def build_result(snapshot: Snapshot, diagnoses: Sequence[PullDiagnosis]) -> dict[str, Any]:
    pulls = [_build_entry(diagnosis) for diagnosis in diagnoses]
    not_checked = [f"{part}: {reason}" for part, reason in sorted(snapshot.unreadable.items())]
    totals = {status: sum(entry["status"] == status for entry in pulls) for status in (OK, WRONG, UNKNOWN)}
    lines = format_lines(diagnoses) + [f"Not checked: {text}" for text in not_checked]
    return {"pulls": pulls, "totals": totals, "lines": lines, "not_checked": not_checked}


def _build_entry(diagnosis: PullDiagnosis) -> dict[str, Any]:
    context, request = diagnosis.context, diagnosis.context.request
    message = context.message
    return {
        "name": request.name,
        "status": diagnosis.status,
        "reason": get_reason(diagnosis),
        "namespace": request.namespace or None,
        "pod": request.pod or None,
        "container": request.container or None,
        "image": request.image,
        "node": request.node or None,
        "instance_id": context.instance.id if context.instance else None,
        "subnet_id": context.subnet_id or None,
        "message": {
            "class": message.kind,
            "text": message.text[:_LONGEST_TEXT],
            "host": message.host or None,
            "address": message.address or None,
        }
        if message
        else None,
        "cause": diagnosis.cause.to_dict() if diagnosis.cause else None,
        "also_wrong": [check.to_dict() for check in diagnosis.others],
        "unknown": [check.to_dict() for check in diagnosis.checks if check.status == UNKNOWN],
        "checks": [check.to_dict() for check in diagnosis.checks],
    }


def get_reason(diagnosis: PullDiagnosis) -> str:
    """The first cause as a sentence; else that nothing was found, and what is not known."""
    if diagnosis.cause is not None:
        return diagnosis.cause.reason
    unknown = [check for check in diagnosis.checks if check.status == UNKNOWN]
    if unknown:
        return f"Nothing wrong was found. Not known: {unknown[0].reason}"
    message = diagnosis.context.message
    if message is not None:
        return "Nothing wrong was found. The cause may have been fixed since, so that the next attempt succeeds."
    return "A pull from there works, as far as these checks go."


def format_lines(diagnoses: Sequence[PullDiagnosis]) -> list[str]:
    """A few lines for each cause, with the pulls that it concerns."""
    groups: dict[tuple[str, str], list[PullDiagnosis]] = {}
    for diagnosis in diagnoses:
        groups.setdefault((diagnosis.status, get_reason(diagnosis)), []).append(diagnosis)
    order = (WRONG, UNKNOWN, OK)
    lines: list[str] = []
    for (status, reason), same in sorted(groups.items(), key=lambda group: order.index(group[0][0])):
        names = join_names([diagnosis.context.request.name for diagnosis in same])
        lines.append(f"{status}: {names}: {reason}")
        cause = same[0].cause
        if cause is not None:
            lines.append(f"  remediation: {cause.remediation}")
            evidence = list(dict.fromkeys(text for entry in same if entry.cause for text in entry.cause.evidence))
            lines += [f"  evidence: {join_names(evidence)}"] if evidence else []
        lines += [f"  also wrong: {check.reason}" for check in _list_others(same)]
    return lines or ["No pod waits for an image."]


def _list_others(same: Sequence[PullDiagnosis]) -> list[PullCheck]:
    """What else is wrong, each reason once."""
    shown = {diagnosis.cause.reason for diagnosis in same if diagnosis.cause}
    found = {check.reason: check for diagnosis in same for check in diagnosis.others if check.reason not in shown}
    return list(found.values())
