# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CreateCluster starts the cluster, DeleteCluster removes it completely, and `up` repairs it after any SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone

import pytest
from integration.targets.testbed.test_life import machine
from integration.targets.testbed_cluster import node_groups
from integration.targets.testbed_cluster.tokens import identity, token, url
from testbed import Bed, control_plane, paths
from testbed.eks import Cluster
from testbed.node import bed_processes, port_open, wait_for
from testbed.nodes import daemon
from testbed.nodes.machine import machines

CLI = [sys.executable, "-m", "testbed"]
SAMPLE = ("etcd", "aws-iam-authenticator")  # one on which others depend, one on which none does


def up() -> str:
    ran = subprocess.run([*CLI, "up", "--cluster"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def pids(bed: Bed) -> dict[str, int]:
    return {name: bed.cloud.pid_of(name) for name in ("aws", "gate", *control_plane.NAMES)}


def works(bed: Bed) -> None:
    """The cluster accepts objects, creates a service account in a new namespace, and accepts a token."""
    cluster = bed.cluster
    keys = {"access_key": bed.env["AWS_ACCESS_KEY_ID"], "secret_key": bed.env["AWS_SECRET_ACCESS_KEY"]}
    assert identity(cluster, token(url(keys, cluster.name)))
    cluster.kubectl("create", "namespace", "works")
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", "works", "--timeout=30s")
    cluster.kubectl("delete", "namespace", "works")
    described = cluster.client("eks").describe_cluster(name=cluster.name)["cluster"]
    assert described["status"] == "ACTIVE"
    assert described["endpoint"] == cluster.endpoint


def wait_until_heard(cluster: Cluster, node: str, since: datetime) -> None:
    """Wait until the kubelet has renewed the node's lease after this time, and the node is Ready."""

    def heard() -> bool:
        lease = cluster.api.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")
        conditions = cluster.api.get(f"/api/v1/nodes/{node}")["status"]["conditions"]
        ready = next(condition["status"] == "True" for condition in conditions if condition["type"] == "Ready")
        return ready and datetime.fromisoformat(lease["spec"]["renewTime"]) > since

    wait_for("the new kubelet's lease", heard, 120)


def test_a_second_up_touches_nothing(bed: Bed, cluster: Cluster) -> None:
    before = pids(bed)
    assert "nothing to do" in up()
    assert pids(bed) == before


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=() if part in SAMPLE else pytest.mark.full) for part in control_plane.NAMES],
)
def test_a_killed_part_comes_back_and_no_other_is_touched(bed: Bed, cluster: Cluster, part: str) -> None:
    cluster.kubectl("create", "configmap", "kept", "--dry-run=client", "-o", "name")
    cluster.api.apply(
        "/api/v1/namespaces/default/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
    )
    before = pids(bed)
    os.kill(before[part], signal.SIGKILL)
    time.sleep(0.1)
    status = subprocess.run([*CLI, "status"], capture_output=True, text=True, check=False)
    assert status.returncode == 3
    assert "DOWN" in next(line for line in status.stdout.splitlines() if line.startswith(f"cluster/{part} "))
    assert part in up()
    after = pids(bed)
    assert after.pop(part) != before.pop(part)
    # Parts that need the API server may end without it. The controller manager does so during its start.
    dependent = set(control_plane.NAMES) - set(control_plane.FIRST) if part in control_plane.FIRST else set()
    untouched = set(before) - dependent
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    cluster.kubectl("get", "configmap", "kept")
    works(bed)


@pytest.mark.full
def test_the_end_of_the_account_is_the_end_of_its_cluster(bed: Bed, cluster: Cluster) -> None:
    issuer, old = cluster.issuer, pids(bed)
    os.kill(old["aws"], signal.SIGKILL)
    output = up()
    assert "cluster" in output
    assert cluster.issuer != issuer
    assert not set(pids(bed).values()) & {pid for name, pid in old.items() if name != "gate"}
    works(bed)


def test_an_emptied_account_has_no_cluster(bed: Bed, cluster: Cluster) -> None:
    bed.reset_aws()
    assert cluster.live is None
    assert not set(bed.cloud.running()) & set(control_plane.NAMES)
    assert not control_plane.DIRECTORY.exists()


