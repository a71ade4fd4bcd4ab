# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saved images as a source: what each program writes, by its layout, and what is damaged."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_source import (
    ArchiveSource,
    PackedArchiveSource,
    is_packed,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import parse_requested_images
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats import tar_members
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob, BundleImage, Layer, get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    Made,
    digest_of,
    make,
    member_of,
    nothing,
    stage,
    tar_of,
    tree,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NAME, REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"
LAYERS = (b"base" * 300, b"top" * 50)
PACKED = make(*LAYERS, tag="app:v1")
PLAIN = make(*LAYERS, tag="app:v1", packed=False)
LAYER = PACKED.image.layers[0].blob.digest
CONFIG = PACKED.image.config.digest
MANIFEST = PACKED.image.manifest.digest  # type: ignore[union-attr]
Members = list[tuple[Any, bytes]]


def descriptor(made: Made, platform: str = "", **annotations: str) -> dict[str, Any]:
    blob = made.image.manifest or made.image.config
    found = {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size, "annotations": annotations}
    return {**found, **({"platform": dict(zip(("os", "architecture"), platform.split("/")))} if platform else {})}


def layout(descriptors: list[Any], content: Mapping[str, bytes], **others: bytes) -> Members:
    """An OCI image layout."""
    return [
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ("index.json", json.dumps({"schemaVersion": 2, "manifests": descriptors}).encode()),
        *((member_of(digest), data) for digest, data in content.items()),
        *others.items(),
    ]


def named(**annotations: str) -> Members:
    return layout([descriptor(PACKED, **annotations)], PACKED.content)


def nested(
    present: Made = PACKED, name: str = "docker.io/library/app:v1", more: Sequence[dict[str, Any]] = ()
) -> Members:
    """As buildx writes several platforms, and containerd one of them: an index in index.json."""
    other = make(b"for arm", tag="other:v1")
    attestation = {**descriptor(other), "platform": {"os": "unknown", "architecture": "unknown"}}
    entries = [descriptor(other, "linux/arm64"), descriptor(present, "linux/amd64"), attestation, *more]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    top = {"mediaType": INDEX, "digest": digest_of(index), "size": len(index), "annotations": {NAME: name, REF: "v1"}}
    return layout([top], {**present.content, digest_of(index): index})


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def docker(tags: Optional[list[str]], layers: Members, names: list[str], config: str = "{}.json") -> Members:
    """Docker's own format, with manifest.json at its end."""
    digest = PLAIN.image.config.digest
    path = config.format(get_digest_hex(digest))
    entry = {"Config": path, "RepoTags": tags, "Layers": names}
    return [*layers, (path, PLAIN.content[digest]), ("manifest.json", json.dumps([entry]).encode())]


OLD = docker(
    ["app:v1"],
    [
        ("1/VERSION", b"1.0"),
        ("1/layer.tar", LAYERS[0]),
        (link("2/layer.tar", "../3/layer.tar"), b""),
        ("3/layer.tar", LAYERS[1]),
    ],
    ["1/layer.tar", "2/layer.tar"],
)
PODMAN = docker(["localhost/app:v1"], [("a.tar", LAYERS[0]), ("b.tar", LAYERS[1])], ["a.tar", "b.tar"])
ZIPPED = [gzip.compress(layer, mtime=0) for layer in LAYERS]
KANIKO = docker(
    ["app:v1"],
    [(f"{get_digest_hex(digest_of(data))}.tar.gz", data) for data in ZIPPED],
    [f"{get_digest_hex(digest_of(data))}.tar.gz" for data in ZIPPED],
    "sha256:{}",
)
NIX = docker(["app:v1"], [("./x/layer.tar", LAYERS[0]), ("./y/layer.tar", LAYERS[1])], ["x/layer.tar", "y/layer.tar"])
HARD = docker(
    ["app:v1"],
    [("1/layer.tar", LAYERS[0]), ("3.tar", LAYERS[1]), (link("2/layer.tar", "3.tar", tarfile.LNKTYPE), b"")],
    ["1/layer.tar", "2/layer.tar"],
)


