# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain against a fake cluster, which enforces PodDisruptionBudgets as the API server does."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._drain import plan
from ansible_collections.daytwo.aws.plugins.module_utils._drain.kube import KubeError
from ansible_collections.daytwo.aws.plugins.module_utils._drain.model import (
    DrainRules,
    Node,
    Pod,
    PodDisruptionBudget,
    matches_selector,
)
from ansible_collections.daytwo.aws.plugins.module_utils._drain.run import Drain
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain import eviction_cases
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain.eviction_cases import EvictionCase

WEB = {"matchLabels": {"app": "web"}}


def pod(name: str, node: str = "n1", **more: Any) -> Pod:
    return Pod(
        **{"namespace": "d", "name": name, "uid": f"u-{name}", "node": node, "controller_kind": "ReplicaSet", **more}
    )


def web(name: str, node: str = "n1") -> Pod:
    return pod(name, node, labels={"app": "web"})


class FakeClock:
    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(seconds, 0.01)


class FakeCluster:
    """Evicted pods are gone at the next reading. A budget allows a disruption C(recovers) seconds after an eviction."""

    def __init__(self, clock: FakeClock, pods: list[Pod], budgets: list[PodDisruptionBudget] | None = None) -> None:
        self.clock = clock
        self.all = {pod.uid: pod for pod in pods}
        self.own = budgets or []
        self.recovers = 3.0
        self.taken: dict[str, float] = {}
        self.log: list[tuple[str, str]] = []
        self.graces: list[int | None] = []
        self.lock = threading.Lock()
        self.failures: dict[str, list[KubeError]] = {}
        self.stuck: set[str] = set()

    def list_nodes(self, selector: str = "") -> list[Node]:
        return [Node("n1"), Node("n2")]

    def list_pods(self, node: str) -> list[Pod]:
        return [pod for pod in self.all.values() if pod.node == node]

    def _get_allowed(self, budget: PodDisruptionBudget) -> int:
        since = self.clock.monotonic() - self.taken.get(budget.key, -1e9)
        return budget.disruptions_allowed if since >= self.recovers else 0

    def list_budgets(self) -> list[PodDisruptionBudget]:
        return [replace(budget, disruptions_allowed=self._get_allowed(budget)) for budget in self.own]

    def cordon(self, node: str, unschedulable: bool) -> None:
        self.log.append(("cordon" if unschedulable else "uncordon", node))

    def get_replicas(self, namespace: str, kind: str, name: str) -> tuple[int, int] | None:
        return (2 if self.clock.monotonic() > 20 else 1, 2) if kind == "ReplicaSet" else None

    def evict(self, pod: Pod, rules: DrainRules) -> None:
        with self.lock:
            self.log.append(("evict", pod.name))
            self.graces.append(rules.grace_period)
            if self.failures.get(pod.name):
                error = self.failures[pod.name].pop(0)
                if error.status == 404:
                    del self.all[pod.uid]
                raise error
            if pod.ignores_budgets:
                del self.all[pod.uid]
                return
            matching = [budget for budget in self.own if budget.matches_pod(pod)]
            if len(matching) > 1:
                message = (
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                )
                raise KubeError("POST", 500, message)
            if matching and self._get_allowed(matching[0]) == 0:
                budget_name = matching[0].name
                message = (
                    f"Cannot evict pod. The disruption budget {budget_name} needs 1 healthy pods and has 1 currently"
                )
                raise KubeError("POST", 429, message, 10.0)
            for budget in matching:
                self.taken[budget.key] = self.clock.monotonic()
            if pod.uid in self.stuck:
                self.all[pod.uid] = replace(pod, is_terminating=True)
            else:
                del self.all[pod.uid]


def run_drain(
    pods: list[Pod], budgets: list[PodDisruptionBudget] | None = None, **more: Any
) -> tuple[Drain, FakeCluster]:
    clock = FakeClock()
    cluster = FakeCluster(clock, pods, budgets)
    for key in ("stuck", "failures"):
        if key in more:
            setattr(cluster, key, more.pop(key))
    rules = more.pop("rules", DrainRules())
    drain = Drain(cluster, rules, clock=clock, **{"timeout": 60, **more})
    drain.run(cluster.list_nodes())
    return drain, cluster


