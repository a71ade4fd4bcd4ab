# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two people run it at once, from one source to the same targets: both end right, and nothing is left of either."""

from __future__ import annotations

import time

import pytest
from integration.targets.image_offline_transfer.kit import PLAIN, PRIVATE, Case
from integration.targets.image_transfer_faults.faults import SLOW
from integration.targets.image_transfer_faults.place import PATHS, Place

OTHER = "ft-other:production"


@pytest.mark.full
@pytest.mark.parametrize("later", [0.0, 3.0, 6.0])  # seconds; so that the steps of the two meet in several ways
@pytest.mark.parametrize("images", ["same", "different"])
@pytest.mark.parametrize("source", ["registry", "docker"])
@pytest.mark.parametrize("path", PATHS)
def test_two_runs(case: Case, path: str, source: str, images: str, later: float) -> None:
    place = Place.make(case, path, source=source)
    second = case.image("ft-app:v2")
    if source == "docker":
        case.bed.images.into_docker(case.bed.host("public"), second, f"{PLAIN}/ft-app:v2")
    first = place.start(**SLOW)
    time.sleep(later)
    references = () if images == "same" else (f"{PLAIN}/ft-app:v2", OTHER)
    also = place.start(*references, **SLOW)
    for running in (first, also):
        place.finish(running).succeed()
    for host in PRIVATE:
        assert place.holds(host) is place.new
        if images == "different":
            case.proves(host, OTHER, second)
    assert place.stray() == {}
    assert place.run().succeed().changed() == []
