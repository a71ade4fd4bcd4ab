# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private daemons of real engines, each with its own directories and socket. Another engine is one more class."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Optional

from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.containerd import ContainerdEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.docker import DockerEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.docker_store import DockerStoreEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import Engine
from testbed import engines, packages

SEARCH = packages.SEARCH
SECONDS = 120


def run_program(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
    """As Ansible's run_command runs programs: to their end, with bytes that are no text kept in the strings."""
    done = subprocess.run(
        command,
        input=text.encode(),
        capture_output=True,
        pass_fds=descriptors,
        check=False,
        env={**os.environ, "PATH": SEARCH},
    )
    return (
        done.returncode,
        done.stdout.decode(errors="surrogateescape"),
        done.stderr.decode(errors="surrogateescape"),
    )


def find_program(name: str, search: str = SEARCH) -> str:
    path = shutil.which(name, path=search)
    assert path, f"{name} is missing"
    return path


def ensure_programs() -> None:
    """Installs the test bed's Debian packages where they are missing. Those of the engines are among them."""
    if missing := packages.missing():
        packages.install(missing)


class EngineHost:
    """A daemon and its engine. Tests use what all engines have; what only one has is in its class."""

    name = ""
    # Where its programs are.
    search = SEARCH
    # Whether an image keeps the digest that its registry gave it.
    keeps_digests = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "s.sock"
        self.log = directory / "log"
        self.process: Optional[subprocess.Popen[bytes]] = None

    def start_daemon(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            # A session of its own: a signal to the tests does not end it before they have ended.
            return subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=self.make_env()
            )

    def make_env(self) -> dict[str, str]:
        return {**os.environ, "PATH": self.search}

    def find_program(self, name: str) -> str:
        return find_program(name, self.search)

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = self.start_daemon(self.get_command())
        ended = time.monotonic() + SECONDS
        while not self._is_up():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < ended, self.log.read_text()[-2000:]
            time.sleep(0.1)

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal_number)
            self.process.wait(SECONDS)
            self.process = None

    def _is_up(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.socket))
            except OSError:
                return False
        return self.make_engine().read_facts(str(self.directory)).version != ""

    def call(self, *command: str, data: bytes = b"") -> str:
        """Runs the engine's own client."""
        argv = [*self.get_client(), *command]
        done = subprocess.run(argv, input=data, capture_output=True, check=False, env=self.make_env())
        assert done.returncode == 0, (argv, done.stderr.decode())
        return done.stdout.decode()

    def get_command(self) -> list[str]:
        raise NotImplementedError

    def get_client(self) -> list[str]:
        raise NotImplementedError

    def make_engine(self, address: Optional[str] = None) -> Engine:
        raise NotImplementedError

    def list_names(self) -> set[str]:
        """All names that images have, temporary ones too, and unnamed images."""
        raise NotImplementedError

    def run_container(self, name: str) -> str:
        raise NotImplementedError

    def forget(self, name: str) -> None:
        """Removes an image and everything that only it holds."""
        raise NotImplementedError


class ContainerdHost(EngineHost):
    """containerd with its CRI, as on a node."""

    name = "containerd"
    keeps_digests = True
    namespace = "k8s.io"
    # The flag for an import by ctr itself.
    local: tuple[str, ...] = ()

    def get_command(self) -> list[str]:
        config = self.directory / "config.toml"
        config.write_text(
            f"""
version = 2
root = "{self.directory}/root"
state = "{self.directory}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
address = "{self.socket}"
"""
        )
        return [self.find_program("containerd"), "--config", str(config)]

    def get_client(self) -> list[str]:
        return [self.find_program("ctr"), "--address", str(self.socket), "--namespace", self.namespace]

    def make_engine(self, address: Optional[str] = None, namespace: str = "", pinned: bool = True) -> ContainerdEngine:
        return ContainerdEngine(
            address or str(self.socket), namespace or self.namespace, 300, run_program, pinned, self.find_program("ctr")
        )

    def list_names(self) -> set[str]:
        return set(self.call("images", "ls", "-q").split("\n")) - {""}

    def read_labels(self, name: str) -> str:
        (line,) = [line for line in self.call("images", "ls").split("\n") if line.split(" ")[0] == name]
        return line.split()[-1]

    def run_container(self, name: str) -> str:
        return self.call("run", "--rm", name, f"test-{time.monotonic_ns()}")

    def forget(self, name: str) -> None:
        (digest,) = [line.split()[2] for line in self.call("images", "ls", f"name=={name}").split("\n")[1:] if line]
        self.call("images", "rm", "--sync", *self.call("images", "ls", "-q", f"target.digest=={digest}").split())

    def discard_layers(self, made_manifest: str, digests: list[str]) -> None:
        """What discard_unpacked_layers does: nothing refers to the blobs of layers, and they are collected."""
        labels = [f"containerd.io/gc.ref.content.l.{number}=" for number in range(len(digests))]
        self.call("content", "label", made_manifest, *labels)
        self.call("content", "rm", *digests)


