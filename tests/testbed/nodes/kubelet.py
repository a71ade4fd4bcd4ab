# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common parts of all AMI families: the kubelet's settings on EKS, its unit and its kubeconfig."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from .model import BootError, Cluster, Order

PROGRAM = "/usr/bin/kubelet"
CONTAINERD = "unix:///run/containerd/containerd.sock"
TOKEN_PROGRAM = "/usr/bin/aws-iam-authenticator"


def defaults(ca: str) -> dict[str, Any]:
    """The settings of EKS that have an effect on pods or on clients of the kubelet."""
    return {
        "address": "0.0.0.0",  # noqa: S104 - the node's own namespace
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "2m0s"},
            "x509": {"clientCAFile": ca},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": CONTAINERD,
        "hairpinMode": "hairpin-veth",
        "readOnlyPort": 0,
        "serializeImagePulls": False,
        "maxPods": 17,  # of a t3.medium
    }


def pem(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise BootError("the cluster's certificate authority is not base64") from None


def kubeconfig(order: Order, cluster: Cluster) -> str:
    """A kubeconfig as on EKS: the token comes from the instance role's credentials in the node's environment."""
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": TOKEN_PROGRAM,
        "args": ["token", "-i", cluster.name, "--region", order.instance.region],
        "interactiveMode": "Never",
    }
    server = {"server": cluster.endpoint, "certificate-authority-data": cluster.ca}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "kubernetes", "cluster": server}],
        "users": [{"name": "kubelet", "user": {"exec": command}}],
        "contexts": [{"name": "kubelet", "context": {"cluster": "kubernetes", "user": "kubelet"}}],
        "current-context": "kubelet",
    }
    return json.dumps(document, indent=2) + "\n"


def unit(arguments: str, environment_file: str = "") -> str:
    read = f"EnvironmentFile=-{environment_file}\n" if environment_file else ""
    return (
        f"[Unit]\nDescription=Kubernetes Kubelet\n\n[Service]\n{read}ExecStart={PROGRAM} {arguments}\nRestart=always\n"
    )
