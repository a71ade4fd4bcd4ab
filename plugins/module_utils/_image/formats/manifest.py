# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parses manifests, indexes and configs. They come from registries, so every value that is used is checked.

What is not used refuses nothing. docker pulls images with unknown values there
(docs/facts/image_transfer.md#odd-manifests).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..errors import ImageError
from ..model import DOCKER_CONFIG, Blob
from .reference import DEFAULT_OS, UNKNOWN, ImagePlatform, is_digest

MANIFEST_LIMIT = 4 * 1024 * 1024
CONFIG_LIMIT = 8 * 1024 * 1024

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_LIST)
_SCHEMA1_TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
# Besides the two types of configs, those of old registries and builders, which docker takes.
_CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    DOCKER_CONFIG,
    "application/octet-stream",
    "application/json",
    "text/html",
)
_NO_TYPE = "application/octet-stream"
_LAYER_PREFIXES = (
    "application/vnd.docker.image.",
    "application/vnd.docker.container.image.",
    "application/vnd.oci.image.",
)
_NON_DISTRIBUTABLE_MARKERS = ("nondistributable", "foreign")
_ENCRYPTED_MARKER = "+encrypted"
_MAX_BYTES = 2**63 - 1


@dataclass(frozen=True)
class ImageManifest:
    """An image of one platform: its config, and its layers from the lowest up."""

    media_type: str
    config: Blob
    layers: tuple[Blob, ...]


@dataclass(frozen=True)
class IndexEntry:
    """A manifest that an index lists. Its platform is None if the index has none for it.

    C(size) is None if the index has none, or one that is no number.
    """

    digest: str
    size: int | None
    platform: ImagePlatform | None


@dataclass(frozen=True)
class ImageIndex:
    """An image of several platforms. Entries that nobody could choose are left out, such as attestations."""

    media_type: str
    entries: tuple[IndexEntry, ...]


class ImageConfig(NamedTuple):
    """The image's platform, and the digest of each layer's uncompressed tar (diffID)."""

    platform: ImagePlatform
    diff_ids: tuple[str, ...]


def is_zstd(media_type: str) -> bool:
    """Engines before Docker 23 cannot unpack zstd layers."""
    return media_type.endswith(("+zstd", ".zstd"))


def is_nondistributable(media_type: str) -> bool:
    """Foreign layers must not be distributed."""
    return any(marker in media_type for marker in _NON_DISTRIBUTABLE_MARKERS)


def detect_media_type(data: bytes, content_type: str = "", where: str = "the manifest") -> str:
    """Detects which of the four media types a document has. Any other or ambiguous type is refused.

    A manifest has its type in mediaType, in the response's Content-Type, or in both. A document with the fields of an
    image and of an index could be an image here and an index in an engine (OCI image specification 1.0.2).
    """
    return _load_document(data, content_type, where)[1]


def _load_document(data: bytes, content_type: str, where: str) -> tuple[dict[str, Any], str]:
    """Loads a manifest or an index, and its media type."""
    document = _check_object(load_json(data, MANIFEST_LIMIT, where), where)
    announced = content_type.partition(";")[0].strip().lower()
    own = _check_text(document.get("mediaType") or "", f"{where}: its mediaType")
    if (own or announced) in _SCHEMA1_TYPES or ("fsLayers" in document and document.get("config") is None):
        raise ImageError(
            f"{where} is of the old schema 1, which has no config and no diffIDs to verify. "
            "Push the image again with a current docker."
        )
    known = MANIFEST_TYPES + INDEX_TYPES
    if own and announced in known and own != announced:
        raise ImageError(
            f"{where} has the type {own}, but the response has {announced}. It cannot be trusted: push the image again."
        )
    # A null is no field: docker reads it as one that is absent.
    has_manifests = document.get("manifests") is not None
    has_image = document.get("layers") is not None or document.get("config") is not None
    if has_manifests and has_image:
        raise ImageError(f"{where} is an image and an index at once. It cannot be trusted: push the image again.")
    kind = own or (announced if announced in known else "") or (OCI_INDEX if has_manifests else OCI_MANIFEST)
    if kind not in known:
        raise ImageError(f"{where} is {kind[:100]!r}, no container image. Name a container image.")
    if has_image if kind in INDEX_TYPES else has_manifests:
        raise ImageError(
            f"{where} has the type {kind}, but not that type's fields. It is damaged: push the image again."
        )
    return document, kind


