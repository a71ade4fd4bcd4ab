# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ECR's registry, ACCOUNT.dkr.ecr.REGION.amazonaws.com: the protocol of registries on the repositories of the API.

docs/facts/image_transfer.md#ecrs-registry
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from moto.core.exceptions import ServiceException
from moto.ecr.exceptions import ImageAlreadyExistsException, RepositoryNotFoundException
from moto.ecr.models import ECRBackend, Image, Repository, ecr_backends

from ..proxy import reason_of
from . import ecr, ecr_store
from . import ecr_access as access
from .clock import CLOCK

HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com")
PATH = re.compile(r"/v2/(?P<name>[a-z0-9._/-]+?)/(?P<kind>manifests|blobs|referrers|tags)/(?P<rest>.+)")
INDEX = "application/vnd.oci.image.index.v1+json"
BLOCK = 1 << 18
# The registry's code and status for an error of the API.
CODES = {
    "RepositoryNotFoundException": ("NAME_UNKNOWN", 404),
    "ImageTagAlreadyExistsException": ("TAG_INVALID", 400),
    "ReferencedImagesNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 400),
    "LayersNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 400),
    "ImageDigestDoesNotMatchException": ("DIGEST_INVALID", 400),
    "InvalidParameterException": ("MANIFEST_INVALID", 400),
    "AccessDeniedException": ("DENIED", 403),
}


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Answer:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        return cls(status, body, {"Content-Type": "application/json; charset=utf-8"})


class Refused(Exception):  # noqa: N818 - a response, not a failure
    def __init__(self, status: int, code: str, message: str) -> None:
        self.answer = Answer.error(status, code, message)


@dataclass
class Upload:
    """The session of a blob's upload."""

    repository: str
    file: Path
    hasher: Any = field(default_factory=hashlib.sha256)
    size: int = 0

    def add(self, blocks: Iterator[bytes]) -> None:
        with self.file.open("ab") as file:
            for block in blocks:
                file.write(block)
                self.hasher.update(block)
                self.size += len(block)


UPLOADS: dict[str, Upload] = {}


