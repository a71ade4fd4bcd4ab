# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nodes and their pods in rolling updates with budgets, in scaling, in deletions and in failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from integration.targets.testbed_nodes.kit import POD, Groups, kubelet_config, node_config, wait
from testbed import paths
from testbed.nodes import autoscaler, daemon

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
OLD = node_config(kubelet_config({"allowedUnsafeSysctls": ["net.core.somaxconn"]}))
NEW = node_config(kubelet_config({"allowedUnsafeSysctls": ["net.core.somaxconn", "net.core.rmem_default"]}))


def deploy(groups: Groups, replicas: int, budget: dict[str, Any]) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [POD]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    groups.api.post(
        DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    )
    groups.api.post(
        BUDGETS,
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": labels}, **budget},
        },
    )
    wait("the deployment", lambda: ready_pods(groups) == replicas)
    expected = replicas  # the budget counts pods shortly after they are ready
    wait("the budget", lambda: groups.api.get(f"{BUDGETS}/web")["status"].get("currentHealthy") == expected)


def ready_pods(groups: Groups) -> int:
    found = groups.api.get("/api/v1/namespaces/default/pods?labelSelector=app=web")["items"]
    return sum(
        1
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
        and any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod["status"].get("conditions", [])
        )
    )


@contextmanager
def sampled(groups: Groups) -> Iterator[list[int]]:
    """Count the ready pods again and again."""
    counts: list[int] = []
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.1):
            counts.append(ready_pods(groups))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield counts
    finally:
        end.set()
        thread.join()


def names(groups: Groups, name: str) -> set[str]:
    return {node["metadata"]["name"] for node in groups.nodes(name)}


@pytest.mark.full
def test_a_rolling_update_keeps_to_a_budget_of_a_single_pod(groups: Groups) -> None:
    first = groups.template("roll", OLD)
    groups.active("roll", 2, launchTemplate=first)
    before = names(groups, "roll")
    deploy(groups, 3, {"maxUnavailable": 1})
    second = groups.template("roll", NEW)
    with sampled(groups) as counts:
        update = groups.update("roll", launchTemplate=second, version="1.34")
    assert (update["status"], update["errors"]) == ("Successful", [])
    assert min(counts) >= 2
    assert len(counts) > 10
    after = names(groups, "roll")
    assert (len(after), after & before) == (2, set())
    assert groups.get("roll")["launchTemplate"]["version"] == "2"
    versions = {
        node["metadata"]["labels"]["eks.amazonaws.com/sourceLaunchTemplateVersion"] for node in groups.nodes("roll")
    }
    assert versions == {"2"}
    wait("every pod again", lambda: ready_pods(groups) == 3)


@pytest.mark.full
def test_a_budget_that_allows_nothing_fails_the_update_unless_forced(groups: Groups) -> None:
    groups.active("stuck", 1, launchTemplate=groups.template("stuck", OLD))
    (before,) = names(groups, "stuck")
    deploy(groups, 2, {"minAvailable": 2})
    groups.settings(evict_seconds=5)
    second = groups.template("stuck", NEW)
    update = groups.update("stuck", launchTemplate=second, version="1.34")
    assert update["status"] == "Failed"
    (error,) = update["errors"]
    assert (error["errorCode"], error["resourceIds"]) == ("PodEvictionFailure", [before])
    assert "Reached max retries while trying to evict pods from nodes in node group stuck" in error["errorMessage"]
    assert (groups.get("stuck")["status"], groups.get("stuck")["launchTemplate"]["version"]) == ("ACTIVE", "1")
    wait("the old node alone", lambda: names(groups, "stuck") == {before})
    assert not groups.nodes("stuck")[0]["spec"].get("unschedulable")
    assert ready_pods(groups) == 2
    forced = groups.update("stuck", launchTemplate=second, version="1.34", force=True)
    assert forced["status"] == "Successful"
    assert before not in names(groups, "stuck")
    listed = groups.eks.list_updates(name=groups.cluster, nodegroupName="stuck")["updateIds"]
    assert listed == [update["id"], forced["id"]]


@pytest.mark.full
def test_a_deletion_waits_for_no_budget(groups: Groups) -> None:
    groups.active("doomed", 1)
    deploy(groups, 1, {"minAvailable": 1})
    groups.settings(drain_seconds=3)
    (instance,) = groups.instances("doomed")
    groups.begin_delete("doomed")
    wait("the end of the group", lambda: groups.gone("doomed"))
    wait("the end of its node", lambda: not groups.find_object(f"/api/v1/nodes/{instance['PrivateDnsName']}"))
    state = groups.ec2.describe_instances(InstanceIds=[instance["InstanceId"]])["Reservations"][0]["Instances"][0]
    assert state["State"]["Name"] == "terminated"
    assert instance["InstanceId"] not in {machine.name for machine in groups.machines("doomed")}
    wait("an empty machine", lambda: not (paths.STATE / "nodes" / instance["InstanceId"]).exists())


