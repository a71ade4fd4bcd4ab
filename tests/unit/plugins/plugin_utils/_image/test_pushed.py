# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of a push by SSH: its calls and reports, and that check mode calls only the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import TransferTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.plan import list_blob_needs
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.flow import ProgressReporter
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.pushed import (
    authorize_push,
    prepare_push,
    push_all,
    revoke_push,
)
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.source_inspection import SaveOptions
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import facts, make

MADE = make(b"one", b"two")
BUNDLE = MADE.bundle
UNSIZED = MADE.unsized.to_dict()
DIGESTS = [blob.digest for blob in BUNDLE.list_blobs()]
PROGRESS = ProgressReporter(lambda line: None)
PLACE = {"host": "a", "address": "10.0.0.1", "port": 22, "from": "10.0.0.9", "digests": DIGESTS[:2]}
PUSH = {"token": "0" * 32, "public_key": "ssh-ed25519 AAAA", "seconds": 900, "targets": {"a": PLACE}}
GRANT = {"host": "a", "address": "10.0.0.1", "port": 22, "user": "root", "host_keys": ["k"], "digests": DIGESTS[:2]}


class Host:
    """A host that returns the given result of each phase, and records its calls."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[Mapping[str, Any]] = []

    def __call__(self, call: Mapping[str, Any]) -> Mapping[str, Any]:
        work = call["work"]
        self.calls.append(work)
        answer = self.answers[work["phase"]]
        if isinstance(answer, Exception):
            raise answer
        found: Mapping[str, Any] = answer(work) if callable(answer) else answer
        return found

    @property
    def phases(self) -> list[str]:
        return [work["phase"] for work in self.calls]


INSPECTED = {"bundle": BUNDLE.to_dict(), "estimates": {}, "leftover": False}


def target(name: str, *has: Any) -> TransferTarget:
    return TransferTarget(name, facts(*has), f"10.0.0.{len(name)}", 22)


def options(*targets: TransferTarget, check_mode: bool = False) -> SaveOptions:
    return SaveOptions(False, targets, {}, check_mode, False)


def offering(work: Mapping[str, Any]) -> Mapping[str, Any]:
    """As a host does it that plans by the same rules."""
    targets = [TransferTarget.parse(entry, "targets") for entry in work["targets"]]
    hosts = {name for need in list_blob_needs(BUNDLE, targets) for name in need.hosts}
    key = "ssh-ed25519 AAAA" if hosts else None
    return {**INSPECTED, "public_key": key, "addresses": dict.fromkeys(hosts, "10.0.0.9")}


def test_the_source_makes_a_key_for_targets_with_missing_blobs() -> None:
    host = Host(prepare_push=offering)
    result = prepare_push(host, options(target("a"), target("bb", MADE.stored(MADE.image.tag))), PROGRESS)
    assert host.phases == ["prepare_push"]
    assert host.calls[0]["token"] == result["push"]["token"]
    assert list(result["push"]["targets"]) == ["a"]
    assert result["push"]["targets"]["a"]["digests"] == DIGESTS
    assert (result["changed"], result["bytes_transferred"], result["path"]) == (True, 0, "ssh")
    assert [step["after"]["host"] for step in result["steps"]] == ["a"] * len(DIGESTS)


def test_check_mode_returns_the_same_and_makes_no_key() -> None:
    host = Host(prepare_push=offering)
    run = prepare_push(host, options(target("a")), PROGRESS)
    checked = Host(inspect=INSPECTED)
    result = prepare_push(checked, options(target("a"), check_mode=True), PROGRESS)
    assert checked.phases == ["inspect"]
    assert result["push"] == {}
    assert (result["steps"], result["bytes_missing"]) == (run["steps"], run["bytes_missing"])


@pytest.mark.parametrize("leftover", [False, True])
def test_where_no_target_misses_a_blob_nothing_is_pushed(leftover: bool) -> None:
    host = Host(prepare_push=lambda work: {**offering(work), "leftover": leftover}, clean={})
    result = prepare_push(host, options(target("a", MADE.stored(MADE.image.tag))), PROGRESS)
    assert (result["push"], result["changed"]) == ({}, False)
    assert host.phases == ["prepare_push", *(["clean"] if leftover else [])]


def test_scp_needs_to_know_its_targets() -> None:
    with pytest.raises(ImageError, match=r"targets: is empty"):
        prepare_push(Host(), options(), PROGRESS)


def test_a_target_authorizes_its_missing_blobs_and_nothing_else() -> None:
    host = Host(authorize={"user": "root", "host_keys": ["k"]})
    result = authorize_push(host, BUNDLE, PUSH, "a", None, False)
    (calls,) = host.calls
    assert (calls["public_key"], calls["addresses"], calls["port"]) == ("ssh-ed25519 AAAA", ["10.0.0.9"], 22)
    assert [blob["digest"] for blob in calls["blobs"]] == DIGESTS[:2]
    assert all(isinstance(blob["size"], int) for blob in calls["blobs"])
    assert result == {"changed": True, "authorization": GRANT}
    authorize_push(host, BUNDLE, PUSH, "a", "192.0.2.1", False)
    assert host.calls[-1]["addresses"] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("size", "targets", "seconds"),
    [
        (1, 1, 900),
        (500_000_000, 1, 900 + 4000),
        (500_000_000, 10, 900 + 40_000),
        (10**12, 1, 86_400),
    ],
)
def test_a_permission_lasts_until_the_last_of_many_targets_has_its_turn(size: int, targets: int, seconds: int) -> None:
    """They are pushed to some at a time, each connection begins anew after it dropped, and docker writes meanwhile."""
    bundle = MADE.unsized
    config = bundle.images[0].config.digest
    bundle = bundle.fill_sizes({blob.digest: size if blob.digest == config else 0 for blob in bundle.list_blobs()})

    def large(work: Mapping[str, Any]) -> Mapping[str, Any]:
        # As docker, which estimates.
        return {
            **offering(work),
            "estimates": {blob.digest: blob.size for blob in bundle.list_blobs()},
            "bundle": UNSIZED,
        }

    host = Host(prepare_push=large, authorize={"user": "root", "host_keys": ["k"]})
    push = prepare_push(host, options(*(target("a" * (number + 1)) for number in range(targets))), PROGRESS)["push"]
    assert push["seconds"] == pytest.approx(seconds, abs=1)
    authorize_push(host, BUNDLE, push, "a", None, False)
    assert host.calls[-1]["expires"] == push["seconds"]


def test_a_permission_lasts_longer_where_the_rate_is_limited() -> None:
    host = Host(prepare_push=offering)
    limited = replace(options(target("a")), bandwidth_limit=1)
    in_all = sum(blob.size or 0 for blob in BUNDLE.list_blobs())
    assert prepare_push(host, limited, PROGRESS)["push"]["seconds"] == 900 + in_all


def test_a_target_without_missing_blobs_is_not_called() -> None:
    host = Host()
    assert authorize_push(host, BUNDLE, PUSH, "b", None, False) == {"changed": False, "authorization": None}
    assert authorize_push(host, BUNDLE, {}, "a", None, False) == {"changed": False, "authorization": None}
    assert host.calls == []


def test_in_check_mode_no_host_is_called() -> None:
    host = Host()
    assert authorize_push(host, BUNDLE, PUSH, "a", None, True) == {"changed": True, "authorization": None}
    pushed = push_all(host, BUNDLE, PUSH, [GRANT], True, PROGRESS)
    assert (pushed["changed"], pushed["targets"], pushed["bytes_transferred"]) == (True, [], 0)
    assert push_all(host, BUNDLE, {}, [], True, PROGRESS)["changed"] is False
    assert revoke_push(host, BUNDLE, PUSH, True) == {"changed": False}
    assert host.calls == []


def done(*outcomes: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": "done", "result": {"pushed": list(outcomes)}, "error": None}


def test_pushed_blobs_are_reported_for_each_target() -> None:
    good = {"host": "a", "bytes_sent": 5, "error": None, "digests": DIGESTS[:1]}
    bad = {"host": "b", "bytes_sent": 2, "error": "b: no space", "digests": []}
    idle = {"host": "c", "bytes_sent": 0, "error": None, "digests": []}
    host = Host(push=done(good, bad, idle), clean={})
    result = push_all(host, BUNDLE, PUSH, [GRANT], False, PROGRESS)
    assert [(item["name"], item["status"]) for item in result["targets"]] == [
        ("a", "changed"),
        ("b", "failed"),
        ("c", "ok"),
    ]
    assert (result["changed"], result["bytes_transferred"]) == (True, 7)
    assert "failed" not in result, "one that fails leaves the others done"
    assert host.calls[-1] == {"phase": "clean", "seconds": host.calls[-1]["seconds"], "token": "0" * 32}
    swift = Host(push={**done(good, bad, idle), "cleaned": True})
    assert push_all(swift, BUNDLE, PUSH, [GRANT], False, PROGRESS)["targets"] == result["targets"]
    assert swift.phases == ["push"], "the call that returns the outcome has cleaned up"


def test_the_sizes_that_an_engine_reported_meanwhile_are_counted() -> None:
    outcome = {"host": "a", "bytes_sent": 5, "error": None, "digests": DIGESTS[:1]}
    unsized = make(b"one", b"two", packed=False).unsized
    digests = [blob.digest for blob in unsized.list_blobs()]
    push = {**PUSH, "targets": {"a": {**PLACE, "digests": digests[:2]}}}

    def result(sizes: Mapping[str, int]) -> Mapping[str, Any]:
        host = Host(push={"status": "done", "result": {"pushed": [outcome], "sizes": sizes}, "cleaned": True})
        return push_all(host, unsized, push, [GRANT], False, PROGRESS)

    whole = result({digests[0]: 30, digests[1]: 12})
    assert (whole["bytes_missing"], whole["estimated"]) == (42, False)
    assert result({digests[0]: 30})["estimated"] is True
    assert push_all(Host(), unsized, push, [GRANT], True, PROGRESS)["bundle"] == unsized.to_dict()


@pytest.mark.parametrize("push", [{"status": "died", "error": "the process was killed"}, ImageError("has gone")])
def test_the_source_is_cleaned_up_whatever_happens(push: Any) -> None:
    host = Host(push=push, clean={})
    with pytest.raises(ImageError):
        push_all(host, BUNDLE, PUSH, [GRANT], False, PROGRESS)
    assert host.phases == ["push", "clean"]


def test_without_a_permission_the_source_is_sent_home() -> None:
    host = Host(clean={})
    result = push_all(host, BUNDLE, PUSH, [], False, PROGRESS)
    assert (host.phases, result["changed"], result["targets"]) == (["clean"], False, [])


def test_a_permission_is_taken_away_by_its_key() -> None:
    host = Host(revoke={"revoked": True, "busy": False, "cleanup_error": None})
    assert revoke_push(host, BUNDLE, PUSH, False) == {"changed": True}
    assert host.calls[-1]["public_key"] == "ssh-ed25519 AAAA"
    revoke_push(host, BUNDLE, {}, False)
    assert host.calls[-1]["public_key"] is None


def test_an_engine_that_still_unpacks_what_had_come_is_waited_for() -> None:
    answers = [(True, True, None), (False, True, None), (False, False, "Preloaded layers may remain")]
    host = Host(revoke=lambda work: dict(zip(("revoked", "busy", "cleanup_error"), answers.pop(0))))
    assert revoke_push(host, BUNDLE, PUSH, False) == {"changed": True, "warnings": ["Preloaded layers may remain"]}
    assert (answers, host.phases) == ([], ["revoke"] * 3)
