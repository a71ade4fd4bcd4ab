# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of all images of a transfer, for media: its bytes, its parts, and the files beside it. Pure.

It is an OCI image layout plus docker's manifest.json, with each blob once. The same images always give the same bytes.
So an archive that exists is compared with the bytes that would be written, and any other header is refused.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import ImageError
from ..model import Bundle, BundleImage, StoredImage, compute_digest
from .archive import (
    BLOCK_SIZE,
    END_OF_ARCHIVE,
    NAME_ANNOTATION,
    ArchiveMember,
    build_blob_member,
    build_descriptor,
    build_header,
    build_json_member,
    build_layout_members,
    format_blob_path,
    synthesize_manifest,
)
from .manifest import MANIFEST_LIMIT, OCI_MANIFEST, load_json
from .reference import ImageReference, is_digest

# The name of an image in a layout, as skopeo reads it.
_REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"
_LAYOUT, _INDEX, _MANIFEST = "oci-layout", "index.json", "manifest.json"
# Documents come first, so that a reader of a stream has them before the blobs.
DOCUMENTS = (_LAYOUT, _INDEX, _MANIFEST)
_BLOB_PREFIX = "blobs/sha256/"
FIRST_HEADER = build_header(_LAYOUT, next(iter(build_layout_members([]))).size)
CHECKSUM_SUFFIX, TEXT_SUFFIX = ".sha256", ".load.txt"
_PART_SUFFIX = re.compile(r"\.[0-9]{3}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class ArchiveFile:
    """A file of the archive: the archive itself, or a part of it. C(sha256) has hexadecimal digits."""

    name: str
    size: int
    sha256: str


def is_file_name(name: str) -> bool:
    """Whether a name is one that C(sha256sum), a shell and every file system of media take as it is."""
    return _FILE_NAME.fullmatch(name) is not None


def is_part_name(name: str, archive_name: str) -> bool:
    """Whether this is the name of a part of the archive."""
    return name.startswith(archive_name) and _PART_SUFFIX.fullmatch(name[len(archive_name) :]) is not None


def format_part_name(archive_name: str, number: int) -> str:
    return f"{archive_name}.{number:03d}"


def format_image_name(tag: str) -> str:
    """Formats the full name of an image, which every engine reads alike: C(docker.io/library/app:v1) of C(app:v1)."""
    return ImageReference.parse(tag).canonical_string


def build_archive_members(bundle: Bundle, sizes: Mapping[str, int]) -> tuple[ArchiveMember, ...]:
    """Builds the members of the archive in their order. C(sizes): the bytes of each blob.

    A member without content is the blob that its name has.
    """
    images = sorted(bundle.images, key=lambda image: image.tag)
    # By name: two images of one repository and content have one name with its digest.
    descriptors: dict[str, dict[str, Any]] = {}
    synthesized: dict[str, bytes] = {}
    for image in images:
        manifest = None
        if image.manifest is None:
            manifest = synthesize_manifest(image, sizes)
            synthesized[compute_digest(manifest)] = manifest
        descriptors.update(_build_named_descriptors(image, manifest, sizes))
    docker_images = [_build_docker_image(image) for image in images]
    documents = [*build_layout_members(list(descriptors.values())), build_json_member(_MANIFEST, docker_images)]
    blobs = {
        blob.digest: ArchiveMember(format_blob_path(blob.digest), sizes[blob.digest])
        for image in images
        for blob in image.list_archive_blobs()
    }
    blobs.update({digest: build_blob_member(content) for digest, content in synthesized.items()})
    return (*documents, *(blobs[digest] for digest in sorted(blobs)))


def compute_archive_length(members: Sequence[ArchiveMember]) -> int:
    return sum(member.length for member in members) + len(END_OF_ARCHIVE)


def _build_named_descriptors(
    image: BundleImage, manifest: Optional[bytes], sizes: Mapping[str, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Builds the entries of index.json by their names: the image's own, and those with its digests.

    containerd gives an image exactly these names, so the kubelet finds it by its digests as well
    (docs/facts/image_transfer.md#portable-archives).
    """
    name = format_image_name(image.tag)
    top = image.named_blob
    if top is None or image.manifest is None:
        content = manifest or b""
        yield _build_named(OCI_MANIFEST, compute_digest(content), len(content), name)
        return
    yield _build_named(top.media_type, top.digest, sizes[top.digest], name)
    repository = ImageReference.parse(image.tag).name
    for blob in dict.fromkeys((top, image.manifest)):
        yield _build_named(blob.media_type, blob.digest, sizes[blob.digest], f"{repository}@{blob.digest}")


def _build_named(media_type: str, digest: str, size: int, name: str) -> tuple[str, dict[str, Any]]:
    annotations = {NAME_ANNOTATION: name, _REFERENCE_ANNOTATION: name}
    return name, {**build_descriptor(media_type, digest, size), "annotations": annotations}


def _build_docker_image(image: BundleImage) -> dict[str, Any]:
    return {
        "Config": format_blob_path(image.config.digest),
        "RepoTags": [format_image_name(image.tag)],
        "Layers": [format_blob_path(layer.blob.digest) for layer in image.layers],
    }


# -- reading


def parse_header(block: bytes) -> tuple[str, int]:
    """Parses the header of a member. Raises ImageError for one that is not exactly as it would be written."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        is_known = info.size >= 0 and build_header(info.name, info.size) == block
    except (tarfile.TarError, ArithmeticError, ValueError) as error:
        raise ImageError(f"it has a damaged header: {str(error)[:100]}") from error
    if not is_known or (info.name not in DOCUMENTS and parse_blob_name(info.name) is None):
        raise ImageError(f"it has a file {info.name[:100]!r}, which this role did not write")
    return info.name, info.size


def is_end(block: bytes) -> bool:
    """Whether this is the first block of the end of the archive."""
    return block == END_OF_ARCHIVE[:BLOCK_SIZE]


def parse_blob_name(name: str) -> Optional[str]:
    """Parses the digest of a blob's name, or returns None for another name."""
    digest = f"sha256:{name[len(_BLOB_PREFIX) :]}"
    return digest if name.startswith(_BLOB_PREFIX) and is_digest(digest) else None


def parse_archived_images(documents: Mapping[str, bytes]) -> tuple[StoredImage, ...]:
    """Parses the images that an archive names. The id of each is the digest to which its name refers.

    Raises ImageError for documents that this role did not write.
    """
    index, images = (load_json(documents.get(name, b""), MANIFEST_LIMIT, f"its {name}") for name in (_INDEX, _MANIFEST))
    try:
        tops = {
            _check_text(entry["annotations"][NAME_ANNOTATION]): _check_digest(entry["digest"])
            for entry in index["manifests"]
        }
        return tuple(_parse_archived_image(entry, tops) for entry in images)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ImageError(f"its index is damaged ({type(error).__name__})") from error


def _parse_archived_image(entry: Mapping[str, Any], tops: Mapping[str, str]) -> StoredImage:
    (name,) = map(_check_text, entry["RepoTags"])
    config, tag = parse_blob_name(_check_text(entry["Config"])), ImageReference.parse(name).tagged_name
    if config is None or tag is None:
        raise ValueError("no config or no tag")
    return StoredImage(
        engine_id=tops[name],
        config_digest=config,
        names=(tag,),
        diff_ids=(),
        platform="",
        size=0,
    )


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _check_digest(value: Any) -> str:
    if not is_digest(value):
        raise ValueError("no digest")
    return _check_text(value)


# -- the files beside the archive


def format_checksums(files: Sequence[ArchiveFile]) -> str:
    """Formats the list that C(sha256sum -c) reads."""
    return "".join(f"{file.sha256}  {file.name}\n" for file in files)


def parse_checksums(text: str) -> dict[str, str]:
    """Parses a list of checksums: the sha256 by the name of its file. A line of another form is left out."""
    found = map(_CHECKSUM_LINE.fullmatch, text.splitlines())
    return {match[2]: match[1] for match in found if match}


def format_instructions(archive_name: str, bundle: Bundle, is_split: bool) -> str:
    """Formats the text beside the archive: how to verify it and how to load it."""
    images = sorted(bundle.images, key=lambda image: image.tag)
    names = "".join(f"  {format_image_name(image.tag)} ({image.platform})\n" for image in images)
    # The names of the parts end with digits, those of the files beside them do not.
    source = f"cat {archive_name}.[0-9]* |" if is_split else f"cat {archive_name} |"
    # Podman loads only docker's part of an archive with several names (docs/facts/image_transfer.md#portable-archives).
    pull = "".join(f"  podman pull oci-archive:{archive_name}:{format_image_name(image.tag)}\n" for image in images)
    by_digest = f"\nPodman keeps the digests of a registry only by:\n\n{pull}"
    return (
        f"Container images:\n\n{names}\n"
        "Verify the copy, in its directory:\n\n"
        f"  sha256sum -c {archive_name}{CHECKSUM_SUFFIX}\n\n"
        "Load the images with the engine of the host:\n\n"
        f"  {source} docker load\n"
        f"  {source} podman load\n"
        f"  {source} ctr -n k8s.io images import -\n"
        f"{'' if is_split else by_digest}"
    )
