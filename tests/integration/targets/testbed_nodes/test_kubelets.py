# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of user data on real kubelets: a sysctl read back in a pod, SysctlForbidden, or a node that never joins."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from integration.targets.testbed_nodes.kit import Groups, wait
from integration.targets.testbed_nodes.user_data import ALLOWED, FORBIDDEN, NEVER, REFUSED, SYSCTL, TABLE, Row
from testbed import paths
from testbed.hosts import KEY
from testbed.nodes.machine import Machine
from testbed.nodes.model import Cluster, Instance, Order

SAMPLE = ("one list", "a second extra-args", "TOML")
BATCH = 5  # nodes at a time: the limit of 2 cores
JOIN_SECONDS = 180
GIVE_UP_SECONDS = 30


def cluster(groups: Groups) -> Cluster:
    found = groups.eks.describe_cluster(name=groups.cluster)["cluster"]
    cidr = found["kubernetesNetworkConfig"]["serviceIpv4Cidr"]
    return Cluster(found["name"], found["endpoint"], found["certificateAuthority"]["data"], cidr)


def begin(groups: Groups, number: int, row: Row) -> str:
    name = f"row-{number}"
    image = {"ImageId": "ami-0123456789abcdef0"} if row.custom else {}
    template = groups.template(name, row.make(cluster(groups)), **image)
    more: dict[str, Any] = {"amiType": row.ami_type} if row.ami_type else {}
    groups.create(name, launchTemplate=template, **more)
    return name


def verify_group(groups: Groups, name: str, row: Row) -> None:
    """Check the result of the group, and a pod on its node."""
    found = groups.wait_until_done(name)
    issues = found["health"]["issues"]
    if row.ends == REFUSED:
        assert (found["status"], issues[0]["code"]) == ("CREATE_FAILED", "Ec2LaunchTemplateInvalidConfiguration")
        assert row.why in issues[0]["message"]
        assert groups.instances(name) == []
    elif row.ends == NEVER:
        (instance,) = groups.instances(name)
        assert (found["status"], issues[0]["code"]) == ("CREATE_FAILED", "NodeCreationFailure"), groups.read_logs(name)
        assert issues[0]["resourceIds"] == [instance["InstanceId"]]
        assert groups.nodes(name) == []
        # EKS gives up after a time limit. On a busy machine the kubelet may not have started by then.
        wait(f"{row.why!r} in the logs of the node", lambda: row.why in groups.read_logs(name))
        wait("the end of the kubelet", lambda: groups.machines(name)[0].kubelet() is None)
        assert groups.nodes(name) == []
    else:
        assert found["status"] == "ACTIVE", (issues, groups.read_logs(name))
        (node,) = groups.nodes(name)
        verify_pod(groups, name, node["metadata"]["name"], row.ends)


def verify_pod(groups: Groups, name: str, node: str, ends: str) -> None:
    groups.pod(name, node, {SYSCTL: "2048"}, tolerations=[{"operator": "Exists"}])
    ended = groups.ended_up(name)
    if ends == ALLOWED:
        assert ended == "Running"
        assert groups.execute(name, "cat", "/proc/sys/net/core/somaxconn") == "2048"
    else:
        assert ended.startswith("Failed SysctlForbidden"), ended
        assert f'forbidden sysctl: "{SYSCTL}" not allowlisted' in ended


def run(groups: Groups, rows: Sequence[Row]) -> None:
    """Rows whose nodes join have a long time limit. The limit is short only for rows whose nodes must not join."""
    groups.settings(max_nodes=BATCH, join_seconds=JOIN_SECONDS)
    named = [(begin(groups, number, row), row) for number, row in enumerate(rows)]
    failed = []
    for name, row in sorted(named, key=lambda pair: pair[1].ends == NEVER):
        if row.ends == NEVER:
            groups.settings(max_nodes=BATCH, join_seconds=GIVE_UP_SECONDS)
        try:
            verify_group(groups, name, row)
        except AssertionError as error:
            failed.append(f"== {row.name} ({row.family}): {error}")
    assert not failed, "\n".join(failed)


def test_a_sample_of_the_table(groups: Groups) -> None:
    """One row of every family and of every result of a pod, because the whole table takes some minutes."""
    run(groups, [row for row in TABLE if row.name in SAMPLE])


BY_GROUP = [row for row in TABLE if not row.stock_al2]
JOIN = [row for row in BY_GROUP if row.ends in (ALLOWED, FORBIDDEN)]
FAIL = [row for row in BY_GROUP if row.ends in (NEVER, REFUSED)]


@pytest.mark.full
@pytest.mark.parametrize("first", range(0, len(JOIN), BATCH))
def test_those_that_join(groups: Groups, first: int) -> None:
    run(groups, JOIN[first : first + BATCH])


