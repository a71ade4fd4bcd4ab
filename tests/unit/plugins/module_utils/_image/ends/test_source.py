# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The offer of a source: the requested images, or a single error with every problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.registry_pool import RegistryLogin
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import (
    EngineSource,
    RegistrySource,
    parse_requested_images,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.http.client import HttpClient
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    FakeEngine,
    make,
    member_of,
    nothing,
    tar_of,
)

HEX = "a" * 64
V1 = make(b"base" * 10, b"top" * 10, tag="app:v1", packed=False)
V2 = make(b"base" * 10, b"newer" * 10, tag="app:v2", packed=False)


@pytest.mark.parametrize(
    ("entry", "name", "tag", "platform"),
    [
        ({"name": "app:v1"}, "app:v1", "app:v1", None),
        ({"name": "app"}, "app:latest", "app:latest", None),
        ({"name": "docker.io/library/app:v1"}, "app:v1", "app:v1", None),
        ({"name": f"h.test:5000/a/b:v1@sha256:{HEX}"}, f"h.test:5000/a/b:v1@sha256:{HEX}", "h.test:5000/a/b:v1", None),
        ({"name": f"app@sha256:{HEX}", "tag_as": "app:pinned"}, f"app@sha256:{HEX}", "app:pinned", None),
        ({"name": "app:v1", "tag_as": "mirror.test/app:v1"}, "app:v1", "mirror.test/app:v1", None),
        ({"name": "app:v1", "tag_as": "", "platform": "linux/arm64/v8"}, "app:v1", "app:v1", "linux/arm64/v8"),
        ({"name": "app:v1", "platform": ""}, "app:v1", "app:v1", None),
    ],
    ids=["plain", "latest", "full", "tag and digest", "digest", "renamed", "platform", "empty platform"],
)
def test_requested_images(entry: dict[str, str], name: str, tag: str, platform: Optional[str]) -> None:
    (requested,) = parse_requested_images([entry])
    assert (str(requested.reference), requested.tag) == (name, tag)
    assert (str(requested.platform) if requested.platform else None) == platform


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "images: is empty"),
        ([{"name": "App:v1"}], "'App:v1' is malformed"),
        ([{"name": "app:v1", "platform": "arm64"}], "'arm64' is malformed"),
        ([{"name": f"app@sha256:{HEX}"}], "under a name with a tag. Set tag_as"),
        ([{"name": "app:v1", "tag_as": f"app:v1@sha256:{HEX}"}], "must be a name and a tag, without a digest"),
        ([{"name": "app:v1", "tag_as": "a b"}], "'a b' is malformed"),
        ([{"name": "app"}, {"name": "app:latest"}], "two entries would get the name app:latest"),
        ([{"name": "a:1"}, {"name": "b:1", "tag_as": "a:1"}], "two entries would get the name a:1"),
    ],
    ids=["none", "reference", "platform", "digest only", "tag_as digest", "tag_as bad", "twice", "renamed to another"],
)
def test_bad_images_are_refused_before_any_request(entries: list[dict[str, str]], message: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_requested_images(entries)
    assert message in str(caught.value)


def test_a_single_error_names_every_entry_that_is_bad() -> None:
    with pytest.raises(ImageError, match=r"'X' is malformed.*'Y' is malformed"):
        parse_requested_images([{"name": "X"}, {"name": "good:1"}, {"name": "Y"}])


# -- from an engine


def engine() -> FakeEngine:
    made = FakeEngine().has(V1, "app:v1")
    made.saved = tar_of([(member_of(digest), data) for digest, data in V1.content.items()])
    return made


def test_identity_an_engine_s_image_has_no_registry_digest_and_its_layers_are_diff_ids() -> None:
    """docker save and docker load lose the registry digest (docs/facts/image_transfer.md#identity-and-names)."""
    (image,) = EngineSource(engine()).make_offer(parse_requested_images([{"name": "app:v1"}])).bundle.images
    assert (image.reference, image.tag, image.platform, image.manifest) == ("app:v1", "app:v1", "linux/amd64", None)
    assert (image.config.digest, image.config.size) == (V1.image.config.digest, None)
    assert [layer.blob.digest for layer in image.layers] == [layer.diff_id for layer in image.layers]
    assert [layer.diff_id for layer in image.layers] == list(V1.image.diff_ids)
    assert {layer.blob.size for layer in image.layers} == {None}


@pytest.mark.parametrize(("sizes", "expected"), [([70, 30], [70, 30]), (None, [500, 500]), ([None, 30], [500, 30])])
def test_sizes_are_estimated_from_what_the_engine_reports(sizes: Any, expected: list[int]) -> None:
    had = engine()
    had.sizes = sizes
    offer = EngineSource(had).make_offer(parse_requested_images([{"name": "app:v1"}]))
    assert [offer.estimates[diff_id] for diff_id in V1.image.diff_ids] == expected


def test_a_single_error_names_every_image_that_is_missing() -> None:
    requested = parse_requested_images(
        [{"name": "gone:1"}, {"name": "app:v1"}, {"name": "gone:2", "platform": "linux/amd64"}]
    )
    with pytest.raises(ImageError, match=r"has no gone:1\..*has no gone:2\."):
        EngineSource(engine()).make_offer(requested)


def test_the_common_platform_of_the_targets_does_not_bind_an_image_of_a_single_platform() -> None:
    """The common platform chooses among several. A target that runs another platform reports that itself."""
    (entry,) = parse_requested_images([{"name": "app:v1"}], "linux/arm64")
    assert (str(entry.platform), entry.platform_given) == ("linux/arm64", False)
    (image,) = EngineSource(engine()).make_offer((entry,)).bundle.images
    assert (image.platform, image.platform_given) == ("linux/amd64", False)
    requested = parse_requested_images([{"name": "app:v1", "platform": "linux/amd64"}], "linux/arm64")
    (image,) = EngineSource(engine()).make_offer(requested).bundle.images
    assert (image.platform, image.platform_given) == ("linux/amd64", True)


@pytest.mark.parametrize(
    ("platform", "fits"), [("linux/amd64", True), ("linux/amd64/v1", True), ("linux/arm64", False)]
)
def test_an_image_for_another_platform_is_refused_with_the_existing_platform(platform: str, fits: bool) -> None:
    requested = parse_requested_images([{"name": "app:v1", "platform": platform}])
    if fits:
        assert EngineSource(engine()).make_offer(requested).bundle.images
    else:
        with pytest.raises(ImageError, match="app:v1 is for linux/amd64 in the engine, not for linux/arm64"):
            EngineSource(engine()).make_offer(requested)


@pytest.mark.parametrize(("held", "message"), [((), "is missing"), (("app:v2",), "is another image")])
def test_a_tag_beside_a_digest_must_agree_also_in_an_engine(held: tuple[str, ...], message: str) -> None:
    """An engine resolves name:tag@digest by the digest alone: the image would get the name of another one."""
    reference = f"app:v2@sha256:{HEX}"
    had = FakeEngine().has(V1, reference)
    for name in held:
        had.has(V2, name)
    with pytest.raises(ImageError, match=f"names two images.*app:v2 {message}"):
        EngineSource(had).make_offer(parse_requested_images([{"name": reference}]))


def test_a_password_is_offered_to_a_single_registry() -> None:
    requested = parse_requested_images([{"name": "one.test/a:1"}, {"name": "two.test/b:1"}])
    with pytest.raises(ImageError, match=r"registry_username: would be sent to one\.test and two\.test"):
        RegistrySource(HttpClient(), RegistryLogin("me", "secret")).make_offer(requested)


def test_only_requested_blobs_are_staged(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "root"), "saved-" + "0" * 20)
    staging.create()
    had, top = engine(), V1.image.layers[1].diff_id
    EngineSource(had).stage(parse_requested_images([{"name": "app:v1"}]), [top, "sha256:" + HEX], staging, nothing)
    assert (staging.verify(top), staging.is_complete(V1.image.config.digest)) == (True, False)
    EngineSource(had).stage(parse_requested_images([{"name": "app:v1"}]), ["sha256:" + HEX], staging, nothing)
    assert had.exports == 1  # an image of which nothing is requested is not written by the engine


