# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda's event source mapping of one function and one queue, with its tags."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from .service import GuardError, call_api

NOT_FOUND_CODES = ("ResourceNotFoundException",)
DELETING_STATE = "Deleting"
RETRY_ATTEMPTS, RETRY_DELAY = 12, 5.0  # together a minute


def read_mapping(client: Any, function: str, queue_arn: str) -> Optional[dict[str, Any]]:
    """The mapping as the plan compares it; None where there is none, or one that is going away."""
    answer = (
        call_api(client, "ListEventSourceMappings", NOT_FOUND_CODES, FunctionName=function, EventSourceArn=queue_arn)
        or {}
    )
    for one in answer.get("EventSourceMappings") or ():
        if one.get("State") == DELETING_STATE:
            continue
        told = call_api(client, "ListTags", NOT_FOUND_CODES, Resource=one["EventSourceMappingArn"]) or {}
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


def create_mapping(
    client: Any,
    function: str,
    queue_arn: str,
    desired: Mapping[str, Any],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Lambda refuses while the function's role may not read the queue, and IAM takes a while to show a new policy."""
    arguments: dict[str, Any] = {"FunctionName": function, "EventSourceArn": queue_arn, "Tags": dict(desired["tags"])}
    for left in reversed(range(RETRY_ATTEMPTS)):
        try:
            call_api(client, "CreateEventSourceMapping", **arguments, **_build_settings(desired))
            return
        except GuardError as error:
            if not left or "does not have permissions to call" not in str(error):
                raise
        sleep(RETRY_DELAY)


def update_mapping(client: Any, before: Mapping[str, Any], desired: Mapping[str, Any]) -> None:
    if any(before[key] != desired[key] for key in desired if key != "tags"):
        call_api(client, "UpdateEventSourceMapping", UUID=before["uuid"], **_build_settings(desired))
    if before["tags"] != desired["tags"]:
        call_api(client, "TagResource", Resource=before["arn"], Tags=dict(desired["tags"]))


def delete_mapping(client: Any, before: Mapping[str, Any]) -> None:
    call_api(client, "DeleteEventSourceMapping", UUID=before["uuid"])


def _build_settings(desired: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "BatchSize": desired["BatchSize"],
        "Enabled": desired["Enabled"],
        "FunctionResponseTypes": desired["FunctionResponseTypes"],
        "ScalingConfig": {"MaximumConcurrency": desired["MaximumConcurrency"]},
    }
