# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identify the AWS call of a request: service, action (its name in policies), operation, and whether it writes."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .proxy import Request

# Operations that only read. Every other operation counts as a change, so a new verb fails a test that forbids writes.
READS = re.compile(
    r"^(Describe|Get|List|Head|BatchGet|Lookup|Search|Select|Simulate|Validate|Check|Decode|AssumeRole|Query|Scan|Test)"
)
IAM_PREFIX = {"tagging": "tag", "monitoring": "cloudwatch", "email": "ses"}  # other than the signing name
UNSIGNED = {"2011-06-15": "sts"}  # API versions of unsigned calls (AssumeRoleWithWebIdentity)

# Operations of S3 by method and sub-resource, with the action that a policy must allow.
S3_BUCKET = {
    ("GET", "uploads"): ("ListMultipartUploads", "ListBucketMultipartUploads"),
    ("GET", "versions"): ("ListObjectVersions", "ListBucketVersions"),
    ("GET", "location"): ("GetBucketLocation", "GetBucketLocation"),
    ("GET", "encryption"): ("GetBucketEncryption", "GetEncryptionConfiguration"),
    ("PUT", "encryption"): ("PutBucketEncryption", "PutEncryptionConfiguration"),
    ("GET", "lifecycle"): ("GetBucketLifecycleConfiguration", "GetLifecycleConfiguration"),
    ("PUT", "lifecycle"): ("PutBucketLifecycleConfiguration", "PutLifecycleConfiguration"),
    ("GET", "list-type"): ("ListObjectsV2", "ListBucket"),
    ("POST", "delete"): ("DeleteObjects", "DeleteObject"),
    ("GET", ""): ("ListObjects", "ListBucket"),
    ("HEAD", ""): ("HeadBucket", "ListBucket"),
    ("PUT", ""): ("CreateBucket", "CreateBucket"),
    ("DELETE", ""): ("DeleteBucket", "DeleteBucket"),
}
S3_OBJECT = {
    ("GET", "uploadId"): ("ListParts", "ListMultipartUploadParts"),
    ("PUT", "uploadId"): ("UploadPart", "PutObject"),
    ("POST", "uploads"): ("CreateMultipartUpload", "PutObject"),
    ("POST", "uploadId"): ("CompleteMultipartUpload", "PutObject"),
    ("DELETE", "uploadId"): ("AbortMultipartUpload", "AbortMultipartUpload"),
    ("GET", "tagging"): ("GetObjectTagging", "GetObjectTagging"),
    ("PUT", "tagging"): ("PutObjectTagging", "PutObjectTagging"),
    ("DELETE", "tagging"): ("DeleteObjectTagging", "DeleteObjectTagging"),
    ("GET", "attributes"): ("GetObjectAttributes", "GetObjectAttributes"),
    ("GET", ""): ("GetObject", "GetObject"),
    ("HEAD", ""): ("HeadObject", "GetObject"),
    ("PUT", ""): ("PutObject", "PutObject"),
    ("DELETE", ""): ("DeleteObject", "DeleteObject"),
}
# Bucket configurations that are not in the table: GetBucketPolicy, PutBucketTagging, ...
S3_CONFIGURATION = (
    *("policy", "acl", "cors", "tagging", "versioning", "logging", "notification", "replication", "website"),
    *("object-lock", "ownershipControls", "publicAccessBlock"),
)


@dataclass(frozen=True)
class Identified:
    service: str
    action: str  # the name in policies: s3:PutObject
    operation: str  # the name in the API: UploadPart
    mutating: bool
    protocol: str  # decides the format of an error
    region: str
    bucket: str = ""
    key: str = ""


def credential_scope(request: Request) -> tuple[str, str]:
    """Region and service in the signature; empty for an unsigned request."""
    found = re.search(r"Credential=([^,\s]+)", request.head.get("authorization"))
    scope = (found.group(1) if found else request.query.get("X-Amz-Credential", "")).split("/")
    return (scope[-3], scope[-2]) if len(scope) >= 5 else ("", "")


# Calls to a registry as CloudTrail names them, by method and kind of path.
REGISTRY = {
    ("HEAD", "blobs"): "BatchCheckLayerAvailability",
    ("GET", "blobs"): "GetDownloadUrlForLayer",
    ("POST", "uploads"): "InitiateLayerUpload",
    ("PATCH", "uploads"): "UploadLayerPart",
    ("PUT", "uploads"): "CompleteLayerUpload",
    ("HEAD", "manifests"): "BatchGetImage",
    ("GET", "manifests"): "BatchGetImage",
    ("PUT", "manifests"): "PutImage",
    ("DELETE", "manifests"): "BatchDeleteImage",
    ("GET", "tags"): "ListImages",
    ("GET", "referrers"): "ListImageReferrers",
}


