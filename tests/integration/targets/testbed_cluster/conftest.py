# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
import sys

import pytest
from integration.targets.testbed_cluster import node_groups
from testbed import Bed
from testbed.aws.control import send_command
from testbed.eks import Cluster


@pytest.fixture(scope="session")
def bed(pytestconfig: pytest.Config) -> Bed:
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # the first build of the programs takes minutes: show its output
        subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True)
    return Bed.load()


@pytest.fixture
def cluster(bed: Bed) -> Cluster:
    """The running cluster without node groups. Earlier tests may have deleted it or left node groups."""
    bed.cluster.ensure()
    send_command(bed.env["AWS_ENDPOINT_URL"], "eks/settings")  # the defaults
    node_groups.delete_all(bed.cluster)
    return bed.cluster
