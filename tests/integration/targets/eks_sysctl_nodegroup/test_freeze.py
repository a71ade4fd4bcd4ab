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
    account.aws.forget()
    check, run, again = account.run({**FREEZE, "_check": True}, FREEZE, FREEZE)
    assert (check.changed, run.changed, again.changed) == (True, True, False), run.message
    assert check.result["groups"][0]["steps"] == run.result["groups"][0]["steps"]
    assert account.writes() == ["TagResource", "UpdateNodegroupConfig"]
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
