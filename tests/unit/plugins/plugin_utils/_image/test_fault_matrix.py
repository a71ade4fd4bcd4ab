# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every call to S3 with every failure: each ends in that item's failure, and what was done before comes out."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import boto3
import botocore.exceptions as boto
import botocore.httpsession
import pytest
import urllib3.exceptions
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.absent import delete_blobs
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.flow import HostModuleError, ProgressReporter
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.loaded import load_bundle
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3 import BucketOptions, S3BlobStore
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3_client import make_s3_client
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.saved import save_bundle
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.source_inspection import SaveOptions
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import make, nothing
from ansible_collections.daytwo.aws.tests.unit.plugins.plugin_utils._image.cloud import (
    BUCKET,
    MIB,
    FakeS3,
    Source,
    Target,
    left,
    refusal,
)
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.parsers import ResponseParserError

URL = "https://s3.test/"
LARGE = bytes(range(256)) * 4096 * 6  # 6 MiB: two parts
MADE = make(LARGE, b"top")
LARGE_DIGEST = MADE.image.layers[0].blob.digest
FAILURES: dict[str, Exception] = {
    "reset": boto.ConnectionClosedError(endpoint_url=URL),
    "no route": boto.EndpointConnectionError(endpoint_url=URL, error="refused"),
    "no connection in time": boto.ConnectTimeoutError(endpoint_url=URL),
    "no response in time": boto.ReadTimeoutError(endpoint_url=URL),
    "proxy": boto.ProxyConnectionError(proxy_url="http://proxy.test"),
    "TLS": boto.SSLError(endpoint_url=URL, error="certificate verify failed"),
    "any error of the client": boto.HTTPClientError(error="x"),
    "no credentials": boto.NoCredentialsError(),
    "no parsable response": ResponseParserError("Unable to parse response"),
    "protocol": urllib3.exceptions.ProtocolError("Connection broken", http.client.IncompleteRead(b"")),
    "incomplete": http.client.IncompleteRead(b""),
    "file": OSError(5, "Input/output error"),
    "throttled": refusal("SlowDown", status=503),
    "internal": refusal("InternalError", status=500),
    "denied": refusal("AccessDenied", status=403),
    "expired": refusal("ExpiredToken"),
}
# Each failure of the first call, and some of later calls and after the effect of a call.
FAULTS = [
    *(pytest.param(failure, 0, False, id=name) for name, failure in FAILURES.items()),
    *(
        pytest.param(FAILURES[name], first, after, id=f"{name}, from call {first}{', after its effect' * after}")
        for name in ("reset", "no response in time", "internal", "denied")
        for first, after in ((0, True), (1, False), (2, True))
    ),
]
CALLS = (
    "list_objects_v2",
    "head_object",
    "create_multipart_upload",
    "complete_multipart_upload",
    "abort_multipart_upload",
    "list_multipart_uploads",
    "generate_presigned_url",
    "delete_object",
)


class FailingS3(FakeS3):
    """A bucket of which the calls of one method fail from a number on, before or after their effect."""

    def __init__(self, method: str, failure: Exception, first: int, after: bool) -> None:
        super().__init__()
        self.method, self.failure, self.first, self.after = method, failure, first, after
        self.failed = self.count = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in CALLS or name != self.method:
            return found

        def call(*args: Any, **parameters: Any) -> Any:
            self.count += 1
            is_failure = self.count > self.first
            if is_failure and not self.after:
                self.failed += 1
                raise self.failure
            result = found(*args, **parameters)
            if is_failure:
                self.failed += 1
                raise self.failure
            return result

        return call


def is_stored(s3: FakeS3) -> set[str]:
    return {f"sha256:{key.rpartition('/')[2]}" for key in s3.objects}


def save(s3: FakeS3) -> Optional[dict[str, Any]]:
    store = S3BlobStore(s3, BucketOptions(BUCKET, part_size=5 * MIB))
    options = SaveOptions(False, (), {}, False, False)
    try:
        result: dict[str, Any] = save_bundle(Source(s3, (MADE,)), lambda: store, options, ProgressReporter(nothing))
    except ImageError:
        return None
    return result


@pytest.mark.parametrize(("failure", "first", "after"), FAULTS)
@pytest.mark.parametrize("method", CALLS)
def test_a_save_reports_what_is_stored(method: str, failure: Exception, first: int, after: bool) -> None:
    s3 = FailingS3("", failure, first, after)
    left(s3, f"blobs/sha256/{LARGE_DIGEST.partition(':')[2]}")
    s3.method = method
    before = is_stored(s3)
    result = save(s3)
    s3.method = ""  # now without failures
    if result is None:
        # Nothing was stored where the error alone is the result.
        assert is_stored(s3) == before
        return
    changed = {blob["name"] for blob in result["blobs"] if blob["status"] == "changed"}
    assert result["changed"] == bool(changed)
    assert changed <= is_stored(s3)
    for blob in result["blobs"]:
        if blob["status"] == "failed" and blob["name"] in is_stored(s3):
            assert "the store may have it" in blob["reason"]
    assert bool(result.get("failed")) == any(blob["status"] == "failed" for blob in result["blobs"])


