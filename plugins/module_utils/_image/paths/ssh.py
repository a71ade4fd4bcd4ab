# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's side of C(transport=scp): an ephemeral key, and the push of blobs to the targets that authorize it.

The private key is made, read into memory and unlinked at once. The process that holds it is the process that pushes.
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

from ..blobs import BlobDescriptor, BlobSource, TransferRequest
from ..errors import ImageError
from ..http.body import Readable
from ..http.errors import HttpError
from ..model import UNCOMPRESSED_LAYER_TYPES, get_digest_hex, parse_digest
from ..program import PipedProgram
from ..progress import ProgressCallback
from ..run_command import RunCommand
from ..staging import Staging, open_private
from ..throttle import Throttle
from . import receiver
from .deflate import Deflater

_MAX_PARALLEL_TARGETS = 4
_MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class PushAuthorization:
    """A target that authorizes the push: how the source reaches it, its host keys, and the digests that it lacks."""

    host: str
    address: str
    port: int
    user: str
    host_keys: tuple[str, ...]
    digests: tuple[str, ...]

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> PushAuthorization:
        return cls(
            str(value["host"]),
            str(value["address"]),
            int(value["port"]),
            str(value["user"]),
            tuple(map(str, value["host_keys"])),
            tuple(parse_digest(digest, "authorizations.digests") for digest in value["digests"]),
        )


@dataclass
class PushOutcome:
    """The outcome of the push to one target. C(bytes_sent): bytes of blobs on the wire, after compression."""

    host: str
    bytes_sent: int = 0
    error: Optional[str] = None
    digests: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Frame:
    """A frame of a blob on the wire. C(plain_size): the number of uncompressed bytes."""

    plain_size: int
    kind: bytes
    data: bytes


class EphemeralKey:
    """A private key in memory. Child processes of this process can read its path until C(close)."""

    def __init__(self, directory: Path, run: RunCommand) -> None:
        path = directory / "key"
        public = path.with_suffix(".pub")
        try:
            path.unlink(missing_ok=True)
            exit_status, _output, errors = run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], "", ()
            )
            if exit_status:
                raise ImageError(f"transport: ssh-keygen failed on the source: {errors.strip()}")
            self.public_key = " ".join(public.read_text().split()[:2])
            self._memory = os.memfd_create("key", os.MFD_CLOEXEC)
            os.fchmod(self._memory, 0o600)
            os.write(self._memory, path.read_bytes())
        except OSError as error:
            raise ImageError(
                f"transport: cannot create a key on the source: {error}. Install OpenSSH's client on the source."
            ) from error
        finally:
            path.unlink(missing_ok=True)
            public.unlink(missing_ok=True)
        # ssh closes all descriptors that it inherits, so the path goes through this process's descriptors.
        self.path = f"/proc/{os.getpid()}/fd/{self._memory}"

    def close(self) -> None:
        os.close(self._memory)


def get_own_address(address: str, port: int) -> str:
    """The address from which this host reaches another host; nothing is sent."""
    try:
        family, kind, protocol, _name, target = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ImageError(
            f"image_transfer_address: the source has no route to {address}: {error}. Set image_transfer_address of "
            "that target to the address at which the source reaches it."
        ) from error


def choose_fast_ciphers(run: RunCommand, cpu: Path = Path("/proc/cpuinfo")) -> Optional[str]:
    """The client's ciphers, with the hardware-accelerated AES-GCM first; None for the client's own order.

    OpenSSH prefers ChaCha20, which no processor accelerates. With AES instructions, AES-GCM takes about a third of the
    time.
    """
    try:
        features = re.search(r"^(?:flags|Features)\s*:(.*)", cpu.read_text(), re.MULTILINE)
        exit_status, output, _errors = run(["ssh", "-F", "/dev/null", "-G", "localhost"], "", ())
    except OSError:
        return None
    found = re.search(r"^ciphers (\S+)$", output, re.MULTILINE)
    if exit_status or not found or not features or "aes" not in features[1].split():
        return None
    return ",".join(sorted(found[1].split(","), key=lambda name: not name.startswith("aes") or "-gcm@" not in name))


