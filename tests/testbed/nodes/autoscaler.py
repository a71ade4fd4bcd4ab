# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An imitation of Cluster Autoscaler that takes a single step per call, for tests of a drain's effects.

Like the real Cluster Autoscaler it reads unschedulable pods and ignores cordons. The capacity of cordoned nodes is
missing, so it grows a node group up to its maximum, even the node group that is being drained.
docs/facts/sysctl_nodegroup.md#freezing-a-group
"""

from __future__ import annotations

from typing import Any

from .. import paths
from ..aws.control import send_command
from ..control_plane import Api


def pending(api: Api) -> list[str]:
    """Pods that are Pending and unschedulable."""
    found = api.get("/api/v1/pods?fieldSelector=status.phase=Pending")["items"]
    return [pod["metadata"]["name"] for pod in found if any(map(unschedulable, pod["status"].get("conditions", [])))]


def unschedulable(condition: dict[str, Any]) -> bool:
    return condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"


def step(api: Api, region: str, cluster: str, group: str) -> bool:
    """Add a node to the group if a pod is unschedulable and no new node is starting. Returns whether the group grew."""
    endpoint = f"http://{paths.AWS}:{paths.AWS_PORT}"
    known = {
        entry["group"]: entry
        for entry in send_command(endpoint, "eks/nodes/work")["groups"]
        if entry["cluster"] == cluster
    }
    starting = len(known[group]["nodes"]) < known[group]["desired"]
    if starting or not pending(api):
        return False
    send_command(
        endpoint, "eks/scale", region=region, cluster=cluster, group=group, desired=known[group]["desired"] + 1
    )
    return True
