# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's side of C(transport=scp): an ephemeral key, and the push of blobs to targets that permit it.

The private key is made, read into memory and unlinked at once; the process that holds it is the one that pushes.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, Optional

from . import receiver
from .deflate import Deflater
from .engine import Progress
from .errors import ImageError
from .http import HttpError, Readable
from .model import PLAIN_LAYERS, checked_digest, hex_of
from .program import Program
from .run import Run
from .staging import Staging, private_opener
from .throttle import Throttle
from .transfer import BlobSource, Piece, Transfer

_TARGETS_AT_ONCE = 4
_ATTEMPTS = 5


@dataclass(frozen=True)
class Grant:
    """One target that permits the push: how the source reaches it, its host keys, and what it lacks."""

    host: str
    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    digests: tuple[str, ...]

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Grant:
        return cls(
            str(value["host"]),
            str(value["address"]),
            int(value["port"]),
            str(value["user"]),
            tuple(map(str, value["host_keys"])),
            tuple(checked_digest(digest, "grants.digests") for digest in value["digests"]),
        )


@dataclass
class Pushed:
    """What the push to one target came to. C(sent): bytes of blobs on the wire, where some may be compressed."""

    host: str
    sent: int = 0
    error: Optional[str] = None
    digests: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    """Some bytes of a blob as they travel: C(plain) are those of the blob."""

    plain: int
    kind: bytes
    data: bytes


class EphemeralKey:
    """A private key in memory. Its path works for child processes of this process for as long as this lives."""

    def __init__(self, folder: Path, run: Run) -> None:
        path = folder / "key"
        public = path.with_suffix(".pub")
        try:
            path.unlink(missing_ok=True)
            code, _output, words = run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], "", ()
            )
            if code:
                raise ImageError(f"transport: ssh-keygen makes no key on the source: {words.strip()}")
            self.public = " ".join(public.read_text().split()[:2])
            self._memory = os.memfd_create("key", os.MFD_CLOEXEC)
            os.fchmod(self._memory, 0o600)
            os.write(self._memory, path.read_bytes())
        except OSError as error:
            raise ImageError(
                f"transport: no key can be made on the source: {error}. Is OpenSSH's client there?"
            ) from error
        finally:
            path.unlink(missing_ok=True)
            public.unlink(missing_ok=True)
        # ssh closes all descriptors that it inherits, so it is given this process's.
        self.path = f"/proc/{os.getpid()}/fd/{self._memory}"

    def close(self) -> None:
        os.close(self._memory)


def own_address(address: str, port: int) -> str:
    """The address from which this host reaches another one; nothing is sent."""
    try:
        family, kind, protocol, _name, target = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ImageError(
            f"image_transfer_address: the source has no way to {address}: {error}. Set image_transfer_address of that "
            "target to the address at which the source reaches it."
        ) from error


def quick_ciphers(run: Run, cpu: Path = Path("/proc/cpuinfo")) -> Optional[str]:
    """The client's own ciphers, those first that the processor computes itself; None to leave it to the client.

    OpenSSH prefers ChaCha20, which no processor has; with AES instructions, AES-GCM takes about a third of the time.
    """
    try:
        features = re.search(r"^(?:flags|Features)\s*:(.*)", cpu.read_text(), re.MULTILINE)
        code, output, _words = run(["ssh", "-F", "/dev/null", "-G", "localhost"], "", ())
    except OSError:
        return None
    found = re.search(r"^ciphers (\S+)$", output, re.MULTILINE)
    if code or not found or not features or "aes" not in features[1].split():
        return None
    return ",".join(sorted(found[1].split(","), key=lambda name: not name.startswith("aes") or "-gcm@" not in name))


