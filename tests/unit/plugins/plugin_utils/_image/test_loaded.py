# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=loaded from end to end with bucket and engine in memory: what arrives, and what is reported if not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import ArchiveState, Bundle, EngineFacts
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.absent import delete_blobs
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.flow import ProgressReporter
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.loaded import load_bundle
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3 import REQUESTS_PER_CALL, BucketOptions, S3BlobStore
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    TAG,
    FakeEngine,
    Made,
    make,
    nothing,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.plugin_utils._image.cloud import BUCKET, FakeS3, Target, refusal

V1 = make(b"base" * 50, b"middle" * 40, b"top")
V2 = make(b"base" * 50, b"middle" * 40, b"newer", tag="registry.test/app:v2")
SAME_TAG = make(b"base" * 50, b"other")
OTHER = make(b"elsewhere", tag="registry.test/other:1")
TOP = V1.image.layers[2].blob.digest


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3().holds(V1.content, V2.content, OTHER.content)


@pytest.fixture
def target(tmp_path: Path, s3: FakeS3) -> Target:
    return Target(s3, tmp_path / "root")


def run(
    target: Target, *made: Made, has: Optional[EngineFacts] = None, check_mode: bool = False, diff: bool = False
) -> dict[str, Any]:
    bundle = Bundle(tuple(item.image for item in made or (V1,)))
    path = S3BlobStore(target.s3, BucketOptions(BUCKET))
    result: dict[str, Any] = load_bundle(target, path, bundle, has, check_mode, diff, ProgressReporter(nothing))
    assert target.s3.writes == []  # a target only reads
    assert not target.root.exists()  # nothing stays in the staging directory
    return result


def status(result: Mapping[str, Any]) -> dict[str, str]:
    return {image["name"]: image["status"] for image in result["images"]}


def size(*digests: str) -> int:
    return sum(len({**V1.content, **V2.content}[digest]) for digest in digests)


def test_images_arrive_and_a_second_run_does_nothing(target: Target) -> None:
    result = run(target, V1, OTHER)
    assert (result["changed"], result.get("failed", False)) == (True, False)
    assert status(result) == {TAG: "changed", OTHER.image.tag: "changed"}
    assert result["bytes_full"] == result["bytes_missing"] == result["bytes_transferred"] > 0
    assert (result["engine"], result["path"], result["corrupt"]) == ("docker 20", f"s3://{BUCKET}/", [])
    assert target.engine.find(TAG) is not None
    assert target.calls == ["inspect", "load"]

    target.calls.clear()
    target.s3.calls.clear()
    again = run(target, V1, OTHER)
    assert (again["changed"], again["bytes_transferred"], again["bytes_missing"], again["steps"]) == (False, 0, 0, [])
    assert (target.calls, target.s3.calls) == (["inspect"], [])


def test_an_update_brings_what_is_new_alone(target: Target) -> None:
    run(target, V1)
    target.fetched.clear()
    result = run(target, V2)
    new = [digest for digest in V2.content if digest not in V1.content]
    assert sorted(target.fetched) == sorted(new)
    assert result["bytes_transferred"] == result["bytes_missing"] == size(*new)
    assert result["images"][0]["reason"].startswith("1 of 3 layers and the config are missing (")


def test_a_target_with_known_facts_is_called_once(target: Target) -> None:
    """A call costs a second, half of it to start Python; the role has read each target's facts a moment ago."""
    target.engine.has(V1, TAG)
    before = target.engine.read_facts("")
    result = run(target, V2, OTHER, has=before)
    assert (target.calls, status(result)) == (["load"], {V2.image.tag: "changed", OTHER.image.tag: "changed"})
    new = [digest for digest in {**V2.content, **OTHER.content} if digest not in V1.content]
    assert sorted(target.fetched) == sorted(new)
    assert [step["action"] for step in result["steps"]] == ["load", "load"]
    assert result["bytes_transferred"] == result["bytes_missing"] > 0


