# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time, as what waits takes it."""

from __future__ import annotations

import time


class Clock:
    """Seconds from a beginning of its own, which tests set otherwise."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
