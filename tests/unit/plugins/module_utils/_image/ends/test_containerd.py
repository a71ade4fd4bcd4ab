# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd through ctr, against a function that prints what the test's ctr prints. Real ones: image_engines."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import containerd
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.containerd import ContainerdEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import EngineError, KeptIndex
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob, Bundle, compute_chain_ids
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    Made,
    add_index,
    digest_of,
    make,
    nothing,
)

V1 = make(b"base", b"middle", b"top")
V2 = make(b"base", b"middle", b"new")
PART = make(b"base")
DIRECTORY = "/srv/x y/loaded-00112233445566778899"
TEMPORARY = "daytwo.aws.image-transfer:/srv/x%20y/loaded-00112233445566778899@"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
VERSION = "Client:\n  Version:  1.6.20~ds1\n\nServer:\n  Version:  1.6.20~ds1\n  Revision: x\n"
PLUGINS = """Type:          io.containerd.content.v1
ID:            content
Exports:
               root      /nowhere/content

Type:          io.containerd.snapshotter.v1
ID:            overlayfs
Platforms:     linux/amd64
Exports:
               root      /
                            \x20
Type:          io.containerd.grpc.v1
ID:            cri
Error:
               Code:        Unknown
"""
CRI = PLUGINS.replace("Error:\n               Code:        Unknown\n", "Platforms:     linux/amd64\n")


def manifest_of(made: Made) -> str:
    assert made.image.manifest
    return made.image.manifest.digest


