# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry client, against a server of the distribution protocol on the loopback that can misbehave."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import stat
import subprocess
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.authorization import parse_challenges
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.login import (
    FoundLogin,
    RegistryCredentials,
    find_login,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.registry import Registry, ResolvedImage
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats import manifest as m
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import ImagePlatform, ImageReference
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.client import HttpClient
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.errors import HttpError, HttpStatusError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob, Bundle, BundleImage

from ..odd_images import IMAGES, NONDISTRIBUTABLE, OddImage, OddStore

SECRET = "5ec4e7-pa55w04d"
AMD, ARM = ImagePlatform("linux", "amd64"), ImagePlatform("linux", "arm64")
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
ALL_TYPES = {m.OCI_MANIFEST, m.OCI_INDEX, m.DOCKER_MANIFEST, m.DOCKER_LIST}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__)) + str(error) + repr(error)


class Shelf:
    """A registry's content: blobs and manifests by digest, tags; and its authorization."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.tags: dict[str, str] = {}
        self.announce: Callable[[str], str | None] = lambda digest: digest
        self.storage = ""
        self.is_authorized: Callable[[Any], bool] = lambda c: True
        self.challenge = ""
        self.denial = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def manifest(self, document: Any, media_type: str = m.OCI_MANIFEST, tag: str = "") -> dict[str, Any]:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.manifests[digest_of(data)] = data, media_type
        if tag:
            self.tags[tag] = digest_of(data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def image(self, tag: str = "", platform: ImagePlatform = AMD, count: int = 2, **changes: Any) -> dict[str, Any]:
        tars = [f"{platform} layer {number}".encode() * 100 for number in range(count)]
        config = {
            "os": platform.os,
            "architecture": platform.architecture,
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        }
        if platform.variant:
            config["variant"] = platform.variant
        document = {
            "schemaVersion": 2,
            "mediaType": m.OCI_MANIFEST,
            "config": self.blob(json.dumps(config).encode(), OCI_CONFIG),
            "layers": [self.blob(gzip.compress(tar, mtime=0), OCI_LAYER) for tar in tars],
            **changes,
        }
        return self.manifest(document, m.OCI_MANIFEST, tag)

    def index(self, tag: str, *entries: dict[str, Any]) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": list(entries)}
        return self.manifest(document, m.OCI_INDEX, tag)

    def __call__(self, c: Any) -> None:
        if not self.is_authorized(c):
            c.answer(401, self.denial, WWW_Authenticate=self.challenge)
            return
        found = re.fullmatch(r"/v2/([^?]+)/(manifests|blobs)/([^/?]+)", c.path)
        if not found or found.group(1) != "team/app":
            c.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}')
            return
        name = found.group(3)
        if found.group(2) == "manifests":
            name = self.tags.get(name, name)
            data, media_type = self.manifests.get(name, (b"", ""))
            assert set(c.headers["Accept"].split(", ")) == ALL_TYPES
            announced = self.announce(name)
            more = {"Docker_Content_Digest": announced} if announced else {}
            if data:
                c.answer(200, data, Content_Type=media_type, **more)
            else:
                c.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
        elif self.storage:
            c.answer(307, Location=f"{self.storage}/{name}?X-Amz-Signature={SECRET}")
        elif name in self.blobs:
            serve_blob(c, self.blobs[name])
        else:
            c.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown"}]}')


def serve_blob(c: Any, data: bytes) -> None:
    if "Range" not in c.headers:
        c.answer(200, data)
        return
    start, end = c.headers["Range"][len("bytes=") :].split("-")
    first, last = int(start), min(int(end or len(data)), len(data) - 1)
    c.answer(206, data[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(timeout=2, retries=1, environ={}, sleep=lambda seconds: None)
    yield made
    made.close()


class Place:
    """A running registry and a Registry that talks to it."""

    def __init__(self, server: Any, client: HttpClient, credentials: RegistryCredentials | None = None) -> None:
        self.server = server
        self.registry = Registry(client, server.netloc, plain_http=True, login=FoundLogin(credentials))

    def reference(self, rest: str) -> ImageReference:
        return ImageReference.parse(f"{self.server.netloc}/{rest}")

    def resolve(self, rest: str, platform: ImagePlatform | None = None) -> ResolvedImage:
        return self.registry.resolve(self.reference(rest), platform)

    def refused(self, rest: str, platform: ImagePlatform | None = None) -> str:
        with pytest.raises(ImageError) as caught:
            self.resolve(rest, platform)
        assert SECRET not in everything(caught.value)
        assert SECRET not in repr(self.registry)
        return str(caught.value)


@pytest.fixture
def place(serve: Any, shelf: Shelf, client: HttpClient) -> Place:
    return Place(serve(shelf), client)


# -- resolving


@pytest.mark.parametrize("platform", [None, AMD])
def test_an_image_of_a_single_platform(place: Place, shelf: Shelf, platform: ImagePlatform | None) -> None:
    made = shelf.image("v1")
    got = place.resolve("team/app:v1", platform)
    data = shelf.manifests[made["digest"]][0]
    document = json.loads(data)
    assert got.manifest == data
    assert got.manifest_blob == Blob(made["digest"], len(data), m.OCI_MANIFEST)
    assert got.config == shelf.blobs[document["config"]["digest"]]
    assert got.config_digest == document["config"]["digest"] == digest_of(got.config)
    assert [(blob.digest, blob.size, blob.media_type) for blob in got.layers] == [
        (layer["digest"], layer["size"], OCI_LAYER) for layer in document["layers"]
    ]
    assert list(got.diff_ids) == [digest_of(gzip.decompress(shelf.blobs[blob.digest])) for blob in got.layers]
    assert got.platform == AMD
    assert got.index is None
    assert "team/app" not in repr(got)
    assert len(place.server.requests) == 2  # manifest and config: nothing more than is needed


def two_platforms(shelf: Shelf, tag: str = "v1") -> dict[str, dict[str, Any]]:
    amd = {**shelf.image(platform=AMD), "platform": {"os": "linux", "architecture": "amd64"}}
    arm = {**shelf.image(platform=ARM), "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}
    other = {**shelf.manifest({"a": 1}), "platform": {"os": "unknown", "architecture": "unknown"}}
    return {"amd": amd, "arm": arm, "index": shelf.index(tag, other, amd, arm)}


@pytest.mark.parametrize(
    ("platform", "key"), [("linux/amd64", "amd"), ("linux/arm64", "arm"), ("linux/arm64/v8", "arm")]
)
def test_an_index_gives_the_platform(place: Place, shelf: Shelf, platform: str, key: str) -> None:
    made = two_platforms(shelf)
    for name in ("team/app:v1", f"team/app@{made['index']['digest']}", f"team/app:v1@{made['index']['digest']}"):
        got = place.resolve(name, ImagePlatform.parse(platform))
        assert got.digest == made[key]["digest"]
        assert got.index
        assert got.index.digest == made["index"]["digest"]
        assert got.is_index_usable
        named = place.reference(f"team/app@{got.index.digest}")
        assert len(place.registry.fetch_document(named)) == got.index.size
        assert got.platform.matches(ImagePlatform.parse(platform))


def test_without_a_platform_an_index_gives_this_hosts(place: Place, shelf: Shelf, monkeypatch: Any) -> None:
    made = two_platforms(shelf)
    for machine, key in (("aarch64", "arm"), ("x86_64", "amd")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert place.resolve("team/app:v1").digest == made[key]["digest"]


def test_an_absent_platform_lists_those_there(place: Place, shelf: Shelf) -> None:
    two_platforms(shelf)
    message = place.refused("team/app:v1", ImagePlatform.parse("linux/s390x"))
    assert "has no image for linux/s390x. Available are: linux/amd64, linux/arm64/v8." in message
    assert "unknown" not in message


def test_another_platform_than_that_of_the_only_image(place: Place, shelf: Shelf) -> None:
    shelf.image("v1")
    assert "is for linux/amd64, but linux/arm64 is requested" in place.refused("team/app:v1", ARM)


def test_a_platform_that_need_not_match_chooses_in_an_index_and_is_no_demand_elsewhere(
    place: Place, shelf: Shelf
) -> None:
    shelf.image("v1")
    reference = place.reference("team/app:v1")
    assert place.registry.resolve(reference, ARM, must_match=False).platform == AMD
    made = two_platforms(shelf)
    assert place.registry.resolve(reference, ARM, must_match=False).digest == made["arm"]["digest"]


def test_an_index_that_lies_about_the_platform(place: Place, shelf: Shelf) -> None:
    shelf.index("v1", {**shelf.image(platform=AMD), "platform": {"os": "linux", "architecture": "arm64"}})
    assert "is for linux/amd64, but linux/arm64 is requested" in place.refused("team/app:v1", ARM)


def test_a_config_without_the_variant_contradicts_nothing(place: Place, shelf: Shelf) -> None:
    arm = ImagePlatform("linux", "arm", "v6")
    shelf.index(
        "v1",
        {
            **shelf.image(platform=ImagePlatform("linux", "arm")),
            "platform": {"os": "linux", "architecture": "arm", "variant": "v6"},
        },
    )
    assert place.resolve("team/app:v1", arm).platform == ImagePlatform("linux", "arm")


def test_an_index_without_platforms_counts_where_it_is_clear(place: Place, shelf: Shelf) -> None:
    made = shelf.image()
    shelf.index("v1", made)
    assert place.resolve("team/app:v1", AMD).digest == made["digest"]
    assert "is for linux/amd64" in place.refused("team/app:v1", ARM)
    shelf.index("v2", made, shelf.image(count=1))
    assert "Available are: none" in place.refused("team/app:v2", AMD)


def test_tag_and_digest_must_agree(place: Place, shelf: Shelf) -> None:
    first, second = shelf.image("v1"), shelf.image("v2", count=3)
    assert place.resolve(f"team/app:v1@{first['digest']}").digest == first["digest"]
    message = place.refused(f"team/app:v1@{second['digest']}")
    assert f"the tag v1 has the digest {first['digest']}, but {second['digest']} is requested" in message
    assert "tag and digest disagree" in message
    index = two_platforms(shelf, "v3")
    message = place.refused(f"team/app:v3@{index['arm']['digest']}")
    assert "its image for linux/arm64/v8: remove the tag" in message


def test_unknown_names_give_the_registrys_answer(place: Place, shelf: Shelf) -> None:
    shelf.image("v1")
    message = place.refused("team/app:v9")
    assert f"The registry {place.server.netloc} does not have the manifest v9" in message
    assert "MANIFEST_UNKNOWN: manifest unknown" in message
    assert "NAME_UNKNOWN: repository name not known" in place.refused("team/other:v1")


def test_a_missing_config_is_named(place: Place, shelf: Shelf) -> None:
    made = shelf.image("v1")
    config = json.loads(shelf.manifests[made["digest"]][0])["config"]["digest"]
    del shelf.blobs[config]
    message = place.refused("team/app:v1")
    assert f"does not have the config {config}" in message
    assert "BLOB_UNKNOWN" in message


def test_another_registry_is_a_mistake(place: Place) -> None:
    with pytest.raises(ImageError, match="is not in the registry"):
        place.registry.resolve(ImageReference.parse("app:v1"))


# -- what is damaged or foul


def test_damaged_bytes(place: Place, shelf: Shelf) -> None:
    made = shelf.image("v1")
    data, media_type = shelf.manifests[made["digest"]]
    config = json.loads(data)["config"]["digest"]
    shelf.manifests[made["digest"]] = data + b" ", media_type
    assert "They are damaged" in place.refused(f"team/app@{made['digest']}")
    assert "the registry announces" in place.refused("team/app:v1")
    shelf.announce = lambda digest: None
    assert "They are damaged" in place.refused(f"team/app@{made['digest']}")
    assert place.resolve("team/app:v1").digest == digest_of(data + b" ")  # no digest contradicts it
    shelf.manifests[made["digest"]] = data, media_type
    good = shelf.blobs[config]
    for bad in (good + b" ", good[:-1] + b" ", good[:-1]):
        shelf.blobs[config] = bad
        assert f"the config {config} of" in place.refused("team/app:v1")
        assert "They are damaged" in place.refused("team/app:v1")


def test_a_config_of_another_size(place: Place, shelf: Shelf) -> None:
    config = json.loads(shelf.manifests[shelf.image()["digest"]][0])["config"]
    shelf.image("v1", config={**config, "size": config["size"] + 1})
    assert f"the manifest has {config['size'] + 1} bytes. They are damaged" in place.refused("team/app:v1")


def test_an_entry_of_another_size(place: Place, shelf: Shelf) -> None:
    made = shelf.image()
    shelf.index("v1", {**made, "size": made["size"] + 1, "platform": {"os": "linux", "architecture": "amd64"}})
    assert f"the index has {made['size'] + 1} for it. It is damaged" in place.refused("team/app:v1", AMD)


def layer(**changes: Any) -> dict[str, Any]:
    return {"mediaType": OCI_LAYER, "digest": digest_of(b"x"), "size": 1, **changes}


@pytest.mark.parametrize(
    ("document", "media_type", "problem"),
    [
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (b"[" * 100_000, m.OCI_MANIFEST, "nested too deeply|no JSON"),
        (b'{"size":' + b"9" * 100_000 + b"}", m.OCI_MANIFEST, "20 digits"),
        (b" " * (m.MANIFEST_LIMIT + 1), m.OCI_MANIFEST, "larger than 4194304 bytes"),
        (b"<html>", "text/html", "no JSON"),
        ({"schemaVersion": 2, "config": {}, "layers": []}, m.OCI_MANIFEST, "is no sha256 digest"),
    ],
    ids=["schema 1", "deep", "number", "large", "html", "empty"],
)
def test_foul_documents(place: Place, shelf: Shelf, document: Any, media_type: str, problem: str) -> None:
    shelf.manifest(document, media_type, "v1")
    assert re.search(problem, place.refused("team/app:v1"))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"layers": [layer(), layer(mediaType=NONDISTRIBUTABLE)]}, "layer 2 .* is a foreign layer"),
        ({"layers": [layer()]}, "1 layers, the config 2 diffIDs"),
        ({"layers": [layer(), layer(size=-1)]}, "layer 2: -1 is no size"),
        ({"config": layer(size=m.CONFIG_LIMIT + 1, mediaType=OCI_CONFIG)}, "its config has"),
        ({"config": layer(mediaType="application/vnd.cncf.helm.config.v1+json")}, "is an artifact"),
    ],
)
def test_foul_images(place: Place, shelf: Shelf, changes: Any, problem: str) -> None:
    shelf.image("v1", **changes)
    assert re.search(problem, place.refused("team/app:v1"))


def test_a_foul_config(place: Place, shelf: Shelf) -> None:
    foul = shelf.blob(
        b'{"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [1, 2]}}', OCI_CONFIG
    )
    shelf.image("v1", config=foul)
    assert "diffID 1: 1 is no sha256 digest" in place.refused("team/app:v1")


def test_an_index_in_an_index(place: Place, shelf: Shelf) -> None:
    inner = two_platforms(shelf, "inner")["index"]
    shelf.index("v1", {**inner, "platform": {"os": "linux", "architecture": "amd64"}})
    assert "is an index, but an image is expected" in place.refused("team/app:v1", AMD)


# -- blobs


def test_blobs_come_as_streams(place: Place, shelf: Shelf) -> None:
    data = bytes(range(256)) * 1000
    digest = shelf.blob(data, OCI_LAYER)["digest"]
    for start, end in ((0, None), (100_000, None), (5, 10)):
        with place.registry.open_blob("team/app", digest, start, end) as reader:
            assert reader.length == len(data[start:end])
            assert b"".join(iter(lambda: reader.read(7777), b"")) == data[start:end]
    with pytest.raises(ImageError, match=r"does not have blob sha256:0+ of team/app: BLOB_UNKNOWN"):
        place.registry.open_blob("team/app", "sha256:" + "0" * 64).__enter__()


def test_storage_gets_no_authorization(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    storage = serve(lambda c: serve_blob(c, shelf.blobs[urlsplit(c.path).path[1:]]))
    shelf.storage = storage.url
    shelf.is_authorized = lambda c: (
        c.headers["Authorization"] == "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    )
    shelf.challenge = 'Basic realm="r"'
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET))
    shelf.image("v1")
    got = place.resolve("team/app:v1")
    with place.registry.open_blob("team/app", got.layers[0].digest, 3) as reader:
        assert reader.read() == shelf.blobs[got.layers[0].digest][3:]
    assert len(storage.requests) == 2
    assert all("authorization" not in request.headers for request in storage.requests)


@pytest.mark.parametrize("status", [401, 403])
def test_storage_that_refuses_gets_no_password(serve: Any, shelf: Shelf, client: HttpClient, status: int) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    storage = serve(lambda c: c.answer(status, body, WWW_Authenticate='Basic realm="give"'))
    shelf.storage = storage.url
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET))
    digest = shelf.blob(b"x", OCI_LAYER)["digest"]
    with pytest.raises(HttpStatusError) as caught:
        place.registry.open_blob("team/app", digest).__enter__()
    assert caught.value.expired
    assert storage.netloc in str(caught.value)
    assert SECRET not in everything(caught.value)
    assert [("authorization" in request.headers) for request in storage.requests] == [False]


# -- logging in


def test_basic(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    shelf.image("v1")
    shelf.challenge = 'Basic realm="Registry", charset="UTF-8"'
    shelf.is_authorized = lambda c: (
        c.headers["Authorization"] == "Basic " + base64.b64encode(f"m\u00e9:{SECRET}".encode()).decode()
    )
    server = serve(shelf)
    assert Place(server, client, RegistryCredentials("m\u00e9", SECRET)).resolve("team/app:v1").platform == AMD
    assert len(server.requests) == 3  # only the first request is sent without

    message = Place(server, client).refused("team/app:v1")
    assert "denies a request without login the manifest v1" in message
    assert "UNAUTHORIZED: authentication required" in message
    assert "Set the user name and password" in message
    message = Place(server, client, RegistryCredentials("other", SECRET)).refused("team/app:v1")
    assert "denies the user 'other' the manifest v1" in message


@dataclass
class ShyRegistry:
    """Asks for a login only at its base address, as docker uses it; elsewhere it denies or hides."""

    shelf: Shelf
    challenge: str
    denial: int
    base_status: int = 401

    def __call__(self, c: Any) -> None:
        if c.path == "/v2/":
            headers = {"WWW_Authenticate": self.challenge} if self.base_status == 401 else {}
            c.answer(self.base_status, b"{}", **headers)
        elif self.shelf.is_authorized(c):
            c.answer(self.denial, b'{"errors":[{"code":"DENIED","message":"access denied"}]}')
        else:
            self.shelf.is_authorized, kept = (lambda c: True), self.shelf.is_authorized
            self.shelf(c)
            self.shelf.is_authorized = kept


def hides(c: Any) -> bool:
    """The registry denies this request."""
    return c.headers["Authorization"] != "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.mark.parametrize("denial", [401, 403, 404])
def test_the_login_is_sent_to_a_registry_that_requires_it_only_at_its_base_address(
    serve: Any, shelf: Shelf, client: HttpClient, denial: int
) -> None:
    shelf.image("v1")
    shelf.is_authorized = hides
    server = serve(ShyRegistry(shelf, 'Basic realm="r"', denial))
    assert Place(server, client, RegistryCredentials("me", SECRET)).resolve("team/app:v1").platform == AMD
    assert [request.path for request in server.requests].count("/v2/") == 1

    message = Place(server, client, RegistryCredentials("other", SECRET)).refused("team/app:v1")
    expected = "denies the user 'other' the manifest v1" if denial != 404 else "does not have the manifest v1"
    assert expected in message
    assert "DENIED: access denied" in message


@pytest.mark.parametrize("denial", [403, 404])
def test_a_token_is_fetched_where_only_the_base_address_requires_it(
    serve: Any, shelf: Shelf, client: HttpClient, denial: int
) -> None:
    tokens = TokenServer(shelf, serve)
    shelf.image("v1")
    good = shelf.is_authorized
    shelf.is_authorized = lambda c: not good(c)
    server = serve(ShyRegistry(shelf, shelf.challenge, denial))
    assert Place(server, client, RegistryCredentials("me", SECRET)).resolve("team/app:v1").platform == AMD
    assert tokens.given == 1


@pytest.mark.parametrize("base_status", [200, 404, 500])
@pytest.mark.parametrize("denial", [401, 403])
def test_a_login_that_was_not_sent_is_not_named(
    serve: Any, shelf: Shelf, client: HttpClient, denial: int, base_status: int
) -> None:
    server = serve(ShyRegistry(shelf, "", denial, base_status))
    message = Place(server, client, RegistryCredentials("me", SECRET)).refused("team/app:v1")
    assert "denies a request without login the manifest v1 of" in message
    assert "'me'" not in message
    assert "The registry requires no login, so the login was not sent." in message
    assert all("authorization" not in request.headers for request in server.requests)


@pytest.mark.parametrize(
    ("challenge", "credentials", "reason"),
    [
        ("Negotiate", RegistryCredentials("me", SECRET), "requires a login by negotiate, which is not supported"),
        (
            'Basic realm="r"',
            RegistryCredentials("", identity_token=SECRET),
            "the login is an identity token, which was",
        ),
        ('Basic realm="r"', None, "Set the user name and password"),
    ],
)
@pytest.mark.parametrize("denial", [401, 403, 404])
def test_a_challenge_that_the_login_does_not_fit(
    serve: Any, shelf: Shelf, client: HttpClient, challenge: str, credentials: Any, reason: str, denial: int
) -> None:
    server = serve(ShyRegistry(shelf, challenge, denial))
    message = Place(server, client, credentials).refused("team/app:v1")
    assert reason in message
    assert "'me'" not in message
    assert ("may hide it from requests without login" in message) == (denial == 404)
    assert all("authorization" not in request.headers for request in server.requests)


def test_a_missing_image_costs_a_single_request_to_the_base_address(place: Place, shelf: Shelf) -> None:
    for _dummy in range(3):
        message = place.refused("team/app:v9")
    assert "Check the name and the tag." in message
    assert "login" not in message
    assert [request.path for request in place.server.requests].count("/v2/") <= 3


def test_a_file_without_a_login_for_this_registry_is_named(
    serve: Any, shelf: Shelf, client: HttpClient, tmp_path: Path
) -> None:
    shelf.is_authorized, shelf.challenge = lambda c: False, 'Basic realm="r"'
    server = serve(shelf)
    path = write(tmp_path / "config.json", {"auths": {"https://other.test/v1/": auth("me:x")}})
    found = find_login(server.netloc, docker_config=path)
    registry = Registry(client, server.netloc, plain_http=True, login=found)
    with pytest.raises(ImageError) as caught:
        registry.resolve(ImageReference.parse(f"{server.netloc}/team/app:v1"))
    assert f"file {path} has no login for {server.netloc}. It has logins for other.test. Set the" in str(caught.value)


PAGES = [b"", b"<html><title>Log in</title></html>", b"OK", b"<?xml version='1.0'?><Error/>", b"[]", b"null", b"{}"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_instead_of_a_manifest(serve: Any, client: HttpClient, page: bytes) -> None:
    message = Place(serve(lambda c: c.answer(200, page, Content_Type="text/html")), client).refused("team/app:v1")
    assert message.startswith("the manifest v1 of")
    if page[:1] not in b"[n{" or not page:
        assert "is no JSON" in message
        assert "has the Content-Type text/html. Check that the registry itself responds at" in message


@pytest.mark.parametrize("page", PAGES)
def test_a_page_instead_of_a_config(serve: Any, shelf: Shelf, client: HttpClient, page: bytes) -> None:
    made = json.loads(shelf.manifests[shelf.image("v1")["digest"]][0])
    shelf.blobs[made["config"]["digest"]] = page
    message = Place(serve(shelf), client).refused("team/app:v1")
    assert f"the config {made['config']['digest']} of" in message
    assert "They are damaged" in message


class TokenServer:
    """Sends tokens, each for some requests, to clients with the password or to everybody."""

    def __init__(self, shelf: Shelf, serve: Any, uses: int = 10**6, password: str | None = SECRET) -> None:
        self.given = 0
        self.uses = uses
        self.left = 0
        self.password = password
        self.answers: list[bytes] = []
        self.forms: list[dict[str, list[str]]] = []
        self.server = serve(self)
        shelf.is_authorized = self.good
        shelf.challenge = (
            f'Bearer realm="{self.server.url}/token?account=x",service="registry, with \\"quotes\\"",'
            'scope="repository:team/app:pull"'
        )

    def good(self, c: Any) -> bool:
        if c.headers["Authorization"] == f"Bearer {SECRET}-token-{self.given}" and self.left:
            self.left -= 1
            return True
        return False

    def __call__(self, c: Any) -> None:
        self.forms.append(parse_qs(c.body().decode() if c.command == "POST" else urlsplit(c.path).query))
        expected = (
            None if self.password is None else "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode()
        )
        if c.command == "GET" and c.headers["Authorization"] != expected:
            c.answer(401, b'{"details":"incorrect username or password"}')
            return
        self.given += 1
        self.left = self.uses
        c.answer(
            200, self.answers.pop(0) if self.answers else b'{"token":"%s-token-%d"}' % (SECRET.encode(), self.given)
        )


def test_token(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    tokens = TokenServer(shelf, serve)
    shelf.image("v1")
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET))
    for _dummy in range(3):
        place.resolve("team/app:v1")
    assert tokens.given == 1  # kept for the repository
    assert tokens.forms == [
        {"account": ["x"], "service": ['registry, with "quotes"'], "scope": ["repository:team/app:pull"]}
    ]


def test_token_for_everybody(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    TokenServer(shelf, serve, password=None)
    shelf.image("v1")
    assert Place(serve(shelf), client).resolve("team/app:v1").platform == AMD


def test_a_token_is_renewed(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    tokens = TokenServer(shelf, serve, uses=1)
    shelf.image("v1")
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET))
    place.resolve("team/app:v1")
    assert tokens.given == 2  # the manifest and the config
    digest = shelf.blob(b"abc", OCI_LAYER)["digest"]
    with place.registry.open_blob("team/app", digest) as reader:
        assert reader.read() == b"abc"
    assert tokens.given == 3


def test_a_token_that_does_not_help_ends_it(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    tokens = TokenServer(shelf, serve, uses=0)
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET))
    assert "denies the user 'me' the manifest v1" in place.refused("team/app:v1")
    assert tokens.given == 1
    assert len(place.server.requests) == 2


def test_threads_share_a_token(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    tokens = TokenServer(shelf, serve)
    shelf.image("v1")
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET))
    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(lambda number: place.resolve("team/app:v1"), range(12)))) == 12
    assert tokens.given == 1


def test_a_wrong_password(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    tokens = TokenServer(shelf, serve)
    place = Place(serve(shelf), client, RegistryCredentials("me", SECRET + "x"))
    message = place.refused("team/app:v1")
    assert f"The token server {tokens.server.url}/token?... of the registry {place.server.netloc}" in message
    assert "refuses the user 'me' a token: incorrect username or password. Set the user name" in message
    assert SECRET + "x" not in message


def test_an_identity_token(serve: Any, shelf: Shelf, client: HttpClient) -> None:
    tokens = TokenServer(shelf, serve)
    tokens.answers = [b'{"access_token":"%s-token-1"}' % SECRET.encode()]
    shelf.image("v1")
    Place(serve(shelf), client, RegistryCredentials("", identity_token=SECRET)).resolve("team/app:v1")
    (form,) = tokens.forms
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == [SECRET]
    assert form["scope"] == ["repository:team/app:pull"]


@pytest.mark.parametrize(
    "answer", [b"{}", b"[]", b'{"token":7}', b'{"token":"a b"}', b'{"token":"a\\r\\nX: y"}', b"nonsense"]
)
def test_a_token_server_without_a_token(serve: Any, shelf: Shelf, client: HttpClient, answer: bytes) -> None:
    tokens = TokenServer(shelf, serve)
    tokens.answers = [answer]
    message = Place(serve(shelf), client, RegistryCredentials("me", SECRET)).refused("team/app:v1")
    assert "sent no token" in message or "is no JSON" in message


@pytest.mark.parametrize("challenge", ['Bearer service="x"', 'Bearer realm="file:///etc/passwd"', "Bearer"])
def test_a_challenge_without_a_place(serve: Any, shelf: Shelf, client: HttpClient, challenge: str) -> None:
    shelf.is_authorized, shelf.challenge = lambda c: False, challenge
    assert "names no token server" in Place(serve(shelf), client).refused("team/app:v1")


def test_the_password_does_not_leave_tls(serve: Any, shelf: Shelf) -> None:
    tokens = TokenServer(shelf, serve)
    server = serve(shelf, tls=True)
    client = HttpClient(str(serve.authority), environ={}, retries=0)
    registry = Registry(client, server.netloc, login=FoundLogin(RegistryCredentials("me", SECRET)))
    with pytest.raises(ImageError, match=r"without TLS\. The password is not sent there") as caught:
        registry.resolve(ImageReference.parse(f"{server.netloc}/team/app:v1"))
    assert tokens.server.requests == []
    assert SECRET not in everything(caught.value)


def test_a_registry_with_tls(serve: Any, shelf: Shelf) -> None:
    shelf.image("v1")
    server = serve(shelf, tls=True)
    reference = ImageReference.parse(f"{server.netloc}/team/app:v1")
    assert Registry(HttpClient(str(serve.authority), environ={}), server.netloc).resolve(reference).platform == AMD
    with pytest.raises(HttpError, match="set ca_path"):
        Registry(HttpClient(environ={}), server.netloc).resolve(reference)


def test_docker_hub_has_an_address_of_its_own() -> None:
    url = Registry(HttpClient(environ={}), "docker.io").get_blob_url("library/app", "sha256:x")
    assert url == "https://registry-1.docker.io/v2/library/app/blobs/sha256:x"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", {}),
        ("Basic", {"basic": {}}),
        ('Basic realm="a b"', {"basic": {"realm": "a b"}}),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            {"bearer": {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"}},
        ),
        ("BEARER Realm=abc , service = d", {"bearer": {"realm": "abc", "service": "d"}}),
        (
            'Negotiate, Basic realm="x", Bearer realm="y"',
            {"negotiate": {}, "basic": {"realm": "x"}, "bearer": {"realm": "y"}},
        ),
        ('Bearer realm="a\\"b\\\\"', {"bearer": {"realm": 'a"b\\'}}),
        ('Bearer realm="unfinished', {"bearer": {}}),
        ('realm="x"', {}),
        ("Bearer realm=" + '"' * 5000, {"bearer": {"realm": ""}}),
    ],
)
def test_challenges(value: str, expected: Any) -> None:
    assert parse_challenges(value) == expected


# -- credentials


def write(path: Path, document: Any) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("document", "host", "expected"),
    [
        ({"auths": {"r.test": auth(f"me:{SECRET}")}}, "r.test", RegistryCredentials("me", SECRET)),
        ({"auths": {"r.test": auth("me:a:b")}}, "r.test", RegistryCredentials("me", "a:b")),
        ({"auths": {"r.test": {"username": "me", "password": SECRET}}}, "r.test", RegistryCredentials("me", SECRET)),
        ({"auths": {"r.test": {**auth("me:"), "identitytoken": "t"}}}, "r.test", RegistryCredentials("me", "", "t")),
        ({"auths": {"https://r.test:5000/v2/": auth("me:x")}}, "r.test:5000", RegistryCredentials("me", "x")),
        ({"auths": {"https://index.docker.io/v1/": auth("me:x")}}, "docker.io", RegistryCredentials("me", "x")),
        ({"auths": {"index.docker.io": auth("me:x")}}, "docker.io", RegistryCredentials("me", "x")),
        ({"auths": {"https://r.test": auth("no:x"), "r.test": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"auths": {"http://r.test/v1": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"auths": {"HTTPS://R.Test/v1/": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"auths": {"r.test/": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"auths": {"r.test/team/x": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"auths": {"r.test:443": auth("me:x")}}, "r.test", None),
        ({"auths": {"r.test": auth("me:x")}}, "r.test:5000", None),
        ({"auths": {"docker.io/team": auth("me:x")}}, "docker.io", None),
        ({"auths": {"r.test": None, "https://r.test": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"auths": {"other.test": auth("me:x")}}, "r.test", None),
        ({"auths": {"r.test": {}}}, "r.test", None),
        ({"auths": {"r.test:5000": auth("me:x")}}, "r.test", None),
        ({"auths": {"evil.test/https://r.test": auth("me:x")}}, "r.test", None),
        ({"auths": []}, "r.test", None),
        ({}, "r.test", None),
        ([], "r.test", None),
    ],
)
def test_docker_config(tmp_path: Path, document: Any, host: str, expected: RegistryCredentials | None) -> None:
    path = write(tmp_path / "config.json", document)
    assert find_login(host, docker_config=path).credentials == expected
    assert find_login(host, docker_config=str(tmp_path)).credentials == expected


@pytest.mark.parametrize(
    ("repository", "user"),
    [("team/app", "team"), ("team/deep/app", "deep"), ("teams/app", "whole"), ("other", "whole"), ("team", "team")],
)
def test_a_login_for_a_part_of_the_registry(tmp_path: Path, repository: str, user: str) -> None:
    keys = {"r.test/team": "team", "r.test": "whole", "r.test/team/deep": "deep", "https://r.test/v1/": "old"}
    path = write(tmp_path / "config.json", {"auths": {key: auth(f"{name}:x") for key, name in keys.items()}})
    found = find_login("r.test", docker_config=path, repository=repository).credentials
    assert found == RegistryCredentials(user, "x")


@pytest.mark.parametrize(
    ("document", "absence"),
    [
        ({}, "has no login for r.test."),
        ({"auths": {}}, "has no login for r.test."),
        (
            {"auths": {"https://b.test/v1/": auth("m:x"), "a.test:5000": {}}},
            "has no login for r.test. It has logins for a.test:5000, b.test.",
        ),
        ({"auths": {f"{name}.test": {} for name in "gfedcba"}}, "a.test, b.test, c.test, d.test, e.test and 2 more."),
        ({"credsStore": "none"}, "has no login for r.test, and its helper docker-credential-none returned none."),
    ],
)
def test_the_absence_of_a_login_is_described(tmp_path: Path, helper: Any, document: Any, absence: str) -> None:
    helper("none", "echo credentials not found in native keychain; exit 1")
    path = write(tmp_path / "config.json", document)
    found = find_login("r.test", docker_config=path, run=run)
    assert found.credentials is None
    assert found.absence.startswith(f"The docker config file {path} ")
    assert found.absence.endswith(absence)
    assert find_login("r.test").absence == ""


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no JSON"),
        ({"auths": {"r.test": {"auth": f"%{SECRET}"}}}, "is not in base64"),
        ({"auths": {"r.test": {"auth": base64.b64encode(b"\xff\xfe").decode()}}}, "is not in base64"),
        ({"auths": {"r.test": {"username": [SECRET], "password": "x"}}}, "is no text"),
        ({"credsStore": f"../{SECRET}"}, "cannot be a program's name"),
        ({"credHelpers": {"r.test": ["x"]}}, "cannot be a program's name"),
    ],
)
def test_docker_config_refused(tmp_path: Path, document: Any, problem: str) -> None:
    path = tmp_path / "config.json"
    if document is not None:
        write(path, document)
    with pytest.raises(ImageError, match=problem) as caught:
        find_login("r.test", docker_config=str(path))
    assert str(path) in str(caught.value)
    assert SECRET not in everything(caught.value)


def test_user_and_password_come_first(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {"auths": {"r.test": auth("file:x")}})
    assert find_login("r.test", "", "me", SECRET, path).credentials == RegistryCredentials("me", SECRET)
    assert find_login("r.test").credentials is None
    for credentials in (RegistryCredentials("me", SECRET), RegistryCredentials("me", "", SECRET)):
        assert SECRET not in repr(credentials)
        assert SECRET not in str(credentials)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: Any) -> Callable[[str, str], None]:
    """Puts a credential helper on the PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")

    def make(name: str, script: str) -> None:
        program = directory / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return make


