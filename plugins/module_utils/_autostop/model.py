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
class Wanted:
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
class Cluster:
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
    replica_of: str = ""
    automatic_restart_time: Optional[datetime] = None

    kind = "cluster"

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    def member_arn(self, member: str) -> str:
        """The ARN of one of its instances: always of the cluster's own partition, region and account."""
        return ":".join([*self.arn.split(":")[:5], "db", member])

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Cluster:
        return cls(
            arn=str(answer["DBClusterArn"]),
            name=str(answer["DBClusterIdentifier"]),
            engine=str(answer.get("Engine", "")),
            status=str(answer.get("Status", "")),
            tags=_tags(answer.get("TagList")),
            engine_version=str(answer.get("EngineVersion") or ""),
            engine_mode=str(answer.get("EngineMode") or "provisioned"),
            members=tuple(str(member["DBInstanceIdentifier"]) for member in answer.get("DBClusterMembers") or ()),
            global_cluster=str(answer.get("GlobalClusterIdentifier") or ""),
            replicas=tuple(map(str, answer.get("ReadReplicaIdentifiers") or ())),
            replica_of=str(answer.get("ReplicationSourceIdentifier") or ""),
            automatic_restart_time=answer.get("AutomaticRestartTime"),
        )


@dataclass(frozen=True)
class Instance:
    """A DB instance as DescribeDBInstances shows it. C(cluster) is empty for one that stands alone."""

    arn: str
    name: str
    engine: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    engine_version: str = ""
    cluster: str = ""
    replicas: tuple[str, ...] = ()
    replica_of: str = ""
    multi_az: bool = False
    automatic_restart_time: Optional[datetime] = None

    kind = "instance"

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Instance:
        return cls(
            arn=str(answer["DBInstanceArn"]),
            name=str(answer["DBInstanceIdentifier"]),
            engine=str(answer.get("Engine", "")),
            status=str(answer.get("DBInstanceStatus", "")),
            tags=_tags(answer.get("TagList")),
            engine_version=str(answer.get("EngineVersion") or ""),
            cluster=str(answer.get("DBClusterIdentifier") or ""),
            replicas=tuple(
                str(name)
                for key in ("ReadReplicaDBInstanceIdentifiers", "ReadReplicaDBClusterIdentifiers")
                for name in answer.get(key) or ()
            ),
            replica_of=str(
                answer.get("ReadReplicaSourceDBInstanceIdentifier")
                or answer.get("ReadReplicaSourceDBClusterIdentifier")
                or ""
            ),
            multi_az=bool(answer.get("MultiAZ")),
            automatic_restart_time=answer.get("AutomaticRestartTime"),
        )


Database = Union[Cluster, Instance]


@dataclass(frozen=True)
class Maintenance:
    """A pending maintenance action. C(applies) is when AWS will carry it out, None while nothing says that it will."""

    action: str
    description: str
    applies: Optional[datetime]
    opt_in: str = ""

    @classmethod
    def parse(cls, answer: Mapping[str, Any]) -> Maintenance:
        return cls(
            action=str(answer.get("Action", "")),
            description=str(answer.get("Description") or ""),
            applies=answer.get("CurrentApplyDate"),
            opt_in=str(answer.get("OptInStatus") or ""),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "description": self.description,
            "applies": stamp(self.applies),
            "opt_in": self.opt_in or None,
        }


@dataclass(frozen=True)
class View:
    """What was read of one region. None stands for what was not asked, since no candidate needed it.

    C(global_members): how many clusters each global cluster has. C(blue_green): ARNs of all members of blue/green
    deployments. C(starts): per ARN, whether its last start was C(automatic) or C(manual), where events say so.
    C(unread): why a reading that was needed failed, by operation.
    """

    region: str
    clusters: tuple[Cluster, ...] = ()
    instances: Optional[tuple[Instance, ...]] = None
    global_members: Optional[Mapping[str, int]] = None
    blue_green: Optional[frozenset[str]] = None
    maintenance: Optional[Mapping[str, tuple[Maintenance, ...]]] = None
    starts: Optional[Mapping[str, str]] = None
    unread: Mapping[str, str] = field(default_factory=dict)

    def members_of(self, cluster: Cluster) -> tuple[Instance, ...]:
        """The instances of a cluster, as far as instances were read."""
        return tuple(instance for instance in self.instances or () if instance.cluster == cluster.name)


def stamp(moment: Optional[datetime]) -> Optional[str]:
    """A moment as results show it: ISO 8601 in seconds, with its offset."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _tags(listed: Optional[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in listed or ()}
