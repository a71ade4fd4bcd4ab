# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared kit of these tests: an AWS of their own, clusters in it, and real runs of ansible-playbook against it.

The tests check the calls that the gate recorded and the account behind it, never the module's own result alone.
"""

from __future__ import annotations

import atexit
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.plays import play, playbook_of
from testbed import paths
from testbed.own_aws import OwnAws

REGION = paths.REGION
OTHER = paths.OTHER_REGION
MODULE = "daytwo.aws.aurora_autostop"
YES = {"autostop": "yes"}


@dataclass(frozen=True)
class TaskResult:
    """The result of one task."""

    result: dict[str, Any]
    failed: bool
    task: str

    @property
    def changed(self) -> bool:
        return bool(self.result.get("changed"))

    @property
    def message(self) -> str:
        return str(self.result.get("msg", ""))

    @property
    def warnings(self) -> str:
        return "\n".join(map(str, self.result.get("warnings", [])))

    def get_cluster(self, name: str, region: str = REGION) -> dict[str, Any]:
        found = [
            cluster for cluster in self.result["clusters"] if (cluster["name"], cluster["region"]) == (name, region)
        ]
        assert len(found) == 1, f"{len(found)} results for {name}: {self.result}"
        return dict(found[0])

    @property
    def statuses(self) -> dict[str, str]:
        return {cluster["name"]: cluster["status"] for cluster in self.result["clusters"]}


class Account:
    """The account of one test, empty at first."""

    def __init__(self, aws: OwnAws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        self._runs = 0
        aws.reset()

    # Resources

    def cluster(
        self,
        name: str,
        tags: Mapping[str, str] | None = None,
        region: str = REGION,
        engine: str = "aurora-mysql",
        members: Sequence[str] = (),
        **more: Any,
    ) -> str:
        """Creates an available cluster with these instances. Returns its ARN."""
        rds = self.aws.client("rds", region)
        secret = {} if engine == "neptune" else {"MasterUsername": "admin", "MasterUserPassword": "not-a-secret-1"}
        response = rds.create_db_cluster(
            DBClusterIdentifier=name, Engine=engine, Tags=to_tag_list(tags or {}), **secret, **more
        )
        for member in members:
            self.instance(member, region=region, engine=engine, DBClusterIdentifier=name)
        self.edit(name, region, status="available")
        return str(response["DBCluster"]["DBClusterArn"])

    def instance(
        self,
        name: str,
        tags: Mapping[str, str] | None = None,
        region: str = REGION,
        engine: str = "postgres",
        **more: Any,
    ) -> str:
        alone = {} if "DBClusterIdentifier" in more else {"AllocatedStorage": 20, "MasterUsername": "admin"}
        secret = {} if "DBClusterIdentifier" in more else {"MasterUserPassword": "not-a-secret-1"}
        response = self.aws.client("rds", region).create_db_instance(
            DBInstanceIdentifier=name,
            Engine=engine,
            DBInstanceClass="db.r6g.large",
            Tags=to_tag_list(tags or {}),
            **alone,
            **secret,
            **more,
        )
        return str(response["DBInstance"]["DBInstanceArn"])

    def edit(self, name: str, region: str = REGION, kind: str = "cluster", **attributes: Any) -> None:
        self.aws.send_command("rds/edit", region=region, name=name, kind=kind, **attributes)

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        self.aws.client("rds", arn.split(":")[3]).add_tags_to_resource(ResourceName=arn, Tags=to_tag_list(tags))

    def tags(self, arn: str) -> dict[str, str]:
        response = self.aws.client("rds", arn.split(":")[3]).list_tags_for_resource(ResourceName=arn)
        return {tag["Key"]: tag["Value"] for tag in response["TagList"]}

    def statuses(self, region: str = REGION) -> dict[str, str]:
        pages = self.aws.client("rds", region).get_paginator("describe_db_clusters").paginate()
        return {cluster["DBClusterIdentifier"]: cluster["Status"] for page in pages for cluster in page["DBClusters"]}

    def status(self, name: str, region: str = REGION) -> str:
        return self.statuses(region)[name]

    # Runs

    def run(self, *tasks: Mapping[str, Any], env: Mapping[str, str] | None = None) -> list[TaskResult]:
        """Runs the module once per task, all in one play. C(_check) and C(_info) are not passed to the module."""
        steps = []
        for number, task in enumerate(tasks):
            options = {key: value for key, value in task.items() if not key.startswith("_")}
            module = f"{MODULE}_info" if task.get("_info") else MODULE
            steps.append(
                {
                    "name": f"Task {number}",
                    module: options,
                    "check_mode": bool(task.get("_check")),
                    "diff": True,
                    "ignore_errors": True,
                }
            )
        results = self.play(playbook_of(self.folder, self._runs, steps), env=env)
        assert len(results) == len(tasks), results
        return results

    def play(self, playbook: str, *options: str, env: Mapping[str, str] | None = None) -> list[TaskResult]:
        """The result of each task of a playbook."""
        self._runs += 1
        given = {**self.aws.env, "AWS_REGION": REGION, **(env or {})}
        tasks = play(self.folder, self._runs, playbook, *options, env=given).tasks
        return [TaskResult(task["result"], task["status"] == "failed", task["task"]) for task in tasks]

    def run_task(self, _env: Mapping[str, str] | None = None, **options: Any) -> TaskResult:
        return self.run(options, env=_env)[0]

    # Calls

    def counted(self) -> Counter[str]:
        """The calls since the previous count, by operation."""
        calls = Counter(call.operation for call in self.aws.calls())
        self.aws.forget()
        return calls

    def writes(self) -> list[str]:
        return [call.operation for call in self.aws.calls(mutating=True)]


def to_tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@functools.cache
def start_aws() -> OwnAws:
    """The AWS of all targets that import this fixture. Pytest takes the fixture of each for another one."""
    started = OwnAws()
    atexit.register(started.close)
    return started


@pytest.fixture(scope="session")
def aws() -> OwnAws:
    return start_aws()


@pytest.fixture
def account(aws: OwnAws, tmp_path: Path) -> Account:
    return Account(aws, tmp_path)
