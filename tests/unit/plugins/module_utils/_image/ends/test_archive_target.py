# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive as a target: its bytes, its plan, its faults, and what remains after a kill."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import archive_files, archive_target
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_target import ArchiveTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import LoadOutcome
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import (
    Bundle,
    DiskSpace,
    EngineFacts,
    TransferTarget,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import (
    MAX_ARCHIVE_PARTS,
    MIN_ARCHIVE_PART,
    find_insufficient_space,
    get_load_warnings,
    get_rejection_reason,
    list_blob_needs,
    plan_load,
    split_archive,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    ZSTD,
    Made,
    add_index,
    make,
    member_of,
    nothing,
    stage,
    tree,
)

# Smaller than an operator may set it.
PART = 32 * 1024
BASE = os.urandom(2 * PART)
V1 = make(BASE, b"middle" * 40, b"top")
V2 = make(BASE, b"middle" * 40, b"newer")
OTHER = add_index(make(b"elsewhere", tag="app:2"))
LOCAL = make(b"built here", tag="local:1", packed=False)
NAMES = ["images.tar", "images.tar.load.txt", "images.tar.sha256"]


class Host:
    """A host with a directory for the archive, and one for staging."""

    def __init__(self, root: Path, part_size: Optional[int] = None, platform: Optional[str] = "linux/amd64") -> None:
        self.media, self.root = root / "media", root / "staging"
        self.media.mkdir(exist_ok=True)
        self.part_size, self.platform = part_size, platform

    @property
    def target(self) -> ArchiveTarget:
        return ArchiveTarget(str(self.media / "images.tar"), self.part_size, self.platform)

    def read_facts(self) -> EngineFacts:
        return self.target.read_facts(str(self.root))

    def plan(self, *made: Made) -> tuple[list[str], set[str]]:
        """The actions, and the blobs that have to be transferred."""
        plans = plan_load(bundle_of(*made), self.read_facts())
        return [plan.action for plan in plans], {blob.digest for plan in plans for blob in plan.blobs}

    def write(self, *made: Made, content: Optional[Mapping[str, bytes]] = None) -> list[LoadOutcome]:
        """A whole run: only the blobs of the plan arrive."""
        bundle = bundle_of(*made)
        staging = Staging(str(self.root), bundle.get_directory_name("loaded"))
        held = {digest: data for item in made for digest, data in item.content.items()}
        arriving = self.plan(*made)[1] if content is None else content
        stage(staging, {digest: held[digest] for digest in arriving} if content is None else content)
        try:
            return self.target.write(bundle, staging, nothing, self.read_facts())
        finally:
            staging.remove()

    def files(self) -> list[str]:
        return tree(self.media)

    def read(self) -> bytes:
        names = [name for name in self.files() if name not in NAMES[1:]]
        return b"".join((self.media / name).read_bytes() for name in names)

    def check_list(self) -> None:
        """As C(sha256sum -c) does."""
        for line in (self.media / "images.tar.sha256").read_text().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256((self.media / name).read_bytes()).hexdigest() == digest

    def open(self) -> dict[str, bytes]:
        """The members of the archive."""
        joined = self.root.parent / "joined.tar"
        joined.write_bytes(self.read())
        with tarfile.open(joined) as archive:
            members = archive.getmembers()
            assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {(0, 0, "", 0o644)}
            return {member.name: archive.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def bundle_of(*made: Made) -> Bundle:
    return Bundle(tuple(item.image for item in made))


def done(outcomes: list[LoadOutcome]) -> bool:
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return all(outcome.done for outcome in outcomes)


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a test has to survive a power failure, and its parts are small."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(archive_target, "MIN_ARCHIVE_PART", PART)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_an_archive_is_written_once_and_the_second_run_does_nothing(host: Host) -> None:
    assert host.plan(V1, OTHER) == (["write", "write"], {*V1.content, *OTHER.content})
    assert done(host.write(V1, OTHER))
    assert host.files() == NAMES
    assert {stat.S_IMODE((host.media / name).stat().st_mode) for name in NAMES} == {0o600}
    host.check_list()
    before = {name: (host.media / name).stat().st_ino for name in NAMES}
    assert host.plan(V1, OTHER) == (["none", "none"], set())
    assert host.plan(OTHER, V1) == (["none", "none"], set())
    assert done(host.write(V1, OTHER))
    assert {name: (host.media / name).stat().st_ino for name in NAMES} == before


def test_every_program_finds_its_own_index_and_each_blob_once(host: Host) -> None:
    assert done(host.write(OTHER, V1, LOCAL))
    members = host.open()
    blobs = [name for name in members if name.startswith("blobs/")]
    assert list(members) == ["oci-layout", "index.json", "manifest.json", *sorted(blobs)]
    assert all(hashlib.sha256(members[name]).hexdigest() == name.rpartition("/")[2] for name in blobs)
    app, registry, local = "docker.io/library/app:2", "registry.test/app:v1", "docker.io/library/local:1"
    index = json.loads(members["index.json"])["manifests"]
    names = {entry["annotations"]["io.containerd.image.name"]: entry["digest"] for entry in index}
    assert {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index} == set(names)
    assert OTHER.image.index
    assert OTHER.image.manifest
    assert V1.image.manifest
    made_manifest = names.pop(local)
    assert names == {
        app: OTHER.image.index.digest,
        f"docker.io/library/app@{OTHER.image.index.digest}": OTHER.image.index.digest,
        f"docker.io/library/app@{OTHER.image.manifest.digest}": OTHER.image.manifest.digest,
        registry: V1.image.manifest.digest,
        f"registry.test/app@{V1.image.manifest.digest}": V1.image.manifest.digest,
    }
    # The image of an engine has no manifest of a registry.
    config = json.loads(members[member_of(made_manifest)])["config"]
    assert (config["digest"], config["size"]) == (LOCAL.image.config.digest, len(members[member_of(config["digest"])]))
    assert all(entry["size"] == len(members[member_of(entry["digest"])]) for entry in index)
    docker = {entry["RepoTags"][0]: entry for entry in json.loads(members["manifest.json"])}
    assert set(docker) == {app, registry, local}
    assert docker[registry]["Config"] == member_of(V1.image.config.digest)
    assert docker[registry]["Layers"] == [member_of(layer.blob.digest) for layer in V1.image.layers]
    assert set(blobs) == {
        member_of(digest) for digest in ({**OTHER.content, **V1.content, **LOCAL.content, made_manifest: b""})
    }


def test_the_same_images_are_the_same_bytes(host: Host, tmp_path: Path) -> None:
    assert done(host.write(V1, OTHER))
    second = tmp_path / "second"
    second.mkdir()
    again = Host(second)
    assert done(again.write(OTHER, V1))
    assert again.read() == host.read()
    assert [(again.media / name).read_text() for name in NAMES[1:]] == [
        (host.media / name).read_text() for name in NAMES[1:]
    ]


def test_a_new_version_replaces_the_archive_and_moves_its_own_blobs_only(host: Host) -> None:
    assert done(host.write(V1))
    actions, blobs = host.plan(V2)
    assert (actions, blobs) == (["write"], set(V2.content) - set(V1.content))
    (plan,) = plan_load(V2.bundle, host.read_facts())
    assert (plan.previous, plan.reason) == (V1.image.config.digest, "the archive has another image of this name")
    assert done(host.write(V2))
    assert host.plan(V2) == (["none"], set())
    host.check_list()
    assert member_of(V1.image.layers[-1].blob.digest) not in host.open()
    # As it would be, written in one go.
    (host.media.parent / "fresh").mkdir()
    fresh = Host(host.media.parent / "fresh")
    assert done(fresh.write(V2))
    assert fresh.read() == host.read()


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ((V1, OTHER), (V1,), "the archive has this image, and is written anew: it also has app:2"),
        ((V1,), (V1, OTHER), "the archive has this image, and is written anew: another image changes"),
        ((V1,), (OTHER,), "the archive does not have this image"),
        ((OTHER,), (Made(replace(OTHER.image, index=None), OTHER.content),), "with another manifest only"),
    ],
)
def test_what_differs_writes_the_archive_anew(
    host: Host, first: tuple[Made, ...], second: tuple[Made, ...], reason: str
) -> None:
    assert done(host.write(*first))
    plans = plan_load(bundle_of(*second), host.read_facts())
    assert {plan.action for plan in plans} == {"write"}
    assert reason in plans[0].reason
    assert done(host.write(*second))
    assert host.plan(*second)[0] == ["none"] * len(second)


