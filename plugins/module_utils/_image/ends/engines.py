# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engines that a host may have: how each is found and made.

Another engine is a file that implements C(Engine), and a line in C(ENGINES). The files are imported when they are used:
a host compiles all imported code for every call.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..run_command import RunCommand
from .engine import DEFAULT_CONTAINERD_ADDRESS, DEFAULT_DOCKER_HOST, Engine, EngineError

AUTO = "auto"
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Presence:
    """Whether a host has an engine, and whether that engine is in use; otherwise the reason."""

    installed: bool
    used: bool
    reason: str = ""


@dataclass(frozen=True)
class EngineKind:
    """An engine: how to read whether a host has it, and how to make it from the module's options."""

    read_presence: Callable[[Parameters, RunCommand], Presence]
    make: Callable[[Parameters, RunCommand], Engine]


def _read_docker_presence(params: Parameters, _run: RunCommand) -> Presence:
    path = str(params["docker_host"])[len("unix://") :]
    if not os.path.exists(path):
        return Presence(False, False, f"{path} does not exist")
    # Podman can listen on a socket of this name, with docker's API.
    if "podman" in os.path.realpath(path):
        return Presence(False, False, f"{path} is a socket of podman")
    return Presence(True, True)


def _make_docker(params: Parameters, run: RunCommand) -> Engine:
    from .docker import DockerEngine

    timeout = float(params["timeout"])
    docker = DockerEngine(params["docker_host"], timeout)
    info = docker.read_info()
    if not info.has_containerd_store:
        return docker
    from .docker_store import DockerStoreEngine

    return DockerStoreEngine(info, timeout, run)


def _read_podman_presence(_params: Parameters, _run: RunCommand) -> Presence:
    if shutil.which("podman") is None:
        return Presence(False, False, "the program is not installed")
    # Without a daemon, only the images in its storage show that podman is used. A list of none is [].
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    storage = os.path.join("/var/lib" if os.geteuid() == 0 else home, "containers/storage")
    lists = glob.glob(os.path.join(glob.escape(storage), "*-images", "images.json"))
    return Presence(True, any(os.path.getsize(path) > len("[]") for path in lists), f"{storage} has no image")


def _make_podman(params: Parameters, run: RunCommand) -> Engine:
    from .podman import PodmanEngine

    return PodmanEngine(run, float(params["timeout"]), params["staging_dir"])


def _read_containerd_presence(params: Parameters, run: RunCommand) -> Presence:
    from .containerd_client import ContainerdClient

    address, namespace = str(params["containerd_address"]), str(params["containerd_namespace"])
    if not os.path.exists(address):
        return Presence(False, False, f"{address} does not exist")
    # Docker has a containerd of its own, with a namespace of another name.
    try:
        output = ContainerdClient(address, namespace, run, "ctr").request("namespaces", "list", "--quiet")
    except EngineError as error:
        return Presence(True, False, str(error))
    return Presence(True, namespace in output.split(), f"it has no namespace {namespace}")


def _make_containerd(params: Parameters, run: RunCommand) -> Engine:
    from .containerd import ContainerdEngine

    return ContainerdEngine(
        params["containerd_address"],
        params["containerd_namespace"],
        float(params["timeout"]),
        run,
        params["containerd_pinned"],
    )


ENGINES: Mapping[str, EngineKind] = {
    "docker": EngineKind(_read_docker_presence, _make_docker),
    "podman": EngineKind(_read_podman_presence, _make_podman),
    "containerd": EngineKind(_read_containerd_presence, _make_containerd),
}


def make_engine(name: str, params: Parameters, run: RunCommand) -> Engine:
    """Makes the engine of this name. C(auto) is the only engine that the host uses, or the only one that it has.

    Raises EngineError if there is none, or more than one.
    """
    if name == AUTO:
        name = _choose_name(params, run)
    return ENGINES[name].make(params, run)


def _choose_name(params: Parameters, run: RunCommand) -> str:
    named = _get_named_by_address(params)
    if named:
        return named
    presences = {name: kind.read_presence(params, run) for name, kind in ENGINES.items()}
    used = [name for name, presence in presences.items() if presence.used]
    found = used or [name for name, presence in presences.items() if presence.installed]
    if not found:
        reasons = "; ".join(f"{name}: {presence.reason}" for name, presence in presences.items())
        raise EngineError(f"engine: auto found no container engine on this host ({reasons}). Start one, or name it.")
    if len(found) > 1:
        raise EngineError(
            f"engine: auto found {' and '.join(found)} on this host. Set engine to the one that needs the images."
        )
    return found[0]


def _get_named_by_address(params: Parameters) -> Optional[str]:
    """Gets the engine whose address an operator has given, which names the engine."""
    if params["docker_host"] != DEFAULT_DOCKER_HOST:
        return "docker"
    if params["containerd_address"] != DEFAULT_CONTAINERD_ADDRESS:
        return "containerd"
    return None
