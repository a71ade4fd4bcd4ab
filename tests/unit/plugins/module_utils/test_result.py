# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of every module's result: status decides changed, failed, message and diff together."""

from __future__ import annotations

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._plan import Step
from ansible_collections.daytwo.aws.plugins.module_utils._result import STATUSES, ItemResult, summarize


@pytest.mark.parametrize(
    ("statuses", "changed", "failed"),
    [
        ((), False, False),
        (("ok",), False, False),
        (("skipped", "pending", "ok"), False, False),
        (("ok", "changed"), True, False),
        (("failed", "ok"), False, True),
        (("failed", "changed"), True, True),
    ],
)
def test_changed_and_failed_follow_from_the_items(statuses: tuple[str, ...], changed: bool, failed: bool) -> None:
    result = summarize([ItemResult(f"item{number}", status, "why") for number, status in enumerate(statuses)])
    assert (result["changed"], result.get("failed", False)) == (changed, failed)
    assert ("msg" in result) == failed
    assert "diff" not in result


def test_the_message_names_every_item_that_failed_with_its_reason_and_no_other() -> None:
    items = [ItemResult("a", "failed", "no disk"), ItemResult("b", "ok", "is there"), ItemResult("c", "failed", "gone")]
    assert summarize(items)["msg"] == "2 of 3 failed. a: no disk c: gone"


def test_the_diff_shows_only_what_differs() -> None:
    items = [
        ItemResult("same", "ok", "", before={"x": 1}, after={"x": 1}),
        ItemResult("new", "changed", "", after={"x": 2}),
        ItemResult("gone", "changed", "", before={"x": 3}),
    ]
    shown = {(entry["before_header"], entry["after_header"]): entry for entry in summarize(items, diff=True)["diff"]}
    assert list(shown) == [("new", "new"), ("gone", "gone")]
    assert (shown["new", "new"]["before"], shown["new", "new"]["after"]) == ({}, {"x": 2})
    assert (shown["gone", "gone"]["before"], shown["gone", "gone"]["after"]) == ({"x": 3}, {})


def test_an_unknown_status_is_rejected() -> None:
    with pytest.raises(ValueError, match="'done' is not one of ok, changed"):
        ItemResult("a", "done", "")
    assert STATUSES == ("ok", "changed", "skipped", "pending", "failed")


def test_an_item_and_a_step_in_a_result() -> None:
    assert ItemResult("a", "ok", "why", before=1, after=2, fields={"size": 3}).to_dict() == {
        "name": "a",
        "status": "ok",
        "reason": "why",
        "size": 3,
    }
    assert Step("put", "blob", "missing", after={"size": 1}).to_dict() == {
        "action": "put",
        "target": "blob",
        "reason": "missing",
        "before": None,
        "after": {"size": 1},
    }
