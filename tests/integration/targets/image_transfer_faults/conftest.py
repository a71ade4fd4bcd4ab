# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.targets.image_offline_transfer.kit import Ansible, ansible, bed
from integration.targets.image_transfer_faults.place import FaultCase
from testbed import Bed

__all__ = ["ansible", "bed", "case"]


@pytest.fixture
def case(bed: Bed, ansible: Ansible) -> Iterator[FaultCase]:
    bed.images.ensure("ft")
    made = FaultCase(bed, ansible)
    made.clean()
    made.mark()
    yield made
    made.clean()
