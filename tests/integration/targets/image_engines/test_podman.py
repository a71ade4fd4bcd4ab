# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real podman as a source and as a target, as root and as a user without privileges."""

from __future__ import annotations

import gzip
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.podman import PodmanEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.preload import (
    FetchedBlobs,
    preload_layers,
    remove_preloaded,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import EngineSource, parse_requested_images
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.target import load_bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import (
    Blob,
    Bundle,
    BundleImage,
    Layer,
    compute_chain_ids,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import plan_load
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from integration.targets.image_engines.images import digest_of, make_layer

MODULE_UTILS = Path(__file__).parents[4] / "plugins/module_utils"
CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
VAR_TMP = "/var/tmp"  # noqa: S108  where podman keeps temporary files by default
BUSYBOX = Path("/bin/busybox").read_bytes()
# What runs in this machine's control groups and without a bridge.
RUN = [
    *("run", "--rm", "--pull=never", "--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs", "--network=none"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
]
Content = dict[str, bytes]


def nothing(*_arguments: Any) -> None:
    """A progress callback that ignores everything."""


def image_of(tag: str, *layers: bytes, level: int = 6) -> tuple[BundleImage, Content]:
    """An image as a registry has it, with gzip layers. C(level) changes their digests, not their content."""
    content: Content = {}

    def blob(data: bytes, media_type: str) -> Blob:
        content[digest_of(data)] = data
        return Blob(digest_of(data), len(data), media_type)

    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Cmd": ["/bin/busybox", "cat", "/version"]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    config_blob = blob(json.dumps(config).encode(), CONFIG)
    made = tuple(Layer(blob(gzip.compress(layer, level, mtime=0), GZIP), digest_of(layer)) for layer in layers)
    descriptors = [
        {"mediaType": entry.media_type, "digest": entry.digest, "size": entry.size}
        for entry in (config_blob, *(layer.blob for layer in made))
    ]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
    manifest_blob = blob(json.dumps(manifest).encode(), MANIFEST)
    return BundleImage(tag, tag, "linux/amd64", manifest_blob, config_blob, made), content


# Digests of their own in each run: podman remembers digests of blobs for the user, outside of its storage.
BASE = make_layer({"bin/busybox": BUSYBOX, "salt": os.urandom(8)})
MIDDLE = make_layer({"middle": os.urandom(300_000)})


def version(tag: str, number: int, level: int = 6) -> tuple[BundleImage, Content]:
    return image_of(tag, BASE, MIDDLE, make_layer({"version": b"%d" % number}), level=level)


@dataclass
class Podman:
    """A podman with its own storage."""

    directory: Path
    calls: list[list[str]] = field(default_factory=list)

    @property
    def program(self) -> list[str]:
        directories = [f"--{name}={self.directory / name}" for name in ("root", "runroot", "tmpdir")]
        return ["podman", *directories, "--events-backend=none"]

    def run(self, command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        """Runs programs to their end, as Ansible does."""
        self.calls.append(command)
        at = command.index("podman")
        done = subprocess.run(
            [*command[:at], *self.program, *command[at + 1 :]],
            input=text.encode(),
            capture_output=True,
            pass_fds=descriptors,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self.program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def engine(self) -> PodmanEngine:
        return PodmanEngine(self.run, 60.0, str(self.directory / "staging"))

    def staging(self, image: BundleImage, content: Content, *left_out: Layer) -> Staging:
        staging = Staging(str(self.directory / "staging"), Bundle((image,)).get_directory_name("loaded"))
        staging.create()
        for digest, data in content.items():
            if digest not in {layer.blob.digest for layer in left_out}:
                staging.get_path(digest).write_bytes(data)
        return staging

    def transfer(self, image: BundleImage, content: Content, *left_out: Layer) -> Optional[str]:
        """Loads an image as a target does. Returns the error."""
        staging = self.staging(image, content, *left_out)
        result = load_bundle(Bundle((image,)), self.engine, staging, nothing)
        staging.remove()
        (outcome,) = result["loaded"]
        assert result["cleanup_error"] is None
        assert outcome["done"] is (outcome["error"] is None)
        error: Optional[str] = outcome["error"]
        return error

    def load(self, image: BundleImage, content: Content, *left_out: Layer) -> None:
        """Loads an image without the verification of its blobs."""
        staging = self.staging(image, content, *left_out)
        paths = {digest: staging.get_path(digest) for digest in content if staging.is_complete(digest)}
        try:
            self.engine.load(ImageArchive(image, paths, str(staging.directory)), nothing)
        finally:
            staging.remove()

    def plan(self, image: BundleImage) -> str:
        return plan_load(Bundle((image,)), self.engine.read_facts(str(self.directory)))[0].action

    @property
    def images(self) -> list[str]:
        entries = json.loads(self("images", "--all", "--format", "json") or "[]")
        return sorted({name for entry in entries for name in entry.get("Names") or [f"<none> {entry['Id'][:12]}"]})


@pytest.fixture
def podmans() -> Iterator[Callable[[], Podman]]:
    """Makes podmans. Podman's run root has at most 50 characters, and pytest's directories are long."""
    directories: list[Path] = []
    before = set(os.listdir(VAR_TMP))

    def make() -> Podman:
        directories.append(Path(tempfile.mkdtemp(prefix="podman-")))
        return Podman(directories[-1])

    yield make
    for directory in directories:
        # The storage driver mounts its directory.
        subprocess.run(["umount", str(directory / "root/overlay")], capture_output=True, check=False)
    left = [directory for directory in directories if (directory / "staging").exists()]
    for directory in directories:
        shutil.rmtree(directory)
    # The transfer's directories are gone, and podman left none of its temporary files.
    assert left == []
    assert set(os.listdir(VAR_TMP)) - before == set()


@pytest.fixture
def podman(podmans: Callable[[], Podman]) -> Podman:
    return podmans()


# -- a target


def test_first_transfer_then_nothing_then_only_the_new_layer(podman: Podman) -> None:
    image, content = version("registry.test:5000/team/app:v1", 1)
    assert podman.plan(image) == "load"
    assert podman.transfer(image, content) is None
    assert podman.images == ["registry.test:5000/team/app:v1"]
    assert podman(*RUN, "registry.test:5000/team/app:v1") == "1"
    assert podman.plan(image) == "none"

    update, new_content = version("registry.test:5000/team/app:v2", 2)
    facts = podman.engine.read_facts(str(podman.directory))
    (planned,) = plan_load(Bundle((update,)), facts)
    assert {blob.digest for blob in planned.blobs} == {
        blob.digest for blob in (update.manifest, update.config, update.layers[2].blob) if blob
    }
    assert podman.transfer(update, new_content, *update.layers[:2]) is None
    assert podman(*RUN, "registry.test:5000/team/app:v2") == "2"
    assert podman(*RUN, "registry.test:5000/team/app:v1") == "1"
    # The registry's manifest is kept, so a pod that pins the digest finds the image.
    for loaded in (image, update):
        pinned = f"registry.test:5000/team/app@{loaded.manifest.digest if loaded.manifest else None}"
        assert podman("image", "inspect", "--format", "sha256:{{.Id}}", pinned) == loaded.config.digest
        found = podman.engine.find(pinned)
        assert found is not None
        assert found.config_digest == loaded.config.digest


def test_facts_are_those_of_podman(podman: Podman) -> None:
    image, content = version("app:v1", 1)
    assert podman.transfer(image, content) is None
    facts = podman.engine.read_facts(str(podman.directory))
    assert (facts.engine, facts.platform, facts.zstd) == ("podman", "linux/amd64", True)
    assert facts.version == podman("version", "--format", "{{.Version}}")
    assert facts.storage == podman("info", "--format", "{{.Store.GraphDriverName}}")
    assert facts.root is not None
    assert facts.root.path == str(podman.directory / "root")
    (stored,) = facts.images
    assert (stored.config_digest, stored.diff_ids, stored.names) == (image.config.digest, image.diff_ids, ("app:v1",))
    assert facts.chain_ids == set(compute_chain_ids(image.diff_ids))


@pytest.mark.full
def test_layers_that_came_with_another_compression_are_left_out_as_well(podman: Podman) -> None:
    image, content = version("registry.test/app:v1", 1, level=1)
    assert podman.transfer(image, content) is None
    update, new_content = version("registry.test/app:v2", 2, level=9)
    assert update.layers[0].blob != image.layers[0].blob
    assert podman.transfer(update, new_content, *update.layers[:2]) is None
    assert podman(*RUN, "registry.test/app:v2") == "2"
    saved = subprocess.run([*podman.program, "save", "-q", "registry.test/app:v2"], capture_output=True, check=True)
    assert saved.stdout


@pytest.mark.full
def test_a_new_image_takes_the_name_of_the_old_image(podman: Podman) -> None:
    image, content = version("registry.test/app:v1", 1)
    assert podman.transfer(image, content) is None
    update, new_content = version("registry.test/app:v1", 2)
    assert podman.transfer(update, new_content) is None
    assert podman(*RUN, "registry.test/app:v1") == "2"
    assert podman.images == [f"<none> {image.config.digest[7:19]}", "registry.test/app:v1"]
    old = podman.engine.find(image.config.digest)
    assert old is not None
    podman.engine.remove(old)
    podman.engine.remove(old)
    assert podman.images == ["registry.test/app:v1"]


@pytest.mark.parametrize("tag", ["app:v1", "team/app:v1"])
def test_short_names_are_found_in_each_form(podman: Podman, tag: str) -> None:
    image, content = version(tag, 1)
    assert podman.transfer(image, content) is None
    canonical = f"docker.io/{tag if '/' in tag else f'library/{tag}'}"
    assert podman.images == [canonical]
    for name in (tag, canonical, f"docker.io/{tag}"):
        assert podman(*RUN, name) == "1"
    assert podman.plan(image) == "none"


@pytest.mark.full
def test_an_old_image_under_localhost_does_not_hide_the_new_image(podman: Podman) -> None:
    old, old_content = version("localhost/app:v1", 1)
    assert podman.transfer(old, old_content) is None
    assert podman(*RUN, "app:v1") == "1"
    image, content = version("docker.io/library/app:v1", 2)
    # Somebody pulled the new image: the short name still runs the old one.
    image = replace(image, tag="app:v1")
    podman.load(image, content)
    podman("tag", image.config.digest[7:], "docker.io/library/app:v1")
    assert podman(*RUN, "app:v1") == "1"
    with pytest.raises(EngineError, match="podman has two images of the name app:v1"):
        podman.engine.find("app:v1")
    assert podman.plan(image) == "tag"
    assert podman.transfer(image, content) is None
    assert podman.images == [f"<none> {old.config.digest[7:19]}", "docker.io/library/app:v1", "localhost/app:v1"]
    assert podman(*RUN, "app:v1") == "2"
    assert podman.plan(image) == "none"


@pytest.mark.full
def test_preloaded_layers_are_found_used_and_removed(podman: Podman) -> None:
    image, content = image_of("registry.test/app:v1", BASE, make_layer({"big": os.urandom(9_000_000)}), MIDDLE)
    staging = podman.staging(image, content, image.layers[2])
    fetched = FetchedBlobs({layer.blob.digest for layer in image.layers[:2]})
    engine, bundle = podman.engine, Bundle((image,))

    def end_when_loaded(*_arguments: object) -> None:
        fetched.end()

    preload_layers(bundle, engine, staging, fetched, end_when_loaded)
    ((partial, directory),) = engine.list_preloaded()
    assert (partial.diff_ids, partial.names, directory) == (image.diff_ids[:2], (), str(staging.directory))
    facts = engine.read_facts(str(podman.directory))
    assert facts.images == ()
    assert facts.chain_ids == frozenset()
    assert facts.preloaded == {staging.directory.name: frozenset(compute_chain_ids(image.diff_ids[:2]))}
    last = image.layers[2].blob.digest
    staging.get_path(last).write_bytes(content[last])
    for layer in image.layers[:2]:
        staging.discard(layer.blob.digest)
    result = load_bundle(bundle, engine, staging, nothing)
    assert result["loaded"][0]["error"] is None
    assert podman.images == ["registry.test/app:v1"]
    assert remove_preloaded(engine, staging) is None
    staging.remove()


@pytest.mark.full
def test_calls_do_not_grow_with_the_images(podman: Podman) -> None:
    for number in range(3):
        image, content = image_of(f"registry.test/app:v{number}", make_layer({"version": b"%d" % number}))
        podman.load(image, content)
    podman("manifest", "create", "registry.test/list:v1")
    podman.calls.clear()
    assert len(podman.engine.read_facts(str(podman.directory)).images) == 3
    assert len(podman.calls) == 3


# -- faults


def corrupt(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def test_damaged_archives_are_refused_and_the_old_tag_stays(podman: Podman) -> None:
    old, old_content = version("registry.test/app:v1", 1)
    assert podman.transfer(old, old_content) is None
    image, content = image_of("registry.test/app:v1", BASE, make_layer({"version": os.urandom(100_000)}))
    top, config = image.layers[1].blob.digest, image.config.digest
    for digest, damaged in (
        (top, corrupt(content[top], 50_000)),
        (top, content[top][: len(content[top]) * 8 // 10]),
        (top, content[top][:-100]),
        (config, content[config].replace(b"/version", b"/verbose")),
        (config, b"{}"),
    ):
        with pytest.raises(EngineError, match=r"podman could not load the image: .*([dD]igest|checksum|EOF)"):
            podman.load(image, {**content, digest: damaged})
        assert podman.images == ["registry.test/app:v1"]
    with pytest.raises(EngineError, match=f"reading blob {image.layers[1].diff_id}: .*no such file"):
        podman.load(image, {key: data for key, data in content.items() if key != top})
    assert podman.images == ["registry.test/app:v1"]
    assert podman(*RUN, "registry.test/app:v1") == "1"
    assert podman.plan(old) == "none"
    # Once the blobs are intact, the same transfer succeeds.
    assert podman.transfer(image, content) is None


@pytest.mark.full
def test_a_base_that_was_removed_is_a_clear_failure(podman: Podman) -> None:
    image, content = version("registry.test/app:v2", 2)
    with pytest.raises(EngineError, match=f"reading blob {image.layers[0].diff_id}: .*no such file"):
        podman.load(image, content, *image.layers[:2])
    assert podman.images == []


@pytest.mark.full
def test_a_full_disk_is_reported_and_leaves_nothing(podman: Podman) -> None:
    staging = podman.directory / "staging"
    staging.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=700", "none", str(staging)], check=True)
    try:
        image, content = image_of("registry.test/app:v1", make_layer({"big": os.urandom(3_000_000)}))
        with pytest.raises(EngineError, match="no space left on device"):
            podman.load(image, content)
        assert os.listdir(staging) == []
    finally:
        subprocess.run(["umount", str(staging)], check=True)
    staging.rmdir()
    assert podman.images == []


@pytest.mark.full
def test_a_killed_podman_leaves_nothing_after_the_next_run(podman: Podman) -> None:
    image, content = version("registry.test/app:v1", 1)
    kill = ["/bin/sh", "-c", 'head -c 500000 >"$TMPDIR/podman1"; exit 137']

    def run_killed(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        at = command.index("podman")
        return Podman.run(podman, [*command[:at], *kill, "podman"], text, descriptors)

    staging = podman.staging(image, content)
    archive = ImageArchive(image, {digest: staging.get_path(digest) for digest in content}, str(staging.directory))
    killed = PodmanEngine(run_killed, 60.0, str(podman.directory / "staging"))
    with pytest.raises(EngineError, match="podman could not load the image: no reason given"):
        killed.load(archive, nothing)
    assert podman.transfer(image, content) is None
    assert podman.images == ["registry.test/app:v1"]


@pytest.mark.full
def test_a_config_that_changed_in_the_storage_is_found(podman: Podman) -> None:
    image, content = version("registry.test/app:v1", 1)
    assert podman.transfer(image, content) is None
    (config,) = (
        path
        for path in (podman.directory / "root/overlay-images" / image.config.digest[7:]).iterdir()
        if path.read_bytes() == content[image.config.digest]
    )
    config.write_bytes(content[image.config.digest].replace(b"/version", b"/verbose"))
    with pytest.raises(EngineError, match="does not match expected"):
        podman.engine.find("registry.test/app:v1")
    with pytest.raises(EngineError, match=f"could not list its images: .*{image.config.digest[7:]}"):
        podman.engine.read_facts(str(podman.directory))


# -- a source


def test_an_image_travels_from_podman_to_podman(podman: Podman, podmans: Callable[[], Podman], tmp_path: Path) -> None:
    image, content = version("registry.test/app:v1", 1)
    assert podman.transfer(image, content) is None
    built = tmp_path / "Containerfile"
    built.write_text("FROM registry.test/app:v1\nCOPY added /version\nLABEL built=here\n")
    (tmp_path / "added").write_text("built")
    podman("build", "-q", "--isolation=chroot", "-f", str(built), "-t", "built:v1", str(tmp_path))
    target = podmans()
    for name in ("registry.test/app:v1", "built:v1"):
        requested = parse_requested_images([{"name": name}])
        source = EngineSource(podman.engine)
        offer = source.make_offer(requested)
        staging = Staging(str(podman.directory / "staging"), offer.bundle.get_directory_name("saved"))
        with staging.hold_lock():
            source.stage(requested, [blob.digest for blob in offer.bundle.list_blobs()], staging, nothing)
        saved = {blob.digest: staging.get_path(blob.digest).read_bytes() for blob in offer.bundle.list_blobs()}
        staging.remove()
        assert all(digest_of(data) == digest for digest, data in saved.items())
        assert target.transfer(offer.bundle.images[0], saved) is None
    assert target(*RUN, "registry.test/app:v1") == "1"
    assert target(*RUN, "built:v1") == "built"
    assert target.images == ["docker.io/library/built:v1", "registry.test/app:v1"]
    # The image of the registry then shares the layers, though podman knows them by their diffIDs only.
    update, new_content = version("registry.test/app:v2", 2)
    assert target.transfer(update, new_content, *update.layers[:2]) is None


@pytest.mark.full
def test_a_part_of_an_image_is_exported_without_leftovers(podman: Podman) -> None:
    image, content = version("registry.test/app:v1", 1)
    assert podman.transfer(image, content) is None
    stored = podman.engine.find("registry.test/app:v1")
    assert stored is not None
    with podman.engine.export(stored) as stream:
        assert len(stream.read(1000)) == 1000
    with pytest.raises(KeyError), podman.engine.export(stored):
        raise KeyError
    with pytest.raises(EngineError, match="podman could not save the image"):  # noqa: SIM117
        with podman.engine.export(replace(stored, engine_id="sha256:" + "0" * 64)) as stream:
            assert stream.read(1000) == b""


# -- without privileges

ROOTLESS = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from daytwo_utils._image.ends.podman import PodmanEngine
from daytwo_utils._image.ends.target import load_bundle
from daytwo_utils._image.model import Bundle
from daytwo_utils._image.staging import Staging

def run(command, text, descriptors):
    done = subprocess.run(command, input=text.encode(), capture_output=True, pass_fds=descriptors)
    return done.returncode, done.stdout.decode(), done.stderr.decode()

bundle = Bundle.parse(json.load(open(sys.argv[1] + "/bundle.json")))
root = sys.argv[1] + "/staging"
staging = Staging(root, bundle.get_directory_name("loaded"))
staging.create()
for digest in os.listdir(sys.argv[1] + "/blobs"):
    staging.get_path("sha256:" + digest).write_bytes(open(sys.argv[1] + "/blobs/" + digest, "rb").read())
engine = PodmanEngine(run, 60.0, root)
result = load_bundle(bundle, engine, staging, lambda *_: None)
staging.remove()
facts = engine.read_facts(root)
print(json.dumps({"loaded": result["loaded"], "facts": facts.to_dict(), "left": os.path.exists(root)}))
"""


@pytest.fixture
def user() -> Iterator[tuple[str, Path]]:
    """A user of this machine, with a home directory."""
    name = f"podman-{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix="podman-user-", dir=VAR_TMP))
    subprocess.run(["useradd", "--system", "--home-dir", str(home), "--shell", "/bin/sh", name], check=True)
    try:
        shutil.chown(home, name)
        yield name, home
        subprocess.run([*_as_user(name, home), "podman", "system", "migrate"], check=False, capture_output=True)
        uid = pwd.getpwnam(name).pw_uid
        shutil.rmtree(Path(tempfile.gettempdir(), f"podman-run-{uid}"), ignore_errors=True)
    finally:
        subprocess.run(["userdel", "--force", name], check=True, capture_output=True)
        shutil.rmtree(home)


def _as_user(name: str, home: Path) -> list[str]:
    ids = ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups"]
    return [*ids, "env", "-i", "-C", str(home), f"HOME={home}", "PATH=/usr/bin:/bin:/usr/sbin"]


def test_a_user_without_privileges_needs_no_become(user: tuple[str, Path]) -> None:
    name, home = user
    shutil.copytree(MODULE_UTILS / "_image", home / "daytwo_utils/_image", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(MODULE_UTILS / "_plan.py", home / "daytwo_utils")
    (home / "transfer.py").write_text(ROOTLESS)
    (home / "blobs").mkdir()
    for number in (1, 2):
        image, content = version(f"app:v{number}", number)
        shutil.rmtree(home / "blobs")
        (home / "blobs").mkdir()
        for digest, data in content.items():
            if number == 1 or digest not in {layer.blob.digest for layer in image.layers[:2]}:
                (home / "blobs" / digest[7:]).write_bytes(data)
        (home / "bundle.json").write_text(json.dumps(Bundle((image,)).to_dict()))
        command = [*_as_user(name, home), "/usr/bin/python3", str(home / "transfer.py"), str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["loaded"][0]["error"] is None
        assert result["left"] is False
        assert result["facts"]["root"]["path"].startswith(str(home))
        assert f"app:v{number}" in [name for stored in result["facts"]["images"] for name in stored["names"]]
        command = [*_as_user(name, home), "podman", *RUN[:6], f"app:v{number}"]
        ran = subprocess.run(command, capture_output=True, check=False)
        assert ran.stdout == b"%d" % number, ran.stderr
