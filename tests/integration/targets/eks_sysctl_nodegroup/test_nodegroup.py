# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against the test bed's EKS and EC2, which refuse what AWS refuses. Nodes are only records."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from integration.targets.eks_sysctl_nodegroup.kit import CLUSTER, REGION, VERSION, Account
from integration.targets.eks_sysctl_nodegroup.kit import ROLE as ROLE_ARN

UNSAFE = "net.core.somaxconn"
CLONE: dict[str, Any] = {"name": "workers", "clone_from": "old", "sysctls": [UNSAFE]}
OURS = "daytwo-prod-workers"
RENDER = "daytwo.aws.eks_sysctl_user_data_info"


def test_check_run_check_run(account: Account) -> None:
    account.create()
    account.settings(seconds=0.5)
    account.aws.forget()
    check = account.run_task(**CLONE, _check=True)
    assert (check.changed, check.change) == (True, "create")
    assert account.writes() == []
    run = account.run_task(**CLONE)
    assert not run.failed, run.message
    assert run.result["plan"] == check.result["plan"]
    assert (run.changed, run.result["verified"]) == (True, True)
    assert account.writes() == ["CreateLaunchTemplate", "CreateNodegroup"]
    made = account.group("workers")
    old = account.group("old")
    same = ("version", "releaseVersion", "subnets", "nodeRole", "amiType", "capacityType", "instanceTypes", "labels")
    assert {key: made[key] for key in same} == {key: old[key] for key in same}
    assert made["scalingConfig"] == old["scalingConfig"]
    assert f"        - {UNSAFE}\n" in account.user_data("workers")
    account.aws.forget()
    again, unchanged = account.run({**CLONE, "_check": True}, CLONE)
    assert (again.changed, unchanged.changed, unchanged.result["verified"]) == (False, False, True), again.result[
        "plan"
    ]
    assert account.writes() == []
    calls = Counter(call.operation for call in account.aws.calls())
    print(f"calls of a check and a run that change nothing: {sum(calls.values())} ({dict(calls)})")
    assert calls["ListNodegroups"] == 2


def test_safe_sysctls_change_nothing_and_report_the_reason(account: Account) -> None:
    account.create()
    account.aws.forget()
    result = account.run_task(name="workers", clone_from="old", sysctls=["net.ipv4.tcp_keepalive_time"])
    assert (result.changed, result.result["node_group_required"], result.failed) == (False, False, False)
    assert "safe since Kubernetes 1.29" in result.result["plan"]["reason"]
    assert account.writes() == []
    assert account.groups() == ["old"]


def test_what_bricks_a_kubelet_is_refused_before_any_write(account: Account) -> None:
    account.create()
    account.aws.forget()
    result = account.run_task(name="workers", clone_from="old", sysctls=["net*"])
    assert result.failed
    assert "are not known to be namespaced" in result.message
    assert "net.*" in result.message
    assert account.writes() == []


def test_a_lagging_group_is_refused_without_allow_version_change(account: Account) -> None:
    account.create()
    account.edit("old", version="1.32", release_version="1.32.1-20260101")
    account.aws.forget()
    result = account.run_task(**CLONE)
    assert result.failed
    assert "version 1.32 to 1.34" in result.message
    assert result.result["before"] == {"version": "1.32"}
    assert account.writes() == []
    allowed = account.run_task(**CLONE, allow_version_change=True)
    assert not allowed.failed, allowed.message
    assert account.group("workers")["version"] == VERSION


