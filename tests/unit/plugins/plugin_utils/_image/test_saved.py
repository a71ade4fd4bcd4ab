# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=saved from end to end with a source and a bucket in memory: what is uploaded, and what is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import Bundle, TransferTarget
from ansible_collections.daytwo.aws.plugins.module_utils._image.progress import SENDING
from ansible_collections.daytwo.aws.plugins.plugin_utils._image import flow
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.flow import ProgressReporter
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.s3 import BucketOptions, S3BlobStore
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.saved import save_bundle
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.source_inspection import SaveOptions
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    ZSTD,
    Made,
    digest_of,
    facts,
    make,
    nothing,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.plugin_utils._image.cloud import (
    BUCKET,
    MIB,
    FakeS3,
    Source,
    left,
    refusal,
)

BIG = bytes(range(256)) * 4096 * 11  # 11 MiB: three parts of 5 MiB
V1 = make(BIG, b"top")
V2 = make(BIG, b"newer", tag="registry.test/app:v2")
ENGINE = make(BIG, b"top", tag="app:v1", packed=False)


def run(
    source: Source,
    *targets: TransferTarget,
    check_mode: bool = False,
    corrupt: Optional[Mapping[str, Optional[str]]] = None,
    diff: bool = False,
) -> dict[str, Any]:
    options = SaveOptions(source.from_engine, targets, corrupt or {}, check_mode, diff)
    path = S3BlobStore(source.s3, BucketOptions(BUCKET, part_size=5 * MIB))
    result: dict[str, Any] = save_bundle(source, lambda: path, options, ProgressReporter(nothing))
    return result


DIED = {"status": "died", "error": "the process was killed"}


def target(name: str, *has: Made, **free: int) -> TransferTarget:
    return TransferTarget(name, facts(*(made.stored(made.image.tag) for made in has), **free))


def blobs(*made: Made) -> set[str]:
    return {digest for item in made for digest in item.content}


def status(result: Mapping[str, Any]) -> dict[str, str]:
    return {blob["name"]: blob["status"] for blob in result["blobs"]}


def intact(s3: FakeS3) -> bool:
    return all(digest_of(stored.data) == f"sha256:{key.rpartition('/')[2]}" for key, stored in s3.objects.items())


@pytest.mark.parametrize("from_engine", [False, True], ids=["registry", "docker"])
def test_every_missing_blob_is_uploaded_once_and_a_second_run_uploads_nothing(from_engine: bool) -> None:
    made = ENGINE if from_engine else V1
    s3 = FakeS3()
    result = run(Source(s3, (made,), from_engine), target("a"), target("b"))
    size = sum(map(len, made.content.values()))
    assert (result["changed"], result.get("failed", False)) == (True, False)
    assert status(result) == dict.fromkeys(made.content, "changed")
    assert (result["bytes_full"], result["bytes_missing"], result["bytes_transferred"]) == (size, size, size)
    assert intact(s3)
    assert {digest: s3.at(digest).data for digest in made.content} == made.content
    assert Bundle.parse(result["bundle"]) == made.bundle  # sizes are known in the end
    s3.calls.clear()

    again = run(Source(s3, (made,), from_engine), target("a"), target("b"))
    assert (again["changed"], again["bytes_transferred"], again["bytes_missing"], s3.writes) == (False, 0, size, [])
    assert status(again) == dict.fromkeys(made.content, "ok")
    assert Bundle.parse(again["bundle"]) == made.bundle


def test_only_blobs_that_some_target_misses_are_uploaded() -> None:
    s3 = FakeS3()
    result = run(Source(s3, (V2,)), target("a", V1), target("b", V1))
    new = blobs(V2) - blobs(V1)
    assert set(status(result)) == new
    assert len(s3.objects) == len(new) == 3
    assert result["bytes_full"] > result["bytes_missing"] == result["bytes_transferred"] > 0


