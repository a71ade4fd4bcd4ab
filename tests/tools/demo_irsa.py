# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resources of the demonstration with a load balancer controller: a role, its policies, a load balancer, log lines,
and a cluster's issuer with tokens of its service accounts.
"""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import boto3
from botocore.exceptions import ClientError
from testbed import Bed, paths
from testbed.aws.control import send_command
from testbed.issuer import AUDIENCE, Issuer

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
    """Creates the role of the controller, and a load balancer without its tag. Returns the load balancer's ARN."""
    iam, elb = client(bed, "iam"), client(bed, "elbv2")
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName=ROLE, PolicyName="controller", PolicyDocument=json.dumps(POLICY))
    with contextlib.suppress(elb.exceptions.LoadBalancerNotFoundException):
        for balancer in elb.describe_load_balancers(Names=["demo-shop"])["LoadBalancers"]:
            elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
    subnets = [subnet["SubnetId"] for subnet in client(bed, "ec2").describe_subnets()["Subnets"][:2]]
    made = elb.create_load_balancer(
        Name="demo-shop", Subnets=subnets, Type="network", Tags=[{"Key": "made-by", "Value": "hand"}]
    )
    return str(made["LoadBalancers"][0]["LoadBalancerArn"])


def tag(bed: Bed, balancer: str) -> None:
    client(bed, "elbv2").add_tags(ResourceArns=[balancer], Tags=[{"Key": TAG, "Value": "owned"}])


CONTROLLER = "aws-load-balancer-controller"


class Trust:
    """The trust side of the role: a cluster's issuer, its IAM OIDC provider, and a trust policy.

    The trust policy has a statement for EC2, and one for the service account in kube-system.
    """

    def __init__(self, bed: Bed) -> None:
        self.iam, self.sts = client(bed, "iam"), client(bed, "sts")
        self.issuer = Issuer("https://oidc.eks.eu-central-1.amazonaws.com/id/DE300000000000000000000000000000")
        send_command(bed.env["AWS_ENDPOINT_URL"], "sts/publish", issuer=self.issuer.url, keys=self.issuer.jwks)
        host = self.issuer.url.removeprefix("https://")
        self.provider = f"arn:aws:iam::{paths.ACCOUNT}:oidc-provider/{host}"
        with contextlib.suppress(self.iam.exceptions.EntityAlreadyExistsException):
            self.iam.create_open_id_connect_provider(Url=self.issuer.url, ClientIDList=[AUDIENCE])
        self.key = f"{host}:sub"
        named = {f"{host}:aud": AUDIENCE, self.key: f"system:serviceaccount:kube-system:{CONTROLLER}"}
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": self.provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": named},
        }
        self.before: dict[str, Any] = {**TRUST, "Statement": [*TRUST["Statement"], statement]}
        self.iam.update_assume_role_policy(RoleName=ROLE, PolicyDocument=json.dumps(self.before))

    def expected(self) -> dict[str, Any]:
        """The trust policy with one more subject, and nothing else."""
        trust_policy: dict[str, Any] = copy.deepcopy(self.before)
        subjects = trust_policy["Statement"][1]["Condition"]["StringEquals"]
        subjects[self.key] = [subjects[self.key], f"system:serviceaccount:cloudon:{CONTROLLER}"]
        return trust_policy

    def now(self) -> dict[str, Any]:
        return dict(self.iam.get_role(RoleName=ROLE)["Role"]["AssumeRolePolicyDocument"])

    def event(self, namespace: str) -> str:
        """The CloudTrail event when STS rejects the controller: without a useful message, but with all other fields."""
        identity = {
            "type": "WebIdentityUser",
            "userName": f"system:serviceaccount:{namespace}:{CONTROLLER}",
            "identityProvider": self.provider,
        }
        event = {
            "eventSource": "sts.amazonaws.com",
            "eventName": "AssumeRoleWithWebIdentity",
            "errorCode": "AccessDenied",
            "errorMessage": "An unknown error occurred",
            "userIdentity": identity,
            "requestParameters": {"roleArn": f"arn:aws:iam::{paths.ACCOUNT}:role/{ROLE}"},
        }
        return json.dumps(event)

    def answer(self, namespace: str) -> str:
        """The response of STS to a token of the controller in a namespace."""
        try:
            session = self.sts.assume_role_with_web_identity(
                RoleArn=f"arn:aws:iam::{paths.ACCOUNT}:role/{ROLE}",
                RoleSessionName="demo",
                WebIdentityToken=self.issuer.token(namespace, CONTROLLER),
            )
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return str(session["SubjectFromWebIdentityToken"])


def message(balancer: str) -> str:
    """The message as the controller logs it."""
    return (
        f"AccessDenied: User: arn:aws:sts::{paths.ACCOUNT}:assumed-role/{ROLE}/1677819233544969902 is not authorized "
        f"to perform: {DELETE} on resource: {balancer} because no identity-based policy allows the {DELETE} action"
    )
