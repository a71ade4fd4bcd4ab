# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods ask for which sysctls, and on which nodes they would be forbidden. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .._drain.model import GROUP_LABEL
from . import sysctls


@dataclass(frozen=True)
class Kind:
    """Nodes that are alike: of one group, one kubelet version and one kernel. C(allowed) None: not known."""

    group: str
    minor: int
    kernel: Optional[tuple[int, int]]
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, Any], ...]
    allowed: Optional[tuple[str, ...]]
    nodes: tuple[str, ...] = field(default=(), compare=False)


def kinds(nodes: Iterable[Mapping[str, Any]], allowed: Mapping[str, Sequence[str]]) -> list[Kind]:
    """C(allowed): by group, what its template says, or by node where the kubelet itself has said it."""
    found: dict[Any, tuple[Kind, list[str]]] = {}
    for node in nodes:
        meta, info = node["metadata"], (node.get("status") or {}).get("nodeInfo") or {}
        labels = dict(meta.get("labels") or {})
        group = labels.get(GROUP_LABEL, "")
        listed = allowed.get(meta["name"], allowed.get(group) if group else None)
        taints = tuple((node.get("spec") or {}).get("taints") or ())
        own = {key: value for key, value in labels.items() if key != "kubernetes.io/hostname"}
        kernel = str(info.get("kernelVersion") or "")
        kind = Kind(
            group,
            sysctls.minor_of(str(info.get("kubeletVersion") or "")),
            sysctls.kernel_of(kernel) if kernel else None,
            own,
            taints,
            None if listed is None else tuple(listed),
        )
        key = (kind.group, kind.minor, kind.kernel, tuple(sorted(own.items())), repr(taints), kind.allowed)
        found.setdefault(key, (kind, []))[1].append(str(meta["name"]))
    return [
        Kind(one.group, one.minor, one.kernel, one.labels, one.taints, one.allowed, tuple(names))
        for one, names in found.values()
    ]


def may_land(pod: Mapping[str, Any], kind: Kind) -> bool:
    """By node selector and taints. Affinity is left out: so a pod is told once too often, and never missed."""
    spec = pod.get("spec") or {}
    if any(kind.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    tolerations = spec.get("tolerations") or []
    return all(
        any(tolerates(one, taint) for one in tolerations)
        for taint in kind.taints
        if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") != "node.kubernetes.io/unschedulable"
    )


def tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def asked(pod: Mapping[str, Any]) -> list[dict[str, str]]:
    context = (pod.get("spec") or {}).get("securityContext") or {}
    return [{"name": str(one["name"]), "value": str(one["value"])} for one in context.get("sysctls") or []]


def audited(pods: Iterable[Mapping[str, Any]], there: Sequence[Kind]) -> list[dict[str, Any]]:
    """Each pod that asks for a sysctl, and where it would be forbidden."""
    result = []
    for pod in pods:
        wanted = asked(pod)
        if not wanted:
            continue
        spec, status = pod.get("spec") or {}, pod.get("status") or {}
        forbidden, unknown = [], []
        for kind in there:
            if not may_land(pod, kind):
                continue
            for one in wanted:
                said = sysctls.pod_refusal(
                    one["name"],
                    kind.minor,
                    kind.kernel,
                    kind.allowed or (),
                    bool(spec.get("hostNetwork")),
                    bool(spec.get("hostIPC")),
                )
                if said and kind.allowed is None and "allowlisted" in said:
                    unknown.append({"nodes": list(kind.nodes), "sysctl": one["name"]})
                elif said:
                    forbidden.append(
                        {"node_group": kind.group, "nodes": list(kind.nodes), "sysctl": one["name"], "reason": said}
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
