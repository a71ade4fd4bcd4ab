# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.targets.image_engines.kit import (
    HOSTS,
    NEW_HOSTS,
    ContainerdHost,
    DockerHost,
    EngineHost,
    NewDockerHost,
    ensure_programs,
)
from testbed import engines


def start_host(kind: str) -> Iterator[EngineHost]:
    # A socket's path has at most 107 characters, and pytest's directories are long.
    directory = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
    ensure_programs()
    if kind in NEW_HOSTS:
        engines.ensure()
    host = HOSTS[kind](directory)
    try:
        host.start()
        yield host
    finally:
        host.end()
        shutil.rmtree(directory)


def list_kinds(*kinds: str) -> list[Any]:
    return [pytest.param(kind, marks=pytest.mark.full) if kind in NEW_HOSTS else kind for kind in kinds]


@pytest.fixture(scope="session", params=list_kinds(*HOSTS))
def host(request: pytest.FixtureRequest) -> Iterator[EngineHost]:
    """A running engine. All tests share it, so each uses its own images."""
    yield from start_host(request.param)


@pytest.fixture(scope="session", params=list_kinds("containerd", "containerd-2"))
def node(request: pytest.FixtureRequest) -> Iterator[ContainerdHost]:
    """A running containerd with the CRI of a node."""
    for started in start_host(request.param):
        assert isinstance(started, ContainerdHost)
        yield started


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerHost]:
    """A running dockerd with a graph driver."""
    for started in start_host("docker"):
        assert isinstance(started, DockerHost)
        yield started


@pytest.fixture(scope="session")
def new_docker() -> Iterator[NewDockerHost]:
    """A running Docker 29 with the containerd image store."""
    for started in start_host("docker-29"):
        assert isinstance(started, NewDockerHost)
        yield started
