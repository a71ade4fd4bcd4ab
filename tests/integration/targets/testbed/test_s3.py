# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""S3 behind the gate: signatures stay valid, and the gate adds what a gateway does not have."""

from __future__ import annotations

import http.client
import os
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError, SSLError
from testbed import Bed
from testbed.gate import Fault


@pytest.fixture
def prefix(bed: Bed) -> Any:
    yield "testbed-test/"
    for bucket in bed.s3.buckets:
        for key in bed.s3.keys(bucket, "testbed-test/"):
            bed.s3.path(bucket, key).unlink()


def refused(call: Any, **arguments: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response: dict[str, Any] = caught.value.response
    return response


def fetch(bed: Bed, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Request a presigned URL as a host does."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=bed.ca)
    connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=10)
    connection.request(method, f"{parts.path}?{parts.query}", body=body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def test_a_presigned_url_works_until_it_is_tampered_with(bed: Bed, client: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.bucket, "Key": f"{prefix}signed"}
    data = os.urandom(300_000)
    assert fetch(bed, "PUT", s3.generate_presigned_url("put_object", Params=where), data)[0] == 200
    url = s3.generate_presigned_url("get_object", Params=where)
    assert fetch(bed, "GET", url) == (200, data)
    status, answer = fetch(bed, "GET", url.replace("signed?", "other?"))
    assert status == 403
    assert b"SignatureDoesNotMatch" in answer


def test_multipart_conditional_put_and_ranges_pass_the_gate(bed: Bed, client: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.bucket, "Key": f"{prefix}multi"}
    parts = [os.urandom(5 << 20), os.urandom(1000)]
    upload = s3.create_multipart_upload(**where)["UploadId"]
    assert len(bed.s3.uploads(bed.s3.bucket)) == 1
    done = []
    for number, part in enumerate(parts, 1):
        etag = s3.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": done})
    assert bed.s3.uploads(bed.s3.bucket) == []
    assert s3.get_object(**where, Range="bytes=5242870-5242889")["Body"].read() == (parts[0] + parts[1])[-1010:-990]
    assert refused(s3.put_object, **where, Body=b"", IfNoneMatch="*")["Error"]["Code"] == "PreconditionFailed"
    assert bed.s3.path(bucket=where["Bucket"], key=where["Key"]).read_bytes() == b"".join(parts)


def test_a_bucket_elsewhere_answers_as_aws_does(bed: Bed, client: Any, prefix: str) -> None:
    bucket, key = bed.s3.elsewhere_bucket, f"{prefix}elsewhere"
    home = client("s3", region=bed.s3.other_region)
    home.put_object(Bucket=bucket, Key=key, Body=b"here")
    for region, status, code in (
        (bed.s3.region, 301, "PermanentRedirect"),
        ("us-east-1", 400, "AuthorizationHeaderMalformed"),
    ):
        s3 = client("s3", region=region)
        s3.meta.events.unregister("needs-retry.s3")  # botocore would follow the redirect by itself
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
        got, answer = fetch(bed, "GET", url)
        assert got == status
        assert f"<Code>{code}</Code>".encode() in answer
    head = client("s3").head_bucket(Bucket=bucket)  # botocore follows x-amz-bucket-region
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == bed.s3.other_region


def test_expected_bucket_owner_is_compared(bed: Bed, client: Any, prefix: str) -> None:
    put = {"Bucket": bed.s3.bucket, "Key": f"{prefix}owner", "Body": b"1"}
    client("s3").put_object(**put, ExpectedBucketOwner=bed.s3.account)
    assert (
        refused(client("s3").put_object, **put, ExpectedBucketOwner="999999999999")["Error"]["Code"] == "AccessDenied"
    )


def test_the_encrypted_bucket_demands_its_key(bed: Bed, client: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.encrypted_bucket, "Key": f"{prefix}secret"}
    for headers in ({}, {"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}):
        assert refused(s3.put_object, **where, Body=b"1", **headers)["Error"]["Code"] == "AccessDenied"
        assert refused(s3.create_multipart_upload, **where, **headers)["Error"]["Code"] == "AccessDenied"
    assert bed.s3.keys(bed.s3.encrypted_bucket, prefix) == []
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": bed.s3.kms_key}
    assert s3.put_object(**where, Body=b"1", **encryption)["SSEKMSKeyId"] == bed.s3.kms_key
    url = s3.generate_presigned_url("put_object", Params={**where, **encryption})
    assert fetch(bed, "PUT", url, b"2")[0] == 403  # the signature includes the headers


def test_a_refusal_before_the_body_announces_that_the_connection_ends(bed: Bed, client: Any, prefix: str) -> None:
    response = refused(client("s3").put_object, Bucket=bed.s3.encrypted_bucket, Key=f"{prefix}secret", Body=b"1")
    assert response["ResponseMetadata"]["HTTPHeaders"]["connection"] == "close"


def test_the_record_shows_who_moved_how_many_bytes(bed: Bed, client: Any, recorder: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.bucket, "Key": f"{prefix}counted"}
    url = s3.generate_presigned_url("put_object", Params=where)
    host = bed.host("private-a")
    send = (
        "import http.client, ssl, sys, urllib.parse\n"
        "u = urllib.parse.urlsplit(sys.argv[1])\n"
        "c = http.client.HTTPSConnection(u.netloc, context=ssl.create_default_context())\n"
        "c.request('PUT', u.path + '?' + u.query, body=b'x' * 1234)\n"
        "print(c.getresponse().status)\n"
    )
    assert host.run(host.python, "-c", send, url).stdout == "200\n"
    s3.get_object(**where)["Body"].read()
    put, get = recorder.calls(key=where["Key"])
    assert (put.client, put.action, put.mutating, put.bytes_in, put.key) == (
        "private-a",
        "s3:PutObject",
        True,
        1234,
        where["Key"],
    )
    assert (get.client, get.action, get.mutating, get.bytes_out) == ("controller", "s3:GetObject", False, 1234)
    assert not [call for call in recorder.calls() if "Signature" in str(call)]


def test_denied_actions_are_refused_and_written_nowhere(bed: Bed, client: Any, recorder: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.bucket, "Key": f"{prefix}denied"}
    with recorder.denying("s3:PutObject"):
        assert refused(s3.put_object, **where, Body=b"1")["Error"]["Code"] == "AccessDenied"
        assert refused(s3.create_multipart_upload, **where)["Error"]["Code"] == "AccessDenied"
    assert bed.s3.keys(bed.s3.bucket, prefix) == []
    assert [call.denied for call in recorder.calls(key=where["Key"])] == [True, True]
    s3.put_object(**where, Body=b"1")
    assert not recorder.calls(key=where["Key"])[-1].denied


def test_faults_come_as_requested(bed: Bed, client: Any, recorder: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.bucket, "Key": f"{prefix}faulty"}
    body = os.urandom(3 << 20)
    s3.put_object(**where, Body=body)
    with recorder.failing(Fault("error", operation="GetObject", times=1)):
        answer = refused(s3.get_object, **where)
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("SlowDown", 503)
        assert s3.get_object(**where)["Body"].read() == body
    with (
        recorder.failing(Fault("reset", operation="GetObject", after_bytes=1 << 20)),
        pytest.raises(ResponseStreamingError),
    ):
        s3.get_object(**where)["Body"].read()
    with (
        recorder.failing(Fault("reset", operation="PutObject", after_bytes=1 << 20)),
        pytest.raises((ConnectionClosedError, SSLError)),
    ):
        s3.put_object(Bucket=where["Bucket"], Key=f"{prefix}never", Body=body)
    assert bed.s3.keys(bed.s3.bucket, prefix) == [where["Key"]]
    with recorder.failing(Fault("error", status=400, code="ExpiredToken", key=f"{prefix}*", client="controller")):
        assert refused(s3.get_object, **where)["Error"]["Code"] == "ExpiredToken"
        s3.list_objects_v2(Bucket=where["Bucket"])  # no key, so no fault


def test_a_rate_of_faults_is_the_same_in_every_run(client: Any, recorder: Any, bed: Bed) -> None:
    s3 = client("s3")
    runs = []
    for _dummy in range(2):
        with recorder.failing(Fault("error", operation="HeadBucket", rate=0.3, seed=7)):
            recorder.reset()
            for _dummy in range(30):
                try:
                    s3.head_bucket(Bucket=bed.s3.bucket)
                except ClientError as error:
                    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503  # noqa: PT017
            runs.append([call.status for call in recorder.calls()])
    assert runs[0] == runs[1]
    assert 0 < runs[0].count(503) < 30


def test_flip_damages_a_single_bit(bed: Bed, client: Any, prefix: str) -> None:
    s3, where = client("s3"), {"Bucket": bed.s3.bucket, "Key": f"{prefix}flipped"}
    s3.put_object(**where, Body=b"AAAA")
    bed.s3.flip(where["Bucket"], where["Key"], 2)
    assert fetch(bed, "GET", s3.generate_presigned_url("get_object", Params=where)) == (200, b"AA@A")
