# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads EKS: the OIDC provider of a cluster, and its Pod Identity associations."""

from __future__ import annotations

from typing import Any

from .._aws_call import paginate
from .._eks_token import ClusterError, describe_cluster
from .model import IrsaError, OidcProvider


def get_provider(client: Any, cluster: str) -> OidcProvider:
    """The cluster's OIDC provider, by one DescribeCluster.

    The issuer is used verbatim (docs/facts/irsa.md#issuers-and-partitions).
    """
    try:
        eks_cluster = describe_cluster(client, cluster)
    except ClusterError as error:
        raise IrsaError(str(error)) from error
    if not eks_cluster.issuer:
        raise IrsaError(
            f"Cluster {cluster} has no OIDC issuer, so its service accounts cannot assume roles by web identity. "
            "Every EKS cluster has an issuer; a registered (external) cluster has none. Check the name."
        )
    return OidcProvider.from_cluster(eks_cluster.arn, eks_cluster.issuer)


def list_pod_identity_associations(client: Any, cluster: str) -> set[tuple[str, str]]:
    """Namespace and service account of each Pod Identity association."""
    found = paginate(client, "ListPodIdentityAssociations", "associations", clusterName=cluster)
    return {(str(association["namespace"]), str(association["serviceAccount"])) for association in found}
