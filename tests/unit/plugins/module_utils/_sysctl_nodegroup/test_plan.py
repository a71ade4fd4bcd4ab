# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: which change, why it is the smallest, what is sent, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._plan import Step
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import clone, freeze, plan, userdata
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.errors import SysctlError
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.model import (
    GroupInstance,
    LaunchTemplate,
    NodeGroup,
    NodeGroupState,
    RunningGroup,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._sysctl_nodegroup.groups import (
    CLUSTER,
    NEEDS_TOMLLIB,
    UNSAFE,
    description,
    generation,
    group,
    make_options,
    template,
)

KEEPALIVE = ("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl")
HOPS = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}


def make_managed_template(name: str = "workers", sysctls: tuple[str, ...] = (UNSAFE,), **data: Any) -> LaunchTemplate:
    """A managed template for a group, as an earlier run leaves it."""
    text = userdata.render(userdata.UserDataRequest("al2023", sysctls))
    full = {"MetadataOptions": HOPS, "UserData": text, **data}
    return template(plan.build_template_name("prod", name), True, **full)


def make_state(
    *generations: NodeGroup, source: NodeGroup | None = None, templates: tuple[LaunchTemplate, ...] = (), **more: Any
) -> NodeGroupState:
    known = [*templates, *(group.template for group in generations if group.template)]
    return NodeGroupState(
        replace(CLUSTER, **more), generations, source, {entry.name: entry for entry in known if entry.tags}
    )


def get_create_step(found: plan.NodeGroupPlan) -> dict[str, Any]:
    return dict(next(step.after for step in found.steps if step.action == "create_nodegroup" and step.after))


def after(step: Step) -> dict[str, Any]:
    assert step.after is not None
    return dict(step.after)


def actions(found: plan.NodeGroupPlan) -> list[str]:
    return [step.action for step in found.steps]


# Whether a node group is required


@pytest.mark.parametrize("version", ["1.29", "1.34", "1.37"])
def test_keep_alive_needs_no_group(version: str) -> None:
    found = plan.make_plan(make_options(*KEEPALIVE, clone_from="old"), make_state(source=group("old", version=version)))
    assert (found.change, found.node_group_required, found.steps) == (plan.NOT_REQUIRED, False, ())
    assert "safe since Kubernetes 1.29" in found.reason


def test_the_kubelets_version_decides_not_the_control_planes() -> None:
    lagging = group("old", version="1.28")
    with pytest.raises(SysctlError, match="allow_version_change"):
        plan.make_plan(make_options(*KEEPALIVE, clone_from="old"), make_state(source=lagging, version="1.31"))


def test_force_builds_it_anyway() -> None:
    found = plan.make_plan(make_options(*KEEPALIVE, clone_from="old", force=True), make_state(source=group("old")))
    assert found.change == plan.CREATE


def test_what_bricks_a_kubelet_is_refused_before_anything_else() -> None:
    with pytest.raises(
        SysctlError, match=r"net\*: a kubelet 1.34 refuses to start.*Similar valid patterns: net\.\*"
    ) as caught:
        plan.make_plan(make_options("net*"), make_state(source=group("old")))
    assert caught.value.details["classification"][0]["verdict"] == "impossible"


# A new group from an existing one


def test_a_clone_of_a_group_without_a_template_is_translated() -> None:
    old = group("old", remoteAccess={"ec2SshKey": "key", "sourceSecurityGroups": ["sg-1"]}, diskSize=50)
    found = plan.make_plan(make_options(clone_from="old"), make_state(source=old))
    assert actions(found) == ["create_template", "create_nodegroup"]
    created = get_create_step(found)
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
    found = plan.make_plan(make_options(clone_from="old"), make_state(source=old))
    assert found.template_data["BlockDeviceMappings"] == [{"DeviceName": "/dev/xvdb", "Ebs": {"VolumeSize": 80}}]
    assert found.family == "bottlerocket"


