# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node group with a single real node, for tests that need a kubelet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from testbed.eks import Cluster
from testbed.node import Node, wait_for

SECONDS = 240  # long, because these tests do not measure speed
SINGLE_NODE = {"minSize": 0, "maxSize": 1, "desiredSize": 1}


def begin(cluster: Cluster, name: str) -> None:
    eks = cluster.client("eks")
    role = cluster.role("testbed-node", "ec2")
    where = {"clusterName": cluster.name, "nodegroupName": name}
    eks.create_nodegroup(**where, nodeRole=role, subnets=cluster.subnets(), scalingConfig=SINGLE_NODE)


def launched(cluster: Cluster, name: str) -> str:
    """Create a node group and return the id of its running instance. Its node need not have joined yet."""
    begin(cluster, name)
    tags = [
        {"Name": "tag:eks:nodegroup-name", "Values": [name]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    found: list[str] = []

    def runs() -> bool:
        reservations = cluster.client("ec2").describe_instances(Filters=tags)["Reservations"]
        found[:] = [instance["InstanceId"] for reservation in reservations for instance in reservation["Instances"]]
        return bool(found) and (Node(found[0]).folder).exists()

    wait_for("its instance", runs, SECONDS)
    return found[0]


def create(cluster: Cluster, name: str) -> str:
    """Create a node group and return the name of its Ready node."""
    begin(cluster, name)
    found = wait_for_node_group(cluster, name)
    assert found["status"] == "ACTIVE", found["health"]
    nodes = cluster.api.get(f"/api/v1/nodes?labelSelector=eks.amazonaws.com/nodegroup={name}")["items"]
    assert len(nodes) == 1
    return str(nodes[0]["metadata"]["name"])


def wait_for_node_group(cluster: Cluster, name: str) -> dict[str, Any]:
    def get() -> dict[str, Any]:
        described = cluster.client("eks").describe_nodegroup(clusterName=cluster.name, nodegroupName=name)
        found: dict[str, Any] = described["nodegroup"]
        return found

    wait_for(f"the end of {name}'s change", lambda: get()["status"] not in ("CREATING", "UPDATING"), SECONDS)
    return get()


def delete(cluster: Cluster, name: str) -> None:
    eks = cluster.client("eks")
    eks.delete_nodegroup(clusterName=cluster.name, nodegroupName=name)

    def gone() -> bool:
        return name not in eks.list_nodegroups(clusterName=cluster.name)["nodegroups"]

    wait_for("the end of the node", gone, SECONDS)


def delete_all(cluster: Cluster) -> None:
    """Delete all node groups, also those that other tests have left in any state."""
    eks = cluster.client("eks")
    for name in eks.list_nodegroups(clusterName=cluster.name)["nodegroups"]:
        if wait_for_node_group(cluster, name)["status"] != "DELETING":
            delete(cluster, name)
    wait_for(
        "the end of the node groups", lambda: not eks.list_nodegroups(clusterName=cluster.name)["nodegroups"], SECONDS
    )


@contextlib.contextmanager
def single_node(cluster: Cluster, name: str) -> Iterator[str]:
    node = create(cluster, name)
    try:
        yield node
    finally:
        delete(cluster, name)
