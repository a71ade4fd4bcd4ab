# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that an engine still writes: one thread stages them, others send them on while they grow."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Callable, Optional

from .errors import ImageError
from .http import Readable
from .staging import CHUNK, Staging
from .transfer import BlobSource, Piece, Transfer

_LOOK_SECONDS = 1.0


@dataclass
class _Growing:
    """A blob that is being written: where, how long it will be, how long it is."""

    path: Path
    size: int
    done: int = 0


class Arrivals(BlobSource):
    """What comes into a staging folder, and how far it is. A source of blobs for as long as it lasts.

    C(check) is called while somebody waits; it raises where there is nothing to wait for any longer.
    """

    def __init__(self, staging: Staging, check: Callable[[], None]) -> None:
        self.staging = staging
        self._check = check
        self._growing: dict[str, _Growing] = {}
        self._ended = False
        self._error: Optional[ImageError] = None
        self._changed = threading.Condition()

    # The thread that writes

    def begin(self, digest: str, path: Path, size: int) -> None:
        """A blob of this size begins to grow; its digest is a claim until it is settled."""
        with self._changed:
            self._growing[digest] = _Growing(path, size)
            self._changed.notify_all()

    def grow(self, digest: str, done: int) -> None:
        with self._changed:
            self._growing[digest].done = done
            self._changed.notify_all()

    def settle(self, digest: str) -> None:
        """The blob is complete in the staging folder, or was not what was claimed."""
        with self._changed:
            self._growing.pop(digest, None)
            self._changed.notify_all()

    def end(self, error: Optional[ImageError] = None) -> None:
        """Nothing more comes."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    # Those that read

    def order(self, pieces: Sequence[Piece]) -> Iterator[Optional[Piece]]:
        """These as they come."""
        left = list(pieces)
        while left:
            with self._changed:
                there = [piece for piece in left if self._there(piece.digest)]
                if not there:
                    self._wait()
            for piece in there:
                left.remove(piece)
                yield replace(piece, size=self._size(piece.digest))
            if not there:
                yield None

    def _size(self, digest: str) -> int:
        with self._changed:
            growing = self._growing.get(digest)
            if not growing and not self.staging.complete(digest):
                raise self._wrong(digest)
        return growing.size if growing else self.staging.size(digest)

    @contextmanager
    def open(self, transfer: Transfer) -> Iterator[Readable]:
        """One that has come; its last byte is given when its digest has been found right."""
        with self._changed:
            growing = self._growing.get(transfer.digest)
            # Within the lock, so that what stands at the path is still what was told.
            file = self._file(transfer.digest, growing)
        with file:
            file.seek(transfer.offset)
            yield _Follower(self, transfer.digest, file, growing) if growing else file

    def allowed(self, digest: str, growing: _Growing, offset: int) -> int:
        """How many bytes there are to read behind the offset, after some time at the latest; 0 at the end."""
        with self._changed:
            while self._growing.get(digest) is growing:
                there = min(growing.done, growing.size - 1) - offset
                if there > 0:
                    return there
                self._wait()
            if not self.staging.complete(digest):
                raise self._wrong(digest)
        return growing.size - offset

    def _file(self, digest: str, growing: Optional[_Growing]) -> IO[bytes]:
        # One that is in its place already may not be settled yet.
        for path in ([growing.path] if growing else []) + [self.staging.path(digest)]:
            with suppress(FileNotFoundError):
                return open(path, "rb")
        raise self._wrong(digest)

    def _wrong(self, digest: str) -> ImageError:
        return self._error or ImageError(f"{digest}: the engine gave other content under this digest.")

    def _there(self, digest: str) -> bool:
        return digest in self._growing or self.staging.complete(digest)

    def _wait(self) -> None:
        if self._ended:
            raise self._error or ImageError("the engine has given less than it has.")
        self._check()
        self._changed.wait(_LOOK_SECONDS)


class _Follower:
    """A blob that grows as a file to read."""

    def __init__(self, arrivals: Arrivals, digest: str, file: IO[bytes], growing: _Growing) -> None:
        self._arrivals = arrivals
        self._digest = digest
        self._file = file
        self._growing = growing

    def read(self, n: int = CHUNK, /) -> bytes:
        return self._file.read(min(n, self._arrivals.allowed(self._digest, self._growing, self._file.tell())))
