# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that a container can run, as a registry has them: gzip layers and a manifest."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob, Bundle, BundleImage, Layer
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from testbed import packages

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_layer(files: Mapping[str, bytes]) -> bytes:
    """The tar archive of a layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass(frozen=True)
class Made:
    """An image, and the content of its blobs by digest."""

    image: BundleImage
    content: Mapping[str, bytes]

    @property
    def bundle(self) -> Bundle:
        return Bundle((self.image,))

    @property
    def config(self) -> str:
        return self.image.config.digest

    @property
    def manifest(self) -> str:
        assert self.image.manifest
        return self.image.manifest.digest

    @property
    def index(self) -> str:
        assert self.image.index
        return self.image.index.digest

    def stage(self, root: Path) -> Staging:
        """A staging directory with all blobs of the image, as a finished fetch leaves it."""
        staging = Staging(str(root), self.bundle.get_directory_name("loaded"))
        staging.create()
        for digest, data in self.content.items():
            staging.get_path(digest).write_bytes(data)
        return staging


def make_image(tag: str, *layers: bytes, architecture: str = "amd64") -> Made:
    """An image with busybox as its lowest layer, whose container prints the file C(/text)."""
    content: dict[str, bytes] = {}

    def put(data: bytes, media_type: str) -> Blob:
        content[digest_of(data)] = data
        return Blob(digest_of(data), len(data), media_type)

    tars = [make_layer({"busybox": packages.BUSYBOX.read_bytes()}), *layers]
    config = {
        "os": "linux",
        "architecture": architecture,
        "config": {"Cmd": ["/busybox", "cat", "/text"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
    }
    config_blob = put(json.dumps(config).encode(), CONFIG)
    made = tuple(Layer(put(gzip.compress(tar, mtime=0), GZIP), digest_of(tar)) for tar in tars)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": to_descriptor(config_blob),
        "layers": [to_descriptor(layer.blob) for layer in made],
    }
    manifest = put(json.dumps(document).encode(), MANIFEST)
    return Made(BundleImage(tag, tag, f"linux/{architecture}", manifest, config_blob, made), content)


def to_descriptor(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def add_index(made: Made, *absent: Made) -> Made:
    """The image with an index that names it, its attestation, and images that are absent."""
    attestation = {
        **to_descriptor(Blob(digest_of(b"attestation"), 11, MANIFEST)),
        "platform": {"os": "unknown", "architecture": "unknown"},
    }
    platforms = [
        {**to_descriptor(image.manifest), "platform": dict(zip(("os", "architecture"), image.platform.split("/")))}
        for image in (*(other.image for other in absent), made.image)
        if image.manifest
    ]
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [attestation, *platforms]}).encode()
    index = Blob(digest_of(data), len(data), INDEX)
    return Made(replace(made.image, index=index), {**made.content, index.digest: data})


def make_index_archive(name: str, made: Made) -> bytes:
    """An archive of an image with an index, without the other images of the index."""
    assert made.image.index
    top = {**to_descriptor(made.image.index), "annotations": {"io.containerd.image.name": name}}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        members = {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps({"schemaVersion": 2, "manifests": [top]}).encode(),
            **{f"blobs/sha256/{digest[7:]}": data for digest, data in made.content.items()},
        }
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