@pytest.mark.parametrize("from_engine", [False, True], ids=["registry", "docker"])
def test_a_second_target_costs_no_further_byte(from_engine: bool) -> None:
    made = ENGINE if from_engine else V1
    single = run(Source(FakeS3(), (made,), from_engine), target("a"))
    double = run(Source(FakeS3(), (made,), from_engine), target("a"), target("b"))
    assert single["bytes_transferred"] == double["bytes_transferred"]


@pytest.mark.parametrize("from_engine", [False, True], ids=["registry", "docker"])
@pytest.mark.parametrize("there", ["nothing", "all", "some", "a damaged one", "one without checksum"])
def test_check_mode_writes_nothing_and_predicts_exactly_the_steps_of_the_run(from_engine: bool, there: str) -> None:
    made = ENGINE if from_engine else V1
    s3, corrupt = FakeS3(), {}
    config = made.image.config.digest
    if there != "nothing":
        s3.holds({digest: data for digest, data in made.content.items() if there != "some" or digest == config})
    if there == "a damaged one":
        corrupt = {config: None}
    if there == "one without checksum":
        s3.at(config).metadata = {}
    source = Source(s3, (made,), from_engine, leftover=True)
    predicted = run(source, target("a"), check_mode=True, corrupt=corrupt)
    assert (s3.writes, source.calls) == ([], ["inspect"])
    s3.calls.clear()
    done = run(source, target("a"), corrupt=corrupt)
    assert predicted["steps"] == done["steps"]
    assert predicted["changed"] == done["changed"]
    assert status(predicted) == status(done)
    assert [blob["reason"].partition(" (")[0] for blob in predicted["blobs"]] == [
        blob["reason"].partition(" (")[0] for blob in done["blobs"]
    ]
    wrote = {call["Key"] for name, call in s3.calls if name in ("put", "complete_multipart_upload")}
    assert wrote == {f"blobs/sha256/{step['target'].partition(':')[2]}" for step in done["steps"]}
    sending = {step["target"] for step in done["steps"]}
    assert predicted["estimated"] == (from_engine and bool(sending))
    if not from_engine:
        assert (
            predicted["bytes_transferred"]
            == done["bytes_transferred"]
            == sum(len(made.content[digest]) for digest in sending)
        )


def test_estimates_are_marked_and_fill_what_is_not_known() -> None:
    result = run(Source(FakeS3(), (ENGINE,), from_engine=True), check_mode=True)
    assert result["estimated"]
    assert result["bytes_full"] == 2000  # two layers of an estimated 1000 bytes; nobody knows the config's size
    assert {layer["size"] for layer in result["bundle"]["images"][0]["layers"]} == {1000}


