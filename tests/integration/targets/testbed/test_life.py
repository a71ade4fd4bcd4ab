# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed comes up, stays up, recovers after a SIGKILL of any part, and is removed without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from testbed import Bed, hosts, paths
from testbed.node import bed_processes, processes_beside

CLI = [sys.executable, "-m", "testbed"]
CLOUD = ("registry", "registry-auth", f"s3-{paths.REGION}", f"s3-{paths.OTHER_REGION}", "aws", "gate")
HOST_PARTS = [(name, part) for name in hosts.SITES for part in ("sshd", "dockerd")]
SAMPLE = [("cloud", "aws"), ("public", "dockerd")]


def up() -> str:
    return subprocess.run([*CLI, "up"], capture_output=True, text=True, check=True).stdout


def pids(bed: Bed) -> dict[str, int]:
    """Return every part with its pid on the machine."""
    found = {f"cloud/{part}": bed.cloud.pid_of(part) for part in CLOUD}
    return found | {f"{name}/{part}": bed.host(name).pid_of(part) for name, part in HOST_PARTS}


def works(bed: Bed) -> None:
    """Use every part once."""
    import boto3

    env = {**os.environ, **bed.env}
    argv = ["ansible", "-i", str(bed.inventory), "all", "-m", "ansible.builtin.ping"]
    ping = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert ping.returncode == 0, ping.stdout + ping.stderr
    for name in hosts.SITES:
        bed.host(name).docker("info")
    for ref in (bed.images.get("pinned").ref, bed.images.get("multi:v1").auth_ref):
        login = ["login", "--username", bed.registry.user, "--password", bed.registry.password, bed.registry.auth]
        bed.host("public").docker(*login)
        bed.host("public").docker("pull", "--quiet", ref)
        bed.host("public").docker("rmi", ref)
        bed.host("public").docker("logout", bed.registry.auth)
    for region, bucket in ((paths.REGION, bed.s3.bucket), (paths.OTHER_REGION, bed.s3.elsewhere_bucket)):
        keys = {"aws_access_key_id": env["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
        s3 = boto3.client("s3", region, endpoint_url=bed.s3.endpoint, verify=str(bed.ca), **keys)
        s3.head_bucket(Bucket=bucket)
        boto3.client("rds", region, endpoint_url=bed.env["AWS_ENDPOINT_URL"], **keys).describe_db_clusters()


def test_a_second_up_touches_nothing(bed: Bed) -> None:
    up()
    before = pids(bed)
    output = up()
    assert "nothing to do" in output
    assert pids(bed) == before


@pytest.mark.parametrize(
    ("node", "part"),
    [
        pytest.param(*case, marks=() if case in SAMPLE else pytest.mark.full)
        for case in [*(("cloud", part) for part in CLOUD), *HOST_PARTS]
    ],
)
def test_a_killed_part_comes_back_and_no_other_is_touched(bed: Bed, node: str, part: str) -> None:
    before = pids(bed)
    os.kill(before[f"{node}/{part}"], signal.SIGKILL)
    time.sleep(0.1)
    status = subprocess.run([*CLI, "status"], capture_output=True, text=True, check=False)
    assert status.returncode == 3
    assert "DOWN" in next(line for line in status.stdout.splitlines() if line.startswith(f"{node}/{part} "))
    up()
    after = pids(bed)
    assert after.pop(f"{node}/{part}") != before.pop(f"{node}/{part}")
    assert after == before


def test_killed_parts_work_again(bed: Bed) -> None:
    works(bed)


@pytest.mark.parametrize(
    "node",
    ["cloud", *(pytest.param(name, marks=pytest.mark.full) for name in hosts.SITES)],
)
def test_a_killed_node_takes_everything_with_it_and_comes_back(bed: Bed, node: str) -> None:
    marked = "heal-test:v1"
    if node != "cloud":
        bed.images.into_docker(bed.host(node), bed.images.get("pinned"), marked)
    victim = bed.cloud if node == "cloud" else bed.host(node)
    holder, inside = victim.holder(), processes_beside(victim.init_pid())
    assert holder
    assert len(inside) > 2
    os.kill(holder, signal.SIGKILL)
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in inside) and time.monotonic() < end:
        time.sleep(0.05)
    assert [pid for pid in inside if Path(f"/proc/{pid}").exists()] == []
    up()
    works(bed)
    if node != "cloud":  # the engine's data survive it
        assert bed.host(node).docker("run", "--rm", "--network", "none", marked).stdout == "pinned\n"
        bed.host(node).docker("rmi", marked)


def test_private_hosts_stay_closed_after_they_were_killed(bed: Bed) -> None:
    holder = bed.host("private-a").holder()
    assert holder
    os.kill(holder, signal.SIGKILL)
    up()
    connect = f"import socket; socket.create_connection(('{paths.REGISTRY}', {paths.REGISTRY_PORT}), timeout=0.7)"
    assert bed.host("private-a").run("/usr/bin/python3", "-c", connect, check=False).returncode == 1
    assert bed.host("public").run("/usr/bin/python3", "-c", connect, check=False).returncode == 0


def test_two_ups_at_once_do_not_meet(bed: Bed) -> None:
    os.kill(bed.host("public").pid_of("dockerd"), signal.SIGKILL)
    both = [subprocess.Popen([*CLI, "up"], stdout=subprocess.PIPE, text=True) for _dummy in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("public/dockerd" in text for text in outputs) == [False, True]


@pytest.mark.full
def test_an_up_killed_half_way_is_finished_by_the_next(bed: Bed) -> None:
    for seconds in (0.25, 0.5, 0.8):
        for node in (bed.cloud, bed.host("private-b")):
            holder = node.holder()
            if holder:
                os.kill(holder, signal.SIGKILL)
        with subprocess.Popen([*CLI, "up"], stdout=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            process.kill()
    up()
    works(bed)
    assert pids(bed)


def test_inventory_and_environment_are_where_the_contract_puts_them(bed: Bed) -> None:
    assert str(bed.inventory) == "/var/lib/daytwo-testbed/inventory/hosts.yml"
    argv = ["bash", "-c", f". {bed.env_file} && env -0"]
    env = dict(
        pair.split("=", 1)
        for pair in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\0")
        if pair
    )
    assert {name: env[name] for name in bed.env} == bed.env


def machine() -> dict[str, list[str]]:
    """Return everything that the bed could leave on the machine."""
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True).stdout)
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout.splitlines()
    mounts = [line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    groups = [
        str(path)
        for path in Path("/sys/fs/cgroup").rglob("*")
        if path.is_dir() and any(name in str(path) for name in ("daytwo", "docker", "containerd", "moby"))
    ]
    spaces, programs = set(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                spaces.add(str((entry / "ns/net").readlink()))
                name = (entry / "comm").read_text().strip()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            ours = b"testbed" in command.split(b"\0") or name.startswith("versitygw")
            if ours or name in ("dockerd", "containerd", "containerd-shim", "sshd", "docker-registry", "unshare"):
                programs.append(name)
    sysctls = [f"{path}: {path.read_text().strip()}" for path in Path("/proc/sys/net/ipv4").glob("ip_forward")]
    files = [str(path) for path in (paths.STATE, paths.RUN, paths.LOCK) if path.exists()]
    return {
        "links": sorted(link["ifname"] for link in links),
        "routes": sorted(routes),
        "mounts": sorted(mounts),
        "cgroups": sorted(groups),
        "namespaces": sorted(spaces),
        "programs": sorted(programs),
        "sysctls": sysctls,
        "files": files,
        "mount points": [path for path in ("/var/lib/docker", "/var/lib/containerd") if Path(path).exists()],
    }


@pytest.mark.full
def test_down_leaves_the_machine_as_it_was(bed: Bed) -> None:
    try:
        subprocess.run([*CLI, "down"], check=True)
        before = machine()
        up()
        # Use it, so that it leaves a container's cgroup, an ssh master and a rate limit to clean up.
        host = bed.host("private-a")
        image = bed.images.into_docker(host, bed.images.get("pinned"), "left-behind:v1")
        host.docker("run", "--detach", "--network", "none", image, "sleep", "1000")
        host.limit("100mbit")
        subprocess.run(["ansible", "-i", str(bed.inventory), "all", "-m", "ansible.builtin.ping"], check=True)
        during = machine()
        assert paths.CONTROLLER_LINK in during["links"]
        if " cgroup" in Path("/proc/mounts").read_text():  # else they exist only in the hosts
            assert [group for group in during["cgroups"] if "daytwo-testbed/private-a" in group]
        assert len(during["namespaces"]) == len(before["namespaces"]) + len(("cloud", *hosts.SITES, "the container"))
        subprocess.run([*CLI, "down"], check=True)
        assert machine() == before
        assert list(bed_processes()) == []
        assert before["files"] == []
        subprocess.run([*CLI, "down"], check=True)  # without a bed: no error
    finally:
        up()
    works(Bed.load())


@pytest.mark.full
def test_up_from_installed_packages_takes_less_than_20_seconds() -> None:
    subprocess.run([*CLI, "down"], check=True)
    begin = time.monotonic()
    up()
    assert time.monotonic() - begin < 20


@pytest.mark.full
def test_down_cleans_up_after_its_state_was_deleted_by_hand(bed: Bed) -> None:
    try:
        (bed.cloud.spec_path).unlink()
        (paths.RUN / "cloud.sock").unlink()
        subprocess.run([*CLI, "down"], check=True)
        assert list(bed_processes()) == []
        assert paths.CONTROLLER_LINK not in machine()["links"]
    finally:
        up()


@pytest.mark.full
def test_up_replaces_nodes_whose_state_was_deleted_by_hand() -> None:
    shutil.rmtree(paths.STATE)
    up()
    works(Bed.load())
