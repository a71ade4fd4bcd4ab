# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: node groups of the cluster that runs here. Their instances are EC2's records. The controller of testbed.nodes
runs them: it reads the desired state here and reports the outcome."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.eks.exceptions import InvalidParameterException
from moto.eks.models import Cluster, EKSBackend, Nodegroup, eks_backends
from moto.sts.models import sts_backends

from ..nodes.model import family_of
from . import eks, eks_access, eks_life
from .control import command
from .eks import NodegroupRequest, Template, template_of
from .eks_life import SETTINGS, nodes_of
from .rules import rule

EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


def real_groups() -> list[tuple[EKSBackend, Cluster, Nodegroup]]:
    return [
        (backend, cluster, group)
        for backend in list(eks_backends[DEFAULT_ACCOUNT_ID].values())
        for cluster in list(backend.clusters.values())
        for group in list(cluster.nodegroups.values())
        if eks_life.is_real(cluster, group)
    ]


def found(region: str, cluster: str, group: str) -> tuple[EKSBackend, Cluster, Nodegroup]:
    backend = eks_backends[DEFAULT_ACCOUNT_ID][region]
    return backend, backend.clusters[cluster], backend.clusters[cluster].nodegroups[group]


# Rules


@rule(
    EKSBackend,
    "create_nodegroup",
    fact="none: the limit of one machine. EKS admits the node role to the cluster (EKS user guide on access entries)",
)
def real_nodes_are_few(plain: Callable[..., Any], backend: EKSBackend, **params: Any) -> Nodegroup:
    cluster = backend.clusters.get(params["cluster_name"])
    real = cluster is not None and eks_life.is_live(cluster) and "WINDOWS" not in str(params.get("ami_type"))
    if real:
        request = NodegroupRequest(backend, cluster, params)
        if message := crowd(request.scaling_config or {}, 0):
            raise eks.ResourceLimitExceededError(message=message)
    group: Nodegroup = plain(backend, **params)
    if real:
        eks_access.admit_nodes(cluster, group.node_role)
    return group


@rule(EKSBackend, "update_nodegroup_config", fact="none: the limit of one machine")
def real_nodes_stay_few(plain: Callable[..., Any], backend: EKSBackend, **params: Any) -> Any:
    cluster = backend.clusters.get(params["cluster_name"])
    group = cluster.nodegroups.get(params["nodegroup_name"]) if cluster else None
    scaling = params.get("scaling_config") or {}
    message = None
    if group and eks_life.is_real(cluster, group) and "desiredSize" in scaling:
        message = crowd(scaling, group.scaling_config["desiredSize"])
    if message:
        raise InvalidParameterException(message=message)  # UpdateNodegroupConfig has no error for a limit
    return plain(backend, **params)


def crowd(scaling: dict[str, int], before: int) -> str | None:
    """Return why a group cannot have that many nodes."""
    others = sum(group.scaling_config["desiredSize"] for _backend, _cluster, group in real_groups()) - before
    desired = scaling.get("desiredSize", 2)
    if others + desired <= SETTINGS.max_nodes:
        return None
    return (
        f"The test bed runs at most {SETTINGS.max_nodes} nodes at a time; other groups want {others} of them, and "
        f"this group requests {desired}. The command eks/settings raises max_nodes."
    )


# The desired state


@command("eks/nodes/work")
def work() -> dict[str, Any]:
    groups = []
    for backend, cluster, group in real_groups():
        goal = group.testbed_goal if getattr(group, "testbed_update", None) else {}
        spec = generation(group, goal)
        unavailable, minimal = pace(group)
        groups.append(
            {
                "region": backend.region_name,
                "cluster": cluster.name,
                "group": group.nodegroup_name,
                "status": group.status,
                "desired": group.scaling_config["desiredSize"],
                "rolling": bool(goal),
                "force": bool(goal.get("force")),
                "unavailable": unavailable,
                "minimal": minimal,
                "spec": spec,
                "labels": labels(group, spec_template(backend, group, goal), goal),
                "taints": taints(group),
                "nodes": list(nodes_of(group).values()),
            }
        )
    limits = {"join": SETTINGS.join_seconds, "evict": SETTINGS.evict_seconds, "drain": SETTINGS.drain_seconds}
    return {"limits": limits, "groups": groups}


