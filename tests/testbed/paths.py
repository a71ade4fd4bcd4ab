# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's directories, and the addresses that it assigns."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

STATE = Path("/var/lib/daytwo-testbed")  # what survives a killed process: keys, engines' data, registry, buckets
RUN = Path("/run/daytwo-testbed")  # sockets and the hosts' /run
LOCK = Path("/run/daytwo-testbed.lock")
CGROUP = "daytwo-testbed"  # below the root of every cgroup hierarchy
MARKER = "DAYTWO_TESTBED"  # in the environment of every process of the bed: `down` finds them by it

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
NAMES = "10.231.77.31"  # the address of AWS's own names in the cloud: STS, EC2, the clusters' issuers; TLS
ECR = "10.231.77.32"  # the registry ACCOUNT.dkr.ecr.REGION.amazonaws.com; TLS
ECR_API = "10.231.77.33"  # api.ecr.REGION.amazonaws.com; TLS
CLUSTER = "10.231.77.40"  # the API server of the live cluster, port 443
RECORDS = "10.231.77.41"  # the endpoint of every other cluster: nothing listens here
NODES = "10.231.80.0/22"  # the VPC of the cluster's nodes
SUBNETS = {"a": "10.231.80.0/24", "b": "10.231.81.0/24"}  # by availability zone; AWS's router is .1

REGION = "eu-central-1"
OTHER_REGION = "us-west-2"
ACCOUNT = "123456789012"  # moto's own default account


def cache() -> Path:
    """Return the directory of what is built once and reused: programs and images. `make clean` removes it."""
    if named := os.environ.get("DAYTWO_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "daytwo-aws"
