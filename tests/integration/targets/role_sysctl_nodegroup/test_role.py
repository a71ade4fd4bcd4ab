# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole procedure on real kubelets."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.eks_sysctl_nodegroup.kit import TaskResult
from integration.targets.role_sysctl_nodegroup.kit import RBAC, UNSAFE, Client, Fleet, documents, named
from testbed import paths
from testbed.audit import Request
from testbed.aws.control import send_command
from testbed.nodes import autoscaler
from testbed.recorder import Call


@dataclass(frozen=True)
class Calls:
    """The calls of one run to AWS and to the cluster."""

    aws: list[Call]
    kubernetes: list[Request]

    @property
    def writes(self) -> list[str]:
        to_aws = [f"{call.service} {call.operation}" for call in self.aws if call.mutating]
        return to_aws + [f"{request.verb} {request.resource}" for request in self.kubernetes if request.mutating]

    @property
    def proof_alone(self) -> bool:
        return all(request.name.startswith("daytwo-sysctl-proof-") for request in self.kubernetes if request.mutating)


def play_counted(fleet: Fleet, *options: str) -> tuple[list[TaskResult], Calls]:
    """Run the playbook as the operator, and print the number of its calls."""
    began = time.time()
    earlier_requests = len(fleet.requests())
    results = fleet.play(*options)
    aws = [call for call in fleet.bed.recorder.calls(client="controller") if call.began >= began]
    calls = Calls(aws, fleet.requests()[earlier_requests:])
    for name, some in (("AWS", calls.aws), ("Kubernetes", calls.kubernetes)):
        changing = sum(call.mutating for call in some)
        print(f"{' '.join(options) or 'run'}: {len(some)} calls to {name}, {changing} of them mutating")
    return results, calls


def names(fleet: Fleet) -> set[str]:
    return {str(pod["metadata"]["name"]) for pod in fleet.ready_pods()}


def every_request_was_answered(client: Client, fleet: Fleet, old_pods: set[str]) -> None:
    """Both old and new pods respond, and no request fails. A run of some seconds sends at least 100 requests."""
    assert client.report.failures == []
    assert client.report.requests >= 100
    answered = set(client.report.answers)
    assert old_pods <= answered
    assert names(fleet) - old_pods
    assert answered & (names(fleet) - old_pods)
    print(f"{client.report.requests} requests, 0 failures, answered by {len(answered)} pods")


def test_from_the_old_group_to_the_new_group(fleet: Fleet) -> None:
    fleet.create()
    fleet.deploy()
    fleet.budget(1)
    fleet.operator()
    check, calls = play_counted(fleet, "--check")
    assert not any(result.failed for result in check), fleet.output
    assert calls.writes == []
    assert calls.aws
    assert calls.kubernetes
    would = named(check, "Show the plan").result["msg"]
    assert would[1:] == [
        f"would: {step}" for step in ("create_template", "create_nodegroup", "freeze", "drain", "delete")
    ]
    assert fleet.groups() == [fleet.old]
    old_nodes, old_pods = set(fleet.nodes(fleet.old)), names(fleet)
    with Client(fleet) as client:
        results, calls = play_counted(fleet)
    assert not any(result.failed for result in results), fleet.output
    every_request_was_answered(client, fleet, old_pods)
    assert {"eks CreateNodegroup", "eks DeleteNodegroup", "create pods/eviction", "patch nodes"} <= set(calls.writes)
    proof = named(results, "Verify on each node")
    assert {node["effective"][UNSAFE] for node in proof.result["nodes"]} == {"2048"}
    assert fleet.groups() == [fleet.new]
    assert fleet.templates() == [f"daytwo-{fleet.cluster.name}-{fleet.new}"]
    new_nodes = set(fleet.nodes(fleet.new))
    assert fleet.pods_on() <= new_nodes
    assert not new_nodes & old_nodes
    assert "taints" not in fleet.group(fleet.new) or not fleet.group(fleet.new)["taints"]
    again, calls = play_counted(fleet)
    assert not any(result.failed or result.changed for result in again), fleet.output
    # The second run verifies the value again by a temporary proof pod. It changes nothing else.
    assert set(calls.writes) == {"create pods", "delete pods"}
    assert calls.proof_alone