@pytest.mark.full
@pytest.mark.parametrize("first", range(0, len(FAIL), BATCH))
def test_those_that_do_not(groups: Groups, first: int) -> None:
    run(groups, FAIL[first : first + BATCH])


# AL2's own image, which no node group of this version can have: only the boot, on a machine without a node group


@contextmanager
def booted(groups: Groups, row: Row) -> Iterator[str]:
    instance = groups.ec2.run_instances(
        ImageId="ami-1", MinCount=1, MaxCount=1, InstanceType="t3.medium", SubnetId=groups.bed.cluster.subnets()[0]
    )["Instances"][0]
    key, name = instance["InstanceId"], instance["PrivateDnsName"]
    what = Instance(
        *(key, "t3.medium", "ami-1", paths.REGION, f"{paths.REGION}a", instance["PrivateIpAddress"], name),
    )
    details = cluster(groups)
    order = Order("al2", False, details, what, row.make(details), {"eks.amazonaws.com/nodegroup": "al2"})
    sts = groups.bed.cluster.client("sts")
    keys = sts.assume_role(RoleArn=groups.role, RoleSessionName=key)["Credentials"]
    role = {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }
    machine = Machine(f"boot-{key}", groups.bed.cloud)
    try:
        assert machine.launch(order, role, "10.239.1.0/24") is None
        path = f"/api/v1/nodes/{name}"
        wait(f"node {name}", lambda: groups.find_object(path) and ready(groups, path))
        yield name
    finally:
        machine.remove()
        groups.api.delete(f"/api/v1/nodes/{name}")
        groups.ec2.terminate_instances(InstanceIds=[key])


def ready(groups: Groups, path: str) -> bool:
    conditions = groups.api.get(path)["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@pytest.mark.full
@pytest.mark.parametrize("row", [row for row in TABLE if row.stock_al2], ids=lambda row: row.name)
def test_al2_without_an_image_of_ones_own(groups: Groups, row: Row) -> None:
    eks = groups.eks
    with suppress(eks.exceptions.ResourceInUseException):  # from an earlier node group
        eks.create_access_entry(clusterName=groups.cluster, principalArn=groups.role, type="EC2_LINUX")
    with booted(groups, row) as node:
        verify_pod(groups, "al2", node, row.ends)
        labels = groups.api.get(f"/api/v1/nodes/{node}")["metadata"]["labels"]
        assert labels["eks.amazonaws.com/nodegroup"] == "al2"
        groups.api.request("DELETE", "/api/v1/namespaces/default/pods/al2?gracePeriodSeconds=0")


# A node for an operator


@pytest.mark.full
def test_the_trial_on_a_node(groups: Groups) -> None:
    """By ssh: after a drop-in and a restart of the kubelet, the sysctl is allowed. Before, it is not."""
    row = next(row for row in TABLE if row.name == "another sysctl")
    groups.active("trial", launchTemplate=groups.template("trial", row.make(cluster(groups))))
    (node,) = groups.nodes("trial")
    (machine,) = groups.machines("trial")
    name = node["metadata"]["name"]
    verify_pod(groups, "before", name, FORBIDDEN)
    drop_in = '{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration",'
    drop_in += f'"allowedUnsafeSysctls":["{SYSCTL}"]}}'
    script = base64.b64encode(drop_in.encode()).decode()
    where = "/etc/kubernetes/kubelet/config.json.d/90-trial.conf"
    first = machine.kubelet()
    restart = "systemctl restart kubelet && systemctl is-active kubelet"
    assert ssh(groups, name, f"echo {script} | base64 -d >{where} && {restart}") == "active"
    assert machine.kubelet() not in (None, first)

    path = "/api/v1/namespaces/default/pods/after"

    def allowed() -> bool:
        if groups.find_object(path):
            groups.api.request("DELETE", f"{path}?gracePeriodSeconds=0")
        groups.pod("after", name, {SYSCTL: "2048"})
        return groups.ended_up("after") == "Running"

    wait("the restarted kubelet", allowed)
    assert groups.execute("after", "cat", "/proc/sys/net/core/somaxconn") == "2048"
    assert ssh(groups, name, "hostname") == name
    assert "could not be found" in ssh(groups, name, "systemctl start nginx 2>&1 || true")


def ssh(groups: Groups, name: str, command: str) -> str:
    (address,) = {
        instance["PrivateIpAddress"] for instance in groups.instances("trial") if instance["PrivateDnsName"] == name
    }
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    argv = ["ssh", "-F", "/dev/null", "-i", str(KEY), *options, f"root@{address}", command]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
