# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: missing layers, upload parts, the actions of a target, and insufficient space."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import (
    Blob,
    Bundle,
    StoredImage,
    StoredObject,
    TransferTarget,
    compute_chain_ids,
    get_digest_hex,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import (
    MAX_PARTS,
    MIN_PART,
    BlobNeed,
    find_insufficient_space,
    get_load_warnings,
    get_rejection_reason,
    get_rejection_reasons,
    list_blob_needs,
    list_missing_layers,
    plan_load,
    plan_transfers,
    split_into_parts,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    ZSTD,
    Made,
    add_index,
    facts,
    make,
)

GIB = 1024**3
V1 = make(b"base", b"middle", b"top")
V2 = make(b"base", b"middle", b"newer", tag="registry.test/app:v2")


def digests(*blobs: Optional[Blob]) -> set[str]:
    return {blob.digest for blob in blobs if blob}


def transferred(made: Made, *layers: int) -> set[str]:
    """Manifest, config and the layers with these numbers."""
    image = made.image
    return digests(image.manifest, image.config, *(image.layers[number].blob for number in layers))


# -- chain match: a layer counts only if every lower layer matches too
# (docs/facts/image_transfer.md#skipping-present-layers)


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ([], [b"base", b"middle", b"top"]),
        ([b"base"], [b"middle", b"top"]),
        ([b"base", b"middle"], [b"top"]),
        ([b"base", b"middle", b"top"], []),
        ([b"base", b"middle", b"top", b"more"], []),
        ([b"base", b"other", b"top"], [b"middle", b"top"]),
        ([b"middle", b"top"], [b"base", b"middle", b"top"]),
        ([b"other", b"base", b"middle", b"top"], [b"base", b"middle", b"top"]),
        ([b"middle", b"base"], [b"base", b"middle", b"top"]),
    ],
)
def test_chain_match_a_layer_counts_only_if_every_lower_layer_matches_too(
    present: list[bytes], missing: list[bytes]
) -> None:
    there = make(*present).image.diff_ids
    expected = [layer.diff_id for layer in make(*missing).image.layers]
    assert [layer.diff_id for layer in list_missing_layers(V1.image, frozenset(compute_chain_ids(there)))] == expected


def test_chain_match_an_upper_chain_id_without_the_lower_ones_counts_nothing() -> None:
    assert list_missing_layers(V1.image, frozenset(compute_chain_ids(V1.image.diff_ids)[1:])) == V1.image.layers


def test_a_layer_that_occurs_twice_is_transferred_when_either_place_is_missing() -> None:
    twice = make(b"a", b"b", b"a")
    plan = plan_load(twice.bundle, facts(make(b"a").stored("a:1")))[0]
    assert {blob.digest for blob in plan.blobs} == transferred(twice, 0, 1)


# -- the union over targets


def target(host: str, *has: Made) -> TransferTarget:
    return TransferTarget(host, facts(*(made.stored(made.image.tag) for made in has)))


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([], {**dict.fromkeys(transferred(V1, 0, 1, 2) | transferred(V2, 0, 1, 2), ())}),
        ([target("a", V1, V2)], {}),
        ([target("a", V1)], dict.fromkeys(transferred(V2, 2), ("a",))),
        (
            [target("a", V1), target("b", V2)],
            {**dict.fromkeys(transferred(V2, 2), ("a",)), **dict.fromkeys(transferred(V1, 2), ("b",))},
        ),
        (
            [target("a", V1), target("b")],
            {**dict.fromkeys(transferred(V1, 0, 1, 2), ("b",)), **dict.fromkeys(transferred(V2, 2), ("a", "b"))},
        ),
    ],
    ids=["targets not known", "all there", "one lacks v2", "each lacks another", "one is empty"],
)
def test_the_union_of_missing_blobs_holds_each_blob_once(
    targets: list[TransferTarget], expected: dict[str, tuple[str, ...]]
) -> None:
    needs = list_blob_needs(Bundle((V1.image, V2.image)), targets)
    assert {need.blob.digest: need.hosts for need in needs} == expected
    assert len(needs) == len(expected)


