# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles, images, and the state of hosts: frozen values that planning, hosts and the controller share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from .errors import ImageError
from .formats.reference import ImageReference, is_digest

BUNDLE_VERSION = 1
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
# Layers that are not compressed.
UNCOMPRESSED_LAYER_TYPES = (DOCKER_LAYER, "application/vnd.oci.image.layer.v1.tar")


def parse_digest(value: Any, where: str) -> str:
    """Parses a sha256 digest. It becomes a file name and an object key, so nothing else passes."""
    if is_digest(value):
        return str(value)
    raise ImageError(f"{where}: {value!r} is no digest. A digest is 'sha256:' and 64 lower-case hexadecimal digits.")


def get_digest_hex(digest: str) -> str:
    """Gets the hexadecimal part of a digest."""
    return digest.split(":", 1)[1]


def compute_digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compute_chain_ids(diff_ids: Sequence[str]) -> tuple[str, ...]:
    """Computes the chain id of each layer. A chain id covers the layer and all layers below it (OCI image spec)."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if not chain:
            chain.append(diff_id)
        else:
            chain.append(compute_digest(f"{chain[-1]} {diff_id}".encode()))
    return tuple(chain)


@dataclass(frozen=True)
class Blob:
    """Content by its digest. The size in bytes is None while only an engine has the content and does not report it."""

    digest: str
    size: Optional[int]
    media_type: str

    def to_dict(self) -> dict[str, Any]:
        return {"digest": self.digest, "size": self.size, "media_type": self.media_type}


@dataclass(frozen=True)
class Layer:
    """A layer: the blob that is transferred, and the diffID (digest of its uncompressed tar) in the engine."""

    blob: Blob
    diff_id: str

    def to_dict(self) -> dict[str, Any]:
        return {**self.blob.to_dict(), "diff_id": self.diff_id}


@dataclass(frozen=True)
class BundleImage:
    """An image of one platform. C(tag) is its name on targets. C(manifest) is the registry's own, or None.

    C(platform_given): the operator named this platform, so it may differ from the targets' platform.
    C(index): the index of several platforms that the reference names, if an engine can keep it with this image alone.
    """

    reference: str
    tag: str
    platform: str
    manifest: Optional[Blob]
    config: Blob
    layers: tuple[Layer, ...]
    platform_given: bool = False
    index: Optional[Blob] = None

    @property
    def diff_ids(self) -> tuple[str, ...]:
        return tuple(layer.diff_id for layer in self.layers)

    def list_blobs(self) -> tuple[Blob, ...]:
        """Lists all blobs of the image, small ones first, each once."""
        documents = [blob for blob in (self.index, self.manifest) if blob]
        blobs = [*documents, self.config, *(layer.blob for layer in self.layers)]
        return tuple({blob.digest: blob for blob in blobs}.values())

    @property
    def named_blob(self) -> Optional[Blob]:
        """What the name of the image refers to in an archive: its index, else its manifest, which may be None."""
        return self.index if self.index and self.manifest else self.manifest

    def list_archive_blobs(self) -> tuple[Blob, ...]:
        """Lists the blobs that an archive has of the image. An index without its manifest is of no use there."""
        return tuple(blob for blob in self.list_blobs() if self.manifest or blob != self.index)

    def to_dict(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "tag": self.tag,
            "platform": self.platform,
            "platform_given": self.platform_given,
            "index": self.index.to_dict() if self.index else None,
            "manifest": self.manifest.to_dict() if self.manifest else None,
            "config": self.config.to_dict(),
            "layers": [layer.to_dict() for layer in self.layers],
        }


@dataclass(frozen=True)
class Bundle:
    """The images of one transfer: C(state=saved) on a source returns it, C(state=loaded) on a target takes it."""

    images: tuple[BundleImage, ...]

    def list_blobs(self) -> tuple[Blob, ...]:
        """Lists the blobs of all images, each once."""
        return tuple({blob.digest: blob for image in self.images for blob in image.list_blobs()}.values())

    def compute_key(self) -> str:
        """Computes the key of the staging directory. The same images have the same key, so a re-run finds its blobs."""
        identity = json.dumps([[image.tag, image.config.digest] for image in self.images])
        return hashlib.sha256(identity.encode()).hexdigest()[:20]

    def get_directory_name(self, role: str) -> str:
        """Gets the name of the staging directory of a host that is C(saved) (source) or C(loaded) (target)."""
        return f"{role}-{self.compute_key()}"

    def fill_sizes(self, sizes: Mapping[str, int]) -> Bundle:
        """Makes the same bundle with the sizes that are known by now."""

        def fill_size(blob: Blob) -> Blob:
            return Blob(blob.digest, sizes.get(blob.digest, blob.size), blob.media_type)

        return Bundle(
            tuple(
                replace(
                    image,
                    index=fill_size(image.index) if image.index else None,
                    manifest=fill_size(image.manifest) if image.manifest else None,
                    config=fill_size(image.config),
                    layers=tuple(Layer(fill_size(layer.blob), layer.diff_id) for layer in image.layers),
                )
                for image in self.images
            )
        )

    def to_dict(self) -> dict[str, Any]:
        return {"version": BUNDLE_VERSION, "images": [image.to_dict() for image in self.images]}

    @classmethod
    def parse(cls, value: Any) -> Bundle:
        """Parses the bundle of C(state=saved). Anything else is refused, and the error names the wrong entry."""
        top = _parse_mapping(value, "bundle")
        if top.get("version") != BUNDLE_VERSION:
            raise ImageError(
                f"bundle: version {top.get('version')!r} is not {BUNDLE_VERSION}. Pass the 'bundle' that state=saved "
                "of the same collection version returned."
            )
        images = top.get("images")
        if not isinstance(images, Sequence) or isinstance(images, str) or not images:
            raise ImageError("bundle: 'images' must be a list of at least one image, as state=saved returns it.")
        parsed = tuple(_parse_image(entry, f"bundle.images[{index}]") for index, entry in enumerate(images))
        tags = [image.tag for image in parsed]
        for tag in tags:
            if tags.count(tag) > 1:
                raise ImageError(f"bundle: two images have the name {tag}. Give each image its own name.")
        return cls(parsed)


@dataclass(frozen=True)
class StoredImage:
    """An image in an engine. C(config_digest) is None if the engine does not report it.

    C(digest_names): the names with a digest by which an engine that keeps digests finds it. C(index): the index by
    which a source's engine found it.
    """

    engine_id: str
    config_digest: Optional[str]
    names: tuple[str, ...]
    diff_ids: tuple[str, ...]
    platform: str
    size: int
    digest_names: tuple[str, ...] = ()
    index: Optional[Blob] = None

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> StoredImage:
        """Parses C(to_dict), which leaves out the diffIDs: they are many, and the chain ids cover them."""
        digest, names = value["config_digest"], tuple(map(str, value["names"]))
        digest_names = tuple(map(str, value["digest_names"]))
        size = int(value["size"])
        return cls(str(value["id"]), digest and str(digest), names, (), str(value["platform"]), size, digest_names)

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.engine_id,
            "config_digest": self.config_digest,
            "names": list(self.names),
            "digest_names": list(self.digest_names),
            "platform": self.platform,
            "size": self.size,
        }


@dataclass(frozen=True)
class DiskSpace:
    """The bytes of a path's file system that this user may still use."""

    path: str
    free_bytes: int
    device: int

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> DiskSpace:
        return cls(str(value["path"]), int(value["free_bytes"]), int(value["device"]))

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "free_bytes": self.free_bytes, "device": self.device}


