# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs between a host and a store on the loopback: resumed, verified, bounded in time, clear when broken."""

from __future__ import annotations

import fcntl
import io
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import StagedBlobSource, TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.client import HttpClient
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import BlobOutcome, get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import presigned as transfers
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.presigned import fetch, send
from ansible_collections.daytwo.aws.plugins.module_utils._image.progress import FETCHING, SENDING
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import CHUNK, Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import digest_of, nothing, stage

KEY = "loaded-" + "0" * 20
DATA = bytes(range(256)) * 12_000  # three chunks
DIGEST = digest_of(DATA)
SMALL = b"small"
LONG = 60.0
XML = "<Error><Code>{}</Code><Message>{}</Message></Error>"


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging(str(tmp_path / "root"), KEY)
    made.create()
    return made


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(environ={}, timeout=5.0, retries=2, sleep=nothing)
    yield made
    made.close()


class Store:
    """Objects by path. C(script) answers as S3 does, C(fault) may answer first."""

    def __init__(self, fault: Optional[Callable[[Any], bool]] = None, **objects: bytes) -> None:
        self.objects: dict[str, bytes] = {f"/{name}": data for name, data in objects.items()}
        self.fault = fault

    def script(self, request: Any) -> None:
        if self.fault and self.fault(request):
            return
        path = request.path.partition("?")[0]
        if request.command == "PUT":
            body = request.body()
            if len(body) < int(request.headers["Content-Length"]):
                return  # the sender gave up
            if request.headers.get("If-None-Match") and path in self.objects:
                request.answer(412, XML.format("PreconditionFailed", "it is there").encode())
                return
            self.objects[path] = body
            request.answer(200, ETag='"put"')
        elif path not in self.objects:
            request.answer(404, XML.format("NoSuchKey", "no such key").encode())
        else:
            data, byte_range = self.objects[path], request.headers.get("Range")
            start = int(byte_range[len("bytes=") : -1]) if byte_range else 0
            ranged = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if byte_range else {}
            request.answer(206 if byte_range else 200, data[start:], ETag='"got"', **ranged)


def transfer(
    server: Any, data: bytes = DATA, number: int = 0, offset: int = 0, name: str = "blob", **headers: str
) -> TransferRequest:
    return TransferRequest(
        digest_of(data),
        "application/octet-stream",
        number,
        offset,
        len(data) if not number else min(2 * CHUNK, len(data) - offset),
        f"{server.url}/{name}?X-Amz-Signature=0123456789abcdef",
        headers,
        "registry.test/app:v1",
    )


class Gives:
    """A source that returns this content for each request."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[io.BytesIO]:
        yield io.BytesIO(self.data[transfer.offset :])


class ByDigest:
    """A source of several blobs."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {digest_of(data): data for data in blobs}

    @contextmanager
    def open(self, transfer: TransferRequest) -> Iterator[io.BytesIO]:
        yield io.BytesIO(self.blobs[transfer.digest][transfer.offset :])


# -- fetched


def fetched(requests: Sequence[TransferRequest], staging: Staging, client: HttpClient) -> list[BlobOutcome]:
    return fetch(requests, staging, client, set())


def test_a_blob_arrives_and_is_published(serve: Any, staging: Staging, client: HttpClient) -> None:
    server = serve(Store(blob=DATA).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, outcome.size, outcome.received, outcome.error) == (True, len(DATA), len(DATA), None)
    assert outcome.etag.startswith('"got"')
    assert staging.verify(DIGEST)
    assert not staging.get_partial_path(DIGEST).exists()
    assert staging.get_path(DIGEST).stat().st_mode & 0o777 == 0o600
    assert "range" not in server.requests[0].headers


def test_an_empty_blob_needs_no_request(serve: Any, staging: Staging, client: HttpClient) -> None:
    server = serve(Store().script)
    (outcome,) = fetched([transfer(server, b"")], staging, client)
    assert outcome.done
    assert staging.verify(digest_of(b""))
    assert not server.requests


def test_what_is_complete_is_not_fetched_again(serve: Any, staging: Staging, client: HttpClient) -> None:
    stage(staging, {DIGEST: DATA})
    server = serve(Store(blob=DATA).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, outcome.size, outcome.received) == (True, len(DATA), 0)
    assert not server.requests


