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
PIECE = 256 * 1024
_FRAME_HEAD = 5
_CHUNK = 1024 * 1024
_MAX_LINE = 4096
REVOKED = "this permission was taken away"
# The sender speaks more often than this, however slow its link. A link that went dead without a word would else keep
# this process, and the lock of the blob, until the kernel gives the connection up: for hours.
_PATIENCE_SECONDS = 120


class _FrameError(Exception):
    """What cannot be a part of the blob; in words."""


def frame_head(kind: bytes, length: int) -> bytes:
    """What stands before so many bytes."""
    return kind + length.to_bytes(_FRAME_HEAD - 1, "big")


def receive(folder: Path, granted: str, asked: str, source: BufferedReader, answers: IO[bytes]) -> int:
    """Returns the exit status. C(granted) is a file: {"expires": seconds, "sizes": {HEX: SIZE or null}}."""
    grant = json.loads((folder / granted).read_bytes())
    if asked != COMMAND:
        return _refuse(answers, f"this key is for '{COMMAND}' only")
    if time.time() > grant["expires"]:
        return _refuse(answers, "this key has expired")
    sizes: dict[str, Any] = grant["sizes"]
    with open(folder / "in_use", "a") as lock:
        # While this lasts, nobody takes the folder away.
        fcntl.flock(lock, fcntl.LOCK_SH)
        have = {name: _size(folder, name) for name in sizes}
        _say(answers, {"have": have, "complete": [name for name in sizes if _blob(folder, name).exists()]})
        while True:
            signal.alarm(_PATIENCE_SECONDS)
            line = source.readline(_MAX_LINE)
            if not line:
                return 0
            if not (folder / granted).exists():
                return _refuse(answers, REVOKED)
            if line == b"\n":  # nothing yet, but the sender is there
                continue
            try:
                head = json.loads(line)
                name, offset, length, size = head["hex"], head["offset"], head["length"], head["size"]
            except (ValueError, KeyError, TypeError, RecursionError):
                return _refuse(answers, "that is no announcement of a blob")
            if not isinstance(name, str) or name not in sizes:
                return _refuse(answers, "that blob was not announced")
            if not all(_is_count(number) for number in (offset, length, size)):
                return _refuse(answers, "offset, length and size are numbers of bytes")
            if sizes[name] not in (None, size) or offset + length != size:
                return _refuse(answers, f"{name} is announced with {sizes[name]} bytes")
            try:
                _take(folder, name, offset, _content(source, length, folder / granted))
            except _FrameError as error:
                return _refuse(answers, f"{name}: {error}")
            except OSError as error:
                return _refuse(answers, f"{error.strerror}: {error.filename or folder}")
            except EOFError:
                return 1
            _say(answers, {"hex": name, "size": _size(folder, name)})


def _take(folder: Path, name: str, offset: int, chunks: Iterator[bytes]) -> None:
    part = folder / "blobs" / f"{name}.part"
    # Another run may push this very blob: that may take its time.
    signal.alarm(0)
    with _locked(part) as file:
        if _blob(folder, name).exists():
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
        os.replace(part, _blob(folder, name))


def _locked(part: Path) -> IO[bytes]:
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


def _content(source: BufferedReader, length: int, grant: Path) -> Iterator[bytes]:
    """So many bytes of a blob, out of their frames."""
    while length:
        signal.alarm(_PATIENCE_SECONDS)
        head = source.read(_FRAME_HEAD)
        if len(head) < _FRAME_HEAD:
            raise EOFError
        kind, size = head[:1], int.from_bytes(head[1:], "big")
        if kind not in (RAW, DEFLATED):
            raise _FrameError(f"{kind!r} is no kind of frame")
        most = length if kind == RAW else PIECE
        if not 0 < size <= most:
            raise _FrameError(f"a frame of {size} bytes, where 1 to {most} can be")
        chunks = _chunks(source, size, grant)
        for chunk in chunks if kind == RAW else [_inflated(b"".join(chunks), min(length, PIECE))]:
            length -= len(chunk)
            yield chunk


def _inflated(data: bytes, most: int) -> bytes:
    """What a whole zlib stream holds; never more in memory than it may."""
    stream = zlib.decompressobj()
    try:
        piece = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise _FrameError(f"a compressed frame is damaged: {error}") from None
    if len(piece) > most:
        raise _FrameError(f"a compressed frame holds more than the {most} bytes that it may")
    if not stream.eof or stream.unused_data or not piece:
        raise _FrameError("a compressed frame is damaged: its content does not end where it does")
    return piece


def _chunks(source: BufferedReader, length: int, grant: Path) -> Iterator[bytes]:
    while length:
        signal.alarm(_PATIENCE_SECONDS)
        # What has come, be it little: on a slow link a whole chunk takes longer than the patience lasts.
        chunk = source.read1(min(_CHUNK, length))
        if not chunk:
            # The connection dropped; what came is kept, and the next one goes on behind it.
            raise EOFError
        if not grant.exists():
            # The images have come another way, and the folder is to go.
            raise PermissionError(0, REVOKED, str(grant.parent))
        length -= len(chunk)
        yield chunk


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _blob(folder: Path, name: str) -> Path:
    return folder / "blobs" / name


def _size(folder: Path, name: str) -> int:
    for path in (_blob(folder, name), folder / "blobs" / f"{name}.part"):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            continue
    return 0


def _say(answers: IO[bytes], value: Any) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


def _refuse(answers: IO[bytes], why: str) -> int:
    _say(answers, {"error": why})
    return 1


if __name__ == "__main__":
    here, original = Path(__file__).resolve().parent, os.environ.get("SSH_ORIGINAL_COMMAND", "")
    with open(0, "rb") as stream:
        raise SystemExit(receive(here, sys.argv[1], original, stream, sys.stdout.buffer))
