# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All engines on hosts of the bed, as sources and as targets. Another engine is one more class and one more entry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from testbed import engines, paths
from testbed.hosts import Host
from testbed.node import Part, wait_for
from testbed.registry import PLAIN

DIRECTORY = "/opt/matrix"
NEW_PROGRAMS = f"{DIRECTORY}/bin"
# As nodeadm configures it on EKS nodes: layers are unpacked, and their blobs discarded. A target only: such a
# containerd is refused as a source.
DISCARD = '[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n'


class End:
    """An engine on a host."""

    name = ""
    label = ""
    # Its programs take minutes to build.
    is_new = False

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    def directory(self) -> str:
        return f"{DIRECTORY}/{self.name}"

    def start(self) -> None:
        """Starts it where the bed does not."""

    def end(self) -> None:
        pass

    def target_variables(self) -> dict[str, Any]:
        raise NotImplementedError

    def source_variables(self) -> dict[str, Any]:
        raise NotImplementedError

    def pull(self, name: str) -> None:
        raise NotImplementedError

    def read_digest(self, name: str) -> str:
        """The digest of the manifest that the engine has under this name. Empty: it has none."""
        raise NotImplementedError

    def run_container(self, name: str) -> str:
        raise NotImplementedError

    def clean(self) -> None:
        raise NotImplementedError

    def interpreter_variables(self) -> dict[str, Any]:
        """A host's own programs come first in its PATH. Here this is the host of several engines."""
        if not self.is_new:
            return {"ansible_python_interpreter": self.host.python}
        return {"ansible_python_interpreter": f"{DIRECTORY}/python"}

    def copy_programs(self) -> None:
        """The host has the new engine's programs, and an interpreter with these first in its PATH."""
        engines.ensure()
        folder = self.host.folder / NEW_PROGRAMS.removeprefix("/")
        folder.mkdir(parents=True, exist_ok=True)
        for program in engines.directory().iterdir():
            if not (folder / program.name).exists():
                shutil.copy2(program, folder)
        wrapper = folder.parent / "python"
        wrapper.write_text(f'#!/bin/sh\nPATH={NEW_PROGRAMS}:$PATH exec {self.host.python} "$@"\n')
        wrapper.chmod(0o755)

    def run_new(self, *command: str) -> str:
        program, *arguments = command
        return self.host.run("env", f"PATH={NEW_PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin", program, *arguments).stdout


class DockerEnd(End):
    """The bed's own dockerd."""

    name = "docker"
    label = "docker 20.10"
    options: tuple[str, ...] = ()
    run_options: tuple[str, ...] = ()

    def docker(self, *arguments: str) -> str:
        return self.host.docker(*self.options, *arguments).stdout

    def target_variables(self) -> dict[str, Any]:
        return {"image_transfer_engine": "docker"}

    def source_variables(self) -> dict[str, Any]:
        return {"source": "docker"}

    def pull(self, name: str) -> None:
        self.docker("pull", "--quiet", name)

    def read_digest(self, name: str) -> str:
        found = json.loads(self.docker("image", "inspect", name))[0]["RepoDigests"]
        return found[0].partition("@")[2] if found else ""

    def run_container(self, name: str) -> str:
        return self.docker("run", "--rm", "--network=none", *self.run_options, name).strip()

    def clean(self) -> None:
        names = self.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        if own := [name for name in names if "/it-" in name]:
            self.docker("image", "rm", "--force", *own)


class PodmanEnd(End):
    name = "podman"
    label = "podman 4.3"

    def target_variables(self) -> dict[str, Any]:
        return {"image_transfer_engine": "podman"}

    def source_variables(self) -> dict[str, Any]:
        return {"source": "podman"}

    def pull(self, name: str) -> None:
        self.host.run("podman", "pull", "--quiet", "--tls-verify=false", name)

    def read_digest(self, name: str) -> str:
        return str(json.loads(self.host.run("podman", "image", "inspect", name).stdout)[0]["Digest"])

    def run_container(self, name: str) -> str:
        # Without systemd, and below the cgroup that the bed removes.
        options = (
            *("--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs", "run", "--rm", "--network=none"),
            *("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096"),
        )
        group = f"--cgroup-parent=/{paths.CGROUP}/{self.host.name}"
        return self.host.run("podman", *options, group, name).stdout.strip()

    def clean(self) -> None:
        self.host.run("podman", "rmi", "--all", "--force")


