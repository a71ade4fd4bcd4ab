# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole procedure on real kubelets."""

from __future__ import annotations

from typing import Any

import pytest
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.role_sysctl_nodegroup.kit import UNSAFE, Client, Fleet, named


def names(fleet: Fleet) -> set[str]:
    return {str(one["metadata"]["name"]) for one in fleet.ready_pods()}


def every_request_was_answered(client: Client, fleet: Fleet, old_pods: set[str]) -> None:
    """By pods that moved, and by those that came for them. The least number is that of a run of some seconds."""
    assert client.seen.failures == []
    assert client.seen.requests >= 100
    answered = set(client.seen.answers)
    assert old_pods <= answered
    assert names(fleet) - old_pods
    assert answered & (names(fleet) - old_pods)
    print(f"{client.seen.requests} requests, 0 failures, answered by {len(answered)} pods")


def test_from_the_old_group_to_the_new_one(fleet: Fleet) -> None:
    fleet.create()
    fleet.deploy()
    fleet.budget(1)
    before = fleet.writes()
    check = fleet.play("--check")
    assert not any(one.failed for one in check), fleet.output
    assert fleet.writes() == before
    would = named(check, "Show what is to be done").result["msg"]
    assert would[1:] == [
        f"would: {step}" for step in ("create_template", "create_nodegroup", "freeze", "drain", "delete")
    ]
    assert fleet.groups() == [fleet.old]
    old_nodes, old_pods = set(fleet.nodes(fleet.old)), names(fleet)
    with Client(fleet) as client:
        told = fleet.play()
    assert not any(one.failed for one in told), fleet.output
    every_request_was_answered(client, fleet, old_pods)
    proof = named(told, "Prove on each node")
    assert {one["found"][UNSAFE] for one in proof.result["nodes"]} == {"2048"}
    assert fleet.groups() == [fleet.new]
    assert fleet.templates() == [f"daytwo-{fleet.cluster.name}-{fleet.new}"]
    new_nodes = set(fleet.nodes(fleet.new))
    assert fleet.pods_on() <= new_nodes
    assert not new_nodes & old_nodes
    assert "taints" not in fleet.group(fleet.new) or not fleet.group(fleet.new)["taints"]
    again = fleet.play()
    assert not any(one.failed or one.changed for one in again), fleet.output


def test_a_budget_that_never_allows_keeps_both_groups_and_a_re_run_finishes(fleet: Fleet) -> None:
    fleet.create()
    fleet.deploy(2)
    fleet.budget(0)
    told = fleet.play(sysctl_nodegroup_drain_timeout=3)
    drain = named(told, "Move the pods")
    assert drain.failed
    assert f"{fleet.namespace}/web" in drain.message
    assert fleet.groups() == sorted([fleet.old, fleet.new])
    assert len(fleet.ready_pods()) == 2
    fleet.budget(1)
    again = fleet.play()
    assert not any(one.failed for one in again), fleet.output
    assert fleet.groups() == [fleet.new]
    assert len(fleet.ready_pods()) == 2


@pytest.mark.full
def test_the_client_counts_what_fails_when_pods_end_without_a_drain(fleet: Fleet) -> None:
    """What the zero above is worth."""
    fleet.create()
    fleet.deploy(2)
    with Client(fleet) as client:
        fleet.api.request("DELETE", f"/api/v1/namespaces/{fleet.namespace}/pods?gracePeriodSeconds=0")
        wait_for(lambda: len(fleet.ready_pods()) == 2, "2 pods again")
    assert client.seen.failures
    assert client.seen.answers


def finished(fleet: Fleet) -> None:
    """One group, its template, all pods on it, no taint, no proof pod."""
    assert fleet.groups() == [fleet.new]
    assert fleet.templates() == [f"daytwo-{fleet.cluster.name}-{fleet.new}"]
    assert fleet.pods_on() <= set(fleet.nodes(fleet.new))
    assert not fleet.group(fleet.new).get("taints")
    assert not any("frozen" in key for key in fleet.group(fleet.new)["tags"])
    left = fleet.api.get("/api/v1/namespaces/default/pods?labelSelector=daytwo.aws/sysctl-proof")["items"]
    assert left == []


STARTS = (
    "Find out",
    "Show what",
    "Freeze the old",
    "Make the group",
    "Prove on each",
    "Move the pods",
    "Delete the group that was cloned",
)


@pytest.mark.parametrize(
    "task", [pytest.param(one, marks=() if one == "Move the pods" else pytest.mark.full) for one in STARTS]
)
def test_killed_at_the_start_of_a_task_a_plain_re_run_ends_the_same(fleet: Fleet, task: str) -> None:
    fleet.create()
    fleet.deploy(2)
    fleet.budget(1)
    fleet.play(env={"IT_DIE": task})
    assert fleet.old in fleet.groups()
    again = fleet.play()
    assert not any(one.failed for one in again), fleet.output
    finished(fleet)


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
        told = fleet.play()
    assert not any(one.failed for one in told), fleet.output
    every_request_was_answered(client, fleet, old_pods)
    assert {one["found"][UNSAFE] for one in named(told, "Prove on each node").result["nodes"]} == {"2048"}
    finished(fleet)
