# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine a host has: named, the only one that is used, none, or several."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import engines
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import (
    DEFAULT_CONTAINERD_ADDRESS,
    DEFAULT_DOCKER_HOST,
    EngineError,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engines import Presence

USED, UNUSED, ABSENT = Presence(True, True), Presence(True, False, "no storage"), Presence(False, False, "no socket")


def options(**more: Any) -> dict[str, Any]:
    return {
        "docker_host": DEFAULT_DOCKER_HOST,
        "containerd_address": DEFAULT_CONTAINERD_ADDRESS,
        "containerd_namespace": "k8s.io",
        "containerd_pinned": True,
        "timeout": 60,
        "staging_dir": None,
        **more,
    }


def run_nothing(*_arguments: object) -> tuple[int, str, str]:
    raise OSError("no program runs here")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> dict[str, Presence]:
    """What a host has of each engine. An engine is made as its name."""
    presences: dict[str, Presence] = dict.fromkeys(("docker", "podman", "containerd"), ABSENT)
    table = {
        name: engines.EngineKind(lambda *_, n=name: presences[n], lambda *_, n=name: n)  # type: ignore[misc,return-value]
        for name in presences
    }
    monkeypatch.setattr(engines, "ENGINES", table)
    return presences


@pytest.mark.parametrize(
    ("docker", "podman", "containerd", "found"),
    [
        (USED, ABSENT, ABSENT, "docker"),
        (ABSENT, USED, ABSENT, "podman"),
        (USED, UNUSED, UNUSED, "docker"),
        (ABSENT, UNUSED, USED, "containerd"),
        (ABSENT, UNUSED, ABSENT, "podman"),
        (ABSENT, ABSENT, UNUSED, "containerd"),
    ],
)
def test_auto_is_the_only_engine_that_is_used_or_installed(
    host: dict[str, Presence], docker: Presence, podman: Presence, containerd: Presence, found: str
) -> None:
    host.update(docker=docker, podman=podman, containerd=containerd)
    assert engines.make_engine("auto", options(), run_nothing) == found


def test_a_named_engine_is_made_without_a_search(host: dict[str, Presence]) -> None:
    host.update(podman=USED)
    assert engines.make_engine("docker", options(), run_nothing) == "docker"


@pytest.mark.parametrize(
    ("option", "found"),
    [({"docker_host": "unix:///run/my.sock"}, "docker"), ({"containerd_address": "/run/k3s/my.sock"}, "containerd")],
)
def test_an_address_names_its_engine(host: dict[str, Presence], option: dict[str, str], found: str) -> None:
    host.update(docker=USED, podman=USED, containerd=USED)
    assert engines.make_engine("auto", options(**option), run_nothing) == found


def test_several_engines_need_a_name(host: dict[str, Presence]) -> None:
    host.update(docker=USED, podman=USED, containerd=UNUSED)
    with pytest.raises(EngineError, match=r"auto found docker and podman on this host\. Set engine to the one"):
        engines.make_engine("auto", options(), run_nothing)


def test_no_engine_is_refused_with_the_reason_for_each(host: dict[str, Presence]) -> None:
    with pytest.raises(EngineError, match=r"on this host \(docker: no socket; podman: no socket; containerd: no sock"):
        engines.make_engine("auto", options(), run_nothing)


def test_docker_is_its_socket_unless_podman_listens_there(tmp_path: Path) -> None:
    read_presence, path = engines.ENGINES["docker"].read_presence, tmp_path / "docker.sock"
    given = options(docker_host=f"unix://{path}")
    assert read_presence(given, run_nothing) == Presence(False, False, f"{path} does not exist")
    path.touch()
    assert read_presence(given, run_nothing) == USED
    path.unlink()
    path.symlink_to(tmp_path / "podman.sock")
    (tmp_path / "podman.sock").touch()
    assert read_presence(given, run_nothing) == Presence(False, False, f"{path} is a socket of podman")


def test_podman_is_used_by_a_user_who_has_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_presence, storage = engines.ENGINES["podman"].read_presence, tmp_path / "containers/storage"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_presence(options(), run_nothing) == Presence(False, False, "the program is not installed")
    program = tmp_path / "podman"
    program.touch(0o755)
    assert read_presence(options(), run_nothing) == Presence(True, False, f"{storage} has no image")
    listed = storage / "overlay-images" / "images.json"
    listed.parent.mkdir(parents=True)
    listed.write_text("[]")
    assert not read_presence(options(), run_nothing).used
    listed.write_text('[{"id": "x"}]')
    assert read_presence(options(), run_nothing).used


@pytest.mark.parametrize(
    ("answer", "presence"),
    [
        ((0, "moby\nk8s.io\n", ""), Presence(True, True, "it has no namespace k8s.io")),
        ((0, "moby\n", ""), Presence(True, False, "it has no namespace k8s.io")),
        ((1, "", "ctr: no\n"), Presence(True, False, "containerd refused ctr namespaces list: ctr: no")),
    ],
)
def test_containerd_is_used_where_it_has_the_namespace(
    tmp_path: Path, answer: tuple[int, str, str], presence: Presence
) -> None:
    read_presence, path = engines.ENGINES["containerd"].read_presence, tmp_path / "containerd.sock"
    given = options(containerd_address=str(path))
    assert read_presence(given, lambda *_: answer) == Presence(False, False, f"{path} does not exist")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert read_presence(given, lambda *_: answer) == presence
        missing = read_presence(given, run_nothing)
    assert (missing.installed, missing.used) == (True, False)
    assert "ctr cannot be started: no program runs here" in missing.reason