def failing(digest: str, **answer: Any) -> Any:
    def fault(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        return answer if transfer.get("digest") == digest else None

    return fault


@pytest.mark.parametrize("number", range(4))
def test_a_blob_that_fails_does_not_stop_the_others(number: int) -> None:
    broken = V1.image.list_blobs()[number].digest
    s3 = FakeS3()
    result = run(Source(s3, (V1,), fault=failing(broken, error="the registry broke off")), target("a"))
    assert (result["failed"], result["changed"]) == (True, True)
    assert status(result) == {**dict.fromkeys(V1.content, "changed"), broken: "failed"}
    assert result["msg"] == "1 of 4 blobs could not be transferred: the registry broke off"
    assert [step["target"] for step in result["steps"]] == [digest for digest in status(result) if digest != broken]
    assert result["bytes_transferred"] == sum(len(data) for digest, data in V1.content.items() if digest != broken)
    assert (len(s3.objects), intact(s3), s3.uploads) == (3, True, {})
    again = run(Source(s3, (V1,)), target("a"))
    assert (again["changed"], again.get("failed", False)) == (True, False)
    assert [step["target"] for step in again["steps"]] == [broken]


def test_a_part_that_fails_leaves_no_object_of_the_other_parts() -> None:
    big = V1.image.layers[0].blob.digest

    def fault(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        return {"error": "broke off"} if (transfer.get("digest"), transfer.get("number")) == (big, 2) else None

    s3 = FakeS3()
    result = run(Source(s3, (V1,), fault=fault), target("a"))
    assert status(result)[big] == "failed"
    assert (intact(s3), s3.uploads) == (True, {})


def test_a_blob_that_another_run_had_there_first_is_no_failure() -> None:
    """The run that is done first aborts other uploads of its blobs: a part of ours then meets NoSuchUpload."""
    big = V1.image.layers[0].blob.digest
    s3 = FakeS3()

    def fault(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if (transfer.get("digest"), transfer.get("number")) != (big, 2):
            return None
        s3.holds({big: V1.content[big]})
        return {"error": "PUT: 404 Not Found, NoSuchUpload"}

    result = run(Source(s3, (V1,), fault=fault), target("a"))
    assert "failed" not in result
    assert status(result)[big] == "ok"
    assert result["bytes_transferred"] == sum(len(data) for digest, data in V1.content.items() if digest != big)
    assert (intact(s3), s3.uploads) == (True, {})


def test_an_answer_of_200_is_not_yet_an_object() -> None:
    lost = V1.image.config.digest
    s3 = FakeS3()
    result = run(Source(s3, (V1,), fault=failing(lost, done=True, etag='"x"')), target("a"))
    assert status(result) == {**dict.fromkeys(V1.content, "changed"), lost: "failed"}
    assert "was sent, but its verification in the store failed: not in the store" in result["msg"]


def test_a_refused_completion_fails_its_blob_only() -> None:
    s3 = FakeS3()
    s3.refuse["complete_multipart_upload"] = refusal("InternalError")
    result = run(Source(s3, (V1,)), target("a"))
    assert [digest for digest, word in status(result).items() if word == "failed"] == [V1.image.layers[0].blob.digest]
    assert s3.uploads == {}


@pytest.mark.parametrize(
    ("etag", "replaced"),
    [("the object's", True), (None, True), ('"an older one"', False)],
    ids=["its", "none", "older"],
)
@pytest.mark.parametrize("from_engine", [False, True], ids=["registry", "docker"])
def test_a_damaged_object_is_put_again_once(from_engine: bool, etag: Optional[str], replaced: bool) -> None:
    made = ENGINE if from_engine else V1
    s3 = FakeS3().holds(made.content)
    bad = made.image.layers[1].blob.digest
    s3.at(bad).data = b"x" * len(made.content[bad])
    path = S3BlobStore(s3, BucketOptions(BUCKET))
    known = path.find_objects([bad])[bad].etag if etag == "the object's" else etag
    s3.calls.clear()
    result = run(Source(s3, (made,), from_engine), target("a"), corrupt={bad: known})
    assert result["changed"] is replaced
    assert intact(s3) is replaced
    assert [(step["action"], step["target"]) for step in result["steps"]] == ([("replace", bad)] if replaced else [])
    if replaced and known is not None:
        again = run(Source(s3, (made,), from_engine), target("a"), corrupt={bad: known})
        assert not again["changed"]


def test_an_object_with_another_size_is_not_taken_for_the_blob() -> None:
    s3 = FakeS3().holds(V1.content)
    bad = V1.image.layers[0].blob.digest
    s3.at(bad).data = b""
    assert [step["action"] for step in run(Source(s3, (V1,)), target("a"))["steps"]] == ["replace"]
    assert intact(s3)


# -- refused before the first write


def test_a_bucket_that_is_missing_is_reported_before_anything_is_written() -> None:
    s3 = FakeS3()
    s3.refuse["list_objects_v2"] = refusal("NoSuchBucket")
    source = Source(s3, (ENGINE,), from_engine=True)
    with pytest.raises(ImageError, match="The bucket does not exist"):
        run(source, target("a"))
    assert (source.calls, s3.writes) == (["inspect"], [])


def test_nothing_is_uploaded_for_targets_that_cannot_load_it() -> None:
    s3 = FakeS3()
    result = run(Source(s3, (V1,)), target("full", staging=0), target("good", V1))
    assert (result["changed"], result["blobs"], s3.objects) == (False, [], {})
    assert list(result["rejected"]) == ["full"]
    assert "too little disk" in result["rejected"]["full"]


def test_a_target_of_another_platform_is_refused_before_anything_is_uploaded_for_it() -> None:
    s3, made = FakeS3(), ENGINE
    arm = TransferTarget("arm", replace(facts(), platform="linux/arm64"))
    result = run(Source(s3, (made,), from_engine=True), arm)
    assert (result["changed"], s3.objects) == (False, {})
    assert "is for linux/amd64, and docker on this host runs linux/arm64" in result["rejected"]["arm"]
    mixed = run(Source(s3, (made,), from_engine=True), arm, target("amd"))
    assert (mixed["changed"], list(mixed["rejected"])) == (True, ["arm"])


def test_when_all_targets_are_refused_nothing_is_uploaded_and_without_targets_everything_is() -> None:
    zstd = make(b"x", media_type=ZSTD)
    s3 = FakeS3()
    had = target("old")
    refused = run(Source(s3, (zstd,)), TransferTarget(had.host, facts(zstd=False)))
    assert (refused["changed"], list(refused["rejected"]), s3.objects) == (False, ["old"], {})
    assert run(Source(s3, (zstd,)))["changed"]
    assert len(s3.objects) == 3


# -- what is left behind


@pytest.mark.parametrize("fault", ["export dies", "export fails", "a blob fails", "nothing fails"])
def test_the_staging_directory_of_the_source_is_removed_on_every_exit(fault: str) -> None:
    def answer(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if phase == "export" and fault.startswith("export"):
            return {"status": "died" if "dies" in fault else "failed", "error": "no disk"}
        return {"error": "broken"} if phase == "send" and fault == "a blob fails" else None

    source = Source(FakeS3(), (ENGINE,), from_engine=True, fault=answer)
    if fault.startswith("export"):
        with pytest.raises(ImageError, match="export: no disk"):
            run(source, target("a"))
    else:
        assert run(source, target("a")).get("failed", False) == (fault == "a blob fails")
    assert source.calls.count("clean") == 1
    assert source.calls[-1] == "clean"


@pytest.mark.parametrize(("leftover", "calls"), [(True, ["inspect", "clean"]), (False, ["inspect"])])
def test_what_a_killed_run_left_is_removed_also_when_nothing_is_sent(leftover: bool, calls: list[str]) -> None:
    source = Source(FakeS3().holds(ENGINE.content), (ENGINE,), from_engine=True, leftover=leftover)
    assert not run(source, target("a"))["changed"]
    assert source.calls == calls


def test_a_registry_source_is_called_twice_since_it_cleans_up_in_the_call_that_sends() -> None:
    source = Source(FakeS3(), (V1,))
    run(source, target("a"))
    assert source.calls == ["inspect", "send"]


def test_a_registry_source_whose_process_was_killed_is_cleaned_up_behind() -> None:
    s3 = FakeS3()
    source = Source(s3, (V1,), fault=lambda phase, _transfer: DIED if phase == "job" else None)
    with pytest.raises(ImageError, match="send: the process was killed"):
        run(source, target("a"))
    assert (source.calls[-1], s3.uploads) == ("clean", {})


def test_a_person_sees_how_far_a_part_is() -> None:
    """A part of 16 MiB takes minutes on a slow link, and a call every few seconds returns its progress."""
    lines: list[str] = []
    states = [
        {"status": "running", "activity": "waiting for an earlier run", "bytes_done": 0, "bytes_total": 0},
        {"status": "running", "activity": SENDING, "bytes_done": 3_000_000, "bytes_total": 11_534_389},
    ]
    source = Source(FakeS3(), (V1,), fault=lambda phase, _: states.pop(0) if phase == "job" and states else None)
    path = S3BlobStore(source.s3, BucketOptions(BUCKET, part_size=5 * MIB))
    save_bundle(
        source, lambda: path, SaveOptions(False, (target("a"),), {}, False, False), ProgressReporter(lines.append)
    )
    assert [line.partition(" of ")[0] for line in lines] == [
        "waiting for an earlier run: 0.0 kB",
        "to s3://images/: 3.0 MB",
        "to s3://images/: 11.5 MB",
    ]
    assert source.calls.count("send") == 3


def test_the_first_error_is_reported_also_when_an_upload_cannot_be_aborted() -> None:
    s3 = FakeS3()
    s3.refuse["abort_multipart_upload"] = refusal("AccessDenied")
    source = Source(s3, (V1,), fault=lambda phase, _transfer: DIED if phase == "job" else None)
    with pytest.raises(ImageError, match="send: the process was killed"):
        run(source, target("a"))


def test_s3_incomplete_uploads_of_killed_runs_are_aborted_and_counted() -> None:
    """facts: S3: abort incomplete multipart uploads."""
    s3 = FakeS3()
    digest = V1.image.layers[0].blob.digest.partition(":")[2]
    left(s3, f"blobs/sha256/{digest}")
    assert run(Source(s3, (V1,)), target("a"), check_mode=True)["uploads_aborted"] == 0
    assert len(s3.uploads) == 1
    assert run(Source(s3, (V1,)), target("a"))["uploads_aborted"] == 1
    assert s3.uploads == {}


def test_an_interrupt_aborts_what_was_begun() -> None:
    s3 = FakeS3()

    def fault(phase: str, transfer: Mapping[str, Any]) -> Optional[dict[str, Any]]:
        if transfer.get("number") == 2:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        run(Source(s3, (V1,), fault=fault), target("a"))
    assert s3.uploads == {}


# -- words


def test_each_blob_has_its_outcome_and_the_diff_shows_the_additions() -> None:
    s3 = FakeS3().holds({V1.image.config.digest: V1.content[V1.image.config.digest]})
    result = run(Source(s3, (V1,)), target("a"), diff=True)
    outcomes = {blob["name"]: (blob["reason"], blob["size"], blob["media_type"]) for blob in result["blobs"]}
    big = V1.image.layers[0].blob
    assert outcomes[big.digest] == ("uploaded: not in the store (11.5 MB)", big.size, big.media_type)
    assert outcomes[V1.image.config.digest][0] == "in the store already, with the right size and checksum"
    assert {entry["after_header"] for entry in result["diff"]} == blobs(V1) - {V1.image.config.digest}
    assert (result["path"], result["rejected"]) == (f"s3://{BUCKET}/", {})


def test_a_person_sees_bytes_rate_and_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    seconds = iter((1.0, 2.0, 3.0))
    monkeypatch.setattr(flow.time, "monotonic", lambda: next(seconds))
    progress = ProgressReporter(lines.append, started=0.0)
    progress.report_bytes("to s3://images/", 2_000_000, 6_000_000)
    progress.report_bytes("to s3://images/", 0, 6_000_000)
    progress.report_bytes("to s3://images/", 500, 0)
    assert lines == [
        "to s3://images/: 2.0 MB of 6.0 MB, 2.0 MB/s, 2 s left",
        "to s3://images/: 0.0 kB of 6.0 MB, 0.0 MB/s",
        "to s3://images/: 0.5 kB, 0.0 MB/s",
    ]


def test_busy_hosts_are_polled_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question starts Python there, which takes from the work that is waited for."""
    took, now, slices = iter([5.4, 7.9, 12.0, 99.0, 15.4, 15.4]), [0.0], []
    monkeypatch.setattr(flow.time, "monotonic", lambda: now[0])

    def host(call: Mapping[str, Any]) -> dict[str, Any]:
        slices.append(call["work"]["seconds"])
        now[0] += next(took)
        return {"status": "running" if len(slices) < 6 else "done", "result": {}}

    flow.run_job(host, V1.bundle, "load", nothing)
    assert slices == [5, 5, 8, 15, 15, 5]
