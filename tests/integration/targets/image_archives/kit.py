# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that real programs save, and transfers of them."""

from __future__ import annotations

import gzip
import json
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import StagedBlobSource, TransferRequest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_source import ArchiveSource, is_packed
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive
from ansible_collections.daytwo.aws.plugins.module_utils._image.host import apply_phase
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Blob, Bundle, BundleImage
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from integration.targets.image_engines import kit as engines
from integration.targets.image_engines.images import (
    INDEX,
    Made,
    add_index,
    digest_of,
    make_image,
    make_index_archive,
    make_layer,
    to_descriptor,
)
from integration.targets.image_engines.kit import ContainerdHost, DockerHost, EngineHost, run_program
from integration.targets.image_engines.test_engines import nothing, read_text
from integration.targets.image_engines.test_podman import Podman
from testbed import packages

ARM_LAYER = make_layer({"text": b"arm"})


def ensure_programs() -> None:
    engines.ensure_programs()
    if not shutil.which("skopeo", path=packages.SEARCH):
        packages.install(["skopeo"])


@dataclass
class Programs:
    """The programs that save images."""

    directory: Path
    docker: DockerHost
    containerd: ContainerdHost
    podman: Podman = field(init=False)

    def __post_init__(self) -> None:
        (self.directory / "p").mkdir()
        self.podman = Podman(self.directory / "p")

    def wipe(self) -> None:
        """Removes all images."""
        if found := self.docker.call("images", "--all", "--quiet", "--no-trunc").split():
            self.docker.call("rmi", "--force", *dict.fromkeys(found))
        if found := sorted(self.containerd.list_names()):
            self.containerd.call("images", "rm", "--sync", *found)
        self.podman("rmi", "--all", "--force")

    def skopeo(self, source: str, destination: str, *options: str) -> None:
        run_quietly(["skopeo", "--insecure-policy", "copy", "--quiet", *options, source, destination])

    def load(self, host: EngineHost, made: Made) -> None:
        """Loads an image from the archive that every engine loads."""
        data = make_archive(made, self.directory / "staging")
        if isinstance(host, DockerHost):
            host.call("load", data=data)
            host.call("tag", made.config, made.image.tag)
            return
        host.call("images", "import", "--base-name", "x", "--digests", "-", data=data)
        host.call("images", "tag", "--force", f"x@{made.manifest}", made.image.tag)


def make_archive(made: Made, root: Path) -> bytes:
    staging = made.stage(root)
    paths = {digest: staging.get_path(digest) for digest in made.content}
    data = b"".join(ImageArchive(made.image, paths))
    staging.remove()
    return data


def run_quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)


