# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The slices of a transfer as a host does them, one after the other, with a store on the loopback."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image import host as hosts
from ansible_collections.daytwo.aws.plugins.module_utils._image.blobs import BlobDescriptor
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import engines, preload
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends import target as targets
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.archive_source import ArchiveSource
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.preload import preload_in_background
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.growing_blobs import GrowingBlobs
from ansible_collections.daytwo.aws.plugins.module_utils._image.host import PHASES, READ_ONLY_PHASES, apply_phase
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import (
    Bundle,
    DiskSpace,
    EngineFacts,
    TransferTarget,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths import authorized_keys as authorizing
from ansible_collections.daytwo.aws.plugins.module_utils._image.paths.push import PushSession
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.plugins.module_utils._image.worker import BackgroundJob, JobState
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    TAG,
    FakeEngine,
    Made,
    facts,
    make,
    member_of,
    nothing,
    stage,
    tar_of,
    tree,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1h6Rxa3sq4GJXKUrXLX6OYt0J8mWdLhOJ7w1Y0bXcN"
V1 = make(b"base" * 30, b"top")
ENGINE = make(b"base" * 30, b"top", tag="app:v1", packed=False)


class Small(FakeEngine):
    """An engine on a host with a small disk."""

    def read_facts(self, staging_path: str) -> EngineFacts:
        return facts(*self.images.values(), staging=10)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(engines, "make_engine", lambda *_arguments: made)
    return made


class Calls:
    """Calls one phase after the other with the same options, as the action plugin does; answers are JSON."""

    def __init__(self, root: Path, **params: Any) -> None:
        names = ("images", "registry_username", "registry_password", "registry_config_path", "ca_path", "archive_path")
        defaults: dict[str, Any] = dict.fromkeys((*names, "bandwidth_limit", "bundle"))
        self.root = root
        self.params = {
            **defaults,
            "source": "docker",
            "engine": "auto",
            "plain_http": True,
            "staging_dir": str(root),
            **params,
        }

    def __call__(self, phase: str, seconds: int = 20, **work: Any) -> dict[str, Any]:
        given_by_others = (
            *("platform", "targets", "authorizations", "blobs", "public_key", "retry", "archive_fingerprint"),
        )
        empty = dict.fromkeys(("token", "digests", "transfers", "has_more", *given_by_others))
        params: Mapping[str, Any] = {**self.params, "work": {**empty, "phase": phase, "seconds": seconds, **work}}
        answer: dict[str, Any] = json.loads(json.dumps(apply_phase(params, lambda *_dummy: (1, "", ""))))
        return answer


class Gives:
    """A registry that has this content."""

    def __init__(self, content: Mapping[str, bytes]) -> None:
        self.content = content

    @contextmanager
    def open(self, transfer: Any) -> Iterator[io.BytesIO]:
        yield io.BytesIO(self.content[transfer.digest])


def transfers(server: Any, made: Made) -> list[dict[str, Any]]:
    return [
        {
            "digest": blob.digest,
            "media_type": blob.media_type,
            "number": 0,
            "offset": 0,
            "length": len(made.content[blob.digest]),
            "url": f"{server.url}/{blob.digest}",
            "headers": {},
            "reference": made.image.reference,
        }
        for blob in made.image.list_blobs()
    ]


def test_a_target_looks_fetches_loads_and_cleans(serve: Any, tmp_path: Path, engine: FakeEngine) -> None:
    server = serve(lambda request: request.answer(200, V1.content[request.path[1:]]))
    call = Calls(tmp_path / "root", state="loaded", bundle=V1.bundle.to_dict())
    inspection = call("inspect")
    (plan,) = inspection["plans"]
    assert (plan["name"], plan["action"], plan["previous"]) == (TAG, "load", None)
    assert set(plan["blobs"]) == set(V1.content)
    assert plan["step"]["after"] == {"image": V1.image.config.digest}
    assert (inspection["engine"], inspection["leftover"]) == ("docker 20.10.24", False)
    assert not call.root.exists()

    requests = transfers(server, V1)
    fetched = call("load", token="one", transfers=requests[:2], has_more=True)
    assert all(outcome["done"] for outcome in fetched["result"]["outcomes"])
    assert (fetched["result"]["loaded"], fetched["cleaned"], engine.images) == (None, False, {})
    assert call("inspect")["leftover"], "as a run finds it after this one was killed"

    loaded = call("load", token="two", transfers=requests)
    assert (loaded["status"], loaded["result"]["loaded"][0]["done"]) == ("done", True)
    assert [outcome["received"] > 0 for outcome in loaded["result"]["outcomes"]] == [False, False, True, True]
    assert {**loaded["result"]["plans"][0], "blobs": None} == {**plan, "blobs": None}, "as it was before"
    assert (loaded["cleaned"], call.root.exists()) == (True, False)
    assert call("clean")["removed"] is False


def test_a_target_loads_nothing_while_a_url_must_be_signed_anew(serve: Any, tmp_path: Path, engine: FakeEngine) -> None:
    gone = V1.image.config.digest
    expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"

    def script(request: Any) -> None:
        digest = request.path[1:]
        request.answer(403, expired) if digest == gone else request.answer(200, V1.content[digest])

    call = Calls(tmp_path / "root", state="loaded", bundle=V1.bundle.to_dict())
    answer = call("load", token="one", transfers=transfers(serve(script), V1))
    states = {outcome["digest"]: (outcome["done"], outcome["expired"]) for outcome in answer["result"]["outcomes"]}
    assert states == {**dict.fromkeys(V1.content, (True, False)), gone: (False, True)}
    assert (answer["result"]["loaded"], answer["cleaned"], engine.images) == (None, False, {})


def test_a_damaged_blob_is_found_though_it_was_fetched_a_moment_ago(
    serve: Any, tmp_path: Path, engine: FakeEngine
) -> None:
    """facts: an exit code is not evidence: every blob's sha256 is verified before the load."""
    bad = V1.image.layers[1].blob.digest
    content = {**V1.content, bad: bytes(len(V1.content[bad]))}
    server = serve(lambda request: request.answer(200, content[request.path[1:]]))
    call = Calls(tmp_path / "root", state="loaded", bundle=V1.bundle.to_dict())
    answer = call("load", token="one", transfers=transfers(server, V1))
    (outcome,) = answer["result"]["loaded"]
    assert (outcome["corrupt"], answer["cleaned"], engine.images) == ([bad], False, {})


def test_a_load_without_blobs_names_them(tmp_path: Path, engine: FakeEngine) -> None:
    call = Calls(tmp_path / "root", state="loaded", bundle=V1.bundle.to_dict())
    (outcome,) = call("load", token="one")["result"]["loaded"]
    assert set(outcome["missing"]) == set(V1.content)


def test_too_little_disk_is_refused_when_the_target_is_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "make_engine", lambda *_arguments: Small())
    with pytest.raises(
        ImageError, match=r"The target cannot take the images: too little disk space: .* has 10 bytes free"
    ):
        Calls(tmp_path / "root", state="loaded", bundle=V1.bundle.to_dict())("inspect")


