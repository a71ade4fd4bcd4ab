# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client against real servers on the loopback: requests, redirects, retries, errors, secrets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.http import connection
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.client import HttpClient
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.errors import (
    HttpBodyError,
    HttpConnectError,
    HttpError,
    HttpStatusError,
    redact_url,
)

DATA = bytes(range(256)) * 4096  # 1 MiB
S3_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message><RequestId>1</RequestId></Error>"


class Patience:
    """A client's sleep that takes no time and records the delays."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def make(patience: Patience) -> Iterator[Callable[..., HttpClient]]:
    """Makes clients that know no proxy and do not really sleep."""
    clients: list[HttpClient] = []

    def client(**options: Any) -> HttpClient:
        clients.append(HttpClient(**{"environ": {}, "sleep": patience, "timeout": 2.0, **options}))
        return clients[-1]

    yield client
    for made in clients:
        made.close()


def s3_error(code: str, message: str = "text") -> bytes:
    return S3_ERROR.format(code, message).encode()


def everything(error: BaseException) -> str:
    """All that a person or a log could show of an error."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)) + str(error) + repr(error)


# -- small answers


def test_request_and_answer(serve: Any, make: Any) -> None:
    bodies: list[bytes] = []

    def script(c: Any) -> None:
        bodies.append(c.body())
        c.answer(201, b"hello", ETag='"e1"', X_Mixed_Case="Yes")

    server = serve(script)
    answer = make().request("PUT", f"{server.url}/a%20b?c=d", {"X-One": "1"}, b"body")
    assert (answer.status, answer.body, answer.etag) == (201, b"hello", '"e1"')
    assert answer.headers["x-mixed-case"] == "Yes"
    assert bodies == [b"body"]
    request = server.requests[0]
    assert (request.method, request.path) == ("PUT", "/a%20b?c=d")
    assert request.headers["host"] == server.netloc
    assert request.headers["x-one"] == "1"
    assert request.headers["content-length"] == "4"
    assert request.headers["accept-encoding"] == "identity"


def test_head_has_no_body(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(200, DATA))
    client = make()
    assert client.request("HEAD", server.url).headers["content-length"] == str(len(DATA))
    assert client.request("HEAD", server.url).body == b""
    assert len({request.peer for request in server.requests}) == 1


def test_a_refusal_leaves_the_connection_for_reuse(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(404, b"no"))
    client = make()
    for method in ("HEAD", "GET", "HEAD"):
        with pytest.raises(HttpStatusError):
            client.request(method, server.url)
    assert len({request.peer for request in server.requests}) == 1
    # The body may be unread on the connection of the PUT.
    for method, body in (("PUT", b"body"), ("HEAD", None)):
        with pytest.raises(HttpStatusError):
            client.request(method, server.url, body=body)
    assert server.requests[-1].peer != server.requests[-2].peer


def test_a_refusal_without_end_is_not_read_to_its_end(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(404, b"x" * 100_000))
    client = make()
    for _request in range(2):
        with pytest.raises(HttpStatusError):
            client.request("GET", server.url)
    assert len({request.peer for request in server.requests}) == 2


