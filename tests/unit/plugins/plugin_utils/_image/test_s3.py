# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 path: what it signs, what it believes to be there, and how blobs become objects."""

from __future__ import annotations

from typing import Any, Optional
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob, BlobOutcome, get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import BlobTransfer
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3 import (
    REQUESTS_PER_CALL,
    BucketOptions,
    S3BlobStore,
    S3Upload,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import digest_of
from ansible_collections.daytwo.aws.tests.unit.plugins.plugin_utils._image.cloud import (
    BUCKET,
    MIB,
    NEW_YEAR,
    FakeS3,
    left,
    refusal,
)
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

DATA = b"0123456789" * 2 * MIB  # 20 MiB: four parts of 5 MiB
BLOB = Blob(digest_of(DATA), len(DATA), "application/x-layer")
SMALL = Blob(digest_of(b"small"), 5, "application/x-config")
KEY = f"blobs/sha256/{get_digest_hex(BLOB.digest)}"
REFERENCES = {BLOB.digest: "app:v1", SMALL.digest: "app:v1"}
ALL_OPTIONS = BucketOptions(BUCKET, "team/images", "aws:kms", "key-1", "123456789012", 5 * MIB)


def real_client() -> Any:
    settings = Config(signature_version="s3v4", request_checksum_calculation="when_required")
    return boto3.client("s3", "eu-west-1", aws_access_key_id="AKIA", aws_secret_access_key="secret", config=settings)


def path_of(s3: Any, **options: Any) -> S3BlobStore:
    return S3BlobStore(s3, BucketOptions(**{"bucket": BUCKET, "part_size": 5 * MIB, **options}))


# -- what is signed


def signed(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize("options", [BucketOptions(BUCKET), ALL_OPTIONS], ids=["bare", "every option"])
@pytest.mark.parametrize("request_of", ["get", "put", "replace", "part"])
def test_s3_the_headers_for_the_host_are_those_that_the_signature_covers(
    request_of: str, options: BucketOptions
) -> None:
    """facts: S3: signatures are checked; a header that is signed and not sent, or the other way round, is refused."""
    path = S3BlobStore(real_client(), options)
    if request_of == "get":
        transfer = path.sign_download(BLOB, 20, "app:v1")
        url, headers = transfer["url"], transfer["headers"]
    elif request_of == "part":
        url, headers = path.sign_part(BLOB, "upload", 7)
    else:
        url, headers = path.sign_put(BLOB, request_of == "replace")
    query = signed(url)
    assert set(query["X-Amz-SignedHeaders"].split(";")) == {"host", *(name.lower() for name in headers)}
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert 60 <= int(query["X-Amz-Expires"]) <= 3600
    assert ("If-None-Match" in headers) == (request_of == "put")
    prefix = "team/images/" if options.prefix else ""
    assert urlsplit(url).path.endswith(f"/{prefix}blobs/sha256/{get_digest_hex(BLOB.digest)}")
    if request_of == "part":
        assert (query["uploadId"], query["partNumber"]) == ("upload", "7")
    if request_of in ("put", "replace"):
        assert headers["x-amz-meta-sha256"] == get_digest_hex(BLOB.digest)
        assert ("x-amz-server-side-encryption" in headers) == (options.sse is not None)


def test_s3_multipart_begins_with_encryption_and_the_checksum_of_our_own() -> None:
    """facts: S3: the checksum of a multipart upload is a composite: keep your own sha256."""
    client = real_client()
    with Stubber(client) as stub:
        stub.add_response(
            "create_multipart_upload",
            {"UploadId": "u1"},
            {
                "Bucket": BUCKET,
                "ExpectedBucketOwner": "123456789012",
                "Key": f"team/images/{KEY}",
                "Metadata": {"sha256": get_digest_hex(BLOB.digest)},
                "ServerSideEncryption": "aws:kms",
                "SSEKMSKeyId": "key-1",
            },
        )
        assert S3BlobStore(client, ALL_OPTIONS).create_multipart_upload(BLOB) == "u1"
        stub.assert_no_pending_responses()


@pytest.mark.parametrize(("prefix", "key"), [("", KEY), ("/", KEY), ("a", f"a/{KEY}"), ("/a/b/", f"a/b/{KEY}")])
def test_keys_are_content_addressed_below_the_prefix(prefix: str, key: str) -> None:
    assert path_of(FakeS3(), prefix=prefix).get_key(BLOB) == key


# -- what is there


def test_objects_are_found_by_a_head() -> None:
    s3 = FakeS3().holds({BLOB.digest: DATA})
    s3.keep(f"blobs/sha256/{get_digest_hex(SMALL.digest)}", b"small", {}, {})
    found = path_of(s3, expected_bucket_owner="123456789012").find_objects(
        [BLOB.digest, SMALL.digest, digest_of(b"gone")]
    )
    assert {digest: (stored_object.size, stored_object.sha256) for digest, stored_object in found.items()} == {
        BLOB.digest: (len(DATA), get_digest_hex(BLOB.digest)),
        SMALL.digest: (5, None),
    }
    assert {(call["Bucket"], call["ExpectedBucketOwner"]) for name, call in s3.calls} == {(BUCKET, "123456789012")}


def test_an_object_that_was_put_again_is_another_version_even_with_the_same_entity_tag() -> None:
    s3 = FakeS3().holds({BLOB.digest: DATA})
    first = path_of(s3).find_objects([BLOB.digest])[BLOB.digest]
    s3.at(BLOB.digest).modified = NEW_YEAR.replace(hour=5)
    assert first.etag.startswith(s3.at(BLOB.digest).etag)
    assert path_of(s3).find_objects([BLOB.digest])[BLOB.digest].etag != first.etag


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (refusal("NoSuchBucket"), "The bucket does not exist"),
        (refusal("404"), "The bucket does not exist"),
        (refusal("AccessDenied"), "Check the IAM policy of the controller's identity and the bucket's policy and that"),
        (refusal("403"), "belongs to 123456789012"),
        (refusal("ExpiredToken"), "credentials of the controller have expired or are not valid: renew them"),
        (refusal("InvalidAccessKeyId"), "credentials of the controller have expired or are not valid: renew them"),
        (refusal("SignatureDoesNotMatch"), "check secret_key"),
        (refusal("PermanentRedirect"), "The bucket is in another region"),
        (refusal("Strange"), "S3 returns Strange"),
        (NoCredentialsError(), "The controller has no AWS credentials"),
        (EndpointConnectionError(endpoint_url="https://s3.test"), "cannot reach the S3 service: check endpoint_url"),
    ],
)
@pytest.mark.parametrize("method", ["list_objects_v2", "head_object"])
def test_bad_buckets_and_credentials_are_reported_with_the_remediation(
    method: str, error: Exception, message: str
) -> None:
    s3 = FakeS3()
    s3.refuse[method] = error
    path = path_of(s3, expected_bucket_owner="123456789012")
    if method == "head_object" and getattr(error, "response", {}).get("Error", {}).get("Code") == "404":
        assert path.find_objects([BLOB.digest]) == {}
        return
    with pytest.raises(ImageError, match=f"bucket: cannot (list|read) s3://{BUCKET}: ") as caught:
        path.check() if method == "list_objects_v2" else path.find_objects([BLOB.digest])
    assert message in str(caught.value)


