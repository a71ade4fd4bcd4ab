# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the pods of a node group that could not be scheduled on a planned group. Pure: it takes objects of the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Address
from typing import Any, Optional

from .model import NODE_GROUP_LABEL
from .resources import format_quantity, is_sidecar, parse_quantity, parse_resources, sum_all_requests
from .scheduling import (
    ZONE_LABEL,
    can_mount_volume,
    find_intolerable_taints,
    get_affinity_terms,
    get_volume_terms,
    list_bound_volumes,
    list_volume_zones,
    matches_expression,
    matches_terms,
)

# Labels of a node or of its node group. The planned nodes do not have them.
NODE_SPECIFIC_LABELS = ("kubernetes.io/hostname", NODE_GROUP_LABEL)
NODE_SPECIFIC_PREFIXES = (
    "alpha.eksctl.io/",
    "eks.amazonaws.com/sourceLaunchTemplate",
    "eks.amazonaws.com/nodegroup-image",
    "topology.k8s.aws/network-node-layer",
)
# Labels that follow from the zone, the subnet and the instance type, which the planned nodes have, too.
KEPT_LABELS = (
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/arch",
    "beta.kubernetes.io/arch",
)
ALL_ADDRESSES = ("", str(IPv4Address(0)))
KEPT_PREFIXES = ("topology.", "failure-domain.beta.kubernetes.io/")


@dataclass(frozen=True)
class NodeShape:
    """A node that the planned group may have: like an old node. C(volume_labels): also those that vary by zone."""

    like: str
    labels: Mapping[str, str]
    volume_labels: Mapping[str, str]
    allocatable: Mapping[str, str]


@dataclass(frozen=True)
class PlannedNodes:
    """The planned nodes. Each is like one of the old nodes, in the planned node group."""

    shapes: tuple[NodeShape, ...]
    taints: tuple[Mapping[str, Any], ...]
    node_count: int


def build_planned_nodes(
    old_nodes: Sequence[Mapping[str, Any]],
    name: str,
    labels: Mapping[str, str],
    taints: Sequence[Mapping[str, Any]],
    node_count: int,
) -> PlannedNodes:
    """Planned nodes are like the old nodes, in another node group.

    They keep labels that all old nodes share, and those of a zone or an instance type. Any zone of an old node is
    possible. docs/facts/sysctl_nodegroup.md#where-a-pod-can-run
    """
    all_labels = [dict(node["metadata"].get("labels") or {}) for node in old_nodes]
    keys = sorted({key for node_labels in all_labels for key in node_labels})
    shared = {key for key in keys if len({node_labels.get(key) for node_labels in all_labels}) == 1}
    kept = {key for key in keys if key in KEPT_LABELS or key.startswith(KEPT_PREFIXES)} | shared
    dropped = {
        key
        for key in keys
        if key in NODE_SPECIFIC_LABELS or key.startswith(NODE_SPECIFIC_PREFIXES) or _is_own_key(key, old_nodes)
    }
    zonal = {key for key in keys if _is_zonal_key(key, all_labels)}
    planned_labels = {NODE_GROUP_LABEL: name, **labels}
    shapes = []
    for node, node_labels in zip(old_nodes, all_labels):
        shapes.append(
            NodeShape(
                str(node["metadata"]["name"]),
                {**{key: node_labels[key] for key in node_labels if key in kept - dropped}, **planned_labels},
                {**{key: node_labels[key] for key in node_labels if key in (kept | zonal) - dropped}, **planned_labels},
                dict((node.get("status") or {}).get("allocatable") or {}),
            )
        )
    return PlannedNodes(tuple(shapes), tuple(taints), node_count)