def test_a_template_is_copied_without_what_eks_refuses() -> None:
    user_template = template(
        InstanceType="m5.large",
        IamInstanceProfile={"Name": "x"},
        InstanceMarketOptions={"MarketType": "spot"},
        NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": "subnet-a", "Groups": ["sg-1"]}],
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "aws:x", "Value": "1"}]}],
    )
    found = plan.make_plan(make_options(clone_from="old"), make_state(source=group("old", user_template)))
    data = {key: value for key, value in found.template_data.items() if key != "UserData"}
    assert data == {"InstanceType": "m5.large", "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-1"]}]}
    assert "instanceTypes" not in get_create_step(found)
    assert sum("EKS refuses" in entry for entry in found.not_cloned) == 3


def test_with_a_custom_ami_no_type_and_no_version_is_sent() -> None:
    user_template = template(ImageId="ami-1", UserData=b"#!/bin/bash\n/etc/eks/bootstrap.sh prod\n")
    old = group("old", user_template, amiType="CUSTOM", version="1.34", releaseVersion="ami-1")
    found = plan.make_plan(make_options(clone_from="old"), make_state(source=old))
    assert {"amiType", "version", "releaseVersion"}.isdisjoint(get_create_step(found))
    assert found.family == "al2"
    assert userdata.list_allowed_sysctls("al2", found.user_data) == [UNSAFE]


def test_an_ami_of_unknown_family_needs_ami_family() -> None:
    old = group("old", template(ImageId="ami-1"), amiType="CUSTOM")
    with pytest.raises(SysctlError, match="Set ami_family"):
        plan.make_plan(make_options(clone_from="old"), make_state(source=old))


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
        make_options(clone_from="old", overrides=options, disk_size=99, security_groups=["sg-9"]),
        make_state(source=group("old", template(KeyName="k"))),
    )
    created = get_create_step(found)
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
    created = get_create_step(plan.make_plan(make_options(clone_from="old"), make_state(source=frozen)))
    assert created["scalingConfig"] == {"minSize": 1, "maxSize": 5, "desiredSize": 3}
    assert "taints" not in created


def test_dedicated_adds_label_taint_selector_and_toleration() -> None:
    found = plan.make_plan(make_options(clone_from="old", dedicated=True), make_state(source=group("old")))
    created = get_create_step(found)
    assert created["labels"]["daytwo.aws/sysctls"] == "workers"
    assert created["taints"] == [{"key": "daytwo.aws/sysctls", "value": "workers", "effect": "NO_SCHEDULE"}]
    assert found.node_selector == {"daytwo.aws/sysctls": "workers"}
    assert found.tolerations[0]["value"] == "workers"
    plain = plan.make_plan(make_options(clone_from="old"), make_state(source=group("old")))
    assert "SysctlForbidden" in plain.warnings[0]


def test_every_field_of_botocore_has_its_line() -> None:
    session = pytest.importorskip("botocore.session").get_session()
    model = session.create_client("eks", region_name="eu-central-1").meta.service_model.shape_for("Nodegroup")
    for name, shape in model.members.items():
        assert name in clone.FIELDS
        if shape.type_name == "structure":
            assert all(f"{name}.{inner}" in clone.FIELDS for inner in shape.members), name


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(SysctlError, match="newField"):
        plan.make_plan(make_options(clone_from="old"), make_state(source=group("old", newField={"a": 1})))
    with pytest.raises(SysctlError, match=r"updateConfig\.speed"):
        plan.make_plan(make_options(clone_from="old"), make_state(source=group("old", updateConfig={"speed": 1})))


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
        plan.make_plan(make_options(clone_from="old"), make_state(source=old))
    accepted = get_create_step(
        plan.make_plan(make_options(clone_from="old", accept_shared_role=True), make_state(source=old))
    )
    assert accepted["labels"] == {"team": "a"}
    assert not any(key.startswith(("alpha.", "aws:")) for key in accepted["tags"])
    given = plan.make_plan(make_options(clone_from="old", overrides={"nodeRole": "arn:r"}), make_state(source=old))
    assert get_create_step(given)["nodeRole"] == "arn:r"
    assert old.owner
    assert old.owner.command


