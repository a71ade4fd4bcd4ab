# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drain against the bed's real API server: real evictions, real budgets, real scheduling."""

from __future__ import annotations

import threading
import time

import pytest
from integration.targets.eks_node_drain.kit import Shop, wait_for


def test_check_run_check_run_and_never_fewer_than_the_budget_allows(shop: Shop) -> None:
    shop.deploy("web", 4)
    shop.budget("web", "web", maxUnavailable=1)
    shop.add_new_nodes()
    least = [4]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            least.append(len(shop.running("web")))
            time.sleep(0.05)

    check = shop.run(_check=True)
    assert (check.failed, check.changed) == (False, True)
    assert {pod["status"] for pod in check.result["pods"]} == {"would_evict"}
    assert shop.cordoned() == []
    watcher = threading.Thread(target=watch)
    watcher.start()
    run = shop.run()
    done.set()
    watcher.join()
    assert not run.failed, run.message
    assert run.changed
    assert {pod["status"] for pod in run.result["pods"]} == {"evicted"}
    assert min(least) >= 3
    assert shop.cordoned() == shop.old
    wait_for(lambda: len(shop.running("web")) == 4, "four pods elsewhere")
    assert set(shop.running("web")) <= set(shop.new)
    again = shop.run()
    assert (again.changed, again.failed) == (False, False)
    back = shop.run(state="uncordoned")
    assert (back.changed, shop.cordoned()) == (True, [])


@pytest.mark.full
def test_a_budget_that_never_allows_keeps_the_pods_and_gives_the_nodes_back(shop: Shop) -> None:
    shop.deploy("web", 2)
    shop.budget("never", "web", maxUnavailable=0)
    blocked = shop.run(_check=True)
    assert all("never allows no disruption now" in pod["reason"] for pod in blocked.result["pods"])
    run = shop.run(timeout=3)
    assert run.failed
    assert f"waits for budget {shop.namespace}/never" in run.message
    assert run.result["budgets"] == {f"{shop.namespace}/never": 2}
    assert len(shop.running("web")) == 2
    assert shop.cordoned() == []
    kept = shop.run(timeout=3, uncordon_on_failure=False)
    assert kept.failed
    assert shop.cordoned() == shop.old


def test_a_pod_under_two_budgets_is_named_with_both(shop: Shop) -> None:
    shop.deploy("web", 1)
    shop.budget("first", "web", maxUnavailable=1)
    shop.budget("second", "web", maxUnavailable=1)
    run = shop.run()
    assert run.failed
    assert f"{shop.namespace}/first, {shop.namespace}/second" in run.message


def test_what_would_lose_data_is_refused_before_anything_is_touched(shop: Shop) -> None:
    shop.deploy("cache", 1, volumes=[{"name": "data", "emptyDir": {}}])
    shop.pod("alone", shop.old[0])
    run = shop.run()
    assert (run.failed, run.changed) == (True, False)
    assert "delete_emptydir_data" in run.message
    assert "delete_unmanaged" in run.message
    assert shop.cordoned() == []
    allowed = shop.run(delete_emptydir_data=True, delete_unmanaged=True, grace_period=0)
    assert not allowed.failed, allowed.message


def test_a_node_that_does_not_exist_is_an_error(shop: Shop) -> None:
    run = shop.run(nodes=["nowhere", shop.old[0]])
    assert run.failed
    assert "the cluster has no node nowhere" in run.message
    assert shop.cordoned() == []
    missing = "i-0aaaaaaaaaaaaaaaa"
    without_node = shop.run(nodes=[missing, shop.instances[0]])
    assert without_node.failed
    assert f"no node has the instance {missing}: it has not joined the cluster" in without_node.message
    assert shop.cordoned() == []


def test_nodes_are_found_by_their_instances(shop: Shop) -> None:
    first, second = shop.instances
    run = shop.run(nodes=[first, f"aws:///eu-central-1a/{second}"], state="cordoned")
    assert not run.failed, run.message
    assert [node["name"] for node in run.result["nodes"]] == shop.old
    assert shop.cordoned() == shop.old
