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


def group(**more: Any) -> dict[str, Any]:
    entry = {"name": "workers", "version": "1.34", "ami_type": "AL2023_x86_64_STANDARD", "ami_family": "al2023"}
    return {**entry, "configured": [UNSAFE], "error": None, "effective": {}, "drifted_nodes": [], **more}


def test_groups_for_people() -> None:
    assert audit.describe_groups([group()]) == [f"workers (1.34, al2023): {UNSAFE}"]
    assert audit.describe_groups([group(configured=[])]) == ["workers (1.34, al2023): no unsafe sysctl"]
    unreadable = group(configured=None, error="the user data is not understood", ami_family=None)
    assert audit.describe_groups([unreadable]) == [
        "workers (1.34, AL2023_x86_64_STANDARD): the user data is not understood"
    ]
    drifted = group(effective={"n1": [], "n2": ["net.*"]}, drifted_nodes=["n1", "n2"])
    assert audit.describe_groups([drifted])[1:] == [
        "workers: drift on n1, whose kubelet allows none",
        "workers: drift on n2, whose kubelet allows net.*",
    ]
    assert audit.describe_groups([]) == ["The cluster has no managed node group."]


def test_pods_for_people() -> None:
    nodes = [node("n1", "no"), *(node(f"u{number}", rack=str(number)) for number in range(1))]
    found = audit.audit_pods([pod(UNSAFE)], audit.build_node_profiles(nodes, {"no": []}))
    assert audit.describe_pods(found) == [
        f'd/p: {UNSAFE} on nodes of no: "{UNSAFE}" not allowlisted',
        f"d/p: {UNSAFE} on u0: not known, because their user data is not known",
    ]
    rejected = {**pod(UNSAFE), "status": {"reason": "SysctlForbidden", "message": "forbidden sysctl"}}
    rejected["spec"]["nodeName"] = "n1"
    assert audit.describe_pods(audit.audit_pods([rejected], [])) == ["d/p on n1: forbidden sysctl"]
    fine = audit.audit_pods([pod("net.ipv4.tcp_syncookies")], audit.build_node_profiles(nodes, {}))
    assert audit.describe_pods(fine) == ["No node rejects a pod: 1 pods set sysctls."]
    assert audit.describe_pods([]) == ["No pod sets sysctls."]


def test_many_nodes_are_not_all_named() -> None:
    profiles = audit.build_node_profiles([node(f"n{number:02}") for number in range(12)], {})
    (line,) = audit.describe_pods(audit.audit_pods([pod(UNSAFE)], profiles))
    assert "n09 and 2 more: not known" in line
    unread = [{"node": f"n{number}", "reason": f"reason {number}"} for number in range(12)]
    (line,) = audit.describe_unread_kubelets(unread)
    assert line.endswith("n9 and 2 more. The first reason: reason 0")
    assert audit.describe_unread_kubelets([]) == []
