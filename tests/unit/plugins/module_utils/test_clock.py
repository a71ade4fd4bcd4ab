# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock


def test_now_is_the_time_of_day_in_utc() -> None:
    now = Clock().now()
    assert now.utcoffset() == timedelta()
    assert abs(now - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_monotonic_does_not_go_back() -> None:
    clock = Clock()
    before = clock.monotonic()
    clock.sleep(0.0)
    assert clock.monotonic() >= before