def test_a_source_looks_exports_sends_and_cleans(serve: Any, tmp_path: Path, engine: FakeEngine) -> None:
    stored: dict[str, bytes] = {}

    def script(request: Any) -> None:
        stored[request.path[1:]] = request.body()
        request.answer(200, ETag='"x"')

    server = serve(script)
    engine.has(ENGINE, "app:v1")
    engine.saved = tar_of([(member_of(digest), data) for digest, data in ENGINE.content.items()])
    call = Calls(tmp_path / "root", state="saved", images=[{"name": "app:v1"}])
    inspection = call("inspect")
    bundle = Bundle.parse(inspection["bundle"])
    assert [blob.digest for blob in bundle.list_blobs()] == [blob.digest for blob in ENGINE.bundle.list_blobs()]
    assert (set(inspection["estimates"]), inspection["leftover"]) == (set(ENGINE.image.diff_ids), False)
    assert not call.root.exists()

    call.params["bundle"] = inspection["bundle"]
    exported = call("export", token="one", digests=list(ENGINE.content))
    assert exported["status"] == "done"
    assert exported["result"]["sizes"] == {digest: len(data) for digest, data in ENGINE.content.items()}
    sent = call("send", token="two", transfers=transfers(server, ENGINE))
    assert all(outcome["done"] for outcome in sent["result"]["outcomes"])
    assert (sent["status"], sent["cleaned"], stored) == ("done", False, ENGINE.content)
    assert call("inspect")["leftover"]
    assert call("clean") == {"removed": True}
    assert not call.root.exists()


