# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target verifies what it loads: digests before, config and diffIDs after, the name last."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import EngineError, KeptIndex
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import get_mismatch_reason, load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle, EngineFacts, StoredImage
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    TAG,
    FakeEngine,
    Made,
    add_index,
    make,
    member_of,
    nothing,
    stage,
)

V1 = make(b"base", b"middle", b"top")
V2 = make(b"base", b"middle", b"newer", tag="registry.test/app:v2")
SAME_TAG = make(b"base", b"middle", b"newer")
CONFIG = V1.image.config.digest
ANOTHER = "sha256:" + "f" * 64


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(str(tmp_path / "root"), "loaded-" + "0" * 20)


def load(engine: FakeEngine, staging: Staging, *made: Made) -> list[dict[str, Any]]:
    outcomes: list[dict[str, Any]] = load_bundle(
        Bundle(tuple(entry.image for entry in made)), engine, staging, nothing
    )["loaded"]
    assert all(0 <= outcome.pop("seconds") < 60 for outcome in outcomes)
    return outcomes


@pytest.mark.parametrize("packed", [True, False], ids=["from a registry", "from an engine"])
def test_an_image_is_loaded_verified_and_named(staging: Staging, packed: bool) -> None:
    made, engine = make(b"base", b"top", packed=packed), FakeEngine()
    stage(staging, made.content)
    assert load(engine, staging, made) == [{"tag": TAG, "done": True, "error": None, "corrupt": (), "missing": ()}]
    held = engine.find(TAG)
    assert held is not None
    assert held.diff_ids == made.image.diff_ids


def test_archive_formats_layers_that_the_engine_has_are_left_out(staging: Staging) -> None:
    engine = FakeEngine().has(V1, TAG)
    stage(staging, {digest: data for digest, data in V2.content.items() if digest not in V1.content})
    assert load(engine, staging, V2)[0]["done"]
    assert {name for name in engine.loads[0] if name.startswith("blobs/")} == {
        member_of(blob.digest)
        for blob in (V2.image.manifest, V2.image.config, V2.image.layers[2].blob)
        if blob is not None
    }
    assert engine.find(TAG) is not None  # the older image stays


@pytest.mark.parametrize("number", range(5))
def test_a_changed_byte_in_any_blob_is_found_before_the_load(staging: Staging, number: int) -> None:
    """Every blob's sha256 is verified before the load (docs/facts/image_transfer.md#an-exit-code-is-no-evidence)."""
    engine = FakeEngine().has(SAME_TAG, TAG)
    damaged = V1.image.list_blobs()[number].digest
    needed = {blob.digest for blob in V1.image.list_blobs()} - {layer.blob.digest for layer in V1.image.layers[:2]}
    stage(staging, {**V1.content, damaged: V1.content[damaged][:-1] + b"\0"})
    (outcome,) = load(engine, staging, V1)
    if damaged not in needed:
        assert outcome["done"]
        return
    assert (outcome["done"], outcome["corrupt"], engine.loads) == (False, (damaged,), [])
    assert "failed their digest, nothing was loaded" in outcome["error"]
    assert not staging.is_complete(damaged)
    held = engine.find(TAG)
    assert held is not None
    assert held.engine_id == SAME_TAG.image.config.digest


def test_a_blob_that_was_not_fetched_is_named(staging: Staging) -> None:
    absent = V1.image.layers[1].blob.digest
    stage(staging, {digest: data for digest, data in V1.content.items() if digest != absent})
    (outcome,) = load(FakeEngine(), staging, V1)
    assert (outcome["done"], outcome["missing"], outcome["corrupt"]) == (False, (absent,), ())


def forget(stored: StoredImage) -> None:
    return None