def test_small_answers_are_bounded(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.answer(200, b"x" * 101))
    client = make()
    assert len(client.request("GET", server.url, limit=101).body) == 101
    with pytest.raises(HttpBodyError, match="larger than 100 bytes") as caught:
        client.request("GET", server.url, limit=100)
    assert not caught.value.retryable
    assert patience.pauses == []


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://h/x", "must begin with http"),
        ("h/x", "must begin with http"),
        ("http:///x", "must begin with http"),
        ("http://h:port/", "it is no URL"),
        ("http://h:99999/", "it is no URL"),
        ("http://[::1/", "it is no URL"),
        ("http://user:SECRET@h/", "must contain no user name and no password"),
        ("http://h/a b?SECRET", "must contain no blanks"),
        ("http://h/a\r\nX: y?SECRET", "must contain no blanks"),
        ("http://h/\u00e4?SECRET", "must contain no blanks"),
    ],
)
def test_urls_that_are_none(make: Any, url: str, problem: str) -> None:
    with pytest.raises(HttpError, match=problem) as caught:
        make().request("GET", url)
    assert "SECRET" not in everything(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/p?X-Amz-Signature=1", "https://h/p?..."),
        ("https://h/p", "https://h/p"),
        ("https://u:p@h:1/p?q#f", "https://h:1/p?..."),
        ("https://u:p@x@h/p#f?g", "https://h/p?..."),
        ("https://h?a@b/c", "https://h?..."),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(("name", "value"), [("X-A", "b\r\nX: y"), ("X\n", "b"), ("X-A", "b\x00"), ("A b", "c")])
def test_headers_that_are_none(serve: Any, make: Any, name: str, value: str) -> None:
    server = serve(lambda c: c.answer(200))
    with pytest.raises(HttpError, match="is not allowed in a header"):
        make().request("GET", server.url, {name: value})
    assert server.requests == []


# -- errors of services


@pytest.mark.parametrize(
    ("status", "body", "code", "answer", "retryable", "expired", "hint"),
    [
        (
            403,
            s3_error("AccessDenied", "Request has expired"),
            "AccessDenied",
            "Request has expired",
            False,
            True,
            "sign",
        ),
        (400, s3_error("ExpiredToken", "The provided token"), "ExpiredToken", "The provided", False, True, "sign"),
        (403, s3_error("AccessDenied", "Access Denied"), "AccessDenied", "Access Denied", False, False, "policy"),
        (403, s3_error("SignatureDoesNotMatch"), "SignatureDoesNotMatch", "text", False, False, "secret key"),
        (403, s3_error("RequestTimeTooSkewed"), "RequestTimeTooSkewed", "text", False, False, "clock"),
        (404, s3_error("NoSuchBucket"), "NoSuchBucket", "text", False, False, "region"),
        (404, s3_error("NoSuchKey", "a &amp; b."), "NoSuchKey", "a & b", False, False, ""),
        (412, s3_error("PreconditionFailed"), "PreconditionFailed", "text", False, False, ""),
        (400, s3_error("RequestTimeout"), "RequestTimeout", "text", True, False, ""),
        (409, s3_error("ConditionalRequestConflict"), "ConditionalRequestConflict", "text", True, False, ""),
        (503, s3_error("SlowDown"), "SlowDown", "text", True, False, ""),
        (500, b"", "", "", True, False, ""),
        (501, b"", "", "", False, False, ""),
        (
            404,
            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such"}]}',
            "MANIFEST_UNKNOWN",
            "no such",
            False,
            False,
            "",
        ),
        (
            429,
            b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}',
            "TOOMANYREQUESTS",
            "slow",
            True,
            False,
            "log in",
        ),
        (401, b'{"details":"incorrect username"}', "", "incorrect username", False, False, ""),
        (400, b'{"error":"invalid_grant","error_description":"bad"}', "invalid_grant", "bad", False, False, ""),
        (400, b'{"errors":[7]}', "", "", False, False, ""),
        (400, b'{"errors":{"code":' + b"[" * 50_000, "", "", False, False, ""),
        (400, b"<html><title>Squid says no</title></html>", "", "Squid says no", False, False, ""),
        (400, b"plain\x1b[31m text", "", "plain [31m text", False, False, ""),
        (400, b"see https://h.test/p?sig=abc now", "", "see https://h.test/p?... now", False, False, ""),
        (407, b"", "", "", False, False, "proxy"),
    ],
    ids=range(23),
)
def test_a_status_error_quotes_the_service(
    serve: Any, make: Any, status: int, body: bytes, code: str, answer: str, retryable: bool, expired: bool, hint: str
) -> None:
    server = serve(lambda c: c.answer(status, body))
    with pytest.raises(HttpStatusError) as caught:
        make(retries=0).request("GET", f"{server.url}/key")
    error = caught.value
    assert (error.status, error.code, error.retryable, error.expired) == (status, code, retryable, expired)
    assert answer in error.service_error
    assert str(error).startswith(f"GET {server.url}/key: {status} ")
    assert answer in str(error)
    assert ".." not in str(error).replace("...", "")
    assert hint in error.suggestion
    assert "\x1b" not in str(error)
    assert len(str(error)) < 700


def test_a_bucket_elsewhere_is_named(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(301, s3_error("PermanentRedirect"), x_amz_bucket_region="eu-west-3"))
    with pytest.raises(HttpStatusError, match="The bucket is in the region eu-west-3: use that region"):
        make().put_stream(server.url, {}, lambda: [b"x"], 1)


# -- retries


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again(serve: Any, make: Any, patience: Patience, status: int) -> None:
    server = serve(lambda c: c.answer(status) if c.number < 2 else c.answer(200, b"ok"))
    assert make(jitter=lambda: 1.0).request("GET", server.url).body == b"ok"
    assert patience.pauses == [0.5, 1.0]


def test_tries_and_pauses_are_bounded(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.answer(503, s3_error("SlowDown")))
    with pytest.raises(HttpStatusError, match=r"SlowDown: text \(9 attempts\)"):
        make(retries=8, jitter=lambda: 1.0).request("GET", server.url)
    assert patience.pauses == [0.5, 1, 2, 4, 8, 16, 20, 20]
    assert len(server.requests) == 9


def test_jitter_is_full(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.answer(503) if c.number < 3 else c.answer(200))
    parts = iter([0.0, 0.5, 1.0])
    make(jitter=lambda: next(parts)).request("GET", server.url)
    assert patience.pauses == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("7", 7.0),
        ("0", 0.5),
        ("86400", 60.0),
        ("Thu, 01 Jan 1970 00:16:55 GMT", 15.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.5),
        ("Thu, 01 Jan 2970 00:00:00 GMT", 60.0),
        ("soon", 0.5),
        ("-5", 0.5),
        ("9" * 40, 0.5),
    ],
)
def test_retry_after(serve: Any, make: Any, patience: Patience, retry_after: str, pause: float) -> None:
    server = serve(lambda c: c.answer(200) if c.number else c.answer(503, Retry_After=retry_after))
    make(jitter=lambda: 1.0, clock=lambda: 1000.0).request("GET", server.url)
    assert patience.pauses == [pause]


def test_resets_are_tried_again(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.reset() if c.number < 3 else c.answer(200, b"ok"))
    assert make().request("GET", server.url).body == b"ok"
    assert len(patience.pauses) == 3


