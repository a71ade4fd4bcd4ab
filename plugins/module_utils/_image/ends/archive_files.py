# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an archive on a disk: read across parts, written into parts, verified, and published by rename."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Callable, Optional

from ..errors import ImageError
from ..formats.portable_archive import ArchiveFile
from ..staging import CHUNK, open_private

_LOCK_NAME = "in_use"


class JoinedFiles:
    """Files that are read as one, in their order. One of them is open at a time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self.sizes = tuple(os.path.getsize(path) for path in paths)
        self._open: Optional[tuple[Path, IO[bytes]]] = None

    @property
    def length(self) -> int:
        return sum(self.sizes)

    def iter_chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yields these bytes. No chunk has bytes of two files. They are fewer where the files end before."""
        begin = 0
        for path, size in zip(self._paths, self.sizes):
            first, last = max(offset, begin), min(offset + length, begin + size)
            if first < last:
                file = self._open_file(path)
                file.seek(first - begin)
                remaining = last - first
                while remaining and (chunk := file.read(min(CHUNK, remaining))):
                    remaining -= len(chunk)
                    yield chunk
            begin += size

    def read(self, offset: int, length: int) -> bytes:
        return b"".join(self.iter_chunks(offset, length))

    def _open_file(self, path: Path) -> IO[bytes]:
        if self._open is None or self._open[0] != path:
            self.close()
            self._open = path, open(path, "rb")  # noqa: SIM115  closed below
        return self._open[1]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def __enter__(self) -> JoinedFiles:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class SplitWriter:
    """Writes a stream into files of given sizes, and computes the sha256 of each."""

    def __init__(self, directory: Path, names: Sequence[str], sizes: Sequence[int]) -> None:
        self._directory = directory
        self._remaining = list(zip(names, sizes))
        self._file: Optional[IO[bytes]] = None
        self._space, self._hash, self._begun = 0, hashlib.sha256(), (names[0], 0)
        self.written: list[ArchiveFile] = []

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._file is None:
                self._open_next()
            chunk = view[: self._space]
            if self._file is not None:
                self._file.write(chunk)
            self._hash.update(chunk)
            self._space -= len(chunk)
            view = view[len(chunk) :]
            if not self._space:
                self._finish_file()

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _open_next(self) -> None:
        name, size = self._remaining.pop(0)
        self._file = open(self._directory / name, "wb", opener=open_private)  # noqa: SIM115  closed when it is full
        self._space, self._hash, self._begun = size, hashlib.sha256(), (name, size)

    def _finish_file(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        self.written.append(ArchiveFile(*self._begun, self._hash.hexdigest()))

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def verify_written(directory: Path, files: Sequence[ArchiveFile], progress: Callable[[int], None]) -> None:
    """Reads the files back from the disk. Raises ImageError if it returns other bytes than were written."""
    done = 0
    for file in files:
        found = hashlib.sha256()
        with open(directory / file.name, "rb") as written:
            # From the disk, not from memory.
            with suppress(OSError):
                os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while chunk := written.read(CHUNK):
                found.update(chunk)
                done += len(chunk)
                progress(done)
        if found.hexdigest() != file.sha256:
            raise ImageError(
                f"target_archive_path: {directory.parent} returns other bytes of {file.name} than were written. "
                "Replace the medium, and run again."
            )


class IncompleteArchive:
    """The directory in which an archive is written, beside its final name. A killed run leaves it to the next one."""

    def __init__(self, archive: Path) -> None:
        self.path = archive.with_name(f".{archive.name}.incomplete")

    def exists(self) -> bool:
        return self.path.exists()

    def measure(self) -> int:
        """Sums the bytes that a killed run has left, which the next run frees; 0 while a run uses the directory."""
        try:
            with self._hold_lock("rb"):
                return sum(entry.stat(follow_symlinks=False).st_size for entry in os.scandir(self.path))
        except (ImageError, OSError):
            return 0

    @contextmanager
    def hold(self) -> Iterator[Path]:
        """Creates the directory, empty, and removes it at the end. Raises ImageError while another run uses it."""
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        with self._hold_lock():
            try:
                self._clear()
                yield self.path
            finally:
                self._remove()

    def remove(self) -> bool:
        """Removes what a killed run has left, unless another run uses it."""
        try:
            with self._hold_lock():
                self._remove()
        except (FileNotFoundError, ImageError):
            return False
        return True

    @contextmanager
    def _hold_lock(self, mode: str = "ab") -> Iterator[None]:
        found, parent = os.lstat(self.path), os.stat(self.path.parent)
        # On a file system without owners, all belongs to the user of the mount.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), parent.st_uid):
            raise ImageError(
                f"target_archive_path: {self.path} is not a directory of user id {os.geteuid()}. Remove it, and run "
                "again."
            )
        with open(self.path / _LOCK_NAME, mode, opener=open_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A run that ended has removed its directory.
                is_current = os.path.samestat(os.fstat(lock.fileno()), os.stat(self.path / _LOCK_NAME))
            except (BlockingIOError, FileNotFoundError):
                is_current = False
            if not is_current:
                raise ImageError(
                    f"target_archive_path: another run writes this archive now, in {self.path}. Run again when it has "
                    "ended."
                )
            yield

    def _clear(self) -> None:
        for entry in os.scandir(self.path):
            if entry.name != _LOCK_NAME:
                os.unlink(entry.path)

    def _remove(self) -> None:
        with suppress(OSError):
            self._clear()
            os.unlink(self.path / _LOCK_NAME)
            self.path.rmdir()


def store_names(path: Path) -> None:
    """Writes the names in a directory to its disk, where its file system can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
