# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's policy simulator, in this process: moto has none, and the bed answers as in the IAM User Guide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from testbed import aws as rules

REGION = "eu-central-1"
DELETE = "elasticloadbalancing:DeleteLoadBalancer"
BALANCER = f"arn:aws:elasticloadbalancing:{REGION}:123456789012:loadbalancer/net/one/0123456789abcdef"
TAG = "aws:ResourceTag/elbv2.k8s.aws/cluster"


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def ruled() -> Iterator[None]:
    with rules.installed(rules.load()):
        yield


def client() -> Any:
    return boto3.client("iam", REGION, aws_access_key_id="x", aws_secret_access_key="x")


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": "*", **more}


def role(*statements: dict[str, Any], **more: Any) -> str:
    trust = policy({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    answer = client().create_role(RoleName="lbc", AssumeRolePolicyDocument=trust, **more)
    if statements:
        client().put_role_policy(RoleName="lbc", PolicyName="inline", PolicyDocument=policy(*statements))
    return str(answer["Role"]["Arn"])


def simulate(arn: str, action: str = DELETE, resource: str = BALANCER, **context: str) -> dict[str, Any]:
    entries = [
        {"ContextKeyName": key.replace("__", TAG), "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    answer = client().simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource], ContextEntries=entries
    )
    (result,) = answer["EvaluationResults"]
    return dict(result)


def test_plain_moto_cannot_simulate() -> None:
    arn = role(allow("*"))
    with pytest.raises((ClientError, NotImplementedError)):
        simulate(arn)


def test_a_tag_in_the_context_distinguishes_a_missing_tag_from_a_missing_action(ruled: None) -> None:
    arn = role(allow(DELETE, Condition={"Null": {TAG: "false"}}))
    without = simulate(arn)
    assert (without["EvalDecision"], without["MissingContextValues"]) == ("implicitDeny", [TAG])
    within = simulate(arn, __="one")
    assert (within["EvalDecision"], within["MissingContextValues"]) == ("allowed", [])
    assert within["MatchedStatements"][0]["SourcePolicyId"] == "inline"
    assert simulate(arn, "elasticloadbalancing:CreateLoadBalancer", __="one")["EvalDecision"] == "implicitDeny"


def test_a_deny_wins(ruled: None) -> None:
    arn = role(allow("*"), {"Effect": "Deny", "Action": "elasticloadbalancing:Delete*", "Resource": "*"})
    assert simulate(arn)["EvalDecision"] == "explicitDeny"
    assert simulate(arn, "s3:GetObject", "arn:aws:s3:::bucket/key")["EvalDecision"] == "allowed"


def test_attached_policies_and_the_boundary_count(ruled: None) -> None:
    made = client().create_policy(PolicyName="narrow", PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    wide = client().create_policy(PolicyName="wide", PolicyDocument=policy(allow("*")))["Policy"]["Arn"]
    arn = role(PermissionsBoundary=made)
    assert simulate(arn)["EvalDecision"] == "implicitDeny"
    client().attach_role_policy(RoleName="lbc", PolicyArn=wide)
    bounded = simulate(arn)
    assert bounded["EvalDecision"] == "implicitDeny"
    assert bounded["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    assert simulate(arn, "s3:GetObject", "arn:aws:s3:::bucket/key")["EvalDecision"] == "allowed"


def test_resources_and_exceptions(ruled: None) -> None:
    arn = role({"Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::bucket/*"})
    assert simulate(arn, "s3:GetObject", "arn:aws:s3:::bucket/key")["EvalDecision"] == "allowed"
    assert simulate(arn, "s3:GetObject", "arn:aws:s3:::other/key")["EvalDecision"] == "implicitDeny"
    assert simulate(arn, "iam:GetRole", "arn:aws:s3:::bucket/key")["EvalDecision"] == "implicitDeny"


def test_a_principal_that_is_not_there(ruled: None) -> None:
    with pytest.raises(ClientError, match="cannot be found") as caught:
        simulate("arn:aws:iam::123456789012:role/gone")
    assert caught.value.response["Error"]["Code"] == "NoSuchEntity"
