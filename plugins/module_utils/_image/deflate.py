# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether it is faster to compress what goes on the wire than to send it as it is, by what both took lately."""

from __future__ import annotations

import time
import zlib
from typing import Callable

# What compresses also takes from the processor that reads, hashes and encrypts; and there must be something to gain.
_CPU_MARGIN, _MIN_GAIN = 2.0, 0.9
# How much of what is known is kept with each piece: of the wire, whose buffers take pieces in gusts; and of
# compressing, as long as nothing is compressed.
_WIRE_DECAY, _COMPRESSION_DECAY = 0.95, 0.98


def is_compression_faster(blocked: float, cost: float, ratio: float) -> bool:
    """Whether a byte is away sooner when it is compressed, one piece while the wire is busy with another.

    C(blocked): seconds for which the wire keeps the writer of a byte. C(cost): seconds of compressing a byte.
    C(ratio): bytes that come of one.
    """
    return max(_CPU_MARGIN * cost, ratio * blocked) < _MIN_GAIN * blocked


class Deflater:
    """Compresses pieces for one wire, or leaves them as they are.

    Another content may compress better than the last one did. So that is forgotten bit by bit while nothing is
    compressed: until it seems worth another try, which is sooner where it would cost less.

    Two threads use it, one to write and one to compress what is next; it does no harm where one is a piece behind.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = self._bytes = self._cost = self._ratio = 0.0

    def record_write(self, size: int, seconds: float) -> None:
        """So many bytes on the wire took so long."""
        self._seconds = _WIRE_DECAY * self._seconds + seconds
        self._bytes = _WIRE_DECAY * self._bytes + size

    def deflate(self, chunk: bytes) -> bytes:
        """The piece, compressed or not: it is if it is shorter."""
        blocked = self._seconds / self._bytes if self._bytes else 0.0
        if not is_compression_faster(blocked, self._cost, self._ratio):
            self._cost *= _COMPRESSION_DECAY
            self._ratio *= _COMPRESSION_DECAY
            return chunk
        began = self._clock()
        # The quickest; it lets other threads run.
        compressed = zlib.compress(chunk, 1)
        self._cost = (self._cost + (self._clock() - began) / len(chunk)) / 2
        self._ratio = (self._ratio + len(compressed) / len(chunk)) / 2
        return compressed if len(compressed) < len(chunk) else chunk
