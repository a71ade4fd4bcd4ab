# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a wait knows of a stop: which readings are later than the stop, and which can be stale. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Optional

# AWS restarts seven days after a stop. A restart time later than this after a moment belongs to a stop after it.
MINIMUM_RESTART_DELAY = timedelta(days=6)
# A reading without restart time counts once no reading can be stale any more.
MAX_STALENESS = timedelta(hours=1)


def is_stopped_since(moment: datetime, automatic_restart_time: Optional[datetime], now: datetime) -> bool:
    """Whether a reading that shows C(stopped) is of a stop after this moment, and not from before it."""
    if automatic_restart_time:
        return automatic_restart_time > moment + MINIMUM_RESTART_DELAY
    return now > moment + MAX_STALENESS


@dataclass(frozen=True)
class StopProgress:
    """What a wait has observed of one database. C(result): C(stopped), C(returned), or None while it waits.

    C(stop_requested): when this run requested the stop, or found it stopping. C(response_status): the status in AWS's
    response to the stop. It can be the status before the stop, but C(stopping) and C(stopped) are later.
    """

    stop_requested: datetime
    response_status: str = ""
    observed_statuses: tuple[str, ...] = ()
    result: Optional[str] = None
    undated_stops: int = 0  # successive readings that show stopped without a restart time

    def add_status(self, status: str, automatic_restart_time: Optional[datetime], now: datetime) -> StopProgress:
        """The progress after another reading, which can be stale.

        C(stopped) counts if it is later than the stop: after C(stopping), with a restart time that only this stop can
        have set, or when no reading can be stale any more. A stop can be quicker than the first reading. Without any
        restart time, a second reading in a row confirms it.
        """
        repeated = self.observed_statuses[-1:] == (status,)
        observed = self.observed_statuses if repeated else (*self.observed_statuses, status)
        undated_stops = self.undated_stops + 1 if status == "stopped" and not automatic_restart_time else 0
        result = None
        if status == "stopped" and (
            "stopping" in observed
            or self.response_status in ("stopping", "stopped")
            or is_stopped_since(self.stop_requested, automatic_restart_time, now)
            or undated_stops > 1
        ):
            result = "stopped"
        elif "stopping" in self.observed_statuses and status not in ("stopping", "stopped"):
            result = "returned"
        return replace(self, observed_statuses=observed, result=result, undated_stops=undated_stops)
