# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's own time: the machine's, moved by whoever tests what takes days, or standing still between such moves."""

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
        """How far it is ahead of the machine's, in seconds."""
        return (self.now() - datetime.now(timezone.utc)).total_seconds()

    def advance(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)

    def reach(self, moment: datetime) -> None:
        """On to that moment, never back."""
        self._offset += max(timedelta(), moment - self.now())

    def stand(self, moment: datetime) -> None:
        """Still at that moment: only moves count from here on, so that what happens is the same each time."""
        self._still, self._offset = moment, timedelta()

    def reset(self) -> None:
        self._still, self._offset = None, timedelta()


CLOCK = Clock()
