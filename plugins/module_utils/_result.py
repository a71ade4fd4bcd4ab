# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result per item, and the only place that derives C(changed), C(failed), C(msg) and C(diff) from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

MAX_NAMES = 10  # in a message; all items are in the result
STATUSES = ("ok", "changed", "skipped", "pending", "failed")


@dataclass(frozen=True)
class ItemResult:
    """The result of one item: its status, and the reason as a sentence."""

    name: str
    status: str
    reason: str
    before: Optional[Any] = None
    after: Optional[Any] = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is not one of {', '.join(STATUSES)}")

    def to_dict(self) -> dict[str, Any]:
        """The item in a module's result."""
        return {"name": self.name, "status": self.status, "reason": self.reason, **self.fields}


def join_names(names: Sequence[str]) -> str:
    """Names for people: the first ten, and the number of the others."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{more}"


def format_failures(items: Sequence[ItemResult]) -> str:
    """The reasons of failed items, each once with the items that it concerns. A long list is cut."""
    names: dict[str, list[str]] = {}
    for item in items:
        names.setdefault(item.reason, []).append(item.name)
    sentences = [f"{join_names(named)}: {reason}" for reason, named in list(names.items())[:MAX_NAMES]]
    if len(names) > MAX_NAMES:
        sentences.append(f"{len(names) - MAX_NAMES} other reasons are in the results.")
    return " ".join(sentences)


def summarize(items: Sequence[ItemResult], diff: bool = False) -> dict[str, Any]:
    """The part of the result that all modules share. C(changed) is true if any item changed, also if others failed."""
    failed = [item for item in items if item.status == "failed"]
    result: dict[str, Any] = {"changed": any(item.status == "changed" for item in items)}
    if failed:
        result["failed"] = True
        result["msg"] = f"{len(failed)} of {len(items)} failed. {format_failures(failed)}"
    if diff:
        result["diff"] = [
            {
                "before_header": item.name,
                "after_header": item.name,
                "before": item.before or {},
                "after": item.after or {},
            }
            for item in items
            if item.before != item.after
        ]
    return result
