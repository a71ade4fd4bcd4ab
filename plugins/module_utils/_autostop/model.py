# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted and what a region has: frozen values between observing and deciding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Union

SWEEP_POLICIES = ("all", "auto_started_only")


@dataclass(frozen=True)
class AutostopOptions:
    """Which clusters are to be off. C(clusters) and C(exclude) hold identifiers or ARNs."""

    tag_key: str = "autostop"
    tag_values: tuple[str, ...] = ("yes",)
    clusters: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_instances: bool = False
    migrate_tags: bool = False
    sweep_policy: str = "all"
    finish_maintenance: bool = False
    wait: bool = False


@dataclass(frozen=True)
class AuroraCluster:
    """A cluster as DescribeDBClusters shows it, Neptune's and DocumentDB's among them."""

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

    kind = "cluster"

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    def get_member_arn(self, member: str) -> str:
        """The ARN of one of its instances: always of the cluster's own partition, region and account."""
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
        )


@dataclass(frozen=True)
class DbInstance:
    """A DB instance as DescribeDBInstances shows it. C(cluster) is empty for one that stands alone."""

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
    """A pending maintenance action. C(applies) is when AWS will carry it out, None while nothing says that it will."""

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
            "applies": format_timestamp(self.apply_date),
            "opt_in": self.opt_in_status or None,
        }


@dataclass(frozen=True)
class RegionState:
    """What was read of one region. None stands for what was not asked, since no candidate needed it.

    C(global_members): how many clusters each global cluster has. C(blue_green): ARNs of all members of blue/green
    deployments. C(starts): per ARN, whether its last start was C(automatic) or C(manual), where events say so.
    C(unread): why a reading that was needed failed, by operation.
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
        """The instances of a cluster, as far as instances were read."""
        return tuple(instance for instance in self.instances or () if instance.cluster == cluster.name)


def format_timestamp(timestamp: Optional[datetime]) -> Optional[str]:
    """A moment as results show it: ISO 8601 in seconds, with its offset."""
    return timestamp.isoformat(timespec="seconds").replace("+00:00", "Z") if timestamp else None


def _parse_tags(tag_list: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tag_list or ()}
