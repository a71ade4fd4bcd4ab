# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that calls CloudWatch: one alarm with its tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from .._aws_call import call_api
from .service import get_optional, parse_tags, to_tag_list


def _get_alarm(client: Any, name: str) -> Optional[Mapping[str, Any]]:
    response = call_api(client, "DescribeAlarms", AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    for kind in ("MetricAlarms", "CompositeAlarms"):
        for alarm in response.get(kind) or ():
            found: Mapping[str, Any] = alarm
            return found
    return None


def get_tags(client: Any, name: str) -> Optional[dict[str, str]]:
    """The tags of an alarm; None if the alarm does not exist."""
    alarm = _get_alarm(client, name)
    return None if alarm is None else _list_alarm_tags(client, alarm)


def _list_alarm_tags(client: Any, alarm: Mapping[str, Any]) -> dict[str, str]:
    response = (
        get_optional(client, "ListTagsForResource", ("ResourceNotFoundException",), ResourceARN=alarm["AlarmArn"]) or {}
    )
    return parse_tags(response.get("Tags"))


def read_alarm(client: Any, name: str) -> Optional[dict[str, Any]]:
    """An alarm in the form that the plan compares: PutMetricAlarm's arguments, and the tags."""
    alarm = _get_alarm(client, name)
    if alarm is None:
        return None
    metric_keys = (
        "AlarmDescription",
        "Namespace",
        "MetricName",
        "Statistic",
        "Period",
        "EvaluationPeriods",
        "Threshold",
    )
    alarm_keys = ("ComparisonOperator", "TreatMissingData", "ActionsEnabled")
    return {
        **{key: alarm.get(key) for key in (*metric_keys, *alarm_keys)},
        "Dimensions": {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions") or ()},
        "AlarmActions": sorted(alarm.get("AlarmActions") or ()),
        "tags": _list_alarm_tags(client, alarm),
    }


def put_alarm(
    client: Any, name: str, arn: str, before: Optional[Mapping[str, Any]], desired: Mapping[str, Any]
) -> None:
    """Creates or updates an alarm. PutMetricAlarm accepts tags for a new alarm only."""
    arguments = {key: value for key, value in desired.items() if key not in ("Dimensions", "tags")}
    dimensions = [{"Name": key, "Value": value} for key, value in sorted(desired["Dimensions"].items())]
    if before is None:
        tag_list = to_tag_list(desired["tags"])
        call_api(client, "PutMetricAlarm", AlarmName=name, Dimensions=dimensions, Tags=tag_list, **arguments)
        return
    if any(before[key] != desired[key] for key in desired if key != "tags"):
        call_api(client, "PutMetricAlarm", AlarmName=name, Dimensions=dimensions, **arguments)
    if before["tags"] != desired["tags"]:
        call_api(client, "TagResource", ResourceARN=arn, Tags=to_tag_list(desired["tags"]))


def delete_alarm(client: Any, name: str) -> None:
    call_api(client, "DeleteAlarms", AlarmNames=[name])
