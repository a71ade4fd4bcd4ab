# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives as streams: the archive that every engine loads is written, the archive of C(docker save) is read.

The written archive is an OCI image layout plus docker's manifest.json, whose paths point at blobs/sha256. Every engine
loads it (docs/facts/image_transfer.md#archive-formats). Names in the archive that is read are never used as paths; its
content is identified by the digest alone.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Callable, Optional

from ..errors import ImageError
from ..model import DOCKER_LAYER, Blob, BundleImage, Layer, compute_digest, get_digest_hex
from ..staging import CHUNK, Staging, open_private
from .manifest import OCI_MANIFEST, is_zstd
from .reference import is_digest

if TYPE_CHECKING:
    from ..growing_blobs import GrowingBlobs

# Members that hold a header of the next member instead of content. Names have some hundred bytes.
_HEADER_TYPES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_MAX_HEADER_BYTES = 64 * 1024
# A stream is read to the end of a member, whatever size it claims.
_MAX_MEMBER_BYTES = 256 * 1024**3
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
BLOCK_SIZE = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_SIZE)
# The name of an image in an archive, as containerd writes and reads it.
NAME_ANNOTATION = "io.containerd.image.name"


@dataclass(frozen=True)
class ArchiveMember:
    """A file of an archive. Its content is in memory, or in the file C(path)."""

    name: str
    size: int
    content: Optional[bytes] = None
    path: Optional[Path] = None

    @property
    def padding(self) -> int:
        """The bytes behind the content: a member takes whole blocks."""
        return -self.size % BLOCK_SIZE

    @property
    def length(self) -> int:
        """The bytes of header, content and padding."""
        return BLOCK_SIZE + self.size + self.padding


class ImageArchive:
    """An archive of an image without the layers that the engine has. It sets no name: the verified image is tagged."""

    def __init__(
        self,
        image: BundleImage,
        blob_paths: dict[str, Path],
        directory: str = "",
        config: Optional[bytes] = None,
        layout_only: bool = False,
    ) -> None:
        """Lists the members.

        C(blob_paths): the files of the blobs to write, by digest. A blob that is missing there is left out.
        C(directory): the staging directory of the transfer.
        C(config): the image's config, where no file holds it.
        C(layout_only): the archive is an OCI layout without docker's manifest.json.
        """
        self._image, self._blob_paths, self._config = image, blob_paths, config
        # An image of an engine that keeps no manifest has no registry digest to keep.
        sizes = {digest: path.stat().st_size for digest, path in blob_paths.items()}
        manifest = synthesize_manifest(image, sizes) if image.manifest is None else None
        self.manifest_digest = compute_digest(manifest) if manifest else str(image.manifest and image.manifest.digest)
        self.directory = directory
        self._members = list(_build_members(image, blob_paths, manifest, config, layout_only))
        self.length = sum(member.length for member in self._members) + len(END_OF_ARCHIVE)

    def __iter__(self) -> Iterator[bytes]:
        return _write_members(self._members)

    @property
    def leaves_out_layers(self) -> bool:
        return any(layer.blob.digest not in self._blob_paths for layer in self._image.layers)

    def convert_to_layout(self, by_diff_id: bool = False) -> ImageArchive:
        """Makes an archive of the same image that is an OCI layout only.

        C(by_diff_id): its own manifest names the layers that are left out by their diffIDs. An engine finds them by
        these, whatever compression they once came in, but the registry's manifest is not in the archive.
        """
        image = self._image
        if by_diff_id:
            layers = tuple(
                layer
                if layer.blob.digest in self._blob_paths
                else Layer(Blob(layer.diff_id, None, DOCKER_LAYER), layer.diff_id)
                for layer in image.layers
            )
            image = replace(image, manifest=None, layers=layers)
        return ImageArchive(image, self._blob_paths, self.directory, self._config, layout_only=True)


@dataclass(frozen=True)
class NamedDocument:
    """A manifest or an index, and the name that an archive gives it."""

    name: str
    media_type: str
    data: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        return compute_digest(self.data)


def build_naming_archive(documents: Sequence[NamedDocument], others: Sequence[bytes]) -> bytes:
    """Builds an archive that names an image whose layers a containerd has: an OCI layout without layers.

    The names are given in the order of C(documents). C(others) are the manifest and the config of the image.
    """
    descriptors = [
        {
            **build_descriptor(document.media_type, document.digest, len(document.data)),
            "annotations": {NAME_ANNOTATION: document.name},
        }
        for document in documents
    ]
    contents = dict.fromkeys([*(document.data for document in documents), *others])
    return b"".join(_write_members([*build_layout_members(descriptors), *map(build_blob_member, contents)]))


