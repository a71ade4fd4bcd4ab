# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers blobs between a host and the store by presigned URLs: several in parallel, for some seconds a call."""

from __future__ import annotations

import fcntl
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Callable, Optional

from ..blobs import BlobSource, TransferRequest
from ..errors import ImageError, format_disk_error
from ..http.client import HttpClient
from ..http.errors import HttpBodyError, HttpError
from ..model import BlobOutcome, format_object_version, get_digest_hex
from ..progress import FETCHING, SENDING, ProgressCallback
from ..staging import CHUNK, Staging, open_private
from ..throttle import NO_LIMIT, Throttle

# A store limits the rate of each connection, so several are used. More than four gain nothing on two cores.
MAX_PARALLEL = 4
# From this size on, blobs are fetched sequentially: the lowest layers arrive first, and the engine unpacks them while
# the others are in transit. Unpacking takes longer than the download over one connection.
LARGE_BLOB_BYTES = 8 * 1024 * 1024
# On a slow link a full chunk takes many seconds; progress is reported more often.
_PROGRESS_CHUNK = 256 * 1024
_MAX_BODY_RETRIES = 5


def ignore_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
    """Discards progress reports."""


class _ProgressCounter:
    """Sums the bytes of parallel requests and reports them as progress."""

    def __init__(self, activity: str, bytes_total: int, progress: ProgressCallback) -> None:
        self._activity, self._bytes_total, self._progress = activity, bytes_total, progress
        self._done_by_request: dict[tuple[str, int], int] = {}
        self._bytes_done = 0
        self._lock = threading.Lock()

    def update(self, transfer: TransferRequest, bytes_done: int) -> None:
        """Records the bytes of this request so far; fewer than before where the request was retried."""
        key = (transfer.digest, transfer.number)
        with self._lock:
            self._bytes_done += bytes_done - self._done_by_request.get(key, 0)
            self._done_by_request[key] = bytes_done
            self._progress(self._activity, self._bytes_done, self._bytes_total)


def send(
    transfers: Sequence[TransferRequest],
    source: BlobSource,
    client: HttpClient,
    seconds: float,
    throttle: Throttle = NO_LIMIT,
    progress: ProgressCallback = ignore_progress,
) -> list[BlobOutcome]:
    """PUTs the requests that it can start within C(seconds). The other requests are returned as not done.

    The HTTP client retries a PUT that fails (C(HttpClient.put_stream)), each retry with the body from its start.
    """
    deadline = time.monotonic() + seconds
    counter = _ProgressCounter(SENDING, sum(transfer.length for transfer in transfers), progress)

    def stream_body(transfer: TransferRequest) -> Iterator[bytes]:
        bytes_done = 0
        counter.update(transfer, bytes_done)
        for chunk in throttle.limit_chunks(_read_body(source, transfer)):
            for begin in range(0, len(chunk), _PROGRESS_CHUNK):
                part = chunk[begin : begin + _PROGRESS_CHUNK]
                yield part
                # The client requests the next chunk, so the socket has accepted this one.
                bytes_done += len(part)
                counter.update(transfer, bytes_done)

    def send_request(transfer: TransferRequest) -> BlobOutcome:
        if time.monotonic() >= deadline:
            return BlobOutcome(transfer.digest, done=False)
        response = client.put_stream(
            transfer.url,
            transfer.headers,
            lambda: stream_body(transfer),
            transfer.length,
            # 412: another run has put the same content there in the meantime; the controller verifies that.
            ok=(200, 201, 204, 412),
        )
        if not response.etag and response.status != 412:
            raise ImageError(
                f"{transfer.digest}: the response to the upload has no entity tag, so it is not from S3. Check the "
                "endpoint, and what is between this host and S3, such as a proxy."
            )
        return BlobOutcome(
            transfer.digest, True, transfer.length, transfer.length, etag=response.etag, number=transfer.number
        )

    return _transfer_parallel(transfers, send_request)


def fetch(
    transfers: Sequence[TransferRequest],
    staging: Staging,
    client: HttpClient,
    verified: set[str],
    throttle: Throttle = NO_LIMIT,
    progress: ProgressCallback = ignore_progress,
) -> list[BlobOutcome]:
    """GETs blobs into the staging directory, each resumed behind its last byte. Fills C(verified) with digests."""
    counter = _ProgressCounter(FETCHING, sum(transfer.length for transfer in transfers), progress)

    def fetch_request(transfer: TransferRequest) -> BlobOutcome:
        outcome, is_intact = BlobOutcome(transfer.digest, True, transfer.length), None
        if not staging.is_complete(transfer.digest):
            report_progress = partial(counter.update, transfer)
            outcome, is_intact = _fetch_blob(transfer, staging, client, throttle, report_progress)
        if outcome.done:
            counter.update(transfer, transfer.length)
            if staging.matches_digest(transfer.digest) if is_intact is None else is_intact:
                verified.add(transfer.digest)
        return outcome

    return _transfer_parallel(transfers, fetch_request, LARGE_BLOB_BYTES)


