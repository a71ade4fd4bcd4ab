# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive as a target: one file, or parts of it, with all images of a transfer, that engines load without this role.

What is in the archive is decided by digests: all of it is read. It is written anew where anything differs, beside its
final name, read back, and published by rename. The blobs that it has already are copied from it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..errors import ImageError
from ..formats.archive import BLOCK_SIZE, END_OF_ARCHIVE, ArchiveMember, build_header
from ..formats.manifest import MANIFEST_LIMIT
from ..formats.portable_archive import (
    CHECKSUM_SUFFIX,
    DOCUMENTS,
    FIRST_HEADER,
    TEXT_SUFFIX,
    ArchiveFile,
    build_archive_members,
    compute_archive_length,
    format_checksums,
    format_instructions,
    format_part_name,
    is_end,
    is_file_name,
    is_part_name,
    parse_archived_images,
    parse_blob_name,
    parse_checksums,
    parse_header,
)
from ..formats.reference import ImagePlatform
from ..model import ArchiveState, Bundle, DiskSpace, EngineFacts, StoredImage, get_digest_hex
from ..plan import MIN_ARCHIVE_PART, plan_load, split_archive
from ..progress import ProgressCallback
from ..staging import CHUNK, Staging, open_private
from .archive_files import IncompleteArchive, JoinedFiles, SplitWriter, store_names, verify_written
from .disk_space import read_disk_space, read_nearest_disk_space
from .target import LoadOutcome

_MAX_LIST_BYTES = 1024 * 1024
_MAX_MEMBERS = 100_000


@dataclass(frozen=True)
class ArchiveContent:
    """What the files at the path have. C(blobs): offset and size by digest. C(files): empty where none is verified."""

    names: tuple[str, ...] = ()
    files: tuple[ArchiveFile, ...] = ()
    images: tuple[StoredImage, ...] = ()
    blobs: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    problem: Optional[str] = None


class BlobError(Exception):
    """A blob that is to be written into the archive is damaged or missing. C(staged): in the staging directory."""

    def __init__(self, digest: str, staged: bool) -> None:
        super().__init__(digest)
        self.digest, self.staged = digest, staged


