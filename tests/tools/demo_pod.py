# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Demo of a pod whose node cannot reach the registry: the image comes through S3, and the same pod runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import demo_image
from demo import check, explain, proved, title
from demo_cluster import NEW, SPACE, Stage, wait
from testbed import Bed, hosts
from testbed.nodes.machine import Machine
from testbed.registry import PLAIN

POD, IMAGE = "shop", f"{PLAIN}/shop:v1"
CA_PATH = "/opt/testbed/ca.pem"


def find_node(stage: Stage) -> tuple[str, str, Machine]:
    """The name, the address and the machine of the group's only node."""
    filters = [
        {"Name": "tag:eks:nodegroup-name", "Values": [NEW]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    (reservation,) = stage.cluster.client("ec2").describe_instances(Filters=filters)["Reservations"]
    (instance,) = reservation["Instances"]
    return instance["PrivateDnsName"], instance["PrivateIpAddress"], Machine(instance["InstanceId"], Bed().cloud)


def write_inventory(folder: Path, stage: Stage) -> tuple[str, Path]:
    """The node as a host of the inventory, with its known host key."""
    name, address, machine = find_node(stage)
    machine.put(CA_PATH, Bed().ca.read_text())
    known = folder / "known_hosts"
    known.write_text(f"{address} {(machine.root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text()}")
    variables = {
        "ansible_host": address,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(hosts.KEY),
        "ansible_ssh_common_args": f"-F /dev/null -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "image_transfer_ca_path": CA_PATH,
    }
    path = folder / "node.yml"
    path.write_text(json.dumps({"all": {"hosts": {name: variables}}}))
    return name, path


def read_uid(stage: Stage) -> str:
    return stage.cluster.kubectl("get", "pod", POD, "-n", SPACE, "-o", "jsonpath={.metadata.uid}").stdout


def play(stage: Stage, number: int) -> None:
    bed = Bed.load()
    demo_image.into_registry(bed)
    arguments = ("get", "pod", POD, "-n", SPACE)
    title(f"{number}  A pod whose node cannot reach the registry")
    explain("The node is in a private subnet. It reaches S3 by the VPC's endpoint, and no registry.")
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    stage.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD, "namespace": SPACE},
            "spec": {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1},
        }
    )
    wait(lambda: "ImagePullBackOff" in stage.cluster.kubectl(*arguments).stdout, "ImagePullBackOff")
    stage.run("kubectl", *arguments)
    uid = read_uid(stage)
    title(f"{number + 1}  The image comes through S3")
    with tempfile.TemporaryDirectory() as folder:
        node, inventory = write_inventory(Path(folder), stage)
        given = {
            "image_transfer_targets": node,
            "image_transfer_source_host": "public",
            "image_transfer_images": [{"name": IMAGE}],
            "image_transfer_plain_http": True,
            "image_transfer_bucket": demo_image.BUCKET,
            "image_transfer_prefix": demo_image.PREFIX,
        }
        sources = ("-i", str(bed.inventory), "-i", str(inventory))
        stage.run("ansible-playbook", "daytwo.aws.image_transfer", *sources, "-e", json.dumps(given))
    wait(lambda: "Completed" in stage.cluster.kubectl(*arguments).stdout, "completed pod", 180)
    stage.run("kubectl", *arguments)
    printed = stage.run("kubectl", "logs", POD, "-n", SPACE).strip()
    check(printed == "shop v1", f"the pod printed {printed!r}.")
    check(read_uid(stage) == uid, "it is another pod.")
    proved("The kubelet found the image, and ran the same pod. Nobody deleted it.")
