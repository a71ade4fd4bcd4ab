# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from outside: invalid bundles, digests and targets are rejected with a message, never with a traceback."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import (
    Bundle,
    TransferTarget,
    compute_chain_ids,
    parse_digest,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import add_index, facts, make

HEX = "a" * 64
V1 = make(b"base", b"top")
OTHER = make(b"base", b"other", tag="registry.test/other:1", packed=False)
GOOD = Bundle((V1.image, OTHER.image)).to_dict()


@pytest.mark.parametrize(
    "value",
    [
        "",
        HEX,
        f"sha256:{HEX[1:]}",
        f"sha256:{HEX}a",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha512:{HEX}",
        "sha256:" + "../" * 21 + "x",
        "sha256:" + "\u0661" * 64,
        f"sha256:{HEX}".encode(),
        None,
        1,
        ["sha256:" + HEX],
    ],
)
def test_only_a_digest_becomes_a_file_name_and_an_object_key(value: Any) -> None:
    with pytest.raises(ImageError, match=r"here: .* is no digest\. A digest is 'sha256:' and 64"):
        parse_digest(value, "here")


def test_a_digest_passes() -> None:
    assert parse_digest(f"sha256:{HEX}", "here") == f"sha256:{HEX}"


def test_chain_id_names_a_layer_with_all_below_it() -> None:
    """OCI image specification: ChainID(L0..Ln) = sha256 of ChainID(L0..Ln-1), a blank, DiffID(Ln)."""
    lowest, middle, top = ("sha256:" + letter * 64 for letter in "123")
    second = "sha256:" + hashlib.sha256(f"{lowest} {middle}".encode()).hexdigest()
    third = "sha256:" + hashlib.sha256(f"{second} {top}".encode()).hexdigest()
    assert compute_chain_ids([lowest, middle, top]) == (lowest, second, third)
    assert compute_chain_ids([]) == ()


def test_a_bundle_survives_its_way_through_json() -> None:
    assert Bundle.parse(json.loads(json.dumps(GOOD))) == Bundle((V1.image, OTHER.image))


def test_a_bundle_with_an_index() -> None:
    made = add_index(V1)
    bundle = Bundle.parse(json.loads(json.dumps(made.bundle.to_dict())))
    assert bundle == made.bundle
    assert made.image.index in bundle.list_blobs()
    assert made.image.index
    filled = bundle.fill_sizes({made.image.index.digest: 7}).images[0].index
    assert filled == replace(made.image.index, size=7)
    assert bundle.compute_key() == V1.bundle.compute_key()
    # A bundle of a collection that knew no indexes.
    old = V1.bundle.to_dict()
    del old["images"][0]["index"]
    assert Bundle.parse(old) == V1.bundle


def test_sizes_that_become_known_are_filled_in_and_others_stay() -> None:
    config = V1.image.config
    filled = V1.bundle.fill_sizes({config.digest: 7}).images[0]
    assert filled.config.size == 7
    assert (filled.layers, filled.manifest) == (V1.image.layers, V1.image.manifest)


def test_the_staging_key_depends_on_the_images_and_not_on_sizes() -> None:
    assert V1.bundle.compute_key() == V1.bundle.fill_sizes({V1.image.config.digest: 7}).compute_key()
    assert V1.bundle.compute_key() != OTHER.bundle.compute_key()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a nested value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, content in inner:
        yield from places(content, (*path, key))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at a place; C(...) removes it."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return changed


def tried(parse: Callable[[Any], Any], value: Any) -> tuple[Any, str]:
    """The parsed value, or the message of its rejection. Other exceptions than ImageError pass."""
    try:
        return parse(value), ""
    except ImageError as error:
        return None, str(error)


WRONG = (..., None, True, -1, 1.5, "", "x", b"x", [], [1], [[]], {}, {"digest": 1}, "../../etc/passwd", "\0", 10**30)
PLACES = list(places(GOOD))


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)) or "all")
def test_whatever_stands_at_any_place_of_a_bundle_is_taken_or_rejected_with_a_message(path: tuple[Any, ...]) -> None:
    refused = 0
    for wrong in WRONG:
        if wrong is ... and not path:
            continue
        parsed, message = tried(Bundle.parse, put(GOOD, path, wrong))
        if parsed is None:
            refused += 1
            assert "bundle" in message
        else:
            # A parsed bundle is complete: it can be planned, compared and passed on.
            assert Bundle.parse(parsed.to_dict()) == parsed
            assert parsed.compute_key()
            assert all(parse_digest(blob.digest, "") for blob in parsed.list_blobs())
            assert all(image.tag and image.reference for image in parsed.images)
    assert refused