def statuses(drain: Drain) -> dict[str, str]:
    return {outcome.pod.name: outcome.status for outcome in drain.outcomes.values()}


def test_all_nodes_are_cordoned_before_the_first_eviction() -> None:
    drain, cluster = run_drain([pod("a"), pod("b", "n2")])
    assert not drain.error
    assert sorted(cluster.log[:2]) == [("cordon", "n1"), ("cordon", "n2")]
    assert statuses(drain) == {"a": "evicted", "b": "evicted"}


def test_a_budget_is_waited_for_and_named_and_retried_as_soon_as_it_allows() -> None:
    budgets = [PodDisruptionBudget("d", "web", WEB, 1)]
    drain, cluster = run_drain([web("a"), web("b"), web("c", "n2")], budgets)
    assert not drain.error
    assert set(statuses(drain).values()) == {"evicted"}
    waited = [outcome for outcome in drain.outcomes.values() if outcome.blocking_budgets]
    assert {outcome.blocking_budgets for outcome in waited} == {("d/web",)}
    assert any("wait for budget d/web" in line for line in drain.progress)
    assert cluster.clock.monotonic() < 10  # three pods, three seconds apart, not one per hint of ten


def test_a_budget_that_never_allows_ends_the_drain_and_gives_the_nodes_back() -> None:
    drain, cluster = run_drain([web("a"), pod("b", "n2")], [PodDisruptionBudget("d", "web", WEB, 0)])
    assert "d/a on n1: waits for budget d/web" in drain.error
    assert statuses(drain) == {"a": "failed", "b": "evicted"}
    assert [call for call in cluster.log if call[0] == "uncordon"] == [("uncordon", "n1"), ("uncordon", "n2")]
    kept, still = run_drain([web("a")], [PodDisruptionBudget("d", "web", WEB, 0)], uncordon_on_failure=False)
    assert kept.error
    assert not [call for call in still.log if call[0] == "uncordon"]


def test_a_pod_under_two_budgets_is_named_as_such_and_the_others_go_on() -> None:
    drain, _cluster = run_drain(
        [web("a"), pod("b")], [PodDisruptionBudget("d", "x", WEB, 1), PodDisruptionBudget("d", "y", {}, 1)]
    )
    assert "d/x, d/y" in drain.error
    assert statuses(drain) == {"a": "failed", "b": "evicted"}


@pytest.mark.parametrize(
    ("refused_pod", "rules", "option"),
    [
        (pod("a", controller_kind=None), DrainRules(), "delete_unmanaged"),
        (pod("a", empty_dirs=("cache",)), DrainRules(), "delete_emptydir_data"),
        (pod("a", controller_kind="DaemonSet"), DrainRules(ignore_daemonsets=False), "ignore_daemonsets"),
    ],
)
def test_what_would_lose_something_is_refused_before_anything_is_touched(
    refused_pod: Pod, rules: DrainRules, option: str
) -> None:
    drain, cluster = run_drain([refused_pod, pod("b")], rules=rules)
    assert option in drain.error
    assert cluster.log == []
    allowing = DrainRules(delete_emptydir_data=True, delete_unmanaged=True)
    assert not run_drain([refused_pod, pod("b")], rules=allowing)[0].error


def test_replacements_are_waited_for_and_named_where_they_do_not_come() -> None:
    drain, cluster = run_drain([pod("a", controller_name="web-1")], wait_for_replacements=True)
    assert not drain.error
    assert cluster.clock.monotonic() > 20
    assert "ReplicaSet d/web-1 has 1 of 2 Ready" in drain.progress
    late, _dummy = run_drain([pod("a", controller_name="web-1")], wait_for_replacements=True, timeout=10)
    assert "not all of their replacements are Ready" in late.error