def write_layout(directory: Path, made: Made) -> str:
    """An OCI image layout, as the source of skopeo. Returns its name for skopeo."""
    top = made.image.index or made.image.manifest
    assert top
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in made.content.items():
        (blobs / digest[7:]).write_bytes(data)
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = {**to_descriptor(top), "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{directory}:v1"


# How a program saves an image: it writes the path.

Save = Callable[[Programs, Made, Path], None]


def save_with_docker(programs: Programs, made: Made, path: Path) -> None:
    """Two images, one of which has the other's layers, and three names."""
    tag, docker = made.image.tag, programs.docker
    programs.load(docker, made)
    base = make_image(tag.replace(":v1", ":base"), *made_layers(made)[1:-1])
    programs.load(docker, base)
    other = tag.replace(":v1", ":other")
    docker.call("tag", tag, other)
    docker.call("save", "--output", str(path), base.image.tag, tag, other)


def made_layers(made: Made) -> list[bytes]:
    return [gzip.decompress(made.content[layer.blob.digest]) for layer in made.image.layers]


def save_with_podman(*options: str) -> Save:
    def save(programs: Programs, made: Made, path: Path) -> None:
        programs.podman.load(made.image, dict(made.content))
        programs.podman("tag", made.config.partition(":")[2], made.image.tag)
        programs.podman("save", "--quiet", *options, "--output", str(path), made.image.tag)

    return save


def save_with_ctr(*options: str) -> Save:
    def save(programs: Programs, made: Made, path: Path) -> None:
        tag, containerd = made.image.tag, programs.containerd
        if made.image.index:
            containerd.call("images", "import", "--all-platforms", "--digests", "-", data=make_index_archive(tag, made))
        else:
            programs.load(containerd, made)
        containerd.call("images", "export", *options, str(path), tag)

    return save


def save_with_skopeo(transport: str, *options: str) -> Save:
    def save(programs: Programs, made: Made, path: Path) -> None:
        source = path.with_name(path.name + ".source")
        programs.skopeo(write_layout(source, made), transport.format(path=path, tag=made.image.tag), *options)
        shutil.rmtree(source)

    return save


def save_as_this_collection(programs: Programs, made: Made, path: Path) -> None:
    path.write_bytes(make_archive(made, programs.directory / "staging"))


def compressed(save: Save) -> Save:
    def save_and_compress(programs: Programs, made: Made, path: Path) -> None:
        save(programs, made, path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return save_and_compress


def packed(save: Save) -> Save:
    """A directory that is packed by hand: tar -C DIRECTORY ."""

    def save_and_pack(programs: Programs, made: Made, path: Path) -> None:
        directory = path.with_name(path.name + ".directory")
        save(programs, made, directory)
        with tarfile.open(path, "w") as archive:
            archive.add(directory, ".")
        shutil.rmtree(directory)

    return save_and_pack


@dataclass(frozen=True)
class Kind:
    """An archive of a program. C(manifest): it has the image's manifest, byte by byte. C(index): the image is one
    of an index. C(named): the archive has the image's name."""

    save: Save
    manifest: bool = False
    index: bool = False
    named: bool = True


KINDS = {
    "docker save": Kind(save_with_docker),
    "docker save | gzip": Kind(compressed(save_with_docker)),
    "podman save": Kind(save_with_podman("--format=docker-archive")),
    "podman save, oci-archive": Kind(save_with_podman("--format=oci-archive")),
    "podman save, oci-dir": Kind(save_with_podman("--format=oci-dir")),
    "podman save, docker-dir": Kind(save_with_podman("--format=docker-dir"), named=False),
    "ctr export": Kind(save_with_ctr(), manifest=True),
    "ctr export | gzip": Kind(compressed(save_with_ctr()), manifest=True),
    "ctr export of an index": Kind(save_with_ctr(), manifest=True, index=True),
    "ctr export --all-platforms": Kind(save_with_ctr("--all-platforms"), manifest=True, index=True),
    "skopeo, oci": Kind(save_with_skopeo("oci:{path}:v1"), manifest=True),
    "skopeo, oci, packed with tar": Kind(packed(save_with_skopeo("oci:{path}:v1")), manifest=True),
    "skopeo, oci --all": Kind(save_with_skopeo("oci:{path}:v1", "--all"), manifest=True, index=True),
    "skopeo, oci-archive": Kind(save_with_skopeo("oci-archive:{path}:v1"), manifest=True),
    "skopeo, docker-archive": Kind(save_with_skopeo("docker-archive:{path}:{tag}")),
    "skopeo, dir": Kind(save_with_skopeo("dir:{path}"), manifest=True, named=False),
    "skopeo, dir --all": Kind(save_with_skopeo("dir:{path}", "--all"), manifest=True, index=True, named=False),
    "this collection": Kind(save_as_this_collection, manifest=True, named=False),
}


@dataclass(frozen=True)
class Saved:
    """An archive, and the image that was saved."""

    path: Path
    made: Made

    @property
    def text(self) -> str:
        """What its container prints."""
        return read_text(self.made)


def save_versions(programs: Programs, kind: Kind, directory: Path) -> tuple[Saved, Saved]:
    """Two versions of an image that no other test has. They share all layers but the last."""
    unique = secrets.token_hex(8)
    middle = make_layer({"middle": secrets.token_bytes(100_000)})
    tag = f"registry.example:5000/team/{unique}:v1"
    saved = []
    for number in (1, 2):
        made = make_image(tag, middle, make_layer({"text": f"{unique} {number}".encode()}))
        if kind.index:
            arm = make_image(tag, middle, ARM_LAYER, architecture="arm64")
            made = add_every_platform(made, arm)
        path = directory / f"{number}.saved"
        kind.save(programs, made, path)
        saved.append(Saved(path, made))
        programs.wipe()
    return saved[0], saved[1]


def add_every_platform(made: Made, other: Made) -> Made:
    """The image with an index, of which both images are present, and no attestation."""
    indexed = add_index(made, other)
    document = json.loads(indexed.content[indexed.index])
    document["manifests"] = document["manifests"][1:]
    data = json.dumps(document).encode()
    index = Blob(digest_of(data), len(data), INDEX)
    return Made(replace(made.image, index=index), {**other.content, **made.content, index.digest: data})


@dataclass(frozen=True)
class Transferred:
    """The image as the source has it, and the digests that were sent."""

    image: BundleImage
    sent: frozenset[str]


class Transfer:
    """Transfers from an archive to an engine of this machine, with the phases of a source."""

    def __init__(self, root: Path, host: EngineHost) -> None:
        self._root, self._host = root, host

    def __call__(self, path: Path, tag: str, name: Optional[str] = None) -> Transferred:
        """Raises ImageError if the source or the target refuses the image."""
        params: dict[str, Any] = {
            **dict.fromkeys(("registry_username", "registry_password", "registry_config_path", "ca_path")),
            "state": "saved",
            "source": "archive",
            "archive_path": str(path),
            "bandwidth_limit": None,
            "images": [{"name": name or tag, "tag_as": tag}],
            "staging_dir": str(self._root),
            "bundle": None,
        }

        def call(phase: str, **work: Any) -> Mapping[str, Any]:
            empty = dict.fromkeys(("token", "digests", "transfers", "targets", "platform"))
            work = {**empty, "phase": phase, "seconds": 60, **work}
            return apply_phase({**params, "work": work}, run_program)

        engine = self._host.make_engine()
        facts = engine.read_facts(str(self._root))
        params["bundle"] = call("inspect", platform=facts.platform)["bundle"]
        bundle = Bundle.parse(params["bundle"])
        plans = plan_load(bundle, facts)
        digests = list(dict.fromkeys(blob.digest for plan in plans for blob in plan.blobs))
        # A tag that moves back to an image that is there needs no blob.
        if any(plan.action != "none" for plan in plans):
            try:
                self._load(bundle, digests, call, path)
            finally:
                call("clean")
        assert not self._root.exists()
        return Transferred(bundle.images[0], frozenset(digests))

    def _load(self, bundle: Bundle, digests: list[str], call: Any, path: Path) -> None:
        state = call("export", token=secrets.token_hex(16), digests=digests)
        if state["error"]:
            raise ImageError(state["error"])
        assert state["status"] == "done"
        source: Any = ArchiveSource(str(path))
        if is_packed(str(path)):
            source = StagedBlobSource(Staging(str(self._root), bundle.get_directory_name("saved")))
        staging = Staging(str(self._root), bundle.get_directory_name("loaded"))
        staging.create()
        try:
            for digest in digests:
                with source.open(TransferRequest(digest, "x", 0, 0, 0, "https://x.test/", {}, "x")) as file:
                    staging.get_path(digest).write_bytes(file.read(10**9))
            result = load_bundle(bundle, self._host.make_engine(), staging, nothing)
        finally:
            staging.remove()
        (outcome,) = result["loaded"]
        if outcome["error"]:
            raise ImageError(outcome["error"])
        assert outcome["done"]
        assert result["cleanup_error"] is None
