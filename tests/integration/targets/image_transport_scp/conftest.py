# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator

import pytest
from integration.targets.image_offline_transfer.kit import Case, ansible, bed, case
from integration.targets.image_transport_scp.ground import Ground

__all__ = ["ansible", "bed", "case", "ground"]


@pytest.fixture
def ground(case: Case) -> Iterator[Ground]:
    made = Ground(case)
    yield made
    made.restore()
