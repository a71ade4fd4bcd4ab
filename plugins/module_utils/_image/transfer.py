# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries blobs between a host and the store by signed URLs: several at once, for some seconds at a call."""

from __future__ import annotations

import fcntl
import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Optional, Protocol

from .engine import FETCHING, SENDING, Progress
from .errors import ImageError, disk_words
from .http import Client, HttpBodyError, HttpError, Readable
from .model import Outcome, checked_digest, hex_of, stored_version
from .staging import CHUNK, Staging, private_opener
from .throttle import NO_LIMIT, Throttle

# A store limits each connection more than the link does; more than this gains nothing on two cores.
PARALLEL = 4
# From this size on, blobs are fetched one after the other: the lowest layers come first, and the engine unpacks them
# while the others are on their way. It takes longer for that than one connection takes to bring them.
LARGE = 8 * 1024 * 1024
# On a slow link a chunk takes many seconds; what is told must not wait for its end.
_PIECE = 256 * 1024
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


@dataclass(frozen=True)
class Piece:
    """A blob to push: its size (None until its source has it), media type, and an image that has it."""

    digest: str
    size: Optional[int]
    media_type: str
    reference: str


class BlobSource(Protocol):
    """Where a source host takes a blob from: its registry, or its staging folder."""

    def open(self, transfer: Transfer) -> AbstractContextManager[Readable]:
        """The bytes of one request: the whole blob, or the part from its offset on."""

    def order(self, pieces: Sequence[Piece]) -> Iterable[Optional[Piece]]:
        """These as they can be had, with their sizes; None from time to time, as long as none can."""
        return pieces