def parse_manifest(data: bytes, content_type: str = "", where: str = "the manifest") -> ImageManifest:
    """Parses an image's manifest. Raises ImageError for anything else, or if the image cannot be transferred."""
    document, kind = _load_document(data, content_type, where)
    if kind not in MANIFEST_TYPES:
        raise ImageError(f"{where} is an index, but an image is expected. Name the digest of an image.")
    config = _parse_blob(document.get("config"), f"{where}: config")
    if config.media_type not in (*_CONFIG_TYPES, ""):
        raise ImageError(f"{where} is an artifact of type {config.media_type[:100]!r}. Name a container image.")
    config = replace(config, media_type=config.media_type or DOCKER_CONFIG)
    if (config.size or 0) > CONFIG_LIMIT:
        raise ImageError(f"{where}: its config has {config.size} bytes, more than the limit of {CONFIG_LIMIT}.")
    layers = tuple(
        _parse_layer(entry, f"{where}: layer {number}")
        for number, entry in enumerate(_check_list(_get_list(document, "layers"), f"{where}: layers"), 1)
    )
    return ImageManifest(kind, config, layers)


def parse_index(data: bytes, content_type: str = "", where: str = "the index") -> ImageIndex:
    """Parses an index of images by platform. Raises ImageError for anything else."""
    document, kind = _load_document(data, content_type, where)
    if kind not in INDEX_TYPES:
        raise ImageError(f"{where} is an image, but an index is expected.")
    entries = map(_parse_entry, _check_list(_get_list(document, "manifests"), f"{where}: manifests"))
    return ImageIndex(kind, tuple(entry for entry in entries if entry is not None))


def find_index_image(index: ImageIndex, platform: ImagePlatform) -> str | None:
    """Finds the image that an engine of this platform runs of an index, if it can keep the index with this image alone.

    containerd also requires entries without a platform, and every other entry for its platform
    (docs/facts/image_transfer.md#containerd-and-ctr). Returns None where there are such entries.
    """
    digests = {entry.digest for entry in index.entries if not entry.platform or entry.platform.matches(platform)}
    return digests.pop() if len(digests) == 1 else None


def parse_config(data: bytes, where: str = "the config") -> ImageConfig:
    """Parses an image's config. Raises ImageError for anything else."""
    document = _check_object(load_json(data, CONFIG_LIMIT, where), where)
    rootfs = _check_object(document.get("rootfs"), f"{where}: rootfs")
    diff_ids = tuple(
        _parse_digest(diff_id, f"{where}: diffID {number}")
        for number, diff_id in enumerate(_check_list(_get_list(rootfs, "diff_ids"), f"{where}: diff_ids"), 1)
    )
    os, architecture, variant = (
        _check_text(document.get(name) or "", f"{where}: its {name}") for name in ("os", "architecture", "variant")
    )
    return ImageConfig(ImagePlatform.from_config(os, architecture, variant), diff_ids)


def check_layers(manifest: ImageManifest, config: ImageConfig, where: str = "the image") -> None:
    """Checks that every layer has its diffID. Without it, the layer could not be verified in the engine."""
    if len(manifest.layers) != len(config.diff_ids):
        raise ImageError(
            f"{where}: the manifest has {len(manifest.layers)} layers, the config {len(config.diff_ids)} diffIDs. "
            "The image is damaged: push it again."
        )