def test_two_targets_need_no_byte_more_than_a_single_target() -> None:
    single, both = list_blob_needs(V1.bundle, [target("a")]), list_blob_needs(V1.bundle, [target("a"), target("b")])
    assert [need.blob for need in single] == [need.blob for need in both]


# -- put, replace, none

BLOB = V1.image.layers[0].blob
GOOD = StoredObject(BLOB.size or 0, get_digest_hex(BLOB.digest), '"etag"')


@pytest.mark.parametrize(
    ("blob", "stored", "corrupt", "action", "reason"),
    [
        (BLOB, None, {}, "put", "not in the store"),
        (BLOB, None, {BLOB.digest: '"etag"'}, "put", "not in the store"),
        (BLOB, GOOD, {}, "none", "right size and checksum"),
        (replace(BLOB, size=None), GOOD, {}, "none", "right size and checksum"),
        (BLOB, replace(GOOD, size=GOOD.size - 1), {}, "replace", f"{GOOD.size - 1} bytes instead of {GOOD.size}"),
        (BLOB, replace(GOOD, sha256=None), {}, "replace", "recorded checksum is missing"),
        (BLOB, replace(GOOD, sha256="00"), {}, "replace", "recorded checksum is 00"),
        (BLOB, GOOD, {BLOB.digest: '"etag"'}, "replace", "failed its digest on a target"),
        (BLOB, GOOD, {BLOB.digest: None}, "replace", "failed its digest on a target"),
        (BLOB, GOOD, {BLOB.digest: '"older"'}, "none", "right size and checksum"),
        (BLOB, GOOD, {V1.image.config.digest: '"etag"'}, "none", "right size and checksum"),
    ],
    ids=[
        "absent",
        "absent and corrupt",
        "present",
        "present, size not known",
        "wrong size",
        "no checksum",
        "wrong checksum",
        "corrupt, that very object",
        "corrupt, entity tag not known",
        "corrupt, replaced since",
        "another one is corrupt",
    ],
)
def test_present_means_size_and_checksum_and_a_corrupt_object_is_replaced_once(
    blob: Blob, stored: Optional[StoredObject], corrupt: dict[str, Optional[str]], action: str, reason: str
) -> None:
    transfer = plan_transfers([BlobNeed(blob, ("a",))], {blob.digest: stored} if stored else {}, corrupt)[0]
    assert transfer.action == action
    assert reason in transfer.reason
    step = transfer.to_step()
    assert (step is None) == (action == "none")
    if step:
        assert (step.action, step.target, step.reason) == (action, blob.digest, transfer.reason)


# -- S3's limits (docs/facts/image_transfer.md#s3): parts of 5 MiB to 5 GiB, at most 10,000, one PUT at most 5 GiB

MIB = 1024**2
TIB = 1024**4


