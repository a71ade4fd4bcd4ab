# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides by recent measurements whether sending compressed chunks is faster than sending them uncompressed."""

from __future__ import annotations

import time
import zlib
from typing import Callable

# Compression also takes processor time from reading, hashing and encryption, so it must gain more than this margin.
_CPU_MARGIN, _MIN_GAIN = 2.0, 0.9
# How much of the earlier measurements each chunk keeps: of the wire, whose buffers accept chunks in bursts; and of the
# compression, as long as no chunk is compressed.
_WIRE_DECAY, _COMPRESSION_DECAY = 0.95, 0.98


def is_compression_faster(blocked: float, cost: float, ratio: float) -> bool:
    """Whether a byte is sent sooner when it is compressed; one chunk is compressed while the wire sends another.

    C(blocked): seconds that the wire takes for a byte. C(cost): seconds that compressing a byte takes.
    C(ratio): compressed bytes for each byte.
    """
    return max(_CPU_MARGIN * cost, ratio * blocked) < _MIN_GAIN * blocked


class Deflater:
    """Compresses the chunks for one wire, or returns them unchanged.

    The next content may compress better than the last one did. So the measured cost decays while nothing is
    compressed, until another attempt is worthwhile. A low cost reaches that point sooner.

    Two threads use it: one writes, one compresses the next chunk. A measurement that is one chunk old does no harm.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = self._bytes = self._cost = self._ratio = 0.0

    def record_write(self, size: int, seconds: float) -> None:
        """Records that C(size) bytes took C(seconds) on the wire."""
        self._seconds = _WIRE_DECAY * self._seconds + seconds
        self._bytes = _WIRE_DECAY * self._bytes + size

    def deflate(self, chunk: bytes) -> bytes:
        """Returns the chunk, compressed where that is faster and shorter."""
        blocked = self._seconds / self._bytes if self._bytes else 0.0
        if not is_compression_faster(blocked, self._cost, self._ratio):
            self._cost *= _COMPRESSION_DECAY
            self._ratio *= _COMPRESSION_DECAY
            return chunk
        began = self._clock()
        # Level 1 is the fastest; zlib releases the GIL, so other threads run.
        compressed = zlib.compress(chunk, 1)
        self._cost = (self._cost + (self._clock() - began) / len(chunk)) / 2
        self._ratio = (self._ratio + len(compressed) / len(chunk)) / 2
        return compressed if len(compressed) < len(chunk) else chunk
