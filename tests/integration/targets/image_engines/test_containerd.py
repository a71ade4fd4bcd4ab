# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only containerd has: digests that survive, its CRI, discarded layers, indexes, and namespaces."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import (
    EngineSource,
    parse_requested_images,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from integration.targets.image_engines.images import (
    Made,
    add_index,
    digest_of,
    make_image,
    make_index_archive,
    make_layer,
)
from integration.targets.image_engines.kit import ContainerdHost, run_program
from integration.targets.image_engines.test_engines import damage, load, make_versions, nothing, read_text

MANAGED = "io.cri-containerd.image=managed"
PINNED = "io.cri-containerd.pinned=pinned"
ARM = make_image("a.example/arm:v1", make_layer({"text": b"arm"}), architecture="arm64")


def test_the_cri_has_the_image_by_its_tag_and_by_the_digest_of_the_registry(
    node: ContainerdHost, tmp_path: Path
) -> None:
    made, second = make_versions()
    repository = made.image.tag.rpartition(":")[0]
    before = node.list_names()
    assert load(node, made, tmp_path)["done"]
    by_digest = f"{repository}@{made.manifest}"
    assert node.list_names() - before == {made.image.tag, by_digest, made.config}
    assert set(node.read_labels(made.image.tag).split(",")) == {MANAGED, PINNED}
    assert node.read_labels(by_digest) == node.read_labels(made.config) == MANAGED
    assert node.call("leases", "ls", "-q").split() == []
    engine = node.make_engine()
    stored = engine.find(by_digest)
    assert stored
    assert (stored, stored.engine_id) == (engine.find(f"{made.image.tag}@{made.manifest}"), made.manifest)
    assert load(node, second, tmp_path)["done"]
    assert PINNED in node.read_labels(made.image.tag)
    # The old image is still found by its digest, and the kubelet may collect it.
    assert node.run_container(by_digest) == read_text(made)
    assert node.read_labels(by_digest) == MANAGED