class StagedSource(BlobSource):
    """Blobs that an engine's archive was taken apart into."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    @contextmanager
    def open(self, transfer: Transfer) -> Iterator[Readable]:
        with open(self._staging.path(transfer.digest), "rb") as file:
            file.seek(transfer.offset)
            yield file


def no_progress(doing: str, done: int, in_all: int) -> None:
    """For those who do not ask."""


class _Passed:
    """The bytes of several requests at once, told while they pass."""

    def __init__(self, doing: str, in_all: int, progress: Progress) -> None:
        self._doing, self._in_all, self._progress = doing, in_all, progress
        self._done: dict[tuple[str, int], int] = {}
        self._sum = 0
        self._lock = threading.Lock()

    def set(self, transfer: Transfer, done: int) -> None:
        """So many bytes of this request have passed; fewer than before where it began anew."""
        key = (transfer.digest, transfer.number)
        with self._lock:
            self._sum += done - self._done.get(key, 0)
            self._done[key] = done
            self._progress(self._doing, self._sum, self._in_all)


def send(
    transfers: Sequence[Transfer],
    source: BlobSource,
    client: Client,
    seconds: float,
    throttle: Throttle = NO_LIMIT,
    progress: Progress = no_progress,
) -> list[Outcome]:
    """PUTs what it can begin within C(seconds). What is left comes back as not done."""
    deadline = time.monotonic() + seconds
    passed = _Passed(SENDING, sum(transfer.length for transfer in transfers), progress)

    def body(transfer: Transfer) -> Iterator[bytes]:
        done = 0
        passed.set(transfer, done)
        for chunk in throttle.over(_body(source, transfer)):
            for begin in range(0, len(chunk), _PIECE):
                piece = chunk[begin : begin + _PIECE]
                yield piece
                # It is asked for the next one, so the socket has taken this one.
                done += len(piece)
                passed.set(transfer, done)

    def one(transfer: Transfer) -> Outcome:
        if time.monotonic() >= deadline:
            return Outcome(transfer.digest, done=False)
        response = client.put_stream(
            transfer.url,
            transfer.headers,
            lambda: body(transfer),
            transfer.length,
            # 412: somebody else has put the same content there in the meantime; the controller looks.
            ok=(200, 201, 204, 412),
        )
        return Outcome(
            transfer.digest, True, transfer.length, transfer.length, etag=response.etag, number=transfer.number
        )

    return _each(transfers, one)


def fetch(
    transfers: Sequence[Transfer],
    staging: Staging,
    client: Client,
    verified: set[str],
    throttle: Throttle = NO_LIMIT,
    progress: Progress = no_progress,
) -> list[Outcome]:
    """GETs blobs into the staging folder, from where they are; C(verified) gets those that have their digest there."""
    passed = _Passed(FETCHING, sum(transfer.length for transfer in transfers), progress)

    def one(transfer: Transfer) -> Outcome:
        outcome, intact = Outcome(transfer.digest, True, transfer.length), None
        if not staging.complete(transfer.digest):
            tell = partial(passed.set, transfer)
            outcome, intact = _fetch_one(transfer, staging, client, throttle, tell)
        if outcome.done:
            passed.set(transfer, transfer.length)
            if staging.matches(transfer.digest) if intact is None else intact:
                verified.add(transfer.digest)
        return outcome

    return _each(transfers, one, LARGE)


def _each(
    transfers: Sequence[Transfer], one: Callable[[Transfer], Outcome], large: Optional[int] = None
) -> list[Outcome]:
    """Several at once; those from C(large) bytes on one after the other."""

    def safely(transfer: Transfer) -> Outcome:
        try:
            return one(transfer)
        except HttpError as error:
            return Outcome(transfer.digest, False, error=str(error), expired=error.expired, number=transfer.number)
        except ImageError as error:
            return Outcome(transfer.digest, False, error=str(error), number=transfer.number)
        except OSError as error:
            return Outcome(transfer.digest, False, error=disk_words(error), number=transfer.number)

    with ThreadPoolExecutor(max_workers=PARALLEL) as many, ThreadPoolExecutor(max_workers=1) as single:
        pools = [many if large is None or transfer.length < large else single for transfer in transfers]
        outcomes = [pool.submit(safely, transfer) for pool, transfer in zip(pools, transfers)]
        return [outcome.result() for outcome in outcomes]


def _body(source: BlobSource, transfer: Transfer) -> Iterator[bytes]:
    """The bytes of one request. The last chunk of a whole blob leaves only when the digest is right."""
    # A part has no digest of its own; the whole blob is verified on the target, before the load.
    found, left, held = hashlib.sha256() if transfer.number == 0 else None, transfer.length, b""
    with source.open(transfer) as reader:
        while left:
            chunk = reader.read(min(CHUNK, left))
            if not chunk:
                raise ImageError(f"{transfer.digest} ended {left} bytes early on the source. Run again.")
            left -= len(chunk)
            if found:
                found.update(chunk)
            if held:
                yield held
            held = chunk
    if found and found.hexdigest() != hex_of(transfer.digest):
        raise ImageError(
            f"{transfer.digest}: the source gave other content, sha256:{found.hexdigest()}. Nothing was stored. The "
            "registry, or something between it and this host, is damaged."
        )
    yield held


def _other_size(transfer: Transfer, size: str) -> ImageError:
    """Somebody has changed the object since the controller saw it."""
    return ImageError(
        f"{transfer.digest} has {size} bytes in the bucket instead of {transfer.length}: state=saved replaces it."
    )


def _fetch_one(
    transfer: Transfer, staging: Staging, client: Client, throttle: Throttle, tell: Callable[[int], None]
) -> tuple[Outcome, Optional[bool]]:
    """What became of it, and whether it has its digest; None where somebody else has brought it."""
    received, etag, found = 0, "", hashlib.sha256()
    with open(staging.part(transfer.digest), "a+b", opener=private_opener) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another run fetches this very blob into this very file: let it.
            return Outcome(transfer.digest, False, staging.size(transfer.digest)), None
        if staging.complete(transfer.digest):
            return Outcome(transfer.digest, True, transfer.length), None
        there = file.tell()
        if there > transfer.length:
            there = file.truncate(0)
        file.seek(0)
        while chunk := file.read(min(CHUNK, there - file.tell())):
            found.update(chunk)
        broken = 0
        while file.tell() < transfer.length:
            try:
                with client.open_stream(transfer.url, transfer.headers, start=file.tell()) as reader:
                    if reader.total not in (None, transfer.length):
                        raise _other_size(transfer, str(reader.total))
                    etag = stored_version(reader.etag, reader.headers.get("last-modified", ""))
                    while chunk := reader.read(throttle.at_once(_PIECE)):
                        throttle.take(len(chunk))
                        file.write(chunk)
                        found.update(chunk)
                        received += len(chunk)
                        tell(file.tell())
            # Nothing else: what gave no body at all, the client has tried again by itself.
            except HttpBodyError as error:
                file.flush()
                broken += 1
                if not error.retryable or broken > _BROKEN_BODIES:
                    raise
            except HttpError as error:
                if error.status == 416:
                    raise _other_size(transfer, f"at most {file.tell()}") from None
                raise
        file.flush()
        staging.publish(transfer.digest)
    intact = found.hexdigest() == hex_of(transfer.digest)
    return Outcome(transfer.digest, True, transfer.length, received, etag=etag), intact
