# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with real digests, the facts of hosts, and a fake engine that treats an archive as docker does."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Callable, Optional

from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import (
    PRELOADED_LABEL,
    EngineError,
    ExportedBlobs,
    KeptIndex,
    LoadableArchive,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import (
    Blob,
    Bundle,
    BundleImage,
    DiskSpace,
    EngineFacts,
    Layer,
    StoredImage,
    compute_chain_ids,
    get_digest_hex,
)

TAG = "registry.test/app:v1"
GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
PLAIN = "application/vnd.docker.image.rootfs.diff.tar"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
_PACKED = b"packed:"  # instead of gzip: a blob whose digest is not its diffID


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def nothing(*_dummy: Any) -> None:
    """A progress callback that ignores everything."""


@dataclass(frozen=True)
class Made:
    """An image, and the content of its blobs by digest."""

    image: BundleImage
    content: Mapping[str, bytes]

    @property
    def bundle(self) -> Bundle:
        return Bundle((self.image,))

    @property
    def unsized(self) -> Bundle:
        """The bundle of a source whose engine knows no sizes."""
        bundle = self.bundle.to_dict()
        (image,) = bundle["images"]
        for blob in (image["config"], *image["layers"]):
            blob["size"] = None
        return Bundle.parse(bundle)

    def stored(self, *names: str) -> StoredImage:
        """The image in an engine whose ids are config digests (docs/facts/image_transfer.md#identity-and-names)."""
        config = self.image.config.digest
        return StoredImage(config, config, names, self.image.diff_ids, self.image.platform, 1000)


def make(
    *layers: bytes, tag: str = TAG, packed: bool = True, media_type: str = GZIP, platform: str = "linux/amd64"
) -> Made:
    """An image with these layers: as in a registry, or (C(packed) false) as an engine saves it."""
    content: dict[str, bytes] = {}

    def blob(data: bytes, media: str) -> Blob:
        content[digest_of(data)] = data
        return Blob(digest_of(data), len(data), media)

    config = {
        **_split_platform(platform),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    config_blob = blob(json.dumps(config).encode(), CONFIG)
    made = tuple(
        Layer(blob(_PACKED + layer if packed else layer, media_type if packed else PLAIN), digest_of(layer))
        for layer in layers
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(config_blob),
        "layers": [_descriptor(layer.blob) for layer in made],
    }
    manifest_blob = blob(json.dumps(manifest).encode(), MANIFEST) if packed else None
    return Made(BundleImage(tag, tag, platform, manifest_blob, config_blob, made), content)


def add_index(made: Made, platform: str = "linux/amd64", more: Sequence[Mapping[str, Any]] = ()) -> Made:
    """The image with an index that names it, and an absent image for arm64. C(more): further entries."""
    assert made.image.manifest
    absent = {**_descriptor(Blob("sha256:" + "a" * 64, 500, MANIFEST)), "platform": _split_platform("linux/arm64")}
    own = {**_descriptor(made.image.manifest), "platform": _split_platform(platform)}
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [absent, own, *more]}).encode()
    index = Blob(digest_of(data), len(data), INDEX)
    return Made(replace(made.image, index=index), {**made.content, index.digest: data})


