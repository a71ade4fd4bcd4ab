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
from .model import Budget, Node, Pod, Rules

TICK = 0.5  # seconds between two looks at what is left
HINT = 5.0  # seconds until the next try, where the API server gives no hint
TRIES = 5  # at calls that fail for reasons of the connection or the server


class Cluster(Protocol):
    def nodes(self, selector: str = "") -> list[Node]: ...
    def pods(self, node: str) -> list[Pod]: ...
    def budgets(self) -> list[Budget]: ...
    def cordon(self, node: str, unschedulable: bool) -> None: ...
    def evict(self, pod: Pod, rules: Rules) -> None: ...
    def replicas(self, namespace: str, kind: str, name: str) -> Optional[tuple[int, int]]: ...


@dataclass
class Outcome:
    """What became of one pod."""

    pod: Pod
    status: str = "pending"  # pending, accepted, evicted, skipped, refused, failed
    reason: str = ""
    tries: int = 0
    troubles: int = 0
    next_try: float = 0.0
    blocked_by: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def open(self) -> bool:
        return self.status in ("pending", "accepted")

    def to_dict(self) -> dict[str, Any]:
        return {
            "namespace": self.pod.namespace,
            "name": self.pod.name,
            "node": self.pod.node,
            "status": self.status if self.status != "accepted" else "pending",
            "reason": self.reason,
            "tries": self.tries,
            "waited_for": list(self.blocked_by),
            "seconds": round(self.seconds, 1),
        }


