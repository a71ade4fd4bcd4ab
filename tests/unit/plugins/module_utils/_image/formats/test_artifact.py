# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is copied unchanged: manifests and indexes of any kind, lists of referrers; and hostile bytes in their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.artifact import (
    MAX_ENTRIES,
    Artifact,
    filter_index,
    get_fallback_tag,
    make_referrer_entry,
    merge_referrers,
    parse_artifact,
    parse_referrers,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import ImagePlatform
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import compute_digest

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
NONDISTRIBUTABLE = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def descriptor(digest: str = A, **changes: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": 5, **changes}


def entry(digest: str, architecture: str = "", **changes: Any) -> dict[str, Any]:
    platform = {"platform": {"os": "linux", "architecture": architecture}} if architecture else {}
    return descriptor(digest, **platform, **changes)


@pytest.mark.parametrize(
    ("document", "content_type", "media_type", "blobs", "children"),
    [
        ({"config": descriptor(A), "layers": [descriptor(B)]}, "", OCI_MANIFEST, 2, 0),
        ({"config": descriptor(A), "layers": [descriptor(A)]}, DOCKER_MANIFEST, DOCKER_MANIFEST, 1, 0),
        ({"config": descriptor(A), "layers": None}, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST, 1, 0),
        ({"manifests": [descriptor(A), descriptor(B)]}, "", OCI_INDEX, 0, 2),
        ({"mediaType": DOCKER_LIST, "manifests": []}, "application/json", DOCKER_LIST, 0, 0),
        # Any kind of artifact, with and without a config.
        ({"artifactType": "a/b", "layers": [descriptor(A, mediaType="x/y")]}, OCI_MANIFEST, OCI_MANIFEST, 1, 0),
        ({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": [descriptor(A)]}, "",
         "application/vnd.oci.artifact.manifest.v1+json", 1, 0),
        ({}, "", OCI_MANIFEST, 0, 0),
    ],
)  # fmt: skip
def test_an_artifact_keeps_its_bytes(
    document: dict[str, Any], content_type: str, media_type: str, blobs: int, children: int
) -> None:
    data = json.dumps(document, indent=7).encode()
    artifact = parse_artifact(data, content_type)
    assert (artifact.data, artifact.digest, artifact.media_type) == (data, compute_digest(data), media_type)
    assert (len(artifact.blobs), len(artifact.children)) == (blobs, children)


@pytest.mark.parametrize(
    ("document", "content_type", "expected"),
    [
        ([], "", "no JSON object"),
        ({"fsLayers": []}, "", "schema 1"),
        ({"mediaType": 3}, "", "mediaType is no text"),
        ({"mediaType": "a b"}, "", "no media type"),
        ({"mediaType": OCI_MANIFEST}, OCI_INDEX, "cannot be trusted"),
        ({"mediaType": OCI_MANIFEST, "manifests": []}, "", "not that type's fields"),
        ({"mediaType": OCI_INDEX, "config": descriptor()}, "", "not that type's fields"),
        ({"manifests": [descriptor()], "layers": [descriptor(B)]}, "", "not that type's fields"),
        ({"layers": {}}, "", "no JSON list"),
        ({"layers": [3]}, "", "no descriptor"),
        ({"layers": [descriptor("sha512:" + "a" * 128)]}, "", "no sha256 digest"),
        ({"layers": [descriptor("sha256:" + "A" * 64)]}, "", "no sha256 digest"),
        ({"layers": [descriptor(size=-1)]}, "", "no number of bytes"),
        ({"layers": [descriptor(size=True)]}, "", "no number of bytes"),
        ({"layers": [descriptor(mediaType=[1])]}, "", "mediaType is no text"),
        ({"subject": "x"}, "", "no descriptor"),
        ({"manifests": [descriptor()] * (MAX_ENTRIES + 1)}, "", "more than the limit"),
    ],
)
def test_what_cannot_be_copied_unchanged_is_refused(document: Any, content_type: str, expected: str) -> None:
    with pytest.raises(ImageError, match=expected):
        parse_artifact(encode(document), content_type)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"mediaType": NONDISTRIBUTABLE, "urls": ["https://x.example"]}, True),
        ({"mediaType": NONDISTRIBUTABLE}, False),
        ({"urls": ["https://x.example"]}, False),
    ],
)
def test_what_makes_a_layer_nondistributable(changes: dict[str, Any], expected: bool) -> None:
    (blob,) = parse_artifact(encode({"layers": [descriptor(**changes)]})).blobs
    assert blob.is_nondistributable is expected


ATTESTED = {"annotations": {"vnd.docker.reference.digest": A}}
INDEX = parse_artifact(
    encode(
        {
            "manifests": [
                entry(A, "amd64"),
                entry(B, "arm64"),
                entry(C, "s390x"),
                entry("sha256:" + "d" * 64, **ATTESTED),
            ]
        }
    )
)


