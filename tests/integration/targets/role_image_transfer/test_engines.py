# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on targets with other engines: containerd as on an EKS node, and podman, in one play."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from integration.targets.image_offline_transfer.kit import PLAIN, PRIVATE, Case, Image, size, small_blobs
from testbed import paths
from testbed.hosts import Host
from testbed.node import Part, wait_for

V1, V2 = f"{PLAIN}/it-app:v1", f"{PLAIN}/it-app:v2"
NODE, PODMAN_HOST = PRIVATE
ENGINES = {NODE: "containerd", PODMAN_HOST: "podman"}
# As nodeadm configures it on EKS nodes: layers are unpacked, and their blobs discarded.
CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
discard_unpacked_layers = true
"""
# Without systemd, and below the cgroup that the bed removes.
RUN = (
    *("podman", "--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs", "run", "--rm", "--network=none"),
    *("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", f"--cgroup-parent=/{paths.CGROUP}/{PODMAN_HOST}"),
)


class Node:
    """A host with containerd, read by ctr."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def ctr(self, *arguments: str) -> str:
        return self.host.run("ctr", "--namespace", "k8s.io", *arguments).stdout

    def references(self) -> dict[str, str]:
        """The digest and the labels of each reference."""
        lines = self.ctr("images", "list").splitlines()[1:]
        return {line.split()[0]: line for line in lines}

    def prints(self, name: str) -> str:
        return self.ctr("run", "--rm", "--cgroup", "", name, "it").strip()

    def clean(self) -> None:
        for name in self.references():
            self.ctr("images", "remove", "--sync", name)


@pytest.fixture
def node(case: Case) -> Iterator[Node]:
    host = case.bed.host(NODE)
    config = host.folder / "tmp" / "containerd.toml"
    config.write_text(CONTAINERD)
    host.start(Part("containerd", ["/usr/bin/containerd", "--config", "/tmp/containerd.toml"], reads=[CONTAINERD]))  # noqa: S108
    started = Node(host)
    wait_for("containerd", lambda: host.run("ctr", "version", check=False).returncode == 0, 30, host.log("containerd"))
    started.clean()
    yield started
    started.clean()
    host.stop("containerd")
    config.unlink()


@pytest.fixture
def podman(case: Case) -> Iterator[Host]:
    host = case.bed.host(PODMAN_HOST)
    host.run("podman", "rmi", "--all", "--force")
    yield host
    host.run("podman", "rmi", "--all", "--force")


def proves(node: Node, podman: Host, name: str, image: Image) -> None:
    """Each engine has exactly this image under the name, and runs it."""
    expected = f"{image.repository} {image.tag}"
    references = node.references()
    assert image.digest in references[name]
    assert "io.cri-containerd.pinned=pinned" in references[name]
    assert node.prints(name) == expected
    found: dict[str, Any] = json.loads(podman.run("podman", "image", "inspect", name).stdout)[0]
    assert f"sha256:{found['Id']}" == image.config_digest
    assert found["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]
    assert podman.run(*RUN, name).stdout.strip() == expected


@pytest.mark.full
def test_containerd_and_podman(case: Case, node: Node, podman: Host) -> None:
    v1, v2 = case.image("it-app:v1"), case.image("it-app:v2")
    options = {"hosts": {host: {"image_transfer_engine": engine} for host, engine in ENGINES.items()}}
    planned = case.check(V1, **options).succeed()
    assert node.references() == {}
    ran = case.transfer(V1, **options).succeed()
    for host in PRIVATE:
        assert ran.report(host)["steps"] == planned.report(host)["steps"] != []
        assert case.received(host) == size(v1.layers) + small_blobs(v1)
    proves(node, podman, V1, v1)

    for again in (case.check, case.transfer):
        case.mark()
        assert again(V1, **options).succeed().changed() == []
        assert case.received() == 0
        assert case.writes() == []

    case.mark()
    case.transfer(V2, **options).succeed()
    new = size([layer for layer in v2.layers if layer not in v1.layers])
    for host in PRIVATE:
        assert new < case.received(host) <= 1.02 * new
    proves(node, podman, V2, v2)
    proves(node, podman, V1, v1)
    # Nothing temporary is left. The names by digest are of both images: the CRI's own, and the registry's.
    assert {name for name in node.references() if "@" not in name} == {V1, V2, v1.config_digest, v2.config_digest}


def test_containerd_finds_an_image_by_the_digest_of_its_index(case: Case, node: Node, podman: Host) -> None:
    name = f"{PLAIN}/it-multi:v1"
    image, index = case.image("it-multi:v1"), case.bed.images.index_digest("it-multi:v1")
    by_index, by_manifest = f"{PLAIN}/it-multi@{index}", f"{PLAIN}/it-multi@{image.digest}"
    options = {"hosts": {host: {"image_transfer_engine": engine} for host, engine in ENGINES.items()}}
    planned = case.check(name, **options).succeed()
    ran = case.transfer(name, **options).succeed()
    assert ran.report(NODE)["steps"] == planned.report(NODE)["steps"] != []
    references = node.references()
    assert set(references) == {name, by_manifest, by_index, image.config_digest}
    assert index in references[by_index]
    # The CRI has taken it over, so pods find it. Only the tag is pinned.
    assert "io.cri-containerd.image=managed" in references[by_index]
    assert "io.cri-containerd.pinned=pinned" in references[name]
    assert "io.cri-containerd.pinned=pinned" not in references[by_index]
    assert node.prints(by_index) == node.prints(name) == "it-multi v1"
    # The index travels as one more small blob, and only to an engine that keeps it.
    length = len(node.ctr("content", "get", index).encode())
    assert case.received(PODMAN_HOST) == size(image.layers) + small_blobs(image)
    assert case.received(NODE) == case.received(PODMAN_HOST) + length

    case.mark()
    assert case.transfer(name, **options).succeed().changed() == []
    assert case.received() == 0
    # A name that is missing, as after a killed run, is given again. Nothing but the index travels.
    node.ctr("images", "remove", "--sync", by_index)
    case.mark()
    case.transfer(name, **options).succeed()
    assert case.received() == length
    assert set(node.references()) == {name, by_manifest, by_index, image.config_digest}
    assert case.transfer(name, **options).succeed().changed() == []


def test_containerd_finds_an_image_that_is_named_by_its_index_only(case: Case, node: Node) -> None:
    image, index = case.image("it-multi:v1"), case.bed.images.index_digest("it-multi:v1")
    entry = {"name": f"{PLAIN}/it-multi@{index}", "tag_as": f"{PLAIN}/it-multi:chosen"}
    options: dict[str, Any] = {
        "hosts": {NODE: {"image_transfer_engine": "containerd"}},
        "options": ("--limit", NODE),
        "containerd_pinned": False,
    }
    case.transfer(entry, **options).succeed()
    references = node.references()
    assert {f"{PLAIN}/it-multi:chosen", f"{PLAIN}/it-multi@{index}", image.config_digest} <= set(references)
    assert not [line for line in references.values() if "io.cri-containerd.pinned" in line]
    assert case.transfer(entry, **options).succeed().changed() == []
