# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events that happen as time passes: each at its own moment and in order, also in one large move of the clock."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .clock import CLOCK

ROUNDS = 1000  # at one moment; more means that a source stays due forever


@dataclass(frozen=True)
class Source:
    """A source of events. C(due) returns when the next event happens; C(settle) runs the events that are due."""

    due: Callable[[], datetime | None]
    settle: Callable[[], None]


SOURCES: list[Source] = []
_LOCK = threading.RLock()


def source(due: Callable[[], datetime | None], settle: Callable[[], None]) -> None:
    SOURCES.append(Source(due, settle))


def advance(seconds: float = 0) -> None:
    """Let this many seconds pass, with all their events."""
    with _LOCK:
        end = CLOCK.now() + timedelta(seconds=seconds)
        last, rounds = CLOCK.now(), 0
        while due := next_due(end):
            CLOCK.reach(due)
            rounds = rounds + 1 if due <= last else 0
            if rounds > ROUNDS:
                raise RuntimeError(f"a source stays due at {due}: {SOURCES}")
            last = max(last, due)
            for event_source in SOURCES:
                event_source.settle()
        CLOCK.reach(end)


def next_due(end: datetime) -> datetime | None:
    """Return when the next event happens, if that is not later than the end."""
    moments = [due for event_source in SOURCES if (due := event_source.due())]
    return min(moments) if moments and min(moments) <= max(end, CLOCK.now()) else None


def run(every: float = 0.5) -> None:
    """Let time pass by itself, as for a server. An error goes to the log and stops nothing."""
    while True:
        try:
            advance()
        except Exception:
            traceback.print_exc()
        time.sleep(every)
