# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to EKS. No other file of this package calls EKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .._aws_call import ApiError, call_api, paginate
from .model import ClusterConfig

CLIENT_CONFIG = {"retries": {"mode": "standard", "total_max_attempts": 6}}
NOT_FOUND_CODE = "ResourceNotFoundException"
INVALID_CODE = "InvalidParameterException"


def get_cluster(client: Any, name: str) -> ClusterConfig:
    cluster = call_api(client, "DescribeCluster", name=name)["cluster"]
    network = cluster.get("kubernetesNetworkConfig") or {}
    cidr_key = "serviceIpv6Cidr" if network.get("ipFamily") == "ipv6" else "serviceIpv4Cidr"
    return ClusterConfig(
        name=str(cluster["name"]),
        version=str(cluster.get("version") or ""),
        endpoint=str(cluster.get("endpoint") or ""),
        certificate_authority=str((cluster.get("certificateAuthority") or {}).get("data") or ""),
        service_cidr=str(network.get(cidr_key) or ""),
        security_group=str((cluster.get("resourcesVpcConfig") or {}).get("clusterSecurityGroupId") or ""),
        auto_mode=bool((cluster.get("computeConfig") or {}).get("enabled")),
    )


def list_node_group_names(client: Any, cluster_name: str) -> list[str]:
    return [str(name) for name in paginate(client, "ListNodegroups", "nodegroups", clusterName=cluster_name)]


def get_node_group(client: Any, cluster_name: str, name: str) -> Optional[dict[str, Any]]:
    """Get a node group as DescribeNodegroup describes it; None where it does not exist."""
    try:
        group = call_api(client, "DescribeNodegroup", clusterName=cluster_name, nodegroupName=name)["nodegroup"]
    except ApiError as error:
        if error.code == NOT_FOUND_CODE:
            return None
        raise
    return dict(group)


def create_node_group(client: Any, cluster_name: str, params: Mapping[str, Any]) -> None:
    call_api(client, "CreateNodegroup", clusterName=cluster_name, **params)


def update_node_group_config(client: Any, cluster_name: str, name: str, changes: Mapping[str, Any]) -> str:
    response = call_api(client, "UpdateNodegroupConfig", clusterName=cluster_name, nodegroupName=name, **changes)
    return str(response["update"]["id"])


def update_node_group_version(
    client: Any, cluster_name: str, name: str, changes: Mapping[str, Any], force: bool
) -> str:
    response = call_api(
        client, "UpdateNodegroupVersion", clusterName=cluster_name, nodegroupName=name, force=force, **changes
    )
    return str(response["update"]["id"])


def get_update(client: Any, cluster_name: str, name: str, update_id: str) -> dict[str, Any]:
    response = call_api(client, "DescribeUpdate", name=cluster_name, nodegroupName=name, updateId=update_id)
    return dict(response["update"])


def delete_node_group(client: Any, cluster_name: str, name: str) -> None:
    call_api(client, "DeleteNodegroup", clusterName=cluster_name, nodegroupName=name)


def tag_resource(client: Any, arn: str, tags: Mapping[str, str]) -> None:
    call_api(client, "TagResource", resourceArn=arn, tags=dict(tags))


def untag_resource(client: Any, arn: str, keys: Sequence[str]) -> None:
    call_api(client, "UntagResource", resourceArn=arn, tagKeys=list(keys))
