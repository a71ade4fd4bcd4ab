# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's programs: built once by Go from cluster/ into the cache. `python -m testbed build` builds them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from . import packages, paths
from .node import BedError

SOURCE = Path(__file__).with_name("cluster")
VERSION = "1.34.4"
AUTHENTICATOR = "sigs.k8s.io/aws-iam-authenticator/cmd/aws-iam-authenticator"
# Names of the same binary, which runs the program of the name that it is called by (cluster/kubernetes/main.go).
NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")


def key() -> str:
    """Return the build's key, which changes with the sources, the modules and the version of Go."""
    sources = [SOURCE / "go.mod", SOURCE / "go.sum", *sorted(SOURCE.rglob("*.go"))]
    text = b"\0".join(source.read_bytes() for source in sources)
    return hashlib.sha256(text + packages.go_version().encode() + VERSION.encode()).hexdigest()[:12]


def directory() -> Path:
    """Return the directory that contains the programs after the build, by their names."""
    return paths.cache() / f"cluster-{key()}"


def ensure() -> Path:
    """Build the programs where they are missing, and return their directory. Wait for a build of another process."""
    made = directory()
    if made.exists():
        return made
    paths.cache().mkdir(parents=True, exist_ok=True)
    with _lock(paths.cache() / "build-cluster.lock", made):
        if not made.exists():
            _build(made)
    return made


@contextmanager
def _lock(path: Path, made: Path) -> Iterator[None]:
    with path.open("a+") as file:
        reported = 0.0
        while True:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() - reported > 20 and not made.exists():
                file.seek(0)
                report_progress(f"waiting for another process that builds them: {file.read() or 'it has just begun'}")
                reported = time.monotonic()
            time.sleep(0.2)
        yield
        file.truncate(0)


def report_progress(text: str) -> None:
    print(f"== test bed: Kubernetes' programs: {text}", flush=True)


def _build(made: Path) -> None:
    begin = time.monotonic()
    build = paths.cache() / "build-cluster"
    shutil.rmtree(build, ignore_errors=True)
    out = build / "out"
    out.mkdir(parents=True)
    env = {
        **os.environ,
        "GOPATH": str(build / "path"),
        "GOMODCACHE": str(build / "path" / "mod"),
        "GOCACHE": str(build / "cache"),
        "GOFLAGS": "-modcacherw -mod=readonly -buildvcs=false",
        "CGO_ENABLED": "0",
    }
    report_progress(f"building version {VERSION} by Go, once (about 6 minutes on 2 cores; 4 GB of disk meanwhile)")
    go = packages.go(build)
    targets = ["./kubernetes", "./pause", AUTHENTICATOR]
    listed = subprocess.run(
        [go, "list", "-deps", *targets], cwd=SOURCE, env=env, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        raise BedError(f"Go cannot fetch the modules of Kubernetes:\n{listed.stderr[-2000:]}")
    total = len(listed.stdout.splitlines())
    report_progress(f"modules fetched after {time.monotonic() - begin:.0f} s, {total} packages to compile")
    command = [go, "build", "-v", "-trimpath", "-ldflags", _ldflags(), "-o", f"{out}/", *targets]
    with (build / "log").open("w+") as log:
        process = subprocess.Popen(command, cwd=SOURCE, env=env, stdout=log, stderr=log)
        _watch(process, build / "log", total, begin)
        if process.returncode:
            raise BedError(f"building Kubernetes' programs failed:\n{(build / 'log').read_text()[-2000:]}")
    for name in NAMES:
        (out / name).symlink_to("kubernetes")
    out.rename(made)
    shutil.rmtree(build)
    report_progress(f"built in {time.monotonic() - begin:.0f} s")


def _watch(process: subprocess.Popen[bytes], log: Path, total: int, begin: float) -> None:
    """Report progress every 20 seconds, also in the lock's file for the processes that wait."""
    progress = paths.cache() / "build-cluster.lock"
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
            return
        count = len(log.read_text(errors="replace").splitlines())
        what = f"{count} of {total} packages" if count < total - 5 else "linking"
        text = f"{what} after {time.monotonic() - begin:.0f} s"
        progress.write_text(text)
        report_progress(text)


def _ldflags() -> str:
    major, minor, _dummy = VERSION.split(".")
    fields = {"gitVersion": f"v{VERSION}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    where = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {package}.{name}={value}" for package in where for name, value in fields.items())])
