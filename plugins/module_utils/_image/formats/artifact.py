# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parses what a registry holds, to copy it unchanged: images, indexes, charts, signatures and other artifacts.

Only what a copy needs is read: which blobs and manifests belong to it, and its subject. The bytes stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..errors import ImageError
from ..model import compute_digest
from .manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    OCI_INDEX,
    OCI_MANIFEST,
    is_nondistributable,
    is_size,
    load_json,
    parse_platform,
)
from .reference import ImagePlatform, is_digest

MAX_ENTRIES = 1000
MAX_REFERRERS = 1000
# Nesting of indexes, the outermost included.
MAX_DEPTH = 4
ARTIFACT_TYPES = (
    OCI_MANIFEST,
    OCI_INDEX,
    DOCKER_MANIFEST,
    DOCKER_LIST,
    # Of the release candidates of OCI 1.1; some registries hold signatures of this type.
    "application/vnd.oci.artifact.manifest.v1+json",
)
_SCHEMA1_PREFIX = "application/vnd.docker.distribution.manifest.v1+"
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
_ATTESTED_DIGEST = "vnd.docker.reference.digest"


@dataclass(frozen=True)
class ArtifactDescriptor:
    """A blob or a manifest that a manifest names. The size is None where the descriptor has none.

    C(is_nondistributable): a layer that is published elsewhere, by C(urls). C(attests): the digest of the image that
    this entry of an index describes, as builders mark attestations.
    """

    digest: str
    size: Optional[int]
    media_type: str
    is_nondistributable: bool = False
    platform: Optional[ImagePlatform] = None
    attests: str = ""

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES


@dataclass(frozen=True)
class Artifact:
    """A manifest or an index, with its own bytes. The digest is computed from them."""

    data: bytes = field(repr=False)
    media_type: str
    digest: str
    blobs: tuple[ArtifactDescriptor, ...] = ()
    children: tuple[ArtifactDescriptor, ...] = ()
    subject: Optional[str] = None
    config: Optional[ArtifactDescriptor] = None


def parse_artifact(data: bytes, content_type: str = "", where: str = "the manifest") -> Artifact:
    """Parses a manifest or an index of any kind. Raises ImageError for what cannot be copied unchanged."""
    document = load_json(data, MANIFEST_LIMIT, where)
    if not isinstance(document, dict):
        raise ImageError(f"{where} is no JSON object. Check that the registry itself responds, and not a proxy.")
    media_type = _detect_type(document, content_type, where)
    blobs, config = [], None
    if document.get("config") is not None:
        config = _parse_descriptor(document["config"], f"{where}: config")
        blobs.append(config)
    for name in ("layers", "blobs"):
        entries = _get_entries(document, name, where)
        blobs += [_parse_descriptor(entry, f"{where}: {name} {n}") for n, entry in enumerate(entries, 1)]
    children = [
        _parse_descriptor(entry, f"{where}: manifests {number}")
        for number, entry in enumerate(_get_entries(document, "manifests", where), 1)
    ]
    if children and blobs:
        raise ImageError(f"{where} is an image and an index at once. It cannot be trusted: push the image again.")
    subject = document.get("subject")
    return Artifact(
        data,
        media_type,
        compute_digest(data),
        tuple({blob.digest: blob for blob in blobs}.values()),
        tuple({child.digest: child for child in children}.values()),
        None if subject is None else _parse_descriptor(subject, f"{where}: subject").digest,
        config,
    )


def filter_index(index: Artifact, platforms: Collection[ImagePlatform], where: str) -> Artifact | ArtifactDescriptor:
    """Chooses the images for some platforms: the index itself if it has no others, one entry, or a smaller index.

    The attestations of chosen images belong to a smaller index, too. It has another digest.
    """
    chosen = [
        child
        for child in index.children
        if child.platform is not None and any(child.platform.matches(platform) for platform in platforms)
    ]
    missing = [
        str(platform)
        for platform in platforms
        if not any(child.platform is not None and child.platform.matches(platform) for child in index.children)
    ]
    if missing:
        available = dict.fromkeys(str(child.platform) for child in index.children if child.platform) or ["none"]
        raise ImageError(
            f"platforms: {where} has no image for {', '.join(missing)}. Available are: {', '.join(available)}. Choose "
            "some of these, or all."
        )
    others = [child for child in index.children if child.platform is not None and child not in chosen]
    if not others:
        return index
    if len(chosen) == 1:
        return chosen[0]
    digests = {child.digest for child in chosen}
    digests |= {child.digest for child in index.children if child.attests in digests}
    document = json.loads(index.data)
    document["manifests"] = [entry for entry in document["manifests"] if entry["digest"] in digests]
    return parse_artifact(json.dumps(document, separators=(",", ":")).encode(), index.media_type, where)


