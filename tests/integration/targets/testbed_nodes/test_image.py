# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start of a node: the archive of images, which several nodes need at the same time, and a start that fails."""

from __future__ import annotations

import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from integration.targets.testbed_nodes.kit import Groups
from integration.targets.testbed_nodes.test_kubelets import cluster
from testbed import packages, paths
from testbed.nodes import image
from testbed.nodes.machine import Machine
from testbed.nodes.model import Instance, Order

NODES = 4  # the controller's threads


def test_nodes_that_start_at_once_make_the_archive_of_images_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pause").write_bytes(b"pause")
    monkeypatch.setattr(image, "ARCHIVE", tmp_path / "images.tar")
    monkeypatch.setattr(image, "BIN", tmp_path)
    monkeypatch.setattr(packages, "BUSYBOX", tmp_path / "pause")
    together, plain = threading.Barrier(NODES), image._add

    def add(tar: tarfile.TarFile, name: str, *rest: Any) -> None:
        if name == "manifest.json":
            together.wait(60)  # all threads are writing now
        plain(tar, name, *rest)

    monkeypatch.setattr(image, "_add", add)
    with ThreadPoolExecutor(NODES) as pool:
        made = [pool.submit(image.archive) for _number in range(NODES)]
        assert {future.result() for future in made} == {tmp_path / "images.tar"}
    with tarfile.open(tmp_path / "images.tar") as tar:
        assert "manifest.json" in tar.getnames()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.tar", "pause"]


def test_a_node_whose_start_fails_is_down_again(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any failure: the controller starts a stopped machine, but waits forever for a half-started machine."""

    def fail(_machine: Machine) -> None:
        raise FileNotFoundError("no archive")

    monkeypatch.setattr(image, "load", fail)
    what = Instance(
        *("i-boot", "t3.medium", "ami-1", paths.REGION, f"{paths.REGION}a", "10.231.80.250", "boot.internal"),
    )
    machine = Machine("boot-fails", groups.bed.cloud)
    try:
        with pytest.raises(FileNotFoundError, match="no archive"):
            machine.launch(Order("al2023", False, cluster(groups), what, b""), {}, "10.239.1.0/24")
        assert machine.holder() is None
    finally:
        machine.remove()
