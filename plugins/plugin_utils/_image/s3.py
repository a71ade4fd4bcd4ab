# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 store: which blobs the bucket has, and the presigned URLs for hosts without credentials."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import format_datetime
from typing import Any, Optional

from ...module_utils._aws_call import CLIENT_ERRORS, NOT_AWS_CODE, ApiError, call_api
from ...module_utils._image.errors import ImageError
from ...module_utils._image.model import Blob, BlobOutcome, StoredObject, format_object_version, get_digest_hex
from ...module_utils._image.plan import BlobTransfer, UploadPart, split_into_parts

# A URL is used within one call of some seconds; a single part may take longer on a slow link.
URL_SECONDS = 900
# Enough requests for several calls at any rate; their URLs take some tens of kilobytes of arguments.
REQUESTS_PER_CALL = 64
_MAX_URL_EXPIRIES = 5
_MAX_PARALLEL_HEADS = 16
_UNREACHABLE_CODES = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError")
_ABSENT_CODES = ("404", "NoSuchKey", "NotFound")
_CREDENTIAL_CODES = ("ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidToken", "RequestExpired")


@dataclass(frozen=True)
class BucketOptions:
    """The module's options of the same names: the bucket, its keys, and how objects are stored."""

    bucket: str
    prefix: str = ""
    sse: Optional[str] = None
    kms_key_id: Optional[str] = None
    expected_bucket_owner: Optional[str] = None
    part_size: int = 16 * 1024 * 1024