@pytest.mark.full
def test_an_account_that_is_emptied_while_its_cluster_comes_has_none_either(bed: Bed, cluster: Cluster) -> None:
    cluster.delete(cluster.name)
    eks, network = cluster.client("eks"), {"subnetIds": cluster.subnets()}
    eks.create_cluster(name="brief", roleArn=cluster.role("c"), resourcesVpcConfig=network)
    wait_for("its first process", lambda: "kube-apiserver" in bed.cloud.running(), 60)
    bed.reset_aws()
    time.sleep(1)
    up()
    assert bed.cluster.name == "testbed"
    works(bed)


@pytest.mark.full
def test_a_cluster_whose_control_plane_was_lost_gives_way_with_its_groups(bed: Bed, cluster: Cluster) -> None:
    issuer = cluster.issuer
    machine_ = node_groups.launched(cluster, "lost")
    control_plane.stop()  # as if its directory had been deleted by hand: EKS still has the cluster and its node group
    assert cluster.live is None
    bed.cluster.ensure()
    assert cluster.issuer != issuer
    eks = cluster.client("eks")
    assert eks.list_clusters()["clusters"] == [cluster.name]
    assert eks.list_nodegroups(clusterName=cluster.name)["nodegroups"] == []
    wait_for("the end of the node", lambda: machine_ not in [machine_.name for machine_ in machines(bed.cloud)], 60)
    works(bed)


@pytest.mark.full
def test_a_single_cluster_runs_and_others_are_records(bed: Bed, cluster: Cluster) -> None:
    eks = cluster.client("eks")
    record = cluster.create("second")
    old = cluster.create("older", version="1.31")
    for described in (record, old):
        assert described["endpoint"] == f"https://{paths.RECORDS}"
        assert not port_open(paths.RECORDS, 443)
    assert len({described["identity"]["oidc"]["issuer"] for described in (record, old)} | {cluster.issuer}) == 3
    assert eks.describe_cluster(name="older")["cluster"]["version"] == "1.31"
    for name in ("second", "older"):
        cluster.delete(name)
    works(bed)


@pytest.mark.full
def test_a_deleted_cluster_is_gone_and_another_takes_its_place(bed: Bed, cluster: Cluster) -> None:
    name, issuer = cluster.name, cluster.issuer
    cluster.delete(name)
    assert not set(bed.cloud.running()) & set(control_plane.NAMES)
    assert not port_open(paths.CLUSTER, 443)
    assert not control_plane.DIRECTORY.exists()
    eks = cluster.client("eks")
    made = eks.create_cluster(
        name="another", roleArn=cluster.role("c"), resourcesVpcConfig={"subnetIds": cluster.subnets()}
    )
    assert made["cluster"]["status"] == "CREATING"
    assert "endpoint" not in made["cluster"]
    assert eks.describe_cluster(name="another")["cluster"]["status"] == "CREATING"
    cluster.wait("another")
    assert cluster.name == "another"
    assert cluster.issuer != issuer
    works(bed)
    cluster.delete("another")


@pytest.mark.full
def test_down_and_up_leave_nothing_twice(bed: Bed, cluster: Cluster) -> None:
    subprocess.run([*CLI, "down"], check=True)
    before = machine()
    try:
        for _round in range(2):
            up()
            again = Bed.load()
            works(again)
            node = node_groups.create(again.cluster, "left-behind")
            (machine_,) = machines(again.cloud)
            (controller,) = [pid for pid, _recipe in daemon.running()]
            kubelet = machine_.pid_of("kubelet")
            victims = [controller, kubelet, again.cloud.pid_of("kube-apiserver")]
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            killed_at = datetime.now(timezone.utc)
            output = up()
            assert f"{machine_.name}/kubelet" in output
            works(again)  # the API server and the controller run again
            assert daemon.running()
            assert machine_.pid_of("kubelet") != kubelet
            wait_until_heard(again.cluster, node, killed_at)
            machine_.run("systemctl", "stop", "kubelet")
            assert "nothing to do" in up()  # a stopped kubelet stays stopped
            for pid in (again.cloud.pid_of("kube-apiserver"), again.cloud.pid_of("aws"), machine_.init_pid()):
                os.kill(pid, signal.SIGKILL)
            subprocess.run([*CLI, "down"], check=True)
            assert machine() == before
            assert list(bed_processes()) == []
    finally:
        up()
    works(Bed.load())
