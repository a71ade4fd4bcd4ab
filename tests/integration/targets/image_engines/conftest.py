# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.targets.image_engines.kit import HOSTS, ContainerdHost, EngineHost, ensure_programs


def start_host(kind: str) -> Iterator[EngineHost]:
    # A socket's path has at most 107 characters, and pytest's directories are long.
    directory = Path(tempfile.mkdtemp(prefix=f"{kind}-"))
    ensure_programs()
    host = HOSTS[kind](directory)
    try:
        host.start()
        yield host
    finally:
        host.end()
        shutil.rmtree(directory)


@pytest.fixture(scope="session", params=list(HOSTS))
def host(request: pytest.FixtureRequest) -> Iterator[EngineHost]:
    """A running engine. All tests share it, so each uses its own images."""
    yield from start_host(request.param)


@pytest.fixture(scope="session")
def node() -> Iterator[ContainerdHost]:
    """A running containerd with the CRI of a node."""
    for started in start_host("containerd"):
        assert isinstance(started, ContainerdHost)
        yield started