LIES: dict[str, tuple[Callable[[StoredImage], Optional[StoredImage]], str]] = {
    "nothing was kept": (forget, "the engine reported success, but has no image"),
    "another config": (lambda stored: replace(stored, config_digest=ANOTHER), f"has the config {ANOTHER} instead of"),
    "config not reported": (lambda stored: replace(stored, config_digest=None), "has the config None instead of"),
    "a layer less": (lambda stored: replace(stored, diff_ids=stored.diff_ids[:-1]), "has other layers"),
    "another order": (lambda stored: replace(stored, diff_ids=stored.diff_ids[::-1]), "has other layers"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_exit_code_is_no_evidence_what_the_engine_has_is_compared(staging: Staging, lie: str) -> None:
    """Config digest and every diffID are compared (docs/facts/image_transfer.md#an-exit-code-is-no-evidence)."""
    spoil, message = LIES[lie]
    engine = FakeEngine(spoil=spoil).has(SAME_TAG, TAG)
    stage(staging, V1.content)
    (outcome,) = load(engine, staging, V1)
    assert not outcome["done"]
    assert message in outcome["error"]
    held = engine.find(TAG)
    assert held is not None
    assert held.engine_id == SAME_TAG.image.config.digest  # the name was not touched
    assert engine.removed == ([] if lie == "nothing was kept" else [CONFIG])
    assert list(engine.images) == [SAME_TAG.image.config.digest]


def test_an_unverified_image_that_cannot_be_removed_is_still_reported_as_unverified(staging: Staging) -> None:
    class Holding(FakeEngine):
        def remove(self, image: StoredImage) -> None:
            raise EngineError("docker refused to DELETE it: 409 conflict")

    engine = Holding(spoil=lambda stored: replace(stored, diff_ids=stored.diff_ids[:-1]))
    stage(staging, V1.content)
    (outcome,) = load(engine, staging, V1)
    assert "the engine has other layers" in outcome["error"]
    assert "409 conflict" in outcome["error"]


def test_an_unverified_image_that_somebody_else_has_named_stays(staging: Staging) -> None:
    engine = FakeEngine(spoil=lambda stored: replace(stored, diff_ids=(), names=("other:1",)))
    stage(staging, V1.content)
    assert not load(engine, staging, V1)[0]["done"]
    assert engine.removed == []


def test_an_engine_that_gives_the_name_to_something_else_is_found_out(staging: Staging) -> None:
    class Wrong(FakeEngine):
        def tag(
            self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
        ) -> None:
            super().tag(next(held for held in self.images.values() if held.engine_id != image.engine_id), name)

    engine = Wrong()
    engine.has(SAME_TAG, "other:1")
    stage(staging, V1.content)
    (outcome,) = load(engine, staging, V1)
    assert not outcome["done"]
    assert "the engine has the config" in outcome["error"]


def test_an_image_under_another_name_is_named_without_a_load(staging: Staging) -> None:
    engine = FakeEngine().has(V1, "other:1")
    assert load(engine, staging, V1)[0]["done"]
    held = engine.find(TAG)
    assert held is not None
    assert (held.names, engine.loads) == (("other:1", TAG), [])


class DigestEngine(FakeEngine):
    """An engine that keeps digests: its ids are those of manifests."""

    def read_facts(self, staging_path: str) -> EngineFacts:
        return replace(super().read_facts(staging_path), keeps_digests=True)

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        found = super().find(V1.image.config.digest if name_or_id == MANIFEST_DIGEST else name_or_id)
        return found and replace(found, engine_id=MANIFEST_DIGEST)

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        self.given = (digest, index)
        super().tag(replace(image, engine_id=str(image.config_digest)), name)


MANIFEST_DIGEST = V1.image.manifest.digest if V1.image.manifest else ""


def test_an_index_is_not_loaded_but_named(staging: Staging) -> None:
    made, engine = add_index(V1), DigestEngine()
    assert made.image.index
    stage(staging, made.content)
    assert load(engine, staging, made)[0]["error"] is None
    assert member_of(made.image.index.digest) not in engine.loads[0]
    assert engine.given == (
        MANIFEST_DIGEST,
        KeptIndex(made.image.index.media_type, made.content[made.image.index.digest]),
    )


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (add_index(SAME_TAG), "has the image sha256:.* and not sha256:"),
        (add_index(V1, "linux/arm64"), "has no single image for linux/amd64 of this host"),
        (add_index(V1, more=[{"digest": ANOTHER}]), "has no single image for linux/amd64 .*Name the image itself"),
    ],
    ids=["another image", "another platform", "an entry without a platform"],
)
def test_an_index_of_another_image_is_refused_before_the_load(staging: Staging, index: Made, message: str) -> None:
    made, engine = Made(replace(V1.image, index=index.image.index), {**V1.content, **index.content}), DigestEngine()
    stage(staging, made.content)
    (outcome,) = load(engine, staging, made)
    assert re.search(message, str(outcome["error"]))
    assert (engine.loads, engine.images) == ([], {})


