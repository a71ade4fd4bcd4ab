# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from each service which of a guard's parts exist in a region. It never writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Optional

from .._aws_call import call_api
from . import cloudwatch, events
from .model import (
    ALARM,
    DEAD_LETTER_QUEUE,
    EVENT_RULE,
    FUNCTION,
    LOG_GROUP,
    QUEUE,
    ROLE,
    SWEEP_RULE,
    GuardLocation,
    GuardState,
)
from .service import get_optional, parse_tags

GuardClientFactory = Callable[[str, str], Any]
OptionalTags = Optional[Mapping[str, str]]

QUEUE_NOT_FOUND_CODES = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def get_location(make_client: GuardClientFactory, prefix: str, region: str) -> GuardLocation:
    """The account and the partition, from the caller's own ARN."""
    response = call_api(make_client("sts", region), "GetCallerIdentity")
    arn = str(response["Arn"])
    return GuardLocation(prefix, region, str(response["Account"]), arn.split(":")[1])


def observe_guard(make_client: GuardClientFactory, location: GuardLocation) -> GuardState:
    names, arns, region = location.names, location.arns, location.region
    logs, sqs = make_client("logs", region), make_client("sqs", region)
    rules = make_client("events", region)
    return GuardState(
        location,
        {
            LOG_GROUP: _get_log_group_tags(logs, names[LOG_GROUP]),
            DEAD_LETTER_QUEUE: _get_queue_tags(sqs, names[DEAD_LETTER_QUEUE]),
            QUEUE: _get_queue_tags(sqs, names[QUEUE]),
            ROLE: _get_role_tags(make_client("iam", region), names[ROLE]),
            FUNCTION: _get_function_tags(make_client("lambda", region), names[FUNCTION]),
            EVENT_RULE: events.get_tags(rules, arns[EVENT_RULE]),
            SWEEP_RULE: events.get_tags(rules, arns[SWEEP_RULE]),
            ALARM: cloudwatch.get_tags(make_client("cloudwatch", region), names[ALARM]),
        },
    )


def observe_requirements(make_client: GuardClientFactory, location: GuardLocation) -> GuardState:
    """Function and queue, which the trigger connects."""
    names, region = location.names, location.region
    return GuardState(
        location,
        {
            FUNCTION: _get_function_tags(make_client("lambda", region), names[FUNCTION]),
            QUEUE: _get_queue_tags(make_client("sqs", region), names[QUEUE]),
        },
    )


def _get_log_group_tags(client: Any, name: str) -> OptionalTags:
    response = call_api(client, "DescribeLogGroups", logGroupNamePrefix=name)
    for group in response.get("logGroups") or ():
        if group["logGroupName"] == name:
            arn = str(group["arn"]).removesuffix(":*")  # ListTagsForResource does not accept the suffix
            tags_response = (
                get_optional(client, "ListTagsForResource", ("ResourceNotFoundException",), resourceArn=arn) or {}
            )
            return dict(tags_response.get("tags") or {})
    return None


def _get_queue_tags(client: Any, name: str) -> OptionalTags:
    url = get_optional(client, "GetQueueUrl", QUEUE_NOT_FOUND_CODES, QueueName=name)
    if url is None:
        return None
    tags_response = get_optional(client, "ListQueueTags", QUEUE_NOT_FOUND_CODES, QueueUrl=url["QueueUrl"])
    return None if tags_response is None else dict(tags_response.get("Tags") or {})


def _get_role_tags(client: Any, name: str) -> OptionalTags:
    response = get_optional(client, "GetRole", ("NoSuchEntity", "NoSuchEntityException"), RoleName=name)
    return None if response is None else parse_tags(response["Role"].get("Tags"))


def _get_function_tags(client: Any, name: str) -> OptionalTags:
    response = get_optional(client, "GetFunction", ("ResourceNotFoundException",), FunctionName=name)
    return None if response is None else dict(response.get("Tags") or {})
