# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs that an engine still exports: one thread stages them, other threads send them while they grow."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Callable, Optional

from .blobs import BlobDescriptor, BlobSource, TransferRequest
from .errors import ImageError
from .http.body import Readable
from .staging import CHUNK, Staging

_POLL_SECONDS = 1.0


@dataclass
class _GrowingBlob:
    """A blob that is being written: its path, its final size, and the bytes written so far."""

    path: Path
    size: int
    bytes_written: int = 0


class GrowingBlobs(BlobSource):
    """The blobs that arrive in a staging directory, and how much of each has arrived; a source of blobs.

    C(raise_if_stopped) is called while a reader waits. It raises where the transfer was cancelled.
    """

    def __init__(self, staging: Staging, raise_if_stopped: Callable[[], None]) -> None:
        self.staging = staging
        self._raise_if_stopped = raise_if_stopped
        self._growing: dict[str, _GrowingBlob] = {}
        self._ended = False
        self._error: Optional[ImageError] = None
        self._changed = threading.Condition()

    # For the thread that writes

    def begin_blob(self, digest: str, path: Path, size: int) -> None:
        """A blob of this size begins to grow. Its digest is not verified before C(finish_blob)."""
        with self._changed:
            self._growing[digest] = _GrowingBlob(path, size)
            self._changed.notify_all()

    def grow_blob(self, digest: str, bytes_written: int) -> None:
        with self._changed:
            self._growing[digest].bytes_written = bytes_written
            self._changed.notify_all()

    def finish_blob(self, digest: str) -> None:
        """The blob is complete in the staging directory, or its content did not match its digest."""
        with self._changed:
            self._growing.pop(digest, None)
            self._changed.notify_all()

    def end(self, error: Optional[ImageError] = None) -> None:
        """No more blobs arrive."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    # For the threads that read

    def iter_available(self, blobs: Sequence[BlobDescriptor]) -> Iterator[Optional[BlobDescriptor]]:
        """Yields these blobs in the order in which they arrive."""
        remaining = list(blobs)
        while remaining:
            with self._changed:
                available = [blob for blob in remaining if self._is_available(blob.digest)]
                if not available:
                    self._wait()
            for blob in available:
                remaining.remove(blob)
                yield replace(blob, size=self._get_size(blob.digest))
            if not available:
                yield None

    def _get_size(self, digest: str) -> int:
        with self._changed:
            growing = self._growing.get(digest)
            if not growing and not self.staging.is_complete(digest):
                raise self._make_content_error(digest)
        return growing.size if growing else self.staging.get_size(digest)

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[Readable]:
        """Opens a blob that has begun to arrive. Its last byte is returned once its digest is verified."""
        with self._changed:
            growing = self._growing.get(transfer.digest)
            # Within the lock, so that the file at the path is still the announced blob.
            file = self._open_file(transfer.digest, growing)
        with file:
            file.seek(transfer.offset)
            yield _GrowingBlobReader(self, transfer.digest, file, growing) if growing else file

    def wait_for_bytes(self, digest: str, growing: _GrowingBlob, offset: int) -> int:
        """Waits until bytes behind the offset are readable, and returns their number; 0 at the end."""
        with self._changed:
            while self._growing.get(digest) is growing:
                available = min(growing.bytes_written, growing.size - 1) - offset
                if available > 0:
                    return available
                self._wait()
            if not self.staging.is_complete(digest):
                raise self._make_content_error(digest)
        return growing.size - offset

    def _open_file(self, digest: str, growing: Optional[_GrowingBlob]) -> IO[bytes]:
        # A blob that is already published may still be registered as growing.
        for path in ([growing.path] if growing else []) + [self.staging.get_path(digest)]:
            with suppress(FileNotFoundError):
                return open(path, "rb")
        raise self._make_content_error(digest)

    def _make_content_error(self, digest: str) -> ImageError:
        return self._error or ImageError(f"{digest}: the source exported content that does not match this digest.")

    def _is_available(self, digest: str) -> bool:
        return digest in self._growing or self.staging.is_complete(digest)

    def _wait(self) -> None:
        if self._ended:
            raise self._error or ImageError("the export ended before all blobs arrived.")
        self._raise_if_stopped()
        self._changed.wait(_POLL_SECONDS)


class _GrowingBlobReader:
    """Reads a growing blob like a file."""

    def __init__(self, growing_blobs: GrowingBlobs, digest: str, file: IO[bytes], growing: _GrowingBlob) -> None:
        self._growing_blobs = growing_blobs
        self._digest = digest
        self._file = file
        self._growing = growing

    def read(self, n: int = CHUNK, /) -> bytes:
        return self._file.read(
            min(n, self._growing_blobs.wait_for_bytes(self._digest, self._growing, self._file.tell()))
        )
