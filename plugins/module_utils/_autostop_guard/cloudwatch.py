# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to CloudWatch: one alarm, with its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from .service import call, tag_list, tags_of


def _alarm(client: Any, name: str) -> Optional[Mapping[str, Any]]:
    answer = call(client, "DescribeAlarms", AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"]) or {}
    for kind in ("MetricAlarms", "CompositeAlarms"):
        for alarm in answer.get(kind) or ():
            found: Mapping[str, Any] = alarm
            return found
    return None


def tags(client: Any, name: str) -> Optional[dict[str, str]]:
    """The tags of an alarm; None where there is no such alarm."""
    alarm = _alarm(client, name)
    return None if alarm is None else _tags(client, alarm)


def _tags(client: Any, alarm: Mapping[str, Any]) -> dict[str, str]:
    answer = call(client, "ListTagsForResource", ("ResourceNotFoundException",), ResourceARN=alarm["AlarmArn"]) or {}
    return tags_of(answer.get("Tags"))


def read(client: Any, name: str) -> Optional[dict[str, Any]]:
    """An alarm as the plan compares it: PutMetricAlarm's own arguments, and the tags."""
    alarm = _alarm(client, name)
    if alarm is None:
        return None
    kept = ("AlarmDescription", "Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold")
    more = ("ComparisonOperator", "TreatMissingData", "ActionsEnabled")
    return {
        **{key: alarm.get(key) for key in (*kept, *more)},
        "Dimensions": {one["Name"]: one["Value"] for one in alarm.get("Dimensions") or ()},
        "AlarmActions": sorted(alarm.get("AlarmActions") or ()),
        "tags": _tags(client, alarm),
    }


def put(client: Any, name: str, arn: str, before: Optional[Mapping[str, Any]], wanted: Mapping[str, Any]) -> None:
    """PutMetricAlarm takes tags only of an alarm that it makes."""
    arguments = {key: value for key, value in wanted.items() if key not in ("Dimensions", "tags")}
    dimensions = [{"Name": key, "Value": value} for key, value in sorted(wanted["Dimensions"].items())]
    if before is None:
        tagged = tag_list(wanted["tags"])
        call(client, "PutMetricAlarm", AlarmName=name, Dimensions=dimensions, Tags=tagged, **arguments)
        return
    if any(before[key] != wanted[key] for key in wanted if key != "tags"):
        call(client, "PutMetricAlarm", AlarmName=name, Dimensions=dimensions, **arguments)
    if before["tags"] != wanted["tags"]:
        call(client, "TagResource", ResourceARN=arn, Tags=tag_list(wanted["tags"]))


def delete(client: Any, name: str) -> None:
    call(client, "DeleteAlarms", AlarmNames=[name])
