# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans the guard's trigger: the desired mapping, rules and alarm against the current ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .model import (
    ALARM,
    DEAD_LETTER_QUEUE,
    DEFAULT_SWEEP_SCHEDULE,
    EVENT_RULE,
    FUNCTION,
    OWNER_TAG,
    QUEUE,
    SWEEP_RULE,
    GuardLocation,
    GuardState,
)

MAPPING = "event_source_mapping"
CREATE_ORDER = (MAPPING, EVENT_RULE, SWEEP_RULE, ALARM)  # the mapping first: it receives the events

# Started by AWS after seven days, and started, of clusters and of instances (docs/facts/autostop.md#rds-events).
CLUSTER_EVENTS = ("RDS-EVENT-0153", "RDS-EVENT-0151")
INSTANCE_EVENTS = ("RDS-EVENT-0154", "RDS-EVENT-0088")


@dataclass(frozen=True)
class GuardOptions:
    """C(alarm_actions) has ARNs. C(tags) has the tags besides the owner tag."""

    sweep_schedule: str = DEFAULT_SWEEP_SCHEDULE
    include_instances: bool = False
    alarm_actions: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GuardChange:
    """One part: before, after, and the action between them. C(action): create, update, delete, or None."""

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
            "MaximumConcurrency": 2,  # the minimum of Lambda: the guard makes few calls, and none is urgent
            "tags": tags,
        },
        EVENT_RULE: {
            **rule,
            "description": "RDS events of started databases: the autostop guard stops tagged databases again",
            "pattern": {"source": ["aws.rds"], "detail-type": kinds, "detail": {"EventID": events}},
            "schedule": None,
        },
        SWEEP_RULE: {
            **rule,
            "description": "Sweep: the autostop guard checks every database, because events can be lost",
            "pattern": None,
            "schedule": options.sweep_schedule,
        },
        ALARM: {
            "AlarmDescription": "The autostop guard gave up on a database: see the messages in the dead-letter queue",
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
    """One change per part, in the order of creation, or reversed for deletion. Tags of others stay."""
    names = {**location.names, MAPPING: f"{location.names[QUEUE]} to {location.prefix}"}
    desired = build_desired(location, options)
    planned = []
    for kind in CREATE_ORDER if should_exist else reversed(CREATE_ORDER):
        before, name = current.get(kind), names[kind]
        if before is not None and before["tags"].get(OWNER_TAG) != location.prefix:
            reason = (
                f"It has no tag {OWNER_TAG}={location.prefix}. This guard does not manage it and leaves it unchanged."
            )
            planned.append(GuardChange(kind, name, None, before, before, reason, unmanaged=True))
        elif not should_exist:
            action = None if before is None else "delete"
            reason = "It does not exist." if before is None else "It is to be deleted."
            planned.append(GuardChange(kind, name, action, before, None, reason))
        elif before is None:
            planned.append(GuardChange(kind, name, "create", None, desired[kind], "It does not exist yet."))
        else:
            after = {**before, **desired[kind], "tags": {**before["tags"], **desired[kind]["tags"]}}
            differing_keys = sorted(key for key in after if after[key] != before[key])
            reason = f"It differs in {', '.join(differing_keys)}." if differing_keys else "It matches the options."
            planned.append(GuardChange(kind, name, "update" if differing_keys else None, before, after, reason))
    return planned


def get_refusal_reason(
    location: GuardLocation, changes: Sequence[GuardChange], requirements: Optional[GuardState]
) -> Optional[str]:
    """Why nothing can be changed. C(requirements): function and queue, which the parts refer to; None: not required."""
    unmanaged = [f"{change.kind} {change.name}" for change in changes if change.unmanaged]
    if unmanaged:
        return (
            f"{', '.join(unmanaged)} has no tag of this guard: the guard does not manage it. Choose another prefix, or "
            "remove it."
        )
    if requirements is None:
        return None
    for kind in (FUNCTION, QUEUE):
        name = location.names[kind]
        if requirements.tags.get(kind) is None:
            return f"{kind} {name} does not exist. Install the guard with the role daytwo.aws.aurora_autostop."
        if not requirements.is_owned(kind):
            return f"{kind} {name} has no tag of this guard: the guard does not manage it. Choose another prefix."
    return None