def parse_referrers(data: bytes, where: str) -> tuple[ArtifactDescriptor, ...]:
    """Parses a list of referrers: an index, whose entries all matter."""
    document = load_json(data, MANIFEST_LIMIT, where)
    if not isinstance(document, dict):
        raise ImageError(f"{where} is no JSON object. Check what responds there instead of the registry.")
    entries = _get_entries(document, "manifests", where)
    return tuple(_parse_descriptor(entry, f"{where}: entry {number}") for number, entry in enumerate(entries, 1))


def make_referrer_entry(referrer: Artifact) -> dict[str, Any]:
    """Makes the entry of a referrer in a list of referrers (distribution specification, "Listing Referrers")."""
    document = json.loads(referrer.data)
    entry: dict[str, Any] = {
        "mediaType": referrer.media_type,
        "digest": referrer.digest,
        "size": len(referrer.data),
    }
    kind = document.get("artifactType") or (referrer.config.media_type if referrer.config else "")
    if isinstance(kind, str) and kind:
        entry["artifactType"] = kind
    if isinstance(document.get("annotations"), dict) and document["annotations"]:
        entry["annotations"] = document["annotations"]
    return entry


def merge_referrers(present: Optional[bytes], added: Sequence[Mapping[str, Any]], where: str) -> bytes:
    """Merges referrers into the index of the fallback tag. What is there stays there."""
    document: Any = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    if present is not None:
        parse_referrers(present, where)
        document = load_json(present, MANIFEST_LIMIT, where)
        document["manifests"] = document.get("manifests") or []
    known = {entry["digest"] for entry in document["manifests"]}
    document["manifests"] += [entry for entry in added if entry["digest"] not in known]
    return json.dumps(document, separators=(",", ":")).encode()


def get_fallback_tag(digest: str) -> str:
    """Gets the tag of the list of referrers, in a registry without the referrers API."""
    return digest.replace(":", "-")


def _detect_type(document: dict[str, Any], content_type: str, where: str) -> str:
    announced = content_type.partition(";")[0].strip().lower()
    own = document.get("mediaType") or ""
    if not isinstance(own, str):
        raise ImageError(f"{where}: its mediaType is no text. It is damaged: push the image again.")
    if (own or announced).startswith(_SCHEMA1_PREFIX) or "fsLayers" in document:
        raise ImageError(f"{where} is of the old schema 1, which registries no longer accept. Push the image again.")
    if own and announced in ARTIFACT_TYPES and own != announced:
        raise ImageError(
            f"{where} has the type {own[:100]!r}, but the response has {announced}. It cannot be trusted: push the "
            "image again."
        )
    known = announced if announced in ARTIFACT_TYPES else ""
    kind = own or known or (OCI_INDEX if document.get("manifests") is not None else OCI_MANIFEST)
    if not _MEDIA_TYPE.fullmatch(kind):
        raise ImageError(f"{where}: {kind[:100]!r} is no media type. It is damaged: push the image again.")
    has_blobs = any(document.get(name) is not None for name in ("config", "layers", "blobs"))
    if has_blobs if kind in INDEX_TYPES else document.get("manifests") is not None:
        raise ImageError(f"{where} has the type {kind}, but not that type's fields. It is damaged: push it again.")
    return kind


def _get_entries(document: Mapping[str, Any], name: str, where: str) -> list[Any]:
    entries = document.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise ImageError(f"{where}: {name} is no JSON list. It is damaged: push the image again.")
    if len(entries) > MAX_ENTRIES:
        raise ImageError(f"{where}: {name} has {len(entries)} entries, more than the limit of {MAX_ENTRIES}.")
    return entries


def _parse_descriptor(value: Any, where: str) -> ArtifactDescriptor:
    if not isinstance(value, dict):
        raise ImageError(f"{where} is no descriptor. It is damaged: push the image again.")
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType") or ""
    if not isinstance(digest, str) or not is_digest(digest):
        shown = repr(digest[:80]) if isinstance(digest, str) else f"a {type(digest).__name__}"
        raise ImageError(f"{where}: {shown} is no sha256 digest. Other digests are not supported.")
    if size is not None and not is_size(size):
        raise ImageError(f"{where}: its size is no number of bytes. It is damaged: push the image again.")
    if not isinstance(media_type, str):
        raise ImageError(f"{where}: its mediaType is no text. It is damaged: push the image again.")
    annotations, platform = value.get("annotations"), value.get("platform")
    attests = annotations.get(_ATTESTED_DIGEST) if isinstance(annotations, dict) else ""
    return ArtifactDescriptor(
        digest,
        size or None,
        media_type[:255],
        is_nondistributable=bool(value.get("urls")) and is_nondistributable(media_type),
        platform=parse_platform(platform) if isinstance(platform, dict) else None,
        attests=attests if isinstance(attests, str) else "",
    )