def test_a_group_without_a_template_is_translated(account: Account) -> None:
    account.ec2.create_key_pair(KeyName="ops")
    account.create(diskSize=55, remoteAccess={"ec2SshKey": "ops"}, taints=[{"key": "t", "effect": "NO_SCHEDULE"}])
    result = account.run_task(**CLONE)
    assert not result.failed, result.message
    used = account.group("workers")["launchTemplate"]
    version = account.ec2.describe_launch_template_versions(LaunchTemplateId=used["id"], Versions=[used["version"]])
    data = version["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["KeyName"] == "ops"
    assert data["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 55
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 2
    assert account.group("workers")["taints"] == [{"key": "t", "effect": "NO_SCHEDULE"}]
    assert any("SSH" in entry for entry in result.result["not_cloned"])


def test_an_unmanaged_template_is_copied_and_merged_and_never_edited(account: Account) -> None:
    part = (
        "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  kubelet:\n    config:\n      maxPods: 20\n"
        "      allowedUnsafeSysctls: [kernel.sem]\n"
    )
    head = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="B"\n\n--B\n'
    theirs = f"{head}Content-Type: application/node.eks.aws\n\n{part}\n--B--\n".encode()
    account.create(launchTemplate=account.template(user_data=theirs, InstanceType="m5.large"))
    result = account.run_task(**CLONE)
    assert not result.failed, result.message
    assert account.user_data("old") == theirs.decode()
    text = account.user_data("workers")
    assert text.startswith(theirs.decode().removesuffix("--B--\n"))
    assert "        - kernel.sem\n        - net.core.somaxconn\n" in text


@pytest.mark.full
def test_a_custom_ami(account: Account) -> None:
    image = account.ec2.describe_images()["Images"][0]["ImageId"]
    script = "#!/bin/bash\n/etc/eks/bootstrap.sh prod --kubelet-extra-args '--max-pods=20'\n"
    account.create(launchTemplate=account.template(user_data=script.encode(), ImageId=image, InstanceType="m5.large"))
    result = account.run_task(**CLONE)
    assert not result.failed, result.message
    assert result.result["ami_family"] == "al2"
    *_command, option, arguments = shlex.split(account.user_data("workers").splitlines()[-1])
    assert option == "--kubelet-extra-args"
    assert sorted(arguments.split()) == [f"--allowed-unsafe-sysctls={UNSAFE}", "--max-pods=20"]
    assert account.group("workers")["amiType"] == "CUSTOM"


def test_other_sysctls_later_are_a_rolling_update_to_the_groups_own_versions(account: Account) -> None:
    account.create()
    account.settings(seconds=0.5)
    account.run_task(**CLONE)
    account.edit("workers", version="1.33", release_version="1.33.1-20260101")  # it lags now
    account.aws.forget()
    result = account.run_task(name="workers", sysctls=["net.core.*"])
    assert not result.failed, result.message
    assert result.steps == ["create_template_version", "update_version"]
    assert account.writes() == ["CreateLaunchTemplateVersion", "UpdateNodegroupVersion"]
    now = account.group("workers")
    assert (now["version"], now["releaseVersion"]) == ("1.33", "1.33.1-20260101")
    assert now["launchTemplate"]["version"] == "2"
    assert UNSAFE not in account.user_data("workers")
    assert account.run_task(name="workers", sysctls=["net.core.*"]).changed is False


@pytest.mark.full
def test_config_changes_and_the_desired_size_is_left_to_its_autoscaler(account: Account) -> None:
    account.create()
    account.run_task(**CLONE)
    sizes = {"minSize": 1, "maxSize": 3, "desiredSize": 3}
    account.eks.update_nodegroup_config(clusterName=CLUSTER, nodegroupName="workers", scalingConfig=sizes)
    account.aws.advance(seconds=60)
    scaling = {"min_size": 1, "max_size": 5, "desired_size": 1}
    options: dict[str, Any] = {
        "name": "workers",
        "sysctls": [UNSAFE],
        "labels": {"team": "b", "x": "y"},
        "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}],
        "scaling": scaling,
        "tags": {"cost": "7"},
    }
    result = account.run_task(**options)
    assert not result.failed, result.message
    assert result.change == "update_config"
    now = account.group("workers")
    assert now["scalingConfig"] == {"minSize": 1, "maxSize": 5, "desiredSize": 3}
    assert now["labels"] == {"team": "b", "x": "y"}
    assert now["taints"] == [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}]
    assert now["tags"]["cost"] == "7"
    again = account.run_task(**options)
    assert (again.changed, again.failed) == (False, False), again.result


def test_what_cannot_change_in_place_becomes_a_second_group_that_is_found_again(account: Account) -> None:
    account.create("workers")  # adopted: it has exactly the name, and no template
    account.settings(seconds=0.5)
    result = account.run_task(name="workers", sysctls=[UNSAFE])
    assert not result.failed, result.message
    assert result.change == "blue_green"
    new = result.result["group"]["name"]
    assert account.groups() == sorted(["workers", new])
    assert result.result["previous"] == ["workers"]
    again = account.run_task(name="workers", sysctls=[UNSAFE])
    assert (again.changed, again.result["group"]["name"], again.result["previous"]) == (False, new, ["workers"])
    gone = account.run_task(name="workers", state="absent", generations="previous", force=True)
    assert not gone.failed, gone.message
    assert account.groups() == [new]
    last = account.run_task(name="workers", sysctls=[UNSAFE])
    assert (last.changed, last.result["previous"]) == (False, [])


def test_an_update_that_fails_is_a_failure_though_the_group_is_active(account: Account) -> None:
    account.create()
    account.run_task(**CLONE)
    issue = {"errorCode": "PodEvictionFailure", "errorMessage": "Reached max retries", "resourceIds": ["ip-10-0-0-1"]}
    account.settings(failing_updates={"workers": issue})
    result = account.run_task(name="workers", sysctls=["net.core.*"])
    assert result.failed
    assert "PodEvictionFailure" in result.message
    assert "ip-10-0-0-1" in result.message
    assert account.group("workers")["status"] == "ACTIVE"
    account.settings()
    account.aws.forget()
    retried = account.run_task(name="workers", sysctls=["net.core.*"])
    assert not retried.failed, retried.message
    assert account.writes() == ["UpdateNodegroupVersion"]  # the template version exists already


@pytest.mark.full
def test_a_group_whose_nodes_do_not_join_is_reported_with_its_instances(account: Account) -> None:
    account.create()
    issue = {"code": "NodeCreationFailure", "message": "failed to join", "resourceIds": ["i-0bad"]}
    account.settings(failing_creates={"workers": issue})
    result = account.run_task(**CLONE)
    assert result.failed
    assert result.changed
    assert "NodeCreationFailure" in result.message
    assert "i-0bad" in result.message


@pytest.mark.full
def test_a_timeout_reports_the_status_and_a_re_run_continues(account: Account) -> None:
    account.create()
    account.settings(create_seconds=3600)
    result = account.run_task(**CLONE, wait_timeout=2)
    assert result.failed
    assert "CREATING" in result.message
    account.aws.advance(seconds=3600)
    account.aws.forget()
    again = account.run_task(**CLONE)
    assert (again.failed, again.changed, again.result["verified"]) == (False, False, True), again.message
    assert account.writes() == []


def test_a_run_that_was_killed_after_the_template_leaves_no_orphan(account: Account) -> None:
    account.create()
    account.aws.deny("eks:CreateNodegroup")
    result = account.run_task(**CLONE)
    assert result.failed
    assert result.changed
    assert account.templates() == [OURS]
    account.aws.deny()
    account.aws.forget()
    again = account.run_task(**CLONE)
    assert not again.failed, again.message
    assert account.writes() == ["CreateNodegroup"]
    assert account.templates() == [OURS]


@pytest.mark.parametrize(
    "tags",
    [
        {"alpha.eksctl.io/cluster-name": "prod", "alpha.eksctl.io/nodegroup-name": "old"},
        pytest.param({"managed-by": "terraform"}, marks=pytest.mark.full),
    ],
)
def test_groups_of_other_tools_are_neither_shared_with_nor_deleted(account: Account, tags: dict[str, str]) -> None:
    account.create(tags=tags)
    account.aws.forget()
    shared = account.run_task(**CLONE)
    assert shared.failed
    assert "accept_shared_role" in shared.message
    deleted = account.run_task(name="old", state="absent", force=True)
    assert deleted.failed
    assert deleted.result["msg"].count("command") == 1
    assert account.writes() == []
    assert account.groups() == ["old"]
    accepted = account.run_task(**CLONE, accept_shared_role=True)
    assert not accepted.failed, accepted.message
    assert not any(key.startswith("alpha.") for key in account.group("workers")["tags"])


@pytest.mark.full
def test_absent_takes_group_and_template_and_a_second_time_nothing(account: Account) -> None:
    account.create()
    account.run_task(**CLONE)
    options: dict[str, Any] = {"name": "workers", "state": "absent", "force": True}
    account.aws.forget()
    check = account.run_task(**options, _check=True)
    assert check.changed
    assert account.writes() == []
    result = account.run_task(**options)
    assert not result.failed, result.message
    assert (account.groups(), account.templates()) == (["old"], [])
    assert account.run_task(**options).changed is False


@pytest.mark.full
def test_old_template_versions_are_bounded(account: Account) -> None:
    account.create()
    account.run_task(**CLONE)
    account.run(*({"name": "workers", "sysctls": [f"net.core.x{number}"]} for number in range(7)))
    found = account.ec2.describe_launch_template_versions(LaunchTemplateName=OURS)["LaunchTemplateVersions"]
    numbers = sorted(version["VersionNumber"] for version in found)
    assert numbers == [1, 4, 5, 6, 7, 8]  # the default, and the newest five


def test_rendering_calls_no_api(account: Account) -> None:
    account.aws.forget()
    (result,) = account.run({"_module": RENDER, "name": "workers", "sysctls": [UNSAFE], "cluster": "prod"})
    assert not result.failed, result.message
    assert account.aws.calls() == []
    text = result.result["user_data"]
    assert base64.b64decode(result.result["terraform_user_data"]).decode() == text
    assert UNSAFE in result.result["eksctl_cluster_config"]
    assert UNSAFE in result.result["karpenter_ec2nodeclass"]


@pytest.mark.full
def test_the_documented_policy_is_enough_and_each_of_its_actions_is_needed(account: Account) -> None:
    document = json.loads((Path(__file__).parents[4] / "docs/iam/eks_sysctl_nodegroup.json").read_text())
    actions = {action for statement in document["Statement"] for action in listed(statement["Action"])}
    account.create("workers")
    account.create("old")
    account.aws.forget()
    freeze = {"_module": "daytwo.aws.eks_nodegroup_freeze", "cluster": CLUSTER, "names": ["old"], "wait_delay": 1}
    results = account.run(
        {"name": "workers", "sysctls": [UNSAFE]},
        {"name": "workers", "sysctls": ["net.core.*"], "labels": {"a": "b"}, "tags": {"c": "d"}},
        *({"name": "workers", "sysctls": [f"net.core.x{number}"]} for number in range(6)),
        {"name": "workers", "state": "absent", "force": True},
        {**freeze, "state": "frozen"},
        {**freeze, "state": "thawed"},
    )
    assert [result.message for result in results if result.failed] == []
    used = {call.action for call in account.aws.calls()}
    assert used <= actions, used - actions
    # The documentation lists the actions that AWS only checks beside the call itself.
    with_warm_pools = {"autoscaling:DescribeAutoScalingInstances"}
    assert actions - used <= CHECKED_BESIDE | with_warm_pools, actions - used
    assert REGION


# What AWS checks with the caller's permissions beside a call: docs/sysctl_nodegroup.md has AWS's page for each.
CHECKED_BESIDE = {
    "iam:PassRole",
    "iam:GetRole",
    "iam:ListAttachedRolePolicies",
    "ec2:RunInstances",
    "ec2:CreateTags",
    "eks:TagResource",
}


def test_the_documented_policy_has_what_aws_checks_beside_the_calls() -> None:
    root = Path(__file__).parents[4]
    statements = json.loads((root / "docs/iam/eks_sysctl_nodegroup.json").read_text())["Statement"]
    page = (root / "docs/sysctl_nodegroup.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and "https://docs.aws.amazon.com/" in line]
    for action in CHECKED_BESIDE:
        assert any(action in listed(statement["Action"]) for statement in statements), action
        assert any(f"`{action}`" in row for row in rows), action
    tagging = {
        statement["Condition"]["StringEquals"]["ec2:CreateAction"]: listed(statement["Resource"])
        for statement in statements
        if statement["Action"] == "ec2:CreateTags"
    }
    assert set(tagging) == {"CreateLaunchTemplate", "RunInstances"}
    kinds = {resource.split(":")[-1].partition("/")[0] for resource in tagging["RunInstances"]}
    assert kinds == {"instance", "volume", "network-interface", "spot-instances-request"}
    passing = next(statement for statement in statements if statement["Action"] == "iam:PassRole")
    assert "eks.amazonaws.com" in passing["Condition"]["StringEquals"]["iam:PassedToService"]


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# What a clone keeps depends on the group


def test_a_source_whose_launch_template_is_deleted_is_refused(account: Account) -> None:
    template = account.template(user_data=b"", InstanceType="m5.large")
    account.create(launchTemplate=template)
    account.ec2.delete_launch_template(LaunchTemplateId=template["id"])
    account.aws.forget()
    check, run = account.run({**CLONE, "_check": True}, CLONE)
    assert (check.failed, run.failed) == (True, True)
    assert "launch template theirs version 1 does not exist any more" in run.message
    assert account.writes() == []


@pytest.mark.full
def test_a_capacity_block_and_security_groups_in_its_interface(account: Account) -> None:
    block: dict[str, Any] = {
        "InstanceType": "p5.48xlarge",
        "InstanceMarketOptions": {"MarketType": "capacity-block"},
        "CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}},
        "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-0123456789abcdef1"]}],
    }
    account.create(launchTemplate=account.template(**block), capacityType="CAPACITY_BLOCK")
    options: dict[str, Any] = {**CLONE, "security_groups": ["sg-0123456789abcdef0"]}
    result, again = account.run(options, options)
    assert not result.failed, result.message
    assert (again.failed, again.changed) == (False, False), again.message
    used = account.group("workers")["launchTemplate"]
    found = account.ec2.describe_launch_template_versions(LaunchTemplateId=used["id"], Versions=[used["version"]])
    data = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["InstanceMarketOptions"] == block["InstanceMarketOptions"]
    assert data["CapacityReservationSpecification"] == block["CapacityReservationSpecification"]
    assert "sg-0123456789abcdef0" in data["NetworkInterfaces"][0]["Groups"]
    assert not data.get("SecurityGroupIds")


