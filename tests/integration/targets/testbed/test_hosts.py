# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts are separate, and the private ones reach nothing but S3."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from testbed import Bed, hosts, paths

NAMES = tuple(hosts.SITES)
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.7)"


def reaches(bed: Bed, name: str, address: str, port: int) -> bool:
    return bed.host(name).run("/usr/bin/python3", "-c", CONNECT, address, str(port), check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_host_reaches_s3(bed: Bed, name: str) -> None:
    assert reaches(bed, name, paths.S3, paths.S3_PORT)


@pytest.mark.parametrize("address", [paths.REGISTRY, paths.REGISTRY_AUTH])
def test_only_the_public_host_reaches_the_registries(bed: Bed, address: str) -> None:
    assert reaches(bed, "public", address, paths.REGISTRY_PORT)
    assert not reaches(bed, "private-a", address, paths.REGISTRY_PORT)
    assert not reaches(bed, "private-b", address, paths.REGISTRY_PORT)


@pytest.mark.parametrize("name", ["private-a", "private-b"])
def test_a_private_host_reaches_nothing_else(bed: Bed, name: str) -> None:
    other = {"private-a": "private-b", "private-b": "private-a"}[name]
    assert reaches(bed, "public", hosts.SITES[name].address, 22)  # so the ports below are open from other hosts
    assert not reaches(bed, name, hosts.SITES["public"].address, 22)
    assert not reaches(bed, name, hosts.SITES[other].address, 22)
    assert reaches(bed, "public", paths.AWS, paths.AWS_PORT)
    assert not reaches(bed, name, paths.AWS, paths.AWS_PORT)
    assert bed.host(name).run("ip", "-6", "address", "show", "dev", "eth0").stdout == ""


@pytest.mark.parametrize("name", NAMES)
def test_no_host_has_a_route_out_of_the_machine(bed: Bed, name: str) -> None:
    assert "default" not in bed.host(name).run("ip", "route").stdout


def test_ansible_reaches_every_host_by_the_inventory_alone(bed: Bed) -> None:
    env = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    argv = ["ansible-playbook", "-i", str(bed.inventory), "/dev/stdin"]
    play = """
- hosts: all
  gather_facts: true
  tasks:
    - ansible.builtin.copy:
        content: "{{ ansible_facts.hostname }} {{ ansible_facts.python_version }}"
        dest: /root/who
"""
    ran = subprocess.run(argv, input=play, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in NAMES:
        host = bed.host(name)
        hostname, version = host.run("cat", "/root/who").stdout.split()
        assert hostname == name
        if host.python != "/usr/bin/python3":  # else Debian's own, which status shows
            assert version.startswith(host.site.python + ".")
        host.run("rm", "/root/who")


@pytest.mark.parametrize("name", NAMES)
def test_a_host_keeps_its_python_when_the_machine_renews_its_loader_cache(bed: Bed, name: str) -> None:
    host = bed.host(name)
    subprocess.run(["/sbin/ldconfig"], check=True)  # as the installation of any package does
    show = (host.python, "-c", "'import sys; print(sys.version_info[:2])'")
    assert host.ssh(*show).stdout == host.run("sh", "-c", " ".join(show)).stdout != ""


def test_inventory_has_the_groups(bed: Bed) -> None:
    argv = ["ansible-inventory", "-i", str(bed.inventory), "--list"]
    listed = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    assert listed["private"]["hosts"] == ["private-a", "private-b"]


def test_keys_are_for_root_alone_and_every_host_has_its_own(bed: Bed) -> None:
    assert stat.S_IMODE(hosts.KEY.stat().st_mode) == 0o600
    assert stat.S_IMODE(bed.env_file.stat().st_mode) == 0o600
    keys = {bed.host(name).host_key() for name in NAMES}
    assert len(keys) == len(NAMES)


def test_ssh_refuses_a_host_with_another_key(bed: Bed, tmp_path: Path) -> None:
    swapped = tmp_path / "known_hosts"
    swapped.write_text(f"{bed.host('public').address} {bed.host('private-a').host_key()}\n")
    options = ["-o", f"UserKnownHostsFile={swapped}", *hosts.SSH_OPTIONS[2:]]
    argv = ["ssh", "-i", str(hosts.KEY), *options, f"root@{bed.host('public').address}", "true"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert ran.returncode == 255
    assert "Host key verification failed" in ran.stderr


def test_engines_and_files_are_each_hosts_own(bed: Bed) -> None:
    for name in NAMES:
        host = bed.host(name)
        image = bed.images.into_docker(host, bed.images.get("pinned"), f"only-on/{name}:v1")
        for directory in ("/root", "/tmp", "/var/tmp", "/run"):  # noqa: S108
            host.run("touch", f"{directory}/only-on-{name}")
        assert host.docker("run", "--rm", "--network", "none", image).stdout == "pinned\n"
        assert host.docker("info", "--format", "{{.Driver}}").stdout == "overlay2\n"
    for name in NAMES:
        host = bed.host(name)
        tags = host.docker("images", "--format", "{{.Repository}}").stdout.split()
        assert [tag for tag in tags if tag.startswith("only-on/")] == [f"only-on/{name}"]
        for directory in ("/root", "/tmp", "/var/tmp", "/run"):  # noqa: S108
            found = host.run("sh", "-c", f"ls {directory} | grep only-on-").stdout.split()
            assert found == [f"only-on-{name}"]
            assert not Path(directory, f"only-on-{name}").exists()
            host.run("rm", f"{directory}/only-on-{name}")
        host.docker("rmi", f"only-on/{name}:v1")


def test_a_container_on_a_host_reads_the_kernel_setting_it_requested(bed: Bed) -> None:
    host = bed.host("private-a")
    image = bed.images.into_docker(host, bed.images.get("pinned"), "sysctl:v1")
    argv = ["--network", "none", "--sysctl", "net.ipv4.tcp_keepalive_intvl=60", image]
    out = host.docker("run", "--rm", *argv, "cat", "/proc/sys/net/ipv4/tcp_keepalive_intvl").stdout
    host.docker("rmi", image)
    assert out == "60\n"


@pytest.mark.parametrize("name", NAMES)
def test_no_host_sees_the_beds_secrets(bed: Bed, name: str) -> None:
    assert list(paths.STATE.iterdir())
    assert bed.host(name).run("ls", "-A", str(paths.STATE)).stdout == ""
    assert bed.host(name).run("test", "-e", str(paths.RUN), check=False).returncode == 1
    assert list((Path(paths.STATE) / "secrets").glob("*"))


def test_a_host_cannot_break_the_machines_devices(bed: Bed) -> None:
    host = bed.host("private-b")
    host.run("mv", "/dev/null", "/dev/null.moved")
    try:
        assert Path("/dev/null").is_char_device()
        assert not Path("/dev/null.moved").exists()
    finally:
        host.run("mv", "/dev/null.moved", "/dev/null")
    argv = ["ssh", "-tt", "-i", str(hosts.KEY), *hosts.SSH_OPTIONS, f"root@{host.address}", "tty"]
    terminal = subprocess.run(argv, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert terminal.stdout.startswith("/dev/pts/")


@pytest.mark.parametrize("name", NAMES)
def test_hosts_trust_s3_as_they_would_amazon_and_not_the_registry(bed: Bed, name: str) -> None:
    probe = (
        "import ssl, socket, sys\n"
        "ca = sys.argv[3] if len(sys.argv) > 3 else None\n"
        "context = ssl.create_default_context(cafile=ca)\n"
        "raw = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)\n"
        "try: context.wrap_socket(raw, server_hostname=sys.argv[1]); print('trusted')\n"
        "except ssl.SSLCertVerificationError: print('not trusted')\n"
    )
    host = bed.host(name)
    assert host.run(host.python, "-c", probe, paths.S3, str(paths.S3_PORT)).stdout == "trusted\n"
    if not host.site.private:
        where = [paths.REGISTRY_AUTH, str(paths.REGISTRY_PORT)]
        assert host.run(host.python, "-c", probe, *where).stdout == "not trusted\n"
        assert host.run(host.python, "-c", probe, *where, "/opt/testbed/registry-ca.pem").stdout == "trusted\n"


def test_bandwidth_can_be_limited_and_given_back(bed: Bed) -> None:
    host = bed.host("private-b")

    def seconds(direction: str) -> float:
        argv = ["ssh", "-i", str(hosts.KEY), *hosts.SSH_OPTIONS, f"root@{host.address}"]
        remote = "cat > /dev/null" if direction == "to" else "head -c 2000000 /dev/zero"
        data = bytes(2_000_000) if direction == "to" else b""
        begin = time.monotonic()
        subprocess.run([*argv, remote], input=data, capture_output=True, check=True)
        return time.monotonic() - begin

    def disciplines() -> list[str]:
        """What tc has on both ends of the host's link."""
        ends = [(bed.cloud, host.port), (host, hosts.LINK)]
        return [node.run("tc", "qdisc", "show", "dev", name).stdout for node, name in ends]

    before = disciplines()
    host.limit("8mbit")  # 2 MB take 2 s
    try:
        assert seconds("to") > 1.7
        assert seconds("from") > 1.7
    finally:
        host.unlimit()
    assert disciplines() == before
