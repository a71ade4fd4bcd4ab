# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests, indexes and configs: valid ones are parsed, and nothing else passes or ends in a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats import manifest as m
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import ImagePlatform
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


def descriptor(digest: str = A, size: Any = 7, media_type: Any = GZIP, **more: Any) -> dict[str, Any]:
    return {"digest": digest, "size": size, "mediaType": media_type, **more}


def image(**changes: Any) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": m.DOCKER_MANIFEST,
        "config": descriptor(C, 9, DOCKER_CONFIG),
        "layers": [descriptor(A), descriptor(B, 8)],
    }
    return {name: value for name, value in {**document, **changes}.items() if value is not ...}


def index(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": list(entries)}
    return {name: value for name, value in {**document, **changes}.items() if value is not ...}


def config(**changes: Any) -> dict[str, Any]:
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [A, B]}}
    return {name: value for name, value in {**document, **changes}.items() if value is not ...}


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("document", "content_type", "expected"),
    [
        (image(), m.DOCKER_MANIFEST, m.DOCKER_MANIFEST),
        (image(), f"{m.DOCKER_MANIFEST}; charset=utf-8", m.DOCKER_MANIFEST),
        (image(), "application/json", m.DOCKER_MANIFEST),
        (image(mediaType=...), m.DOCKER_MANIFEST, m.DOCKER_MANIFEST),
        (image(mediaType=...), m.OCI_MANIFEST, m.OCI_MANIFEST),
        (image(mediaType=...), "", m.OCI_MANIFEST),
        (index(), m.OCI_INDEX, m.OCI_INDEX),
        (index(mediaType=m.DOCKER_LIST), "", m.DOCKER_LIST),
        (index(mediaType=...), "", m.OCI_INDEX),
    ],
)
def test_document_type(document: Any, content_type: str, expected: str) -> None:
    assert m.detect_media_type(dump(document), content_type) == expected


