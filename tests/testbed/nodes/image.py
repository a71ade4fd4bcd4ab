# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that every node holds: the pause program, and BusyBox for pods of tests. No node of the bed pulls."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from pathlib import Path

from .. import packages, paths
from ..control_plane import BIN
from ..node import Node

PAUSE = "localhost/testbed/pause:1"
BUSYBOX = "localhost/testbed/busybox:1"
ARCHIVE = paths.STATE / "node-images.tar"
APPLETS = ("sh", "cat", "echo", "grep", "ls", "nc", "sleep", "sysctl", "true", "wget")


def archive() -> Path:
    """An archive with both images, in the format of docker save."""
    if not ARCHIVE.exists():
        layers = {
            PAUSE: (_layer({"pause": BIN.joinpath("pause").read_bytes()}, ()), ["/pause"]),
            BUSYBOX: (_layer({"bin/busybox": packages.BUSYBOX.read_bytes()}, APPLETS), ["/bin/sh"]),
        }
        # Nodes that start at the same time write a file each. The last file stays.
        with (
            tempfile.NamedTemporaryFile(dir=ARCHIVE.parent, delete=False) as new,
            tarfile.open(fileobj=new, mode="w") as tar,
        ):
            manifest = []
            for name, (layer, command) in layers.items():
                digest = hashlib.sha256(layer).hexdigest()
                config = json.dumps(
                    {
                        "architecture": "amd64",
                        "os": "linux",
                        "config": {"Cmd": command, "Env": ["PATH=/bin"], "WorkingDir": "/"},
                        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                    }
                ).encode()
                _add(tar, f"{digest}.tar", layer)
                _add(tar, f"{hashlib.sha256(config).hexdigest()}.json", config)
                entry = {"Config": f"{hashlib.sha256(config).hexdigest()}.json", "RepoTags": [name]}
                manifest.append({**entry, "Layers": [f"{digest}.tar"]})
            _add(tar, "manifest.json", json.dumps(manifest).encode())
        Path(new.name).rename(ARCHIVE)
    return ARCHIVE


def _layer(programs: dict[str, bytes], applets: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in ("bin", "etc", "tmp"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content in programs.items():
            _add(tar, name, content, 0o755)
        for applet in applets:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def load(node: Node) -> None:
    """Load the images into the node's containerd, as soon as it answers."""
    script = (
        "for i in $(seq 100); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done; "
        "exec ctr -n k8s.io images import -"
    )
    with archive().open("rb") as file:
        node.run("sh", "-c", script, stdin=file)
