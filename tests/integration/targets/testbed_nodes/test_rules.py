# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's rules for node groups and launch templates, in this process. Tests show what plain moto accepts, and that
the bed responds as AWS does, with an error code of the call in botocore's model."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import AmiBackend
from testbed import aws as rules
from testbed.aws import ec2_templates, eks_life
from testbed.aws.clock import CLOCK

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/node"
SIZES = {"minSize": 1, "maxSize": 3, "desiredSize": 2}
Changes = dict[str, Any]


@functools.cache
def client(service: str) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client(service, REGION, **keys, config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(AmiBackend, "_load_amis", lambda self: None)  # no test needs these thousand images
    CLOCK.reset()
    eks_life.set_settings()
    ec2_templates.set_settings()
    with mock_aws():
        yield
    CLOCK.reset()
    eks_life.set_settings()
    ec2_templates.set_settings()


@pytest.fixture
def ruled() -> Iterator[None]:
    with rules.installed(rules.load()):
        yield


def subnets() -> list[str]:
    return [subnet["SubnetId"] for subnet in client("ec2").describe_subnets()["Subnets"]]


def cluster(version: str = "1.34") -> None:
    network = {"subnetIds": subnets()[:2]}
    client("eks").create_cluster(
        name="prod", version=version, roleArn="arn:aws:iam::123456789012:role/cluster", resourcesVpcConfig=network
    )
    # With the bed's rules for clusters, the cluster would be CREATING for some time.
    eks_life.edit(REGION, "prod", status="ACTIVE", testbed_due=None, version=version)


def template(**data: Any) -> str:
    made = client("ec2").create_launch_template(
        LaunchTemplateName="kubelets", LaunchTemplateData=data or {"KeyName": "k"}
    )
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def create(name: str = "workers", **more: Any) -> Changes:
    request = {"clusterName": "prod", "nodegroupName": name, "subnets": subnets()[:2], "nodeRole": ROLE, **more}
    group: Changes = client("eks").create_nodegroup(**{k: v for k, v in request.items() if v is not None})["nodegroup"]
    return group


def group(name: str = "workers") -> Changes:
    found: Changes = client("eks").describe_nodegroup(clusterName="prod", nodegroupName=name)["nodegroup"]
    return found


def active(**more: Any) -> Changes:
    create(**more)
    CLOCK.advance(60)
    assert group()["status"] == "ACTIVE"
    return group()


def by_template(**more: Any) -> Callable[[Changes], Changes]:
    """A request with a launch template that holds this data."""
    return lambda request: {"launchTemplate": {"id": template(**more)}, **request}


def refusal(act: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        act()
    error = caught.value.response["Error"]
    shapes = client("eks").meta.service_model.operation_model(caught.value.operation_name).error_shapes
    assert error["Code"] in {shape.name for shape in shapes} or caught.value.operation_name.endswith("Versions")
    return error["Code"], error["Message"]


# What CreateNodegroup refuses: the request, which its test builds; the error code; a part of the message

PLAIN: Callable[[Changes], Changes] = dict
INVALID = "InvalidParameterException"
REFUSED: dict[str, tuple[Callable[[Changes], Changes], Changes, str, str]] = {
    "name and id": (
        lambda request: {**request, "launchTemplate": {"id": template(), "name": "kubelets"}},
        {},
        INVALID,
        "either the launch template ID or the launch template name",
    ),
    "neither name nor id": (PLAIN, {"launchTemplate": {"version": "1"}}, INVALID, "either the launch template ID"),
    "no such template": (PLAIN, {"launchTemplate": {"name": "nowhere"}}, "InvalidRequestException", "does not exist"),
    "no such version": (
        lambda request: {**request, "launchTemplate": {"id": template(), "version": "7"}},
        {},
        "InvalidRequestException",
        "Could not find the specified version 7",
    ),
    "instance types twice": (
        by_template(InstanceType="m5.large"),
        {"instanceTypes": ["m5.large"]},
        "InvalidRequestException",
        "Cannot specify instance types in launch template and API request",
    ),
    "image and amiType": (
        by_template(ImageId="ami-1"),
        {"amiType": "AL2023_x86_64_STANDARD"},
        INVALID,
        "You cannot specify an AMI Type other than CUSTOM, when specifying an image id in your launch template.",
    ),
    "image and version": (by_template(ImageId="ami-1"), {"version": "1.34"}, INVALID, "specify a kubernetes version"),
    "image and release": (
        by_template(ImageId="ami-1"),
        {"releaseVersion": "1.34.2-20261112"},
        INVALID,
        "You cannot specify the field releaseVersion when using custom AMIs.",
    ),
    "custom without image": (PLAIN, {"amiType": "CUSTOM"}, INVALID, "must specify an image id"),
    "subnet in the template": (
        by_template(NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": "subnet-1"}]),
        {},
        INVALID,
        "Subnet IDs cannot be specified",
    ),
    "profile in the template": (by_template(IamInstanceProfile={"Name": "p"}), {}, INVALID, "IAM instance profile"),
    "hibernation": (by_template(HibernationOptions={"Configured": True}), {}, INVALID, "Hibernation options"),
    "spot in the template": (
        by_template(InstanceMarketOptions={"MarketType": "spot"}),
        {},
        INVALID,
        "Instance market options are not supported with the launch template.",
    ),
    "terminate options": (
        by_template(InstanceInitiatedShutdownBehavior="terminate"),
        {},
        INVALID,
        "termination options are not supported",
    ),
    "termination of the template's instances": (
        by_template(DisableApiTermination=True),
        {},
        INVALID,
        "termination options are not supported",
    ),
    "another version": (PLAIN, {"version": "1.33"}, INVALID, "Allowed kubernetes version is 1.34"),
    "AL2 on 1.34": (
        PLAIN,
        {"amiType": "AL2_x86_64"},
        INVALID,
        "only supported for kubernetes versions 1.32 or earlier",
    ),
    "another version's release": (
        PLAIN,
        {"releaseVersion": "1.33.3-20261001"},
        INVALID,
        "Requested release version 1.33.3-20261001 is not valid for kubernetes version 1.34.",
    ),
    "a release of the future": (PLAIN, {"releaseVersion": "1.34.9-20991231"}, INVALID, "is not valid for"),
    "min above desired": (
        PLAIN,
        {"scalingConfig": {"minSize": 3, "maxSize": 3, "desiredSize": 2}},
        INVALID,
        "minSize can't be greater than desiredSize",
    ),
    "desired above max": (
        PLAIN,
        {"scalingConfig": {"minSize": 1, "maxSize": 2, "desiredSize": 3}},
        INVALID,
        "desiredSize can't be greater than maxSize",
    ),
    "min above max": (
        PLAIN,
        {"scalingConfig": {"minSize": 3, "maxSize": 2, "desiredSize": 2}},
        INVALID,
        "minSize can't be greater than maxSize",
    ),
    "no subnets": (PLAIN, {"subnets": []}, INVALID, "Subnets are required"),
    "a subnet that is not there": (
        PLAIN,
        {"subnets": ["subnet-0123"]},
        INVALID,
        "The subnet ID 'subnet-0123' does not",
    ),
    "unavailable twice": (
        PLAIN,
        {"updateConfig": {"maxUnavailable": 1, "maxUnavailablePercentage": 10}},
        INVALID,
        "cannot both be specified",
    ),
    "unavailable beyond 100": (PLAIN, {"updateConfig": {"maxUnavailable": 101}}, INVALID, "between 1 and 100"),
    "an empty update configuration": (PLAIN, {"updateConfig": {}}, INVALID, "is required"),
    "repair twice": (
        PLAIN,
        {"nodeRepairConfig": {"maxParallelNodesRepairedCount": 1, "maxParallelNodesRepairedPercentage": 10}},
        INVALID,
        "maxParallelNodesRepairedCount and maxParallelNodesRepairedPercentage cannot both be specified",
    ),
    "unhealthy twice": (
        PLAIN,
        {"nodeRepairConfig": {"maxUnhealthyNodeThresholdCount": 1, "maxUnhealthyNodeThresholdPercentage": 10}},
        INVALID,
        "maxUnhealthyNodeThresholdCount and maxUnhealthyNodeThresholdPercentage cannot both be specified",
    ),
}


@pytest.mark.full
@pytest.mark.parametrize("name", REFUSED)
def test_plain_moto_creates_what_eks_does_not(name: str) -> None:
    prepare, request, _code, _message_part = REFUSED[name]
    cluster()
    assert create(**prepare(request))["status"] == "ACTIVE"


@pytest.mark.parametrize("name", REFUSED)
def test_the_bed_refuses_it(ruled: None, name: str) -> None:
    prepare, request, code, message_part = REFUSED[name]
    cluster()
    actual, message = refusal(lambda: create(**prepare(request)))
    assert actual == code
    assert message_part in message
    assert client("eks").list_nodegroups(clusterName="prod")["nodegroups"] == []


def subnet_of_another_vpc() -> str:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    return str(ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"])


@pytest.mark.full
def test_plain_moto_takes_a_subnet_of_another_network() -> None:
    cluster()
    assert create(subnets=[subnet_of_another_vpc()])


def test_the_bed_wants_the_network_of_the_cluster(ruled: None) -> None:
    cluster()
    assert "not in the same VPC" in refusal(lambda: create(subnets=[subnet_of_another_vpc()]))[1]


def reported_first() -> None:
    code, message = refusal(lambda: create(diskSize=30, launchTemplate={"name": "nowhere"}))
    assert (code, message) == (INVALID, "Disk size must be specified within the launch template.")
    access = {"ec2SshKey": "k"}
    code, message = refusal(lambda: create(remoteAccess=access, launchTemplate={"name": "nowhere"}))
    assert (code, message) == (INVALID, "Remote access configuration cannot be specified with a launch template.")


@pytest.mark.full
def test_plain_moto_reports_disk_and_access_as_eks_does() -> None:
    cluster()
    reported_first()


def test_disk_and_access_are_reported_before_what_the_bed_reads_from_the_template(ruled: None) -> None:
    cluster()
    reported_first()


def test_a_missing_cluster_and_a_name_in_use_are_reported_first(ruled: None) -> None:
    with pytest.raises(ClientError, match="No cluster found for name: prod"):  # moto checks it in the service itself
        create(version="0.1")
    cluster()
    create()
    assert refusal(lambda: create(version="0.1"))[0] == "ResourceInUseException"


@pytest.mark.parametrize("version", ["1.32", "1.29"])
def test_al2_is_there_up_to_1_32(ruled: None, version: str) -> None:
    cluster(version)
    assert create(amiType="AL2_x86_64")["amiType"] == "AL2_x86_64"


def test_custom_images_may_have_the_type_custom(ruled: None) -> None:
    cluster()
    shown = create(launchTemplate={"id": template(ImageId="ami-1")}, amiType="CUSTOM")
    assert (shown["amiType"], shown["releaseVersion"], shown["version"]) == ("CUSTOM", "ami-1", "1.34")


# Shown values and durations


@pytest.mark.full
def test_plain_moto_lies_about_defaults() -> None:
    cluster()
    shown = create(updateConfig={"maxUnavailable": 2}, nodeRepairConfig={"enabled": True})
    assert shown["version"] == "1.19"
    assert "remoteAccess" in shown
    assert "updateConfig" not in shown
    assert "nodeRepairConfig" not in shown
    create("second")
    client("eks").update_nodegroup_config(clusterName="prod", nodegroupName="second", scalingConfig={"minSize": 1})
    assert group()["scalingConfig"]["minSize"] == 1  # the value of the other group


def test_the_bed_shows_the_truth(ruled: None) -> None:
    cluster()
    shown = create(updateConfig={"maxUnavailable": 2}, nodeRepairConfig={"enabled": True}, scalingConfig=SIZES)
    assert (shown["status"], shown["version"], shown["amiType"]) == ("CREATING", "1.34", "AL2023_x86_64_STANDARD")
    assert shown["releaseVersion"].startswith("1.34.")
    assert (shown["diskSize"], shown["instanceTypes"], shown["updateConfig"]) == (
        20,
        ["t3.medium"],
        {"maxUnavailable": 2},
    )
    assert shown["nodeRepairConfig"] == {"enabled": True}
    assert "remoteAccess" not in shown
    create("second", launchTemplate={"id": template(InstanceType="m5.large")}, scalingConfig=SIZES)
    second = group("second")
    assert ("diskSize" in second, "instanceTypes" in second) == (False, False)
    assert (second["launchTemplate"]["name"], second["launchTemplate"]["version"]) == ("kubelets", "1")
    assert second["updateConfig"] == {"maxUnavailable": 1}
    CLOCK.advance(60)
    client("eks").update_nodegroup_config(
        clusterName="prod", nodegroupName="second", scalingConfig={"minSize": 0, "desiredSize": 1}
    )
    assert (group()["scalingConfig"], group("second")["scalingConfig"]["minSize"]) == (SIZES, 0)


@pytest.mark.full
def test_plain_moto_creates_and_deletes_at_once() -> None:
    cluster()
    assert create()["status"] == "ACTIVE"
    gone = client("eks").delete_nodegroup(clusterName="prod", nodegroupName="workers")["nodegroup"]
    assert gone["status"] == "ACTIVE"
    assert client("eks").list_nodegroups(clusterName="prod")["nodegroups"] == []
    for act in (delete, lambda: configure(scalingConfig={"desiredSize": 1})):
        assert refusal(act)[0] == "ResourceNotFoundException"
    client("eks").delete_cluster(name="prod")


def test_a_group_comes_and_goes_in_its_time(ruled: None) -> None:
    cluster()
    create()
    assert group()["status"] == "CREATING"
    CLOCK.advance(21)
    assert group()["status"] == "ACTIVE"
    gone = client("eks").delete_nodegroup(clusterName="prod", nodegroupName="workers")["nodegroup"]
    assert gone["status"] == group()["status"] == "DELETING"
    for act in (delete, lambda: configure(scalingConfig={"desiredSize": 1}), newer):
        assert refusal(act)[0] == "ResourceInUseException"
    assert refusal(lambda: client("eks").delete_cluster(name="prod"))[0] == "ResourceInUseException"
    CLOCK.advance(21)
    client("eks").delete_cluster(name="prod")
    assert client("eks").list_clusters()["clusters"] == []


def test_a_group_whose_time_to_go_is_up_is_gone(ruled: None) -> None:
    cluster()
    active()
    delete()
    CLOCK.advance(21)
    assert refusal(group)[0] == "ResourceNotFoundException"


def test_a_group_that_fails_shows_why(ruled: None) -> None:
    cluster()
    issue = {"code": "NodeCreationFailure", "message": eks_life.NOT_JOINED, "resourceIds": ["i-1"]}
    eks_life.set_settings(failing_creates={"workers": issue})
    create()
    CLOCK.advance(21)
    assert (group()["status"], group()["health"]["issues"]) == ("CREATE_FAILED", [issue])


@pytest.mark.full
def test_plain_moto_fails_on_a_list_of_no_cluster() -> None:
    with pytest.raises(KeyError):
        client("eks").list_nodegroups(clusterName="nowhere")


def test_the_bed_lists_no_groups_of_no_cluster(ruled: None) -> None:
    code, _message = refusal(lambda: client("eks").list_nodegroups(clusterName="nowhere"))
    assert code == "ResourceNotFoundException"


# Updates of a group's settings


def configure(**more: Any) -> Changes:
    answer = client("eks").update_nodegroup_config(clusterName="prod", nodegroupName="workers", **more)
    update: Changes = answer["update"]
    return update


def outcome(update: Changes) -> Changes:
    answer = client("eks").describe_update(name="prod", nodegroupName="workers", updateId=update["id"])
    shown: Changes = answer["update"]
    return shown


@pytest.mark.full
def test_plain_moto_updates_at_once_and_forgets() -> None:
    cluster()
    create(scalingConfig=SIZES)
    update = configure(scalingConfig={"minSize": 3, "desiredSize": 1})
    assert update["status"] == "Successful"
    assert group()["status"] == "ACTIVE"
    configure(labels={"addOrUpdateLabels": {"team": "blue"}})  # a second update is accepted at once
    with pytest.raises(NotImplementedError):
        outcome(update)
    with pytest.raises(NotImplementedError):
        client("eks").list_updates(name="prod", nodegroupName="workers")


def test_a_settings_update_takes_its_time(ruled: None) -> None:
    cluster()
    active(scalingConfig=SIZES)
    update = configure(labels={"addOrUpdateLabels": {"team": "blue"}}, scalingConfig={"desiredSize": 3})
    assert (update["type"], update["status"], group()["status"]) == ("ConfigUpdate", "InProgress", "UPDATING")
    assert {"type": "DesiredSize", "value": "3"} in update["params"]
    for act in (lambda: configure(scalingConfig={"desiredSize": 1}), newer, delete):
        assert refusal(act)[0] == "ResourceInUseException"
    CLOCK.advance(6)
    assert outcome(update)["status"] == "Successful"
    assert (group()["status"], group()["labels"], group()["scalingConfig"]["desiredSize"]) == (
        "ACTIVE",
        {"team": "blue"},
        3,
    )


def delete() -> None:
    client("eks").delete_nodegroup(clusterName="prod", nodegroupName="workers")


OUT_OF_BOUNDS: list[tuple[Changes, str]] = [
    ({"scalingConfig": {"minSize": 3}}, "Minimum capacity 3 can't be greater than desired size 2"),
    ({"scalingConfig": {"maxSize": 1, "minSize": 0}}, "Desired capacity 2 can't be greater than max size 1"),
    ({"scalingConfig": {"minSize": 2, "maxSize": 1, "desiredSize": 1}}, "minSize can't be greater than maxSize"),
    ({"updateConfig": {"maxUnavailable": 1, "maxUnavailablePercentage": 5}}, "cannot both be specified"),
    ({"updateConfig": {"maxUnavailable": 101}}, "between 1 and 100"),
    (
        {"nodeRepairConfig": {"maxParallelNodesRepairedCount": 1, "maxParallelNodesRepairedPercentage": 5}},
        "cannot both be specified",
    ),
    ({}, "At least one of the parameters"),
]


@pytest.mark.full
@pytest.mark.parametrize(("change", "message_part"), OUT_OF_BOUNDS)
def test_plain_moto_knows_no_bounds_of_settings(change: Changes, message_part: str) -> None:
    cluster()
    create(scalingConfig=SIZES)
    assert configure(**change)["status"] == "Successful"


@pytest.mark.parametrize(("change", "message_part"), OUT_OF_BOUNDS)
def test_settings_have_bounds(ruled: None, change: Changes, message_part: str) -> None:
    cluster()
    active(scalingConfig=SIZES)
    code, message = refusal(lambda: configure(**change))
    assert code == INVALID
    assert message_part in message
    assert (group()["status"], group()["scalingConfig"]) == ("ACTIVE", SIZES)


# Updates of a group's version


def newer(**more: Any) -> Changes:
    answer = client("eks").update_nodegroup_version(clusterName="prod", nodegroupName="workers", **more)
    update: Changes = answer["update"]
    return update


def upgrade_cluster(version: str = "1.35") -> None:
    eks_life.edit(REGION, "prod", version=version)


@pytest.mark.full
def test_plain_moto_has_no_version_updates() -> None:
    cluster()
    create()
    with pytest.raises((ClientError, NotImplementedError)):
        newer()


def test_with_no_version_a_group_goes_to_the_clusters(ruled: None) -> None:
    """A new template version without a Kubernetes version upgrades the kubelets."""
    cluster()
    lt = template(UserData=encoded(MIME))
    active(launchTemplate={"id": lt})
    upgrade_cluster()
    client("ec2").create_launch_template_version(LaunchTemplateId=lt, LaunchTemplateData={"KeyName": "k"})
    update = newer(launchTemplate={"id": lt, "version": "2"})
    assert {"type": "LaunchTemplateVersion", "value": "2"} in update["params"]
    assert (group()["version"], group()["launchTemplate"]["version"]) == ("1.34", "1")
    CLOCK.advance(21)
    assert outcome(update)["status"] == "Successful"
    assert (group()["version"], group()["launchTemplate"]["version"]) == ("1.35", "2")


def test_with_its_own_version_and_release_a_group_stays(ruled: None) -> None:
    cluster()
    lt = template()
    before = active(launchTemplate={"id": lt}, releaseVersion="1.34.1-20260901")
    upgrade_cluster()
    client("ec2").create_launch_template_version(LaunchTemplateId=lt, LaunchTemplateData={"KeyName": "k"})
    newer(launchTemplate={"id": lt, "version": "2"}, version=before["version"], releaseVersion=before["releaseVersion"])
    CLOCK.advance(21)
    kept = {name: group()[name] for name in ("version", "releaseVersion")}
    assert kept == {"version": "1.34", "releaseVersion": "1.34.1-20260901"}


def test_a_failed_update_leaves_the_group_active(ruled: None) -> None:
    cluster()
    active()
    message = "Reached max retries while trying to evict pods from nodes in node group workers"
    error = {"errorCode": "PodEvictionFailure", "errorMessage": message, "resourceIds": ["ip-10-0-0-1"]}
    eks_life.set_settings(failing_updates={"workers": error})
    upgrade_cluster()
    update = newer()
    CLOCK.advance(21)
    assert (outcome(update)["status"], outcome(update)["errors"]) == ("Failed", [error])
    assert (group()["status"], group()["version"]) == ("ACTIVE", "1.34")


def custom() -> None:
    active(launchTemplate={"id": template(ImageId="ami-1")})


def stock() -> None:
    active(launchTemplate={"id": template()})


def al2() -> None:
    """On a cluster of a version with AL2. The test upgrades the cluster."""
    client("eks").delete_cluster(name="prod")
    cluster("1.32")
    active(amiType="AL2_x86_64")


def typed() -> None:
    active(launchTemplate={"id": template()}, instanceTypes=["m5.large"])


def second(**data: Any) -> Changes:
    client("ec2").create_launch_template_version(LaunchTemplateName="kubelets", LaunchTemplateData=data)
    return {"launchTemplate": {"name": "kubelets", "version": "$Latest"}}


def other() -> Changes:
    client("ec2").create_launch_template(LaunchTemplateName="other", LaunchTemplateData={"KeyName": "k"})
    return {"launchTemplate": {"name": "other"}}


NOT_UPDATED: dict[str, tuple[Callable[[], Any], Callable[[], Changes], str]] = {
    "custom with version": (custom, lambda: {"version": "1.34"}, "the field kubernetesVersion when using custom AMIs."),
    "custom with release": (
        custom,
        lambda: {"releaseVersion": "1.34.1-20260901"},
        "the field releaseVersion when using",
    ),
    "custom to stock": (custom, lambda: second(KeyName="k"), "between a custom AMI and an EKS optimized AMI"),
    "stock to custom": (stock, lambda: second(ImageId="ami-1"), "between a custom AMI and an EKS optimized AMI"),
    "another template": (stock, other, "a different launch template"),
    "a first template": (active, other, "created without one"),
    "a profile": (stock, lambda: second(IamInstanceProfile={"Name": "p"}), "IAM instance profile"),
    "a newer version than the cluster's": (stock, lambda: {"version": "1.36"}, "newer than the cluster's"),
    "AL2 beyond 1.32": (al2, dict, "only supported for kubernetes versions 1.32 or earlier"),
    "instance types twice": (typed, lambda: second(InstanceType="m5.large"), "Cannot specify instance types"),
    "back to an older version": (stock, lambda: {"version": "1.33"}, "cannot go back from 1.34 to 1.33"),
    "back to an older release": (
        stock,
        lambda: {"version": "1.34", "releaseVersion": "1.34.1-20260101"},
        "cannot go back",
    ),
}


@pytest.mark.parametrize("name", NOT_UPDATED)
def test_some_changes_need_another_group(ruled: None, name: str) -> None:
    make, request, message_part = NOT_UPDATED[name]
    cluster()
    make()
    upgrade_cluster()
    code, message = refusal(lambda: newer(**request()))
    assert code == ("InvalidRequestException" if make is typed else INVALID)
    assert message_part in message
    assert group()["status"] == "ACTIVE"


def test_updates_are_listed_in_pages(ruled: None) -> None:
    cluster()
    active(scalingConfig=SIZES)
    made = []
    for size in (1, 2, 3):
        made.append(configure(scalingConfig={"desiredSize": size})["id"])
        CLOCK.advance(6)
    pages = (
        client("eks")
        .get_paginator("list_updates")
        .paginate(name="prod", nodegroupName="workers", PaginationConfig={"PageSize": 2})
    )
    assert [page["updateIds"] for page in pages] == [made[:2], made[2:]]
    assert client("eks").list_updates(name="prod")["updateIds"] == []
    code, _message = refusal(lambda: client("eks").describe_update(name="prod", updateId=made[0]))
    assert code == "ResourceNotFoundException"


# User data that EKS cannot merge with its own

MIME = b'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="B"\n\n--B\n\n\n--B--\n'
LINUX, BOTTLEROCKET = "AL2023_x86_64_STANDARD", "BOTTLEROCKET_x86_64"
UNUSABLE = [
    (LINUX, b"#!/bin/sh\n", "User data was not in the MIME multipart format."),
    (BOTTLEROCKET, MIME, "not in the TOML format"),
    (BOTTLEROCKET, b'[settings."kubernetes"]\n', "quoted keys"),
    (BOTTLEROCKET, b'[settings.motd]\na = "b\\"c"\n', "escaped quotes"),
    (BOTTLEROCKET, b'[settings.motd]\na = [1, "b"]\n', "mixed types"),
]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.full
@pytest.mark.parametrize(("ami_type", "data", "message_part"), UNUSABLE)
def test_plain_moto_takes_any_user_data(ami_type: str, data: bytes, message_part: str) -> None:
    cluster()
    assert create(amiType=ami_type, launchTemplate={"id": template(UserData=encoded(data))})["status"] == "ACTIVE"


@pytest.mark.parametrize(("ami_type", "data", "message_part"), UNUSABLE)
def test_a_group_fails_on_user_data_that_eks_cannot_read(
    ruled: None, ami_type: str, data: bytes, message_part: str
) -> None:
    cluster()
    create(amiType=ami_type, launchTemplate={"id": template(UserData=encoded(data))})
    (issue,) = group()["health"]["issues"]
    assert (group()["status"], issue["code"]) == ("CREATE_FAILED", "Ec2LaunchTemplateInvalidConfiguration")
    assert message_part in issue["message"]


def test_an_update_fails_on_it_as_well(ruled: None) -> None:
    cluster()
    lt = template(UserData=encoded(MIME))
    active(launchTemplate={"id": lt})
    update = newer(version="1.34", **second(UserData=encoded(b"#!/bin/sh\n")))
    (error,) = outcome(update)["errors"]
    assert (outcome(update)["status"], error["errorCode"]) == ("Failed", "Ec2LaunchTemplateInvalidConfiguration")
    assert (group()["status"], group()["launchTemplate"]["version"]) == ("ACTIVE", "1")


def test_an_image_of_ones_own_takes_what_it_likes(ruled: None) -> None:
    cluster()
    create(launchTemplate={"id": template(ImageId="ami-1", UserData=encoded(b"#!/bin/sh\n"))})
    assert group()["status"] == "CREATING"


# Tags


@pytest.mark.full
def test_plain_moto_tags_no_group() -> None:
    cluster()
    arn = create()["nodegroupArn"]
    for call, more in {
        "tag_resource": {"tags": {"a": "b"}},
        "untag_resource": {"tagKeys": ["a"]},
        "list_tags_for_resource": {},
    }.items():
        with pytest.raises(ClientError, match="Resource was not found"):
            getattr(client("eks"), call)(resourceArn=arn, **more)


def test_the_bed_tags_groups(ruled: None) -> None:
    cluster()
    arn = create(tags={"first": "1"})["nodegroupArn"]
    client("eks").tag_resource(resourceArn=arn, tags={"second": "2"})
    client("eks").untag_resource(resourceArn=arn, tagKeys=["first"])
    assert client("eks").list_tags_for_resource(resourceArn=arn)["tags"] == group()["tags"] == {"second": "2"}
    nowhere = arn.replace("workers", "nowhere")
    assert refusal(lambda: client("eks").list_tags_for_resource(resourceArn=nowhere))[0] == "NotFoundException"


# Launch templates

LONG = base64.b64encode(b"x" * 16_385).decode()


def first_version(data: str) -> None:
    template(UserData=data)


def later_version(data: str) -> None:
    template()
    second(UserData=data)


@pytest.mark.full
@pytest.mark.parametrize("make", [first_version, later_version])
def test_plain_moto_takes_user_data_of_any_size(make: Callable[[str], None]) -> None:
    make(LONG)


@pytest.mark.parametrize("make", [first_version, later_version])
def test_user_data_ends_at_16_kib(ruled: None, make: Callable[[str], None]) -> None:
    with pytest.raises(ClientError, match="User data is limited to 16384 bytes") as caught:
        make(LONG)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_user_data_of_exactly_16_kib(ruled: None) -> None:
    later_version(base64.b64encode(b"x" * 16_384).decode())


@pytest.mark.full
def test_plain_moto_takes_a_version_whose_user_data_is_no_base64() -> None:
    later_version("#!/bin/sh")


@pytest.mark.parametrize("make", [first_version, later_version])
def test_user_data_is_base64(ruled: None, make: Callable[[str], None]) -> None:
    with pytest.raises(ClientError) as caught:
        make("#!/bin/sh")
    assert caught.value.response["Error"]["Code"] == "InvalidUserData.Malformed"


def templates() -> int:
    for number in range(20):
        client("ec2").create_launch_template(LaunchTemplateName=f"t{number}", LaunchTemplateData={"KeyName": "k"})
    pages = client("ec2").get_paginator("describe_launch_templates").paginate(PaginationConfig={"PageSize": 8})
    return sum(len(page["LaunchTemplates"]) for page in pages)


@pytest.mark.full
def test_plain_moto_shows_a_single_page_of_templates() -> None:
    assert templates() == 8
    assert len(client("ec2").describe_launch_templates()["LaunchTemplates"]) == 15


def test_templates_are_paged(ruled: None) -> None:
    assert templates() == 20
    assert len(client("ec2").describe_launch_templates()["LaunchTemplates"]) == 20


def without_last_version() -> Any:
    """moto's own object of a template with the versions 1 and 2. Version 3 was the last and is deleted."""
    template()
    second(KeyName="second")
    second(KeyName="third")
    found = ec2_backends[DEFAULT_ACCOUNT_ID][REGION].get_launch_template_by_name("kubelets")
    found.versions.pop()
    return found


@pytest.mark.full
def test_plain_moto_gives_a_number_twice_and_finds_versions_by_their_place() -> None:
    found = without_last_version()
    assert second(KeyName="again")
    assert versions() == [1, 2, 3]
    assert found.get_version("0").number == 3  # the last of the list
    del found.versions[0]
    assert found.default_version().number == 2  # not the default, which is 1


def test_a_number_is_given_once_and_no_other_version_is_found_by_it(ruled: None) -> None:
    found = without_last_version()
    assert second(KeyName="again")
    assert versions() == [1, 2, 4]
    for number in ("0", "3"):
        with pytest.raises(EC2ClientError, match=f"Could not find the specified version {number}"):
            found.get_version(number)
    del found.versions[1]
    assert (found.get_version("4").number, found.default_version().number) == (4, 1)
    del found.versions[0]
    with pytest.raises(EC2ClientError, match="Could not find the specified version 1"):
        found.default_version()


def versions() -> list[int]:
    pages = client("ec2").get_paginator("describe_launch_template_versions").paginate(LaunchTemplateName="kubelets")
    return [version["VersionNumber"] for page in pages for version in page["LaunchTemplateVersions"]]


@pytest.mark.full
def test_plain_moto_deletes_no_versions_and_shows_fifteen() -> None:
    template()
    for number in range(20):
        second(KeyName=f"k{number}")
    assert len(versions()) == 15
    with pytest.raises((ClientError, NotImplementedError)):
        client("ec2").delete_launch_template_versions(LaunchTemplateName="kubelets", Versions=["2"])


def test_versions_are_paged_deleted_and_never_numbered_twice(ruled: None) -> None:
    template()
    for number in range(20):
        second(KeyName=f"k{number}")
    assert versions() == list(range(1, 22))
    answer = client("ec2").delete_launch_template_versions(
        LaunchTemplateName="kubelets", Versions=["1", "3", "21", "99"]
    )
    done = [version["VersionNumber"] for version in answer["SuccessfullyDeletedLaunchTemplateVersions"]]
    kept = {
        version["VersionNumber"]: version["ResponseError"]["Code"]
        for version in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    }
    assert (done, kept) == ([3, 21], {1: "unexpectedError", 99: "launchTemplateVersionDoesNotExist"})
    second(KeyName="again")
    assert versions() == [1, 2, *range(4, 21), 22]
    bounds = {"LaunchTemplateName": "kubelets", "MinVersion": "4", "MaxVersion": "6"}
    found = client("ec2").describe_launch_template_versions(**bounds)["LaunchTemplateVersions"]
    assert [(version["VersionNumber"], version["LaunchTemplateData"]["KeyName"]) for version in found] == [
        (4, "k2"),
        (5, "k3"),
        (6, "k4"),
    ]
    with pytest.raises(ClientError, match="Could not find the specified version 3"):
        client("ec2").describe_launch_template_versions(LaunchTemplateName="kubelets", Versions=["3"])


def test_a_version_builds_on_its_source(ruled: None) -> None:
    template(KeyName="k", InstanceType="m5.large")
    client("ec2").create_launch_template_version(
        LaunchTemplateName="kubelets", SourceVersion="1", LaunchTemplateData={"KeyName": "other"}
    )
    found = client("ec2").describe_launch_template_versions(LaunchTemplateName="kubelets", Versions=["2"])
    data = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert (data["KeyName"], data["InstanceType"]) == ("other", "m5.large")


@pytest.mark.full
def test_plain_moto_forgets_the_source() -> None:
    template(KeyName="k", InstanceType="m5.large")
    client("ec2").create_launch_template_version(
        LaunchTemplateName="kubelets", SourceVersion="1", LaunchTemplateData={"KeyName": "other"}
    )
    found = client("ec2").describe_launch_template_versions(LaunchTemplateName="kubelets", Versions=["2"])
    assert "InstanceType" not in found["LaunchTemplateVersions"][0]["LaunchTemplateData"]


def test_versions_have_a_limit(ruled: None) -> None:
    template()
    ec2_templates.set_settings(versions=2)
    second(KeyName="k")
    with pytest.raises(ClientError, match="reached the limit of 2 versions"):
        second(KeyName="k")


@pytest.mark.full
def test_plain_moto_has_no_limit() -> None:
    template()
    ec2_templates.set_settings(versions=2)
    second(KeyName="k")
    second(KeyName="k")
