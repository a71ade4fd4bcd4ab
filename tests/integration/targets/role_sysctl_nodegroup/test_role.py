# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole procedure on real kubelets."""

from __future__ import annotations

from typing import Any

import pytest
from integration.targets.role_sysctl_nodegroup.kit import UNSAFE, Client, Fleet, named


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
    old_nodes = set(fleet.nodes(fleet.old))
    with Client(fleet) as client:
        told = fleet.play()
    assert not any(one.failed for one in told), fleet.output
    assert (client.failed, client.asked > 10) == ([], True)
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
    with Client(fleet) as client:
        told = fleet.play()
    assert not any(one.failed for one in told), fleet.output
    assert client.failed == []
    assert {one["found"][UNSAFE] for one in named(told, "Prove on each node").result["nodes"]} == {"2048"}
    finished(fleet)
