# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers that are preloaded while others are in transit, and that nothing of this is left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import preload
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import PRELOADED_LABEL, EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.preload import (
    PushedBlobs,
    preload_in_background,
    preload_layers,
    remove_preloaded,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle, compute_chain_ids
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    FakeEngine,
    Made,
    digest_of,
    make,
    member_of,
    nothing,
    stage,
)

LARGE = 100
V1 = make(b"base" * LARGE, b"middle" * LARGE, b"top" * LARGE)
V2 = make(b"base" * LARGE, b"middle" * LARGE, b"newer" * LARGE, tag="registry.test/app:v2")
SMALL = make(b"a", b"b", tag="registry.test/small:v1")


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(str(tmp_path / "root"), "loaded-" + "0" * 20)


@pytest.fixture(autouse=True)
def _least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "MIN_PRELOAD_BYTES", LARGE)


class ArrivingBlobs:
    """Blobs that come one after the other: one whenever somebody waits, then no more."""

    def __init__(self, staging: Staging, content: dict[str, bytes], order: Sequence[str]) -> None:
        self.staging, self.content, self.order = staging, content, list(order)
        self.here: set[str] = set()
        self.over = False

    def is_intact(self, digest: str) -> bool:
        return digest in self.here

    def has_ended(self) -> bool:
        return self.over

    def wait(self) -> None:
        if not self.order:
            self.over = True
            return
        digest = self.order.pop(0)
        stage(self.staging, {digest: self.content[digest]})
        self.here.add(digest)


def in_order(*made: Made) -> list[str]:
    return list(dict.fromkeys(blob.digest for image_made in made for blob in image_made.image.list_blobs()))


def bundle(*made: Made) -> Bundle:
    return Bundle(tuple(image_made.image for image_made in made))


def content(*made: Made) -> dict[str, bytes]:
    return {digest: data for image_made in made for digest, data in image_made.content.items()}


def layers_in(load: dict[str, bytes], *made: Made) -> list[int]:
    """Which layers of the first image an archive held."""
    return [number for number, layer in enumerate(made[0].image.layers) if member_of(layer.blob.digest) in load]


@pytest.mark.parametrize("packed", [True, False], ids=["from a registry", "from an engine"])
def test_each_layer_is_preloaded_when_it_arrives_and_the_image_needs_only_the_last(
    staging: Staging, packed: bool
) -> None:
    made = make(b"base" * LARGE, b"middle" * LARGE, b"top" * LARGE, packed=packed)
    engine, arriving_blobs = FakeEngine(), ArrivingBlobs(staging, dict(made.content), in_order(made))
    preload_layers(made.bundle, engine, staging, arriving_blobs, nothing)
    assert [layers_in(load, made) for load in engine.loads] == [[0], [1]]
    (first, second) = (image for image, _label in engine.list_preloaded())
    assert (first.diff_ids, second.diff_ids) == (made.image.diff_ids[:1], made.image.diff_ids[:2])
    assert (first.names, second.names) == ((), ())
    (outcome,) = load_bundle(made.bundle, engine, staging, nothing)["loaded"]
    assert (outcome["done"], layers_in(engine.loads[2], made)) == (True, [2])
    assert list(engine.images) == [made.image.config.digest], "the preloaded image is removed again"


def test_preloaded_layers_do_not_count_as_layers_of_the_engine(staging: Staging) -> None:
    """Others must not count on layers that go again if this transfer fails."""
    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)), nothing)
    facts = engine.read_facts("")
    assert (facts.images, facts.chain_ids) == ((), frozenset())
    assert facts.include_preloaded(staging.directory.name).chain_ids == set(compute_chain_ids(V1.image.diff_ids[:2]))
    assert facts.include_preloaded("loaded-" + "1" * 20).chain_ids == frozenset()


ORDERS: dict[str, tuple[Callable[[list[str]], list[str]], list[list[int]]]] = {
    "all at once": (lambda order: order, [[0], [1]]),
    "from the top": (lambda order: order[::-1], []),
    "the lowest in the end": (lambda order: [*order[3:], *order[:3]], []),
    "the lowest, then nothing": (lambda order: order[:3], [[0]]),
    "the second before the lowest": (lambda order: [*order[:2], order[3], order[2], order[4]], [[0, 1]]),
    "nothing": (lambda order: [], []),
}


@pytest.mark.parametrize("name", ORDERS)
def test_only_layers_on_available_layers_can_be_preloaded(staging: Staging, name: str) -> None:
    change, expected = ORDERS[name]
    engine, order = FakeEngine(), change(in_order(V1))
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), order), nothing)
    assert [layers_in(load, V1) for load in engine.loads] == expected
    stage(staging, content(V1))
    assert load_bundle(V1.bundle, engine, staging, nothing)["loaded"][0]["done"]
    assert list(engine.images) == [V1.image.config.digest]


