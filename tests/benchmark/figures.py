# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common parts of all benchmarks: interleaved rounds, medians, goals, tables, build/bench/NAME.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Way = TypeVar("Way", bound=Hashable)
Taken = TypeVar("Taken")

ROUNDS = int(os.environ.get("ROUNDS", "3"))
BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"


@dataclass(frozen=True)
class Goal:
    """At most `ratio` times the peer's figure, or at most `more` above it."""

    ratio: float | None = None
    more: float | None = None

    def __str__(self) -> str:
        return f"ratio <= {self.ratio:g}" if self.ratio is not None else f"peer + {self.more:g}"

    def met(self, ours: float, peer: float) -> bool:
        limit = peer * self.ratio if self.ratio is not None else peer + (self.more or 0)
        return ours <= limit


@dataclass(frozen=True)
class Figure:
    """A comparison of a measure with a peer."""

    measure: str
    ours: float
    peer: float
    peer_name: str
    unit: str
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def met(self) -> bool | None:
        return self.goal.met(self.ours, self.peer) if self.goal else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "ours": round(self.ours, 3),
            "peer": round(self.peer, 3),
            "peer_name": self.peer_name,
            "unit": self.unit,
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "goal": str(self.goal) if self.goal else None,
            "met": self.met,
        }


def interleaved(ways: Sequence[Way], run: Callable[[Way], Taken]) -> dict[Way, list[Taken]]:
    """Run every way once per round. Each round starts with another way, so drift affects all ways alike."""
    taken: dict[Way, list[Taken]] = {way: [] for way in ways}
    for number in range(ROUNDS):
        shift = number * len(ways) // ROUNDS
        for way in (*ways[shift:], *ways[:shift]):
            taken[way].append(run(way))
    return taken


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column is left-aligned, the others are right-aligned."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join((first, *others)).rstrip()

    print("\n".join((line(head), "  ".join("-" * width for width in widths), *map(line, rows), "")), flush=True)


def publish(name: str, figures: Sequence[Figure]) -> int:
    """Write all figures, print those with a goal, and return the exit status: 1 if a goal is missed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"{name}.json"
    path.write_text(json.dumps([figure.to_dict() for figure in figures], indent=2) + "\n")
    aims = [figure for figure in figures if figure.goal]
    table(
        ("goal", "ours", "peer", "unit", "peer is", "ratio", "limit", "met"),
        [
            (
                *(figure.measure, f"{figure.ours:.1f}", f"{figure.peer:.1f}", figure.unit, figure.peer_name),
                "" if figure.ratio is None else f"{figure.ratio:.2f}",
                *(str(figure.goal), "yes" if figure.met else "NO"),
            )
            for figure in aims
        ],
    )
    missed = [figure for figure in aims if not figure.met]
    print(f"{len(aims) - len(missed)} of {len(aims)} goals met; all {len(figures)} figures: {path}", flush=True)
    return 1 if missed else 0