def both(made: Made, *layers: Layer, manifests: Optional[list[Any]] = None, tags: Any = ("app:v1",)) -> Members:
    """A layout with docker's manifest.json, whose paths are those of blobs."""
    paths = [member_of(layer.blob.digest) for layer in layers]
    entry = {"Config": member_of(made.image.config.digest), "RepoTags": tags, "Layers": paths}
    members = layout([descriptor(made)], made.content)
    if made.image.manifest is None:
        members[1] = ("index.json", json.dumps({"manifests": manifests}).encode())
    return [*members, ("manifest.json", json.dumps([entry]).encode())]


def spoil_manifest(*layers: Layer) -> Members:
    """What the first versions of Docker 25 save: a manifest without layers, or with another order of them."""
    media_type = "application/vnd.oci.image.layer.v1.tar"
    blobs = [{"mediaType": media_type, "digest": layer.diff_id, "size": layer.blob.size} for layer in layers]
    config = {**PLAIN.image.config.to_dict(), "mediaType": "application/vnd.oci.image.config.v1+json"}
    data = json.dumps({"schemaVersion": 2, "config": config, "layers": blobs}).encode()
    top = {"mediaType": OCI_MANIFEST, "digest": digest_of(data), "size": len(data), "annotations": {REF: "v1"}}
    members = both(PLAIN, *PLAIN.image.layers, manifests=[top])
    return [*members, (member_of(digest_of(data)), data)]


DIRECTORY = [
    *((get_digest_hex(digest), data) for digest, data in PACKED.content.items() if digest != MANIFEST),
    ("manifest.json", PACKED.content[MANIFEST]),
    ("version", b"Directory Transport Version: 1.1\n"),
]
# What each program writes. These are imitations: the target image_archives has what the programs write themselves.
KINDS: dict[str, tuple[Members, bool]] = {
    "docker 20.10": (OLD, False),
    "docker 25": (named(**{NAME: "docker.io/library/app:v1", REF: "v1"}), True),
    "names in manifest.json only": (both(PACKED, *PACKED.image.layers), True),
    "docker 25, a manifest without layers": (spoil_manifest(), False),
    "docker 25, layers in another order": (spoil_manifest(*reversed(PLAIN.image.layers)), False),
    "docker 25, by digest": (both(PLAIN, *PLAIN.image.layers, manifests=None, tags=None), False),
    "buildx for several platforms": (nested(), True),
    "podman, oci-archive": (named(**{REF: "localhost/app:v1"}), True),
    "podman, docker-archive": (PODMAN, False),
    "skopeo, a tag": (named(**{REF: "v1"}), True),
    "skopeo, no name": (named(), True),
    "tar -C DIRECTORY .": ([(f"./{name}", data) for name, data in named(**{NAME: "docker.io/library/app:v1"})], True),
    "platforms beside each other": (
        layout(
            [
                descriptor(make(b"x"), "linux/arm64", **{NAME: "docker.io/library/app:v1"}),
                descriptor(PACKED, "linux/amd64", **{NAME: "docker.io/library/app:v1"}),
            ],
            PACKED.content,
        ),
        True,
    ),
    "kaniko": (KANIKO, False),
    "nix": (NIX, False),
    "hard links": (HARD, False),
    "skopeo and podman, dir": (DIRECTORY, True),
    "no names": (docker(None, [("a.tar", LAYERS[0]), ("b.tar", LAYERS[1])], ["a.tar", "b.tar"]), False),
}


def save(tmp_path: Path, data: bytes) -> str:
    path = tmp_path / "images.tar"
    path.write_bytes(data)
    return str(path)


def parse(name: str = "app:v1", **entry: str) -> Any:
    return parse_requested_images([{"name": name, **entry}], "linux/amd64")


def resolve(path: str, name: str = "app:v1", **entry: str) -> BundleImage:
    source: Any = PackedArchiveSource(path, {}) if is_packed(path) else ArchiveSource(path)
    (image,) = source.make_offer(parse(name, **entry)).bundle.images
    return image  # type: ignore[no-any-return]


def unpack(path: str, image: BundleImage, root: Path) -> dict[str, bytes]:
    """The blobs of an archive that is compressed as a whole."""
    staging, sizes = Staging(str(root), "saved-" + "0" * 20), {blob.digest: blob.size for blob in image.list_blobs()}
    with staging.hold_lock():
        PackedArchiveSource(path, sizes).stage(parse(), list(sizes), staging, nothing)
        found = {digest: staging.get_path(digest).read_bytes() for digest in sizes}
        assert {name for name in tree(root) if name.endswith(".part")} == set()
    staging.remove()
    return found


