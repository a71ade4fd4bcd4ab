# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python autostop_peers.py ours|c7n|loop [FILE]`: one way to stop tagged clusters, timed after all imports.

Each way runs in its own process, c7n in its own environment. The last line on standard output is the seconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

REGION = os.environ["AWS_REGION"]


def ours() -> Callable[[], None]:
    """The module's work between its options and its result."""
    import botocore.session
    from ansible_collections.daytwo.aws.plugins.module_utils._autostop import fleet
    from botocore.config import Config

    def run() -> None:
        session = botocore.session.get_session()

        def make(service: str, region: str) -> object:
            return session.create_client(service, region_name=region, config=Config(**fleet.CLIENT_CONFIG))

        (outcome,) = fleet.run_regions(make, [REGION], fleet.AutostopOptions(), act=True)
        if outcome.error:
            raise RuntimeError(outcome.error)

    return run


def c7n() -> Callable[[], None]:
    """The policy in FILE, timed from the start of its run."""
    from c7n.config import Config
    from c7n.loader import PolicyLoader
    from c7n.resources import load_resources

    directory = os.path.dirname(sys.argv[2])
    options = Config.empty(region=REGION, regions=[REGION], output_dir=os.path.join(directory, "out"), cache="")
    load_resources(("aws.rds-cluster",))
    policies = PolicyLoader(options).load_file(sys.argv[2])

    def run() -> None:
        for policy in policies:
            policy()

    return run


def loop() -> Callable[[], None]:
    """Like the usual guide's Lambda: the first page of clusters, a tags call per cluster, then its stop."""
    import boto3

    def run() -> None:
        rds = boto3.client("rds", region_name=REGION)
        for cluster in rds.describe_db_clusters()["DBClusters"]:
            tags = rds.list_tags_for_resource(ResourceName=cluster["DBClusterArn"])["TagList"]
            if {"Key": "autostop", "Value": "yes"} in tags and cluster["Status"] == "available":
                rds.stop_db_cluster(DBClusterIdentifier=cluster["DBClusterIdentifier"])

    return run


if __name__ == "__main__":
    work = {"ours": ours, "c7n": c7n, "loop": loop}[sys.argv[1]]()
    began = time.monotonic()
    work()
    print(time.monotonic() - began)
