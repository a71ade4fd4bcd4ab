# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens by itself as time goes by: each thing at its own moment and in order, however far the clock is moved."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .clock import CLOCK

ROUNDS = 1000  # at one moment; more means that something is due for ever


@dataclass(frozen=True)
class Source:
    """Something that happens by itself. C(due): when it does next; C(settle): let happen what is due by now."""

    due: Callable[[], datetime | None]
    settle: Callable[[], None]


SOURCES: list[Source] = []
_LOCK = threading.RLock()


def source(due: Callable[[], datetime | None], settle: Callable[[], None]) -> None:
    SOURCES.append(Source(due, settle))


def advance(seconds: float = 0) -> None:
    """So many seconds go by, with everything that happens in them."""
    with _LOCK:
        end = CLOCK.now() + timedelta(seconds=seconds)
        last, rounds = CLOCK.now(), 0
        while due := next_due(end):
            CLOCK.reach(due)
            rounds = rounds + 1 if due <= last else 0
            if rounds > ROUNDS:
                raise RuntimeError(f"something stays due at {due}: {SOURCES}")
            last = max(last, due)
            for event_source in SOURCES:
                event_source.settle()
        CLOCK.reach(end)


def next_due(end: datetime) -> datetime | None:
    """When something happens next, if it does by then."""
    moments = [due for event_source in SOURCES if (due := event_source.due())]
    return min(moments) if moments and min(moments) <= max(end, CLOCK.now()) else None


def run(every: float = 0.5) -> None:
    """Time goes by on its own, as it does for a server. What fails stands in its log, and ends nothing else."""
    while True:
        try:
            advance()
        except Exception:
            traceback.print_exc()
        time.sleep(every)
