# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain: every node cordoned first, then pods evicted across all nodes at once, until each is gone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from .._clock import Clock
from . import plan
from .kube import KubeError
from .model import DrainRules, Node, Pod, PodDisruptionBudget

POLL_INTERVAL = 0.5  # seconds between two looks at what is left
RETRY_DELAY = 5.0  # seconds until the next try, where the API server gives no hint
MAX_ATTEMPTS = 5  # at calls that fail for reasons of the connection or the server


class DrainApi(Protocol):
    def list_nodes(self, selector: str = "") -> list[Node]: ...
    def list_pods(self, node: str) -> list[Pod]: ...
    def list_budgets(self) -> list[PodDisruptionBudget]: ...
    def cordon(self, node: str, unschedulable: bool) -> None: ...
    def evict(self, pod: Pod, rules: DrainRules) -> None: ...
    def get_replicas(self, namespace: str, kind: str, name: str) -> Optional[tuple[int, int]]: ...


@dataclass
class EvictionOutcome:
    """What became of one pod."""

    pod: Pod
    status: str = "pending"  # pending, accepted, evicted, skipped, refused, failed
    reason: str = ""
    attempts: int = 0
    errors: int = 0
    retry_at: float = 0.0
    blocking_budgets: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_in_progress(self) -> bool:
        return self.status in ("pending", "accepted")

    def to_dict(self) -> dict[str, Any]:
        return {
            "namespace": self.pod.namespace,
            "name": self.pod.name,
            "node": self.pod.node,
            "status": self.status if self.status != "accepted" else "pending",
            "reason": self.reason,
            "tries": self.attempts,
            "waited_for": list(self.blocking_budgets),
            "seconds": round(self.seconds, 1),
        }