def test_parts_are_joined_in_their_order(tmp_path: Path) -> None:
    whole, host = Host(tmp_path), Host(tmp_path, PART)
    assert done(whole.write(V1, OTHER))
    data, length = whole.read(), len(whole.read())
    # The same images in parts: nothing has to arrive.
    actions, blobs = host.plan(V1, OTHER)
    assert (actions, blobs) == (["write", "write"], set())
    assert done(host.write(V1, OTHER))
    parts = [f"images.tar.{number:03d}" for number in range(3)]
    assert host.files() == [*parts, *NAMES[1:]]
    assert host.read() == data
    assert [(host.media / name).stat().st_size for name in parts] == [PART, PART, length - 2 * PART]
    host.check_list()
    assert host.plan(V1, OTHER) == (["none", "none"], set())
    assert [file["name"] for file in host.target.list_files()] == parts
    assert "cat images.tar.[0-9]* | docker load" in (host.media / NAMES[1]).read_text()
    # Another size, and one file again.
    bigger = Host(tmp_path, 2 * PART)
    assert done(bigger.write(V1, OTHER))
    assert bigger.files() == [*parts[:2], *NAMES[1:]]
    assert bigger.read() == data
    assert done(whole.write(V1, OTHER))
    assert whole.files() == NAMES
    assert whole.read() == data