def test_a_registry_source_sends_and_cleans_up_in_a_single_call(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = serve(lambda request: request.answer(200, ETag=f'"{len(request.body())}"'))
    monkeypatch.setattr(hosts._SourcePhases, "_make_registry_source", lambda self: Gives(V1.content))
    call = Calls(tmp_path / "root", state="saved", source="registry", bundle=V1.bundle.to_dict())
    sent = call("send", token="one", transfers=transfers(store, V1))
    assert {outcome["digest"]: outcome["etag"] for outcome in sent["result"]["outcomes"]} == {
        digest: f'"{len(data)}"' for digest, data in V1.content.items()
    }
    assert (sent["cleaned"], call.root.exists()) == (True, False)


def test_source_and_target_on_the_same_host_do_not_clean_up_after_each_other(
    tmp_path: Path, engine: FakeEngine
) -> None:
    bundle = ENGINE.bundle.to_dict()
    source = Calls(tmp_path / "root", state="saved", images=[{"name": "app:v1"}], bundle=bundle)
    target = Calls(tmp_path / "root", state="loaded", bundle=bundle)
    target("load", token="one")
    before = tree(target.root)
    assert before
    assert source("clean") == {"removed": False}
    assert tree(target.root) == before


@pytest.mark.parametrize("state", ["saved", "pushed", "authorized", "loaded", "revoked", "absent"])
def test_only_the_phases_of_a_state_are_done(tmp_path: Path, engine: FakeEngine, state: str) -> None:
    call = Calls(tmp_path / "root", state=state, bundle=V1.bundle.to_dict(), images=[{"name": "app:v1"}])
    every = {phase for phases in PHASES.values() for phase in phases}
    for phase in (every - {*PHASES.get(state, ())}) | {"__init__", "staging", ""}:
        with pytest.raises(ImageError, match=rf"work\.phase: '{phase}' is not a phase of state={state}"):
            call(phase)
    assert tree(tmp_path) == []


def test_only_reading_is_allowed_in_check_mode() -> None:
    assert READ_ONLY_PHASES == ("gather_facts", "inspect")


@pytest.mark.parametrize(
    ("phase", "state", "work", "params", "message"),
    [
        ("inspect", "loaded", {}, {"bundle": {"version": 1}}, "bundle: 'images' must be a list"),
        ("load", "loaded", {"transfers": [{"digest": "../x"}]}, {}, "work.transfers.digest"),
        ("export", "saved", {"digests": ["../x"], "token": "t"}, {}, "work.digests"),
        ("inspect", "saved", {}, {"images": [{"name": "A"}]}, "'A' is malformed"),
        ("inspect", "saved", {}, {"images": [{"name": "gone:1"}]}, "the engine on the source has no gone:1"),
    ],
)
def test_bad_input_is_refused_with_a_message(
    tmp_path: Path,
    engine: FakeEngine,
    phase: str,
    state: str,
    work: Mapping[str, Any],
    params: Mapping[str, Any],
    message: str,
) -> None:
    given = {"state": state, "bundle": V1.bundle.to_dict(), "images": [{"name": "app:v1"}], **params}
    with pytest.raises(ImageError) as caught:
        Calls(tmp_path / "root", **given)(phase, **work)
    assert message in str(caught.value)


def test_a_load_takes_the_permission_to_push_away_first(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(authorizing, "revoke_key", lambda staging, key: order.append(f"revoke {key}"))
    monkeypatch.setattr(
        targets, "load_bundle", lambda *_dummy: order.append("load") or {"loaded": [], "cleanup_error": None}
    )
    monkeypatch.setattr(hosts.BackgroundJob, "advance", lambda self, token, work, seconds: _at_once(work))
    call = Calls(tmp_path / "root", state="loaded", bundle=V1.bundle.to_dict())
    call("load", token="one", public_key="ssh-ed25519 AAAA")
    assert order == ["revoke ssh-ed25519 AAAA", "load"]
    call("load", token="two")
    assert order[2:] == ["load"]


class Permitted:
    """A target that authorizes a push, with a home of its own."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine, made: Made) -> None:
        home = root.parent / "home"
        home.mkdir()
        monkeypatch.setattr(
            authorizing, "get_authorized_keys_path", lambda _home=None: home / ".ssh" / "authorized_keys"
        )
        monkeypatch.setattr(authorizing.pwd, "getpwuid", lambda _uid: SimpleNamespace(pw_dir=str(home), pw_name="me"))
        monkeypatch.setattr(authorizing, "scan_host_keys", lambda port, run: ["ssh-ed25519 BBBB"])
        monkeypatch.setattr(preload, "MIN_PRELOAD_BYTES", 1)
        self.made, self.bundle = made, made.bundle.to_dict()
        self.calls = {
            state: Calls(root, state=state, bundle=self.bundle) for state in ("authorized", "loaded", "revoked")
        }
        self.staging = Staging(str(root), f"loaded-{made.bundle.compute_key()}")
        self.job = BackgroundJob(self.staging.directory, "preload")
        self.keys = home / ".ssh" / "authorized_keys"
        self.engine = engine

    def authorize(self) -> dict[str, Any]:
        blobs = [{"digest": digest, "size": len(data)} for digest, data in self.made.content.items()]
        work = {"public_key": KEY, "addresses": ["192.0.2.1"], "port": 22, "expires": 900, "blobs": blobs}
        return self.calls["authorized"]("authorize", **work)

    def arrive(self, *numbers: int) -> None:
        """Blobs of the image, by their place, as the receiver leaves them."""
        for number in numbers:
            digest = self.made.image.list_blobs()[number].digest
            self.staging.get_partial_path(digest).write_bytes(self.made.content[digest])
            self.staging.publish(digest)

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.01)


@pytest.fixture
def permitted(tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Permitted]:
    """Its engine writes down what it loads, since that is done by another process."""
    log = tmp_path / "loads"

    def load(archive: Any, progress: Any) -> None:
        FakeEngine.load(engine, archive, progress)
        with open(log, "a") as file:
            file.write("x")
        while (tmp_path / "slow").exists():
            time.sleep(0.01)

    monkeypatch.setattr(engine, "load", load)
    target = Permitted(tmp_path / "root", monkeypatch, engine, V1)
    yield target
    (tmp_path / "slow").unlink(missing_ok=True)
    target.job.stop(20)


def loads(target: Permitted) -> int:
    log = target.staging.root.parent / "loads"
    return len(log.read_text()) if log.exists() else 0


def test_what_is_pushed_is_loaded_while_more_is_on_its_way(permitted: Permitted) -> None:
    assert permitted.authorize() == {"user": "me", "host_keys": ["ssh-ed25519 BBBB"]}
    assert KEY in permitted.keys.read_text()
    permitted.arrive(0, 1, 2)
    permitted.until(lambda: loads(permitted) == 1)
    assert permitted.job.is_running()
    permitted.arrive(3)
    permitted.until(lambda: not permitted.job.is_running())
    assert loads(permitted) == 1, "the image itself is for the load"
    answer = permitted.calls["loaded"]("load", token="one", public_key=KEY)
    assert (answer["result"]["loaded"][0]["done"], answer["result"]["cleanup_error"], answer["cleaned"]) == (
        True,
        None,
        True,
    )
    assert not permitted.keys.exists()
    assert not permitted.staging.root.exists()


def test_the_load_does_not_wait_for_more_to_arrive(permitted: Permitted) -> None:
    permitted.authorize()
    permitted.arrive(0, 1, 2)
    permitted.until(lambda: loads(permitted) == 1)
    answer = permitted.calls["loaded"]("load", token="one", public_key=KEY)
    assert answer["result"]["loaded"][0]["missing"] == [V1.image.layers[1].blob.digest]


def unpacking(permitted: Permitted) -> Path:
    """The engine is at the first layer, for as long as this file is there."""
    slow = permitted.staging.root.parent / "slow"
    slow.touch()
    permitted.authorize()
    permitted.arrive(0, 1, 2)
    permitted.until(lambda: loads(permitted) == 1)
    return slow


def test_the_load_waits_while_the_engine_unpacks_what_had_come(permitted: Permitted) -> None:
    slow = unpacking(permitted)
    permitted.arrive(3)
    waiting = permitted.calls["loaded"]("load", seconds=0, token="one", public_key=KEY)
    assert (waiting["status"], waiting["cleaned"]) == ("running", False)
    assert not permitted.keys.exists(), "the authorization is revoked at once"
    slow.unlink()
    answer = permitted.calls["loaded"]("load", token="one", public_key=KEY)
    assert answer["result"]["loaded"][0]["done"]


def test_a_permission_that_is_taken_back_leaves_nothing(permitted: Permitted) -> None:
    slow = unpacking(permitted)
    busy = permitted.calls["revoked"]("revoke", seconds=0, public_key=KEY)
    assert (busy["revoked"], busy["busy"], permitted.keys.exists()) == (True, True, False)
    assert list(permitted.staging.directory.glob("authorization-*")) == [], "who pushes is sent off at once"
    slow.unlink()
    # Its process has an engine of its own here; this one has what that would have left in a real one.
    leave_preloaded(permitted)
    assert permitted.calls["revoked"]("revoke", public_key=KEY) == {
        "revoked": False,
        "busy": False,
        "cleanup_error": None,
    }
    assert not permitted.staging.root.exists()
    assert permitted.engine.images == {}


def leave_preloaded(permitted: Permitted) -> None:
    part = make(b"base" * 30).stored()
    permitted.engine.images[part.engine_id] = part
    permitted.engine.labels[part.engine_id] = str(permitted.staging.directory)


def test_cleaning_removes_preloaded_layers_but_not_those_of_a_running_load(permitted: Permitted) -> None:
    permitted.staging.create()
    leave_preloaded(permitted)
    job = BackgroundJob(permitted.staging.directory)
    gate = permitted.staging.root.parent / "gate"

    def work(progress: Any) -> dict[str, Any]:
        while not gate.exists():
            time.sleep(0.01)
        return {}

    job.advance("another run's", work, 0)
    assert permitted.calls["loaded"]("clean")["cleanup_error"] is None
    assert len(permitted.engine.images) == 1
    gate.touch()
    permitted.until(lambda: not job.is_running())
    permitted.calls["loaded"]("clean")
    assert permitted.engine.images == {}


def test_two_runs_of_the_same_images_preload_once(permitted: Permitted) -> None:
    permitted.authorize()
    first = permitted.job.poll(0).token
    permitted.authorize()
    assert permitted.job.poll(0).token == first


def test_disk_space_of_preloaded_layers_is_not_required_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Filling(FakeEngine):
        """Its disk had room for the image, and has none for a second one."""

        def read_facts(self, staging_path: str) -> EngineFacts:
            free = 5_000 if self.labels else 40_000
            return replace(
                super().read_facts(staging_path),
                staging=DiskSpace("/staging", free, 1),
                root=DiskSpace("/docker", free, 1),
            )

    made = make(b"base" * 3000, b"top")
    engine, staging = Filling(), Staging(str(tmp_path / "root"), f"loaded-{made.bundle.compute_key()}")
    monkeypatch.setattr(engines, "make_engine", lambda *_arguments: engine)
    monkeypatch.setattr(preload, "MIN_PRELOAD_BYTES", 1)
    stage(staging, made.content)
    with preload_in_background(
        made.bundle, engine, staging, set(made.content) - {made.image.layers[1].blob.digest}, nothing
    ):
        pass
    assert len(engine.loads) == 1
    (plan,) = Calls(tmp_path / "root", state="loaded", bundle=made.bundle.to_dict())("inspect")["plans"]
    assert set(plan["blobs"]) == set(made.content), "the result names the missing blobs"


def test_facts_are_gathered_before_a_bundle_exists(tmp_path: Path, engine: FakeEngine) -> None:
    engine.has(V1, TAG)
    call = Calls(tmp_path / "root", state="loaded", bundle={})
    assert call("gather_facts", host="a") == {
        "target": {"host": "a", **engine.read_facts(str(tmp_path / "root")).to_dict()}
    }
    assert not call.root.exists()


def test_a_staging_directory_of_another_user_is_refused_when_facts_are_gathered(
    tmp_path: Path, engine: FakeEngine
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root").chmod(0o777)
    with pytest.raises(ImageError, match=r"staging_dir: .* is not a directory that only user id"):
        Calls(tmp_path / "root", state="loaded", bundle={})("gather_facts", host="a")


def _at_once(work: Any) -> Any:
    return JobState("", "done", result=work(lambda *_dummy: None))


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_source_waits_to_push_where_blobs_are_missing_on_a_target(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, is_missing: bool
) -> None:
    started: list[Any] = []

    def start(self: Any, bundle: Bundle, source: Any, *_dummy: object) -> str:
        started.append(source)
        return "ssh-ed25519 AAAA"

    monkeypatch.setattr(PushSession, "start", start)
    engine.has(ENGINE, "app:v1")
    has = FakeEngine() if is_missing else FakeEngine().has(ENGINE, "app:v1")
    other = TransferTarget("full", facts(staging=-1), "192.0.2.1")  # refused, so that it is not looked for
    target = TransferTarget("a", has.read_facts(""), "127.0.0.1")
    call = Calls(tmp_path / "root", state="saved", images=[{"name": "app:v1"}])
    answer = call("prepare_push", token="0" * 32, targets=[target.to_dict(), other.to_dict()])
    assert (answer["public_key"], answer["addresses"]) == (
        ("ssh-ed25519 AAAA", {"a": "127.0.0.1"}) if is_missing else (None, {})
    )
    assert [set(source.digests) for source in started] == ([set(ENGINE.content)] if is_missing else [])


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_an_archive_is_inspected_verified_and_sent(
    serve: Any, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    stored: dict[str, bytes] = {}

    def script(request: Any) -> None:
        stored[request.path[1:]] = request.body()
        request.answer(200, ETag='"x"')

    server, path, digest = serve(script), tmp_path / "images.tar", V1.image.config.digest
    entry = {"Config": member_of(digest), "RepoTags": [TAG], "Layers": [member_of(d) for d in V1.image.diff_ids]}
    members = [(member_of(d), data) for d, data in ENGINE.content.items()]
    path.write_bytes(compress(tar_of([*members, ("manifest.json", json.dumps([entry]).encode())])))
    before = path.read_bytes()
    images = [{"name": TAG}]
    call = Calls(tmp_path / "root", state="saved", source="archive", archive_path=str(path), images=images)
    inspection = call("inspect")
    made = Made(Bundle.parse(inspection["bundle"]).images[0], ENGINE.content)
    assert (made.image.config.digest, inspection["estimates"], inspection["leftover"]) == (digest, {}, False)
    assert not call.root.exists()
    call.params["bundle"] = inspection["bundle"]
    exported = call("export", token="one", digests=list(made.content))
    assert exported["result"]["sizes"] == {name: len(data) for name, data in made.content.items()}
    staged = [name for name in tree(call.root) if "/blobs/" in name]
    assert len(staged) == (0 if compress is bytes else len(made.content)), "it is sent from where it is"
    sent = call("send", token="two", transfers=transfers(server, made))
    assert all(outcome["done"] for outcome in sent["result"]["outcomes"])
    assert stored == made.content
    assert call("clean")["removed"] is True
    assert (path.read_bytes(), call.root.exists()) == (before, False)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_an_archive_is_pushed_from_where_it_is_or_staged_while_it_is_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Callable[[bytes], bytes]
) -> None:
    started: list[Any] = []

    def start(self: Any, bundle: Bundle, source: Any, staging: Staging, *_dummy: object) -> str:
        started.append((source, staging))
        return "ssh-ed25519 AAAA"

    monkeypatch.setattr(PushSession, "start", start)
    path, digest = tmp_path / "images.tar", ENGINE.image.config.digest
    entry = {"Config": member_of(digest), "RepoTags": ["app:v1"], "Layers": [*map(member_of, ENGINE.image.diff_ids)]}
    members = [(member_of(d), data) for d, data in ENGINE.content.items()]
    path.write_bytes(compress(tar_of([*members, ("manifest.json", json.dumps([entry]).encode())])))
    base = make(b"base" * 30, tag="base:v1", packed=False)
    target = TransferTarget("a", FakeEngine().has(base, "base:v1").read_facts(""), "127.0.0.1")
    call = Calls(
        tmp_path / "root", state="saved", source="archive", archive_path=str(path), images=[{"name": "app:v1"}]
    )
    answer = call("prepare_push", token="0" * 32, targets=[target.to_dict()])
    assert answer["public_key"]
    ((source, staging),) = started
    if compress is bytes:
        assert isinstance(source, ArchiveSource)
        return
    # The layer that the target has is not staged.
    growing_blobs = GrowingBlobs(staging, lambda: None)
    with staging.hold_lock():
        source.begin(growing_blobs, lambda: None, nothing)
        blobs = [BlobDescriptor(name, None, "x", "app:v1") for name in source.digests]
        arrived = [blob for blob in growing_blobs.iter_available(blobs) if blob]
    assert {(blob.digest, blob.size) for blob in arrived} == {
        (name, len(data)) for name, data in ENGINE.content.items() if name != ENGINE.image.diff_ids[0]
    }
    assert not staging.is_complete(ENGINE.image.diff_ids[0])
    assert staging.remove()


# -- an archive as the target


def make_archive_calls(tmp_path: Path, made: Made, state: str = "loaded", **params: Any) -> Calls:
    (tmp_path / "media").mkdir(exist_ok=True)
    options = {
        "engine": "archive",
        "target_archive_path": str(tmp_path / "media/images.tar"),
        "target_archive_part_size": None,
        "target_archive_platform": "linux/amd64",
        **params,
    }
    return Calls(tmp_path / "root", state=state, bundle=made.bundle.to_dict(), **options)


ARCHIVE_FILES = ["images.tar", "images.tar.load.txt", "images.tar.sha256"]


@pytest.mark.parametrize("engine_option", ["archive", "auto"])
def test_an_archive_is_fetched_written_and_found_again(serve: Any, tmp_path: Path, engine_option: str) -> None:
    server = serve(lambda request: request.answer(200, V1.content[request.path[1:]]))
    call = make_archive_calls(tmp_path, V1, engine=engine_option)
    target = TransferTarget.parse(call("gather_facts", host="writer")["target"], "targets[0]")
    assert target.facts.archive
    assert not target.facts.archive.exists
    inspection = call("inspect")
    assert [plan["action"] for plan in inspection["plans"]] == ["write"]
    assert (inspection["engine"], inspection["leftover"], inspection["archive_files"]) == (
        f"archive {tmp_path}/media/images.tar",
        False,
        [],
    )
    assert (tree(tmp_path / "media"), call.root.exists()) == ([], False)
    fetched = call("load", token="one", transfers=transfers(server, V1)[:2], has_more=True)
    assert (fetched["result"]["loaded"], tree(tmp_path / "media")) == (None, [])
    loaded = call("load", token="two", transfers=transfers(server, V1))
    assert (loaded["status"], loaded["cleaned"], loaded["result"]["loaded"][0]["done"]) == ("done", True, True)
    assert tree(tmp_path / "media") == ARCHIVE_FILES
    (file,) = loaded["result"]["archive_files"]
    assert (file["name"], file["size"]) == ("images.tar", (tmp_path / "media/images.tar").stat().st_size)
    assert not call.root.exists()
    facts = TransferTarget.parse(call("gather_facts", host="writer")["target"], "targets[0]").facts
    assert facts.archive
    again = call("inspect", archive_fingerprint=facts.archive.fingerprint)
    assert [plan["action"] for plan in again["plans"]] == ["none"]
    assert again["archive_files"] == [file]


def test_what_a_killed_archive_run_has_left_is_cleaned(tmp_path: Path) -> None:
    call = make_archive_calls(tmp_path, V1)
    left = tmp_path / "media/.images.tar.incomplete"
    left.mkdir(mode=0o700)
    (left / "images.tar").touch()
    assert call("inspect")["leftover"]
    assert call("clean") == {"removed": False, "busy": False, "cleanup_error": None}
    assert tree(tmp_path / "media") == []


def test_a_pushed_archive_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: FakeEngine) -> None:
    permitted = Permitted(tmp_path / "root", monkeypatch, engine, V1)
    permitted.calls = {state: make_archive_calls(tmp_path, V1, state) for state in ("authorized", "loaded", "revoked")}
    assert permitted.authorize() == {"user": "me", "host_keys": ["ssh-ed25519 BBBB"]}
    permitted.arrive(*range(len(V1.image.list_blobs())))
    answer = permitted.calls["loaded"]("load", token="one", public_key=KEY)
    assert (answer["result"]["loaded"][0]["done"], answer["cleaned"]) == (True, True)
    assert tree(tmp_path / "media") == ARCHIVE_FILES
    assert not permitted.keys.exists()
    assert engine.loads == []


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"target_archive_path": None}, "target_archive_path: is required with engine=archive"),
        ({"target_archive_path": "images.tar"}, "target_archive_path: 'images.tar' is not an absolute path"),
        ({"target_archive_part_size": 1}, "target_archive_part_size: 1 is below 1048576 bytes"),
        ({"target_archive_platform": "arm"}, "target_archive_platform: The platform 'arm' is malformed"),
    ],
)
@pytest.mark.parametrize("phase", ["gather_facts", "inspect", "load"])
def test_a_bad_archive_option_is_refused_before_anything_is_written(
    tmp_path: Path, params: Mapping[str, Any], message: str, phase: str
) -> None:
    call = make_archive_calls(tmp_path, V1, **params)
    with pytest.raises(ImageError) as caught:
        call(phase, token="one", host="writer")
    assert str(caught.value).startswith(message)
    assert tree(tmp_path / "media") == []
