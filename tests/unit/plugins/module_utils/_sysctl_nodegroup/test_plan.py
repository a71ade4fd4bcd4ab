# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision: which change, why it is the smallest, what is sent, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._plan import Step
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import clone, freeze, plan, userdata
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.errors import SysctlError
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.model import (
    LaunchTemplate,
    NodeGroup,
    NodeGroupState,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._sysctl_nodegroup.groups import (
    CLUSTER,
    NEEDS_TOMLLIB,
    UNSAFE,
    description,
    generation,
    group,
    template,
    wanted,
)

KEEPALIVE = ("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl")
HOPS = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}


def made(name: str = "workers", sysctls: tuple[str, ...] = (UNSAFE,), **data: Any) -> LaunchTemplate:
    """Our template for a group, as an earlier run has left it."""
    text = userdata.render(userdata.UserDataRequest("al2023", sysctls))
    full = {"MetadataOptions": HOPS, "UserData": text, **data}
    return template(plan.build_template_name("prod", name), True, **full)


def seen(
    *generations: NodeGroup, source: NodeGroup | None = None, templates: tuple[LaunchTemplate, ...] = (), **more: Any
) -> NodeGroupState:
    known = [*templates, *(one.template for one in generations if one.template)]
    return NodeGroupState(replace(CLUSTER, **more), generations, source, {one.name: one for one in known if one.tags})


def create_of(found: plan.NodeGroupPlan) -> dict[str, Any]:
    return dict(next(step.after for step in found.steps if step.action == "create_nodegroup" and step.after))


def after(step: Step) -> dict[str, Any]:
    assert step.after is not None
    return dict(step.after)


def actions(found: plan.NodeGroupPlan) -> list[str]:
    return [step.action for step in found.steps]


# Whether anything is needed


@pytest.mark.parametrize("version", ["1.29", "1.34", "1.37"])
def test_keep_alive_needs_no_group(version: str) -> None:
    found = plan.make_plan(wanted(*KEEPALIVE, clone_from="old"), seen(source=group("old", version=version)))
    assert (found.change, found.node_group_required, found.steps) == (plan.NOT_REQUIRED, False, ())
    assert "safe since Kubernetes 1.29" in found.reason


def test_the_kubelets_version_decides_not_the_control_planes() -> None:
    lagging = group("old", version="1.28")
    with pytest.raises(SysctlError, match="allow_version_change"):
        plan.make_plan(wanted(*KEEPALIVE, clone_from="old"), seen(source=lagging, version="1.31"))


def test_force_builds_it_anyway() -> None:
    found = plan.make_plan(wanted(*KEEPALIVE, clone_from="old", force=True), seen(source=group("old")))
    assert found.change == plan.CREATE


def test_what_bricks_a_kubelet_is_refused_before_anything_else() -> None:
    with pytest.raises(SysctlError, match=r"net\*: a kubelet 1.34 refuses to start.*Valid near it: net\.\*") as caught:
        plan.make_plan(wanted("net*"), seen(source=group("old")))
    assert caught.value.details["classification"][0]["verdict"] == "impossible"


# A new group from an existing one


def test_a_clone_of_a_group_without_a_template_is_translated() -> None:
    old = group("old", remoteAccess={"ec2SshKey": "key", "sourceSecurityGroups": ["sg-1"]}, diskSize=50)
    found = plan.make_plan(wanted(clone_from="old"), seen(source=old))
    assert actions(found) == ["create_template", "create_nodegroup"]
    created = create_of(found)
    assert created == {
        "nodegroupName": "workers",
        "subnets": ["subnet-a", "subnet-b"],
        "nodeRole": "arn:aws:iam::123456789012:role/nodes",
        "capacityType": "ON_DEMAND",
        "instanceTypes": ["m6i.large"],
        "amiType": "AL2023_x86_64_STANDARD",
        "scalingConfig": {"minSize": 1, "maxSize": 5, "desiredSize": 3},
        "labels": {"team": "a"},
        "updateConfig": {"maxUnavailable": 1},
        "nodeRepairConfig": {"enabled": False},
        "tags": {"cost": "1", "daytwo.aws/nodegroup": "workers", "daytwo.aws/generation": "1"},
        "version": "1.34",
        "releaseVersion": "1.34.1-20261101",
        "launchTemplate": {"name": "daytwo-prod-workers"},
    }
    data = {key: value for key, value in found.template_data.items() if key != "UserData"}
    assert data == {
        "KeyName": "key",
        "SecurityGroupIds": ["sg-cluster"],
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 50}}],
        "MetadataOptions": HOPS,
    }
    assert userdata.list_allowed_sysctls("al2023", found.user_data) == [UNSAFE]
    assert "SSH access from sg-1" in found.not_cloned[0]
    assert "eks-old" in found.not_cloned[1]