def run(args: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
    done = subprocess.run(args, input=text, capture_output=True, text=True, check=False, pass_fds=descriptors)
    return done.returncode, done.stdout, done.stderr


def test_without_a_way_to_run_helpers_there_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {"credsStore": "x"})
    with pytest.raises(
        ImageError, match="requires the credential helper docker-credential-x, but no program can be run"
    ):
        find_login("r.test", docker_config=path)


ANSWER = """read -r server; [ "$1" = get ] || exit 9
printf '{"ServerURL":"%s","Username":"%s","Secret":"at-%s"}' "$server" NAME "$server" """


@pytest.mark.parametrize(
    ("document", "host", "expected"),
    [
        ({"credsStore": "one"}, "r.test:5000", RegistryCredentials("one", "at-r.test:5000")),
        ({"credsStore": "one"}, "docker.io", RegistryCredentials("one", "at-https://index.docker.io/v1/")),
        ({"credsStore": "one", "credHelpers": {"r.test": "two"}}, "r.test", RegistryCredentials("two", "at-r.test")),
        ({"credsStore": "one", "credHelpers": {"r.test": "two"}}, "s.test", RegistryCredentials("one", "at-s.test")),
        (
            {"credHelpers": {"docker.io": "two"}},
            "docker.io",
            RegistryCredentials("two", "at-https://index.docker.io/v1/"),
        ),
        (
            {"credHelpers": {"r.test": "two"}, "auths": {"s.test": auth("me:x")}},
            "s.test",
            RegistryCredentials("me", "x"),
        ),
        ({"credHelpers": {"r.test": "token"}}, "r.test", RegistryCredentials("", "", "at-r.test")),
        ({"credsStore": "none", "auths": {"r.test": auth("me:x")}}, "r.test", RegistryCredentials("me", "x")),
        ({"credsStore": "none"}, "r.test", None),
    ],
)
def test_helpers(tmp_path: Path, helper: Any, document: Any, host: str, expected: RegistryCredentials | None) -> None:
    helper("one", ANSWER.replace("NAME", "one"))
    helper("two", ANSWER.replace("NAME", "two"))
    helper("token", ANSWER.replace("NAME", "'<token>'"))
    helper("none", "echo credentials not found in native keychain; exit 1")
    assert find_login(host, docker_config=write(tmp_path / "config.json", document), run=run).credentials == expected


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "requires the credential helper docker-credential-x, which is not on this host's PATH"),
        ("echo no session >&2; exit 1", "docker-credential-x failed for r.test: no session"),
        ("echo locked; exit 1", "docker-credential-x failed for r.test: locked"),
        (f'echo \'{{"Secret":"{SECRET}"}}\'; exit 1', "docker-credential-x failed for r.test"),
        (f"echo '{SECRET}'", "returned no login for r.test"),
        (f"echo '[\"{SECRET}\"]'", "returned no login for r.test"),
        (f'echo \'{{"Username":7,"Secret":"{SECRET}"}}\'', "returned no login for r.test"),
    ],
)
def test_helpers_that_fail(tmp_path: Path, helper: Any, script: str | None, problem: str) -> None:
    if script is not None:
        helper("x", script)
    path = write(tmp_path / "config.json", {"credsStore": "x"})
    with pytest.raises(ImageError, match=problem) as caught:
        find_login("r.test", docker_config=path, run=run)
    assert SECRET not in everything(caught.value)