# -- uploads


def upload(s3: FakeS3, *carries: BlobTransfer, **options: Any) -> S3Upload:
    return path_of(s3, **options).make_upload(carries, REFERENCES)


PUT = BlobTransfer(BLOB, "put", "")
PUT_SMALL = BlobTransfer(SMALL, "put", "")


def send(s3: FakeS3, session: S3Upload, transfers: list[dict[str, Any]]) -> list[BlobOutcome]:
    """What a host that does everything answers; the caller records it."""
    content = {BLOB.digest: DATA, SMALL.digest: b"small"}
    outcomes = []
    for request in transfers:
        data = content[request["digest"]][request["offset"] :][: request["length"]]
        etag = s3.put(request["url"], request["headers"], data)
        outcomes.append(BlobOutcome(request["digest"], True, len(data), len(data), etag=etag, number=request["number"]))
    return outcomes


def run(s3: FakeS3, session: S3Upload) -> None:
    while transfers := session.sign_next():
        for outcome in send(s3, session, transfers):
            session.record(outcome)
    session.close()


def test_a_small_blob_is_a_single_request_and_a_large_blob_a_multipart_upload() -> None:
    s3 = FakeS3()
    session = upload(s3, PUT_SMALL, PUT, sse="AES256")
    transfers = session.sign_next()
    assert [(request["digest"], request["number"], request["offset"], request["length"]) for request in transfers] == [
        (SMALL.digest, 0, 0, 5),
        *((BLOB.digest, number, (number - 1) * 5 * MIB, 5 * MIB) for number in (1, 2, 3, 4)),
    ]
    assert all(request["reference"] == "app:v1" for request in transfers)
    run(s3, session)
    assert session.stored == [SMALL.digest, BLOB.digest]
    assert session.errors == {}
    assert session.bytes_done == len(DATA) + 5
    for blob, data in ((SMALL, b"small"), (BLOB, DATA)):
        assert (s3.at(blob.digest).data, s3.at(blob.digest).metadata) == (data, {"sha256": get_digest_hex(blob.digest)})
    assert s3.at(BLOB.digest).kept == {"ServerSideEncryption": "AES256"}
    assert s3.uploads == {}
    assert s3.writes.count("create_multipart_upload") == 1


