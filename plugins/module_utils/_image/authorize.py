# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a source push blobs to this host for a while: one line in authorized_keys, and its removal."""

from __future__ import annotations

import fcntl
import getpass
import inspect
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from . import receiver
from .errors import ImageError
from .run import Run
from .staging import Staging, private_opener

_MARK = "daytwo-image-transfer"
_PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]+={0,2}")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+")


def authorize(
    staging: Staging,
    public_key: str,
    addresses: Sequence[str],
    sizes: Mapping[str, Optional[int]],
    seconds: int,
    home: Optional[Path] = None,
) -> None:
    """Permits exactly this: to put these blobs (C(sizes) by hexadecimal digest) into the staging folder.

    The key expires by itself, since nothing runs after a SIGKILL that could take it away.
    """
    if not _PUBLIC_KEY.fullmatch(public_key):
        raise ImageError("public_key: is no Ed25519 key as the source returns it.")
    if not addresses or not all(_ADDRESS.fullmatch(address) for address in addresses):
        raise ImageError(f"from: {list(addresses)!r} must be IP addresses of the source, as this host sees them.")
    expires = time.time() + seconds
    with staging.in_use():
        script = staging.folder / "receive.py"
        _write(script, inspect.getsource(receiver))
        _write(staging.folder / "grant.json", json.dumps({"expires": expires, "sizes": dict(sizes)}))
        command = f"{shlex.quote(sys.executable)} -I -B {shlex.quote(str(script))}"
        if '"' in command:
            raise ImageError(f"staging_dir: {staging.folder} may not contain a quotation mark.")
        options = [
            "restrict",
            # OpenSSH before 9.1 knows local time only.
            f'expiry-time="{time.strftime("%Y%m%d%H%M%S", time.localtime(expires))}"',
            f'from="{",".join(addresses)}"',
            f'command="{command}"',
        ]
        line = f"{','.join(options)} {public_key} {_MARK} {staging.folder.name} {int(expires)}"
        _edit(home, lambda lines: [*_without(lines, staging.folder.name), line])


def revoke(staging: Staging, home: Optional[Path] = None) -> bool:
    """Takes the permission away again, and every one of ours that has expired. Whether there was one."""
    return _edit(home, lambda lines: _without(lines, staging.folder.name))


def host_keys(port: int, run: Run) -> list[str]:
    """This host's own SSH keys, asked over its own loopback: whoever is told by the controller can trust them."""
    try:
        output = run(["ssh-keyscan", "-T", "5", "-p", str(port), "127.0.0.1"], "", ())[1]
    except OSError as error:
        raise ImageError(
            f"transport: ssh-keyscan cannot run on this host: {error.strerror}. Install the OpenSSH client."
        ) from error
    keys = [line.split(None, 1)[1] for line in output.splitlines() if line and not line.startswith("#")]
    if not keys:
        raise ImageError(
            f"transport: no SSH server answers at port {port} of this host's loopback. Set image_transfer_port to the "
            "port at which the source reaches this host."
        )
    return keys


def user() -> str:
    """Whose authorized_keys it is."""
    return getpass.getuser()


def _without(lines: Sequence[str], name: str) -> list[str]:
    """The lines but for this transfer's, and for those of ours that nobody took away in time."""

    def ours(line: str) -> bool:
        fields = line.split()[-3:]
        if len(fields) != 3 or fields[0] != _MARK:
            return False
        return fields[1] == name or (fields[2].isdigit() and int(fields[2]) < time.time())

    return [line for line in lines if not ours(line)]


def _edit(home: Optional[Path], change: Callable[[Sequence[str]], list[str]]) -> bool:
    """Rewrites authorized_keys by rename, so that nobody is ever locked out by half a file."""
    folder = (home or Path.home()) / ".ssh"
    path = (folder / "authorized_keys").resolve()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = path.read_text() if path.exists() else ""
            after = "".join(f"{line}\n" for line in change(before.splitlines()))
            if after == before:
                return False
            if after:
                new = path.with_name(f".{_MARK}.new")
                _write(new, after)
                if path.exists():
                    os.chmod(new, path.stat().st_mode & 0o777)
                os.replace(new, path)
            else:
                path.unlink()
        finally:
            os.close(lock)
    except OSError as error:
        raise ImageError(f"transport: cannot edit {path}: {error.strerror}.") from error
    return True


def _write(path: Path, text: str) -> None:
    with open(path, "w", opener=private_opener) as file:
        file.write(text)