@pytest.mark.parametrize("now", ["another run has brought it", "a layer has gone", "all has gone"])
def test_what_a_target_had_before_is_not_believed(target: Target, now: str) -> None:
    target.engine.has(V1, TAG)
    before = target.engine.read_facts("")
    if now == "another run has brought it":
        target.engine.has(V2, V2.image.tag)
    else:
        target.engine.images.clear()
    if now == "a layer has gone":
        target.engine.has(make(b"base" * 50), "base:1")
    result = run(target, V2, has=before)
    there = now == "another run has brought it"
    assert (status(result), result["changed"]) == ({V2.image.tag: "ok" if there else "changed"}, not there)
    assert len(target.fetched) == len(set(target.fetched)), "nothing is fetched twice"
    assert result["bytes_missing"] == result["bytes_transferred"]
    assert bool(result["steps"]) != there


def test_a_target_that_had_everything_is_inspected_again_all_the_same(target: Target) -> None:
    target.engine.has(V1, TAG)
    before = target.engine.read_facts("")
    assert not run(target, V1, has=before)["changed"]
    assert target.calls == ["inspect"]
    target.engine.images.clear()
    assert run(target, V1, has=before)["changed"]


def test_in_check_mode_what_a_target_had_before_counts_for_nothing(target: Target) -> None:
    before = target.engine.read_facts("")
    target.engine.has(V1, TAG)
    assert not run(target, V1, has=before, check_mode=True)["changed"]
    assert target.calls == ["inspect"]


HAS: dict[str, list[tuple[Made, str]]] = {
    "nothing": [],
    "it already": [(V1, TAG)],
    "another name": [(V1, "other:1")],
    "another image under the name": [(SAME_TAG, TAG)],
    "it under another name, and another under its": [(V1, "other:1"), (SAME_TAG, TAG)],
}


@pytest.mark.parametrize("has", HAS)
def test_check_mode_writes_nothing_and_predicts_exactly_the_steps_of_the_run(target: Target, has: str) -> None:
    for made, name in HAS[has]:
        target.engine.has(made, name)
    before = dict(target.engine.images)
    target.leftover = True
    predicted = run(target, check_mode=True, diff=True)
    assert (target.calls, target.engine.images, target.engine.loads, target.s3.calls) == (["inspect"], before, [], [])
    target.leftover = False
    done = run(target, diff=True)
    for image in (*predicted["images"], *done["images"]):
        del image["seconds"]
    for part in ("steps", "changed", "images", "diff", "bytes_full", "bytes_missing"):
        assert predicted[part] == done[part]
    assert predicted["bytes_transferred"] == 0
    held = target.engine.find(TAG)
    assert held is not None
    assert held.config_digest == V1.image.config.digest
    if any(made is SAME_TAG for made, name in HAS[has]):
        old = SAME_TAG.image.config.digest
        assert done["images"][0]["previous_image"] == old
        assert old in target.engine.images  # the image that held the name stays
        assert done["diff"][0]["before"] == {"image": old}
        assert done["diff"][0]["after"] == {"image": V1.image.config.digest}


# -- damage


