# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which OIDC provider a cluster's tokens come from, and which service accounts have pod identity associations."""

from __future__ import annotations

from typing import Any

from .._eks_token import ClusterError, describe_cluster
from .calls import call_api
from .model import IrsaError, OidcProvider


def get_provider(client: Any, cluster: str) -> OidcProvider:
    """By one DescribeCluster, whose issuer is taken to the letter (facts: irsa)."""
    try:
        eks_cluster = describe_cluster(client, cluster)
    except ClusterError as error:
        raise IrsaError(str(error)) from error
    if not eks_cluster.issuer:
        raise IrsaError(
            f"Cluster {cluster} has no OIDC issuer, so that its service accounts cannot assume roles by web identity. "
            "EKS gives every cluster one; a registered cluster has none."
        )
    return OidcProvider.from_cluster(eks_cluster.arn, eks_cluster.issuer)


def list_pod_identity_associations(client: Any, cluster: str) -> set[tuple[str, str]]:
    """Namespace and service account of each pod identity association."""
    found: set[tuple[str, str]] = set()
    more: dict[str, str] = {}
    while True:
        response = call_api(client, "ListPodIdentityAssociations", clusterName=cluster, **more)
        found.update(
            (str(association["namespace"]), str(association["serviceAccount"]))
            for association in response.get("associations") or ()
        )
        if not response.get("nextToken"):
            return found
        more = {"nextToken": str(response["nextToken"])}
