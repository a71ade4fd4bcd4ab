# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every status of clusters and instances, and every engine, in one table each."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING = "running"  # can be stopped
AT_REST = "at rest"  # is off, or on its way there
PASSING = "passing"  # becomes something else by itself
LEAVING = "leaving"  # is going away for good
STUCK = "stuck"  # stays as it is until somebody does something


@dataclass(frozen=True)
class Line:
    """What a status means for stopping, in words that complete "is ..."."""

    group: str
    words: str


# "Viewing DB cluster status" in the Aurora user guide; the last block is not listed there, but occurs in answers for
# Multi-AZ DB clusters and Limitless. StopDBCluster takes "available" only (facts: autostop).
CLUSTER_STATUSES = {
    "available": Line(RUNNING, "running"),
    "stopped": Line(AT_REST, "stopped already"),
    "stopping": Line(AT_REST, "being stopped already"),
    "starting": Line(PASSING, "starting"),
    "backing-up": Line(PASSING, "being backed up"),
    "backtracking": Line(PASSING, "being backtracked"),
    "creating": Line(PASSING, "being created"),
    "failing-over": Line(PASSING, "failing over"),
    "maintenance": Line(PASSING, "under maintenance"),
    "migrating": Line(PASSING, "being restored from a snapshot"),
    "modifying": Line(PASSING, "being modified"),
    "preparing-data-migration": Line(PASSING, "being prepared for a data migration"),
    "promoting": Line(PASSING, "being promoted"),
    "renaming": Line(PASSING, "being renamed"),
    "resetting-master-credentials": Line(PASSING, "getting new master credentials"),
    "storage-optimization": Line(PASSING, "having its storage optimized, which can take a day"),
    "update-iam-db-auth": Line(PASSING, "having its IAM authentication updated"),
    "upgrading": Line(PASSING, "being upgraded"),
    "deleting": Line(LEAVING, "being deleted"),
    "cloning-failed": Line(STUCK, "the remains of a clone that failed"),
    "migration-failed": Line(STUCK, "the remains of a migration that failed"),
    "inaccessible-encryption-credentials": Line(STUCK, "cut off from its KMS key"),
    "inaccessible-encryption-credentials-recoverable": Line(STUCK, "off until its KMS key is back and it is started"),
    "configuring-enhanced-monitoring": Line(PASSING, "having its monitoring configured"),
    "configuring-iam-database-auth": Line(PASSING, "having its IAM authentication configured"),
    "configuring-log-exports": Line(PASSING, "having its log exports configured"),
    "rebooting": Line(PASSING, "rebooting"),
    "scaling-capacity": Line(PASSING, "being scaled"),
    "scaling-compute": Line(PASSING, "being scaled"),
    "scaling-storage": Line(PASSING, "being scaled"),
    "storage-config-upgrade": Line(PASSING, "having its storage upgraded"),
    "failed": Line(STUCK, "failed"),
    "incompatible-parameters": Line(STUCK, "down, since its parameters do not fit"),
    "upgrade-failed": Line(STUCK, "the remains of an upgrade that failed"),
}

