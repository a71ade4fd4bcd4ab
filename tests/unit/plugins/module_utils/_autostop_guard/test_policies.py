# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least permissions of the guard, and the timing of its retries."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import policies
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import GuardLocation

LOCATION = GuardLocation("guard", "cn-north-1", "123456789012", "aws-cn")
OPTIONS = {
    "tag_key": "off",
    "tag_values": ["yes", "1"],
    "include_instances": False,
    "migrate_tags": False,
    "sweep_policy": "all",
}


def statements(**options: Any) -> dict[str, dict[str, Any]]:
    policy = policies.build_function_policy(LOCATION, {**OPTIONS, **options})
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_stops_are_limited_to_the_tag_the_region_and_the_account() -> None:
    stop = statements()["StopTaggedDatabases"]
    assert stop["Resource"] == "arn:aws-cn:rds:cn-north-1:123456789012:cluster:*"
    assert stop["Condition"] == {"StringEquals": {"aws:ResourceTag/off": ["yes", "1"]}}


@pytest.mark.parametrize(
    ("option", "sid", "action"),
    [
        ({"include_instances": True}, "OnlyForIncludeInstances", "rds:StopDBInstance"),
        ({"migrate_tags": True}, "OnlyForMigrateTags", "rds:AddTagsToResource"),
        ({"sweep_policy": "auto_started_only"}, "OnlyForSweepPolicyAutoStartedOnly", "rds:DescribeEvents"),
    ],
)
def test_an_option_brings_its_permission(option: dict[str, Any], sid: str, action: str) -> None:
    assert sid not in statements()
    assert action in statements(**option)[sid]["Action"]


def test_tags_move_by_their_own_keys_only() -> None:
    condition = statements(migrate_tags=True)["OnlyForMigrateTags"]["Condition"]
    assert condition == {"ForAllValues:StringEquals": {"aws:TagKeys": ["off", "autostop-until"]}}


def test_only_the_own_rules_send_to_the_queue() -> None:
    (statement,) = policies.build_queue_policy(LOCATION)["Statement"]
    sources = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert sources == [LOCATION.arns["event_rule"], LOCATION.arns["sweep_rule"]]
    assert statement["Resource"] == LOCATION.arns["queue"]


def test_receives_cover_a_day_within_the_retention() -> None:
    settings = policies.SETTINGS
    assert settings["visibility_timeout"] == 6 * settings["function_timeout"]
    assert settings["max_receive_count"] * settings["visibility_timeout"] == 24 * 3600
    assert settings["queue_retention"] > settings["max_receive_count"] * settings["visibility_timeout"]
    assert settings["delivery_delay"] + settings["visibility_timeout"] <= 900
