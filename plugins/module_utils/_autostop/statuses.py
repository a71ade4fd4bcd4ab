# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of every status and every engine of clusters and instances."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING = "running"  # AWS can stop it
OFF = "off"  # stopped or stopping
TRANSITIONAL = "transitional"  # changes to another status without intervention
DELETING = "deleting"  # is being deleted
BROKEN = "broken"  # keeps its status until somebody intervenes


@dataclass(frozen=True)
class StatusMeaning:
    """What a status means for a stop. C(text) completes a sentence that begins with "It is"."""

    group: str
    text: str


# From "Viewing DB cluster status" in the Aurora user guide. The last block is not listed there, but occurs in responses
# for Multi-AZ DB clusters and Limitless. StopDBCluster accepts "available" only (docs/facts/autostop.md#statuses).
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
    "storage-optimization": StatusMeaning(TRANSITIONAL, "in storage optimization, which can take a day"),
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
    "incompatible-parameters": StatusMeaning(BROKEN, "down, because its parameters are incompatible"),
    "upgrade-failed": StatusMeaning(BROKEN, "the remains of an upgrade that failed"),
}

# From "Viewing DB instance status" in the RDS user guide. StopDBInstance accepts "available" only.
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
    "storage-optimization": StatusMeaning(TRANSITIONAL, "in storage optimization, which can take a day"),
    "upgrading": StatusMeaning(TRANSITIONAL, "being upgraded"),
    "delete-precheck": StatusMeaning(DELETING, "being checked before its deletion"),
    "deleting": StatusMeaning(DELETING, "being deleted"),
    "failed": StatusMeaning(BROKEN, "failed"),
    "inaccessible-encryption-credentials": StatusMeaning(BROKEN, "cut off from its KMS key"),
    "inaccessible-encryption-credentials-recoverable": StatusMeaning(
        BROKEN, "off until its KMS key is back and it is started"
    ),
    "incompatible-create": StatusMeaning(BROKEN, "the remains of a creation that failed"),
    "incompatible-network": StatusMeaning(BROKEN, "down, because its VPC does not have what it needs"),
    "incompatible-option-group": StatusMeaning(BROKEN, "stuck with an incompatible option group"),
    "incompatible-parameters": StatusMeaning(BROKEN, "down, because its parameters are incompatible"),
    "incompatible-restore": StatusMeaning(BROKEN, "the remains of a restore that failed"),
    "insufficient-capacity": StatusMeaning(BROKEN, "not created, because AWS has no capacity"),
    "restore-error": StatusMeaning(BROKEN, "the remains of a restore that failed"),
    "storage-full": StatusMeaning(BROKEN, "out of storage"),
    "upgrade-failed": StatusMeaning(BROKEN, "the remains of an upgrade that failed"),
}

AURORA = "aurora"
MULTI_AZ = "multi-az"  # a Multi-AZ DB cluster: three RDS instances
NEPTUNE = "neptune"
DOCUMENTDB = "documentdb"
RDS = "rds"
SQL_SERVER = "sqlserver"
CUSTOM = "custom"
CUSTOM_SQL_SERVER = "custom-sqlserver"

# Engine of DescribeDBClusters, which also returns Neptune and DocumentDB (docs/facts/autostop.md#describedbclusters).
CLUSTER_ENGINES = {
    "aurora": AURORA,  # MySQL 5.6: discontinued, but still returned
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
    """The meaning of a status, also where only the other kind's guide lists it: RDS uses the same names for both.

    An unknown status counts as transitional: it is reported as it is, and nothing is stopped.
    """
    tables = (CLUSTER_STATUSES, INSTANCE_STATUSES)
    for table in tables if kind == "cluster" else reversed(tables):
        if status in table:
            return table[status]
    return StatusMeaning(TRANSITIONAL, f"in status {status!r}, which this version does not know")


def is_known_status(status: str) -> bool:
    return status in CLUSTER_STATUSES or status in INSTANCE_STATUSES