def test_windows_and_auto_mode_are_refused_with_a_suggestion() -> None:
    with pytest.raises(SysctlError, match="Windows"):
        plan.make_plan(
            make_options(clone_from="old"), make_state(source=group("old", amiType="WINDOWS_CORE_2022_x86_64"))
        )
    with pytest.raises(SysctlError, match="Auto Mode"):
        plan.make_plan(make_options(), make_state(auto_mode=True))


# Versions


def test_a_lagging_group_is_shown_before_and_after_and_refused() -> None:
    lagging = group("old", version="1.32", releaseVersion="1.32.1-1")
    with pytest.raises(SysctlError, match=r"version 1\.32 to 1\.34") as caught:
        plan.make_plan(make_options(clone_from="old"), make_state(source=lagging))
    assert caught.value.details["before"] == {"version": "1.32"}
    created = get_create_step(
        plan.make_plan(make_options(clone_from="old", allow_version_change=True), make_state(source=lagging))
    )
    assert created["version"] == "1.34"
    assert "releaseVersion" not in created


def test_al2_ends_with_1_32() -> None:
    al2 = group("old", amiType="AL2_x86_64", version="1.32")
    with pytest.raises(SysctlError, match="no AL2 AMIs"):
        plan.make_plan(make_options(clone_from="old", allow_version_change=True), make_state(source=al2))
    newer = make_options(clone_from="old", allow_version_change=True, ami_family="al2023")
    assert get_create_step(plan.make_plan(newer, make_state(source=al2)))["amiType"] == "AL2023_x86_64_STANDARD"


# An existing group


def test_a_second_run_changes_nothing() -> None:
    first = plan.make_plan(make_options(clone_from="old"), make_state(source=group("old")))
    ours = template(first.template_name, True, **first.template_data)
    current = generation("workers", 1, ours)
    again = plan.make_plan(make_options(clone_from="old"), make_state(current, source=group("old")))
    assert (again.change, again.steps) == (plan.NOTHING, ())
    assert again.node_group_required


def test_a_run_that_was_stopped_after_the_template_goes_on() -> None:
    first = plan.make_plan(make_options(clone_from="old"), make_state(source=group("old")))
    left = template(first.template_name, True, **first.template_data)
    again = plan.make_plan(make_options(clone_from="old"), make_state(source=group("old"), templates=(left,)))
    assert actions(again) == ["create_nodegroup"]


def test_a_template_of_the_same_name_that_is_not_ours_is_not_touched() -> None:
    unmanaged = replace(template("daytwo-prod-workers", True), tags={"other": "x"})
    with pytest.raises(SysctlError, match="not managed by this collection"):
        plan.make_plan(make_options(clone_from="old"), make_state(source=group("old"), templates=(unmanaged,)))


def test_other_sysctls_are_a_new_template_version_and_a_rolling_update_to_the_groups_own_versions() -> None:
    current = generation("workers", 1, make_managed_template(), version="1.32", releaseVersion="1.32.5-1")
    found = plan.make_plan(make_options("net.core.*"), make_state(current))
    assert found.change == plan.TEMPLATE
    assert actions(found) == ["create_template_version", "update_version"]
    assert after(found.steps[-1]) == {
        "version": "1.32",
        "releaseVersion": "1.32.5-1",
        "launchTemplate": {"name": "daytwo-prod-workers", "version": "new"},
    }
    assert userdata.list_allowed_sysctls("al2023", found.user_data) == ["net.core.*"]