@pytest.mark.parametrize("length", [10, 2**40])
def test_short_small_answers_are_tried_again(serve: Any, make: Any, length: int) -> None:
    server = serve(lambda c: c.answer(200, b"half", length=length) if c.number == 0 else c.answer(200, b"whole"))
    assert make().request("GET", server.url).body == b"whole"


def test_silence_ends_with_the_timeout(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.hang())
    began = time.monotonic()
    with pytest.raises(HttpConnectError, match=r"no response: timed out \(2 attempts\)") as caught:
        make(timeout=0.1, retries=1).request("GET", server.url)
    assert caught.value.retryable
    assert time.monotonic() - began < 1.5


@contextlib.contextmanager
def nobody_accepts() -> Iterator[str]:
    """A port whose queue is full: the kernel drops what comes, as a firewall or a missing route does."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _number in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_connection_that_cannot_be_made_is_given_up_soon(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 0.2)
    began = time.monotonic()
    with nobody_accepts() as url, pytest.raises(HttpConnectError, match=r"no connection to .*: timed out") as caught:
        make(timeout=60.0, retries=1).request("GET", url)
    assert time.monotonic() - began < 5
    assert "This host does not reach the service: check routes" in str(caught.value)


def test_a_connection_that_was_made_may_be_silent_for_longer(
    serve: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_SECONDS", 0.2)

    def late(c: Any) -> None:
        time.sleep(0.6)
        c.answer(200, b"late")

    server = serve(late)
    assert make(timeout=5.0, retries=0).request("GET", server.url).body == b"late"
    assert make(timeout=5.0, retries=0).put_stream(server.url, {}, lambda: [b"x"], 1).status == 200


def test_a_post_whose_answer_is_lost_is_not_sent_twice(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.reset())
    with pytest.raises(HttpConnectError):
        make().request("POST", server.url, body=b"x")
    assert len(server.requests) == 1
    assert patience.pauses == []


def test_nobody_listens(make: Any, patience: Patience) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        with pytest.raises(HttpConnectError, match="Connection refused") as caught:
            make(retries=1).request("GET", url)
    assert caught.value.retryable
    assert len(patience.pauses) == 1


def test_a_name_that_does_not_exist_is_not_tried_again(make: Any, patience: Patience, monkeypatch: Any) -> None:
    def unknown(*args: Any, **options: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(HttpConnectError, match=r"registry\.test: Name or service not known.*check its DNS"):
        make().request("GET", "http://registry.test/v2/")
    assert patience.pauses == []


def test_a_name_that_dns_cannot_hold_is_an_error_of_the_request(make: Any, patience: Patience) -> None:
    with pytest.raises(HttpConnectError, match=r"it is no name that DNS can resolve. No host has such a name"):
        make().request("GET", f"http://{'a' * 64}.test/v2/")
    assert patience.pauses == []


def test_what_is_not_http(make: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def talk() -> None:
            with listening.accept()[0] as peer:
                peer.recv(1000)
                peer.sendall(b"SSH-2.0-x\r\n")

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(HttpConnectError, match="what the server sent is no HTTP"):
            make(retries=0).request("GET", f"http://127.0.0.1:{listening.getsockname()[1]}/")


# -- connections


def test_connections_are_reused(serve: Any, make: Any) -> None:
    def script(c: Any) -> None:
        c.body()
        c.answer(200, DATA[:100])

    server = serve(script)
    client = make()
    for _dummy in range(3):
        client.request("GET", server.url)
        client.put_stream(server.url, {}, lambda: [b"abc"], 3)
        with client.open_stream(server.url) as reader:
            assert reader.read() == DATA[:100]
    assert len(server.requests) == 9
    assert len({request.peer for request in server.requests}) == 1


def test_a_connection_that_the_server_closed_costs_no_attempt(serve: Any, make: Any, patience: Patience) -> None:
    def script(c: Any) -> None:
        c.answer(200, b"ok")
        c.close_connection = True  # without having said so

    server = serve(script)
    client = make()
    for _dummy in range(3):
        assert client.request("GET", server.url).body == b"ok"
        time.sleep(0.05)
    assert patience.pauses == []
    assert len({request.peer for request in server.requests}) == 3


@pytest.mark.parametrize("tls", [False, True])
def test_threads_share_a_client(serve: Any, make: Any, tls: bool) -> None:
    def script(c: Any) -> None:
        sent = c.body()
        c.answer(200, hashlib.sha256(sent).hexdigest().encode() if c.command == "PUT" else c.path.encode() * 1000)

    server = serve(script, tls=tls)
    client = make(ca_path=str(serve.authority))

    def work(number: int) -> bool:
        path = f"/{number}".encode()
        with client.open_stream(server.url + path.decode()) as reader:
            got = b"".join(iter(lambda: reader.read(700), b""))
        digest = client.put_stream(server.url, {}, lambda: [path] * 5, len(path) * 5).body
        return got == path * 1000 and digest.decode() == hashlib.sha256(path * 5).hexdigest()

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(60)))
    assert len({request.peer for request in server.requests}) <= 6


# -- TLS


def test_tls_is_verified(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.answer(200), tls=True)
    with pytest.raises(HttpConnectError, match=r"certificate is not trusted \(.*\).*set ca_path") as caught:
        make().request("GET", server.url)
    assert not caught.value.retryable
    assert patience.pauses == []
    assert server.requests == []


def test_tls_with_an_own_authority(serve: Any, make: Any, tmp_path: Path) -> None:
    server = serve(lambda c: c.answer(200, b"ok"), tls=True)
    (tmp_path / "own.crt").write_text(serve.authority.read_text())
    (tmp_path / "README").write_text("no certificate")
    for ca_path in (str(serve.authority), str(tmp_path)):
        assert make(ca_path=ca_path).request("GET", server.url).body == b"ok"


def test_ca_path_adds_to_the_system(serve: Any, make: Any, tmp_path: Path, monkeypatch: Any) -> None:
    server = serve(lambda c: c.answer(200, b"ok"), tls=True)
    other = tmp_path / "other.pem"
    other.write_text(serve.certificate.read_text().partition("-----BEGIN PRIVATE")[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(serve.authority))  # stands for the system's trust
    assert make(ca_path=str(other)).request("GET", server.url).body == b"ok"


def test_the_name_must_match(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(200), tls=True)
    with pytest.raises(HttpConnectError, match="use a name of the certificate in the URL"):
        make(ca_path=str(serve.authority)).request("GET", f"https://localhost:{server.port}/")
    assert server.requests == []


def test_tls_where_none_is_spoken(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.answer(200))
    with pytest.raises(HttpConnectError, match="Check that this port uses TLS"):
        make().request("GET", f"https://{server.netloc}/")
    assert patience.pauses == []


@pytest.mark.parametrize(
    ("make_path", "problem"),
    [
        (lambda directory: directory / "absent.pem", "No such file"),
        (lambda directory: directory, "no .pem, .crt or .cer file"),
        (lambda directory: Path(__file__), "Set a PEM file"),
    ],
)
def test_a_wrong_ca_path_shows_at_once(make: Any, tmp_path: Path, make_path: Any, problem: str) -> None:
    path = make_path(tmp_path)
    with pytest.raises(ImageError, match=problem) as caught:
        make(ca_path=str(path))
    assert str(path) in str(caught.value)


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_keep_authorization_only_at_home(serve: Any, make: Any, status: int) -> None:
    storage = serve(lambda c: c.answer(200, b"blob"))

    def script(c: Any) -> None:
        if c.path == "/a":
            c.answer(status, b"see there", Location="b")
        else:
            c.answer(status, Location=f"{storage.url}/blob?X-Amz-Signature=s")

    server = serve(script)
    headers = {"authorization": "Bearer t", "Cookie": "c", "X-Keep": "k"}
    assert make().request("GET", f"{server.url}/a", headers).body == b"blob"
    assert [request.path for request in server.requests] == ["/a", "/b"]
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer t", "Bearer t"]
    (last,) = storage.requests
    assert last.path == "/blob?X-Amz-Signature=s"
    assert "authorization" not in last.headers
    assert "cookie" not in last.headers
    assert last.headers["x-keep"] == "k"
    assert last.headers["host"] == storage.netloc


def test_authorization_does_not_come_back(serve: Any, make: Any) -> None:
    home = serve(lambda c: c.answer(200, b"ok") if c.path == "/end" else c.answer(302, Location=f"{away.url}/"))
    away = serve(lambda c: c.answer(302, Location=f"{home.url}/end"))
    assert make().request("GET", home.url, {"Authorization": "Bearer t"}).body == b"ok"
    assert ["authorization" in request.headers for request in home.requests] == [True, False]


def test_redirects_are_bounded(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(302, Location=f"/{c.number}"))
    with pytest.raises(HttpError, match="more than 5 redirects"):
        make().request("GET", server.url)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("", "without a Location header"),
        ("ftp://h/", "must begin with http"),
        ("http://u:p@h/", "must contain no user name"),
    ],
)
def test_redirects_to_nowhere(serve: Any, make: Any, location: str, problem: str) -> None:
    server = serve(lambda c: c.answer(302, Location=location))
    with pytest.raises(HttpError, match=problem):
        make().request("GET", server.url)


def test_tls_is_not_given_up(serve: Any, make: Any) -> None:
    plain = serve(lambda c: c.answer(200))
    server = serve(lambda c: c.answer(302, Location=f"{plain.url}/?secret"), tls=True)
    with pytest.raises(HttpError, match="without TLS") as caught:
        make(ca_path=str(serve.authority)).request("GET", server.url)
    assert plain.requests == []
    assert "secret" not in everything(caught.value)


def test_writes_are_not_redirected(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(307, Location="/b"))
    client = make()
    for write in (
        lambda: client.request("POST", server.url, body=b"x"),
        lambda: client.put_stream(server.url, {}, lambda: [b"x"], 1),
    ):
        with pytest.raises(HttpStatusError, match="307"):
            write()
    assert {request.path for request in server.requests} == {"/"}


# -- streams in


def ranged(c: Any) -> None:
    """What a good server does."""
    requested = c.headers.get("Range")
    if not requested:
        c.answer(200, DATA, ETag='"e"')
        return
    start, end = requested[len("bytes=") :].split("-")
    first, last = int(start), min(int(end or len(DATA)), len(DATA) - 1)
    c.answer(206, DATA[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(DATA)}", ETag='"e"')


def whole(c: Any) -> None:
    """What a server does that knows no ranges."""
    c.answer(200, DATA, ETag='"e"')


def unknown_length(c: Any) -> None:
    c.send_response(200)
    c.send_header("ETag", '"e"')
    c.end_headers()
    c.wfile.write(DATA)
    c.close_connection = True


def chunked(c: Any) -> None:
    c.send_response(200)
    c.send_header("ETag", '"e"')
    c.send_header("Transfer-Encoding", "chunked")
    c.end_headers()
    for offset in range(0, len(DATA), 100_000):
        chunk = DATA[offset : offset + 100_000]
        c.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
    c.wfile.write(b"0\r\n\r\n")


@pytest.mark.parametrize("script", [ranged, whole, unknown_length, chunked])
@pytest.mark.parametrize("size", [1000, 300_000, 10**7])
@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 10), (5, None), (5, 6), (700_001, 900_000), (0, len(DATA)), (1000, 10**9)]
)
def test_stream(serve: Any, make: Any, script: Any, size: int, start: int, end: int | None) -> None:
    server = serve(script)
    client = make()
    with client.open_stream(server.url, {"X-A": "b"}, start, end) as reader:
        got = b"".join(iter(lambda: reader.read(size), b""))
        assert reader.read() == b""
        assert got == DATA[start:end]
        assert reader.length == len(got)
        assert reader.etag == '"e"'
        assert reader.total in (None, len(DATA))
    request = server.requests[0].headers
    assert request.get("range") == (
        None if (start, end) == (0, None) else f"bytes={start}-{'' if end is None else end - 1}"
    )
    assert request["x-a"] == "b"
    with client.open_stream(server.url, start=9, end=12) as reader:  # whatever became of the connection
        assert reader.read() == DATA[9:12]


@pytest.mark.parametrize(
    ("content_range", "length", "start", "end"),
    [
        ("bytes 0-9/1048576", 10, 5, 15),
        ("bytes 5-15/1048576", 11, 5, 15),
        ("bytes 5-13/1048576", 9, 5, 15),
        ("bytes 5-14/1048576", 9, 5, 15),
        ("bytes 5-99/1048576", 95, 5, None),
        ("bytes 5-4/10", 0, 5, None),
        ("bytes 5-14", 10, 5, 15),
        ("bytes */100", 10, 5, 15),
        ("items 5-14/100", 10, 5, 15),
        ("", 10, 5, 15),
        ("bytes 5-" + "9" * 30 + "/*", 10, 5, None),
    ],
)
def test_another_range_than_requested_is_refused(
    serve: Any, make: Any, content_range: str, length: int, start: int, end: int | None
) -> None:
    server = serve(lambda c: c.answer(206, bytes(length), Content_Range=content_range))
    with pytest.raises(HttpBodyError, match="the request was from 5"), make().open_stream(server.url, {}, start, end):
        pass


def test_206_without_a_range_and_416(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(206, b"x", Content_Range="bytes 0-0/1"))
    with pytest.raises(HttpStatusError, match="206"), make().open_stream(server.url):
        pass
    server = serve(lambda c: c.answer(416, Content_Range="bytes */10"))
    with pytest.raises(HttpStatusError, match="416"), make().open_stream(server.url, start=10):
        pass


def test_a_whole_object_that_ends_before_the_range(serve: Any, make: Any) -> None:
    server = serve(whole)
    with pytest.raises(HttpBodyError, match="byte 1048577 was requested, the object has 1048576"):
        make().open_stream(server.url, start=len(DATA) + 1).__enter__()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("way", ["close", "reset", "hang"])
def test_a_stream_that_breaks_off_goes_on_behind_what_came(serve: Any, make: Any, tls: bool, way: str) -> None:
    """Every byte before the break counts, or a bad line would never transfer a large blob."""
    step = 150_001

    def script(c: Any) -> None:
        start = int(c.headers["Range"][len("bytes=") :].partition("-")[0]) if "Range" in c.headers else 0
        rest = DATA[start:]
        if len(rest) <= step:
            ranged(c)
            return
        c.send_response(206 if start else 200)
        c.send_header("Content-Length", str(len(rest)))
        if start:
            c.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        c.end_headers()
        c.wfile.write(rest[:step])
        c.close_connection = True
        if way == "reset":
            time.sleep(0.05)  # what is on its way would be lost with the reset
            c.reset()
        elif way == "hang":
            c.hang()

    server = serve(script, tls=tls)
    client = make(timeout=0.1, ca_path=str(serve.authority))
    got = b""
    errors = []
    for _dummy in range(20):
        if len(got) == len(DATA):
            break
        with client.open_stream(server.url, start=len(got)) as reader:
            try:
                while chunk := reader.read():
                    got += chunk
            except HttpBodyError as error:
                errors.append(error)
                with pytest.raises(HttpBodyError):
                    reader.read()
    assert got == DATA
    assert len(errors) == len(DATA) // step
    assert all(error.retryable for error in errors)


def test_chunks_that_break_off(serve: Any, make: Any) -> None:
    def script(c: Any) -> None:
        c.send_response(200)
        c.send_header("Transfer-Encoding", "chunked")
        c.end_headers()
        c.wfile.write(b"5\r\nhello\r\n5\r\nwo")
        c.close_connection = True

    server = serve(script)
    with make().open_stream(server.url) as reader:
        assert reader.read() == b"hellowo"
        with pytest.raises(HttpBodyError, match="broke off after 7 bytes") as caught:
            reader.read()
    assert caught.value.retryable


def test_opening_is_tried_again_and_follows(serve: Any, make: Any, patience: Patience) -> None:
    storage = serve(lambda c: c.reset() if c.number == 0 else ranged(c))
    server = serve(lambda c: c.answer(307, Location=f"{storage.url}/x") if c.number else c.answer(502))
    with make().open_stream(server.url, {"Authorization": "x"}, start=100) as reader:
        assert reader.read(5) == DATA[100:105]
    assert len(patience.pauses) == 2
    assert len(server.requests) == 3
    assert [request.headers["range"] for request in storage.requests] == ["bytes=100-"] * 2


def test_a_stream_left_early_does_not_spoil_the_next(serve: Any, make: Any) -> None:
    server = serve(whole)
    client = make()
    with client.open_stream(server.url) as reader:
        reader.read(10)
    with contextlib.suppress(KeyError), client.open_stream(server.url) as reader:
        raise KeyError
    assert client.request("GET", server.url).body == DATA


def test_a_connection_with_a_rest_is_not_used_again(serve: Any, make: Any, patience: Patience) -> None:
    """Also if the rest has not arrived yet: it would be taken for the next response."""

    def script(c: Any) -> None:
        if c.number:
            c.answer(200, b"ok")
            return
        c.send_response(200)
        c.send_header("Content-Length", "100")
        c.end_headers()
        c.wfile.write(b"0123456789")
        c.hang()

    server = serve(script)
    client = make()
    with client.open_stream(server.url) as reader:
        assert reader.read(10) == b"0123456789"
    assert client.request("GET", server.url).body == b"ok"
    assert patience.pauses == []
    assert len({request.peer for request in server.requests}) == 2


# -- streams out


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("length", [0, 1, 1_000_000, len(DATA) * 3 + 7])
@pytest.mark.parametrize("kind", ["iterator", "reader"])
def test_put(serve: Any, make: Any, tmp_path: Path, tls: bool, length: int, kind: str) -> None:
    content = (DATA * 4)[:length]
    file = tmp_path / "body"
    file.write_bytes(content)
    received: list[bytes] = []

    def script(c: Any) -> None:
        received.append(c.body())
        c.answer(200, ETag='"e1"')

    server = serve(script, tls=tls)
    opened: list[Any] = []

    def make_body() -> Any:
        if kind == "reader":
            opened.append(file.open("rb"))
            return opened[-1]
        return (content[offset : offset + 99_999] for offset in range(0, length, 99_999))

    answer = make(ca_path=str(serve.authority)).put_stream(server.url, {"If-None-Match": "*"}, make_body, length)
    assert answer.etag == '"e1"'
    assert received == [content]
    headers = server.requests[0].headers
    assert headers["content-length"] == str(length)
    assert headers["if-none-match"] == "*"
    assert "transfer-encoding" not in headers
    assert all(body.closed for body in opened)


def test_put_again_makes_the_body_again(serve: Any, make: Any, patience: Patience) -> None:
    received: list[bytes] = []

    def script(c: Any) -> None:
        received.append(c.body())
        if c.number == 0:
            c.answer(503, s3_error("SlowDown"))
        elif c.number == 1:
            c.reset()
        else:
            c.answer(200)

    server = serve(script)
    bodies: list[Iterator[bytes]] = []

    def make_body() -> Iterator[bytes]:
        bodies.append(iter([DATA, DATA]))
        return bodies[-1]

    make().put_stream(server.url, {}, make_body, 2 * len(DATA))
    assert received == [DATA * 2] * 3
    assert len(bodies) == 3
    assert len(patience.pauses) == 2


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("status", [403, 412])
@pytest.mark.parametrize("lingers", [False, True])
def test_an_answer_before_the_end_ends_the_sending(
    serve: Any, make: Any, patience: Patience, tls: bool, status: int, lingers: bool
) -> None:
    """S3 refuses by the head alone and closes: the rest of a blob must not be sent, nor the response be lost."""

    def script(c: Any) -> None:
        c.answer(status, s3_error("PreconditionFailed", "At least one"))
        c.close_connection = True
        if lingers:
            c.wfile.flush()
            c.server.over.wait(0.2)

    server = serve(script, tls=tls)
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _dummy in range(64):
            sent += len(DATA)
            yield DATA

    with pytest.raises(HttpStatusError) as caught:
        make(ca_path=str(serve.authority)).put_stream(server.url, {}, body, 64 * len(DATA))
    assert (caught.value.status, caught.value.code) == (status, "PreconditionFailed")
    assert sent < 32 * len(DATA)
    assert patience.pauses == []


def test_an_early_response_with_an_accepted_status_counts(serve: Any, make: Any, patience: Patience) -> None:
    """As 412 of a conditional PUT, which means that the object exists."""

    def script(c: Any) -> None:
        c.answer(412, s3_error("PreconditionFailed"))
        c.server.over.wait(0.05)
        c.close_connection = True

    server = serve(script)
    client = make()
    for _dummy in range(2):
        answer = client.put_stream(server.url, {}, lambda: [DATA] * 64, 64 * len(DATA), ok=(200, 412))
        assert answer.status == 412
        assert b"PreconditionFailed" in answer.body
    assert patience.pauses == []
    assert len({request.peer for request in server.requests}) == 2


def test_an_early_success_does_not_count(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(200))
    with pytest.raises(HttpError) as caught:
        make(retries=1).put_stream(server.url, {}, lambda: (DATA for _dummy in range(64)), 64 * len(DATA))
    assert caught.value.retryable
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("chunks", "problem"),
    [
        ([b"abc"], "ended after 3 of 5 bytes"),
        ([], "ended after 0 of 5"),
        ([b"abc", b"def"], "more than the announced 5 bytes"),
    ],
)
def test_a_body_of_another_length_is_never_taken_for_whole(
    serve: Any, make: Any, patience: Patience, chunks: list[bytes], problem: str
) -> None:
    received = []

    def script(c: Any) -> None:
        received.append(c.body())
        c.answer(200)

    server = serve(script)
    with pytest.raises(HttpBodyError, match=problem) as caught:
        make().put_stream(server.url, {}, lambda: chunks, 5)
    assert not caught.value.retryable
    assert patience.pauses == []
    assert all(len(body) < 5 for body in received)


def test_the_sources_own_errors_pass(serve: Any, make: Any, patience: Patience) -> None:
    server = serve(lambda c: c.answer(200, c.body()))
    ended = []

    def broken() -> Iterator[bytes]:
        try:
            yield b"abc"
            raise OSError("the disk is gone")
        finally:
            ended.append(True)

    with pytest.raises(OSError, match="the disk is gone"):
        make().put_stream(server.url, {}, broken, 10)
    assert ended == [True]
    assert patience.pauses == []


def test_a_source_that_broke_off_is_opened_again(serve: Any, make: Any) -> None:
    source = serve(lambda c: c.answer(200, DATA[:999], length=len(DATA)) if c.number == 0 else c.answer(200, DATA))
    received = []

    def script(c: Any) -> None:
        received.append(c.body())
        c.answer(200)

    sink = serve(script)
    client = make()

    def body() -> Iterator[bytes]:
        with client.open_stream(source.url) as reader:
            while chunk := reader.read():
                yield chunk

    client.put_stream(sink.url, {}, body, len(DATA))
    assert received[-1] == DATA


@pytest.mark.parametrize("way", ["in", "out"])
def test_memory_is_constant(serve: Any, make: Any, way: str) -> None:
    blocks = 40

    def script(c: Any) -> None:
        if c.command == "PUT":
            left = blocks * len(DATA)
            while left:
                left -= len(c.rfile.read(min(left, 65536)))
            c.answer(200)
            return
        c.send_response(200)
        c.send_header("Content-Length", str(blocks * len(DATA)))
        c.end_headers()
        for _dummy in range(blocks):
            c.wfile.write(DATA)

    server = serve(script)
    client = make()
    tracemalloc.start()
    try:
        if way == "in":
            with client.open_stream(server.url) as reader:
                total = sum(map(len, iter(reader.read, b"")))
            assert total == blocks * len(DATA)
        else:
            client.put_stream(server.url, {}, lambda: (DATA for _dummy in range(blocks)), blocks * len(DATA))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * len(DATA)


# -- proxies

PROXY_LOGIN = "Basic " + base64.b64encode(b"us er:p@ss").decode()


def test_http_through_a_proxy(serve: Any, make: Any) -> None:
    proxy = serve(lambda c: c.answer(200, b"by proxy"))
    client = make(environ={"HTTP_PROXY": f"http://us%20er:p%40ss@{proxy.netloc}/"})
    assert client.request("GET", "http://bucket.test:81/k?q=1", {"Authorization": "a"}).body == b"by proxy"
    (request,) = proxy.requests
    assert request.path == "http://bucket.test:81/k?q=1"
    assert request.headers["host"] == "bucket.test:81"
    assert request.headers["proxy-authorization"] == PROXY_LOGIN
    assert request.headers["authorization"] == "a"


def test_https_through_a_proxy(serve: Any, make: Any) -> None:
    server = serve(lambda c: c.answer(200, c.body() or b"got"), tls=True)
    proxy = serve(lambda c: c.tunnel())
    client = make(environ={"https_proxy": f"us%20er:p%40ss@{proxy.netloc}"}, ca_path=str(serve.authority))
    assert client.request("GET", f"{server.url}/k?secret", {"Authorization": "a"}).body == b"got"
    client.put_stream(server.url, {}, lambda: [DATA], len(DATA))
    (request,) = proxy.requests  # one tunnel, used twice
    assert (request.method, request.path) == ("CONNECT", server.netloc)
    assert request.headers["proxy-authorization"] == PROXY_LOGIN
    assert "authorization" not in request.headers
    assert "proxy-authorization" not in server.requests[0].headers
    assert server.requests[0].path == "/k?secret"


@pytest.mark.parametrize(("status", "attempts"), [(403, 1), (407, 1), (502, 3), (503, 3)])
def test_a_proxy_that_refuses(serve: Any, make: Any, status: int, attempts: int) -> None:
    proxy = serve(lambda c: c.answer(status))
    client = make(environ={"https_proxy": f"http://user:SECRET@{proxy.netloc}"}, retries=2)
    with pytest.raises(
        HttpConnectError, match=f"no connection to the proxy {proxy.netloc}: .*{status}.*no_proxy"
    ) as caught:
        client.request("GET", "https://bucket.test/k")
    assert len(proxy.requests) == attempts
    assert "SECRET" not in everything(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("127.0.0.1", True),
        ("other.test, 127.0.0.1", True),
        ("127.0.0.0/8", True),
        ("*", True),
        ("127.0.0.1:{port}", True),
        ("127.0.0.1:1", False),
        ("10.0.0.0/8", False),
        ("0.0.1", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy(serve: Any, make: Any, name: str, no_proxy: str, direct: bool) -> None:
    server = serve(lambda c: c.answer(200, b"direct"))
    proxy = serve(lambda c: c.answer(200, b"proxy"))
    client = make(environ={"http_proxy": proxy.url, name: no_proxy.format(port=server.port)})
    assert client.request("GET", server.url).body == (b"direct" if direct else b"proxy")


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("bucket.test", True),
        (".bucket.test", True),
        ("test", True),
        (".test", True),
        ("BUCKET.test", True),
        ("ucket.test", False),
        ("a.bucket.test", False),
    ],
)
def test_no_proxy_by_name(serve: Any, make: Any, monkeypatch: Any, no_proxy: str, direct: bool) -> None:
    server = serve(lambda c: c.answer(200, b"direct"))
    proxy = serve(lambda c: c.answer(200, b"proxy"))
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest: resolve("127.0.0.1" if host == "bucket.test" else host, *rest)
    )
    client = make(environ={"http_proxy": proxy.url, "no_proxy": no_proxy})
    assert client.request("GET", f"http://bucket.test:{server.port}/").body == (b"direct" if direct else b"proxy")


def test_the_lower_case_name_wins_and_the_environment_is_read(serve: Any, monkeypatch: Any) -> None:
    proxy = serve(lambda c: c.answer(200, b"proxy"))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert HttpClient(retries=0).request("GET", "http://bucket.test/").body == b"proxy"


@pytest.mark.parametrize("value", ["socks5://u:SECRET@h:1", "https://u:SECRET@h", "http://u:SECRET@h:port", "http://"])
def test_a_proxy_variable_that_names_none(make: Any, value: str) -> None:
    with pytest.raises(ImageError, match="variable http_proxy of this host") as caught:
        make(environ={"http_proxy": value}).request("GET", "http://bucket.test/")
    assert "SECRET" not in everything(caught.value)


# -- leaks

SIGNATURE = "5ec4e7516a7u4e5ec4e7516a7u4e"
CREDENTIAL = "AKIASECRETKEYNAME%2F20260101%2Feu%2Fs3"
TOKEN = "5ec4e770ken5ec4e770ken"
QUERY = f"X-Amz-Credential={CREDENTIAL}&X-Amz-Signature={SIGNATURE}"
SECRETS = (SIGNATURE, "AKIASECRETKEYNAME", TOKEN)


def echo(status: int, shape: str) -> Callable[[Any], None]:
    """A server that repeats the request's secrets in its response, as some do."""

    def script(c: Any) -> None:
        text = f"no: {c.path} and http://{c.headers['Host']}{c.path} with {c.headers['Authorization']}"
        body = {"xml": s3_error("Odd", text.replace("&", "&amp;")), "json": b'{"message": "%s"}' % text.encode()}
        c.send_response(status, text)
        c.send_header("Content-Length", str(len(body.get(shape, text.encode()))))
        c.end_headers()
        c.wfile.write(body.get(shape, text.encode()))
        c.close_connection = True

    return script


