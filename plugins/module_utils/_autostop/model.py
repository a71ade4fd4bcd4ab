# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options and the state of a region: frozen values between observe and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Union

SWEEP_POLICIES = ("all", "auto_started_only")
DEFAULT_AUTO_PAUSE_SECONDS = 300


@dataclass(frozen=True)
class AutostopOptions:
    """Which clusters to stop. C(clusters) and C(exclude) have identifiers or ARNs."""

    tag_key: str = "autostop"
    tag_values: tuple[str, ...] = ("yes",)
    clusters: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_instances: bool = False
    migrate_tags: bool = False
    sweep_policy: str = "all"
    finish_maintenance: bool = False
    wait: bool = False

    @property
    def expected_tag(self) -> str:
        return " or ".join(f"{self.tag_key}={value}" for value in self.tag_values)


@dataclass(frozen=True)
class AuroraCluster:
    """A cluster of DescribeDBClusters, which also returns Neptune and DocumentDB clusters.

    C(auto_pause_seconds): how long an idle Serverless v2 cluster with minimum capacity 0 runs until it pauses. None
    without auto-pause.
    """

    arn: str
    name: str
    engine: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    engine_version: str = ""
    engine_mode: str = "provisioned"
    members: tuple[str, ...] = ()
    global_cluster: str = ""
    replicas: tuple[str, ...] = ()
    replication_source: str = ""
    automatic_restart_time: Optional[datetime] = None
    auto_pause_seconds: Optional[int] = None
    scalability_type: str = ""

    kind = "cluster"

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    def get_member_arn(self, member: str) -> str:
        """The ARN of an instance of the cluster: same partition, region and account."""
        return ":".join([*self.arn.split(":")[:5], "db", member])

    @classmethod
    def parse(cls, response: Mapping[str, Any]) -> AuroraCluster:
        return cls(
            arn=str(response["DBClusterArn"]),
            name=str(response["DBClusterIdentifier"]),
            engine=str(response.get("Engine", "")),
            status=str(response.get("Status", "")),
            tags=_parse_tags(response.get("TagList")),
            engine_version=str(response.get("EngineVersion") or ""),
            engine_mode=str(response.get("EngineMode") or "provisioned"),
            members=tuple(str(member["DBInstanceIdentifier"]) for member in response.get("DBClusterMembers") or ()),
            global_cluster=str(response.get("GlobalClusterIdentifier") or ""),
            replicas=tuple(map(str, response.get("ReadReplicaIdentifiers") or ())),
            replication_source=str(response.get("ReplicationSourceIdentifier") or ""),
            automatic_restart_time=response.get("AutomaticRestartTime"),
            auto_pause_seconds=_parse_auto_pause(response.get("ServerlessV2ScalingConfiguration")),
            scalability_type=str(response.get("ClusterScalabilityType") or ""),
        )


@dataclass(frozen=True)
class DbInstance:
    """A DB instance of DescribeDBInstances. C(cluster) is empty for an instance without a cluster."""

    arn: str
    name: str
    engine: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    engine_version: str = ""
    cluster: str = ""
    replicas: tuple[str, ...] = ()
    replication_source: str = ""
    multi_az: bool = False
    automatic_restart_time: Optional[datetime] = None

    kind = "instance"

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @classmethod
    def parse(cls, response: Mapping[str, Any]) -> DbInstance:
        return cls(
            arn=str(response["DBInstanceArn"]),
            name=str(response["DBInstanceIdentifier"]),
            engine=str(response.get("Engine", "")),
            status=str(response.get("DBInstanceStatus", "")),
            tags=_parse_tags(response.get("TagList")),
            engine_version=str(response.get("EngineVersion") or ""),
            cluster=str(response.get("DBClusterIdentifier") or ""),
            replicas=tuple(
                str(name)
                for key in ("ReadReplicaDBInstanceIdentifiers", "ReadReplicaDBClusterIdentifiers")
                for name in response.get(key) or ()
            ),
            replication_source=str(
                response.get("ReadReplicaSourceDBInstanceIdentifier")
                or response.get("ReadReplicaSourceDBClusterIdentifier")
                or ""
            ),
            multi_az=bool(response.get("MultiAZ")),
            automatic_restart_time=response.get("AutomaticRestartTime"),
        )


Database = Union[AuroraCluster, DbInstance]


@dataclass(frozen=True)
class MaintenanceAction:
    """A pending maintenance action. C(apply_date) is when AWS applies it, None without a date."""

    action: str
    description: str
    apply_date: Optional[datetime]
    opt_in_status: str = ""

    @classmethod
    def parse(cls, response: Mapping[str, Any]) -> MaintenanceAction:
        return cls(
            action=str(response.get("Action", "")),
            description=str(response.get("Description") or ""),
            apply_date=response.get("CurrentApplyDate"),
            opt_in_status=str(response.get("OptInStatus") or ""),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "description": self.description,
            "apply_date": format_timestamp(self.apply_date),
            "opt_in_status": self.opt_in_status or None,
        }


@dataclass(frozen=True)
class RegionState:
    """The state of one region, as it was read. None: not read, because no candidate needs it.

    C(global_members): the number of clusters in each global cluster. C(blue_green): the ARNs of all members of
    blue/green deployments. C(start_types): by ARN, whether the last start was C(automatic) or C(manual), as far as
    the events show. C(read_errors): by operation, why a reading failed.
    """

    region: str
    clusters: tuple[AuroraCluster, ...] = ()
    instances: Optional[tuple[DbInstance, ...]] = None
    global_members: Optional[Mapping[str, int]] = None
    blue_green: Optional[frozenset[str]] = None
    maintenance: Optional[Mapping[str, tuple[MaintenanceAction, ...]]] = None
    start_types: Optional[Mapping[str, str]] = None
    read_errors: Mapping[str, str] = field(default_factory=dict)

    def list_members(self, cluster: AuroraCluster) -> tuple[DbInstance, ...]:
        """The instances of a cluster, if instances were read."""
        return tuple(instance for instance in self.instances or () if instance.cluster == cluster.name)


def format_timestamp(timestamp: Optional[datetime]) -> Optional[str]:
    """A timestamp for results: ISO 8601 in seconds, with its offset."""
    return timestamp.isoformat(timespec="seconds").replace("+00:00", "Z") if timestamp else None


def _parse_auto_pause(scaling: Optional[Mapping[str, Any]]) -> Optional[int]:
    """Auto-pause is on exactly where the minimum capacity is 0 (docs/facts/autostop.md#auto-pause)."""
    if not scaling or scaling.get("MinCapacity") != 0:
        return None
    return int(scaling.get("SecondsUntilAutoPause") or DEFAULT_AUTO_PAUSE_SECONDS)


def _parse_tags(tag_list: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tag_list or ()}