@dataclass
class Drain:
    kube: Cluster
    rules: Rules
    timeout: float = 3600
    workers: int = 10
    uncordon_on_failure: bool = True
    wait_for_replacements: bool = False
    clock: Clock = field(default_factory=Clock)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    cordoned: list[str] = field(default_factory=list)
    uncordoned: list[str] = field(default_factory=list)
    progress: list[str] = field(default_factory=list)
    error: str = ""
    evictions: int = 0

    def look(self, nodes: Sequence[Node]) -> tuple[list[plan.Decision], list[Budget]]:
        """What is on the nodes now, and what is to be done with it."""
        budgets = self.kube.budgets()
        with ThreadPoolExecutor(self.workers) as pool:
            pods = [pod for found in pool.map(lambda node: self.kube.pods(node.name), nodes) for pod in found]
        return plan.decide(pods, budgets, self.rules), budgets

    def cordon(self, nodes: Sequence[Node], unschedulable: bool = True) -> list[str]:
        todo = [one.name for one in nodes if one.unschedulable != unschedulable]
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(lambda name: self._cordon(name, unschedulable), todo))
        return todo

    def _cordon(self, name: str, unschedulable: bool) -> None:
        self.kube.cordon(name, unschedulable)
        (self.cordoned if unschedulable else self.uncordoned).append(name)

    def run(self, nodes: Sequence[Node]) -> None:
        """Refuses before it touches anything; what fails afterwards is told with every pod's outcome."""
        began = self.clock.now()
        decisions = self.look(nodes)[0]
        if self._refused(decisions):
            return
        try:
            self.cordon(nodes)
            decisions, budgets = self.look(nodes)  # what has landed meanwhile
            if not self._refused(decisions):
                self._evict_all(nodes, began, decisions, budgets)
                if self.wait_for_replacements and not self.error:
                    self._await_replacements(began + self.timeout)
        except KubeError as error:
            self.error = str(error)
        if self.error and self.uncordon_on_failure and self.cordoned:
            self._give_back()

    def _give_back(self) -> None:
        for name in sorted(self.cordoned):
            try:
                self._cordon(name, False)
            except KubeError as error:
                self.error += f". Node {name} stays cordoned: {error}"

    def _refused(self, decisions: Sequence[plan.Decision]) -> bool:
        refused = [one for one in decisions if one.action == plan.REFUSE]
        for one in refused:
            self.outcomes[one.pod.uid] = Outcome(one.pod, "refused", one.reason)
        if refused:
            said = "; ".join(f"{one.pod.key} on {one.pod.node}: {one.reason}" for one in refused[:10])
            self.error = f"{len(refused)} pods must not be evicted without being asked for: {said}"
        return bool(refused)

    def _evict_all(
        self, nodes: Sequence[Node], began: float, decisions: Sequence[plan.Decision], budgets: Sequence[Budget]
    ) -> None:
        deadline = began + self.timeout
        with ThreadPoolExecutor(self.workers) as pool:
            while True:
                self._take_in(decisions, began)
                now = self.clock.now()
                due = [
                    one for one in self.outcomes.values() if one.status == "pending" and self._due(one, budgets, now)
                ]
                list(pool.map(self._evict, due))
                left = [one for one in self.outcomes.values() if one.open]
                failed = [one for one in self.outcomes.values() if one.status == "failed"]
                self._tell(left)
                if not left:
                    break
                if self.clock.now() >= deadline:
                    self._late(left)
                    failed += left
                    break
                self.clock.sleep(min(TICK, max(0.0, deadline - self.clock.now())))
                decisions, budgets = self.look(nodes)
            if failed:
                said = "; ".join(f"{one.pod.key} on {one.pod.node}: {one.reason}" for one in failed[:10])
                self.error = f"{len(failed)} pods are not gone: {said}"

    def _await_replacements(self, deadline: float) -> None:
        """Until what made the evicted pods has as many Ready as it is to have."""
        evicted = [one.pod for one in self.outcomes.values() if one.status == "evicted" and one.pod.controller]
        owners = sorted({(one.namespace, str(one.controller), one.owner) for one in evicted})
        while True:
            counted = [(owner, self.kube.replicas(*owner)) for owner in owners]
            short = [(owner, count) for owner, count in counted if count and count[0] < count[1]]
            if not short:
                return
            said = "; ".join(f"{o[1]} {o[0]}/{o[2]} has {c[0]} of {c[1]} Ready" for o, c in short[:10] if c)
            self._say(said)
            if self.clock.now() >= deadline:
                self.error = f"the pods are gone, but not all of their replacements are Ready elsewhere: {said}"
                return
            self.clock.sleep(min(TICK, max(0.0, deadline - self.clock.now())))

    def _say(self, line: str) -> None:
        if not self.progress or self.progress[-1] != line:
            self.progress.append(line)

    def _take_in(self, decisions: Sequence[plan.Decision], began: float) -> None:
        """Brings the outcomes up to what is there: new pods, and those that are gone."""
        there = {one.pod.uid: one for one in decisions}
        for uid, decision in there.items():
            if uid not in self.outcomes:
                status = {plan.EVICT: "pending", plan.SKIP: "skipped", plan.REFUSE: "failed"}[decision.action]
                self.outcomes[uid] = Outcome(decision.pod, status, decision.reason)
            outcome = self.outcomes[uid]
            if decision.pod.terminating and outcome.status == "pending":
                outcome.status = "accepted"
        for uid, outcome in self.outcomes.items():
            if outcome.open and uid not in there:
                outcome.status = "evicted"
                outcome.reason = "gone"
                outcome.seconds = self.clock.now() - began

    def _due(self, outcome: Outcome, budgets: Sequence[Budget], now: float) -> bool:
        """By the server's hint, or as soon as the budget that was in the way allows one."""
        if now >= outcome.next_try:
            return True
        mine = [one for one in budgets if one.covers(outcome.pod)]
        return len(mine) == 1 and mine[0].allowed > 0 and bool(outcome.blocked_by)

    def _evict(self, outcome: Outcome) -> None:
        outcome.tries += 1
        try:
            self.kube.evict(outcome.pod, self.rules)
        except KubeError as error:
            self._answered(outcome, error)
            return
        outcome.status = "accepted"
        outcome.reason = "evicted, and ending"

    def _answered(self, outcome: Outcome, error: KubeError) -> None:
        if error.status == 404 or (error.status == 409 and "precondition" in error.message.lower()):
            outcome.status, outcome.reason = "accepted", "gone"
        elif error.status == 429:
            found = re.search(r"disruption budget (\S+) ", error.message)
            name = f"{outcome.pod.namespace}/{found.group(1)}" if found else ""
            outcome.blocked_by = tuple(dict.fromkeys([*outcome.blocked_by, *([name] if name else [])]))
            outcome.reason = error.message
            outcome.next_try = self.clock.now() + (error.retry_after or HINT)
        elif error.status == 500 and "more than one PodDisruptionBudget" in error.message:
            mine = [one for one in self.kube.budgets() if one.covers(outcome.pod)]
            outcome.blocked_by = tuple(one.key for one in mine)
            outcome.status, outcome.reason = "failed", plan.two_budgets(mine)
        elif error.status in (0, 409, 500, 502, 503, 504):
            outcome.troubles += 1
            outcome.reason = str(error)
            outcome.next_try = self.clock.now() + HINT
            if outcome.troubles >= TRIES:
                outcome.status = "failed"
        else:
            outcome.status, outcome.reason = "failed", str(error)

    def _tell(self, left: Sequence[Outcome]) -> None:
        waiting: dict[str, int] = {}
        for one in left:
            for budget in one.blocked_by if one.status == "pending" else ():
                waiting[budget] = waiting.get(budget, 0) + 1
        gone = sum(one.status == "evicted" for one in self.outcomes.values())
        said = "".join(f", {count} wait for budget {budget}" for budget, count in sorted(waiting.items()))
        self._say(f"{gone} gone, {len(left)} left{said}")

    def _late(self, left: Sequence[Outcome]) -> None:
        for one in left:
            state = (
                f"waits for budget {', '.join(one.blocked_by)}: " if one.status == "pending" and one.blocked_by else ""
            )
            one.status = "failed"
            one.reason = f"{state}{one.reason}; not gone within {self.timeout:g} seconds"