@pytest.mark.full
def test_a_warm_pool_is_not_copied_beside_a_custom_ami(account: Account) -> None:
    pool = {"enabled": True, "minSize": 1, "poolState": "STOPPED"}
    account.create(warmPoolConfig=pool)
    image = account.ec2.describe_images()["Images"][0]["ImageId"]
    kept = account.run_task(**CLONE)
    assert not kept.failed, kept.message
    assert account.group("workers")["warmPoolConfig"]["enabled"]
    custom = account.run_task(**{**CLONE, "name": "custom", "ami_id": image, "ami_family": "al2023"})
    assert not custom.failed, custom.message
    assert not account.group("custom").get("warmPoolConfig")
    assert any("warm pool" in entry for entry in custom.result["not_cloned"])


# The module's options, and the role's, before anything is read


def test_bad_options_are_refused_before_any_call(account: Account) -> None:
    """test_option_rules.py has every rule."""
    account.create()
    account.aws.forget()
    results = account.run(
        {"name": ""},
        {"name": "", "_check": True},
        {**CLONE, "scaling": {"min_size": 3, "max_size": 2}, "instance_types": [""]},
        {**CLONE, "ami_id": "nonsense", "wait_timeout": -1, "_check": True},
        {"name": "", "state": "absent"},
    )
    assert [result.failed for result in results] == [True] * len(results)
    assert all("nothing was changed: " in result.message for result in results)
    assert account.aws.calls() == []