def _is_own_key(key: str, nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a label names the node itself, as the topology keys of drivers for local volumes do."""
    return any(
        node["metadata"].get("labels", {}).get(key)
        in (
            node["metadata"]["name"],
            node["metadata"].get("labels", {}).get("kubernetes.io/hostname", node["metadata"]["name"]),
            str((node.get("spec") or {}).get("providerID") or node["metadata"]["name"]).rpartition("/")[2],
        )
        for node in nodes
    )


def _is_zonal_key(key: str, all_labels: Sequence[Mapping[str, str]]) -> bool:
    """Whether all nodes of a zone have the same value."""
    values: dict[str, set[Optional[str]]] = {}
    for labels in all_labels:
        values.setdefault(labels.get(ZONE_LABEL, ""), set()).add(labels.get(key))
    return all(len(found) == 1 for found in values.values())


def find_unschedulable_pods(
    pods: Iterable[Mapping[str, Any]], planned: PlannedNodes, volumes: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Pods that would stay Pending on the planned nodes, each with the reasons. C(volumes): persistent volumes."""
    all_pods = list(pods)
    movable_pods = [pod for pod in all_pods if not _is_exempt(pod)]
    free_resources = _compute_free_resources(all_pods, planned)
    found = []
    ports: dict[tuple[int, str], list[str]] = {}
    for pod in movable_pods:
        reasons = [
            *_get_taint_reasons(pod, planned),
            *_get_node_reasons(pod, planned, list_bound_volumes(pod, volumes), free_resources),
        ]
        for number, protocol, address in _list_host_ports(pod):
            addresses = ports.setdefault((number, protocol), [])
            addresses.append(address)
            if _count_nodes_for_port(addresses) > planned.node_count:
                reasons.append(f"more pods use host port {number} than there are planned nodes ({planned.node_count})")
        if reasons:
            meta = pod["metadata"]
            found.append({"namespace": meta["namespace"], "name": meta["name"], "reasons": reasons})
    return found + _check_total_capacity(movable_pods, planned, free_resources)


def _is_exempt(pod: Mapping[str, Any]) -> bool:
    """Whether a drain leaves the pod alone: it stays with its node, or it has finished."""
    return _is_bound_to_node(pod) or _is_finished(pod)


def _is_bound_to_node(pod: Mapping[str, Any]) -> bool:
    """A mirror of a static pod, or a pod of a DaemonSet. The planned nodes have such pods, too."""
    meta = pod["metadata"]
    owners = [owner.get("kind") for owner in meta.get("ownerReferences") or [] if owner.get("controller")]
    return "kubernetes.io/config.mirror" in (meta.get("annotations") or {}) or "DaemonSet" in owners


def _is_finished(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _compute_free_resources(pods: Sequence[Mapping[str, Any]], planned: PlannedNodes) -> list[dict[str, Fraction]]:
    """What each node has for pods that move: its allocatable resources without what pods that stay with it request."""
    staying: dict[str, list[Mapping[str, Any]]] = {}
    for pod in pods:
        if _is_bound_to_node(pod) and not _is_finished(pod):
            staying.setdefault(str((pod.get("spec") or {}).get("nodeName") or ""), []).append(pod)
    found = []
    for shape in planned.shapes:
        used = sum_all_requests(staying.get(shape.like, []))
        allocatable = parse_resources(shape.allocatable)
        found.append({key: value - used.get(key, Fraction(0)) for key, value in allocatable.items()})
    return found


def _get_taint_reasons(pod: Mapping[str, Any], planned: PlannedNodes) -> list[str]:
    return [
        f"the pod does not tolerate the taint {taint['key']}={taint.get('value') or ''}:{taint['effect']}"
        for taint in find_intolerable_taints(pod, planned.taints)
    ]


def _get_node_reasons(
    pod: Mapping[str, Any],
    planned: PlannedNodes,
    volumes: Sequence[Mapping[str, Any]],
    free_resources: Sequence[Mapping[str, Fraction]],
) -> list[str]:
    """Why no single planned node suits the pod; nothing where one does."""
    requests = sum_all_requests([pod])
    checked: set[tuple[Any, ...]] = set()
    all_reasons: list[dict[tuple[str, str], str]] = []
    for shape, free in zip(planned.shapes, free_resources):
        key = (tuple(shape.labels.items()), tuple(shape.volume_labels.items()), tuple(free.items()))
        if key in checked:
            continue
        checked.add(key)
        reasons = {
            **_get_label_reasons(pod, shape),
            **_get_volume_reasons(volumes, shape),
            **_get_request_reasons(requests, shape, free),
        }
        if not reasons:
            return []
        all_reasons.append(reasons)
    if not all_reasons:
        return []
    common = [text for key, text in all_reasons[0].items() if all(key in reasons for reasons in all_reasons)]
    if common:
        return common
    texts = dict.fromkeys(text for reasons in all_reasons for text in reasons.values())
    return [f"no single node meets all of this: {'; '.join(texts)}"]


def _get_label_reasons(pod: Mapping[str, Any], shape: NodeShape) -> dict[tuple[str, str], str]:
    reasons = {}
    for key, value in ((pod.get("spec") or {}).get("nodeSelector") or {}).items():
        if not matches_expression({"key": key, "operator": "In", "values": [value]}, shape.labels):
            reasons["selector", key] = f"the node selector requires {key}={value}"
    terms = get_affinity_terms(pod)
    if terms is not None and not matches_terms(terms, shape.labels):
        required = " or ".join(
            " and ".join(
                f"{item['key']} {item['operator']} {item.get('values') or ''}".strip()
                for item in [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]
            )
            for term in terms
        )
        reasons["affinity", ""] = f"the node affinity requires {required}"
    return reasons


def _get_volume_reasons(volumes: Sequence[Mapping[str, Any]], shape: NodeShape) -> dict[tuple[str, str], str]:
    reasons = {}
    for volume in volumes:
        if not can_mount_volume(volume, shape.volume_labels):
            places = [
                value
                for term in get_volume_terms(volume) or []
                for expression in [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]
                for value in expression.get("values") or []
            ]
            places += [zone for zones in list_volume_zones(volume).values() for zone in zones]
            name = volume["metadata"]["name"]
            reasons["volume", name] = f"the volume {name} is bound to {', '.join(dict.fromkeys(places))}"
    return reasons


def _get_request_reasons(
    requests: Mapping[str, Fraction], shape: NodeShape, free: Mapping[str, Fraction]
) -> dict[tuple[str, str], str]:
    """A node without any allocatable resource has not reported them. Then nothing is known."""
    reasons = {}
    for key, value in requests.items():
        if shape.allocatable and value > free.get(key, 0):
            has = shape.allocatable.get(key, "0")
            used = parse_quantity(has) - free.get(key, Fraction(0))
            daemons = f", of which pods of DaemonSets request {format_quantity(key, used)}" if used else ""
            reasons["requests", key] = f"the pod requests more {key} than a node has ({has}{daemons})"
    return reasons


def _list_host_ports(pod: Mapping[str, Any]) -> list[tuple[int, str, str]]:
    """The host ports of a pod's containers and native sidecars, with protocol and address."""
    spec = pod.get("spec") or {}
    sidecars = [container for container in spec.get("initContainers") or [] if is_sidecar(container)]
    return [
        (int(port["hostPort"]), str(port.get("protocol") or "TCP"), str(port.get("hostIP") or ""))
        for container in [*(spec.get("containers") or []), *sidecars]
        for port in container.get("ports") or []
        if port.get("hostPort")
    ]


def _count_nodes_for_port(addresses: Sequence[str]) -> int:
    """How many nodes these uses of a port need. Different addresses share a node, but not with all addresses."""
    specific = [address for address in addresses if address not in ALL_ADDRESSES]
    return len(addresses) - len(specific) + max((specific.count(address) for address in specific), default=0)


def _check_total_capacity(
    pods: Sequence[Mapping[str, Any]], planned: PlannedNodes, free_resources: Sequence[Mapping[str, Fraction]]
) -> list[dict[str, Any]]:
    """Check all pods together. Planned nodes come in the proportion of the old ones."""
    if not planned.shapes or not all(shape.allocatable for shape in planned.shapes):
        return []
    reasons = []
    count = planned.node_count
    for key, total in sum_all_requests(pods).items():
        free_together = sum((free.get(key, Fraction(0)) for free in free_resources), Fraction(0))
        capacity = free_together * count / len(planned.shapes)
        if total <= capacity:
            continue
        values = {shape.allocatable.get(key, "0") for shape in planned.shapes}
        each = values.pop() if len(values) == 1 and parse_quantity(next(iter(values))) * count == capacity else ""
        if key == "pods":
            room = f"hold {each} pods each" if each else f"hold {format_quantity(key, capacity)} pods beside DaemonSets"
            reasons.append(f"there are {len(pods)} pods, but {count} nodes {room}")
        elif each:
            reasons.append(f"all pods together request more {key} than {count} nodes with {each} each have")
        else:
            has = format_quantity(key, capacity)
            reasons.append(f"all pods together request more {key} than {count} nodes have beside DaemonSets ({has})")
    return [{"namespace": "", "name": "(all pods together)", "reasons": reasons}] if reasons else []
