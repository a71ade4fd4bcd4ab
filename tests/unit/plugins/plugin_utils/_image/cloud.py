# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket in memory that refuses what S3 refuses, and hosts that do the module's slices against it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Optional
from urllib.parse import parse_qs, urlsplit

from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import BlobOutcome, Bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import FakeEngine, Made, nothing
from botocore.exceptions import ClientError

BUCKET = "images"
MIB = 1024 * 1024
NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)


def refusal(code: str, operation: str = "Operation", status: int = 400, **headers: str) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": f"S3 returns {code}"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(answer, operation)


@dataclass
class Stored:
    """An object."""

    data: bytes
    metadata: Mapping[str, str]
    etag: str
    modified: datetime
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Upload:
    """A multipart upload that has begun."""

    key: str
    metadata: Mapping[str, str]
    kept: Mapping[str, Any]
    parts: dict[int, bytes] = field(default_factory=dict)


class FakeS3:
    """The calls of a botocore client that S3Path makes. C(refuse) maps a method's name to the error that it raises."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refuse: dict[str, Exception] = {}
        self.signed = 0
        self.begun = 0

    @property
    def writes(self) -> list[str]:
        """What was changed, by the controller and by URLs."""
        read = ("head_object", "list_objects_v2", "list_multipart_uploads")
        return [name for name, parameters in self.calls if name not in read]

    def holds(self, *contents: Mapping[str, bytes]) -> FakeS3:
        for content in contents:
            for digest, data in content.items():
                self.keep(f"blobs/sha256/{digest.partition(':')[2]}", data, {"sha256": digest.partition(":")[2]}, {})
        return self

    def at(self, digest: str) -> Stored:
        return self.objects[f"blobs/sha256/{digest.partition(':')[2]}"]

    def keep(self, key: str, data: bytes, metadata: Mapping[str, str], kept: Mapping[str, Any]) -> str:
        etag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        modified = NEW_YEAR + timedelta(seconds=len(self.calls) + self.signed)
        self.objects[key] = Stored(data, metadata, etag, modified, kept)
        return etag

    def _called(self, name: str, parameters: dict[str, Any]) -> None:
        self.calls.append((name, parameters))
        if name in self.refuse:
            raise self.refuse[name]

    # -- the client

    def list_objects_v2(self, **parameters: Any) -> dict[str, Any]:
        self._called("list_objects_v2", parameters)
        return {}

    def head_object(self, **parameters: Any) -> dict[str, Any]:
        self._called("head_object", parameters)
        found = self.objects.get(parameters["Key"])
        if not found:
            raise refusal("404", "HeadObject", 404)
        return {
            "ContentLength": len(found.data),
            "Metadata": found.metadata,
            "ETag": found.etag,
            "LastModified": found.modified,
        }

    def delete_object(self, **parameters: Any) -> dict[str, Any]:
        self._called("delete_object", parameters)
        self.objects.pop(parameters["Key"], None)
        return {}

    def generate_presigned_url(self, method: str, Params: dict[str, Any], ExpiresIn: int) -> str:  # noqa: N803
        self.signed += 1
        part = f"&upload={Params['UploadId']}&part={Params['PartNumber']}" if method == "upload_part" else ""
        return f"https://s3.test/{Params['Key']}?do={method}&signature={self.signed}{part}"

    def create_multipart_upload(self, **parameters: Any) -> dict[str, Any]:
        self._called("create_multipart_upload", parameters)
        self.begun += 1
        upload_id = f"u{self.begun}"
        kept = {name: value for name, value in parameters.items() if name.startswith(("SSE", "Server"))}
        self.uploads[upload_id] = Upload(parameters["Key"], parameters["Metadata"], kept)
        return {"UploadId": upload_id}

    def complete_multipart_upload(self, **parameters: Any) -> dict[str, Any]:
        """Joins what is listed, and as S3 does it believes that this is everything."""
        self._called("complete_multipart_upload", parameters)
        upload = self.uploads.get(parameters["UploadId"])
        if upload is None:
            raise refusal("NoSuchUpload", "CompleteMultipartUpload", 404)
        if parameters.get("IfNoneMatch") and upload.key in self.objects:
            raise refusal("PreconditionFailed", "CompleteMultipartUpload", 412)
        listed = [(part["PartNumber"], part["ETag"]) for part in parameters["MultipartUpload"]["Parts"]]
        if listed != sorted(listed):
            raise refusal("InvalidPartOrder", "CompleteMultipartUpload")
        if any(number not in upload.parts or etag != f'"p{number}"' for number, etag in listed):
            raise refusal("InvalidPart", "CompleteMultipartUpload")
        del self.uploads[parameters["UploadId"]]
        self.keep(upload.key, b"".join(upload.parts[number] for number, etag in listed), upload.metadata, upload.kept)
        return {}

    def abort_multipart_upload(self, **parameters: Any) -> dict[str, Any]:
        self._called("abort_multipart_upload", parameters)
        if self.uploads.pop(parameters["UploadId"], None) is None:
            raise refusal("NoSuchUpload", "AbortMultipartUpload", 404)
        return {}

    def list_multipart_uploads(self, **parameters: Any) -> dict[str, Any]:
        """Two at a page."""
        self._called("list_multipart_uploads", parameters)
        every = sorted((upload.key, upload_id) for upload_id, upload in self.uploads.items())
        every = [entry for entry in every if entry[0].startswith(parameters.get("Prefix", ""))]
        marker = (parameters.get("KeyMarker", ""), parameters.get("UploadIdMarker", ""))
        rest = [entry for entry in every if entry > marker]
        page = {"Uploads": [{"Key": key, "UploadId": upload_id} for key, upload_id in rest[:2]]}
        if len(rest) > 2:
            return {**page, "IsTruncated": True, "NextKeyMarker": rest[1][0], "NextUploadIdMarker": rest[1][1]}
        return page if rest else {}

    # -- what hosts do with URLs

    def put(self, url: str, headers: Mapping[str, str], data: bytes) -> str:
        """The entity tag of what was put; empty where somebody was first (412)."""
        parts = urlsplit(url)
        key, query = parts.path[1:], parse_qs(parts.query)
        self.calls.append(("put", {"Key": key, **query}))
        if query["do"] == ["upload_part"]:
            number = int(query["part"][0])
            self.uploads[query["upload"][0]].parts[number] = data
            return f'"p{number}"'
        assert query["do"] == ["put_object"]
        if headers.get("If-None-Match") and key in self.objects:
            return ""
        checksum = headers.get("x-amz-checksum-sha256")
        assert checksum is None or checksum == base64.b64encode(hashlib.sha256(data).digest()).decode()
        metadata = {"sha256": headers["x-amz-meta-sha256"]} if "x-amz-meta-sha256" in headers else {}
        return self.keep(key, data, metadata, {name: value for name, value in headers.items() if "sse" in name})

    def get(self, url: str) -> Stored:
        parts = urlsplit(url)
        assert parse_qs(parts.query)["do"] == ["get_object"]
        return self.objects[parts.path[1:]]


def left(s3: FakeS3, key: str) -> str:
    """An upload that a killed run has left."""
    upload_id: str = s3.create_multipart_upload(Key=key, Metadata={})["UploadId"]
    s3.calls.clear()
    return upload_id


Fault = Callable[[str, Mapping[str, Any]], Optional[dict[str, Any]]]


def no_fault(phase: str, transfer: Mapping[str, Any]) -> None:
    return None


@dataclass
class Source:
    """A host that has images: what it is called with, and the content that it sends. C(fault) answers for it."""

    s3: FakeS3
    made: tuple[Made, ...]
    from_engine: bool = False
    leftover: bool = False
    fault: Fault = no_fault
    calls: list[str] = field(default_factory=list)

    def __call__(self, call: Mapping[str, Any]) -> dict[str, Any]:
        work = call["work"]
        self.calls.append(work["phase"])
        content = {digest: data for made in self.made for digest, data in made.content.items()}
        if work["phase"] == "inspect":
            bundle = Bundle(tuple(made.image for made in self.made)).to_dict()
            estimates = {}
            if self.from_engine:
                for image in bundle["images"]:
                    for blob in (image["config"], *image["layers"]):
                        blob["size"] = None
                    estimates.update({layer["digest"]: 1000 for layer in image["layers"]})
            return {"bundle": bundle, "estimates": estimates, "leftover": self.leftover}
        Bundle.parse(call["bundle"])
        if work["phase"] == "export":
            answer = self.fault("export", {})
            sizes = {digest: len(content[digest]) for digest in work["digests"]}
            return answer or {"status": "done", "result": {"sizes": sizes}}
        if work["phase"] == "send":
            answer = self.fault("job", {})
            outcomes = [] if answer else [self._send(content, transfer) for transfer in work["transfers"]]
            return answer or {
                "status": "done",
                "result": {"outcomes": outcomes},
                "cleaned": not self.from_engine,
            }
        assert work["phase"] == "clean"
        return {"removed": True}

    def _send(self, content: Mapping[str, bytes], transfer: Mapping[str, Any]) -> dict[str, Any]:
        digest, number, length = transfer["digest"], transfer["number"], transfer["length"]
        answer = self.fault("send", transfer)
        if answer is not None:
            return BlobOutcome(**{"digest": digest, "done": False, "number": number, **answer}).to_dict()
        data = content[digest][transfer["offset"] :][:length]
        assert len(data) == length
        etag = self.s3.put(transfer["url"], transfer["headers"], data)
        return BlobOutcome(digest, True, length, length, etag=etag, number=number).to_dict()


@dataclass
class Target:
    """A host that receives images: a staging directory, and an engine."""

    s3: FakeS3
    root: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    warnings: list[str] = field(default_factory=list)
    preload_errors: list[str] = field(default_factory=list)
    leftover: bool = False
    fault: Fault = no_fault
    calls: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __call__(self, call: Mapping[str, Any]) -> dict[str, Any]:
        work, bundle = call["work"], Bundle.parse(call["bundle"])
        self.calls.append(work["phase"])
        staging = Staging(str(self.root), f"loaded-{bundle.compute_key()}")
        answer = self.fault(work["phase"], {})
        if answer is not None:
            return answer
        if work["phase"] == "inspect":
            return {
                "plans": self._plans(bundle),
                "engine": "docker 20",
                "load_warnings": self.warnings,
                "leftover": self.leftover,
            }
        if work["phase"] == "load":
            return self._load(work, bundle, staging)
        assert work["phase"] == "clean"
        return {"removed": staging.remove(), "cleanup_error": None}

    def _load(self, work: Mapping[str, Any], bundle: Bundle, staging: Staging) -> dict[str, Any]:
        result: dict[str, Any] = {
            "plans": self._plans(bundle),
            "engine": "docker 20",
            "load_warnings": self.warnings,
            "loaded": None,
            "cleanup_error": None,
            "preload_errors": self.preload_errors,
        }
        needed = {digest for plan in result["plans"] for digest in plan["blobs"]}
        with staging.hold_lock():
            outcomes = [self._fetch(staging, entry) for entry in work["transfers"] if entry["digest"] in needed]
            result["outcomes"] = [outcome.to_dict() for outcome in outcomes]
            self.fault("fetched", {})
            if not work["has_more"] and all(outcome.is_final for outcome in outcomes):
                result.update(load_bundle(bundle, self.engine, staging, nothing))
        cleaned = all(outcome["done"] for outcome in result["loaded"] or [{"done": False}])
        if cleaned:
            staging.remove()
        return {"status": "done", "result": result, "cleaned": cleaned}

    def _plans(self, bundle: Bundle) -> list[dict[str, Any]]:
        plans = []
        for plan in plan_load(bundle, self.engine.read_facts("")):
            step = plan.to_step()
            plans.append(
                {
                    "name": plan.image.tag,
                    "action": plan.action,
                    "reason": plan.reason,
                    "previous": plan.previous,
                    "blobs": [blob.digest for blob in plan.blobs],
                    "step": step.to_dict() if step else None,
                }
            )
        return plans

    def _fetch(self, staging: Staging, transfer: Mapping[str, Any]) -> BlobOutcome:
        digest = transfer["digest"]
        answer = self.fault("transfer", transfer)
        if answer is not None and "data" not in answer:
            return BlobOutcome(**{"digest": digest, "done": False, **answer})
        found = self.s3.get(transfer["url"])
        data = answer["data"] if answer else found.data
        assert transfer["length"] == len(found.data)
        if staging.is_complete(digest):
            return BlobOutcome(digest, True, len(data))
        self.fetched.append(digest)
        staging.get_path(digest).write_bytes(data)
        return BlobOutcome(digest, True, len(data), len(data), etag=found.etag)