@pytest.mark.full
def test_a_budget_that_never_allows_keeps_both_groups_and_a_re_run_finishes(fleet: Fleet) -> None:
    fleet.create()
    fleet.deploy(2)
    fleet.budget(0)
    results = fleet.play(sysctl_nodegroup_drain_timeout=3)
    drain = named(results, "Drain the old nodes")
    assert drain.failed
    assert f"{fleet.namespace}/web" in drain.message
    assert fleet.groups() == sorted([fleet.old, fleet.new])
    assert len(fleet.ready_pods()) == 2
    fleet.budget(1)
    again = fleet.play()
    assert not any(result.failed for result in again), fleet.output
    assert fleet.groups() == [fleet.new]
    assert len(fleet.ready_pods()) == 2


@pytest.mark.full
def test_the_client_counts_what_fails_when_pods_end_without_a_drain(fleet: Fleet) -> None:
    """The control for the zero failures above: without a drain, requests fail."""
    fleet.create()
    fleet.deploy(2)
    with Client(fleet) as client:
        fleet.api.request("DELETE", f"/api/v1/namespaces/{fleet.namespace}/pods?gracePeriodSeconds=0")
        wait_for(lambda: len(fleet.ready_pods()) == 2, "2 pods again")
    assert client.report.failures
    assert client.report.answers


def finished(fleet: Fleet) -> None:
    """Assert one group with its template, all pods on it, no taint and no proof pod."""
    assert fleet.groups() == [fleet.new]
    assert fleet.templates() == [f"daytwo-{fleet.cluster.name}-{fleet.new}"]
    nodes = fleet.nodes(fleet.new)
    assert fleet.pods_on() <= set(nodes)
    for node in nodes:
        spec = fleet.api.get(f"/api/v1/nodes/{node}")["spec"]
        assert not spec.get("unschedulable")
        assert not spec.get("taints")
    assert not fleet.group(fleet.new).get("taints")
    assert not any("frozen" in key for key in fleet.group(fleet.new)["tags"])
    left = fleet.api.get("/api/v1/namespaces/default/pods?labelSelector=daytwo.aws/sysctl-proof")["items"]
    assert left == []


STARTS = 15  # number of started tasks of a blue/green replacement, skipped tasks included


@pytest.mark.full
@pytest.mark.parametrize("number", range(1, STARTS + 2))
def test_killed_at_the_start_of_any_task_a_plain_re_run_ends_the_same(fleet: Fleet, number: int) -> None:
    """The last number is too high: nothing is killed there, so every start is covered."""
    fleet.create()
    fleet.deploy(2)
    fleet.budget(1)
    fleet.play(env={"IT_DIE_AT": str(number)})
    assert bool(fleet.killed) == (number <= STARTS), fleet.output
    print(f"{number}: {fleet.killed or 'not killed'}; groups {fleet.groups()}")
    again = fleet.play()
    assert not any(result.failed for result in again), fleet.output
    finished(fleet)
    assert len(fleet.ready_pods()) == 2


@pytest.mark.full
def test_the_documented_rbac_is_enough_and_each_of_its_rules_is_needed(fleet: Fleet) -> None:
    """With a volume, and with every kind of controller whose replacements the drain checks. Only the role uses this
    identity, and it does nothing else in the cluster."""
    fleet.create()
    fleet.deploy(2)
    fleet.budget(1)
    fleet.keep_data()
    fleet.operator()
    results, calls = play_counted(fleet)
    assert not any(result.failed for result in results), fleet.output
    finished(fleet)
    assert [request for request in calls.kubernetes if request.status in (401, 403)] == []
    documented = {role["kind"]: allowed(role) for role in documents(RBAC)}
    requested = {(request.group, request.resource, request.verb, request.namespace) for request in calls.kubernetes}
    in_namespace = {access[:3] for access in requested if access[3] == "default"} & documented["Role"]
    elsewhere = {access[:3] for access in requested if access[3] != "default" or access[:3] not in documented["Role"]}
    assert in_namespace == documented["Role"]
    assert elsewhere == documented["ClusterRole"]


