# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster of the demos: a node group, an application on it, and pods."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from demo import ANSIBLE, check, run
from testbed import Bed, control_plane
from testbed.nodes.image import BUSYBOX

OLD, NEW, SPACE = "workers", "workers-sysctl", "shop"
UNSAFE = "net.core.somaxconn"


def wait(holds: Callable[[], Any], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not holds():
        check(time.monotonic() < end, f"after {seconds:.0f} s there is still no {what}.")
        time.sleep(0.2)


class Stage:
    def __init__(self, bed: Bed) -> None:
        self.cluster = bed.cluster
        self.eks = bed.cluster.client("eks")
        self.environment = {
            **ANSIBLE,
            **bed.env,
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "PATH": f"{control_plane.BIN}:{os.environ['PATH']}",
            "ANSIBLE_DEPRECATION_WARNINGS": "false",
        }

    def groups(self) -> list[str]:
        found = self.eks.list_nodegroups(clusterName=self.cluster.name)["nodegroups"]
        return sorted({OLD, NEW} & set(found))

    def clear(self) -> None:
        """Delete what this demo or an earlier one created."""
        self.cluster.kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--grace-period=1")
        for name in self.groups():
            self.eks.delete_nodegroup(clusterName=self.cluster.name, nodegroupName=name)
        wait(lambda: not self.groups(), "end of the node groups")
        ec2 = self.cluster.client("ec2")
        name = f"daytwo-{self.cluster.name}-{NEW}"
        for template in ec2.describe_launch_templates()["LaunchTemplates"]:
            if template["LaunchTemplateName"] == name:
                ec2.delete_launch_template(LaunchTemplateName=name)

    def fill(self) -> None:
        """Create a group with one node, and an application of two pods with a PodDisruptionBudget."""
        self.eks.create_nodegroup(
            clusterName=self.cluster.name,
            nodegroupName=OLD,
            subnets=self.cluster.subnets(),
            nodeRole=self.cluster.role("node", "ec2"),
            scalingConfig={"minSize": 1, "maxSize": 2, "desiredSize": 1},
        )
        labels = {"app": "web"}
        container = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "100000"]}
        pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web", "namespace": SPACE},
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "web", "namespace": SPACE},
                "spec": {"selector": {"matchLabels": labels}, "maxUnavailable": 1},
            },
        )
        wait(lambda: self.ready() == 2, "two Ready pods")

    def apply(self, *documents: dict[str, Any]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.cluster.kubectl("apply", "-f", "-", stdin=text)

    def ready(self) -> int:
        found = json.loads(self.cluster.kubectl("get", "deployment", "web", "-n", SPACE, "-o", "json").stdout)
        return int(found["status"].get("readyReplicas", 0))

    def cache(self, ends: str) -> str:
        """Create a pod that sets the sysctl, and return the output of kubectl."""
        self.cluster.kubectl("delete", "pod", "cache", "-n", SPACE, "--ignore-not-found")
        container = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "100000"]}
        spec = {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"sysctls": [{"name": UNSAFE, "value": "2048"}]},
            "containers": [container],
        }
        meta = {"name": "cache", "namespace": SPACE}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        arguments = ("get", "pod", "cache", "-n", SPACE)
        wait(lambda: ends in self.cluster.kubectl(*arguments).stdout, f"pod with {ends}", 30)
        return self.run("kubectl", *arguments)

    def run(self, *command: str) -> str:
        code, output = run("controller", *command, environment=self.environment)
        check(code == 0, f"{command[0]} ends with {code}.")
        return output

    def playbook(self, sysctl: str, *options: str) -> str:
        given = {
            "sysctl_nodegroup_cluster": self.cluster.name,
            "sysctl_nodegroup_name": NEW,
            "sysctl_nodegroup_clone_from": OLD,
            "sysctl_nodegroup_sysctls": [sysctl],
            "sysctl_nodegroup_wait_delay": 1,
        }
        return self.run("ansible-playbook", "daytwo.aws.sysctl_nodegroup", "-e", json.dumps(given), *options)