def test_a_safe_sysctl_with_force_takes_the_last_unsafe_sysctl_off() -> None:
    current = generation("workers", 1, make_managed_template())
    safe = "net.ipv4.tcp_syncookies"
    assert plan.make_plan(make_options(safe), make_state(current)).change == plan.NOT_REQUIRED
    found = plan.make_plan(make_options(safe, force=True), make_state(current))
    assert (found.change, actions(found)) == (plan.TEMPLATE, ["create_template_version", "update_version"])
    assert userdata.list_allowed_sysctls("al2023", found.user_data) == [safe]


def test_labels_taints_and_scaling_are_a_config_update_and_desired_size_stays() -> None:
    current = generation(
        "workers", 1, make_managed_template(), scalingConfig={"minSize": 1, "maxSize": 5, "desiredSize": 4}
    )
    options = {
        "labels": {"team": "b"},
        "taints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}],
        "scalingConfig": {"minSize": 2, "desiredSize": 2},
    }
    found = plan.make_plan(make_options(overrides=options), make_state(current))
    assert (found.change, actions(found)) == (plan.CONFIG, ["update_config"])
    assert after(found.steps[0]) == {
        "labels": {"addOrUpdateLabels": {"team": "b"}},
        "taints": {"addOrUpdateTaints": [{"key": "k", "value": "v", "effect": "NO_SCHEDULE"}]},
        "scalingConfig": {"minSize": 2},
    }
    desired = plan.make_plan(make_options(overrides={"scalingConfig": {"desiredSize": 1}}), make_state(current))
    assert desired.change == plan.NOTHING


def test_omitted_labels_stay_and_reordered_subnets_are_the_same() -> None:
    current = generation("workers", 1, make_managed_template())
    options = {"labels": {"team": "a"}, "subnets": ["subnet-b", "subnet-a"]}
    assert plan.make_plan(make_options(overrides=options), make_state(current)).change == plan.NOTHING


def test_a_taint_whose_value_changes_and_a_taint_that_is_removed() -> None:
    current = generation(
        "workers",
        1,
        make_managed_template(),
        taints=[{"key": "a", "value": "1", "effect": "NO_SCHEDULE"}, {"key": "b", "effect": "NO_EXECUTE"}],
    )
    found = plan.make_plan(
        make_options(overrides={"taints": [{"key": "a", "value": "2", "effect": "NO_SCHEDULE"}]}), make_state(current)
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
def test_a_field_of_the_group_needs_a_blue_green_replacement(options: dict[str, Any], why: str) -> None:
    current = generation("workers", 1, make_managed_template())
    found = plan.make_plan(make_options(**options), make_state(current))
    assert found.change == plan.BLUE_GREEN
    assert why in found.reason
    assert found.group_name.startswith("workers-")
    assert found.previous == ("workers",)
    assert get_create_step(found)["tags"]["daytwo.aws/generation"] == "2"
    with pytest.raises(SysctlError, match="only by a blue/green replacement"):
        plan.make_plan(make_options(strategy="in_place", **options), make_state(current))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"security_groups": ["sg-1"]}, "SecurityGroupIds"),
        ({"disk_size": 77}, "BlockDeviceMappings"),
        ({"user_data": b"#!/bin/sh\necho\n"}, "UserData"),
        ({"kubelet_config": {"maxPods": 9}}, "UserData"),
    ],
)
def test_a_field_of_the_template_needs_a_rolling_update(options: dict[str, Any], field: str) -> None:
    current = generation("workers", 1, make_managed_template())
    found = plan.make_plan(make_options(**options), make_state(current))
    assert found.change == plan.TEMPLATE
    assert field in found.reason
    replaced = plan.make_plan(make_options(strategy="blue_green", **options), make_state(current))
    assert replaced.change == plan.BLUE_GREEN