@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 3, 0, 2)])
def test_parts_are_listed_by_number_however_they_arrive(order: tuple[int, ...]) -> None:
    s3 = FakeS3()
    session = upload(s3, PUT)
    outcomes = send(s3, session, session.sign_next())
    for number in order:
        assert session.stored == []
        session.record(outcomes[number])
    assert session.stored == [BLOB.digest]
    assert s3.at(BLOB.digest).data == DATA


def test_requests_are_handed_out_in_bounded_portions() -> None:
    s3 = FakeS3()
    big = Blob(BLOB.digest, 100 * 5 * MIB, "")
    session = upload(s3, BlobTransfer(big, "put", ""))
    first = session.sign_next()
    assert [request["number"] for request in first] == list(range(1, REQUESTS_PER_CALL + 1))
    for request in first[:10]:
        session.record(BlobOutcome(request["digest"], True, etag='"x"', number=request["number"]))
    assert [request["number"] for request in session.sign_next()] == list(range(11, 11 + REQUESTS_PER_CALL))


def test_what_a_host_had_no_time_for_is_handed_out_again() -> None:
    s3 = FakeS3()
    session = upload(s3, PUT)
    first = session.sign_next()
    done = send(s3, session, first[:1])[0]
    session.record(done)
    for request in first[1:]:
        session.record(BlobOutcome(request["digest"], False, number=request["number"]))
    again = session.sign_next()
    assert [request["number"] for request in again] == [2, 3, 4]
    assert {request["url"] for request in again}.isdisjoint(
        request["url"] for request in first
    )  # signed late, and anew
    run(s3, session)
    assert session.stored == [BLOB.digest]


def expired(request: dict[str, Any]) -> BlobOutcome:
    return BlobOutcome(
        request["digest"], False, error="403: the URL has expired", expired=True, number=request["number"]
    )


def test_s3_urls_that_expired_are_signed_again() -> None:
    """facts: S3: a presigned URL dies with its time. All parts of one slice may find theirs dead at once."""
    s3 = FakeS3()
    big = BlobTransfer(Blob(BLOB.digest, 12 * 5 * MIB, ""), "put", "")
    for blob_transfer in (PUT_SMALL, big):
        session = upload(s3, blob_transfer)
        first = session.sign_next()
        for request in first:
            session.record(expired(request))
        again = session.sign_next()
        assert [request["number"] for request in again] == [request["number"] for request in first]
        assert {request["url"] for request in again}.isdisjoint(request["url"] for request in first)
        assert session.errors == {}


@pytest.mark.parametrize("blob_transfer", [PUT_SMALL, PUT], ids=["whole", "parts"])
def test_signing_again_is_bounded(blob_transfer: BlobTransfer) -> None:
    """facts: S3: a presigned URL dies with the credentials that signed it; then signing again helps nothing."""
    session = upload(FakeS3(), blob_transfer)
    for _attempt in range(20):
        transfers = session.sign_next()
        if not transfers:
            break
        for request in transfers:
            session.record(expired(request))
    assert session.errors == {blob_transfer.blob.digest: "403: the URL has expired"}
    assert session.stored == []


@pytest.mark.parametrize("failing", [0, 2, 3])
def test_a_part_that_fails_never_leads_to_an_object_of_the_other_parts(failing: int) -> None:
    s3 = FakeS3()
    session = upload(s3, PUT, PUT_SMALL)
    transfers = session.sign_next()
    outcomes = send(s3, session, transfers)
    outcomes[failing] = BlobOutcome(BLOB.digest, False, error="the registry broke off", number=failing + 1)
    for outcome in outcomes:
        session.record(outcome)
    run(s3, session)
    assert session.errors == {BLOB.digest: "the registry broke off"}
    assert session.stored == [SMALL.digest]
    assert KEY not in s3.objects
    assert s3.uploads == {}  # aborted


