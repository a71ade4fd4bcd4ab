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
    is_finished: bool = False
    is_terminating: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Pod:
        meta, spec = entry.get("metadata") or {}, entry.get("spec") or {}
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
            is_finished=(entry.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
            is_terminating=bool(meta.get("deletionTimestamp")),
        )


@dataclass(frozen=True)
class PodDisruptionBudget:
    """A PodDisruptionBudget (PDB). C(disruptions_allowed): how many of its pods may be evicted now."""

    namespace: str
    name: str
    selector: Optional[Mapping[str, Any]]
    disruptions_allowed: int = 0

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> PodDisruptionBudget:
        meta = entry.get("metadata") or {}
        return cls(
            str(meta["namespace"]),
            str(meta["name"]),
            (entry.get("spec") or {}).get("selector"),
            int((entry.get("status") or {}).get("disruptionsAllowed") or 0),
        )

    def matches_pod(self, pod: Pod) -> bool:
        return pod.namespace == self.namespace and matches_selector(self.selector, pod.labels)


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
