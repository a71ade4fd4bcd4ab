# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What real programs save is a source: transferred once, updated by its new layers, and refused where it is damaged."""

from __future__ import annotations

import random
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from integration.targets.image_archives.kit import KINDS, Programs, Saved, Transfer, save_versions, save_with_docker
from integration.targets.image_engines.kit import EngineHost

SEED = 1
SAMPLE = {"docker save", *random.Random(SEED).sample(sorted(KINDS), 2)}  # noqa: S311
FLIPS = 6


@pytest.fixture(
    scope="module",
    params=[kind if kind in SAMPLE else pytest.param(kind, marks=pytest.mark.full) for kind in KINDS],
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(kind: str, programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Saved, Saved]]:
    directory = tmp_path_factory.mktemp("saved")
    programs.wipe()
    yield save_versions(programs, KINDS[kind], directory)
    shutil.rmtree(directory)


def test_it_is_transferred_once_and_updated_by_its_new_layer(
    kind: str, saved: tuple[Saved, Saved], target: EngineHost, tmp_path: Path
) -> None:
    transfer, (first, second) = Transfer(tmp_path / "root", target), saved
    tag, engine = first.made.image.tag, target.make_engine()
    done = transfer(first.path, tag)
    assert target.run_container(tag) == first.text
    assert done.image.diff_ids == first.made.image.diff_ids
    assert {layer.blob.digest for layer in done.image.layers} <= done.sent
    if KINDS[kind].manifest:
        assert done.image.manifest
        assert done.image.manifest.digest == first.made.manifest
        assert done.image.index == first.made.image.index
        if target.keeps_digests:
            documents = [done.image.manifest.digest, *([done.image.index.digest] if done.image.index else [])]
            repository = tag.rpartition(":")[0]
            assert [bool(engine.find(f"{repository}@{digest}")) for digest in documents] == [True] * len(documents)
    before = target.list_names()
    assert transfer(first.path, tag).sent == frozenset()
    assert target.list_names() == before
    update = transfer(second.path, tag)
    assert target.run_container(tag) == second.text
    layers = {layer.blob.digest for layer in update.image.layers}
    assert update.sent & layers == {update.image.layers[-1].blob.digest}
    assert transfer(second.path, tag).sent == frozenset()


def test_it_is_found_by_its_name_only(
    kind: str, saved: tuple[Saved, Saved], programs: Programs, tmp_path: Path
) -> None:
    transfer, (first, _second) = Transfer(tmp_path / "root", programs.docker), saved
    if KINDS[kind].named:
        with pytest.raises(ImageError, match=r"has no other.example/app:v9. The names in it are: .*:?v1"):
            transfer(first.path, "other.example/app:v9")
    elif first.made.image.manifest and KINDS[kind].manifest:
        digests = [first.made.manifest, *([first.made.index] if first.made.image.index else [])]
        for digest in digests:
            transfer(first.path, "other.example/app:v9", f"other.example/app@{digest}")
            assert programs.docker.run_container("other.example/app:v9") == first.text


def test_docker_links_a_layer_that_two_images_share(kind: str, saved: tuple[Saved, Saved]) -> None:
    if KINDS[kind].save is save_with_docker:
        with tarfile.open(saved[0].path) as archive:
            assert [member.linkname for member in archive if member.issym()]


def damage(path: Path, directory: Path) -> Iterator[tuple[str, Path]]:
    """Copies of an archive, each damaged in another way. In a directory, the largest file is damaged."""
    chance = random.Random(path.stat().st_size)  # noqa: S311
    for number in range(FLIPS + 3):
        copy = directory / f"{number}.damaged"
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        files = sorted(
            (file for file in [copy, *copy.rglob("*")] if file.is_file()), key=lambda file: file.stat().st_size
        )
        # All but the largest one, which is the shared busybox.
        file = files[-1] if copy.is_file() else files[number % len(files)]
        data = bytearray(file.read_bytes())
        if number < 3:
            what = "cut off"
            size = (len(data) * 8 // 10, len(data) - 4096 * 2, max(0, len(data) - 11_000))[number]
            del data[max(0, size) :]
        else:
            what = "flipped"
            data[chance.randrange(len(data))] ^= 0x10
        file.write_bytes(data)
        yield f"{what} {file.name}", copy
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()


def test_a_damaged_archive_is_refused_and_the_old_image_runs(
    saved: tuple[Saved, Saved], target: EngineHost, tmp_path: Path
) -> None:
    transfer, (first, second) = Transfer(tmp_path / "root", target), saved
    tag, engine, refused = first.made.image.tag, target.make_engine(), 0
    transfer(first.path, tag)
    before, old = target.list_names(), engine.find(tag)
    for what, path in damage(second.path, tmp_path):
        message = ""
        try:
            transfer(path, tag)
        except ImageError as error:
            message, refused = str(error), refused + 1
        stored = engine.find(tag)
        assert stored
        if message:
            assert str(path) in message, what
            assert (stored, target.list_names()) == (old, before), what
            continue
        # What is damaged was not needed.
        assert stored.diff_ids == second.made.image.diff_ids, what
        transfer(first.path, tag)
        before, old = target.list_names(), engine.find(tag)
    assert refused >= 2
    assert target.run_container(tag) == first.text
