# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How our modules reach a cluster: by O(cluster), with tokens that renew themselves, or by O(kubeconfig)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from . import _eks_token
from ._eks_token import Cluster, ClusterError, Tokens

try:
    import kubernetes
    from kubernetes.config.config_exception import ConfigException

    HAS_KUBERNETES = True
except ImportError:
    HAS_KUBERNETES = False

# The documentation fragment daytwo.aws.cluster_access tells of these.
OPTIONS: dict[str, dict[str, Any]] = {
    "cluster": {"type": "str"},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}
MUTUALLY_EXCLUSIVE = [("cluster", "kubeconfig"), ("cluster", "context")]

MakeClient = Callable[..., Any]  # (service, region=..., endpoint=...), as AnsibleAWSModule.client


@dataclass(frozen=True)
class Access:
    """A ready kubernetes.client.ApiClient, and the EKS cluster behind it where that is known."""

    api: Any
    cluster: Optional[Cluster] = None


def connect(params: Mapping[str, Any], make_client: MakeClient, folder: str) -> Access:
    """By the options above. C(folder): where the certificate authority's file may stand while the module runs."""
    if params.get("cluster") is not None:  # given and empty: not the cluster of a kubeconfig
        cluster = _eks_token.describe(make_client("eks"), params["cluster"])
        return Access(for_cluster(cluster, tokens_of(cluster, make_client), folder), cluster)
    return Access(for_kubeconfig(params.get("kubeconfig"), params.get("context")))


def tokens_of(cluster: Cluster, make_client: MakeClient) -> Tokens:
    return Tokens.of(make_client("sts", region=cluster.region, endpoint=cluster.sts_endpoint), cluster)


def for_cluster(cluster: Cluster, tokens: Tokens, folder: str) -> Any:
    """An API client whose every request bears a token that is still good, however long the module runs."""
    configuration = kubernetes.client.Configuration()
    configuration.host = cluster.host
    configuration.ssl_ca_cert = ca_file(cluster.ca_pem, folder)

    def refresh(current: Any) -> None:  # the client calls this before each request
        current.api_key["authorization"] = f"Bearer {tokens.current().value}"

    configuration.refresh_api_key_hook = refresh
    refresh(configuration)
    return kubernetes.client.ApiClient(configuration)


def for_kubeconfig(path: Optional[str], context: Optional[str]) -> Any:
    """By a kubeconfig file; without one, by KUBECONFIG or ~/.kube/config, as kubectl does."""
    try:
        return kubernetes.config.new_client_from_config(config_file=path, context=context)
    except (ConfigException, OSError) as error:
        raise ClusterError(
            f"No cluster by kubeconfig {path or os.environ.get('KUBECONFIG') or '~/.kube/config'}"
            f"{f', context {context}' if context else ''}: {error}. Give cluster, or a kubeconfig that has it."
        ) from error


def ca_file(pem: str, folder: str) -> str:
    """The certificate authority as a file, which is the only form that Kubernetes clients take. One per authority."""
    path = os.path.join(folder, f"eks-ca-{hashlib.sha256(pem.encode()).hexdigest()[:16]}.pem")
    if not os.path.exists(path):
        handle, unfinished = tempfile.mkstemp(dir=folder, prefix="eks-ca-")
        with os.fdopen(handle, "w") as file:
            file.write(pem)
        os.replace(unfinished, path)  # another thread or process may write the same one
    return path