class Faults:
    """Answers of a host by phase and digest, each so many times."""

    def __init__(self, phase: str, answer: Any, times: int = 1, digest: str = "") -> None:
        self.phase, self.answer, self.times, self.digest = phase, answer, times, digest

    def __call__(self, phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if phase != self.phase or not self.times or (self.digest and transfer["digest"] != self.digest):
            return None
        self.times -= 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: dict[str, Any] = self.answer
        return answer


def test_a_blob_that_is_damaged_on_its_way_is_fetched_again(target: Target) -> None:
    target.fault = Faults("transfer", {"data": b"x" * size(TOP)}, digest=TOP)
    result = run(target)
    assert (status(result), result["corrupt"], result.get("failed", False)) == ({TAG: "changed"}, [], False)
    assert target.fetched.count(TOP) == 2
    assert len(target.fetched) == len(V1.content) + 1  # and nothing else again
    assert result["bytes_transferred"] == size(*V1.content) + size(TOP)


@pytest.mark.parametrize("digest", list(V1.content), ids=["config", "layer 1", "layer 2", "layer 3", "manifest"])
def test_an_object_that_is_damaged_in_the_bucket_is_named_and_nothing_is_loaded(target: Target, digest: str) -> None:
    """facts: an exit code is not evidence: every blob's sha256 is verified before the load."""
    stored = target.s3.at(digest)
    stored.data = stored.data[:-1] + b"\0"
    target.engine.has(SAME_TAG, TAG)
    result = run(target, V1, OTHER)
    if digest == V1.image.layers[0].blob.digest:  # the target has this one
        assert result["corrupt"] == []
        return
    assert status(result) == {TAG: "failed", OTHER.image.tag: "changed"}
    assert [entry["digest"] for entry in result["corrupt"]] == [digest]
    assert result["corrupt"][0]["etag"].startswith(stored.etag)
    assert "1 blobs failed their digest, nothing was loaded" in result["msg"]
    assert "Run state=saved with 'corrupt'" in result["msg"]
    held = target.engine.find(TAG)
    assert held is not None
    assert held.config_digest == SAME_TAG.image.config.digest
    assert target.fetched.count(digest) == 2

    target.s3.holds(V1.content)
    assert status(run(target)) == {TAG: "changed"}  # a plain re-run converges


def test_two_objects_that_are_damaged_are_both_named(target: Target) -> None:
    bad = [V1.image.config.digest, TOP]
    for digest in bad:
        target.s3.at(digest).data = b"x" * size(digest)
    result = run(target)
    assert [entry["digest"] for entry in result["corrupt"]] == sorted(bad)


def test_a_layer_that_the_engine_loses_after_the_probe_is_fetched(target: Target) -> None:
    target.engine.has(V1, TAG)

    def lose(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if phase == "load":
            target.engine.images.clear()
        return None

    target.fault = lose
    result = run(target, V2)
    assert status(result) == {V2.image.tag: "changed"}
    assert set(target.fetched) == set(V2.content)
    assert result["bytes_transferred"] == size(*V2.content) > result["bytes_missing"]


# -- what is not there


@pytest.mark.parametrize("problem", ["absent", "short"])
def test_a_blob_that_is_not_in_the_bucket_is_reported_with_the_remediation(target: Target, problem: str) -> None:
    if problem == "absent":
        del target.s3.objects[f"blobs/sha256/{TOP.partition(':')[2]}"]
        message = f"{TOP} is not in s3://{BUCKET}/. Run state=saved for this target first."
    else:
        target.s3.at(TOP).data = b""
        message = f"{TOP} has 0 bytes in s3://{BUCKET}/ instead of {size(TOP)}: run state=saved to replace it."
    result = run(target, V1, OTHER)
    assert status(result) == {TAG: "failed", OTHER.image.tag: "changed"}
    assert result["msg"] == f"1 of 2 failed. {TAG}: {message}"
    assert (result["changed"], result["corrupt"]) == (True, [])


@pytest.mark.parametrize("code", ["NoSuchBucket", "AccessDenied", "ExpiredToken"])
def test_a_bucket_that_refuses_leaves_nothing_behind(target: Target, code: str) -> None:
    target.s3.refuse["list_objects_v2"] = refusal(code)
    with pytest.raises(ImageError, match=f"S3 returns {code}"):
        run(target)
    assert target.calls[-1] == "clean"
    assert not target.root.exists()


# -- interruptions


def test_an_unfinished_request_is_retried_with_a_new_url(target: Target) -> None:
    urls: list[str] = []

    def slow(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if phase == "transfer" and transfer["digest"] == TOP:
            urls.append(transfer["url"])
            return {"size": 1, "received": 1} if len(urls) < 4 else None
        return None

    target.fault = slow
    result = run(target)
    assert len(set(urls)) == 4
    assert result["bytes_transferred"] == size(*V1.content) + 3
    assert status(result) == {TAG: "changed"}


def test_s3_urls_that_expired_are_signed_again_and_that_is_bounded(target: Target) -> None:
    """facts: S3: a presigned URL dies with its time, or with the credentials that signed it."""
    expired = {"error": "403: the URL has expired", "expired": True}
    target.fault = Faults("transfer", expired, times=3, digest=TOP)
    assert status(run(target)) == {TAG: "changed"}
    again = Target(target.s3, target.root, fault=Faults("transfer", expired, times=1000, digest=TOP))
    result = run(again, V1, OTHER)
    assert status(result) == {TAG: "failed", OTHER.image.tag: "changed"}
    assert "403: the URL has expired" in result["msg"]
    assert again.calls.count("load") <= 10


def test_urls_that_expire_while_others_are_used_are_signed_again_as_often_as_it_takes(
    s3: FakeS3, target: Target
) -> None:
    """Large blobs come one after the other: on a slow link the last ones expire many times before it is their turn."""
    made = make(*(b"layer %d" % number for number in range(12)), tag="registry.test/many:1")
    s3.holds(made.content)
    came: dict[int, str] = {}

    def slow(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        turn = target.calls.count("load")
        if phase != "transfer" or came.setdefault(turn, transfer["digest"]) == transfer["digest"]:
            return None
        return {"error": "403: the URL has expired", "expired": True}

    target.fault = slow
    assert status(run(target, made)) == {made.image.tag: "changed"}
    assert target.calls.count("load") == len(made.content)


def test_a_blob_that_cannot_be_fetched_does_not_stop_the_other_images(target: Target) -> None:
    target.fault = Faults("transfer", {"error": "No space left on device"}, digest=TOP)
    result = run(target, V1, OTHER)
    assert status(result) == {TAG: "failed", OTHER.image.tag: "changed"}
    assert result["msg"] == f"1 of 2 failed. {TAG}: No space left on device"
    assert [step["target"] for step in result["steps"]] == [OTHER.image.tag], "what was written, and nothing else"


def test_a_long_load_is_polled_until_it_is_done(target: Target) -> None:
    lines: list[str] = []
    state = {
        "status": "running",
        "activity": "docker unpacks layer x",
        "bytes_done": 5_000_000,
        "bytes_total": 9_000_000,
    }
    target.fault = Faults("load", state, times=3)
    load_bundle(
        target,
        S3BlobStore(target.s3, BucketOptions(BUCKET)),
        V1.bundle,
        None,
        False,
        False,
        ProgressReporter(lines.append),
    )
    assert target.calls.count("load") == 4
    assert len([line for line in lines if line.startswith("docker unpacks layer x: 5.0 MB of 9.0 MB")]) == 3


@pytest.mark.parametrize(
    "answer", [{"status": "died", "error": "the process was killed"}, RuntimeError("the ssh broke")]
)
@pytest.mark.parametrize("phase", ["load", "fetched"])
def test_the_staging_directory_is_removed_on_every_exit(target: Target, phase: str, answer: Any) -> None:
    if phase == "fetched" and isinstance(answer, dict):
        answer = KeyboardInterrupt("somebody")
    target.fault = Faults(phase, answer)
    with pytest.raises((ImageError, RuntimeError, KeyboardInterrupt), match=r"was killed|ssh broke|somebody"):
        run(target)
    assert target.calls[-1] == "clean"
    assert not target.root.exists()


def test_the_first_error_is_reported_also_when_cleaning_fails_too(target: Target) -> None:
    def fault(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if phase in ("load", "clean"):
            raise RuntimeError(f"{phase} broke")
        return None

    target.fault = fault
    with pytest.raises(RuntimeError, match="load broke"):
        run(target)


def test_what_a_killed_run_left_is_removed_also_when_nothing_is_to_do(target: Target) -> None:
    target.engine.has(V1, TAG)
    target.leftover = True
    assert not run(target)["changed"]
    assert target.calls == ["inspect", "clean"]


def test_many_blobs_are_fetched_in_portions(target: Target) -> None:
    many = make(*(str(number).encode() for number in range(REQUESTS_PER_CALL + 10)), tag="registry.test/many:1")
    target.s3.holds(many.content)
    assert status(run(target, many)) == {many.image.tag: "changed"}
    assert target.calls.count("load") == 2
    assert len(target.fetched) == len(many.content), "each once"


def test_an_engine_that_reports_success_for_a_broken_load_is_found_out(target: Target) -> None:
    """facts: an exit code is not evidence."""
    target.engine = FakeEngine(spoil=lambda stored: None)
    result = run(target)
    assert status(result) == {TAG: "failed"}
    assert "the engine reported success, but has no image" in result["msg"]


def test_a_requested_image_for_another_platform_is_warned_of(target: Target) -> None:
    message = (
        "app may not start on this host: it is for linux/arm64, as its 'platform' requests, and docker runs amd64."
    )
    target.warnings = [message]
    assert run(target)["warnings"] == [message]
    target.warnings = []
    assert "warnings" not in run(target)


# -- state=absent


def test_layers_that_could_not_be_preloaded_are_reported_where_the_load_succeeds(target: Target) -> None:
    target.preload_errors = ["docker refused"]
    message = "Layers could not be preloaded while others were in transit: docker refused"
    assert run(target)["warnings"] == [message]


def test_a_load_that_fails_reports_its_own_error_only(target: Target) -> None:
    target.preload_errors, target.engine.refuse = ["docker refused"], "docker refused"
    result = run(target)
    assert (result["images"][0]["status"], result.get("warnings")) == ("failed", None)


def test_blobs_are_taken_out_of_the_bucket_and_check_mode_predicts_it(s3: FakeS3) -> None:
    del s3.objects[f"blobs/sha256/{TOP.partition(':')[2]}"]
    path = S3BlobStore(s3, BucketOptions(BUCKET))
    kept = {key for key in s3.objects if f"sha256:{key.rpartition('/')[2]}" not in V1.content}
    predicted = delete_blobs(path, V1.bundle, check_mode=True, diff=True)
    assert s3.writes == []
    done = delete_blobs(path, V1.bundle, check_mode=False, diff=True)
    assert predicted == done
    assert set(s3.objects) == kept
    assert {blob["name"]: blob["status"] for blob in done["blobs"]} == {
        digest: "ok" if digest == TOP else "changed" for digest in V1.content
    }
    assert not delete_blobs(path, V1.bundle, check_mode=False, diff=False)["changed"]


def test_a_blob_that_cannot_be_deleted_does_not_stop_the_others(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    real = s3.delete_object

    def delete(**parameters: Any) -> dict[str, Any]:
        if parameters["Key"].endswith(TOP.partition(":")[2]):
            raise refusal("AccessDenied")
        return real(**parameters)

    monkeypatch.setattr(s3, "delete_object", delete)
    result = delete_blobs(S3BlobStore(s3, BucketOptions(BUCKET)), V1.bundle, check_mode=False, diff=False)
    assert (result["failed"], result["changed"]) == (True, True)
    assert [blob["name"] for blob in result["blobs"] if blob["status"] == "failed"] == [TOP]
    assert {step["target"] for step in result["steps"]} == V1.content.keys() - {TOP}
    assert not any(f"sha256:{key.rpartition('/')[2]}" in V1.content for key in s3.objects if TOP[7:] not in key)


ARCHIVE_FILES = [{"name": "images.tar", "size": 5, "sha256": "a" * 64}]


def make_archive_facts(problem: Optional[str]) -> EngineFacts:
    archive = ArchiveState("/media/images.tar", None, frozenset(), problem, "fingerprint")
    return replace(FakeEngine().read_facts(""), engine="archive", archive=archive)


class ArchiveHost:
    """A host with an archive that has these actions left."""

    def __init__(self, action: str) -> None:
        step = {"before": None, "after": {"image": V1.image.config.digest}}
        plan = {"name": TAG, "action": action, "reason": "", "previous": None, "blobs": []}
        self.plan = {**plan, "step": None if action == "none" else step}
        self.fingerprints: list[Optional[str]] = []

    def __call__(self, call: Mapping[str, Any]) -> dict[str, Any]:
        if call["work"]["phase"] == "clean":
            return {"removed": True, "busy": False, "cleanup_error": None}
        self.fingerprints.append(call["work"]["archive_fingerprint"])
        state = {"plans": [self.plan], "engine": "archive /media/images.tar", "load_warnings": [], "leftover": False}
        if call["work"]["phase"] == "inspect":
            return {**state, "archive_files": []}
        outcome = {"tag": TAG, "done": True, "error": None, "corrupt": [], "missing": [], "seconds": 1.0}
        loaded = {"outcomes": [], "preload_errors": [], "loaded": [outcome], "cleanup_error": None}
        return {"status": "done", "cleaned": True, "result": {**state, **loaded, "archive_files": ARCHIVE_FILES}}


@pytest.mark.parametrize("problem", [None, "it is truncated"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_a_complete_archive_is_not_verified_twice(problem: Optional[str], check_mode: bool) -> None:
    host, path = ArchiveHost("write"), S3BlobStore(FakeS3(), BucketOptions(BUCKET))
    facts = make_archive_facts(problem)
    result = load_bundle(host, path, V1.bundle, facts, check_mode, False, ProgressReporter(nothing))
    assert set(host.fingerprints) == {None if problem else "fingerprint"}
    assert result["engine"] == "archive /media/images.tar"
    # Check mode does not know the checksum of what is not written.
    assert result.get("archive_files") == (None if check_mode else ARCHIVE_FILES)
    assert status(result) == {TAG: "changed"}
