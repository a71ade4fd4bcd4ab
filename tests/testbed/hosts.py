# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts: each a node with its own docker engine, sshd, home and Python, as Ansible and a person find a server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import net, paths, pki
from .node import Mount, Node, Part, port_open, wait_for

LINK = "eth0"
KEY = paths.STATE / "ssh" / "id_ed25519"
KNOWN_HOSTS = paths.STATE / "ssh" / "known_hosts"
CONTROL = paths.RUN / "cp"  # ssh's ControlMaster sockets
MADE = paths.STATE / "mount-points"


@dataclass(frozen=True)
class Site:
    address: str
    python: str  # wanted; Debian's own stands in where the machine lacks it
    private: bool


SITES = {
    "public": Site("10.231.77.101", "3.11", private=False),
    "private-a": Site("10.231.77.102", "3.9", private=True),
    "private-b": Site("10.231.77.103", "3.13", private=True),
}

SSHD_CONFIG = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
MaxStartups 100
MaxSessions 100
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""

DAEMON_JSON = f"""\
{{
  "insecure-registries": ["{paths.REGISTRY}:{paths.REGISTRY_PORT}"]
}}
"""


# The usual devices and no others. A host that shared the machine's /dev could break /dev/null for everybody.
OWN_DEV = """\
set -e
dev=/run/dev
mkdir $dev
mount -t tmpfs -o mode=755,size=1m dev $dev
mknod -m 666 $dev/null c 1 3
mknod -m 666 $dev/zero c 1 5
mknod -m 666 $dev/full c 1 7
mknod -m 666 $dev/random c 1 8
mknod -m 666 $dev/urandom c 1 9
mknod -m 666 $dev/tty c 5 0
mkdir $dev/pts $dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts $dev/pts
mount -t tmpfs -o mode=1777 shm $dev/shm
ln -s pts/ptmx $dev/ptmx
ln -s /proc/self/fd $dev/fd
ln -s fd/0 $dev/stdin
ln -s fd/1 $dev/stdout
ln -s fd/2 $dev/stderr
mount --move $dev /dev
rmdir $dev
"""


def interpreter_home(version: str) -> Path | None:
    """The folder of a CPython of this version that is not Debian's, where the machine has one (pyenv).

    Once found it stays the same for this bed: an `up` with another HOME or PATH must not change a running host.
    """
    known = paths.STATE / "pythons" / version
    if known.exists() and (found := Path(known.read_text())).exists():
        return found
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    if pyenv := shutil.which("pyenv"):
        roots.append(str(Path(pyenv).resolve().parent.parent))
    for root in filter(None, roots):
        for folder in sorted(Path(root, "versions").glob(f"{version}.*"), reverse=True):
            python = folder / "bin" / f"python{version}"
            if python.exists() and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
                known.parent.mkdir(exist_ok=True)
                known.write_text(str(folder.resolve()))
                return folder.resolve()
    return None


