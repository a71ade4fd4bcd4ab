# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that calls EventBridge: rules with their targets and tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

from .._aws_call import ApiError, call_api
from .service import get_optional, parse_tags, to_tag_list

NOT_FOUND_CODES = ("ResourceNotFoundException",)


def get_tags(client: Any, arn: str) -> Optional[dict[str, str]]:
    """The tags of a rule; None if the rule does not exist."""
    response = get_optional(client, "ListTagsForResource", NOT_FOUND_CODES, ResourceARN=arn)
    return None if response is None else parse_tags(response.get("Tags"))


def read_rule(client: Any, name: str, arn: str) -> Optional[dict[str, Any]]:
    """A rule in the form that the plan compares."""
    response = get_optional(client, "DescribeRule", NOT_FOUND_CODES, Name=name)
    if response is None:
        return None
    targets = call_api(client, "ListTargetsByRule", Rule=name)
    return {
        "description": response.get("Description", ""),
        "pattern": json.loads(response["EventPattern"]) if response.get("EventPattern") else None,
        "schedule": response.get("ScheduleExpression"),
        "state": response.get("State"),
        "targets": {target["Id"]: target["Arn"] for target in targets.get("Targets") or ()},
        "tags": get_tags(client, arn) or {},
    }


def create_rule(client: Any, name: str, desired: Mapping[str, Any]) -> None:
    call_api(client, "PutRule", **_build_rule_arguments(name, desired), Tags=to_tag_list(desired["tags"]))
    _put_targets(client, name, desired)


def update_rule(client: Any, name: str, arn: str, before: Mapping[str, Any], desired: Mapping[str, Any]) -> None:
    rule_keys = ("description", "pattern", "schedule", "state")
    if any(before[key] != desired[key] for key in rule_keys):
        call_api(client, "PutRule", **_build_rule_arguments(name, desired))
    if before["tags"] != desired["tags"]:
        call_api(client, "TagResource", ResourceARN=arn, Tags=to_tag_list(desired["tags"]))
    if before["targets"] != desired["targets"]:
        extra_ids = sorted(set(before["targets"]) - set(desired["targets"]))
        if extra_ids:
            call_api(client, "RemoveTargets", Rule=name, Ids=extra_ids)
        _put_targets(client, name, desired)


def delete_rule(client: Any, name: str, before: Mapping[str, Any]) -> None:
    if before["targets"]:
        call_api(client, "RemoveTargets", Rule=name, Ids=sorted(before["targets"]))
    call_api(client, "DeleteRule", Name=name)


def _build_rule_arguments(name: str, desired: Mapping[str, Any]) -> dict[str, Any]:
    trigger = (
        {"ScheduleExpression": desired["schedule"]}
        if desired["schedule"]
        else {"EventPattern": json.dumps(desired["pattern"], sort_keys=True)}
    )
    return {"Name": name, "Description": desired["description"], "State": desired["state"], **trigger}


def _put_targets(client: Any, name: str, desired: Mapping[str, Any]) -> None:
    targets = [{"Id": key, "Arn": arn} for key, arn in sorted(desired["targets"].items())]
    response = call_api(client, "PutTargets", Rule=name, Targets=targets)
    if response.get("FailedEntryCount"):
        raise ApiError("events", "PutTargets", "FailedEntries", f"rule {name}: {response.get('FailedEntries')}")
