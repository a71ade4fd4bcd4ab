# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by these tests: an AWS of their own with a cluster's records, and real runs of ansible-playbook.

The tests verify the recorded calls and the account itself, never only the module's result.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.plays import play, playbook_of
from testbed import paths
from testbed.own_aws import OwnAws

REGION = paths.REGION
CLUSTER = "prod"
VERSION = "1.34"
ROLE = "arn:aws:iam::123456789012:role/node"
LIVES = ("create_seconds", "config_seconds", "version_seconds", "delete_seconds")
MODULE = "daytwo.aws.eks_sysctl_nodegroup"


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
    def steps(self) -> list[str]:
        return [step["action"] for step in self.result["plan"]["steps"]]

    @property
    def change(self) -> str:
        return str(self.result["plan"]["change"])


class Account:
    """The account of one test: a cluster without nodes at first."""

    def __init__(self, aws: OwnAws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        self._runs = 0
        aws.reset()
        self.eks = aws.client("eks")
        self.ec2 = aws.client("ec2")
        self.settings()
        self.subnets = [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"]][:2]
        self.eks.create_cluster(
            name=CLUSTER,
            version=VERSION,
            roleArn="arn:aws:iam::123456789012:role/cluster",
            resourcesVpcConfig={"subnetIds": self.subnets},
        )
        # CREATING until its own time is up, where the bed has rules for clusters.
        aws.send_command("eks/edit", region=REGION, cluster=CLUSTER, status="ACTIVE", testbed_due=None, version=VERSION)

    def settings(self, seconds: float = 0, **changes: Any) -> None:
        """C(seconds) is how long each state of a node group lasts. Each costs a run a C(wait_delay), unless it is 0."""
        self.aws.send_command("eks/settings", **{**dict.fromkeys(LIVES, seconds), **changes})

    def edit(self, group: str | None = None, **attributes: Any) -> None:
        self.aws.send_command("eks/edit", region=REGION, cluster=CLUSTER, group=group, **attributes)

    def create(self, name: str = "old", **more: Any) -> dict[str, Any]:
        """Create an ACTIVE node group, as an operator does by hand."""
        request = {
            "clusterName": CLUSTER,
            "nodegroupName": name,
            "subnets": self.subnets,
            "nodeRole": ROLE,
            "scalingConfig": {"minSize": 1, "maxSize": 3, "desiredSize": 2},
            "labels": {"team": "a"},
            **more,
        }
        self.eks.create_nodegroup(**{key: value for key, value in request.items() if value is not None})
        self.aws.advance(seconds=600)
        found = self.group(name)
        assert found["status"] == "ACTIVE"
        return found

    def template(self, name: str = "theirs", user_data: bytes = b"", **data: Any) -> dict[str, Any]:
        if user_data:
            data["UserData"] = base64.b64encode(user_data).decode()
        made = self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data or {"KeyName": "k"})
        return {"id": made["LaunchTemplate"]["LaunchTemplateId"], "version": "1"}

    # Current state

    def group(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName=name)["nodegroup"]
        return found

    def groups(self) -> list[str]:
        return sorted(self.eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"])

    def templates(self) -> list[str]:
        return sorted(
            template["LaunchTemplateName"] for template in self.ec2.describe_launch_templates()["LaunchTemplates"]
        )

    def user_data(self, name: str) -> str:
        """The user data of the template version that the group uses."""
        used = self.group(name)["launchTemplate"]
        found = self.ec2.describe_launch_template_versions(LaunchTemplateId=used["id"], Versions=[used["version"]])
        data = found["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]
        return base64.b64decode(data).decode()

    def sent(self, name: str) -> set[str]:
        """What the updates of a group sent, by EKS's own names: MaxSize, DesiredSize, TaintsToAdd, ..."""
        found = {"name": CLUSTER, "nodegroupName": name}
        updates = [
            self.eks.describe_update(**found, updateId=update) for update in self.eks.list_updates(**found)["updateIds"]
        ]
        return {param["type"] for update in updates for param in update["update"]["params"]}

    # Runs

    def run(self, *tasks: Mapping[str, Any], env: Mapping[str, str] | None = None) -> list[TaskResult]:
        """Run the module with these options, one task each in one play.

        C(_check) and C(_module) are no options of the module.
        """
        steps = []
        for number, task in enumerate(tasks):
            options = {key: value for key, value in task.items() if not key.startswith("_")}
            module = task.get("_module", MODULE)
            if module == MODULE:
                options = {"cluster": CLUSTER, "wait_delay": 1, **options}
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

    def run_task(self, **options: Any) -> TaskResult:
        return self.run(options)[0]

    def play(self, playbook: str, *options: str, env: Mapping[str, str] | None = None) -> list[TaskResult]:
        """Run a playbook, and return the result of each task."""
        self._runs += 1
        given = {**self.aws.env, "AWS_REGION": REGION, **(env or {})}
        tasks = play(self.folder, self._runs, playbook, *options, env=given).tasks
        return [TaskResult(task["result"], task["status"] == "failed", task["task"]) for task in tasks]

    def writes(self) -> list[str]:
        return [call.operation for call in self.aws.calls(mutating=True)]


@pytest.fixture
def account(aws: OwnAws, tmp_path: Path) -> Account:
    return Account(aws, tmp_path)
