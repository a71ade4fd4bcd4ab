# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AWS of the test's own with the resources of a load balancer controller: role, policy, load balancers, cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import Account as Base
from integration.targets.aurora_autostop.kit import TaskResult
from testbed.own_aws import OwnAws

MODULE = "daytwo.aws.iam_access_denied_info"
TAG = "elbv2.k8s.aws/cluster"
DELETE = "elasticloadbalancing:DeleteLoadBalancer"
SERVICE_ACCOUNT = ("cloudon", "aws-load-balancer-controller")
# As in the controller's published policy: deleting is allowed if the resource has the tag, whatever its value.
ONLY_TAGGED = {
    "Effect": "Allow",
    "Action": [DELETE, "elasticloadbalancing:ModifyLoadBalancerAttributes"],
    "Resource": "*",
    "Condition": {"Null": {f"aws:ResourceTag/{TAG}": "false"}},
}
SEEING = {"Effect": "Allow", "Action": "elasticloadbalancing:Describe*", "Resource": "*"}
EC2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


class Account(Base):
    def cluster_provider(self, name: str = "blue") -> str:
        """An EKS cluster and its IAM OIDC provider, whose ARN is returned."""
        eks, iam = self.aws.client("eks"), self.aws.client("iam")
        role = "arn:aws:iam::123456789012:role/cluster"
        eks.create_cluster(name=name, roleArn=role, resourcesVpcConfig={"subnetIds": self.subnets()})
        issuer = eks.describe_cluster(name=name)["cluster"]["identity"]["oidc"]["issuer"]
        response = iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["sts.amazonaws.com"])
        return str(response["OpenIDConnectProviderArn"])

    def subnets(self) -> list[str]:
        return [subnet["SubnetId"] for subnet in self.aws.client("ec2").describe_subnets()["Subnets"][:2]]

    def role(self, name: str, trust: Sequence[Mapping[str, Any]], *statements: Mapping[str, Any], **more: Any) -> str:
        iam = self.aws.client("iam")
        response = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(*trust), **more)
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document(*statements))
        return str(response["Role"]["Arn"])

    def load_balancer(self, name: str, tags: Mapping[str, str]) -> str:
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        response = self.aws.client("elbv2").create_load_balancer(
            Name=name,
            Subnets=self.subnets(),
            Type="network",
            **({"Tags": listed} if listed else {}),
        )
        return str(response["LoadBalancers"][0]["LoadBalancerArn"])

    def explanations(self, *tasks: Mapping[str, Any], env: Mapping[str, str] | None = None) -> list[TaskResult]:
        """The module with these options, one task each in one play."""
        playbook = self.folder / f"explain-{self._runs}.yml"
        steps = [{"name": f"Explain {n}", MODULE: task, "ignore_errors": True} for n, task in enumerate(tasks)]
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": steps}]))
        results = self.play(str(playbook), env=env)
        assert len(results) == len(tasks), results
        return results

    def explain(self, message: str, _env: Mapping[str, str] | None = None, **options: Any) -> TaskResult:
        return self.explanations({"error_message": message, **options}, env=_env)[0]


def trust(provider: str, *subjects: tuple[str, str]) -> dict[str, Any]:
    issuer = provider.partition("oidc-provider/")[2]
    names = [f"system:serviceaccount:{namespace}:{name}" for namespace, name in subjects]
    return {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": names}},
    }


def make_denial(role: str, action: str, resource: str, session: str = "1677819233544969902") -> str:
    """AWS's message for a session of the role."""
    return (
        f"AccessDenied: User: arn:aws:sts::123456789012:assumed-role/{role}/{session} is not authorized to perform: "
        f"{action} on resource: {resource} because no identity-based policy allows the {action} action\n"
        "\tstatus code: 403, request id: a99a0c2b-fc6c-476f-a70e-c5c24e91db03"
    )


@pytest.fixture
def account(aws: OwnAws, tmp_path: Path) -> Account:
    return Account(aws, tmp_path)