def registry(request: Request) -> Identified:
    """A call to ECR's registry. The key is the repository and the tag or digest: app:v1, app@sha256:..."""
    region = (re.findall(r"\.ecr\.([a-z0-9-]+)\.", request.head.get("host")) or [""])[0]
    found = re.fullmatch(r"/v2/(.+?)/(manifests|blobs/uploads|blobs|tags|referrers)/(.*)", request.path)
    if not found:
        return Identified("ecr", "ecr:Ping", "Ping", False, "registry", region)
    name, kind, reference = found[1], found[2].rpartition("/")[2], found[3]
    operation = REGISTRY.get((request.method, kind), request.method.title())
    if kind in ("uploads", "tags"):
        reference = request.query.get("digest") or request.query.get("mount") or ""
    key = f"{name}{'@' if ':' in reference else ':'}{reference}" if reference else name
    mutating = request.method not in ("GET", "HEAD")
    return Identified("ecr", f"ecr:{operation}", operation, mutating, "registry", region, "", key)


def s3(request: Request) -> Identified:
    bucket, _dummy, key = request.path.lstrip("/").partition("/")
    if named := re.fullmatch(r"(.+)\.s3\.[a-z0-9-]+\.amazonaws\.com", request.head.get("host")):
        bucket, key = named[1], request.path.lstrip("/")
    region = credential_scope(request)[0]
    if not bucket:
        return Identified("s3", "s3:ListAllMyBuckets", "ListBuckets", False, "rest-xml", region)
    table = S3_OBJECT if key else S3_BUCKET
    found = next(
        (names for (method, part), names in table.items() if method == request.method and part in {*request.query, ""}),
        (request.method.title(), request.method.title()),
    )
    operation, action = found
    configuration = next((name for name in S3_CONFIGURATION if name in request.query), "")
    if configuration and not key and found is table.get((request.method, "")):
        operation = action = f"{request.method.title()}Bucket{configuration[0].upper()}{configuration[1:]}"
    if request.head.get("x-amz-copy-source"):
        operation = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(operation, operation)
    mutating = request.method in ("PUT", "POST", "DELETE")
    return Identified("s3", f"s3:{action}", operation, mutating, "rest-xml", region, bucket, key)


def aws(request: Request) -> Identified:
    region, service = credential_scope(request)
    protocol, operation = "rest-json", ""
    body = request.body or b""
    if target := request.head.get("x-amz-target"):
        protocol, operation = "json", target.rpartition(".")[2]
    elif found := re.fullmatch(r"/service/[^/]+/operation/([^/]+)", request.path):
        protocol, operation = "json", found.group(1)
    elif request.head.get("content-type").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode(errors="replace"))
        operation = form.get("Action", [""])[0]
        service = service or UNSIGNED.get(form.get("Version", [""])[0], "")
        protocol = "ec2" if service == "ec2" else "query"
    elif "Action" in request.query:  # presigned: an EKS token is the URL of such a call
        protocol, operation = "query", request.query["Action"]
    else:
        operation = _rest_operation(service, request.method, urlsplit(request.target).path)
    prefix = IAM_PREFIX.get(service, service)
    operation = operation or request.method.title()
    return Identified(service, f"{prefix}:{operation}", operation, not READS.match(operation), protocol, region)


def _rest_operation(service: str, method: str, path: str) -> str:
    """The operation by the path as it was sent, in which an ARN has escaped slashes."""
    matches = [
        (literal, name)
        for verb, pattern, literal, name in _rest_table(service)
        if verb == method and pattern.fullmatch(path)
    ]
    return max(matches)[1] if matches else ""


@functools.cache
def _rest_table(service: str) -> list[tuple[str, re.Pattern[str], int, str]]:
    """The paths of a REST service's operations, from botocore's service model."""
    import botocore.exceptions
    import botocore.session

    try:
        model: Any = botocore.session.get_session().get_service_model(service)
    except botocore.exceptions.BotoCoreError:
        return []
    table = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = str(http["requestUri"]).partition("?")[0]
        segments = re.split(r"(\{[^}]+\})", path)
        pattern = "".join(
            (".+" if segment.endswith("+}") else "[^/]+") if segment.startswith("{") else re.escape(segment)
            for segment in segments
        )
        literal = sum(len(segment) for segment in segments if not segment.startswith("{"))
        table.append((str(http["method"]), re.compile(pattern.rstrip("/") + "/?"), literal, str(name)))
    return table
