# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which OIDC provider a cluster's tokens come from."""

from __future__ import annotations

from typing import Any

from .._eks_token import ClusterError, describe
from .model import IrsaError, Provider


def provider(client: Any, cluster: str) -> Provider:
    """By one DescribeCluster, whose issuer is taken to the letter (facts: irsa)."""
    try:
        told = describe(client, cluster)
    except ClusterError as error:
        raise IrsaError(str(error)) from error
    if not told.issuer:
        raise IrsaError(
            f"Cluster {cluster} has no OIDC issuer, so that its service accounts cannot assume roles by web identity. "
            "EKS gives every cluster one; a registered cluster has none."
        )
    return Provider.of_cluster(told.arn, told.issuer)
