# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._drain.model import NODE_GROUP_LABEL
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import audit


def node(name: str, group: str = "", version: str = "v1.34.4", taints: Any = (), **labels: str) -> dict[str, Any]:
    own = {**labels, "kubernetes.io/hostname": name, **({NODE_GROUP_LABEL: group} if group else {})}
    info = {"kubeletVersion": version, "kernelVersion": "6.1.115-126.amzn2023.x86_64"}
    return {
        "metadata": {"name": name, "labels": own},
        "spec": {"taints": list(taints)},
        "status": {"nodeInfo": info},
    }


def pod(sysctl: str, **spec: Any) -> dict[str, Any]:
    context = {"sysctls": [{"name": sysctl, "value": "1"}]}
    return {"metadata": {"namespace": "d", "name": "p"}, "spec": {"securityContext": context, **spec}, "status": {}}


def forbidden(entry: dict[str, Any], *nodes: dict[str, Any], **allowed: list[str]) -> list[str]:
    (found,) = audit.audit_pods([entry], audit.build_node_profiles(nodes, allowed))
    return sorted(name for entry in found["forbidden"] for name in entry["nodes"])


UNSAFE = "net.core.somaxconn"


def test_a_pod_is_reported_where_it_would_be_forbidden() -> None:
    nodes = [node("n1", "yes"), node("n2", "no"), node("n3", "no")]
    assert forbidden(pod(UNSAFE), *nodes, yes=[UNSAFE], no=[]) == ["n2", "n3"]


def test_what_is_safe_is_safe_by_the_kubelets_version() -> None:
    nodes = [node("n1", "g"), node("n2", "g", version="v1.28.9-eks-1")]
    assert forbidden(pod("net.ipv4.tcp_keepalive_time"), *nodes, g=[]) == ["n2"]


def test_selectors_and_taints_keep_it_away() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    nodes = [node("n1", "a", disk="ssd"), node("n2", "b", taints=[taint])]
    assert forbidden(pod(UNSAFE), *nodes, a=[], b=[]) == ["n1"]
    assert forbidden(pod(UNSAFE, nodeSelector={"disk": "hdd"}), *nodes, a=[], b=[]) == []
    tolerant = pod(UNSAFE, tolerations=[{"key": "k", "operator": "Exists"}])
    assert forbidden(tolerant, *nodes, a=[], b=[]) == ["n1", "n2"]
    other = pod(UNSAFE, tolerations=[{"key": "k", "value": "w"}])
    assert forbidden(other, *nodes, a=[], b=[]) == ["n1"]


def test_the_host_network_forbids_even_what_is_allowed() -> None:
    assert forbidden(pod(UNSAFE, hostNetwork=True), node("n1", "g"), g=[UNSAFE]) == ["n1"]


def test_what_no_pod_can_set_is_reported_where_the_kubelet_accepts_it() -> None:
    name = "net.core.rmem_max"
    (found,) = audit.audit_pods([pod(name)], audit.build_node_profiles([node("n1", "g")], {"g": [name]}))
    assert found["forbidden"][0]["reason"] == "no pod can set it: Linux has it once for the whole node"


def test_nodes_of_which_nothing_is_known_are_reported_as_unknown() -> None:
    (found,) = audit.audit_pods([pod(UNSAFE)], audit.build_node_profiles([node("n1")], {}))
    assert (found["forbidden"], found["unknown"]) == ([], [{"nodes": ["n1"], "sysctl": UNSAFE}])


def test_pods_without_sysctls_are_left_out_and_rejected_pods_are_marked() -> None:
    rejected = {
        **pod(UNSAFE),
        "status": {"reason": "SysctlForbidden", "phase": "Failed", "message": "forbidden sysctl"},
    }
    plain = {"metadata": {"namespace": "d", "name": "q"}, "spec": {}, "status": {}}
    (found,) = audit.audit_pods([plain, rejected], [])
    assert (found["rejected"], found["message"]) == (True, "forbidden sysctl")
