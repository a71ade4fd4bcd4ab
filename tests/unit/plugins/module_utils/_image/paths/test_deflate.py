# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When it is worth to compress what goes on a wire, and that it is found out as wire and content change."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.deflate import Deflater, is_compression_faster

NS = 1e-9
PIECE = 256 * 1024
TEXT, NOISE = b"a line of text\n" * (PIECE // 15), os.urandom(PIECE)


@pytest.mark.parametrize(
    ("blocked", "cost", "ratio", "expected"),
    [
        (0, 0, 0, False),
        (0, 6, 0.4, False),
        (3, 6, 0.4, False),
        (10.7, 15, 0.4, False),
        (10.7, 3, 0.15, True),
        (80, 0, 0, True),
        (80, 6, 0.4, True),
        (80, 15, 0.8, True),
        (80, 15, 0.95, False),
        (80, 15, 1.0, False),
        (80, 60, 0.2, False),
        (1000, 15, 0.4, True),
        (1000, 15, 1.0, False),
    ],
    ids=[
        "nothing is known",
        "a wire that takes all at once",
        "memory for a wire",
        "750 Mbit/s, for what compresses slowly",
        "750 Mbit/s, for what compresses fast",
        "100 Mbit/s, and nothing was compressed yet",
        "100 Mbit/s",
        "100 Mbit/s, for what hardly compresses",
        "100 Mbit/s, for what does not compress",
        "100 Mbit/s, for what grows",
        "100 Mbit/s, with a slow processor",
        "8 Mbit/s",
        "8 Mbit/s, for what does not compress",
    ],
)
def test_compressing_is_worth_it_where_the_byte_is_away_sooner(
    blocked: float, cost: float, ratio: float, expected: bool
) -> None:
    """Seconds per byte in nanoseconds."""
    assert is_compression_faster(blocked * NS, cost * NS, ratio) is expected


@dataclass
class Wire:
    """A wire and a processor, both in nanoseconds for a byte, and what the deflater makes of them."""

    blocked: float
    cost: float = 6
    now: float = 0.0
    tries: int = 0
    deflater: Deflater = field(init=False)

    def __post_init__(self) -> None:
        self.deflater = Deflater(self.clock)

    def clock(self) -> float:
        """Called before and after a chunk is compressed."""
        self.now += self.cost * NS * PIECE
        self.tries += 1
        return self.now

    def send(self, piece: bytes, count: int) -> list[bool]:
        """Which of so many were compressed; each arrives as it was."""
        done = []
        for _number in range(count):
            data = self.deflater.deflate(piece)
            done.append(data is not piece)
            assert data is piece or zlib.decompress(data) == piece
            self.deflater.record_write(len(data), self.blocked * NS * len(data))
        return done


def test_a_fast_wire_gets_everything_as_it_is_and_nothing_is_tried() -> None:
    wire = Wire(blocked=0)
    assert not any(wire.send(TEXT, 1000))
    assert wire.tries == 0


def test_a_slow_wire_gets_what_compresses_compressed_from_its_first_pause_on() -> None:
    wire = Wire(blocked=80)
    assert wire.send(TEXT, 100) == [False] + [True] * 99


def test_a_wire_that_is_faster_than_compressing_costs_a_try_now_and_then() -> None:
    wire = Wire(blocked=4)
    done = wire.send(TEXT, 1000)
    assert 0 < sum(done) < 50


def test_the_wire_is_measured_all_the_time() -> None:
    wire = Wire(blocked=80)
    wire.send(TEXT, 100)
    wire.blocked = 3
    wire.send(TEXT, 100)
    assert sum(wire.send(TEXT, 1000)) < 50
    wire.blocked = 80
    assert all(wire.send(TEXT, 30)[-20:])


def test_the_content_is_measured_all_the_time() -> None:
    wire = Wire(blocked=80)
    wire.send(TEXT, 100)
    tried = wire.tries
    assert not any(wire.send(NOISE, 300)), "what grows stays as it is"
    assert 20 < (wire.tries - tried) // 2 < 100, "and is tried seldom"
    done = wire.send(TEXT, 20)
    assert all(done[10:])


def test_a_processor_that_others_need_is_left_to_them() -> None:
    wire = Wire(blocked=80)
    wire.send(TEXT, 100)
    wire.cost = 300
    assert sum(wire.send(TEXT, 500)) < 20
    wire.cost = 6
    assert all(wire.send(TEXT, 300)[-100:])
