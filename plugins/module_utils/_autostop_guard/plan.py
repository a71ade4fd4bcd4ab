# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a guard's function run, as it should be and against what is there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .model import ALARM, DEAD_LETTER_QUEUE, EVENT_RULE, OWNER_TAG, QUEUE, SWEEP_RULE, GuardLocation

MAPPING = "event_source_mapping"
CREATE_ORDER = (MAPPING, EVENT_RULE, SWEEP_RULE, ALARM)  # events may come once somebody listens

# Started by AWS after seven days, started; of clusters and of instances (RDS event messages; facts: autostop).
CLUSTER_EVENTS = ("RDS-EVENT-0153", "RDS-EVENT-0151")
INSTANCE_EVENTS = ("RDS-EVENT-0154", "RDS-EVENT-0088")


@dataclass(frozen=True)
class GuardOptions:
    """C(alarm_actions): ARNs. C(tags): beside the one that tells whose it is."""

    sweep_schedule: str = "rate(1 day)"
    include_instances: bool = False
    alarm_actions: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GuardChange:
    """One thing: before, after, and what that takes. C(action): create, update, delete, or None."""

    kind: str
    name: str
    action: Optional[str]
    before: Optional[Mapping[str, Any]]
    after: Optional[Mapping[str, Any]]
    reason: str
    unmanaged: bool = False


def build_desired(location: GuardLocation, options: GuardOptions) -> dict[str, dict[str, Any]]:
    tags = {**options.tags, **location.owner_tag}
    rule = {"state": "ENABLED", "targets": {"queue": location.arns[QUEUE]}, "tags": tags}
    kinds, events = ["RDS DB Cluster Event"], list(CLUSTER_EVENTS)
    if options.include_instances:
        kinds.append("RDS DB Instance Event")
        events += INSTANCE_EVENTS
    return {
        MAPPING: {
            "BatchSize": 10,
            "Enabled": True,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "MaximumConcurrency": 2,  # the lowest that Lambda takes: the guard asks RDS little, and in no haste
            "tags": tags,
        },
        EVENT_RULE: {
            **rule,
            "description": "Databases that were started, to be stopped again if their tags say so",
            "pattern": {"source": ["aws.rds"], "detail-type": kinds, "detail": {"EventID": events}},
            "schedule": None,
        },
        SWEEP_RULE: {
            **rule,
            "description": "A look at every database, since events can be lost",
            "pattern": None,
            "schedule": options.sweep_schedule,
        },
        ALARM: {
            "AlarmDescription": "The autostop guard gave up on something: see the messages in the dead-letter queue",
            "Namespace": "AWS/SQS",
            "MetricName": "ApproximateNumberOfMessagesVisible",
            "Statistic": "Maximum",
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "ActionsEnabled": True,
            "Dimensions": {"QueueName": location.names[DEAD_LETTER_QUEUE]},
            "AlarmActions": sorted(options.alarm_actions),
            "tags": tags,
        },
    }


def plan_changes(
    location: GuardLocation,
    options: GuardOptions,
    current: Mapping[str, Optional[Mapping[str, Any]]],
    should_exist: bool,
) -> Sequence[GuardChange]:
    """One per thing, in the order in which they are made, or the reverse. Tags that others have added stay."""
    names = {**location.names, MAPPING: f"{location.names[QUEUE]} to {location.prefix}"}
    target = build_desired(location, options)
    found = []
    for kind in CREATE_ORDER if should_exist else reversed(CREATE_ORDER):
        before, name = current.get(kind), names[kind]
        if before is not None and before["tags"].get(OWNER_TAG) != location.prefix:
            reason = f"It bears no tag {OWNER_TAG}={location.prefix}, so it is somebody else's, and is left alone."
            found.append(GuardChange(kind, name, None, before, before, reason, unmanaged=True))
        elif not should_exist:
            action = None if before is None else "delete"
            reason = "It is not there." if before is None else "It is to be removed."
            found.append(GuardChange(kind, name, action, before, None, reason))
        elif before is None:
            found.append(GuardChange(kind, name, "create", None, target[kind], "It is not there yet."))
        else:
            after = {**before, **target[kind], "tags": {**before["tags"], **target[kind]["tags"]}}
            differs = sorted(key for key in after if after[key] != before[key])
            reason = f"It differs in {', '.join(differs)}." if differs else "It is as it should be."
            found.append(GuardChange(kind, name, "update" if differs else None, before, after, reason))
    return found