def allowed(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def grow(fleet: Fleet, over: threading.Event, refused: list[str]) -> None:
    """Run an autoscaler that repeatedly tries to add a node to the old group for a pending pod."""
    while not over.wait(0.3):
        try:
            autoscaler.step(fleet.api, paths.REGION, fleet.cluster.name, fleet.old)
        except ValueError as error:  # the Auto Scaling group's bounds
            refused.append(str(error))
        except KeyError:  # the group is deleted
            return


@pytest.mark.full
@pytest.mark.parametrize("frozen", [True, False])
def test_an_autoscaler_that_adds_nodes_during_the_move_loses(fleet: Fleet, frozen: bool) -> None:
    """The autoscaler adds a node only where the step C(freeze) is skipped."""
    fleet.create()
    fleet.deploy(2)
    fleet.budget(1)
    (node,) = fleet.nodes(fleet.old)
    ever: set[str] = set()
    refused: list[str] = []
    over = threading.Event()
    scaler = threading.Thread(target=grow, args=(fleet, over, refused))
    fleet.too_large()
    wait_for(lambda: autoscaler.pending(fleet.api), "a pod without a node")
    watcher = threading.Thread(target=watch, args=(fleet, over, ever))
    results: list[TaskResult] = []
    try:
        options = () if frozen else ("--skip-tags", "freeze")
        # The autoscaler starts after the freeze: before that, it may add nodes.
        runner = threading.Thread(target=lambda: results.extend(fleet.play(*options)))
        runner.start()
        wait_for(lambda: fleet.new in fleet.groups(), "the new group", 200)
        watcher.start()
        scaler.start()
        runner.join()
    finally:
        over.set()
        for thread in (scaler, watcher):
            thread.join()
    if frozen:
        assert not any(result.failed for result in results), fleet.output
        assert refused
        assert all("2 is not between 1 and 1" in refusal for refusal in refused), refused
        assert ever == {node}
        finished(fleet)
    else:
        assert len(ever) == 2


def watch(fleet: Fleet, over: threading.Event, ever: set[str]) -> None:
    """Record every node that the old group has."""
    while not over.wait(0.3):
        ever.update(fleet.nodes(fleet.old))


@pytest.mark.full
def test_a_stale_size_ends_no_node(fleet: Fleet) -> None:
    """An autoscaler has added a node, and EKS still shows one: freezing and thawing end neither."""
    fleet.create()
    aws = f"http://{paths.AWS}:{paths.AWS_PORT}"
    where = {"region": paths.REGION, "cluster": fleet.cluster.name, "group": fleet.old}
    send_command(aws, "eks/lag", **where)
    send_command(aws, "eks/scale", **where, desired=2)
    wait_for(lambda: len(fleet.nodes(fleet.old)) == 2, "the second node", 120)
    assert fleet.group(fleet.old)["scalingConfig"]["desiredSize"] == 1
    both = set(fleet.nodes(fleet.old))
    module = "daytwo.aws.eks_nodegroup_freeze"
    options = {"cluster": fleet.cluster.name, "names": [fleet.old], "wait_delay": 1}
    tasks = [{module: {**options, "state": state}} for state in ("frozen", "thawed")]
    book = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (fleet.folder / "freeze.yml").write_text(yaml.safe_dump(book))
    results = fleet.run(str(fleet.folder / "freeze.yml"), {})
    assert not any(result.failed for result in results), fleet.output
    found = {node["instance_id"] for node in results[0].result["groups"][0]["nodes"]}
    assert len(found) == 2
    time.sleep(5)  # the controller ends nodes that are too many within a second
    assert set(fleet.nodes(fleet.old)) == both
    assert fleet.group(fleet.old)["scalingConfig"]["maxSize"] == 2


BOTTLEROCKET: dict[str, Any] = {"amiType": "BOTTLEROCKET_x86_64"}


@pytest.mark.full
@pytest.mark.parametrize("family", ["bottlerocket", "al2"])
def test_the_other_families(fleet: Fleet, family: str) -> None:
    if family == "bottlerocket":
        fleet.create(**BOTTLEROCKET)
    else:
        fleet.create(launchTemplate=fleet.al2_template())
    fleet.deploy()
    fleet.budget(1)
    old_pods = names(fleet)
    with Client(fleet) as client:
        results = fleet.play()
    assert not any(result.failed for result in results), fleet.output
    every_request_was_answered(client, fleet, old_pods)
    assert {node["effective"][UNSAFE] for node in named(results, "Verify on each node").result["nodes"]} == {"2048"}
    finished(fleet)
