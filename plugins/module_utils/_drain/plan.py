# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods go, which stay, and which must not go without being asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .model import DrainRules, Pod, PodDisruptionBudget

EVICT, SKIP, REFUSE = "evict", "skip", "refuse"


@dataclass(frozen=True)
class EvictionDecision:
    pod: Pod
    action: str
    reason: str
    budgets: tuple[PodDisruptionBudget, ...] = ()

    @property
    def blocking_reason(self) -> str:
        """What is in its way now; empty where nothing is."""
        if len(self.budgets) > 1:
            return describe_multiple_budgets(self.budgets)
        blocked = [one.key for one in self.budgets if one.disruptions_allowed == 0]
        return f"budget {blocked[0]} allows no disruption now" if blocked and not self.pod.is_finished else ""


def describe_multiple_budgets(budgets: Sequence[PodDisruptionBudget]) -> str:
    return (
        f"it is under {len(budgets)} budgets ({', '.join(one.key for one in budgets)}), and Kubernetes evicts no pod "
        "with more than one: narrow a selector"
    )


def make_plan(pods: Iterable[Pod], budgets: Sequence[PodDisruptionBudget], rules: DrainRules) -> list[EvictionDecision]:
    return [_decide_eviction(pod, tuple(one for one in budgets if one.matches_pod(pod)), rules) for pod in pods]


def _decide_eviction(pod: Pod, budgets: tuple[PodDisruptionBudget, ...], rules: DrainRules) -> EvictionDecision:
    if pod.is_mirror:
        return EvictionDecision(pod, SKIP, "it is a mirror of a static pod, which its node makes from a file")
    if pod.controller_kind == "DaemonSet" and not pod.is_finished:
        if rules.ignore_daemonsets:
            return EvictionDecision(pod, SKIP, "its daemon set would make it again at once")
        return EvictionDecision(pod, REFUSE, "it belongs to a daemon set: set ignore_daemonsets=true to leave it")
    if pod.is_terminating:
        return EvictionDecision(pod, EVICT, "it is ending already", budgets)
    if pod.is_finished:
        return EvictionDecision(pod, EVICT, "it has finished", budgets)
    if pod.controller_kind is None and not rules.delete_unmanaged:
        return EvictionDecision(pod, REFUSE, "nothing would make it again: set delete_unmanaged=true to lose it")
    if pod.empty_dirs and not rules.delete_emptydir_data:
        return EvictionDecision(
            pod,
            REFUSE,
            f"the data in its emptyDir {', '.join(pod.empty_dirs)} would be lost: set delete_emptydir_data=true",
        )
    return EvictionDecision(pod, EVICT, "it can run elsewhere", budgets)
