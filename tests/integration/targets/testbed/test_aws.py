# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS behind the gate: the refusals of the real service that moto does not have, the record, and denials."""

from __future__ import annotations

import inspect
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from testbed import Bed, aws

CLUSTER = {
    "DBClusterIdentifier": "orders",
    "Engine": "aurora-mysql",
    "MasterUsername": "admin",
    "MasterUserPassword": "not-a-secret-1",
}
MEMBER = {
    "DBInstanceIdentifier": "orders-1",
    "DBClusterIdentifier": "orders",
    "Engine": "aurora-mysql",
    "DBInstanceClass": "db.r6g.large",
}


@pytest.fixture
def fresh(bed: Bed) -> Bed:
    bed.reset_aws()
    bed.recorder.reset()
    return bed


def stop_a_member(rds: Any) -> str:
    rds.create_db_cluster(**CLUSTER)
    rds.create_db_instance(**MEMBER)
    stopped = rds.stop_db_instance(DBInstanceIdentifier="orders-1")["DBInstance"]
    return str(stopped["DBInstanceStatus"])


@pytest.mark.full
@mock_aws
def test_plain_moto_stops_an_aurora_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")  # else the bed would respond
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    assert stop_a_member(boto3.client("rds", region_name="eu-central-1", **keys)) == "stopped"


def test_the_bed_refuses_to_stop_an_aurora_member(fresh: Bed, client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        stop_a_member(client("rds"))
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidParameterCombination"
    assert error["Message"].startswith("aurora-mysql DB instances are not eligible for stopping and starting")
    assert client("rds").describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available"


def test_the_bed_still_stops_what_can_be_stopped(fresh: Bed, client: Any) -> None:
    rds = client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="alone",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        MasterUsername="admin",
        MasterUserPassword="not-a-secret-1",
    )
    rds.stop_db_instance(DBInstanceIdentifier="alone")
    assert rds.describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "stopping"


def test_every_rule_cites_its_fact_and_goes_with_its_context() -> None:
    rules = aws.load()
    assert rules
    for rule in rules:
        assert len(rule.fact) > 20
        plain = inspect.getattr_static(rule.owner, rule.method, None)
        assert (plain is None) is rule.new
        with aws.installed([rule]):
            assert inspect.getattr_static(rule.owner, rule.method) is not plain
        assert inspect.getattr_static(rule.owner, rule.method, None) is plain


READS = {
    "rds": ("describe_db_clusters", {}, "rds:DescribeDBClusters"),  # query
    "ec2": ("describe_instances", {}, "ec2:DescribeInstances"),  # ec2
    "logs": ("describe_log_groups", {}, "logs:DescribeLogGroups"),  # json
    "eks": ("list_clusters", {}, "eks:ListClusters"),  # rest-json
    "lambda": ("list_functions", {}, "lambda:ListFunctions"),
    "sts": ("get_caller_identity", {}, "sts:GetCallerIdentity"),
    "iam": ("list_roles", {}, "iam:ListRoles"),
    "autoscaling": ("describe_auto_scaling_groups", {}, "autoscaling:DescribeAutoScalingGroups"),
    "events": ("list_rules", {}, "events:ListRules"),
    "resourcegroupstaggingapi": ("get_resources", {}, "tag:GetResources"),
}
WRITES = {
    "logs": ("create_log_group", {"logGroupName": "testbed"}, "logs:CreateLogGroup"),
    "sqs": ("create_queue", {"QueueName": "testbed"}, "sqs:CreateQueue"),
    "rds": ("create_db_cluster", CLUSTER, "rds:CreateDBCluster"),
    "eks": ("tag_resource", {"resourceArn": "arn:aws:eks:eu-central-1:1:cluster/a", "tags": {}}, "eks:TagResource"),
}
CALLS = [(s, *c, False) for s, c in READS.items()] + [(s, *c, True) for s, c in WRITES.items()]


@pytest.mark.parametrize(("service", "operation", "arguments", "action", "mutating"), CALLS)
def test_calls_are_recorded_and_can_be_denied(
    fresh: Bed, client: Any, service: str, operation: str, arguments: dict[str, Any], action: str, mutating: bool
) -> None:
    call = getattr(client(service), operation)
    try:
        call(**arguments)
    except ClientError as error:  # moto may have no such object; only the call counts here
        assert "not authorized" not in str(error)  # noqa: PT017
    with fresh.recorder.denying(action), pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
    assert f"is not authorized to perform: {action} on resource" in caught.value.response["Error"]["Message"]
    recorded = [(call.action, call.mutating, call.denied, call.client) for call in fresh.recorder.calls(action=action)]
    assert recorded == [(action, mutating, False, "controller"), (action, mutating, True, "controller")]


def test_what_was_denied_did_not_happen(fresh: Bed, client: Any) -> None:
    with fresh.recorder.denying("rds:Create*"), pytest.raises(ClientError):
        client("rds").create_db_cluster(**CLUSTER)
    assert client("rds").describe_db_clusters()["DBClusters"] == []
