# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods on a node of a private subnet, whose kubelet cannot pull: the role brings the image, and the same pod runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import PLAIN, Case, Ran
from integration.targets.testbed_nodes.kit import Groups, wait
from testbed import engines
from testbed.hosts import KEY
from testbed.nodes.machine import Machine

GROUP = "image-pod"
BY_TAG, BY_INDEX, UNPINNED = f"{PLAIN}/it-app:v1", f"{PLAIN}/it-multi:v1", f"{PLAIN}/it-small:v1"
CA_PATH = "/opt/testbed/ca.pem"
COLLECT = (
    *("--image-gc-high-threshold=1", "--image-gc-low-threshold=0", "--minimum-image-ttl-duration=1ms"),
    "--local-storage-capacity-isolation=true",  # else the kubelet does not know the size of the disk
)


class PrivateNode:
    """A real node with its kubelet and containerd, and the pods on it."""

    def __init__(self, case: Case, groups: Groups) -> None:
        self.case, self.groups = case, groups
        groups.active(GROUP)
        (node,) = groups.nodes(GROUP)
        self.name: str = node["metadata"]["name"]
        (self.machine,) = groups.machines(GROUP)
        self.address: str = groups.instances(GROUP)[0]["PrivateIpAddress"]
        self.machine.put(CA_PATH, case.bed.ca.read_text())

    def transfer(self, name: str, check: bool = False, **more: Any) -> Ran:
        public_key = (self.machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        known_hosts = self.case.ansible.folder / "known_hosts"
        known_hosts.write_text(f"{self.address} {public_key}")
        ssh = f"-F /dev/null -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts}"
        node = {
            "ansible_host": self.address,
            "ansible_ssh_private_key_file": str(KEY),
            "ansible_ssh_common_args": ssh,
            "ansible_python_interpreter": "/usr/bin/python3",
            "image_transfer_ca_path": CA_PATH,
        }
        run = self.case.check if check else self.case.transfer
        return run(name, targets=self.name, first={self.name: node}, **more).succeed()

    def install_new_containerd(self) -> None:
        """Replaces the node's containerd by containerd 2, as another AMI would."""
        engines.ensure()
        for program in ("containerd", "containerd-shim-runc-v2", "ctr"):
            write = f"cat > /usr/bin/{program}.new; chmod 755 /usr/bin/{program}.new; mv /usr/bin/{program}.new"
            with (engines.directory() / program).open("rb") as file:
                self.machine.run("sh", "-ec", f"{write} /usr/bin/{program}", stdin=file)
        self.machine.run("systemctl", "restart", "containerd")
        wait("containerd 2", lambda: re.search(r"Server:\s+Version: +v?2\.", self._read_versions()))

    def _read_versions(self) -> str:
        return self.machine.run("ctr", "version", check=False).stdout

    def create_pod(self, name: str, image: str) -> str:
        """Create a pod that runs on this node, and return its uid."""
        container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}
        self.groups.pod(name, self.name, containers=[container], restartPolicy="Never")
        return str(self.pod(name)["metadata"]["uid"])

    def pod(self, name: str) -> dict[str, Any]:
        return self.groups.api.get(f"/api/v1/namespaces/default/pods/{name}")

    def waits_for_image(self, name: str) -> bool:
        statuses = self.pod(name)["status"].get("containerStatuses", [])
        return [s["state"].get("waiting", {}).get("reason") for s in statuses] == ["ImagePullBackOff"]

    def output(self, name: str) -> str:
        wait(f"the end of pod {name}", lambda: self.pod(name)["status"]["phase"] in ("Succeeded", "Failed"))
        return self.groups.bed.cluster.kubectl("logs", name).stdout.strip()

    def references(self) -> set[str]:
        return set(self.machine.run("ctr", "--namespace", "k8s.io", "images", "list", "--quiet").stdout.split())


@pytest.fixture
def node(case: Case, groups: Groups) -> PrivateNode:
    return PrivateNode(case, groups)


@pytest.mark.parametrize(
    ("names", "refuses"), [(["by-index"], True), pytest.param(["by-tag", "by-index"], False, marks=pytest.mark.full)]
)
def test_a_pod_that_cannot_pull_runs_after_the_transfer(
    case: Case, node: PrivateNode, names: list[str], refuses: bool
) -> None:
    if refuses:  # packets to elsewhere are dropped, and each pull takes 30 seconds until it ends
        node.machine.run("iptables", "-A", "OUTPUT", "-j", "REJECT")
    index = case.bed.images.index_digest("it-multi:v1")
    images = {"by-tag": (BY_TAG, BY_TAG), "by-index": (BY_INDEX, f"{PLAIN}/it-multi@{index}")}
    uids = {name: node.create_pod(name, images[name][1]) for name in names}
    for name in names:
        wait(f"ImagePullBackOff of {name}", lambda name=name: node.waits_for_image(name))  # type: ignore[misc]

    for name in names:
        planned = node.transfer(images[name][0], check=True)
        ran = node.transfer(images[name][0])
        assert ran.report(node.name)["steps"] == planned.report(node.name)["steps"] != []

    printed = {"by-tag": "it-app v1", "by-index": "it-multi v1"}
    assert {name: node.output(name) for name in names} == {name: printed[name] for name in names}
    # The kubelet has started the same pods: nobody deleted them.
    assert {name: node.pod(name)["metadata"]["uid"] for name in names} == uids


@pytest.mark.full
def test_the_kubelets_garbage_collection_keeps_what_is_pinned(node: PrivateNode) -> None:
    """With containerd 2: containerd 1.6 does not report the label to the kubelet."""
    node.install_new_containerd()
    node.transfer(BY_TAG)
    node.transfer(UNPINNED, containerd_pinned=False)
    assert {BY_TAG, UNPINNED} <= node.references()
    collect(node.machine)
    # The kubelet collects at its start if it knows the size of the disk by then, or 5 minutes later.
    wait("the garbage collection", lambda: UNPINNED not in node.references(), 420)
    assert BY_TAG in node.references()
    node.create_pod("after", BY_TAG)
    assert node.output("after") == "it-app v1"


def collect(machine: Machine) -> None:
    """Restart the kubelet so that it removes each unused image. The last one of a repeated option counts."""
    path = "/usr/bin/kubelet"
    text = (machine.root / path.lstrip("/")).read_text().rstrip("\n")
    machine.put(path, f"{text} {' '.join(COLLECT)}\n")
    machine.run("chmod", "755", path)
    machine.run("systemctl", "restart", "kubelet")