@pytest.mark.full
def test_an_image_is_not_pinned_on_request(node: ContainerdHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    staging = made.stage(tmp_path)
    result = load_bundle(made.bundle, node.make_engine(pinned=False), staging, nothing)
    assert [outcome["error"] for outcome in result["loaded"]] == [None]
    assert node.read_labels(made.image.tag) == MANAGED


@pytest.mark.full
def test_an_image_of_an_engine_has_no_digest_of_a_registry(node: ContainerdHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    before = node.list_names()
    assert load(node, made, tmp_path)["done"]
    engine = node.make_engine()
    stored = engine.find(made.image.tag)
    assert stored
    engine.tag(stored, "engine.example/x:v1")
    assert "engine.example/x:v1" in node.list_names() - before
    assert not [name for name in node.list_names() - before if name.startswith("engine.example/x@")]
    node.call("images", "rm", "engine.example/x:v1")


def test_discarded_layers_are_used_and_cannot_be_exported(node: ContainerdHost, tmp_path: Path) -> None:
    first, second = make_versions()
    assert load(node, first, tmp_path)["done"]
    # The blob of the lowest layer stays where another image of this daemon refers to it.
    node.discard_layers(first.manifest, [layer.blob.digest for layer in first.image.layers[1:]])
    engine = node.make_engine()
    (plan,) = plan_load(second.bundle, engine.read_facts(str(tmp_path)))
    assert plan.blobs == (second.image.manifest, second.image.config, second.image.layers[-1].blob)
    with pytest.raises(ImageError, match=r"only snapshots of [23] of its 3 layers.*source=registry"):
        EngineSource(engine).make_offer(parse_requested_images([{"name": first.image.tag}]))
    staging = Staging(str(tmp_path), second.bundle.get_directory_name("loaded"))
    staging.create()
    for blob in plan.blobs:
        staging.get_path(blob.digest).write_bytes(second.content[blob.digest])
    result = load_bundle(second.bundle, engine, staging, nothing)
    assert [outcome["error"] for outcome in result["loaded"]] == [None]
    assert node.run_container(second.image.tag) == read_text(second)
    # What a transfer left out cannot be exported either.
    with pytest.raises(ImageError, match="only snapshots of"):
        EngineSource(engine).make_offer(parse_requested_images([{"name": second.image.tag}]))


def load_plan(node: ContainerdHost, made: Made, root: Path) -> tuple[str, set[str]]:
    """Loads an image as a transfer does: only the blobs of the plan arrive. Returns its action and those blobs."""
    (plan,) = plan_load(made.bundle, node.make_engine().read_facts(str(root)))
    digests = {blob.digest for blob in plan.blobs}
    assert load(node, Made(made.image, {digest: made.content[digest] for digest in digests}), root)["done"]
    return plan.action, digests


def test_the_cri_has_the_image_by_the_digest_of_its_index(node: ContainerdHost, tmp_path: Path) -> None:
    first, second = (add_index(made, ARM) for made in make_versions())
    tag = first.image.tag
    repository = tag.rpartition(":")[0]
    by_manifest, by_index = f"{repository}@{first.manifest}", f"{repository}@{first.index}"
    before = node.list_names()
    assert load_plan(node, first, tmp_path)[0] == "load"
    assert node.list_names() - before == {tag, by_manifest, by_index, first.config}
    assert node.read_labels(by_index) == MANAGED
    assert PINNED in node.read_labels(tag)
    assert node.call("leases", "ls", "-q").split() == []
    engine = node.make_engine()
    for reference in (by_index, f"{tag}@{first.index}"):
        stored = engine.find(reference)
        assert stored
        assert (stored.engine_id, stored.config_digest) == (first.manifest, first.config)
    assert node.run_container(by_index) == read_text(first)
    # The second run does nothing.
    assert load_plan(node, first, tmp_path) == ("none", set())
    # A run that was killed before it gave the name, and layers that were discarded meanwhile.
    node.discard_layers(first.manifest, [layer.blob.digest for layer in first.image.layers[1:]])
    node.call("images", "rm", "--sync", by_index)
    assert load_plan(node, first, tmp_path) == ("tag", {first.index})
    assert load_plan(node, first, tmp_path) == ("none", set())
    # The tag moves. The old image is still found by its digests, as one that was pulled by a digest.
    assert load_plan(node, second, tmp_path) == (
        "load",
        {second.index, second.manifest, second.config, second.image.layers[-1].blob.digest},
    )
    assert node.run_container(tag) == node.run_container(f"{repository}@{second.index}") == read_text(second)
    for name in (by_index, by_manifest):
        assert node.run_container(name) == read_text(first)
        assert node.read_labels(name) == MANAGED
    # Without its names, nothing of it remains.
    node.call("images", "rm", "--sync", by_index, by_manifest, first.config)
    content = node.call("content", "ls", "-q").split()
    assert not {first.index, first.manifest, first.config} & set(content)
    assert second.index in content
    assert not [name for name in node.list_names() if "image-transfer" in name]


def test_a_bad_index_is_refused_before_anything_is_loaded(node: ContainerdHost, tmp_path: Path) -> None:
    first, second = make_versions()
    before = node.list_names()
    good = add_index(first, ARM)
    assert load(node, damage(good, good.index), tmp_path)["corrupt"] == (good.index,)
    # An index that has another image for this host, none, and two of them.
    for index in (add_index(second, ARM), add_index(ARM), add_index(first, second)):
        exchanged = Made(
            replace(first.image, index=index.image.index), {**first.content, index.index: index.content[index.index]}
        )
        error = load(node, exchanged, tmp_path)["error"]
        assert f"and not {first.manifest}. Name the image itself by its digest" in str(error)
        content = bytes(index.content[index.index])[:-1]
        broken = Made(replace(first.image, index=replace_content(index, content)), {**first.content})
        broken = Made(broken.image, {**broken.content, digest_of(content): content})
        assert "is no JSON" in str(load(node, broken, tmp_path)["error"])
    assert node.list_names() == before
    assert load(node, good, tmp_path)["done"]


def replace_content(made: Made, content: bytes) -> Blob:
    assert made.image.index
    return replace(made.image.index, digest=digest_of(content), size=len(content))


def test_an_image_for_another_platform_has_no_name_by_an_index(node: ContainerdHost, tmp_path: Path) -> None:
    text = secrets.token_hex(8)
    made = make_image(f"a.example/{text}:v1", make_layer({"text": text.encode()}), architecture="arm64")
    made = add_index(made, make_versions()[0])
    action, digests = load_plan(node, made, tmp_path)
    assert (action, made.index in digests) == ("load", False)
    assert load_plan(node, made, tmp_path) == ("none", set())


@pytest.mark.full
def test_of_an_index_the_image_of_this_platform_counts(node: ContainerdHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    made = add_index(made, ARM)
    archive = make_index_archive(made.image.tag, made)
    naming = ["--digests", "--base-name", made.image.tag.rpartition(":")[0]]
    node.call("images", "import", *node.local, *naming, "-", data=archive)
    engine = node.make_engine()
    stored = engine.find(made.image.tag)
    assert stored
    assert (stored.engine_id, stored.config_digest) == (made.manifest, made.config)
    assert engine.find(f"{made.image.tag.rpartition(':')[0]}@{made.index}") == stored
    assert [plan.action for plan in plan_load(made.bundle, engine.read_facts(str(tmp_path)))] == ["none"]
    requested = parse_requested_images([{"name": made.image.tag}])
    offer = EngineSource(engine).make_offer(requested)
    assert offer.bundle.images[0].list_blobs() == made.image.list_blobs()
    staging = Staging(str(tmp_path), offer.bundle.get_directory_name("saved"))
    staging.create()
    EngineSource(engine).stage(requested, list(made.content), staging, nothing)
    assert all(staging.verify(digest) for digest in made.content)


@pytest.mark.full
def test_an_image_that_is_not_unpacked_is_loaded(node: ContainerdHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    archive = make_index_archive(made.image.tag, add_index(made, ARM))
    node.call("images", "import", "--no-unpack", "-", data=archive)
    engine = node.make_engine()
    (plan,) = plan_load(made.bundle, engine.read_facts(str(tmp_path)))
    assert (plan.action, set(plan.image.diff_ids)) == ("load", set(made.image.diff_ids))
    # It can be exported all the same.
    assert EngineSource(engine).make_offer(parse_requested_images([{"name": made.image.tag}])).bundle.images
    assert load(node, made, tmp_path)["done"]
    assert [plan.action for plan in plan_load(made.bundle, engine.read_facts(str(tmp_path)))] == ["none"]


@pytest.mark.full
def test_an_image_for_another_platform_is_unpacked(node: ContainerdHost, tmp_path: Path) -> None:
    text = secrets.token_hex(8).encode()
    made = make_image(f"a.example/{text.decode()}:v1", make_layer({"text": text}), architecture="arm64")
    assert load(node, made, tmp_path)["done"]
    stored = node.make_engine().find(made.image.tag)
    assert stored
    assert stored.platform == "linux/arm64"


@pytest.mark.full
def test_another_namespace_has_its_own_images_without_the_cri(node: ContainerdHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    engine = node.make_engine(namespace="builds")
    with pytest.raises(EngineError, match=r"has no namespace builds\. It has .*k8s\.io.*ctr namespaces create builds"):
        engine.read_facts(str(tmp_path))
    node.call("namespaces", "create", "builds")
    staging = made.stage(tmp_path)
    result = load_bundle(made.bundle, engine, staging, nothing)
    assert [outcome["error"] for outcome in result["loaded"]] == [None]
    assert engine.find(made.image.tag)
    assert node.make_engine().find(made.image.tag) is None


@pytest.mark.full
def test_content_is_read_by_the_program_where_its_directory_is_closed(
    node: ContainerdHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _second = make_versions()
    assert load(node, made, tmp_path)["done"]
    expected = node.make_engine().find(made.image.tag)
    engine = node.make_engine()
    monkeypatch.setattr(engine._reader, "_read_content_file", lambda _digest: b"")
    assert engine.find(made.image.tag) == expected


@pytest.mark.full
def test_damaged_content_is_found(node: ContainerdHost, tmp_path: Path) -> None:
    made, _second = make_versions()
    assert load(node, made, tmp_path)["done"]
    path = node.directory / "root/io.containerd.content.v1.content/blobs/sha256" / made.config[7:]
    intact = path.read_bytes()
    path.write_bytes(intact.replace(b"busybox", b"xusybox"))
    try:
        message = rf"of the image {made.image.tag} is damaged\. .*images rm .*{made.image.tag}"
        with pytest.raises(EngineError, match=message):
            node.make_engine().find(made.image.tag)
        # A load does not replace content that containerd has, so the error comes from there, too.
        assert "images rm" in str(load(node, made, tmp_path)["error"])
        assert node.make_engine().read_facts(str(tmp_path)).find_image(made.image.tag) is None
    finally:
        path.write_bytes(intact)


class Slow:
    """An archive that calls a function when half of it has been read."""

    def __init__(self, archive: ImageArchive, interrupt: threading.Event) -> None:
        self._archive, self._interrupt = archive, interrupt
        self.length = archive.length
        self.manifest_digest = archive.manifest_digest
        self.directory = archive.directory

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for chunk in self._archive:
            yield chunk
            sent += len(chunk)
            if sent > self.length // 2 and not self._interrupt.is_set():
                self._interrupt.set()
                time.sleep(1)


@pytest.mark.parametrize("victim", ["ctr", "containerd"])
def test_a_killed_program_or_daemon_leaves_the_old_image(node: ContainerdHost, tmp_path: Path, victim: str) -> None:
    first, second = make_versions()
    tag = first.image.tag
    second = make_image(tag, make_layer({"text": tag.encode(), "noise": os.urandom(4_000_000)}))
    assert load(node, first, tmp_path)["done"]
    before = node.list_names()
    staging = second.stage(tmp_path)
    half = threading.Event()
    archive = Slow(
        ImageArchive(
            second.image, {digest: staging.get_path(digest) for digest in second.content}, str(staging.directory)
        ),
        half,
    )

    def interrupt() -> None:
        half.wait(60)
        if victim == "containerd":
            node.end(signal.SIGKILL)
        else:
            marker = str(staging.directory).encode()
            for process in Path("/proc").glob("[0-9]*"):
                line = process / "cmdline"
                if not line.exists() or marker not in line.read_bytes():
                    continue
                if os.path.basename(line.read_bytes().split(b"\0")[0]) == b"ctr":
                    os.kill(int(process.name), signal.SIGKILL)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(EngineError):
            node.make_engine().load(archive, nothing)
    finally:
        thread.join()
        if node.process is None:
            node.start()
    assert node.list_names() == before
    assert node.run_container(tag) == read_text(first)
    result = load_bundle(second.bundle, node.make_engine(), staging, nothing)
    assert (result["cleanup_error"], [outcome["error"] for outcome in result["loaded"]]) == (None, [None])
    assert node.run_container(tag) == tag
    assert not [name for name in node.list_names() if "image-transfer" in name]


@pytest.mark.full
def test_a_temporary_name_that_a_killed_load_left_is_removed(node: ContainerdHost, tmp_path: Path) -> None:
    """Killed after the load and before the tag. The next run has all layers, and leaves no temporary name."""
    made, _second = make_versions()
    before = node.list_names()
    staging = made.stage(tmp_path)
    archive = ImageArchive(
        made.image, {digest: staging.get_path(digest) for digest in made.content}, str(staging.directory)
    )
    engine = node.make_engine()
    engine.load(archive, nothing)
    assert [directory for _image, directory in engine.list_preloaded()] == [str(staging.directory)]
    facts = engine.read_facts(str(tmp_path)).include_preloaded(staging.directory.name)
    (plan,) = plan_load(made.bundle, facts)
    assert plan.blobs == (made.image.manifest, made.image.config)
    result = load_bundle(made.bundle, engine, staging, nothing)
    assert (result["cleanup_error"], [outcome["error"] for outcome in result["loaded"]]) == (None, [None])
    repository = made.image.tag.rpartition(":")[0]
    assert node.list_names() - before == {made.image.tag, f"{repository}@{made.manifest}", made.config}


def test_its_messages(node: ContainerdHost, tmp_path: Path) -> None:
    from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.containerd import ContainerdEngine

    with pytest.raises(EngineError, match=r"its client no-such-ctr cannot be started.*Install ctr"):
        ContainerdEngine(str(node.socket), "k8s.io", 60, run_program, program="no-such-ctr").find("x:v1")
    assert digest_of(b"") not in node.list_names()
