# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine does as a target and as a source, on real daemons."""

from __future__ import annotations

import gzip
import io
import secrets
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import preload
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.preload import FetchedBlobs, preload_layers
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import (
    EngineSource,
    parse_requested_images,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import compute_chain_ids
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from integration.targets.image_engines.images import Made, make_image, make_layer
from integration.targets.image_engines.kit import EngineHost


def nothing(*_arguments: object) -> None:
    """A progress callback that ignores everything."""


def make_versions(name: str = "") -> tuple[Made, Made]:
    """Two versions of an image that no other test has. They share all layers but the last."""
    unique = secrets.token_hex(8)
    middle = make_layer({"middle": unique.encode()})
    tag = name or f"registry.example:5000/team/{unique}:v1"
    first, second = (make_layer({"text": f"{unique} {number}".encode()}) for number in (1, 2))
    return make_image(tag, middle, first), make_image(tag, middle, second)


def load(host: EngineHost, made: Made, root: Path) -> dict[str, object]:
    staging = made.stage(root)
    try:
        result = load_bundle(made.bundle, host.make_engine(), staging, nothing)
    finally:
        staging.remove()
    assert result["cleanup_error"] is None
    (outcome,) = result["loaded"]
    return dict(outcome)


def read_text(made: Made) -> str:
    """What the container of an image prints."""
    return make_text(made.content[made.image.layers[-1].blob.digest])


def make_text(layer: bytes) -> str:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as archive:
        file = archive.extractfile("text")
        assert file
        return file.read().decode()


def to_name(host: EngineHost, tag: str) -> str:
    return tag if host.name != "containerd" or "." in tag.split("/")[0] else f"docker.io/library/{tag}"


def test_its_facts(host: EngineHost, tmp_path: Path) -> None:
    facts = host.make_engine().read_facts(str(tmp_path / "not" / "yet"))
    assert facts.engine == host.name
    assert facts.version[0].isdigit()
    assert facts.platform.startswith("linux/")
    assert facts.root
    assert facts.root.free_bytes > 0
    assert facts.staging.free_bytes > 0
    assert facts.preloaded == {}


def test_an_image_is_loaded_verified_named_and_runs(host: EngineHost, tmp_path: Path) -> None:
    first, second = make_versions()
    tag = first.image.tag
    engine = host.make_engine()
    assert engine.find(tag) is None
    before = host.list_names()
    assert load(host, first, tmp_path)["done"]
    stored = engine.find(tag)
    assert stored
    assert (stored.config_digest, stored.diff_ids, stored.names, stored.platform) == (
        first.config,
        first.image.diff_ids,
        (tag,),
        "linux/amd64",
    )
    assert engine.find(first.config) == stored
    assert host.run_container(tag) == read_text(first)
    facts = engine.read_facts(str(tmp_path))
    assert facts.find_image(tag) == stored
    assert set(compute_chain_ids(first.image.diff_ids)) <= facts.chain_ids
    assert [plan.action for plan in plan_load(first.bundle, facts)] == ["none"]
    # The update: only the layer that is missing is loaded, and the old image loses its name.
    (plan,) = plan_load(second.bundle, facts)
    assert plan.previous == first.config
    assert {blob.digest for blob in plan.blobs} == {
        second.manifest,
        second.config,
        second.image.layers[-1].blob.digest,
    }
    update = Made(second.image, {digest: second.content[digest] for digest in (blob.digest for blob in plan.blobs)})
    assert load(host, update, tmp_path)["done"]
    assert host.run_container(tag) == read_text(second)
    old = engine.find(first.config)
    assert old is None or old.names == ()
    assert not [name for name in host.list_names() - before if "image-transfer" in name]


@pytest.mark.parametrize(
    "tag",
    [
        "short-{}:v1",
        "user/short-{}:v1",
        "registry.example/{}:v1",
        "registry.example:5000/a/b/{}:V1.2_x-y",
        "localhost/{}:v1",
        "localhost:5000/{}:v1",
    ],
)
def test_names_are_those_of_docker(host: EngineHost, tmp_path: Path, tag: str) -> None:
    tag = tag.format(secrets.token_hex(4))
    made, _second = make_versions(tag)
    assert load(host, made, tmp_path)["done"]
    engine = host.make_engine()
    stored = engine.find(tag)
    assert stored
    assert stored.names == (tag,)
    assert engine.read_facts(str(tmp_path)).find_image(tag) == stored


def test_an_image_under_another_name_is_named(host: EngineHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    assert load(host, made, tmp_path)["done"]
    engine = host.make_engine()
    stored = engine.find(made.image.tag)
    assert stored
    engine.tag(stored, "other.example/x:v2")
    stored = engine.find("other.example/x:v2")
    assert stored
    assert set(stored.names) == {made.image.tag, "other.example/x:v2"}
    assert host.run_container("other.example/x:v2") == read_text(made)


def damage(made: Made, damaged: str) -> Made:
    """The same image with a byte changed in the middle of a blob."""
    data = bytearray(made.content[damaged])
    data[len(data) // 2] ^= 0xFF
    return Made(made.image, {**made.content, damaged: bytes(data)})


@pytest.mark.parametrize("fault", ["flipped layer", "flipped config", "missing layer", "short archive"])
def test_a_bad_archive_changes_nothing(host: EngineHost, tmp_path: Path, fault: str) -> None:
    """Nothing verifies the blobs before the load here: the engine's own verification, and ours after it."""
    first, second = make_versions()
    tag = first.image.tag
    assert load(host, first, tmp_path)["done"]
    before = host.list_names()
    layer = second.image.layers[-1].blob.digest
    bad = second
    if fault.startswith("flipped"):
        bad = damage(second, layer if fault == "flipped layer" else second.config)
    staging = bad.stage(tmp_path)
    paths = {digest: staging.get_path(digest) for digest in bad.content}
    if fault == "missing layer":
        del paths[layer]
    archive = ImageArchive(second.image, paths, str(staging.directory))
    if fault == "short archive":
        archive = Shortened(archive)  # type: ignore[assignment]
    engine = host.make_engine()
    problem = ""
    try:
        engine.load(archive, nothing)
    except ImageError as error:
        problem = str(error)
    stored = engine.find(second.config)
    assert problem or stored is None
    assert host.run_container(tag) == read_text(first)
    if host.name != "docker" or fault != "flipped config":  # docker keeps the other image, without a name
        assert host.list_names() == before
    assert engine.list_preloaded() == []


class Shortened:
    """An archive whose sender ends early."""

    def __init__(self, archive: ImageArchive) -> None:
        self._archive = archive
        self.length = archive.length
        self.manifest_digest = archive.manifest_digest
        self.directory = archive.directory

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for chunk in self._archive:
            if sent + len(chunk) > self.length // 2:
                yield chunk[: self.length // 2 - sent]
                raise ImageError("the blob became shorter")
            sent += len(chunk)
            yield chunk


def test_a_base_that_was_removed_after_the_plan_is_an_error(host: EngineHost, tmp_path: Path) -> None:
    unique = secrets.token_hex(8)
    made = make_image(f"a.example/{unique}:v1", make_layer({"text": unique.encode()}), make_layer({"x": b"x"}))
    before = host.list_names()
    staging = made.stage(tmp_path)
    paths = {made.image.layers[-1].blob.digest, made.config, made.manifest}
    archive = ImageArchive(made.image, {digest: staging.get_path(digest) for digest in paths}, str(staging.directory))
    engine = host.make_engine()
    with pytest.raises(EngineError, match=r"could not load the image: .*(not found|no such file)"):
        engine.load(archive, nothing)
    assert engine.find(made.config) is None
    assert host.list_names() == before


def test_layers_are_preloaded_and_then_belong_to_the_image(
    host: EngineHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "MIN_PRELOAD_BYTES", 1)
    made, _second = make_versions()
    staging, engine = made.stage(tmp_path), host.make_engine()
    before = host.list_names()
    arrived = {layer.blob.digest for layer in made.image.layers[:2]}
    blobs = FetchedBlobs(arrived)
    blobs.end()
    incoming = Once(blobs)
    preload_layers(made.bundle, engine, staging, incoming, nothing)
    chains = compute_chain_ids(made.image.diff_ids)
    facts = engine.read_facts(str(tmp_path))
    assert chains[1] not in facts.chain_ids
    assert chains[1] in facts.preloaded[staging.directory.name]
    assert chains[0] in facts.include_preloaded(staging.directory.name).chain_ids
    assert [directory for _image, directory in engine.list_preloaded()] == [str(staging.directory)]
    assert not [image for image in facts.images if image.diff_ids == made.image.diff_ids[:2]]
    for layer in made.image.layers[:2]:
        staging.get_path(layer.blob.digest).unlink()  # so only the preloaded layers can be used
    result = load_bundle(made.bundle, engine, staging, nothing)
    assert result["cleanup_error"] is None
    assert [loaded["error"] for loaded in result["loaded"]] == [None]
    assert engine.list_preloaded() == []
    assert host.run_container(made.image.tag) == read_text(made)
    assert chains[1] in engine.read_facts(str(tmp_path)).chain_ids
    assert {name for name in host.list_names() - before if made.image.tag.partition(":v")[0] not in name} <= {
        made.config
    }


class Once:
    """Blobs of which no more arrive once the first ones have been preloaded."""

    def __init__(self, blobs: FetchedBlobs) -> None:
        self._blobs = blobs
        self._checks = 0

    def is_intact(self, digest: str) -> bool:
        return self._blobs.is_intact(digest)

    def wait(self) -> None:
        self._blobs.wait()

    def has_ended(self) -> bool:
        self._checks += 1
        return self._checks > 1


def test_what_a_killed_transfer_left_is_removed_by_the_next(
    host: EngineHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preload, "MIN_PRELOAD_BYTES", 1)
    killed, _second = make_versions()
    other, _second = make_versions()
    before = host.list_names()
    staging, engine = killed.stage(tmp_path), host.make_engine()
    preload_layers(
        killed.bundle,
        engine,
        staging,
        Once(FetchedBlobs({killed.image.layers[0].blob.digest, killed.image.layers[1].blob.digest})),
        nothing,
    )
    assert load(host, other, tmp_path)["done"]
    assert len(engine.list_preloaded()) == 1  # that transfer may be running
    staging.remove()
    host.forget(to_name(host, other.image.tag))
    assert load(host, other, tmp_path)["done"]
    assert engine.list_preloaded() == []
    host.forget(to_name(host, other.image.tag))
    assert host.list_names() == before


def test_an_image_is_exported_as_it_was_loaded(host: EngineHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    assert load(host, made, tmp_path)["done"]
    engine = host.make_engine()
    source = EngineSource(engine)
    requested = parse_requested_images([{"name": made.image.tag}])
    offer = source.make_offer(requested)
    (image,) = offer.bundle.images
    assert (image.config.digest, image.diff_ids) == (made.config, made.image.diff_ids)
    digests = [blob.digest for blob in image.list_blobs()]
    staging = Staging(str(tmp_path), offer.bundle.get_directory_name("saved"))
    staging.create()
    source.stage(requested, digests, staging, nothing)
    assert all(staging.verify(digest) for digest in digests)
    if host.keeps_digests:
        assert image.list_blobs() == made.image.list_blobs()
        assert offer.estimates == {}
    else:
        assert set(offer.estimates) == set(image.diff_ids)
    host.forget(to_name(host, made.image.tag))
    assert engine.find(made.image.tag) is None
    bundle = offer.bundle.fill_sizes({digest: staging.get_size(digest) for digest in digests})
    assert [outcome["error"] for outcome in load_bundle(bundle, engine, staging, nothing)["loaded"]] == [None]
    assert host.run_container(made.image.tag) == read_text(made)


def test_an_image_that_it_does_not_have_is_named(host: EngineHost) -> None:
    with pytest.raises(Exception, match=r"the engine on the source has no absent\.example/x:v1"):
        EngineSource(host.make_engine()).make_offer(parse_requested_images([{"name": "absent.example/x:v1"}]))


def test_a_daemon_that_is_missing_or_does_not_run_is_named(host: EngineHost, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"^{host.name} is missing: .*/none\.sock does not exist"):
        host.make_engine(str(tmp_path / "none.sock")).read_facts(str(tmp_path))
    dead = host.directory / "dead.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(dead))
    with pytest.raises(EngineError, match=rf"^{host.name} does not run"):
        host.make_engine(str(dead)).read_facts(str(tmp_path))
