# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the Kubernetes API: by O(cluster), with tokens that are renewed, or by O(kubeconfig)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from . import _eks_token
from ._eks_token import ClusterError, EksCluster, EksTokenCache

try:
    import kubernetes
    from kubernetes.config.config_exception import ConfigException
    from yaml import YAMLError

    HAS_KUBERNETES = True
except ImportError:
    HAS_KUBERNETES = False

# What the client raises for a file whose content is something else, or whose fields have another type.
_CONTENT_ERRORS = (TypeError, ValueError, AttributeError, KeyError)

# The documentation fragment daytwo.aws.cluster_access documents these options.
OPTIONS: dict[str, dict[str, Any]] = {
    "cluster": {"type": "str"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}
MUTUALLY_EXCLUSIVE = [("cluster", "kubeconfig"), ("cluster", "context")]

MakeClient = Callable[..., Any]  # (service, region=..., endpoint=...), as AnsibleAWSModule.client


@dataclass(frozen=True)
class ClusterAccess:
    """A ready kubernetes.client.ApiClient, and the EKS cluster behind it if it is known."""

    api: Any
    cluster: Optional[EksCluster] = None


def connect(params: Mapping[str, Any], make_client: MakeClient, directory: str) -> ClusterAccess:
    """Connects by the options above. C(directory): holds the certificate authority's file while the module runs."""
    if params.get("cluster") is not None:  # an empty name must not fall back to a kubeconfig
        cluster = _eks_token.describe_cluster(make_client("eks"), params["cluster"])
        return ClusterAccess(make_cluster_client(cluster, make_token_cache(cluster, make_client), directory), cluster)
    return ClusterAccess(make_kubeconfig_client(params.get("kubeconfig"), params.get("context")))


def make_token_cache(cluster: EksCluster, make_client: MakeClient) -> EksTokenCache:
    return EksTokenCache.from_cluster(make_client("sts", region=cluster.region, endpoint=cluster.sts_endpoint), cluster)


def make_cluster_client(cluster: EksCluster, tokens: EksTokenCache, directory: str) -> Any:
    """An API client that sends a valid token with every request, however long the module runs."""
    configuration = kubernetes.client.Configuration()
    configuration.host = cluster.host
    configuration.ssl_ca_cert = write_ca_file(cluster.ca_pem, directory)

    def refresh(current: Any) -> None:  # the client calls this before each request
        current.api_key["authorization"] = f"Bearer {tokens.get_token().value}"

    configuration.refresh_api_key_hook = refresh
    refresh(configuration)
    return kubernetes.client.ApiClient(configuration)


def make_kubeconfig_client(path: Optional[str], context: Optional[str]) -> Any:
    """An API client by a kubeconfig file; without one, by KUBECONFIG or ~/.kube/config, as kubectl does."""
    try:
        return kubernetes.config.new_client_from_config(config_file=path, context=context)
    except (ConfigException, OSError, YAMLError, *_CONTENT_ERRORS) as error:
        reason = "it is no kubeconfig file" if isinstance(error, (YAMLError, *_CONTENT_ERRORS)) else str(error)
        raise ClusterError(
            f"No cluster by kubeconfig {path or os.environ.get('KUBECONFIG') or '~/.kube/config'}"
            f"{f', context {context}' if context else ''}: {reason.rstrip('.')}. Give cluster, or a kubeconfig with "
            "that context."
        ) from error


def write_ca_file(pem: str, directory: str) -> str:
    """Writes the certificate authority to a file, the only form that Kubernetes clients accept; one per authority."""
    path = os.path.join(directory, f"eks-ca-{hashlib.sha256(pem.encode()).hexdigest()[:16]}.pem")
    if not os.path.exists(path):
        handle, unfinished = tempfile.mkstemp(dir=directory, prefix="eks-ca-")
        with os.fdopen(handle, "w") as file:
            file.write(pem)
        os.replace(unfinished, path)  # atomic: another thread or process may write the same file
    return path
