# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small programs in Go, each with a directory beside this file for its module, built once into the cache."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

from . import packages, paths


def ensure(name: str, package: str = ".") -> Path:
    """Build the program where it is missing, and return it. C(package): of the directory's module."""
    source = Path(__file__).with_name(name)
    files = [source / "go.mod", source / "go.sum", *sorted(source.glob("*.go"))]
    text = b"\0".join(file.read_bytes() for file in files) + packages.go_version().encode()
    program = paths.cache() / "bin" / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}"
    program.parent.mkdir(parents=True, exist_ok=True)
    with (paths.cache() / f"build-{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(source, program, package)
    return program


def _build(source: Path, program: Path, package: str) -> None:
    build = paths.cache() / f"build-{source.name}"
    shutil.rmtree(build, ignore_errors=True)
    print(f"== test bed: building {source.name} (once; about half a minute)", flush=True)
    command = ["build", "-trimpath", "-o", str(build / "program"), package]
    packages.run_go(build, *command, flags="-mod=readonly -buildvcs=false", cwd=source)
    (build / "program").rename(program)
    shutil.rmtree(build)