# -- odd images


def serve_odd(store: OddStore) -> Callable[[Any], None]:
    def answer(c: Any) -> None:
        kind, name = c.path.split("/")[-2:]
        if kind == "manifests" and name in store.manifests:
            data, content_type = store.manifests[name]
            c.answer(200, data, **({"Content_Type": content_type} if content_type else {}))
        elif kind == "blobs" and name in store.blobs:
            c.answer(200, store.blobs[name])
        else:
            c.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    return answer


def test_odd_images_are_many_and_each_stands_once() -> None:
    names = [odd.name for odd in IMAGES]
    assert len(set(names)) == len(names) > 150


def test_images_that_docker_pulls_are_refused_only_for_these_reasons() -> None:
    """Contents that contradict their descriptors, that must not be distributed, or that are two things at once."""
    assert {odd.name for odd in IMAGES if odd.docker and odd.problem} == {
        "config of another size",
        "config of a negative size",
        "layer of a negative size",
        "the image's entry has another size",
        "foreign layer",
        "nondistributable layer",
        "encrypted layer",
        "plugin as OCI",
        "schema 2 with manifests",
        "Docker list with a config",
    }


@pytest.mark.parametrize("odd", IMAGES, ids=lambda odd: odd.name)
def test_an_odd_image_is_transferred_where_docker_pulls_it_or_refused_with_a_reason(
    serve: Any, client: HttpClient, odd: OddImage, monkeypatch: Any
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    store = OddStore()
    odd.add(store, "v1")
    place = Place(serve(serve_odd(store)), client)
    if odd.problem:
        assert re.search(odd.problem, place.refused("team/app:v1"))
        return
    got = place.resolve("team/app:v1")
    assert got.manifest in {data for data, _type in store.manifests.values()}
    blobs = [got.config_blob, *got.layers]
    assert [blob.size for blob in blobs] == [len(store.blobs[blob.digest]) for blob in blobs]
    assert all(blob.media_type for blob in blobs)
    image = BundleImage("a:v1", "a:v1", str(got.platform), got.manifest_blob, got.config_blob, ())
    assert Bundle.parse(Bundle((image,)).to_dict()).images == (image,)


@pytest.mark.parametrize(
    ("host", "plain_http", "expected"),
    [
        ("registry.example:443", False, "https://registry.example/"),
        ("registry.example:443", True, "http://registry.example:443/"),
        ("Registry.Example", False, "https://registry.example/"),
        ("registry.example:80", True, "http://registry.example/"),
        ("docker.io", False, "https://registry-1.docker.io/"),
        ("[::1]:5000", False, "https://[::1]:5000/"),
    ],
)
def test_the_address_of_a_registry_is_that_of_its_responses(host: str, plain_http: bool, expected: str) -> None:
    # Only a response from this address is given a login.
    assert Registry(HttpClient(), host, plain_http).get_blob_url("a", "b") == f"{expected}v2/a/blobs/b"
