# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that writes archives, and the programs that read them without this collection."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_target import ArchiveTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import LoadOutcome
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle, EngineFacts
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from integration.targets.image_engines.images import Made
from integration.targets.image_engines.kit import SEARCH, find_program

# What runs in this machine's control groups and without a bridge.
_RUN = [
    *("run", "--rm", "--pull=never", "--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs", "--network=none"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
]


class Media:
    """A host with a directory for the archive."""

    def __init__(self, root: Path, part_size: Optional[int] = None, directory: Optional[Path] = None) -> None:
        self.directory, self.root, self.part_size = directory or root / "media", root / "staging", part_size
        self.directory.mkdir(exist_ok=True)

    @property
    def path(self) -> Path:
        return self.directory / "images.tar"

    @property
    def target(self) -> ArchiveTarget:
        return ArchiveTarget(str(self.path), self.part_size)

    def read_facts(self) -> EngineFacts:
        return self.target.read_facts(str(self.root))

    def plan(self, *made: Made) -> tuple[set[str], set[str]]:
        """The actions, and the blobs that have to be transferred."""
        plans = plan_load(bundle_of(*made), self.read_facts())
        return {plan.action for plan in plans}, {blob.digest for plan in plans for blob in plan.blobs}

    def stage(self, *made: Made) -> Staging:
        """Stages the blobs of the plan, as a transfer does."""
        held: Mapping[str, bytes] = {digest: data for item in made for digest, data in item.content.items()}
        staging = Staging(str(self.root), bundle_of(*made).get_directory_name("loaded"))
        staging.create()
        for digest in self.plan(*made)[1]:
            staging.get_path(digest).write_bytes(held[digest])
        return staging

    def try_write(self, *made: Made) -> list[LoadOutcome]:
        staging = self.stage(*made)
        try:
            return self.target.write(bundle_of(*made), staging, lambda *_arguments: None, self.read_facts())
        finally:
            staging.remove()

    def write(self, *made: Made) -> None:
        assert [outcome.error for outcome in self.try_write(*made)] == [None] * len(made)

    def list_files(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def list_parts(self) -> list[Path]:
        return sorted(path for path in self.directory.iterdir() if path.suffix not in (".sha256", ".txt"))

    def check(self) -> None:
        """What an operator runs at the isolated site."""
        subprocess.run(["sha256sum", "--check", "--strict", "images.tar.sha256"], cwd=self.directory, check=True)

    def pipe(self, *command: str, env: Optional[Mapping[str, str]] = None) -> str:
        """Runs the command on the joined archive, by the shell: C(cat images.tar.[0-9]* | ...)."""
        pattern = "images.tar" if self.part_size is None else "images.tar.[0-9]*"
        script = f'cat {pattern} | "$@"'
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *command],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            env=dict(env or os.environ),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class PodmanStorage:
    """A podman with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        directories = [f"--{name}={directory / name}" for name in ("root", "runroot", "tmpdir")]
        self.command = [find_program("podman"), *directories, "--events-backend=none"]
        self.env = {**os.environ, "PATH": SEARCH, "TMPDIR": str(directory)}

    def call(self, *arguments: str) -> str:
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False, env=self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run_container(self, name: str) -> str:
        return self.call(*_RUN, name)


def bundle_of(*made: Made) -> Bundle:
    return Bundle(tuple(item.image for item in made))