@NEEDS_TOMLLIB
def test_bottlerockets_disk_is_its_data_volume() -> None:
    old = group("old", amiType="BOTTLEROCKET_x86_64", diskSize=80)
    found = plan.make_plan(wanted(clone_from="old"), seen(source=old))
    assert found.template_data["BlockDeviceMappings"] == [{"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 80}}]
    assert found.family == "bottlerocket"


def test_a_template_is_copied_without_what_eks_refuses() -> None:
    theirs = template(
        InstanceType="m5.large",
        IamInstanceProfile={"Name": "x"},
        InstanceMarketOptions={"MarketType": "spot"},
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": "subnet-a", "Groups": ["sg-1"]}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": "1"}]}],
    )
    found = plan.make_plan(wanted(clone_from="old"), seen(source=group("old", theirs)))
    data = {key: value for key, value in found.template_data.items() if key != "UserData"}
    assert data == {"InstanceType": "m5.large", "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-1"]}]}
    assert "instanceTypes" not in create_of(found)
    assert sum("EKS refuses" in one for one in found.not_cloned) == 3


def test_with_an_ami_of_ones_own_no_type_and_no_version_is_sent() -> None:
    theirs = template(ImageId="ami-1", UserData=b"#!/bin/bash\n/etc/eks/bootstrap.sh prod\n")
    old = group("old", theirs, amiType="CUSTOM", version="1.34", releaseVersion="ami-1")
    found = plan.make_plan(wanted(clone_from="old"), seen(source=old))
    assert {"amiType", "version", "releaseVersion"}.isdisjoint(create_of(found))
    assert found.family == "al2"
    assert userdata.list_allowed_sysctls("al2", found.user_data) == [UNSAFE]


def test_an_ami_of_unknown_family_is_asked_for() -> None:
    old = group("old", template(ImageId="ami-1"), amiType="CUSTOM")
    with pytest.raises(SysctlError, match="give ami_family"):
        plan.make_plan(wanted(clone_from="old"), seen(source=old))


def test_options_override_the_clone() -> None:
    options = {
        "labels": {"x": "y"},
        "taints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}],
        "scalingConfig": {"maxSize": 9},
        "subnets": ["subnet-c"],
        "instanceTypes": ["c6i.large"],
        "capacityType": "SPOT",
        "nodeRole": "arn:aws:iam::123456789012:role/other",
    }
    found = plan.make_plan(
        wanted(clone_from="old", overrides=options, disk_size=99, security_groups=["sg-9"]),
        seen(source=group("old", template(KeyName="k"))),
    )
    created = create_of(found)
    assert created["labels"] == {"team": "a", "x": "y"}
    assert created["scalingConfig"] == {"minSize": 1, "maxSize": 9, "desiredSize": 3}
    assert {key: created[key] for key in options if key not in ("labels", "scalingConfig")} == {
        key: value for key, value in options.items() if key not in ("labels", "scalingConfig")
    }
    assert found.template_data["SecurityGroupIds"] == ["sg-9", "sg-cluster"]
    assert found.template_data["BlockDeviceMappings"] == [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 99}}]
    assert found.template_data["KeyName"] == "k"


def test_a_frozen_source_is_cloned_as_it_was() -> None:
    frozen = group(
        "old",
        scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 3},
        taints=[freeze.FROZEN_TAINT],
        tags={freeze.TAG_SCALING: "1/5/3"},
    )
    created = create_of(plan.make_plan(wanted(clone_from="old"), seen(source=frozen)))
    assert created["scalingConfig"] == {"minSize": 1, "maxSize": 5, "desiredSize": 3}
    assert "taints" not in created


def test_dedicated_adds_label_taint_selector_and_toleration() -> None:
    found = plan.make_plan(wanted(clone_from="old", dedicated=True), seen(source=group("old")))
    created = create_of(found)
    assert created["labels"]["daytwo.aws/sysctls"] == "workers"
    assert created["taints"] == [{"key": "daytwo.aws/sysctls", "value": "workers", "effect": "NO_SCHEDULE"}]
    assert found.node_selector == {"daytwo.aws/sysctls": "workers"}
    assert found.tolerations[0]["value"] == "workers"
    plain = plan.make_plan(wanted(clone_from="old"), seen(source=group("old")))
    assert "SysctlForbidden" in plain.warnings[0]


