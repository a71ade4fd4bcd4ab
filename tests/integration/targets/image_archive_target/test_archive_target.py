# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that this role writes, on the real programs that load them without it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import MIN_ARCHIVE_PART
from integration.targets.image_archive_target.kit import Media, PodmanStorage
from integration.targets.image_engines.images import Made, add_index, make_image, make_layer
from integration.targets.image_engines.kit import ContainerdHost, EngineHost, NewDockerHost
from integration.targets.image_engines.test_containerd import MANAGED
from integration.targets.image_engines.test_engines import make_versions, read_text

ARM = make_image("a.example/arm:v1", make_layer({"text": b"arm"}), architecture="arm64")


def make_large_versions() -> tuple[Made, Made]:
    """Two versions of an image that need more than one part."""
    unique = secrets.token_hex(8)
    middle = make_layer({"middle": os.urandom(MIN_ARCHIVE_PART)})
    first, second = (make_layer({"text": f"{unique} {number}".encode()}) for number in (1, 2))
    tag = f"registry.example:5000/team/{unique}:v1"
    return make_image(tag, middle, first), make_image(tag, middle, second)


def make_short(*, index: bool = False) -> Made:
    """An image with a short name, which each program completes in its own way."""
    unique = secrets.token_hex(8)
    made = make_image(f"short-{unique}:v1", make_layer({"text": unique.encode()}))
    return add_index(made, ARM) if index else made


def load(host: EngineHost, media: Media) -> str:
    command = ["images", "import", "-"] if isinstance(host, ContainerdHost) else ["load"]
    return media.pipe(*host.get_client(), *command, env=host.make_env())


@pytest.mark.parametrize(
    "part_size", [pytest.param(None, marks=pytest.mark.full, id="file"), pytest.param(MIN_ARCHIVE_PART, id="parts")]
)
def test_an_engine_loads_the_archive_and_runs_its_images(
    host: EngineHost, tmp_path: Path, part_size: int | None
) -> None:
    media = Media(tmp_path, part_size)
    (first, second), short = make_large_versions(), make_short(index=True)
    media.write(first, short)
    media.check()
    assert len(media.list_parts()) == (1 if part_size is None else 2)
    load(host, media)
    names = (first.image.tag, short.image.tag)
    if isinstance(host, ContainerdHost):
        names = (first.image.tag, f"docker.io/library/{short.image.tag}")
    assert [host.run_container(name) for name in names] == [read_text(first), read_text(short)]
    # The second run does nothing, and the new version replaces the archive.
    files = {path: path.stat().st_ino for path in media.list_parts()}
    assert media.plan(first, short) == ({"none"}, set())
    media.write(first, short)
    assert {path: path.stat().st_ino for path in media.list_parts()} == files
    assert media.plan(second, short) == (
        {"write"},
        {second.manifest, second.config, second.image.layers[-1].blob.digest},
    )
    media.write(second, short)
    media.check()
    load(host, media)
    assert [host.run_container(name) for name in names] == [read_text(second), read_text(short)]


def test_a_node_finds_the_images_by_the_digests_that_pods_pin(node: ContainerdHost, media: Media) -> None:
    first, short = make_versions()[0], make_short(index=True)
    media.write(first, short)
    before = node.list_names()
    load(node, media)
    repository, library = first.image.tag.rpartition(":")[0], f"docker.io/library/{short.image.tag}"
    names = {
        first.image.tag: first,
        f"{repository}@{first.manifest}": first,
        library: short,
        f"{library[:-3]}@{short.manifest}": short,
        f"{library[:-3]}@{short.index}": short,
    }
    assert set(names) <= node.list_names() - before
    for name, made in names.items():
        assert node.run_container(name) == read_text(made)
        # The kubelet finds what the CRI has taken over.
        assert MANAGED in node.read_labels(name)
    # The content is the registry's, byte by byte.
    content = node.call("content", "ls", "-q").split()
    assert {first.manifest, short.index, short.manifest} <= set(content)


