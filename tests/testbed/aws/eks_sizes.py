# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: how many nodes a group has. The Auto Scaling group knows; DescribeNodegroup can be behind it.

An autoscaler changes the Auto Scaling group without a call to EKS (the command eks/scale). Commands here let EKS lag
behind it, and let an autoscaler act between a client's reading and its write.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.eks.models import EKSBackend, Nodegroup, eks_backends
from moto.eks.responses import EKSResponse

from .control import command
from .eks_life import believed_size, nodes_of
from .rules import rule

FACTS = "docs/facts/sysctl_nodegroup.md#the-size-of-a-group"


def found(region: str, cluster: str, group: str) -> Nodegroup:
    return eks_backends[DEFAULT_ACCOUNT_ID][region].clusters[cluster].nodegroups[group]


@command("eks/lag")
def lag(region: str, cluster: str, group: str, lagging: bool = True) -> None:
    """Let EKS go on showing the present desired size, whatever an autoscaler does, or let it catch up."""
    nodegroup = found(region, cluster, group)
    nodegroup.testbed_believed_size = nodegroup.scaling_config["desiredSize"] if lagging else None


@command("eks/scale-before-update")
def scale_before_update(region: str, cluster: str, group: str, desired: int) -> None:
    """Scale the group within its bounds at the moment when the next UpdateNodegroupConfig arrives."""
    found(region, cluster, group).testbed_next_size = desired


@rule(
    EKSResponse,
    "describe_nodegroup",
    fact=f"DescribeNodegroup's desiredSize can be out of date while an autoscaler works: {FACTS}",
)
def sizes_can_be_out_of_date(plain: Callable[..., Any], response: EKSResponse) -> Any:
    answer = plain(response)
    group: Nodegroup = answer.result["nodegroup"]
    shown = copy.copy(group)
    shown.scaling_config = {**group.scaling_config, "desiredSize": believed_size(group)}
    return ActionResult({"nodegroup": shown})


@rule(
    EKSBackend,
    "update_nodegroup_config",
    fact=f"Without a desired size, the Auto Scaling group moves its own into new bounds, and so ends nodes: {FACTS}",
)
def sizes_move_into_the_bounds(plain: Callable[..., Any], backend: EKSBackend, **params: Any) -> Any:
    cluster = backend.clusters.get(params["cluster_name"])
    group = cluster.nodegroups.get(params["nodegroup_name"]) if cluster else None
    upcoming = group.__dict__.pop("testbed_next_size", None) if group else None
    if group and upcoming is not None:
        sizes = group.scaling_config
        sizes["desiredSize"] = min(max(upcoming, sizes["minSize"]), sizes["maxSize"])
    answer = plain(backend, **params)
    if group and "desiredSize" not in (params.get("scaling_config") or {}):
        sizes = group.scaling_config
        sizes["desiredSize"] = min(max(sizes["desiredSize"], sizes["minSize"]), sizes["maxSize"])
    elif group:
        group.testbed_believed_size = None
    return answer


@rule(
    AutoScalingResponse,
    "describe_auto_scaling_groups",
    fact="A node group is an Auto Scaling group, which DescribeNodegroup names (EKS user guide, managed node groups)",
)
def node_groups_are_auto_scaling_groups(plain: Callable[..., Any], response: AutoScalingResponse) -> Any:
    answer = plain(response)
    names = response._get_param("AutoScalingGroupNames", [])
    backend = eks_backends[response.current_account][response.region]
    groups = [group for cluster in backend.clusters.values() for group in cluster.nodegroups.values()]
    described = [describe(group) for group in groups]
    answer.result["AutoScalingGroups"] = [
        *answer.result["AutoScalingGroups"],
        *(entry for entry in described if not names or entry["AutoScalingGroupName"] in names),
    ]
    return answer


def describe(group: Nodegroup) -> dict[str, Any]:
    sizes = group.scaling_config
    return {
        "AutoScalingGroupName": group.resources["autoScalingGroups"][0]["name"],
        "MinSize": sizes["minSize"],
        "MaxSize": sizes["maxSize"],
        "DesiredCapacity": sizes["desiredSize"],
        "DefaultCooldown": 300,
        "AvailabilityZones": [],
        "HealthCheckType": "EC2",
        "CreatedTime": group.created_at,
        "Instances": [
            {
                "InstanceId": node["id"],
                "AvailabilityZone": node["zone"],
                "LifecycleState": "InService",
                "HealthStatus": "Healthy",
                "ProtectedFromScaleIn": False,
            }
            for node in nodes_of(group).values()
        ],
    }