def test_every_field_of_botocore_has_its_line() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    model = session.create_client("eks", region_name="eu-central-1").meta.service_model.shape_for("Nodegroup")
    for name, shape in model.members.items():
        assert name in clone.FIELDS
        if shape.type_name == "structure":
            assert all(f"{name}.{inner}" in clone.FIELDS for inner in shape.members), name


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(SysctlError, match="newThing"):
        plan.make_plan(wanted(clone_from="old"), seen(source=group("old", newThing={"a": 1})))
    with pytest.raises(SysctlError, match=r"updateConfig\.speed"):
        plan.make_plan(wanted(clone_from="old"), seen(source=group("old", updateConfig={"speed": 1})))


@pytest.mark.parametrize(
    "tags",
    [
        {"alpha.eksctl.io/cluster-name": "prod", "aws:cloudformation:stack-name": "s"},
        {"aws:cloudformation:stack-name": "stack"},
        {"managed-by": "terraform"},
    ],
)
def test_a_role_that_may_die_with_a_stack_is_not_shared(tags: dict[str, str]) -> None:
    old = group("old", tags=tags, labels={"alpha.eksctl.io/nodegroup-name": "old", "team": "a"})
    with pytest.raises(SysctlError, match="accept_shared_role"):
        plan.make_plan(wanted(clone_from="old"), seen(source=old))
    accepted = create_of(plan.make_plan(wanted(clone_from="old", accept_shared_role=True), seen(source=old)))
    assert accepted["labels"] == {"team": "a"}
    assert not any(key.startswith(("alpha.", "aws:")) for key in accepted["tags"])
    given = plan.make_plan(wanted(clone_from="old", overrides={"nodeRole": "arn:r"}), seen(source=old))
    assert create_of(given)["nodeRole"] == "arn:r"
    assert old.owner
    assert old.owner.command


def test_windows_and_auto_mode_are_refused_with_a_way_out() -> None:
    with pytest.raises(SysctlError, match="Windows"):
        plan.make_plan(wanted(clone_from="old"), seen(source=group("old", amiType="WINDOWS_CORE_2022_x86_64")))
    with pytest.raises(SysctlError, match="Auto Mode"):
        plan.make_plan(wanted(), seen(auto_mode=True))


# Versions


def test_a_lagging_group_is_shown_before_and_after_and_refused() -> None:
    lagging = group("old", version="1.32", releaseVersion="1.32.1-1")
    with pytest.raises(SysctlError, match=r"version 1\.32 to 1\.34") as caught:
        plan.make_plan(wanted(clone_from="old"), seen(source=lagging))
    assert caught.value.details["before"] == {"version": "1.32"}
    created = create_of(plan.make_plan(wanted(clone_from="old", allow_version_change=True), seen(source=lagging)))
    assert created["version"] == "1.34"
    assert "releaseVersion" not in created


def test_al2_ends_with_1_32() -> None:
    al2 = group("old", amiType="AL2_x86_64", version="1.32")
    with pytest.raises(SysctlError, match="no AL2 AMIs"):
        plan.make_plan(wanted(clone_from="old", allow_version_change=True), seen(source=al2))
    newer = wanted(clone_from="old", allow_version_change=True, ami_family="al2023")
    assert create_of(plan.make_plan(newer, seen(source=al2)))["amiType"] == "AL2023_x86_64_STANDARD"


# A group that is there


def test_a_second_run_changes_nothing() -> None:
    first = plan.make_plan(wanted(clone_from="old"), seen(source=group("old")))
    ours = template(first.template_name, True, **first.template_data)
    there = generation("workers", 1, ours)
    again = plan.make_plan(wanted(clone_from="old"), seen(there, source=group("old")))
    assert (again.change, again.steps) == (plan.NOTHING, ())
    assert again.node_group_required


def test_a_run_that_was_stopped_after_the_template_goes_on() -> None:
    first = plan.make_plan(wanted(clone_from="old"), seen(source=group("old")))
    left = template(first.template_name, True, **first.template_data)
    again = plan.make_plan(wanted(clone_from="old"), seen(source=group("old"), templates=(left,)))
    assert actions(again) == ["create_nodegroup"]


def test_a_template_of_the_same_name_that_is_not_ours_is_not_touched() -> None:
    foreign = replace(template("daytwo-prod-workers", True), tags={"other": "x"})
    with pytest.raises(SysctlError, match="not ours"):
        plan.make_plan(wanted(clone_from="old"), seen(source=group("old"), templates=(foreign,)))


