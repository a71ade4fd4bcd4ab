# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for Cluster Autoscaler, taking one step on request: for tests of what a drain brings about.

As the real one it looks at pods that found no node, and knows nothing of cordons: capacity that was cordoned away is
missing, so a group grows, the one that is being drained among them, as long as its maximum allows it.
"""

from __future__ import annotations

from typing import Any

from .. import paths
from ..aws.control import send_command
from ..control_plane import Api


def pending(api: Api) -> list[str]:
    """Pods that the scheduler has given up for now."""
    found = api.get("/api/v1/pods?fieldSelector=status.phase=Pending")["items"]
    return [pod["metadata"]["name"] for pod in found if any(map(unschedulable, pod["status"].get("conditions", [])))]


def unschedulable(condition: dict[str, Any]) -> bool:
    return condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"


def step(api: Api, region: str, cluster: str, group: str) -> bool:
    """One node more for the group, if a pod waits for one and no new node is under way. Whether it grew."""
    endpoint = f"http://{paths.AWS}:{paths.AWS_PORT}"
    known = {
        entry["group"]: entry
        for entry in send_command(endpoint, "eks/nodes/work")["groups"]
        if entry["cluster"] == cluster
    }
    under_way = len(known[group]["nodes"]) < known[group]["desired"]
    if under_way or not pending(api):
        return False
    send_command(
        endpoint, "eks/scale", region=region, cluster=cluster, group=group, desired=known[group]["desired"] + 1
    )
    return True
