# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every documented status and engine, copied here from AWS's guides, so that no line can get lost."""

from __future__ import annotations

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import plan, statuses
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import (
    AuroraCluster,
    AutostopOptions,
    DbInstance,
    RegionState,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import NOW, cluster, instance

# Aurora user guide, "Viewing DB cluster status".
CLUSTERS = {
    "available": "changed",
    "backing-up": "pending",
    "backtracking": "pending",
    "cloning-failed": "skipped",
    "creating": "pending",
    "deleting": "skipped",
    "failing-over": "pending",
    "inaccessible-encryption-credentials": "skipped",
    "inaccessible-encryption-credentials-recoverable": "skipped",
    "maintenance": "pending",
    "migrating": "pending",
    "migration-failed": "skipped",
    "modifying": "pending",
    "preparing-data-migration": "pending",
    "promoting": "pending",
    "renaming": "pending",
    "resetting-master-credentials": "pending",
    "starting": "pending",
    "stopped": "ok",
    "stopping": "ok",
    "storage-optimization": "pending",
    "update-iam-db-auth": "pending",
    "upgrading": "pending",
}
# Not in that list, but in responses for Multi-AZ DB clusters and Limitless.
OTHER_CLUSTERS = {
    "configuring-enhanced-monitoring": "pending",
    "configuring-iam-database-auth": "pending",
    "configuring-log-exports": "pending",
    "failed": "skipped",
    "incompatible-parameters": "skipped",
    "rebooting": "pending",
    "scaling-capacity": "pending",
    "scaling-compute": "pending",
    "scaling-storage": "pending",
    "storage-config-upgrade": "pending",
    "upgrade-failed": "skipped",
}
# RDS user guide, "Viewing DB instance status".
INSTANCES = {
    "available": "changed",
    "backing-up": "pending",
    "configuring-activity-stream": "pending",
    "configuring-associated-roles": "pending",
    "configuring-enhanced-monitoring": "pending",
    "configuring-iam-database-auth": "pending",
    "configuring-log-exports": "pending",
    "converting-to-vpc": "pending",
    "creating": "pending",
    "delete-precheck": "skipped",
    "deleting": "skipped",
    "failed": "skipped",
    "inaccessible-encryption-credentials": "skipped",
    "inaccessible-encryption-credentials-recoverable": "skipped",
    "incompatible-create": "skipped",
    "incompatible-network": "skipped",
    "incompatible-option-group": "skipped",
    "incompatible-parameters": "skipped",
    "incompatible-restore": "skipped",
    "insufficient-capacity": "skipped",
    "maintenance": "pending",
    "modifying": "pending",
    "moving-to-vpc": "pending",
    "rebooting": "pending",
    "renaming": "pending",
    "resetting-master-credentials": "pending",
    "restore-error": "skipped",
    "starting": "pending",
    "stopped": "ok",
    "stopping": "ok",
    "storage-config-upgrade": "pending",
    "storage-full": "skipped",
    "storage-initialization": "pending",
    "storage-optimization": "pending",
    "upgrade-failed": "skipped",
    "upgrading": "pending",
}
ENGINES = {
    "aurora": "changed",
    "aurora-mysql": "changed",
    "aurora-postgresql": "changed",
    "mysql": "multi_az_cluster",
    "postgres": "multi_az_cluster",
    "neptune": "neptune",
    "docdb": "documentdb",
    "dsql-of-tomorrow": "unknown_engine",
}
# CreateDBInstance, parameter Engine.
STOPPABLE = (
    *("mariadb", "mysql", "postgres", "oracle-ee", "oracle-ee-cdb", "oracle-se2", "oracle-se2-cdb", "db2-ae", "db2-se"),
    *("db2-ce", "sqlserver-dev-ee"),
    *("sqlserver-ee", "sqlserver-se", "sqlserver-ex", "sqlserver-web", "custom-sqlserver-ee", "custom-sqlserver-se"),
    *("custom-sqlserver-web", "custom-sqlserver-dev"),
)
OTHERS = {
    "aurora": "aurora_member",
    "custom-oracle-ee": "rds_custom",
    "custom-oracle-ee-cdb": "rds_custom",
    "custom-oracle-se2": "rds_custom",
    "custom-oracle-se2-cdb": "rds_custom",
    "aurora-mysql": "aurora_member",
    "aurora-postgresql": "aurora_member",
    "neptune": "cluster_member",
    "docdb": "cluster_member",
    "dsql-of-tomorrow": "unknown_engine",
}


def of(*databases: object) -> plan.AutostopDecision:
    view = RegionState(
        "eu-central-1",
        tuple(database for database in databases if isinstance(database, AuroraCluster)),
        tuple(database for database in databases if isinstance(database, DbInstance)),
    )
    (decision,) = plan.make_plan(AutostopOptions(include_instances=True), view, NOW)
    return decision


def test_no_line_stands_without_a_test() -> None:
    unheard_of = {"dsql-of-tomorrow"}
    assert {*CLUSTERS, *OTHER_CLUSTERS} == set(statuses.CLUSTER_STATUSES)
    assert set(INSTANCES) == set(statuses.INSTANCE_STATUSES)
    assert set(ENGINES) - unheard_of == set(statuses.CLUSTER_ENGINES)
    assert {*STOPPABLE, *OTHERS} - unheard_of == set(statuses.INSTANCE_ENGINES)


@pytest.mark.parametrize(("status", "expected"), [*CLUSTERS.items(), *OTHER_CLUSTERS.items()])
def test_every_documented_cluster_status_has_its_line(status: str, expected: str) -> None:
    assert status in statuses.CLUSTER_STATUSES
    decision = of(cluster(status=status))
    assert decision.status == expected
    assert decision.has_stop_step is (status == "available")
    assert statuses.CLUSTER_STATUSES[status].text in decision.reason


@pytest.mark.parametrize(("status", "expected"), INSTANCES.items())
def test_every_documented_instance_status_has_its_line(status: str, expected: str) -> None:
    assert status in statuses.INSTANCE_STATUSES
    decision = of(instance(status=status))
    assert decision.status == expected
    assert decision.has_stop_step is (status == "available")


@pytest.mark.parametrize("table", [statuses.CLUSTER_STATUSES, statuses.INSTANCE_STATUSES])
def test_only_available_can_be_stopped(table: dict[str, statuses.StatusMeaning]) -> None:
    assert [status for status, line in table.items() if line.group == statuses.RUNNING] == ["available"]
    assert [status for status, line in table.items() if line.group == statuses.OFF] == ["stopped", "stopping"]


@pytest.mark.parametrize("status", ["hibernating", "", "Available"])
def test_an_unknown_status_is_reported_as_it_is(status: str) -> None:
    decision = of(cluster(status=status))
    assert (decision.status, decision.steps) == ("pending", ())
    assert repr(status) in decision.reason


@pytest.mark.parametrize(("engine", "expected"), ENGINES.items())
def test_every_cluster_engine_has_its_line(engine: str, expected: str) -> None:
    decision = of(cluster(engine=engine))
    assert (decision.ineligibility_reason or decision.status) == expected


@pytest.mark.parametrize("engine", STOPPABLE)
def test_instances_of_every_rds_engine_are_stopped(engine: str) -> None:
    assert of(instance(engine=engine)).status == "changed"


@pytest.mark.parametrize(("engine", "expected"), OTHERS.items())
def test_instances_of_other_engines_are_not(engine: str, expected: str) -> None:
    decision = of(instance(engine=engine))
    assert (decision.status, decision.ineligibility_reason) == ("skipped", expected)
