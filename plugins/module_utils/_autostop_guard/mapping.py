# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda's event source mapping of one function and one queue, with its tags."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from .service import GuardError, call

MISSING = ("ResourceNotFoundException",)
GOING = "Deleting"
ATTEMPTS, PAUSE = 12, 5.0  # together a minute


def read(client: Any, function: str, queue_arn: str) -> Optional[dict[str, Any]]:
    """The mapping as the plan compares it; None where there is none, or one that is going away."""
    answer = call(client, "ListEventSourceMappings", MISSING, FunctionName=function, EventSourceArn=queue_arn) or {}
    for one in answer.get("EventSourceMappings") or ():
        if one.get("State") == GOING:
            continue
        told = call(client, "ListTags", MISSING, Resource=one["EventSourceMappingArn"]) or {}
        return {
            "uuid": one["UUID"],
            "arn": one["EventSourceMappingArn"],
            "BatchSize": one.get("BatchSize"),
            "Enabled": one.get("State") in ("Enabled", "Enabling", "Creating", "Updating"),
            "FunctionResponseTypes": list(one.get("FunctionResponseTypes") or ()),
            "MaximumConcurrency": (one.get("ScalingConfig") or {}).get("MaximumConcurrency"),
            "tags": dict(told.get("Tags") or {}),
        }
    return None


def create(
    client: Any,
    function: str,
    queue_arn: str,
    wanted: Mapping[str, Any],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Lambda refuses while the function's role may not read the queue, and IAM takes a while to show a new policy."""
    arguments: dict[str, Any] = {"FunctionName": function, "EventSourceArn": queue_arn, "Tags": dict(wanted["tags"])}
    for left in reversed(range(ATTEMPTS)):
        try:
            call(client, "CreateEventSourceMapping", **arguments, **_settings(wanted))
            return
        except GuardError as error:
            if not left or "does not have permissions to call" not in str(error):
                raise
        pause(PAUSE)


def update(client: Any, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if any(before[key] != wanted[key] for key in wanted if key != "tags"):
        call(client, "UpdateEventSourceMapping", UUID=before["uuid"], **_settings(wanted))
    if before["tags"] != wanted["tags"]:
        call(client, "TagResource", Resource=before["arn"], Tags=dict(wanted["tags"]))


def delete(client: Any, before: Mapping[str, Any]) -> None:
    call(client, "DeleteEventSourceMapping", UUID=before["uuid"])


def _settings(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "BatchSize": wanted["BatchSize"],
        "Enabled": wanted["Enabled"],
        "FunctionResponseTypes": wanted["FunctionResponseTypes"],
        "ScalingConfig": {"MaximumConcurrency": wanted["MaximumConcurrency"]},
    }
