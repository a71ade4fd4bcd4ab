# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace on the bed's real cluster, two nodes to drain, two nodes for evicted pods, and runs of the module."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.plays import play, playbook_of
from integration.targets.eks_node_drain.stub import Nodes
from integration.targets.eks_sysctl_nodegroup.kit import TaskResult
from testbed import Bed
from testbed.eks import Cluster

MODULE = "daytwo.aws.eks_node_drain"


class Shop:
    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.api = cluster.api
        self.kubeconfig = str(cluster.kubeconfig)
        self.directory = directory
        mark = uuid.uuid4().hex[:6]
        self.namespace = f"shop-{mark}"
        self.old = [f"old-{mark}-1", f"old-{mark}-2"]
        self.new = [f"new-{mark}-1", f"new-{mark}-2"]
        self.group = f"old-{mark}"
        self._runs = 0
        self.api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.instances = [f"i-0{uuid.uuid4().hex[:16]}" for _name in self.old]
        own = {
            name: {"providerID": f"aws:///eu-central-1a/{instance}"}
            for name, instance in zip(self.old, self.instances, strict=True)
        }
        self.nodes = [Nodes(self.api, self.old, self.group, own=own)]

    def add_new_nodes(self) -> None:
        """Add the nodes for evicted pods."""
        self.nodes.append(Nodes(self.api, self.new, "new"))

    def close(self) -> None:
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        wait_for(lambda: not self.pods(), "end of the pods")
        for nodes in self.nodes:
            nodes.close()

    def deploy(self, name: str, replicas: int, wait: bool = True, **spec: Any) -> None:
        labels = {"app": name}
        container = {"name": "main", "image": "registry.example/none"}
        pod = {"terminationGracePeriodSeconds": 2, "containers": [container], **spec}
        self.api.post(
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments",
            {
                "metadata": {"name": name},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
        )
        if wait:
            wait_for(lambda: len(self.running(name)) == replicas, f"{replicas} pods of {name}")

    def pod(self, name: str, node: str, **meta: Any) -> None:
        """A pod without a controller that would create it again."""
        container = {"name": "main", "image": "registry.example/none"}
        body = {"metadata": {"name": name, **meta}, "spec": {"nodeName": node, "containers": [container]}}
        self.api.post(f"/api/v1/namespaces/{self.namespace}/pods", body)

    def budget(self, name: str, app: str, **spec: Any) -> None:
        body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}, **spec}}
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        self.api.post(path, body)
        wait_for(
            lambda: self.api.get(f"{path}/{name}").get("status", {}).get("observedGeneration"),
            f"the status of budget {name}",
        )

    def pods(self) -> list[dict[str, Any]]:
        return list(self.api.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"])

    def running(self, app: str) -> list[str]:
        """Nodes of the pods of an app that are Running and not terminating."""
        return [
            pod["spec"]["nodeName"]
            for pod in self.pods()
            if pod["metadata"].get("labels", {}).get("app") == app
            and pod["status"].get("phase") == "Running"
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def cordoned(self) -> list[str]:
        names = self.old
        return [name for name in names if self.api.get(f"/api/v1/nodes/{name}")["spec"].get("unschedulable")]

    def run(self, **options: Any) -> TaskResult:
        self._runs += 1
        check = options.pop("_check", False)
        if not {"nodes", "selector", "node_groups"} & set(options):
            options["node_groups"] = [self.group]
        task = {
            "name": "Task",
            MODULE: {"kubeconfig": self.kubeconfig, **options},
            "check_mode": check,
            "diff": True,
            "ignore_errors": True,
        }
        playbook = playbook_of(self.directory, self._runs, [task])
        line = play(self.directory, self._runs, playbook, env={"AWS_REGION": "eu-central-1"}).tasks[0]
        return TaskResult(line["result"], line["status"] == "failed", line["task"])


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} seconds"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def bed() -> Bed:
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True)
    return Bed.load()


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(cluster, tmp_path)
    yield shop
    shop.close()