def request(digest: str, number: int = 0, offset: int = 0, length: int = 0) -> TransferRequest:
    return TransferRequest(digest, "x", number, offset, length, "https://x.test/", {}, "app:v1")


def read(path: str, image: BundleImage) -> dict[str, bytes]:
    source, found = ArchiveSource(path, verify=True), {}
    for blob in image.list_blobs():
        with source.open(request(blob.digest)) as file:
            found[blob.digest] = file.read(10**9)
        assert (digest_of(found[blob.digest]), len(found[blob.digest])) == (blob.digest, blob.size)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_programs_write_is_read(tmp_path: Path, kind: str) -> None:
    members, has_manifest = KINDS[kind]
    path = save(tmp_path, tar_of(members))
    image = resolve(path)
    assert (image.config.digest, image.diff_ids) == (PLAIN.image.config.digest, PLAIN.image.diff_ids)
    assert (image.reference, image.tag, image.platform) == ("app:v1", "app:v1", "linux/amd64")
    assert image.manifest == (PACKED.image.manifest if has_manifest else None)
    content = read(path, image)
    sizes = ArchiveSource(path).verify(list(content), nothing)
    assert sizes == {digest: len(data) for digest, data in content.items()}
    with ArchiveSource(path).open(request(image.config.digest, 2, 3, 4)) as file:
        assert file.read(100) == content[image.config.digest][3:7]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_compressed_as_a_whole_is_the_same(tmp_path: Path, kind: str) -> None:
    data = tar_of(KINDS[kind][0])
    plain = save(tmp_path, data)
    image = resolve(plain)
    content = read(plain, image)
    # In parts, as some programs compress; with padding at the end.
    path = save(tmp_path, gzip.compress(data[:700]) + bytes(600) + gzip.compress(data[700:]) + bytes(100))
    assert resolve(path) == image
    assert unpack(path, image, tmp_path / "root") == content


def test_a_directory_is_read_and_a_blob_in_it_may_be_a_link(tmp_path: Path) -> None:
    for name, data in named(**{REF: "v1"}):
        path = tmp_path / "layout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    blob = tmp_path / "layout" / member_of(PACKED.image.config.digest)
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    image = resolve(str(tmp_path / "layout"))
    assert image.manifest == PACKED.image.manifest
    assert read(str(tmp_path / "layout"), image) == dict(PACKED.content)


def test_the_archive_of_this_collection_is_read(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path / "root"), "loaded-" + "0" * 20)
    stage(staging, PACKED.content)
    paths = {digest: staging.get_path(digest) for digest in PACKED.content}
    path = save(tmp_path, b"".join(ImageArchive(PACKED.image, paths)))
    assert resolve(path).manifest == PACKED.image.manifest
    assert read(path, resolve(path)) == dict(PACKED.content)


ARM = make(b"for arm", platform="linux/arm64")
# index.json has one entry for each platform, and does not name it.
SEVERAL = layout(
    [descriptor(made, **{NAME: "docker.io/library/app:v1"}) for made in (ARM, PACKED, PACKED)],
    {**ARM.content, **PACKED.content},
)
SAME = layout(
    [descriptor(made, **{NAME: "docker.io/library/app:v1"}) for made in (make(b"y"), PACKED)],
    {**PACKED.content, **make(b"y").content},
)
TWO = layout(
    [descriptor(PACKED, **{NAME: "localhost/app:v1"}), descriptor(make(b"y"), **{NAME: "docker.io/library/app:v1"})],
    {**PACKED.content, **make(b"y").content},
)


@pytest.mark.parametrize(
    ("members", "name", "config"),
    [
        (TWO, "localhost/app:v1", PACKED.image.config.digest),
        (TWO, "app:v1", make(b"y").image.config.digest),
        (nested(), f"app@{MANIFEST}", CONFIG),
        (DIRECTORY, f"other@{MANIFEST}", CONFIG),
        (SEVERAL, "app:v1", CONFIG),
        (named(), f"app@{PACKED.image.manifest.digest}", PACKED.image.config.digest),  # type: ignore[union-attr]
    ],
    ids=[
        "podman's own name",
        "the exact name goes before podman's",
        "the digest of an image of an index",
        "the digest in a directory",
        "platforms beside each other, which only the configs have",
        "by digest",
    ],
)
def test_a_name_finds_its_image(tmp_path: Path, members: Members, name: str, config: str) -> None:
    assert resolve(save(tmp_path, tar_of(members)), name, tag_as="app:v1").config.digest == config


