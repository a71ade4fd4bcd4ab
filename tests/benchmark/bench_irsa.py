# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds one service account to each of 500 roles: one task of this collection, compared with a loop over
amazon.aws.iam_role.

Both run as whole ansible-playbook processes against the benchmark's own AWS (the test bed's moto with its rules, on
loopback). Afterwards every role must trust the old and the new service account. The loop replaces each trust policy by
one that its user has to write first; it is measured over 100 roles. Figures are per role. Those of this collection
include the recheck delay. Set ROUNDS=1, ROLES=50 and LOOP=10 to try it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from figures import Figure, Goal, interleaved, publish, table
from testbed import paths
from testbed.own_aws import OwnAws, own_aws

ROLES = int(os.environ.get("ROLES", "500"))
LOOP = int(os.environ.get("LOOP", "100"))
OURS, AGAIN, PEER = "ours", "ours, nothing to do", "iam_role in a loop"
STS = "sts.amazonaws.com"
# As in docs/irsa_namespace.md: a changed role is read, written and read; all roles are listed before and after; the
# cluster, its provider and the quota are read once.
PAGES, ONCE = -(-ROLES // 1000), 3


@dataclass(frozen=True)
class Cost:
    seconds: float
    calls: Counter[str]
    roles: int

    @property
    def per_role(self) -> float:
        return self.seconds / self.roles


def value(name: str) -> str:
    return f"system:serviceaccount:{name}:controller"


class Ground:
    """The account, in which all roles trust one service account."""

    def __init__(self, aws: OwnAws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        self.runs = 0

    def lay(self, count: int) -> None:
        self.aws.reset()
        eks, iam = self.aws.client("eks"), self.aws.client("iam")
        subnets = [subnet["SubnetId"] for subnet in self.aws.client("ec2").describe_subnets()["Subnets"][:2]]
        role = f"arn:aws:iam::{paths.ACCOUNT}:role/cluster"
        eks.create_cluster(name="blue", roleArn=role, resourcesVpcConfig={"subnetIds": subnets})
        url = eks.describe_cluster(name="blue")["cluster"]["identity"]["oidc"]["issuer"]
        iam.create_open_id_connect_provider(Url=url, ClientIDList=[STS])
        self.issuer = url.removeprefix("https://")
        for number in range(count):
            iam.create_role(RoleName=f"role-{number:03}", AssumeRolePolicyDocument=json.dumps(self.trust("old")))
        self.aws.forget()

    def trust(self, *names: str) -> dict[str, Any]:
        subjects = [value(name) for name in names]
        condition = {f"{self.issuer}:aud": STS, f"{self.issuer}:sub": subjects[0] if len(subjects) == 1 else subjects}
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::{paths.ACCOUNT}:oidc-provider/{self.issuer}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": condition},
        }
        return {"Version": "2012-10-17", "Statement": [statement]}

    def play(self, *tasks: dict[str, Any], roles: int) -> Cost:
        self.runs += 1
        playbook = self.folder / f"play-{self.runs}.yml"
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
        (self.folder / "ansible.cfg").touch()
        kept = ("PATH", "LC_ALL", "ANSIBLE_COLLECTIONS_PATH")
        began = time.monotonic()
        ran = subprocess.run(
            ["ansible-playbook", str(playbook)],
            env={
                **{name: os.environ[name] for name in kept if name in os.environ},
                **self.aws.env,
                "AWS_REGION": paths.REGION,
                "HOME": str(self.folder),
                "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
                "ANSIBLE_HOME": str(self.folder / "ansible"),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        if ran.returncode:
            raise RuntimeError(ran.stdout + ran.stderr)
        calls = Counter(call.operation for call in self.aws.calls())
        self.aws.forget()
        return Cost(seconds, calls, roles)

    def verify(self, count: int) -> None:
        """Verifies that each role trusts both, whatever the exit codes."""
        for number in range(count):
            trust_policy = self.aws.client("iam").get_role(RoleName=f"role-{number:03}")["Role"][
                "AssumeRolePolicyDocument"
            ]
            if trust_policy != self.trust("old", "new"):
                raise RuntimeError(f"role-{number:03} trusts {trust_policy}")

    def ours(self) -> Cost:
        bindings = [
            {
                "role": f"role-{number:03}",
                "cluster": "blue",
                "namespace": "new",
                "service_accounts": ["controller"],
            }
            for number in range(ROLES)
        ]
        return self.play({"daytwo.aws.iam_irsa_namespace": {"bindings": bindings}}, roles=ROLES)

    def peers(self) -> Cost:
        task = {
            "amazon.aws.iam_role": {
                "name": "role-{{ '%03d' % item }}",
                "assume_role_policy_document": json.dumps(self.trust("old", "new")),
            },
            "loop": list(range(LOOP)),
            "loop_control": {"label": "{{ item }}"},
        }
        return self.play(task, roles=LOOP)


def main() -> int:
    costs: dict[str, list[Cost]] = {AGAIN: []}
    with own_aws() as aws, tempfile.TemporaryDirectory() as folder:
        ground = Ground(aws, Path(folder))

        def run(way: str) -> Cost:
            ground.lay(ROLES if way == OURS else LOOP)
            if way == PEER:
                cost = ground.peers()
                ground.verify(LOOP)
                return cost
            cost = ground.ours()
            ground.verify(ROLES)
            costs[AGAIN].append(ground.ours())
            return cost

        costs |= interleaved([OURS, PEER], run)
    figures = []
    for way in (OURS, AGAIN):
        figures.append(
            Figure(
                f"seconds per role, {way}",
                median(cost.per_role for cost in costs[way]),
                median(cost.per_role for cost in costs[PEER]),
                PEER,
                "s",
                Goal(ratio=0.1),
            )
        )
    for way, stated in ((OURS, 3 * ROLES + 2 * PAGES + ONCE), (AGAIN, PAGES + ONCE)):
        called = max(sum(cost.calls.values()) for cost in costs[way])
        figures.append(Figure(f"calls, {way}", called, stated, "as stated", "calls", Goal(ratio=1.0)))
    rows = []
    for way, taken in costs.items():
        last = taken[-1]
        for operation, count in sorted(last.calls.items()):
            rows.append((way, operation, str(count), f"{count / last.roles:.2f}"))
            figures.append(Figure(f"calls per role, {way}, {operation}", count / last.roles, 0, "", "calls"))
        seconds = median(cost.seconds for cost in taken)
        figures.append(Figure(f"seconds in all, {way}, {last.roles} roles", seconds, 0, "", "s"))
        rows.append((way, "seconds in all", f"{seconds:.1f}", f"{seconds / last.roles:.3f}"))
    table(("way", "calls", "in all", "per role"), rows)
    return publish("irsa", figures)


if __name__ == "__main__":
    sys.exit(main())