# -- from a registry


def registry(serve: Any, made: Any, tag: str = "v1") -> Any:
    image = made.image

    def script(conversation: Any) -> None:
        last = conversation.path.rpartition("/")[2]
        if last == tag or (image.manifest and last == image.manifest.digest):
            conversation.answer(200, made.content[image.manifest.digest], Content_Type=image.manifest.media_type)
        elif last in made.content:
            conversation.answer(200, made.content[last])
        else:
            conversation.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

    return serve(script)


def source() -> RegistrySource:
    client = HttpClient(environ={}, timeout=5.0, retries=0, sleep=nothing)
    return RegistrySource(client, RegistryLogin(username="u", password="p", plain_http=True))


def test_identity_a_registry_s_image_keeps_its_manifest_and_its_compressed_layers(serve: Any) -> None:
    """The original manifest bytes keep the digest (docs/facts/image_transfer.md#identity-and-names)."""
    made = make(b"base", b"top")
    server = registry(serve, made)
    name = f"{server.netloc}/app:v1"
    offer = source().make_offer(parse_requested_images([{"name": name, "platform": "linux/amd64", "tag_as": "app:v1"}]))
    (image,) = offer.bundle.images
    assert (image.reference, image.tag, image.platform) == (name, "app:v1", "linux/amd64")
    assert (image.manifest, image.config, image.layers) == (made.image.manifest, made.image.config, made.image.layers)
    assert offer.estimates == {}
    assert not [request for request in server.requests if request.path.endswith(image.layers[0].blob.digest)]


