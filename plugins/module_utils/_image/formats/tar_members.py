# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a saved image, by name: members of a tar archive, or files of a directory.

A tar archive is listed once. Its members are then read by their offsets, so nothing is extracted. One that is
compressed as a whole has no offsets: its documents are kept while it is listed, and its layers can only be streamed.
Names only identify content: a name that leads out of the archive or of the directory is no name of a blob.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import stat
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO, Optional

from ..errors import ImageError
from ..staging import CHUNK
from .archive import BoundedTarInfo, iterate_members
from .gzip_stream import GzipStream, is_gzip
from .manifest import CONFIG_LIMIT

# An image has at most 127 layers, and docker 20.10 writes four members for each.
_MAX_MEMBERS = 50_000
_MAX_NAME_LENGTH = 300
_MAX_LINKS = 10
# Of an archive that is compressed as a whole: the documents that are kept, and its padding behind its last member.
_MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
_MAX_PADDING_BYTES = 1024 * 1024
_BEGIN_LENGTH = 8
# Each of these stands once: two programs could read two images from an archive in which it stands twice.
_DOCUMENTS = ("index.json", "manifest.json", "oci-layout")
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_COMPRESSIONS = ((ZSTD_MAGIC, "zstd", "unzstd"), (b"\xfd7zXZ\0", "xz", "unxz"), (b"BZh", "bzip2", "bunzip2"))


class FileRange:
    """A range of an open file, which is closed with it."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self._file, self._remaining = file, max(0, length)

    def read(self, n: int = CHUNK, /) -> bytes:
        data = self._file.read(max(0, min(n, self._remaining)))
        self._remaining -= len(data)
        return data

    def __enter__(self) -> FileRange:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()


class SavedFiles(ABC):
    """The files of a saved image. Each name is relative to its top."""

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def get_size(self, name: str) -> Optional[int]:
        """Gets the size of a file; None if there is none of that name."""

    @abstractmethod
    def open(self, name: str, start: int = 0, end: Optional[int] = None) -> FileRange:
        """Opens the bytes of a file from C(start) to before C(end)."""

    def read_begin(self, name: str) -> bytes:
        """Reads the first bytes of a file, which show its compression."""
        with self.open(name, 0, _BEGIN_LENGTH) as file:
            return file.read(_BEGIN_LENGTH)

    def compute_digest(self, name: str) -> str:
        found = hashlib.sha256()
        with self.open(name) as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
        return f"sha256:{found.hexdigest()}"


def open_saved_files(path: str) -> SavedFiles:
    """Opens an archive or a directory. Raises ImageError if it is neither, is damaged, or cannot be uncompressed."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return _Directory(path)
        if not stat.S_ISREG(mode):
            raise ImageError(f"archive_path: {path} is neither a file nor a directory. Name a saved image.")
        return _GzipTarFile(path) if is_gzip(path) else _TarFile(path)
    except OSError as error:
        raise ImageError(
            f"archive_path: cannot read {path}: {error.strerror or error}. Name a file that exists on the source host, "
            "and that the user of the task may read."
        ) from error