@dataclass
class Drain:
    kube: DrainApi
    rules: DrainRules
    timeout: float = 3600
    workers: int = 10
    uncordon_on_failure: bool = True
    wait_for_replacements: bool = False
    clock: Clock = field(default_factory=Clock)
    outcomes: dict[str, EvictionOutcome] = field(default_factory=dict)
    cordoned_nodes: list[str] = field(default_factory=list)
    uncordoned_nodes: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    error: str = ""
    evictions: int = 0

    def plan_evictions(self, nodes: Sequence[Node]) -> tuple[list[plan.EvictionDecision], list[PodDisruptionBudget]]:
        """What is on the nodes now, and what is to be done with it."""
        budgets = self.kube.list_budgets()
        with ThreadPoolExecutor(self.workers) as pool:
            pods = [pod for found in pool.map(lambda node: self.kube.list_pods(node.name), nodes) for pod in found]
        return plan.make_plan(pods, budgets, self.rules), budgets

    def cordon(self, nodes: Sequence[Node], unschedulable: bool = True) -> list[str]:
        todo = [one.name for one in nodes if one.unschedulable != unschedulable]
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(lambda name: self._cordon_node(name, unschedulable), todo))
        return todo

    def _cordon_node(self, name: str, unschedulable: bool) -> None:
        self.kube.cordon(name, unschedulable)
        (self.cordoned_nodes if unschedulable else self.uncordoned_nodes).append(name)

    def run(self, nodes: Sequence[Node]) -> None:
        """Refuses before it touches anything; what fails afterwards is told with every pod's outcome."""
        began = self.clock.monotonic()
        decisions = self.plan_evictions(nodes)[0]
        if self._record_refused_pods(decisions):
            return
        try:
            self.cordon(nodes)
            decisions, budgets = self.plan_evictions(nodes)  # what has landed meanwhile
            if not self._record_refused_pods(decisions):
                self._evict_all(nodes, began, decisions, budgets)
                if self.wait_for_replacements and not self.error:
                    self._wait_for_replacements(began + self.timeout)
        except KubeError as error:
            self.error = str(error)
        if self.error and self.uncordon_on_failure and self.cordoned_nodes:
            self._uncordon_after_failure()

    def _uncordon_after_failure(self) -> None:
        for name in sorted(self.cordoned_nodes):
            try:
                self._cordon_node(name, False)
            except KubeError as error:
                self.error += f". Node {name} stays cordoned: {error}"

    def _record_refused_pods(self, decisions: Sequence[plan.EvictionDecision]) -> bool:
        refused = [one for one in decisions if one.action == plan.REFUSE]
        for one in refused:
            self.outcomes[one.pod.uid] = EvictionOutcome(one.pod, "refused", one.reason)
        if refused:
            said = "; ".join(f"{one.pod.key} on {one.pod.node}: {one.reason}" for one in refused[:10])
            self.error = f"{len(refused)} pods must not be evicted without being asked for: {said}"
        return bool(refused)

    def _evict_all(
        self,
        nodes: Sequence[Node],
        started_at: float,
        decisions: Sequence[plan.EvictionDecision],
        budgets: Sequence[PodDisruptionBudget],
    ) -> None:
        deadline = started_at + self.timeout
        with ThreadPoolExecutor(self.workers) as pool:
            while True:
                self._update_outcomes(decisions, started_at)
                now = self.clock.monotonic()
                due = [
                    one for one in self.outcomes.values() if one.status == "pending" and self._is_due(one, budgets, now)
                ]
                list(pool.map(self._evict_pod, due))
                left = [one for one in self.outcomes.values() if one.is_in_progress]
                failed = [one for one in self.outcomes.values() if one.status == "failed"]
                self._report_remaining(left)
                if not left:
                    break
                if self.clock.monotonic() >= deadline:
                    self._fail_timed_out(left)
                    failed += left
                    break
                self.clock.sleep(min(POLL_INTERVAL, max(0.0, deadline - self.clock.monotonic())))
                decisions, budgets = self.plan_evictions(nodes)
            if failed:
                said = "; ".join(f"{one.pod.key} on {one.pod.node}: {one.reason}" for one in failed[:10])
                self.error = f"{len(failed)} pods are not gone: {said}"

    def _wait_for_replacements(self, deadline: float) -> None:
        """Until what made the evicted pods has as many Ready as it is to have."""
        evicted = [one.pod for one in self.outcomes.values() if one.status == "evicted" and one.pod.controller_kind]
        owners = sorted({(one.namespace, str(one.controller_kind), one.controller_name) for one in evicted})
        while True:
            counted = [(owner, self.kube.get_replicas(*owner)) for owner in owners]
            short = [(owner, count) for owner, count in counted if count and count[0] < count[1]]
            if not short:
                return
            said = "; ".join(f"{o[1]} {o[0]}/{o[2]} has {c[0]} of {c[1]} Ready" for o, c in short[:10] if c)
            self._report_progress(said)
            if self.clock.monotonic() >= deadline:
                self.error = f"the pods are gone, but not all of their replacements are Ready elsewhere: {said}"
                return
            self.clock.sleep(min(POLL_INTERVAL, max(0.0, deadline - self.clock.monotonic())))

    def _report_progress(self, message: str) -> None:
        if not self.progress or self.progress[-1] != message:
            self.progress.append(message)

    def _update_outcomes(self, decisions: Sequence[plan.EvictionDecision], started_at: float) -> None:
        """Brings the outcomes up to what is there: new pods, and those that are gone."""
        there = {one.pod.uid: one for one in decisions}
        for uid, decision in there.items():
            if uid not in self.outcomes:
                status = {plan.EVICT: "pending", plan.SKIP: "skipped", plan.REFUSE: "failed"}[decision.action]
                self.outcomes[uid] = EvictionOutcome(decision.pod, status, decision.reason)
            outcome = self.outcomes[uid]
            if decision.pod.is_terminating and outcome.status == "pending":
                outcome.status = "accepted"
        for uid, outcome in self.outcomes.items():
            if outcome.is_in_progress and uid not in there:
                outcome.status = "evicted"
                outcome.reason = "gone"
                outcome.seconds = self.clock.monotonic() - started_at

    def _is_due(self, outcome: EvictionOutcome, budgets: Sequence[PodDisruptionBudget], now: float) -> bool:
        """By the server's hint, or as soon as the budget that was in the way allows one."""
        if now >= outcome.retry_at:
            return True
        mine = [one for one in budgets if one.matches_pod(outcome.pod)]
        return len(mine) == 1 and mine[0].disruptions_allowed > 0 and bool(outcome.blocking_budgets)

    def _evict_pod(self, outcome: EvictionOutcome) -> None:
        outcome.attempts += 1
        try:
            self.kube.evict(outcome.pod, self.rules)
        except KubeError as error:
            self._handle_eviction_error(outcome, error)
            return
        outcome.status = "accepted"
        outcome.reason = "evicted, and ending"

    def _handle_eviction_error(self, outcome: EvictionOutcome, error: KubeError) -> None:
        if error.status == 404 or (error.status == 409 and "precondition" in error.message.lower()):
            outcome.status, outcome.reason = "accepted", "gone"
        elif error.status == 429:
            found = re.search(r"disruption budget (\S+) ", error.message)
            name = f"{outcome.pod.namespace}/{found.group(1)}" if found else ""
            outcome.blocking_budgets = tuple(dict.fromkeys([*outcome.blocking_budgets, *([name] if name else [])]))
            outcome.reason = error.message
            outcome.retry_at = self.clock.monotonic() + (error.retry_after or RETRY_DELAY)
        elif error.status == 500 and "more than one PodDisruptionBudget" in error.message:
            mine = [one for one in self.kube.list_budgets() if one.matches_pod(outcome.pod)]
            outcome.blocking_budgets = tuple(one.key for one in mine)
            outcome.status, outcome.reason = "failed", plan.describe_multiple_budgets(mine)
        elif error.status in (0, 409, 500, 502, 503, 504):
            outcome.errors += 1
            outcome.reason = str(error)
            outcome.retry_at = self.clock.monotonic() + RETRY_DELAY
            if outcome.errors >= MAX_ATTEMPTS:
                outcome.status = "failed"
        else:
            outcome.status, outcome.reason = "failed", str(error)

    def _report_remaining(self, remaining: Sequence[EvictionOutcome]) -> None:
        waiting: dict[str, int] = {}
        for one in remaining:
            for budget in one.blocking_budgets if one.status == "pending" else ():
                waiting[budget] = waiting.get(budget, 0) + 1
        gone = sum(one.status == "evicted" for one in self.outcomes.values())
        said = "".join(f", {count} wait for budget {budget}" for budget, count in sorted(waiting.items()))
        self._report_progress(f"{gone} gone, {len(remaining)} left{said}")

    def _fail_timed_out(self, remaining: Sequence[EvictionOutcome]) -> None:
        for one in remaining:
            state = (
                f"waits for budget {', '.join(one.blocking_budgets)}: "
                if one.status == "pending" and one.blocking_budgets
                else ""
            )
            one.status = "failed"
            one.reason = f"{state}{one.reason}; not gone within {self.timeout:g} seconds"
