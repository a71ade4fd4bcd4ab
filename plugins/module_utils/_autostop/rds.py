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
from .errors import AutostopApiError
from .model import AuroraCluster, AutostopOptions, Database, DbInstance, MaintenanceAction, RegionState

PAGE_SIZE = 100  # MaxRecords is 20 to 100 (facts: autostop)
EVENT_MINUTES = 14 * 24 * 60  # as far back as RDS keeps events


def call_api(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    """One call by its API name."""
    try:
        return _aws_call.call_api(client, operation, **arguments)
    except ApiError as error:
        raise AutostopApiError(operation, error.code, error.message) from error


def iterate_entries(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
    """Every entry of every page. A marker that comes back twice would go round for ever."""
    markers: list[str] = []
    while True:
        more = {"Marker": markers[-1]} if markers else {}
        answer = call_api(client, operation, MaxRecords=PAGE_SIZE, **arguments, **more)
        yield from answer.get(key) or ()
        marker = answer.get("Marker")
        if not marker:
            return
        if marker in markers:
            raise AutostopApiError(operation, "RepeatedMarker", "the service returned the same page twice")
        markers.append(marker)


def list_clusters(client: Any) -> tuple[AuroraCluster, ...]:
    """All clusters of the region, with their tags: that is one call per 100, and none per cluster."""
    found = (AuroraCluster.parse(entry) for entry in iterate_entries(client, "DescribeDBClusters", "DBClusters"))
    return tuple({cluster.arn: cluster for cluster in found}.values())


def list_instances(client: Any) -> tuple[DbInstance, ...]:
    found = (DbInstance.parse(entry) for entry in iterate_entries(client, "DescribeDBInstances", "DBInstances"))
    return tuple({instance.arn: instance for instance in found}.values())


def observe(client: Any, options: AutostopOptions, region: str, now: datetime) -> RegionState:
    """Reads what the decision needs, in bulk. Readings beside the clusters are made only if a candidate needs them.

    One of those that fails does not end the region: it is noted, and the service's own refusal takes its place.
    """
    view = RegionState(region, list_clusters(client))
    if plan.needs_instances(options, view.clusters):
        view = _read_field(view, "instances", lambda: list_instances(client))
    lacking = plan.find_missing_readings(options, view, now)
    if lacking.global_members:
        view = _read_field(view, "global_members", lambda: _count_global_members(client))
    if lacking.blue_green:
        view = _read_field(view, "blue_green", lambda: _list_blue_green_members(client))
    if lacking.maintenance:
        view = _read_field(view, "maintenance", lambda: _list_maintenance(client))
    if lacking.start_type_kinds:
        view = _read_field(view, "starts", lambda: _list_start_types(client, lacking.start_type_kinds))
    return view


def _read_field(current: RegionState, field_name: str, read: Callable[[], Any]) -> RegionState:
    try:
        return replace(current, **{field_name: read()})
    except AutostopApiError as error:
        return replace(current, read_errors={**current.read_errors, error.operation: f"{error}. {error.suggestion}"})


def _count_global_members(client: Any) -> dict[str, int]:
    return {
        str(entry["GlobalClusterIdentifier"]): len(entry.get("GlobalClusterMembers") or ())
        for entry in iterate_entries(client, "DescribeGlobalClusters", "GlobalClusters")
    }


def _list_blue_green_members(client: Any) -> frozenset[str]:
    members: set[str] = set()
    for entry in iterate_entries(client, "DescribeBlueGreenDeployments", "BlueGreenDeployments"):
        members.update(str(entry.get(side) or "") for side in ("Source", "Target"))
        for detail in entry.get("SwitchoverDetails") or ():
            members.update(str(detail.get(side) or "") for side in ("SourceMember", "TargetMember"))
    return frozenset(members - {""})


def _list_maintenance(client: Any) -> dict[str, tuple[MaintenanceAction, ...]]:
    operation, key = "DescribePendingMaintenanceActions", "PendingMaintenanceActions"
    return {
        str(entry["ResourceIdentifier"]): tuple(
            MaintenanceAction.parse(one) for one in entry.get("PendingMaintenanceActionDetails") or ()
        )
        for entry in iterate_entries(client, operation, key)
    }


def _list_start_types(client: Any, kinds: Sequence[str]) -> dict[str, str]:
    """Who started what, by the events in their order. DescribeEvents has no event ids: only the words tell."""
    starts: dict[str, Optional[str]] = {}
    for kind in kinds:
        found = iterate_entries(
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


def stop_database(client: Any, database: Database) -> str:
    """Asks for the stop; returns the status that the answer shows, which can be the one before."""
    if isinstance(database, AuroraCluster):
        answer = call_api(client, "StopDBCluster", DBClusterIdentifier=database.name)
        return str(answer.get("DBCluster", {}).get("Status") or "")
    answer = call_api(client, "StopDBInstance", DBInstanceIdentifier=database.name)
    return str(answer.get("DBInstance", {}).get("DBInstanceStatus") or "")


def add_tags(client: Any, arn: str, tags: Mapping[str, str]) -> None:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    call_api(client, "AddTagsToResource", ResourceName=arn, Tags=listed)


def remove_tags(client: Any, arn: str, keys: Sequence[str]) -> None:
    call_api(client, "RemoveTagsFromResource", ResourceName=arn, TagKeys=list(keys))
