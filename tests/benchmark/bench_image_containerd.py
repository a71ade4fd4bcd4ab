# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying a 500 MB image and its update to a private host that runs containerd, as an EKS node does.

The peers are what people do by hand: docker save, scp or a pipe, and ctr images import. Else as bench_image.py, with
its settings. The peers load into the namespace that the kubelet reads, as ours does.
"""

from __future__ import annotations

import json
import sys

from bench_image import FILES, OURS, STREAM, TAG, WIRE, Engine, end_on_sigterm, measure, prepared
from figures import publish
from testbed.images import Image
from testbed.node import Part, wait_for

NAMESPACE = "k8s.io"
CANONICAL = f"docker.io/{TAG}"
WIRES = {"no limit": (None, (*OURS, FILES, STREAM)), "750 Mbit/s": ("750mbit", (*OURS, FILES, STREAM))}


class Node(Engine):
    """A containerd with its CRI, on a host of the bed. The source stays a docker engine."""

    @property
    def socket(self) -> str:
        return f"{self.folder}/containerd.sock"

    @property
    def variables(self) -> dict[str, str]:
        return {"image_transfer_engine": "containerd", "image_transfer_containerd_address": self.socket}

    @property
    def ctr(self) -> tuple[str, ...]:
        return ("ctr", "--address", self.socket, "--namespace", NAMESPACE)

    def write_load_command(self, file: str) -> str:
        return f"{' '.join(self.ctr)} images import {file} >/dev/null"

    def start(self) -> None:
        config = f'version = 2\nroot = "{self.folder}/root"\nstate = "{self.folder}/state"\n[grpc]\n'
        config += f'address = "{self.socket}"\n'
        self.host.run("sh", "-ec", f"mkdir -p {self.folder}; cat > {self.folder}/config.toml", input=config.encode())
        self.host.start(Part(self.name, ["containerd", "--config", f"{self.folder}/config.toml"], reads=[config]))

    def wait(self) -> None:
        log = self.host.log(self.name)
        version = (*self.ctr, "version")
        wait_for(self.name, lambda: self.host.run(*version, check=False).returncode == 0, 60, log)

    def drop(self) -> None:
        if names := self.host.run(*self.ctr, "images", "ls", "--quiet").stdout.split():
            self.host.run(*self.ctr, "images", "rm", "--sync", *names)
        self.host.run("rm", "-rf", self.staging)

    def verify(self, image: Image) -> None:
        lines = self.host.run(*self.ctr, "images", "ls", f"name=={CANONICAL}:{image.tag}").stdout.splitlines()
        digest = lines[1].split()[2] if len(lines) > 1 else "missing"
        manifest = json.loads(self.host.run(*self.ctr, "content", "get", digest).stdout)
        if manifest["config"]["digest"] != image.config_digest:
            raise RuntimeError(f"{self.name}: {CANONICAL}:{image.tag} is {digest}, not {image.config_digest}")


def main() -> int:
    end_on_sigterm()
    with prepared(Node) as bench:
        figures = measure(bench, {WIRE: WIRES[WIRE]} if WIRE else WIRES)
    return publish("image_containerd", figures)


if __name__ == "__main__":
    sys.exit(main())
