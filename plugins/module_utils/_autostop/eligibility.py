# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWS never stops, each kind with its own reason and with what would mend it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from . import statuses
from .model import AuroraCluster, DbInstance, RegionState


@dataclass(frozen=True)
class IneligibilityReason:
    """Why a database cannot be stopped. C(code) names the kind for programs, C(mend) says what would help."""

    code: str
    text: str
    remediation: str

    @property
    def message(self) -> str:
        return f"{self.text}. {self.remediation}"


# The limits of StopDBCluster and StopDBInstance as the Aurora and RDS user guides list them (facts: autostop).
INELIGIBILITY_REASONS = {
    one.code: one
    for one in (
        IneligibilityReason("neptune", "This is a Neptune cluster, not Aurora", "Stop it with Neptune's own tools."),
        IneligibilityReason(
            "documentdb", "This is a DocumentDB cluster, not Aurora", "Stop it with DocumentDB's own tools."
        ),
        IneligibilityReason(
            "multi_az_cluster",
            "AWS does not stop Multi-AZ DB clusters",
            "Take the tag off, or move the data to Aurora or to a DB instance.",
        ),
        IneligibilityReason(
            "unknown_engine", "This version does not know the engine", "Take the tag off, or update the collection."
        ),
        IneligibilityReason(
            "serverless_v1",
            "AWS does not stop Aurora Serverless v1",
            "Let it pause by itself (its auto-pause), or move it to Serverless v2, which can be stopped.",
        ),
        IneligibilityReason(
            "multi_master", "AWS does not stop multi-master clusters", "Move it to a provisioned cluster."
        ),
        IneligibilityReason(
            "parallel_query",
            "AWS does not stop clusters with parallel query on Aurora MySQL below 1.23 and 2.09",
            "Upgrade the engine.",
        ),
        IneligibilityReason(
            "global_member",
            "AWS does not stop members of a global database, unless one is its only member",
            "Remove the other members, or take this one out of the global database.",
        ),
        IneligibilityReason(
            "cross_region_replica",
            "AWS does not stop clusters that have a replica in another region",
            "Promote or delete that replica.",
        ),
        IneligibilityReason(
            "replication_source", "AWS does not stop clusters that replicate to another", "Promote or delete that one."
        ),
        IneligibilityReason(
            "replication_target",
            "AWS does not stop clusters that replicate from another",
            "Promote or delete this one.",
        ),
        IneligibilityReason(
            "blue_green",
            "AWS does not stop members of a blue/green deployment",
            "Switch over and delete the deployment.",
        ),
        IneligibilityReason(
            "aurora_member",
            "AWS does not stop instances of an Aurora cluster one by one",
            "Put the tag on the cluster; migrate_tags: true does it.",
        ),
        IneligibilityReason(
            "cluster_member", "AWS does not stop instances of a DB cluster one by one", "Take the tag off."
        ),
        IneligibilityReason("read_replica", "AWS does not stop read replicas", "Promote or delete it."),
        IneligibilityReason(
            "read_replica_source", "AWS does not stop instances that have read replicas", "Promote or delete those."
        ),
        IneligibilityReason("sqlserver_multi_az", "AWS does not stop SQL Server with Multi-AZ", "Make it Single-AZ."),
        IneligibilityReason("rds_custom", "AWS does not stop RDS Custom for Oracle", "Take the tag off."),
        IneligibilityReason(
            "limitless", "AWS does not stop this Limitless database now", "See its shard group's state."
        ),
        IneligibilityReason(
            "not_eligible", "AWS says that it cannot be stopped", "Take the tag off, or mend what AWS names."
        ),
    )
}


def get_cluster_ineligibility_reason(cluster: AuroraCluster, current: RegionState) -> Optional[IneligibilityReason]:
    """What keeps a cluster from being stopped, as far as the readings say. Where they say nothing, AWS will."""
    engine = statuses.CLUSTER_ENGINES.get(cluster.engine)
    elsewhere = {statuses.NEPTUNE: "neptune", statuses.DOCUMENTDB: "documentdb", statuses.MULTI_AZ: "multi_az_cluster"}
    code = None
    if engine != statuses.AURORA:
        code = elsewhere.get(engine, "unknown_engine") if engine else "unknown_engine"
    elif cluster.engine_mode == "serverless":
        code = "serverless_v1"
    elif cluster.engine_mode == "multimaster":
        code = "multi_master"
    elif cluster.engine_mode == "parallelquery" and _is_version_below(cluster.engine_version, {1: 23, 2: 9}):
        code = "parallel_query"
    elif cluster.global_cluster and (current.global_members or {}).get(cluster.global_cluster, 0) > 1:
        code = "global_member"
    elif cluster.replication_source:
        code = "replication_target"
    elif any(_parse_region(replica) not in ("", cluster.region) for replica in cluster.replicas):
        code = "cross_region_replica"
    elif cluster.replicas:
        code = "replication_source"
    elif cluster.arn in (current.blue_green or ()):
        code = "blue_green"
    return INELIGIBILITY_REASONS[code] if code else None


def get_instance_ineligibility_reason(instance: DbInstance, current: RegionState) -> Optional[IneligibilityReason]:
    """The same for a DB instance that is not Aurora's."""
    engine = statuses.INSTANCE_ENGINES.get(instance.engine)
    sql_server = engine in (statuses.SQL_SERVER, statuses.CUSTOM_SQL_SERVER)
    code = None
    if engine is None:
        code = "unknown_engine"
    elif engine == statuses.AURORA:
        code = "aurora_member"
    elif instance.cluster or engine in (statuses.NEPTUNE, statuses.DOCUMENTDB):
        code = "cluster_member"
    elif engine == statuses.CUSTOM:
        code = "rds_custom"
    elif instance.replication_source:
        code = "read_replica"
    elif instance.replicas:
        code = "read_replica_source"
    elif sql_server and instance.multi_az:
        code = "sqlserver_multi_az"
    elif instance.arn in (current.blue_green or ()):
        code = "blue_green"
    return INELIGIBILITY_REASONS[code] if code else None


def _parse_region(replica: str) -> str:
    """The region of a replica that is named by its ARN; empty for one named by identifier, which is of this region."""
    return replica.split(":")[3] if replica.startswith("arn:") else ""


def _is_version_below(version: str, lowest: dict[int, int]) -> bool:
    """Whether an Aurora MySQL version (5.6.10a, 5.7.mysql_aurora.2.08.1) is below the lowest of its major version."""
    found = re.search(r"aurora\.(\d+)\.(\d+)", version)
    major, minor = (int(found.group(1)), int(found.group(2))) if found else (1, 0)
    return major in lowest and minor < lowest[major]