@pytest.mark.parametrize(
    ("size", "part_size", "count", "length"),
    [
        (0, 16 * MIB, 1, 0),
        (1, 16 * MIB, 1, 1),
        (16 * MIB, 16 * MIB, 1, 16 * MIB),
        (16 * MIB + 1, 16 * MIB, 2, 16 * MIB),
        (11 * MIB, 1 * MIB, 3, MIN_PART),
        (16 * MIB * MAX_PARTS, 16 * MIB, MAX_PARTS, 16 * MIB),
        (16 * MIB * MAX_PARTS + 1, 16 * MIB, MAX_PARTS, 16 * MIB + 1),
        (5 * GIB, 100 * GIB, 1, 5 * GIB),
        (5 * GIB + 1, 100 * GIB, 2, 5 * GIB),
        (12 * GIB, 6 * GIB, 3, 5 * GIB),
        (5 * TIB, 16 * MIB, MAX_PARTS, -(-5 * TIB // MAX_PARTS)),
    ],
)
def test_s3_limits_of_parts(size: int, part_size: int, count: int, length: int) -> None:
    parts = split_into_parts(size, part_size)
    assert (len(parts), parts[0].length) == (count, length)
    assert sum(part.length for part in parts) == size
    assert [part.number for part in parts] == ([0] if count == 1 else list(range(1, count + 1)))


# -- what a target does


@pytest.mark.parametrize(
    ("has", "action", "layers", "previous"),
    [
        ([], "load", (0, 1, 2), None),
        ([(V1, V1.image.tag)], "none", (), V1),
        ([(V1, "other:1")], "tag", (), None),
        ([(V1, "other:1"), (V2, V1.image.tag)], "tag", (), V2),
        ([(V2, V1.image.tag)], "load", (2,), V2),
        ([(V2, V2.image.tag)], "load", (2,), None),
    ],
    ids=["nothing", "it already", "another name", "name on another image", "older under the name", "shares layers"],
)
def test_a_target_loads_tags_or_does_nothing(
    has: list[tuple[Made, str]], action: str, layers: tuple[int, ...], previous: Optional[Made]
) -> None:
    plan = plan_load(V1.bundle, facts(*(made.stored(name) for made, name in has)))[0]
    held = previous.image.config.digest if previous else None
    assert (plan.action, plan.previous) == (action, held)
    assert {blob.digest for blob in plan.blobs} == (transferred(V1, *layers) if action == "load" else set())
    step = plan.to_step()
    if action == "none":
        assert step is None
    else:
        assert step is not None
        assert step.before == ({"image": held} if held else None)
        assert (step.action, step.target, step.after) == (action, V1.image.tag, {"image": V1.image.config.digest})


INDEXED = add_index(V1)
BY_MANIFEST, BY_INDEX = (
    f"registry.test/app@{blob.digest}" for blob in (V1.image.manifest, INDEXED.image.index) if blob
)


def held_by_digest(*names: str, tag: str = V1.image.tag, manifest: Optional[str] = None) -> StoredImage:
    """The image in an engine whose ids are manifest digests."""
    engine_id = manifest or (V1.image.manifest.digest if V1.image.manifest else "")
    return replace(V1.stored(tag), engine_id=engine_id, digest_names=names)


@pytest.mark.parametrize(
    ("stored", "action", "has_index"),
    [
        (held_by_digest(BY_MANIFEST, BY_INDEX), "none", False),
        (held_by_digest(BY_INDEX), "none", False),
        (held_by_digest(BY_MANIFEST), "tag", True),
        (held_by_digest(), "tag", True),
        (held_by_digest(BY_INDEX, tag="other:1"), "tag", False),
        (held_by_digest(BY_INDEX.replace("app", "other")), "tag", True),
        (held_by_digest(BY_INDEX, manifest="sha256:" + "b" * 64), "load", True),
        (replace(held_by_digest(BY_INDEX), config_digest=None), "load", True),
    ],
    ids=[
        "all names",
        "pulled",
        "killed before the index",
        "only the tag",
        "another tag",
        "another repository",
        "another manifest",
        "not unpacked",
    ],
)
def test_an_engine_that_keeps_digests_gets_the_name_of_the_index(
    stored: StoredImage, action: str, has_index: bool
) -> None:
    (plan,) = plan_load(INDEXED.bundle, replace(facts(stored), keeps_digests=True))
    assert (plan.action, INDEXED.image.index in plan.blobs) == (action, has_index)
    assert len(plan.blobs) == (3 if action == "load" else int(has_index))


@pytest.mark.parametrize(
    ("keeps_digests", "platform"), [(False, "linux/amd64"), (True, "linux/arm64"), (True, "windows/amd64")]
)
def test_an_engine_that_cannot_keep_an_index_gets_none(keeps_digests: bool, platform: str) -> None:
    had = replace(facts(), keeps_digests=keeps_digests, platform=platform)
    assert INDEXED.image.index not in plan_load(INDEXED.bundle, had)[0].blobs
    had = replace(had, images=(held_by_digest(),))
    assert plan_load(INDEXED.bundle, had)[0].action == "none"


def test_identity_an_engine_id_is_not_taken_for_the_config_digest() -> None:
    """See docs/facts/image_transfer.md#an-exit-code-is-no-evidence, .Id."""
    stored = replace(V1.stored(V1.image.tag), config_digest=None)
    plan = plan_load(V1.bundle, facts(stored))[0]
    assert (plan.action, plan.previous) == ("load", stored.engine_id)


# -- whether it fits


def sized(*megabytes: int, tag: str = "registry.test/app:v1", first: str = "") -> Made:
    """An image with layers of these sizes; C(first) makes it an image of its own."""
    made = make(*(f"{first}{number}:{size}".encode() for number, size in enumerate(megabytes)), tag=tag)
    layers = tuple(
        replace(layer, blob=replace(layer.blob, size=size * MIB)) for layer, size in zip(made.image.layers, megabytes)
    )
    small = replace(made.image.config, size=0)
    return Made(replace(made.image, layers=layers, config=small, manifest=None), made.content)


def short(
    images: list[Made], staging: int, root: Optional[int], device: int = 2, staged: int = 0
) -> list[tuple[str, int]]:
    """Megabytes that are needed where there are too few; staging and root are free megabytes."""
    had = facts(staging=staging * MIB, root=None if root is None else root * MIB, device=device)
    plans = plan_load(Bundle(tuple(made.image for made in images)), had)
    return [(found.path, found.required_bytes // MIB) for found in find_insufficient_space(plans, staged * MIB, had)]


A100 = sized(60, 40)
B10 = sized(10, tag="registry.test/small:1", first="b")
SHARED = sized(60, 40, 5, tag="registry.test/app:v2")


@pytest.mark.parametrize(
    ("images", "staging", "root", "device", "staged", "expected"),
    [
        ([A100], 100, 200, 2, 0, []),
        ([A100], 99, 200, 2, 0, [("/staging", 100)]),
        ([A100], 100, 199, 2, 0, [("/var/lib/docker", 200)]),
        ([A100], 99, 199, 2, 0, [("/staging", 100), ("/var/lib/docker", 200)]),
        ([A100], 40, 200, 2, 60, []),
        ([A100], 0, 200, 2, 500, []),
        ([A100], 300, 300, 1, 0, []),
        ([A100], 299, 299, 1, 0, [("/staging", 300)]),
        ([A100], 239, 239, 1, 60, [("/staging", 240)]),
        ([A100], 100, None, 2, 0, []),
        ([A100, B10], 110, 200, 2, 0, []),
        ([B10, A100], 110, 209, 2, 0, [("/var/lib/docker", 210)]),
        ([A100, SHARED], 105, 200, 2, 0, []),
        ([A100, SHARED], 104, 199, 2, 0, [("/staging", 105), ("/var/lib/docker", 200)]),
    ],
    ids=[
        "fits exactly",
        "staging too small",
        "engine too small",
        "both too small",
        "resumed",
        "more staged than is needed",
        "one disk, fits exactly",
        "one disk too small",
        "one disk, resumed",
        "the engine's directory is unreadable",
        "the small one after the large one",
        "the large one after the small one",
        "shared layers are stored once",
        "shared layers, too small",
    ],
)
def test_docker_load_needs_about_twice_the_image_for_a_while(
    images: list[Made], staging: int, root: Optional[int], device: int, staged: int, expected: list[tuple[str, int]]
) -> None:
    """The archive of an image and its layers at once, then the next (docs/facts/image_transfer.md#archive-formats)."""
    assert short(images, staging, root, device, staged) == expected


def test_nothing_is_refused_for_want_of_disk_when_nothing_is_loaded() -> None:
    had = facts(V1.stored(V1.image.tag), V2.stored("other:1"), staging=0, root=0)
    assert get_rejection_reason(plan_load(Bundle((V1.image, V2.image)), had), 0, had) is None


def test_a_rejection_names_path_free_and_required_bytes_and_a_suggestion() -> None:
    had = facts(staging=1, root=1)
    message = get_rejection_reason(plan_load(A100.bundle, had), 0, had)
    assert message is not None
    assert f"/staging has 1 bytes free, staging needs at least {100 * MIB}" in message
    assert f"/var/lib/docker has 1 bytes free, the engine needs at least {200 * MIB}" in message
    assert "Free space, or set staging_dir to another disk." in message


@pytest.mark.parametrize(
    ("zstd", "has", "rejected"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_archive_formats_zstd_is_refused_by_docker_20_10(zstd: bool, has: bool, rejected: bool) -> None:
    """Docker 20.10 refuses zstd (docs/facts/image_transfer.md#archive-formats); a present image needs no unpacking."""
    made = make(b"base", media_type=ZSTD)
    had = replace(facts(*([made.stored("other:1")] if has else [])), zstd=zstd)
    message = get_rejection_reason(plan_load(made.bundle, had), 0, had)
    assert (message is not None) == rejected
    if message:
        assert "docker 20.10.24 cannot unpack" in message


@pytest.mark.parametrize(
    ("platform", "engine", "given", "rejected", "warned"),
    [
        ("linux/arm64/v8", "linux/amd64", False, True, False),
        ("linux/arm64", "linux/amd64", True, False, True),
        ("linux/386", "linux/amd64", False, True, False),
        ("linux/arm64/v8", "linux/arm64", False, False, False),
        ("linux/amd64", "linux/amd64", True, False, False),
        ("linux/arm64", "None/None", False, True, False),
        ("?", "linux/amd64", False, False, False),
        ("linux/arm64", "", False, False, False),
    ],
)
def test_an_image_for_another_platform_is_refused_unless_the_platform_is_given(
    platform: str, engine: str, given: bool, rejected: bool, warned: bool
) -> None:
    image = replace(V1.image, platform=platform, platform_given=given)
    had = replace(facts(), platform=engine)
    plans = plan_load(Bundle((image, V2.image)), had) if engine == "linux/amd64" else plan_load(Bundle((image,)), had)
    message = get_rejection_reason(plans, 0, had)
    assert (message is not None) == rejected
    if message:
        assert f"{V1.image.reference} is for {platform}, and docker on this host runs {engine}." in message
        assert "set its 'platform'" in message
        assert V2.image.reference not in message
    warnings = get_load_warnings(plans, had)
    assert [f"is for {platform}" in line and f"runs {engine}" in line for line in warnings] == [True] * warned


def test_an_image_for_another_platform_that_is_there_is_not_refused() -> None:
    """Nothing is loaded: it has the name already, or gets it."""
    image = replace(V1.image, platform="linux/arm64")
    for name in (V1.image.tag, "other:1"):
        had = facts(V1.stored(name))
        assert get_rejection_reason(plan_load(Bundle((image,)), had), 0, had) is None


def test_a_rerun_is_not_refused_for_the_room_that_its_own_layers_have_taken() -> None:
    made = make(b"x" * 10_000, b"top")
    free = facts(staging=10**9, root=5_000)
    assert list(get_rejection_reasons(made.bundle, [TransferTarget("a", free)])) == ["a"]
    preloaded = {made.bundle.get_directory_name("loaded"): frozenset(compute_chain_ids(made.image.diff_ids)[:1])}
    known = TransferTarget.parse(TransferTarget("a", replace(free, preloaded=preloaded)).to_dict(), "targets")
    assert get_rejection_reasons(made.bundle, [known]) == {}
