# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that engines load, and the archives that engines save: as docker writes them, and hostile ones."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import (
    ImageArchive,
    NamedDocument,
    build_naming_archive,
    stage_from_archive,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import BundleImage, get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import CHUNK, Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    GZIP,
    PLAIN,
    ZSTD,
    Made,
    digest_of,
    make,
    member_of,
    nothing,
    tar_of,
    tree,
)

LAYERS = (b"base" * 400, b"middle" * 100, b"top")


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging(str(tmp_path / "root"), "saved-" + "0" * 20)
    made.create()
    return made


# -- written


def archive_of(made: Made, directory: Path, left_out: Sequence[str] = ()) -> ImageArchive:
    paths = {}
    for digest, data in made.content.items():
        if digest not in left_out:
            paths[digest] = directory / get_digest_hex(digest)
            paths[digest].write_bytes(data)
    return ImageArchive(made.image, paths)


def files_in(archive: ImageArchive) -> dict[str, bytes]:
    data = b"".join(archive)
    assert len(data) == archive.length
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]


@pytest.mark.parametrize("packed", [True, False], ids=["from a registry", "from an engine"])
@pytest.mark.parametrize("left_out", [(), (0,), (0, 1), (0, 1, 2)])
def test_an_archive_for_every_engine_is_an_oci_layout_with_docker_s_manifest(
    tmp_path: Path, packed: bool, left_out: tuple[int, ...]
) -> None:
    """Paths point at blobs/sha256; present layers are left out (docs/facts/image_transfer.md#archive-formats)."""
    made = make(*LAYERS, packed=packed)
    absent = [made.image.layers[number].blob.digest for number in left_out]
    files = files_in(archive_of(made, tmp_path, absent))

    assert list(files)[:3] == ["oci-layout", "index.json", "manifest.json"]
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["manifest.json"])
    assert entry == {
        "Config": member_of(made.image.config.digest),
        "RepoTags": None,  # the image is tagged after its verification
        "Layers": [member_of(layer.blob.digest) for layer in made.image.layers],
    }
    blobs = {name: data for name, data in files.items() if name.startswith("blobs/")}
    assert all(name == member_of(digest_of(data)) for name, data in blobs.items())
    (descriptor,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blobs[member_of(descriptor["digest"])])
    assert descriptor["size"] == len(blobs[member_of(descriptor["digest"])])
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.blob.digest for layer in made.image.layers]
    assert [layer["size"] for layer in manifest["layers"]] == [layer.blob.size for layer in made.image.layers]
    assert (manifest["config"]["digest"], manifest["config"]["size"]) == (
        made.image.config.digest,
        made.image.config.size,
    )
    assert {*map(member_of, {*made.content} - {*absent}), member_of(descriptor["digest"])} == set(blobs)


def test_identity_the_registry_s_own_manifest_bytes_go_in(tmp_path: Path) -> None:
    """The original manifest bytes keep the digest (docs/facts/image_transfer.md#identity-and-names)."""
    made = make(*LAYERS)
    assert made.image.manifest is not None
    files = files_in(archive_of(made, tmp_path))
    assert files[member_of(made.image.manifest.digest)] == made.content[made.image.manifest.digest]


def test_a_layer_that_occurs_twice_is_in_the_archive_once(tmp_path: Path) -> None:
    made = make(b"a", b"b", b"a")
    data = b"".join(archive_of(made, tmp_path))
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        names = opened.getnames()
    assert len(names) == len(set(names)) == 3 + 4


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, CHUNK, CHUNK + 1])
def test_the_length_that_is_announced_is_the_number_of_bytes(tmp_path: Path, size: int) -> None:
    made = make(b"x" * size, packed=False)
    archive = archive_of(made, tmp_path)
    chunks = list(archive)
    assert sum(map(len, chunks)) == archive.length
    assert max(map(len, chunks)) <= CHUNK


