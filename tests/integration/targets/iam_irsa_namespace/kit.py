# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by these tests: clusters with their own issuers, roles, tokens, and real runs of the module.

Assertions use the calls that the gate recorded, the account behind it, and STS, never the module itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from integration.targets.aurora_autostop.kit import Account as Base
from integration.targets.aurora_autostop.kit import TaskResult
from testbed import paths
from testbed.issuer import Issuer
from testbed.own_aws import OwnAws

MODULE = "daytwo.aws.iam_irsa_namespace"
STS = "sts.amazonaws.com"
SERVICE = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}


@dataclass(frozen=True)
class Cluster:
    """A cluster that exists as a record only, with the issuer whose keys are published for it."""

    name: str
    issuer: Issuer
    arn: str  # of its OIDC provider

    def key(self, claim: str) -> str:
        return f"{self.issuer.url.removeprefix('https://')}:{claim}"

    def trust(
        self, *subjects: str, operator: str = "StringEquals", aud: str | None = STS, **more: Any
    ) -> dict[str, Any]:
        """Subjects as namespace/name, a scalar for one, an array for several."""
        condition: dict[str, dict[str, Any]] = {"StringEquals": {self.key("aud"): aud}} if aud else {}
        if subjects:
            values = [value(subject) for subject in subjects]
            condition.setdefault(operator, {})[self.key("sub")] = values[0] if len(values) == 1 else values
        return {
            "Effect": "Allow",
            "Principal": {"Federated": self.arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": condition,
            **more,
        }


def value(subject: str) -> str:
    return "system:serviceaccount:" + subject.replace("/", ":")


def document(*statements: Any, **more: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", **more, "Statement": list(statements)}


class Account(Base):
    def cluster_of(self, name: str, region: str = paths.REGION, provider: bool = True) -> Cluster:
        eks = self.aws.client("eks", region)
        partition = "aws-cn" if region.startswith("cn-") else "aws"
        role = f"arn:{partition}:iam::{paths.ACCOUNT}:role/cluster"
        eks.create_cluster(name=name, roleArn=role, resourcesVpcConfig={"subnetIds": self._subnets(region)})
        url = eks.describe_cluster(name=name)["cluster"]["identity"]["oidc"]["issuer"]
        arn = f"arn:{partition}:iam::{paths.ACCOUNT}:oidc-provider/{url.removeprefix('https://')}"
        if provider:
            self.aws.client("iam", region).create_open_id_connect_provider(Url=url, ClientIDList=[STS])
        issuer = Issuer(url)
        self.aws.send_command("sts/publish", issuer=url, keys=issuer.jwks)
        return Cluster(name, issuer, arn)

    def _subnets(self, region: str) -> list[str]:
        found = self.aws.client("ec2", region).describe_subnets()["Subnets"]
        return [subnet["SubnetId"] for subnet in found[:2]]

    def role(self, name: str, trust_policy: Mapping[str, Any], region: str = paths.REGION) -> str:
        text = json.dumps(trust_policy)
        answer = self.aws.client("iam", region).create_role(RoleName=name, AssumeRolePolicyDocument=text)
        return str(answer["Role"]["Arn"])

    def trust_of(self, role: str, region: str = paths.REGION) -> dict[str, Any]:
        trust_policy = self.aws.client("iam", region).get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        return dict(trust_policy)

    def write_trust(self, role: str, trust_policy: Mapping[str, Any]) -> None:
        """A write by another writer, behind the gate."""
        self.aws.client("iam").update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust_policy))

    def answer(self, role: str, token: str) -> str:
        """The response of STS to a token: the subject of the session, or the error."""
        arn = self.aws.client("iam").get_role(RoleName=role)["Role"]["Arn"]
        sts = self.aws.client("sts")
        try:
            session = sts.assume_role_with_web_identity(RoleArn=arn, RoleSessionName="it", WebIdentityToken=token)
        except ClientError as error:
            return f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"
        return str(session["SubjectFromWebIdentityToken"])

    def lets_in(self, role: str, cluster: Cluster, subject: str, audience: str = STS) -> bool:
        namespace, name = subject.split("/")
        return self.answer(role, cluster.issuer.token(namespace, name, audience)) == value(subject)

    def tasks(self, *tasks: Mapping[str, Any], env: Mapping[str, str] | None = None) -> list[TaskResult]:
        """Runs the module with these options, one task each in one play; C(_check) is removed."""
        playbook = self.folder / f"irsa-{self._runs}.yml"
        steps = [
            {
                "name": f"Task {number}",
                MODULE: {
                    "recheck_delay": 0.1,
                    **{key: given for key, given in task.items() if not key.startswith("_")},
                },
                "check_mode": bool(task.get("_check")),
                "diff": True,
                "ignore_errors": True,
            }
            for number, task in enumerate(tasks)
        ]
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": steps}]))
        outcomes = self.play(str(playbook), env=env)
        assert len(outcomes) == len(tasks), outcomes
        return outcomes

    def task(self, *bindings: Mapping[str, Any], **options: Any) -> TaskResult:
        return self.tasks({"bindings": list(bindings), **options})[0]


def binding(role: str, subject: str, cluster: str = "blue", **more: Any) -> dict[str, Any]:
    namespace, name = subject.split("/")
    return {"role": role, "cluster": cluster, "namespace": namespace, "service_accounts": [name], **more}


def of(outcome: TaskResult, role: str) -> dict[str, Any]:
    """The one binding of a role."""
    found: Sequence[dict[str, Any]] = [item for item in outcome.result["bindings"] if item["role"] == role]
    assert len(found) == 1, outcome.result
    return found[0]


@pytest.fixture
def account(aws: OwnAws, tmp_path: Path) -> Account:
    return Account(aws, tmp_path)
