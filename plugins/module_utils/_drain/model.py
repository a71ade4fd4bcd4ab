# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes, pods and PodDisruptionBudgets, as a drain needs them, and the rules of a drain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

NODE_GROUP_LABEL = "eks.amazonaws.com/nodegroup"  # on the nodes of a managed node group, by EKS


@dataclass(frozen=True)
class Node:
    name: str
    unschedulable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Node:
        meta, spec = entry.get("metadata") or {}, entry.get("spec") or {}
        return cls(str(meta["name"]), bool(spec.get("unschedulable")), dict(meta.get("labels") or {}))


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    uid: str
    node: str
    labels: Mapping[str, str] = field(default_factory=dict)
    controller_kind: Optional[str] = None  # kind of the controller that would create the pod again
    controller_name: str = ""  # name of that controller
    is_mirror: bool = False
    empty_dirs: tuple[str, ...] = ()
    phase: str = "Running"
    is_ready: bool = True
    is_terminating: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def is_finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def ignores_budgets(self) -> bool:
        """Whether the eviction API deletes the pod without a look at budgets.

        docs/facts/sysctl_nodegroup.md#evictions
        """
        return self.is_finished or self.phase == "Pending" or self.is_terminating

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Pod:
        meta, spec = entry.get("metadata") or {}, entry.get("spec") or {}
        status = entry.get("status") or {}
        owner = next((owner for owner in meta.get("ownerReferences") or [] if owner.get("controller")), None)
        return cls(
            namespace=str(meta["namespace"]),
            name=str(meta["name"]),
            uid=str(meta.get("uid") or ""),
            node=str(spec.get("nodeName") or ""),
            labels=dict(meta.get("labels") or {}),
            controller_kind=str(owner["kind"]) if owner else None,
            controller_name=str(owner["name"]) if owner else "",
            is_mirror="kubernetes.io/config.mirror" in (meta.get("annotations") or {}),
            empty_dirs=tuple(str(volume["name"]) for volume in spec.get("volumes") or [] if "emptyDir" in volume),
            phase=str(status.get("phase") or ""),
            is_ready=any(
                condition.get("type") == "Ready" and condition.get("status") == "True"
                for condition in status.get("conditions") or []
            ),
            is_terminating=bool(meta.get("deletionTimestamp")),
        )


@dataclass(frozen=True)
class PodDisruptionBudget:
    """A PodDisruptionBudget (PDB). C(disruptions_allowed): how many of its pods may be evicted now."""

    namespace: str
    name: str
    selector: Optional[Mapping[str, Any]]
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    always_allows_unhealthy: bool = False
    is_processed: bool = True  # whether the status is that of the current specification

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> PodDisruptionBudget:
        meta, spec, status = entry.get("metadata") or {}, entry.get("spec") or {}, entry.get("status") or {}
        return cls(
            str(meta["namespace"]),
            str(meta["name"]),
            spec.get("selector"),
            int(status.get("disruptionsAllowed") or 0),
            int(status.get("currentHealthy") or 0),
            int(status.get("desiredHealthy") or 0),
            spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow",
            int(status.get("observedGeneration") or 0) >= int(meta.get("generation") or 0),
        )

    def matches_pod(self, pod: Pod) -> bool:
        return pod.namespace == self.namespace and matches_selector(self.selector, pod.labels)

    def get_blocking_reason(self, pod: Pod) -> Optional[str]:
        """Why the budget blocks an eviction of the pod now; None where it does not.

        docs/facts/sysctl_nodegroup.md#evictions
        """
        if pod.ignores_budgets:
            return None
        if not pod.is_ready and (self.always_allows_unhealthy or self.current_healthy >= self.desired_healthy > 0):
            return None
        if not self.is_processed:
            return f"budget {self.key} is still being processed by the server"
        if self.disruptions_allowed <= 0:
            return f"budget {self.key} allows no disruption now"
        return None


def matches_selector(selector: Optional[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether a label selector of policy/v1 selects these labels. C({}) selects every pod, C(None) selects none."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or []:
        value, values = labels.get(expression["key"]), expression.get("values") or []
        is_match = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[expression["operator"]]
        if not is_match:
            return False
    return True


@dataclass(frozen=True)
class DrainRules:
    """Which pods a drain evicts, and the grace period of their eviction."""

    ignore_daemonsets: bool = True
    delete_emptydir_data: bool = False
    delete_unmanaged: bool = False
    grace_period: Optional[int] = None
