# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to RDS. It takes a ready botocore client, whose maker has set retries and time-outs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Optional

from .. import _aws_call
from .._aws_call import ApiError
from . import plan
from .errors import ServiceError
from .model import Cluster, Database, Instance, Maintenance, View, Wanted

PAGE = 100  # MaxRecords is 20 to 100 (facts: autostop)
EVENT_MINUTES = 14 * 24 * 60  # as far back as RDS keeps events


def call(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """One call by its API name."""
    try:
        return _aws_call.call(client, operation, **arguments)
    except ApiError as error:
        raise ServiceError(operation, error.code, error.message) from error


def pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
    """Every entry of every page. A marker that comes back twice would go round for ever."""
    markers: list[str] = []
    while True:
        more = {"Marker": markers[-1]} if markers else {}
        answer = call(client, operation, MaxRecords=PAGE, **arguments, **more)
        yield from answer.get(key) or ()
        marker = answer.get("Marker")
        if not marker:
            return
        if marker in markers:
            raise ServiceError(operation, "RepeatedMarker", "the service returned the same page twice")
        markers.append(marker)


def clusters(client: Any) -> tuple[Cluster, ...]:
    """All clusters of the region, with their tags: that is one call per 100, and none per cluster."""
    found = (Cluster.parse(entry) for entry in pages(client, "DescribeDBClusters", "DBClusters"))
    return tuple({cluster.arn: cluster for cluster in found}.values())


def instances(client: Any) -> tuple[Instance, ...]:
    found = (Instance.parse(entry) for entry in pages(client, "DescribeDBInstances", "DBInstances"))
    return tuple({instance.arn: instance for instance in found}.values())


def observe(client: Any, wanted: Wanted, region: str, now: datetime) -> View:
    """Reads what the decision needs, in bulk. Readings beside the clusters are made only if a candidate needs them.

    One of those that fails does not end the region: it is noted, and the service's own refusal takes its place.
    """
    view = View(region, clusters(client))
    if plan.needs_instances(wanted, view.clusters):
        view = _read(view, "instances", lambda: instances(client))
    lacking = plan.needs(wanted, view, now)
    if lacking.global_members:
        view = _read(view, "global_members", lambda: _global_members(client))
    if lacking.blue_green:
        view = _read(view, "blue_green", lambda: _blue_green(client))
    if lacking.maintenance:
        view = _read(view, "maintenance", lambda: _maintenance(client))
    if lacking.starts:
        view = _read(view, "starts", lambda: _starts(client, lacking.starts))
    return view


def _read(view: View, field: str, read: Callable[[], Any]) -> View:
    try:
        return replace(view, **{field: read()})
    except ServiceError as error:
        return replace(view, unread={**view.unread, error.operation: f"{error}. {error.way_out}"})


def _global_members(client: Any) -> dict[str, int]:
    return {
        str(entry["GlobalClusterIdentifier"]): len(entry.get("GlobalClusterMembers") or ())
        for entry in pages(client, "DescribeGlobalClusters", "GlobalClusters")
    }


def _blue_green(client: Any) -> frozenset[str]:
    members: set[str] = set()
    for entry in pages(client, "DescribeBlueGreenDeployments", "BlueGreenDeployments"):
        members.update(str(entry.get(side) or "") for side in ("Source", "Target"))
        for detail in entry.get("SwitchoverDetails") or ():
            members.update(str(detail.get(side) or "") for side in ("SourceMember", "TargetMember"))
    return frozenset(members - {""})


def _maintenance(client: Any) -> dict[str, tuple[Maintenance, ...]]:
    operation, key = "DescribePendingMaintenanceActions", "PendingMaintenanceActions"
    return {
        str(entry["ResourceIdentifier"]): tuple(
            Maintenance.parse(one) for one in entry.get("PendingMaintenanceActionDetails") or ()
        )
        for entry in pages(client, operation, key)
    }


def _starts(client: Any, kinds: Sequence[str]) -> dict[str, str]:
    """Who started what, by the events in their order. DescribeEvents has no event ids: only the words tell."""
    starts: dict[str, Optional[str]] = {}
    for kind in kinds:
        found = pages(
            client,
            "DescribeEvents",
            "Events",
            SourceType=f"db-{kind}",
            Duration=EVENT_MINUTES,
            EventCategories=["notification"],
        )
        for event in sorted(found, key=lambda one: one["Date"]):
            arn, message = str(event.get("SourceArn") or ""), str(event.get("Message") or "").lower()
            if "maximum allowed time being stopped" in message:  # RDS-EVENT-0153, 0154
                starts[arn] = "automatic"
            elif "stopped" in message:
                starts[arn] = None
            elif "started" in message and not starts.get(arn):
                starts[arn] = "manual"
    return {arn: how for arn, how in starts.items() if how}


def stop(client: Any, database: Database) -> str:
    """Asks for the stop; returns the status that the answer shows, which can be the one before."""
    if isinstance(database, Cluster):
        answer = call(client, "StopDBCluster", DBClusterIdentifier=database.name)
        return str(answer.get("DBCluster", {}).get("Status") or "")
    answer = call(client, "StopDBInstance", DBInstanceIdentifier=database.name)
    return str(answer.get("DBInstance", {}).get("DBInstanceStatus") or "")


def tag(client: Any, arn: str, tags: Mapping[str, str]) -> None:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    call(client, "AddTagsToResource", ResourceName=arn, Tags=listed)


def untag(client: Any, arn: str, keys: Sequence[str]) -> None:
    call(client, "RemoveTagsFromResource", ResourceName=arn, TagKeys=list(keys))
