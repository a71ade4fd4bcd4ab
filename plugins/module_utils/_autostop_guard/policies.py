# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of a guard's queue, role and function, and the timing of its retries. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._autostop.tags import HOLD_KEY
from .model import EVENT_RULE, LOG_GROUP, QUEUE, SWEEP_RULE, GuardLocation

VERSION = "2012-10-17"

# In seconds (docs/aurora_autostop.md). Lambda requires a visibility timeout of six times the function's timeout, and it
# is the retry interval as well. The receives cover a day: by then the next sweep has begun its own.
FUNCTION_TIMEOUT = 60
VISIBILITY_TIMEOUT = 6 * FUNCTION_TIMEOUT
RETRY_PERIOD = 24 * 60 * 60
SETTINGS = {
    "function_timeout": FUNCTION_TIMEOUT,
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "delivery_delay": 60,
    "max_receive_count": RETRY_PERIOD // VISIBILITY_TIMEOUT,
    "queue_retention": 2 * RETRY_PERIOD,
    "dead_letter_retention": 14 * 24 * 60 * 60,  # the most that SQS keeps
}


def build_trust_policy() -> dict[str, Any]:
    """Lambda assumes the function's role."""
    principal = {"Service": "lambda.amazonaws.com"}
    return {
        "Version": VERSION,
        "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}],
    }


def build_queue_policy(location: GuardLocation) -> dict[str, Any]:
    """Only the guard's own rules send messages to its queue."""
    arns = location.arns
    return {
        "Version": VERSION,
        "Statement": [
            {
                "Sid": "AllowEventRules",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arns[QUEUE],
                "Condition": {"ArnEquals": {"aws:SourceArn": [arns[EVENT_RULE], arns[SWEEP_RULE]]}},
            }
        ],
    }


def build_function_policy(location: GuardLocation, options: Mapping[str, Any]) -> dict[str, Any]:
    """The least permissions for these options. docs/iam/aurora_autostop_function.json shows them with every option."""
    arns = location.arns
    databases = f"arn:{location.partition}:rds:{location.region}:{location.account}"
    has_tag = {"StringEquals": {f"aws:ResourceTag/{options['tag_key']}": list(options["tag_values"])}}
    statements = [
        _allow("TakeMessages", ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], arns[QUEUE]),
        _allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{arns[LOG_GROUP]}:*"),
        _allow(
            "DescribeDatabases",
            [
                "rds:DescribeDBClusters",
                "rds:DescribeDBInstances",
                "rds:DescribeBlueGreenDeployments",
                "rds:DescribePendingMaintenanceActions",
                "rds:DescribeGlobalClusters",
            ],
            "*",
        ),
        _allow("StopTaggedDatabases", "rds:StopDBCluster", f"{databases}:cluster:*", has_tag),
    ]
    if options["include_instances"]:
        statements.append(_allow("OnlyForIncludeInstances", "rds:StopDBInstance", f"{databases}:db:*", has_tag))
    if options["migrate_tags"]:
        own_keys = {"ForAllValues:StringEquals": {"aws:TagKeys": [options["tag_key"], HOLD_KEY]}}
        actions = ["rds:AddTagsToResource", "rds:RemoveTagsFromResource"]
        resources = [f"{databases}:cluster:*", f"{databases}:db:*"]
        statements.append(_allow("OnlyForMigrateTags", actions, resources, own_keys))
    if options["sweep_policy"] == "auto_started_only":
        statements.append(_allow("OnlyForSweepPolicyAutoStartedOnly", "rds:DescribeEvents", "*"))
    return {"Version": VERSION, "Statement": statements}


def _allow(sid: str, actions: Any, resources: Any, condition: Any = None) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement
