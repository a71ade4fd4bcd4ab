# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the test bed keeps things, and the addresses that it gives out."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

STATE = Path("/var/lib/daytwo-testbed")  # what outlives a killed process: keys, engines' data, registry, buckets
RUN = Path("/run/daytwo-testbed")  # sockets and the hosts' /run
LOCK = Path("/run/daytwo-testbed.lock")
CGROUP = "daytwo-testbed"  # below the root of every cgroup hierarchy
MARKER = "DAYTWO_TESTBED"  # in the environment of every process of the bed: how `down` finds them

NETWORK = "10.231.77.0/24"
CONTROLLER = "10.231.77.1"
CONTROLLER_LINK = "d2bed0"
REGISTRY = "10.231.77.10"
REGISTRY_AUTH = "10.231.77.11"
REGISTRY_PORT = 5000
S3 = "10.231.77.20"
S3_PORT = 443
AWS = "10.231.77.30"
AWS_PORT = 4566

REGION = "eu-central-1"
OTHER_REGION = "us-west-2"
ACCOUNT = "123456789012"  # moto's own default account


def cache() -> Path:
    """What is built once and reused: programs and images. `make clean` removes it."""
    if named := os.environ.get("DAYTWO_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "daytwo-aws"