def test_other_sysctls_are_a_new_template_version_and_a_rolling_update_to_the_groups_own_versions() -> None:
    there = generation("workers", 1, made(), version="1.32", releaseVersion="1.32.5-1")
    found = plan.make_plan(wanted("net.core.*"), seen(there))
    assert found.change == plan.TEMPLATE
    assert actions(found) == ["create_template_version", "update_version"]
    assert after(found.steps[-1]) == {
        "version": "1.32",
        "releaseVersion": "1.32.5-1",
        "launchTemplate": {"name": "daytwo-prod-workers", "version": "new"},
    }
    assert userdata.list_allowed_sysctls("al2023", found.user_data) == ["net.core.*"]


def test_labels_taints_and_scaling_are_a_config_update_and_desired_size_stays() -> None:
    there = generation("workers", 1, made(), scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 4})
    options = {
        "labels": {"team": "b"},
        "taints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}],
        "scalingConfig": {"minSize": 2, "desiredSize": 2},
    }
    found = plan.make_plan(wanted(overrides=options), seen(there))
    assert (found.change, actions(found)) == (plan.CONFIG, ["update_config"])
    assert after(found.steps[0]) == {
        "labels": {"addOrUpdateLabels": {"team": "b"}},
        "taints": {"addOrUpdateTaints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}]},
        "scalingConfig": {"minSize": 2, "maxSize": 5, "desiredSize": 4},
    }
    desired = plan.make_plan(wanted(overrides={"scalingConfig": {"desiredSize": 1}}), seen(there))
    assert desired.change == plan.NOTHING


def test_omitted_labels_stay_and_reordered_subnets_are_the_same() -> None:
    there = generation("workers", 1, made())
    options = {"labels": {"team": "a"}, "subnets": ["subnet-b", "subnet-a"]}
    assert plan.make_plan(wanted(overrides=options), seen(there)).change == plan.NOTHING


def test_a_taint_whose_value_changes_and_one_that_goes() -> None:
    there = generation(
        "workers",
        1,
        made(),
        taints=[{"key": "a", "value": "1", "effect": "NO_SCHEDULE"}, {"key": "b", "effect": "NO_EXECUTE"}],
    )
    found = plan.make_plan(
        wanted(overrides={"taints": [{"key": "a", "value": "2", "effect": "NO_SCHEDULE"}]}), seen(there)
    )
    assert after(found.steps[0]) == {
        "taints": {
            "addOrUpdateTaints": [{"key": "a", "value": "2", "effect": "NO_SCHEDULE"}],
            "removeTaints": [{"key": "b", "effect": "NO_EXECUTE"}],
        }
    }


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"overrides": {"subnets": ["subnet-z"]}}, "subnets"),
        ({"overrides": {"nodeRole": "arn:x"}}, "nodeRole"),
        ({"overrides": {"capacityType": "SPOT"}}, "capacityType"),
        ({"overrides": {"instanceTypes": ["m7i.large"]}}, "instanceTypes"),
        pytest.param({"ami_family": "bottlerocket", "user_data": b""}, "amiType", marks=NEEDS_TOMLLIB),
        ({"ami_id": "ami-1"}, "customAmi"),
    ],
)
def test_what_is_set_on_the_group_needs_a_new_one(options: dict[str, Any], why: str) -> None:
    there = generation("workers", 1, made())
    found = plan.make_plan(wanted(**options), seen(there))
    assert found.change == plan.BLUE_GREEN
    assert why in found.reason
    assert found.group_name.startswith("workers-")
    assert found.previous == ("workers",)
    assert create_of(found)["tags"]["daytwo.aws/generation"] == "2"
    with pytest.raises(SysctlError, match="only replaced"):
        plan.make_plan(wanted(strategy="in_place", **options), seen(there))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"security_groups": ["sg-1"]}, "SecurityGroupIds"),
        ({"disk_size": 77}, "BlockDeviceMappings"),
        ({"user_data": b"#!/bin/sh\necho\n"}, "UserData"),
        ({"kubelet_config": {"maxPods": 9}}, "UserData"),
    ],
)
def test_what_is_set_in_the_template_needs_none(options: dict[str, Any], field: str) -> None:
    there = generation("workers", 1, made())
    found = plan.make_plan(wanted(**options), seen(there))
    assert found.change == plan.TEMPLATE
    assert field in found.reason
    replaced = plan.make_plan(wanted(strategy="replace", **options), seen(there))
    assert replaced.change == plan.BLUE_GREEN