def test_daemon_sets_and_mirrors_stay() -> None:
    drain, cluster = run_drain(
        [pod("a", controller_kind="DaemonSet"), pod("b", controller_kind=None, is_mirror=True), pod("c")]
    )
    assert not drain.error
    assert statuses(drain) == {"a": "skipped", "b": "skipped", "c": "evicted"}
    assert sorted(cluster.all) == ["u-a", "u-b"]


def test_a_grace_period_of_zero_is_sent_and_none_is_not() -> None:
    assert run_drain([pod("a")], rules=DrainRules(grace_period=0))[1].graces == [0]
    assert run_drain([pod("a")])[1].graces == [None]


def test_a_pod_that_does_not_end_is_not_called_gone() -> None:
    drain, _cluster = run_drain([pod("a")], stuck={"u-a"})
    assert "d/a on n1: evicted, and terminating; not gone within 60 seconds" in drain.error


def test_a_pod_that_is_gone_already_is_no_error_and_a_failing_server_is_retried() -> None:
    answers = {"b": [KubeError("POST", 0, "connection reset"), KubeError("POST", 503, "overloaded")]}
    drain, _cluster = run_drain([pod("b")], failures=answers)
    assert not drain.error
    refused, _dummy = run_drain(
        [pod("a"), pod("b")], failures={"a": [KubeError("POST", 403, "forbidden: no evictions")]}
    )
    assert "forbidden" in refused.error
    assert statuses(refused) == {"a": "failed", "b": "evicted"}


def test_a_node_that_was_cordoned_before_stays_so() -> None:
    clock = FakeClock()
    cluster = FakeCluster(clock, [web("a")], [PodDisruptionBudget("d", "web", WEB, 0)])
    drain = Drain(cluster, DrainRules(), timeout=5, clock=clock)
    drain.run([Node("n1", unschedulable=True), Node("n2")])
    assert drain.error
    assert [call for call in cluster.log if "cordon" in call[0]] == [("cordon", "n2"), ("uncordon", "n2")]


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selectors(selector: dict[str, Any] | None, fits: bool) -> None:
    assert matches_selector(selector, {"a": "1"}) is fits


def test_what_is_in_the_way_now_is_known_without_trying() -> None:
    blocked = plan.make_plan([web("a")], [PodDisruptionBudget("d", "web", WEB, 0)], DrainRules())[0]
    assert blocked.blocking_reason == "budget d/web allows no disruption now"
    assert plan.make_plan([web("a")], [PodDisruptionBudget("d", "web", WEB, 1)], DrainRules())[0].blocking_reason == ""


def pod_entry(case: EvictionCase, name: str, ready: bool, phase: str = "Running") -> dict[str, Any]:
    meta = {"namespace": "d", "name": name, "labels": case.pod_labels}
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": meta, "status": {"phase": phase, "conditions": [condition]}}


def budget_entry(case: EvictionCase, spec: dict[str, Any], number: int, pods: list[dict[str, Any]]) -> dict[str, Any]:
    """A budget with the status that the disruption controller computes."""
    healthy = sum(
        matches_selector(spec.get("selector"), entry["metadata"]["labels"])
        and Pod.parse(entry).is_ready
        and not Pod.parse(entry).is_terminating
        for entry in pods
    )
    status = {
        "currentHealthy": healthy,
        "desiredHealthy": spec["minAvailable"],
        "disruptionsAllowed": max(0, healthy - spec["minAvailable"]),
        "observedGeneration": 1,
    }
    return {"metadata": {"namespace": "d", "name": f"b{number}", "generation": 1}, "spec": spec, "status": status}


