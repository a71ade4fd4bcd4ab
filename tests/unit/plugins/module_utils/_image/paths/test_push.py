# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process on the source that holds the key: it waits, pushes, and goes by itself whatever becomes of the others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image import worker
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import StagedBlobSource
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.source import EngineSource, parse_requested_images
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import get_digest_hex
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import push as push_module
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.push import EngineExport, PushSession
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.plugins.module_utils._image.throttle import NO_LIMIT, Throttle
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    FakeEngine,
    Made,
    make,
    member_of,
    stage,
    tar_of,
    tree,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.sshd import (
    Server,
    needs_sshd,
    run,
    servers,
)

TOKEN, OTHER = "0" * 32, "1" * 32
ENOUGH = 20.0


class Key:
    """What C(permit) needs of an ephemeral key: its public half, as the process returned it."""

    def __init__(self, public_key: str) -> None:
        self.public_key = public_key


class Source:
    """A source with the blobs of an image in its staging directory."""

    def __init__(self, folder: Path, made: Made) -> None:
        self.root = folder / "source"
        self.made = made
        self.blobs = Staging(str(self.root), "saved-" + "0" * 20)
        stage(self.blobs, made.content)

    def folder(self, token: str = TOKEN) -> Path:
        return self.root / f"push-{token}"

    def start(self, token: str = TOKEN, throttle: Throttle = NO_LIMIT) -> tuple[PushSession, Any]:
        waiting = PushSession(str(self.root), token)
        public = waiting.start(self.made.bundle, StagedBlobSource(self.blobs), self.blobs, throttle, run)
        return waiting, Key(public)

    def export(self, saved: bytes, seconds: float = 0) -> tuple[PushSession, Any]:
        """From an engine that gives this archive, C(seconds) for each read, instead of from what is staged."""
        self.blobs.remove()
        engine = FakeEngine(saved=saved, seconds=seconds).has(self.made, "app:v1")
        images = parse_requested_images([{"name": "app:v1"}])
        waiting = PushSession(str(self.root), TOKEN)
        export = EngineExport(EngineSource(engine), images, list(self.made.content))
        return waiting, Key(waiting.start(self.made.unsized, export, self.blobs, NO_LIMIT, run))

    def process(self, token: str = TOKEN) -> int:
        """The process that holds the job's lock."""
        lock_stat = (self.folder(token) / "job.lock").stat()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                for descriptor in _entries(entry / "fd"):
                    try:
                        found = descriptor.stat()
                    except OSError:
                        continue
                    if (found.st_ino, found.st_dev) == (lock_stat.st_ino, lock_stat.st_dev):
                        return int(entry.name)
        raise AssertionError("no process holds the key")


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def until(condition: Callable[[], bool], seconds: float = ENOUGH) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    needs_sshd()
    monkeypatch.setattr(push_module, "AUTHORIZATION_TIMEOUT_SECONDS", ENOUGH)
    made = Source(tmp_path, make(b"layer one", os.urandom(900_000), packed=False))
    yield made
    for token in (TOKEN, OTHER):
        PushSession(str(made.root), token).remove()
        until(lambda token=token: not made.folder(token).exists())  # type: ignore[misc]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with servers(tmp_path) as (sshd,):
        yield sshd


def finished(waiting: PushSession, grants: Sequence[Mapping[str, Any]]) -> Any:
    end = time.monotonic() + ENOUGH
    while True:
        state = waiting.advance(grants, 1)
        if state.status != "running":
            return state
        assert time.monotonic() < end


def sizes(made: Made) -> dict[str, Optional[int]]:
    return {digest: len(data) for digest, data in made.content.items()}


def test_it_waits_pushes_reports_and_exits(source: Source, server: Server) -> None:
    waiting, key = source.start()
    pid = source.process()
    assert waiting.advance([], 0).status == "running"
    assert server.held() == {}
    server.permit(key, sizes(source.made))
    digests = list(source.made.content)
    state = finished(waiting, [asdict(server.grant(digests))])
    assert (state.status, state.error) == ("done", None)
    (outcome,) = state.result["pushed"]
    total = sum(map(len, source.made.content.values()))
    assert outcome == {"host": "one", "bytes_sent": total, "error": None, "digests": digests}
    assert server.held() == {get_digest_hex(digest): data for digest, data in source.made.content.items()}
    # The outcome can be read again, as after a connection that dropped.
    assert waiting.advance([], 0) == state
    waiting.remove()
    until(lambda: not alive(pid))
    assert not source.root.exists()
    # The call that returned the outcome ended the process; when its response was lost, the retried call returns so.
    lost = waiting.advance([asdict(server.grant(digests))], 0, retry=True)
    assert (lost.status, lost.result) == ("done", {"pushed": []})


