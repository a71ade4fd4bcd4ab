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
from .transfer import BlobDescriptor, BlobSource, TransferRequest

_POLL_SECONDS = 1.0


@dataclass
class _GrowingBlob:
    """A blob that is being written: where, how long it will be, how long it is."""

    path: Path
    size: int
    bytes_written: int = 0


class GrowingBlobs(BlobSource):
    """What comes into a staging folder, and how far it is. A source of blobs for as long as it lasts.

    C(check) is called while somebody waits; it raises where there is nothing to wait for any longer.
    """

    def __init__(self, staging: Staging, raise_if_stopped: Callable[[], None]) -> None:
        self.staging = staging
        self._raise_if_stopped = raise_if_stopped
        self._growing: dict[str, _GrowingBlob] = {}
        self._ended = False
        self._error: Optional[ImageError] = None
        self._changed = threading.Condition()

    # The thread that writes

    def begin_blob(self, digest: str, path: Path, size: int) -> None:
        """A blob of this size begins to grow; its digest is a claim until it is settled."""
        with self._changed:
            self._growing[digest] = _GrowingBlob(path, size)
            self._changed.notify_all()

    def grow_blob(self, digest: str, bytes_written: int) -> None:
        with self._changed:
            self._growing[digest].bytes_written = bytes_written
            self._changed.notify_all()

    def finish_blob(self, digest: str) -> None:
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

    def iter_available(self, blobs: Sequence[BlobDescriptor]) -> Iterator[Optional[BlobDescriptor]]:
        """These as they come."""
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
        """One that has come; its last byte is given when its digest has been found right."""
        with self._changed:
            growing = self._growing.get(transfer.digest)
            # Within the lock, so that what stands at the path is still what was told.
            file = self._open_file(transfer.digest, growing)
        with file:
            file.seek(transfer.offset)
            yield _GrowingBlobReader(self, transfer.digest, file, growing) if growing else file

    def wait_for_bytes(self, digest: str, growing: _GrowingBlob, offset: int) -> int:
        """How many bytes there are to read behind the offset, after some time at the latest; 0 at the end."""
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
        # One that is in its place already may not be settled yet.
        for path in ([growing.path] if growing else []) + [self.staging.get_path(digest)]:
            with suppress(FileNotFoundError):
                return open(path, "rb")
        raise self._make_content_error(digest)

    def _make_content_error(self, digest: str) -> ImageError:
        return self._error or ImageError(f"{digest}: the engine gave other content under this digest.")

    def _is_available(self, digest: str) -> bool:
        return digest in self._growing or self.staging.is_complete(digest)

    def _wait(self) -> None:
        if self._ended:
            raise self._error or ImageError("the engine has given less than it has.")
        self._raise_if_stopped()
        self._changed.wait(_POLL_SECONDS)


class _GrowingBlobReader:
    """A blob that grows as a file to read."""

    def __init__(self, growing_blobs: GrowingBlobs, digest: str, file: IO[bytes], growing: _GrowingBlob) -> None:
        self._growing_blobs = growing_blobs
        self._digest = digest
        self._file = file
        self._growing = growing

    def read(self, n: int = CHUNK, /) -> bytes:
        return self._file.read(
            min(n, self._growing_blobs.wait_for_bytes(self._digest, self._growing, self._file.tell()))
        )
