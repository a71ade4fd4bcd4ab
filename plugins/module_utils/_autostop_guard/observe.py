# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What bears a guard's names in a region, read from each service. It never writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Optional

from . import cloudwatch, events
from .model import ALARM, DEAD_LETTER_QUEUE, EVENT_RULE, FUNCTION, LOG_GROUP, QUEUE, ROLE, SWEEP_RULE, Found, Place
from .service import call, tags_of

MakeClient = Callable[[str, str], Any]
Tags = Optional[Mapping[str, str]]

NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def place_of(make_client: MakeClient, prefix: str, region: str) -> Place:
    """Account and partition, from the caller's own ARN."""
    answer = call(make_client("sts", region), "GetCallerIdentity") or {}
    arn = str(answer["Arn"])
    return Place(prefix, region, str(answer["Account"]), arn.split(":")[1])


def found_in(make_client: MakeClient, place: Place) -> Found:
    names, arns, region = place.names, place.arns, place.region
    logs, sqs = make_client("logs", region), make_client("sqs", region)
    rules = make_client("events", region)
    return Found(
        place,
        {
            LOG_GROUP: _log_group(logs, names[LOG_GROUP]),
            DEAD_LETTER_QUEUE: _queue(sqs, names[DEAD_LETTER_QUEUE]),
            QUEUE: _queue(sqs, names[QUEUE]),
            ROLE: _role(make_client("iam", region), names[ROLE]),
            FUNCTION: _function(make_client("lambda", region), names[FUNCTION]),
            EVENT_RULE: events.tags(rules, arns[EVENT_RULE]),
            SWEEP_RULE: events.tags(rules, arns[SWEEP_RULE]),
            ALARM: cloudwatch.tags(make_client("cloudwatch", region), names[ALARM]),
        },
    )


def _log_group(client: Any, name: str) -> Tags:
    answer = call(client, "DescribeLogGroups", logGroupNamePrefix=name) or {}
    for group in answer.get("logGroups") or ():
        if group["logGroupName"] == name:
            arn = str(group["arn"]).removesuffix(":*")  # which this call does not take
            told = call(client, "ListTagsForResource", ("ResourceNotFoundException",), resourceArn=arn) or {}
            return dict(told.get("tags") or {})
    return None


def _queue(client: Any, name: str) -> Tags:
    url = call(client, "GetQueueUrl", NO_QUEUE, QueueName=name)
    if url is None:
        return None
    told = call(client, "ListQueueTags", NO_QUEUE, QueueUrl=url["QueueUrl"])
    return None if told is None else dict(told.get("Tags") or {})


def _role(client: Any, name: str) -> Tags:
    answer = call(client, "GetRole", ("NoSuchEntity", "NoSuchEntityException"), RoleName=name)
    return None if answer is None else tags_of(answer["Role"].get("Tags"))


def _function(client: Any, name: str) -> Tags:
    answer = call(client, "GetFunction", ("ResourceNotFoundException",), FunctionName=name)
    return None if answer is None else dict(answer.get("Tags") or {})