@dataclass(frozen=True)
class ArchiveState:
    """The archive at a path of a host, where a target has an archive instead of an engine.

    C(blobs): digests of the blobs in it. C(problem): why it is not complete, or None. It is None as well where there
    is no archive. C(fingerprint): changes with the files; empty where there is none. C(part_size): of the archive to
    write, and None for one file.
    """

    path: str
    part_size: Optional[int]
    blobs: frozenset[str]
    problem: Optional[str]
    fingerprint: str

    @property
    def exists(self) -> bool:
        return bool(self.fingerprint)

    @classmethod
    def parse(cls, value: Mapping[str, Any], where: str) -> ArchiveState:
        part_size, problem = value["part_size"], value["problem"]
        blobs = frozenset(parse_digest(item, where) for item in value["blobs"])
        return cls(
            str(value["path"]),
            None if part_size is None else int(part_size),
            blobs,
            None if problem is None else str(problem),
            str(value["fingerprint"]),
        )

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "blobs": sorted(self.blobs)}


@dataclass(frozen=True)
class EngineFacts:
    """The state of a host's engine, or of the archive that takes its place, read once.

    C(root) is None if this user cannot read the engine's directory. C(zstd): whether the engine unpacks zstd layers.
    C(preloaded): chain ids of layers that were loaded before their images, by the name of the staging directory of
    their transfer. They are removed if the images never arrive.
    C(keeps_digests): whether the engine keeps manifests and indexes, and finds an image by their digests.
    """

    engine: str
    version: str
    storage: str
    platform: str
    images: tuple[StoredImage, ...]
    chain_ids: frozenset[str]
    staging: DiskSpace
    root: Optional[DiskSpace] = None
    zstd: bool = True
    preloaded: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    keeps_digests: bool = False
    archive: Optional[ArchiveState] = None

    @property
    def label(self) -> str:
        """The engine and its version, or the path of the archive."""
        return f"{self.engine} {self.archive.path if self.archive else self.version}"

    def include_preloaded(self, directory: str) -> EngineFacts:
        """Makes the facts for a transfer, in which its own preloaded layers count as present."""
        return replace(self, chain_ids=self.chain_ids | self.preloaded.get(directory, frozenset()))

    def find_image(self, name: str) -> Optional[StoredImage]:
        """Finds the image that has a name now."""
        return next((image for image in self.images if name in image.names), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "version": self.version,
            "storage": self.storage,
            "platform": self.platform,
            "images": [image.to_dict() for image in self.images],
            "chain_ids": sorted(self.chain_ids),
            "staging": self.staging.to_dict(),
            "root": self.root.to_dict() if self.root else None,
            "zstd": self.zstd,
            "preloaded": {directory: sorted(chains) for directory, chains in self.preloaded.items()},
            "keeps_digests": self.keeps_digests,
            "archive": self.archive.to_dict() if self.archive else None,
        }