def _split_platform(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/")))


def _descriptor(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


def facts(
    *images: StoredImage, staging: int = 10**12, root: Optional[int] = None, device: int = 2, zstd: bool = True
) -> EngineFacts:
    """The facts of a host. C(staging), C(root): free bytes. C(device): the disk of root (that of staging is 1)."""
    return EngineFacts(
        engine="docker",
        version="20.10.24",
        storage="overlay2",
        platform="linux/amd64",
        images=images,
        chain_ids=frozenset(chain for image in images for chain in compute_chain_ids(image.diff_ids)),
        staging=DiskSpace("/staging", staging, 1),
        root=None if root is None else DiskSpace("/var/lib/docker", root, device),
        zstd=zstd,
    )


def tar_of(members: Sequence[tuple[Any, bytes]]) -> bytes:
    """A tar archive. A member is a name, or a TarInfo for what is no plain file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class _Slow(io.BytesIO):
    """Takes its time for each read."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self._seconds = seconds

    def read(self, size: Optional[int] = -1, /) -> bytes:
        time.sleep(self._seconds)
        return super().read(size)


@dataclass
class FakeEngine:
    """An engine that keeps layers by chain id. C(spoil) changes the image that it stores."""

    images: dict[str, StoredImage] = field(default_factory=dict)
    spoil: Callable[[StoredImage], Optional[StoredImage]] = lambda stored: stored
    refuse: Optional[str] = None
    loads: list[dict[str, bytes]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    saved: bytes = b""
    seconds: float = 0
    exports: int = 0
    sizes: Optional[list[Optional[int]]] = None
    labels: dict[str, str] = field(default_factory=dict)

    def has(self, made: Made, *names: str) -> FakeEngine:
        self.images[made.image.config.digest] = made.stored(*names)
        return self

    def read_facts(self, staging_path: str) -> EngineFacts:
        unnamed = {key: label for key, label in self.labels.items() if not self.images[key].names}
        preloaded: dict[str, frozenset[str]] = {}
        for key, label in unnamed.items():
            name = os.path.basename(label)
            preloaded[name] = preloaded.get(name, frozenset()) | frozenset(compute_chain_ids(self.images[key].diff_ids))
        return replace(facts(*(image for key, image in self.images.items() if key not in unnamed)), preloaded=preloaded)

    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        return [(self.images[key], label) for key, label in self.labels.items()]

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        found = self.images.get(name_or_id)
        return found or next((image for image in self.images.values() if name_or_id in image.names), None)

    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        return self.sizes or [None] * len(image.diff_ids)

    def list_blobs(self, image: StoredImage) -> ExportedBlobs:
        layers = tuple(Blob(diff_id, None, PLAIN) for diff_id in image.diff_ids)
        return ExportedBlobs(None, Blob(str(image.config_digest), None, CONFIG), layers)

    @contextmanager
    def export(self, image: StoredImage) -> Iterator[BinaryIO]:
        self.exports += 1
        yield _Slow(self.saved, self.seconds)

    def load(self, archive: LoadableArchive, progress: Any) -> None:
        data = b"".join(archive)
        assert len(data) == archive.length
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            files = {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]
        self.loads.append(files)
        if self.refuse:
            raise EngineError(self.refuse)
        entry = json.loads(files["manifest.json"])[0]
        config = digest_of(files[entry["Config"]])
        diff_ids = tuple(json.loads(files[entry["Config"]])["rootfs"]["diff_ids"])
        known = {chain for image in self.images.values() for chain in compute_chain_ids(image.diff_ids)}
        for path, diff_id, chain in zip(entry["Layers"], diff_ids, compute_chain_ids(diff_ids)):
            if path in files:
                data = files[path]
                assert digest_of(data[len(_PACKED) :] if data.startswith(_PACKED) else data) == diff_id
            elif chain not in known:
                raise EngineError(f"docker could not load the image: open {path}: no such file or directory")
        stored = self.spoil(StoredImage(config, config, (), diff_ids, "linux/amd64", len(data)))
        if stored:
            self.images.setdefault(stored.engine_id, stored)
            labels = json.loads(files[entry["Config"]]).get("config", {}).get("Labels", {})
            self.labels.update({stored.engine_id: labels[PRELOADED_LABEL]} if PRELOADED_LABEL in labels else {})

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        for key, other in self.images.items():
            names = tuple(held for held in other.names if held != name)
            self.images[key] = replace(other, names=(*names, name) if key == image.engine_id else names)

    def remove(self, image: StoredImage) -> None:
        self.removed.append(image.engine_id)
        del self.images[image.engine_id]
        self.labels.pop(image.engine_id, None)


def stage(staging: Any, content: Mapping[str, bytes]) -> None:
    """Puts blobs into a staging directory, as a finished fetch leaves them."""
    staging.create()
    for digest, data in content.items():
        staging.get_path(digest).write_bytes(data)


def tree(directory: Any) -> list[str]:
    """Every file and directory below, by relative path."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, directories, files in os.walk(directory)
        for name in directories + files
    )


def member_of(blob: str) -> str:
    """Where an archive keeps a blob."""
    return f"blobs/sha256/{get_digest_hex(blob)}"