def test_an_instance_type_that_stands_in_the_template_changes_there() -> None:
    current = generation("workers", 1, make_managed_template(InstanceType="m5.large"), instanceTypes=[])
    found = plan.make_plan(make_options(overrides={"instanceTypes": ["m7i.large"]}), make_state(current))
    assert (found.change, found.template_data["InstanceType"]) == (plan.TEMPLATE, "m7i.large")


def test_a_group_without_a_managed_template_is_replaced() -> None:
    for current in (group(), group(template=template(KeyName="k"))):
        found = plan.make_plan(make_options(), make_state(current))
        assert found.change == plan.BLUE_GREEN
        assert "launchTemplate" in found.reason
        assert actions(found)[0] == "create_template"  # the unmanaged template is copied, never edited


def test_an_unmanaged_template_that_allows_it_already_stays() -> None:
    user_template = template(UserData=userdata.render(userdata.UserDataRequest("al2023", ["net.core.*"])))
    assert plan.make_plan(make_options(), make_state(group(template=user_template))).change == plan.NOTHING


def test_the_replacement_is_found_again_and_the_old_group_is_named() -> None:
    first = plan.make_plan(make_options(), make_state(group()))
    new = generation(first.group_name, 2, template(first.template_name, True, **first.template_data))
    again = plan.make_plan(make_options(), make_state(group(), new))
    assert (again.change, again.previous, again.group_name) == (plan.NOTHING, ("workers",), first.group_name)


def test_replacement_names_fit_and_differ() -> None:
    long = "w" * 63
    found = plan.make_plan(make_options(name=long), make_state(group(long)))
    assert len(found.group_name) == 63
    current = generation(found.group_name, 2, make_managed_template(found.group_name), subnets=["subnet-a", "subnet-b"])
    other = plan.make_plan(
        make_options(name=long, strategy="blue_green", disk_size=70), make_state(group(long), current)
    )
    assert other.group_name not in (long, found.group_name)


@pytest.mark.parametrize("options", [{"version": "1.35"}, {"release_version": "1.34.9-1"}])
def test_a_version_change_in_place_must_be_allowed(options: dict[str, Any]) -> None:
    current = generation("workers", 1, make_managed_template())
    with pytest.raises(SysctlError, match="no way back"):
        plan.make_plan(make_options(**options), make_state(current))
    found = plan.make_plan(make_options(allow_version_change=True, **options), make_state(current))
    assert actions(found) == ["update_version"]
    assert after(found.steps[0])["version"] == options.get("version", "1.34")


def test_a_failed_group_is_reported_with_eks_own_issue() -> None:
    issue = {"code": "NodeCreationFailure", "message": "did not join", "resourceIds": ["i-1"]}
    current = generation("workers", 1, make_managed_template(), status="CREATE_FAILED", health={"issues": [issue]})
    with pytest.raises(SysctlError, match="NodeCreationFailure: did not join"):
        plan.make_plan(make_options(), make_state(current))


def test_a_failed_generation_is_deleted_alone() -> None:
    """The earlier generation may run the workloads: the message suggests nothing that deletes it as well."""
    live = generation("workers", 1, make_managed_template())
    failed = generation("workers-1a2b3c4d", 2, make_managed_template(), status="CREATE_FAILED")
    with pytest.raises(SysctlError, match="delete node group workers-1a2b3c4d alone") as raised:
        plan.make_plan(make_options(), make_state(live, failed))
    assert "force=true" not in str(raised.value)


def test_the_same_input_gives_the_same_plan() -> None:
    assert plan.make_plan(make_options(), make_state(group())) == plan.make_plan(make_options(), make_state(group()))


# Freezing


def test_freezing_keeps_the_originals_first_and_thawing_brings_them_back() -> None:
    current = group("old")
    steps = freeze.plan_freeze(current)
    assert [step.action for step in steps] == ["tag", "update_config", "update_config"]
    assert steps[0].after == {freeze.TAG_SCALING: "1/5/3"}
    assert after(steps[1]) == {"taints": {"addOrUpdateTaints": [freeze.FROZEN_TAINT]}}  # before the bound
    assert after(steps[2]) == {"scalingConfig": {"maxSize": 3}}
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
        "scalingConfig": {"maxSize": 5},
        "taints": {"removeTaints": [freeze.FROZEN_TAINT]},
    }
    assert freeze.plan_thaw(current) == []


