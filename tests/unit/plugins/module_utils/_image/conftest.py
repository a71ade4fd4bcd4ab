# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on the loopback interface. Each test starts its own, which responds as the test's script does."""

from __future__ import annotations

import http.client
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Callable

import pytest


@dataclass
class RecordedRequest:
    """A request as a server received it."""

    method: str
    path: str
    headers: dict[str, str]
    peer: tuple[str, int]


class Conversation(BaseHTTPRequestHandler):
    """What a test's script gets: the request, and ways to answer it well or badly."""

    protocol_version = "HTTP/1.1"
    # Else a reset takes along what the kernel still held back, and every answer of two parts costs 40 ms.
    disable_nagle_algorithm = True
    server: Loopback

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (OSError, ValueError):  # the client went away, which tests make it do
            self.close_connection = True

    def _any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(RecordedRequest(self.command, self.path, headers, self.client_address))
        self.server.script(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # the base class looks for a method per verb
            return self._any
        raise AttributeError(name)

    @property
    def number(self) -> int:
        """How many requests came before this one."""
        return len(self.server.requests) - 1

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        """An answer; C(length) lies about the body's. Header names are written with underscores."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None:
            self.close_connection = True

    def reset(self) -> None:
        """Breaks the connection as a crash does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def hang(self) -> None:
        """Sends nothing until the test is over."""
        self.server.over.wait(10)
        self.close_connection = True

    def tunnel(self) -> None:
        """CONNECT as a proxy does it: bytes both ways until one side closes."""
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5) as upstream:
            self.send_response(200)
            self.end_headers()
            upload = threading.Thread(target=_pump, args=(self.connection, upstream), daemon=True)
            upload.start()
            _pump(upstream, self.connection)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


Script = Callable[[Conversation], None]


class Loopback(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server that runs a test's script for every request and records the requests."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, script: Script, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.script = script
        self.requests: list[RecordedRequest] = []
        self.over = threading.Event()
        self._tls = tls
        self.port = self.server_address[1]
        self.netloc = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.netloc}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._tls:
            try:
                request = self._tls.wrap_socket(request, server_side=True)
            except OSError:  # a client that does not trust us, which tests make
                request.close()
                return
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@dataclass
class Servers:
    """Starts servers, and ends them with the test."""

    authority: Path
    certificate: Path
    running: list[Loopback] = field(default_factory=list)

    def __call__(self, script: Script, tls: bool = False) -> Loopback:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(str(self.certificate))
        server = Loopback(script, context)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002}, daemon=True).start()
        self.running.append(server)
        return server


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An authority's certificate, and a server's certificate and key for 127.0.0.1 that it signed."""
    directory = tmp_path_factory.mktemp("tls")
    authority, server = directory / "authority.pem", directory / "server.pem"

    def openssl(*args: str) -> None:
        subprocess.run([shutil.which("openssl") or "openssl", *args], check=True, capture_output=True, cwd=directory)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    # Without the key usage extension, as many private authorities are made.
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", authority.name, "-days", "2", "-subj", "/CN=loopback")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:registry.test\n")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", authority.name, "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "server.crt", "-days", "2", "-extfile", "names"),
    )
    server.write_text((directory / "server.crt").read_text() + (directory / "server.key").read_text())
    return authority, server


@pytest.fixture
def serve(tls_files: tuple[Path, Path]) -> Iterator[Servers]:
    """Starts a server: C(serve(script, tls=False))."""
    servers = Servers(*tls_files)
    yield servers
    for server in servers.running:
        server.over.set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_lost_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine that runs the tests, and no debugging output of the standard library."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 0)