@pytest.mark.parametrize("named", [True, False], ids=["docker 25", "docker 20.10"])
def test_what_an_engine_writes_is_pushed_meanwhile(source: Source, server: Server, named: bool) -> None:
    content = source.made.content
    names = [member_of(digest) if named else f"{number}/layer.tar" for number, digest in enumerate(content)]
    other = [("blobs/sha256/" + "0" * 64, b"of a layer that the target has")]
    waiting, key = source.export(tar_of([*other, *reversed(list(zip(names, content.values())))]))
    server.permit(key, dict.fromkeys(content))
    state = finished(waiting, [asdict(server.grant(list(content)))])
    assert (state.status, state.error) == ("done", None)
    (outcome,) = state.result["pushed"]
    assert (outcome["error"], outcome["bytes_sent"]) == (None, sum(map(len, content.values())))
    assert server.held() == {get_digest_hex(digest): data for digest, data in content.items()}
    assert state.result["sizes"] == {digest: len(data) for digest, data in content.items()}
    waiting.remove()
    until(lambda: not source.root.exists())


def test_what_an_engine_gives_wrongly_is_no_blob_on_the_target(source: Source, server: Server) -> None:
    content = source.made.content
    members = [(member_of(digest), data[:-1] + b"!") for digest, data in content.items()]
    waiting, key = source.export(tar_of(members))
    server.permit(key, dict.fromkeys(content))
    state = finished(waiting, [asdict(server.grant(list(content)))])
    (outcome,) = state.result["pushed"]
    assert (
        "content that does not match this digest" in outcome["error"]
        or "is incomplete on this host" in outcome["error"]
    )
    assert (outcome["digests"], state.result["sizes"]) == ([], {})
    assert all(name.endswith(".part") for name in server.held())


def test_the_outcome_stays_though_an_engine_still_writes(source: Source, server: Server) -> None:
    """No target takes anything, so the push ends before the engine does."""
    content = source.made.content
    saved = tar_of([("1/layer.tar", bytes(64 * 1024**2)), *((member_of(d), content[d]) for d in content)])
    waiting, key = source.export(saved, seconds=0.1)
    server.permit(key, dict.fromkeys(content))
    grant = replace(server.grant(list(content)), host_keys=(f"ssh-ed25519 {key.public_key.split()[1]}",))
    waiting.advance([asdict(grant)], 0)
    time.sleep(2.5)  # the controller's next call is on its way
    state = waiting.advance([asdict(grant)], 0)
    assert state.status == "done"
    assert "has another host key" in state.result["pushed"][0]["error"]


def _read_link(path: Path) -> str:
    """Empty for a descriptor that was closed since it was listed."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(path)
    return ""


def test_the_key_is_nowhere_but_in_its_memory(source: Source) -> None:
    _waiting, key = source.start()
    pid = source.process()
    assert key.public_key.startswith("ssh-ed25519 AAAA")
    for name in tree(source.root):
        path = source.root / name
        if path.is_file():
            assert b"PRIVATE KEY" not in path.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in source.folder().iterdir() if path.is_file()} == {0o600}
    proc = Path("/proc") / str(pid)
    assert b"PRIVATE" not in (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
    held = [path for path in _entries(proc / "fd") if "memfd:key" in _read_link(path)]
    assert len(held) == 1
    assert held[0].read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert os.readlink(proc / "fd" / "1") == os.devnull


def test_it_goes_by_itself_when_nobody_comes_back(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller was killed between the offer and the push."""
    monkeypatch.setattr(push_module, "AUTHORIZATION_TIMEOUT_SECONDS", 1.0)
    began = time.monotonic()
    waiting, _key = source.start()
    pid = source.process()
    until(lambda: not alive(pid))
    assert 0.9 < time.monotonic() - began < 1.9, "once the time it waits, not twice"
    assert not source.root.exists()
    with pytest.raises(ImageError, match=r"authorizations did not arrive within 1 seconds\. Run again"):
        waiting.advance([], 0)