class Exchange:
    """A request to a registry, and its response."""

    def __init__(self, environ: dict[str, Any], account: str, region: str) -> None:
        self.environ = environ
        self.account, self.region = account, region
        self.method = str(environ["REQUEST_METHOD"])
        self.path = str(environ["PATH_INFO"])
        self.query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        self.base = f"https://{account}.dkr.ecr.{region}.amazonaws.com"
        self.backend: ECRBackend = ecr_backends[account][region]
        self.caller = access.Caller("", "")
        self.left = int(environ.get("CONTENT_LENGTH") or 0)  # of the body

    # The body

    def blocks(self) -> Iterator[bytes]:
        stream = self.environ["wsgi.input"]
        if self.environ.get("wsgi.input_terminated"):  # chunked
            while block := stream.read(BLOCK):
                yield block
            return
        while self.left and (block := stream.read(min(self.left, BLOCK))):
            self.left -= len(block)
            yield block

    def body(self) -> bytes:
        return b"".join(self.blocks())

    # Answers

    def answer(self) -> Answer:
        try:
            answer = self.authenticated()
        except Refused as refused:
            answer = refused.answer
        except ServiceException as error:
            code, status = CODES.get(str(error.code), ("UNKNOWN", 400))
            answer = Answer.error(status, code, str(error.message))
        for _block in self.blocks():  # a client that still sends would miss the response
            pass
        return answer

    def authenticated(self) -> Answer:
        scheme, _space, encoded = self.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            user, _colon, password = base64.b64decode(encoded).decode().partition(":")
            if scheme.lower() != "basic" or user != "AWS":
                raise access.WrongTokenError
            self.caller = access.read_password(password)
        except (access.WrongTokenError, ValueError):
            challenge = f'Basic realm="{self.base}/",service="ecr.amazonaws.com"'
            return Answer(401, b"Not Authorized\n", {"WWW-Authenticate": challenge, "Content-Type": "text/plain"})
        except access.ExpiredTokenError:
            return Answer.error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        if self.path in ("/v2", "/v2/"):
            return Answer(200, b"")
        found = PATH.fullmatch(self.path)
        if self.path == "/v2/_catalog" and self.method == "GET":
            self.check("ecr:DescribeRepositories", "*")
            return self.page("repositories", sorted(self.backend.repositories), {})
        serve = getattr(self, f"serve_{found['kind']}", None) if found else None
        answer = serve(found["name"], found["rest"]) if found and serve else None
        return answer or Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def check(self, action: str, name: str) -> None:
        arn = name if name == "*" else f"arn:aws:ecr:{self.region}:{self.account}:repository/{name}"
        access.check(self.caller, action, arn, self.backend.repositories.get(name))

    def repository(self, action: str, name: str, creates: bool = False) -> Repository:
        """Return the repository, where the caller may do this to it. A push can create it."""
        self.check(action, name)
        with ecr_store.LOCK:
            template = ecr.template_for(self.backend, name) if creates else None
            if name not in self.backend.repositories and template:
                self.check("ecr:CreateRepository", name)
                return ecr.create_on_push(self.backend, name, template)
        found = self.backend.repositories.get(name)
        if found is None:
            raise RepositoryNotFoundException(name, self.account)
        return found

    def page(self, key: str, names: list[str], more: dict[str, Any]) -> Answer:
        """A list, in pages where the client requests them."""
        names = [name for name in names if name > self.query.get("last", "")]
        count = int(self.query["n"]) if self.query.get("n", "").isdigit() else len(names)
        headers = {"Content-Type": "application/json"}
        if count < len(names):
            following = urlencode({"n": count, "last": names[count - 1]}) if count else ""
            headers["Link"] = f'<{self.path}?{following}>; rel="next"'
        return Answer(200, json.dumps({**more, key: names[:count]}).encode(), headers)

    def serve_tags(self, name: str, rest: str) -> Answer | None:
        if rest != "list" or self.method != "GET":
            return None
        repository = self.repository("ecr:ListImages", name)
        tags = sorted(tag for image in repository.images for tag in image.image_tags)
        return self.page("tags", tags, {"name": name})

    # Manifests

    def serve_manifests(self, name: str, reference: str) -> Answer | None:
        if self.method in ("GET", "HEAD"):
            repository = self.repository("ecr:BatchGetImage", name)
            image = self.image(repository, reference)
            data = image.image_manifest.encode()
            if self.method == "GET":
                image.last_recorded_pull_time = int(CLOCK.now().timestamp())
            digest = image.get_image_digest()
            return Answer(200, data, {"Content-Type": image.image_manifest_media_type, "Docker-Content-Digest": digest})
        if self.method == "PUT":
            return self.put_manifest(name, reference)
        if self.method == "DELETE":
            repository = self.repository("ecr:BatchDeleteImage", name)
            self.image(repository, reference)
            key = "imageDigest" if ecr.DIGEST.fullmatch(reference) else "imageTag"
            done = self.backend.batch_delete_image(name, None, [{key: reference}])
            for failure in done["failures"]:
                raise Refused(400, "DENIED", failure["failureReason"])
            return Answer(202)
        return None

    def image(self, repository: Repository, reference: str) -> Image:
        found = ecr.find_image(repository, reference)
        if found is None:
            raise Refused(404, "MANIFEST_UNKNOWN", "Requested image not found")
        return found

    def put_manifest(self, name: str, reference: str) -> Answer:
        repository = self.repository("ecr:PutImage", name, creates=True)
        data = self.body()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = ""  # refused as no JSON
        by_digest = bool(ecr.DIGEST.fullmatch(reference))
        tag, digest = (None, reference) if by_digest else (reference, None)
        media_type = self.environ.get("CONTENT_TYPE") or None
        try:
            self.backend.put_image(name, text, tag, media_type, digest)
        except ImageAlreadyExistsException:
            # A push may repeat what is there. Where the tag is immutable, it may not.
            if tag and ecr.is_immutable(repository, tag):
                raise ecr.immutable(repository, tag) from None
        digest = ecr.digest_of(data)
        headers = {"Location": f"{self.base}/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        subject = ecr.parse_manifest(text).get("subject")
        if isinstance(subject, dict):
            headers["OCI-Subject"] = str(subject.get("digest"))
        return Answer(201, b"", headers)

    def serve_referrers(self, name: str, subject: str) -> Answer | None:
        if self.method != "GET" or not ecr.DIGEST.fullmatch(subject):
            return None
        repository = self.repository("ecr:BatchGetImage", name)
        artifact_type = self.query.get("artifactType")
        entries = []
        for image in list(repository.images):
            if getattr(image, "subject_manifest_digest", "") != subject:
                continue
            artifact = getattr(image, "artifact_media_type", "")
            if artifact_type and artifact != artifact_type:
                continue
            entry = {
                "mediaType": image.image_manifest_media_type,
                "digest": image.get_image_digest(),
                "size": len(image.image_manifest.encode()),
                **({"artifactType": artifact} if artifact else {}),
            }
            annotations = ecr.manifest_of(image).get("annotations")
            entries.append({**entry, **({"annotations": annotations} if annotations else {})})
        headers = {"Content-Type": INDEX}
        if artifact_type:
            headers["OCI-Filters-Applied"] = "artifactType"
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return Answer(200, json.dumps(document).encode(), headers)

    # Blobs

    def serve_blobs(self, name: str, rest: str) -> Answer | None:
        if self.method == "POST" and rest == "uploads/":
            return self.begin_upload(name)
        if rest.startswith("uploads/"):
            return self.serve_upload(name, rest.removeprefix("uploads/"))
        if self.method not in ("GET", "HEAD"):
            return None
        heads = self.method == "HEAD"
        action = "ecr:BatchCheckLayerAvailability" if heads else "ecr:GetDownloadUrlForLayer"
        repository = self.repository(action, name)
        if rest not in repository.layers or not (heads or rest in ecr.referenced_blobs(repository)):
            raise Refused(404, "BLOB_UNKNOWN", f"The layer with digest '{rest}' does not exist")
        headers = {"Docker-Content-Digest": rest, "Content-Type": "application/octet-stream"}
        if heads:
            return Answer(200, b"", {**headers, "Content-Length": str(repository.layers[rest])})
        return Answer(307, b"", {**headers, "Location": ecr_store.presign(repository, rest)})

    def begin_upload(self, name: str) -> Answer:
        repository = self.repository("ecr:InitiateLayerUpload", name, creates=True)
        digest = self.query.get("mount", "")
        source = self.backend.repositories.get(self.query.get("from", ""))
        if source and self.mounts(source, repository, digest):
            headers = {"Location": f"{self.base}/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
            return Answer(201, b"", headers)
        session = str(uuid.uuid4())
        UPLOADS[session] = Upload(name, ecr_store.root() / "uploads" / session)
        return self.session(202, name, session)

    def mounts(self, source: Repository, repository: Repository, digest: str) -> bool:
        """Mount a blob where the account allows that, and an image of the source has it."""
        if ecr.settings_of(self.backend).get("BLOB_MOUNTING") != "ENABLED":
            return False
        self.check("ecr:GetDownloadUrlForLayer", source.name)
        with ecr_store.LOCK:
            if digest not in source.layers or digest not in ecr.referenced_blobs(source):
                return False
            if source is not repository:
                ecr_store.link_blob(source, repository, digest)
                ecr_store.save(self.backend, repository.name)
        return True

    def session(self, status: int, name: str, session: str) -> Answer:
        headers = {
            "Location": f"{self.base}/v2/{name}/blobs/uploads/{session}",
            "Docker-Upload-UUID": session,
            "Range": f"0-{max(UPLOADS[session].size - 1, 0)}",
        }
        return Answer(status, b"", headers)

    def serve_upload(self, name: str, session: str) -> Answer | None:
        actions = {"PATCH": "ecr:UploadLayerPart", "PUT": "ecr:CompleteLayerUpload", "DELETE": "ecr:UploadLayerPart"}
        if self.method not in actions:
            return None
        repository = self.repository(actions[self.method], name)
        upload = UPLOADS.get(session)
        if upload is None or upload.repository != name:
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN", f"The upload with id '{session}' does not exist")
        if self.method == "PATCH":
            if not upload.size:  # the bytes of every further chunk are dropped
                upload.add(self.blocks())
            return self.session(201, name, session)
        del UPLOADS[session]
        try:
            return self.finish(repository, upload)
        finally:
            upload.file.unlink(missing_ok=True)

    def finish(self, repository: Repository, upload: Upload) -> Answer:
        if self.method == "DELETE":
            return Answer(204)
        upload.file.touch()
        upload.add(self.blocks())
        digest = f"sha256:{upload.hasher.hexdigest()}"
        if self.query.get("digest") != digest:
            message = "None of the provided layer digests match the calculated layer digest"
            raise Refused(400, "BLOB_UPLOAD_INVALID", message)
        with ecr_store.LOCK:
            ecr_store.add_blob(repository, digest, upload.file)
            ecr_store.save(self.backend, repository.name)
        headers = {"Location": f"{self.base}/v2/{repository.name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return Answer(201, b"", headers)


def registries(app: Any) -> Any:
    """Wrap moto's WSGI application: requests for the name of a registry are answered here."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = HOST.fullmatch(str(environ.get("HTTP_HOST", "")).partition(":")[0])
        if not found:
            passed: Iterable[bytes] = app(environ, start_response)
            return passed
        answer = Exchange(environ, found[1], found[2]).answer()
        headers = {
            "Docker-Distribution-Api-Version": "registry/2.0",
            "Content-Length": str(len(answer.body)),
            **answer.headers,
        }
        start_response(f"{answer.status} {reason_of(answer.status)}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    return serve
