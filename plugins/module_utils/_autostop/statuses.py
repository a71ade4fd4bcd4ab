# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every status of clusters and instances, and every engine, in one table each."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING = "running"  # can be stopped
OFF = "at rest"  # is off, or on its way there
TRANSITIONAL = "passing"  # becomes something else by itself
DELETING = "leaving"  # is going away for good
BROKEN = "stuck"  # stays as it is until somebody does something


@dataclass(frozen=True)
class StatusMeaning:
    """What a status means for stopping, in words that complete "is ..."."""

    group: str
    text: str


# "Viewing DB cluster status" in the Aurora user guide; the last block is not listed there, but occurs in answers for
# Multi-AZ DB clusters and Limitless. StopDBCluster takes "available" only (facts: autostop).
CLUSTER_STATUSES = {
    "available": StatusMeaning(RUNNING, "running"),
    "stopped": StatusMeaning(OFF, "stopped already"),
    "stopping": StatusMeaning(OFF, "being stopped already"),
    "starting": StatusMeaning(TRANSITIONAL, "starting"),
    "backing-up": StatusMeaning(TRANSITIONAL, "being backed up"),
    "backtracking": StatusMeaning(TRANSITIONAL, "being backtracked"),
    "creating": StatusMeaning(TRANSITIONAL, "being created"),
    "failing-over": StatusMeaning(TRANSITIONAL, "failing over"),
    "maintenance": StatusMeaning(TRANSITIONAL, "under maintenance"),
    "migrating": StatusMeaning(TRANSITIONAL, "being restored from a snapshot"),
    "modifying": StatusMeaning(TRANSITIONAL, "being modified"),
    "preparing-data-migration": StatusMeaning(TRANSITIONAL, "being prepared for a data migration"),
    "promoting": StatusMeaning(TRANSITIONAL, "being promoted"),
    "renaming": StatusMeaning(TRANSITIONAL, "being renamed"),
    "resetting-master-credentials": StatusMeaning(TRANSITIONAL, "getting new master credentials"),
    "storage-optimization": StatusMeaning(TRANSITIONAL, "having its storage optimized, which can take a day"),
    "update-iam-db-auth": StatusMeaning(TRANSITIONAL, "having its IAM authentication updated"),
    "upgrading": StatusMeaning(TRANSITIONAL, "being upgraded"),
    "deleting": StatusMeaning(DELETING, "being deleted"),
    "cloning-failed": StatusMeaning(BROKEN, "the remains of a clone that failed"),
    "migration-failed": StatusMeaning(BROKEN, "the remains of a migration that failed"),
    "inaccessible-encryption-credentials": StatusMeaning(BROKEN, "cut off from its KMS key"),
    "inaccessible-encryption-credentials-recoverable": StatusMeaning(
        BROKEN, "off until its KMS key is back and it is started"
    ),
    "configuring-enhanced-monitoring": StatusMeaning(TRANSITIONAL, "having its monitoring configured"),
    "configuring-iam-database-auth": StatusMeaning(TRANSITIONAL, "having its IAM authentication configured"),
    "configuring-log-exports": StatusMeaning(TRANSITIONAL, "having its log exports configured"),
    "rebooting": StatusMeaning(TRANSITIONAL, "rebooting"),
    "scaling-capacity": StatusMeaning(TRANSITIONAL, "being scaled"),
    "scaling-compute": StatusMeaning(TRANSITIONAL, "being scaled"),
    "scaling-storage": StatusMeaning(TRANSITIONAL, "being scaled"),
    "storage-config-upgrade": StatusMeaning(TRANSITIONAL, "having its storage upgraded"),
    "failed": StatusMeaning(BROKEN, "failed"),
    "incompatible-parameters": StatusMeaning(BROKEN, "down, since its parameters do not fit"),
    "upgrade-failed": StatusMeaning(BROKEN, "the remains of an upgrade that failed"),
}

# "Viewing DB instance status" in the RDS user guide. StopDBInstance takes "available" only.
INSTANCE_STATUSES = {
    "available": StatusMeaning(RUNNING, "running"),
    "stopped": StatusMeaning(OFF, "stopped already"),
    "stopping": StatusMeaning(OFF, "being stopped already"),
    "starting": StatusMeaning(TRANSITIONAL, "starting"),
    "backing-up": StatusMeaning(TRANSITIONAL, "being backed up"),
    "configuring-activity-stream": StatusMeaning(TRANSITIONAL, "having its activity stream configured"),
    "configuring-associated-roles": StatusMeaning(TRANSITIONAL, "having its roles configured"),
    "configuring-enhanced-monitoring": StatusMeaning(TRANSITIONAL, "having its monitoring configured"),
    "configuring-iam-database-auth": StatusMeaning(TRANSITIONAL, "having its IAM authentication configured"),
    "configuring-log-exports": StatusMeaning(TRANSITIONAL, "having its log exports configured"),
    "converting-to-vpc": StatusMeaning(TRANSITIONAL, "being moved into a VPC"),
    "creating": StatusMeaning(TRANSITIONAL, "being created"),
    "maintenance": StatusMeaning(TRANSITIONAL, "under maintenance"),
    "modifying": StatusMeaning(TRANSITIONAL, "being modified"),
    "moving-to-vpc": StatusMeaning(TRANSITIONAL, "being moved to another VPC"),
    "rebooting": StatusMeaning(TRANSITIONAL, "rebooting"),
    "renaming": StatusMeaning(TRANSITIONAL, "being renamed"),
    "resetting-master-credentials": StatusMeaning(TRANSITIONAL, "getting new master credentials"),
    "storage-config-upgrade": StatusMeaning(TRANSITIONAL, "having its storage upgraded"),
    "storage-initialization": StatusMeaning(TRANSITIONAL, "loading its storage from a snapshot"),
    "storage-optimization": StatusMeaning(TRANSITIONAL, "having its storage optimized, which can take a day"),
    "upgrading": StatusMeaning(TRANSITIONAL, "being upgraded"),
    "delete-precheck": StatusMeaning(DELETING, "being checked before its deletion"),
    "deleting": StatusMeaning(DELETING, "being deleted"),
    "failed": StatusMeaning(BROKEN, "failed"),
    "inaccessible-encryption-credentials": StatusMeaning(BROKEN, "cut off from its KMS key"),
    "inaccessible-encryption-credentials-recoverable": StatusMeaning(
        BROKEN, "off until its KMS key is back and it is started"
    ),
    "incompatible-create": StatusMeaning(BROKEN, "the remains of a creation that failed"),
    "incompatible-network": StatusMeaning(BROKEN, "down, since its VPC lacks what it needs"),
    "incompatible-option-group": StatusMeaning(BROKEN, "stuck with an option group that does not fit"),
    "incompatible-parameters": StatusMeaning(BROKEN, "down, since its parameters do not fit"),
    "incompatible-restore": StatusMeaning(BROKEN, "the remains of a restore that failed"),
    "insufficient-capacity": StatusMeaning(BROKEN, "not created, for lack of capacity"),
    "restore-error": StatusMeaning(BROKEN, "the remains of a restore that failed"),
    "storage-full": StatusMeaning(BROKEN, "out of storage"),
    "upgrade-failed": StatusMeaning(BROKEN, "the remains of an upgrade that failed"),
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


def get_status_meaning(kind: str, status: str) -> StatusMeaning:
    """A status that no table has passes for one that passes: it is reported as it is, and nothing is done about it."""
    table = CLUSTER_STATUSES if kind == "cluster" else INSTANCE_STATUSES
    return table.get(status, StatusMeaning(TRANSITIONAL, f"in status {status!r}, which this version does not know"))
