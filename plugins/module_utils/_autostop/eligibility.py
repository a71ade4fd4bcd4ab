# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eligibility: which databases AWS never stops, each kind with its reason and its remediation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from . import statuses
from .model import AuroraCluster, DbInstance, RegionState


@dataclass(frozen=True)
class IneligibilityReason:
    """Why AWS does not stop a database. C(code) names the kind for programs; C(remediation) is for the operator."""

    code: str
    text: str
    remediation: str

    @property
    def message(self) -> str:
        return f"{self.text}. {self.remediation}"


# The limits of StopDBCluster and StopDBInstance, from the Aurora and RDS user guides
# (docs/facts/autostop.md#databases-that-aws-cannot-stop).
INELIGIBILITY_REASONS = {
    reason.code: reason
    for reason in (
        IneligibilityReason(
            "neptune", "This is a Neptune cluster, not an Aurora cluster", "Stop it with Neptune's own tools."
        ),
        IneligibilityReason(
            "documentdb", "This is a DocumentDB cluster, not an Aurora cluster", "Stop it with DocumentDB's own tools."
        ),
        IneligibilityReason(
            "multi_az_cluster",
            "AWS does not stop a Multi-AZ DB cluster",
            "Remove the tag, or move the data to Aurora or to a DB instance.",
        ),
        IneligibilityReason(
            "unknown_engine",
            "This version of the collection does not know the engine",
            "Remove the tag, or update the collection.",
        ),
        IneligibilityReason(
            "serverless_v1",
            "AWS does not stop an Aurora Serverless v1 cluster",
            "Use its auto-pause, or migrate it to Serverless v2, which AWS can stop.",
        ),
        IneligibilityReason(
            "multi_master", "AWS does not stop a multi-master cluster", "Move the data to a provisioned cluster."
        ),
        IneligibilityReason(
            "parallel_query",
            "AWS does not stop a cluster with parallel query on Aurora MySQL below 1.23 and 2.09",
            "Upgrade the engine.",
        ),
        IneligibilityReason(
            "global_member",
            "AWS does not stop a member of a global database that has other members",
            "Remove the other members, or remove this cluster from the global database.",
        ),
        IneligibilityReason(
            "cross_region_replica",
            "AWS does not stop a cluster that has a cross-Region replica",
            "Promote or delete the replica.",
        ),
        IneligibilityReason(
            "replication_source",
            "AWS refuses to stop this cluster, because another database replicates it",
            "Promote or delete the other database.",
        ),
        IneligibilityReason(
            "replication_target",
            "AWS refuses to stop this cluster, because it replicates another database",
            "Promote or delete this cluster.",
        ),
        IneligibilityReason(
            "blue_green",
            "AWS does not stop a member of a blue/green deployment",
            "Switch over, and delete the deployment.",
        ),
        IneligibilityReason(
            "aurora_member",
            "AWS does not stop a single instance of an Aurora cluster",
            "Put the tag on the cluster. migrate_tags: true moves it.",
        ),
        IneligibilityReason("cluster_member", "AWS does not stop a single instance of a DB cluster", "Remove the tag."),
        IneligibilityReason("read_replica", "AWS does not stop a read replica", "Promote or delete the replica."),
        IneligibilityReason(
            "read_replica_source",
            "AWS does not stop an instance that has read replicas",
            "Promote or delete the replicas.",
        ),
        IneligibilityReason(
            "sqlserver_multi_az", "AWS does not stop SQL Server with Multi-AZ", "Convert the instance to Single-AZ."
        ),
        IneligibilityReason("rds_custom", "AWS does not stop RDS Custom for Oracle", "Remove the tag."),
        IneligibilityReason(
            "limitless", "AWS does not stop this Limitless database now", "Check the status of its shard group."
        ),
        IneligibilityReason(
            "not_eligible", "AWS reports that the database cannot be stopped", "Remove the tag, or fix what AWS names."
        ),
    )
}


def get_cluster_ineligibility_reason(cluster: AuroraCluster, current: RegionState) -> Optional[IneligibilityReason]:
    """Why AWS does not stop this cluster, as far as the readings show. AWS itself refuses the rest."""
    engine = statuses.CLUSTER_ENGINES.get(cluster.engine)
    other_services = {
        statuses.NEPTUNE: "neptune",
        statuses.DOCUMENTDB: "documentdb",
        statuses.MULTI_AZ: "multi_az_cluster",
    }
    code = None
    if engine != statuses.AURORA:
        code = other_services.get(engine, "unknown_engine") if engine else "unknown_engine"
    elif cluster.engine_mode == "serverless":
        code = "serverless_v1"
    elif cluster.engine_mode == "multimaster":
        code = "multi_master"
    elif cluster.engine_mode == "parallelquery" and _is_version_below(cluster.engine_version, {1: 23, 2: 9}):
        code = "parallel_query"
    elif cluster.global_cluster and (current.global_members or {}).get(cluster.global_cluster, 0) > 1:
        code = "global_member"
    elif any(_parse_region(replica) not in ("", cluster.region) for replica in cluster.replicas):
        code = "cross_region_replica"
    elif cluster.arn in (current.blue_green or ()):
        code = "blue_green"
    return INELIGIBILITY_REASONS[code] if code else None


def get_doubt(cluster: AuroraCluster) -> Optional[str]:
    """Why AWS may refuse to stop this cluster, where its guides do not settle it: the stop is tried.

    The guides bar only clusters that have a replica in another Region
    (docs/facts/autostop.md#databases-that-aws-cannot-stop).
    """
    if cluster.replication_source:
        kind = "It replicates another database"
    elif cluster.replicas:
        kind = "Another database in its region replicates it"
    elif cluster.scalability_type == "limitless":
        kind = "It is an Aurora Limitless Database"
    else:
        return None
    return f"{kind}: AWS does not document whether it can be stopped, and decides when the stop is requested."


def get_instance_ineligibility_reason(instance: DbInstance, current: RegionState) -> Optional[IneligibilityReason]:
    """Why AWS does not stop this DB instance, as far as the readings show."""
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
    """The region of a replica's ARN. A plain identifier has none: the replica is in the cluster's own region."""
    return replica.split(":")[3] if replica.startswith("arn:") else ""


def _is_version_below(version: str, lowest: dict[int, int]) -> bool:
    """Whether an Aurora MySQL version (5.6.10a, 5.7.mysql_aurora.2.08.1) is below the minimum of its major version."""
    match = re.search(r"aurora\.(\d+)\.(\d+)", version)
    major, minor = (int(match.group(1)), int(match.group(2))) if match else (1, 0)
    return major in lowest and minor < lowest[major]
