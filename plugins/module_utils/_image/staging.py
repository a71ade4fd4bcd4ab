# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staging folder of one transfer on a host: blobs on their way, only for this user, removed at the end.

The folder is named after what is transferred. A run that was killed leaves it, and the next run of the same transfer
finds it, goes on from there and removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import ImageError
from .model import hex_of

CHUNK = 1024 * 1024
# A transfer that nobody has come back to for this long is given up, and its folder taken away by the next one.
_ABANDONED_AFTER = 7 * 86400.0
_LOCK = "in_use"


def default_root() -> str:
    """The folder that holds staging folders, one per user; /var/tmp since /tmp is often small and in memory."""
    return f"/var/tmp/daytwo-image-transfer-{os.geteuid()}"  # noqa: S108  create() refuses one that is not ours


class Staging:
    """Files of one transfer. C(root) is created when it is missing and must belong to this user alone."""

    def __init__(self, root: str, key: str) -> None:
        self.root = Path(root)
        self.folder = self.root / key
        self._blobs = self.folder / "blobs"

    def create(self) -> None:
        """Makes the folder. Refuses one that somebody else could have prepared or could read."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _must_be_ours(self.root)
            self._remove_abandoned()
            self._blobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            _must_be_ours(self.folder)
            os.utime(self.folder)
        except OSError as error:
            raise ImageError(
                f"staging_dir: cannot make {self.folder}: {error.strerror}. Give a staging_dir that user id "
                f"{os.geteuid()} may write to."
            ) from error

    def path(self, digest: str) -> Path:
        """Where a complete blob stands. It counts as content only after C(verify)."""
        return self._blobs / hex_of(digest)

    def part(self, digest: str) -> Path:
        """Where a blob grows; published by rename."""
        return self._blobs / (hex_of(digest) + ".part")

    def incoming(self) -> Path:
        """Where content grows whose digest is not known yet."""
        return self._blobs / f"incoming-{os.getpid()}.part"

    def size(self, digest: str) -> int:
        """The bytes of a blob that are here, complete or not."""
        for path in (self.path(digest), self.part(digest)):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                continue
        return 0

    def complete(self, digest: str) -> bool:
        return self.path(digest).exists()

    def publish(self, digest: str) -> None:
        os.replace(self.part(digest), self.path(digest))

    def discard(self, digest: str) -> None:
        for path in (self.path(digest), self.part(digest)):
            path.unlink(missing_ok=True)

    def verify(self, digest: str) -> bool:
        """Whether the complete blob has its digest; one that has not is taken away."""
        found = hashlib.sha256()
        with open(self.path(digest), "rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
        if found.hexdigest() == hex_of(digest):
            return True
        self.discard(digest)
        return False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Makes the folder. While this lasts, also in a child process, nobody removes it."""
        with self._shared_lock():
            yield

    def _shared_lock(self) -> IO[str]:
        while True:
            self.create()
            try:
                lock = open(self.folder / _LOCK, "a", opener=private_opener)  # noqa: SIM115  the caller closes it
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_SH)
            # A run that ended in between may have removed the folder, and this lock with it.
            if os.fstat(lock.fileno()).st_nlink:
                return lock
            lock.close()

    def exists(self) -> bool:
        """Whether a run is at work here, or was killed here."""
        return self.folder.exists()

    def remove(self) -> bool:
        """Removes the folder, unless another run works in it: then that run will."""
        removed = _remove_unused(self.folder)
        with suppress(OSError):  # another transfer's folder is in it
            self.root.rmdir()
        return removed

    def _remove_abandoned(self) -> None:
        for folder in self.root.iterdir():
            with suppress(FileNotFoundError):  # another run was faster
                if folder != self.folder and time.time() - folder.stat().st_mtime > _ABANDONED_AFTER:
                    _remove_unused(folder)


def private_opener(path: str, flags: int) -> int:
    """Opens files so that only this user can read them."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _remove_unused(folder: Path) -> bool:
    try:
        with open(folder / _LOCK, "a", opener=private_opener) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            shutil.rmtree(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _must_be_ours(folder: Path) -> None:
    found = os.lstat(folder)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return
    raise ImageError(
        f"staging_dir: {folder} is not a folder that only user id {os.geteuid()} can write to (owner {found.st_uid}, "
        f"mode {stat.S_IMODE(found.st_mode):04o}). Remove it, or give another staging_dir."
    )