def build_header(name: str, size: int) -> bytes:
    """Builds the header of a member, the same for the same name and size."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def _write_members(members: Iterable[ArchiveMember]) -> Iterator[bytes]:
    for member in members:
        yield build_header(member.name, member.size)
        if member.path is not None:
            yield from _read_exactly(member.path, member.size)
        else:
            yield member.content or b""
        yield bytes(member.padding)
    yield END_OF_ARCHIVE


def _read_exactly(path: Path, size: int) -> Iterator[bytes]:
    remaining = size
    with open(path, "rb") as file:
        while remaining:
            chunk = file.read(min(CHUNK, remaining))
            if not chunk:
                raise ImageError(f"{path} became shorter while it was loaded. Run again.")
            remaining -= len(chunk)
            yield chunk


def _build_members(
    image: BundleImage,
    blob_paths: dict[str, Path],
    manifest: Optional[bytes],
    config: Optional[bytes],
    layout_only: bool,
) -> Iterator[ArchiveMember]:
    if image.manifest is None:
        content = manifest or b""
        descriptor = build_descriptor(OCI_MANIFEST, compute_digest(content), len(content))
    else:
        size = blob_paths[image.manifest.digest].stat().st_size
        descriptor = build_descriptor(image.manifest.media_type, image.manifest.digest, size)
    yield from build_layout_members([descriptor])
    if not layout_only:
        layers = [format_blob_path(layer.blob.digest) for layer in image.layers]
        config_path = format_blob_path(image.config.digest)
        yield build_json_member("manifest.json", [{"Config": config_path, "RepoTags": None, "Layers": layers}])
    for content in filter(None, (manifest, config)):
        yield build_blob_member(content)
    for blob in image.list_blobs():
        path = blob_paths.get(blob.digest)
        if path is not None:
            yield ArchiveMember(format_blob_path(blob.digest), path.stat().st_size, path=path)


def build_layout_members(descriptors: Sequence[Mapping[str, Any]]) -> Iterator[ArchiveMember]:
    """Builds the members that make an archive an OCI image layout."""
    yield build_json_member("oci-layout", {"imageLayoutVersion": "1.0.0"})
    yield build_json_member("index.json", {"schemaVersion": 2, "manifests": descriptors})


def build_descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def build_json_member(name: str, value: object) -> ArchiveMember:
    content = json.dumps(value, separators=(",", ":")).encode()
    return ArchiveMember(name, len(content), content)


def build_blob_member(content: bytes) -> ArchiveMember:
    return ArchiveMember(format_blob_path(compute_digest(content)), len(content), content)


def format_blob_path(digest: str) -> str:
    return f"blobs/sha256/{get_digest_hex(digest)}"


def synthesize_manifest(image: BundleImage, sizes: Mapping[str, int]) -> bytes:
    """Builds an OCI manifest for an image whose source has none. C(sizes): those of the blobs that are there."""

    def get_size(digest: str, known: Optional[int]) -> int:
        return sizes.get(digest, known or 0)

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": build_descriptor(
                "application/vnd.oci.image.config.v1+json",
                image.config.digest,
                get_size(image.config.digest, image.config.size),
            ),
            "layers": [
                build_descriptor(
                    _LAYER_TYPE + _detect_compression(layer),
                    layer.blob.digest,
                    get_size(layer.blob.digest, layer.blob.size),
                )
                for layer in image.layers
            ],
        },
        separators=(",", ":"),
    ).encode()


def _detect_compression(layer: Layer) -> str:
    """Detects the suffix of a layer's media type. containerd unpacks a layer by its type alone."""
    if layer.blob.digest == layer.diff_id:
        return ""
    return "+zstd" if is_zstd(layer.blob.media_type) else "+gzip"


def stage_from_archive(
    open_archive: Callable[[], AbstractContextManager[BinaryIO]],
    staging: Staging,
    digests: Collection[str],
    progress: Callable[[int], None],
    growing_blobs: Optional[GrowingBlobs] = None,
    sizes: Optional[Collection[int]] = None,
) -> None:
    """Stages the requested blobs, by digest, from the archive of an engine or of a file.

    The legacy format identifies a layer by its content alone. Its directory is named by an id of docker's own, by which
    the members are sorted, and manifest.json comes last. So each layer is written while its digest is computed, and is
    then kept or removed. That costs a fraction of a second export. C(growing_blobs) gets the progress of each blob
    whose member is named by its digest. C(sizes): those of the blobs, if they are known. Members of other sizes are
    skipped.
    """
    missing = {digest for digest in digests if not staging.is_complete(digest)}
    if missing:
        with open_archive() as stream:
            _stage_from_stream(stream, staging, missing, progress, growing_blobs, sizes)
    if missing:
        digests_text = ", ".join(sorted(missing))
        raise StagingError(
            f"The engine saved an archive without {digests_text}: the image is incomplete on this host. Pull it again, "
            "or use source=registry.",
            f"has no content with the digest {digests_text}",
        )


