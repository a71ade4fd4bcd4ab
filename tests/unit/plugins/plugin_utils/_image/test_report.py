# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role image_transfer decides and reports, from the results of its tasks."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.filter.image_transfer import FilterModule
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.report import (
    build_report,
    choose_transport,
    find_unpushed,
)

UPLOAD = {"action": "put", "target": "sha256:a", "reason": "not in the store", "after": {"size": 1}}
PUSH_A = {"action": "push", "target": "sha256:a", "reason": "missing", "after": {"host": "a"}}
PUSH_B = {"action": "push", "target": "sha256:b", "reason": "missing", "after": {"host": "b"}}
LOAD = {"action": "load", "target": "app:v1", "reason": "new", "after": {"image": "sha256:c"}}
SAVED = {"bytes_full": 9_000_000, "bytes_missing": 5_000_000, "estimated": True, "steps": [UPLOAD]}
LOADED = {
    "images": [{"name": "app:v1", "status": "changed", "reason": "loaded"}],
    "steps": [LOAD],
    "corrupt": [],
    "bytes_missing": 5_000_000,
    "bytes_transferred": 4_960_000,
    "seconds": 1.5,
}
EMPTY = ["nothing was loaded: see the error above"]


def test_the_role_s_filters() -> None:
    names = {"image_transfer_report", "image_transfer_transport", "image_transfer_unpushed"}
    assert set(FilterModule().filters()) == names


@pytest.mark.parametrize(
    ("requested", "bucket", "transport", "reason"),
    [
        ("auto", "images", "s3", "image_transfer_bucket is set, and through a bucket each blob leaves the source once"),
        ("auto", "", "scp", "image_transfer_bucket is not set"),
        ("auto", None, "scp", "image_transfer_bucket is not set"),
        ("s3", "", "s3", "set by image_transfer_transport"),
        ("scp", "images", "scp", "set by image_transfer_transport"),
    ],
)
def test_transport(requested: str, bucket: Optional[str], transport: str, reason: str) -> None:
    assert choose_transport(requested, bucket) == {
        "transport": transport,
        "message": f"transport {transport}: {reason}",
    }


@pytest.mark.parametrize(
    ("pushed", "unpushed"),
    [
        ({}, {"a": "on the source bastion: it could not push"}),
        ({"msg": "no disk"}, {"a": "on the source bastion: no disk"}),
        ({"unreachable": True, "msg": ""}, {"a": "on the source bastion: it could not push"}),
        ({"targets": []}, {}),
        (
            {
                "targets": [
                    {"name": "a", "status": "failed", "reason": "no way"},
                    {"name": "b", "status": "changed", "reason": "pushed"},
                ]
            },
            {"a": "no way"},
        ),
    ],
)
def test_targets_that_could_not_be_pushed_to(pushed: Any, unpushed: dict[str, str]) -> None:
    assert find_unpushed(pushed, "a", "bastion") == unpushed


def test_a_load_from_the_bucket() -> None:
    built = build_report({"saved": {**SAVED, "estimated": False}, "first_load": LOADED}, "a", check_mode=False)
    assert built["report"] == {
        "host": "a",
        "images": LOADED["images"],
        "steps": [UPLOAD, LOAD],
        "bytes_full": 9_000_000,
        "bytes_missing": 5_000_000,
        "bytes_transferred": 4_960_000,
        "estimated": False,
        "replaced": [],
        "bytes_saved": 4_000_000,
        "seconds": 1.5,
    }
    summary = "5.0 MB of 9.0 MB missing, 5.0 MB received, 1.5 s; 4.0 MB less than a full copy"
    assert built["lines"] == ["app:v1: changed: loaded", summary]


def test_check_mode_lists_each_step() -> None:
    lines = build_report({"saved": SAVED, "first_load": LOADED}, "a", check_mode=True)["lines"]
    assert lines[1:3] == ["would: put sha256:a", "would: load app:v1"]
    assert lines[3].startswith("estimated: 5.0 MB of 9.0 MB missing")


@pytest.mark.parametrize(
    ("check_mode", "arrived", "steps"),
    [(True, [], [PUSH_A, LOAD]), (False, ["sha256:a"], [PUSH_A, LOAD]), (False, [], [LOAD])],
)
def test_a_push_counts_for_its_own_target(check_mode: bool, arrived: list[str], steps: list[Any]) -> None:
    pushed = {
        "targets": [
            {"name": "a", "status": "changed", "bytes": 3_000_000, "blobs": arrived},
            {"name": "b", "status": "changed", "bytes": 7_000_000, "blobs": ["sha256:b"]},
        ],
        "estimated": False,
        "bytes_missing": 6_000_000,
    }
    saved = {**SAVED, "steps": [PUSH_A, PUSH_B]}
    loaded = {**LOADED, "bytes_transferred": 0}
    report = build_report({"saved": saved, "pushed": pushed, "first_load": loaded}, "a", check_mode)["report"]
    assert report["steps"] == steps
    assert report["bytes_transferred"] == 3_000_000
    assert report["bytes_full"] == 10_000_000
    assert report["estimated"] is False


def test_the_second_load_counts_where_objects_were_replaced() -> None:
    first = {**LOADED, "images": [{"name": "app:v1", "status": "failed", "reason": "damaged"}], "seconds": 1.0}
    first["corrupt"] = [{"digest": "sha256:a", "etag": "1"}]
    report = build_report({"saved": SAVED, "first_load": first, "second_load": LOADED}, "a", False)["report"]
    assert report["images"] == LOADED["images"]
    assert report["replaced"] == ["sha256:a"]
    assert report["seconds"] == 2.5
    skipped = build_report({"saved": SAVED, "first_load": LOADED, "second_load": {"skipped": True}}, "a", False)
    assert skipped["report"]["images"] == LOADED["images"]


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"saved": None, "pushed": None, "first_load": None, "second_load": None},
        {"saved": SAVED, "first_load": {"failed": True, "msg": "no disk"}, "second_load": {"skipped": True}},
        {
            "saved": {"failed": True, "msg": "no image"},
            "pushed": {},
            "first_load": {},
            "second_load": {"skipped": True},
        },
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_without_a_load_the_report_does_not_read_as_success(results: Any, check_mode: bool) -> None:
    built = build_report(results, "a", check_mode)
    assert built["lines"] == EMPTY
    assert built["report"]["images"] == []


def test_an_empty_load_is_reported() -> None:
    lines = build_report({"first_load": {"images": []}}, "a", False)["lines"]
    assert lines == ["0.0 MB of 0.0 MB missing, 0.0 MB received, 0 s; 0.0 MB less than a full copy"]


def test_the_report_of_an_archive_has_its_files() -> None:
    files = [{"name": "images.tar", "size": 5, "sha256": "a" * 64}]
    result = build_report({"saved": SAVED, "first_load": {**LOADED, "archive_files": files}}, "a", False)
    assert result["report"]["archive_files"] == files
    assert f"images.tar: sha256 {'a' * 64}" in result["lines"]
    assert "archive_files" not in build_report({"saved": SAVED, "first_load": LOADED}, "a", False)["report"]
