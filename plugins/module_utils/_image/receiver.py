# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forced command of an ephemeral key: takes blobs from the source into the folder that this file lies in.

It is copied to the target and run by sshd on its own, so it imports nothing of the collection. Whoever has the key can
do this and nothing else: the blobs that were announced, up to the announced sizes where they were known, into this
folder.

Both sides speak in lines of JSON. Receiver: {"have": {HEX: SIZE}, "complete": [HEX]}. Then for each blob, sender:
{"hex", "offset", "length", "size"} and that many bytes, in frames; receiver: {"hex", "size"}. Empty lines in between
mean that the sender waits for its own source. The end of input ends it.

A frame is its kind (one byte, RAW or DEFLATED), its length (four bytes, the highest first), and so many bytes: of the
blob, or of a zlib stream of its own that holds up to PIECE bytes of it. All that is told of a blob is of the blob
itself, however it travels.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

COMMAND = "receive"
RAW, DEFLATED = b"r", b"z"
MAX_FRAME_BYTES = 256 * 1024
_FRAME_HEAD = 5
_CHUNK = 1024 * 1024
_MAX_LINE = 4096
REVOKED = "this permission was taken away"
# The sender speaks more often than this, however slow its link. A link that went dead without a word would else keep
# this process, and the lock of the blob, until the kernel gives the connection up: for hours.
_IDLE_TIMEOUT_SECONDS = 120


class _FrameError(Exception):
    """What cannot be a part of the blob; in words."""


def build_frame_head(kind: bytes, length: int) -> bytes:
    """What stands before so many bytes."""
    return kind + length.to_bytes(_FRAME_HEAD - 1, "big")


def receive(
    directory: Path, authorization_file: str, original_command: str, source: BufferedReader, output: IO[bytes]
) -> int:
    """Returns the exit status. C(granted) is a file: {"expires": seconds, "sizes": {HEX: SIZE or null}}."""
    authorization = json.loads((directory / authorization_file).read_bytes())
    if original_command != COMMAND:
        return _refuse(output, f"this key is for '{COMMAND}' only")
    if time.time() > authorization["expires"]:
        return _refuse(output, "this key has expired")
    sizes: dict[str, Any] = authorization["sizes"]
    with open(directory / "in_use", "a") as lock:
        # While this lasts, nobody takes the folder away.
        fcntl.flock(lock, fcntl.LOCK_SH)
        have = {name: _get_size(directory, name) for name in sizes}
        _send_response(
            output, {"have": have, "complete": [name for name in sizes if _get_blob_path(directory, name).exists()]}
        )
        while True:
            signal.alarm(_IDLE_TIMEOUT_SECONDS)
            line = source.readline(_MAX_LINE)
            if not line:
                return 0
            if not (directory / authorization_file).exists():
                return _refuse(output, REVOKED)
            if line == b"\n":  # nothing yet, but the sender is there
                continue
            try:
                head = json.loads(line)
                name, offset, length, size = head["hex"], head["offset"], head["length"], head["size"]
            except (ValueError, KeyError, TypeError, RecursionError):
                return _refuse(output, "that is no announcement of a blob")
            if not isinstance(name, str) or name not in sizes:
                return _refuse(output, "that blob was not announced")
            if not all(_is_count(number) for number in (offset, length, size)):
                return _refuse(output, "offset, length and size are numbers of bytes")
            if sizes[name] not in (None, size) or offset + length != size:
                return _refuse(output, f"{name} is announced with {sizes[name]} bytes")
            try:
                _store_blob(directory, name, offset, _read_content(source, length, directory / authorization_file))
            except _FrameError as error:
                return _refuse(output, f"{name}: {error}")
            except OSError as error:
                return _refuse(output, f"{error.strerror}: {error.filename or directory}")
            except EOFError:
                return 1
            _send_response(output, {"hex": name, "size": _get_size(directory, name)})


