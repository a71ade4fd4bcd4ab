# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Demo of node groups whose pods may set sysctls: a real Kubernetes, and two real kubelets, one after the other."""

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


def main() -> None:
    title("Node groups whose pods may set sysctls")
    if not programs.directory().exists():
        explain(
            """This demo needs the programs of Kubernetes, and they are not built yet. Run `make demo` again when
            `make testbed-up CLUSTER=1` has ended."""
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
        f"""An EKS cluster with a real Kubernetes has a node group {OLD} with one real kubelet. An application of two
        pods runs there. Its PodDisruptionBudget allows one unavailable pod."""
    )
    title("1  Does keep-alive require a node group?")
    output = " ".join(stage.playbook("net.ipv4.tcp_keepalive_time", "--check").split())
    check("safe since Kubernetes 1.29" in output, "the output does not name the version since which it is safe.")
    check("would:" not in output, "the plan has steps.")
    proved("No. Since 1.29, every kubelet lets pods set it.")
    title(f"2  Another pod sets {UNSAFE}")
    check("SysctlForbidden" in stage.cache("SysctlForbidden"), "the pod is not forbidden.")
    proved("The kubelet refuses the pod.")
    title("3  Blue/green replacement by a group that allows it")
    output = " ".join(stage.playbook(UNSAFE).split())
    check(stage.groups() == [NEW], f"the node groups are {stage.groups()}.")
    check(stage.ready() == 2, "the application is not complete.")
    proved(
        f"{NEW} exists, and a proof pod verified its node. The application runs there. {OLD} is drained and deleted."
    )
    title("4  The same pod again")
    stage.cache("Running")
    value = stage.run("kubectl", "exec", "-n", SPACE, "cache", "--", "cat", "/proc/sys/net/core/somaxconn").strip()
    check(value == "2048", f"the value is {value}.")
    proved("The pod runs with the requested value.")


if __name__ == "__main__":
    try:
        main()
    except BedError as error:
        refuse(str(error))
