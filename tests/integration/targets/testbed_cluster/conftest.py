# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys

import pytest
from testbed import Bed
from testbed.eks import Cluster


@pytest.fixture(scope="session")
def bed() -> Bed:
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True)
    return Bed.load()


@pytest.fixture
def cluster(bed: Bed) -> Cluster:
    """The cluster that runs; a test before may have ended it."""
    bed.cluster.ensure()
    return bed.cluster
