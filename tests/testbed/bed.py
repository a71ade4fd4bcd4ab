# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole bed: `up`, `down` and `status`, and the interface for tests."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import control_plane, ecr, gate, hosts, net, packages, paths, pki, programs, registry, s3, services
from .eks import Cluster
from .hosts import Host
from .images import DEFAULT, Images
from .node import BedError, Mount, Node, bed_processes, children, wait_for
from .nodes import daemon
from .nodes.machine import machines
from .recorder import Recorder


class Bed:
    inventory = paths.STATE / "inventory" / "hosts.yml"
    env_file = paths.STATE / "env"
    ca = pki.BUNDLE
    registry_ca = pki.REGISTRY_CA

    def __init__(self) -> None:
        self.cloud = Node("cloud")
        self.images = Images()
        self.s3 = s3.S3()
        self.registry = registry.Facts()
        self.ecr = ecr.Ecr()
        self.recorder = Recorder()
        self.cluster = Cluster(lambda: self.env)
        self.hosts = {name: Host(name, self.cloud) for name in hosts.SITES}

    @classmethod
    def load(cls) -> Bed:
        """Return the bed that is up."""
        bed = cls()
        if not bed.env_file.exists() or bed.cloud.state() is None:
            raise BedError("the test bed is not up: `make testbed-up` (python -m testbed up) starts it")
        return bed

    def reset_aws(self) -> None:
        """Empty the account, as after `up`. S3 is not changed."""
        connection = http.client.HTTPConnection(paths.AWS, paths.AWS_PORT, timeout=180)
        connection.request("POST", "/moto-api/reset")
        status = connection.getresponse().status
        connection.close()
        if status != 200:
            raise BedError(f"resetting moto answered {status}")

    def host(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def env(self) -> dict[str, str]:
        """The variables that make a program use the bed as AWS."""
        return {
            "AWS_ACCESS_KEY_ID": s3.access_key(),
            "AWS_SECRET_ACCESS_KEY": s3.secret_key(),
            "AWS_DEFAULT_REGION": paths.REGION,
            "AWS_REGION": paths.REGION,
            "AWS_ENDPOINT_URL": f"http://{paths.AWS}:{paths.AWS_PORT}",
            "AWS_ENDPOINT_URL_S3": s3.ENDPOINT,
            "AWS_CA_BUNDLE": str(self.ca),
            "AWS_EC2_METADATA_DISABLED": "true",
            # Not AWS's: variables of the examples and the demo.
            "TESTBED_BUCKET": self.s3.bucket,
            "TESTBED_REGISTRY": self.registry.plain,
            "TESTBED_REGISTRY_AUTH": self.registry.auth,
        }

    # up, down, status

    def up(self, cluster: bool = False) -> list[str]:
        """Start what does not run, and change nothing else. Return the names of what was started.

        With `cluster`, also create an EKS cluster, unless one exists. Without it, an existing cluster is kept running.
        """
        if os.geteuid() != 0:
            raise BedError("the test bed makes namespaces and mounts: run it as root")
        with lock():
            packages.ensure(cluster)
            made = programs.ensure() if cluster else None
            provider = ecr.ensure_credential_provider() if cluster else None
            paths.STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
            paths.RUN.mkdir(mode=0o711, parents=True, exist_ok=True)
            pki.ensure()
            if made and provider:
                control_plane.link_programs(made, provider)
            hosts.controller_key()
            started = self._cloud()
            for host in self.hosts.values():
                started += host.ensure_up()
            for host in self.hosts.values():
                host.wait()
            registry.wait(self.cloud)
            services.wait(self.cloud)
            control_plane.wait(self.cloud)
            # A controller manager without its API server ends by itself during its start.
            started += [part.name for part in control_plane.parts() if self.cloud.start(part)]
            control_plane.wait_for_webhook(self.cloud)
            for name in DEFAULT:
                self.images.ensure(name)
            self._write_client_files()
            if cluster and self.cluster.ensure():
                started.append("cluster")
            if self.cluster.live and daemon.start():
                started.append("nodes' controller")
            for machine in machines(self.cloud):
                started += machine.revive()
        return started

    def _cloud(self) -> list[str]:
        started = ["cloud"] if self.cloud.up([self._names()], [], pki.bed_id()) else []
        net.bridge(self.cloud)
        net.plug(self.cloud, "p-controller", paths.CONTROLLER_LINK, paths.CONTROLLER, None)
        net.reach_nodes()
        parts = [*registry.parts(), *s3.parts(), *services.parts()]
        self.s3.ensure()
        known = {part.name for part in (*parts, *control_plane.parts())}
        for name in set(self.cloud.running()) - known:
            self.cloud.stop(name)  # of an older bed, on an address that now belongs to another part
        for part in parts:
            if self.cloud.start(part):
                started.append(part.name)
        if "aws" in started:
            control_plane.stop()  # the account ended with the old process, and its cluster with it
        for part in control_plane.parts():
            if self.cloud.start(part):
                started.append(part.name)
        return started

    def _names(self) -> Mount:
        """Map AWS's own names to the bed's AWS, in the cloud."""
        hosts_file = paths.STATE / "cloud-hosts"
        write(hosts_file, "127.0.0.1 localhost\n" + pki.hosts_lines(*pki.NAMES))
        return Mount(str(hosts_file), "/etc/hosts")

    def _write_client_files(self) -> None:
        known = "".join(f"{host.address} {host.host_key()}\n" for host in self.hosts.values())
        write(hosts.KNOWN_HOSTS, known)
        write(self.inventory, json.dumps(self._inventory(), indent=2) + "\n")
        write(self.env_file, "".join(f"export {name}={value}\n" for name, value in self.env.items()), 0o600)

    def _inventory(self) -> dict[str, Any]:
        def entry(host: Host) -> dict[str, str]:
            return {"ansible_host": host.address, "ansible_python_interpreter": host.python}

        private = {name: entry(host) for name, host in self.hosts.items() if host.site.private}
        public = {name: entry(host) for name, host in self.hosts.items() if not host.site.private}
        return {
            "all": {
                "hosts": public,
                "children": {"private": {"hosts": private}},
                "vars": {
                    "ansible_user": "root",
                    "ansible_ssh_private_key_file": str(hosts.KEY),
                    "ansible_ssh_common_args": " ".join(hosts.SSH_OPTIONS),
                    # Ansible's default compresses, which costs more than it saves on the same machine.
                    "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s",
                    "ansible_control_path_dir": str(hosts.CONTROL),
                },
            }
        }

    def down(self) -> None:
        """Remove every process, namespace, mount, interface, rule, cgroup and file of the bed, but not the cache."""
        with lock(remove=True):
            end_ssh_masters()
            daemon.stop()  # first, or it would restart what is removed
            for machine in machines(self.cloud):
                machine.down()
            for node in [*self.hosts.values(), self.cloud]:
                node.down()
            sweep()
            net.unplug_controller()
            remove_cgroups()
            hosts.remove_mount_points()
            for directory in (paths.STATE, paths.RUN):
                if directory.exists():
                    shutil.rmtree(directory)

    def status(self) -> list[tuple[str, str, str]]:
        rows = []
        cloud = self.cloud.running()
        for part, where in (
            *(("registry", f"http://{registry.PLAIN}"), ("registry-auth", f"https://{registry.AUTH}")),
            *((f"s3-{region}", s3.ENDPOINT) for region in gate.GATEWAYS),
            *(("aws", self.env["AWS_ENDPOINT_URL"]), ("gate", f"in front of S3, AWS and https://{self.ecr.host}")),
        ):
            rows.append((f"cloud/{part}", "up" if part in cloud else "DOWN", where))
        for name in [part.name for part in control_plane.parts()]:
            where = control_plane.Live.endpoint if name == "kube-apiserver" else "in the cloud"
            rows.append((f"cluster/{name}", "up" if name in cloud else "DOWN", where))
        if self.cluster.live:
            rows.append(("nodes' controller", "up" if daemon.running() else "DOWN", str(daemon.LOG)))
        for machine in machines(self.cloud):
            rows.append((f"{machine.name}/kubelet", "up" if "kubelet" in machine.running() else "DOWN", "a node"))
        for name, host in self.hosts.items():
            running = host.running()
            python = f"Python {host.site.python}"
            if running and host.python == "/usr/bin/python3":
                python = f"Debian's own Python (no {host.site.python} on this machine)"
            rows.append((f"{name}/sshd", "up" if "sshd" in running else "DOWN", f"root@{host.address}, {python}"))
            rows.append((f"{name}/dockerd", "up" if "dockerd" in running else "DOWN", str(host.docker_socket)))
        return rows


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once, and only if it differs: a reader never reads a part of it."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=mode)
    new.write_text(text)
    new.rename(path)


@contextlib.contextmanager
def lock(remove: bool = False) -> Iterator[None]:
    """Run a single `up` or `down` at a time on this machine."""
    while True:
        file = paths.LOCK.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("waiting for another testbed command to finish", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        # `down` removes the file: a lock on the removed file locks nothing.
        with contextlib.suppress(FileNotFoundError):
            if paths.LOCK.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
        file.close()
    try:
        yield
    finally:
        if remove:
            paths.LOCK.unlink(missing_ok=True)
        file.close()


def end_ssh_masters() -> None:
    """End the ControlMaster processes that Ansible leaves on the controller for their ControlPersist time."""
    for path in hosts.CONTROL.glob("*") if hosts.CONTROL.exists() else ():
        argv = ["ssh", "-F", "/dev/null", "-o", f"ControlPath={path}", "-O", "exit", "testbed"]
        subprocess.run(argv, capture_output=True, check=False, timeout=10)


def sweep() -> None:
    """Kill every process with the bed's mark that still runs, such as a holder whose state was deleted by hand."""
    ends: set[int] = set()

    def gone() -> bool:
        for pid, _dummy in bed_processes():
            if pid != os.getpid():
                ends.update(children(pid))  # the PID 1 of a node: it exists until its last process is reaped
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                ends.add(pid)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return not any(Path(f"/proc/{pid}").exists() for pid in ends)

    wait_for("the end of the bed's processes", gone, 15)


def remove_cgroups() -> None:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mount_points = [fields[4] for fields in mounts if fields[fields.index("-") + 1] in ("cgroup", "cgroup2")]
    for mount_point in mount_points:
        top = Path(mount_point) / paths.CGROUP
        # The bed's own processes have been reaped; the kernel releases their groups a moment later. A group that is
        # in use after that belongs to another bed, in its own namespaces.
        end = time.monotonic() + 2
        while not _remove_tree_of_groups(top) and time.monotonic() < end:
            time.sleep(0.05)
    if not mount_points:  # the hosts mounted cgroups for themselves; here they need a mount to be visible at all
        script = f"mount -t cgroup2 none /mnt && cd /mnt && find {paths.CGROUP} -depth -type d -exec rmdir {{}} \\;"
        subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, check=False)


def _remove_tree_of_groups(top: Path) -> bool:
    for path in sorted((p for p in top.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
        with contextlib.suppress(OSError):
            path.rmdir()
    with contextlib.suppress(OSError):
        top.rmdir()
    return not top.exists()
