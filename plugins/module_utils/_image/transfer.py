# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries blobs between a host and the store by signed URLs: several at once, for some seconds at a call."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Protocol

from .errors import ImageError
from .http import Client, HttpBodyError, HttpError, Readable
from .model import Outcome, checked_digest, hex_of, stored_version
from .staging import CHUNK, Staging, private_opener
from .throttle import NO_LIMIT, Throttle

# A store limits each connection more than the link does; more than this gains nothing on two cores.
PARALLEL = 4
_BROKEN_BODIES = 5


@dataclass(frozen=True)
class Transfer:
    """One request to be made: a whole blob (C(number) 0) or one part of an upload, and the URL that permits it."""

    digest: str
    media_type: str
    number: int
    offset: int
    length: int
    url: str = field(repr=False)
    headers: Mapping[str, str]
    reference: str

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Transfer:
        return cls(
            checked_digest(value["digest"], "work.transfers.digest"),
            str(value["media_type"]),
            int(value["number"]),
            int(value["offset"]),
            int(value["length"]),
            str(value["url"]),
            {str(name): str(content) for name, content in (value.get("headers") or {}).items()},
            str(value["reference"]),
        )


class BlobSource(Protocol):
    """Where a source host takes a blob from: its registry, or its staging folder."""

    def open(self, transfer: Transfer) -> AbstractContextManager[Readable]:
        """The bytes of one request: the whole blob, or the part from its offset on."""


class StagedSource:
    """Blobs that an engine's archive was taken apart into."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    @contextmanager
    def open(self, transfer: Transfer) -> Iterator[Readable]:
        with open(self._staging.path(transfer.digest), "rb") as file:
            file.seek(transfer.offset)
            yield file


def send(
    transfers: Sequence[Transfer], source: BlobSource, client: Client, seconds: float, throttle: Throttle = NO_LIMIT
) -> list[Outcome]:
    """PUTs what it can begin within C(seconds). What is left comes back as not done."""
    deadline = time.monotonic() + seconds

    def one(transfer: Transfer) -> Outcome:
        if time.monotonic() >= deadline:
            return Outcome(transfer.digest, done=False)
        response = client.put_stream(
            transfer.url,
            transfer.headers,
            lambda: throttle.over(_body(source, transfer)),
            transfer.length,
            # 412: somebody else has put the same content there in the meantime; the controller looks.
            ok=(200, 201, 204, 412),
        )
        return Outcome(
            transfer.digest, True, transfer.length, transfer.length, etag=response.etag, number=transfer.number
        )

    return _each(transfers, one)


def fetch(
    transfers: Sequence[Transfer], staging: Staging, client: Client, seconds: float, throttle: Throttle = NO_LIMIT
) -> list[Outcome]:
    """GETs blobs into the staging folder, from where they are, until C(seconds) are over."""
    deadline = time.monotonic() + seconds

    def one(transfer: Transfer) -> Outcome:
        if staging.complete(transfer.digest):
            return Outcome(transfer.digest, True, transfer.length)
        if time.monotonic() >= deadline:
            return Outcome(transfer.digest, False, staging.size(transfer.digest))
        return _fetch_one(transfer, staging, client, deadline, throttle)

    return _each(transfers, one)


def _each(transfers: Sequence[Transfer], one: Callable[[Transfer], Outcome]) -> list[Outcome]:
    def safely(transfer: Transfer) -> Outcome:
        try:
            return one(transfer)
        except HttpError as error:
            return Outcome(transfer.digest, False, error=str(error), expired=error.expired, number=transfer.number)
        except ImageError as error:
            return Outcome(transfer.digest, False, error=str(error), number=transfer.number)
        except OSError as error:
            return Outcome(transfer.digest, False, error=disk_words(error), number=transfer.number)

    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        return list(pool.map(safely, transfers))


def disk_words(error: OSError) -> str:
    """What a fault of the staging folder's disk means to an operator."""
    words = f"{error.strerror or error}: {error.filename or 'the staging folder'}"
    return words + (". Make room there, or give another staging_dir." if error.errno == errno.ENOSPC else "")


def _body(source: BlobSource, transfer: Transfer) -> Iterator[bytes]:
    """The bytes of one request. The last chunk of a whole blob leaves only when the digest is right."""
    found, left, held = hashlib.sha256(), transfer.length, b""
    with source.open(transfer) as reader:
        while left:
            chunk = reader.read(min(CHUNK, left))
            if not chunk:
                raise ImageError(f"{transfer.digest} ended {left} bytes early on the source. Run again.")
            left -= len(chunk)
            found.update(chunk)
            if held:
                yield held
            held = chunk
    if transfer.number == 0 and found.hexdigest() != hex_of(transfer.digest):
        raise ImageError(
            f"{transfer.digest}: the source gave other content, sha256:{found.hexdigest()}. Nothing was stored. The "
            "registry, or something between it and this host, is damaged."
        )
    yield held


def _fetch_one(transfer: Transfer, staging: Staging, client: Client, deadline: float, throttle: Throttle) -> Outcome:
    received, etag = 0, ""
    with open(staging.part(transfer.digest), "ab", opener=private_opener) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another run fetches this very blob into this very file: let it.
            return Outcome(transfer.digest, False, staging.size(transfer.digest))
        if staging.complete(transfer.digest):
            return Outcome(transfer.digest, True, transfer.length)
        if file.tell() > transfer.length:
            file.truncate(0)
            file.seek(0)
        broken = 0
        while file.tell() < transfer.length:
            try:
                with client.open_stream(transfer.url, transfer.headers, start=file.tell()) as reader:
                    etag = stored_version(reader.etag, reader.headers.get("last-modified", ""))
                    while chunk := reader.read(throttle.at_once(CHUNK)):
                        throttle.take(len(chunk))
                        file.write(chunk)
                        received += len(chunk)
                        if time.monotonic() >= deadline and file.tell() < transfer.length:
                            return Outcome(transfer.digest, False, file.tell(), received, etag=etag)
            # Nothing else: what gave no body at all, the client has tried again by itself.
            except HttpBodyError as error:
                file.flush()
                broken += 1
                if not error.retryable or broken > _BROKEN_BODIES:
                    raise
        file.flush()
        staging.publish(transfer.digest)
    return Outcome(transfer.digest, True, transfer.length, received, etag=etag)