def test_freezing_an_empty_group_keeps_eks_lower_bound_of_the_maximum() -> None:
    empty = group("old", scalingConfig={"minSize": 0, "maxSize": 5, "desiredSize": 0})
    assert after(freeze.plan_freeze(empty)[2])["scalingConfig"] == {"maxSize": 1}


# The size of a group, which DescribeNodegroup can be wrong about


def run_of(instances: int, desired: int | None = None, **metadata: Any) -> RunningGroup:
    return RunningGroup(
        tuple(GroupInstance(f"i-{number:08x}", "eu-central-1a", "running", metadata) for number in range(instances)),
        desired,
    )


@pytest.mark.parametrize(
    ("running", "maximum"),
    [
        (run_of(3), 3),
        (run_of(5), 5),  # DescribeNodegroup still shows 3
        (run_of(3, 5), 5),  # two instances are on their way
        (run_of(4, 3), 4),
        (run_of(2, 2), 3),  # DescribeNodegroup is behind a scale-in: EKS does not accept a maximum below its own value
        (None, 3),
    ],
)
def test_a_frozen_maximum_covers_every_node(running: RunningGroup | None, maximum: int) -> None:
    wide = {"minSize": 1, "maxSize": 9, "desiredSize": 3}
    steps = freeze.plan_freeze(replace(group("old", scalingConfig=wide), running=running))
    assert after(steps[-1]) == {"scalingConfig": {"maxSize": maximum}}


@pytest.mark.parametrize(
    ("tag", "current", "nodes", "bounds"),
    [
        ("1/5/3", (1, 3, 3), 3, {"maxSize": 5}),
        ("1/5/3", (1, 3, 3), 1, {"maxSize": 5}),
        ("2/5/3", (1, 3, 3), 3, {"minSize": 2, "maxSize": 5}),
        ("4/6/4", (1, 3, 3), 3, {"minSize": 3, "maxSize": 6}),  # EKS accepts no minimum above the nodes
        ("1/2/2", (1, 4, 2), 4, None),  # a maximum of 2 would end two nodes
    ],
)
def test_thawing_restores_bounds_and_no_size(
    tag: str, current: tuple[int, int, int], nodes: int, bounds: dict[str, int] | None
) -> None:
    sizes = dict(zip(("minSize", "maxSize", "desiredSize"), current))
    frozen = replace(group("old", scalingConfig=sizes, tags={freeze.TAG_SCALING: tag}), running=run_of(nodes, nodes))
    steps = freeze.plan_thaw(frozen)
    assert [after(step).get("scalingConfig") for step in steps if step.action == "update_config"] == (
        [bounds] if bounds else []
    )
    assert steps[-1].action == "untag"


@pytest.mark.parametrize(
    ("bounds", "nodes", "rejected"),
    [
        ({"maxSize": 4}, 4, None),
        ({"maxSize": 3}, 4, "a maximum below that ends nodes"),
        ({"minSize": 4}, 4, None),
        ({"minSize": 5}, 4, "EKS accepts no minimum above that"),
        ({"minSize": 6}, 4, "the minimum is above the maximum"),
    ],
)
def test_bounds_never_move_the_number_of_nodes(bounds: dict[str, int], nodes: int, rejected: str | None) -> None:
    current = generation("workers", 1, make_managed_template())  # shows 1 to 5 nodes, and 3 of them
    state = make_state(replace(current, running=run_of(nodes, nodes)))
    options = make_options(overrides={"scalingConfig": {**bounds, "desiredSize": 1}})
    if rejected:
        with pytest.raises(SysctlError, match=rejected):
            plan.make_plan(options, state)
        return
    assert after(plan.make_plan(options, state).steps[0]) == {"scalingConfig": bounds}


