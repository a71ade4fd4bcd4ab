# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real node that the playbook reaches by ssh, and everything that a trial may leave on it."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from integration.targets.eks_sysctl_nodegroup.kit import TaskResult
from integration.targets.role_sysctl_nodegroup.kit import UNSAFE, Fleet
from testbed import Bed
from testbed.control_plane import ApiError
from testbed.hosts import KEY

PLAYBOOK = "daytwo.aws.sysctl_trial"
TRIAL_LABEL = "daytwo.aws/sysctl-trial"
OWN = "kernel.msg*"  # in the allow-list of the group's user data already
SSH = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
# Names, types, modes, owners and contents of every file below the directories that a trial changes.
SNAPSHOT = """
cd /etc && find kubernetes eks systemd/system daytwo-sysctl-trial 2> /dev/null | LC_ALL=C sort | while read -r path; do
  stat -c '%A %u %g %n' "$path"
  if [ -f "$path" ]; then stat -c %Y "$path"; sha256sum "$path"; fi
done
"""
NODE_CONFIG = f"""\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="x"

--x
Content-Type: application/node.eks.aws

apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  kubelet:
    config:
      maxPods: 17
      allowedUnsafeSysctls: ["{OWN}"]

--x--
"""


class Trial:
    """Runs the playbook on the only node of a node group."""

    def __init__(self, fleet: Fleet, group: str) -> None:
        self.fleet = fleet
        (self.node,) = fleet.nodes(group)
        found = fleet.ec2.describe_instances(Filters=[{"Name": "private-dns-name", "Values": [self.node]}])
        self.address = found["Reservations"][0]["Instances"][0]["PrivateIpAddress"]
        self.inventory = fleet.folder / f"{group}.ini"
        options = " ".join(("-F", "/dev/null", *SSH))
        self.inventory.write_text(
            f"{self.node} ansible_host={self.address} ansible_user=root ansible_ssh_private_key_file={KEY} "
            f"ansible_ssh_common_args='{options}' ansible_become=false ansible_python_interpreter=/no/python\n"
        )

    def ssh(self, command: str) -> str:
        argv = ["ssh", "-F", "/dev/null", "-i", str(KEY), *SSH, f"root@{self.address}", command]
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def snapshot(self) -> str:
        return self.ssh(SNAPSHOT)

    def effective(self) -> list[str]:
        """The allow-list in the kubelet's configz."""
        try:
            found = self.fleet.api.get(f"/api/v1/nodes/{self.node}/proxy/configz")["kubeletconfig"]
        except ApiError as error:
            return [f"configz is not readable: {error}"]
        return list(found.get("allowedUnsafeSysctls") or [])

    def labels_and_taints(self) -> list[str]:
        node = self.fleet.api.get(f"/api/v1/nodes/{self.node}")
        taints = [f"taint {taint['key']}" for taint in node["spec"].get("taints") or [] if taint["key"] == TRIAL_LABEL]
        notes = {**node["metadata"]["labels"], **node["metadata"].get("annotations", {})}
        return taints + sorted(key for key in notes if key.startswith(TRIAL_LABEL))

    def run(self, *options: str, env: dict[str, str] | None = None, **variables: Any) -> list[TaskResult]:
        given = {
            "sysctl_trial_host": self.node,
            "sysctl_trial_kubeconfig": str(self.fleet.cluster.kubeconfig),
            "sysctl_trial_sysctls": {UNSAFE: 2048},
            "sysctl_trial_proof_timeout": 60,
            **variables,
        }
        return self.fleet.run(PLAYBOOK, given, "-i", str(self.inventory), *options, env=env)


@pytest.fixture(scope="module")
def fleet(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    bed.cluster.ensure()
    fleet = Fleet(bed, bed.cluster, tmp_path_factory.mktemp("trial"))
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def trial(fleet: Fleet) -> Trial:
    """On Amazon Linux 2023, with kubelet settings in its user data."""
    encoded = base64.b64encode(NODE_CONFIG.encode()).decode()
    made = fleet.ec2.create_launch_template(
        LaunchTemplateName=f"theirs-nodeconfig-{fleet.mark}", LaunchTemplateData={"UserData": encoded}
    )
    fleet.create(launchTemplate={"id": made["LaunchTemplate"]["LaunchTemplateId"], "version": "1"})
    return Trial(fleet, fleet.old)