def test_an_image_that_is_there_is_left_alone(staging: Staging) -> None:
    engine = FakeEngine().has(V1, TAG)
    assert load(engine, staging, V1)[0]["done"]
    assert (engine.loads, staging.exists()) == ([], False)


def test_an_image_that_fails_leaves_the_others_done(staging: Staging) -> None:
    other = make(b"x", b"y", tag="registry.test/other:1")
    stage(staging, {**V1.content, **other.content})
    staging.discard(V1.image.layers[0].blob.digest)
    outcomes = load(FakeEngine(), staging, V1, other)
    assert [(outcome["tag"], outcome["done"]) for outcome in outcomes] == [(TAG, False), (other.image.tag, True)]


def test_an_image_whose_blob_cannot_be_read_leaves_the_others_done(staging: Staging) -> None:
    bad, good = make(b"base", b"bad", tag="registry.test/bad:v1"), make(b"other", b"good")
    for made in (bad, good):
        stage(staging, made.content)
    unreadable = staging.get_path(bad.image.layers[1].blob.digest)
    unreadable.unlink()
    unreadable.mkdir()
    first, second = load(FakeEngine(), staging, bad, good)
    assert (first["done"], second["done"]) == (False, True)
    assert f"Is a directory: {unreadable}" in str(first["error"])


def test_an_engine_s_refusal_is_reported_for_its_image(staging: Staging) -> None:
    stage(staging, V1.content)
    (outcome,) = load(FakeEngine(refuse="docker could not load the image: no space left on device"), staging, V1)
    assert (outcome["done"], outcome["error"]) == (False, "docker could not load the image: no space left on device")


def test_a_later_image_of_the_bundle_uses_the_layers_of_an_earlier_image(staging: Staging) -> None:
    engine = FakeEngine()
    stage(staging, {**V1.content, **V2.content})
    assert [outcome["done"] for outcome in load(engine, staging, V1, V2)] == [True, True]
    assert member_of(V2.image.layers[0].blob.digest) not in engine.loads[1]


def test_a_layer_that_goes_away_between_probe_and_load_is_reported_missing(staging: Staging) -> None:
    """The controller fetched the blobs that the target was missing at that time."""
    stage(staging, {digest: data for digest, data in V2.content.items() if digest not in V1.content})
    (outcome,) = load(FakeEngine(), staging, V2)
    assert set(outcome["missing"]) == {layer.blob.digest for layer in V2.image.layers[:2]}


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (V1.stored(), None),
        (replace(V1.stored(), engine_id=ANOTHER), None),
        (replace(V1.stored(), config_digest=ANOTHER), "config"),
        (replace(V1.stored(), diff_ids=()), "layers"),
        (None, "has no image"),
    ],
    ids=["the image", "another id", "another config", "no layers", "nothing"],
)
def test_identity_the_engine_s_id_proves_nothing(stored: Optional[StoredImage], message: Optional[str]) -> None:
    """See docs/facts/image_transfer.md#an-exit-code-is-no-evidence, .Id."""
    found = get_mismatch_reason(V1.image, stored)
    assert (found is None) if message is None else (found is not None and message in found)
