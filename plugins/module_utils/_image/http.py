# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP from a managed host, for S3 and registries: verified TLS, proxies, bounded retries, constant memory.

Query strings (of presigned URLs) and Authorization headers are secrets: no error contains them.
"""

from __future__ import annotations

import base64
import email.utils
import html
import http.client
import ipaddress
import json
import os
import random
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Protocol, TypeVar, Union
from urllib.parse import unquote, urljoin, urlsplit

from .errors import ImageError

CHUNK = 1024 * 1024
SMALL_BODY_LIMIT = 8 * CHUNK
_READ_CHUNK = 256 * 1024
_ERROR_BODY_LIMIT = 64 * 1024
_MAX_REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
# Long enough for three lost packets. A missing route or a firewall must not take minutes to show.
CONNECT_TIMEOUT_SECONDS = 10.0
_FIRST_RETRY_DELAY = 0.5
_MAX_RETRY_DELAY = 20.0
_MAX_RETRY_AFTER = 60.0
_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_ORIGIN_BOUND_HEADERS = frozenset({"authorization", "cookie"})

_RETRYABLE_STATUSES = frozenset({408, 425, 429}) | (frozenset(range(500, 600)) - {501, 505, 511})
# S3 sends these with status 400 and 409 for requests that may be retried.
_RETRYABLE_CODES = frozenset({"RequestTimeout", "SlowDown", "OperationAborted", "ConditionalRequestConflict"})
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})

_SUGGESTIONS = {
    "RequestTimeTooSkewed": "The clock of this host is wrong: set it.",
    "SignatureDoesNotMatch": "The signature does not match: check the secret key, and that no proxy rewrites requests.",
    "InvalidAccessKeyId": "The service does not know the access key: check the credentials of the controller.",
    "NoSuchBucket": "Check the bucket's name, its region and the endpoint.",
    "AccessDenied": "The signer has no permission: check its policy, the bucket policy and the KMS key policy.",
    "TOOMANYREQUESTS": "The registry limits the rate of requests: wait, or log in for a higher limit.",
}

_T = TypeVar("_T")


class HttpError(ImageError):
    """A request that failed. The text contains no query string and no header.

    C(retryable): the same request may succeed later. C(expired): the URL or its credentials expired; sign it again.
    C(code) and C(service_error) are quoted from the service. C(headers) are those of the response, in lower case.
    """

    def __init__(
        self,
        method: str,
        url: str,
        problem: str,
        *,
        status: int | None = None,
        code: str = "",
        service_error: str = "",
        headers: Mapping[str, str] | None = None,
        retryable: bool = False,
        expired: bool = False,
        suggestion: str = "",
    ) -> None:
        self.method = method
        self.url = redact_url(url)
        self.problem = problem
        self.status = status
        self.code = code
        self.service_error = service_error
        self.headers: Mapping[str, str] = headers or {}
        self.retryable = retryable
        self.expired = expired
        self.suggestion = suggestion
        self.attempts = 1
        super().__init__(problem)

    def __str__(self) -> str:
        attempts = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{self.method} {self.url}: {self.problem}{attempts}." + (
            f" {self.suggestion}" if self.suggestion else ""
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class HttpConnectError(HttpError):
    """No response: name resolution, connection, TLS, proxy, time-out or reset."""


class HttpStatusError(HttpError):
    """A response with another status than the accepted ones."""


class HttpBodyError(HttpError):
    """A body, of the request or the response, that is not as announced: short, too large, or another range."""


@dataclass(frozen=True)
class HttpResponse:
    """A complete response with a small body. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")


class Readable(Protocol):
    """An object with read(n); b"" is the end."""

    def read(self, n: int, /) -> bytes: ...


RequestBody = Union[Iterable[bytes], Readable]
"""What put_stream sends: an iterable of chunks, or an object to read them from."""


