# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP from a managed host, for S3 and registries: verified TLS, proxies, bounded retries, constant memory.

Query strings (of presigned URLs) and Authorization headers are secrets: no error contains them.
"""

from __future__ import annotations

import email.utils
import http.client
import random
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Callable, TypeVar
from urllib.parse import urljoin

from .address import HttpAddress
from .body import (
    CHUNK,
    HttpBodyReader,
    HttpResponse,
    RequestBody,
    iter_exact_body,
    make_reader,
    read_bounded,
    read_headers,
)
from .connection import ConnectionPool, read_early_response, send_chunk
from .errors import (
    IDEMPOTENT_METHODS,
    ORIGIN_BOUND_HEADERS,
    HttpBodyError,
    HttpError,
    describe_os_error,
    make_no_response_error,
    make_status_error,
    redact_url,
)

SMALL_BODY_LIMIT = 8 * CHUNK
_ERROR_BODY_LIMIT = 64 * 1024
_MAX_REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_FIRST_RETRY_DELAY = 0.5
_MAX_RETRY_DELAY = 20.0
_MAX_RETRY_AFTER = 60.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Exchange:
    """A request in progress: its address, its connection, and the response's head."""

    method: str
    address: HttpAddress
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
        self.retries = retries
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._pool = ConnectionPool(timeout, ca_path, environ)

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.close()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        ok: Collection[int] = (200, 201, 202, 204),
        limit: int = SMALL_BODY_LIMIT,
        retries: int | None = None,
    ) -> HttpResponse:
        """Sends a request with a small response, at most C(limit) bytes. GET and HEAD follow redirects.

        C(retries): those of the client by default.
        """

        def make_attempt() -> HttpResponse:
            exchange = self._send_request(method, url, headers or {}, body, ok)
            return self._finish(exchange, limit)

        return self.retry(make_attempt, retries=retries)

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
                return exchange, make_reader(exchange.address, exchange.response, start, end)
            except HttpError:
                exchange.connection.close()
                raise

        exchange, reader = self.retry(make_attempt)
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

        return self.retry(lambda: self.send_stream("PUT", url, headers, make_body, length, ok))

    def send_stream(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        make_body: Callable[[], RequestBody],
        length: int,
        ok: Collection[int] = (200, 201, 202, 204),
    ) -> HttpResponse:
        """Sends exactly C(length) bytes by C(method) (PUT or PATCH), once. See C(put_stream)."""
        return self._finish(self._upload(method, url, headers or {}, make_body, length, ok), SMALL_BODY_LIMIT)

    def retry(self, make_attempt: Callable[[], _T], is_idempotent: bool = False, retries: int | None = None) -> _T:
        """Retry a request, such as an S3 PUT or a registry GET, after a transient failure (_RETRYABLE_STATUSES).

        C(is_idempotent): the attempt may be repeated whatever its methods are.
        """
        retries = self.retries if retries is None else retries
        for number in range(retries + 1):
            try:
                return make_attempt()
            except HttpError as error:
                is_retryable = error.retryable or (is_idempotent and error.transient)
                if not is_retryable or number == retries:
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
        address = HttpAddress.parse(method, url)
        for remaining in range(_MAX_REDIRECTS, -1, -1):
            connection = self._begin_request(method, address, headers, None if body is None else len(body))
            try:
                if body is not None:
                    connection.send(body)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                raise make_no_response_error(method, address.url, error) from None
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
                headers = {name: value for name, value in headers.items() if name.lower() not in ORIGIN_BOUND_HEADERS}
            address = following
        raise HttpError(method, url, f"more than {_MAX_REDIRECTS} redirects")

    def _upload(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        make_body: Callable[[], RequestBody],
        length: int,
        ok: Collection[int],
    ) -> _Exchange:
        address = HttpAddress.parse(method, url)
        source = make_body()
        connection = None
        try:
            chunks = iter_exact_body(source, length, url)
            connection = self._begin_request(method, address, headers, length)
            response = self._send_chunks(method, connection, address, chunks)
            early = response is not None
            if response is None:
                try:
                    response = connection.getresponse()
                except (OSError, http.client.HTTPException) as error:
                    raise make_no_response_error(method, address.url, error) from None
        except BaseException:  # also an interrupt: a connection with half a request must not be reused
            if connection is not None:
                connection.close()
            raise
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        exchange = _Exchange(method, address, headers, connection, response, reusable=not early)
        if response.status not in ok:
            raise self._make_status_error(exchange)
        if early and response.status < 300:
            connection.close()
            raise HttpBodyError(
                method,
                url,
                "the service accepted it before all bytes were sent",
                status=response.status,
                retryable=True,
            )
        return exchange

    def _send_chunks(
        self, method: str, connection: http.client.HTTPConnection, address: HttpAddress, chunks: Iterator[bytes]
    ) -> http.client.HTTPResponse | None:
        """Sends the chunks. Returns a response that arrives before the last of them, which ends the sending."""
        for chunk in chunks:
            try:
                response = send_chunk(connection, memoryview(chunk))
            except (OSError, http.client.HTTPException) as error:
                # A server that refuses and closes can make the sending fail before its response is read.
                response = None
                with suppress(OSError, http.client.HTTPException):
                    response = read_early_response(connection)
                if response is None:
                    raise make_no_response_error(method, address.url, error) from None
            if response is not None:
                return response
        return None

    def _begin_request(
        self, method: str, address: HttpAddress, headers: Mapping[str, str], length: int | None
    ) -> http.client.HTTPConnection:
        """Sends the head of the request and returns its connection."""
        for name, value in headers.items():
            if not re.fullmatch(r"[!-9;-~]+", name) or not re.fullmatch(r"[\t -~\u00a0-\u00ff]*", value):
                raise HttpError(
                    method, address.url, f"the header {name!r} contains a character that is not allowed in a header"
                )
        connection, proxy = self._pool.open(method, address)
        try:
            connection.putrequest(method, address.url if proxy else address.target)
            if proxy is not None and proxy.authorization:
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
            raise make_no_response_error(method, address.url, error) from None
        return connection

    def _finish(self, exchange: _Exchange, limit: int) -> HttpResponse:
        """Reads a small body to its end and releases the connection for reuse."""
        response = exchange.response
        announced = response.length
        try:
            body = read_bounded(response, limit + 1)
        except (OSError, http.client.HTTPException) as error:
            exchange.connection.close()
            problem = f"the response broke off: {describe_os_error(error)}"
            raise self._make_body_error(exchange, problem, retryable=exchange.method in IDEMPOTENT_METHODS) from None
        if len(body) > limit:
            exchange.connection.close()
            raise self._make_body_error(
                exchange, f"the response is larger than {limit} bytes, the limit for it", retryable=False
            )
        if announced is not None and len(body) < announced:
            exchange.connection.close()
            problem = f"the response ended after {len(body)} of {announced} bytes"
            raise self._make_body_error(exchange, problem, retryable=exchange.method in IDEMPOTENT_METHODS)
        self._release_connection(exchange, is_complete=True)
        return HttpResponse(response.status, read_headers(response), body)

    def _release_connection(self, exchange: _Exchange, is_complete: bool) -> None:
        connection = exchange.connection
        # http.client drops the socket after Connection: close.
        reusable = exchange.reusable and is_complete and connection.sock is not None
        exchange.response.close()
        if reusable:
            self._pool.release(exchange.address, connection)
        else:
            connection.close()

    @staticmethod
    def _make_body_error(exchange: _Exchange, problem: str, retryable: bool) -> HttpBodyError:
        return HttpBodyError(
            exchange.method, exchange.address.url, problem, status=exchange.response.status, retryable=retryable
        )

    def _make_status_error(self, exchange: _Exchange) -> HttpError:
        """Makes the error of a status that is not accepted.

        A small response to a request without a body leaves its connection for reuse. A server may not have read a body.
        """
        body, response, is_complete = b"", exchange.response, False
        with suppress(OSError, http.client.HTTPException):
            body = read_bounded(response, _ERROR_BODY_LIMIT)
            is_complete = response.length == 0 or response.isclosed()
        self._release_connection(exchange, is_complete and exchange.method in ("GET", "HEAD"))
        return make_status_error(
            exchange.method,
            exchange.address.url,
            response.status,
            response.reason or "",
            read_headers(response),
            body,
            exchange.headers,
        )


def _get_redirect_address(exchange: _Exchange) -> HttpAddress:
    location = exchange.response.getheader("Location") or ""
    method, address = exchange.method, exchange.address
    if not location:
        raise HttpError(method, address.url, f"{exchange.response.status} without a Location header")
    following = HttpAddress.parse(method, urljoin(address.url, location))
    if address.scheme == "https" and following.scheme == "http":
        raise HttpError(
            method,
            address.url,
            f"redirected from TLS to {redact_url(following.url)} without TLS",
            suggestion="The redirect would lose the protection of TLS: correct the address in the service's settings.",
        )
    return following