def _transfer_parallel(
    transfers: Sequence[TransferRequest],
    transfer_blob: Callable[[TransferRequest], BlobOutcome],
    sequential_from: Optional[int] = None,
) -> list[BlobOutcome]:
    """Transfers blobs in parallel; those of C(sequential_from) bytes and more one after the other."""

    def transfer_safely(transfer: TransferRequest) -> BlobOutcome:
        try:
            return transfer_blob(transfer)
        except HttpError as error:
            return BlobOutcome(transfer.digest, False, error=str(error), expired=error.expired, number=transfer.number)
        except ImageError as error:
            return BlobOutcome(transfer.digest, False, error=str(error), number=transfer.number)
        except OSError as error:
            return BlobOutcome(transfer.digest, False, error=format_disk_error(error), number=transfer.number)

    with (
        ThreadPoolExecutor(max_workers=MAX_PARALLEL) as parallel_pool,
        ThreadPoolExecutor(max_workers=1) as sequential_pool,
    ):
        pools = [
            parallel_pool if sequential_from is None or transfer.length < sequential_from else sequential_pool
            for transfer in transfers
        ]
        outcomes = [pool.submit(transfer_safely, transfer) for pool, transfer in zip(pools, transfers)]
        return [outcome.result() for outcome in outcomes]


def _read_body(source: BlobSource, transfer: TransferRequest) -> Iterator[bytes]:
    """Yields the bytes of one request. The last chunk of a whole blob is sent only when the digest matches."""
    # A part has no digest of its own. The target verifies the whole blob before the load.
    sha256, remaining, held_chunk = hashlib.sha256() if transfer.number == 0 else None, transfer.length, b""
    with source.open(transfer) as reader:
        while remaining:
            chunk = reader.read(min(CHUNK, remaining))
            if not chunk:
                raise ImageError(f"{transfer.digest} ended {remaining} bytes early on the source. Run again.")
            remaining -= len(chunk)
            if sha256:
                sha256.update(chunk)
            if held_chunk:
                yield held_chunk
            held_chunk = chunk
    if sha256 and sha256.hexdigest() != get_digest_hex(transfer.digest):
        raise ImageError(
            f"{transfer.digest}: the source returned other content, sha256:{sha256.hexdigest()}. Nothing was stored. "
            "The registry, or a system between it and this host, is damaged."
        )
    yield held_chunk


def _make_size_error(transfer: TransferRequest, size: str) -> ImageError:
    """The object has changed since the controller listed it."""
    return ImageError(
        f"{transfer.digest} has {size} bytes in the bucket instead of {transfer.length}: run state=saved to replace it."
    )


def _fetch_blob(
    transfer: TransferRequest,
    staging: Staging,
    client: HttpClient,
    throttle: Throttle,
    report_progress: Callable[[int], None],
) -> tuple[BlobOutcome, Optional[bool]]:
    """Fetches one blob with retries. Returns the outcome, and whether the digest matches.

    None stands for the match where another run fetches or has fetched the blob.
    """
    received, etag, sha256 = 0, "", hashlib.sha256()
    with open(staging.get_partial_path(transfer.digest), "a+b", opener=open_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another run fetches the same blob into the same file.
            return BlobOutcome(transfer.digest, False, staging.get_size(transfer.digest)), None
        if staging.is_complete(transfer.digest):
            return BlobOutcome(transfer.digest, True, transfer.length), None
        existing_size = file.tell()
        if existing_size > transfer.length:
            existing_size = file.truncate(0)
        file.seek(0)
        while chunk := file.read(min(CHUNK, existing_size - file.tell())):
            sha256.update(chunk)
        broken_bodies = 0
        while file.tell() < transfer.length:
            try:
                with client.open_stream(transfer.url, transfer.headers, start=file.tell()) as reader:
                    if reader.total not in (None, transfer.length):
                        raise _make_size_error(transfer, str(reader.total))
                    etag = format_object_version(reader.etag, reader.headers.get("last-modified", ""))
                    while chunk := reader.read(throttle.limit_size(_PROGRESS_CHUNK)):
                        throttle.take(len(chunk))
                        file.write(chunk)
                        sha256.update(chunk)
                        received += len(chunk)
                        report_progress(file.tell())
            # Only a body that broke off is retried here. The client itself has retried requests without a body.
            except HttpBodyError as error:
                file.flush()
                broken_bodies += 1
                if not error.retryable or broken_bodies > _MAX_BODY_RETRIES:
                    raise
            except HttpError as error:
                if error.status == 416:
                    raise _make_size_error(transfer, f"at most {file.tell()}") from None
                raise
        file.flush()
        staging.publish(transfer.digest)
    is_intact = sha256.hexdigest() == get_digest_hex(transfer.digest)
    return BlobOutcome(transfer.digest, True, transfer.length, received, etag=etag), is_intact