@dataclass(frozen=True)
class _Address:
    """The parts of a URL; C(target) is path and query."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.target}"

    @classmethod
    def parse(cls, method: str, url: str) -> _Address:
        problem = ""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise HttpError(method, url, "it is no URL") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            problem = "the URL must begin with http:// or https:// and a host"
        elif parts.username is not None:
            problem = "the URL must contain no user name and no password; set them as options"
        elif not re.fullmatch(r"[!-~]+", url):
            problem = "the URL must contain no blanks, control characters or letters outside ASCII; encode them with %"
        if problem or parts.hostname is None:
            raise HttpError(method, url, problem)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], target)


_PORTS = {"http": 80, "https": 443}


def redact_url(url: str) -> str:
    """Removes user, password, query string and fragment from a URL, so that it can be shown."""
    bare, mark, query = url.partition("?")
    bare = re.sub(r"//[^/]*@", "//", bare.partition("#")[0])
    return bare + ("?..." if mark and query else "")


def _redact_text(text: str, address: _Address, headers: Mapping[str, str]) -> str:
    """Shortens a service's message and removes the secrets of the request, which some servers repeat in it."""
    secrets = [value.partition("=")[2] for value in address.target.partition("?")[2].split("&")]
    for name, value in headers.items():
        if name.lower() in _ORIGIN_BOUND_HEADERS:
            secrets += [value, value.partition(" ")[2]]
    for secret in secrets:
        for form in (secret, unquote(secret)):
            if len(form) >= 8:
                text = text.replace(form, "...")
    text = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1?...", text)
    text = " ".join(re.sub(r"[^\x20-\x7e\u00a0-\uffff]", " ", text).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _parse_error_body(body: bytes) -> tuple[str, str]:
    """Parses code and message of an S3 error (XML) or of a registry's (JSON); takes the start of any other text."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        with suppress(ValueError, RecursionError):
            return _parse_json_error(json.loads(text))
    # No XML parser: two fields are sufficient, and entities of a hostile document must not be expanded.
    code = re.search(r"<Code>([^<]{1,100})</Code>", text)
    message = re.search(r"<Message>([^<]*)</Message>", text)
    if code:
        return code.group(1), html.unescape(message.group(1)) if message else ""
    title = re.search(r"<title>([^<]*)</title>", text, re.IGNORECASE)
    if title:
        return "", html.unescape(title.group(1))
    return "", html.unescape(re.sub(r"<[^>]{0,500}>", " ", text[:2000]))


def _parse_json_error(document: dict[str, Any]) -> tuple[str, str]:
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else document
    code = first.get("code") or first.get("error") or ""
    message = first.get("message") or first.get("error_description") or first.get("details") or ""
    return str(code)[:100], str(message)


class HttpBodyReader:
    """The body of a response, read in chunks.

    C(length) is the sum of what read() yields (None: unknown until the end). C(total) is the object's size if known.
    """

    def __init__(
        self,
        address: _Address,
        response: http.client.HTTPResponse,
        skip: int,
        limit: int | None,
        length: int | None,
        total: int | None,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = _read_headers(response)
        self.length = length
        self.total = total
        self.bytes_read = 0
        self._address = address
        self._response = response
        self._skip = skip
        self._limit = length if limit is None else limit
        self._body_error: HttpBodyError | None = None

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")

    def read(self, n: int = CHUNK, /) -> bytes:
        """At most n bytes, b"" at the end. Raises HttpBodyError (retryable) if the body ends before its length.

        Every byte that was returned before counts, so the next attempt may start behind it.
        """
        while self._skip:
            chunk = self._read_chunk(self._skip)
            if not chunk:
                raise self._make_error("the response ended before the requested range begins")
            self._skip -= len(chunk)
        chunks: list[bytes] = []
        size = 0
        while size < n and not self._is_at_end():
            try:
                chunk = self._read_chunk(
                    n - size if self._limit is None else min(n - size, self._limit - self.bytes_read)
                )
            except HttpBodyError:
                if not chunks:
                    raise
                break  # the next read raises it again: the bytes received so far are returned first
            if not chunk:
                if self.length is None:
                    self._limit = self.bytes_read
                elif not chunks:
                    raise self._make_error(f"the response ended after {self.bytes_read} of {self.length} bytes")
                break
            chunks.append(chunk)
            size += len(chunk)
            self.bytes_read += len(chunk)
        if self._is_at_end():
            self.length = self.bytes_read
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _is_at_end(self) -> bool:
        return self._limit is not None and self.bytes_read == self._limit

    def _read_chunk(self, n: int) -> bytes:
        if self._body_error is not None:
            raise self._body_error
        try:
            return self._response.read1(min(n, _READ_CHUNK))
        except (OSError, http.client.HTTPException) as error:
            self._body_error = self._make_error(
                f"the response broke off after {self.bytes_read} bytes: {_describe_os_error(error)}"
            )
            raise self._body_error from None

    def _make_error(self, problem: str) -> HttpBodyError:
        return HttpBodyError("GET", self._address.url, problem, status=self.status, retryable=True)


@dataclass(frozen=True)
class _Proxy:
    host: str
    port: int
    authorization: str = field(repr=False)


class _ProxySettings:
    """The proxy variables, read as curl reads them: the lower-case name takes precedence."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        def get_value(name: str) -> str:
            return environ.get(name) or environ.get(name.upper()) or ""

        self._urls = {scheme: get_value(f"{scheme}_proxy") for scheme in _PORTS}
        self._no_proxy = [entry.strip().lower() for entry in get_value("no_proxy").split(",") if entry.strip()]

    def find_proxy(self, address: _Address) -> _Proxy | None:
        url = self._urls[address.scheme]
        if not url or any(self._matches(entry, address) for entry in self._no_proxy):
            return None
        name = f"{address.scheme}_proxy"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            host, port = None, 0
        if not host or parts.scheme != "http":
            raise ImageError(
                f"The variable {name} of this host names no http:// proxy. Set it to http://[user:password@]host:port."
            )
        authorization = ""
        if parts.username is not None:
            authorization = format_basic_auth(unquote(parts.username), unquote(parts.password or ""))
        return _Proxy(host, port, authorization)

    @staticmethod
    def _matches(entry: str, address: _Address) -> bool:
        if entry == "*":
            return True
        is_ip = False
        with suppress(ValueError):
            ip = ipaddress.ip_address(address.host)
            is_ip = True
            return ip in ipaddress.ip_network(entry, strict=False)
        name, port = entry.split(":") if entry.count(":") == 1 else (entry, "")
        if port and port != str(address.port):
            return False
        name = name.lstrip(".")
        return address.host == name or (not is_ip and address.host.endswith(f".{name}"))


def format_basic_auth(username: str, password: str) -> str:
    """Formats the Authorization header of a user name and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@dataclass(frozen=True)
class _Exchange:
    """A request in progress: its address, its connection, and the response's head."""

    method: str
    address: _Address
    headers: Mapping[str, str] = field(repr=False)
    connection: http.client.HTTPConnection = field(repr=False)
    response: http.client.HTTPResponse = field(repr=False)
    reusable: bool = True


class HttpClient:
    """A client for a whole run, which threads may share. Each exchange has a connection of its own."""

    def __init__(
        self,
        ca_path: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        environ: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Loads the certificates, if any.

        C(ca_path): a PEM file, or a directory of them, trusted beside the system's authorities.
        C(timeout): seconds without progress. C(retries): how often a request is retried after a transient failure.
        """
        self.timeout = timeout
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._proxies = _ProxySettings(os.environ if environ is None else environ)
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, int], list[http.client.HTTPConnection]] = {}
        # The system's certificates take milliseconds to load, so plain HTTP skips them. A wrong path must fail at once.
        self._tls_context: ssl.SSLContext | None = _create_tls_context(ca_path) if ca_path else None

    def close(self) -> None:
        """Closes the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        ok: Collection[int] = (200, 201, 202, 204),
        limit: int = SMALL_BODY_LIMIT,
    ) -> HttpResponse:
        """Sends a request with a small response, at most C(limit) bytes. GET and HEAD follow redirects."""

        def make_attempt() -> HttpResponse:
            exchange = self._send_request(method, url, headers or {}, body, ok)
            return self._finish(exchange, limit)

        return self._retry(make_attempt)

    @contextmanager
    def open_stream(
        self, url: str, headers: Mapping[str, str] | None = None, start: int = 0, end: int | None = None
    ) -> Iterator[HttpBodyReader]:
        """Opens a GET as a stream, from byte C(start) to before byte C(end), as in a slice. Follows redirects.

        Opening is retried as usual. A body that breaks off is a retryable error of the reader, so that the caller
        continues behind the bytes that it has.
        """
        if start < 0 or (end is not None and end <= start):
            raise ValueError(f"{start} to {end} is no range")
        request_headers = dict(headers or {})
        ranged = start > 0 or end is not None
        if ranged:
            request_headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"

        def make_attempt() -> tuple[_Exchange, HttpBodyReader]:
            exchange = self._send_request("GET", url, request_headers, None, (200, 206) if ranged else (200,))
            try:
                return exchange, _make_reader(exchange, start, end)
            except HttpError:
                exchange.connection.close()
                raise

        exchange, reader = self._retry(make_attempt)
        try:
            yield reader
        finally:
            self._release_connection(
                exchange, is_complete=exchange.response.length == 0 or exchange.response.isclosed()
            )

    def put_stream(
        self,
        url: str,
        headers: Mapping[str, str] | None,
        make_body: Callable[[], RequestBody],
        length: int,
        ok: Collection[int] = (200, 201, 204),
    ) -> HttpResponse:
        """Sends exactly C(length) bytes by PUT, never chunked. A retry calls C(make_body) again.

        With If-None-Match, a 412 after a lost response may be the object of this call's first attempt: read the object
        to decide. An error that C(make_body) raises passes unchanged. It is retried if it is a retryable HttpError.
        """

        def make_attempt() -> HttpResponse:
            return self._finish(self._upload(url, headers or {}, make_body, length, ok), SMALL_BODY_LIMIT)

        return self._retry(make_attempt)

    # -- attempts

    def _retry(self, make_attempt: Callable[[], _T]) -> _T:
        """Retry a request, such as an S3 PUT or a registry GET, after a transient failure (_RETRYABLE_STATUSES)."""
        for number in range(self.retries + 1):
            try:
                return make_attempt()
            except HttpError as error:
                if not error.retryable or number == self.retries:
                    error.attempts = number + 1
                    raise
                self._sleep(self._get_retry_delay(number, error.headers.get("retry-after", "")))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _get_retry_delay(self, number: int, retry_after: str) -> float:
        """Full jitter, so that hosts that fail together do not retry together. Retry-After of a server is a minimum."""
        delay = self._jitter() * min(_MAX_RETRY_DELAY, _FIRST_RETRY_DELAY * 2.0**number)
        requested_delay = 0.0
        if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
            requested_delay = float(retry_after)
        elif retry_after:
            with suppress(TypeError, ValueError, OverflowError):  # Python 3.9 raises TypeError for what is no date
                requested_delay = email.utils.parsedate_to_datetime(retry_after).timestamp() - self._clock()
        return max(delay, min(requested_delay, _MAX_RETRY_AFTER))

    # -- one exchange

    def _send_request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, ok: Collection[int]
    ) -> _Exchange:
        """Sends the request, follows redirects, and returns with the head of a response whose status is in C(ok)."""
        address = _Address.parse(method, url)
        for remaining in range(_MAX_REDIRECTS, -1, -1):
            connection = self._begin_request(method, address, headers, None if body is None else len(body))
            try:
                if body is not None:
                    connection.send(body)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise self._make_no_response_error(method, address, error) from None
            exchange = _Exchange(method, address, headers, connection, response)
            if response.status in ok:
                return exchange
            if response.status not in _REDIRECT_STATUSES or method not in ("GET", "HEAD"):
                raise self._make_status_error(exchange)
            if not remaining:
                connection.close()
                break
            following = _get_redirect_address(exchange)
            self._finish(exchange, _ERROR_BODY_LIMIT)
            if following.origin != address.origin:
                headers = {name: value for name, value in headers.items() if name.lower() not in _ORIGIN_BOUND_HEADERS}
            address = following
        raise HttpError(method, url, f"more than {_MAX_REDIRECTS} redirects")

    def _upload(
        self,
        url: str,
        headers: Mapping[str, str],
        make_body: Callable[[], RequestBody],
        length: int,
        ok: Collection[int],
    ) -> _Exchange:
        address = _Address.parse("PUT", url)
        source = make_body()
        connection = None
        try:
            chunks = _iter_exact_body(source, length, url)
            connection = self._begin_request("PUT", address, headers, length)
            response = self._send_chunks(connection, address, chunks)
            early = response is not None
            if response is None:
                try:
                    response = connection.getresponse()
                except (OSError, http.client.HTTPException) as error:
                    raise self._make_no_response_error("PUT", address, error) from None
        except BaseException:  # also an interrupt: a connection with half a request must not be reused
            if connection is not None:
                connection.close()
            raise
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        exchange = _Exchange("PUT", address, headers, connection, response, reusable=not early)
        if response.status not in ok:
            raise self._make_status_error(exchange)
        if early and response.status < 300:
            connection.close()
            raise HttpBodyError(
                "PUT", url, "the service accepted it before all bytes were sent", status=response.status, retryable=True
            )
        return exchange

    def _send_chunks(
        self, connection: http.client.HTTPConnection, address: _Address, chunks: Iterator[bytes]
    ) -> http.client.HTTPResponse | None:
        """Sends the chunks. Returns a response that arrives before the last of them, which ends the sending."""
        for chunk in chunks:
            try:
                response = _send_chunk(connection, memoryview(chunk))
            except (OSError, http.client.HTTPException) as error:
                # A server that refuses and closes can make the sending fail before its response is read.
                response = None
                with suppress(OSError, http.client.HTTPException):
                    response = _read_early_response(connection)
                if response is None:
                    raise self._make_no_response_error("PUT", address, error) from None
            if response is not None:
                return response
        return None

    def _begin_request(
        self, method: str, address: _Address, headers: Mapping[str, str], length: int | None
    ) -> http.client.HTTPConnection:
        """Sends the head of the request and returns its connection."""
        for name, value in headers.items():
            if not re.fullmatch(r"[!-9;-~]+", name) or not re.fullmatch(r"[\t -~\u00a0-\u00ff]*", value):
                raise HttpError(
                    method, address.url, f"the header {name!r} contains a character that is not allowed in a header"
                )
        proxy = self._proxies.find_proxy(address)
        connection = self._take_idle_connection(address) or self._connect(method, address, proxy)
        absolute = proxy is not None and address.scheme == "http"
        try:
            connection.putrequest(method, address.url if absolute else address.target)
            if absolute and proxy is not None and proxy.authorization:
                connection.putheader("Proxy-Authorization", proxy.authorization)
            if "user-agent" not in {name.lower() for name in headers}:
                connection.putheader("User-Agent", "daytwo.aws")
            for name, value in headers.items():
                connection.putheader(name, value)
            if length is not None:
                connection.putheader("Content-Length", str(length))
            connection.endheaders()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._make_no_response_error(method, address, error) from None
        return connection

    def _take_idle_connection(self, address: _Address) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                idle = self._idle.get(address.origin)
                connection = idle.pop() if idle else None
            if connection is None:
                return None
            # Readable without a request means closed by the server, or out of step. Neither can be reused.
            if connection.sock is not None and not _is_ready(connection.sock, select.POLLIN):
                return connection
            connection.close()

    def _connect(self, method: str, address: _Address, proxy: _Proxy | None) -> http.client.HTTPConnection:
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        connection: http.client.HTTPConnection
        try:
            timeout = min(self.timeout, CONNECT_TIMEOUT_SECONDS)
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
                connection.timeout = self.timeout
                connection.sock.settimeout(self.timeout)
            except BaseException:
                connection.close()
                raise
        except (OSError, http.client.HTTPException) as error:
            raise self._make_connection_error(method, address, proxy, error) from None
        return connection

    def _get_tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls_context is None:
                self._tls_context = _create_tls_context(None)
            return self._tls_context

    def _finish(self, exchange: _Exchange, limit: int) -> HttpResponse:
        """Reads a small body to its end and releases the connection for reuse."""
        response = exchange.response
        announced = response.length
        try:
            body = _read_bounded(response, limit + 1)
        except (OSError, http.client.HTTPException) as error:
            exchange.connection.close()
            problem = f"the response broke off: {_describe_os_error(error)}"
            raise self._make_body_error(exchange, problem, retryable=exchange.method in _IDEMPOTENT_METHODS) from None
        if len(body) > limit:
            exchange.connection.close()
            raise self._make_body_error(
                exchange, f"the response is larger than {limit} bytes, the limit for it", retryable=False
            )
        if announced is not None and len(body) < announced:
            exchange.connection.close()
            problem = f"the response ended after {len(body)} of {announced} bytes"
            raise self._make_body_error(exchange, problem, retryable=exchange.method in _IDEMPOTENT_METHODS)
        self._release_connection(exchange, is_complete=True)
        return HttpResponse(response.status, _read_headers(response), body)

    def _release_connection(self, exchange: _Exchange, is_complete: bool) -> None:
        connection, response = exchange.connection, exchange.response
        reusable = (
            exchange.reusable and is_complete and connection.sock is not None
        )  # http.client drops it after Connection: close
        response.close()
        if not reusable:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(exchange.address.origin, []).append(connection)

    # -- errors

    @staticmethod
    def _make_body_error(exchange: _Exchange, problem: str, retryable: bool) -> HttpBodyError:
        return HttpBodyError(
            exchange.method, exchange.address.url, problem, status=exchange.response.status, retryable=retryable
        )

    @staticmethod
    def _make_status_error(exchange: _Exchange) -> HttpStatusError:
        """Makes the error of a status that is not accepted, with the service's message. Its connection is closed."""
        body = b""
        with suppress(OSError, http.client.HTTPException):
            body = _read_bounded(exchange.response, _ERROR_BODY_LIMIT)
        exchange.connection.close()
        address, status, headers = exchange.address, exchange.response.status, _read_headers(exchange.response)
        code, message = (_redact_text(text, address, exchange.headers) for text in _parse_error_body(body))
        service_error = ": ".join(text for text in (code, message.rstrip(".")) if text)
        expired = code in _EXPIRED_CODES or (status in (400, 401, 403) and "expired" in message.lower())
        retryable = not expired and (status in _RETRYABLE_STATUSES or code in _RETRYABLE_CODES)
        reason = _redact_text(exchange.response.reason or "", address, exchange.headers)
        return HttpStatusError(
            exchange.method,
            address.url,
            f"{status} {reason}".strip() + (f", {service_error}" if service_error else ""),
            status=status,
            code=code,
            service_error=service_error,
            headers=headers,
            retryable=retryable and exchange.method in _IDEMPOTENT_METHODS,
            expired=expired,
            suggestion=_get_suggestion(status, code, expired, headers),
        )

    @staticmethod
    def _make_no_response_error(method: str, address: _Address, error: Exception) -> HttpConnectError:
        problem = f"no response: {_describe_os_error(error)}"
        return HttpConnectError(method, address.url, problem, retryable=method in _IDEMPOTENT_METHODS)

    @staticmethod
    def _make_connection_error(
        method: str, address: _Address, proxy: _Proxy | None, error: Exception
    ) -> HttpConnectError:
        """Makes the error of a failed connection. Nothing was sent, so every method may be retried if that can help."""
        peer = f"the proxy {proxy.host}:{proxy.port}" if proxy else address.netloc
        retryable, suggestion = True, ""
        tunnel = re.match(r"Tunnel connection failed: (\d+)", str(error))
        if tunnel:
            retryable = int(tunnel.group(1)) >= 500
            suggestion = (
                "The proxy refuses the connection: check https_proxy, its user and password, and no_proxy on this host."
            )
        elif isinstance(error, ssl.SSLCertVerificationError):
            retryable, suggestion = (
                False,
                "If a private authority signed it, set ca_path to the authority's certificate on this host.",
            )
            if "match" in error.verify_message or "not valid for" in error.verify_message:
                suggestion = "The certificate is for another name: use a name of the certificate in the URL."
        elif isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            retryable, suggestion = False, "Check that this port uses TLS. A registry without TLS needs plain_http."
        elif isinstance(error, socket.gaierror):
            retryable = error.errno == socket.EAI_AGAIN
            suggestion = "This host cannot resolve the name: check its DNS, or set a proxy."
        elif isinstance(error, socket.timeout):
            suggestion = "This host does not reach the service: check routes and firewalls, or set a proxy."
        return HttpConnectError(
            method,
            address.url,
            f"no connection to {peer}: {_describe_os_error(error)}",
            retryable=retryable,
            suggestion=suggestion,
        )