@pytest.mark.parametrize(("failure", "first", "after"), FAULTS)
@pytest.mark.parametrize("method", ["list_objects_v2", "head_object", "delete_object"])
def test_a_deletion_reports_what_is_deleted(method: str, failure: Exception, first: int, after: bool) -> None:
    s3 = FailingS3(method, failure, first, after)
    s3.holds(MADE.content)
    before = is_stored(s3)
    try:
        result = delete_blobs(S3BlobStore(s3, BucketOptions(BUCKET)), Bundle((MADE.image,)), False, False)
    except ImageError:
        assert is_stored(s3) == before
        return
    deleted = {blob["name"] for blob in result["blobs"] if blob["status"] == "changed"}
    assert result["changed"] == bool(deleted)
    assert deleted <= before - is_stored(s3)
    for blob in result["blobs"]:
        if blob["status"] == "failed" and blob["name"] not in is_stored(s3):
            assert after, "a deletion that had no effect is reported as deleted"


@pytest.mark.parametrize(("failure", "first", "after"), FAULTS)
@pytest.mark.parametrize("method", ["list_objects_v2", "head_object", "generate_presigned_url"])
def test_a_load_reports_what_is_loaded(
    tmp_path: Path, method: str, failure: Exception, first: int, after: bool
) -> None:
    s3 = FailingS3(method, failure, first, after)
    s3.holds(MADE.content)
    target = Target(s3, tmp_path)
    store = S3BlobStore(s3, BucketOptions(BUCKET))
    try:
        result = load_bundle(target, store, Bundle((MADE.image,)), None, False, False, ProgressReporter(nothing))
    except ImageError:
        assert target.engine.find(MADE.image.tag) is None
        return
    (image,) = result["images"]
    assert (image["status"] == "changed") == (target.engine.find(MADE.image.tag) is not None)


@pytest.mark.parametrize("error", [ImageError("the disk is full"), HostModuleError({"msg": "no room", "failed": True})])
def test_what_was_stored_before_the_source_failed_is_reported(error: Exception) -> None:
    s3 = FakeS3()
    source = Source(s3, (MADE,))
    calls = []

    def fail_second(phase: str, transfer: Any) -> Optional[dict[str, Any]]:
        if phase == "send" and transfer["number"]:
            return {"done": False}  # no time for the parts: they are requested again
        if phase == "job":
            calls.append(phase)
            if len(calls) == 2:
                raise error
        return None

    source.fault = fail_second
    store = S3BlobStore(s3, BucketOptions(BUCKET, part_size=5 * MIB))
    result = save_bundle(source, lambda: store, SaveOptions(False, (), {}, False, False), ProgressReporter(nothing))
    status = {blob["name"]: (blob["status"], blob["reason"]) for blob in result["blobs"]}
    assert result["changed"]
    assert result["failed"]
    assert status[LARGE_DIGEST] == ("failed", str(error))
    assert {name for name, (word, _reason) in status.items() if word == "changed"} == is_stored(s3)
    assert s3.uploads == {}


# -- responses that are not from S3


class _Raw:
    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self, **_dummy: Any) -> Any:
        return iter([self.body])


PAGES = {
    "a page": (b"<!DOCTYPE html><html><title>Log in</title></html>", "text/html"),
    "an empty body": (b"", "text/plain"),
    "other XML": (b"<?xml version='1.0'?><Other><x/></Other>", "application/xml"),
    "no XML": (b"OK", "text/plain"),
    "JSON": (b"{}", "application/json"),
    "a part of XML": (b"<ListBucketResult><Na", "application/xml"),
}
D = "sha256:" + "d" * 64
CHECKED: dict[str, Callable[[S3BlobStore], Any]] = {
    "list": lambda store: store.check(),
    "read": lambda store: store.find_objects([D]),
    "begin": lambda store: store.create_multipart_upload(MADE.image.layers[0].blob),
    "complete": lambda store: store.complete_multipart_upload(MADE.image.layers[0].blob, "u", {1: "e"}, True),
    "list uploads": lambda store: store.abort_superseded([D]),
}


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bytes, str]]:
    """What each request is answered with."""
    answers: list[tuple[int, bytes, str]] = []

    def send(self: Any, request: Any) -> AWSResponse:
        status, body, content_type = answers[0]
        body = b"" if request.method == "HEAD" else body
        return AWSResponse(request.url, status, {"Content-Type": content_type}, _Raw(body))

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", send)
    return answers


@pytest.mark.parametrize("call", CHECKED.values(), ids=CHECKED)
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_with_status_200_is_no_success(pages: list[Any], page: tuple[bytes, str], call: Any) -> None:
    pages.append((200, *page))
    client = boto3.session.Session("AKIATEST", "secret", region_name="eu-west-1").client(
        "s3", endpoint_url="https://s3.test", config=Config(retries={"total_max_attempts": 1})
    )
    with pytest.raises(ImageError) as caught:
        call(S3BlobStore(client, BucketOptions(BUCKET)))
    assert str(caught.value).startswith("bucket: cannot ")
    if page != PAGES["a part of XML"]:  # botocore takes that for a failure of S3, which it can be
        assert "https://s3.test answered something that is not AWS" in str(caught.value)
        assert "Check endpoint_url, and what responds there instead of S3" in str(caught.value)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_client_is_made_or_the_error_is_named_whatever_responds(
    pages: list[Any], page: tuple[bytes, str], status: int
) -> None:
    pages.append((status, *page))
    options = {"access_key": "AKIATEST", "secret_key": "secret", "region": "eu-west-1"}
    client = make_s3_client({**options, "aws_config": {"retries": {"total_max_attempts": 1}}}, BucketOptions(BUCKET))
    with pytest.raises(ImageError, match="bucket: cannot list"):
        S3BlobStore(client, BucketOptions(BUCKET)).check()
