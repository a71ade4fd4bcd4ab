# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the pods of a node group that could not be scheduled on a planned group. Pure: it takes objects of the API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .model import NODE_GROUP_LABEL

ZONE_LABEL = "topology.kubernetes.io/zone"
# Labels of a node or of its node group. The planned nodes do not have them.
NODE_SPECIFIC_LABELS = ("kubernetes.io/hostname", NODE_GROUP_LABEL)
NODE_SPECIFIC_PREFIXES = (
    "alpha.eksctl.io/",
    "eks.amazonaws.com/sourceLaunchTemplate",
    "eks.amazonaws.com/nodegroup-image",
)
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3}


@dataclass(frozen=True)
class PlannedNodes:
    """The planned nodes. C(allocatable) is what each of them has, C(zones) are the zones that they may be in."""

    labels: Mapping[str, str]
    zones: tuple[str, ...]
    taints: tuple[Mapping[str, Any], ...]
    allocatable: Mapping[str, str]
    node_count: int


def build_planned_nodes(
    old_nodes: Sequence[Mapping[str, Any]],
    name: str,
    labels: Mapping[str, str],
    taints: Sequence[Mapping[str, Any]],
    node_count: int,
) -> PlannedNodes:
    """Planned nodes are like the old nodes, in another node group. Only labels that all old nodes share are kept."""
    all_labels = [dict(node["metadata"].get("labels") or {}) for node in old_nodes]
    shared = {
        key: value
        for key, value in (all_labels[0] if all_labels else {}).items()
        if all(node_labels.get(key) == value for node_labels in all_labels)
        and key not in (*NODE_SPECIFIC_LABELS, ZONE_LABEL)
        and not key.startswith(NODE_SPECIFIC_PREFIXES)
    }
    zones = tuple(sorted({node_labels[ZONE_LABEL] for node_labels in all_labels if ZONE_LABEL in node_labels}))
    least: dict[str, str] = {}
    for node in old_nodes:
        for key, value in ((node.get("status") or {}).get("allocatable") or {}).items():
            if key not in least or parse_quantity(value) < parse_quantity(least[key]):
                least[key] = str(value)
    return PlannedNodes({**shared, NODE_GROUP_LABEL: name, **labels}, zones, tuple(taints), least, node_count)


def parse_quantity(value: Any) -> float:
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([A-Za-z]*)", str(value))
    if not found or found.group(2) not in _UNITS:
        raise ValueError(f"{value!r} is not a Kubernetes quantity")
    return float(found.group(1)) * _UNITS[found.group(2)]


def sum_requests(pod: Mapping[str, Any]) -> dict[str, float]:
    """The requests of all containers of a pod together."""
    total: dict[str, float] = {}
    for container in (pod.get("spec") or {}).get("containers") or []:
        for key, value in ((container.get("resources") or {}).get("requests") or {}).items():
            total[key] = total.get(key, 0.0) + parse_quantity(value)
    return total


