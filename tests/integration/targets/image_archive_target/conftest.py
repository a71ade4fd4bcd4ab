# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.targets.image_archive_target.kit import Media, PodmanStorage
from integration.targets.image_engines.conftest import docker, list_kinds, new_docker, node, start_host
from integration.targets.image_engines.kit import EngineHost

__all__ = ["docker", "new_docker", "node"]


@pytest.fixture(scope="session", params=list_kinds("docker", "containerd", "docker-29", "containerd-2"))
def host(request: pytest.FixtureRequest) -> Iterator[EngineHost]:
    """A running engine, which all tests share."""
    yield from start_host(request.param)


@pytest.fixture
def media(tmp_path: Path) -> Media:
    """A directory for the archive, and one for staging."""
    return Media(tmp_path)


@pytest.fixture
def podman() -> Iterator[PodmanStorage]:
    # Podman's run root has at most 50 characters, and pytest's directories are long.
    directory = Path(tempfile.mkdtemp(prefix="podman-"))
    yield PodmanStorage(directory)
    # The storage driver mounts its directory.
    subprocess.run(["umount", str(directory / "root/overlay")], capture_output=True, check=False)
    shutil.rmtree(directory)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)
