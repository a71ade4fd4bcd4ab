# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that every engine loads, written as a stream; and the archive that C(docker save) makes, read as one.

Written: an OCI image layout plus docker's manifest.json, whose paths point at blobs/sha256 (facts: one archive loads
everywhere). Read: names in it are never used as paths; content is known by its digest alone.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Callable, Optional

from .errors import ImageError
from .model import BundleImage, get_digest_hex
from .staging import CHUNK, Staging, open_private

if TYPE_CHECKING:
    from .growing_blobs import GrowingBlobs

# What stands before a member, instead of content: names are some hundred bytes.
_HEADER_TYPES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_MAX_HEADER_BYTES = 64 * 1024
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    content: Optional[bytes] = None
    path: Optional[Path] = None


class ImageArchive:
    """An archive of one image without the layers that the engine has. It gives no name: that comes after the proof."""

    def __init__(self, image: BundleImage, blob_paths: dict[str, Path], config: Optional[bytes] = None) -> None:
        """C(blob_paths): where the blobs that go in stand, by digest; what is missing there is left out.

        C(config): the image's config, where no file has it.
        """
        self._members = list(_build_members(image, blob_paths, config))
        # A member is a header and its content, filled up to 512 bytes; two empty blocks end the archive.
        self.length = sum(512 + -(-member.size // 512) * 512 for member in self._members) + 1024

    def __iter__(self) -> Iterator[bytes]:
        for member in self._members:
            info = tarfile.TarInfo(member.name)
            info.size = member.size
            info.mode = 0o644
            yield info.tobuf(tarfile.GNU_FORMAT)
            if member.path is not None:
                yield from _read_exactly(member.path, member.size)
            else:
                yield member.content or b""
            yield b"\0" * (-member.size % 512)
        yield b"\0" * 1024


def _read_exactly(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with open(path, "rb") as file:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise ImageError(f"{path} became shorter while it was loaded; run again.")
            left -= len(chunk)
            yield chunk


def _build_members(image: BundleImage, blob_paths: dict[str, Path], config: Optional[bytes]) -> Iterator[_Member]:
    def json_member(name: str, value: object) -> _Member:
        content = json.dumps(value, separators=(",", ":")).encode()
        return _Member(name, len(content), content)

    def path_of(digest: str) -> str:
        return f"blobs/sha256/{get_digest_hex(digest)}"

    manifest_bytes = b""
    if image.manifest is None:
        # The engine that had the image knows no manifest, so there is no digest to keep: this one is ours.
        manifest_bytes = synthesize_manifest(image, blob_paths)
        digest = "sha256:" + hashlib.sha256(manifest_bytes).hexdigest()
        descriptor = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(manifest_bytes)}
    else:
        descriptor = {
            "mediaType": image.manifest.media_type,
            "digest": image.manifest.digest,
            "size": blob_paths[image.manifest.digest].stat().st_size,
        }
    yield json_member("oci-layout", {"imageLayoutVersion": "1.0.0"})
    yield json_member("index.json", {"schemaVersion": 2, "manifests": [descriptor]})
    layers = [path_of(layer.blob.digest) for layer in image.layers]
    yield json_member("manifest.json", [{"Config": path_of(image.config.digest), "RepoTags": None, "Layers": layers}])
    if image.manifest is None:
        yield _Member(path_of(str(descriptor["digest"])), len(manifest_bytes), manifest_bytes)
    if config is not None:
        yield _Member(path_of(image.config.digest), len(config), config)
    for blob in image.list_blobs():
        path = blob_paths.get(blob.digest)
        if path is not None:
            yield _Member(path_of(blob.digest), path.stat().st_size, path=path)


def synthesize_manifest(image: BundleImage, blob_paths: dict[str, Path]) -> bytes:
    """An OCI manifest for an image whose source knew none."""

    def size(digest: str, known: Optional[int]) -> int:
        path = blob_paths.get(digest)
        return path.stat().st_size if path is not None else known or 0

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": image.config.digest,
                "size": size(image.config.digest, image.config.size),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": layer.blob.digest,
                    "size": size(layer.blob.digest, layer.blob.size),
                }
                for layer in image.layers
            ],
        },
        separators=(",", ":"),
    ).encode()


