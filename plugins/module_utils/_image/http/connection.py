# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections with verified TLS, and proxies; each is reused after a complete exchange."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path

from ..errors import ImageError
from .address import HttpAddress, HttpProxy, ProxySettings
from .errors import describe_os_error, make_connection_error

# Long enough for three lost packets. A missing route or a firewall must not take minutes to show.
CONNECT_TIMEOUT_SECONDS = 10.0


class ConnectionPool:
    """The connections of a client, which threads may share. Idle ones are reused.

    C(timeout): seconds without progress. C(ca_path): a PEM file, or a directory of them, trusted beside the system's
    authorities.
    """

    def __init__(self, timeout: float, ca_path: str | None, environ: Mapping[str, str] | None) -> None:
        self._timeout = timeout
        self._proxies = ProxySettings(os.environ if environ is None else environ)
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, int], list[http.client.HTTPConnection]] = {}
        # The system's certificates take milliseconds to load, so plain HTTP skips them. A wrong path must fail at once.
        self._tls_context: ssl.SSLContext | None = create_tls_context(ca_path) if ca_path else None

    def close(self) -> None:
        """Closes the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def open(self, method: str, address: HttpAddress) -> tuple[http.client.HTTPConnection, HttpProxy | None]:
        """Opens a connection, or takes an idle one, and the proxy that needs the whole URL in the request."""
        proxy = self._proxies.find_proxy(address)
        connection = self._take_idle(address) or self._connect(method, address, proxy)
        return connection, proxy if address.scheme == "http" else None

    def release(self, address: HttpAddress, connection: http.client.HTTPConnection) -> None:
        """Keeps a connection for reuse, after a complete exchange."""
        with self._lock:
            self._idle.setdefault(address.origin, []).append(connection)

    def _take_idle(self, address: HttpAddress) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                idle = self._idle.get(address.origin)
                connection = idle.pop() if idle else None
            if connection is None:
                return None
            # Readable without a request means closed by the server, or out of step. Neither can be reused.
            if connection.sock is not None and not is_ready(connection.sock, select.POLLIN):
                return connection
            connection.close()

    def _connect(self, method: str, address: HttpAddress, proxy: HttpProxy | None) -> http.client.HTTPConnection:
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        connection: http.client.HTTPConnection
        try:
            timeout = min(self._timeout, CONNECT_TIMEOUT_SECONDS)
            if address.scheme == "https":
                connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._get_tls_context())
                if proxy:
                    headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
                    connection.set_tunnel(address.host, address.port, headers)
            else:
                connection = http.client.HTTPConnection(host, port, timeout=timeout)
            connection.auto_open = 0  # a lost connection must be an error, and never be opened again silently
            try:
                connection.connect()
                connection.timeout = self._timeout
                connection.sock.settimeout(self._timeout)
            except BaseException:
                connection.close()
                raise
        except (OSError, UnicodeError, http.client.HTTPException) as error:  # UnicodeError: no name of DNS
            peer = f"the proxy {proxy.host}:{proxy.port}" if proxy else address.netloc
            raise make_connection_error(method, address.url, peer, error) from None
        return connection

    def _get_tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls_context is None:
                self._tls_context = create_tls_context(None)
            return self._tls_context


def create_tls_context(ca_path: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # Python 3.13 checks certificates in a strict mode that many private authorities do not meet. Hosts with an older
    # Python and the engines accept them, and the same ca_path must work on all hosts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca_path is None:
        return context
    path = Path(ca_path)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        files = [file for file in files if file == path or file.suffix in (".pem", ".crt", ".cer")]
        for file in files:
            context.load_verify_locations(cafile=str(file))
    except OSError as error:  # SSLError is one
        raise ImageError(
            f"ca_path {ca_path}: {describe_os_error(error)}. Set a PEM file, or a directory of .pem or .crt files."
        ) from None
    if not files:
        raise ImageError(
            f"ca_path {ca_path}: the directory has no .pem, .crt or .cer file. Set a PEM file, or a directory of them."
        )
    return context


def is_ready(sock: socket.socket, events: int, timeout: float = 0.0) -> bool:
    poll = select.poll()  # not select(): it fails on descriptors above 1023
    poll.register(sock, events)
    return bool(poll.poll(timeout * 1000))


def send_chunk(connection: http.client.HTTPConnection, view: memoryview) -> http.client.HTTPResponse | None:
    """Sends a chunk, or returns the response that arrived before it was sent.

    It does not use sendall(). While that waits for a server that no longer reads, the response stays unread, and its
    time-out covers the whole chunk however well the sending proceeds.
    """
    sock, timeout = connection.sock, connection.timeout or 0.0
    response = read_early_response(connection)
    while response is None and view:
        sock.settimeout(0)
        try:
            while view:
                view = view[sock.send(view) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        finally:
            sock.settimeout(timeout)
        if view:
            if not is_ready(sock, select.POLLIN | select.POLLOUT, timeout):
                raise socket.timeout
            response = read_early_response(connection)
    return response


def read_early_response(connection: http.client.HTTPConnection) -> http.client.HTTPResponse | None:
    """Reads the head of the response, if it begins to arrive during the sending.

    With TLS a readable socket may hold a session ticket only, so only a byte of plain text counts.
    """
    sock = connection.sock
    if sock is None or not is_ready(sock, select.POLLIN):
        return None
    response = http.client.HTTPResponse(sock, method="PUT")
    sock.settimeout(0)
    try:
        begun = response.fp.peek(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        response.close()
        return None
    finally:
        sock.settimeout(connection.timeout)
    if not begun:
        raise http.client.RemoteDisconnected("")
    response.begin()
    return response