class S3BlobStore:
    """A bucket between the hosts. C(client): a botocore S3 client that signs with SigV4 for the bucket's region."""

    def __init__(self, client: Any, options: BucketOptions) -> None:
        self._client = client
        self._options = options
        owner = options.expected_bucket_owner
        self._common: dict[str, str] = {"Bucket": options.bucket, **({"ExpectedBucketOwner": owner} if owner else {})}

    def __str__(self) -> str:
        return f"s3://{self._options.bucket}/{self._options.prefix}"

    def check(self) -> None:
        """Raises ImageError where the bucket is missing, denied or of another owner, or credentials are not valid."""
        with self._explain_errors("list"):
            self._call("ListObjectsV2", Prefix=self._make_key(""), MaxKeys=1)

    def find_objects(self, digests: Collection[str]) -> dict[str, StoredObject]:
        """The objects that exist for these digests: one HeadObject each, several in parallel."""
        with ThreadPoolExecutor(max_workers=_MAX_PARALLEL_HEADS) as pool:
            found = pool.map(self._read_object, digests)
        return {digest: stored_object for digest, stored_object in zip(digests, found) if stored_object is not None}

    def sign_download(self, blob: Blob, size: int, reference: str) -> dict[str, Any]:
        """The request by which a host downloads a blob, with a presigned URL."""
        url = self._sign("get_object", Key=self._make_key(blob.digest))
        return _build_transfer(blob, UploadPart(0, 0, size), url, self._get_signed_headers({}), reference)

    def make_upload(self, blob_transfers: Sequence[BlobTransfer], references: Mapping[str, str]) -> S3Upload:
        """Makes the session that uploads blobs."""
        return S3Upload(self, blob_transfers, references, self._options.part_size)

    def delete(self, digests: Iterable[str]) -> None:
        """Deletes the objects of these digests. After an unknown outcome, it looks whether the object exists."""
        for digest in digests:
            try:
                self._call("DeleteObject", Key=self._make_key(digest))
            except ApiError as error:
                if not error.outcome_unknown or self._read_object(digest) is not None:
                    raise self._explain_error("delete in", error) from error

    def abort_superseded(self, digests: Collection[str]) -> int:
        """Aborts incomplete uploads of blobs that exist already. Killed runs leave them; AWS bills their storage."""
        digest_of = {self._make_key(digest): digest for digest in digests}
        found: list[tuple[str, str]] = []
        next_page: dict[str, str] = {}
        while True:
            with self._explain_errors("list uploads in"):
                response = self._call("ListMultipartUploads", Prefix=self._make_key(""), **next_page)
                uploads = response.get("Uploads") or ()
                found += [(upload["Key"], upload["UploadId"]) for upload in uploads if upload["Key"] in digest_of]
                if not response.get("IsTruncated"):
                    break
                following = {"KeyMarker": response["NextKeyMarker"], "UploadIdMarker": response["NextUploadIdMarker"]}
            if following == next_page:
                raise ImageError(f"bucket: {self} returns the same page of uploads again. Check endpoint_url.")
            next_page = following
        # An upload whose blob does not exist yet may belong to another run that is in progress.
        present = self.find_objects({digest_of[key] for key, _id in found})
        superseded = [(key, upload_id) for key, upload_id in found if digest_of[key] in present]
        for key, upload_id in superseded:
            self.abort_multipart_upload(key, upload_id)
        return len(superseded)

    # -- for the upload session

    def sign_put(self, blob: Blob, replace: bool) -> tuple[str, dict[str, str]]:
        parameters = {
            **self._get_storage_parameters(blob),
            # S3 itself rejects a body with another digest.
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(get_digest_hex(blob.digest))).decode(),
            **({} if replace else {"IfNoneMatch": "*"}),
        }
        url = self._sign("put_object", Key=self._make_key(blob.digest), **parameters)
        return url, self._get_signed_headers(parameters)

    def create_multipart_upload(self, blob: Blob) -> str:
        with self._explain_errors("write"):
            response = self._call(
                "CreateMultipartUpload", Key=self._make_key(blob.digest), **self._get_storage_parameters(blob)
            )
            return str(response["UploadId"])

    def sign_part(self, blob: Blob, upload_id: str, number: int) -> tuple[str, dict[str, str]]:
        url = self._sign("upload_part", Key=self._make_key(blob.digest), UploadId=upload_id, PartNumber=number)
        return url, self._get_signed_headers({})

    def complete_multipart_upload(self, blob: Blob, upload_id: str, etags: Mapping[int, str], replace: bool) -> None:
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        try:
            self._call(
                "CompleteMultipartUpload",
                Key=self._make_key(blob.digest),
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                **({} if replace else {"IfNoneMatch": "*"}),
            )
        except ApiError as error:
            # Another run stored the same content first, or aborted this upload after its own was complete. Or S3 has
            # completed it, and the response was lost. Where an object is to be replaced, an existing object is no
            # evidence of success.
            may_be_stored = error.outcome_unknown or error.code in ("PreconditionFailed", "NoSuchUpload", "412")
            if not replace and may_be_stored and self._read_object(blob.digest):
                self.abort_multipart_upload(self._make_key(blob.digest), upload_id)
                return
            raise self._explain_error("write", error) from error

    def abort_multipart_upload(self, key: str, upload_id: str) -> None:
        try:
            self._call("AbortMultipartUpload", Key=key, UploadId=upload_id)
        except ApiError as error:
            if error.code not in ("NoSuchUpload", "404"):
                raise self._explain_error("abort an upload in", error) from error

    def get_key(self, blob: Blob) -> str:
        return self._make_key(blob.digest)

    # -- details

    def _make_key(self, digest: str) -> str:
        prefix = self._options.prefix.strip("/")
        return (f"{prefix}/" if prefix else "") + "blobs/sha256/" + (get_digest_hex(digest) if digest else "")

    def _get_storage_parameters(self, blob: Blob) -> dict[str, Any]:
        options = self._options
        return {
            "Metadata": {"sha256": get_digest_hex(blob.digest)},
            **({"ServerSideEncryption": options.sse} if options.sse else {}),
            **({"SSEKMSKeyId": options.kms_key_id} if options.kms_key_id else {}),
        }

    def _get_signed_headers(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """The headers that a URL's signature covers. The host must send them unchanged."""
        names = {
            "ServerSideEncryption": "x-amz-server-side-encryption",
            "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
            "ChecksumSHA256": "x-amz-checksum-sha256",
            "IfNoneMatch": "If-None-Match",
            "ExpectedBucketOwner": "x-amz-expected-bucket-owner",
        }
        headers = {names[name]: value for name, value in {**self._common, **parameters}.items() if name in names}
        headers.update({f"x-amz-meta-{name}": value for name, value in (parameters.get("Metadata") or {}).items()})
        return headers

    def _read_object(self, digest: str) -> Optional[StoredObject]:
        with self._explain_errors("read"):
            try:
                response = self._call("HeadObject", Key=self._make_key(digest))
            except ApiError as error:
                if error.code in _ABSENT_CODES:
                    return None
                raise
            modified = format_datetime(response["LastModified"].astimezone(timezone.utc), usegmt=True)
            version = format_object_version(response["ETag"], modified)
            return StoredObject(response["ContentLength"], (response.get("Metadata") or {}).get("sha256"), version)

    def _sign(self, method: str, **parameters: Any) -> str:
        try:
            url = self._client.generate_presigned_url(
                method, Params={**self._common, **parameters}, ExpiresIn=URL_SECONDS
            )
        except CLIENT_ERRORS as error:  # it signs on the controller, without a call
            raise explain_error(self._options, "sign a URL for", type(error).__name__, str(error)) from error
        return str(url)

    def _call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        return call_api(self._client, operation, **self._common, **parameters)

    @contextmanager
    def _explain_errors(self, activity: str) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise self._explain_error(activity, error) from error

    def _explain_error(self, activity: str, error: ApiError) -> ImageError:
        explained = explain_error(self._options, activity, error.code, str(error), error.suggestion)
        if error.outcome_unknown and "not known" not in str(explained):
            return ImageError(f"{explained} It is not known whether S3 did it.")
        return explained


def explain_error(
    options: BucketOptions, activity: str, code: str, message: str, default_suggestion: str = ""
) -> ImageError:
    """Makes an ImageError with the error of the service or of the connection, and what an operator can do."""
    suggestion = default_suggestion or "Check the service's response."
    if code in ("NoSuchBucket", "404"):
        suggestion = "The bucket does not exist: check 'bucket', or create it first."
    elif code in _CREDENTIAL_CODES:
        suggestion = "The AWS credentials of the controller have expired or are not valid: renew them and run again."
    elif code in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        suggestion = (
            "The controller has no AWS credentials: set access_key and secret_key, profile, or the usual variables."
        )
    elif code in ("AccessDenied", "403", "AllAccessDisabled"):
        owner = f" and that it belongs to {options.expected_bucket_owner}" if options.expected_bucket_owner else ""
        suggestion = f"Check the IAM policy of the controller's identity and the bucket's policy{owner}."
    elif code in ("PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
        suggestion = "The bucket is in another region: set 'region' to it."
    elif code == "SignatureDoesNotMatch":
        suggestion = (
            "The secret key does not belong to the access key: check secret_key, or where the credentials come from."
        )
    elif code in _UNREACHABLE_CODES:
        suggestion = "The controller cannot reach the S3 service: check endpoint_url, region, and the network or proxy."
    elif code == NOT_AWS_CODE:
        suggestion = "Check endpoint_url, and what responds there instead of S3, such as a proxy or a login page."
    elif code == "SSLError":
        suggestion = "The controller does not trust the S3 service's certificate: check aws_ca_bundle and endpoint_url."
    return ImageError(f"bucket: cannot {activity} s3://{options.bucket}: {message.rstrip('.')}. {suggestion}")


@dataclass
class _BlobUpload:
    """The upload state of one blob."""

    blob_transfer: BlobTransfer
    parts: Sequence[UploadPart]
    upload_id: Optional[str] = None
    etags: dict[int, str] = field(default_factory=dict)
    expired: dict[int, int] = field(default_factory=dict)
    error: Optional[str] = None
    stored: bool = False

    @property
    def pending(self) -> list[UploadPart]:
        return [] if self.error or self.stored else [part for part in self.parts if part.number not in self.etags]


class S3Upload:
    """Uploads blobs to the bucket. Each URL is signed when it is handed out, and signed again after it expires."""

    def __init__(
        self, store: S3BlobStore, blob_transfers: Sequence[BlobTransfer], references: Mapping[str, str], part_size: int
    ) -> None:
        self._store = store
        self._references = references
        self._uploads = {
            blob_transfer.blob.digest: _BlobUpload(
                blob_transfer, split_into_parts(blob_transfer.blob.size or 0, part_size)
            )
            for blob_transfer in blob_transfers
        }

    def sign_next(self) -> list[dict[str, Any]]:
        """Signs the requests to make next; an empty list when all are done.

        A PUT whose URL has expired is retried with a new URL.
        """
        requests: list[dict[str, Any]] = []
        for blob_upload in self._uploads.values():
            blob = blob_upload.blob_transfer.blob
            for part in blob_upload.pending:
                if len(requests) == REQUESTS_PER_CALL:
                    return requests
                try:
                    if part.number == 0:
                        url, headers = self._store.sign_put(blob, blob_upload.blob_transfer.action == "replace")
                    else:
                        blob_upload.upload_id = blob_upload.upload_id or self._store.create_multipart_upload(blob)
                        url, headers = self._store.sign_part(blob, blob_upload.upload_id, part.number)
                except ImageError as error:
                    blob_upload.error = str(error)
                    break
                requests.append(_build_transfer(blob, part, url, headers, self._references[blob.digest]))
        return requests

    def record(self, outcome: BlobOutcome) -> None:
        """Records the outcome of a request. The last part of a blob completes its upload."""
        blob_upload = self._uploads[outcome.digest]
        if outcome.expired:
            # Retries are counted per request: all URLs of one call may expire at once.
            blob_upload.expired[outcome.number] = blob_upload.expired.get(outcome.number, 0) + 1
            if blob_upload.expired[outcome.number] > _MAX_URL_EXPIRIES:
                blob_upload.error = outcome.error
        elif outcome.error:
            blob_upload.error = outcome.error
        elif outcome.done:
            blob_upload.etags[outcome.number] = outcome.etag
            # After an error nothing is pending, but parts are missing: S3 would make an object of the uploaded parts.
            if not blob_upload.error and not blob_upload.pending:
                self._complete(blob_upload)

    def _complete(self, blob_upload: _BlobUpload) -> None:
        try:
            if blob_upload.upload_id:
                replace = blob_upload.blob_transfer.action == "replace"
                self._store.complete_multipart_upload(
                    blob_upload.blob_transfer.blob, blob_upload.upload_id, blob_upload.etags, replace
                )
            blob_upload.stored = True
        except ImageError as error:
            blob_upload.error = str(error)

    @property
    def bytes_done(self) -> int:
        return sum(
            part.length
            for blob_upload in self._uploads.values()
            for part in blob_upload.parts
            if part.number in blob_upload.etags
        )

    @property
    def errors(self) -> dict[str, str]:
        """The errors by digest."""
        return {digest: blob_upload.error for digest, blob_upload in self._uploads.items() if blob_upload.error}

    @property
    def stored(self) -> list[str]:
        """The digests of the blobs that this session has stored."""
        return [digest for digest, blob_upload in self._uploads.items() if blob_upload.stored]

    def close(self) -> None:
        """Aborts incomplete uploads. An upload that cannot be aborted does not stop the others."""
        failed: list[ImageError] = []
        for blob_upload in self._uploads.values():
            if blob_upload.upload_id and not blob_upload.stored:
                try:
                    self._store.abort_multipart_upload(
                        self._store.get_key(blob_upload.blob_transfer.blob), blob_upload.upload_id
                    )
                except ImageError as error:
                    failed.append(error)
        if failed:
            raise failed[0]

    def __enter__(self) -> S3Upload:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], *_rest: object) -> None:
        try:
            self.close()
        except ImageError:
            # The first error must be reported, so this one is ignored. The next run of the same images aborts the rest.
            if kind is None:
                raise


def _build_transfer(
    blob: Blob, part: UploadPart, url: str, headers: Mapping[str, str], reference: str
) -> dict[str, Any]:
    return {
        "digest": blob.digest,
        "media_type": blob.media_type,
        "number": part.number,
        "offset": part.offset,
        "length": part.length,
        "url": url,
        "headers": dict(headers),
        "reference": reference,
    }
