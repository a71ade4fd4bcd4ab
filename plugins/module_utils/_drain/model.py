# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods, budgets and nodes as a drain sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

NODE_GROUP_LABEL = "eks.amazonaws.com/nodegroup"  # EKS puts it on the nodes of a managed node group


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
    controller_kind: Optional[str] = None  # kind of the owner that would make it again
    controller_name: str = ""  # that controller's name
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
        owner = next((one for one in meta.get("ownerReferences") or [] if one.get("controller")), None)
        return cls(
            namespace=str(meta["namespace"]),
            name=str(meta["name"]),
            uid=str(meta.get("uid") or ""),
            node=str(spec.get("nodeName") or ""),
            labels=dict(meta.get("labels") or {}),
            controller_kind=str(owner["kind"]) if owner else None,
            controller_name=str(owner["name"]) if owner else "",
            is_mirror="kubernetes.io/config.mirror" in (meta.get("annotations") or {}),
            empty_dirs=tuple(str(one["name"]) for one in spec.get("volumes") or [] if "emptyDir" in one),
            is_finished=(entry.get("status") or {}).get("phase") in ("Succeeded", "Failed"),
            is_terminating=bool(meta.get("deletionTimestamp")),
        )


@dataclass(frozen=True)
class PodDisruptionBudget:
    """A PodDisruptionBudget. C(allowed): how many pods may go now."""

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
    """A label selector, as policy/v1 reads it: an empty one selects everything, none selects nothing."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for one in selector.get("matchExpressions") or []:
        value, values = labels.get(one["key"]), one.get("values") or []
        fits = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[one["operator"]]
        if not fits:
            return False
    return True


@dataclass(frozen=True)
class DrainRules:
    """What may happen to which pods."""

    ignore_daemonsets: bool = True
    delete_emptydir_data: bool = False
    delete_unmanaged: bool = False
    grace_period: Optional[int] = None
