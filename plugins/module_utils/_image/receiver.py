# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forced command of an ephemeral key: takes blobs from the source into the folder that this file lies in.

It is copied to the target and run by sshd on its own, so it imports nothing of the collection. Whoever has the key can
do this and nothing else: the blobs that were announced, up to the announced sizes, into this folder.

Both sides speak in lines of JSON. Receiver: {"have": {HEX: SIZE}}. Then for each blob, sender: {"hex", "offset",
"length"} and that many bytes; receiver: {"hex", "size"}. The end of input ends it.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

COMMAND = "receive"
_CHUNK = 1024 * 1024
_MAX_LINE = 4096


def receive(folder: Path, asked: str, source: IO[bytes], answers: IO[bytes]) -> int:
    """Returns the exit status. C(folder) has grant.json: {"expires": seconds, "sizes": {HEX: SIZE or null}}."""
    grant = json.loads((folder / "grant.json").read_bytes())
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
            line = source.readline(_MAX_LINE)
            if not line:
                return 0
            try:
                head = json.loads(line)
                name, offset, length, size = head["hex"], head["offset"], head["length"], head["size"]
            except (ValueError, KeyError, TypeError):
                return _refuse(answers, "that is no announcement of a blob")
            if not isinstance(name, str) or name not in sizes:
                return _refuse(answers, "that blob was not announced")
            if not all(_is_count(number) for number in (offset, length, size)):
                return _refuse(answers, "offset, length and size are numbers of bytes")
            if sizes[name] not in (None, size) or offset + length != size:
                return _refuse(answers, f"{name} is announced with {sizes[name]} bytes")
            try:
                _take(folder, name, offset, length, source)
            except OSError as error:
                return _refuse(answers, f"{error.strerror}: {error.filename or folder}")
            except EOFError:
                return 1
            _say(answers, {"hex": name, "size": _size(folder, name)})


def _take(folder: Path, name: str, offset: int, length: int, source: IO[bytes]) -> None:
    part = folder / "blobs" / f"{name}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_size < offset:
            raise OSError(0, f"only {os.fstat(file.fileno()).st_size} bytes are here, not {offset}", str(part))
        file.truncate(offset)
        file.seek(offset)
        left = length
        while left:
            chunk = source.read(min(_CHUNK, left))
            if not chunk:
                # The connection dropped; what came is kept, and the next one goes on behind it.
                file.flush()
                raise EOFError(part)
            file.write(chunk)
            left -= len(chunk)
        file.flush()
        os.replace(part, _blob(folder, name))


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
    raise SystemExit(
        receive(
            Path(__file__).resolve().parent,
            os.environ.get("SSH_ORIGINAL_COMMAND", ""),
            sys.stdin.buffer,
            sys.stdout.buffer,
        )
    )