def test_an_instance_type_that_stands_in_the_template_changes_there() -> None:
    there = generation("workers", 1, made(InstanceType="m5.large"), instanceTypes=[])
    found = plan.make_plan(wanted(overrides={"instanceTypes": ["m7i.large"]}), seen(there))
    assert (found.change, found.template_data["InstanceType"]) == (plan.TEMPLATE, "m7i.large")


def test_a_group_without_a_template_or_with_a_foreign_one_is_replaced() -> None:
    for there in (group(), group(template=template(KeyName="k"))):
        found = plan.make_plan(wanted(), seen(there))
        assert found.change == plan.BLUE_GREEN
        assert "launchTemplate" in found.reason
        assert actions(found)[0] == "create_template"  # theirs is copied, never edited


def test_a_foreign_template_that_allows_it_already_is_left_alone() -> None:
    theirs = template(UserData=userdata.render(userdata.UserDataRequest("al2023", ["net.core.*"])))
    assert plan.make_plan(wanted(), seen(group(template=theirs))).change == plan.NOTHING


def test_the_replacement_is_found_again_and_the_old_one_is_named() -> None:
    first = plan.make_plan(wanted(), seen(group()))
    new = generation(first.group_name, 2, template(first.template_name, True, **first.template_data))
    again = plan.make_plan(wanted(), seen(group(), new))
    assert (again.change, again.previous, again.group_name) == (plan.NOTHING, ("workers",), first.group_name)


def test_replacement_names_fit_and_differ() -> None:
    long = "w" * 63
    found = plan.make_plan(wanted(name=long), seen(group(long)))
    assert len(found.group_name) == 63
    there = generation(found.group_name, 2, made(found.group_name), subnets=["subnet-a", "subnet-b"])
    other = plan.make_plan(wanted(name=long, strategy="replace", disk_size=70), seen(group(long), there))
    assert other.group_name not in (long, found.group_name)


@pytest.mark.parametrize("options", [{"version": "1.35"}, {"release_version": "1.34.9-1"}])
def test_a_version_change_in_place_must_be_allowed(options: dict[str, Any]) -> None:
    there = generation("workers", 1, made())
    with pytest.raises(SysctlError, match="no way back"):
        plan.make_plan(wanted(**options), seen(there))
    found = plan.make_plan(wanted(allow_version_change=True, **options), seen(there))
    assert actions(found) == ["update_version"]
    assert after(found.steps[0])["version"] == options.get("version", "1.34")


def test_a_failed_group_is_told_with_eks_own_issue() -> None:
    issue = {"code": "NodeCreationFailure", "message": "did not join", "resourceIds": ["i-1"]}
    there = generation("workers", 1, made(), status="CREATE_FAILED", health={"issues": [issue]})
    with pytest.raises(SysctlError, match="NodeCreationFailure: did not join"):
        plan.make_plan(wanted(), seen(there))


def test_the_same_input_gives_the_same_plan() -> None:
    assert plan.make_plan(wanted(), seen(group())) == plan.make_plan(wanted(), seen(group()))


# Freezing


def test_freezing_keeps_the_originals_first_and_thawing_brings_them_back() -> None:
    there = group("old")
    steps = freeze.plan_freeze(there)
    assert [step.action for step in steps] == ["tag", "update_config"]
    assert steps[0].after == {freeze.TAG_SCALING: "1/5/3"}
    assert after(steps[1])["scalingConfig"] == {"minSize": 1, "maxSize": 3, "desiredSize": 3}
    frozen = NodeGroup(
        description(
            "old",
            scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 3},
            taints=[freeze.FROZEN_TAINT],
            tags={freeze.TAG_SCALING: "1/5/3"},
        )
    )
    assert freeze.plan_freeze(frozen) == []
    back = freeze.plan_thaw(frozen)
    assert [step.action for step in back] == ["update_config", "untag"]
    assert after(back[0]) == {
        "scalingConfig": {"minSize": 1, "maxSize": 5, "desiredSize": 3},
        "taints": {"removeTaints": [freeze.FROZEN_TAINT]},
    }
    assert freeze.plan_thaw(there) == []


def test_freezing_an_empty_group_keeps_eks_lower_bound_of_the_maximum() -> None:
    empty = group("old", scalingConfig={"minSize": 0, "maxSize": 5, "desiredSize": 0})
    assert after(freeze.plan_freeze(empty)[1])["scalingConfig"] == {
        "minSize": 0,
        "maxSize": 1,
        "desiredSize": 0,
    }
