# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demonstration needs for a load balancer controller's case: a role, its policy, a load balancer, a log."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import boto3
from testbed import Bed, paths

ROLE = "demo-lbc"
TAG = "elbv2.k8s.aws/cluster"
DELETE = "elasticloadbalancing:DeleteLoadBalancer"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "OnlyWhatIsItsOwn",
            "Effect": "Allow",
            "Action": DELETE,
            "Resource": "*",
            "Condition": {"Null": {f"aws:ResourceTag/{TAG}": "false"}},
        }
    ],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def client(bed: Bed, service: str) -> Any:
    return boto3.client(
        service,
        region_name=paths.REGION,
        endpoint_url=bed.env["AWS_ENDPOINT_URL"],
        aws_access_key_id=bed.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=bed.env["AWS_SECRET_ACCESS_KEY"],
    )


def prepare(bed: Bed) -> str:
    """The role as its controller has it, and a load balancer that somebody else has made; that one's ARN."""
    iam, elb = client(bed, "iam"), client(bed, "elbv2")
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName=ROLE, PolicyName="controller", PolicyDocument=json.dumps(POLICY))
    with contextlib.suppress(elb.exceptions.LoadBalancerNotFoundException):
        for one in elb.describe_load_balancers(Names=["demo-shop"])["LoadBalancers"]:
            elb.delete_load_balancer(LoadBalancerArn=one["LoadBalancerArn"])
    subnets = [one["SubnetId"] for one in client(bed, "ec2").describe_subnets()["Subnets"][:2]]
    made = elb.create_load_balancer(
        Name="demo-shop", Subnets=subnets, Type="network", Tags=[{"Key": "made-by", "Value": "hand"}]
    )
    return str(made["LoadBalancers"][0]["LoadBalancerArn"])


def tag(bed: Bed, balancer: str) -> None:
    client(bed, "elbv2").add_tags(ResourceArns=[balancer], Tags=[{"Key": TAG, "Value": "owned"}])


def message(balancer: str) -> str:
    """As the controller logs it."""
    return (
        f"AccessDenied: User: arn:aws:sts::{paths.ACCOUNT}:assumed-role/{ROLE}/1677819233544969902 is not authorized "
        f"to perform: {DELETE} on resource: {balancer} because no identity-based policy allows the {DELETE} action"
    )