def push(
    authorizations: Sequence[PushAuthorization],
    blobs: Mapping[str, BlobDescriptor],
    source: BlobSource,
    key: EphemeralKey,
    staging: Staging,
    throttle: Throttle,
    progress: ProgressCallback,
    run: RunCommand,
    ciphers: Optional[str] = None,
) -> list[PushOutcome]:
    """Pushes to several targets in parallel. A target that fails does not stop the others. Returns each outcome.

    C(ciphers): those of C(choose_fast_ciphers), or None for the client's own order.
    """
    bytes_total = sum(blobs[digest].size or 0 for authorization in authorizations for digest in authorization.digests)
    bytes_done, lock = 0, threading.Lock()

    def report_sent(host: str, size: int) -> None:
        nonlocal bytes_done
        with lock:
            bytes_done += size
            progress(f"pushing to {host}", bytes_done, max(bytes_done, bytes_total))

    def push_to_target(authorization: PushAuthorization) -> PushOutcome:
        target_push = _TargetPush(authorization, blobs, source, key, throttle, report_sent, run, ciphers)
        try:
            with _write_known_hosts(staging, authorization) as known_hosts:
                target_push.push(known_hosts)
        except ImageError as error:
            target_push.outcome.error = str(error)
        return target_push.outcome

    with ThreadPoolExecutor(max_workers=_MAX_PARALLEL_TARGETS) as pool:
        return list(pool.map(push_to_target, authorizations))


