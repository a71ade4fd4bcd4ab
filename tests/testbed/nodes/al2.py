# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amazon Linux 2: cloud-init runs the shell parts of the user data. One of them calls bootstrap.sh.

docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
"""

from __future__ import annotations

import email
import json
import shlex
from email.message import Message
from pathlib import Path

from . import kubelet, mime
from .model import Boot, Order

CONFIG = "/etc/kubernetes/kubelet/kubelet-config.json"
BOOTSTRAP = Path(__file__).with_name("bootstrap.sh")


def boot(order: Order) -> Boot:
    scripts = read(order.user_data)
    if not order.custom:
        scripts.append(own(order))
    return Boot(files(order), scripts, starts=False)


def read(user_data: bytes) -> list[str]:
    """The scripts that cloud-init finds. cloud-init uses the same email parser of Python."""
    data = mime.plain(user_data)
    if data.startswith(b"#!"):
        return [data.decode(errors="replace")]
    message = email.message_from_bytes(data)
    if not message.is_multipart():
        return []
    return [text(part) for part in message.walk() if part.get_content_type() == "text/x-shellscript"]


def text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode(errors="replace") if isinstance(payload, bytes) else ""


def own(order: Order) -> str:
    """The bootstrap.sh call that EKS appends to the user data, for its own images."""
    extra = [f"--node-labels={order.label_flag}"]
    if order.taints:
        extra.append(f"--register-with-taints={','.join(order.taints)}")
    cluster = order.cluster
    call = [
        *("/etc/eks/bootstrap.sh", cluster.name, "--kubelet-extra-args", " ".join(extra)),
        *("--b64-cluster-ca", cluster.ca, "--apiserver-endpoint", cluster.endpoint, "--dns-cluster-ip", cluster.dns),
    ]
    return f"#!/bin/bash\nset -ex\n{shlex.join(call)}\n"


def files(order: Order) -> dict[str, str]:
    """The files of the AMI, and what bootstrap.sh would read from the metadata service and from AWS."""
    instance, cluster = order.instance, order.cluster
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **kubelet.defaults("/etc/kubernetes/pki/ca.crt"),
        "clusterDNS": ["10.100.0.10"],
    }
    metadata = {
        "IMDS_REGION": instance.region,
        "IMDS_LOCAL_IPV4": instance.ip,
        "IMDS_PRIVATE_DNS_NAME": instance.name,
        "IMDS_PROVIDER_ID": instance.provider_id,
        # DescribeCluster, for a call without endpoint and CA. It knows only this cluster.
        "EKS_NAME": cluster.name,
        "EKS_ENDPOINT": cluster.endpoint,
        "EKS_CA": cluster.ca,
        "EKS_DNS": cluster.dns,
    }
    arguments = f"--config {CONFIG} --kubeconfig /var/lib/kubelet/kubeconfig $KUBELET_ARGS $KUBELET_EXTRA_ARGS"
    return {
        CONFIG: json.dumps(config, indent=2) + "\n",
        "/etc/systemd/system/kubelet.service": kubelet.unit(arguments),
        "/etc/eks/bootstrap.sh": BOOTSTRAP.read_text(),
        "/etc/eks/metadata": "".join(f"{name}={shlex.quote(value)}\n" for name, value in metadata.items()),
    }
