# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's clock: the machine's time, moved by tests of what takes days, or stopped between such moves."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class Clock:
    def __init__(self) -> None:
        self._offset = timedelta()
        self._still: datetime | None = None

    def now(self) -> datetime:
        return (self._still or datetime.now(timezone.utc)) + self._offset

    @property
    def offset(self) -> float:
        """Seconds between the machine's time and the bed's."""
        return (self.now() - datetime.now(timezone.utc)).total_seconds()

    def advance(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)

    def reach(self, moment: datetime) -> None:
        """Move the clock forward to that moment, never back."""
        self._offset += max(timedelta(), moment - self.now())

    def stand(self, moment: datetime) -> None:
        """Stop the clock at that moment. From here on only moves change it, so that each run is the same."""
        self._still, self._offset = moment, timedelta()

    def reset(self) -> None:
        self._still, self._offset = None, timedelta()


CLOCK = Clock()