def _create_tls_context(ca_path: str | None) -> ssl.SSLContext:
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
            f"ca_path {ca_path}: {_describe_os_error(error)}. Set a PEM file, or a directory of .pem or .crt files."
        ) from None
    if not files:
        raise ImageError(
            f"ca_path {ca_path}: the directory has no .pem, .crt or .cer file. Set a PEM file, or a directory of them."
        )
    return context


def _read_headers(response: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_bounded(response: http.client.HTTPResponse, limit: int) -> bytes:
    # In chunks: read(limit) of older Pythons allocates that much, even for the smallest response.
    remaining = limit if response.length is None else min(limit, response.length)
    chunks = []
    while remaining:
        chunk = response.read1(min(remaining, _READ_CHUNK))
        if not chunk:
            break
        chunks.append(chunk)
        remaining -= len(chunk)
    return b"".join(chunks)


def _is_ready(sock: socket.socket, events: int, timeout: float = 0.0) -> bool:
    poll = select.poll()  # not select(): it fails on descriptors above 1023
    poll.register(sock, events)
    return bool(poll.poll(timeout * 1000))


def _send_chunk(connection: http.client.HTTPConnection, view: memoryview) -> http.client.HTTPResponse | None:
    """Sends a chunk, or returns the response that arrived before it was sent.

    It does not use sendall(). While that waits for a server that no longer reads, the response stays unread, and its
    time-out covers the whole chunk however well the sending proceeds.
    """
    sock, timeout = connection.sock, connection.timeout or 0.0
    response = _read_early_response(connection)
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
            if not _is_ready(sock, select.POLLIN | select.POLLOUT, timeout):
                raise socket.timeout
            response = _read_early_response(connection)
    return response


def _read_early_response(connection: http.client.HTTPConnection) -> http.client.HTTPResponse | None:
    """Reads the head of the response, if it begins to arrive during the sending.

    With TLS a readable socket may hold a session ticket only, so only a byte of plain text counts.
    """
    sock = connection.sock
    if sock is None or not _is_ready(sock, select.POLLIN):
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


def _iter_exact_body(source: RequestBody, length: int, url: str) -> Iterator[bytes]:
    """Yields the chunks of a body, and checks them against the length that the request announces."""
    sent = 0
    if hasattr(source, "read"):
        reader = source
        chunks = iter(lambda: reader.read(CHUNK), b"")
    else:
        chunks = iter(source)
    for chunk in chunks:
        sent += len(chunk)
        if sent > length:
            raise HttpBodyError("PUT", url, f"the source has more than the announced {length} bytes")
        yield chunk
    if sent < length:
        raise HttpBodyError("PUT", url, f"the source ended after {sent} of {length} bytes")


def _make_reader(exchange: _Exchange, start: int, end: int | None) -> HttpBodyReader:
    """Makes a reader of the requested range, whether the server sent the range or, as it may, the whole object."""
    response, address = exchange.response, exchange.address
    announced = response.length
    if response.status == 200:
        limit = None if end is None else end - start
        if announced is None:
            return HttpBodyReader(address, response, start, limit, None, None)
        if announced < start:
            raise HttpBodyError(
                "GET", address.url, f"byte {start} was requested, the object has {announced} bytes", status=200
            )
        length = announced - start if limit is None else min(limit, announced - start)
        return HttpBodyReader(address, response, start, length, length, announced)
    text = response.getheader("Content-Range") or ""
    found = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", text.strip())
    problem = f"the response has the range {text[:80]!r}, the request was from {start} to before {end or 'the end'}"
    if not found:
        raise HttpBodyError("GET", address.url, problem, status=206)
    first, last = int(found.group(1)), int(found.group(2))
    total = None if found.group(3) == "*" else int(found.group(3))
    # A server may send less than the requested range if the object ends before C(end). Then its total must agree.
    short = end is None or last + 1 < end
    if first != start or last < first or (end is not None and last >= end) or (short and total not in (None, last + 1)):
        raise HttpBodyError("GET", address.url, problem, status=206)
    if announced is not None and announced != last + 1 - first:
        raise HttpBodyError("GET", address.url, f"{problem}, and announces {announced} bytes", status=206)
    length = last + 1 - first
    return HttpBodyReader(address, response, 0, length, length, total)


def _get_redirect_address(exchange: _Exchange) -> _Address:
    location = exchange.response.getheader("Location") or ""
    method, address = exchange.method, exchange.address
    if not location:
        raise HttpError(method, address.url, f"{exchange.response.status} without a Location header")
    following = _Address.parse(method, urljoin(address.url, location))
    if address.scheme == "https" and following.scheme == "http":
        raise HttpError(
            method,
            address.url,
            f"redirected from TLS to {redact_url(following.url)} without TLS",
            suggestion="The redirect would lose the protection of TLS: correct the address in the service's settings.",
        )
    return following


def _get_suggestion(status: int, code: str, expired: bool, headers: Mapping[str, str]) -> str:
    if expired:
        return "The signed URL, or the credentials that signed it, expired: sign again with valid credentials."
    region = headers.get("x-amz-bucket-region", "")
    if region and (status in (301, 307, 400) or code == "AuthorizationHeaderMalformed"):
        return f"The bucket is in the region {region[:40]}: use that region."
    if status == 407:
        return "The proxy requires a user and a password: set them in the proxy variable of this host."
    return _SUGGESTIONS.get(code, "")


def _describe_os_error(error: BaseException) -> str:
    """Describes a failure by the system's message, without any content of the request."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, socket.timeout):
        return "timed out"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection"
    if isinstance(error, http.client.HTTPException):
        return f"what the server sent is no HTTP ({type(error).__name__})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__
