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
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Optional

from .errors import ImageError
from .model import get_digest_hex

CHUNK = 1024 * 1024
# A transfer that nobody has come back to for this long is given up, and its folder taken away by the next one.
_ABANDONED_AFTER_SECONDS = 7 * 86400.0
_LOCK_NAME = "in_use"
# Our folders, also those that are being removed. Whatever else is in the root is somebody's: staging_dir is any folder.
_STAGING_NAME = re.compile(r"((?:saved|loaded)-[0-9a-f]{20}|push-[0-9a-f]{32})(\.removed-[0-9-]+)?")
_CREATE_ATTEMPTS = 100


def is_staging_name(name: str) -> bool:
    """Whether a staging folder has such a name."""
    return _STAGING_NAME.fullmatch(name) is not None


def get_default_root() -> str:
    """The folder that holds staging folders, one per user; /var/tmp since /tmp is often small and in memory."""
    return f"/var/tmp/daytwo-image-transfer-{os.geteuid()}"  # noqa: S108  create() refuses one that is not ours


def get_root(staging_dir: Optional[str]) -> str:
    """The folder that the option names, or the default. A relative one would depend on where Ansible's call stands."""
    if staging_dir and not os.path.isabs(staging_dir):
        raise ImageError(f"staging_dir: {staging_dir!r} is not absolute. Give it from / on.")
    return staging_dir or get_default_root()


def check_root(root: str) -> None:
    """Refuses a folder that is there and is not ours, without making anything."""
    if os.path.lexists(root):
        _check_ownership(Path(root))


class Staging:
    """Files of one transfer. C(root) is created when it is missing and must belong to this user alone."""

    def __init__(self, root: str, key: str) -> None:
        self.root = Path(root)
        self.directory = self.root / key
        self._blobs = self.directory / "blobs"

    def create(self) -> None:
        """Makes the folder. Refuses one that somebody else could have prepared or could read."""
        try:
            for attempt in range(_CREATE_ATTEMPTS):
                try:
                    return self._create()
                except (FileNotFoundError, FileExistsError):  # removed by a run that ended, between two of our steps
                    if attempt == _CREATE_ATTEMPTS - 1:
                        raise
        except OSError as error:
            raise ImageError(
                f"staging_dir: cannot make {self.directory}: {error.strerror}. Give a staging_dir that user id "
                f"{os.geteuid()} may write to."
            ) from error

    def _create(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_ownership(self.root)
        self._remove_abandoned()
        self.directory.mkdir(mode=0o700, exist_ok=True)
        _check_ownership(self.directory)
        self._blobs.mkdir(mode=0o700, exist_ok=True)
        os.utime(self.directory)

    def get_path(self, digest: str) -> Path:
        """Where a complete blob stands. It counts as content only after C(verify)."""
        return self._blobs / get_digest_hex(digest)

    def get_partial_path(self, digest: str) -> Path:
        """Where a blob grows; published by rename."""
        return self._blobs / (get_digest_hex(digest) + ".part")

    def get_incoming_path(self) -> Path:
        """Where content grows whose digest is not known yet."""
        return self._blobs / f"incoming-{os.getpid()}.part"

    def get_size(self, digest: str) -> int:
        """The bytes of a blob that are here, complete or not."""
        for path in (self.get_path(digest), self.get_partial_path(digest)):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                continue
        return 0

    def is_complete(self, digest: str) -> bool:
        return self.get_path(digest).exists()

    def publish(self, digest: str) -> None:
        os.replace(self.get_partial_path(digest), self.get_path(digest))

    def discard(self, digest: str) -> None:
        for path in (self.get_path(digest), self.get_partial_path(digest)):
            path.unlink(missing_ok=True)

    def matches_digest(self, digest: str) -> bool:
        """Whether the complete blob has its digest."""
        found = hashlib.sha256()
        with open(self.get_path(digest), "rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
        return found.hexdigest() == get_digest_hex(digest)

    def verify(self, digest: str) -> bool:
        """Whether the complete blob has its digest; one that has not is taken away."""
        if self.matches_digest(digest):
            return True
        self.discard(digest)
        return False

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Makes the folder. While this lasts, also in a child process, nobody removes it."""
        with self._acquire_shared_lock():
            yield

    def _acquire_shared_lock(self) -> IO[str]:
        while True:
            self.create()
            try:
                lock = open(self.directory / _LOCK_NAME, "a", opener=open_private)  # noqa: SIM115  the caller closes it
            except FileNotFoundError:
                continue
            fcntl.flock(lock, fcntl.LOCK_SH)
            if _is_same_file(lock, self.directory / _LOCK_NAME):
                # The folder may be one that another run has just made anew, without what is in it yet.
                self._blobs.mkdir(mode=0o700, exist_ok=True)
                return lock
            lock.close()

    def exists(self) -> bool:
        """Whether a run is at work here, or was killed here."""
        return self.directory.exists()

    def remove(self) -> bool:
        """Removes the folder, unless another run works in it: then that run will."""
        removed = _remove_if_unused(self.directory)
        # Another transfer's folder is in it; or it was refused, and is somebody else's.
        with suppress(OSError, ImageError):
            _check_ownership(self.root)
            self.root.rmdir()
        return removed

    def _remove_abandoned(self) -> None:
        for folder in self.root.iterdir():
            found = _STAGING_NAME.fullmatch(folder.name)
            if not found or folder == self.directory or folder.is_symlink():
                continue
            if found[2]:  # its run was killed while it removed it
                shutil.rmtree(folder, ignore_errors=True)
                continue
            with suppress(FileNotFoundError):  # another run was faster
                if time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                    _remove_if_unused(folder)


def open_private(path: str, flags: int) -> int:
    """Opens files so that only this user can read them."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _remove_if_unused(directory: Path) -> bool:
    try:
        with open(directory / _LOCK_NAME, "a", opener=open_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not _is_same_file(lock, directory / _LOCK_NAME):
                return False
            # At once, so that no run comes into a folder that is half removed.
            removed = directory.with_name(f"{directory.name}.removed-{os.getpid()}-{time.time_ns()}")
            directory.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_same_file(lock: IO[str], path: Path) -> bool:
    """Whether a lock is still the one at this path: a run that ended may have removed its folder before it was ours."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _check_ownership(directory: Path) -> None:
    found = os.lstat(directory)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return
    raise ImageError(
        f"staging_dir: {directory} is not a folder that only user id {os.geteuid()} can write to (owner {found.st_uid}, "
        f"mode {stat.S_IMODE(found.st_mode):04o}). Remove it, or give another staging_dir."
    )