class ContainerdEnd(End):
    """A containerd of its own, with its CRI."""

    name = "containerd"
    label = "containerd 1.6"
    namespace = "k8s.io"
    config = ""

    def __init__(self, host: Host, config: str = "") -> None:
        super().__init__(host)
        self.config = config

    @property
    def address(self) -> str:
        return f"{self.directory}/s.sock"

    @property
    def part(self) -> str:
        return f"matrix-{self.name}"

    def run_program(self, *command: str) -> str:
        return self.run_new(*command) if self.is_new else self.host.run(*command).stdout

    def ctr(self, *arguments: str) -> str:
        return self.run_program("ctr", "--address", self.address, "--namespace", self.namespace, *arguments)

    def start(self) -> None:
        if self.is_new:
            self.copy_programs()
        folder = self.host.folder / self.directory.removeprefix("/")
        folder.mkdir(parents=True, exist_ok=True)
        text = (
            f'version = 2\nroot = "{self.directory}/root"\nstate = "{self.directory}/state"\n'
            'disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]\n'
            f'[grpc]\naddress = "{self.address}"\n{self.config}'
        )
        (folder / "config.toml").write_text(text)
        search = f"{NEW_PROGRAMS}:" if self.is_new else ""
        env = {"PATH": f"{search}/usr/sbin:/usr/bin:/sbin:/bin"}
        program = f"{NEW_PROGRAMS}/containerd" if self.is_new else "/usr/bin/containerd"
        argv = [program, "--config", f"{self.directory}/config.toml"]
        self.host.start(Part(self.part, argv, env, reads=[text]))
        wait_for(self.name, self._is_up, 60, self.host.log(self.part))

    def _is_up(self) -> bool:
        return self.host.run("ctr", "--address", self.address, "version", check=False).returncode == 0

    def end(self) -> None:
        self.host.stop(self.part)
        # Mounts that it leaves would keep the directory.
        shutil.rmtree(self.host.folder / self.directory.removeprefix("/"), ignore_errors=True)

    def target_variables(self) -> dict[str, Any]:
        return {"image_transfer_engine": "containerd", "image_transfer_containerd_address": self.address}

    def source_variables(self) -> dict[str, Any]:
        return {"source": "containerd", "source_containerd_address": self.address}

    def pull(self, name: str) -> None:
        local = ("--local",) if self.is_new else ()
        self.ctr("images", "pull", *local, "--plain-http", name)

    def read_digest(self, name: str) -> str:
        lines = self.ctr("images", "ls", f"name=={name}").splitlines()[1:]
        return lines[0].split()[2] if lines else ""

    def run_container(self, name: str) -> str:
        return self.ctr("run", "--rm", "--cgroup", "", name, "matrix").strip()

    def clean(self) -> None:
        if names := self.ctr("images", "ls", "--quiet").split():
            self.ctr("images", "rm", "--sync", *names)


class NewContainerdEnd(ContainerdEnd):
    name = "containerd-2"
    label = "containerd 2.2"
    is_new = True


class NewDockerEnd(DockerEnd):
    """The daemon of Docker 29 with the containerd image store, on a containerd 2 of its own."""

    name = "docker-29"
    label = "Docker 29, containerd store"
    is_new = True
    # The runc of this test has no seccomp.
    run_options = ("--security-opt=seccomp=unconfined",)

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.containerd = NewContainerdEnd(host)
        self.containerd.name = "containerd-of-docker-29"

    @property
    def address(self) -> str:
        return f"unix://{self.directory}/s.sock"

    @property
    def options(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("--host", self.address)

    def start(self) -> None:
        self.containerd.start()
        folder = self.host.folder / self.directory.removeprefix("/")
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"insecure-registries": [PLAIN]})
        (folder / "daemon.json").write_text(text)
        argv = [
            *(f"{NEW_PROGRAMS}/dockerd", "--host", self.address, "--data-root", f"{self.directory}/root"),
            *("--exec-root", f"{self.directory}/state", "--pidfile", f"{self.directory}/pid"),
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{paths.CGROUP}/{self.host.name}"),
            *("--shutdown-timeout=2", "--config-file", f"{self.directory}/daemon.json"),
            *("--containerd", self.containerd.address),
        ]
        # For the client of Debian.
        env = {"PATH": f"{NEW_PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin", "DOCKER_MIN_API_VERSION": "1.40"}
        self.host.start(Part(self.part, argv, env, reads=[text]))
        wait_for(self.name, self._is_up, 60, self.host.log(self.part))

    @property
    def part(self) -> str:
        return f"matrix-{self.name}"

    def _is_up(self) -> bool:
        return self.host.docker(*self.options, "version", check=False).returncode == 0

    def end(self) -> None:
        self.host.stop(self.part)
        self.containerd.end()
        shutil.rmtree(self.host.folder / self.directory.removeprefix("/"), ignore_errors=True)

    def target_variables(self) -> dict[str, Any]:
        return {"image_transfer_engine": "docker", "image_transfer_docker_host": self.address}

    def source_variables(self) -> dict[str, Any]:
        return {"source": "docker", "source_docker_host": self.address}


ENDS: Mapping[str, type[End]] = {
    kind.name: kind for kind in (DockerEnd, NewDockerEnd, PodmanEnd, ContainerdEnd, NewContainerdEnd)
}
REGISTRY = "registry"
SOURCES: Sequence[str] = (REGISTRY, *ENDS)
NEW = frozenset(name for name, kind in ENDS.items() if kind.is_new)