@dataclass(frozen=True)
class TransferTarget:
    """A target: the state of its engine, and the address at which a source reaches it; C(target) of the info module."""

    host: str
    facts: EngineFacts
    address: str = ""
    port: int = 22

    @classmethod
    def parse(cls, value: Any, where: str) -> TransferTarget:
        entry = _parse_mapping(value, where)
        try:
            facts = EngineFacts(
                engine=_parse_text(entry, "engine", where),
                version=_parse_text(entry, "version", where),
                storage=_parse_text(entry, "storage", where),
                platform=_parse_text(entry, "platform", where),
                images=tuple(StoredImage.parse(image) for image in entry["images"]),
                chain_ids=frozenset(parse_digest(item, where) for item in entry["chain_ids"]),
                staging=DiskSpace.parse(entry["staging"]),
                root=DiskSpace.parse(entry["root"]) if entry["root"] else None,
                zstd=bool(entry["zstd"]),
                preloaded={
                    str(directory): frozenset(parse_digest(item, where) for item in chains)
                    for directory, chains in entry["preloaded"].items()
                },
                keeps_digests=bool(entry["keeps_digests"]),
                archive=ArchiveState.parse(entry["archive"], where) if entry.get("archive") else None,
            )
            address, port = str(entry.get("address") or ""), int(entry.get("port") or 22)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, ImageError) as error:
            raise ImageError(
                f"{where}: is no 'target' of image_offline_transfer_info ({type(error).__name__}: {error}). "
                "Pass 'target' of its result, unchanged."
            ) from error
        return cls(_parse_text(entry, "host", where), facts, address, port)

    def to_dict(self) -> dict[str, Any]:
        return {"host": self.host, "address": self.address, "port": self.port, **self.facts.to_dict()}


