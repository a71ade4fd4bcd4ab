# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uncompresses a file in gzip's format as a stream, in bounded memory: a small file may claim any size."""

from __future__ import annotations

import zlib

from ..errors import ImageError
from ..staging import CHUNK

# zlib's number for gzip's header and checksum.
_GZIP_FORMAT = 31
_MAGIC = b"\x1f\x8b"
# Small, since the rest of a read is copied for each member of the file.
_READ_BYTES = 32 * 1024
# bgzip begins a member for each 64 KiB.
_MAX_MEMBERS = 1_000_000
_MAX_BYTES = 256 * 1024**3


def is_gzip(path: str) -> bool:
    """Whether a file is in gzip's format. One that cannot be read is not."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class GzipStream:
    """The uncompressed content of a file. Raises ImageError where the file is damaged, truncated or too large."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "rb")  # noqa: SIM115  close() closes it
        self._decompressor = zlib.decompressobj(_GZIP_FORMAT)
        self._compressed = b""
        self._members = 1
        self._bytes_read = 0
        self._ended = False

    def read(self, size: int = CHUNK, /) -> bytes:
        """Reads up to C(size) bytes; none at the end only."""
        while size > 0 and not self._ended:
            if self._decompressor.eof and not self._begin_member():
                break
            compressed = self._compressed or self._file.read(_READ_BYTES)
            try:
                data = self._decompressor.decompress(compressed, size)
            except zlib.error as error:
                raise self._make_error(f"is damaged: {error}. Copy or save it again") from error
            self._compressed = self._decompressor.unconsumed_tail
            if data:
                self._bytes_read += len(data)
                if self._bytes_read > _MAX_BYTES:
                    raise self._make_error(f"has more than {_MAX_BYTES} bytes. Uncompress it, and name the result")
                return data
            if not compressed and not self._decompressor.eof:
                raise self._make_error("is truncated: its compressed content has no end. Copy or save it again")
        return b""

    def _begin_member(self) -> bool:
        """Begins the next member, of which the content is the continuation. Padding and other bytes end the file."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest:
            compressed = self._file.read(_READ_BYTES)
            if not compressed:
                break
            rest = compressed.lstrip(b"\0")
        self._ended = not rest.startswith(_MAGIC[:1])
        if self._ended:
            return False
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise self._make_error(f"has more than {_MAX_MEMBERS} parts. Uncompress it, and name the result")
        self._decompressor, self._compressed = zlib.decompressobj(_GZIP_FORMAT), rest
        return True

    def _make_error(self, problem: str) -> ImageError:
        return ImageError(f"archive_path: {self._path} is compressed with gzip, and {problem}.")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> GzipStream:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