@pytest.mark.parametrize(
    ("members", "name", "is_kept"),
    [
        (nested(), "app:v1", True),
        (nested(), f"app@{MANIFEST}", False),
        # An engine that keeps the index would also require this entry.
        (nested(more=[descriptor(make(b"z"))]), "app:v1", False),
        (KINDS["platforms beside each other"][0], "app:v1", False),
        (named(**{NAME: "docker.io/library/app:v1"}), "app:v1", False),
    ],
)
def test_the_index_is_part_of_the_image_where_an_engine_can_keep_it(
    tmp_path: Path, members: Members, name: str, is_kept: bool
) -> None:
    path = save(tmp_path, tar_of(members))
    image = resolve(path, name, tag_as="app:v1")
    assert image.manifest == PACKED.image.manifest
    if not is_kept:
        assert image.index is None
        return
    (top,) = json.loads(dict(members)["index.json"])["manifests"]
    assert image.index == Blob(top["digest"], top["size"], INDEX)
    assert digest_of(read(path, image)[image.index.digest]) == top["digest"]
    by_digest = resolve(path, f"app@{top['digest']}", tag_as="app:v1")
    assert (by_digest.index, by_digest.manifest) == (image.index, image.manifest)


def without(name: str, members: Members) -> Members:
    return [(member, data) for member, data in members if member != name]


def changed(name: str, members: Members) -> Members:
    """The same members, one with a flipped byte in its middle."""
    return [
        (member, data[:9] + bytes([data[9] ^ 1]) + data[10:] if member == name else data) for member, data in members
    ]


OCI = named(**{NAME: "docker.io/library/app:v1"})


