# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hard cases of stopping Aurora, on real runs of ansible-playbook."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from integration.targets.aurora_autostop.kit import OTHER, REGION, YES, Account, TaskResult
from testbed.own_aws import OwnAws

TAGGED = {f"c-{number:03}" for number in range(0, 130, 10)}


@dataclass(frozen=True)
class Fleet:
    """130 clusters on two pages: the results of check, run, check again and run again, and what they called."""

    results: tuple[TaskResult, ...]
    calls: tuple[Counter[str], ...]
    statuses: dict[str, str]  # afterwards


@pytest.fixture(scope="module")
def fleet(aws: OwnAws, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    account = Account(aws, tmp_path_factory.mktemp("fleet"))
    for number in range(130):
        name = f"c-{number:03}"
        account.cluster(name, YES if name in TAGGED else None)
    played = [(account.run_task(_check=check), account.counted()) for check in (True, False, True, False)]
    results, calls = zip(*played)
    return Fleet(results, calls, account.statuses())


def test_exactly_the_tagged_of_130_on_two_pages_are_stopped(fleet: Fleet) -> None:
    checked, ran, checked_again, again = fleet.results
    assert checked.changed
    assert ran.changed
    assert not checked_again.changed
    assert not again.changed
    assert {name for name, status in fleet.statuses.items() if status == "stopping"} == TAGGED
    for task, status in ((checked, "changed"), (ran, "changed"), (checked_again, "ok"), (again, "ok")):
        assert task.statuses == dict.fromkeys(TAGGED, status)
        assert task.result["totals"]["clusters_checked"] == 130
        assert task.result["totals"]["untagged"] == 117
    ignored_keys = {"verified", "automatic_restart_time"}
    for name in TAGGED:
        expected, actual = checked.get_cluster(name), ran.get_cluster(name)
        assert {k: v for k, v in expected.items() if k not in ignored_keys} == {
            k: v for k, v in actual.items() if k not in ignored_keys
        }
    assert checked.result["diff"] == ran.result["diff"]


def test_the_calls_are_the_stated_ones(fleet: Fleet) -> None:
    checked, ran, checked_again, again = fleet.calls
    assert checked == {
        "DescribeDBClusters": 2,
        "DescribeBlueGreenDeployments": 1,
        "DescribePendingMaintenanceActions": 1,
    }
    assert ran == {
        "DescribeDBClusters": 4,  # observe and verify
        "DescribeBlueGreenDeployments": 1,
        "DescribePendingMaintenanceActions": 1,
        "StopDBCluster": 13,
    }
    assert checked_again == again == {"DescribeDBClusters": 2}


def test_check_mode_and_info_write_nothing(account: Account) -> None:
    account.cluster("orders", YES, members=["orders-1"])
    wrong = account.cluster("billing", members=["billing-1"])
    account.tag(wrong.replace("cluster:billing", "db:billing-1"), YES)
    account.instance("alone", YES)
    options = {"migrate_tags": True, "include_instances": True, "wait": True}
    checked, info = account.run(
        {**options, "_check": True}, {"_info": True, "migrate_tags": True, "include_instances": True}
    )
    assert account.writes() == []
    assert checked.changed
    assert not info.changed
    assert checked.statuses == info.statuses == {"orders": "changed", "billing": "changed", "alone": "changed"}
    assert account.statuses() == {"orders": "available", "billing": "available"}


def test_statuses_that_are_not_available(account: Account) -> None:
    expected = {
        "stopped": "ok",
        "stopping": "ok",
        "starting": "pending",
        "backing-up": "pending",
        "maintenance": "pending",
        "deleting": "skipped",
        "migration-failed": "skipped",
        "frobnicating": "pending",
    }
    for status in expected:
        account.cluster(status, YES)
        account.edit(status, status=status)
    settled = {"exclude": [name for name, status in expected.items() if status == "pending"]}
    lenient, strict, without_pending = account.run({}, {"fail_on_pending": True}, {"fail_on_pending": True, **settled})
    assert lenient.statuses == strict.statuses == expected
    assert not lenient.changed
    assert not lenient.failed
    assert strict.failed
    assert f"starting ({REGION}) pending" in strict.message
    assert not without_pending.failed
    assert account.writes() == []
    assert "frobnicating" in lenient.get_cluster("frobnicating")["reason"]


def test_a_tag_on_the_instance_causes_a_warning_and_moves_with_migrate_tags(account: Account) -> None:
    cluster = account.cluster("orders", members=["orders-1", "orders-2"])
    member = cluster.replace("cluster:orders", "db:orders-1")
    account.tag(member, {**YES, "team": "shop"})

    result = account.run_task()
    assert result.get_cluster("orders")["status"] == "skipped"
    for word in ("orders-1", "cluster orders", "migrate_tags: true"):
        assert word in result.warnings
    assert account.writes() == []

    checked, moved, again = account.run({"migrate_tags": True, "_check": True}, *[{"migrate_tags": True}] * 2)
    assert [step["action"] for step in checked.get_cluster("orders")["steps"]] == [
        "tag_cluster",
        "untag_instance",
        "stop",
    ]
    assert checked.get_cluster("orders")["steps"] == moved.get_cluster("orders")["steps"]
    assert account.tags(cluster) == YES
    assert account.tags(member) == {"team": "shop"}
    assert account.status("orders") == "stopping"
    assert moved.get_cluster("orders")["tag_source"] == "instance orders-1"
    assert not again.changed
    assert account.writes() == ["AddTagsToResource", "RemoveTagsFromResource", "StopDBCluster"]


def test_a_contradicting_cluster_keeps_both_tags(account: Account) -> None:
    cluster = account.cluster("orders", {"autostop": "no"}, members=["orders-1"])
    member = cluster.replace("cluster:orders", "db:orders-1")
    account.tag(member, YES)
    result = account.run_task(migrate_tags=True)
    assert result.get_cluster("orders")["status"] == "skipped"
    assert "orders has autostop=no" in result.warnings
    assert "orders-1 has autostop=yes" in result.warnings
    assert account.writes() == []
    assert (account.tags(cluster), account.tags(member)) == ({"autostop": "no"}, YES)


def test_each_ineligible_kind_has_its_reason_and_a_sole_global_member_is_stopped(account: Account) -> None:
    account.cluster("plain", YES)
    account.cluster("v1", YES, EngineMode="serverless")
    account.cluster("graph", YES, engine="neptune")
    account.cluster("multi-az", YES, engine="postgres", DBClusterInstanceClass="db.r6g.large")
    account.cluster("pq", YES, EngineVersion="5.7.mysql_aurora.2.08.1")
    account.edit("pq", engine_mode="parallelquery")
    source = account.cluster("source", YES)
    account.cluster("replica", YES, region=OTHER, ReplicationSourceIdentifier=source)
    blue = account.cluster("blue", YES)
    rds = account.aws.client("rds")
    rds.create_blue_green_deployment(BlueGreenDeploymentName="bg", Source=blue)
    for name in ("alone", "both"):
        rds.create_global_cluster(GlobalClusterIdentifier=name, Engine="aurora-mysql")
    account.cluster("sole", YES, GlobalClusterIdentifier="alone")
    account.cluster("first", YES, GlobalClusterIdentifier="both")
    account.cluster("second", YES, region=OTHER, GlobalClusterIdentifier="both")

    result = account.run_task(regions=[REGION, OTHER])
    kinds = {
        cluster["name"]: cluster["ineligibility_reason"]
        for cluster in result.result["clusters"]
        if cluster["ineligibility_reason"]
    }
    green = next(name for name in kinds if name.startswith("blue-green"))
    assert kinds == {
        "v1": "serverless_v1",
        "graph": "neptune",
        "multi-az": "multi_az_cluster",
        "pq": "parallel_query",
        "source": "cross_region_replica",
        "replica": "replication_target",
        "blue": "blue_green",
        green: "blue_green",
        "first": "global_member",
        "second": "global_member",
    }
    reasons = [result.get_cluster(name, OTHER if name in ("replica", "second") else REGION)["reason"] for name in kinds]
    assert len(set(reasons)) == len(set(kinds.values()))
    assert result.get_cluster("sole")["status"] == result.get_cluster("plain")["status"] == "changed"
    assert account.status("sole") == "stopping"
    # The plain cluster, the sole member, and the replica: AWS does not document whether it can be stopped, and refuses.
    assert account.counted()["StopDBCluster"] == 3
    assert not result.failed


def test_the_second_of_three_raises_and_the_others_are_stopped(account: Account) -> None:
    for name in ("one", "three", "two"):
        account.cluster(name, YES)
    account.aws.send_command("rds/settings", throttled={"two": -1})
    result = account.run_task(aws_config={"retries": {"mode": "standard", "total_max_attempts": 2}})
    assert result.failed
    assert result.changed
    assert result.statuses == {"one": "changed", "three": "changed", "two": "failed"}
    assert "two" in result.message
    assert "Throttling" in result.get_cluster("two")["reason"]
    assert account.counted()["StopDBCluster"] == 4  # two attempts for the throttled one
    assert account.statuses() == {"one": "stopping", "three": "stopping", "two": "available"}


@pytest.mark.full
def test_throttling_that_passes_is_retried(account: Account) -> None:
    account.cluster("orders", YES)
    account.aws.send_command("rds/settings", throttled={"orders": 2})
    result = account.run_task()
    assert result.get_cluster("orders")["status"] == "changed"
    assert account.counted()["StopDBCluster"] == 3


def test_a_stop_that_loses_the_race(account: Account) -> None:
    """The reading shows available, but at the time of the stop the cluster is stopping, or starting."""
    for name in ("stopping", "starting"):
        account.cluster(name, YES)
        account.aws.client("rds").stop_db_cluster(DBClusterIdentifier=name)
    account.aws.advance(seconds=400)
    account.statuses()
    account.aws.client("rds").start_db_cluster(DBClusterIdentifier="starting")
    account.aws.client("rds").start_db_cluster(DBClusterIdentifier="stopping")
    account.aws.advance(seconds=700)
    account.statuses()
    # Both are available. Now "stopping" stops, and "starting" shows its old status available in a stale reading.
    account.aws.client("rds").stop_db_cluster(DBClusterIdentifier="stopping")
    account.edit("starting", testbed_before=["available", None], status="starting")
    account.aws.send_command("rds/settings", stale_reads=1)
    result = account.run_task()
    assert result.statuses == {"stopping": "ok", "starting": "pending"}
    assert "is in stopping state" in result.get_cluster("stopping")["reason"]
    assert "is in starting state" in result.get_cluster("starting")["reason"]
    assert not result.changed
    assert not result.failed


def test_waiting_takes_no_stale_reading_for_the_truth(account: Account) -> None:
    account.cluster("orders", YES)
    account.aws.send_command("rds/settings", stop_seconds=4)
    result = account.run_task(wait=True, wait_delay=1, wait_timeout=30)
    assert result.get_cluster("orders")["status_after"] == "stopped"
    assert result.get_cluster("orders")["verified"] is True
    assert result.get_cluster("orders")["automatic_restart_time"]
    calls = account.counted()
    assert 4 <= calls["DescribeDBClusters"] <= 8
    assert account.run_task(wait=True).changed is False


def test_a_cluster_that_comes_back_has_failed(account: Account) -> None:
    account.cluster("orders", YES)
    account.cluster("billing", YES)
    account.aws.send_command("rds/settings", stop_seconds=2, failing_stops=["orders"])
    result = account.run_task(wait=True, wait_delay=1, wait_timeout=30)
    assert result.failed
    assert result.changed
    assert result.statuses == {"orders": "failed", "billing": "changed"}
    assert "available" in result.get_cluster("orders")["reason"]


def test_a_wait_that_ends_too_early_reports_the_observed_status(account: Account) -> None:
    account.cluster("orders", YES)
    result = account.run_task(wait=True, wait_delay=1, wait_timeout=2)
    assert result.failed
    assert result.changed
    assert result.get_cluster("orders")["status_after"] == "stopping"
    assert "within 2 seconds" in result.message


def test_a_denied_region_is_its_own_result(account: Account) -> None:
    account.cluster("orders", YES)
    account.cluster("far", YES, region=OTHER)
    account.aws.deny(f"rds:*@{OTHER}")
    result = account.run_task(regions=[REGION, OTHER])
    assert result.failed
    assert result.changed
    assert result.statuses == {"orders": "changed"}
    assert {region["name"]: region["status"] for region in result.result["regions"]} == {
        REGION: "changed",
        OTHER: "failed",
    }
    assert OTHER in result.message
    assert "rds:DescribeDBClusters" in result.message
    assert account.status("orders") == "stopping"


@pytest.mark.full
def test_regions_all_lists_the_regions_of_the_account(account: Account) -> None:
    account.cluster("orders", YES)
    account.cluster("far", YES, region=OTHER)
    result = account.run_task(regions=["all"])
    assert result.statuses == {"orders": "changed", "far": "changed"}
    calls = account.counted()
    assert calls["DescribeRegions"] == 1
    assert calls["DescribeDBClusters"] == len(result.result["regions"]) + 2


def test_tag_mismatches_are_reported_and_not_acted_on(account: Account) -> None:
    for name, tags in {
        "capital": {"autostop": "Yes"},
        "word": {"autostop": "true"},
        "blank": {"autostop": " yes"},
        "key": {"AutoStop": "yes"},
        "no": {"autostop": "no"},
    }.items():
        account.cluster(name, tags)
    result = account.run_task()
    assert account.writes() == []
    mismatched = {cluster["name"] for cluster in result.result["clusters"] if cluster["tag_mismatch"]}
    assert mismatched == {"capital", "word", "blank", "key"}
    assert result.get_cluster("no")["status"] == "skipped"
    assert "'Yes'" in result.warnings
    assert result.result["totals"]["tag_mismatches"] == 4


def test_a_week_passes(account: Account) -> None:
    """Stopped, started by AWS after seven days, and stopped again by the next daily run; a weekly one misses it."""
    account.cluster("orders", YES)
    assert account.run_task().changed
    account.aws.advance(seconds=400)
    stopped = account.run_task()
    assert stopped.get_cluster("orders")["status_before"] == "stopped"
    assert stopped.get_cluster("orders")["automatic_restart_time"]

    account.aws.advance(days=7, seconds=-200)  # what a weekly run would read
    weekly = account.run_task()
    assert weekly.get_cluster("orders")["status"] in ("ok", "pending")
    account.aws.advance(seconds=1000)
    assert account.status("orders") == "available"

    result = account.run_task(sweep_policy="auto_started_only")
    assert result.get_cluster("orders")["start_type"] == "automatic"
    assert "AWS started it after seven days" in result.get_cluster("orders")["reason"]
    assert account.status("orders") == "stopping"


def test_what_a_person_started_stays_where_only_automatic_starts_are_swept(account: Account) -> None:
    account.cluster("orders", YES)
    account.run_task()
    account.aws.advance(seconds=400)
    account.statuses()
    account.aws.client("rds").start_db_cluster(DBClusterIdentifier="orders")
    account.aws.advance(seconds=700)
    assert account.status("orders") == "available"
    result, everything = account.run({"sweep_policy": "auto_started_only"}, {})
    assert result.get_cluster("orders")["status"] == "skipped"
    assert result.get_cluster("orders")["start_type"] == "manual"
    assert everything.get_cluster("orders")["status"] == "changed"


def test_holds(account: Account) -> None:
    account.cluster("later", {**YES, "autostop-until": "2999-01-01"})
    account.cluster("past", {**YES, "autostop-until": "2020-01-01T10:00:00+02:00"})
    account.cluster("garbled", {**YES, "autostop-until": "next friday"})
    result = account.run_task()
    assert result.statuses == {"later": "skipped", "past": "changed", "garbled": "skipped"}
    assert result.get_cluster("later")["held_until"] == "2999-01-02T00:00:00Z"
    assert "next friday" in result.warnings
    assert account.statuses() == {"later": "available", "past": "stopping", "garbled": "available"}


def test_pending_maintenance_is_reported_and_can_run_first(account: Account) -> None:
    arn = account.cluster("orders", YES, members=["orders-1"])
    account.aws.send_command(
        "rds/maintenance",
        region=REGION,
        arn=arn.replace("cluster:orders", "db:orders-1"),
        actions=[{"Action": "system-update", "Description": "New OS", "CurrentApplyDate": "2020-01-01T00:00:00Z"}],
    )
    first, then = account.run({"finish_maintenance": True}, {})
    assert first.get_cluster("orders")["status"] == "pending"
    assert "system-update" in first.get_cluster("orders")["reason"]
    assert then.get_cluster("orders")["status"] == "changed"
    assert then.get_cluster("orders")["maintenance"][0]["action"] == "system-update"


def test_instances_by_their_own_rules(account: Account) -> None:
    account.instance("alone", YES)
    account.instance("source", YES)
    account.aws.client("rds").create_db_instance_read_replica(
        DBInstanceIdentifier="replica", SourceDBInstanceIdentifier="source", Tags=[{"Key": "autostop", "Value": "yes"}]
    )
    account.instance("mirrored", YES, engine="sqlserver-se", MultiAZ=True)
    no_instances, with_, again = account.run({}, *[{"include_instances": True}] * 2)
    assert no_instances.statuses == {}
    kinds = {
        cluster["name"]: (cluster["status"], cluster["ineligibility_reason"]) for cluster in with_.result["clusters"]
    }
    assert kinds == {
        "alone": ("changed", None),
        "source": ("skipped", "read_replica_source"),
        "replica": ("skipped", "read_replica"),
        "mirrored": ("skipped", "sqlserver_multi_az"),
    }
    assert not again.changed
    assert account.writes() == ["StopDBInstance"]


def test_names_narrow_and_exclude(account: Account) -> None:
    arn = account.cluster("orders", YES)
    account.cluster("billing", YES)
    account.cluster("plain")
    named, excluded = account.run(
        {"clusters": [arn, "plain", "nobody"], "_check": True}, {"exclude": ["Billing"], "_check": True}
    )
    assert named.statuses == {"orders": "changed", "plain": "skipped"}
    assert "nobody" in named.warnings
    assert excluded.statuses == {"orders": "changed", "billing": "skipped"}


def test_regions_win_over_region(account: Account) -> None:
    """A region of an action group, for example, reaches every module of a play."""
    account.cluster("orders", YES)
    both, empty, mixed = account.run(
        {"regions": [REGION], "region": OTHER}, {"regions": []}, {"regions": ["all", REGION]}
    )
    assert both.statuses == {"orders": "changed"}
    assert [region["name"] for region in both.result["regions"]] == [REGION]
    assert "regions is empty" in empty.message
    assert "'all' cannot be combined" in mixed.message
    for refused in (empty, mixed):
        assert set(both.result) - set(refused.result) <= {"diff"}, "the same keys"


def test_a_boolean_is_no_value_of_a_tag(account: Account) -> None:
    """YAML makes true of an unquoted yes. As text it would be True, which selects nothing."""
    account.cluster("orders", YES)
    plain, info = account.run({"tag_values": [True]}, {"tag_values": [True], "_info": True})
    for refused in (plain, info):
        assert refused.failed
        assert "boolean true" in refused.message
    assert account.aws.calls() == []


def test_an_instance_that_is_named_has_its_cluster_in_the_reason(account: Account) -> None:
    account.cluster("orders", YES, members=["orders-1"])
    result = account.run_task(clusters=["orders-1"], _env=None)
    assert result.get_cluster("orders-1")["ineligibility_reason"] == "aurora_member"
    assert "cluster orders" in result.warnings
    assert account.writes() == []


def test_a_stop_that_is_quicker_than_the_first_reading(account: Account) -> None:
    account.cluster("orders", YES)
    account.aws.send_command("rds/settings", stop_seconds=0)
    result = account.run_task(wait=True, wait_delay=1, wait_timeout=30)
    assert not result.failed
    assert result.get_cluster("orders")["status_after"] == "stopped"
    assert "was running" in result.get_cluster("orders")["reason"]


def test_a_reading_that_is_denied_leaves_the_word_to_the_service(account: Account) -> None:
    blue = account.cluster("blue", YES)
    account.aws.client("rds").create_blue_green_deployment(BlueGreenDeploymentName="bg", Source=blue)
    account.cluster("orders", YES)
    account.aws.deny("rds:DescribeBlueGreenDeployments")
    result = account.run_task(clusters=["blue", "orders"])
    assert "rds:DescribeBlueGreenDeployments" in result.warnings
    assert result.get_cluster("orders")["status"] == "changed"
    assert result.get_cluster("blue")["status"] == "skipped"
    assert result.get_cluster("blue")["ineligibility_reason"] == "blue_green"
    assert "AWS returned" in result.get_cluster("blue")["reason"]