def test_incomplete_uploads_are_aborted_at_the_end() -> None:
    s3 = FakeS3()
    session = upload(s3, PUT)
    session.sign_next()
    assert len(s3.uploads) == 1
    session.close()
    assert s3.uploads == {}
    session.close()  # an upload that is gone is no error


@pytest.mark.parametrize(
    ("code", "there", "stored"),
    [
        ("PreconditionFailed", True, True),
        ("PreconditionFailed", False, False),
        ("NoSuchUpload", True, True),
        ("NoSuchUpload", False, False),
        ("InternalError", True, False),
    ],
)
def test_somebody_who_was_first_with_the_same_blob_is_no_error(code: str, there: bool, stored: bool) -> None:
    s3 = FakeS3()
    session = upload(s3, PUT)
    outcomes = send(s3, session, session.sign_next())
    if there:
        s3.holds({BLOB.digest: DATA})
    s3.refuse["complete_multipart_upload"] = refusal(code, "CompleteMultipartUpload")
    for outcome in outcomes:
        session.record(outcome)
    session.close()
    assert (session.stored == [BLOB.digest], bool(session.errors)) == (stored, not stored)
    assert s3.uploads == {}


def test_s3_conditional_put_412_counts_as_stored_and_the_object_stays() -> None:
    """facts: S3: If-None-Match works on a single PUT and on the completion of a multipart upload."""
    s3 = FakeS3()
    session = upload(s3, PUT_SMALL, PUT)
    transfers = session.sign_next()
    s3.holds({BLOB.digest: DATA, SMALL.digest: b"small"})
    before = dict(s3.objects)
    for outcome in send(s3, session, transfers):
        session.record(outcome)
    session.close()
    assert (session.stored, session.errors, s3.objects) == ([SMALL.digest, BLOB.digest], {}, before)


@pytest.mark.parametrize("blob", [SMALL, BLOB], ids=["whole", "parts"])
def test_a_damaged_object_is_replaced_without_a_condition(blob: Blob) -> None:
    s3 = FakeS3().holds({SMALL.digest: b"smalL", BLOB.digest: DATA[:-1] + b"x"})
    session = upload(s3, BlobTransfer(blob, "replace", ""))
    run(s3, session)
    assert session.stored == [blob.digest]
    assert digest_of(s3.at(blob.digest).data) == blob.digest


def test_a_replacement_that_somebody_took_away_is_an_error() -> None:
    """The damaged object is still there, and looks like the right one."""
    s3 = FakeS3().holds({BLOB.digest: DATA[:-1] + b"x"})
    session = upload(s3, BlobTransfer(BLOB, "replace", ""))
    outcomes = send(s3, session, session.sign_next())
    s3.uploads.clear()
    for outcome in outcomes:
        session.record(outcome)
    assert session.stored == []
    assert "NoSuchUpload" in session.errors[BLOB.digest]


def test_a_url_that_cannot_be_signed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = FakeS3()

    def refuse(*args: Any, **kwargs: Any) -> str:
        raise NoCredentialsError

    monkeypatch.setattr(s3, "generate_presigned_url", refuse)
    with pytest.raises(ImageError, match=r"cannot sign a URL for .* has no AWS credentials"):
        path_of(s3).sign_download(BLOB, 5, "app:v1")


# -- what killed runs left


def test_s3_incomplete_uploads_of_blobs_that_are_there_are_aborted() -> None:
    """facts: S3: abort incomplete multipart uploads. Those of other blobs may be another run's at work."""
    s3 = FakeS3().holds({BLOB.digest: DATA})
    superseded = {left(s3, KEY) for number in range(5)}
    kept = {
        left(s3, f"blobs/sha256/{get_digest_hex(SMALL.digest)}"),
        left(s3, "blobs/sha256/" + "0" * 64),
        left(s3, "other"),
    }
    assert path_of(s3).abort_superseded([BLOB.digest, SMALL.digest]) == len(superseded)
    assert set(s3.uploads) == kept
    assert path_of(s3).abort_superseded([]) == 0


@pytest.mark.parametrize("error", [None, "AccessDenied"])
def test_deleting(error: Optional[str]) -> None:
    s3 = FakeS3().holds({BLOB.digest: DATA})
    if error:
        s3.refuse["delete_object"] = refusal(error)
        with pytest.raises(ImageError, match="cannot delete"):
            path_of(s3).delete([BLOB.digest])
    else:
        path_of(s3).delete([BLOB.digest])
        assert s3.objects == {}
