# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A streaming HTTP/1.1 proxy: it forwards every request byte for byte; a front decides and records.

Signed headers (Host included) and the target are forwarded unchanged, so that signatures stay valid. No body is kept in
memory unless the front requests it.
"""

from __future__ import annotations

import contextlib
import http
import io
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

BLOCK = 256 * 1024
BODYLESS = (204, 304)


class BrokenStreamError(Exception):
    """The peer closed the connection, or does not speak HTTP."""


@dataclass
class Head:
    """The first line and the headers of a message, unchanged."""

    start: str
    headers: list[tuple[str, str]]

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.headers if key.lower() == name), default)

    def without(self, *names: str) -> list[tuple[str, str]]:
        return [(key, value) for key, value in self.headers if key.lower() not in names]

    @property
    def chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()

    @property
    def length(self) -> int | None:
        value = self.get("content-length")
        return int(value) if value else None


@dataclass
class Request:
    head: Head
    client: str
    body: bytes | None = None  # only if the front requests it
    began: float = field(default_factory=time.time)
    bytes_in: int = 0
    bytes_out: int = 0
    status: int | None = None  # None: no response reached the client
    error_body: bytes = b""  # the first bytes of a response with status 400 or more

    @property
    def method(self) -> str:
        return self.head.start.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.head.start.split(" ")[1]

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in urlsplit(self.target).query.split("&") if pair)
        return {unquote(name): unquote(value.replace("+", " ")) for name, _dummy, value in pairs}


@dataclass(frozen=True)
class Answer:
    """A response of the front itself. The request is not forwarded."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Forward:
    backend: tuple[str, int]
    extra: tuple[tuple[str, str], ...] = ()  # headers to add to the response
    cut_request: int | None = None  # reset both sides after so many bytes of the request's body
    cut_response: int | None = None


@dataclass(frozen=True)
class Reset:
    """Reset the connection without a response."""


class Front(Protocol):
    wants_body: bool

    def decide(self, request: Request) -> Answer | Forward | Reset: ...

    def done(self, request: Request) -> None: ...