@pytest.mark.parametrize("case", eviction_cases.CASES, ids=lambda case: case.name)
def test_what_blocks_an_eviction_is_known_before(case: EvictionCase) -> None:
    entry = pod_entry(case, "a", case.ready, case.phase)
    if case.terminating:
        entry["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:00Z"
    pods = [entry, *(pod_entry(case, f"c{number}", True) for number in range(case.companions))]
    budgets = [budget_entry(case, spec, number, pods) for number, spec in enumerate(case.budgets)]
    (decision,) = plan.make_plan(
        [Pod.parse(entry)], [PodDisruptionBudget.parse(budget) for budget in budgets], DrainRules(delete_unmanaged=True)
    )
    accepted, blocked, failed = eviction_cases.ACCEPTED, eviction_cases.BLOCKED, eviction_cases.FAILED
    expected = {accepted: "", blocked: "no disruption", failed: "2 budgets"}
    assert bool(decision.blocking_reason) is (case.status != eviction_cases.ACCEPTED), decision.blocking_reason
    assert expected[case.status] in decision.blocking_reason


def test_a_budget_whose_change_is_not_processed_yet_blocks() -> None:
    budget = PodDisruptionBudget("d", "web", WEB, 1, is_processed=False)
    blocked = plan.make_plan([web("a")], [budget], DrainRules())[0]
    assert blocked.blocking_reason == "budget d/web is still being processed by the server"


TERMINATING = KubeError("POST", 403, "forbidden: it is being terminated", cause_types=["NamespaceTerminating"])
TWO_BUDGETS = KubeError("POST", 500, "This pod has more than one PodDisruptionBudget, which is not supported.")


@pytest.mark.parametrize(
    ("error", "status", "attempts"),
    [
        (KubeError("POST", 404, "not found"), "evicted", 1),
        (KubeError("POST", 409, "Conflict: the UID in the precondition differs"), "evicted", 2),
        (KubeError("POST", 429, "Cannot evict pod.", 1.0), "evicted", 2),
        (KubeError("POST", 429, "too many requests"), "evicted", 2),
        (TERMINATING, "evicted", 2),
        (KubeError("POST", 403, "pods is forbidden: User cannot create pods/eviction"), "failed", 1),
        (KubeError("POST", 403, "denied by a webhook", cause_types=["FieldValueInvalid"]), "failed", 1),
        (KubeError("POST", 400, "bad request"), "failed", 1),
        (KubeError("POST", 422, "invalid"), "failed", 1),
        (TWO_BUDGETS, "failed", 1),
        (KubeError("POST", 500, "internal error"), "evicted", 2),
        (KubeError("POST", 503, "unavailable"), "evicted", 2),
        (KubeError("POST", 504, "timeout: could not update PodDisruptionBudget due to conflicts", 10), "evicted", 2),
        (KubeError("POST", 0, "connection reset"), "evicted", 2),
    ],
    ids=str,
)
def test_an_eviction_that_fails_is_tried_again_where_the_failure_passes(
    error: KubeError, status: str, attempts: int
) -> None:
    drain, _cluster = run_drain([pod("a"), pod("b")], failures={"a": [error]})
    assert statuses(drain) == {"a": status, "b": "evicted"}
    assert [outcome.attempts for outcome in drain.outcomes.values() if outcome.pod.name == "a"] == [attempts]
    assert bool(drain.error) is (status == "failed")


def test_a_namespace_that_never_ends_is_named() -> None:
    drain, _cluster = run_drain([pod("a")], failures={"a": [TERMINATING] * 100})
    assert "namespace d is being terminated, which ends the pod" in drain.error
    assert "not gone within 60 seconds" in drain.error


def test_a_reading_that_fails_for_a_moment_does_not_end_the_drain() -> None:
    class Unsteady(FakeCluster):
        failing = 0

        def list_budgets(self) -> list[PodDisruptionBudget]:
            self.failing += 1
            if 2 < self.failing < 8:
                raise KubeError("GET", 0, "connection refused")
            return super().list_budgets()

    clock = FakeClock()
    cluster = Unsteady(clock, [web("a"), web("b")], [PodDisruptionBudget("d", "web", WEB, 1)])
    drain = Drain(cluster, DrainRules(), timeout=60, clock=clock)
    drain.run(cluster.list_nodes())
    assert not drain.error
    assert "GET: connection refused" in drain.progress
