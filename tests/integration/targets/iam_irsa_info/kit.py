# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles in the bed's account, service accounts in its cluster, and real runs of ansible-playbook against both."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import Account, TaskResult
from testbed import Bed
from testbed.eks import Cluster
from testbed.node import BedError

ANNOTATION = "eks.amazonaws.com/role-arn"
STS = "sts.amazonaws.com"


class Fleet(Account):
    """The resources of one test, with unique names, because all tests share the account and the cluster."""

    def __init__(self, bed: Bed, cluster: Cluster, folder: Path) -> None:
        self.aws = SimpleNamespace(env=bed.env)  # type: ignore[assignment]
        self.bed = bed
        self.kubernetes = cluster
        self.folder = folder
        self._runs = 0
        self.mark = f"it{secrets.token_hex(3)}"
        self.iam = cluster.client("iam")
        self._roles: list[str] = []
        self._namespaces: list[str] = []

    @property
    def provider(self) -> str:
        """The ARN of the cluster's OIDC provider, which is created if it is missing."""
        with contextlib.suppress(self.iam.exceptions.EntityAlreadyExistsException):
            self.iam.create_open_id_connect_provider(Url=self.kubernetes.issuer, ClientIDList=[STS])
        return f"arn:aws:iam::123456789012:oidc-provider/{self.issuer}"

    @property
    def issuer(self) -> str:
        return self.kubernetes.issuer.removeprefix("https://")

    def statement(self, *pairs: tuple[str, str], operator: str = "StringEquals", **more: Any) -> dict[str, Any]:
        """A statement for these service accounts, or for all."""
        names = [f"system:serviceaccount:{namespace}:{name}" for namespace, name in pairs]
        condition: dict[str, dict[str, Any]] = {"StringEquals": {f"{self.issuer}:aud": STS}}
        if names:
            condition.setdefault(operator, {})[f"{self.issuer}:sub"] = names
        return {
            "Effect": "Allow",
            "Principal": {"Federated": self.provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": condition,
            **more,
        }

    def role(self, name: str, *statements: Mapping[str, Any]) -> str:
        full = f"{self.mark}-{name}"
        trust = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self._roles.append(full)
        made = self.iam.create_role(RoleName=full, Path=f"/{self.mark}/", AssumeRolePolicyDocument=trust)
        return str(made["Role"]["Arn"])

    def trust(self, arn: str) -> dict[str, Any]:
        role = self.iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        return dict(role["AssumeRolePolicyDocument"])

    def namespace(self, name: str) -> str:
        full = f"{self.mark}-{name}"
        self.kubernetes.kubectl("create", "namespace", full)
        self._namespaces.append(full)
        return full

    def service_account(self, namespace: str, name: str, role: str | None = None) -> None:
        self.kubernetes.kubectl("create", "serviceaccount", name, "-n", namespace)
        if role:
            self.kubernetes.kubectl("annotate", "serviceaccount", name, "-n", namespace, f"{ANNOTATION}={role}")

    def annotations(self, namespace: str, name: str) -> dict[str, str]:
        output = self.kubernetes.kubectl("get", "serviceaccount", name, "-n", namespace, "-o", "json").stdout
        return dict(json.loads(output)["metadata"].get("annotations") or {})

    def task(
        self, module: str, _env: Mapping[str, str] | None = None, _check: bool = False, **options: Any
    ) -> TaskResult:
        playbook = self.folder / f"task-{self._runs}.yml"
        task = {"name": "Task", module: options, "ignore_errors": True, "check_mode": _check}
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        (outcome,) = self.play(str(playbook), env=_env)
        return outcome

    def operations(self, mutating: bool | None = None) -> list[str]:
        """The calls of the controller since the last call of this method, without the cluster's own calls of STS."""
        calls = self.bed.recorder.calls(client="controller")
        self.bed.recorder.reset()
        return [call.operation for call in calls if mutating is None or call.mutating == mutating]

    def clear(self) -> None:
        for name in self._roles:
            with contextlib.suppress(self.iam.exceptions.NoSuchEntityException):
                self.iam.delete_role(RoleName=name)
        for name in self._namespaces:
            with contextlib.suppress(BedError):
                self.kubernetes.kubectl("delete", "namespace", name, "--wait=false")


def of(outcome: TaskResult, arn: str) -> dict[str, Any]:
    found: Sequence[dict[str, Any]] = [item for item in outcome.result["roles"] if item.get("arn") == arn]
    assert len(found) == 1, outcome.result
    return found[0]


@pytest.fixture
def fleet(bed: Bed, cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(bed, cluster, tmp_path)
    yield fleet
    fleet.clear()
