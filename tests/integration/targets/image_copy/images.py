# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the registries of the tests hold: images, indexes, charts, signatures. Pushed without the code under test."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import urljoin

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def random_layer(size: int = 5000) -> bytes:
    return secrets.token_bytes(size)


@dataclass
class Content:
    """Manifests by digest with their types, children first, and blobs by digest. C(root) is what a tag names."""

    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    root: str = ""

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def manifest(self, document: Mapping[str, Any], media_type: str = MANIFEST) -> dict[str, Any]:
        # Indented, as no program of ours writes it: only unchanged bytes have this digest.
        data = json.dumps(document, indent=3).encode()
        self.root = digest_of(data)
        self.manifests[self.root] = data, media_type
        return {"mediaType": media_type, "digest": self.root, "size": len(data)}

    def image(self, *layers: bytes, architecture: str = "amd64", **changes: Any) -> dict[str, Any]:
        config = {
            "os": "linux",
            "architecture": architecture,
            "created_by": secrets.token_hex(8),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(config).encode(), CONFIG),
            "layers": [self.blob(layer, LAYER) for layer in layers],
            **changes,
        }
        return self.manifest(document)

    def index(self, *entries: Mapping[str, Any]) -> dict[str, Any]:
        return self.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}, INDEX)

    def artifact(self, kind: str, data: bytes, subject: Optional[Mapping[str, Any]] = None) -> dict[str, Any]:
        """A chart, a signature, an SBOM: no config, an artifact type, perhaps a subject."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self.blob(b"{}", EMPTY),
            "layers": [self.blob(data, kind)],
            "annotations": {"org.example.kind": kind},
        }
        if subject:
            document["subject"] = {name: subject[name] for name in ("mediaType", "digest", "size")}
        return self.manifest(document)

    @property
    def size(self) -> int:
        return sum(map(len, self.blobs.values()))


def make_multi_platform(*layers: bytes) -> Content:
    """An index of two platforms, each with its attestation, as buildx writes it."""
    made = Content()
    entries = []
    for architecture in ("amd64", "arm64"):
        image = made.image(*layers, random_layer(), architecture=architecture)
        entries.append({**image, "platform": {"os": "linux", "architecture": architecture}})
        attestation = made.artifact("application/vnd.in-toto+json", b'{"of": "' + architecture.encode() + b'"}')
        entries.append(
            {
                **attestation,
                "platform": {"os": "unknown", "architecture": "unknown"},
                "annotations": {
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": image["digest"],
                },
            }
        )
    made.index(*entries)
    return made


class Client:
    """A plain client of a registry."""

    def __init__(self, host: str, login: str = "") -> None:
        self.base = f"http://{host}"
        self.headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}

    def call(
        self, method: str, path: str, data: Optional[bytes] = None, **headers: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        request = urllib.request.Request(  # noqa: S310 - http only
            urljoin(self.base, path), data, {**self.headers, **headers}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def push(self, repository: str, content: Content, tag: str = "") -> str:
        """Pushes everything, and returns the digest of what the tag names."""
        for digest, data in content.blobs.items():
            status, headers, _body = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"")
            assert status == 202, (status, _body)
            location = headers["Location"]
            path = f"{location}{'&' if '?' in location else '?'}digest={digest}"
            status, _headers, body = self.call("PUT", path, data, **{"Content-Type": "application/octet-stream"})
            assert status == 201, (status, body)
        for digest, (data, media_type) in content.manifests.items():
            name = tag if tag and digest == content.root else digest
            status, _headers, body = self.call(
                "PUT", f"/v2/{repository}/manifests/{name}", data, **{"Content-Type": media_type}
            )
            assert status in (200, 201), (status, body)
        return content.root

    def get_manifest(self, repository: str, name: str) -> Optional[bytes]:
        accept = f"{MANIFEST}, {INDEX}"
        status, _headers, body = self.call("GET", f"/v2/{repository}/manifests/{name}", Accept=accept)
        return body if status == 200 else None

    def get_blob(self, repository: str, digest: str) -> Optional[bytes]:
        status, _headers, body = self.call("GET", f"/v2/{repository}/blobs/{digest}")
        return body if status == 200 else None

    def list_referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        status, _headers, body = self.call("GET", f"/v2/{repository}/referrers/{digest}")
        listed = body if status == 200 else self.get_manifest(repository, digest.replace(":", "-"))
        return list(json.loads(listed)["manifests"] or []) if listed else []

    def check(self, repository: str, content: Content, tag: str) -> None:
        """Everything is there, byte for byte."""
        assert self.get_manifest(repository, tag) == content.manifests[content.root][0]
        for digest, (data, _media_type) in content.manifests.items():
            assert self.get_manifest(repository, digest) == data
        for digest, data in content.blobs.items():
            assert self.get_blob(repository, digest) == data
