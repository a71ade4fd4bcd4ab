# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bandwidth limit: bytes per second that several threads share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Callable, Optional

from .errors import ImageError


class Throttle:
    """C(rate): bytes per second, None for no limit. Unused time does not accumulate, so there are no bursts."""

    def __init__(
        self,
        rate: Optional[int],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate is not None and rate < 0:
            raise ImageError(
                f"bandwidth_limit: {rate} is not a number of bytes per second. Leave the option out for no limit."
            )
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Waits until C(count) more bytes are within the limit."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._rate
        if begin > now:
            self._sleep(begin - now)

    def limit_size(self, max_size: int) -> int:
        """The size of one chunk, small enough that a reader does not time out during the pause after it."""
        return min(max_size, self._rate) if self._rate else max_size

    def limit_chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yields the chunks, no faster than the limit."""
        for chunk in chunks:
            size = self.limit_size(len(chunk))
            for begin in range(0, len(chunk), size or 1):
                part = chunk[begin : begin + size]
                self.take(len(part))
                yield part


NO_LIMIT = Throttle(None)