PLAYBOOK = "daytwo.aws.sysctl_nodegroup"


def role_options(**variables: Any) -> list[str]:
    given = {"cluster": CLUSTER, "name": "workers", "clone_from": "old", "sysctls": [UNSAFE], "wait_delay": 1}
    values = {f"sysctl_nodegroup_{key}": value for key, value in {**given, **variables}.items()}
    return ["-e", json.dumps(values), "--skip-tags", "fit,proof,drain,delete"]


@pytest.mark.parametrize(
    "variables",
    [
        {"name": ""},
        pytest.param({"cluster": ""}, marks=pytest.mark.full),
        pytest.param({"sysctls": []}, marks=pytest.mark.full),
        {"sysctls": ""},
    ],
)
def test_the_role_refuses_empty_values_before_any_change(account: Account, variables: dict[str, Any]) -> None:
    account.create()
    account.aws.forget()
    last = account.play(PLAYBOOK, *role_options(**variables))[-1]
    assert last.failed
    assert re.search(f"{next(iter(variables))} is ('')|empty", last.message), last.message
    assert account.writes() == []


def test_the_role_runs_where_there_is_no_old_group_and_no_node(account: Account) -> None:
    options = {"subnets": account.subnets, "node_role": ROLE_ARN}
    tasks = account.play(PLAYBOOK, *role_options(clone_from="", options=options))
    assert not tasks[-1].failed, tasks[-1].message
    assert account.groups() == ["workers"]
    safe = account.play(PLAYBOOK, *role_options(clone_from="", sysctls=["net.ipv4.tcp_syncookies"]))
    assert not safe[-1].failed, safe[-1].message


def test_abandoning_thaws_by_the_tag_also_beside_a_group_that_failed(account: Account) -> None:
    account.create("workers")  # adopted, without a template: it needs a blue/green replacement
    before = account.group("workers")["scalingConfig"]
    issue = {"code": "NodeCreationFailure", "message": "failed to join", "resourceIds": ["i-0bad"]}
    planned = account.run_task(name="workers", sysctls=[UNSAFE], _check=True)
    new = planned.result["target"]
    account.settings(failing_creates={new: issue})
    failed = account.play(PLAYBOOK, *role_options(clone_from=""))[-1]
    assert "NodeCreationFailure" in failed.message
    assert "daytwo.aws/frozen-scaling" in account.group("workers")["tags"]
    assert account.group(new)["status"] == "CREATE_FAILED"
    back = account.play(PLAYBOOK, *role_options(clone_from="", mode="abandon"))
    assert not back[-1].failed, back[-1].message
    thawed = account.group("workers")
    assert (thawed["scalingConfig"], thawed.get("taints") or []) == (before, [])
    assert "daytwo.aws/frozen-scaling" not in thawed["tags"]