def choose(*names: str) -> Any:
    return filter_index(INDEX, [ImagePlatform.parse(name) for name in names], "app")


def test_a_single_platform_is_its_own_image() -> None:
    assert choose("linux/arm64/v8").digest == B


def test_several_platforms_are_a_smaller_index_with_their_attestations() -> None:
    chosen = choose("linux/arm64", "linux/amd64")
    assert [child.digest[7] for child in chosen.children] == ["a", "b", "d"]
    assert chosen.digest == choose("linux/amd64", "linux/arm64").digest != INDEX.digest


def test_all_platforms_are_the_index_itself() -> None:
    assert choose("linux/arm64", "linux/amd64", "linux/s390x") is INDEX


def test_a_platform_that_does_not_exist_is_refused() -> None:
    with pytest.raises(
        ImageError, match=r"no image for linux/386\. Available are: linux/amd64, linux/arm64, linux/s390x"
    ):
        choose("linux/386", "linux/amd64")


def test_referrers_are_merged_once_and_nothing_is_lost() -> None:
    referrer = parse_artifact(
        encode({"artifactType": "a/sbom", "annotations": {"k": "v"}, "layers": [], "subject": descriptor(C)})
    )
    assert referrer.subject == C
    made = make_referrer_entry(referrer)
    assert (made["artifactType"], made["annotations"], made["digest"]) == ("a/sbom", {"k": "v"}, referrer.digest)
    present = encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(B)], "annotations": {"by": "us"}})
    merged = merge_referrers(present, [made], "the tag")
    assert [found.digest for found in parse_referrers(merged, "the tag")] == [B, referrer.digest]
    assert json.loads(merged)["annotations"] == {"by": "us"}
    assert merge_referrers(merged, [made], "the tag") == merged
    assert parse_artifact(merge_referrers(None, [made], "the tag")).media_type == OCI_INDEX
    assert get_fallback_tag(C) == "sha256-" + "c" * 64


# Anything that a registry may send

_DIGESTS = st.sampled_from([A, B, "sha256:x", "", 3, None])
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=20))
_DESCRIPTORS = st.one_of(
    _SCALARS,
    st.fixed_dictionaries(
        {"digest": _DIGESTS},
        optional={
            "size": _SCALARS,
            "mediaType": st.one_of(_SCALARS, st.sampled_from([OCI_MANIFEST, OCI_INDEX, NONDISTRIBUTABLE])),
            "urls": _SCALARS,
            "annotations": st.one_of(_SCALARS, st.dictionaries(st.text(max_size=5), _SCALARS, max_size=2)),
            "platform": st.one_of(_SCALARS, st.fixed_dictionaries({"os": _SCALARS, "architecture": _SCALARS})),
        },
    ),
)
_LISTS = st.one_of(_SCALARS, st.lists(_DESCRIPTORS, max_size=3))
_DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.one_of(_SCALARS, st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_LIST])),
        "artifactType": _SCALARS,
        "config": _DESCRIPTORS,
        "layers": _LISTS,
        "blobs": _LISTS,
        "manifests": _LISTS,
        "subject": _DESCRIPTORS,
        "annotations": _SCALARS,
    },
)
_BYTES = st.one_of(st.binary(max_size=200), _DOCUMENTS.map(encode), st.sampled_from([b"[" * 100_000, b'{"a":' * 5000]))
bounded = hypothesis.settings(deadline=None, max_examples=200, database=None)


def take_or_refuse(call: Callable[[], None]) -> None:
    """Anything but an ImageError would reach the operator as a traceback."""
    try:
        call()
    except ImageError as error:
        message = str(error)
    else:
        return
    assert 0 < len(message) < 20_000


@hypothesis.given(_BYTES, st.one_of(st.text(max_size=40), st.sampled_from([OCI_MANIFEST, OCI_INDEX])))
@bounded
def test_any_bytes_are_taken_or_refused(data: bytes, content_type: str) -> None:
    def parse() -> None:
        artifact = parse_artifact(data, content_type)
        assert artifact.digest == compute_digest(data)
        make_referrer_entry(artifact)
        chosen = filter_index(artifact, [ImagePlatform("linux", "amd64")], "it")
        assert isinstance(chosen, Artifact) or chosen in artifact.children

    take_or_refuse(parse)


@hypothesis.given(_BYTES)
@bounded
def test_any_lists_of_referrers_are_taken_or_refused(data: bytes) -> None:
    def parse() -> None:
        parse_referrers(data, "the list")
        merge_referrers(data, [descriptor(C)], "the list")

    take_or_refuse(parse)