@contextmanager
def _write_known_hosts(staging: Staging, authorization: PushAuthorization) -> Iterator[Path]:
    path = staging.directory / f"known_hosts-{threading.get_ident()}"
    name = authorization.address if authorization.port == 22 else f"[{authorization.address}]:{authorization.port}"
    with open(path, "w", opener=open_private) as file:
        file.writelines(f"{name} {host_key}\n" for host_key in authorization.host_keys)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _prefetch_frames(frames: Iterator[_Frame]) -> Generator[_Frame, None, None]:
    """Yields the same frames; while the caller uses a frame, a thread makes the next one."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        next_frame = pool.submit(next, frames, None)
        while (frame := next_frame.result()) is not None:
            next_frame = pool.submit(next, frames, None)
            yield frame


class _ConnectionDroppedError(Exception):
    """A connection ended early. The target keeps the received bytes."""


class _TargetPush:
    """The push to one target."""

    def __init__(
        self,
        authorization: PushAuthorization,
        blobs: Mapping[str, BlobDescriptor],
        source: BlobSource,
        key: EphemeralKey,
        throttle: Throttle,
        report_sent: Callable[[str, int], None],
        run: RunCommand,
        ciphers: Optional[str],
    ) -> None:
        self.outcome = PushOutcome(authorization.host)
        self._run = run
        self._ciphers = ciphers
        self._authorization = authorization
        self._blobs = blobs
        self._source = source
        self._key = key
        self._throttle = throttle
        self._report_sent = report_sent
        self._deflater = Deflater()

    def push(self, known_hosts: Path) -> None:
        """Pushes with a limited number of retries: after a dropped connection, continues behind the received bytes."""
        for attempt in range(_MAX_ATTEMPTS):
            try:
                self._push_once(known_hosts)
                return
            except _ConnectionDroppedError as error:
                if attempt == _MAX_ATTEMPTS - 1:
                    raise ImageError(f"{self._authorization.host}: {error}") from error
                time.sleep(min(8.0, 0.5 * 2**attempt))

    def _push_once(self, known_hosts: Path) -> None:
        with self._connect(known_hosts) as (stdin, stdout):
            greeting = self._read_response(stdout)
            try:
                complete, existing_sizes = (
                    set(greeting["complete"]),
                    {str(name): int(size) for name, size in greeting["have"].items()},
                )
                names = [get_digest_hex(digest) for digest in self._authorization.digests]
                offsets = {name: existing_sizes[name] for name in names if name not in complete}
                if min(offsets.values(), default=0) < 0:
                    raise ValueError
            except (KeyError, TypeError, ValueError, AttributeError):
                raise self._make_response_error(json.dumps(greeting).encode()) from None
            missing = [
                self._blobs[digest] for digest in self._authorization.digests if get_digest_hex(digest) in offsets
            ]
            for blob in self._source.iter_available(missing):
                if blob is None:
                    self._send_data(b"\n", stdin, stdout)
                    self._send_data(b"", stdin, stdout)
                else:
                    self._send_blob(blob, offsets[get_digest_hex(blob.digest)], stdin, stdout)

    def _send_blob(self, blob: BlobDescriptor, existing_size: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        total_size = blob.size or 0
        offset = min(existing_size, total_size)
        remaining = total_size - offset
        head = {"hex": get_digest_hex(blob.digest), "offset": offset, "length": remaining, "size": total_size}
        # A numbered part is read from its offset on. The target verifies the digest before the load.
        transfer = TransferRequest(blob.digest, blob.media_type, 1, offset, remaining, "", {}, blob.reference)
        self._send_data(json.dumps(head).encode() + b"\n", stdin, stdout)
        try:
            if remaining:
                with (
                    self._source.open(transfer) as reader,
                    closing(_prefetch_frames(self._make_frames(blob, reader, remaining))) as frames,
                ):
                    for frame in frames:
                        self._send_frame(frame, stdin, stdout)
                        self._report_sent(self._authorization.host, frame.plain_size)
        except HttpError as error:
            if error.retryable:
                raise _ConnectionDroppedError(str(error)) from error
            raise
        except OSError as error:
            raise ImageError(f"{blob.digest} cannot be read on the source: {error.strerror}.") from error
        self._send_data(b"", stdin, stdout)
        size = self._read_response(stdout).get("size")
        if size != total_size:
            raise ImageError(f"{self._authorization.host}: {blob.digest} arrived with {size} bytes, not {total_size}.")
        self.outcome.digests.append(blob.digest)

    def _make_frames(self, blob: BlobDescriptor, reader: Readable, remaining: int) -> Iterator[_Frame]:
        compressible = blob.media_type in UNCOMPRESSED_LAYER_TYPES
        while remaining:
            chunk = reader.read(min(self._throttle.limit_size(receiver.MAX_FRAME_BYTES), remaining))
            if not chunk:
                raise ImageError(f"{blob.digest} ended {remaining} bytes early on the source.")
            remaining -= len(chunk)
            data = self._deflater.deflate(chunk) if compressible else chunk
            yield _Frame(len(chunk), receiver.RAW if data is chunk else receiver.DEFLATED, data)

    def _send_frame(self, frame: _Frame, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        began = time.monotonic()
        self._throttle.take(len(frame.data))
        self._send_data(receiver.build_frame_head(frame.kind, len(frame.data)), stdin, stdout)
        self._send_data(frame.data, stdin, stdout)
        self._deflater.record_write(len(frame.data), time.monotonic() - began)
        self.outcome.bytes_sent += len(frame.data)

    def _send_data(self, data: bytes, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        """Writes the data; without data, flushes what is buffered."""
        try:
            if data:
                stdin.write(data)
            else:
                stdin.flush()
        except OSError as error:
            # The receiver may have sent an error before it exited.
            with suppress(_ConnectionDroppedError):
                self._read_response(stdout)
            raise _ConnectionDroppedError(f"the connection broke: {error.strerror}") from error

    def _read_response(self, stdout: IO[bytes]) -> dict[str, Any]:
        line = stdout.readline(1024 * 1024)
        if not line:
            raise _ConnectionDroppedError("the connection ended")
        try:
            response = json.loads(line)
        except (ValueError, RecursionError):
            response = None
        if not isinstance(response, dict):
            raise self._make_response_error(line)
        if "error" in response:
            raise ImageError(f"{self._authorization.host}: the receiver rejected the push: {response['error']}.")
        return response

    def _make_response_error(self, line: bytes) -> ImageError:
        return ImageError(f"{self._authorization.host}: the response is not from the receiver: {line[:80]!r}.")

    @contextmanager
    def _connect(self, known_hosts: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        authorization = self._authorization
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
            # A dead link is detected within a minute.
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "Compression": "no",
            "LogLevel": "ERROR",
            **({"Ciphers": self._ciphers} if self._ciphers else {}),
        }
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        command = [
            "ssh",
            "-F",
            "/dev/null",
            *options,
            "-p",
            str(authorization.port),
            "-l",
            authorization.user,
            "--",
            authorization.address,
        ]
        ssh = PipedProgram(self._run, [*command, receiver.COMMAND])
        try:
            yield ssh.stdin, ssh.stdout
        except _ConnectionDroppedError as error:
            output = ssh.end()
            _raise_permanent_error(authorization, output)
            raise _ConnectionDroppedError(f"{error}. {output}") from error
        finally:
            ssh.end()


def _raise_permanent_error(authorization: PushAuthorization, output: str) -> None:
    """Raises an error where a retry cannot succeed."""
    if "Host key verification failed" in output or "HOST IDENTIFICATION HAS CHANGED" in output:
        raise ImageError(
            f"{authorization.host}: the SSH server at {authorization.address} port {authorization.port} has another "
            "host key than the target reported over the controller's connection. Nothing was sent. Set "
            "image_transfer_address and image_transfer_port to where the source reaches the target itself."
        )
    if "Permission denied" in output:
        raise ImageError(
            f"{authorization.host}: sshd rejected the key that was authorized for user {authorization.user}: {output} "
            "Check that sshd reads ~/.ssh/authorized_keys, allows public keys for this user, and sees the source at "
            "the address in 'from'. If the authorization expired during the push, run again."
        )