def stage_from_archive(
    open_archive: Callable[[], AbstractContextManager[BinaryIO]],
    staging: Staging,
    digests: Collection[str],
    progress: Callable[[int], None],
    growing_blobs: Optional[GrowingBlobs] = None,
) -> None:
    """Takes the wanted blobs (config and uncompressed layers, by digest) out of an engine's archive.

    The old format tells a layer by nothing but its content: its folder bears an id of docker's own, by which the
    members are sorted, and the list of them stands at the end. So each layer is written while its digest is computed,
    and kept or not: that costs a fraction of having the engine make its archive a second time. C(arrivals) is told
    how far each is, where its name tells its digest beforehand.
    """
    missing = {digest for digest in digests if not staging.is_complete(digest)}
    if missing:
        with open_archive() as stream:
            _stage_from_stream(stream, staging, missing, progress, growing_blobs)
    if missing:
        raise ImageError(
            f"docker save gave an archive without {', '.join(sorted(missing))}: the image is not whole on this host. "
            "Pull it again, or use source=registry."
        )


def _stage_from_stream(
    stream: BinaryIO,
    staging: Staging,
    missing: set[str],
    progress: Callable[[int], None],
    growing_blobs: Optional[GrowingBlobs],
) -> None:
    """Takes out of C(missing) what it has staged, and ends when nothing is left there."""
    done = 0

    def further(size: int) -> None:
        progress(done + size)

    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, tarinfo=_BoundedTarInfo) as archive:
            while missing and (member := archive.next()) is not None:
                # tarfile remembers every member it has passed; an archive of millions would fill the memory.
                archive.members = []  # type: ignore[attr-defined]
                archive.pax_headers = {}
                # A sparse file of some bytes would be written with all its holes; no engine saves one.
                if not member.isreg() or member.issparse():
                    continue
                content = archive.extractfile(member)
                if content is not None:
                    _stage_member(member, content, staging, missing, further, growing_blobs)
                done += member.size
                progress(done)
    except (tarfile.TarError, ValueError, RecursionError) as error:
        # tarfile lets int() fail on numbers that are none, and goes one call deeper with each header before a member.
        raise ImageError(f"docker save gave an archive that cannot be read: {error}.") from error


def _stage_member(
    member: tarfile.TarInfo,
    content: IO[bytes],
    staging: Staging,
    missing: set[str],
    progress: Callable[[int], None],
    growing_blobs: Optional[GrowingBlobs],
) -> None:
    """Takes a member that may be one of C(missing)."""
    expected, growing = _parse_member_digest(member.name), staging.get_incoming_path()
    if expected is not None and expected not in missing:
        return
    if growing_blobs is None or expected is None:
        for size in _stage_content(content, staging, missing, growing):
            progress(size)
        return
    growing.touch(mode=0o600)
    growing_blobs.begin_blob(expected, growing, member.size)
    for size in _stage_content(content, staging, missing, growing):
        progress(size)
        growing_blobs.grow_blob(expected, size)
    growing_blobs.finish_blob(expected)


class _BoundedTarInfo(tarfile.TarInfo):
    """A member whose headers are read into memory only up to a size, since an archive may claim any."""

    def _proc_member(self, *arguments: Any) -> tarfile.TarInfo:
        if self.type in _HEADER_TYPES and self.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        # The map of a sparse file may go on for ever; no engine saves one.
        if self.type == tarfile.GNUTYPE_SPARSE and self._sparse_structs[1]:  # type: ignore[attr-defined]
            raise tarfile.ReadError("a sparse file of many pieces")
        member: tarfile.TarInfo = super()._proc_member(*arguments)  # type: ignore[misc]
        return member

    def _proc_gnusparse_10(self, member: Any, *_arguments: object) -> None:
        """The newer kind of that map stands in the content, and may be as long: it is passed over with it."""
        member.sparse = []


def _parse_member_digest(name: str) -> Optional[str]:
    """What a member claims to hold: docker 25 writes blobs/sha256/HEX; docker 20.10, ID/layer.tar, does not say."""
    folder, _slash, last = name.rpartition("/")
    return f"sha256:{last}" if folder == "blobs/sha256" else None


def _stage_content(content: IO[bytes], staging: Staging, missing: set[str], incoming_path: Path) -> Iterator[int]:
    """Writes a member, and publishes it when its digest is one of those that are missing; yields the bytes so far."""
    found, size = hashlib.sha256(), 0
    try:
        # Without a buffer of its own: what is told to be there is there for those that read it meanwhile.
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
        # What is not wanted, or not whole, makes room at once.
        incoming_path.unlink(missing_ok=True)