def test_small_layers_are_not_preloaded_on_their_own(staging: Staging) -> None:
    engine = FakeEngine()
    preload_layers(SMALL.bundle, engine, staging, ArrivingBlobs(staging, content(SMALL), in_order(SMALL)), nothing)
    assert engine.loads == []


def test_layers_that_the_engine_has_are_built_upon(staging: Staging) -> None:
    engine = FakeEngine().has(make(b"base" * LARGE), "base:1")
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)), nothing)
    assert [layers_in(load, V1) for load in engine.loads] == [[1]]


def test_of_several_images_all_but_the_last_are_preloaded_completely_and_small_ones_not_at_all(
    staging: Staging,
) -> None:
    engine, made = FakeEngine(), (V1, SMALL, V2)
    preload_layers(bundle(*made), engine, staging, ArrivingBlobs(staging, content(*made), in_order(*made)), nothing)
    assert [layers_in(load, V1) for load in engine.loads] == [[0], [1], [2]]
    assert [image.names for image, _label in engine.list_preloaded()] == [(), (), ()]
    outcomes = load_bundle(bundle(*made), engine, staging, nothing)["loaded"]
    assert [outcome["done"] for outcome in outcomes] == [True, True, True]
    assert set(engine.images) == {image_made.image.config.digest for image_made in made}


def test_an_image_that_exists_is_not_preloaded(staging: Staging) -> None:
    engine = FakeEngine().has(V1, V1.image.tag)
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, {}, []), nothing)
    assert engine.loads == []


def test_the_config_holds_only_the_platform_the_layers_and_the_owner(staging: Staging) -> None:
    made = replace(V1.image, platform="linux/arm64/v8")
    engine = FakeEngine()
    preload_layers(Bundle((made,)), engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)), nothing)
    files = engine.loads[0]
    (entry,) = json.loads(files["manifest.json"])
    assert json.loads(files[entry["Config"]]) == {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "config": {"Labels": {PRELOADED_LABEL: str(staging.directory)}},
        "rootfs": {"type": "layers", "diff_ids": [V1.image.diff_ids[0]]},
    }
    assert entry["RepoTags"] is None


# -- what fails


def test_a_preload_that_fails_leaves_all_layers_to_the_load(staging: Staging) -> None:
    engine, verified = FakeEngine(refuse="docker is restarting"), set(in_order(V1))
    stage(staging, content(V1))
    with preload_in_background(
        V1.bundle, engine, staging, verified - {V1.image.layers[2].blob.digest}, nothing
    ) as errors:
        pass
    assert (len(engine.loads), errors) == (1, ["docker is restarting"])
    (outcome,) = load_bundle(V1.bundle, engine, staging, nothing)["loaded"]
    assert (outcome["done"], outcome["error"]) == (False, "docker is restarting")
    engine.refuse = None
    assert load_bundle(V1.bundle, engine, staging, nothing)["loaded"][0]["done"]


def test_a_bug_is_reported_too(staging: Staging) -> None:
    class Odd(FakeEngine):
        def read_facts(self, staging_path: str) -> Any:
            raise KeyError("x")

    with preload_in_background(V1.bundle, Odd(), staging, set(), nothing) as errors:
        pass
    assert errors == ["KeyError: 'x'"]


def test_layers_that_go_away_again_are_loaded_with_the_image(staging: Staging) -> None:
    """docker image prune, between the two."""
    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)), nothing)
    for image, _label in engine.list_preloaded():
        engine.remove(image)
    assert load_bundle(V1.bundle, engine, staging, nothing)["loaded"][0]["done"]
    assert layers_in(engine.loads[-1], V1) == [0, 1, 2]


def test_nothing_stays_of_an_image_that_fails(staging: Staging) -> None:
    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)[:4]), nothing)
    assert len(engine.images) == 2
    (outcome,) = load_bundle(V1.bundle, engine, staging, nothing)["loaded"]
    assert (outcome["done"], outcome["missing"]) == (False, (V1.image.layers[2].blob.digest,))
    assert engine.images == {}


def test_what_is_left_of_transfers_that_are_gone_is_removed_and_of_those_at_work_not(
    staging: Staging, tmp_path: Path
) -> None:
    staging.create()
    other, gone = (Staging(str(tmp_path / "root"), f"loaded-{digit * 20}") for digit in "12")
    other.create()
    engine = FakeEngine()
    for number, directory in enumerate((staging, other, gone)):
        made = make(b"%d" % number * LARGE, b"y")
        preload_layers(
            made.bundle, engine, directory, ArrivingBlobs(directory, content(made), in_order(made)[:3]), nothing
        )
    gone.remove()
    assert remove_preloaded(engine, staging) is None
    assert [label for _image, label in engine.list_preloaded()] == [str(other.directory)]


