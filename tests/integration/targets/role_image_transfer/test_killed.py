# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed in the middle: a plain re-run converges, and nothing is left over. Cut in the middle: the run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.targets.image_offline_transfer.kit import HOSTS, PLAIN, PRIVATE, Ansible, Case, Running, bed_lock
from testbed.gate import Fault

APP = f"{PLAIN}/it-app:v1"
PARTS = {"part_size": 5 * 1024 * 1024}  # so that uploads have several


def converges(case: Case, name: str = APP, **more: object) -> None:
    """A plain re-run ends well and tidies up; the one after it has nothing to do."""
    case.transfer(name, **PARTS, **more).succeed()
    for host in PRIVATE:
        case.proves(host, name, case.image(name.rpartition("/")[2]))
    assert case.uploads() == []
    assert [case.stray(host) for host in HOSTS] == [[], [], []]
    case.mark()
    assert case.transfer(name, **PARTS, **more).succeed().changed() == []
    assert (case.writes(), case.received()) == ([], 0)


def staging(case: Case, host: str, role: str, image: str = "it-app:v1", name: str = APP) -> Path:
    """The staging directory of our transfer on a host."""
    key = case.staging_key([(name, case.image(image).config_digest)])
    return Path(case.bed.host(host).folder) / "vartmp" / "daytwo-image-transfer-0" / f"{role}-{key}"


def slow(case: Case, operation: str, seconds: float = 1.5) -> contextlib.AbstractContextManager[None]:
    """Each such call of this test waits before it goes on, so that there is a middle."""
    return case.bed.recorder.failing(Fault("delay", operation, key=f"{case.prefix}/*", seconds=seconds))


def in_upload(case: Case, run: Running) -> None:
    run.until("some parts are in", lambda: len(case.calls(operation="UploadPart")) >= 2)
    assert case.uploads() != []


def in_download(case: Case, run: Running) -> None:
    run.until("some blobs are there", lambda: len(case.calls(operation="GetObject")) >= 3)
    assert case.held("private-a", APP) is None


def in_load(case: Case, run: Running) -> None:
    run.until("the engine is fed", lambda: feeding(case))


def feeding(case: Case, image: str = "it-app:v1", name: str = APP) -> bool:
    with contextlib.suppress(FileNotFoundError, ValueError):
        state = json.loads((staging(case, "private-a", "loaded", image, name) / "job.json").read_text())
        return state["status"] == "running" and "docker" in state["activity"]
    return False


@pytest.mark.parametrize(
    ("operation", "middle"),
    [
        pytest.param("UploadPart", in_upload, marks=pytest.mark.full, id="upload"),
        pytest.param("GetObject", in_download, marks=pytest.mark.full, id="download"),
        pytest.param("none", in_load, id="load"),
    ],
)
def test_a_killed_controller(case: Case, operation: str, middle: Callable[[Case, Running], None]) -> None:
    with slow(case, operation):
        run = case.start(APP, **PARTS)
        try:
            middle(case, run)
        finally:
            run.kill()
    converges(case)


@pytest.mark.full
def test_a_killed_controller_while_docker_saves(case: Case) -> None:
    case.bed.images.into_docker(case.bed.host("public"), case.image("it-app:v1"), APP)
    case.mark()
    run = case.start(APP, **PARTS, source="docker")
    try:
        run.until("blobs are staged", lambda: any(staging(case, "public", "saved").glob("blobs/*")))
    finally:
        run.kill()
    converges(case, source="docker")


def cut(ansible: Ansible) -> int:
    """Kills the ssh masters that hold the test's connections, as a dead link would; how many there were."""
    masters = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                if command.startswith(f"ssh: {ansible.control}/") and "[mux]" in command:
                    masters.append(int(entry.name))
    for pid in masters:
        os.kill(pid, signal.SIGKILL)
    return len(masters)


@pytest.mark.full
@pytest.mark.parametrize(
    ("operation", "middle"),
    [
        pytest.param("UploadPart", in_upload, id="upload"),
        pytest.param("GetObject", in_download, id="download"),
        pytest.param("none", in_load, id="load"),
    ],
)
def test_a_cut_connection(case: Case, operation: str, middle: Callable[[Case, Running], None]) -> None:
    with slow(case, operation):
        run = case.start(APP, **PARTS)
        middle(case, run)
        assert cut(case.ansible) > 0
        ran = run.wait()
    case.runs.append(ran)
    ran.succeed()
    assert "The connection dropped. Retrying" in ran.output
    for host in PRIVATE:
        case.proves(host, APP, case.image("it-app:v1"))
    assert case.uploads() == []
    assert [case.stray(host) for host in HOSTS] == [[], [], []]


@pytest.fixture
def alone() -> Iterator[None]:
    """Nobody else uses the hosts meanwhile."""
    with bed_lock(exclusive=True):
        yield


def worker(case: Case, host: str, image: str, name: str) -> int:
    """The detached process that feeds the engine: it holds the job's lock."""
    lock = staging(case, host, "loaded", image, name) / "job.lock"
    lock_stat = lock.stat()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                for descriptor in (entry / "fd").iterdir():
                    found = descriptor.stat()
                    if (found.st_ino, found.st_dev) == (lock_stat.st_ino, lock_stat.st_dev):
                        return int(entry.name)
    raise AssertionError("nobody feeds the engine")


@pytest.fixture
def big(case: Case, alone: None) -> Iterator[str]:
    """An image of 500 MB, whose load takes seconds."""
    name = f"{PLAIN}/big:v1"
    case.bed.images.ensure("big")
    yield name
    for host in PRIVATE:
        case.bed.host(host).docker("image", "rm", "--force", name, check=False)


@pytest.mark.full
def test_a_killed_worker(case: Case, big: str) -> None:
    run = case.start(big, **PARTS)
    run.until("the engine is fed", lambda: feeding(case, "big:v1", big), seconds=120)
    os.kill(worker(case, "private-a", "big:v1", big), signal.SIGKILL)
    ran = run.wait()
    case.runs.append(ran)
    ran.fail()
    assert any("was killed" in task.message for task in ran.tasks if task.status == "failed")
    case.proves("private-b", big, case.image("big:v1"))
    converges(case, big)


@pytest.mark.full
def test_a_killed_engine(case: Case, big: str) -> None:
    run = case.start(big, **PARTS)
    run.until("the engine is fed", lambda: feeding(case, "big:v1", big), seconds=120)
    os.kill(case.bed.host("private-a").pid_of("dockerd"), signal.SIGKILL)
    ran = run.wait()
    case.runs.append(ran)
    case.bed.up()
    ran.fail()
    failed = [task for task in ran.tasks if task.status == "failed"]
    assert {task.host for task in failed} == {"private-a"}
    assert "docker" in failed[0].message
    assert case.held("private-a", big) is None
    case.proves("private-b", big, case.image("big:v1"))
    converges(case, big)


@pytest.mark.full
@pytest.mark.parametrize("middle", ["upload", "download"])
def test_a_killed_controller_on_a_slow_wire(case: Case, alone: None, middle: str) -> None:
    """In the middle of a body, not between two: what is half there is gone on with or thrown away."""
    slowed = case.bed.host("public" if middle == "upload" else "private-a")
    slowed.limit("20mbit")
    try:
        run = case.start(APP, **PARTS)
        try:
            if middle == "upload":
                in_upload(case, run)
            else:
                parts = staging(case, "private-a", "loaded")
                run.until("half a blob", lambda: any(p.stat().st_size > 2**20 for p in parts.glob("blobs/*.part")))
        finally:
            run.kill()
    finally:
        slowed.unlimit()
    converges(case)
