# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's EKS cluster: seconds until it is ACTIVE and until two nodes are Ready.

It measures from CreateCluster until the API server answers, and from CreateNodegroup until the nodes are Ready. The
programs exist already. Use ROUNDS=1 for a short run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median
from typing import Any

from figures import ROUNDS, Figure, Goal, publish
from testbed import Bed
from testbed.eks import Cluster

NAME = "bench"
API_SECONDS, NODES_SECONDS = 15.0, 20.0  # goals for a machine with 2 cores


def ready(cluster: Cluster) -> int:
    nodes = cluster.api.get("/api/v1/nodes")["items"]
    conditions = [condition for node in nodes for condition in node["status"].get("conditions", [])]
    return sum(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def group(cluster: Cluster) -> dict[str, Any]:
    return {
        "clusterName": NAME,
        "nodegroupName": NAME,
        "nodeRole": cluster.role(f"{NAME}-node", "ec2"),
        "subnets": cluster.subnets(),
        "scalingConfig": {"minSize": 2, "maxSize": 2, "desiredSize": 2},
    }


def remove(eks: Any, cluster: str, group: str) -> None:
    eks.delete_nodegroup(clusterName=cluster, nodegroupName=group)
    eks.get_waiter("nodegroup_deleted").wait(clusterName=cluster, nodegroupName=group, WaiterConfig={"Delay": 1})


def measure(cluster: Cluster) -> tuple[float, float]:
    eks = cluster.client("eks")
    if cluster.live:  # only a single cluster runs at a time
        for name in eks.list_nodegroups(clusterName=cluster.name)["nodegroups"]:
            remove(eks, cluster.name, name)
        cluster.delete(cluster.name)
    begin = time.monotonic()
    cluster.create(NAME)
    api = time.monotonic() - begin
    begin = time.monotonic()
    eks.create_nodegroup(**group(cluster))
    while ready(cluster) < 2:
        described = eks.describe_nodegroup(clusterName=NAME, nodegroupName=NAME)["nodegroup"]
        if described["status"] == "CREATE_FAILED" or time.monotonic() - begin > 300:
            sys.exit(f"two nodes are not Ready: {described['status']} {described['health']}")
        time.sleep(0.1)
    nodes = time.monotonic() - begin
    eks.get_waiter("nodegroup_active").wait(clusterName=NAME, nodegroupName=NAME, WaiterConfig={"Delay": 1})
    remove(eks, NAME, NAME)
    cluster.delete(NAME)
    return api, nodes


def main() -> int:
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True)
    cluster = Bed.load().cluster
    rounds = [measure(cluster) for _round in range(ROUNDS)]
    print(f"{ROUNDS} rounds:", "; ".join(f"API server {api:.1f} s, nodes {nodes:.1f} s" for api, nodes in rounds))
    goal = Goal(ratio=1.0)
    figures = [
        Figure("API server ready", median(api for api, _nodes in rounds), API_SECONDS, "goal", "s", goal),
        Figure("two nodes Ready", median(nodes for _api, nodes in rounds), NODES_SECONDS, "goal", "s", goal),
    ]
    return publish("cluster", figures)


if __name__ == "__main__":
    sys.exit(main())