def test_a_layer_of_more_than_8_gib_has_its_size_in_the_header(tmp_path: Path) -> None:
    """Eleven octal digits end at 8 GiB; the base-256 form of GNU tar goes on."""
    size = 9 * 1024**3
    made = make(b"huge", packed=False)
    archive = archive_of(made, tmp_path)
    before = archive.length
    os.truncate(tmp_path / get_digest_hex(made.image.layers[0].blob.digest), size)  # sparse
    archive = ImageArchive(made.image, {digest: tmp_path / get_digest_hex(digest) for digest in made.content})
    assert archive.length - before == size - 512
    for chunk in archive:
        if len(chunk) == 512 and member_of(made.image.layers[0].blob.digest).encode() in chunk:
            assert tarfile.TarInfo.frombuf(chunk, "utf-8", "strict").size == size
            return
    pytest.fail("no header of the layer")


def test_a_blob_that_becomes_shorter_while_it_is_loaded_is_an_error(tmp_path: Path) -> None:
    made = make(*LAYERS)
    archive = archive_of(made, tmp_path)
    (tmp_path / get_digest_hex(made.image.layers[0].blob.digest)).write_bytes(b"base")
    with pytest.raises(ImageError, match=r"became shorter while it was loaded\. Run again"):
        list(archive)


# -- read


class Saved:
    """An engine that gives the same archive at each export."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opened = 0

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        self.opened += 1
        yield io.BytesIO(self.data)


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info, b""


def directory(name: str) -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info, b""


def docker_20(made: Made, order: Sequence[int]) -> bytes:
    """As docker 20.10 writes it: a directory per layer, named by a hash and so in no order.

    A layer that occurs again is a link to the first. Config and manifest.json follow the layers.
    """
    image, members, at = made.image, [], {}
    for number in order:
        digest, name = image.layers[number].diff_id, f"{number:064x}"
        members += [directory(f"{name}/"), (f"{name}/VERSION", b"1.0"), (f"{name}/json", b"{}")]
        if digest in at:
            members.append(link(f"{name}/layer.tar", f"../{at[digest]}/layer.tar"))
        else:
            members.append((f"{name}/layer.tar", made.content[digest]))
            at[digest] = name
    config = f"{get_digest_hex(image.config.digest)}.json"
    manifest = [{"Config": config, "RepoTags": [image.tag], "Layers": []}]
    members += [(config, made.content[image.config.digest]), ("manifest.json", json.dumps(manifest).encode())]
    return tar_of(members)


def docker_25(made: Made, order: Sequence[int]) -> bytes:
    """As docker 25 and later write it: an OCI layout, and manifest.json."""
    image = made.image
    members = [
        directory("blobs/"),
        directory("blobs/sha256/"),
        (member_of("sha256:" + "0" * 64), b"a manifest of its own"),
    ]
    names = [*dict.fromkeys(image.layers[number].diff_id for number in order), image.config.digest]
    members += [(member_of(digest), made.content[digest]) for digest in names]
    return tar_of([*members, ("index.json", b"{}"), ("manifest.json", b"[]"), ("oci-layout", b"{}")])


TWICE = make(b"a" * 700, b"a" * 700, b"b", packed=False)
THREE = make(*LAYERS, packed=False)


@pytest.mark.parametrize("requested", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("made", [THREE, TWICE], ids=["three layers", "one layer twice"])
@pytest.mark.parametrize("write", [docker_20, docker_25], ids=["docker 20.10", "docker 25"])
def test_archive_formats_of_docker_save(
    staging: Staging, write: Any, made: Made, order: tuple[int, ...], requested: tuple[int, ...]
) -> None:
    """Exactly the requested blobs are staged, in any order of layers (docs/facts/image_transfer.md#archive-formats)."""
    digests = {made.image.layers[number].diff_id for number in requested} | {made.image.config.digest}
    saved = Saved(write(made, order))
    stage_from_archive(saved.open, staging, sorted(digests), nothing)
    assert {
        name: (staging.directory / "blobs" / name).read_bytes() for name in os.listdir(staging.directory / "blobs")
    } == {get_digest_hex(digest): made.content[digest] for digest in digests}
    assert saved.opened == 1


def test_what_follows_the_last_requested_blob_is_not_read(staging: Staging) -> None:
    first, second, _third = (layer.diff_id for layer in THREE.image.layers)
    data = docker_20(THREE, (0, 1, 2))
    saved = Saved(data[: data.index(THREE.content[second])])
    stage_from_archive(saved.open, staging, [first], nothing)
    assert staging.verify(first)
    with pytest.raises(ImageError, match="cannot be read"):
        stage_from_archive(saved.open, staging, [second], nothing)


def test_what_is_staged_already_is_not_read_again(staging: Staging) -> None:
    saved = Saved(docker_20(THREE, (0, 1, 2)))
    for _attempt in range(2):
        stage_from_archive(saved.open, staging, [THREE.image.config.digest], nothing)
    assert saved.opened == 1


def test_progress_reports_bytes_and_grows(staging: Staging) -> None:
    reported: list[int] = []
    stage_from_archive(Saved(docker_25(THREE, (0, 1, 2))).open, staging, list(THREE.content), reported.append)
    assert reported == sorted(reported)
    assert reported[-1] >= sum(map(len, THREE.content.values()))


# -- hostile archives: nothing outside the staging directory, nothing under a digest that is not its own


def sparse(name: str, size: int) -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(size)}
    return info, b"0\n".ljust(512, b"\0")