@pytest.mark.parametrize("there", [1, CHUNK, len(DATA) - 1])
def test_a_partial_file_is_gone_on_with_by_range(serve: Any, staging: Staging, client: HttpClient, there: int) -> None:
    staging.get_partial_path(DIGEST).write_bytes(DATA[:there])
    server = serve(Store(blob=DATA).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert server.requests[0].headers["range"] == f"bytes={there}-"
    assert (outcome.done, outcome.received) == (True, len(DATA) - there)
    assert staging.verify(DIGEST)


def test_a_partial_file_that_is_too_long_is_fetched_from_the_start(
    serve: Any, staging: Staging, client: HttpClient
) -> None:
    staging.get_partial_path(DIGEST).write_bytes(DATA + b"more")
    server = serve(Store(blob=DATA).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, outcome.received) == (True, len(DATA))
    assert staging.verify(DIGEST)


def test_a_partial_file_of_other_bytes_does_not_pass_for_the_blob(
    serve: Any, staging: Staging, client: HttpClient
) -> None:
    staging.get_partial_path(DIGEST).write_bytes(b"x" * 1000)
    server = serve(Store(blob=DATA).script)
    assert fetched([transfer(server)], staging, client)[0].done
    assert not staging.verify(DIGEST)
    assert fetched([transfer(server)], staging, client)[0].received == len(DATA)
    assert staging.verify(DIGEST)


def test_an_answer_that_breaks_off_is_gone_on_with(serve: Any, staging: Staging, client: HttpClient) -> None:
    def fault(request: Any) -> bool:
        if request.number == 0:
            request.answer(200, DATA[:1000], length=len(DATA))
        return request.number == 0

    server = serve(Store(fault, blob=DATA).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, outcome.received) == (True, len(DATA))
    assert server.requests[1].headers["range"] == "bytes=1000-"
    assert staging.verify(DIGEST)


def test_answers_that_always_break_off_end_as_an_error_that_keeps_what_came(
    serve: Any, staging: Staging, client: HttpClient
) -> None:
    def fault(request: Any) -> bool:
        start = int(request.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        ranged = {"Content_Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        request.answer(206 if start else 200, DATA[start : start + 10], length=len(DATA) - start, **ranged)
        return True

    server = serve(Store(fault).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert not outcome.done
    assert "ended after 10 of" in str(outcome.error)
    assert 2 <= len(server.requests) <= 10
    assert staging.get_size(DIGEST) == 10 * len(server.requests)


def test_an_unreachable_store_is_not_requested_over_and_over(serve: Any, staging: Staging) -> None:
    server = serve(lambda request: request.reset())
    pauses: list[float] = []
    client = HttpClient(environ={}, timeout=5.0, retries=2, sleep=pauses.append)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert not outcome.done
    assert "no response" in str(outcome.error)
    assert len(pauses) == 2, "the client's own attempts, once"


def test_fetched_bytes_are_reported_while_they_arrive_and_existing_bytes_count(
    serve: Any, staging: Staging, client: HttpClient
) -> None:
    staging.get_partial_path(DIGEST).write_bytes(DATA[:CHUNK])
    reports: list[tuple[str, int, int]] = []
    server = serve(Store(blob=DATA, small=SMALL).script)
    requests = [transfer(server), transfer(server, SMALL, name="small")]
    verified: set[str] = set()
    outcomes = fetch(requests, staging, client, verified, progress=lambda *state: reports.append(state))
    assert all(outcome.done for outcome in outcomes)
    assert verified == {DIGEST, digest_of(SMALL)}
    in_all = len(DATA) + len(SMALL)
    assert {(doing, total) for doing, _done, total in reports} == {(FETCHING, in_all)}
    done = [done for _doing, done, _total in reports]
    assert (sorted(done), done[-1]) == (done, in_all)
    assert len(done) > 4


def test_what_has_another_digest_is_fetched_and_not_verified(serve: Any, staging: Staging, client: HttpClient) -> None:
    server = serve(Store(blob=b"x" + DATA[1:], small=SMALL).script)
    verified: set[str] = set()
    outcomes = fetch([transfer(server), transfer(server, SMALL, name="small")], staging, client, verified)
    assert ([outcome.done for outcome in outcomes], verified) == ([True, True], {digest_of(SMALL)})
    assert staging.is_complete(DIGEST), "the load reports that it is damaged"


@pytest.mark.parametrize("there", [0, 1000, len(DATA) - 1])
def test_a_blob_is_verified_with_what_had_come_of_it_before(
    serve: Any, staging: Staging, client: HttpClient, there: int
) -> None:
    server = serve(Store(blob=DATA).script)
    for before, expected in ((DATA[:there], {DIGEST}), (b"x" * there, set() if there else {DIGEST})):
        staging.discard(DIGEST)
        staging.get_partial_path(DIGEST).write_bytes(before)
        verified: set[str] = set()
        (outcome,) = fetch([transfer(server)], staging, client, verified)
        assert (outcome.done, verified) == (True, expected)


def test_large_blobs_are_fetched_sequentially_and_small_ones_beside_them(
    serve: Any, staging: Staging, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "LARGE_BLOB_BYTES", 100)
    large, small = [bytes([number]) * 100 for number in range(6)], b"small"
    store = Store(**{digest_of(data)[7:]: data for data in (*large, small)})
    at_once, most, began = 0, 0, []
    small_came, lock = threading.Event(), threading.Lock()

    def script(request: Any) -> None:
        nonlocal at_once, most
        name = request.path.partition("?")[0][1:]
        if name == digest_of(small)[7:]:
            small_came.set()
            return store.script(request)
        with lock:
            at_once += 1
            most = max(most, at_once)
            began.append(name)
        assert small_came.wait(10), "it waits for the large ones"
        with lock:
            at_once -= 1
        return store.script(request)

    server = serve(script)
    requests = [transfer(server, data, name=digest_of(data)[7:]) for data in (*large, small)]
    verified: set[str] = set()
    assert all(outcome.done for outcome in fetch(requests, staging, client, verified))
    assert (most, began) == (1, [digest_of(data)[7:] for data in large])
    assert verified == {digest_of(data) for data in (*large, small)}


def test_when_nobody_polls_any_more_the_received_bytes_stay(serve: Any, staging: Staging, client: HttpClient) -> None:
    def progress(doing: str, done: int, in_all: int) -> None:
        if done >= CHUNK:
            raise ImageError("no call polled the job")

    server = serve(Store(blob=DATA).script)
    (outcome,) = fetch([transfer(server)], staging, client, set(), progress=progress)
    assert (outcome.done, outcome.error) == (False, "no call polled the job")
    assert CHUNK <= staging.get_size(DIGEST) < len(DATA)
    there = staging.get_size(DIGEST)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, outcome.received) == (True, len(DATA) - there)


def slow(first: threading.Event, go_on: threading.Event) -> Callable[[Any], bool]:
    """Sends the first chunk and then waits."""

    def fault(request: Any) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(DATA)))
        request.end_headers()
        request.wfile.write(DATA[:CHUNK])
        first.set()
        go_on.wait(10)
        request.wfile.write(DATA[CHUNK:])
        return True

    return fault


@pytest.mark.parametrize("there", [0, CHUNK, len(DATA) - 2])
@pytest.mark.parametrize("stored", [DATA[:-1], DATA + b"more"], ids=["shorter", "longer"])
def test_an_object_that_changed_its_size_is_reported_with_the_remediation(
    serve: Any, staging: Staging, client: HttpClient, there: int, stored: bytes
) -> None:
    """Somebody has changed it since; asking for the rest of it would be asking for bytes behind its end."""
    if there:
        staging.get_partial_path(DIGEST).write_bytes(DATA[:there])
    server = serve(Store(blob=stored).script)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, len(server.requests)) == (False, 1)
    assert outcome.error == (
        f"{DIGEST} has {len(stored)} bytes in the bucket instead of {len(DATA)}: run state=saved to replace it."
    )
    assert not staging.is_complete(DIGEST)