@dataclass(frozen=True)
class StoredObject:
    """An object of the store as HEAD describes it; C(sha256) is the checksum that its uploader recorded."""

    size: int
    sha256: Optional[str]
    etag: str


def format_object_version(etag: str, last_modified: str) -> str:
    """Formats an identifier of an object as it was stored at one time.

    The entity tag alone depends on what was sent: a damaged object and its replacement have the same entity tag.
    """
    return f"{etag} {last_modified}".strip()


@dataclass(frozen=True)
class BlobOutcome:
    """The outcome of a request for a blob. C(size): its bytes on the host. C(received): those of this call."""

    digest: str
    done: bool
    size: int = 0
    received: int = 0
    error: Optional[str] = None
    expired: bool = False
    etag: str = ""
    number: int = 0

    @property
    def is_final(self) -> bool:
        """Whether a retry is useless: neither a new URL nor another run would help."""
        return self.done or bool(self.error and not self.expired)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def sum_blob_sizes(blobs: Iterable[Blob]) -> int:
    """Sums the bytes of the blobs whose size is known."""
    return sum(blob.size or 0 for blob in blobs)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _parse_mapping(value: Any, where: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise ImageError(f"{where}: must be a dictionary, not {type(value).__name__}.")


def _parse_text(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if isinstance(value, str) and value:
        return value
    raise ImageError(f"{where}.{name}: must be text that is not empty, not {value!r}.")


def _parse_flag(entry: Mapping[str, Any], name: str, where: str) -> bool:
    value = entry.get(name, False)
    if isinstance(value, bool):
        return value
    raise ImageError(f"{where}.{name}: must be true or false, not {value!r}.")


def _parse_tag(entry: Mapping[str, Any], where: str) -> str:
    """Parses the name for the engine, as C(state=saved) makes it, since it becomes part of calls to the engine."""
    tag = _parse_text(entry, "tag", where)
    try:
        if ImageReference.parse(tag).familiar_string == tag and "@" not in tag:
            return tag
    except ImageError as error:
        raise ImageError(f"{where}.tag: {error}") from error
    raise ImageError(f"{where}.tag: {tag!r} is no name and tag as docker shows them. Pass the bundle unchanged.")


def _parse_blob(value: Any, where: str) -> Blob:
    entry = _parse_mapping(value, where)
    size = entry.get("size")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise ImageError(f"{where}.size: {size!r} is neither null nor a number of bytes.")
    return Blob(parse_digest(entry.get("digest"), f"{where}.digest"), size, _parse_text(entry, "media_type", where))


def _parse_image(value: Any, where: str) -> BundleImage:
    entry = _parse_mapping(value, where)
    layers = entry.get("layers")
    if not _is_list(layers):
        raise ImageError(f"{where}.layers: must be a list, not {type(layers).__name__}.")
    index, manifest = entry.get("index"), entry.get("manifest")
    return BundleImage(
        _parse_text(entry, "reference", where),
        _parse_tag(entry, where),
        _parse_text(entry, "platform", where),
        None if manifest is None else _parse_blob(manifest, f"{where}.manifest"),
        _parse_blob(entry.get("config"), f"{where}.config"),
        tuple(
            Layer(
                _parse_blob(layer, f"{where}.layers[{index}]"),
                parse_digest(_parse_mapping(layer, where).get("diff_id"), f"{where}.layers[{index}].diff_id"),
            )
            for index, layer in enumerate(layers or [])
        ),
        _parse_flag(entry, "platform_given", where),
        None if index is None else _parse_blob(index, f"{where}.index"),
    )
