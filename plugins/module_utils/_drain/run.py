# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a drain: cordon all nodes, evict their pods side by side, and wait for every PodDisruptionBudget (PDB)."""

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

POLL_INTERVAL = 0.5  # seconds between two readings of the pods and budgets
RETRY_DELAY = 5.0  # seconds until a retry, where the API server sends no Retry-After
MAX_ATTEMPTS = 5  # of an eviction that fails by the connection or by the server
NAMESPACE_TERMINATING = "NamespaceTerminating"  # the type of the cause in the API server's response


class DrainApi(Protocol):
    """The calls that a drain makes; kube.KubeClient implements them."""

    def list_pods(self, node: str) -> list[Pod]: ...
    def list_budgets(self) -> list[PodDisruptionBudget]: ...
    def cordon(self, node: str, unschedulable: bool) -> None: ...
    def evict(self, pod: Pod, rules: DrainRules) -> None: ...
    def get_replicas(self, namespace: str, kind: str, name: str) -> Optional[tuple[int, int]]: ...


@dataclass
class EvictionOutcome:
    """The result of a pod's eviction."""

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
            "attempts": self.attempts,
            "blocking_budgets": list(self.blocking_budgets),
            "seconds": round(self.seconds, 1),
        }


@dataclass
class Drain:
    """A drain of nodes, with the outcome of each pod."""

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

    def plan_evictions(self, nodes: Sequence[Node]) -> tuple[list[plan.EvictionDecision], list[PodDisruptionBudget]]:
        """Read the pods and the budgets, and decide for each pod whether it is evicted."""
        budgets = self.kube.list_budgets()
        with ThreadPoolExecutor(self.workers) as pool:
            pods_by_node = pool.map(lambda node: self.kube.list_pods(node.name), nodes)
            pods = [pod for node_pods in pods_by_node for pod in node_pods]
        return plan.make_plan(pods, budgets, self.rules), budgets

    def cordon(self, nodes: Sequence[Node], unschedulable: bool = True) -> list[str]:
        names = [node.name for node in nodes if node.unschedulable != unschedulable]
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(lambda name: self._cordon_node(name, unschedulable), names))
        return names

    def _cordon_node(self, name: str, unschedulable: bool) -> None:
        self.kube.cordon(name, unschedulable)
        (self.cordoned_nodes if unschedulable else self.uncordoned_nodes).append(name)

    def run(self, nodes: Sequence[Node]) -> None:
        """Refuse before anything is changed. A later failure is reported with the outcome of every pod."""
        started_at = self.clock.monotonic()
        decisions = self.plan_evictions(nodes)[0]
        if self.record_refused_pods(decisions):
            return
        try:
            self.cordon(nodes)
            decisions, budgets = self.plan_evictions(nodes)  # pods may have been scheduled in the meantime
            if not self.record_refused_pods(decisions):
                self._evict_all(nodes, started_at, decisions, budgets)
                if self.wait_for_replacements and not self.error:
                    self._wait_for_replacements(started_at + self.timeout)
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

    def record_refused_pods(self, decisions: Sequence[plan.EvictionDecision]) -> bool:
        """Whether a pod must not be evicted without an explicit option; then nothing is evicted."""
        refused = [decision for decision in decisions if decision.action == plan.REFUSE]
        for decision in refused:
            self.outcomes[decision.pod.uid] = EvictionOutcome(decision.pod, "refused", decision.reason)
        if refused:
            reasons = "; ".join(f"{item.pod.key} on {item.pod.node}: {item.reason}" for item in refused[:10])
            self.error = f"{len(refused)} pods need an explicit option, and nothing was evicted: {reasons}"
        return bool(refused)

    def _evict_all(
        self,
        nodes: Sequence[Node],
        started_at: float,
        decisions: Sequence[plan.EvictionDecision],
        budgets: Sequence[PodDisruptionBudget],
    ) -> None:
        """Evict all pods. The drain waits here for each PodDisruptionBudget (PDB).

        It retries a blocked eviction until the timeout is over.
        """
        deadline = started_at + self.timeout
        with ThreadPoolExecutor(self.workers) as pool:
            while True:
                self._update_outcomes(decisions, started_at)
                now = self.clock.monotonic()
                due = [
                    outcome
                    for outcome in self.outcomes.values()
                    if outcome.status == "pending" and self._is_due(outcome, budgets, now)
                ]
                list(pool.map(self._evict_pod, due))
                remaining = [outcome for outcome in self.outcomes.values() if outcome.is_in_progress]
                failed = [outcome for outcome in self.outcomes.values() if outcome.status == "failed"]
                self._report_remaining(remaining)
                if not remaining:
                    break
                if self.clock.monotonic() >= deadline:
                    self._fail_timed_out(remaining)
                    failed += remaining
                    break
                self.clock.sleep(min(POLL_INTERVAL, max(0.0, deadline - self.clock.monotonic())))
                try:
                    decisions, budgets = self.plan_evictions(nodes)
                except KubeError as error:  # the evictions continue in the cluster, so read again
                    if not error.is_transient:
                        raise
                    self._report_progress(str(error))
            if failed:
                reasons = "; ".join(f"{item.pod.key} on {item.pod.node}: {item.reason}" for item in failed[:10])
                self.error = f"{len(failed)} pods are not gone: {reasons}"

    def _wait_for_replacements(self, deadline: float) -> None:
        """Wait until the controllers of the evicted pods have all their replicas Ready."""
        evicted = [
            outcome.pod
            for outcome in self.outcomes.values()
            if outcome.status == "evicted" and outcome.pod.controller_kind
        ]
        controllers = sorted({(pod.namespace, str(pod.controller_kind), pod.controller_name) for pod in evicted})
        while True:
            counts = [(controller, self.kube.get_replicas(*controller)) for controller in controllers]
            unready = [(controller, count) for controller, count in counts if count and count[0] < count[1]]
            if not unready:
                return
            message = "; ".join(f"{c[1]} {c[0]}/{c[2]} has {n[0]} of {n[1]} Ready" for c, n in unready[:10] if n)
            self._report_progress(message)
            if self.clock.monotonic() >= deadline:
                self.error = f"the pods are gone, but not all of their replacements are Ready elsewhere: {message}"
                return
            self.clock.sleep(min(POLL_INTERVAL, max(0.0, deadline - self.clock.monotonic())))

    def _report_progress(self, message: str) -> None:
        if not self.progress or self.progress[-1] != message:
            self.progress.append(message)

    def _update_outcomes(self, decisions: Sequence[plan.EvictionDecision], started_at: float) -> None:
        """Add new pods to the outcomes, and mark those that are gone."""
        current = {decision.pod.uid: decision for decision in decisions}
        for uid, decision in current.items():
            if uid not in self.outcomes:
                status = {plan.EVICT: "pending", plan.SKIP: "skipped", plan.REFUSE: "failed"}[decision.action]
                self.outcomes[uid] = EvictionOutcome(decision.pod, status, decision.reason)
            outcome = self.outcomes[uid]
            outcome.pod = decision.pod
            if decision.pod.is_terminating and outcome.status == "pending":
                outcome.status = "accepted"
        for uid, outcome in self.outcomes.items():
            if outcome.is_in_progress and uid not in current:
                outcome.status = "evicted"
                outcome.reason = "gone"
                outcome.seconds = self.clock.monotonic() - started_at

    def _is_due(self, outcome: EvictionOutcome, budgets: Sequence[PodDisruptionBudget], now: float) -> bool:
        """Whether to retry: after the server's Retry-After, or as soon as the PDB that blocked the pod allows it."""
        if now >= outcome.retry_at:
            return True
        matching = [budget for budget in budgets if budget.matches_pod(outcome.pod)]
        return (
            len(matching) == 1
            and matching[0].get_blocking_reason(outcome.pod) is None
            and bool(outcome.blocking_budgets)
        )

    def _evict_pod(self, outcome: EvictionOutcome) -> None:
        outcome.attempts += 1
        try:
            self.kube.evict(outcome.pod, self.rules)
        except KubeError as error:
            self._handle_eviction_error(outcome, error)
            return
        outcome.status = "accepted"
        outcome.reason = "evicted, and terminating"

    def _handle_eviction_error(self, outcome: EvictionOutcome, error: KubeError) -> None:
        """What passes by itself is tried again; the rest fails at once.

        docs/facts/sysctl_nodegroup.md#evictions
        """
        outcome.reason = error.message if error.status == 429 else str(error)
        outcome.retry_at = self.clock.monotonic() + (error.retry_after or RETRY_DELAY)
        if error.status == 404:
            outcome.status, outcome.reason = "accepted", "gone"
        elif error.status == 409:
            outcome.retry_at = self.clock.monotonic()  # another pod has the name by now, or the pod has changed
        elif error.status == 429:
            found = re.search(r"disruption budget (\S+) ", error.message)
            name = f"{outcome.pod.namespace}/{found.group(1)}" if found else ""
            outcome.blocking_budgets = tuple(dict.fromkeys([*outcome.blocking_budgets, *([name] if name else [])]))
        elif error.status == 403 and NAMESPACE_TERMINATING in error.cause_types:
            outcome.reason = (
                f"namespace {outcome.pod.namespace} is being terminated, which ends the pod: {error.message}"
            )
        elif error.status == 500 and "more than one PodDisruptionBudget" in error.message:
            matching = [budget for budget in self.kube.list_budgets() if budget.matches_pod(outcome.pod)]
            outcome.blocking_budgets = tuple(budget.key for budget in matching)
            outcome.status, outcome.reason = "failed", plan.describe_multiple_budgets(matching)
        elif error.is_transient:
            outcome.errors += 1
            if outcome.errors >= MAX_ATTEMPTS:
                outcome.status = "failed"
        else:
            outcome.status = "failed"

    def _report_remaining(self, remaining: Sequence[EvictionOutcome]) -> None:
        waiting: dict[str, int] = {}
        for outcome in remaining:
            for budget in outcome.blocking_budgets if outcome.status == "pending" else ():
                waiting[budget] = waiting.get(budget, 0) + 1
        gone = sum(outcome.status == "evicted" for outcome in self.outcomes.values())
        waits = "".join(f", {count} wait for budget {budget}" for budget, count in sorted(waiting.items()))
        self._report_progress(f"{gone} gone, {len(remaining)} left{waits}")

    def _fail_timed_out(self, remaining: Sequence[EvictionOutcome]) -> None:
        """Name the PodDisruptionBudget that a pod waits for."""
        for outcome in remaining:
            wait_reason = (
                f"waits for budget {', '.join(outcome.blocking_budgets)}: "
                if outcome.status == "pending" and outcome.blocking_budgets
                else ""
            )
            outcome.status = "failed"
            outcome.reason = f"{wait_reason}{outcome.reason}; not gone within {self.timeout:g} seconds"
