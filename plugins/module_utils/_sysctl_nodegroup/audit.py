# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit pods: which sysctls they set, and on which nodes the kubelet would reject them (SysctlForbidden). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._drain.model import NODE_GROUP_LABEL
from .._drain.scheduling import find_intolerable_taints
from .._result import join_names
from . import sysctls
from .kernel import get_node_wide_reason

UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"  # of a cordoned node, which may be uncordoned


@dataclass(frozen=True)
class NodeProfile:
    """Nodes with the same node group, kubelet version, kernel, labels and taints.

    C(allowed_sysctls) is None where the allow-list is not known.
    """

    node_group: str
    minor: int
    kernel: Optional[tuple[int, int]]
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...]
    allowed_sysctls: Optional[tuple[str, ...]]
    nodes: tuple[str, ...] = field(default=(), compare=False)


def build_node_profiles(
    nodes: Iterable[Mapping[str, Any]], allowed_sysctls: Mapping[str, Sequence[str]]
) -> list[NodeProfile]:
    """C(allowed_sysctls): the allow-list by node group (of its user data), or by node (of its kubelet's configz)."""
    found: dict[Any, tuple[NodeProfile, list[str]]] = {}
    for node in nodes:
        meta, info = node["metadata"], (node.get("status") or {}).get("nodeInfo") or {}
        labels = dict(meta.get("labels") or {})
        group = labels.get(NODE_GROUP_LABEL, "")
        listed = allowed_sysctls.get(meta["name"], allowed_sysctls.get(group) if group else None)
        taints = tuple((node.get("spec") or {}).get("taints") or ())
        own = {key: value for key, value in labels.items() if key != "kubernetes.io/hostname"}
        profile = NodeProfile(
            group,
            sysctls.parse_minor(str(info.get("kubeletVersion") or "")),
            sysctls.parse_node_kernel(node),
            own,
            taints,
            None if listed is None else tuple(listed),
        )
        sorted_labels = tuple(sorted(own.items()))
        key = (
            *(profile.node_group, profile.minor, profile.kernel, sorted_labels, repr(taints)),
            profile.allowed_sysctls,
        )
        found.setdefault(key, (profile, []))[1].append(str(meta["name"]))
    return [replace(profile, nodes=tuple(names)) for profile, names in found.values()]


def can_schedule(pod: Mapping[str, Any], profile: NodeProfile) -> bool:
    """By node selector and taints. Affinity is not checked, so a pod may be reported too often but is never missed."""
    spec = pod.get("spec") or {}
    if any(profile.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    return not find_intolerable_taints(pod, profile.taints, [UNSCHEDULABLE_TAINT])


def get_pod_sysctls(pod: Mapping[str, Any]) -> list[dict[str, str]]:
    context = (pod.get("spec") or {}).get("securityContext") or {}
    return [{"name": str(entry["name"]), "value": str(entry["value"])} for entry in context.get("sysctls") or []]


def audit_pods(pods: Iterable[Mapping[str, Any]], profiles: Sequence[NodeProfile]) -> list[dict[str, Any]]:
    """Each pod that sets a sysctl, and the nodes that would reject it. The kubelet's version and kernel decide.

    docs/facts/sysctl_nodegroup.md#when-a-kubelet-flag-is-needed
    """
    result = []
    for pod in pods:
        pod_sysctls = get_pod_sysctls(pod)
        if not pod_sysctls:
            continue
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        forbidden, unknown = [], []
        for profile in profiles:
            if not can_schedule(pod, profile):
                continue
            for sysctl in pod_sysctls:
                reason = sysctls.get_pod_rejection_reason(
                    sysctl["name"],
                    profile.minor,
                    profile.kernel,
                    profile.allowed_sysctls or (),
                    bool(spec.get("hostNetwork")),
                    bool(spec.get("hostIPC")),
                ) or get_node_wide_reason(sysctls.normalize_name(sysctl["name"]), profile.kernel)
                if reason and profile.allowed_sysctls is None and "allowlisted" in reason:
                    unknown.append({"nodes": list(profile.nodes), "sysctl": sysctl["name"]})
                elif reason:
                    forbidden.append(
                        {
                            "node_group": profile.node_group,
                            "nodes": list(profile.nodes),
                            "sysctl": sysctl["name"],
                            "reason": reason,
                        }
                    )
        rejected = status.get("reason") == "SysctlForbidden"
        result.append(
            {
                "namespace": pod["metadata"]["namespace"],
                "name": pod["metadata"]["name"],
                "node": spec.get("nodeName"),
                "phase": status.get("phase"),
                "sysctls": pod_sysctls,
                "rejected": rejected,
                "message": status.get("message") if rejected else None,
                "forbidden": forbidden,
                "unknown": unknown,
            }
        )
    return result


def describe_groups(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each node group allows, and where a kubelet differs from it, for people."""
    lines = []
    for group in groups:
        family = group["ami_family"] or group["ami_type"]
        allowed = group["error"] or ", ".join(group["configured"] or []) or "no unsafe sysctl"
        lines.append(f"{group['name']} ({group['version']}, {family}): {allowed}")
        for node in group["drifted_nodes"]:
            effective = ", ".join(group["effective"][node]) or "none"
            lines.append(f"{group['name']}: drift on {node}, whose kubelet allows {effective}")
    return lines or ["The cluster has no managed node group."]


def describe_pods(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which nodes reject which pods, and where that is not known, for people."""
    lines = []
    for pod in pods:
        key = f"{pod['namespace']}/{pod['name']}"
        if pod["rejected"]:
            lines.append(f"{key} on {pod['node']}: {pod['message']}")
        for entry in pod["forbidden"]:
            group = f"nodes of {entry['node_group'] or 'no group'}"
            lines.append(f"{key}: {entry['sysctl']} on {group}: {entry['reason']}")
        for entry in pod["unknown"]:
            names = join_names(entry["nodes"])
            lines.append(f"{key}: {entry['sysctl']} on {names}: not known, because their user data is not known")
    if lines:
        return lines
    return [f"No node rejects a pod: {len(pods)} pods set sysctls." if pods else "No pod sets sysctls."]


def describe_unread_kubelets(not_checked: Sequence[Mapping[str, str]]) -> list[str]:
    if not not_checked:
        return []
    names = join_names([entry["node"] for entry in not_checked])
    return [f"Not checked: the kubelets of {names}. The first reason: {not_checked[0]['reason']}"]