def test_it_exits_when_nobody_reads_the_outcome(
    source: Source, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller was killed during the push."""
    monkeypatch.setattr(push_module, "AUTHORIZATION_TIMEOUT_SECONDS", 1.5)
    waiting, key = source.start()
    pid = source.process()
    server.permit(key, sizes(source.made))
    waiting.advance([asdict(server.grant(list(source.made.content)))], 0)
    until(lambda: not alive(pid))
    assert not source.root.exists()
    assert server.held() != {}


def test_a_push_that_nobody_polls_ends(source: Source, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller was killed: its authorization would last for hours."""
    monkeypatch.setattr(push_module, "AUTHORIZATION_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(worker, "IDLE_TIMEOUT_SECONDS", 1.0)
    waiting, key = source.start(throttle=Throttle(100_000))
    pid = source.process()
    server.permit(key, sizes(source.made))
    waiting.advance([asdict(server.grant(list(source.made.content)))], 0)
    until(lambda: not alive(pid))
    largest = max(source.made.content, key=lambda digest: len(source.made.content[digest]))
    assert get_digest_hex(largest) not in server.held(), "9 seconds' worth"
    assert not source.root.exists()


def test_it_stops_on_request_while_it_waits(source: Source) -> None:
    waiting, _key = source.start()
    pid = source.process()
    waiting.remove()
    until(lambda: not alive(pid), 3)
    assert not source.folder().exists()
    waiting.remove()


def test_it_stops_on_request_while_it_pushes(source: Source, server: Server) -> None:
    """A person who has interrupted Ansible does not want the rest to be sent."""
    waiting, key = source.start(throttle=Throttle(100_000))
    pid = source.process()
    server.permit(key, sizes(source.made))
    waiting.advance([asdict(server.grant(list(source.made.content)))], 0)
    until(lambda: any(name.endswith(".part") for name in server.held()))
    waiting.remove()
    until(lambda: not alive(pid), 4)  # of the 9 that the rest would take
    assert not source.root.exists()


def test_two_runs_from_the_same_source_at_once(source: Source, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    with servers(tmp_path / "targets", 2) as targets:
        digests = list(source.made.content)
        started = [source.start(token) for token in (TOKEN, OTHER)]
        assert started[0][1].public_key != started[1][1].public_key
        for (_waiting, key), target in zip(started, targets):
            target.permit(key, sizes(source.made))
        for (waiting, _key), target in zip(started, targets):
            waiting.advance([asdict(target.grant(digests))], 0)
        for (waiting, _key), target in zip(started, targets):
            assert finished(waiting, []).status == "done"
            assert target.held() == {get_digest_hex(digest): data for digest, data in source.made.content.items()}


def test_what_is_to_be_pushed_stays_though_another_run_cleans_up(source: Source, server: Server) -> None:
    waiting, key = source.start()
    assert source.blobs.remove() is False
    server.permit(key, sizes(source.made))
    state = finished(waiting, [asdict(server.grant(list(source.made.content)))])
    assert state.result["pushed"][0]["error"] is None


def test_a_killed_process_is_reported(source: Source) -> None:
    waiting, _key = source.start()
    os.kill(source.process(), signal.SIGKILL)
    until(lambda: waiting.advance([], 0).status == "died")
    assert waiting.advance([], 0).error == "the process was killed"
    # Its directory is what a reboot of the source leaves; nothing in it is secret.
    assert "key" not in tree(source.folder())
    waiting.remove()
    assert not source.folder().exists(), "nobody else would take it away"


def test_what_a_reboot_leaves_goes_with_the_next_run_after_a_week(source: Source) -> None:
    source.start()
    os.kill(source.process(), signal.SIGKILL)
    until(lambda: source.folder().exists())
    old = time.time() - 8 * 86400
    os.utime(source.folder(), (old, old))
    source.start(OTHER)
    assert not source.folder().exists()


def test_a_source_that_cannot_make_a_key_reports_it(source: Source) -> None:
    def missing(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        raise FileNotFoundError(2, "No such file or directory", command[0])

    waiting = PushSession(str(source.root), TOKEN)
    with pytest.raises(
        ImageError, match=r"transport: the source cannot start the push: .*Install OpenSSH's client on the source"
    ):
        waiting.start(source.made.bundle, StagedBlobSource(source.blobs), source.blobs, NO_LIMIT, missing)


def test_the_grants_are_taken_once(source: Source, server: Server) -> None:
    """A call that is made again after a dropped connection does not begin anew."""
    waiting, key = source.start()
    server.permit(key, sizes(source.made))
    grant = server.grant(list(source.made.content))
    waiting.advance([asdict(grant)], 0)
    handed = source.folder() / "authorizations.json"
    written = handed.stat().st_mtime_ns
    waiting.advance([asdict(grant)], 0)
    assert handed.stat().st_mtime_ns == written
    assert [entry["host"] for entry in json.loads(handed.read_text())] == ["one"]
    assert finished(waiting, [asdict(grant)]).status == "done"
    assert server.accepted() == 1


@pytest.mark.parametrize(
    "token", [None, "", "../../etc", "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n", "0" * 32 + "/"]
)
def test_only_a_token_names_a_folder(tmp_path: Path, token: Optional[str]) -> None:
    with pytest.raises(ImageError, match=r"work\.token"):
        PushSession(str(tmp_path), token)
    assert tree(tmp_path) == []
