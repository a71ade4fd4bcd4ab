# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for encoded authorization messages and pod identity associations, in this process, beside plain moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from testbed import aws as rules
from testbed.aws.sts_decode import encode

CALLER = "arn:aws:sts::123456789012:assumed-role/lbc/1"
ROLE = "arn:aws:iam::123456789012:role/lbc"


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def ruled() -> Iterator[None]:
    with rules.installed(rules.load()):
        yield


def client(service: str) -> Any:
    return boto3.client(service, "eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")


def test_plain_moto_decodes_nothing_and_knows_no_associations() -> None:
    with pytest.raises((ClientError, NotImplementedError)):
        client("sts").decode_authorization_message(EncodedMessage=encode(CALLER, "ec2:RunInstances", "*"))
    cluster = {"clusterName": "blue"}
    for call, arguments in {
        "create_pod_identity_association": {"namespace": "shop", "serviceAccount": "a", "roleArn": ROLE},
        "list_pod_identity_associations": {},
        "delete_pod_identity_association": {"associationId": "a-1"},
    }.items():
        with pytest.raises(Exception):  # noqa: B017, PT011 (moto raises something for a path that it does not know)
            getattr(client("eks"), call)(**cluster, **arguments)


def test_a_message_is_decoded_and_another_refused(ruled: None) -> None:
    sts = client("sts")
    encoded = encode(CALLER, "ec2:RunInstances", "*", explicit=True, conditions={"ec2:Vpc": "vpc-1"})
    decoded = json.loads(sts.decode_authorization_message(EncodedMessage=encoded)["DecodedMessage"])
    assert (decoded["allowed"], decoded["explicitDeny"]) == (False, True)
    assert decoded["context"]["action"] == "ec2:RunInstances"
    with pytest.raises(ClientError, match="InvalidAuthorizationMessageException"):
        sts.decode_authorization_message(EncodedMessage="a" * 40)


def test_associations_are_unique_per_service_account_and_paged(ruled: None) -> None:
    eks, ec2 = client("eks"), client("ec2")
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    eks.create_cluster(name="blue", roleArn=ROLE, resourcesVpcConfig={"subnetIds": subnets})
    for name in ("a", "b", "c"):
        eks.create_pod_identity_association(clusterName="blue", namespace="shop", serviceAccount=name, roleArn=ROLE)
    with pytest.raises(ClientError, match="ResourceInUseException"):
        eks.create_pod_identity_association(clusterName="blue", namespace="shop", serviceAccount="a", roleArn=ROLE)
    first = eks.list_pod_identity_associations(clusterName="blue", maxResults=2)
    rest = eks.list_pod_identity_associations(clusterName="blue", maxResults=2, nextToken=first["nextToken"])
    found = [*first["associations"], *rest["associations"]]
    assert [association["serviceAccount"] for association in found] == ["a", "b", "c"]
    assert "nextToken" not in rest
    eks.delete_pod_identity_association(clusterName="blue", associationId=found[0]["associationId"])
    (left,) = eks.list_pod_identity_associations(clusterName="blue", serviceAccount="b")["associations"]
    assert left["namespace"] == "shop"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        eks.delete_pod_identity_association(clusterName="blue", associationId=found[0]["associationId"])