def test_an_object_shorter_than_its_received_bytes_is_reported_with_the_remediation(
    serve: Any, staging: Staging, client: HttpClient
) -> None:
    staging.get_partial_path(DIGEST).write_bytes(DATA[:-1])

    def behind_the_end(request: Any) -> None:
        request.answer(416, XML.format("InvalidRange", "The requested range is not satisfiable").encode())

    server = serve(behind_the_end)
    (outcome,) = fetched([transfer(server)], staging, client)
    assert (outcome.done, len(server.requests)) == (False, 1)
    assert outcome.error == (
        f"{DIGEST} has at most {len(DATA) - 1} bytes in the bucket instead of {len(DATA)}: run state=saved to "
        "replace it."
    )


def test_two_fetchers_of_the_same_blob_do_not_write_into_the_same_file(
    serve: Any, staging: Staging, client: HttpClient
) -> None:
    first, go_on = threading.Event(), threading.Event()
    server = serve(Store(slow(first, go_on), blob=DATA).script)
    with ThreadPoolExecutor() as pool:
        first_fetch = pool.submit(fetched, [transfer(server)], staging, client)
        assert first.wait(10)
        (other,) = fetched([transfer(server)], staging, client)
        go_on.set()
        assert first_fetch.result(20)[0].done
    assert (other.done, other.received, other.error) == (False, 0, None)
    assert len(server.requests) == 1
    assert fetched([transfer(server)], staging, client)[0].done
    assert staging.verify(DIGEST)


