# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide for each pod whether a drain evicts, skips or refuses it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .model import DrainRules, Pod, PodDisruptionBudget

EVICT, SKIP, REFUSE = "evict", "skip", "refuse"


@dataclass(frozen=True)
class EvictionDecision:
    """The action for a pod, and the PodDisruptionBudgets that match it."""

    pod: Pod
    action: str
    reason: str
    budgets: tuple[PodDisruptionBudget, ...] = ()

    @property
    def blocking_reason(self) -> str:
        """Why an eviction would be rejected now; empty if it would be accepted."""
        if self.pod.ignores_budgets:
            return ""
        if len(self.budgets) > 1:
            return describe_multiple_budgets(self.budgets)
        return next((reason for budget in self.budgets if (reason := budget.get_blocking_reason(self.pod))), "")


def describe_multiple_budgets(budgets: Sequence[PodDisruptionBudget]) -> str:
    # The eviction API answers 500 for such a pod: docs/facts/sysctl_nodegroup.md#evictions
    return (
        f"{len(budgets)} budgets select the pod ({', '.join(budget.key for budget in budgets)}), and Kubernetes evicts "
        "no pod with more than one budget: narrow the selector of a budget"
    )


def make_plan(pods: Iterable[Pod], budgets: Sequence[PodDisruptionBudget], rules: DrainRules) -> list[EvictionDecision]:
    return [
        _decide_eviction(pod, tuple(budget for budget in budgets if budget.matches_pod(pod)), rules) for pod in pods
    ]


def _decide_eviction(pod: Pod, budgets: tuple[PodDisruptionBudget, ...], rules: DrainRules) -> EvictionDecision:
    if pod.is_mirror:
        return EvictionDecision(pod, SKIP, "the pod is a mirror of a static pod, which the kubelet creates from a file")
    if pod.controller_kind == "DaemonSet" and not pod.is_finished:
        if rules.ignore_daemonsets:
            return EvictionDecision(pod, SKIP, "its DaemonSet would create it again at once")
        return EvictionDecision(pod, REFUSE, "the pod belongs to a DaemonSet: set ignore_daemonsets=true to keep it")
    if pod.is_terminating:
        return EvictionDecision(pod, EVICT, "the pod is terminating already", budgets)
    if pod.is_finished:
        return EvictionDecision(pod, EVICT, "the pod has finished", budgets)
    if pod.controller_kind is None and not rules.delete_unmanaged:
        return EvictionDecision(
            pod, REFUSE, "the pod has no controller that would create it again: set delete_unmanaged=true to delete it"
        )
    if pod.empty_dirs and not rules.delete_emptydir_data:
        return EvictionDecision(
            pod,
            REFUSE,
            f"the data of its emptyDir {', '.join(pod.empty_dirs)} would be lost: set delete_emptydir_data=true",
        )
    return EvictionDecision(pod, EVICT, "the pod can run on another node", budgets)
