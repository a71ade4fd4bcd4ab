# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bottlerocket: TOML settings of the user are merged over EKS's own, and rendered to the kubelet's configuration.

docs/facts/sysctl_nodegroup.md#bottlerocket
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import tomllib

from . import kubelet
from .model import Boot, BootError, Cluster, Order

CONFIG = "/etc/kubernetes/kubelet/config"
KUBECONFIG = "/etc/kubernetes/kubelet/kubeconfig"
CA = "/etc/kubernetes/pki/ca.crt"

# Names of settings.kubernetes in Bottlerocket's model, and their names in the kubelet's configuration. A name that the
# model does not have stops the boot.
RENDERED = {
    "allowed-unsafe-sysctls": "allowedUnsafeSysctls",
    "container-log-max-files": "containerLogMaxFiles",
    "container-log-max-size": "containerLogMaxSize",
    "cpu-cfs-quota-enforced": "cpuCFSQuota",
    "cpu-manager-policy": "cpuManagerPolicy",
    "cpu-manager-reconcile-period": "cpuManagerReconcilePeriod",
    "event-burst": "eventBurst",
    "event-qps": "eventRecordQPS",
    "eviction-hard": "evictionHard",
    "eviction-max-pod-grace-period": "evictionMaxPodGracePeriod",
    "eviction-soft": "evictionSoft",
    "eviction-soft-grace-period": "evictionSoftGracePeriod",
    "image-gc-high-threshold-percent": "imageGCHighThresholdPercent",
    "image-gc-low-threshold-percent": "imageGCLowThresholdPercent",
    "kube-api-burst": "kubeAPIBurst",
    "kube-api-qps": "kubeAPIQPS",
    "max-pods": "maxPods",
    "memory-manager-policy": "memoryManagerPolicy",
    "pod-pids-limit": "podPidsLimit",
    "registry-burst": "registryBurst",
    "registry-qps": "registryPullQPS",
    "shutdown-grace-period": "shutdownGracePeriod",
    "shutdown-grace-period-for-critical-pods": "shutdownGracePeriodCriticalPods",
    "topology-manager-policy": "topologyManagerPolicy",
    "topology-manager-scope": "topologyManagerScope",
}
ELSEWHERE = {
    *("api-server", "cluster-certificate", "cluster-name", "cluster-dns-ip", "cluster-domain", "node-labels"),
    *("node-taints", "node-ip", "hostname-override", "hostname-override-source", "pod-infra-container-image"),
    *("authentication-mode", "bootstrap-token", "cloud-provider", "credential-providers", "log-level", "provider-id"),
    *("server-certificate", "server-key", "server-tls-bootstrap", "standalone-mode", "static-pods", "kube-reserved"),
    *("system-reserved", "memory-manager-reserved-memory", "seccomp-default", "single-process-oom-kill"),
    *("reserved-cpus", "device-ownership-from-security-context", "ids-per-pod", "verify-max-pods-cgroup"),
}
NEEDED = ("cluster-name", "api-server", "cluster-certificate", "cluster-dns-ip")


def boot(order: Order) -> Boot:
    settings: dict[str, Any] = {} if order.custom else own(order)
    merge(settings, read(order.user_data))
    kubernetes = settings.get("kubernetes", {})
    check(kubernetes)
    for name in NEEDED:
        if not kubernetes.get(name):
            raise BootError(f"settings.kubernetes.{name} is missing: the kubelet is not configured")
    return Boot(render(order, kubernetes))


def own(order: Order) -> dict[str, Any]:
    taints: dict[str, list[str]] = {}
    for taint in order.taints:
        key, _equals, rest = taint.partition("=")
        taints.setdefault(key, []).append(rest)
    cluster = order.cluster
    return {
        "kubernetes": {
            "cluster-name": cluster.name,
            "api-server": cluster.endpoint,
            "cluster-certificate": cluster.ca,
            "cluster-dns-ip": cluster.dns,
            "node-labels": dict(order.labels),
            "node-taints": taints,
        }
    }


def read(user_data: bytes) -> dict[str, Any]:
    try:
        document = tomllib.loads(user_data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BootError(f"user data is no TOML: {error}") from None
    if unknown := set(document) - {"settings"}:
        raise BootError(f"unknown field `{sorted(unknown)[0]}`, expected `settings`")
    settings = document.get("settings", {})
    if not isinstance(settings, dict):
        raise BootError("settings is no table")
    return settings


def refused_by_eks(user_data: bytes) -> str | None:
    """Why EKS does not accept the TOML of a launch template, though Bottlerocket does.

    docs/facts/sysctl_nodegroup.md#bottlerocket
    """
    text = user_data.decode(errors="replace")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"it is no TOML: {error}"
    if re.search(r"""^\s*\[[^\]]*["'][^\]]*\]\s*(#.*)?$""", text, re.MULTILINE):
        return "bracketed headers with quoted keys are not supported"
    if re.search(r'=.*\\"', text):
        return "escaped quotes in values are not supported"
    if any(len({type(item) for item in array}) > 1 for array in arrays(document)):
        return "arrays of mixed types are not supported"
    return None


def arrays(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from arrays(inner)


def merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Merge the settings of the user over EKS's own, key by key."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def check(kubernetes: dict[str, Any]) -> None:
    for name in kubernetes:
        if name not in RENDERED and name not in ELSEWHERE:
            raise BootError(f"unknown field `{name}` in settings.kubernetes")
    sysctls = kubernetes.get("allowed-unsafe-sysctls", [])
    if not isinstance(sysctls, list) or not all(
        isinstance(pattern, str) and "\n" not in pattern for pattern in sysctls
    ):
        raise BootError("settings.kubernetes.allowed-unsafe-sysctls: expected a list of single-line strings")


def render(order: Order, settings: dict[str, Any]) -> dict[str, str]:
    instance, dns = order.instance, settings["cluster-dns-ip"]
    cluster = Cluster(
        settings["cluster-name"], settings["api-server"], settings["cluster-certificate"], order.cluster.cidr
    )
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        **kubelet.defaults(CA),
        "clusterDNS": dns if isinstance(dns, list) else [dns],
        "providerID": instance.provider_id,
        **{RENDERED[name]: value for name, value in settings.items() if name in RENDERED},
    }
    labels = ",".join(f"{key}={value}" for key, value in settings.get("node-labels", {}).items())
    taints = [
        f"{key}={taint}"
        for key, values in settings.get("node-taints", {}).items()
        for taint in (values if isinstance(values, list) else [values])
    ]
    arguments = [
        *("--cloud-provider", "external", "--kubeconfig", KUBECONFIG, "--config", CONFIG),
        *("--hostname-override", str(settings.get("hostname-override", instance.name))),
        *("--node-ip", str(settings.get("node-ip", instance.ip))),
        *(("--node-labels", labels) if labels else ()),
        *(("--register-with-taints", ",".join(taints)) if taints else ()),
    ]
    return {
        CONFIG: json.dumps(config, indent=2) + "\n",  # YAML on real nodes; JSON is a part of YAML
        KUBECONFIG: kubelet.kubeconfig(order, cluster),
        CA: kubelet.pem(cluster.ca),
        "/etc/systemd/system/kubelet.service": kubelet.unit(" ".join(arguments)),
    }
