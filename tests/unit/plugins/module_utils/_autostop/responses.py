# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of RDS's responses, and a scripted client that returns them, counts the stops and refuses some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Optional

from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import PREFIX, YES

Entry = dict[str, Any]


class RefusedError(Exception):
    """As botocore's ClientError."""

    def __init__(self, code: str, message: str = "no") -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": message}}


class ReadTimeoutError(Exception):
    """As botocore's: without a response."""

    response = None


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def cluster(name: str = "orders", tags: Optional[Mapping[str, str]] = None, **more: Any) -> Entry:
    """A cluster of DescribeDBClusters: available and tagged."""
    members = more.pop("members", ())
    return {
        "DBClusterArn": f"{PREFIX}:cluster:{name}",
        "DBClusterIdentifier": name,
        "Engine": "aurora-mysql",
        "EngineMode": "provisioned",
        "Status": "available",
        "TagList": tag_list(YES if tags is None else tags),
        "DBClusterMembers": [{"DBInstanceIdentifier": member} for member in members],
        **more,
    }


def instance(name: str = "alone", tags: Optional[Mapping[str, str]] = None, **more: Any) -> Entry:
    """An instance of DescribeDBInstances: available and tagged, in no cluster."""
    return {
        "DBInstanceArn": f"{PREFIX}:db:{name}",
        "DBInstanceIdentifier": name,
        "Engine": "postgres",
        "DBInstanceStatus": "available",
        "TagList": tag_list(YES if tags is None else tags),
        **more,
    }


def member(name: str, of: str, tags: Optional[Mapping[str, str]] = None, **more: Any) -> Entry:
    return instance(name, tags, **{"Engine": "aurora-mysql", "DBClusterIdentifier": of, **more})


META = SimpleNamespace(service_model=SimpleNamespace(service_name="rds", signing_name="rds"))


@dataclass
class Rds:
    """A region of RDS. A stop shows in the next reading. C(refusals): by identifier, the code and message of AWS.

    C(lost_responses): the identifiers of databases whose stop is done, and whose response does not arrive.
    """

    clusters: Sequence[Entry] = ()
    instances: Sequence[Entry] = ()
    global_clusters: Sequence[Entry] = ()
    deployments: Sequence[Entry] = ()
    refusals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    reading_error: Optional[tuple[str, str]] = None
    stops: list[str] = field(default_factory=list)
    lost_responses: Sequence[str] = ()
    meta: Any = field(default_factory=lambda: META)

    def describe_db_clusters(self, **_arguments: Any) -> Entry:
        if self.reading_error:
            raise RefusedError(*self.reading_error)
        return {"DBClusters": [self._show(entry, "DBClusterIdentifier", "Status") for entry in self.clusters]}

    def describe_db_instances(self, **_arguments: Any) -> Entry:
        return {
            "DBInstances": [self._show(entry, "DBInstanceIdentifier", "DBInstanceStatus") for entry in self.instances]
        }

    def describe_global_clusters(self, **_arguments: Any) -> Entry:
        return {"GlobalClusters": self.global_clusters}

    def describe_blue_green_deployments(self, **_arguments: Any) -> Entry:
        return {"BlueGreenDeployments": self.deployments}

    def describe_pending_maintenance_actions(self, **_arguments: Any) -> Entry:
        return {"PendingMaintenanceActions": []}

    def stop_db_cluster(self, DBClusterIdentifier: str) -> Entry:  # noqa: N803
        return {"DBCluster": {"Status": self._stop(DBClusterIdentifier)}}

    def stop_db_instance(self, DBInstanceIdentifier: str) -> Entry:  # noqa: N803
        return {"DBInstance": {"DBInstanceStatus": self._stop(DBInstanceIdentifier)}}

    def _stop(self, name: str) -> str:
        if name in self.refusals:
            raise RefusedError(*self.refusals[name])
        self.stops.append(name)
        if name in self.lost_responses:
            raise ReadTimeoutError("Read timeout on endpoint URL")
        return "available"

    def _show(self, entry: Entry, name_key: str, status_key: str) -> Entry:
        return {**entry, status_key: "stopping"} if entry[name_key] in self.stops else entry