def test_a_fetcher_that_waits_for_the_file_finds_it_published(serve: Any, staging: Staging, client: HttpClient) -> None:
    """The part becomes the blob by rename, so a lock on the part may be one on the blob."""
    staging.get_partial_path(DIGEST).write_bytes(DATA)
    with open(staging.get_partial_path(DIGEST), "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        server = serve(Store(blob=DATA).script)
        assert not fetched([transfer(server)], staging, client)[0].done
        staging.publish(DIGEST)
    assert fetched([transfer(server)], staging, client)[0].done
    assert not server.requests


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_is_reported_with_the_remediation(serve: Any, staging: Staging, client: HttpClient) -> None:
    class Full(Staging):
        def get_partial_path(self, digest: str) -> Path:
            return Path("/dev/full")

    server = serve(Store(blob=DATA).script)
    full = Full(str(staging.root), KEY)
    (outcome,) = fetched([transfer(server)], full, client)
    assert not outcome.done
    assert outcome.error == (
        "No space left on device: the staging directory. Free space there, or set another staging_dir."
    )


def refusing(status: int, code: str, message: str) -> Callable[[Any], bool]:
    def fault(request: Any) -> bool:
        request.answer(status, XML.format(code, message).encode())
        return True

    return fault


@pytest.mark.parametrize(
    ("status", "code", "message", "expired"),
    [
        (403, "AccessDenied", "Request has expired", True),
        (400, "ExpiredToken", "The provided token has expired.", True),
        (403, "AccessDenied", "Access Denied", False),
        (403, "SignatureDoesNotMatch", "The signature does not match", False),
        (404, "NoSuchKey", "The specified key does not exist.", False),
    ],
)
def test_s3_an_expired_url_is_distinguished_from_a_denied_request(
    serve: Any, staging: Staging, client: HttpClient, status: int, code: str, message: str, expired: bool
) -> None:
    """facts: S3: a presigned URL dies with its time or with the credentials that signed it; it is a secret."""
    server = serve(Store(refusing(status, code, message)).script)
    for outcome in (
        *fetched([transfer(server)], staging, client),
        *send([transfer(server)], Gives(DATA), client, LONG),
    ):
        assert (outcome.done, outcome.expired) == (False, expired)
        assert f"{status}" in str(outcome.error)
        assert code in str(outcome.error)
        assert "0123456789abcdef" not in str(outcome.error)


def test_a_blob_that_fails_does_not_stop_the_others(serve: Any, staging: Staging, client: HttpClient) -> None:
    blobs = {f"b{number}": bytes([number]) * 100 for number in range(8)}
    gone = blobs.pop("b3")
    server = serve(Store(**blobs).script)
    requests = [transfer(server, data, name=name) for name, data in {**blobs, "b3": gone}.items()]
    outcomes = fetched(requests, staging, client)
    assert [outcome.digest for outcome in outcomes] == [request.digest for request in requests]
    assert [outcome.digest for outcome in outcomes if not outcome.done] == [digest_of(gone)]
    assert all(staging.verify(digest_of(data)) for data in blobs.values())


# -- sent


def test_blobs_and_parts_reach_their_urls_with_their_headers(serve: Any, staging: Staging, client: HttpClient) -> None:
    stage(staging, {DIGEST: DATA, digest_of(SMALL): SMALL})
    store = Store()
    server = serve(store.script)
    requests = [
        transfer(server, SMALL, name="small", **{"If-None-Match": "*", "x-amz-meta-sha256": "abc"}),
        transfer(server, number=1, name="part1"),
        transfer(server, number=2, offset=2 * CHUNK, name="part2"),
    ]
    outcomes = send(requests, StagedBlobSource(staging), client, LONG)
    assert store.objects == {"/small": SMALL, "/part1": DATA[: 2 * CHUNK], "/part2": DATA[2 * CHUNK :]}
    assert [(outcome.digest, outcome.number, outcome.done, outcome.etag) for outcome in outcomes] == [
        (digest_of(SMALL), 0, True, '"put"'),
        (DIGEST, 1, True, '"put"'),
        (DIGEST, 2, True, '"put"'),
    ]
    (headers,) = [request.headers for request in server.requests if request.path.startswith("/small")]
    assert (headers["if-none-match"], headers["x-amz-meta-sha256"]) == ("*", "abc")
    assert headers["content-length"] == str(len(SMALL))


def test_sent_bytes_are_reported_within_a_request_and_counted_once(serve: Any, client: HttpClient) -> None:
    """Progress is reported within a request: on a slow link it takes minutes. A retried request counts anew."""
    refused: list[str] = []

    def fault(request: Any) -> bool:
        if request.path.startswith("/twice") and not refused:
            refused.append(request.body() and request.path)
            request.answer(503, XML.format("SlowDown", "later").encode())
            return True
        return False

    server = serve(Store(fault).script)
    reports: list[tuple[str, int, int]] = []
    requests = [transfer(server, number=1, name="twice"), transfer(server, SMALL, name="small")]
    outcomes = send(requests, ByDigest(DATA, SMALL), client, LONG, progress=lambda *state: reports.append(state))
    assert all(outcome.done for outcome in outcomes)
    in_all = 2 * CHUNK + len(SMALL)
    assert {(doing, total) for doing, _done, total in reports} == {(SENDING, in_all)}
    done = [done for _doing, done, _total in reports]
    assert (min(done), max(done), done[-1]) == (0, in_all, in_all)
    assert max(after - before for before, after in zip(done, done[1:])) <= CHUNK // 4
    assert any(after < before for before, after in zip(done, done[1:])), "the second attempt is counted from 0"


def test_s3_somebody_who_put_the_same_blob_first_is_no_error(serve: Any, client: HttpClient) -> None:
    """facts: S3: a conditional PUT (If-None-Match) answers 412."""
    server = serve(Store(blob=DATA).script)
    (outcome,) = send([transfer(server, **{"If-None-Match": "*"})], Gives(DATA), client, LONG)
    assert (outcome.done, outcome.error) == (True, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"x" + DATA[1:], "the source returned other content, sha256:"),
        (DATA[:-1] + b"x", "the source returned other content, sha256:"),
        (DATA[:-1], "ended 1 bytes early on the source. Run again."),
        (b"", f"ended {len(DATA)} bytes early"),
    ],
    ids=["first byte", "last byte", "cut off", "empty"],
)
def test_a_blob_with_another_digest_never_leaves_the_source_whole(
    serve: Any, client: HttpClient, given: bytes, message: str
) -> None:
    """facts: the ETag is not a content hash: the source itself compares, before the last chunk leaves."""
    arrived: list[int] = []

    def fault(request: Any) -> bool:
        data = b""
        while chunk := request.rfile.read1(CHUNK):
            data += chunk
        arrived.append(len(data))
        request.close_connection = True
        return True

    store = Store(fault)
    server = serve(store.script)
    (outcome,) = send([transfer(server)], Gives(given), client, LONG)
    assert not outcome.done
    assert message in str(outcome.error)
    for _attempt in range(200):
        if arrived:
            break
        threading.Event().wait(0.01)
    assert max(arrived, default=0) <= len(DATA) - (len(DATA) % CHUNK or CHUNK)
    assert store.objects == {}


