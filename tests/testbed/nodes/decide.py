# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what EKS does next with the nodes of a group. Pure; the controller decides again until nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds; see Settings in aws/eks_life.py."""

    join: float = 900
    evict: float = 900
    drain: float = 300


@dataclass(frozen=True)
class Group:
    name: str
    status: str
    desired: int
    rolling: bool = False  # an update of its version, rather than of its settings
    unavailable: int = 1
    minimal: bool = False  # old nodes are terminated before new nodes are launched
    force: bool = False


@dataclass(frozen=True)
class NodeState:
    """An instance of the group, and its node."""

    id: str
    name: str = ""
    current: bool = True  # booted from the current template
    ready: bool = True
    unready: float = 0  # seconds since it was ready, or since its launch
    draining: float | None = None  # seconds since its drain began
    empty: bool = True  # no pod is left to evict


@dataclass(frozen=True)
class Plan:
    launch: int = 0
    drain: Sequence[str] = ()
    terminate: Sequence[str] = ()
    release: Sequence[str] = ()  # nodes that are uncordoned again
    outcome: str = ""  # created, create_failed, updated, update_failed, degraded, healthy, deleted
    issue: dict[str, Any] = field(default_factory=dict)


def decide(group: Group, nodes: Sequence[NodeState], limits: Limits) -> Plan:
    if group.status == "CREATING":
        return creating(group, nodes, limits)
    if group.status == "DELETING":
        return deleting(nodes, limits)
    if group.status == "UPDATING" and group.rolling:
        return rolling(group, nodes, limits)
    if group.status in ("ACTIVE", "DEGRADED", "UPDATING"):
        return scaling(group, nodes, limits)
    return Plan()


def list_late(nodes: Sequence[NodeState], limits: Limits) -> list[NodeState]:
    return [node for node in nodes if not node.ready and node.unready > limits.join and node.draining is None]


def issue(code: str, message: str, resources: Sequence[str]) -> dict[str, Any]:
    return {"code": code, "message": message, "resourceIds": list(resources)}


def not_joined(nodes: Sequence[NodeState]) -> dict[str, Any]:
    return issue("NodeCreationFailure", "Instances failed to join the kubernetes cluster", [node.id for node in nodes])


def creating(group: Group, nodes: Sequence[NodeState], limits: Limits) -> Plan:
    if missing := list_late(nodes, limits):
        return Plan(outcome="create_failed", issue=not_joined(missing))
    if len(nodes) >= group.desired and all(node.ready for node in nodes):
        return Plan(outcome="created")
    return Plan(launch=max(0, group.desired - len(nodes)))


def leaving(nodes: Sequence[NodeState], limit: float) -> list[str]:
    """Draining instances that are empty, or whose time limit is over."""
    return [n.id for n in nodes if n.draining is not None and (n.empty or n.draining > limit)]


def deleting(nodes: Sequence[NodeState], limits: Limits) -> Plan:
    """PodDisruptionBudgets hold only until the drain limit. docs/facts/sysctl_nodegroup.md#deleting-a-group"""
    if not nodes:
        return Plan(outcome="deleted")
    return Plan(drain=[node.id for node in nodes if node.draining is None], terminate=leaving(nodes, limits.drain))


def scaling(group: Group, nodes: Sequence[NodeState], limits: Limits) -> Plan:
    staying = [node for node in nodes if node.draining is None]
    surplus = len(staying) - group.desired
    # First instances of an old template, then instances that are not ready, then the youngest.
    order = sorted(enumerate(staying), key=lambda pair: (pair[1].current, pair[1].ready, -pair[0]))
    victims = [node.id for _number, node in order[:surplus]] if surplus > 0 else []
    terminate = leaving(nodes, limits.drain)
    missing = list_late(staying, limits)
    stable = surplus == 0 and len(staying) == len(nodes) and (missing or all(node.ready for node in staying))
    outcome = ""
    if group.status == "UPDATING":
        outcome = "updated" if stable else ""
    elif missing and group.status == "ACTIVE":
        outcome = "degraded"
    elif group.status == "DEGRADED" and stable and not missing:
        outcome = "healthy"
    return Plan(max(0, -surplus), victims, terminate, outcome=outcome, issue=not_joined(missing) if missing else {})


def rolling(group: Group, nodes: Sequence[NodeState], limits: Limits) -> Plan:
    old = [node for node in nodes if not node.current]
    new = [node for node in nodes if node.current]
    draining = [node for node in old if node.draining is not None]
    if missing := list_late(new, limits):
        message = f"Couldn't proceed with upgrade process as new nodes are not joining node group {group.name}"
        return Plan(
            terminate=[node.id for node in missing],
            release=[node.id for node in draining],
            outcome="update_failed",
            issue=issue("NodeCreationFailure", message, [node.id for node in missing]),
        )
    stuck = [node for node in draining if not node.empty and (node.draining or 0) > limits.evict]
    if stuck and not group.force:
        message = f"Reached max retries while trying to evict pods from nodes in node group {group.name}"
        return Plan(
            release=[node.id for node in draining],
            outcome="update_failed",
            issue=issue("PodEvictionFailure", message, [node.name for node in stuck]),
        )
    if not old and len(new) >= group.desired and all(node.ready for node in new):
        return Plan(outcome="updated")
    at_once = min(group.unavailable, max(1, len(old)))
    most = group.desired if group.minimal else group.desired + (at_once if old else 0)
    launch = max(0, min(group.desired - len(new), most - len(nodes)))
    staying = sum(1 for node in nodes if node.ready and node.draining is None)
    fewest = group.desired - (at_once if group.minimal else 0)
    free = max(0, min(at_once - len(draining), staying - fewest))
    waiting = [node for node in old if node.draining is None]
    broken = [node.id for node in waiting if not node.ready and not launch]
    drain = [*broken, *(node.id for node in waiting if node.ready)][: max(free, len(broken))]
    return Plan(launch, drain, leaving(draining, limits.evict))
