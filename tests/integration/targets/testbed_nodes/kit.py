# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common parts of these tests: node groups with real nodes, created and deleted by EKS's own calls, and their pods."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testbed import Bed, paths
from testbed.aws.control import send_command
from testbed.control_plane import Api, ApiError
from testbed.nodes.image import BUSYBOX
from testbed.nodes.machine import Machine

AWS = f"http://{paths.AWS}:{paths.AWS_PORT}"
POD = {"command": ["sh", "-c", "trap exit TERM; sleep 86400 & wait"], "image": BUSYBOX, "name": "main"}


def wait(what: str, check: Callable[[], Any], seconds: float = 240) -> Any:
    """Wait for the first true result. The limit is long, because these tests do not measure speed."""
    end = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < end, f"timed out after {seconds} s while waiting for {what}"
        time.sleep(0.2)
    return answer


class Groups:
    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.eks, self.ec2 = bed.cluster.client("eks"), bed.cluster.client("ec2")
        self.cluster = bed.cluster.name
        self.role = bed.cluster.role("testbed-node", "ec2")
        self.made: list[str] = []
        self.templates: list[str] = []

    @property
    def api(self) -> Api:
        return self.bed.cluster.api

    def settings(self, **changes: Any) -> None:
        send_command(AWS, "eks/settings", **changes)

    def template(self, name: str, user_data: bytes, **more: Any) -> dict[str, str]:
        """Create a launch template, or a new version of it."""
        data = {**more, **({"UserData": base64.b64encode(user_data).decode()} if user_data else {"KeyName": "k"})}
        if name in self.templates:
            made = self.ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
            return {"name": name, "version": str(made["LaunchTemplateVersion"]["VersionNumber"])}
        self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
        self.templates.append(name)
        return {"name": name, "version": "1"}

    def create(self, name: str, count: int = 1, **more: Any) -> None:
        sizes = {"minSize": 0, "maxSize": 4, "desiredSize": count}
        request = {"subnets": self.bed.cluster.subnets(), "nodeRole": self.role, "scalingConfig": sizes, **more}
        self.eks.create_nodegroup(clusterName=self.cluster, nodegroupName=name, **request)
        self.made.append(name)

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_nodegroup(clusterName=self.cluster, nodegroupName=name)["nodegroup"]
        return found

    def wait_until_done(self, name: str) -> dict[str, Any]:
        in_progress = ("CREATING", "UPDATING")
        wait(f"the end of {name}'s change", lambda: self.get(name)["status"] not in in_progress)
        return self.get(name)

    def active(self, name: str, count: int = 1, **more: Any) -> dict[str, Any]:
        self.create(name, count, **more)
        found = self.wait_until_done(name)
        assert found["status"] == "ACTIVE", (found["health"], self.read_logs(name))
        return found

    def configure(self, name: str, **more: Any) -> dict[str, Any]:
        update = self.eks.update_nodegroup_config(clusterName=self.cluster, nodegroupName=name, **more)["update"]
        return self.outcome(name, update)

    def update(self, name: str, **more: Any) -> dict[str, Any]:
        update = self.eks.update_nodegroup_version(clusterName=self.cluster, nodegroupName=name, **more)["update"]
        return self.outcome(name, update)

    def outcome(self, name: str, update: dict[str, Any]) -> dict[str, Any]:
        self.wait_until_done(name)
        answer = self.eks.describe_update(name=self.cluster, nodegroupName=name, updateId=update["id"])
        shown: dict[str, Any] = answer["update"]
        return shown

    def begin_delete(self, name: str) -> None:
        self.eks.delete_nodegroup(clusterName=self.cluster, nodegroupName=name)

    def gone(self, name: str) -> bool:
        return name not in self.eks.list_nodegroups(clusterName=self.cluster)["nodegroups"]

    # Nodes

    def instances(self, name: str) -> list[dict[str, Any]]:
        """The running instances of the group in EC2."""
        filters = [
            {"Name": "tag:eks:nodegroup-name", "Values": [name]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
        found = self.ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance for reservation in found for instance in reservation["Instances"]]

    def nodes(self, name: str) -> list[dict[str, Any]]:
        """The nodes of the group in the API, found by their instances."""
        named = {instance["PrivateDnsName"] for instance in self.instances(name)}
        found: list[dict[str, Any]] = self.api.get("/api/v1/nodes")["items"]
        return [node for node in found if node["metadata"]["name"] in named]

    def machines(self, name: str) -> list[Machine]:
        return [Machine(instance["InstanceId"], self.bed.cloud) for instance in self.instances(name)]

    def read_logs(self, name: str) -> str:
        """The logs of the boot and of the kubelet of a group's nodes."""
        texts = []
        for machine in self.machines(name):
            for log in (machine.log("boot"), machine.log("cloud-init-output")):
                texts.append(log.read_text() if log.exists() else "")
            texts.append(machine.kubelet_log()[-20_000:])
        return "\n".join(texts)

    # Pods

    def pod(self, name: str, node: str = "", sysctls: dict[str, str] | None = None, **spec: Any) -> None:
        context = {"sysctls": [{"name": key, "value": value} for key, value in (sysctls or {}).items()]}
        body = {
            "metadata": {"name": name},
            "spec": {
                **({"nodeName": node} if node else {}),
                "terminationGracePeriodSeconds": 1,
                "securityContext": context,
                "containers": [POD],
                **spec,
            },
        }
        path = "/api/v1/namespaces/default/pods"
        wait(
            "the default service account",
            lambda: self.find_object("/api/v1/namespaces/default/serviceaccounts/default"),
        )
        self.api.post(path, {"apiVersion": "v1", "kind": "Pod", **body})

    def find_object(self, path: str) -> dict[str, Any] | None:
        try:
            return self.api.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    def ended_up(self, name: str) -> str:
        """Wait until a pod runs or has failed, and return its phase and reason."""
        path = f"/api/v1/namespaces/default/pods/{name}"

        def read_final_state() -> str:
            status = self.api.get(path)["status"]
            ready = all(container["ready"] for container in status.get("containerStatuses", [{"ready": False}]))
            if status["phase"] == "Failed" or (status["phase"] == "Running" and ready):
                return f"{status['phase']} {status.get('reason', '')} {status.get('message', '')}".strip()
            return ""

        return str(wait(f"pod {name}", read_final_state))

    def execute(self, pod: str, *command: str) -> str:
        return self.bed.cluster.kubectl("exec", pod, "--", *command).stdout.strip()

    # Clean up

    def adopt(self) -> None:
        self.made = self.eks.list_nodegroups(clusterName=self.cluster)["nodegroups"]
        found = self.ec2.describe_launch_templates()["LaunchTemplates"]
        self.templates = [template["LaunchTemplateName"] for template in found]

    def clean(self) -> None:
        self.settings(drain_seconds=1, join_seconds=1, evict_seconds=1)
        for path in (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            "/apis/apps/v1/namespaces/default/deployments",
        ):
            self.api.delete(path)
        self.api.request("DELETE", "/api/v1/namespaces/default/pods?gracePeriodSeconds=0")
        for name in self.made:
            if not self.gone(name):
                self.wait_until_done(name)
                if self.get(name)["status"] != "DELETING":
                    self.begin_delete(name)
        for name in self.made:
            wait(f"the end of group {name}", lambda name=name: self.gone(name))  # type: ignore[misc]
        for name in self.templates:
            self.ec2.delete_launch_template(LaunchTemplateName=name)
        self.made, self.templates = [], []
        self.settings()


@pytest.fixture
def groups() -> Iterator[Groups]:
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True, capture_output=True)
    made = Groups(Bed.load())
    made.adopt()
    made.clean()  # left by an aborted run
    yield made
    made.clean()


def node_config(*documents: str, kind: str = "application/node.eks.aws", newline: str = "\n") -> bytes:
    """MIME user data with these parts."""
    parts = "".join(f"--==B==\nContent-Type: {kind}\n\n{document}\n" for document in documents)
    text = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="==B=="\n\n{parts}--==B==--\n'
    return text.replace("\n", newline).encode()


def kubelet_config(config: Any = None, flags: Any = None, cluster: Any = None, **other: Any) -> str:
    spec: dict[str, Any] = {"kubelet": {}}
    if config is not None:
        spec["kubelet"]["config"] = config
    if flags is not None:
        spec["kubelet"]["flags"] = flags
    if cluster is not None:
        spec["cluster"] = cluster
    spec["kubelet"] |= other
    return json.dumps({"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}, indent=1)