def test_an_image_of_an_engine_with_unknown_sizes_is_written(host: Host) -> None:
    unsized = Made(LOCAL.unsized.images[0], LOCAL.content)
    assert done(host.write(unsized))
    assert host.plan(unsized) == (["none"], set())
    # Once the sizes are known, it is the same image.
    assert host.plan(LOCAL) == (["none"], set())


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("part_size", [None, PART])
@pytest.mark.parametrize("fault", ["blob", "index", "header", "end", "cut", "half", "empty", "list", "listed", "text"])
def test_damage_is_found_and_repaired(tmp_path: Path, part_size: Optional[int], fault: str) -> None:
    host = Host(tmp_path, part_size)
    assert done(host.write(V1))
    data, checksums = host.read(), host.media / NAMES[2]
    first = host.media / ("images.tar" if part_size is None else "images.tar.000")
    last = host.media / ("images.tar" if part_size is None else "images.tar.002")
    base = V1.image.layers[0].blob.digest
    digests = {base}
    if fault == "blob":
        flip(first, data.index(BASE[:100]) + 50)
    elif fault == "index":
        flip(first, data.index(b"schemaVersion"))
    elif fault == "header":
        flip(first, data.index(b"index.json"))
    elif fault == "end":
        flip(last, last.stat().st_size - 1)
    elif fault in ("cut", "half", "empty"):
        os.truncate(last, {"cut": last.stat().st_size - 8192, "half": last.stat().st_size // 2, "empty": 0}[fault])
    elif fault == "list":
        checksums.unlink()
    elif fault == "listed":
        checksums.write_text(checksums.read_text().replace(checksums.read_text()[:8], "0" * 8))
    else:
        (host.media / NAMES[1]).unlink()
    actions, blobs = host.plan(V1)
    if fault == "text":
        assert (actions, blobs) == (["none"], set())
        return
    assert actions == ["write"]
    assert blobs <= set(V1.content)
    if fault == "blob":
        assert blobs == digests
    if fault in ("list", "listed", "end"):
        assert blobs == set()
    assert done(host.write(V1))
    assert host.read() == data
    host.check_list()
    assert host.plan(V1) == (["none"], set())


def test_a_part_that_is_lost_is_written_again(tmp_path: Path) -> None:
    host = Host(tmp_path, PART)
    assert done(host.write(V1))
    data, files = host.read(), host.files()
    for number in range(3):
        (host.media / f"images.tar.{number:03d}").unlink()
        assert host.plan(V1)[0] == ["write"]
        assert done(host.write(V1))
        assert (host.read(), host.files()) == (data, files)


@pytest.mark.parametrize(
    ("names", "data"),
    [
        (["images.tar"], b"somebody's own file"),
        (["images.tar.000"], b"somebody's own file"),
        (["images.tar.007"], b"somebody's own file"),
    ],
)
def test_a_file_of_somebody_else_is_refused(host: Host, names: list[str], data: bytes) -> None:
    for name in names:
        (host.media / name).write_bytes(data)
    with pytest.raises(ImageError, match=rf"{names[0]} exists, and this role did not write it\. Remove it, or set"):
        host.read_facts()
    # Also beside an archive of this role.
    for name in names:
        (host.media / name).unlink()
    assert done(host.write(V1))
    if names != ["images.tar"]:
        (host.media / names[0]).write_bytes(data)
        with pytest.raises(ImageError, match="this role did not write it"):
            host.read_facts()


def test_what_is_no_regular_file_is_refused(host: Host) -> None:
    os.mkfifo(host.media / "images.tar")
    with pytest.raises(ImageError, match="this role did not write it"):
        host.read_facts()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        (None, "is required with engine=archive"),
        ("images.tar", "is not an absolute path"),
        ("MEDIA", "is a directory. Name a file in it"),
        ("MEDIA/", "is a directory. Name a file in it"),
        ("MEDIA/-x.tar", "is no file name for media"),
        ("MEDIA/a b.tar", "is no file name for media"),
        ("MEDIA/a\nb.tar", "is not an absolute path"),
        ("MEDIA/.hidden", "is no file name for media"),
        ("MEDIA/absent/images.tar", "absent is no directory. Create it, or mount the medium there"),
        ("MEDIA/file/images.tar", "file is no directory"),
        ("MEDIA/..", "is a directory"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(host: Host, path: Optional[str], problem: str) -> None:
    (host.media / "file").touch()
    with pytest.raises(ImageError, match=r"^target_archive_path: ") as caught:
        ArchiveTarget(path and path.replace("MEDIA", str(host.media)))
    assert problem in str(caught.value)


def test_other_options_that_cannot_be_used_are_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(host.media / "images.tar")
    with pytest.raises(ImageError, match=f"target_archive_part_size: 1000 is below {PART} bytes"):
        ArchiveTarget(path, 1000)
    with pytest.raises(ImageError, match="target_archive_platform: The platform 'amd64' is malformed"):
        ArchiveTarget(path, None, "amd64")
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(ImageError, match=r"target_archive_path: user id \d+ may not write to .*/media\."):
        ArchiveTarget(path)


def test_blobs_that_are_missing_or_damaged_leave_the_archive_as_it_is(host: Host) -> None:
    (outcome,) = host.write(V1, content={})
    assert (outcome.done, set(outcome.missing)) == (False, set(V1.content))
    assert host.files() == []
    assert done(host.write(V1))
    data = host.read()
    top = V2.image.layers[-1].blob.digest
    (outcome,) = host.write(V2, content={**V2.content, top: b"x" * len(V2.content[top])})
    assert (outcome.done, outcome.corrupt) == (False, (top,))
    assert (host.read(), host.files()) == (data, NAMES)
    host.check_list()


def test_a_blob_that_was_damaged_meanwhile_is_fetched(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert done(host.write(V1))
    facts, base = host.read_facts(), V1.image.layers[0].blob.digest
    flip(host.media / "images.tar", host.read().index(BASE[:100]))
    staging = Staging(str(host.root), V2.bundle.get_directory_name("loaded"))
    stage(staging, {digest: V2.content[digest] for digest in set(V2.content) - set(V1.content)})
    (outcome,) = host.target.write(V2.bundle, staging, nothing, facts)
    assert (outcome.done, outcome.missing) == (False, (base,))
    stage(staging, {base: V2.content[base]})
    assert done(host.target.write(V2.bundle, staging, nothing, facts))
    host.check_list()


@pytest.mark.parametrize(
    ("number", "remediation"),
    [
        (errno.ENOSPC, "No space left on device. Free space there, or set another path"),
        (errno.EFBIG, "File too large. Its file system takes no file of this size: set target_archive_part_size"),
        (errno.EROFS, "Read-only file system. Check the medium and its permissions, or set another path"),
    ],
)
def test_a_disk_that_takes_nothing_leaves_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch, number: int, remediation: str
) -> None:
    def fail(*_arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(archive_target, "verify_written", fail)
        (outcome,) = host.write(V1)
    assert f"images.tar cannot be written: {remediation}, and run again." in str(outcome.error)
    assert host.files() == []
    monkeypatch.setattr(archive_target.os, "replace", fail)  # type: ignore[attr-defined]
    assert not host.write(V1)[0].done
    assert host.files() == []


def test_a_medium_that_returns_other_bytes_is_refused(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(directory: Path, files: Any, progress: Any) -> None:
        flip(directory / files[0].name, 5000)
        archive_files.verify_written(directory, files, progress)

    monkeypatch.setattr(archive_target, "verify_written", damage)
    (outcome,) = host.write(V1)
    assert "returns other bytes of images.tar than were written. Replace the medium" in str(outcome.error)
    assert host.files() == []


class Killed(BaseException):
    """A SIGKILL: nothing is cleaned up after it."""


@pytest.mark.parametrize("part_size", [None, PART])
@pytest.mark.parametrize("begin", ["nothing", "whole", "parts"])
def test_a_killed_run_is_completed_by_the_next(
    tmp_path: Path, part_size: Optional[int], begin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is killed at each change of a name."""
    fresh_root = tmp_path / "fresh"
    fresh_root.mkdir()
    fresh = Host(fresh_root, part_size)
    assert done(fresh.write(V2))
    data, files = fresh.read(), fresh.files()
    for step in range(20):
        root = tmp_path / str(step)
        root.mkdir()
        if begin != "nothing":
            assert done(Host(root, None if begin == "whole" else PART).write(V1, OTHER))
        host, left = Host(root, part_size), [step]
        staging, facts = Staging(str(host.root), V2.bundle.get_directory_name("loaded")), host.read_facts()
        stage(staging, V2.content)

        def count(original: Any, left: list[int] = left) -> Any:
            def call(*arguments: Any) -> Any:
                if not left[0]:
                    raise Killed
                left[0] -= 1
                return original(*arguments)

            return call

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink", "fsync"):
                patch.setattr(archive_target.os, name, count(getattr(os, name)))  # type: ignore[attr-defined]
            patch.setattr(archive_files.IncompleteArchive, "_remove", lambda _self: None)
            try:
                assert done(host.target.write(V2.bundle, staging, nothing, facts))
                is_killed = False
            except Killed:
                is_killed = True
        if not is_killed:
            assert step > 5
            return
        if (host.media / NAMES[2]).exists():
            host.check_list()  # the list vouches for nothing that is not complete
        assert done(host.write(V2))
        host.target.remove_leftover()
        assert (host.read(), host.files()) == (data, files)
        host.check_list()
    raise AssertionError("too many steps")


def test_what_a_killed_run_has_left_is_removed_unless_it_is_used(host: Host) -> None:
    assert done(host.write(V1))
    left = host.media / ".images.tar.incomplete"
    left.mkdir(mode=0o700)
    (left / "images.tar").write_bytes(bytes(PART))
    assert host.target.has_leftover()
    with archive_files.IncompleteArchive(host.media / "images.tar").hold() as directory:
        assert list(directory.iterdir()) == [left / "in_use"]
        (outcome,) = host.write(V2)
        assert "another run writes this archive now" in str(outcome.error)
        assert not host.target.remove_leftover()
    assert not host.target.has_leftover()
    left.mkdir(mode=0o700)
    (left / "images.tar").write_bytes(bytes(PART))
    assert host.target.remove_leftover()
    assert host.files() == NAMES


def test_a_link_in_place_of_the_incomplete_archive_is_refused(host: Host, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (host.media / ".images.tar.incomplete").symlink_to(elsewhere)
    (outcome,) = host.write(V1)
    assert "is not a directory of user id" in str(outcome.error)
    assert not host.target.remove_leftover()
    assert tree(elsewhere) == ["kept"]


def test_space_is_needed_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = host.read_facts()
    assert facts.root
    sizes = sum(map(len, V1.content.values()))
    for free, is_refused in ((sizes - 1, True), (sizes, False)):
        small = replace(facts, root=replace(facts.root, free_bytes=free, device=-1))
        found = find_insufficient_space(plan_load(V1.bundle, small), 0, small)
        assert bool(found) == is_refused
        assert bool(get_rejection_reason(plan_load(V1.bundle, small), 0, small)) == is_refused
    # The archive that is there takes no part: it stays until the new one is complete.
    assert done(host.write(V1))
    facts = replace(host.read_facts(), root=replace(facts.root, free_bytes=sizes - 1, device=-1))
    assert not get_rejection_reason(plan_load(V1.bundle, facts), 0, facts)
    assert "the archive needs at least" in str(get_rejection_reason(plan_load(V2.bundle, facts), 0, facts))
    # With the exact size, before the first byte is written.
    full = replace(facts.root, free_bytes=sizes)
    monkeypatch.setattr(archive_target, "read_disk_space", lambda _path: full)
    (outcome,) = host.write(V2)
    assert "too little disk space" in str(outcome.error)
    assert host.files() == NAMES


def test_the_bytes_of_a_killed_run_are_free(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_target, "read_disk_space", lambda path: DiskSpace(path, 1000, 1))
    left = host.media / ".images.tar.incomplete"
    left.mkdir(mode=0o700)
    (left / "images.tar").write_bytes(bytes(PART))
    for lock in (False, True):
        if lock:
            (left / "in_use").touch()
        facts = host.read_facts()
        assert facts.root
        assert facts.root.free_bytes == 1000 + (PART if lock else 0)
    # Nothing was written to read this.
    assert tree(left) == ["images.tar", "in_use"]
    with archive_files.IncompleteArchive(host.media / "images.tar").hold() as directory:
        (directory / "images.tar").write_bytes(bytes(PART))
        assert host.read_facts().root == DiskSpace(str(host.media), 1000, 1)


def test_the_platform_is_that_of_the_hosts_that_load_it(host: Host) -> None:
    facts = host.read_facts()
    assert facts.platform == "linux/amd64"
    arm = Host(host.media.parent, platform="linux/arm64").read_facts()
    plans = plan_load(V1.bundle, arm)
    assert str(get_rejection_reason(plans, 0, arm)) == (
        "registry.test/app:v1 is for linux/amd64, and the archive is for linux/arm64. Name an image for linux/arm64, "
        "or set target_archive_platform. To keep this image anyway, set its 'platform'."
    )
    given = Bundle((replace(V1.image, platform_given=True),))
    assert get_rejection_reason(plan_load(given, arm), 0, arm) is None
    assert get_load_warnings(plan_load(given, arm), arm) == []
    assert ArchiveTarget(str(host.media / "images.tar")).read_facts(str(host.root)).platform.startswith("linux/")


def test_zstd_layers_are_kept(host: Host) -> None:
    made = make(b"zstd", media_type=ZSTD)
    facts = host.read_facts()
    assert get_rejection_reason(plan_load(made.bundle, facts), 0, facts) is None
    assert done(host.write(made))


def test_parts_are_not_too_many(host: Host) -> None:
    assert split_archive(10 * PART, None) == (10 * PART,)
    assert split_archive(2 * PART + 1, PART) == (PART, PART, 1)
    assert split_archive(2 * PART, PART) == (PART, PART)
    assert len(split_archive(MAX_ARCHIVE_PARTS * PART, PART)) == MAX_ARCHIVE_PARTS
    with pytest.raises(ImageError, match=r"has 1001 parts of 1048576 bytes.*Set at least 1048577\."):
        split_archive(MAX_ARCHIVE_PARTS * MIN_ARCHIVE_PART + 1, MIN_ARCHIVE_PART)
    parts = Host(host.media.parent, PART).read_facts()
    huge = replace(V1.image.layers[0], blob=replace(V1.image.layers[0].blob, size=2 * MAX_ARCHIVE_PARTS * PART))
    bundle = Bundle((replace(V1.image, layers=(huge,)),))
    assert "more than the limit of 1000" in str(get_rejection_reason(plan_load(bundle, parts), 0, parts))


def test_facts_travel_to_the_controller_and_back(host: Host) -> None:
    assert done(host.write(V1))
    entry = json.loads(json.dumps({"host": "a", **host.read_facts().to_dict()}))
    target = TransferTarget.parse(entry, "targets[0]")
    assert target.facts.archive == host.read_facts().archive
    assert target.facts.label == f"archive {host.media}/images.tar"
    assert list_blob_needs(V1.bundle, [target]) == ()
    needs = list_blob_needs(V2.bundle, [target])
    assert {need.blob.digest for need in needs} == set(V2.content) - set(V1.content)
    entry["archive"]["blobs"] = ["no digest"]
    with pytest.raises(ImageError, match="is no 'target'"):
        TransferTarget.parse(entry, "targets[0]")


def test_a_verified_archive_is_not_read_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert done(host.write(V1))
    facts = host.read_facts()
    assert facts.archive
    read: list[int] = []
    original = archive_files.JoinedFiles.iter_chunks

    def iter_chunks(self: archive_files.JoinedFiles, offset: int, length: int) -> Any:
        for chunk in original(self, offset, length):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr(archive_files.JoinedFiles, "iter_chunks", iter_chunks)
    again = host.target.read_facts(str(host.root), facts.archive.fingerprint)
    assert (again.archive, again.images) == (facts.archive, facts.images)
    assert sum(read) < PART
    # Any change of the files is read.
    flip(host.media / "images.tar", host.read().index(BASE[:100]))
    again = host.target.read_facts(str(host.root), facts.archive.fingerprint)
    assert again.archive
    assert again.archive.problem == f"its blob {V1.image.layers[0].blob.digest} is damaged"
    assert sum(read) > PART


def test_a_run_that_is_done_by_another_does_nothing(host: Host) -> None:
    assert done(host.write(V1))
    inode = (host.media / "images.tar").stat().st_ino
    assert done(host.write(V1, content=V1.content))
    assert (host.media / "images.tar").stat().st_ino == inode