def test_a_clone_begins_with_the_size_that_its_source_really_has() -> None:
    source = replace(group("old"), running=run_of(4, 4))
    created = get_create_step(plan.make_plan(make_options(clone_from="old"), make_state(source=source)))
    assert created["scalingConfig"] == {"minSize": 1, "maxSize": 5, "desiredSize": 4}
    narrow = make_options(clone_from="old", overrides={"scalingConfig": {"maxSize": 2}})
    created = get_create_step(plan.make_plan(narrow, make_state(source=source)))
    assert created["scalingConfig"] == {"minSize": 1, "maxSize": 2, "desiredSize": 2}
    wrong = make_options(clone_from="old", overrides={"scalingConfig": {"desiredSize": 9}})
    with pytest.raises(SysctlError, match="minimum 1, desired 9, maximum 5"):
        plan.make_plan(wrong, make_state(source=source))


# A source of which something is missing, and fields whose use depends on the group


@pytest.mark.parametrize("ami_type", ["AL2023_x86_64_STANDARD", "CUSTOM"])
def test_a_source_whose_template_is_deleted_is_refused(ami_type: str) -> None:
    reference = {"id": "lt-9", "name": "gone", "version": "7"}
    source = group("old", amiType=ami_type, launchTemplate=reference)
    with pytest.raises(SysctlError, match="launch template gone version 7 does not exist any more"):
        plan.make_plan(make_options(clone_from="old"), make_state(source=source))
    adopted = group("workers", amiType=ami_type, launchTemplate=reference)
    with pytest.raises(SysctlError, match="launch template gone version 7 does not exist any more"):
        plan.make_plan(make_options(), make_state(adopted))


@pytest.mark.parametrize("field", ["endpoint", "certificate_authority", "service_cidr"])
def test_a_custom_ami_in_a_cluster_that_is_incomplete_is_refused(field: str) -> None:
    with pytest.raises(SysctlError, match="DescribeCluster of prod returned no"):
        plan.make_plan(make_options(clone_from="old", ami_id="ami-1"), make_state(source=group("old"), **{field: ""}))


BLOCK: dict[str, Any] = {
    "InstanceType": "p5.48xlarge",
    "InstanceMarketOptions": {"MarketType": "capacity-block"},
    "CapacityReservationSpecification": {"CapacityReservationTarget": {"CapacityReservationId": "cr-1"}},
}


def test_a_capacity_block_keeps_its_market_and_its_reservation() -> None:
    source = group("old", template(**BLOCK), capacityType="CAPACITY_BLOCK")
    found = plan.make_plan(make_options(clone_from="old"), make_state(source=source))
    assert {key: found.template_data[key] for key in BLOCK} == BLOCK
    assert not any("market" in entry for entry in found.not_cloned)


@pytest.mark.parametrize(
    ("market", "capacity_type"),
    [("spot", "ON_DEMAND"), ("spot", "SPOT"), ("capacity-block", "ON_DEMAND"), ("another", "CAPACITY_BLOCK")],
)
def test_other_markets_are_dropped_and_listed(market: str, capacity_type: str) -> None:
    data = {**BLOCK, "InstanceMarketOptions": {"MarketType": market}}
    source = group("old", template(**data), capacityType=capacity_type)
    options = make_options(clone_from="old")
    if capacity_type == "CAPACITY_BLOCK":
        with pytest.raises(SysctlError, match="MarketType capacity-block"):
            plan.make_plan(options, make_state(source=source))
        return
    found = plan.make_plan(options, make_state(source=source))
    assert "InstanceMarketOptions" not in found.template_data
    assert any(f"market type {market}" in entry for entry in found.not_cloned)