class ArchiveTarget:
    """The archive at a path. C(part_size): bytes of each file, None for one file. C(platform): the host's by default.

    Raises ImageError for options that cannot be used, before anything is read or written.
    """

    def __init__(self, path: Optional[str], part_size: Optional[int] = None, platform: Optional[str] = None) -> None:
        self.path = _check_path(path)
        if part_size is not None and part_size < MIN_ARCHIVE_PART:
            raise ImageError(
                f"target_archive_part_size: {part_size} is below {MIN_ARCHIVE_PART} bytes. Set a larger size, or leave "
                "the option out for one file."
            )
        self.part_size = part_size
        try:
            self.platform = ImagePlatform.parse(platform) if platform else ImagePlatform.detect_host()
        except ImageError as error:
            raise ImageError(f"target_archive_platform: {error}") from error
        self._incomplete = IncompleteArchive(self.path)

    def has_leftover(self) -> bool:
        """Whether a killed run has left an incomplete archive."""
        return self._incomplete.exists()

    def remove_leftover(self) -> bool:
        return self._incomplete.remove()

    def read_facts(self, staging_path: str, fingerprint: str = "") -> EngineFacts:
        """Reads the archive. C(fingerprint): of a complete archive whose digests were verified a moment ago."""
        current = self._compute_fingerprint()
        content = self._read_content(verify=not fingerprint or fingerprint != current)
        disk = read_disk_space(str(self.path.parent))
        if disk:
            disk = DiskSpace(disk.path, disk.free_bytes + self._incomplete.measure(), disk.device)
        state = ArchiveState(str(self.path), self.part_size, frozenset(content.blobs), content.problem, current)
        return EngineFacts(
            engine="archive",
            version="1",
            storage="one file" if self.part_size is None else f"parts of {self.part_size} bytes",
            platform=str(self.platform),
            images=content.images,
            chain_ids=frozenset(),
            staging=read_nearest_disk_space(staging_path),
            root=disk,
            keeps_digests=True,
            archive=state,
        )

    def list_files(self) -> list[dict[str, Any]]:
        """Lists the files of the archive by their list of checksums."""
        checksums, names = self._read_checksums(), self._list_names()
        return [
            {"name": name, "size": os.path.getsize(self.path.with_name(name)), "sha256": checksums[name]}
            for name in names
            if name in checksums
        ]

    def write(
        self, bundle: Bundle, staging: Staging, progress: ProgressCallback, facts: EngineFacts
    ) -> list[LoadOutcome]:
        """Writes the archive where the plan has it, and returns the outcome of each image: all, or none, are done.

        C(facts): as read at the begin of this call.
        """
        tags = [image.tag for image in bundle.images]
        if all(plan.action == "none" for plan in plan_load(bundle, facts)):
            return [LoadOutcome(tag, True) for tag in tags]
        content = self._read_content(verify=False)
        intact = facts.archive.blobs if facts.archive else frozenset()
        digests = dict.fromkeys(blob.digest for image in bundle.images for blob in image.list_archive_blobs())
        missing = tuple(
            digest
            for digest in digests
            if not staging.is_complete(digest) and not (digest in intact and digest in content.blobs)
        )
        if missing:
            problem = f"{len(missing)} needed blobs were not fetched"
            return [LoadOutcome(tag, False, problem, missing=missing) for tag in tags]
        try:
            self._write(bundle, staging, content, progress)
        except BlobError as error:
            if error.staged:
                staging.discard(error.digest)
                problem = "1 blob failed its digest, and the archive is as before"
                return [LoadOutcome(tag, False, problem, corrupt=(error.digest,)) for tag in tags]
            problem = f"the archive was damaged meanwhile: {error.digest} in it failed its digest. Run again."
            return [LoadOutcome(tag, False, problem, missing=(error.digest,)) for tag in tags]
        except ImageError as error:
            return [LoadOutcome(tag, False, str(error)) for tag in tags]
        except OSError as error:
            return [LoadOutcome(tag, False, self._format_error(error)) for tag in tags]
        return [LoadOutcome(tag, True) for tag in tags]

    # -- reading

    def _list_names(self) -> list[str]:
        """Lists the files of the archive: itself, or its parts."""
        return [self.path.name] if self.path.exists() else self._list_parts()

    def _list_parts(self) -> list[str]:
        """Lists the parts from the first on, without a gap."""
        names: list[str] = []
        while self.path.with_name(format_part_name(self.path.name, len(names))).exists():
            names.append(format_part_name(self.path.name, len(names)))
        return names

    def _list_all_names(self) -> set[str]:
        """Lists the archive and all its parts, also those behind a gap."""
        name = self.path.name
        return {entry for entry in os.listdir(self.path.parent) if entry == name or is_part_name(entry, name)}

    def _compute_fingerprint(self) -> str:
        names = self._list_names()
        if not names:
            return ""
        found = hashlib.sha256()
        for name in (*names, self.path.name + CHECKSUM_SUFFIX):
            with suppress(FileNotFoundError):
                entry = os.stat(self.path.with_name(name))
                version = (entry.st_dev, entry.st_ino, entry.st_size, entry.st_mtime_ns, entry.st_ctime_ns)
                found.update(f"{name} {version}\n".encode())
        return found.hexdigest()

    def _read_checksums(self) -> dict[str, str]:
        path = self.path.with_name(self.path.name + CHECKSUM_SUFFIX)
        with suppress(OSError, UnicodeDecodeError), open(path, "rb") as file:
            return parse_checksums(file.read(_MAX_LIST_BYTES).decode("ascii"))
        return {}

    def _read_content(self, verify: bool) -> ArchiveContent:
        """Reads the files at the path. Raises ImageError where they belong to somebody else.

        C(verify): verify digests and checksums. Without it, only headers and documents are read.
        """
        names = self._list_names()
        try:
            self._check_owner(names)
            if not names:
                return ArchiveContent()
            with JoinedFiles([self.path.with_name(name) for name in names]) as files:
                return self._read_files(files, names, verify)
        except OSError as error:
            raise ImageError(
                f"target_archive_path: cannot read {error.filename or self.path}: {error.strerror or error}. Repair or "
                "remove it, and run again."
            ) from error

    def _check_owner(self, names: list[str]) -> None:
        """Checks that this role wrote every file that it would replace: an archive by its first header.

        The parts belong to the first one. Those behind a gap are known from the list of checksums.
        """
        parts, listed = self._list_parts(), self._read_checksums()
        unknown = self._list_all_names() - set(names) - set(parts) - set(listed)
        for name in {*names[:1], *parts[:1]}:
            path = self.path.with_name(name)
            # A truncated archive has less than its first header.
            if not path.is_file() or not FIRST_HEADER.startswith(_read_first_block(path)):
                unknown.add(name)
        if unknown:
            raise ImageError(
                f"target_archive_path: {self.path.with_name(min(unknown))} exists, and this role did not write it. "
                "Remove it, or set another path."
            )

    def _read_files(self, files: JoinedFiles, names: list[str], verify: bool) -> ArchiveContent:
        reader = _ArchiveReader(files, verify)
        problem: Optional[str] = None
        images: tuple[StoredImage, ...] = ()
        try:
            reader.read()
            images = parse_archived_images(reader.documents)
        except ImageError as error:
            problem = str(error)
        digests = reader.finish()
        found = tuple(ArchiveFile(name, size, sha256) for name, size, sha256 in zip(names, files.sizes, digests))
        problem = problem or reader.problem or self._get_list_problem(names, found, files)
        return ArchiveContent(tuple(names), found, images, reader.blobs, problem)

    def _get_list_problem(self, names: list[str], found: Collection[ArchiveFile], files: JoinedFiles) -> Optional[str]:
        """Why the files are not as they would be written now, or None."""
        checksums = self._read_checksums()
        if not checksums:
            return f"it has no list {self.path.name}{CHECKSUM_SUFFIX}, so it was not completed"
        if set(checksums) != set(names):
            return f"its list {self.path.name}{CHECKSUM_SUFFIX} has other files"
        others = sorted(self._list_all_names() - set(names))
        if others:
            return f"{', '.join(others[:3])} is not a part of it"
        if any(checksums[file.name] != file.sha256 for file in found):
            return f"it does not match its list {self.path.name}{CHECKSUM_SUFFIX}"
        is_split = names[0] != self.path.name
        try:
            sizes = split_archive(files.length, self.part_size)
        except ImageError:
            sizes = ()
        if is_split != (self.part_size is not None) or sizes != files.sizes:
            return f"it is not {'one file' if self.part_size is None else f'in parts of {self.part_size} bytes'}"
        return None

    # -- writing

    def _write(self, bundle: Bundle, staging: Staging, content: ArchiveContent, progress: ProgressCallback) -> None:
        sizes = {
            blob.digest: staging.get_size(blob.digest)
            if staging.is_complete(blob.digest)
            else content.blobs[blob.digest][1]
            for image in bundle.images
            for blob in image.list_archive_blobs()
        }
        members = build_archive_members(bundle, sizes)
        length = compute_archive_length(members)
        file_sizes = split_archive(length, self.part_size)
        is_split = self.part_size is not None
        name = self.path.name
        names = [format_part_name(name, number) for number in range(len(file_sizes))] if is_split else [name]
        with self._incomplete.hold() as directory:
            self._check_space(length)
            old_paths = [self.path.with_name(old) for old in content.names]
            with JoinedFiles(old_paths) as old_files, SplitWriter(directory, names, file_sizes) as writer:
                done = 0
                for chunk in _iter_archive(members, staging, content, old_files):
                    writer.write(chunk)
                    done += len(chunk)
                    progress(f"writing {name}", done, length)
            verify_written(directory, writer.written, lambda read: progress(f"verifying {name}", read, length))
            texts = {
                name + TEXT_SUFFIX: format_instructions(name, bundle, is_split),
                name + CHECKSUM_SUFFIX: format_checksums(writer.written),
            }
            for text_name, text in texts.items():
                with open(directory / text_name, "w", encoding="ascii", opener=open_private) as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
            self._publish(directory, names, list(texts))

    def _check_space(self, length: int) -> None:
        disk = read_disk_space(str(self.path.parent))
        if disk and disk.free_bytes < length:
            raise ImageError(
                f"target_archive_path: too little disk space: {disk.path} has {disk.free_bytes} bytes free, the "
                f"archive needs {length}. Free space there, or set another path."
            )

    def _publish(self, directory: Path, names: list[str], text_names: list[str]) -> None:
        """Gives the files their final names. The list of checksums is the last: without it, no archive is complete."""
        parent = self.path.parent
        with suppress(FileNotFoundError):
            os.unlink(parent / text_names[-1])
            store_names(parent)
        for name in names:
            os.replace(directory / name, parent / name)
        # From the last one on, so that a killed run leaves no gap.
        for name in sorted(self._list_all_names() - set(names), reverse=True):
            os.unlink(parent / name)
        for name in text_names:
            store_names(parent)
            os.replace(directory / name, parent / name)
        store_names(parent)

    def _format_error(self, error: OSError) -> str:
        reason = f"target_archive_path: {self.path} cannot be written: {error.strerror or error}"
        remediation = "Check the medium and its permissions, or set another path"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remediation = "Free space there, or set another path"
        elif error.errno == errno.EFBIG:
            remediation = "Its file system takes no file of this size: set target_archive_part_size"
        return f"{reason}. {remediation}, and run again."