@pytest.mark.parametrize(
    ("members", "entry", "message"),
    [
        (OCI, {"name": "other:v1"}, r"has no other:v1. The names in it are: docker.io/library/app:v1. Name one"),
        (TWO, {"name": "app:v9"}, r"has no app:v9. The names in it are: localhost/app:v1, docker.io"),
        (
            named(**{REF: "v2"}),
            {"name": "app:v1"},
            r"has no app:v1. The names in it are: v2. Name one of these, and se",
        ),
        (named(**{NAME: f"x@{MANIFEST}"}), {"name": "app:v1"}, r"names in it are: docker.io/library/x@sha256:"),
        (OLD, {"name": "app:v1@" + MANIFEST}, r"has a digest, but .* is in docker's format, which has no manifests"),
        (OCI, {"name": "app:v1@" + LAYER}, rf"disagree. In .* the tag v1 has the digest {MANIFEST}. Remove the wrong"),
        (
            nested(),
            {"name": "app:v1@" + MANIFEST},
            r"disagree. In .* has the digest .*. Remove the tag, and set tag_as",
        ),
        (
            OCI,
            {"name": "app@" + LAYER, "tag_as": "app:v1"},
            r"neither a manifest nor an index of app@.* docker.io/libr",
        ),
        (SAME, {"name": "app:v1"}, r"has 2 images of the name app:v1 for linux/amd64: sha256:.*, sha256:.*. Name one"),
        (
            SEVERAL,
            {"name": "app:v1", "platform": "linux/s390x"},
            r"has no app:v1 for linux/s390x. Available are: linux",
        ),
        (without(get_digest_hex(CONFIG), DIRECTORY), {"name": "app:v1"}, r"has no blobs/sha256/.*: the archive is inc"),
        (OCI, {"name": "app:v1", "platform": "linux/arm64"}, r"app:v1 is for linux/amd64 in .*, but linux/arm64 is"),
        (nested(), {"name": "app:v1", "platform": "linux/arm64"}, r"for linux/arm64, but has no manifest .* Choose"),
        (nested(), {"name": "app:v1", "platform": "linux/s390x"}, r"no image for linux/s390x. Available are: linux/ar"),
        (without(member_of(LAYER), OCI), {"name": "app:v1"}, rf"has no blob {LAYER}: the archive is incomplete"),
        (without(member_of(CONFIG), OCI), {"name": "app:v1"}, r"has no blobs/sha256/.*: the archive is incomplete"),
        (changed(member_of(CONFIG), OCI), {"name": "app:v1"}, rf"the blob {CONFIG} in .* is damaged"),
        (changed(member_of(MANIFEST), OCI), {"name": "app:v1"}, rf"the blob {MANIFEST} in .* is damaged"),
        (without("3/layer.tar", OLD), {"name": "app:v1"}, r"has no 2/layer.tar, which manifest.json lists for the l"),
        (docker(["app:v1"], [], []), {"name": "app:v1"}, r"lists 0 layers in manifest.json, the config .* has 2 diff"),
        ([*OCI, ("index.json", b"{}")], {"name": "app:v1"}, r"has index.json twice, so it could be two images"),
        ([("x/index.json", b"{}")], {"name": "app:v1"}, r"neither index.json nor manifest.json .*tar -C DIRECTORY"),
        ([("index.json", b"[]")], {"name": "app:v1"}, r"index.json of .* lists no manifests"),
        ([("index.json", b'{"manifests":[]}')], {"name": "app:v1"}, r"has no images. Save an image again"),
        ([("manifest.json", b"{}")], {"name": "app:v1"}, r"the manifest sha256:.* of .*: config is no JSON object"),
        ([("manifest.json", b"1")], {"name": "app:v1"}, r"manifest.json of .* is no list of images. Save the image ag"),
        ([("manifest.json", b"[{}]")], {"name": "app:v1"}, r"has an image without a config or layers"),
        (docker(None, [(link("a", "b"), b""), (link("b", "a"), b"")], ["a", "a"]), {"name": "app:v1"}, r"has no a, wh"),
        (
            docker(None, [(link("a", "../../etc/passwd"), b"")], ["../../etc/passwd", "a"]),
            {"name": "app:v1"},
            r"has no \.\./\.\./etc/passwd",
        ),
    ],
)
def test_what_is_not_there_or_damaged_is_refused(
    tmp_path: Path, members: Members, entry: dict[str, str], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        resolve(save(tmp_path, tar_of(members)), **entry)


@pytest.mark.parametrize(
    ("members", "name", "digest"),
    [(OCI, member_of(LAYER), LAYER), (OLD, "1/layer.tar", digest_of(LAYERS[0]))],
    ids=["layout", "docker 20.10"],
)
def test_a_flipped_byte_in_a_layer_is_refused_before_its_first_byte(
    tmp_path: Path, members: Members, name: str, digest: str
) -> None:
    path = save(tmp_path, tar_of(changed(name, members)))
    assert digest in {blob.digest for blob in resolve(path).list_blobs()}, "the layers are not read yet"
    message = rf"the blob {digest} in {path} is damaged: its content has the digest sha256:.* Copy or save"
    with pytest.raises(ImageError, match=message):
        ArchiveSource(path).verify([digest], nothing)
    with pytest.raises(ImageError, match=message), ArchiveSource(path, verify=True).open(request(digest)):
        pass


@pytest.mark.parametrize(
    ("members", "name", "digest"),
    [(OCI, member_of(LAYER), LAYER), (OLD, "1/layer.tar", digest_of(LAYERS[0]))],
    ids=["layout", "docker 20.10"],
)
def test_a_flipped_byte_in_a_compressed_archive_is_refused_where_its_layers_are_staged(
    tmp_path: Path, members: Members, name: str, digest: str
) -> None:
    path = save(tmp_path, gzip.compress(tar_of(changed(name, members))))
    image = resolve(path)
    with pytest.raises(ImageError, match=rf"{path} has no content with the digest {digest}: it is damaged, or was cha"):
        unpack(path, image, tmp_path / "root")


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place:][1:]


ARCHIVE = gzip.compress(tar_of(OCI), mtime=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ARCHIVE[:-1], r"is compressed with gzip, and is truncated: its compressed content has no end. Copy or save"),
        (ARCHIVE[: len(ARCHIVE) // 2], r"is compressed with gzip, and is truncated"),
        (flip(ARCHIVE, len(ARCHIVE) - 8), r"is compressed with gzip, and is damaged: .*incorrect data check.* Copy or"),
        (
            gzip.compress(tar_of(OCI)[:-3000], mtime=0),
            r"is no tar archive, or is damaged: unexpected end of data. Save the im",
        ),
        (ARCHIVE + b"\x1f\x8b" + bytes(9), r"is compressed with gzip, and is damaged"),
        (gzip.compress(b"", mtime=0), r"has neither index.json nor manifest.json|is no tar archive"),
        (gzip.compress(gzip.compress(tar_of(OCI), mtime=0), mtime=0), r"is no tar archive, or is damaged"),
    ],
)
def test_a_compressed_archive_that_is_damaged_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = save(tmp_path, data)
    with pytest.raises(ImageError, match=message):
        resolve(path)


