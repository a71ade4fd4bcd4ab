# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clock of everything that waits or compares times. Tests replace it."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class Clock:
    """The time of day, a monotonic time for time-outs, and sleep."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, for time-outs."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