def test_a_single_error_names_every_image_that_the_registry_does_not_have(serve: Any) -> None:
    server = registry(serve, make(b"base"))
    names = [f"{server.netloc}/app:{tag}" for tag in ("gone", "v1", "lost")]
    with pytest.raises(ImageError, match=r"gone.*manifest unknown.*lost.*manifest unknown"):
        source().make_offer(parse_requested_images([{"name": name, "platform": "linux/amd64"} for name in names]))


@pytest.mark.parametrize(
    ("number", "offset", "length", "expected"),
    [(0, 0, 20, slice(0, 20)), (1, 0, 8, slice(0, 8)), (2, 8, 8, slice(8, 16)), (3, 16, 4, slice(16, 20))],
)
def test_the_bytes_of_a_request_come_straight_from_the_registry(
    serve: Any, number: int, offset: int, length: int, expected: slice
) -> None:
    made = make(b"0123456789abc")
    blob = made.image.layers[0].blob
    assert blob.size == 20

    def script(conversation: Any) -> None:
        data, requested = made.content[blob.digest], conversation.headers.get("Range")
        if not requested:
            conversation.answer(200, data)
            return
        first, last = map(int, requested[len("bytes=") :].split("-"))
        conversation.answer(206, data[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}")

    server = serve(script)
    reference = f"{server.netloc}/team/app:v1"
    transfer = TransferRequest(blob.digest, blob.media_type, number, offset, length, "http://unused", {}, reference)
    with source().open(transfer) as reader:
        assert reader.read(100) == made.content[blob.digest][expected]
    assert server.requests[0].path == f"/v2/team/app/blobs/{blob.digest}"


@pytest.mark.parametrize("offset", [0, 10])
def test_a_manifest_is_requested_as_a_manifest(serve: Any, offset: int) -> None:
    made = make(b"base")
    manifest = made.image.manifest
    assert manifest is not None
    server = registry(serve, made)
    length = (manifest.size or 0) - offset
    transfer = TransferRequest(
        manifest.digest, manifest.media_type, 1, offset, length, "", {}, f"{server.netloc}/app:v1"
    )
    with source().open(transfer) as reader:
        assert reader.read(10_000) == made.content[manifest.digest][offset:]
    assert [request.path for request in server.requests] == [f"/v2/app/manifests/{manifest.digest}"]


def test_the_password_is_not_shown() -> None:
    assert "p4ssw0rd" not in repr(RegistryLogin("user", "p4ssw0rd"))
