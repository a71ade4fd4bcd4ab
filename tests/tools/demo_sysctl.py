# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The act on node groups whose pods may set sysctls: a real Kubernetes, and two real kubelets one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from demo import ANSIBLE, check, explain, proved, refuse, run, title
from testbed import Bed, BedError, control_plane, programs
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
        """Of an earlier demonstration, or of this one."""
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
        """A group with one node, and an application of two pods that has a budget."""
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
        """A pod that wants the sysctl; what kubectl says of it."""
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


def main() -> None:
    title("Node groups whose pods may set sysctls")
    if not programs.folder().exists():
        explain(
            """This act needs Kubernetes' own programs, which are still being built from their sources. Once
            `make testbed-up CLUSTER=1` has ended, `make demo` shows it."""
        )
        return
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    bed = Bed.load()
    bed.cluster.ensure()
    stage = Stage(bed)
    stage.clear()
    try:
        stage.fill()
        play_act(stage)
    finally:
        stage.clear()
    proved(f"It took {time.monotonic() - began:.0f} s. More: docs/sysctl_nodegroup.md")


def play_act(stage: Stage) -> None:
    explain(
        f"""An EKS cluster with a real Kubernetes, and a node group {OLD} with one real kubelet. An application of two
        pods runs there, of which one at a time may be away."""
    )
    title("1  Do I need a node group for keep-alive?")
    output = " ".join(stage.playbook("net.ipv4.tcp_keepalive_time", "--check").split())
    check("safe since Kubernetes 1.29" in output, "it does not explain since when it is safe.")
    check("would:" not in output, "it would do something.")
    proved("No. Every kubelet since 1.29 lets pods set it.")
    title(f"2  Another pod wants {UNSAFE}")
    check("SysctlForbidden" in stage.cache("SysctlForbidden"), "the pod is not forbidden.")
    proved("The kubelet refuses it.")
    title("3  The move to a group that allows it")
    output = " ".join(stage.playbook(UNSAFE).split())
    check(stage.groups() == [NEW], f"there are {stage.groups()}.")
    check(stage.ready() == 2, "the application is not all there.")
    proved(f"{NEW} is there, its node proved by a pod; the application is there, too; {OLD} is drained and gone.")
    title("4  The same pod once more")
    stage.cache("Running")
    value = stage.run("kubectl", "exec", "-n", SPACE, "cache", "--", "cat", "/proc/sys/net/core/somaxconn").strip()
    check(value == "2048", f"it reads {value}.")
    proved("It runs, with the value that it asked for.")


if __name__ == "__main__":
    try:
        main()
    except BedError as error:
        refuse(str(error))
