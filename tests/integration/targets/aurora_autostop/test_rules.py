# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's rules for RDS, in this process: what plain moto accepts, and what the test bed returns like AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from testbed import aws as rules
from testbed.aws.clock import CLOCK
from testbed.aws.rds_life import edit, set_maintenance, set_settings

REGION = "eu-central-1"
ADMIN = {"MasterUsername": "admin", "MasterUserPassword": "not-a-secret-1"}


def client(region: str = REGION) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client("rds", region, **keys, config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    CLOCK.reset()
    set_settings()
    with mock_aws():
        yield
    CLOCK.reset()
    set_settings()


@pytest.fixture
def ruled() -> Iterator[None]:
    with rules.installed(rules.load()):
        yield


def cluster(name: str = "orders", region: str = REGION, engine: str = "aurora-mysql", **more: Any) -> str:
    response = client(region).create_db_cluster(DBClusterIdentifier=name, Engine=engine, **ADMIN, **more)
    edit(region, name, status="available")
    return str(response["DBCluster"]["DBClusterArn"])


def status(name: str = "orders") -> dict[str, Any]:
    found: dict[str, Any] = client().describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
    return found


def stop(name: str = "orders") -> str:
    return str(client().stop_db_cluster(DBClusterIdentifier=name)["DBCluster"]["Status"])


def global_member() -> None:
    client().create_global_cluster(GlobalClusterIdentifier="world", Engine="aurora-mysql")
    cluster(GlobalClusterIdentifier="world")
    cluster("far", region="us-west-2", GlobalClusterIdentifier="world")


def has_replica() -> None:
    cluster("copy", region="us-west-2", ReplicationSourceIdentifier=cluster())


def is_replica() -> None:
    cluster(ReplicationSourceIdentifier=cluster("source", region="us-west-2"))


def blue() -> None:
    client().create_blue_green_deployment(BlueGreenDeploymentName="bg", Source=cluster())


def serverless() -> None:
    cluster(EngineMode="serverless")


def multi_master() -> None:
    cluster()
    edit(REGION, "orders", engine_mode="multimaster")


def parallel_query() -> None:
    cluster()
    edit(REGION, "orders", engine_mode="parallelquery", engine_version="5.7.mysql_aurora.2.08.1")


def multi_az() -> None:
    cluster(engine="postgres", DBClusterInstanceClass="db.r6g.large")


INELIGIBLE = [global_member, has_replica, is_replica, blue, serverless, multi_master, parallel_query, multi_az]


@pytest.mark.parametrize("make", INELIGIBLE)
def test_plain_moto_stops_what_aws_does_not(make: Callable[[], None]) -> None:
    make()
    stop()
    assert status()["Status"] == "stopped"


@pytest.mark.parametrize("make", INELIGIBLE)
def test_the_bed_refuses_it(ruled: None, make: Callable[[], None]) -> None:
    make()
    with pytest.raises(ClientError, match="cannot be stopped") as caught:
        stop()
    assert caught.value.response["Error"]["Code"] == "InvalidDBClusterStateFault"
    assert status()["Status"] == "available"


def test_the_bed_stops_serverless_v2_and_a_sole_global_member(ruled: None) -> None:
    client().create_global_cluster(GlobalClusterIdentifier="world", Engine="aurora-mysql")
    cluster("sole", GlobalClusterIdentifier="world")
    cluster("v2", ServerlessV2ScalingConfiguration={"MinCapacity": 1, "MaxCapacity": 2})
    assert (stop("sole"), stop("v2")) == ("stopping", "stopping")


def instance(name: str, engine: str = "postgres", **more: Any) -> None:
    client().create_db_instance(
        DBInstanceIdentifier=name,
        Engine=engine,
        DBInstanceClass="db.r6g.large",
        AllocatedStorage=20,
        **ADMIN,
        **more,
    )


def replicated() -> None:
    instance("alone")
    client().create_db_instance_read_replica(DBInstanceIdentifier="copy", SourceDBInstanceIdentifier="alone")


def test_plain_moto_stops_the_source_of_a_replica() -> None:
    replicated()
    stopped = client().stop_db_instance(DBInstanceIdentifier="alone")["DBInstance"]
    assert stopped["DBInstanceStatus"] == "stopped"


@pytest.mark.parametrize("name", ["alone", "copy"])
def test_the_bed_stops_neither_source_nor_replica(ruled: None, name: str) -> None:
    replicated()
    with pytest.raises(ClientError, match="read replica"):
        client().stop_db_instance(DBInstanceIdentifier=name)


def test_the_bed_stops_no_mirrored_sql_server(ruled: None) -> None:
    instance("mirrored", engine="sqlserver-se", MultiAZ=True)
    with pytest.raises(ClientError, match="not eligible for stopping"):
        client().stop_db_instance(DBInstanceIdentifier="mirrored")


# Paging


def test_plain_moto_returns_everything_at_once() -> None:
    for number in range(30):
        cluster(f"c{number}")
    response = client().describe_db_clusters(MaxRecords=20)
    assert (len(response["DBClusters"]), response.get("Marker")) == (30, None)


def test_the_bed_pages_and_knows_its_bounds(ruled: None) -> None:
    for number in range(30):
        cluster(f"c{number}")
    first = client().describe_db_clusters(MaxRecords=20)
    second = client().describe_db_clusters(MaxRecords=20, Marker=first["Marker"])
    names = [cluster["DBClusterIdentifier"] for page in (first, second) for cluster in page["DBClusters"]]
    assert (len(first["DBClusters"]), len(set(names)), "Marker" in second) == (20, 30, False)
    for wrong in ({"MaxRecords": 19}, {"MaxRecords": 101}, {"Marker": "made-up"}):
        with pytest.raises(ClientError, match="Invalid value"):
            client().describe_db_clusters(**wrong)


def test_plain_moto_fails_on_pages_of_blue_green_deployments() -> None:
    with pytest.raises(TypeError):
        client().describe_blue_green_deployments(MaxRecords=100)


def test_the_bed_pages_blue_green_deployments_and_maintenance(ruled: None) -> None:
    assert client().describe_blue_green_deployments(MaxRecords=100)["BlueGreenDeployments"] == []
    arn = cluster()
    set_maintenance(REGION, arn, [{"Action": "os-upgrade", "CurrentApplyDate": "2027-01-01T00:00:00+00:00"}])
    (entry,) = client().describe_pending_maintenance_actions()["PendingMaintenanceActions"]
    assert entry["ResourceIdentifier"] == arn
    assert entry["PendingMaintenanceActionDetails"][0]["CurrentApplyDate"].year == 2027


# Time


def test_plain_moto_stops_at_once_and_for_ever() -> None:
    cluster()
    assert stop() == "available"
    assert status()["Status"] == "stopped"
    assert "AutomaticRestartTime" not in status()


def test_a_cluster_stops_starts_after_seven_days_and_has_its_events(ruled: None) -> None:
    cluster()
    assert stop() == "stopping"
    assert status()["Status"] == "stopping"
    CLOCK.advance(301)
    stopped = status()
    assert stopped["Status"] == "stopped"
    assert 6.9 < (stopped["AutomaticRestartTime"] - CLOCK.now()).total_seconds() / 86400 < 7
    CLOCK.advance(7 * 86400 + 60)
    assert status()["Status"] == "starting"
    CLOCK.advance(600)
    assert status()["Status"] == "available"
    events = client().describe_events(SourceType="db-cluster", Duration=20160)["Events"]
    assert [event["Message"] for event in events] == [
        "DB cluster stopped",
        "DB cluster is being started due to it exceeding the maximum allowed time being stopped.",
        "DB cluster started",
    ]
    assert client().describe_events(SourceType="db-cluster", Duration=5)["Events"] == events[2:]
    CLOCK.advance(15 * 86400)
    assert client().describe_events(SourceType="db-cluster", Duration=20160)["Events"] == []


def test_several_weeks_pass_at_once(ruled: None) -> None:
    """Due changes happen in their order, however late the next reading is."""
    cluster()
    stop()
    CLOCK.advance(30 * 86400)
    assert status()["Status"] == "available"


def test_stopping_and_starting_are_states_of_their_own(ruled: None) -> None:
    cluster()
    stop()
    with pytest.raises(ClientError, match="is in stopping state"):
        stop()
    CLOCK.advance(301)
    client().start_db_cluster(DBClusterIdentifier="orders")
    with pytest.raises(ClientError, match="is in starting state"):
        stop()
    CLOCK.advance(601)
    assert stop() == "stopping"


def test_an_instance_does_so_too(ruled: None) -> None:
    instance("alone")
    client().stop_db_instance(DBInstanceIdentifier="alone")

    def read_status() -> str:
        return str(client().describe_db_instances()["DBInstances"][0]["DBInstanceStatus"])

    assert read_status() == "stopping"
    CLOCK.advance(301)
    assert read_status() == "stopped"
    CLOCK.advance(7 * 86400)
    assert read_status() == "starting"
    CLOCK.advance(601)
    assert read_status() == "available"


# On request


def test_stale_readings(ruled: None) -> None:
    cluster()
    stop()
    set_settings(stale_reads=1)
    assert [status()["Status"] for _number in range(2)] == ["available", "stopping"]


def test_throttling(ruled: None) -> None:
    cluster()
    set_settings(throttled={"orders": 1})
    with pytest.raises(ClientError) as caught:
        stop()
    assert caught.value.response["Error"]["Code"] == "Throttling"
    assert stop() == "stopping"


def test_a_stop_that_fails_comes_back(ruled: None) -> None:
    cluster()
    set_settings(failing_stops=["orders"])
    stop()
    CLOCK.advance(301)
    assert status()["Status"] == "available"
