# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to EventBridge: rules, with their targets and tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

from .service import GuardError, call, tag_list, tags_of

MISSING = ("ResourceNotFoundException",)


def tags(client: Any, arn: str) -> Optional[dict[str, str]]:
    """The tags of a rule; None where there is no such rule."""
    answer = call(client, "ListTagsForResource", MISSING, ResourceARN=arn)
    return None if answer is None else tags_of(answer.get("Tags"))


def read(client: Any, name: str, arn: str) -> Optional[dict[str, Any]]:
    """A rule as the plan compares it."""
    answer = call(client, "DescribeRule", MISSING, Name=name)
    if answer is None:
        return None
    targets = call(client, "ListTargetsByRule", Rule=name) or {}
    return {
        "description": answer.get("Description", ""),
        "pattern": json.loads(answer["EventPattern"]) if answer.get("EventPattern") else None,
        "schedule": answer.get("ScheduleExpression"),
        "state": answer.get("State"),
        "targets": {target["Id"]: target["Arn"] for target in targets.get("Targets") or ()},
        "tags": tags(client, arn) or {},
    }


def create(client: Any, name: str, wanted: Mapping[str, Any]) -> None:
    call(client, "PutRule", **_rule(name, wanted), Tags=tag_list(wanted["tags"]))
    _put_targets(client, name, wanted)


def update(client: Any, name: str, arn: str, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    own = ("description", "pattern", "schedule", "state")
    if any(before[key] != wanted[key] for key in own):
        call(client, "PutRule", **_rule(name, wanted))
    if before["tags"] != wanted["tags"]:
        call(client, "TagResource", ResourceARN=arn, Tags=tag_list(wanted["tags"]))
    if before["targets"] != wanted["targets"]:
        extra = sorted(set(before["targets"]) - set(wanted["targets"]))
        if extra:
            call(client, "RemoveTargets", Rule=name, Ids=extra)
        _put_targets(client, name, wanted)


def delete(client: Any, name: str, before: Mapping[str, Any]) -> None:
    if before["targets"]:
        call(client, "RemoveTargets", Rule=name, Ids=sorted(before["targets"]))
    call(client, "DeleteRule", Name=name)


def _rule(name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    what = (
        {"ScheduleExpression": wanted["schedule"]}
        if wanted["schedule"]
        else {"EventPattern": json.dumps(wanted["pattern"], sort_keys=True)}
    )
    return {"Name": name, "Description": wanted["description"], "State": wanted["state"], **what}


def _put_targets(client: Any, name: str, wanted: Mapping[str, Any]) -> None:
    targets = [{"Id": key, "Arn": arn} for key, arn in sorted(wanted["targets"].items())]
    answer = call(client, "PutTargets", Rule=name, Targets=targets) or {}
    if answer.get("FailedEntryCount"):
        raise GuardError(f"PutTargets of rule {name}: {answer.get('FailedEntries')}. Run again once mended.")