@pytest.mark.parametrize("missing", sorted(BLOCK))
def test_a_capacity_block_without_what_eks_requires_is_refused(missing: str) -> None:
    data = {key: value for key, value in BLOCK.items() if key != missing}
    source = group("old", template(**data), capacityType="CAPACITY_BLOCK")
    with pytest.raises(SysctlError, match=missing):
        plan.make_plan(make_options(clone_from="old"), make_state(source=source))


def test_security_groups_go_into_the_network_interfaces_where_there_are_some() -> None:
    interfaces = [{"DeviceIndex": 0, "Groups": ["sg-old"]}, {"DeviceIndex": 1, "InterfaceType": "efa"}]
    source = group("old", template(InstanceType="m5.large", NetworkInterfaces=interfaces))
    found = plan.make_plan(make_options(clone_from="old", security_groups=["sg-1"]), make_state(source=source))
    assert "SecurityGroupIds" not in found.template_data
    groups = ["sg-1", "sg-cluster"]
    assert [entry["Groups"] for entry in found.template_data["NetworkInterfaces"]] == [groups, groups]
    named = group("old", template(SecurityGroups=["by-name"]))
    found = plan.make_plan(make_options(clone_from="old", security_groups=["sg-1"]), make_state(source=named))
    assert (found.template_data["SecurityGroupIds"], "SecurityGroups" in found.template_data) == (groups, False)


def test_security_groups_that_the_interfaces_of_an_unmanaged_template_have_already_change_nothing() -> None:
    data = userdata.render(userdata.UserDataRequest("al2023", ["net.core.*"]))
    interfaces = [{"DeviceIndex": 0, "Groups": ["sg-1", "sg-cluster"]}]
    current = group(template=template(UserData=data, NetworkInterfaces=interfaces))
    assert plan.make_plan(make_options(security_groups=["sg-1"]), make_state(current)).change == plan.NOTHING


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_hop_limit_of_a_running_instance_stays(hops: int) -> None:
    shown = {"State": "applied", "HttpTokens": "required", "HttpPutResponseHopLimit": hops, "HttpEndpoint": "enabled"}
    source = replace(group("old"), running=run_of(1, 1, **shown))
    found = plan.make_plan(make_options(clone_from="old"), make_state(source=source))
    assert found.template_data["MetadataOptions"] == {key: shown[key] for key in shown if key != "State"}
    assert not any("hop limit" in entry for entry in found.not_cloned)
    empty = plan.make_plan(make_options(clone_from="old"), make_state(source=group("old")))
    assert any("no running instance shows: the hop limit becomes 2" in entry for entry in empty.not_cloned)


POOL = {"enabled": True, "minSize": 1, "poolState": "STOPPED"}


@pytest.mark.parametrize(
    ("pool", "options", "reason"),
    [
        (POOL, {}, ""),
        (POOL, {"ami_id": "ami-1"}, "no warm pools with a custom AMI"),
        pytest.param(POOL, {"ami_family": "bottlerocket"}, "", marks=NEEDS_TOMLLIB),
        pytest.param(
            {**POOL, "poolState": "HIBERNATED"}, {"ami_family": "bottlerocket"}, "no hibernated", marks=NEEDS_TOMLLIB
        ),
        pytest.param(
            {**POOL, "reuseOnScaleIn": True}, {"ami_family": "bottlerocket"}, "does not reuse", marks=NEEDS_TOMLLIB
        ),
    ],
)
def test_a_warm_pool_that_eks_does_not_support_is_listed(
    pool: dict[str, Any], options: dict[str, Any], reason: str
) -> None:
    source = group("old", warmPoolConfig=pool)
    found = plan.make_plan(make_options(clone_from="old", **options), make_state(source=source))
    assert get_create_step(found).get("warmPoolConfig") == (None if reason else pool)
    assert any(reason in entry for entry in found.not_cloned)
    assert any("warm pool" in entry for entry in found.not_cloned) == bool(reason)