def test_bytes_after_a_compressed_archive_are_ignored_as_gzip_does(tmp_path: Path) -> None:
    assert resolve(save(tmp_path, ARCHIVE + b"garbage")).config.digest == CONFIG


@pytest.mark.parametrize(
    ("compress", "program"),
    [
        (lambda data: b"\x28\xb5\x2f\xfd" + data, "unzstd"),
        (lambda data: b"BZh" + data, "bunz"),
    ],
)
def test_a_compressed_archive_is_refused(tmp_path: Path, compress: Callable[[bytes], bytes], program: str) -> None:
    with pytest.raises(
        ImageError, match=rf"is compressed with .*, and only gzip is read. Uncompress it with {program}"
    ):
        resolve(save(tmp_path, compress(tar_of(OCI))))


@pytest.mark.parametrize("path", [None, "", "/nowhere/x.tar", "/dev/null"])
def test_a_path_that_is_no_archive_is_refused(path: Optional[str]) -> None:
    with pytest.raises(ImageError, match="archive_path: "):
        ArchiveSource(path).make_offer(parse_requested_images([{"name": "app:v1"}]))


def test_an_archive_of_very_many_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tar_members._MAX_MEMBERS == 50_000
    monkeypatch.setattr(tar_members, "_MAX_MEMBERS", 500)
    path = save(tmp_path, tarfile.TarInfo("x").tobuf() * 501 + bytes(1024))
    with pytest.raises(ImageError, match="more than 500 members"):
        resolve(path)


# Every other damage ends in an image whose blobs have their digests, or in an error for an operator.


def check_read_or_refused(path: str) -> None:
    message = "read"
    try:
        read(path, resolve(path))
    except ImageError as error:
        message = str(error)
    assert 0 < len(message) < 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    data = tar_of(KINDS[kind][0])
    for size in {len(data) * 8 // 10, *range(max(0, len(data) - 8192), len(data), 512)}:
        check_read_or_refused(save(tmp_path, data[:size]))


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    data, chance = tar_of(KINDS[kind][0]), random.Random(kind)  # noqa: S311  no secret
    for _number in range(40):
        damaged = bytearray(data)
        for _count in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        check_read_or_refused(save(tmp_path, bytes(damaged)))


_NAMES = st.sampled_from(["index.json", "manifest.json", "../x", "/etc/passwd", "a", "b", "./a", "", "x" * 400])


@hypothesis.given(
    st.lists(
        st.tuples(_NAMES, st.sampled_from(sorted(b"0123456SLKxgXZ")), _NAMES, st.binary(max_size=600)), max_size=6
    ),
    st.integers(-1, 2**40),
)
@hypothesis.settings(deadline=None, max_examples=30, database=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_any_members_are_read_or_refused(tmp_path: Path, members: list[tuple[str, int, str, bytes]], size: int) -> None:
    out = io.BytesIO()
    for number, (name, kind, target, data) in enumerate(members):
        info = link(name, target, bytes([kind]))
        info.size = len(data) if number else max(0, size)
        out.write(info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512))
    check_read_or_refused(save(tmp_path, out.getvalue() + bytes(1024)))
    check_read_or_refused(save(tmp_path, tar_of(OLD)[:-1024] + out.getvalue() + bytes(1024)))


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.sampled_from([MANIFEST, INDEX, "a"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["manifests", "digest", "mediaType", "annotations", NAME, REF, "size", "platform", "Config", "Layers"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@hypothesis.given(_JSON, _JSON)
@hypothesis.settings(deadline=None, max_examples=30, database=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_any_documents_are_read_or_refused(tmp_path: Path, index: Any, manifest: Any) -> None:
    documents = [("index.json", json.dumps(index).encode()), ("manifest.json", json.dumps(manifest).encode())]
    check_read_or_refused(save(tmp_path, tar_of([*documents, *without("index.json", OCI)])))
    check_read_or_refused(save(tmp_path, tar_of([*documents[1:], *without("index.json", OCI)])))