@pytest.mark.full
def test_docker_with_the_containerd_store_keeps_the_digests(new_docker: NewDockerHost, media: Media) -> None:
    first, short = make_versions()[0], make_short(index=True)
    media.write(first, short)
    load(new_docker, media)
    repository = first.image.tag.rpartition(":")[0]
    assert new_docker.run_container(f"{repository}@{first.manifest}") == read_text(first)
    for digest in (short.manifest, short.index):
        assert new_docker.run_container(f"{short.image.tag[:-3]}@{digest}") == read_text(short)


def test_podman_loads_the_archive_and_keeps_digests_where_it_names_the_image(
    podman: PodmanStorage, media: Media
) -> None:
    first, short = make_versions()[0], make_short(index=True)
    media.write(first, short)
    media.pipe(*podman.command, "load", "--quiet", env=podman.env)
    library = f"docker.io/library/{short.image.tag}"
    names = podman.call("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert sorted(name for name in names if "<none>" not in name) == sorted([first.image.tag, library])
    assert podman.run_container(first.image.tag) == read_text(first)
    assert podman.run_container(short.image.tag) == read_text(short)
    # By name, podman reads the layout.
    podman.call("pull", "--quiet", f"oci-archive:{media.path}:{library}")
    for digest in (short.manifest, short.index):
        assert podman.run_container(f"{library[:-3]}@{digest}") == read_text(short)


# -- faults


@pytest.mark.parametrize("share", [pytest.param(0.2, marks=pytest.mark.full), 0.9])
def test_a_killed_run_leaves_no_archive_and_the_next_completes_it(media: Media, share: float) -> None:
    first, second = make_versions()
    media.write(first)
    before = {path.name: path.read_bytes() for path in media.directory.iterdir()}
    media.stage(second)
    script = f"""
import os, signal, sys
from pathlib import Path
from integration.targets.image_archive_target.kit import Media, bundle_of
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
media = Media(Path({str(media.root.parent)!r}))
bundle = Bundle.parse({second.bundle.to_dict()!r})
staging = Staging(str(media.root), bundle.get_directory_name("loaded"))
def progress(activity, done, total):
    if activity.startswith("writing") and done > {share} * total:
        os.kill(os.getpid(), signal.SIGKILL)
media.target.write(bundle, staging, progress, media.read_facts())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == -signal.SIGKILL
    assert media.list_files() == [".images.tar.incomplete", *sorted(before)]
    assert {name: (media.directory / name).read_bytes() for name in before} == before
    media.check()
    media.write(second)
    assert media.list_files() == sorted(before)
    media.check()


def test_a_full_disk_leaves_the_archive_as_it_was(tmp_path: Path, small_disk: Path) -> None:
    media = Media(tmp_path, directory=small_disk)
    first, second = make_versions()
    media.write(first)
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize - 100_000))
    (outcome,) = media.try_write(second)
    assert "too little disk space" in str(outcome.error)
    assert media.list_files() == ["filler", "images.tar", "images.tar.load.txt", "images.tar.sha256"]
    media.check()
    (small_disk / "filler").unlink()
    media.write(second)
    media.check()


@pytest.mark.full
def test_a_damaged_or_truncated_part_is_found_and_repaired(tmp_path: Path) -> None:
    media = Media(tmp_path, MIN_ARCHIVE_PART)
    first, _second = make_large_versions()
    media.write(first)
    before = {path: path.read_bytes() for path in media.list_parts()}
    for path, data in before.items():
        for damaged in (
            data[: len(data) * 4 // 5],
            data[:-8192],
            data[: len(data) // 2] + b"\1" + data[len(data) // 2 + 1 :],
        ):
            path.write_bytes(damaged)
            done = subprocess.run(
                ["sha256sum", "--check", "--quiet", "images.tar.sha256"],
                cwd=media.directory,
                capture_output=True,
                check=False,
            )
            assert done.returncode != 0
            assert media.plan(first)[0] == {"write"}
            media.write(first)
            assert {path: path.read_bytes() for path in media.list_parts()} == before
            media.check()