class DockerHost(EngineHost):
    """dockerd with a graph driver."""

    name = "docker"

    def get_command(self) -> list[str]:
        # No bridge and no rules of docker's own: containers run with --network none.
        return [
            *(self.find_program("dockerd"), "--host", f"unix://{self.socket}", "--data-root", f"{self.directory}/root"),
            *("--exec-root", f"{self.directory}/state", "--pidfile", f"{self.directory}/pid"),
            *("--storage-driver=overlay2", "--bridge=none", "--iptables=false", "--ip6tables=false"),
            *("--ip-forward=false", "--ip-masq=false", "--exec-opt", "native.cgroupdriver=cgroupfs"),
            *("--shutdown-timeout=2", "--config-file", self._write_config()),
        ]

    def _write_config(self) -> str:
        path = self.directory / "daemon.json"
        path.write_text("{}")
        return str(path)

    def get_client(self) -> list[str]:
        return [self.find_program("docker"), "--host", f"unix://{self.socket}"]

    def make_engine(self, address: Optional[str] = None) -> DockerEngine:
        return DockerEngine(f"unix://{address or self.socket}", 300)

    def list_names(self) -> set[str]:
        lines = self.call("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").split("\n")
        return {line for line in lines if line}

    def run_container(self, name: str) -> str:
        return self.call("run", "--rm", "--network=none", name)

    def forget(self, name: str) -> None:
        self.call("rmi", "--force", name)


class NewContainerdHost(ContainerdHost):
    """containerd 2 with its CRI."""

    search = f"{engines.directory()}:{SEARCH}"
    local = ("--local",)


class NewDockerHost(DockerHost):
    """The daemon of Docker 29 with the containerd image store, on a containerd 2 of its own."""

    search = NewContainerdHost.search
    keeps_digests = True

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.containerd = NewContainerdHost(directory / "c")

    def start(self) -> None:
        self.containerd.start()
        super().start()

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        super().end(signal_number)
        self.containerd.end()

    def get_command(self) -> list[str]:
        without_driver = [option for option in super().get_command() if not option.startswith("--storage-driver")]
        return [*without_driver, "--containerd", str(self.containerd.socket)]

    def make_env(self) -> dict[str, str]:
        # For the client of Debian.
        return {**super().make_env(), "DOCKER_MIN_API_VERSION": "1.40"}

    def make_engine(self, address: Optional[str] = None) -> Engine:
        engine = DockerEngine(f"unix://{address or self.socket}", 300)
        return DockerStoreEngine(engine.read_info(), 300, run_program, self.find_program("ctr"))

    def containerd_names(self) -> set[str]:
        """All names in docker's namespace of containerd."""
        client = [*self.containerd.get_client()[:-1], "moby"]
        done = subprocess.run([*client, "images", "ls", "-q"], capture_output=True, check=True, env=self.make_env())
        return set(done.stdout.decode().split())

    def run_container(self, name: str) -> str:
        # The runc of this test has no seccomp.
        return self.call("run", "--rm", "--network=none", "--security-opt=seccomp=unconfined", name)


HOSTS: dict[str, type[EngineHost]] = {
    "containerd": ContainerdHost,
    "docker": DockerHost,
    "containerd-2": NewContainerdHost,
    "docker-29": NewDockerHost,
}
# Their programs take minutes to build.
NEW_HOSTS = ("containerd-2", "docker-29")
