# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engines that a host may have: how each is found and made.

Another engine is a file that implements C(Engine), and a line in C(ENGINES). The files are imported when they are used:
a host compiles all imported code for every call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..run_command import RunCommand
from .engine import DEFAULT_DOCKER_HOST, Engine, EngineError

AUTO = "auto"
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class EngineKind:
    """An engine: why a host does not have it (None where it has), and how to make it from the module's options."""

    get_absence_reason: Callable[[Parameters, RunCommand], Optional[str]]
    make: Callable[[Parameters, RunCommand], Engine]


def _get_docker_absence_reason(params: Parameters, _run: RunCommand) -> Optional[str]:
    path = str(params["docker_host"])[len("unix://") :]
    return None if os.path.exists(path) else f"{path} does not exist"


def _make_docker(params: Parameters, _run: RunCommand) -> Engine:
    from .docker import DockerEngine

    return DockerEngine(params["docker_host"], float(params["timeout"]))


ENGINES: Mapping[str, EngineKind] = {"docker": EngineKind(_get_docker_absence_reason, _make_docker)}


def make_engine(name: str, params: Parameters, run: RunCommand) -> Engine:
    """Makes the engine of this name. C(auto) is the only engine that the host has; raises EngineError if there is none,
    or more than one.
    """
    if name == AUTO and params["docker_host"] != DEFAULT_DOCKER_HOST:
        name = "docker"  # somebody has named its socket
    if name != AUTO:
        return ENGINES[name].make(params, run)
    reasons = {candidate: kind.get_absence_reason(params, run) for candidate, kind in ENGINES.items()}
    found = [candidate for candidate, reason in reasons.items() if reason is None]
    if not found:
        details = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
        raise EngineError(f"engine: auto found no container engine on this host ({details}). Start one, or name it.")
    if len(found) > 1:
        raise EngineError(
            f"engine: auto found {' and '.join(found)} on this host. Set engine to the one that needs the images."
        )
    return ENGINES[found[0]].make(params, run)