# "Viewing DB instance status" in the RDS user guide. StopDBInstance takes "available" only.
INSTANCE_STATUSES = {
    "available": Line(RUNNING, "running"),
    "stopped": Line(AT_REST, "stopped already"),
    "stopping": Line(AT_REST, "being stopped already"),
    "starting": Line(PASSING, "starting"),
    "backing-up": Line(PASSING, "being backed up"),
    "configuring-activity-stream": Line(PASSING, "having its activity stream configured"),
    "configuring-associated-roles": Line(PASSING, "having its roles configured"),
    "configuring-enhanced-monitoring": Line(PASSING, "having its monitoring configured"),
    "configuring-iam-database-auth": Line(PASSING, "having its IAM authentication configured"),
    "configuring-log-exports": Line(PASSING, "having its log exports configured"),
    "converting-to-vpc": Line(PASSING, "being moved into a VPC"),
    "creating": Line(PASSING, "being created"),
    "maintenance": Line(PASSING, "under maintenance"),
    "modifying": Line(PASSING, "being modified"),
    "moving-to-vpc": Line(PASSING, "being moved to another VPC"),
    "rebooting": Line(PASSING, "rebooting"),
    "renaming": Line(PASSING, "being renamed"),
    "resetting-master-credentials": Line(PASSING, "getting new master credentials"),
    "storage-config-upgrade": Line(PASSING, "having its storage upgraded"),
    "storage-initialization": Line(PASSING, "loading its storage from a snapshot"),
    "storage-optimization": Line(PASSING, "having its storage optimized, which can take a day"),
    "upgrading": Line(PASSING, "being upgraded"),
    "delete-precheck": Line(LEAVING, "being checked before its deletion"),
    "deleting": Line(LEAVING, "being deleted"),
    "failed": Line(STUCK, "failed"),
    "inaccessible-encryption-credentials": Line(STUCK, "cut off from its KMS key"),
    "inaccessible-encryption-credentials-recoverable": Line(STUCK, "off until its KMS key is back and it is started"),
    "incompatible-create": Line(STUCK, "the remains of a creation that failed"),
    "incompatible-network": Line(STUCK, "down, since its VPC lacks what it needs"),
    "incompatible-option-group": Line(STUCK, "stuck with an option group that does not fit"),
    "incompatible-parameters": Line(STUCK, "down, since its parameters do not fit"),
    "incompatible-restore": Line(STUCK, "the remains of a restore that failed"),
    "insufficient-capacity": Line(STUCK, "not created, for lack of capacity"),
    "restore-error": Line(STUCK, "the remains of a restore that failed"),
    "storage-full": Line(STUCK, "out of storage"),
    "upgrade-failed": Line(STUCK, "the remains of an upgrade that failed"),
}

AURORA = "aurora"
MULTI_AZ = "multi-az"  # a DB cluster of three RDS instances
NEPTUNE = "neptune"
DOCUMENTDB = "documentdb"
RDS = "rds"
SQL_SERVER = "sqlserver"
CUSTOM = "custom"
CUSTOM_SQL_SERVER = "custom-sqlserver"

# Engine of DescribeDBClusters, which also returns Neptune and DocumentDB (facts: autostop).
CLUSTER_ENGINES = {
    "aurora": AURORA,  # MySQL 5.6; gone, but still an answer
    "aurora-mysql": AURORA,
    "aurora-postgresql": AURORA,
    "mysql": MULTI_AZ,
    "postgres": MULTI_AZ,
    "neptune": NEPTUNE,
    "docdb": DOCUMENTDB,
}

# Engine of DescribeDBInstances.
INSTANCE_ENGINES = {
    "aurora": AURORA,
    "aurora-mysql": AURORA,
    "aurora-postgresql": AURORA,
    "neptune": NEPTUNE,
    "docdb": DOCUMENTDB,
    "mariadb": RDS,
    "mysql": RDS,
    "postgres": RDS,
    "oracle-ee": RDS,
    "oracle-ee-cdb": RDS,
    "oracle-se2": RDS,
    "oracle-se2-cdb": RDS,
    "db2-ae": RDS,
    "db2-ce": RDS,
    "db2-se": RDS,
    "sqlserver-ee": SQL_SERVER,
    "sqlserver-dev-ee": SQL_SERVER,
    "sqlserver-se": SQL_SERVER,
    "sqlserver-ex": SQL_SERVER,
    "sqlserver-web": SQL_SERVER,
    "custom-oracle-ee": CUSTOM,
    "custom-oracle-ee-cdb": CUSTOM,
    "custom-oracle-se2": CUSTOM,
    "custom-oracle-se2-cdb": CUSTOM,
    "custom-sqlserver-ee": CUSTOM_SQL_SERVER,
    "custom-sqlserver-se": CUSTOM_SQL_SERVER,
    "custom-sqlserver-web": CUSTOM_SQL_SERVER,
    "custom-sqlserver-dev": CUSTOM_SQL_SERVER,
}


def line_of(kind: str, status: str) -> Line:
    """A status that no table has passes for one that passes: it is reported as it is, and nothing is done about it."""
    table = CLUSTER_STATUSES if kind == "cluster" else INSTANCE_STATUSES
    return table.get(status, Line(PASSING, f"in status {status!r}, which this version does not know"))
