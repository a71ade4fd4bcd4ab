# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real sshd on the loopback interface, with its own host keys and authorized_keys, and a link that breaks."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.authorized_keys import authorize_key
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.ssh import EphemeralKey, PushAuthorization
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
_SEPARATION = Path("/run/sshd")


def needs_sshd() -> None:
    """Skips, counted and with the reason, where there is no OpenSSH."""
    missing = [name for name in ("ssh", "ssh-keygen", "ssh-keyscan") if not shutil.which(name)]
    if SSHD is None or missing:
        pytest.skip(f"OpenSSH is not on this machine: {', '.join(['sshd'] * (SSHD is None) + missing)}")


def run(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
    """Runs a program to its end, as Ansible does."""
    done = subprocess.run(command, input=text.encode(), capture_output=True, pass_fds=descriptors, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Server:
    """A target: its sshd, its home, its staging directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        (self.home / ".ssh").mkdir(parents=True)
        self.staging = Staging(str(directory / "staging"), "loaded-" + "0" * 20)
        self.keys = self.home / ".ssh" / "authorized_keys"
        self.log = directory / "log"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "host")], check=True)
        self.host_key = " ".join((directory / "host.pub").read_text().split()[:2])
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        (directory / "config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {directory}/host\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {self.keys}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nLogLevel VERBOSE\n"
        )
        if os.geteuid() == 0:
            _SEPARATION.mkdir(mode=0o755, exist_ok=True)
        self._process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(directory / "config")],
            stderr=self.log.open("wb"),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 10
        while b"Server listening" not in self.log.read_bytes():
            assert self._process.poll() is None and time.monotonic() < end, self.log.read_text()  # noqa: PT018
            time.sleep(0.02)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def permit(self, key: EphemeralKey, sizes: Mapping[str, Optional[int]]) -> None:
        named = {get_digest_hex(digest): size for digest, size in sizes.items()}
        authorize_key(self.staging, key.public_key, ["127.0.0.1"], named, 60, self.home)

    def grant(
        self, digests: Sequence[str], host: str = "one", port: int = 0, host_keys: Sequence[str] = ()
    ) -> PushAuthorization:
        keys = tuple(host_keys) or (self.host_key,)
        return PushAuthorization(host, "127.0.0.1", port or self.port, getpass.getuser(), keys, tuple(digests))

    def held(self) -> dict[str, bytes]:
        directory = self.staging.directory / "blobs"
        return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.exists() else {}

    def accepted(self) -> int:
        """How many connections have logged in."""
        return self.log.read_text().count("Accepted publickey")


@contextmanager
def servers(directory: Path, count: int = 1) -> Iterator[list[Server]]:
    needs_sshd()
    started: list[Server] = []
    try:
        for number in range(count):
            (directory / str(number)).mkdir()
            started.append(Server(directory / str(number)))
        yield started
    finally:
        for server in started:
            server.close()


class Link:
    """A link to a server that breaks: C(cuts) are the bytes after which each connection is reset; then it holds."""

    def __init__(self, port: int, *cuts: int) -> None:
        self._to = port
        self._cuts = list(cuts)
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                cut = self._cuts.pop(0) if self._cuts else None
                server = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pump, args=(server, client, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(client, server, cut), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, cut: Optional[int]) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                passed += len(data)
                if cut is not None and passed >= cut:
                    self.broken += 1
                    for end in (source, sink):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        # Wakes the other pump, which would else keep the connection open.
                        with contextlib.suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                        end.close()
                    return
            sink.shutdown(socket.SHUT_WR)
