# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that calls RDS. It takes a botocore client with retries and time-outs already set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Optional

from .._aws_call import ApiError, call_api, paginate
from . import plan
from .model import AuroraCluster, AutostopOptions, Database, DbInstance, MaintenanceAction, RegionState

PAGE_SIZE = 100  # MaxRecords is 20 to 100 (docs/facts/autostop.md#describedbclusters)
EVENT_MINUTES = 14 * 24 * 60  # as far back as RDS keeps events


def iterate_entries(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
    """Every entry of every page."""
    return paginate(client, operation, key, MaxRecords=PAGE_SIZE, **arguments)


def list_clusters(client: Any) -> tuple[AuroraCluster, ...]:
    """All clusters of the region with their tags: one call per 100 clusters, and none per cluster."""
    found = (AuroraCluster.parse(entry) for entry in iterate_entries(client, "DescribeDBClusters", "DBClusters"))
    return tuple({cluster.arn: cluster for cluster in found}.values())


def list_instances(client: Any) -> tuple[DbInstance, ...]:
    found = (DbInstance.parse(entry) for entry in iterate_entries(client, "DescribeDBInstances", "DBInstances"))
    return tuple({instance.arn: instance for instance in found}.values())


def observe(client: Any, options: AutostopOptions, region: str, now: datetime) -> RegionState:
    """Reads what the decision needs, in bulk. Other readings than the clusters happen only if a candidate needs them.

    If one of those fails, the region goes on: the error is recorded, and AWS itself refuses what it cannot stop.
    """
    state = RegionState(region, list_clusters(client))
    if plan.needs_instances(options, state.clusters):
        state = _read_field(state, "instances", lambda: list_instances(client))
    missing = plan.find_missing_readings(options, state, now)
    if missing.global_members:
        state = _read_field(state, "global_members", lambda: _count_global_members(client))
    if missing.blue_green:
        state = _read_field(state, "blue_green", lambda: _list_blue_green_members(client))
    if missing.maintenance:
        state = _read_field(state, "maintenance", lambda: _list_maintenance(client))
    if missing.start_type_kinds:
        state = _read_field(state, "start_types", lambda: _list_start_types(client, missing.start_type_kinds))
    return state


def _read_field(current: RegionState, field_name: str, read: Callable[[], Any]) -> RegionState:
    try:
        return replace(current, **{field_name: read()})
    except ApiError as error:
        return replace(current, read_errors={**current.read_errors, error.operation: error.explanation})


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
            MaintenanceAction.parse(detail) for detail in entry.get("PendingMaintenanceActionDetails") or ()
        )
        for entry in iterate_entries(client, operation, key)
    }


def _list_start_types(client: Any, kinds: Sequence[str]) -> dict[str, str]:
    """The last start of each database by ARN, C(automatic) or C(manual).

    DescribeEvents has no event ids, so the message decides (docs/facts/autostop.md#rds-events).
    """
    start_types: dict[str, Optional[str]] = {}
    for kind in kinds:
        found = iterate_entries(
            client,
            "DescribeEvents",
            "Events",
            SourceType=f"db-{kind}",
            Duration=EVENT_MINUTES,
            EventCategories=["notification"],
        )
        for event in sorted(found, key=lambda event: event["Date"]):
            arn, message = str(event.get("SourceArn") or ""), str(event.get("Message") or "").lower()
            if "maximum allowed time being stopped" in message:  # RDS-EVENT-0153, 0154
                start_types[arn] = "automatic"
            elif "stopped" in message:
                start_types[arn] = None
            elif "started" in message and not start_types.get(arn):
                start_types[arn] = "manual"
    return {arn: start_type for arn, start_type in start_types.items() if start_type}


def stop_database(client: Any, database: Database) -> str:
    """Stops a database. Returns the status in the response, which can be the status before the stop."""
    if isinstance(database, AuroraCluster):
        response = call_api(client, "StopDBCluster", DBClusterIdentifier=database.name)
        return str(response.get("DBCluster", {}).get("Status") or "")
    response = call_api(client, "StopDBInstance", DBInstanceIdentifier=database.name)
    return str(response.get("DBInstance", {}).get("DBInstanceStatus") or "")


def add_tags(client: Any, arn: str, tags: Mapping[str, str]) -> None:
    tag_list = [{"Key": key, "Value": value} for key, value in tags.items()]
    call_api(client, "AddTagsToResource", ResourceName=arn, Tags=tag_list)


def remove_tags(client: Any, arn: str, keys: Sequence[str]) -> None:
    call_api(client, "RemoveTagsFromResource", ResourceName=arn, TagKeys=list(keys))