class Proxy:
    def __init__(self, address: tuple[str, int], front: Front, tls: ssl.SSLContext | None = None) -> None:
        self.front = front
        self.tls = tls
        self.listener = socket.create_server(address, backlog=256)

    def serve(self) -> None:
        while True:
            connection, (client, _dummy) = self.listener.accept()
            threading.Thread(target=self._connection, args=(connection, client), daemon=True).start()

    def _connection(self, connection: socket.socket, client: str) -> None:
        with contextlib.suppress(OSError, BrokenStreamError, ValueError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection, buffered(connection) as reader:
                while head := read_head(reader):
                    request = Request(head, client)
                    try:
                        keep = self._exchange(request, connection, reader)
                    finally:
                        self.front.done(request)
                    if not keep:
                        break
        connection.close()

    def _exchange(self, request: Request, client: socket.socket, reader: io.BufferedReader) -> bool:
        """Handle a request and its response. Return whether the client's connection can take another request."""
        expects = request.head.get("expect").lower() == "100-continue"
        if self.front.wants_body:
            if expects:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.body = b"".join(bytes(block) for block in body_of(request.head, reader))
            request.bytes_in = len(request.body)
        verdict = self.front.decide(request)
        if isinstance(verdict, Reset):
            reset(client)
            return False
        if isinstance(verdict, Answer):
            if request.body is None and not expects:  # else the client may get a reset instead of the response
                for block in body_of(request.head, reader):
                    request.bytes_in += len(block)
            # A client that waits for 100 may still send its body, or not: the connection ends here.
            send_answer(client, request, verdict, close=expects)
            return not expects
        if request.body is None and expects:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._forward(request, verdict, client, reader)

    def _forward(self, request: Request, verdict: Forward, client: socket.socket, reader: io.BufferedReader) -> bool:
        try:
            upstream = socket.create_connection(verdict.backend)
        except OSError as error:
            answer = Answer(502, f"testbed: nothing behind this address: {error}".encode())
            send_answer(client, request, answer, close=True)
            return False
        with upstream, buffered(upstream) as answers:
            # A connection for each request, so that a restarted backend needs no special case.
            headers = [*request.head.without("connection", "expect", "keep-alive"), ("Connection", "close")]
            upstream.sendall(format_head(request.head.start, headers))
            if not self._send_body(request, verdict, upstream, reader):
                reset(client)
                return False
            head = read_head(answers)
            while head and head.start.split(" ")[1].startswith("1"):
                head = read_head(answers)
            if head is None:
                reset(client)
                return False
            return self._answer(request, verdict, client, head, answers)

    def _send_body(
        self, request: Request, verdict: Forward, upstream: socket.socket, reader: io.BufferedReader
    ) -> bool:
        """Send the request's body to the backend. Return False if a fault cut it."""
        if request.body is not None:
            upstream.sendall(frame(request.body) if request.head.chunked else request.body)
            return True
        refused = False  # the backend responded early and reads no more: the client still has to send the rest
        for block in body_of(request.head, reader):
            request.bytes_in += len(block)
            if not refused:
                try:
                    if request.head.chunked:
                        upstream.sendall(b"%x\r\n" % len(block))
                    upstream.sendall(block)
                    if request.head.chunked:
                        upstream.sendall(b"\r\n")
                except OSError:
                    refused = True
            if verdict.cut_request is not None and request.bytes_in >= verdict.cut_request:
                return False
        if request.head.chunked and not refused:
            with contextlib.suppress(OSError):
                upstream.sendall(b"0\r\n\r\n")
        return True

    def _answer(
        self, request: Request, verdict: Forward, client: socket.socket, head: Head, answers: io.BufferedReader
    ) -> bool:
        status = int(head.start.split(" ")[1])
        bodyless = request.method == "HEAD" or status in BODYLESS
        framed = bodyless or head.chunked or head.length is not None
        added = {name.lower() for name, _dummy in verdict.extra}
        headers = [*head.without("connection", "keep-alive", *added), *verdict.extra]
        if not framed:
            headers.append(("Connection", "close"))
        client.sendall(format_head("HTTP/1.1 " + head.start.split(" ", 1)[1], headers))
        if not bodyless:
            for block in body_of(head, answers, until_end=not framed):
                if status >= 400 and len(request.error_body) < 4096:
                    request.error_body += bytes(block)
                if head.chunked:
                    client.sendall(b"%x\r\n" % len(block))
                client.sendall(block)
                if head.chunked:
                    client.sendall(b"\r\n")
                request.bytes_out += len(block)
                if verdict.cut_response is not None and request.bytes_out >= verdict.cut_response:
                    reset(client)
                    return False
            if head.chunked:
                client.sendall(b"0\r\n\r\n")
        request.status = status
        return framed


def buffered(connection: socket.socket) -> io.BufferedReader:
    return io.BufferedReader(connection.makefile("rb", buffering=0), BLOCK)


def read_head(reader: io.BufferedReader) -> Head | None:
    line = reader.readline(65537)
    if not line:
        return None
    start = line.decode("latin-1").rstrip("\r\n")
    if len(start.split(" ")) < 2:
        raise BrokenStreamError(start)
    headers = []
    while (line := reader.readline(65537)) not in (b"\r\n", b"\n"):
        if not line:
            raise BrokenStreamError("end in the headers")
        name, _dummy, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    return Head(start, headers)


def format_head(start: str, headers: list[tuple[str, str]]) -> bytes:
    return "\r\n".join([start, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1")


def body_of(head: Head, reader: io.BufferedReader, until_end: bool = False) -> Iterator[memoryview]:
    """Yield the body's bytes in blocks of a reused buffer, without the framing of chunked encoding."""
    buffer = memoryview(bytearray(BLOCK))
    if head.chunked:
        while size := int(reader.readline(1024).split(b";")[0], 16):
            yield from _exactly(size, reader, buffer)
            reader.readline(16)
        while reader.readline(65537) not in (b"\r\n", b"\n", b""):  # trailers
            pass
    elif head.length is not None:
        yield from _exactly(head.length, reader, buffer)
    elif until_end:
        while got := reader.readinto1(buffer):
            yield buffer[:got]


def _exactly(size: int, reader: io.BufferedReader, buffer: memoryview) -> Iterator[memoryview]:
    while size:
        got = reader.readinto1(buffer[: min(size, BLOCK)])
        if not got:
            raise BrokenStreamError(f"end of the stream, {size} bytes before the end of the body")
        size -= got
        yield buffer[:got]


def frame(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def reason_of(status: int) -> str:
    """The usual reason of a status, which clients put into their messages."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Testbed"


def send_answer(client: socket.socket, request: Request, answer: Answer, *, close: bool) -> None:
    body = b"" if request.method == "HEAD" else answer.body
    headers = [*answer.headers, ("Content-Length", str(len(answer.body) if request.method != "HEAD" else 0))]
    if close:  # else the client sends its next request on a connection that ends
        headers.append(("Connection", "close"))
    client.sendall(format_head(f"HTTP/1.1 {answer.status} {reason_of(answer.status)}", headers) + body)
    request.status, request.bytes_out, request.error_body = answer.status, len(body), body[:4096]


def reset(connection: socket.socket) -> None:
    """Close with RST, as a network device that drops the connection does."""
    raw = connection
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
