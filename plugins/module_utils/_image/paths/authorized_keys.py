# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Authorizes a source to push blobs to this host until the key expires, by one line in authorized_keys."""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import ipaddress
import itertools
import json
import os
import pwd
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from ..errors import ImageError
from ..run_command import RunCommand
from ..staging import Staging, open_private
from . import receiver

_KEY_COMMENT = "daytwo-image-transfer"
_AUTHORIZATION, _WITHDRAWN = "authorization-", "withdrawn-"
# A receiver checks its authorization with each chunk, so it disconnects within this time.
_DISCONNECT_SECONDS = 2.0
_PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]+={0,2}")
# A line that this collection added. "made": the file did not exist before.
_KEY_LINE = re.compile(
    rb"restrict,.* (?P<key>ssh-ed25519 [A-Za-z0-9+/]+={0,2}) "
    + _KEY_COMMENT.encode()
    + rb" (?P<name>\S+) (?P<expires>[0-9]+)(?P<made> made)?"
)


def authorize_key(
    staging: Staging,
    public_key: str,
    addresses: Sequence[str],
    sizes: Mapping[str, Optional[int]],
    seconds: int,
    home: Optional[Path] = None,
) -> None:
    """Authorizes the key to put these blobs (C(sizes) by hexadecimal digest) into the staging directory, nothing else.

    The push key has an expiry time (C(seconds) from now), because after a SIGKILL nothing runs that could remove it.
    """
    if not _PUBLIC_KEY.fullmatch(public_key):
        raise ImageError("public_key: is not an Ed25519 public key. Pass the key that the source returned.")
    if not addresses or not all(map(_is_address, addresses)):
        raise ImageError(f"from: {list(addresses)!r} must be IP addresses of the source, as this host sees them.")
    expires = time.time() + seconds
    script, authorization_path = staging.directory / "receive.py", _get_authorization_path(staging, public_key)
    command = f"{shlex.quote(sys.executable)} -I -B {shlex.quote(str(script))} {authorization_path.name}"
    if '"' in command or not command.isprintable():
        raise ImageError(
            f"staging_dir: {str(staging.root)!r} may not contain quotation marks or control characters with scp."
        )
    with staging.hold_lock():
        _write(script, inspect.getsource(receiver).encode())
        _write(authorization_path, json.dumps({"expires": expires, "sizes": dict(sizes)}).encode())
        options = [
            "restrict",
            # OpenSSH before 9.1 accepts only local time for the expiry.
            f'expiry-time="{time.strftime("%Y%m%d%H%M%S", time.localtime(expires))}"',
            f'from="{",".join(addresses)}"',
            f'command="{command}"',
        ]
        line = f"{','.join(options)} {public_key} {_KEY_COMMENT} {staging.directory.name} {int(expires)}"
        _edit_authorized_keys(home, staging.directory.name, public_key, line)


def revoke_key(staging: Staging, public_key: Optional[str], home: Optional[Path] = None) -> bool:
    """Revokes an authorization, and every expired one that this collection added. Returns whether it existed.

    Without a key, revokes every authorization for this directory. Where not all blobs have arrived, the blobs are
    removed too, because no load follows.
    """
    revoked = withdraw_key(staging, public_key, home)
    remove_withdrawn(staging, public_key, home)
    return revoked


def withdraw_key(staging: Staging, public_key: Optional[str], home: Optional[Path] = None) -> bool:
    """Withdraws the authorization, also from a push that is in progress."""
    withdrawn = _edit_authorized_keys(home, staging.directory.name, public_key)
    for authorization_path in list(staging.directory.glob(_get_authorization_pattern(staging, public_key))):
        with suppress(FileNotFoundError):
            authorization_path.rename(authorization_path.with_name(_WITHDRAWN + authorization_path.name))
    return withdrawn


def remove_withdrawn(staging: Staging, public_key: Optional[str], home: Optional[Path] = None) -> None:
    """Removes the files of a withdrawn authorization."""
    for authorization_path in list(
        staging.directory.glob(_WITHDRAWN + _get_authorization_pattern(staging, public_key))
    ):
        with suppress(FileNotFoundError):
            sizes = json.loads(authorization_path.read_bytes())["sizes"]
            authorization_path.unlink()
            if not all(staging.is_complete(f"sha256:{name}") for name in sizes):
                remove_staging(staging, home)


def remove_staging(staging: Staging, home: Optional[Path] = None, loaded: bool = False) -> bool:
    """Removes the directory, unless another run is authorized to push into it: then that run removes it.

    C(loaded): the engine has the images. Then no authorization to push them is useful any more. Those of killed runs
    are removed with the directory, because nobody else removes them; a push that is still in progress is disconnected.
    """
    found = [_KEY_LINE.fullmatch(line) for line in _read_lines(get_authorized_keys_path(home))]
    name = staging.directory.name.encode()
    if any(line and line["name"] == name and not _is_expired(line) for line in found):
        if not loaded:
            return False
        _edit_authorized_keys(home, staging.directory.name, None)
    removed = staging.remove()
    if loaded and not removed:
        for authorization_path in staging.directory.glob(_get_authorization_pattern(staging, None)):
            authorization_path.unlink(missing_ok=True)
        end = time.monotonic() + _DISCONNECT_SECONDS
        while staging.exists() and not (removed := staging.remove()) and time.monotonic() < end:
            time.sleep(0.05)
    return removed


