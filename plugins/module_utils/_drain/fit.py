# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether pods of one node group will find room on another that is planned. Pure, on objects as the API tells them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .model import NODE_GROUP_LABEL

ZONE_LABEL = "topology.kubernetes.io/zone"
# Labels that belong to a node or to its group, and will not be on the nodes that come.
NODE_SPECIFIC_LABELS = ("kubernetes.io/hostname", NODE_GROUP_LABEL)
NODE_SPECIFIC_PREFIXES = (
    "alpha.eksctl.io/",
    "eks.amazonaws.com/sourceLaunchTemplate",
    "eks.amazonaws.com/nodegroup-image",
)
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3}


@dataclass(frozen=True)
class PlannedNodes:
    """The nodes that come: C(nodes) of them, each of these labels, taints and this room; C(zones) they may be in."""

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
    """As the old nodes, under another group's name. Only labels that all old nodes share are counted on."""
    every = [dict(one["metadata"].get("labels") or {}) for one in old_nodes]
    shared = {
        key: value
        for key, value in (every[0] if every else {}).items()
        if all(one.get(key) == value for one in every)
        and key not in (*NODE_SPECIFIC_LABELS, ZONE_LABEL)
        and not key.startswith(NODE_SPECIFIC_PREFIXES)
    }
    zones = tuple(sorted({one[ZONE_LABEL] for one in every if ZONE_LABEL in one}))
    least: dict[str, str] = {}
    for one in old_nodes:
        for key, value in ((one.get("status") or {}).get("allocatable") or {}).items():
            if key not in least or parse_quantity(value) < parse_quantity(least[key]):
                least[key] = str(value)
    return PlannedNodes({**shared, NODE_GROUP_LABEL: name, **labels}, zones, tuple(taints), least, node_count)


def parse_quantity(value: Any) -> float:
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([A-Za-z]*)", str(value))
    if not found or found.group(2) not in _UNITS:
        raise ValueError(f"{value!r} is no Kubernetes quantity")
    return float(found.group(1)) * _UNITS[found.group(2)]


def sum_requests(pod: Mapping[str, Any]) -> dict[str, float]:
    """Of all containers together."""
    total: dict[str, float] = {}
    for one in (pod.get("spec") or {}).get("containers") or []:
        for key, value in ((one.get("resources") or {}).get("requests") or {}).items():
            total[key] = total.get(key, 0.0) + parse_quantity(value)
    return total


def find_unschedulable_pods(
    pods: Iterable[Mapping[str, Any]], planned: PlannedNodes, volumes: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Pods that will not find a place, each with the reasons. C(volumes): persistent volumes."""
    everyone = [pod for pod in pods if not _is_exempt(pod)]
    found = []
    ports: dict[tuple[int, str], int] = {}
    for pod in everyone:
        reasons = [
            *_get_label_reasons(pod, planned),
            *_get_taint_reasons(pod, planned),
            *_get_zone_reasons(pod, planned, volumes),
            *_get_request_reasons(pod, planned),
        ]
        for port in _list_host_ports(pod):
            ports[port] = ports.get(port, 0) + 1
            if ports[port] > planned.node_count:
                reasons.append(
                    f"host port {port[0]} is wanted by more pods than there will be nodes ({planned.node_count})"
                )
        if reasons:
            meta = pod["metadata"]
            found.append({"namespace": meta["namespace"], "name": meta["name"], "reasons": reasons})
    return found + _check_total_capacity(everyone, planned)


def _is_exempt(pod: Mapping[str, Any]) -> bool:
    meta = pod["metadata"]
    owners = [one.get("kind") for one in meta.get("ownerReferences") or [] if one.get("controller")]
    mirror = "kubernetes.io/config.mirror" in (meta.get("annotations") or {})
    return mirror or "DaemonSet" in owners or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _get_label_reasons(pod: Mapping[str, Any], planned: PlannedNodes) -> list[str]:
    spec = pod.get("spec") or {}
    reasons = []
    for key, value in (spec.get("nodeSelector") or {}).items():
        if not _matches_expression({"key": key, "operator": "In", "values": [value]}, planned):
            reasons.append(f"its node selector wants {key}={value}")
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = required.get("nodeSelectorTerms") or []
    if terms and not any(
        all(_matches_expression(one, planned) for one in term.get("matchExpressions") or []) for term in terms
    ):
        wanted = " or ".join(
            " and ".join(f"{one['key']} {one['operator']} {one.get('values') or ''}".strip() for one in exprs)
            for exprs in (term.get("matchExpressions") or [] for term in terms)
        )
        reasons.append(f"its node affinity wants {wanted}")
    return reasons


def _matches_expression(expression: Mapping[str, Any], planned: PlannedNodes) -> bool:
    """One expression. Zones: where any of the zones does."""
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
        f"it does not tolerate the taint {taint['key']}={taint.get('value') or ''}:{taint['effect']}"
        for taint in planned.taints
        if taint["effect"] in ("NoSchedule", "NoExecute")
        and not any(_tolerates_taint(one, taint) for one in tolerations)
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
        (one.get("persistentVolumeClaim") or {}).get("claimName")
        for one in spec.get("volumes") or []
        if one.get("persistentVolumeClaim")
    }
    reasons = []
    for volume in volumes:
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        if claim.get("namespace") != pod["metadata"]["namespace"] or claim.get("name") not in claims:
            continue
        required = ((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
        if required and not any(
            all(_matches_expression(one, planned) for one in term.get("matchExpressions") or []) for term in required
        ):
            zones = [
                v for term in required for one in term.get("matchExpressions") or [] for v in one.get("values") or []
            ]
            reasons.append(f"its volume {volume['metadata']['name']} is bound to {', '.join(zones)}")
    return reasons


def _get_request_reasons(pod: Mapping[str, Any], planned: PlannedNodes) -> list[str]:
    return [
        f"it requests more {key} than a node has ({planned.allocatable[key]})"
        for key, value in sum_requests(pod).items()
        if key in planned.allocatable and value > parse_quantity(planned.allocatable[key])
    ]


def _list_host_ports(pod: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [
        (int(port["hostPort"]), str(port.get("protocol") or "TCP"))
        for one in (pod.get("spec") or {}).get("containers") or []
        for port in one.get("ports") or []
        if port.get("hostPort")
    ]


def _check_total_capacity(pods: Sequence[Mapping[str, Any]], planned: PlannedNodes) -> list[dict[str, Any]]:
    """What fits pod by pod, but not all together. Room that daemon sets take is not counted."""
    reasons = []
    if "pods" in planned.allocatable and len(pods) > parse_quantity(planned.allocatable["pods"]) * planned.node_count:
        reasons.append(f"{len(pods)} pods, and {planned.node_count} nodes of {planned.allocatable['pods']} each")
    for key in ("cpu", "memory"):
        total = sum(sum_requests(pod).get(key, 0.0) for pod in pods)
        if key in planned.allocatable and total > parse_quantity(planned.allocatable[key]) * planned.node_count:
            reasons.append(
                f"together they request more {key} than {planned.node_count} nodes of {planned.allocatable[key]} have"
            )
    return [{"namespace": "", "name": "(all pods together)", "reasons": reasons}] if reasons else []
