# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which writes a copy needs, in which order, and what several images share."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.copy.plan import (
    ImageCopyPlan,
    MissingBlob,
    ObservedImage,
    ObservedTree,
    plan_copy,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.copy.request import CopyRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.artifact import Artifact, parse_artifact
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.reference import ImageReference

OLD = "sha256:" + "0" * 64


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def artifact(name: str) -> Artifact:
    return parse_artifact(json.dumps({"annotations": {"name": name}}).encode())


def tree(root: str = "app", *blobs: str, missing: bool = True, **changes: Any) -> ObservedTree:
    made = artifact(root)
    return replace(
        ObservedTree(
            made.digest,
            made,
            (made,) if missing else (),
            tuple(MissingBlob(digest(letter), 10) for letter in blobs),
        ),
        **changes,
    )


def image(
    observed: ObservedTree,
    *attached: ObservedTree,
    source: str = "a.example/app:v1",
    to: str = "b.example/app:v1",
    tag_digest: Optional[str] = None,
) -> ObservedImage:
    tagged = replace(observed, tag="v1", tag_digest=tag_digest)
    return ObservedImage(ImageReference.parse(source), ImageReference.parse(to), observed.digest, tagged, attached)


def steps(*plans: ImageCopyPlan) -> list[str]:
    return [f"{step.action} {step.target.replace('b.example/', '')}" for plan in plans for step in plan.steps]


SIGNATURE = tree("signature", "s", subject=digest("f"))
NAMES = {artifact(name).digest: name for name in ("app", "signature")}


def named(*plans: ImageCopyPlan) -> list[str]:
    """The steps, with names for the digests."""
    texts = steps(*plans)
    for known, name in {**NAMES, **{digest(letter): letter for letter in "abcdefs"}}.items():
        texts = [text.replace(known, name) for text in texts]
    return texts


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(image(tree("app", missing=False), tag_digest=artifact("app").digest), [], id="all is there"),
        pytest.param(
            image(tree("app", "a", "b")),
            ["copy_blob app@a", "copy_blob app@b", "push_manifest app@app", "push_tag app:v1"],
            id="nothing is there",
        ),
        pytest.param(image(tree("app", missing=False)), ["push_tag app:v1"], id="only the tag is missing"),
        pytest.param(image(tree("app", missing=False), tag_digest=OLD), ["push_tag app:v1"], id="the tag is another"),
        pytest.param(
            image(tree("app", missing=False), SIGNATURE, tag_digest=artifact("app").digest),
            ["copy_blob app@s", "push_manifest app@signature"],
            id="only a signature is missing",
        ),
        pytest.param(
            image(tree("app", missing=False), replace(SIGNATURE, has_referrers_api=False)),
            ["copy_blob app@s", "push_manifest app@signature", "update_referrers_tag app:sha256-" + "f" * 64,
             "push_tag app:v1"],
            id="a signature without the API, before the tag",
        ),
        pytest.param(
            image(tree("app", missing=False), tree("signature", missing=False, subject=digest("f"))),
            ["push_manifest app@signature", "push_tag app:v1"],
            id="a signature that is not listed",
        ),
        pytest.param(
            image(tree("app", missing=False), tree("signature", "s", tag="sha256-x.sig", tag_digest=OLD)),
            ["copy_blob app@s", "push_manifest app@signature", "push_tag app:sha256-x.sig", "push_tag app:v1"],
            id="cosign's tag moves before the image's",
        ),
    ],
)  # fmt: skip
def test_steps(observed: ObservedImage, expected: list[str]) -> None:
    assert named(*plan_copy([observed])) == expected


def test_nothing_to_copy() -> None:
    assert plan_copy([]) == ()


def test_what_two_images_share_is_written_once() -> None:
    first, second = image(tree("app", "a", "b")), image(tree("app", "a", "c"), to="b.example/app:v2")
    plans = plan_copy([first, second])
    assert [[blob.digest[7] for blob in plan.blobs] for plan in plans] == [["a", "b"], ["c"]]
    assert [len(plan.tree.manifests) for plan in plans] == [1, 0]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        # A repository of this run, after its upload.
        ([image(tree("app", "a")), image(tree("app", "a"), to="b.example/other:v1")], [("", False), ("app", True)]),
        # The source, in the same registry.
        ([image(tree("app", "a"), source="b.example/source:v1")], [("source", False)]),
        # A repository that has it, whatever the order of the images.
        (
            [
                image(tree("app", "a")),
                image(tree("x", present_blobs=frozenset([digest("a")])), to="b.example/other:v1"),
            ],
            [("other", False)],
        ),
        # Not from another registry.
        ([image(tree("app", "a")), image(tree("app", "a"), to="c.example/other:v1")], [("", False), ("", False)]),
    ],
)
def test_mounts(images: list[ObservedImage], expected: list[tuple[str, bool]]) -> None:
    blobs = [blob for plan in plan_copy(images) for blob in plan.blobs]
    assert [(blob.mount_from, blob.is_late) for blob in blobs] == expected


@pytest.mark.parametrize(
    ("name", "to", "expected"),
    [
        ("a.example/app:v1", "b.example:5000/app", "b.example:5000/app:v1"),
        ("a.example/app:v1", "b.example:5000/app:v2", "b.example:5000/app:v2"),
        ("a.example/app", "b.example/app", "b.example/app:latest"),
        (f"a.example/app:v1@{OLD}", "b.example/app", "b.example/app:v1"),
        (f"a.example/app@{OLD}", "b.example/app", f"b.example/app@{OLD}"),
        (f"a.example/app@{OLD}", "b.example/app:v1", "b.example/app:v1"),
    ],
)
def test_the_destination_of_an_image(name: str, to: str, expected: str) -> None:
    assert str(CopyRequest.parse({"name": name, "to": to}).destination) == expected


def test_a_destination_with_a_digest_is_refused() -> None:
    with pytest.raises(ImageError, match="has a digest"):
        CopyRequest.parse({"name": "a.example/app", "to": f"b.example/app@{OLD}"})