class Host(Node):
    def __init__(self, name: str, cloud: Node) -> None:
        super().__init__(name)
        self.cloud = cloud
        self.site = SITES[name]
        self.address = self.site.address
        self.docker_socket = paths.RUN / "hosts" / name / "docker.sock"

    # As a user sees it

    @property
    def python(self) -> str:
        """The path on the host of the interpreter that Ansible uses."""
        version = self.site.python
        return f"/opt/python/{version}/bin/python{version}" if interpreter_home(version) else "/usr/bin/python3"

    def ssh(self, *command: str, check: bool = True, timeout: float | None = 120) -> subprocess.CompletedProcess[str]:
        """A command as root on the host, by way of its sshd."""
        argv = ["ssh", "-i", str(KEY), *SSH_OPTIONS, f"root@{self.address}", "--", *command]
        return subprocess.run(
            argv, capture_output=True, text=True, check=check, timeout=timeout, stdin=subprocess.DEVNULL
        )

    def docker(
        self, *args: str, check: bool = True, stdin: IO[bytes] | int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The docker client, on the host."""
        return self.run("docker", *args, check=check, stdin=stdin)

    def limit(self, rate: str) -> None:
        """Bandwidth of the host's wire, both ways, as tc writes it: 50mbit."""
        net.limit(self.cloud, self.port, self, LINK, rate)

    def unlimit(self) -> None:
        net.unlimit(self.cloud, self.port, self, LINK)

    # Up

    @property
    def port(self) -> str:
        return f"p-{self.name}"

    def ensure_up(self) -> list[str]:
        """Whatever is missing comes up, in parallel with other hosts' engines; says what had to be started."""
        started = []
        if super().up(self._mounts(), self._prepare(), pki.bed_id()):
            started.append(self.name)
        net.plug(self.cloud, self.port, LINK, self.address, self)
        if self.site.private:
            net.close(self)
        if "dockerd" not in self.running():
            (self.docker_socket.parent / "docker.pid").unlink(missing_ok=True)  # a killed engine's; see wipe
        for part in (self._sshd(), self._dockerd()):
            if self.start(part):
                started.append(f"{self.name}/{part.name}")
        return started

    def wait(self) -> None:
        wait_for(f"{self.name}/sshd", lambda: port_open(self.address, 22), 15, self.log("sshd"))
        wait_for(f"{self.name}/dockerd", self._engine_answers, 60, self.log("dockerd"))

    def _engine_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.docker_socket))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        return False

    def wipe(self) -> None:
        # A pid file of the last life may name a pid that another process has in this one: an engine would take it
        # for its containerd and wait for that in vain.
        run = self.docker_socket.parent
        shutil.rmtree(run, ignore_errors=True)
        for folder in (run, run / "sshd", run / "lock"):
            folder.mkdir(mode=0o755, parents=True)

    def _mounts(self) -> list[Mount]:
        own = self.folder
        for name, mode in (
            *(("root", 0o700), ("tmp", 0o1777), ("vartmp", 0o1777), ("docker", 0o710), ("containerd", 0o711)),
            *(("ssh", 0o755), ("etc-docker", 0o755), ("opt", 0o755)),
        ):
            (own / name).mkdir(parents=True, exist_ok=True)
            (own / name).chmod(mode)
        self._ssh_files()
        certs = own / "etc-docker" / "certs.d" / f"{paths.REGISTRY_AUTH}:{paths.REGISTRY_PORT}"
        certs.mkdir(parents=True, exist_ok=True)
        (certs / "ca.crt").write_text(pki.REGISTRY_CA.read_text())
        (own / "etc-docker" / "daemon.json").write_text(DAEMON_JSON)
        pki.trust_store(own / "certs")
        testbed = own / "opt" / "testbed"
        testbed.mkdir(exist_ok=True)
        (testbed / "ca.pem").write_text(pki.BUNDLE.read_text())
        (testbed / "registry-ca.pem").write_text(pki.REGISTRY_CA.read_text())
        # An sshd without PAM refuses an account whose password field says "locked"; nor has a host any
        # business with the machine's own password hashes.
        (own / "shadow").touch(mode=0o600)
        (own / "shadow").write_text("root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n")
        mounts = [
            *(Mount(str(own / name), target) for name, target in self._binds()),
            Mount(str(self.docker_socket.parent), "/run"),
        ]
        home = interpreter_home(self.site.python)
        if home:
            (own / "opt" / "python" / self.site.python).mkdir(parents=True, exist_ok=True)
            mounts.insert(0, Mount(str(home), str(own / "opt" / "python" / self.site.python), "ro"))
        for _dummy, target in self._binds():
            make_mount_point(Path(target))
        # Last: the bed's own keys and passwords are the controller's, no host's.
        return [*mounts, Mount("testbed", str(paths.STATE), "tmpfs")]

    def _binds(self) -> list[tuple[str, str]]:
        return [
            *(("tmp", "/tmp"), ("vartmp", "/var/tmp"), ("root", "/root"), ("ssh", "/etc/ssh")),  # noqa: S108
            *(("docker", "/var/lib/docker"), ("containerd", "/var/lib/containerd"), ("etc-docker", "/etc/docker")),
            *(("certs", "/etc/ssl/certs"), ("opt", "/opt"), ("shadow", "/etc/shadow")),
        ]

    def _prepare(self) -> list[list[str]]:
        commands = [
            ["sh", "-c", OWN_DEV],
            ["sh", "-c", "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done"],
        ]
        # A Python built with a shared library finds it by the path that it was built for, which is out of sight
        # here: tell the loader of this node about the new place.
        if interpreter_home(self.site.python):
            lib = f"/opt/python/{self.site.python}/lib"
            commands += [
                ["ldconfig", "-X", "-C", "/run/ld.so.cache", lib],
                ["mount", "--bind", "/run/ld.so.cache", "/etc/ld.so.cache"],
            ]
        # Where the machine mounted no cgroups at all, containers need them.
        commands.append(
            ["sh", "-c", "grep -q ' /sys/fs/cgroup' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup"]
        )
        return commands

    def _ssh_files(self) -> None:
        ssh = self.folder / "ssh"
        (ssh / "sshd_config").write_text(SSHD_CONFIG)
        if not (ssh / "ssh_host_ed25519_key").exists():
            keygen(ssh / "ssh_host_ed25519_key", self.name)
        home = self.folder / "root" / ".ssh"
        home.mkdir(mode=0o700, exist_ok=True)
        if not (home / "authorized_keys").exists():
            (home / "authorized_keys").write_text(KEY.with_suffix(".pub").read_text())

    def host_key(self) -> str:
        return (self.folder / "ssh" / "ssh_host_ed25519_key.pub").read_text().rsplit(" ", 1)[0]

    def _sshd(self) -> Part:
        return Part("sshd", ["/usr/sbin/sshd", "-D", "-e"], reads=[SSHD_CONFIG])

    def _dockerd(self) -> Part:
        # No bridge and no rules of docker's own: containers run with --network none, and the host's firewall
        # stays exactly ours. The cgroup parent keeps what `down` has to remove in one place.
        argv = [
            *("dockerd", "-H", "unix:///run/docker.sock", "--storage-driver=overlay2", "--bridge=none"),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{paths.CGROUP}/{self.name}"),
            *("--shutdown-timeout=2", "--oom-score-adjust=0"),
        ]
        return Part("dockerd", argv, reads=[DAEMON_JSON])


SSH_OPTIONS = [
    *("-o", f"UserKnownHostsFile={KNOWN_HOSTS}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"),
    *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "PasswordAuthentication=no", "-F", "/dev/null"),
]


def make_mount_point(target: Path) -> None:
    """A folder to mount on that the machine lacks (an engine that never ran); `down` takes it away again."""
    if not target.exists():
        target.mkdir(parents=True)
        with MADE.open("a") as made:
            made.write(f"{target}\n")


def remove_mount_points() -> None:
    for target in MADE.read_text().split() if MADE.exists() else ():
        with contextlib.suppress(OSError):  # somebody else uses it by now
            Path(target).rmdir()


def keygen(path: Path, comment: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True)


def controller_key() -> None:
    if not KEY.exists():
        keygen(KEY, "daytwo-testbed-controller")
    CONTROL.mkdir(mode=0o700, parents=True, exist_ok=True)