def pace(group: Nodegroup) -> tuple[int, bool]:
    config = group.update_config or {}
    share = config.get("maxUnavailablePercentage")
    count = max(1, group.scaling_config["desiredSize"] * share // 100) if share else config.get("maxUnavailable", 1)
    return int(count), config.get("updateStrategy") == "MINIMAL"


def generation(group: Nodegroup, goal: dict[str, Any]) -> str:
    """Return what a node boots from. An update replaces nodes whose generation differs."""
    template = goal["template"] if goal else None
    version = str(template.version) if template else (group.launch_template or {}).get("version", "")
    return f"{goal.get('version', group.version)}/{goal.get('release', group.release_version)}/{version}"


def spec_template(backend: EKSBackend, group: Nodegroup, goal: dict[str, Any]) -> Template | None:
    if goal.get("template"):
        return goal["template"]  # type: ignore[no-any-return]  # Template | None, by begin_group_update
    if not group.launch_template:
        return None
    named = {"id": group.launch_template["id"], "version": group.launch_template["version"]}
    return template_of(ec2_backends[backend.account_id][backend.region_name], named)


def image_of(group: Nodegroup, template: Template | None, goal: dict[str, Any]) -> str:
    if template and template.image:
        return template.image
    release = f"{group.ami_type}/{goal.get('release', group.release_version)}"
    return f"ami-{hashlib.sha256(release.encode()).hexdigest()[:17]}"


def labels(group: Nodegroup, template: Template | None, goal: dict[str, Any]) -> dict[str, str]:
    own = {
        "eks.amazonaws.com/nodegroup": group.nodegroup_name,
        "eks.amazonaws.com/nodegroup-image": image_of(group, template, goal),
        "eks.amazonaws.com/capacityType": group.capacity_type,
    }
    if template:
        own["eks.amazonaws.com/sourceLaunchTemplateId"] = template.id
        own["eks.amazonaws.com/sourceLaunchTemplateVersion"] = str(template.version)
    return {**(group.labels or {}), **own}


def taints(group: Nodegroup) -> list[str]:
    return [f"{taint['key']}={taint.get('value', '')}:{EFFECTS[taint['effect']]}" for taint in group.taints or []]


# Outcomes


@command("eks/nodes/launch")
def launch(region: str, cluster: str, group: str) -> dict[str, Any]:
    """Launch an instance of the group as an EC2 record, and return what it boots from."""
    backend, owner, nodegroup = found(region, cluster, group)
    goal = nodegroup.testbed_goal if nodegroup.testbed_update else {}
    template = spec_template(backend, nodegroup, goal)
    data = template.data if template else {}
    ec2 = ec2_backends[backend.account_id][region]
    image = image_of(nodegroup, template, goal)
    nodes = nodes_of(nodegroup)
    kind = data.get("InstanceType") or (nodegroup.instance_types or ["t3.medium"])[0]
    tags = {
        "eks:cluster-name": cluster,
        "eks:nodegroup-name": group,
        "aws:autoscaling:groupName": nodegroup.resources["autoScalingGroups"][0]["name"],
        f"kubernetes.io/cluster/{cluster}": "owned",
    }
    instance = ec2.run_instances(
        image,
        1,
        data.get("UserData"),
        [],
        instance_type=kind,
        is_instance_type_default=False,
        region_name=region,
        subnet_id=emptiest(nodegroup, nodes),
        security_group_ids=list(data.get("SecurityGroupIds") or []),
        key_name=data.get("KeyName"),
        tags={"instance": tags},
        metadata_options=data.get("MetadataOptions") or {},
        associate_public_ip=False,
    ).instances[0]
    user_data = template.user_data if template else b""
    role = sts_backends[backend.account_id][backend.partition].assume_role(
        region_name=region,
        role_session_name=instance.id,
        role_arn=nodegroup.node_role,
        policy=None,
        duration=43200,
        external_id=None,
    )
    node = {
        "id": instance.id,
        "ip": instance.private_ip,
        "name": instance.private_dns_name,
        "zone": instance.availability_zone,
        "subnet": instance.subnet_id,
        "type": kind,
        "image": image,
        "family": family_of(nodegroup.ami_type, user_data),
        "custom": nodegroup.ami_type == "CUSTOM",
        "spec": generation(nodegroup, goal),
        "labels": labels(nodegroup, template, goal),
        "taints": taints(nodegroup),
        "user_data": base64.b64encode(user_data).decode(),
        "cluster": {
            "name": owner.name,
            "endpoint": owner.endpoint,
            "ca": owner.certificate_authority["data"],
            "cidr": owner.kubernetes_network_config["serviceIpv4Cidr"],
        },
        "role": {
            "AWS_ACCESS_KEY_ID": role.access_key_id,
            "AWS_SECRET_ACCESS_KEY": role.secret_access_key,
            "AWS_SESSION_TOKEN": role.session_token,
            "AWS_REGION": region,
        },
    }
    nodes[instance.id] = node
    return node


def emptiest(group: Nodegroup, nodes: dict[str, dict[str, Any]]) -> str:
    """Return the subnet with the fewest nodes, so that zones stay even."""
    used = [node["subnet"] for node in nodes.values()]
    subnets: list[str] = group.subnets
    return min(subnets, key=lambda subnet: (used.count(subnet), subnets.index(subnet)))


@command("eks/nodes/gone")
def gone(region: str, cluster: str, group: str, instance: str) -> None:
    backend, _owner, nodegroup = found(region, cluster, group)
    nodes_of(nodegroup).pop(instance, None)
    ec2_backends[backend.account_id][region].terminate_instances([instance])


@command("eks/nodes/relabelled")
def relabelled(region: str, cluster: str, group: str, instance: str, labels: dict[str, str], taints: list[str]) -> None:
    _backend, _owner, nodegroup = found(region, cluster, group)
    nodes_of(nodegroup)[instance].update(labels=labels, taints=taints)


@command("eks/nodes/outcome")
def outcome(region: str, cluster: str, group: str, status: str, outcome: str, issue: dict[str, Any]) -> None:
    """Record the outcome of a group. `status` is the status at the time of the decision: a later status wins."""
    _backend, owner, nodegroup = found(region, cluster, group)
    if nodegroup.status != status:
        return
    if outcome in ("created", "create_failed"):
        eks_life.created(nodegroup, issue or None)
    elif outcome == "updated":
        eks_life.updated(nodegroup)
    elif outcome == "update_failed":
        error = {"errorCode": issue["code"], "errorMessage": issue["message"], "resourceIds": issue["resourceIds"]}
        eks_life.updated(nodegroup, error)
    elif outcome == "deleted":
        eks_life.deleted(owner, nodegroup)
    else:
        nodegroup.status = "DEGRADED" if outcome == "degraded" else "ACTIVE"
        nodegroup.health = {"issues": [issue] if issue else []}


@command("eks/scale")
def scale(region: str, cluster: str, group: str, desired: int) -> None:
    """Set the Auto Scaling group's desired capacity within its bounds, as an autoscaler does without a call to EKS."""
    _backend, _owner, nodegroup = found(region, cluster, group)
    sizes = nodegroup.scaling_config
    if not sizes["minSize"] <= desired <= sizes["maxSize"]:
        raise ValueError(f"{desired} is not between {sizes['minSize']} and {sizes['maxSize']}")
    if message := crowd({"desiredSize": desired}, sizes["desiredSize"]):
        raise ValueError(message)
    sizes["desiredSize"] = desired
