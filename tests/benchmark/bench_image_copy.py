# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copying an image and its update between two registries: the module, against skopeo and crane.

Both registries are Debian's docker-registry on this machine, in processes of their own. Each run copies to a repository
that did not exist. Ours is a run of the module in a process of its own, without ansible-playbook. SIZE is that of the
image in MB.
"""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from figures import ROUNDS, Figure, Goal, interleaved, publish, table
from integration.targets.image_copy.images import Content, random_layer
from integration.targets.image_copy.kit import DebianRegistry, ensure_programs, start_module
from testbed import packages, paths

CRANE = "github.com/google/go-containerregistry/cmd/crane"
CRANE_VERSION = "v0.22.1"
SIZE = int(os.environ.get("SIZE", "500"))
CASES = ("first", "update")
GOALS = {"first": Goal(ratio=1.0), "update": Goal(ratio=0.5)}
OURS, SKOPEO, CRANE_COPY = "image_copy", "skopeo copy --all", "crane copy"


def build_crane() -> Path:
    """Build crane into the cache where it is missing, and return the program."""
    program = paths.cache() / "bin" / f"crane-{CRANE_VERSION}"
    if not program.exists():
        build = paths.cache() / "build-crane"
        print(f"== building {CRANE}@{CRANE_VERSION} (once)", flush=True)
        packages.run_go(build, "install", f"{CRANE}@{CRANE_VERSION}")
        program.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build / "bin" / "crane", program)
        shutil.rmtree(build)
    return program


def make_layer(size: int) -> bytes:
    """A layer with the compression that its type names: skopeo compresses any other, and so changes the digest."""
    return gzip.compress(random_layer(size), 1, mtime=0)


class Bench:
    def __init__(self, work: Path) -> None:
        self.work = work
        self.source, self.destination = (DebianRegistry(work / name) for name in ("source", "destination"))
        self.digests: dict[str, str] = {}
        self.crane = str(build_crane())

    def set_up(self) -> None:
        """An image of four layers; its update shares three of them."""
        for registry in (self.source, self.destination):
            registry.start()
        shares = [make_layer(SIZE * size * 10_000) for size in (60, 25, 13)]
        for case in CASES:
            content = Content()
            content.image(*shares, make_layer(SIZE * 20_000))
            self.digests[case] = self.source.client.push("app", content, case)

    def copy(self, way: str, case: str, to: str) -> None:
        name, target = f"{self.source.host}/app:{case}", f"{self.destination.host}/{to}:{case}"
        if way == OURS:
            process = start_module(self.work, [{"name": name, "to": target}], timeout=60)
        else:
            skopeo = ["skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
            names = [f"docker://{name}", f"docker://{target}"]
            argv = [*skopeo, *names] if way == SKOPEO else [self.crane, "copy", "--insecure", name, target]
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{way}: {(output + errors).decode()[-2000:]}")

    def run(self, way: str) -> Mapping[str, float]:
        """The seconds of a first copy, and of an update beside it."""
        to, seconds = f"mirror/{secrets.token_hex(4)}", {}
        for case in CASES:
            began = time.monotonic()
            self.copy(way, case, to)
            seconds[case] = time.monotonic() - began
            found = self.destination.client.call(
                "HEAD", f"/v2/{to}/manifests/{case}", Accept="application/vnd.oci.image.manifest.v1+json"
            )[1]["Docker-Content-Digest"]
            if found != self.digests[case]:
                raise RuntimeError(f"{way}: {to}:{case} is {found}, not {self.digests[case]}")
        # The next run must not find its blobs on the disk of the registry.
        shutil.rmtree(self.destination.directory / "data")
        return seconds


def main() -> int:
    ensure_programs()
    if not shutil.which("skopeo", path=packages.SEARCH):
        packages.install(["skopeo"])
    with tempfile.TemporaryDirectory(prefix="bench-copy-") as work:
        bench = Bench(Path(work))
        try:
            bench.set_up()
            runs = interleaved((OURS, SKOPEO, CRANE_COPY), bench.run)
        finally:
            for registry in (bench.source, bench.destination):
                registry.end()
    measured = {way: {case: median(run[case] for run in taken) for case in CASES} for way, taken in runs.items()}
    table(
        (f"medians of {ROUNDS}, {SIZE} MB", "first s", "update s"),
        [(way, *(f"{seconds[case]:.2f}" for case in CASES)) for way, seconds in measured.items()],
    )
    figures = [
        Figure(f"{case}: time", measured[OURS][case], measured[peer][case], peer, "s", GOALS[case])
        for case in CASES
        for peer in (SKOPEO, CRANE_COPY)
    ]
    return publish("image_copy", figures)


if __name__ == "__main__":
    sys.exit(main())