@pytest.mark.parametrize(
    ("document", "content_type", "problem"),
    [
        ({"schemaVersion": 1, "fsLayers": [], "history": []}, SCHEMA1, "schema 1"),
        ({"schemaVersion": 1, "fsLayers": []}, "application/json", "schema 1"),
        (image(), m.OCI_MANIFEST, "but the response has"),
        (index(), m.OCI_MANIFEST, "but the response has"),
        ({**image(), "manifests": []}, "", "an image and an index at once"),
        (index(config={}), "", "an image and an index at once"),
        (index(mediaType=m.OCI_MANIFEST), "", "but not that type's fields"),
        (image(mediaType=m.OCI_INDEX), "", "but not that type's fields"),
        (image(mediaType="application/x"), "", "'application/x', no container image"),
        (image(mediaType=["x"]), "", "mediaType is no text"),
        ([], "", "no JSON object"),
        ("x", "", "no JSON object"),
    ],
)
def test_document_type_refused(document: Any, content_type: str, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        m.detect_media_type(dump(document), content_type)


def test_manifest() -> None:
    read = m.parse_manifest(dump(image()))
    assert read == m.ImageManifest(m.DOCKER_MANIFEST, Blob(C, 9, DOCKER_CONFIG), (Blob(A, 7, GZIP), Blob(B, 8, GZIP)))


@pytest.mark.parametrize(
    ("media_type", "zstd"),
    [
        ("application/vnd.oci.image.layer.v1.tar", False),
        ("application/vnd.oci.image.layer.v1.tar+gzip", False),
        ("application/vnd.oci.image.layer.v1.tar+zstd", True),
        ("application/vnd.docker.image.rootfs.diff.tar", False),
        (GZIP, False),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", True),
    ],
)
def test_layer_types(media_type: str, zstd: bool) -> None:
    read = m.parse_manifest(dump(image(layers=[descriptor(media_type=media_type)])))
    assert [m.is_zstd(layer.media_type) for layer in read.layers] == [zstd]


NOT_DISTRIBUTED = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
BAD_LAYERS = [
    (descriptor(media_type=NOT_DISTRIBUTED), "foreign layer"),
    (descriptor(media_type=NONDISTRIBUTABLE), "foreign layer"),
    (descriptor(media_type="application/vnd.cncf.helm.chart.content.v1.tar+gzip"), "no layer of a container image"),
    (descriptor(media_type=GZIP + "+encrypted"), "is encrypted"),
    (descriptor(media_type=3), "mediaType is no text"),
    (descriptor(size=-1), "'-1'|-1 is no size"),
    (descriptor(size=2**63), "is no size"),
    (descriptor(size=7.5), "is no size"),
    (descriptor(size=True), "is no size"),
    (descriptor(size="7"), "is no size"),
    (descriptor(digest="sha512:" + "a" * 128), "no sha256 digest"),
    (descriptor(digest="sha256:../../etc/passwd"), "no sha256 digest"),
    (descriptor(digest=A + "\n"), "no sha256 digest"),
    (descriptor(digest=A.upper()), "no sha256 digest"),
    (descriptor(digest=[A]), "a list is no sha256 digest"),
    ("x", "no JSON object"),
    (None, "no JSON object"),
]


@pytest.mark.parametrize(("layer", "problem"), BAD_LAYERS)
def test_layers_refused(layer: Any, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        m.parse_manifest(dump(image(layers=[descriptor(), layer])))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"config": ...}, "config is no JSON object"),
        ({"layers": {}}, "layers is no JSON list"),
        ({"config": descriptor(C, 9, "application/vnd.cncf.helm.config.v1+json")}, "is an artifact of type"),
        ({"config": descriptor(C, m.CONFIG_LIMIT + 1, DOCKER_CONFIG)}, "its config has"),
    ],
)
def test_manifest_refused(changes: Any, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        m.parse_manifest(dump(image(**changes)))


def test_an_index_is_no_image_and_an_image_no_index() -> None:
    with pytest.raises(ImageError, match="is an index, but an image is expected"):
        m.parse_manifest(dump(index()))
    with pytest.raises(ImageError, match="is an image, but an index is expected"):
        m.parse_index(dump(image()))


def test_index_leaves_attestations_out() -> None:
    read = m.parse_index(
        dump(
            index(
                descriptor(A, 5, m.OCI_MANIFEST, platform={"os": "linux", "architecture": "arm", "variant": "v7"}),
                descriptor(B, 6, m.OCI_MANIFEST, platform={"os": "unknown", "architecture": "unknown"}),
                descriptor(C, 7, m.OCI_MANIFEST),
            )
        )
    )
    assert read.entries == (
        m.IndexEntry(A, 5, ImagePlatform("linux", "arm", "v7")),
        m.IndexEntry(C, 7, None),
    )


@pytest.mark.parametrize(
    "entry",
    [
        descriptor(A, 5, m.OCI_MANIFEST, platform=[]),
        descriptor(A, 5, m.OCI_MANIFEST, platform={"os": "linux"}),
        descriptor(A, 5, m.OCI_MANIFEST, platform={"os": "", "architecture": ""}),
        descriptor(A, 5, m.OCI_MANIFEST, platform={"os": "li\nnux", "architecture": "x"}),
        descriptor("md5:1", 5, m.OCI_MANIFEST),
        7,
    ],
)
def test_index_leaves_out_what_nobody_could_choose(entry: Any) -> None:
    assert m.parse_index(dump(index(entry))).entries == ()


def test_an_entry_without_a_size_in_bytes_may_be_chosen() -> None:
    assert m.parse_index(dump(index(descriptor(A, -5, m.OCI_MANIFEST)))).entries == (m.IndexEntry(A, None, None),)


def test_config() -> None:
    platform, diff_ids = m.parse_config(dump(config(variant="v8", architecture="arm64")))
    assert platform == ImagePlatform("linux", "arm64", "v8")
    assert diff_ids == (A, B)
    assert m.parse_config(dump(config(rootfs={"type": "layers", "diff_ids": None}))).diff_ids == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"os": 5}, "os is no text"),
        ({"architecture": 5}, "architecture is no text"),
        ({"variant": 8}, "variant is no text"),
        ({"rootfs": ...}, "rootfs is no JSON object"),
        ({"rootfs": {"type": "layers", "diff_ids": "x"}}, "diff_ids is no JSON list"),
        ({"rootfs": {"type": "layers", "diff_ids": [A, "md5:1"]}}, "diffID 2: 'md5:1' is no sha256 digest"),
    ],
)
def test_config_refused(changes: Any, problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        m.parse_config(dump(config(**changes)))


def test_layers_and_diff_ids_must_be_as_many() -> None:
    config = m.ImageConfig(ImagePlatform("linux", "amd64"), (A,))
    with pytest.raises(ImageError, match="2 layers, the config 1 diffIDs"):
        m.check_layers(m.parse_manifest(dump(image())), config, "app:v1")
    m.check_layers(m.parse_manifest(dump(image(layers=[descriptor()]))), config)


@pytest.mark.parametrize("digits", [21, 4000, 2_000_000])
def test_numbers_are_bounded_before_they_are_converted(digits: int) -> None:
    """Python before 3.11 would take minutes for the last."""
    with pytest.raises(ImageError, match="a number of more than 20 digits"):
        m.parse_config(b'{"os": ' + b"9" * digits + b"}")


HOSTILE = [
    b"",
    b"\xff\xfe{",
    b"{",
    b"[" * 200_000,
    b'{"a":' * 100_000,
    b"[" * 500 + b"]" * 500,
    b'{"schemaVersion": ' + b"9" * 1_000_000 + b"}",
    b'{"schemaVersion": NaN}',
    b'{"schemaVersion": 1e999}',
    b'{"config": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"config": {"digest": ' + b"[" * 900 + b"]" * 900 + b', "size": 1}}',
    b'{"rootfs": {"type": "layers", "diff_ids": [' + b"[" * 900 + b"]" * 900 + b"]}}",
    b'{"manifests": [' + b'{"digest":' * 900 + b"1" + b"}" * 900 + b"]}",
    b'{"mediaType": "\\ud800"}',
    b"{}",
    b"null",
    b'"x"' + b" " * m.CONFIG_LIMIT,
]


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("parse", [m.parse_manifest, m.parse_index, m.parse_config])
def test_hostile_bytes_are_an_error_with_a_message(parse: Any, data: bytes) -> None:
    if parse is m.parse_index and data.startswith(b'{"manifests": [{"digest"'):
        assert parse(data).entries == ()  # an entry that nobody could choose
        return
    with pytest.raises(ImageError) as caught:
        parse(data)
    assert len(str(caught.value)) < 400
    str(caught.value).encode("ascii", "backslashreplace")


OWN, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
AMD, ARM = {"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}
NEITHER = {"os": "unknown", "architecture": "unknown"}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([(OWN, AMD)], OWN),
        ([(OTHER, ARM), (OWN, AMD), (OTHER, NEITHER)], OWN),
        ([(OWN, {**AMD, "variant": "v1"}), (OTHER, {**AMD, "variant": "v3"})], OWN),
        ([(OWN, None)], OWN),
        ([(OWN, AMD), (OWN, AMD)], OWN),
        ([(OTHER, ARM)], None),
        ([(OWN, AMD), (OTHER, AMD)], None),
        ([(OWN, AMD), (OTHER, None)], None),
        ([], None),
    ],
)
def test_the_image_of_an_index_that_can_be_kept_alone(entries: list[Any], expected: str | None) -> None:
    manifests = [{"digest": digest, **({"platform": platform} if platform else {})} for digest, platform in entries]
    index = m.parse_index(json.dumps({"mediaType": m.OCI_INDEX, "manifests": manifests}).encode())
    assert m.find_index_image(index, ImagePlatform.parse("linux/amd64")) == expected