def load_json(data: bytes, limit: int, where: str) -> Any:
    """Loads JSON of limited size, with numbers of limited length. Raises ImageError for anything else."""
    if len(data) > limit:
        raise ImageError(f"{where} has {len(data)} bytes, more than the limit of {limit}.")
    try:
        return json.loads(data.decode("utf-8"), parse_int=_parse_bounded_int, parse_constant=_reject_constant)
    except RecursionError:
        raise ImageError(f"{where} is nested too deeply.") from None
    except ValueError as error:  # also JSONDecodeError and UnicodeDecodeError
        raise ImageError(f"{where} is no JSON: {str(error)[:100]}.") from None


def _parse_bounded_int(digits: str) -> int:
    # Python before 3.11 converts millions of digits, in quadratic time.
    if len(digits) > 20:
        raise ValueError("a number of more than 20 digits")
    return int(digits)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _check_object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"{where} is no JSON object.")
    return value


def _check_list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ImageError(f"{where} is no JSON list.")
    return value


def _check_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ImageError(f"{where} is no text.")
    return value


def _format_value(value: Any) -> str:
    # The repr of a list or an object could nest as deeply as the document.
    return (
        repr(value[:80] if isinstance(value, str) else value)
        if isinstance(value, (str, int))
        else f"a {type(value).__name__}"
    )


def _parse_digest(value: Any, where: str) -> str:
    if not is_digest(value):
        raise ImageError(f"{where}: {_format_value(value)} is no sha256 digest. Other digests are not supported.")
    return str(value)


def _get_list(document: dict[str, Any], name: str) -> Any:
    """Gets a list that may be absent or null, which Go's programs write for an empty one."""
    value = document.get(name)
    return [] if value is None else value


def is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_BYTES


def _parse_blob(value: Any, where: str) -> Blob:
    """Parses a descriptor. The size is None where it has none, or zero: the registry knows it."""
    descriptor = _check_object(value, where)
    size = descriptor.get("size")
    if size is not None and not is_size(size):
        raise ImageError(f"{where}: {_format_value(size)} is no size in bytes.")
    return Blob(
        digest=_parse_digest(descriptor.get("digest"), where),
        size=size or None,
        media_type=_check_text(descriptor.get("mediaType") or "", f"{where}: its mediaType").lower(),
    )


def _parse_layer(value: Any, where: str) -> Blob:
    blob = _parse_blob(value, where)
    if is_nondistributable(blob.media_type):
        raise ImageError(
            f"{where} ({blob.digest}) is a foreign layer, which must not be distributed. "
            "Such an image cannot be transferred: choose another one."
        )
    if _ENCRYPTED_MARKER in blob.media_type:
        raise ImageError(f"{where} ({blob.digest}) is encrypted, so docker cannot load it. Name another image.")
    if blob.media_type and blob.media_type != _NO_TYPE and not blob.media_type.startswith(_LAYER_PREFIXES):
        raise ImageError(
            f"{where} is {blob.media_type[:100]!r}, no layer of a container image. Name a container image."
        )
    return replace(blob, media_type=blob.media_type or _NO_TYPE)


def _parse_entry(value: Any) -> IndexEntry | None:
    """Parses an entry of an index, or returns None for one that nobody could choose.

    An entry without os is for linux, as in docker. One whose architecture is unknown is no image: builders list
    attestations so.
    """
    if not isinstance(value, dict) or not is_digest(value.get("digest")):
        return None
    size, platform = value.get("size"), value.get("platform")
    entry = IndexEntry(value["digest"], size if size and is_size(size) else None, None)
    if not isinstance(platform, dict) or not platform:
        return entry if platform is None or platform == {} else None
    found = parse_platform(platform)
    return None if found is None else replace(entry, platform=found)


def parse_platform(platform: dict[str, Any]) -> ImagePlatform | None:
    """Parses the platform of an entry of an index, or returns None for one that nobody could choose."""
    parts = [platform.get(name) or "" for name in ("os", "architecture", "variant")]
    if not all(isinstance(part, str) for part in parts):
        return None
    found = ImagePlatform.parse_or_none("/".join([parts[0] or DEFAULT_OS, *filter(None, parts[1:])]))
    return None if found is None or UNKNOWN in (found.os, found.architecture) else found
