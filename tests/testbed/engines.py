# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Newer container engines than Debian's, for the long tests: built once by Go into the cache.

`python -m testbed build-engines` builds them. docs/facts/testbed.md#newer-engines
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import packages, paths


@dataclass(frozen=True)
class GoProgram:
    """Programs that C(go install) builds. C(cgo): parts of them are in C. C(flags): for the linker."""

    package: str
    version: str
    names: tuple[str, ...]
    tags: str = ""
    cgo: bool = False
    flags: str = ""


CONTAINERD_VERSION = "2.2.9"
PROGRAMS = (
    GoProgram(
        "github.com/containerd/containerd/v2/cmd",
        f"v{CONTAINERD_VERSION}",
        ("containerd", "ctr", "containerd-shim-runc-v2"),
        tags="no_btrfs",
    ),
    # The daemon of Docker 29.
    GoProgram(
        "github.com/moby/moby/v2/cmd",
        "v2.0.0-beta.24",
        ("dockerd",),
        flags="-X github.com/moby/moby/v2/dockerversion.Version=29.0.0-moby-2.0.0-beta.24",
    ),
    # Docker 29 refuses Debian's runc 1.1. Without libseccomp's headers, containers need seccomp=unconfined.
    GoProgram("github.com/opencontainers", "v1.3.5", ("runc",), cgo=True),
)


def directory() -> Path:
    """Return the directory that contains the programs after the build."""
    key = hashlib.sha256(f"{PROGRAMS} {packages.go_version()}".encode()).hexdigest()[:12]
    return paths.cache() / f"engines-{key}"


def ensure() -> Path:
    """Build the programs where they are missing, and return their directory. Wait for a build of another process."""
    made = directory()
    if not made.exists():
        paths.cache().mkdir(parents=True, exist_ok=True)
        with (paths.cache() / "build-engines.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                _build(made)
    return made


def _build(made: Path) -> None:
    build = paths.cache() / "build-engines"
    shutil.rmtree(build, ignore_errors=True)
    for program in PROGRAMS:
        print(f"== test bed: building {', '.join(program.names)} {program.version} (once)", flush=True)
        packages.run_go(
            build,
            *("install", "-trimpath", "-ldflags", f"-s -w {program.flags}", "-tags", program.tags),
            *(f"{program.package}/{name}@{program.version}" for name in program.names),
            cgo=program.cgo,
        )
    (build / "bin").rename(made)
    shutil.rmtree(build)
