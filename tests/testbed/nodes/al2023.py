# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Amazon Linux 2023: the files that nodeadm writes from the NodeConfig documents in the user data.

docs/facts/sysctl_nodegroup.md#al2023-and-nodeadm
"""

from __future__ import annotations

import copy
import json
import shlex
from typing import Any

import yaml

from . import kubelet, mime
from .model import Boot, BootError, Cluster, Order

MEDIA_TYPE = "application/node.eks.aws"
CONFIG = "/etc/kubernetes/kubelet/config.json"
DROP_INS = "/etc/kubernetes/kubelet/config.json.d"
DROP_IN = f"{DROP_INS}/40-nodeadm.conf"
KIND = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}

# The fields of v1alpha1 that are read, and their types. Other fields are dropped, as the real decoder does. A wrong
# type stops the boot.
FIELDS: dict[str, Any] = {
    "cluster": {
        "name": str,
        "apiServerEndpoint": str,
        "certificateAuthority": str,
        "cidr": str,
        "enableOutpost": bool,
        "id": str,
    },
    "containerd": {"config": str, "baseRuntimeSpec": dict},
    "instance": {"localStorage": dict, "environment": dict, "network": dict},
    "kubelet": {"config": dict, "flags": [str], "maxPodsExpression": str},
    "featureGates": {},
}


def boot(order: Order) -> Boot:
    documents, scripts = read(order.user_data)
    if not order.custom:
        documents.insert(0, own(order))
    if not documents:
        raise BootError("could not find NodeConfig within UserData")
    spec = documents[0]
    for later in documents[1:]:
        spec = merge(spec, later)
    cluster = details(spec)
    return Boot(files(order, cluster, spec.get("kubelet", {})), scripts)


def read(user_data: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """The specs of the NodeConfig documents, and the shell scripts for cloud-init."""
    data = mime.plain(user_data)
    if not data.strip():
        return [], []
    try:
        parts = mime.parts(data)
    except mime.NotMultipart:
        if data.startswith(b"#!"):  # for cloud-init; EKS adds its own document beside it
            return [], [data.decode(errors="replace")]
        return [decode(data)], []
    specs = [decode(mime.plain(part.body)) for part in parts if part.media_type == MEDIA_TYPE]
    scripts = [part.body.decode(errors="replace") for part in parts if part.media_type == "text/x-shellscript"]
    return specs, scripts


def own(order: Order) -> dict[str, Any]:
    """EKS's own document, for its own images. Its place before the user's documents is inferred, not observed."""
    flags = [f"--node-labels={order.label_flag}"]
    if order.taints:
        flags.append(f"--register-with-taints={','.join(order.taints)}")
    cluster = order.cluster
    return {
        "cluster": {
            "name": cluster.name,
            "apiServerEndpoint": cluster.endpoint,
            "certificateAuthority": cluster.ca,
            "cidr": cluster.cidr,
        },
        "kubelet": {"config": {"clusterDNS": [cluster.dns]}, "flags": flags},
    }


def decode(data: bytes) -> dict[str, Any]:
    try:
        document = next(iter(yaml.safe_load_all(data.decode())), None)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BootError(f"NodeConfig is no YAML: {error}") from None
    if not isinstance(document, dict):
        raise BootError("NodeConfig is no YAML mapping")
    version, kind = document.get("apiVersion"), document.get("kind")
    if (version, kind) != ("node.eks.aws/v1alpha1", "NodeConfig"):
        raise BootError(f'no kind "{kind}" is registered for version "{version}"')
    spec = document.get("spec") or {}
    if not isinstance(spec, dict):
        raise BootError("NodeConfig.spec: cannot be decoded")
    return known(spec, FIELDS, "spec")


def known(given: dict[str, Any], fields: dict[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in fields.items():
        value = given.get(name)
        if value is None:
            continue
        here = f"{where}.{name}"
        if isinstance(kind, dict) and kind:
            found[name] = known(typed(value, dict, here), kind, here)
        elif isinstance(kind, list):
            found[name] = [typed(item, kind[0], here) for item in typed(value, list, here)]
        else:
            found[name] = typed(value, kind or dict, here)
    return found


def typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise BootError(f"NodeConfig.{where}: cannot decode {type(value).__name__} into {kind.__name__}")
    return value


def merge(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Later values replace earlier values: lists as a whole, maps by key. Flags append. Empty values are ignored."""
    merged = copy.deepcopy(earlier)
    flags = [*merged.get("kubelet", {}).get("flags", []), *later.get("kubelet", {}).get("flags", [])]
    _override(merged, later)
    if flags:
        merged["kubelet"]["flags"] = flags
    return merged


def _override(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _override(into[key], value)
        elif value not in (None, "", [], {}, False, 0) or key not in into:
            into[key] = copy.deepcopy(value)


def details(spec: dict[str, Any]) -> Cluster:
    cluster = spec.get("cluster", {})
    for name, label in (
        ("name", "Name"),
        ("apiServerEndpoint", "Apiserver endpoint"),
        ("certificateAuthority", "Certificate authority"),
        ("cidr", "CIDR"),
    ):
        if not cluster.get(name):
            raise BootError(f"{label} is missing in cluster configuration")
    names = ("name", "apiServerEndpoint", "certificateAuthority", "cidr")
    return Cluster(*(str(cluster[name]) for name in names))


def files(order: Order, cluster: Cluster, options: dict[str, Any]) -> dict[str, str]:
    instance = order.instance
    main = {
        **KIND,
        **kubelet.defaults("/etc/kubernetes/pki/ca.crt"),
        "clusterDNS": [cluster.dns],
        "providerID": instance.provider_id,
    }
    flags = [
        *(f"--config={CONFIG}", "--kubeconfig=/var/lib/kubelet/kubeconfig", "--cloud-provider=external"),
        *(f"--hostname-override={instance.name}", f"--node-ip={instance.ip}"),
    ]
    made = {
        CONFIG: json.dumps(main, indent=4) + "\n",
        "/etc/kubernetes/pki/ca.crt": kubelet.pem(cluster.ca),
        "/var/lib/kubelet/kubeconfig": kubelet.kubeconfig(order, cluster),
        "/etc/systemd/system/kubelet.service": kubelet.unit("$NODEADM_KUBELET_ARGS", "/etc/eks/kubelet/environment"),
    }
    environment = {}
    if options.get("config"):
        flags.append(f"--config-dir={DROP_INS}")
        environment["KUBELET_CONFIG_DROPIN_DIR_ALPHA"] = "on"
        made[DROP_IN] = json.dumps({**KIND, **options["config"]}, indent=4) + "\n"
    environment["NODEADM_KUBELET_ARGS"] = " ".join([*flags, *options.get("flags", [])])
    made["/etc/eks/kubelet/environment"] = "".join(f"{k}={shlex.quote(v)}\n" for k, v in environment.items())
    return made