def _store_blob(directory: Path, name: str, offset: int, chunks: Iterator[bytes]) -> None:
    part = directory / "blobs" / f"{name}.part"
    # Another run may push this very blob: that may take its time.
    signal.alarm(0)
    with _open_locked(part) as file:
        if _get_blob_path(directory, name).exists():
            # And now it has come; what is sent nevertheless is the same.
            part.unlink()
            for _chunk in chunks:
                pass
            return
        size = os.fstat(file.fileno()).st_size
        if size < offset:
            raise OSError(0, f"only {size} bytes are here, not {offset}", str(part))
        file.truncate(offset)
        file.seek(offset)
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.replace(part, _get_blob_path(directory, name))


def _open_locked(part: Path) -> IO[bytes]:
    """The file at this path, for us alone. While it was waited for, another run may have published the one that was."""
    while True:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        file = open(descriptor, "wb")  # noqa: SIM115  the caller closes it
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(file.fileno()), os.lstat(part)):
                return file
        except FileNotFoundError:
            pass
        file.close()


def _read_content(source: BufferedReader, length: int, authorization_path: Path) -> Iterator[bytes]:
    """So many bytes of a blob, out of their frames."""
    while length:
        signal.alarm(_IDLE_TIMEOUT_SECONDS)
        head = source.read(_FRAME_HEAD)
        if len(head) < _FRAME_HEAD:
            raise EOFError
        kind, size = head[:1], int.from_bytes(head[1:], "big")
        if kind not in (RAW, DEFLATED):
            raise _FrameError(f"{kind!r} is no kind of frame")
        max_bytes = length if kind == RAW else MAX_FRAME_BYTES
        if not 0 < size <= max_bytes:
            raise _FrameError(f"a frame of {size} bytes, where 1 to {max_bytes} can be")
        chunks = _read_chunks(source, size, authorization_path)
        for chunk in chunks if kind == RAW else [_inflate(b"".join(chunks), min(length, MAX_FRAME_BYTES))]:
            length -= len(chunk)
            yield chunk


def _inflate(data: bytes, max_size: int) -> bytes:
    """What a whole zlib stream holds; never more in memory than it may."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, max_size + 1)
    except zlib.error as error:
        raise _FrameError(f"a compressed frame is damaged: {error}") from None
    if len(content) > max_size:
        raise _FrameError(f"a compressed frame holds more than the {max_size} bytes that it may")
    if not stream.eof or stream.unused_data or not content:
        raise _FrameError("a compressed frame is damaged: its content does not end where it does")
    return content


def _read_chunks(source: BufferedReader, length: int, authorization_path: Path) -> Iterator[bytes]:
    while length:
        signal.alarm(_IDLE_TIMEOUT_SECONDS)
        # What has come, be it little: on a slow link a whole chunk takes longer than the patience lasts.
        chunk = source.read1(min(_CHUNK, length))
        if not chunk:
            # The connection dropped; what came is kept, and the next one goes on behind it.
            raise EOFError
        if not authorization_path.exists():
            # The images have come another way, and the folder is to go.
            raise PermissionError(0, REVOKED, str(authorization_path.parent))
        length -= len(chunk)
        yield chunk


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _get_blob_path(directory: Path, name: str) -> Path:
    return directory / "blobs" / name


def _get_size(directory: Path, name: str) -> int:
    for path in (_get_blob_path(directory, name), directory / "blobs" / f"{name}.part"):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            continue
    return 0


def _send_response(output: IO[bytes], value: Any) -> None:
    output.write(json.dumps(value).encode() + b"\n")
    output.flush()


def _refuse(output: IO[bytes], reason: str) -> int:
    _send_response(output, {"error": reason})
    return 1


if __name__ == "__main__":
    here, original = Path(__file__).resolve().parent, os.environ.get("SSH_ORIGINAL_COMMAND", "")
    with open(0, "rb") as stream:
        raise SystemExit(receive(here, sys.argv[1], original, stream, sys.stdout.buffer))
