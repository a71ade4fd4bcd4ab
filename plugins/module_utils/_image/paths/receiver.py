# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forced command of an ephemeral key: receives blobs from the source into the directory of this file.

The file is copied to the target and sshd runs it alone, so it imports nothing of the collection. The key permits only
this: to write the authorized blobs, up to the authorized sizes where they were known, into this directory.

Both sides send lines of JSON. Receiver: {"have": {HEX: SIZE}, "complete": [HEX]}. Then for each blob, sender:
{"hex", "offset", "length", "size"} and that many bytes, in frames; receiver: {"hex", "size"}. An empty line means that
the sender waits for its own source. The end of input ends the session.

A frame is its type (one byte, RAW or DEFLATED), its length (four bytes, big-endian), and that many bytes. These are
bytes of the blob, or of a complete zlib stream that holds up to MAX_FRAME_BYTES bytes of the blob. Sizes and offsets
are always those of the uncompressed blob.
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
REVOKED = "this authorization was revoked"
# A sender on the slowest link sends something within this time. Without the timeout, a dead link would keep this
# process and the lock of the blob for hours, until the kernel closes the connection.
_IDLE_TIMEOUT_SECONDS = 120


class _FrameError(Exception):
    """A frame is invalid."""


def build_frame_head(kind: bytes, length: int) -> bytes:
    """The head of a frame of this length."""
    return kind + length.to_bytes(_FRAME_HEAD - 1, "big")


def receive(
    directory: Path, authorization_file: str, original_command: str, source: BufferedReader, output: IO[bytes]
) -> int:
    """Receives blobs and returns the exit status.

    C(authorization_file) holds {"expires": seconds, "sizes": {HEX: SIZE or null}}.
    """
    authorization = json.loads((directory / authorization_file).read_bytes())
    if original_command != COMMAND:
        return _refuse(output, f"this key is for '{COMMAND}' only")
    if time.time() > authorization["expires"]:
        return _refuse(output, "this key has expired")
    sizes: dict[str, Any] = authorization["sizes"]
    with open(directory / "in_use", "a") as lock:
        # While this lock is held, no other process removes the directory.
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
            if line == b"\n":  # a keepalive: the sender waits for its source
                continue
            try:
                head = json.loads(line)
                name, offset, length, size = head["hex"], head["offset"], head["length"], head["size"]
            except (ValueError, KeyError, TypeError, RecursionError):
                return _refuse(output, "the line is not an announcement of a blob")
            if not isinstance(name, str) or name not in sizes:
                return _refuse(output, "this blob is not authorized")
            if not all(_is_count(number) for number in (offset, length, size)):
                return _refuse(output, "offset, length and size must be numbers of bytes")
            if sizes[name] not in (None, size) or offset + length != size:
                return _refuse(output, f"{name} is authorized with {sizes[name]} bytes")
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
    # Another run may push the same blob; waiting for its lock has no timeout.
    signal.alarm(0)
    with _open_locked(part) as file:
        if _get_blob_path(directory, name).exists():
            # The other run has completed it. The sender's bytes are the same content, so they are discarded.
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
    """The file at this path, locked. While this process waited, another run may have published the earlier file."""
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
    """Yields C(length) bytes of a blob from their frames."""
    while length:
        signal.alarm(_IDLE_TIMEOUT_SECONDS)
        head = source.read(_FRAME_HEAD)
        if len(head) < _FRAME_HEAD:
            raise EOFError
        kind, size = head[:1], int.from_bytes(head[1:], "big")
        if kind not in (RAW, DEFLATED):
            raise _FrameError(f"{kind!r} is not a frame type")
        max_bytes = length if kind == RAW else MAX_FRAME_BYTES
        if not 0 < size <= max_bytes:
            raise _FrameError(f"a frame has {size} bytes, but 1 to {max_bytes} are allowed")
        chunks = _read_chunks(source, size, authorization_path)
        for chunk in chunks if kind == RAW else [_inflate(b"".join(chunks), min(length, MAX_FRAME_BYTES))]:
            length -= len(chunk)
            yield chunk


def _inflate(data: bytes, max_size: int) -> bytes:
    """The content of a complete zlib stream; never more than C(max_size) bytes are held in memory."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(data, max_size + 1)
    except zlib.error as error:
        raise _FrameError(f"a compressed frame is damaged: {error}") from None
    if len(content) > max_size:
        raise _FrameError(f"a compressed frame holds more than {max_size} bytes, the allowed maximum")
    if not stream.eof or stream.unused_data or not content:
        raise _FrameError("a compressed frame is damaged: its zlib stream does not end with the frame")
    return content


def _read_chunks(source: BufferedReader, length: int, authorization_path: Path) -> Iterator[bytes]:
    while length:
        signal.alarm(_IDLE_TIMEOUT_SECONDS)
        # read1 returns any bytes that have arrived: on a slow link, a full chunk takes longer than the idle timeout.
        chunk = source.read1(min(_CHUNK, length))
        if not chunk:
            # The connection dropped. The received bytes are kept, and the next connection continues behind them.
            raise EOFError
        if not authorization_path.exists():
            # Another run has brought the images, and the directory is about to be removed.
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
