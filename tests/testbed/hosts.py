# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts: each is a node with its own docker engine, sshd, home and Python, like a server."""

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
    python: str  # preferred; Debian's own where the machine does not have it
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


# The usual devices and no others. A host with the machine's own /dev could break /dev/null for the whole machine.
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
    """Find the directory of a CPython of this version that is not Debian's (pyenv).

    The first result stays for this bed: an `up` with another HOME or PATH must not change a running host.
    """
    known = paths.STATE / "pythons" / version
    if known.exists() and (found := Path(known.read_text())).exists():
        return found
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    if pyenv := shutil.which("pyenv"):
        roots.append(str(Path(pyenv).resolve().parent.parent))
    for root in filter(None, roots):
        for directory in sorted(Path(root, "versions").glob(f"{version}.*"), reverse=True):
            python = directory / "bin" / f"python{version}"
            if python.exists() and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0:
                paths.STATE.mkdir(mode=0o711, parents=True, exist_ok=True)
                known.parent.mkdir(exist_ok=True)
                known.write_text(str(directory.resolve()))
                return directory.resolve()
    return None


class Host(Node):
    def __init__(self, name: str, cloud: Node) -> None:
        super().__init__(name)
        self.cloud = cloud
        self.site = SITES[name]
        self.address = self.site.address
        self.docker_socket = paths.RUN / "hosts" / name / "docker.sock"
        self.env = {**self.env, **self._python_env()}

    # The interface for users

    @property
    def python(self) -> str:
        """The path of Ansible's interpreter on the host."""
        version = self.site.python
        return f"/opt/python/{version}/bin/python{version}" if interpreter_home(version) else "/usr/bin/python3"

    def ssh(self, *command: str, check: bool = True, timeout: float | None = 120) -> subprocess.CompletedProcess[str]:
        """Run a command as root on the host through its sshd."""
        argv = ["ssh", "-i", str(KEY), *SSH_OPTIONS, f"root@{self.address}", "--", *command]
        return subprocess.run(
            argv, capture_output=True, text=True, check=check, timeout=timeout, stdin=subprocess.DEVNULL
        )

    def docker(
        self, *args: str, check: bool = True, stdin: IO[bytes] | int | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker client on the host."""
        return self.run("docker", *args, check=check, stdin=stdin)

    def limit(self, rate: str) -> None:
        """Limit the bandwidth of the host's link in both directions, as tc writes it: 50mbit."""
        net.limit(self.cloud, self.port, self, LINK, rate)

    def unlimit(self) -> None:
        net.unlimit(self.cloud, self.port, self, LINK)

    # Up

    @property
    def port(self) -> str:
        return f"p-{self.name}"

    def ensure_up(self) -> list[str]:
        """Start what does not run, in parallel with other hosts' engines. Return the names of what was started."""
        started = []
        if super().up(self._mounts(), self._prepare(), pki.bed_id()):
            started.append(self.name)
        net.plug(self.cloud, self.port, LINK, self.address, self)
        if self.site.private:
            net.close(self)
        if "dockerd" not in self.running():
            (self.docker_socket.parent / "docker.pid").unlink(missing_ok=True)  # of a killed engine; see wipe
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
        # A pid file of an earlier run may contain the pid of another process: an engine would take it for its
        # containerd and wait for it forever.
        run = self.docker_socket.parent
        shutil.rmtree(run, ignore_errors=True)
        for directory in (run, run / "sshd", run / "lock"):
            directory.mkdir(mode=0o755, parents=True)

    def _mounts(self) -> list[Mount]:
        own = self.folder
        for name, mode in (
            *(("root", 0o700), ("tmp", 0o1777), ("vartmp", 0o1777), ("docker", 0o710), ("containerd", 0o711)),
            ("containers", 0o755),
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
        # An sshd without PAM refuses an account whose password field is "locked". A host must not read the machine's
        # own password hashes either.
        (own / "shadow").touch(mode=0o600)
        (own / "shadow").write_text("root:*:20000:0:99999:7:::\nsshd:!:20000::::::\n")
        (own / "hosts").write_text(f"127.0.0.1 localhost {self.name}\n{pki.hosts_lines()}")
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
        # Last: the bed's own keys and passwords belong to the controller, not to a host.
        return [*mounts, Mount("testbed", str(paths.STATE), "tmpfs")]

    def _binds(self) -> list[tuple[str, str]]:
        return [
            *(("tmp", "/tmp"), ("vartmp", "/var/tmp"), ("root", "/root"), ("ssh", "/etc/ssh")),  # noqa: S108
            *(("docker", "/var/lib/docker"), ("containerd", "/var/lib/containerd"), ("etc-docker", "/etc/docker")),
            ("containers", "/var/lib/containers"),
            *(("certs", "/etc/ssl/certs"), ("opt", "/opt"), ("shadow", "/etc/shadow")),
            ("hosts", "/etc/hosts"),
        ]

    def _prepare(self) -> list[list[str]]:
        commands = [
            ["sh", "-c", OWN_DEV],
            ["sh", "-c", "for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $f; done"],
        ]
        # Containers need cgroups also where the machine has not mounted them.
        commands.append(
            ["sh", "-c", "grep -q ' /sys/fs/cgroup' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup"]
        )
        return commands

    def _python_env(self) -> dict[str, str]:
        """Where the loader finds the library of the host's Python: the path of its build does not exist here.

        A cache of the loader, bound over the machine's own, would be lost at any time: when the machine's ldconfig
        renames a new file there, the kernel drops the mounts on the old one in every namespace
        (docs/facts/testbed.md#network-namespaces).
        """
        if not interpreter_home(self.site.python):
            return {}
        return {"LD_LIBRARY_PATH": f"/opt/python/{self.site.python}/lib"}

    @property
    def _sshd_config(self) -> str:
        return SSHD_CONFIG + "".join(f"SetEnv {name}={value}\n" for name, value in self._python_env().items())

    def _ssh_files(self) -> None:
        ssh = self.folder / "ssh"
        (ssh / "sshd_config").write_text(self._sshd_config)
        if not (ssh / "ssh_host_ed25519_key").exists():
            keygen(ssh / "ssh_host_ed25519_key", self.name)
        home = self.folder / "root" / ".ssh"
        home.mkdir(mode=0o700, exist_ok=True)
        if not (home / "authorized_keys").exists():
            (home / "authorized_keys").write_text(KEY.with_suffix(".pub").read_text())

    def host_key(self) -> str:
        return (self.folder / "ssh" / "ssh_host_ed25519_key.pub").read_text().rsplit(" ", 1)[0]

    def _sshd(self) -> Part:
        return Part("sshd", ["/usr/sbin/sshd", "-D", "-e"], reads=[self._sshd_config])

    def _dockerd(self) -> Part:
        # No bridge and no rules of docker's own: containers run with --network none, and the host's firewall keeps only
        # the bed's rules. All cgroups are below a parent, which `down` removes.
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
    """Create a missing directory as mount point (of an engine that never ran). `down` removes it."""
    if not target.exists():
        target.mkdir(parents=True)
        with MADE.open("a") as made:
            made.write(f"{target}\n")


def remove_mount_points() -> None:
    for target in MADE.read_text().split() if MADE.exists() else ():
        with contextlib.suppress(OSError):  # in use by another process now
            Path(target).rmdir()


def keygen(path: Path, comment: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True)


def controller_key() -> None:
    if not KEY.exists():
        keygen(KEY, "daytwo-testbed-controller")
    CONTROL.mkdir(mode=0o700, parents=True, exist_ok=True)
