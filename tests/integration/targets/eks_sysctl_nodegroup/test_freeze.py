# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze and thaw against the test bed's EKS."""

from __future__ import annotations

from typing import Any

import pytest
from integration.targets.eks_sysctl_nodegroup.kit import CLUSTER, REGION, Account

FREEZE: dict[str, Any] = {
    "_module": "daytwo.aws.eks_nodegroup_freeze",
    "cluster": CLUSTER,
    "names": ["old"],
    "wait_delay": 1,
}
TAG = "daytwo.aws/frozen-scaling"


def test_frozen_and_thawed_and_each_a_second_time(account: Account) -> None:
    before = account.create(taints=[{"key": "t", "value": "x", "effect": "NO_SCHEDULE"}])
    account.settings(seconds=0.5)
    account.aws.forget()
    check, run, again = account.run({**FREEZE, "_check": True}, FREEZE, FREEZE)
    assert (check.changed, run.changed, again.changed) == (True, True, False), run.message
    assert check.result["groups"][0]["steps"] == run.result["groups"][0]["steps"]
    assert account.writes() == ["TagResource", "UpdateNodegroupConfig", "UpdateNodegroupConfig"]
    assert account.sent("old") == {"MaxSize", "TaintsToAdd"}
    frozen = account.group("old")
    assert frozen["scalingConfig"] == {"minSize": 1, "maxSize": 2, "desiredSize": 2}
    assert frozen["tags"][TAG] == "1/3/2"
    assert {taint["key"] for taint in frozen["taints"]} == {"t", "daytwo.aws/frozen"}
    thaw = {**FREEZE, "state": "thawed"}
    back, still = account.run(thaw, thaw)
    assert (back.changed, still.changed) == (True, False), back.message
    after = account.group("old")
    assert (after["scalingConfig"], after["taints"]) == (before["scalingConfig"], before["taints"])
    assert TAG not in after["tags"]


@pytest.mark.full
def test_a_freeze_that_stopped_half_way_keeps_the_originals(account: Account) -> None:
    account.create()
    account.aws.deny("eks:UpdateNodegroupConfig")
    (stopped,) = account.run(FREEZE)
    assert (stopped.failed, stopped.changed) == (True, True)
    account.aws.deny()
    (again,) = account.run(FREEZE)
    assert not again.failed, again.message
    assert account.group("old")["tags"][TAG] == "1/3/2"


def test_a_missing_group_does_not_stop_the_others(account: Account) -> None:
    account.create()
    (result,) = account.run({**FREEZE, "names": ["nowhere", "old"]})
    assert result.failed
    assert [group["status"] for group in result.result["groups"]] == ["failed", "changed"]


@pytest.mark.full
def test_a_clone_of_a_frozen_group_is_made_as_that_was(account: Account) -> None:
    account.create()
    account.run(FREEZE)
    result = account.run_task(name="workers", clone_from="old", sysctls=["net.core.somaxconn"])
    assert not result.failed, result.message
    made = account.group("workers")
    assert made["scalingConfig"] == {"minSize": 1, "maxSize": 3, "desiredSize": 2}
    assert not made.get("taints")


def test_an_autoscaler_adds_nothing_to_a_frozen_group(account: Account) -> None:
    account.create()
    scale = {"region": REGION, "cluster": CLUSTER, "group": "old"}
    account.aws.send_command("eks/scale", **scale, desired=3)
    account.aws.send_command("eks/scale", **scale, desired=2)
    account.run(FREEZE)
    with pytest.raises(ValueError, match="not between"):
        account.aws.send_command("eks/scale", **scale, desired=3)
    assert account.group("old")["scalingConfig"]["desiredSize"] == 2


# The size: an autoscaler changes it without EKS, and DescribeNodegroup can be out of date


def size(account: Account, name: str = "old") -> int:
    """The desired capacity of the Auto Scaling group, whatever EKS shows."""
    names = [found["name"] for found in account.group(name)["resources"]["autoScalingGroups"]]
    found = account.aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=names)
    return int(found["AutoScalingGroups"][0]["DesiredCapacity"])


def scale(account: Account, desired: int, command: str = "eks/scale") -> None:
    account.aws.send_command(command, region=REGION, cluster=CLUSTER, group="old", desired=desired)


