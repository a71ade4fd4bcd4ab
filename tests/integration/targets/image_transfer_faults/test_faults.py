# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault on each path: the right image runs or the old one does, nothing is left, a plain re-run converges."""

from __future__ import annotations

import contextlib
import random
import re
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import PRIVATE, Case, bed_lock
from integration.targets.image_transfer_faults.faults import CELLS, Cell
from integration.targets.image_transfer_faults.place import Place, failures

SEED = 3
# Those that take some seconds, and leave the parts of the bed alone.
SHORT = [cell for cell in CELLS if cell.fault in ("link cut mid-blob", "target's disk is small", "signed URL expires")]
SAMPLE = random.Random(SEED).sample(SHORT, 1)  # noqa: S311


def cells() -> list[Any]:
    return [
        pytest.param(
            cell,
            id=re.sub("[^a-z0-9]+", "_", cell.fault.lower()) + f"-{cell.path}",
            marks=() if cell in SAMPLE else pytest.mark.full,
        )
        for cell in CELLS
    ]


@pytest.mark.parametrize("cell", cells())
def test_fault(case: Case, cell: Cell) -> None:
    place = Place.make(case, cell.path, source=cell.source)
    with bed_lock(exclusive=True) if cell.alone else contextlib.nullcontext():
        ran = cell.run(place)
    failed = failures(ran)
    assert (ran.returncode == 0) == (not failed), ran.output
    for host, message in cell.fails.items():
        assert message in failed.get(host, ""), f"{host} failed with {failed.get(host)!r}\n{ran.output}"
    for host in set(failed) - set(cell.fails):
        assert cell.allowed_error, f"{host} failed with {failed[host]!r}\n{ran.output}"
        assert re.search(cell.allowed_error, failed[host]), f"{host} failed with {failed[host]!r}\n{ran.output}"
    for host in PRIVATE:
        held = place.holds(host)  # whole, and it runs
        if host not in failed and set(failed) < set(PRIVATE):
            assert held is (place.old if cell.for_all else place.new), f"{host}: no failure\n{ran.output}"
    left = place.stray()
    if cell.engine_gone:
        images = [what for host in PRIVATE for what in left.pop(host, ())]
        assert all(re.fullmatch("[0-9a-f]{12}", image) for image in images), images
    assert left == {}, ran.output
    place.converges()
