# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods ask for which sysctls, and on which nodes they would be forbidden. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .._drain.model import NODE_GROUP_LABEL
from . import sysctls


@dataclass(frozen=True)
class NodeProfile:
    """Nodes that are alike: of one group, one kubelet version and one kernel. C(allowed) None: not known."""

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
    """C(allowed): by group, what its template says, or by node where the kubelet itself has said it."""
    found: dict[Any, tuple[NodeProfile, list[str]]] = {}
    for node in nodes:
        meta, info = node["metadata"], (node.get("status") or {}).get("nodeInfo") or {}
        labels = dict(meta.get("labels") or {})
        group = labels.get(NODE_GROUP_LABEL, "")
        listed = allowed_sysctls.get(meta["name"], allowed_sysctls.get(group) if group else None)
        taints = tuple((node.get("spec") or {}).get("taints") or ())
        own = {key: value for key, value in labels.items() if key != "kubernetes.io/hostname"}
        kernel = str(info.get("kernelVersion") or "")
        kind = NodeProfile(
            group,
            sysctls.parse_minor(str(info.get("kubeletVersion") or "")),
            sysctls.parse_kernel(kernel) if kernel else None,
            own,
            taints,
            None if listed is None else tuple(listed),
        )
        key = (kind.node_group, kind.minor, kind.kernel, tuple(sorted(own.items())), repr(taints), kind.allowed_sysctls)
        found.setdefault(key, (kind, []))[1].append(str(meta["name"]))
    return [
        NodeProfile(one.node_group, one.minor, one.kernel, one.labels, one.taints, one.allowed_sysctls, tuple(names))
        for one, names in found.values()
    ]


def can_schedule(pod: Mapping[str, Any], profile: NodeProfile) -> bool:
    """By node selector and taints. Affinity is left out: so a pod is told once too often, and never missed."""
    spec = pod.get("spec") or {}
    if any(profile.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    tolerations = spec.get("tolerations") or []
    return all(
        any(tolerates_taint(one, taint) for one in tolerations)
        for taint in profile.taints
        if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") != "node.kubernetes.io/unschedulable"
    )


def tolerates_taint(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def get_pod_sysctls(pod: Mapping[str, Any]) -> list[dict[str, str]]:
    context = (pod.get("spec") or {}).get("securityContext") or {}
    return [{"name": str(one["name"]), "value": str(one["value"])} for one in context.get("sysctls") or []]


def audit_pods(pods: Iterable[Mapping[str, Any]], profiles: Sequence[NodeProfile]) -> list[dict[str, Any]]:
    """Each pod that asks for a sysctl, and where it would be forbidden."""
    result = []
    for pod in pods:
        wanted = get_pod_sysctls(pod)
        if not wanted:
            continue
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        forbidden, unknown = [], []
        for kind in profiles:
            if not can_schedule(pod, kind):
                continue
            for one in wanted:
                said = sysctls.get_pod_rejection_reason(
                    one["name"],
                    kind.minor,
                    kind.kernel,
                    kind.allowed_sysctls or (),
                    bool(spec.get("hostNetwork")),
                    bool(spec.get("hostIPC")),
                )
                if said and kind.allowed_sysctls is None and "allowlisted" in said:
                    unknown.append({"nodes": list(kind.nodes), "sysctl": one["name"]})
                elif said:
                    forbidden.append(
                        {
                            "node_group": kind.node_group,
                            "nodes": list(kind.nodes),
                            "sysctl": one["name"],
                            "reason": said,
                        }
                    )
        refused = status.get("reason") == "SysctlForbidden"
        result.append(
            {
                "namespace": pod["metadata"]["namespace"],
                "name": pod["metadata"]["name"],
                "node": spec.get("nodeName"),
                "phase": status.get("phase"),
                "sysctls": wanted,
                "refused": refused,
                "message": status.get("message") if refused else None,
                "forbidden": forbidden,
                "unknown": unknown,
            }
        )
    return result
