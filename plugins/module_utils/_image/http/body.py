# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bodies of requests and responses, in chunks: constant memory, and every length verified."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Union

from .address import HttpAddress
from .errors import HttpBodyError, describe_os_error

CHUNK = 1024 * 1024
_READ_CHUNK = 256 * 1024


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


class HttpBodyReader:
    """The body of a response, read in chunks.

    C(length) is the sum of what read() yields (None: unknown until the end). C(total) is the object's size if known.
    """

    def __init__(
        self,
        address: HttpAddress,
        response: http.client.HTTPResponse,
        skip: int,
        limit: int | None,
        length: int | None,
        total: int | None,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = read_headers(response)
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
                f"the response broke off after {self.bytes_read} bytes: {describe_os_error(error)}"
            )
            raise self._body_error from None

    def _make_error(self, problem: str) -> HttpBodyError:
        return HttpBodyError("GET", self._address.url, problem, status=self.status, retryable=True)


def read_headers(response: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.getheaders():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def read_bounded(response: http.client.HTTPResponse, limit: int) -> bytes:
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


def iter_exact_body(source: RequestBody, length: int, url: str) -> Iterator[bytes]:
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


def make_reader(
    address: HttpAddress, response: http.client.HTTPResponse, start: int, end: int | None
) -> HttpBodyReader:
    """Makes a reader of the requested range, whether the server sent the range or, as it may, the whole object."""
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
