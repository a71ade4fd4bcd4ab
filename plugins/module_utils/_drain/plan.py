# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods go, which stay, and which must not go without being asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .model import Budget, Pod, Rules

EVICT, SKIP, REFUSE = "evict", "skip", "refuse"


@dataclass(frozen=True)
class Decision:
    pod: Pod
    action: str
    reason: str
    budgets: tuple[Budget, ...] = ()

    @property
    def obstacle(self) -> str:
        """What is in its way now; empty where nothing is."""
        if len(self.budgets) > 1:
            return two_budgets(self.budgets)
        blocked = [one.key for one in self.budgets if one.allowed == 0]
        return f"budget {blocked[0]} allows no disruption now" if blocked and not self.pod.finished else ""


def two_budgets(budgets: Sequence[Budget]) -> str:
    return (
        f"it is under {len(budgets)} budgets ({', '.join(one.key for one in budgets)}), and Kubernetes evicts no pod "
        "with more than one: narrow a selector"
    )


def decide(pods: Iterable[Pod], budgets: Sequence[Budget], rules: Rules) -> list[Decision]:
    return [_decision(pod, tuple(one for one in budgets if one.covers(pod)), rules) for pod in pods]


def _decision(pod: Pod, budgets: tuple[Budget, ...], rules: Rules) -> Decision:
    if pod.mirror:
        return Decision(pod, SKIP, "it is a mirror of a static pod, which its node makes from a file")
    if pod.controller == "DaemonSet" and not pod.finished:
        if rules.ignore_daemonsets:
            return Decision(pod, SKIP, "its daemon set would make it again at once")
        return Decision(pod, REFUSE, "it belongs to a daemon set: set ignore_daemonsets=true to leave it")
    if pod.terminating:
        return Decision(pod, EVICT, "it is ending already", budgets)
    if pod.finished:
        return Decision(pod, EVICT, "it has finished", budgets)
    if pod.controller is None and not rules.delete_unmanaged:
        return Decision(pod, REFUSE, "nothing would make it again: set delete_unmanaged=true to lose it")
    if pod.empty_dirs and not rules.delete_emptydir_data:
        return Decision(
            pod,
            REFUSE,
            f"the data in its emptyDir {', '.join(pod.empty_dirs)} would be lost: set delete_emptydir_data=true",
        )
    return Decision(pod, EVICT, "it can run elsewhere", budgets)
