# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staging directory of a transfer on a host. It holds blobs in transit, is private, and is removed at the end.

Its name depends on the images of the transfer. A killed run leaves it. The next run of the same transfer finds it,
resumes there and removes it.
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
# A transfer that was not resumed for this long is abandoned. The next transfer removes its directory.
_ABANDONED_AFTER_SECONDS = 7 * 86400.0
_LOCK_NAME = "in_use"
# The temporary files of podman programs, which podman leaves where it is killed.
PODMAN_DIRECTORY = "podman-temporary-files"
# The names of staging directories, also during their removal. The root, any directory, may hold files of others.
_STAGING_NAME = re.compile(
    rf"((?:saved|loaded)-[0-9a-f]{{20}}|push-[0-9a-f]{{32}}|{PODMAN_DIRECTORY})(\.removed-[0-9-]+)?"
)
_CREATE_ATTEMPTS = 100


def is_staging_name(name: str) -> bool:
    """Whether this is the name of a staging directory."""
    return _STAGING_NAME.fullmatch(name) is not None


def get_default_root() -> str:
    """Gets the parent of the staging directories, one per user. It is in /var/tmp since /tmp is often small."""
    return f"/var/tmp/daytwo-image-transfer-{os.geteuid()}"  # noqa: S108  create() refuses a directory of another user


def get_root(staging_dir: Optional[str]) -> str:
    """Gets the option's directory, or the default. A relative path would depend on the directory of Ansible's call."""
    if staging_dir and not os.path.isabs(staging_dir):
        raise ImageError(f"staging_dir: {staging_dir!r} is not absolute. Set a path that begins with /.")
    return staging_dir or get_default_root()


def check_root(root: str) -> None:
    """Refuses an existing directory of another user. Creates nothing."""
    if os.path.lexists(root):
        _check_ownership(Path(root))


class Staging:
    """The files of a transfer. C(root) is created if it is missing, and must belong to this user alone."""

    def __init__(self, root: str, key: str) -> None:
        self.root = Path(root)
        self.directory = self.root / key
        self._blobs = self.directory / "blobs"

    def create(self) -> None:
        """Creates the directory. Refuses one that another user could have prepared or could read."""
        try:
            for attempt in range(_CREATE_ATTEMPTS):
                try:
                    return self._create()
                except (FileNotFoundError, FileExistsError):  # a run that ended removed it between two steps
                    if attempt == _CREATE_ATTEMPTS - 1:
                        raise
        except OSError as error:
            raise ImageError(
                f"staging_dir: cannot create {self.directory}: {error.strerror}. Set a staging_dir that user id "
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
        """Gets the path of a complete blob. Its content counts only after C(verify)."""
        return self._blobs / get_digest_hex(digest)

    def get_partial_path(self, digest: str) -> Path:
        """Gets the path of a blob that is still received. A rename publishes it."""
        return self._blobs / (get_digest_hex(digest) + ".part")

    def get_incoming_path(self) -> Path:
        """Gets the path for content whose digest is not known yet."""
        return self._blobs / f"incoming-{os.getpid()}.part"

    def get_size(self, digest: str) -> int:
        """Gets the bytes of a blob that are staged, complete or not."""
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
        """Whether the complete blob has its digest. A corrupt blob is removed."""
        if self.matches_digest(digest):
            return True
        self.discard(digest)
        return False

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Creates the directory. While the lock is held, also by a child process, no run removes it."""
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
                # Another run may just have created the directory again, without its content yet.
                self._blobs.mkdir(mode=0o700, exist_ok=True)
                return lock
            lock.close()

    def exists(self) -> bool:
        """Whether a run uses the directory, or was killed in it."""
        return self.directory.exists()

    def remove(self) -> bool:
        """Removes the directory, unless another run uses it: that run removes it."""
        removed = _remove_if_unused(self.directory)
        # The root holds the directory of another transfer; or it was refused, as another user's.
        with suppress(OSError, ImageError):
            _check_ownership(self.root)
            self.root.rmdir()
        return removed

    def _remove_abandoned(self) -> None:
        for directory in self.root.iterdir():
            found = _STAGING_NAME.fullmatch(directory.name)
            if not found or directory == self.directory or directory.is_symlink():
                continue
            if found[2]:  # a run was killed during the removal
                shutil.rmtree(directory, ignore_errors=True)
                continue
            with suppress(FileNotFoundError):  # another run was faster
                if time.time() - directory.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                    _remove_if_unused(directory)


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
            # The rename is atomic, so no run enters a directory that is half removed.
            removed = directory.with_name(f"{directory.name}.removed-{os.getpid()}-{time.time_ns()}")
            directory.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_same_file(lock: IO[str], path: Path) -> bool:
    """Whether the lock file is still the one at this path: a run that ended may have removed its directory."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _check_ownership(directory: Path) -> None:
    found = os.lstat(directory)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return
    raise ImageError(
        f"staging_dir: {directory} is not a directory that only user id {os.geteuid()} can write to "
        f"(owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o}). Remove it, or set another staging_dir."
    )