def test_a_preloaded_image_that_an_operator_named_stays(staging: Staging) -> None:
    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)[:3]), nothing)
    ((image, _label),) = engine.list_preloaded()
    engine.tag(image, "mine:1")
    assert remove_preloaded(engine, staging) is None
    assert engine.find("mine:1") is not None


def test_a_failed_removal_is_reported(staging: Staging) -> None:
    class Gone(FakeEngine):
        def list_preloaded(self) -> Any:
            raise EngineError("docker does not run")

    cleanup_error = load_bundle(SMALL.bundle, Gone(), staging, nothing)["cleanup_error"]
    assert PRELOADED_LABEL in cleanup_error
    assert cleanup_error.endswith("docker does not run")


# -- what others push


def pushed(staging: Staging, stopped: bool = False) -> PushedBlobs:
    return PushedBlobs(staging, in_order(V1), lambda: stopped)


def test_a_pushed_blob_counts_when_it_is_complete_and_right(staging: Staging) -> None:
    digest = V1.image.layers[0].blob.digest
    staging.create()
    incoming = pushed(staging)
    assert not incoming.is_intact(digest)
    staging.get_partial_path(digest).write_bytes(b"packed:")
    assert not incoming.is_intact(digest)
    stage(staging, {digest: V1.content[digest]})
    assert incoming.is_intact(digest)


def test_a_damaged_pushed_blob_ends_the_preload_and_stays_for_the_load_to_report(staging: Staging) -> None:
    digest = V1.image.layers[0].blob.digest
    stage(staging, {digest: b"other"})
    with pytest.raises(ImageError, match="is damaged"):
        pushed(staging).is_intact(digest)
    assert staging.is_complete(digest)


@pytest.mark.parametrize("stopped", [True, False])
def test_it_ends_when_it_is_requested_to_stop(staging: Staging, stopped: bool) -> None:
    incoming = pushed(staging, stopped)
    assert (incoming.has_ended(), incoming.has_timed_out()) == (stopped, False)


def test_a_stopped_preload_begins_no_load(staging: Staging) -> None:
    stage(staging, content(V1))
    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, pushed(staging, stopped=True), nothing)
    assert engine.loads == []


def test_nothing_more_is_waited_for_when_nothing_comes(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first byte may take longer; what is no blob of ours does not count."""
    monkeypatch.setattr(preload.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(preload, "_POLL_SECONDS", 1.0)
    staging.create()
    incoming = pushed(staging)
    waited = []
    for data in (b"", b"x", b"xy"):
        staging.get_partial_path(V1.image.config.digest).write_bytes(data)
        for seconds in range(2000):
            staging.get_partial_path(digest_of(b"any")).write_bytes(b"x" * seconds)
            incoming.wait()
            if incoming.has_ended():
                break
        waited.append(seconds)
    assert waited == [900, 121, 121]


# -- two at once


def test_layers_of_another_transfer_do_not_count_and_their_going_harms_nobody(staging: Staging, tmp_path: Path) -> None:
    other, engine = Staging(str(tmp_path / "root"), "loaded-" + "1" * 20), FakeEngine()
    preload_layers(V1.bundle, engine, other, ArrivingBlobs(other, content(V1), in_order(V1)), nothing)
    stage(staging, content(V2))
    assert load_bundle(V2.bundle, engine, staging, nothing)["loaded"][0]["done"]
    assert layers_in(engine.loads[-1], V2) == [0, 1, 2]


def test_layers_that_go_away_while_they_are_counted_on_are_loaded_once_more(staging: Staging) -> None:
    class Pruned(FakeEngine):
        """Somebody prunes between the look and the load."""

        def load(self, archive: Any, progress: Any) -> None:
            for image, _label in self.list_preloaded():
                self.remove(image)
            super().load(archive, progress)

    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)), nothing)
    stage(staging, content(V1))
    pruned = Pruned(images=engine.images, labels=engine.labels)
    (outcome,) = load_bundle(V1.bundle, pruned, staging, nothing)["loaded"]
    assert outcome["done"], outcome
    assert [layers_in(load, V1) for load in pruned.loads] == [[2], [0, 1, 2]]


def test_an_image_with_the_label_that_an_operator_named_is_theirs(staging: Staging) -> None:
    engine = FakeEngine()
    preload_layers(V1.bundle, engine, staging, ArrivingBlobs(staging, content(V1), in_order(V1)[:3]), nothing)
    ((image, _label),) = engine.list_preloaded()
    engine.tag(image, "mine:1")
    facts = engine.read_facts("")
    assert (facts.find_image("mine:1") is not None, facts.preloaded) == (True, {})
