# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda's event source mapping between one queue and one function, with its tags."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from .._aws_call import ApiError, call_api
from .service import get_optional

NOT_FOUND_CODES = ("ResourceNotFoundException",)
DELETING_STATE = "Deleting"
RETRY_ATTEMPTS, RETRY_DELAY = 12, 5.0  # a minute in total


def read_mapping(client: Any, function: str, queue_arn: str) -> Optional[dict[str, Any]]:
    """The mapping in the form that the plan compares; None if it does not exist or is being deleted."""
    arguments = {"FunctionName": function, "EventSourceArn": queue_arn}
    response = get_optional(client, "ListEventSourceMappings", NOT_FOUND_CODES, **arguments) or {}
    for entry in response.get("EventSourceMappings") or ():
        if entry.get("State") == DELETING_STATE:
            continue
        tags_response = get_optional(client, "ListTags", NOT_FOUND_CODES, Resource=entry["EventSourceMappingArn"]) or {}
        return {
            "uuid": entry["UUID"],
            "arn": entry["EventSourceMappingArn"],
            "BatchSize": entry.get("BatchSize"),
            "Enabled": entry.get("State") in ("Enabled", "Enabling", "Creating", "Updating"),
            "FunctionResponseTypes": list(entry.get("FunctionResponseTypes") or ()),
            "MaximumConcurrency": (entry.get("ScalingConfig") or {}).get("MaximumConcurrency"),
            "tags": dict(tags_response.get("Tags") or {}),
        }
    return None


def create_mapping(
    client: Any,
    function: str,
    queue_arn: str,
    desired: Mapping[str, Any],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Creates the mapping, with retries: Lambda refuses it until IAM shows the new policy of the function's role."""
    arguments: dict[str, Any] = {"FunctionName": function, "EventSourceArn": queue_arn, "Tags": dict(desired["tags"])}
    for attempts_left in reversed(range(RETRY_ATTEMPTS)):
        try:
            call_api(client, "CreateEventSourceMapping", **arguments, **_build_settings(desired))
            return
        except ApiError as error:
            if not attempts_left or "does not have permissions to call" not in str(error):
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
