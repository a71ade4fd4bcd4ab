# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An imitation of ECR's registry protocol by published behavior, which can misbehave. It is no proof of what ECR does.

Each rule names its source in docs/facts/image_transfer.md#copies-between-registries.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Optional
from urllib.parse import parse_qs, urlsplit

from integration.targets.image_copy.images import INDEX, Content, digest_of

ACCOUNT = "123456789012"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A response is one packet.
    wbufsize = -1
    serve: Callable[[Handler], None]

    def log_message(self, *_arguments: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str, message: str, **headers: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def handle_request(self) -> None:
        type(self).serve(self)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_request  # noqa: N815  the base class calls these names


@contextmanager
def served(serve: Callable[[Handler], None]) -> Iterator[str]:
    kind = type("Bound", (Handler,), {"serve": staticmethod(serve)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Imitation:
    """Repositories in memory."""

    def __init__(self, *repositories: str, password: str = "") -> None:
        self.password = password or secrets.token_hex(12)
        self.login = f"AWS:{self.password}"
        self.blobs: dict[str, dict[str, bytes]] = {name: {} for name in repositories}
        self.manifests: dict[str, dict[str, tuple[bytes, str]]] = {name: {} for name in repositories}
        self.tags: dict[str, dict[str, str]] = {name: {} for name in repositories}
        self.uploads: dict[str, bytes] = {}
        self.immutable: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.statuses: list[int] = []
        self.storage = ""
        # Faults.
        self.drops: dict[str, int] = defaultdict(int)  # by method: how many requests with a body are dropped
        self.largest_body: Optional[int] = None
        self.statuses_first: list[tuple[str, int, dict[str, str]]] = []
        self.damaged: set[str] = set()
        self.truncated: set[str] = set()
        self.paused_at: Optional[Callable[[str, str], bool]] = None
        self.paused, self.resumed = threading.Event(), threading.Event()
        self.storage_errors: list[str] = []
        self.is_open = False  # without login, or with one that an interception checks
        self.has_mounts = False
        self.announces_digests = True
        # Handles a request in place of what follows, where it returns True.
        self.intercept: Callable[[Handler], bool] = lambda _handler: False
        self.sessions_open: set[str] = set()

    @contextmanager
    def run(self) -> Iterator[str]:
        with served(self.serve_storage) as self.storage, served(self.serve) as host:
            self.host = host
            yield host

    def check(self, repository: str, content: Content, tag: str) -> None:
        """Everything is there, byte for byte."""
        assert self.tags[repository][tag] == content.root
        assert {digest: self.manifests[repository][digest] for digest in content.manifests} == content.manifests
        assert {digest: self.blobs[repository][digest] for digest in content.blobs} == content.blobs

    def count(self, *methods: str) -> int:
        return sum(method in methods for method, _path in self.requests)

    def serve_storage(self, h: Handler) -> None:
        """Blobs are in S3, which refuses a request with a signature and an Authorization header."""
        _empty, repository, digest = urlsplit(h.path).path.split("|")
        if "Authorization" in h.headers:
            self.storage_errors.append("Authorization")
            h.answer(
                400, b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed</Message></Error>"
            )
            return
        data = self.blobs[repository][digest]
        start = int((h.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if digest in self.damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        headers = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if "Range" in h.headers else {}
        if digest in self.truncated:
            self.truncated.discard(digest)
            h.answer(200, data[: len(data) // 2], Content_Length=str(len(data)))
            h.drop()
            return
        h.answer(206 if headers else 200, data[start:], **headers)

    def serve(self, h: Handler) -> None:
        parts = urlsplit(h.path)
        self.requests.append((h.command, parts.path))
        if self.paused_at and self.paused_at(h.command, parts.path):
            self.paused_at = None
            self.paused.set()
            self.resumed.wait(60)
        if self.intercept(h):
            return
        if (
            not self.is_open
            and h.headers.get("Authorization") != "Basic " + base64.b64encode(self.login.encode()).decode()
        ):
            h.close_connection = True
            h.answer(401, b"Not Authorized\n", WWW_Authenticate=f'Basic realm="https://{self.host}/",service="ecr"')
            return
        for position, (pattern, status, headers) in enumerate(self.statuses_first):
            if re.search(pattern, f"{h.command} {h.path}"):
                del self.statuses_first[position]
                h.close_connection = True
                h.fail(status, "UNKNOWN", "try again", **headers)
                return
        length = int(h.headers.get("Content-Length") or 0)
        if length and self.drops[h.command]:
            self.drops[h.command] -= 1
            h.rfile.read(length // 2)
            h.drop()
            return
        if self.largest_body is not None and length > self.largest_body:
            h.close_connection = True
            h.fail(413, "SIZE_INVALID", "Request Entity Too Large")
            return
        body = h.rfile.read(length)
        if len(body) < length:
            h.close_connection = True
            return
        if parts.path == "/v2/":
            h.answer(200, b"{}")
            return
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|referrers|tags)/(.*)", parts.path)
        assert found, parts.path
        repository, kind, name = found.groups()
        if kind == "blobs" and name.startswith("uploads/"):
            repository = found.group(1)
        if repository not in self.blobs:
            h.fail(
                404,
                "NAME_UNKNOWN",
                f"The repository with name '{repository}' does not exist in the registry with id '{ACCOUNT}'",
            )
            return
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        getattr(self, f"serve_{kind}")(h, repository, name, query, body)

    def serve_tags(self, h: Handler, repository: str, _name: str, _query: dict[str, str], _body: bytes) -> None:
        h.answer(200, json.dumps({"name": repository, "tags": list(self.tags[repository])}).encode())

    def serve_referrers(self, h: Handler, repository: str, name: str, _query: dict[str, str], _body: bytes) -> None:
        entries = []
        for digest, (data, media_type) in self.manifests[repository].items():
            document = json.loads(data)
            if (document.get("subject") or {}).get("digest") == name:
                entries.append({"mediaType": media_type, "digest": digest, "size": len(data)})
        h.answer(
            200, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode(), Content_Type=INDEX
        )

    def serve_manifests(self, h: Handler, repository: str, name: str, _query: dict[str, str], body: bytes) -> None:
        held, tags = self.manifests[repository], self.tags[repository]
        if h.command == "PUT":
            if ":" not in name and name in tags and repository in self.immutable:
                h.fail(
                    400,
                    "TAG_INVALID",
                    f"The image tag '{name}' already exists in the '{repository}' repository and cannot be overwritten "
                    "because the repository is immutable.",
                )
                return
            document = json.loads(body)
            blobs = [document["config"], *document["layers"]] if "config" in document else []
            known = all(blob["digest"] in self.blobs[repository] for blob in blobs if not blob.get("urls"))
            if not known or not all(entry["digest"] in held for entry in document.get("manifests", [])):
                h.fail(400, "MANIFEST_BLOB_UNKNOWN", "Images with digests do not exist")
                return
            held[digest_of(body)] = body, h.headers["Content-Type"]
            if ":" not in name:
                tags[name] = digest_of(body)
            subject = (document.get("subject") or {}).get("digest")
            headers = {"OCI_Subject": subject} if subject else {}
            h.answer(201, Docker_Content_Digest=digest_of(body), **headers)
            return
        data, media_type = held.get(tags.get(name, name), (b"", ""))
        if not data:
            h.fail(404, "MANIFEST_UNKNOWN", "Requested image not found")
            return
        announced = {"Docker_Content_Digest": digest_of(data)} if self.announces_digests else {}
        h.answer(200, data, Content_Type=media_type, **announced)

    def serve_blobs(self, h: Handler, repository: str, name: str, query: dict[str, str], body: bytes) -> None:
        held = self.blobs[repository]
        if not name.startswith("uploads/"):
            if name not in held:
                h.fail(404, "BLOB_UNKNOWN", "The layer does not exist")
            elif h.command == "HEAD":
                h.answer(200, Content_Length=str(len(held[name])))
            else:
                h.answer(
                    307, Location=f"http://{self.storage}/|{repository}|{name}?X-Amz-Signature={secrets.token_hex(16)}"
                )
            return
        session = name.removeprefix("uploads/")
        location = f"/v2/{repository}/blobs/uploads/{session}"
        if h.command == "POST":
            # ECR does not mount unless the account allows it, and responds with a session.
            if self.has_mounts and query.get("mount") in self.blobs.get(query.get("from", ""), {}):
                held[query["mount"]] = self.blobs[query["from"]][query["mount"]]
                h.answer(201)
                return
            session = secrets.token_hex(8)
            self.uploads[session] = b""
            self.sessions_open.add(session)
            h.answer(202, Location=f"/v2/{repository}/blobs/uploads/{session}", Range="0-0")
        elif session not in self.uploads:
            h.fail(404, "BLOB_UPLOAD_UNKNOWN", "The upload does not exist")
        elif h.command == "PATCH":
            self.uploads[session] += body
            # ECR: 201 where the specification has 202.
            h.answer(201, Location=location, Range=f"0-{len(self.uploads[session]) - 1}")
        elif h.command == "DELETE":
            self.sessions_open.discard(session)
            del self.uploads[session]
            h.answer(204)
        else:
            data = self.uploads[session] + body
            if digest_of(data) != query["digest"]:
                h.fail(400, "DIGEST_INVALID", "The digest does not match")
                return
            del self.uploads[session]
            self.sessions_open.discard(session)
            held[query["digest"]] = data
            h.answer(201, Docker_Content_Digest=query["digest"])
