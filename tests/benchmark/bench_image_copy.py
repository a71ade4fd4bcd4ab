# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copying a list of images and their updates between two registries: one run of the module, against a loop of skopeo
and of crane.

Both registries are Debian's docker-registry on this machine, in processes of their own, each behind a link with latency
(delay_proxy.py) that every way uses alike. Each run copies to repositories that did not exist. Ours is a run of the
module in a process of its own, without ansible-playbook. COUNT is the number of images, SIZE the megabytes of the layer
that they share, and LATENCY_MS the time that a byte takes in each direction. Opening a connection costs no round trip
here, which favors those who open many.
"""

from __future__ import annotations

import gzip
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from figures import ROUNDS, Figure, Goal, interleaved, publish, table
from integration.targets.image_copy.images import Content, random_layer
from integration.targets.image_copy.kit import DebianRegistry, ensure_programs, find_port, start_module
from testbed import packages, paths

CRANE = "github.com/google/go-containerregistry/cmd/crane"
CRANE_VERSION = "v0.22.1"
COUNT = int(os.environ.get("COUNT", "12"))
SIZE = int(os.environ.get("SIZE", "40"))
LATENCY_MS = float(os.environ.get("LATENCY_MS", "10"))
OWN_LAYERS, OWN_LAYER_BYTES = 3, 1_000_000
CASES = ("first", "update")
# What users do is to copy a list. A single image shows what our start costs.
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


class Link:
    """The addresses of registries, behind a link with latency."""

    def __init__(self, *registries: DebianRegistry) -> None:
        self.hosts = [f"127.0.0.1:{find_port()}" for _registry in registries]
        pairs = [
            f"{host.rpartition(':')[2]}:{registry.host.rpartition(':')[2]}"
            for host, registry in zip(self.hosts, registries, strict=True)
        ]
        program = Path(__file__).with_name("delay_proxy.py")
        self.process = subprocess.Popen([sys.executable, str(program), str(LATENCY_MS / 1000), *pairs])
        for host in self.hosts:
            wait_for(host)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def wait_for(host: str) -> None:
    for _attempt in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(host.rpartition(":")[2]))) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens at {host}")


class Bench:
    def __init__(self, work: Path) -> None:
        self.work = work
        self.source, self.destination = (DebianRegistry(work / name) for name in ("source", "destination"))
        self.digests: dict[tuple[int, str], str] = {}
        self.crane = str(build_crane())
        self.link: Link | None = None

    def set_up(self) -> None:
        """Images with a common layer and some of their own; the update of each has one new layer."""
        for registry in (self.source, self.destination):
            registry.start()
        self.link = Link(self.source, self.destination)
        base = make_layer(SIZE * 1_000_000)
        for number in range(COUNT):
            own = [make_layer(OWN_LAYER_BYTES) for _layer in range(OWN_LAYERS - 1)]
            for case in CASES:
                content = Content()
                content.image(base, *own, make_layer(OWN_LAYER_BYTES))
                self.digests[number, case] = self.source.client.push(f"app{number}", content, case)

    def end(self) -> None:
        for part in (self.link, self.source, self.destination):
            if part is not None:
                part.end()

    def copy(self, way: str, case: str, to: str, count: int) -> None:
        assert self.link is not None
        source, destination = self.link.hosts
        names = [(f"{source}/app{number}:{case}", f"{destination}/{to}/app{number}:{case}") for number in range(count)]
        if way == OURS:
            images = [{"name": name, "to": target} for name, target in names]
            self.check(way, start_module(self.work, images, timeout=60))
            return
        skopeo = ["skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
        for name, target in names:
            argv = (
                [*skopeo, f"docker://{name}", f"docker://{target}"]
                if way == SKOPEO
                else [self.crane, "copy", "--insecure", name, target]
            )
            self.check(way, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE))

    @staticmethod
    def check(way: str, process: subprocess.Popen[bytes]) -> None:
        output, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{way}: {(output + errors).decode()[-2000:]}")

    def run(self, way: str) -> Mapping[tuple[int, str], float]:
        """The seconds of a first copy, and of an update beside it, of one image and of all."""
        seconds = {}
        for count in (1, COUNT):
            to = f"mirror/{secrets.token_hex(4)}"
            for case in CASES:
                began = time.monotonic()
                self.copy(way, case, to, count)
                seconds[count, case] = time.monotonic() - began
                for number in range(count):
                    self.verify(way, f"{to}/app{number}", number, case)
            # The next run must not find its blobs on the disk of the registry.
            shutil.rmtree(self.destination.directory / "data")
        return seconds

    def verify(self, way: str, repository: str, number: int, case: str) -> None:
        accept = "application/vnd.oci.image.manifest.v1+json"
        headers = self.destination.client.call("HEAD", f"/v2/{repository}/manifests/{case}", Accept=accept)[1]
        if headers.get("Docker-Content-Digest") != self.digests[number, case]:
            raise RuntimeError(f"{way}: {repository}:{case} is not {self.digests[number, case]}")


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
            bench.end()
    keys = [(count, case) for count in (COUNT, 1) for case in CASES]
    measured = {way: {key: median(run[key] for run in taken) for key in keys} for way, taken in runs.items()}
    table(
        (
            f"medians of {ROUNDS}, {LATENCY_MS:g} ms each way",
            *(f"{'1 image' if count == 1 else f'{count} images'}: {case} s" for count, case in keys),
        ),
        [(way, *(f"{seconds[key]:.2f}" for key in keys)) for way, seconds in measured.items()],
    )
    figures = [
        Figure(
            f"{count} images: {case}" if count > 1 else f"1 image: {case}",
            measured[OURS][count, case],
            measured[peer][count, case],
            peer,
            "s",
            GOALS[case] if count > 1 else None,
        )
        for count, case in keys
        for peer in (SKOPEO, CRANE_COPY)
    ]
    return publish("image_copy", figures)


if __name__ == "__main__":
    sys.exit(main())