def _check_path(text: Optional[str]) -> Path:
    """Checks the path of the archive: an absolute path in a directory that exists and that this user may write to."""
    if not text:
        raise ImageError("target_archive_path: is required with engine=archive. Set it to the path of a file.")
    path = Path(text)
    if not text.startswith("/") or re.search(r"[\x00-\x1f]", text):
        raise ImageError(
            f"target_archive_path: {text!r} is not an absolute path. Set the whole path of the file, such as "
            "/media/usb/images.tar."
        )
    if text.endswith("/") or path.is_dir():
        raise ImageError(f"target_archive_path: {text} is a directory. Name a file in it, such as images.tar.")
    if not is_file_name(path.name):
        raise ImageError(
            f"target_archive_path: {path.name!r} is no file name for media. Use letters, digits, '.', '_' and '-', and "
            "begin with a letter or digit."
        )
    if not path.parent.is_dir():
        raise ImageError(
            f"target_archive_path: {path.parent} is no directory. Create it, or mount the medium there, and run again."
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ImageError(
            f"target_archive_path: user id {os.geteuid()} may not write to {path.parent}. Change its permissions, use "
            "become, or set another path."
        )
    return path


class _ArchiveReader:
    """Reads the members of an archive in their order. Each has exactly the header with which it would be written."""

    def __init__(self, files: JoinedFiles, verify: bool) -> None:
        self._files, self._verify, self._offset = files, verify, 0
        self._hashes = [hashlib.sha256() for _size in files.sizes]
        self.documents: dict[str, bytes] = {}
        self.blobs: dict[str, tuple[int, int]] = {}
        self.problem: Optional[str] = None

    def read(self) -> None:
        """Reads all members. Raises ImageError at the first one that is damaged; the blobs before it count."""
        for _number in range(_MAX_MEMBERS):
            block = b"".join(self._take(BLOCK_SIZE))
            if is_end(block):
                if block + b"".join(self._take(BLOCK_SIZE)) != END_OF_ARCHIVE or self._offset != self._files.length:
                    raise ImageError("it has no proper end")
                return
            if len(block) < BLOCK_SIZE:
                raise ImageError("it is truncated")
            name, size = parse_header(block)
            if self._offset + size > self._files.length:
                raise ImageError(f"it is truncated within {name}")
            self._read_member(name, size)
            padding = -size % BLOCK_SIZE
            if b"".join(self._take(padding)) != bytes(padding):
                raise ImageError(f"it is damaged behind {name}")
        raise ImageError(f"it has more than {_MAX_MEMBERS} files")

    def finish(self) -> list[str]:
        """Reads what remains, and returns the sha256 of each file; nothing where digests are not verified."""
        if not self._verify:
            return []
        for _chunk in self._take(self._files.length - self._offset):
            pass
        return [found.hexdigest() for found in self._hashes]

    def _read_member(self, name: str, size: int) -> None:
        if name in DOCUMENTS:
            if size > MANIFEST_LIMIT:
                raise ImageError(f"its {name} has {size} bytes")
            self.documents[name] = b"".join(self._take(size))
            return
        offset, digest = self._offset, str(parse_blob_name(name))
        if not self._verify:
            self._offset += size
            self.blobs[digest] = (offset, size)
            return
        found = hashlib.sha256()
        for chunk in self._take(size):
            found.update(chunk)
        if found.hexdigest() == get_digest_hex(digest):
            self.blobs[digest] = (offset, size)
        else:
            self.problem = f"its blob {digest} is damaged"

    def _take(self, length: int) -> Iterator[bytes]:
        """Yields the next bytes, and adds them to the sha256 of their files."""
        for chunk in self._files.iter_chunks(self._offset, length):
            if self._verify:
                self._hash_chunk(chunk)
            self._offset += len(chunk)
            yield chunk

    def _hash_chunk(self, chunk: bytes) -> None:
        # No chunk crosses the border of two files.
        begin = 0
        for found, size in zip(self._hashes, self._files.sizes):
            if begin <= self._offset < begin + size:
                found.update(chunk)
                return
            begin += size


def _read_first_block(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(BLOCK_SIZE)


def _iter_archive(
    members: Collection[ArchiveMember], staging: Staging, content: ArchiveContent, old_files: JoinedFiles
) -> Iterator[bytes]:
    """Yields the bytes of the archive. Raises BlobError for a blob that does not match its digest."""
    for member in members:
        yield build_header(member.name, member.size)
        digest = parse_blob_name(member.name)
        if member.content is not None:
            yield member.content
        elif digest is not None:
            yield from _iter_blob(digest, member.size, staging, content, old_files)
        yield bytes(member.padding)
    yield END_OF_ARCHIVE


def _iter_blob(
    digest: str, size: int, staging: Staging, content: ArchiveContent, old_files: JoinedFiles
) -> Iterator[bytes]:
    is_staged = staging.is_complete(digest)
    found, done = hashlib.sha256(), 0
    for chunk in _read_staged(staging, digest) if is_staged else old_files.iter_chunks(*content.blobs[digest]):
        found.update(chunk)
        done += len(chunk)
        yield chunk
    if done != size or found.hexdigest() != get_digest_hex(digest):
        raise BlobError(digest, is_staged)


def _read_staged(staging: Staging, digest: str) -> Iterator[bytes]:
    with open(staging.get_path(digest), "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
