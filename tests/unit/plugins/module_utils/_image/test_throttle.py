# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit of bytes per second: kept by several threads together, without bursts, on a clock that does not tick."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.throttle import NO_LIMIT, Throttle


class Clock:
    """Time that passes only where somebody sleeps; each thread has its own now, as if they slept side by side."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._lock = threading.Lock()
        self.latest = 0.0

    def __call__(self) -> float:
        return getattr(self._own, "now", 0.0)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self._own.now = self() + seconds
        with self._lock:
            self.latest = max(self.latest, self._own.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_rate_is_kept(clock: Clock) -> None:
    throttle = Throttle(100, clock, clock.sleep)
    for _number in range(11):
        throttle.take(50)
    # The last one begins when the ten before it are through.
    assert clock.latest == pytest.approx(5.0)


def test_threads_keep_the_rate_together(clock: Clock) -> None:
    throttle = Throttle(1000, clock, clock.sleep)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(throttle.take, [100] * 101))
    assert clock.latest == pytest.approx(10.0)


def test_time_that_was_not_used_is_not_saved_up(clock: Clock) -> None:
    throttle = Throttle(100, clock, clock.sleep)
    throttle.take(100)
    clock.sleep(1000)
    throttle.take(100)
    assert clock() == 1000
    throttle.take(100)
    assert clock() == pytest.approx(1001)


@pytest.mark.parametrize("rate", [None, 0])
def test_without_a_limit_nobody_waits(clock: Clock, rate: Optional[int]) -> None:
    throttle = Throttle(rate, clock, clock.sleep)
    for _number in range(100):
        throttle.take(10**9)
    NO_LIMIT.take(10**12)
    assert clock.latest == 0


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ImageError, match=r"bandwidth_limit: -1 is not a number of bytes per second"):
        Throttle(-1)


def test_the_bytes_stay_what_they_are(clock: Clock) -> None:
    chunks = [b"abcdefghij", b"", b"klmnopqrstuvwxyz"]
    assert b"".join(Throttle(7, clock, clock.sleep).limit_chunks(iter(chunks))) == b"".join(chunks)
    assert clock.latest == pytest.approx(24 / 7)
    assert [len(chunk) for chunk in NO_LIMIT.limit_chunks(chunks) if chunk] == [10, 16]


def test_a_single_pause_is_never_long(clock: Clock) -> None:
    """A connection that is silent for long is taken for dead, by the receiver as by S3."""
    assert Throttle(10_000, clock, clock.sleep).limit_size(1024 * 1024) == 10_000
    assert Throttle(10**9, clock, clock.sleep).limit_size(1024 * 1024) == 1024 * 1024
    assert Throttle(None).limit_size(1024 * 1024) == 1024 * 1024
    throttle = Throttle(1000, clock, clock.sleep)
    for chunk in throttle.limit_chunks([b"x" * 10_000]):
        assert len(chunk) <= 1000