def push(
    grants: Sequence[Grant],
    pieces: Mapping[str, Piece],
    source: BlobSource,
    key: EphemeralKey,
    staging: Staging,
    throttle: Throttle,
    progress: Progress,
    run: Run,
    ciphers: Optional[str] = None,
) -> list[Pushed]:
    """Pushes to several targets at once; one that fails leaves the others done. The outcome of each.

    C(ciphers): those of C(quick_ciphers), or None for the client's own order.
    """
    in_all = sum(pieces[digest].size or 0 for grant in grants for digest in grant.digests)
    done, lock = 0, threading.Lock()

    def count(host: str, size: int) -> None:
        nonlocal done
        with lock:
            done += size
            progress(f"pushing, now to {host}", done, max(done, in_all))

    def one(grant: Grant) -> Pushed:
        target = _Target(grant, pieces, source, key, throttle, count, run, ciphers)
        try:
            with _known_hosts(staging, grant) as known_hosts:
                target.push(known_hosts)
        except ImageError as error:
            target.pushed.error = str(error)
        return target.pushed

    with ThreadPoolExecutor(max_workers=_TARGETS_AT_ONCE) as pool:
        return list(pool.map(one, grants))


@contextmanager
def _known_hosts(staging: Staging, grant: Grant) -> Iterator[Path]:
    path = staging.folder / f"known_hosts-{threading.get_ident()}"
    name = grant.address if grant.port == 22 else f"[{grant.address}]:{grant.port}"
    with open(path, "w", opener=private_opener) as file:
        file.writelines(f"{name} {host_key}\n" for host_key in grant.host_keys)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _ahead(made: Iterator[_Frame]) -> Generator[_Frame, None, None]:
    """The same; while one is used, a thread makes the next."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, made, None)
        while (frame := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield frame


class _DroppedError(Exception):
    """A connection ended early; what has arrived is kept on the other side."""


class _Target:
    """The push to one target."""

    def __init__(
        self,
        grant: Grant,
        pieces: Mapping[str, Piece],
        source: BlobSource,
        key: EphemeralKey,
        throttle: Throttle,
        count: Callable[[str, int], None],
        run: Run,
        ciphers: Optional[str],
    ) -> None:
        self.pushed = Pushed(grant.host)
        self._run = run
        self._ciphers = ciphers
        self._grant = grant
        self._pieces = pieces
        self._source = source
        self._key = key
        self._throttle = throttle
        self._count = count
        self._deflater = Deflater()

    def push(self, known_hosts: Path) -> None:
        """Goes on behind what is there after a connection dropped, a bounded number of times."""
        for attempt in range(_ATTEMPTS):
            try:
                self._push_once(known_hosts)
                return
            except _DroppedError as error:
                if attempt == _ATTEMPTS - 1:
                    raise ImageError(f"{self._grant.host}: {error}") from error
                time.sleep(min(8.0, 0.5 * 2**attempt))

    def _push_once(self, known_hosts: Path) -> None:
        with self._connection(known_hosts) as (to, answers):
            hello = self._answer(answers)
            try:
                complete, have = set(hello["complete"]), {str(name): int(size) for name, size in hello["have"].items()}
                names = [hex_of(digest) for digest in self._grant.digests]
                offsets = {name: have[name] for name in names if name not in complete}
                if min(offsets.values(), default=0) < 0:
                    raise ValueError
            except (KeyError, TypeError, ValueError, AttributeError):
                raise self._strange(json.dumps(hello).encode()) from None
            lacking = [self._pieces[digest] for digest in self._grant.digests if hex_of(digest) in offsets]
            for piece in self._source.order(lacking):
                if piece is None:
                    self._put(b"\n", to, answers)
                    self._put(b"", to, answers)
                else:
                    self._send(piece, offsets[hex_of(piece.digest)], to, answers)

    def _send(self, piece: Piece, have: int, to: IO[bytes], answers: IO[bytes]) -> None:
        in_all = piece.size or 0
        offset = min(have, in_all)
        left = in_all - offset
        head = {"hex": hex_of(piece.digest), "offset": offset, "length": left, "size": in_all}
        # A part with a number is read from its offset on; what is sent is verified on the target, before the load.
        transfer = Transfer(piece.digest, piece.media_type, 1, offset, left, "", {}, piece.reference)
        self._put(json.dumps(head).encode() + b"\n", to, answers)
        try:
            if left:
                with self._source.open(transfer) as reader, closing(_ahead(self._frames(piece, reader, left))) as made:
                    for frame in made:
                        self._put_frame(frame, to, answers)
                        self._count(self._grant.host, frame.plain)
        except HttpError as error:
            if error.retryable:
                raise _DroppedError(str(error)) from error
            raise
        except OSError as error:
            raise ImageError(f"{piece.digest} cannot be read on the source: {error.strerror}.") from error
        self._put(b"", to, answers)
        size = self._answer(answers).get("size")
        if size != in_all:
            raise ImageError(f"{self._grant.host}: {piece.digest} arrived with {size} bytes, not {in_all}.")
        self.pushed.digests.append(piece.digest)

    def _frames(self, piece: Piece, reader: Readable, left: int) -> Iterator[_Frame]:
        compressible = piece.media_type in PLAIN_LAYERS
        while left:
            plain = reader.read(min(self._throttle.at_once(receiver.PIECE), left))
            if not plain:
                raise ImageError(f"{piece.digest} ended {left} bytes early on the source.")
            left -= len(plain)
            data = self._deflater.deflate(plain) if compressible else plain
            yield _Frame(len(plain), receiver.RAW if data is plain else receiver.DEFLATED, data)

    def _put_frame(self, frame: _Frame, to: IO[bytes], answers: IO[bytes]) -> None:
        began = time.monotonic()
        self._throttle.take(len(frame.data))
        self._put(receiver.frame_head(frame.kind, len(frame.data)), to, answers)
        self._put(frame.data, to, answers)
        self._deflater.wrote(len(frame.data), time.monotonic() - began)
        self.pushed.sent += len(frame.data)

    def _put(self, data: bytes, to: IO[bytes], answers: IO[bytes]) -> None:
        """Sends; without data, all that is still on its way."""
        try:
            if data:
                to.write(data)
            else:
                to.flush()
        except OSError as error:
            # The receiver may have said why before it went.
            with suppress(_DroppedError):
                self._answer(answers)
            raise _DroppedError(f"the connection broke: {error.strerror}") from error

    def _answer(self, answers: IO[bytes]) -> dict[str, Any]:
        line = answers.readline(1024 * 1024)
        if not line:
            raise _DroppedError("the connection ended")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._strange(line)
        if "error" in answer:
            raise ImageError(f"{self._grant.host}: the receiver refused: {answer['error']}.")
        return answer

    def _strange(self, line: bytes) -> ImageError:
        return ImageError(f"{self._grant.host}: something else than the receiver answers: {line[:80]!r}.")

    @contextmanager
    def _connection(self, known_hosts: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        grant = self._grant
        settings = {
            "IdentityFile": self._key.path,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "PreferredAuthentications": "publickey",
            "BatchMode": "yes",
            "ControlPath": "none",
            "ConnectTimeout": "20",
            # A dead link is noticed within a minute.
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "Compression": "no",
            "LogLevel": "ERROR",
            **({"Ciphers": self._ciphers} if self._ciphers else {}),
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        command = ["ssh", "-F", "/dev/null", *options, "-p", str(grant.port), "-l", grant.user, "--", grant.address]
        ssh = Program(self._run, [*command, receiver.COMMAND])
        try:
            yield ssh.to, ssh.answers
        except _DroppedError as error:
            words = ssh.end()
            _refuse_for_good(grant, words)
            raise _DroppedError(f"{error}. {words}") from error
        finally:
            ssh.end()


def _refuse_for_good(grant: Grant, words: str) -> None:
    """Raises for what another attempt cannot mend."""
    if "Host key verification failed" in words or "HOST IDENTIFICATION HAS CHANGED" in words:
        raise ImageError(
            f"{grant.host}: what answers at {grant.address} port {grant.port} has another host key than the target "
            "told over the controller's connection. Nothing was sent. Set image_transfer_address and "
            "image_transfer_port to where the source reaches the target itself."
        )
    if "Permission denied" in words:
        raise ImageError(
            f"{grant.host}: sshd refused the key that was authorized for user {grant.user}. Does it read "
            "~/.ssh/authorized_keys, allow public keys for this user, and see the source at the address in 'from'? "
            "Or has the push taken longer than the permission lasts? Then run again. "
            f"It said: {words}"
        )