def find_unschedulable_pods(
    pods: Iterable[Mapping[str, Any]], planned: PlannedNodes, volumes: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Pods that would stay Pending on the planned nodes, each with the reasons. C(volumes): persistent volumes."""
    movable_pods = [pod for pod in pods if not _is_exempt(pod)]
    found = []
    ports: dict[tuple[int, str], int] = {}
    for pod in movable_pods:
        reasons = [
            *_get_label_reasons(pod, planned),
            *_get_taint_reasons(pod, planned),
            *_get_zone_reasons(pod, planned, volumes),
            *_get_request_reasons(pod, planned),
        ]
        for port in _list_host_ports(pod):
            ports[port] = ports.get(port, 0) + 1
            if ports[port] > planned.node_count:
                reasons.append(f"more pods use host port {port[0]} than there are planned nodes ({planned.node_count})")
        if reasons:
            meta = pod["metadata"]
            found.append({"namespace": meta["namespace"], "name": meta["name"], "reasons": reasons})
    return found + _check_total_capacity(movable_pods, planned)


def _is_exempt(pod: Mapping[str, Any]) -> bool:
    """Whether a drain leaves the pod alone: a mirror of a static pod, a pod of a DaemonSet, or a finished pod."""
    meta = pod["metadata"]
    owners = [owner.get("kind") for owner in meta.get("ownerReferences") or [] if owner.get("controller")]
    mirror = "kubernetes.io/config.mirror" in (meta.get("annotations") or {})
    return mirror or "DaemonSet" in owners or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _get_label_reasons(pod: Mapping[str, Any], planned: PlannedNodes) -> list[str]:
    spec = pod.get("spec") or {}
    reasons = []
    for key, value in (spec.get("nodeSelector") or {}).items():
        if not _matches_expression({"key": key, "operator": "In", "values": [value]}, planned):
            reasons.append(f"the node selector requires {key}={value}")
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = required.get("nodeSelectorTerms") or []
    if terms and not any(
        all(_matches_expression(expression, planned) for expression in term.get("matchExpressions") or [])
        for term in terms
    ):
        required_terms = " or ".join(
            " and ".join(f"{item['key']} {item['operator']} {item.get('values') or ''}".strip() for item in exprs)
            for exprs in (term.get("matchExpressions") or [] for term in terms)
        )
        reasons.append(f"the node affinity requires {required_terms}")
    return reasons


def _matches_expression(expression: Mapping[str, Any], planned: PlannedNodes) -> bool:
    """Whether the planned nodes match an expression. For zones, a match of any zone is enough."""
    key, values = expression["key"], expression.get("values") or []
    candidates: Sequence[Optional[str]] = planned.zones if key == ZONE_LABEL else [planned.labels.get(key)]
    return any(_matches_operator(str(expression["operator"]), value, values) for value in candidates)


def _matches_operator(operator: str, value: Optional[str], values: Sequence[str]) -> bool:
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def _get_taint_reasons(pod: Mapping[str, Any], planned: PlannedNodes) -> list[str]:
    tolerations = (pod.get("spec") or {}).get("tolerations") or []
    return [
        f"the pod does not tolerate the taint {taint['key']}={taint.get('value') or ''}:{taint['effect']}"
        for taint in planned.taints
        if taint["effect"] in ("NoSchedule", "NoExecute")
        and not any(_tolerates_taint(toleration, taint) for toleration in tolerations)
    ]


def _tolerates_taint(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def _get_zone_reasons(pod: Mapping[str, Any], planned: PlannedNodes, volumes: Sequence[Mapping[str, Any]]) -> list[str]:
    spec = pod.get("spec") or {}
    claims = {
        (volume.get("persistentVolumeClaim") or {}).get("claimName")
        for volume in spec.get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }
    reasons = []
    for volume in volumes:
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        if claim.get("namespace") != pod["metadata"]["namespace"] or claim.get("name") not in claims:
            continue
        required = ((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
        if required and not any(
            all(_matches_expression(expression, planned) for expression in term.get("matchExpressions") or [])
            for term in required
        ):
            zones = [
                value
                for term in required
                for expression in term.get("matchExpressions") or []
                for value in expression.get("values") or []
            ]
            reasons.append(f"the volume {volume['metadata']['name']} is bound to {', '.join(zones)}")
    return reasons


def _get_request_reasons(pod: Mapping[str, Any], planned: PlannedNodes) -> list[str]:
    return [
        f"the pod requests more {key} than a node has ({planned.allocatable[key]})"
        for key, value in sum_requests(pod).items()
        if key in planned.allocatable and value > parse_quantity(planned.allocatable[key])
    ]


def _list_host_ports(pod: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [
        (int(port["hostPort"]), str(port.get("protocol") or "TCP"))
        for container in (pod.get("spec") or {}).get("containers") or []
        for port in container.get("ports") or []
        if port.get("hostPort")
    ]


def _check_total_capacity(pods: Sequence[Mapping[str, Any]], planned: PlannedNodes) -> list[dict[str, Any]]:
    """Check all pods together, for pods that fit each by itself. What DaemonSets use is not counted."""
    reasons = []
    if "pods" in planned.allocatable and len(pods) > parse_quantity(planned.allocatable["pods"]) * planned.node_count:
        reasons.append(
            f"there are {len(pods)} pods, but {planned.node_count} nodes hold {planned.allocatable['pods']} pods each"
        )
    for key in ("cpu", "memory"):
        total = sum(sum_requests(pod).get(key, 0.0) for pod in pods)
        if key in planned.allocatable and total > parse_quantity(planned.allocatable[key]) * planned.node_count:
            reasons.append(
                f"all pods together request more {key} than {planned.node_count} nodes with {planned.allocatable[key]} "
                "each have"
            )
    return [{"namespace": "", "name": "(all pods together)", "reasons": reasons}] if reasons else []