def scan_host_keys(port: int, run: RunCommand) -> list[str]:
    """Scans this host's own SSH host keys over its loopback. The controller passes them to the source.

    C(port) is where the source reaches this host. If that port is forwarded, no server listens on it locally. Then the
    port of the controller's own connection (from SSH_CONNECTION) is used, or port 22. One host key is enough, and takes
    a fraction of the time of all. A source that makes Ed25519 keys supports them, and its client requests the key types
    in known_hosts.
    """
    connection = os.environ.get("SSH_CONNECTION", "").split()
    ports = dict.fromkeys([str(port), *connection[3:4], "22"])
    for candidate, kind in itertools.product(ports, (["-t", "ed25519"], [])):
        try:
            output = run(["ssh-keyscan", "-T", "5", *kind, "-p", candidate, "127.0.0.1"], "", ())[1]
        except OSError as error:
            raise ImageError(
                f"transport: ssh-keyscan cannot run on this host: {error.strerror}. Install the OpenSSH client."
            ) from error
        keys = [line.split(None, 1)[1] for line in output.splitlines() if line and not line.startswith("#")]
        if keys:
            return keys
    raise ImageError(
        f"transport: no SSH server answers at this host's loopback, port {', '.join(ports)}. Set image_transfer_port "
        "to the port at which the source reaches this host."
    )


def get_user() -> str:
    """The user that owns authorized_keys: the process's user, as sshd sees it. After su, the environment may differ."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    # A zone index names an interface of the source, which has no meaning on this host.
    return "%" not in text


def _get_authorization_path(staging: Staging, public_key: str) -> Path:
    """The authorization file of this key. Two runs that push into one directory at once have a key and a file each."""
    return staging.directory / f"{_AUTHORIZATION}{hashlib.sha256(public_key.encode()).hexdigest()[:16]}.json"


def _get_authorization_pattern(staging: Staging, public_key: Optional[str]) -> str:
    """A glob for the authorization of this key; without a key, for all of the directory."""
    return _get_authorization_path(staging, public_key).name if public_key else f"{_AUTHORIZATION}*"


def get_authorized_keys_path(home: Optional[Path] = None) -> Path:
    """The path of authorized_keys, with symbolic links resolved."""
    return ((home or Path(pwd.getpwuid(os.geteuid()).pw_dir)) / ".ssh" / "authorized_keys").resolve()


def _read_lines(path: Path) -> list[bytes]:
    """The lines as bytes, split at newlines only, so that lines of other programs stay unchanged."""
    try:
        return path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [b""]


def _is_expired(line: re.Match[bytes]) -> bool:
    return int(line["expires"]) < time.time()


def _edit_authorized_keys(
    home: Optional[Path], name: str, public_key: Optional[str], line: Optional[str] = None
) -> bool:
    """Removes this run's lines and this collection's expired lines, and adds a line.

    The file is replaced by rename, so that an incomplete file locks nobody out.
    """
    path = get_authorized_keys_path(home)
    ssh_directory = (home or Path(pwd.getpwuid(os.geteuid()).pw_dir)) / ".ssh"

    def should_remove(key_line: bytes) -> bool:
        found = _KEY_LINE.fullmatch(key_line)
        if not found:
            return False
        is_of_this_run = found["name"] == name.encode() and public_key in (None, found["key"].decode())
        return is_of_this_run or _is_expired(found)

    try:
        ssh_directory.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(ssh_directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = _read_lines(path)
            is_created = not path.exists() or any(found and found["made"] for found in map(_KEY_LINE.fullmatch, before))
            after = [key_line for key_line in before if not should_remove(key_line)]
            if line:
                # Before the newline that ends the file; a file without one is restored without one.
                after.insert(len(after) - (after[-1:] == [b""]), f"{line}{' made' if is_created else ''}".encode())
            if after == before:
                return False
            if any(after) or not is_created:
                _replace(path, b"\n".join(after))
            else:
                path.unlink()
        finally:
            os.close(lock)
    except OSError as error:
        raise ImageError(f"transport: cannot edit {path}: {error.strerror}.") from error
    return True


def _replace(path: Path, content: bytes) -> None:
    temporary_path = path.with_name(f".{_KEY_COMMENT}.new")
    try:
        _write(temporary_path, content)
        with suppress(FileNotFoundError):
            current_stat = path.stat()
            os.chown(temporary_path, current_stat.st_uid, current_stat.st_gid)
            os.chmod(temporary_path, current_stat.st_mode & 0o777)
        os.replace(temporary_path, path)
    finally:
        temporary_path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb", opener=open_private) as file:
        file.write(content)