CONFIG = THREE.image.config.digest
DATA = THREE.content[CONFIG]
HOSTILE: dict[str, list[tuple[Any, bytes]]] = {
    "absolute name": [("/tmp/daytwo-hostile", b"x")],  # noqa: S108  the name must not be used
    "dots": [("../../outside", b"x"), ("a/../../../outside", b"x"), ("blobs/sha256/../../../../outside", b"x")],
    "a digest that climbs": [("blobs/sha256/../../../../../" + "a" * 40, b"x")],
    "symlink, then a file through it": [link("out", ".."), ("out/outside", b"x")],
    "symlink in place of a blob": [link(member_of(CONFIG), "/etc/passwd")],
    "hard link": [link("hard", "/etc/passwd", tarfile.LNKTYPE)],
    "device": [link("null", "", tarfile.CHRTYPE), link("disk", "", tarfile.BLKTYPE)],
    "fifo": [link("pipe", "", tarfile.FIFOTYPE)],
    "content of another digest": [(member_of(CONFIG), b"x"), ("1/layer.tar", b"x")],
    "empty": [(member_of(CONFIG), b""), ("layer.tar", b"")],
    "no name": [("", b"x")],
    "a sparse file of a gigabyte": [sparse("big/layer.tar", 1024**3)],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("there", [True, False], ids=["the image is in it, too", "the image is not in it"])
def test_hostile_members_are_never_paths(tmp_path: Path, staging: Staging, name: str, there: bool) -> None:
    data = tar_of([*HOSTILE[name], *([(member_of(CONFIG), DATA)] if there else [])])
    outside, reported = set(tree(tmp_path)), [0]
    if there:
        stage_from_archive(Saved(data).open, staging, [CONFIG], nothing)
        assert staging.get_path(CONFIG).read_bytes() == DATA
    else:
        with pytest.raises(ImageError, match=f"an archive without {CONFIG}: the image is incomplete on this host"):
            stage_from_archive(Saved(data).open, staging, [CONFIG], nothing)
    new = {entry for entry in tree(tmp_path) if entry not in outside}
    assert new == ({os.path.relpath(staging.get_path(CONFIG), tmp_path)} if there else set())
    assert not os.path.lexists("/tmp/daytwo-hostile")  # noqa: S108
    assert max(reported) <= len(data)  # and no more than the archive has


@pytest.mark.parametrize("keep", [0, 1, 100, 512, 513, 1500, 3000])
def test_a_stream_that_is_cut_off_publishes_nothing_that_is_not_whole(staging: Staging, keep: int) -> None:
    data = docker_25(THREE, (0, 1, 2))[:keep]
    with pytest.raises(ImageError, match="The engine saved an archive"):
        stage_from_archive(Saved(data).open, staging, list(THREE.content), nothing)
    for digest in THREE.content:
        assert not staging.is_complete(digest) or staging.verify(digest)


@pytest.mark.parametrize(
    "data",
    [
        b"garbage" * 500,
        b"\0" * 10240,
        json.dumps({"message": "no such image"}).encode(),
        tar_of([sparse("x", 5)]).replace(b"0\n".ljust(512, b"\0"), b"x\n".ljust(512, b"x")),
    ],
    ids=["garbage", "zeros", "an error instead", "a number that is none"],
)
def test_what_is_no_archive_is_rejected_with_a_message(staging: Staging, data: bytes) -> None:
    with pytest.raises(ImageError, match="The engine saved an archive"):
        stage_from_archive(Saved(data).open, staging, [CONFIG], nothing)


def test_an_image_of_many_members_does_not_fill_the_memory(staging: Staging) -> None:
    data = tar_of([*(directory(f"{number}/") for number in range(10_000)), (member_of(CONFIG), DATA)])
    tracemalloc.start()
    try:
        stage_from_archive(Saved(data).open, staging, [CONFIG], nothing)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * CHUNK


def test_the_manifest_that_is_made_for_an_engine_s_image_depends_on_content_alone(tmp_path: Path) -> None:
    made = make(*LAYERS, packed=False)
    image: BundleImage = replace(made.image, tag="other:1", reference="other:1")
    first = files_in(archive_of(made, tmp_path))
    assert first["index.json"] == files_in(archive_of(Made(image, made.content), tmp_path))["index.json"]


def test_a_layer_that_cannot_be_written_whole_leaves_its_room_to_others(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, and other work on this host needs the space."""
    made = make(b"x" * 3 * CHUNK, packed=False)
    archive = tar_of([(member_of(digest), data) for digest, data in made.content.items()])

    def progress(done: int) -> None:
        if done > CHUNK:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        stage_from_archive(lambda: nullcontext(io.BytesIO(archive)), staging, made.content, progress)
    assert [name for name in tree(staging.directory) if "incoming" in name] == []


# -- what containerd reads


@pytest.mark.parametrize(
    ("packed", "media_type", "suffix"),
    [(False, PLAIN, ""), (True, GZIP, "+gzip"), (True, PLAIN, "+gzip"), (True, ZSTD, "+zstd")],
)
def test_a_synthesized_manifest_has_the_compression_of_each_layer(
    tmp_path: Path, packed: bool, media_type: str, suffix: str
) -> None:
    """Preloaded layers of a registry are compressed, and containerd unpacks a layer by its type alone."""
    made = make(b"base", packed=packed, media_type=media_type)
    archive = archive_of(Made(replace(made.image, manifest=None), made.content), tmp_path)
    manifest = json.loads(files_in(archive)[member_of(archive.manifest_digest)])
    assert manifest["layers"][0]["mediaType"] == f"application/vnd.oci.image.layer.v1.tar{suffix}"
    (entry,) = json.loads(files_in(archive)["index.json"])["manifests"]
    assert entry["digest"] == archive.manifest_digest


def test_the_archive_has_the_digest_of_the_registrys_manifest(tmp_path: Path) -> None:
    made = make(b"base")
    assert made.image.manifest
    assert archive_of(made, tmp_path).manifest_digest == made.image.manifest.digest


def test_a_naming_archive_gives_the_names_in_their_order() -> None:
    documents = [
        NamedDocument("a.example/x@sha256:0", "the/type", b"manifest"),
        NamedDocument("a.example/x@sha256:1", "the/index", b"of images"),
        NamedDocument("a.example/x:1", "the/type", b"manifest"),
    ]
    data = build_naming_archive(documents, [b"manifest", b"config"])
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        files = {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]
        assert len(opened.getmembers()) == len(files) == 5
    for content in (b"manifest", b"config", b"of images"):
        assert files[member_of(digest_of(content))] == content
    assert json.loads(files["index.json"])["manifests"] == [
        {
            "mediaType": document.media_type,
            "digest": digest_of(document.data),
            "size": len(document.data),
            "annotations": {"io.containerd.image.name": document.name},
        }
        for document in documents
    ]
