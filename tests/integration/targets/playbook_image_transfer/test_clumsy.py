# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hurried operator gets to read."""

from __future__ import annotations

import pytest
from integration.targets.image_offline_transfer.kit import PLAIN, Case

NAME = f"{PLAIN}/it-small:v1"


@pytest.mark.parametrize(
    ("option", "value"), [("timeout", 0), pytest.param("bandwidth_limit", -1, marks=pytest.mark.full)]
)
def test_a_number_below_1_is_refused_and_the_report_does_not_read_as_success(
    case: Case, option: str, value: int
) -> None:
    ran = case.transfer(NAME, **{option: value}).fail()
    (failed,) = (task for task in ran.tasks if task.status == "failed")
    assert f"{option}: {value} is below 1" in failed.message
    assert case.writes() == []
    # The hosts for which a task with run_once did not run have left the play with it.
    (report,) = ran.all("Report")
    assert report.result["msg"] == ["nothing was loaded: see the error above"]


def test_an_empty_list_of_images_is_refused(case: Case) -> None:
    ran = case.transfer().fail()
    (failed,) = (task for task in ran.tasks if task.status == "failed")
    assert "images: is empty" in failed.message
    assert case.writes() == []


@pytest.mark.full
def test_a_name_that_only_moves_reports_no_bytes(case: Case) -> None:
    case.transfer(NAME).succeed()
    ran = case.transfer({"name": NAME, "tag_as": "it-service:moved"}).succeed()
    (image,) = ran.report("private-a")["images"]
    assert image["reason"] == "the image is present under another name"
