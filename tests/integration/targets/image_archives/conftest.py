# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.targets.image_archives.kit import Programs, ensure_programs
from integration.targets.image_engines.kit import ContainerdHost, DockerHost, EngineHost


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """The programs that save images: a docker, a podman and a containerd, and skopeo."""
    ensure_programs()
    # A socket's path has at most 107 characters, podman's run root 50, and pytest's directories are long.
    directory = Path(tempfile.mkdtemp(prefix="arc-"))
    docker, containerd = DockerHost(directory / "d"), ContainerdHost(directory / "c")
    started = Programs(directory, docker, containerd)
    try:
        for host in (docker, containerd):
            host.start()
        yield started
    finally:
        for host in (docker, containerd):
            host.end()
        # The storage driver mounts its directory.
        subprocess.run(["umount", str(directory / "p/root/overlay")], capture_output=True, check=False)
        shutil.rmtree(directory)


@pytest.fixture(params=["docker", "containerd"])
def target(request: pytest.FixtureRequest, programs: Programs) -> EngineHost:
    """An engine without images. Those that it saved are removed."""
    host: EngineHost = getattr(programs, request.param)
    programs.wipe()
    return host
