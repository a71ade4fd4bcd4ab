# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every plan: properties where a table would be a sample."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle, TransferTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import (
    MAX_PARTS,
    MAX_SINGLE_PUT,
    MIN_PART,
    list_blob_needs,
    plan_load,
    split_into_parts,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    FakeEngine,
    Made,
    facts,
    make,
    member_of,
    nothing,
    tar_of,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")
TIB = 1024**4

# Few letters, so that images share layers, at the same place and at others.
_LAYERS = st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=4)


@hypothesis.given(
    st.integers(0, 5 * TIB), st.one_of(st.integers(MIN_PART, 10 * MIN_PART), st.integers(MAX_SINGLE_PUT, 5 * TIB))
)
@hypothesis.settings(deadline=None, max_examples=60)
def test_s3_limits_hold_for_every_size_and_part_size(size: int, part_size: int) -> None:
    """See docs/facts/image_transfer.md#s3. The parts cover the blob without gaps."""
    parts = split_into_parts(size, part_size)
    assert 1 <= len(parts) <= MAX_PARTS
    assert all(MIN_PART <= part.length <= MAX_SINGLE_PUT for part in parts[:-1])
    assert parts[-1].length <= MAX_SINGLE_PUT
    ends = [part.offset + part.length for part in parts]
    assert ([part.offset for part in parts], ends[-1]) == ([0, *ends[:-1]], size)


@hypothesis.given(_LAYERS, st.lists(_LAYERS, max_size=3))
@hypothesis.settings(deadline=None, max_examples=150)
def test_chain_match_what_is_planned_is_enough_for_the_engine(
    layers_of_image: list[bytes], has: list[list[bytes]]
) -> None:
    """Present layers, and no others, are left out: the engine can build the image from the plan's blobs.

    See docs/facts/image_transfer.md#skipping-present-layers.
    """
    engine = FakeEngine()
    for number, layers in enumerate(has):
        engine.has(make(*layers), f"other:{number}")
    made = make(*layers_of_image)
    plan = plan_load(made.bundle, engine.read_facts(""))[0]
    if plan.action == "load":
        _feed(engine, made, {blob.digest for blob in plan.blobs})
    assert engine.find(made.image.config.digest) is not None


@hypothesis.given(_LAYERS, _LAYERS, st.lists(st.lists(_LAYERS, max_size=2), min_size=1, max_size=3))
@hypothesis.settings(deadline=None, max_examples=100)
def test_the_union_holds_for_each_target_exactly_what_its_own_plan_needs(
    first: list[bytes], second: list[bytes], targets: list[list[list[bytes]]]
) -> None:
    bundle = Bundle((make(*first, tag="one:1").image, make(*second, tag="two:1").image))
    had = [
        TransferTarget(str(number), facts(*(make(*layers).stored(f"x:{index}") for index, layers in enumerate(images))))
        for number, images in enumerate(targets)
    ]
    needs = list_blob_needs(bundle, had)
    assert len({need.blob.digest for need in needs}) == len(needs)
    for target in had:
        needed = {blob.digest for plan in plan_load(bundle, target.facts) for blob in plan.blobs}
        assert needed == {need.blob.digest for need in needs if target.host in need.hosts}


def _feed(engine: FakeEngine, made: Made, digests: set[str]) -> None:
    image = made.image
    listed = [member_of(layer.blob.digest) for layer in image.layers]
    manifest = json.dumps([{"Config": member_of(image.config.digest), "RepoTags": None, "Layers": listed}]).encode()

    class Archive:
        data = tar_of([("manifest.json", manifest), *((member_of(digest), made.content[digest]) for digest in digests)])
        length = len(data)

        def __iter__(self) -> Iterator[bytes]:
            yield self.data

    engine.load(Archive(), nothing)