def lag(account: Account, lagging: bool = True) -> None:
    account.aws.send_command("eks/lag", region=REGION, cluster=CLUSTER, group="old", lagging=lagging)


def test_the_bed_shows_a_stale_size_and_ends_nodes_for_it(account: Account) -> None:
    """As the real services do: a client that sends the shown size back loses the nodes that came meanwhile."""
    account.create(scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 2})
    lag(account)
    scale(account, 4)
    shown = account.group("old")["scalingConfig"]
    assert (shown["desiredSize"], size(account)) == (2, 4)
    account.eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName="old", scalingConfig=shown)
    assert size(account) == 2
    account.aws.advance(seconds=60)
    scale(account, 4)
    lag(account, lagging=False)
    with pytest.raises(account.eks.exceptions.InvalidParameterException, match="can't be greater than max size 3"):
        account.eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName="old", scalingConfig={"maxSize": 3})
    scale(account, 2)
    lag(account)
    scale(account, 4)
    account.eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName="old", scalingConfig={"maxSize": 3})
    assert size(account) == 3  # the Auto Scaling group itself moves into its bounds


def test_a_stale_size_costs_no_node(account: Account) -> None:
    account.create(scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 2})
    lag(account)
    scale(account, 4)
    account.aws.forget()
    check, run, again = account.run({**FREEZE, "_check": True}, FREEZE, FREEZE)
    assert (run.failed, again.changed, size(account)) == (False, False, 4), run.message
    assert check.result["groups"][0]["steps"] == run.result["groups"][0]["steps"]
    assert account.group("old")["scalingConfig"] == {"minSize": 1, "maxSize": 4, "desiredSize": 2}
    assert account.group("old")["tags"][TAG] == "1/5/4"
    (back,) = account.run({**FREEZE, "state": "thawed"})
    assert (back.failed, size(account)) == (False, 4), back.message
    assert account.group("old")["scalingConfig"]["maxSize"] == 5
    assert account.sent("old") == {"MaxSize", "TaintsToAdd", "TaintsToRemove"}


@pytest.mark.parametrize("lagging", [pytest.param(False, marks=pytest.mark.full), True])
def test_an_autoscaler_that_scales_out_between_reading_and_writing_loses_no_node(
    account: Account, lagging: bool
) -> None:
    account.create(scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 2})
    if lagging:
        lag(account)
    scale(account, 4, "eks/scale-before-update")
    (run,) = account.run(FREEZE)
    assert (run.failed, size(account)) == (False, 4), run.message
    assert account.group("old")["scalingConfig"]["maxSize"] == 4


@pytest.mark.full
def test_a_maximum_that_a_new_node_forbids_is_planned_again(account: Account) -> None:
    """The autoscaler acts between the last reading and the write of the maximum. EKS refuses, and we read again."""
    account.create(
        scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 2},
        taints=[
            {"key": "daytwo.aws/frozen", "value": "true", "effect": "NO_SCHEDULE"}
        ],  # so that only the maximum is left
    )
    scale(account, 3, "eks/scale-before-update")
    (run,) = account.run(FREEZE)
    assert (run.failed, size(account), account.group("old")["scalingConfig"]["maxSize"]) == (False, 3, 3), run.message


@pytest.mark.full
def test_the_size_comes_from_the_instances_where_the_auto_scaling_group_cannot_be_read(account: Account) -> None:
    account.create(scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 2})
    tags = [{"Key": "eks:cluster-name", "Value": CLUSTER}, {"Key": "eks:nodegroup-name", "Value": "old"}]
    image = account.ec2.describe_images()["Images"][0]["ImageId"]
    account.ec2.run_instances(
        ImageId=image, MinCount=3, MaxCount=3, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    account.aws.deny("autoscaling:DescribeAutoScalingGroups")
    (run,) = account.run(FREEZE)
    account.aws.deny()
    assert not run.failed, run.message
    assert account.group("old")["scalingConfig"]["maxSize"] == 3


def test_bad_options_are_refused_before_any_call(account: Account) -> None:
    account.create()
    account.aws.forget()
    results = account.run({**FREEZE, "names": []}, {**FREEZE, "names": [""], "_check": True}, {**FREEZE, "cluster": ""})
    assert [result.failed for result in results] == [True, True, True]
    assert "names is an empty list. Name at least one" in results[0].message
    assert account.aws.calls() == []