@pytest.mark.full
def test_sizes_labels_and_taints_reach_the_nodes(groups: Groups) -> None:
    groups.active("sized", 1, labels={"team": "blue", "old": "yes"})
    (first,) = names(groups, "sized")
    taint = {"key": "dedicated", "value": "db", "effect": "NO_SCHEDULE"}
    update = groups.configure(
        "sized",
        scalingConfig={"desiredSize": 2},
        labels={"addOrUpdateLabels": {"team": "green"}, "removeLabels": ["old"]},
        taints={"addOrUpdateTaints": [taint]},
    )
    assert update["status"] == "Successful"
    assert len(groups.nodes("sized")) == 2
    for node in groups.nodes("sized"):
        labels = node["metadata"]["labels"]
        assert (labels["team"], "old" in labels) == ("green", False)
        assert {"key": "dedicated", "value": "db", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert groups.configure("sized", scalingConfig={"desiredSize": 1})["status"] == "Successful"
    assert names(groups, "sized") == {first}


def test_the_bed_runs_no_more_nodes_than_it_can(groups: Groups) -> None:
    with pytest.raises(ClientError, match="at most 4 nodes at a time; other groups want 0 of them") as caught:
        groups.create("crowd", scalingConfig={"minSize": 0, "maxSize": 9, "desiredSize": 5})
    assert caught.value.response["Error"]["Code"] == "ResourceLimitExceededException"
    groups.active("crowd", scalingConfig={"minSize": 0, "maxSize": 9, "desiredSize": 0})
    with pytest.raises(ClientError, match="at most 4 nodes at a time") as caught:
        groups.configure("crowd", scalingConfig={"desiredSize": 5})
    assert caught.value.response["Error"]["Code"] == "InvalidParameterException"


@pytest.mark.full
def test_a_kubelet_that_dies_degrades_its_group(groups: Groups) -> None:
    groups.active("dying", 1)
    groups.settings(join_seconds=5)
    (machine,) = groups.machines("dying")
    pid = machine.kubelet()
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait("the group's health", lambda: groups.get("dying")["status"] == "DEGRADED")
    (issue,) = groups.get("dying")["health"]["issues"]
    assert (issue["code"], issue["resourceIds"]) == ("NodeCreationFailure", [machine.name])
    machine.run("systemctl", "start", "kubelet")
    wait("the group's recovery", lambda: groups.get("dying")["status"] == "ACTIVE")
    assert groups.get("dying")["health"]["issues"] == []


@pytest.mark.full
def test_an_update_to_nodes_that_do_not_join_fails(groups: Groups) -> None:
    groups.active("broken", 1, launchTemplate=groups.template("broken", OLD))
    before = names(groups, "broken")
    groups.settings(join_seconds=20)
    fatal = groups.template("broken", node_config(kubelet_config({"allowedUnsafeSysctls": ["net*"]})))
    update = groups.update("broken", launchTemplate=fatal, version="1.34")
    assert [error["errorCode"] for error in update["errors"]] == ["NodeCreationFailure"]
    assert "new nodes are not joining node group broken" in update["errors"][0]["errorMessage"]
    wait("the old node alone", lambda: len(groups.instances("broken")) == 1)
    assert names(groups, "broken") == before


@pytest.mark.full
def test_a_killed_controller_goes_on_where_it_was(groups: Groups) -> None:
    groups.create("orphans", 2)
    for pid, _recipe in daemon.running():
        os.kill(pid, signal.SIGKILL)
    wait("the end of the controller", lambda: not daemon.running())
    time.sleep(1)
    assert groups.get("orphans")["status"] == "CREATING"
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True)
    assert groups.wait_until_done("orphans")["status"] == "ACTIVE"
    assert len(groups.nodes("orphans")) == 2


@pytest.mark.full
def test_an_autoscaler_adds_to_the_group_that_is_drained(groups: Groups) -> None:
    groups.active("auto", 1)
    (first,) = names(groups, "auto")
    assert not autoscaler.step(groups.api, paths.REGION, groups.cluster, "auto")
    groups.api.patch(f"/api/v1/nodes/{first}", {"spec": {"unschedulable": True}})
    groups.pod("waiting")
    wait("a pod without a node", lambda: autoscaler.pending(groups.api) == ["waiting"])
    assert autoscaler.step(groups.api, paths.REGION, groups.cluster, "auto")
    assert groups.ended_up("waiting") == "Running"
    assert groups.get("auto")["scalingConfig"]["desiredSize"] == 2
    groups.configure("auto", scalingConfig={"maxSize": 2})
    (grown,) = names(groups, "auto") - {first}
    groups.api.patch(f"/api/v1/nodes/{grown}", {"spec": {"unschedulable": True}})
    groups.pod("another")
    wait("another pod without a node", lambda: "another" in autoscaler.pending(groups.api))
    with pytest.raises(ValueError, match="not between 0 and 2"):
        autoscaler.step(groups.api, paths.REGION, groups.cluster, "auto")