def test_fuzz_no_mutation_of_a_bundle_ends_in_a_traceback() -> None:
    """Several changes at once, with a fixed seed."""
    rng = random.Random(20261124)  # noqa: S311  no secret
    taken = 0
    for _attempt in range(1500):
        value: Any = GOOD
        for _change in range(rng.randint(1, 4)):
            where = rng.choice(list(places(value)))
            new = rng.choice(WRONG) if rng.random() < 0.7 else put(value, (), rng.choice(list(at(value))))
            if where or new is not ...:
                value = put(value, where, new)
        taken += tried(Bundle.parse, value)[0] is not None
    assert taken < 300


def at(value: Any) -> Iterator[Any]:
    """Every value that is nested in a value."""
    for path in places(value):
        found = value
        for key in path:
            found = found[key]
        yield found


@pytest.mark.parametrize(
    ("path", "wrong", "message"),
    [
        ((), None, "bundle: must be a dictionary, not NoneType"),
        (("version",), 2, "version 2 is not 1. Pass the 'bundle' that state=saved of the same collection version"),
        (("images",), [], "'images' must be a list of at least one image"),
        (("images",), {"0": {}}, "'images' must be a list of at least one image"),
        (("images", 1, "layers"), "x", "bundle.images[1].layers: must be a list, not str"),
        (("images", 0, "layers", 1, "diff_id"), "x", "bundle.images[0].layers[1].diff_id: 'x' is no digest"),
        (("images", 0, "layers", 1, "size"), -1, "bundle.images[0].layers[1].size: -1 is neither null nor a number"),
        (("images", 0, "config"), ..., "bundle.images[0].config: must be a dictionary"),
        (("images", 0, "tag"), "", "bundle.images[0].tag: must be text that is not empty"),
        (("images", 0, "tag"), "../../info?x", "bundle.images[0].tag"),
        (("images", 0, "tag"), f"registry.test/app@sha256:{HEX}", "bundle.images[0].tag"),
        (("images", 0, "tag"), OTHER.image.tag, "registry.test/other:1"),
    ],
)
def test_a_refusal_names_the_place_that_is_wrong(path: tuple[Any, ...], wrong: Any, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        Bundle.parse(put(GOOD, path, wrong))
    assert message in str(caught.value)


# -- a target, as the info module returns it

TARGET = json.loads(json.dumps({"host": "private-a", **facts(V1.stored(V1.image.tag), root=5).to_dict()}))


def test_a_target_has_what_its_host_reported() -> None:
    parsed = TransferTarget.parse(TARGET, "targets[0]")
    assert (parsed.host, parsed.facts.platform, parsed.facts.zstd) == ("private-a", "linux/amd64", True)
    assert parsed.facts.chain_ids == frozenset(compute_chain_ids(V1.image.diff_ids))
    held = parsed.facts.find_image(V1.image.tag)
    assert held is not None
    assert (held.config_digest, parsed.facts.root and parsed.facts.root.free_bytes) == (V1.image.config.digest, 5)


@pytest.mark.parametrize("path", list(places(TARGET)), ids=lambda path: ".".join(map(str, path)) or "all")
def test_whatever_stands_at_any_place_of_a_target_is_taken_or_rejected_with_a_message(path: tuple[Any, ...]) -> None:
    for wrong in WRONG:
        if wrong is ... and not path:
            continue
        parsed, message = tried(lambda value: TransferTarget.parse(value, "targets[0]"), put(TARGET, path, wrong))
        if parsed is None:
            assert "targets[0]" in message
        else:
            assert all(parse_digest(chain, "") for chain in parsed.facts.chain_ids)


@pytest.mark.parametrize("name", ["host", "engine", "images", "chain_ids", "staging", "root", "zstd"])
def test_a_target_without_any_of_its_parts_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match=r"targets\[0\]"):
        TransferTarget.parse(put(TARGET, (name,), ...), "targets[0]")