def test_a_small_blob_with_another_digest_is_not_sent_at_all(serve: Any, client: HttpClient) -> None:
    store = Store()
    (outcome,) = send([transfer(serve(store.script), SMALL)], Gives(b"Small"), client, LONG)
    assert not outcome.done
    assert store.objects == {}


def test_when_the_time_is_over_nothing_more_is_begun(serve: Any, client: HttpClient) -> None:
    server = serve(Store().script)
    (outcome,) = send([transfer(server)], Gives(DATA), client, -1)
    assert (outcome.done, outcome.error, server.requests) == (False, None, [])


def test_a_source_that_fails_is_reported_for_its_blob_only(serve: Any, staging: Staging, client: HttpClient) -> None:
    stage(staging, {digest_of(SMALL): SMALL})
    server = serve(Store().script)
    outcomes = send([transfer(server), transfer(server, SMALL)], StagedBlobSource(staging), client, LONG)
    assert [outcome.done for outcome in outcomes] == [False, True]
    assert "No such file or directory" in str(outcomes[0].error)
    assert get_digest_hex(DIGEST) in str(outcomes[0].error)


# -- from the option


def test_a_transfer_is_read_from_the_option_and_hides_its_url() -> None:
    value = {
        "digest": DIGEST,
        "media_type": "m",
        "number": "2",
        "offset": "5",
        "length": "7",
        "url": "https://s/secret",
    }
    parsed = TransferRequest.parse({**value, "headers": {"x": 1}, "reference": "r"})
    assert (parsed.number, parsed.offset, parsed.length, parsed.headers) == (2, 5, 7, {"x": "1"})
    assert "secret" not in repr(parsed)
    assert TransferRequest.parse({**value, "headers": None, "reference": "r"}).headers == {}
    with pytest.raises(ImageError, match=r"work\.transfers\.digest"):
        TransferRequest.parse({**value, "digest": "../x", "headers": {}, "reference": "r"})
