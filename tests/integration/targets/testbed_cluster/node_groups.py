# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node group with one real node, for what needs a kubelet."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from testbed.eks import Cluster
from testbed.node import wait_for

SECONDS = 240  # generous: nothing here is about speed
ONE = {"minSize": 0, "maxSize": 1, "desiredSize": 1}


def create(cluster: Cluster, name: str) -> str:
    """Returns the name of its node, which is Ready."""
    eks = cluster.client("eks")
    role = cluster.role("testbed-node", "ec2")
    where = {"clusterName": cluster.name, "nodegroupName": name}
    eks.create_nodegroup(**where, nodeRole=role, subnets=cluster.subnets(), scalingConfig=ONE)
    wait_for("the node", lambda: eks.describe_nodegroup(**where)["nodegroup"]["status"] != "CREATING", SECONDS)
    found = eks.describe_nodegroup(**where)["nodegroup"]
    assert found["status"] == "ACTIVE", found["health"]
    nodes = cluster.api.get(f"/api/v1/nodes?labelSelector=eks.amazonaws.com/nodegroup={name}")["items"]
    assert len(nodes) == 1
    return str(nodes[0]["metadata"]["name"])


def delete(cluster: Cluster, name: str) -> None:
    eks = cluster.client("eks")
    eks.delete_nodegroup(clusterName=cluster.name, nodegroupName=name)

    def gone() -> bool:
        return name not in eks.list_nodegroups(clusterName=cluster.name)["nodegroups"]

    wait_for("the node's end", gone, SECONDS)


@contextlib.contextmanager
def one_node(cluster: Cluster, name: str) -> Iterator[str]:
    node = create(cluster, name)
    try:
        yield node
    finally:
        delete(cluster, name)