class _Directory(SavedFiles):
    """An image layout in a directory. A blob may be a link: its content is verified by its digest."""

    def get_size(self, name: str) -> Optional[int]:
        if not _is_inside(name):
            return None
        try:
            found = os.stat(os.path.join(self.path, name))
        except (OSError, ValueError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open(self, name: str, start: int = 0, end: Optional[int] = None) -> FileRange:
        size = self.get_size(name)
        if size is None:
            raise ImageError(f"archive_path: {self.path} has no {name}.")
        return _open_range(os.path.join(self.path, name), start, size if end is None else min(end, size))


class _Members(SavedFiles):
    """The members of a tar archive: the offset and the size of each file, and the target of each link."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        with self._refuse_damage():
            self._list()

    @abstractmethod
    def _list(self) -> None:
        """Lists the members."""

    def get_size(self, name: str) -> Optional[int]:
        found = self._find(name)
        return self._members[found][1] if found else None

    def _find(self, name: str) -> Optional[str]:
        """Finds the member of a name, which may be a link."""
        for _number in range(_MAX_LINKS):
            if name in self._members:
                return name
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def _find_or_refuse(self, name: str) -> str:
        found = self._find(name)
        if found is None:
            raise self._make_error(f"has no {name}")
        return found

    def _iterate(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for number, member in enumerate(iterate_members(archive), 1):
            if number > _MAX_MEMBERS:
                raise self._make_error(f"has more than {_MAX_MEMBERS} members, so it is no saved image")
            yield member

    def _add_member(self, member: tarfile.TarInfo) -> Optional[str]:
        """Adds a member and returns the name of a file; None for everything else."""
        name = posixpath.normpath(member.name[: _MAX_NAME_LENGTH + 1]).lstrip("/")
        if len(name) > _MAX_NAME_LENGTH or not _is_inside(name):
            return None
        if name in _DOCUMENTS and (name in self._members or name in self._links):
            raise self._make_error(f"has {name} twice, so it could be two images. Save the image again")
        # As in an extraction, the last member of a name counts.
        self._members.pop(name, None)
        self._links.pop(name, None)
        if member.isreg() and not member.issparse():
            self._members[name] = (member.offset_data, member.size)
            return name
        if member.issym() or member.islnk():
            base = posixpath.dirname(name) if member.issym() else ""
            target = posixpath.normpath(posixpath.join(base, member.linkname[: _MAX_NAME_LENGTH + 1]))
            if len(target) <= _MAX_NAME_LENGTH and _is_inside(target):
                self._links[name] = target
        return None

    @contextmanager
    def _refuse_damage(self) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, ArithmeticError, ValueError, RecursionError) as error:
            # tarfile raises ValueError for malformed numbers, and recurses once for each header before a member.
            raise self._make_error(f"is no tar archive, or is damaged: {error}. Save the image again") from error

    def _make_error(self, problem: str) -> ImageError:
        return ImageError(f"archive_path: {self.path} {problem}.")


class _TarFile(_Members):
    """A tar archive that is not compressed."""

    def _list(self) -> None:
        with open(self.path, "rb") as file:
            self._check_compression(file.read(_BEGIN_LENGTH))
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            with tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedTarInfo) as archive:
                for member in self._iterate(archive):
                    if member.isreg() and not member.issparse() and member.size > size - member.offset_data:
                        raise self._make_error(
                            f"ends within {member.name[:_MAX_NAME_LENGTH]!r}, which has {member.size} bytes: it is "
                            "truncated. Copy or save it again"
                        )
                    self._add_member(member)

    def open(self, name: str, start: int = 0, end: Optional[int] = None) -> FileRange:
        offset, size = self._members[self._find_or_refuse(name)]
        return _open_range(self.path, offset + start, offset + (size if end is None else min(end, size)))

    def _check_compression(self, begin: bytes) -> None:
        for magic, name, program in _COMPRESSIONS:
            if begin.startswith(magic):
                raise self._make_error(
                    f"is compressed with {name}, and only gzip is read. Uncompress it with {program}, and name the "
                    "result"
                )


class _GzipTarFile(_Members):
    """A tar archive that is compressed as a whole. It is read once; only its JSON documents can be opened."""

    def _list(self) -> None:
        self._documents: dict[str, bytes] = {}
        self._document_bytes = 0
        self._begins: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        with open_uncompressed(self.path) as stream:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK, tarinfo=BoundedTarInfo) as archive:
                for member in self._iterate(archive):
                    name = self._add_member(member)
                    content = archive.extractfile(member) if name is not None else None
                    if name is not None and content is not None:
                        self._read_member(name, member.size, content)
            # The checksum of the compressed content stands at its end.
            remaining = _MAX_PADDING_BYTES
            while remaining > 0 and (padding := stream.read(remaining)):
                remaining -= len(padding)

    def _read_member(self, name: str, size: int, content: IO[bytes]) -> None:
        chunk = content.read(CHUNK)
        self._begins[name] = chunk[:_BEGIN_LENGTH]
        is_document = name in _DOCUMENTS or chunk.lstrip()[:1] in (b"{", b"[")
        if is_document and size <= min(CONFIG_LIMIT, _MAX_DOCUMENT_BYTES - self._document_bytes):
            self._document_bytes += size
            self._documents[name] = chunk + content.read(size - len(chunk))
            return
        # Only the digest of a layer that is compressed itself is needed: the config has those of the others.
        is_compressed = chunk.startswith((GZIP_MAGIC, ZSTD_MAGIC))
        found = hashlib.sha256()
        while chunk:
            if is_compressed:
                found.update(chunk)
            chunk = content.read(CHUNK)
        if is_compressed:
            self._digests[name] = f"sha256:{found.hexdigest()}"

    def open(self, name: str, start: int = 0, end: Optional[int] = None) -> FileRange:
        data = self._documents.get(self._find_or_refuse(name))
        if data is None:
            raise self._make_error(
                f"is compressed with gzip, and {name} is no JSON, or stands behind {_MAX_DOCUMENT_BYTES} bytes of "
                "other JSON. Uncompress it with gunzip, and name the result"
            )
        return FileRange(io.BytesIO(data[start:end]), len(data))

    def read_begin(self, name: str) -> bytes:
        found = self._find_or_refuse(name)
        return self._documents[found][:_BEGIN_LENGTH] if found in self._documents else self._begins[found]

    def compute_digest(self, name: str) -> str:
        found = self._find_or_refuse(name)
        return self._digests[found] if found in self._digests else super().compute_digest(name)


@contextmanager
def open_uncompressed(path: str) -> Iterator[BinaryIO]:
    """Opens an archive that is compressed with gzip as a stream of its uncompressed bytes."""
    with GzipStream(path) as opened:
        stream: Any = opened  # whoever reads a stream calls read() only
        yield stream


def _is_inside(name: str) -> bool:
    """Whether a name stays below the top."""
    return not name.startswith("/") and ".." not in name.split("/")


def _open_range(path: str, start: int, end: int) -> FileRange:
    file = open(path, "rb")  # noqa: SIM115  the range closes it
    file.seek(start)
    return FileRange(file, end - start)