def lost(c: Any) -> None:
    c.answer(200, b"x", length=100)


LEAKS = {
    "xml": echo(403, "xml"),
    "json": echo(403, "json"),
    "text": echo(403, "text"),
    "error": echo(500, "xml"),
    "reset": lambda c: c.reset(),
    "hang": lambda c: c.hang(),
    "short": lost,
    "too large": lambda c: c.answer(200, bytes(200_000)),
    "range": lambda c: c.answer(206, b"x", Content_Range="bytes 0-0/1"),
    "redirect": lambda c: c.answer(302, Location="http://127.0.0.1:1/x?" + QUERY),
    "loop": lambda c: c.answer(302, Location=c.path),
    "bad redirect": lambda c: c.answer(302, Location="http://h h/x?" + QUERY),
}


@pytest.mark.parametrize("name", LEAKS)
@pytest.mark.parametrize("way", ["request", "open", "put"])
def test_no_error_shows_a_secret(serve: Any, make: Any, name: str, way: str) -> None:
    server = serve(LEAKS[name])
    client = make(timeout=0.1, retries=1)
    url, headers = f"{server.url}/blobs/sha256/abc?{QUERY}", {"Authorization": f"Bearer {TOKEN}"}

    def body() -> Iterator[bytes]:
        yield DATA

    def run() -> None:
        if way == "request":
            client.request("GET", url, headers, limit=100_000)
        elif way == "put":
            client.put_stream(url, headers, body, len(DATA), ok=(204,))
        else:
            with client.open_stream(url, headers, 5, 5000) as reader:
                while reader.read():
                    pass

    try:
        run()
    except HttpError as error:
        shown = everything(error)
    else:
        assert (name, way) == ("too large", "open")  # a stream has no limit
        return
    assert QUERY in server.requests[0].path  # the search below could have found something
    assert TOKEN in server.requests[0].headers["authorization"]
    for secret in SECRETS:
        assert secret not in shown
    assert "/x?..." in shown or "/blobs/sha256/abc" in shown or "h h" in shown