class StagingError(ImageError):
    """Blobs could not be staged from an engine's archive. C(problem): what is wrong with the archive."""

    def __init__(self, message: str, problem: str) -> None:
        super().__init__(message)
        self.problem = problem


def _stage_from_stream(
    stream: BinaryIO,
    staging: Staging,
    missing: set[str],
    progress: Callable[[int], None],
    growing_blobs: Optional[GrowingBlobs],
    sizes: Optional[Collection[int]],
) -> None:
    """Stages the blobs in C(missing), removes each from it, and ends when it is empty."""
    done = 0

    def report_progress(size: int) -> None:
        progress(done + size)

    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, tarinfo=BoundedTarInfo) as archive:
            for member in iterate_members(archive):
                # A sparse file of some bytes would be written with all its holes. No engine saves a sparse file.
                if not member.isreg() or member.issparse():
                    continue
                content = archive.extractfile(member)
                if content is not None and (sizes is None or member.size in sizes):
                    _stage_member(member, content, staging, missing, report_progress, growing_blobs)
                done += member.size
                progress(done)
                if not missing:
                    break
    except (tarfile.TarError, ValueError, RecursionError) as error:
        # tarfile raises ValueError for malformed numbers, and recurses once for each header before a member.
        raise StagingError(
            f"The engine saved an archive that cannot be read: {error}. Save the image again, or use source=registry.",
            f"cannot be read: {error}",
        ) from error


def iterate_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields the members of an archive, each before the next one is read."""
    while (member := archive.next()) is not None:
        # tarfile keeps every member that it has read; an archive of millions would fill the memory.
        archive.members = []  # type: ignore[attr-defined]
        archive.pax_headers = {}
        if not 0 <= member.size <= _MAX_MEMBER_BYTES:
            raise tarfile.ReadError(f"a member of {member.size} bytes")
        yield member


def _stage_member(
    member: tarfile.TarInfo,
    content: IO[bytes],
    staging: Staging,
    missing: set[str],
    progress: Callable[[int], None],
    growing_blobs: Optional[GrowingBlobs],
) -> None:
    """Stages a member if it is a blob in C(missing)."""
    expected, incoming_path = _parse_member_digest(member.name), staging.get_incoming_path()
    if expected is not None and expected not in missing:
        return
    if growing_blobs is None or expected is None:
        for size in _stage_content(content, staging, missing, incoming_path):
            progress(size)
        return
    incoming_path.touch(mode=0o600)
    growing_blobs.begin_blob(expected, incoming_path, member.size)
    for size in _stage_content(content, staging, missing, incoming_path):
        progress(size)
        growing_blobs.grow_blob(expected, size)
    growing_blobs.finish_blob(expected)


class BoundedTarInfo(tarfile.TarInfo):
    """A member whose headers are read into memory only up to a limit, since an archive may claim any size."""

    def _proc_member(self, *arguments: Any) -> tarfile.TarInfo:
        if self.type in _HEADER_TYPES and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        # The map of a sparse file may be endless. No engine saves a sparse file.
        if self.type == tarfile.GNUTYPE_SPARSE and self._sparse_structs[1]:  # type: ignore[attr-defined]
            raise tarfile.ReadError("a sparse file of many segments")
        member: tarfile.TarInfo = super()._proc_member(*arguments)  # type: ignore[misc]
        return member

    def _proc_gnusparse_10(self, member: Any, *_arguments: object) -> None:
        """Skips the newer kind of that map: it is part of the content, and may be endless as well."""
        member.sparse = []


def _parse_member_digest(name: str) -> Optional[str]:
    """Parses a digest from a member's name.

    Docker 25 writes blobs/sha256/HEX, podman HEX.tar and HEX.json. Docker 20.10 writes ID/layer.tar, and HEX.json.
    """
    directory, _slash, last = name.rpartition("/")
    if directory == "blobs/sha256":
        return f"sha256:{last}"
    stem, _dot, suffix = name.rpartition(".")
    return f"sha256:{stem}" if suffix in ("tar", "json") and is_digest(f"sha256:{stem}") else None


def _stage_content(content: IO[bytes], staging: Staging, missing: set[str], incoming_path: Path) -> Iterator[int]:
    """Writes a member, publishes it if its digest is in C(missing), and yields the bytes written so far."""
    found, size = hashlib.sha256(), 0
    try:
        # Unbuffered: the bytes that are reported are in the file for those that read it meanwhile.
        with open(incoming_path, "wb", buffering=0, opener=open_private) as file:
            while chunk := content.read(CHUNK):
                found.update(chunk)
                written = memoryview(chunk)
                while written:
                    written = written[file.write(written) :]
                size += len(chunk)
                yield size
        digest = "sha256:" + found.hexdigest()
        if digest in missing:
            incoming_path.replace(staging.get_path(digest))
            missing.remove(digest)
    finally:
        # A blob that is not requested, or is incomplete, frees its space at once.
        incoming_path.unlink(missing_ok=True)