@dataclass
class Ctr:
    """A ctr: prints tables of its names, blobs and snapshots, and takes imports."""

    names: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # name -> type, digest, labels
    blobs: dict[str, bytes] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)  # a command's output instead of the right one
    refused: dict[str, str] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    help: str = ""
    plugins: str = PLUGINS
    managed: str = "io.cri-containerd.image=managed"
    imported: Optional[Callable[[Ctr, dict[str, bytes], list[str]], str]] = None

    def has(self, made: Made, *names: str, unpacked: bool = True) -> Ctr:
        assert made.image.manifest
        self.blobs.update(made.content)
        for name in names:
            labels = f"{self.managed},io.cri-containerd.pinned=pinned"
            self.names[name] = (made.image.manifest.media_type, made.image.manifest.digest, labels)
        if unpacked:
            chain = compute_chain_ids(made.image.diff_ids)
            self.snapshots.update(dict(zip(chain, ("", *chain))))
            self.labels[made.image.config.digest] = f"containerd.io/gc.ref.snapshot.overlayfs={chain[-1]}"
        return self

    def run(self, command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        data = b""
        if command[0] == "/bin/sh":
            command = command[4:]
            if "import" in command:
                with os.fdopen(os.dup(descriptors[0]), "rb") as stdin:
                    data = stdin.read()
        assert command[0] == "ctr"
        assert command[1:7:2] == ["--address", "--namespace", "--timeout"]
        arguments = command[7:]
        self.calls.append(arguments)
        name = " ".join(argument for argument in arguments[:4] if argument in SUBCOMMANDS)
        if name in self.refused:
            return 1, "", self.refused[name]
        output = self.printed.get(name) or getattr(self, f"_{name.replace(' ', '_')}")(arguments, data)
        if len(descriptors) == 2:
            os.write(descriptors[1], output if isinstance(output, bytes) else b"")
            return 0, "", output if isinstance(output, str) else ""
        return 0, output, ""

    def _namespaces_list(self, *_: object) -> str:
        return "default\nk8s.io\n"

    def _version(self, *_: object) -> str:
        return VERSION

    def _plugins_ls(self, *_: object) -> str:
        return self.plugins

    def _images_ls(self, *_: object) -> str:
        rows = [
            f"{name} {kind} {digest} 1.0 KiB linux/amd64 {labels}"
            for name, (kind, digest, labels) in self.names.items()
        ]
        return "\n".join(["REF   TYPE DIGEST SIZE PLATFORMS LABELS ", *rows, ""])

    def _content_ls(self, *_: object) -> str:
        rows = [f"{digest}\t1kB\t4 minutes\t{self.labels.get(digest, '-')}" for digest in self.blobs]
        return "\n".join(["DIGEST\tSIZE\tAGE\t\tLABELS", *rows, ""])

    def _snapshots_ls(self, *_: object) -> str:
        rows = [f"{key} {parent} Committed " for key, parent in self.snapshots.items()]
        return "\n".join(["KEY PARENT KIND ", *rows, "container sha256:" + "0" * 64 + " Active", ""])

    def _content_get(self, arguments: list[str], _data: bytes) -> bytes:
        return self.blobs[arguments[-1]]

    def _images_rm(self, arguments: list[str], _data: bytes) -> str:
        for name in arguments[2:]:
            self.names.pop(name, None)
        return ""

    def _images_label(self, arguments: list[str], _data: bytes) -> str:
        kind, digest, labels = self.names[arguments[2]]
        self.names[arguments[2]] = (kind, digest, f"{labels},{arguments[3]}")
        return ""

    def _images_import(self, arguments: list[str], data: bytes) -> str:
        if "--help" in arguments:
            return self.help or "--base-name"
        with tarfile.open(fileobj=io.BytesIO(data)) as opened:
            files = {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]
        if self.imported:
            return self.imported(self, files, arguments)
        self.take(files, arguments)
        return ""

    def take(self, files: dict[str, bytes], arguments: list[str]) -> None:
        """Imports as ctr does: names come from annotations, or are made of C(--base-name) and the digest."""
        self.blobs.update({f"sha256:{name[-64:]}": data for name, data in files.items() if name.startswith("blobs/")})
        for entry in json.loads(files["index.json"])["manifests"]:
            name = entry.get("annotations", {}).get("io.containerd.image.name")
            if not name:
                name = f"{arguments[arguments.index('--base-name') + 1]}@{entry['digest']}"
            self.names[name] = (entry["mediaType"], entry["digest"], self.managed)
            if entry["mediaType"] == INDEX_TYPE:
                continue
            config = json.loads(self.blobs[entry["digest"]])["config"]["digest"]
            chain = compute_chain_ids(json.loads(self.blobs[config])["rootfs"]["diff_ids"])
            self.snapshots.update(dict(zip(chain, ("", *chain))))


SUBCOMMANDS = [
    "version",
    "namespaces",
    "list",
    "plugins",
    "images",
    "content",
    "snapshots",
    "ls",
    "get",
    "rm",
    "label",
    "import",
    "export",
]


@pytest.fixture
def address() -> Iterator[str]:
    """A socket on which something listens. Its path has at most 107 characters."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{directory}/c.sock")
        server.listen(64)
        yield f"{directory}/c.sock"


@pytest.fixture
def make_engine(address: str) -> Callable[..., ContainerdEngine]:
    def make_engine(ctr: Ctr, namespace: str = "k8s.io", **options: Any) -> ContainerdEngine:
        return ContainerdEngine(f"unix://{address}", namespace, 60, ctr.run, **options)

    return make_engine


MakeEngine = Callable[..., ContainerdEngine]


def archive_of(made: Made, tmp_path: Path) -> ImageArchive:
    paths = {}
    for digest, data in made.content.items():
        paths[digest] = tmp_path / digest[7:]
        paths[digest].write_bytes(data)
    return ImageArchive(made.image, paths, DIRECTORY)


# -- what it has


def test_facts(make_engine: MakeEngine, tmp_path: Path) -> None:
    ctr = Ctr().has(V1, "registry.test/app:v1", "docker.io/library/app:v2", "app:raw", V1.image.config.digest)
    ctr.has(PART, f"{TEMPORARY}{manifest_of(PART)}", PART.image.config.digest)
    ctr.names["artifact.example/chart:1"] = ("application/vnd.oci.image.manifest.v1+json", digest_of(b"{}"), "-")
    ctr.blobs[digest_of(b"{}")] = b"{}"
    ctr.names["gone.example/x:1"] = ("application/vnd.oci.image.manifest.v1+json", digest_of(b"gone"), "-")
    facts = make_engine(ctr).read_facts(str(tmp_path))
    assert (facts.engine, facts.version, facts.storage) == ("containerd", "1.6.20~ds1", "overlayfs")
    (image,) = facts.images
    assert (image.engine_id, image.config_digest) == (manifest_of(V1), V1.image.config.digest)
    assert image.names == ("registry.test/app:v1", "app:v2")
    # The base belongs to both images, so it stays if the transfer is given up.
    assert facts.chain_ids == set(compute_chain_ids(V1.image.diff_ids))
    assert facts.preloaded == {"loaded-00112233445566778899": frozenset(PART.image.diff_ids)}
    assert facts.root is not None
    assert len(ctr.calls) < 20


def test_preloaded_layers_are_listed_apart(make_engine: MakeEngine, tmp_path: Path) -> None:
    ctr = Ctr().has(PART, f"{TEMPORARY}{manifest_of(PART)}", PART.image.config.digest)
    engine = make_engine(ctr)
    facts = engine.read_facts(str(tmp_path))
    assert (facts.images, facts.chain_ids) == ((), frozenset())
    assert facts.include_preloaded("loaded-00112233445566778899").chain_ids == set(PART.image.diff_ids)
    ((image, directory),) = engine.list_preloaded()
    assert (image.names, directory) == ((), DIRECTORY)
    engine.remove(image)
    assert ctr.names == {}


def test_a_temporary_name_goes_alone_where_somebody_has_named_the_image(make_engine: MakeEngine) -> None:
    ctr = Ctr().has(V1, f"{TEMPORARY}{manifest_of(V1)}", V1.image.config.digest, "registry.test/app:v1")
    engine = make_engine(ctr)
    engine.remove(engine.list_preloaded()[0][0])
    assert set(ctr.names) == {V1.image.config.digest, "registry.test/app:v1"}


def test_an_image_that_is_not_unpacked_does_not_count(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(Ctr().has(V1, "registry.test/app:v1", unpacked=False))
    (image,) = engine.read_facts(str(tmp_path)).images
    assert (image.names, image.config_digest) == (("registry.test/app:v1",), None)
    stored = engine.find("registry.test/app:v1")
    assert stored
    assert stored.config_digest == V1.image.config.digest


def make_index(ctr: Ctr, *platforms: str) -> None:
    entries = [
        {
            "mediaType": "x",
            "digest": manifest_of(made),
            "size": 1,
            "platform": dict(zip(("os", "architecture"), platform.split("/"))),
        }
        for made, platform in zip((V1, V2), platforms)
    ]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
    ctr.blobs[digest_of(index)] = index
    ctr.names["registry.test/multi:v1"] = (INDEX_TYPE, digest_of(index), "-")


@pytest.mark.parametrize(
    ("platforms", "present", "expected"),
    [
        (("linux/arm64", "linux/amd64"), (V1, V2), V2),
        (("linux/arm64", "linux/amd64"), (V2,), V2),
        (("linux/arm64", "linux/amd64"), (V1,), None),
        (("linux/arm64", "linux/s390x"), (V1,), V1),
        (("linux/arm64", "linux/s390x"), (V1, V2), None),
    ],
)
def test_an_index_is_the_image_for_this_host(
    make_engine: MakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    platforms: tuple[str, ...],
    present: tuple[Made, ...],
    expected: Optional[Made],
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    ctr = Ctr()
    for made in present:
        ctr.has(made)
    make_index(ctr, *platforms)
    engine = make_engine(ctr)
    if expected is None:
        with pytest.raises(
            EngineError, match=r"multi:v1 is an index, of which containerd has no image for linux/amd64"
        ):
            engine.find("registry.test/multi:v1")
        return
    stored = engine.find("registry.test/multi:v1")
    assert stored
    assert stored.engine_id == manifest_of(expected)


@pytest.mark.parametrize(
    ("version", "zstd"), [("1.4.13", False), ("1.5.0", True), ("v2.2.7", True), ("1.10.1", True), ("unknown", True)]
)
def test_zstd_is_known_by_the_version(make_engine: MakeEngine, tmp_path: Path, version: str, zstd: bool) -> None:
    ctr = Ctr(printed={"version": f"Client:\n  Version:  9\n\nServer:\n  Version:  {version}\n"})
    assert make_engine(ctr).read_facts(str(tmp_path)).zstd is zstd


# -- loads


def test_an_image_is_loaded_under_a_temporary_name_and_then_named(make_engine: MakeEngine, tmp_path: Path) -> None:
    ctr = Ctr().has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    engine.load(archive_of(V2, tmp_path), nothing)
    assert set(ctr.names) == {"registry.test/app:v1", f"{TEMPORARY}{manifest_of(V2)}"}
    stored = engine.find(V2.image.config.digest)
    assert stored
    assert stored.names == ()
    engine.tag(stored, "registry.test/app:v1", manifest_of(V2))
    assert set(ctr.names) == {"registry.test/app:v1", f"registry.test/app@{manifest_of(V2)}"}
    assert "io.cri-containerd.pinned=pinned" in ctr.names["registry.test/app:v1"][2]
    assert "pinned" not in ctr.names[f"registry.test/app@{manifest_of(V2)}"][2]
    assert not [call for call in ctr.calls if "tag" in call]


def keep_index(made: Made) -> KeptIndex:
    assert made.image.index
    return KeptIndex(made.image.index.media_type, made.content[made.image.index.digest])


def test_an_image_is_found_by_its_index(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    made = add_index(V1)
    assert made.image.index
    by_index = f"registry.test/app@{made.image.index.digest}"
    ctr = Ctr(plugins=CRI).has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    bundle = Bundle((replace(made.image, tag="registry.test/app:v1"),))
    (plan,) = plan_load(bundle, engine.read_facts("/"))
    assert (plan.action, plan.reason, plan.blobs) == (
        "tag",
        "the image is present, but not by its index's digest",
        (made.image.index,),
    )
    stored = engine.find(manifest_of(V1))
    assert stored
    engine.tag(stored, "registry.test/app:v1", manifest_of(V1), keep_index(made))
    # The tag is the last name, so a killed run leaves no tag without the other names.
    assert list(ctr.names)[1:] == [f"registry.test/app@{manifest_of(V1)}", by_index]
    assert ctr.names[by_index][:2] == (INDEX_TYPE, made.image.index.digest)
    assert "pinned" not in ctr.names[by_index][2]
    (call,) = [call for call in ctr.calls if call[:2] == ["images", "import"] and "--help" not in call]
    assert call[-3:] == ["--platform", "linux/amd64", "-"]
    assert plan_load(bundle, engine.read_facts("/"))[0].action == "none"
    # As a source, it has the index by each name of the repository.
    for name in ("registry.test/app:v1", by_index, f"registry.test/app@{manifest_of(V1)}"):
        found = engine.find(name)
        assert found
        assert (found.engine_id, found.index) == (manifest_of(V1), made.image.index)
    # A name that the CRI has not taken over is no name for pods.
    ctr.names[by_index] = (*ctr.names[by_index][:2], "-")
    assert plan_load(bundle, engine.read_facts("/"))[0].action == "tag"


def test_a_name_of_an_index_keeps_referring_to_it(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    made = add_index(V1)
    ctr = Ctr().has(V1)
    make_index(ctr, "linux/amd64")
    held = ctr.names["registry.test/multi:v1"]
    engine = make_engine(ctr)
    stored = engine.find("registry.test/multi:v1")
    assert stored
    engine.tag(stored, "registry.test/multi:v1", manifest_of(V1), keep_index(made))
    assert ctr.names["registry.test/multi:v1"][:2] == held[:2]
    assert made.image.index
    assert f"registry.test/multi@{made.image.index.digest}" in ctr.names


def test_an_index_that_containerd_does_not_take_is_an_error(make_engine: MakeEngine) -> None:
    made = add_index(V1)
    ctr = Ctr(imported=lambda *_: "ctr: content digest sha256:b: not found").has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    stored = engine.find("registry.test/app:v1")
    assert stored
    with pytest.raises(EngineError, match=r"could not name the image .*has no registry.test/app@sha256.*not found"):
        engine.tag(stored, "registry.test/app:v1", manifest_of(V1), keep_index(made))


def test_the_image_with_the_requested_manifest_is_found(make_engine: MakeEngine) -> None:
    """The same image by docker save, for example, whose manifest nobody pins."""
    other = replace(V1.image, tag="registry.test/app:v1", manifest=replace_digest(V1))
    ctr = Ctr().has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    (plan,) = plan_load(Bundle((other,)), engine.read_facts("/"))
    assert (plan.action, plan.reason) == ("load", "the image is present with another manifest only")
    assert plan.blobs == (other.manifest, other.config)
    assert engine.find(str(other.manifest and other.manifest.digest)) is None


def replace_digest(made: Made) -> Blob:
    assert made.image.manifest
    return replace(made.image.manifest, digest=digest_of(b"another manifest"))


def test_a_namespace_that_does_not_exist_is_refused(make_engine: MakeEngine) -> None:
    for call in (lambda engine: engine.read_facts("/"), lambda engine: engine.find("x:v1")):
        with pytest.raises(EngineError, match=r"has no namespace k8s\.oi\. It has default, k8s\.io\. Set containerd_n"):
            call(make_engine(Ctr(), "k8s.oi"))
    assert make_engine(Ctr(), "default").read_facts("/").images == ()
    # The kubelet's is there once it runs.
    assert not [call for call in run_and_list_calls(make_engine) if call[0] == "namespaces"]


def run_and_list_calls(make_engine: MakeEngine) -> list[list[str]]:
    ctr = Ctr()
    make_engine(ctr).read_facts("/")
    return ctr.calls


def test_the_snapshotter_of_the_images_is_used_and_the_local_import(make_engine: MakeEngine, tmp_path: Path) -> None:
    soci = "Type:  io.containerd.snapshotter.v1\nID:  soci\n\n"
    ctr = Ctr(help="--local  Run import locally", plugins=soci + PLUGINS).has(V1, "registry.test/app:v1")
    ctr.labels = {
        V1.image.config.digest: f"a=b,containerd.io/gc.ref.snapshot.soci={digest_of(b'x')}",
        manifest_of(V1): f"containerd.io/gc.ref.snapshot.--evil={digest_of(b'x')}",
    }
    make_engine(ctr).load(archive_of(V2, tmp_path), nothing)
    assert ["snapshots", "--snapshotter", "soci", "ls"] in ctr.calls
    (call,) = [call for call in ctr.calls if call[:2] == ["images", "import"] and "--help" not in call]
    assert call[2:5] == ["--local", "--snapshotter", "soci"]


def test_which_of_two_snapshotters_pods_use_is_not_guessed(make_engine: MakeEngine) -> None:
    """As on a node with FastImagePull, whose pause image is unpacked for both."""
    soci = "Type:  io.containerd.snapshotter.v1\nID:  soci\n\n"
    ctr = Ctr(plugins=soci + PLUGINS).has(V1, "registry.test/app:v1").has(V2, "registry.test/app:v2")
    ctr.labels[V2.image.config.digest] = f"containerd.io/gc.ref.snapshot.soci={digest_of(b'x')}"
    with pytest.raises(EngineError, match="unpacked for the snapshotters overlayfs and soci"):
        make_engine(ctr).read_facts("/")
    # A snapshotter that is there no longer does not count.
    ctr.plugins = PLUGINS
    assert make_engine(ctr).read_facts("/").storage == "overlayfs"


def test_a_name_that_a_killed_run_left_without_its_labels_is_given_again(make_engine: MakeEngine) -> None:
    ctr = Ctr(plugins=CRI).has(V1, "registry.test/app:v1")
    bundle = Bundle((replace(V1.image, tag="registry.test/app:v1"),))
    assert plan_load(bundle, make_engine(ctr).read_facts("/"))[0].action == "none"
    for labels in ("io.cri-containerd.image=managed", "io.cri-containerd.pinned=pinned", "-"):
        ctr.names["registry.test/app:v1"] = (*ctr.names["registry.test/app:v1"][:2], labels)
        (plan,) = plan_load(bundle, make_engine(ctr).read_facts("/"))
        assert (plan.action, plan.reason) == ("tag", "the image is present, but its name lacks labels")
        assert plan.previous == manifest_of(V1)


def fail_without_a_name(_ctr: Ctr, _files: dict[str, bytes], _arguments: list[str]) -> str:
    return "warning\nctr: unexpected EOF"


def fail_to_unpack(ctr: Ctr, files: dict[str, bytes], arguments: list[str]) -> str:
    before = dict(ctr.snapshots)
    ctr.take(files, arguments)
    ctr.snapshots = before
    ctr.names[V2.image.config.digest] = ctr.names[f"{TEMPORARY}{manifest_of(V2)}"]
    return 'time="2026-12-01" level=warning msg="cgroup v1"\nctr: failed to extract layer\n'


@pytest.mark.parametrize(
    ("imported", "reason"), [(fail_without_a_name, "unexpected EOF"), (fail_to_unpack, "failed to extract layer")]
)
def test_a_failed_import_leaves_no_name(make_engine: MakeEngine, tmp_path: Path, imported: Any, reason: str) -> None:
    ctr = Ctr(plugins=CRI, imported=imported).has(V1, "registry.test/app:v1")
    with pytest.raises(EngineError, match=rf"could not load the image: [\s\S]*{reason}"):
        make_engine(ctr).load(archive_of(V2, tmp_path), nothing)
    assert set(ctr.names) == {"registry.test/app:v1"}


def test_a_name_that_cannot_be_removed_is_reported(make_engine: MakeEngine, tmp_path: Path) -> None:
    ctr = Ctr(imported=fail_to_unpack, refused={"images rm": "denied"})
    with pytest.raises(EngineError, match=r"failed to extract layer.*could not remove the temporary name daytwo"):
        make_engine(ctr).load(archive_of(V2, tmp_path), nothing)


def test_a_name_that_the_cri_does_not_take_over_is_an_error(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containerd, "_CRI_SECONDS", 0.2)
    ctr = Ctr(plugins=CRI, managed="-").has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    stored = engine.find("registry.test/app:v1")
    assert stored
    with pytest.raises(EngineError, match=r"app:v2, but its CRI plugin did not take the name over"):
        engine.tag(stored, "registry.test/app:v2")
    ctr.managed = "io.cri-containerd.image=managed"
    engine.tag(stored, "registry.test/app:v2")


def test_an_image_that_is_gone_is_an_error(make_engine: MakeEngine) -> None:
    ctr = Ctr().has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    stored = engine.find("registry.test/app:v1")
    assert stored
    ctr.names.clear()
    for call in (lambda: engine.tag(stored, "a.example/x:v1"), lambda: engine.list_blobs(stored)):
        with pytest.raises(EngineError, match=r"has registry\.test/app:v1 no longer"):
            call()


def test_layers_that_are_only_snapshots_cannot_be_exported(make_engine: MakeEngine) -> None:
    ctr = Ctr().has(V1, "registry.test/app:v1")
    engine = make_engine(ctr)
    stored = engine.find("registry.test/app:v1")
    assert stored
    blobs = engine.list_blobs(stored)
    assert (blobs.manifest, blobs.config) == (V1.image.manifest, V1.image.config)
    assert blobs.layers == tuple(layer.blob for layer in V1.image.layers)
    del ctr.blobs[V1.image.layers[0].blob.digest]
    with pytest.raises(EngineError, match=r"only snapshots of 1 of its 3 layers"):
        engine.list_blobs(stored)


# -- what is no containerd


ODD = ["", "\n", "garbage", "REF TYPE DIGEST SIZE PLATFORMS LABELS\nx y z", "\udc80\x00", "[" * 5000, "Type:\nID:\n"]
CALLS = ["images ls", "content ls", "snapshots ls", "plugins ls", "version", "content get"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", CALLS)
def test_odd_output_is_refused_or_ignored(make_engine: MakeEngine, tmp_path: Path, name: str, odd: str) -> None:
    printed: dict[str, Any] = {name: odd.encode(errors="surrogateescape") if name == "content get" else odd}
    engine = make_engine(Ctr(printed=printed).has(V1, "registry.test/app:v1"))
    for call in (
        lambda: engine.read_facts(str(tmp_path)),
        lambda: engine.find("registry.test/app:v1"),
        lambda: engine.find(V1.image.config.digest),
        engine.list_preloaded,
    ):
        with suppress(ImageError):
            call()


@pytest.mark.parametrize("digest", [manifest_of(V1), V1.image.config.digest])
def test_content_of_another_digest_is_damaged(make_engine: MakeEngine, tmp_path: Path, digest: str) -> None:
    ctr = Ctr().has(V1, "registry.test/app:v1")
    ctr.blobs[digest] = ctr.blobs[digest].replace(b"a", b"b")
    engine = make_engine(ctr)
    message = rf"the content {digest} of the image registry.test/app:v1 is damaged.*images rm registry.test/app:v1$"
    with pytest.raises(EngineError, match=message):
        engine.find("registry.test/app:v1")
    assert engine.read_facts(str(tmp_path)).images == ()


def test_a_refused_call_quotes_the_program(make_engine: MakeEngine) -> None:
    with pytest.raises(EngineError, match=r"containerd refused ctr images ls: ctr: disk full"):
        make_engine(Ctr(refused={"images ls": "ctr: disk full\n"})).find("x:v1")


def test_a_missing_program_is_named(address: str) -> None:
    def run(*_arguments: object) -> tuple[int, str, str]:
        raise FileNotFoundError(2, "No such file or directory", "ctr")

    with pytest.raises(EngineError, match=r"its client ctr cannot be started.*Install ctr"):
        ContainerdEngine(address, "k8s.io", 60, run).find("x:v1")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(), "containerd is missing: .* does not exist"),
        (PermissionError(), "containerd denies access: .*Use become"),
        (ConnectionRefusedError(), "containerd does not run"),
    ],
)
def test_a_socket_that_cannot_be_used_is_explained(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    class Refusing(socket.socket):
        def connect(self, _address: Any) -> None:
            raise error

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(EngineError, match=message):
        make_engine(Ctr()).find("x:v1")
