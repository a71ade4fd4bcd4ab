# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import eligibility, plan, tags
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import (
    AuroraCluster,
    AutostopOptions,
    DbInstance,
    MaintenanceAction,
    RegionState,
)
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.progress import StopProgress
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import (
    NOW,
    PREFIX,
    YES,
    cluster,
    instance,
    member,
)

ELSEWHERE = "arn:aws:rds:us-west-2:123456789012:cluster:copy"


def view(*databases: Any, **more: Any) -> RegionState:
    instances = tuple(database for database in databases if isinstance(database, DbInstance))
    clusters = tuple(database for database in databases if isinstance(database, AuroraCluster))
    return RegionState("eu-central-1", clusters, instances or None, **more)


def decided(
    *databases: Any, options: Optional[AutostopOptions] = None, **more: Any
) -> dict[str, plan.AutostopDecision]:
    found = plan.make_plan(options or AutostopOptions(), view(*databases, **more), NOW)
    return {decision.database.name: decision for decision in found}


# Kinds that are never stopped


@pytest.mark.parametrize(
    ("changes", "state_fields", "kind"),
    [
        ({"engine_mode": "serverless"}, {}, "serverless_v1"),
        ({"engine_mode": "multimaster"}, {}, "multi_master"),
        ({"engine_mode": "parallelquery", "engine_version": "5.6.10a"}, {}, "parallel_query"),
        ({"engine_mode": "parallelquery", "engine_version": "5.6.mysql_aurora.1.22.2"}, {}, "parallel_query"),
        ({"engine_mode": "parallelquery", "engine_version": "5.6.mysql_aurora.1.23.0"}, {}, None),
        ({"engine_mode": "parallelquery", "engine_version": "5.7.mysql_aurora.2.08.4"}, {}, "parallel_query"),
        ({"engine_mode": "parallelquery", "engine_version": "5.7.mysql_aurora.2.09.0"}, {}, None),
        ({"global_cluster": "world"}, {"global_members": {"world": 2}}, "global_member"),
        ({"global_cluster": "world"}, {"global_members": {"world": 1}}, None),
        ({"global_cluster": "world"}, {}, None),  # not read: AWS decides
        ({"replicas": (ELSEWHERE,)}, {}, "cross_region_replica"),
        ({"replicas": (f"{PREFIX}:cluster:copy",)}, {}, None),  # not documented: AWS decides
        ({"replication_source": ELSEWHERE}, {}, None),
        ({"replication_source": ELSEWHERE, "replicas": (ELSEWHERE,)}, {}, "cross_region_replica"),
        ({}, {"blue_green": frozenset({f"{PREFIX}:cluster:orders"})}, "blue_green"),
    ],
)
def test_kinds_of_clusters_that_are_never_stopped(
    changes: dict[str, Any], state_fields: dict[str, Any], kind: Optional[str]
) -> None:
    decision = decided(cluster(**changes), **state_fields)["orders"]
    assert decision.ineligibility_reason == kind
    assert decision.status == ("skipped" if kind else "changed")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"replication_source": "source"}, "read_replica"),
        ({"replicas": ("copy",)}, "read_replica_source"),
        ({"engine": "sqlserver-se", "multi_az": True}, "sqlserver_multi_az"),
        ({"engine": "sqlserver-se"}, None),
        ({"engine": "custom-sqlserver-ee", "multi_az": True}, "sqlserver_multi_az"),
        ({"engine": "postgres", "multi_az": True}, None),
        ({"engine": "mysql", "cluster": "three"}, "cluster_member"),
    ],
)
def test_kinds_of_instances_that_are_never_stopped(changes: dict[str, Any], kind: Optional[str]) -> None:
    decision = decided(instance(**changes), options=AutostopOptions(include_instances=True))["alone"]
    assert decision.ineligibility_reason == kind


def test_each_ineligible_kind_has_its_own_text_and_a_remediation() -> None:
    assert len({reason.text for reason in eligibility.INELIGIBILITY_REASONS.values()}) == len(
        eligibility.INELIGIBILITY_REASONS
    )
    assert all(reason.remediation.endswith(".") for reason in eligibility.INELIGIBILITY_REASONS.values())


def test_an_ineligible_cluster_that_is_off_needs_no_excuse() -> None:
    assert decided(cluster(engine_mode="serverless", status="stopped"))["orders"].status == "ok"


# Names and tags


def test_untagged_clusters_are_not_even_mentioned() -> None:
    assert decided(cluster(tags={"team": "shop"})) == {}


def test_names_narrow_by_identifier_or_arn_and_tags_still_decide() -> None:
    options = AutostopOptions(clusters=("ORDERS", f"{PREFIX}:cluster:plain"))
    found = decided(cluster(), cluster("plain", tags={}), cluster("billing"), options=options)
    assert {name: decision.status for name, decision in found.items()} == {"orders": "changed", "plain": "skipped"}


def test_an_arn_of_another_region_names_nothing_here() -> None:
    arn = f"{PREFIX}:cluster:orders".replace("eu-central-1", "us-west-2")
    assert decided(cluster(), options=AutostopOptions(clusters=(arn,))) == {}
    assert decided(cluster(), options=AutostopOptions(exclude=(arn,)))["orders"].has_stop_step


def test_excluded_wins_over_everything() -> None:
    options = AutostopOptions(clusters=("orders",), exclude=("orders",), migrate_tags=True)
    decision = decided(cluster(tags={}, members=("m",)), member("m", "orders"), options=options)["orders"]
    assert (decision.status, decision.steps) == ("skipped", ())


# Holds


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("2026-11-24T12:00:01Z", True),
        ("2026-11-24T12:00:00Z", False),
        ("2026-11-24T13:00:00+02:00", False),
        ("2026-11-24T11:30-02:00", True),
        ("2026-11-24", True),  # until the end of that day
        ("2026-11-23", False),
        ("20261124T1500", True),
        ("2026-13-01", True),  # malformed: holds
        ("24.11.2020", True),
        ("", True),
    ],
)
def test_a_hold_keeps_a_cluster_running(value: str, held: bool) -> None:
    decision = decided(cluster(tags={**YES, "autostop-until": value}))["orders"]
    assert decision.has_stop_step is not held
    assert bool(decision.warnings) is (tags.parse_timestamp(value) is None)


def test_a_hold_by_another_spelling_holds_and_warns() -> None:
    decision = decided(cluster(tags={**YES, "Autostop_Until": "2030-01-01"}))["orders"]
    assert decision.status == "skipped"
    assert "rename it" in decision.warnings[0]


def test_a_held_cluster_that_starts_is_held_and_not_pending() -> None:
    tagged = {**YES, "autostop-until": "2030-01-01"}
    assert decided(cluster(tags=tagged, status="starting"))["orders"].status == "skipped"


# Tag mismatches


@pytest.mark.parametrize(
    ("tagged", "kind"),
    [
        ({"autostop": "yes"}, tags.MATCH),
        ({"autostop": "Yes"}, tags.MISMATCH),
        ({"autostop": " yes"}, tags.MISMATCH),
        ({"autostop": "true"}, tags.MISMATCH),
        ({"autostop": "no"}, tags.OTHER),
        ({"autostop": ""}, tags.OTHER),
        ({"AutoStop": "yes"}, tags.MISMATCH),
        ({"auto-stop": "yes"}, tags.MISMATCH),
        ({"auto-stop": "no"}, tags.NONE),
        ({"autostop-until": "2030-01-01"}, tags.NONE),
        ({}, tags.NONE),
    ],
)
def test_tags_match_exactly_and_mismatches_are_found(tagged: dict[str, str], kind: str) -> None:
    assert tags.match_tags(tagged, AutostopOptions()).kind == kind
    assert any(decision.has_stop_step for decision in decided(cluster(tags=tagged)).values()) is (kind == tags.MATCH)


# Tags on members


def test_a_tag_on_a_member_is_named_with_its_cluster() -> None:
    decision = decided(cluster(tags={}, members=("m",)), member("m", "orders"))["orders"]
    assert decision.steps == ()
    (warning,) = decision.warnings
    assert "instance m of cluster orders" in warning
    assert "migrate_tags: true" in warning


def test_a_tag_moves_with_its_hold() -> None:
    """Without the hold tag, the migration would stop a held database."""
    held = {**YES, "autostop-until": "2030-01-01"}
    found = decided(
        cluster(tags={}, members=("m",)), member("m", "orders", tags=held), options=AutostopOptions(migrate_tags=True)
    )["orders"]
    assert [step.action for step in found.steps] == ["tag_cluster", "untag_instance"]
    assert found.steps[0].after == {"tags": held}
    assert found.steps[1].before == {"tags": held}
    assert "held running" in found.reason


def test_a_hold_alone_moves_as_well_and_holds() -> None:
    """The cluster has the tag, and the hold tag is on an instance, where it has no effect."""
    held = {"autostop-until": "2030-01-01"}
    found = decided(
        cluster(members=("m",)),
        member("m", "orders", tags={**held, "team": "shop"}),
        options=AutostopOptions(migrate_tags=True),
    )["orders"]
    assert [step.action for step in found.steps] == ["tag_cluster", "untag_instance"]
    assert found.steps[0].after == found.steps[1].before == {"tags": held}
    assert "held running" in found.reason


def test_a_hold_alone_stays_where_the_cluster_is_not_tagged() -> None:
    held = {"autostop-until": "2030-01-01"}
    databases = cluster(tags={}, members=("m",)), member("m", "orders", tags=held)
    assert decided(*databases, options=AutostopOptions(migrate_tags=True)) == {}


@pytest.mark.parametrize(
    ("on_cluster", "on_members"),
    [
        ({"autostop": "no"}, [YES]),
        ({"autostop": "Yes"}, [YES]),
        ({}, [YES, {"autostop": "no"}]),
        ({"autostop-until": "2030-01-01"}, [{**YES, "autostop-until": "2031-01-01"}]),
        ({**YES, "autostop-until": "2030-01-01"}, [{"autostop-until": "2031-01-01"}]),
    ],
)
def test_contradictions_move_nothing(on_cluster: dict[str, str], on_members: list[dict[str, str]]) -> None:
    names = [f"m{number}" for number in range(len(on_members))]
    members = [member(name, "orders", tags=tagged) for name, tagged in zip(names, on_members)]
    found = decided(
        cluster(tags=on_cluster, members=tuple(names)), *members, options=AutostopOptions(migrate_tags=True)
    )["orders"]
    assert (found.status, found.steps) == ("skipped", ())
    assert "contradict" in found.reason
    assert "m0 has" in found.reason


def test_a_tag_that_the_cluster_has_too_is_only_removed_from_the_member() -> None:
    found = decided(cluster(members=("m",)), member("m", "orders"), options=AutostopOptions(migrate_tags=True))[
        "orders"
    ]
    assert [step.action for step in found.steps] == ["untag_instance", "stop"]


def test_members_are_reported_with_their_cluster_only() -> None:
    found = decided(cluster(members=("m",)), member("m", "orders"), options=AutostopOptions(include_instances=True))
    assert list(found) == ["orders"]


# Which readings are needed


@pytest.mark.parametrize(
    ("databases", "options", "expected"),
    [
        ([cluster()], AutostopOptions(), False),
        ([cluster(members=("m",))], AutostopOptions(), False),
        ([cluster(tags={})], AutostopOptions(), False),
        ([cluster(tags={}, members=("m",))], AutostopOptions(), True),
        ([cluster(tags={}, members=("m",), engine="neptune")], AutostopOptions(), False),
        ([cluster(tags={}, members=("m",))], AutostopOptions(exclude=("orders",)), False),
        ([cluster(tags={}, members=("m",))], AutostopOptions(clusters=("other",)), False),
        ([cluster(members=("m",))], AutostopOptions(migrate_tags=True), True),
        ([], AutostopOptions(include_instances=True), True),
    ],
)
def test_instances_are_read_only_where_a_tag_may_be_on_an_instance(
    databases: list[AuroraCluster], options: AutostopOptions, expected: bool
) -> None:
    assert plan.needs_instances(options, databases) is expected


def test_nothing_more_is_read_where_nothing_would_be_stopped() -> None:
    everything = [
        cluster("off", status="stopped"),
        cluster("v1", engine_mode="serverless", global_cluster="world"),
        cluster("plain", tags={}, global_cluster="world"),
        cluster("held", tags={**YES, "autostop-until": "2030-01-01"}),
    ]
    strict = AutostopOptions(sweep_policy="auto_started_only", finish_maintenance=True)
    assert plan.find_missing_readings(strict, view(*everything), NOW) == plan.MissingReadings()


def test_what_a_candidate_needs_is_read_once() -> None:
    strict = AutostopOptions(sweep_policy="auto_started_only", include_instances=True)
    first = view(cluster(global_cluster="world"), instance())
    assert plan.find_missing_readings(strict, first, NOW) == plan.MissingReadings(
        True, True, True, ("cluster", "instance")
    )
    assert plan.find_missing_readings(AutostopOptions(), view(cluster()), NOW) == plan.MissingReadings(
        False, True, True, ()
    )
    read = view(cluster(), blue_green=frozenset(), maintenance={}, start_types={})
    assert plan.find_missing_readings(strict, read, NOW) == plan.MissingReadings()


# Policies


@pytest.mark.parametrize(
    ("starts", "status"), [({}, "skipped"), ({"orders": "manual"}, "skipped"), ({"orders": "automatic"}, "changed")]
)
def test_only_what_aws_started_is_swept(starts: dict[str, str], status: str) -> None:
    by_arn = {f"{PREFIX}:cluster:{name}": how for name, how in starts.items()}
    options = AutostopOptions(sweep_policy="auto_started_only")
    assert decided(cluster(), options=options, start_types=by_arn)["orders"].status == status


def test_what_could_not_be_read_is_not_taken_for_permission() -> None:
    read_errors = {"DescribeEvents": "denied", "DescribePendingMaintenanceActions": "denied"}
    for options in (AutostopOptions(sweep_policy="auto_started_only"), AutostopOptions(finish_maintenance=True)):
        assert decided(cluster(), options=options, read_errors=read_errors)["orders"].status == "failed"
    assert decided(cluster(), read_errors=read_errors)["orders"].status == "changed"


@pytest.mark.parametrize(
    ("applies", "status"),
    [
        (None, "changed"),  # no date
        (NOW - timedelta(days=1), "pending"),
        (NOW + timedelta(days=7), "pending"),
        (NOW + timedelta(days=8), "changed"),  # it runs at a later start
    ],
)
def test_maintenance_that_is_due_runs_first(applies: Optional[datetime], status: str) -> None:
    maintenance = {f"{PREFIX}:db:m": (MaintenanceAction("system-update", "", applies),)}
    aurora = cluster(members=("m",))
    assert (
        decided(aurora, options=AutostopOptions(finish_maintenance=True), maintenance=maintenance)["orders"].status
        == status
    )
    reported = decided(aurora, maintenance=maintenance)["orders"]
    assert reported.status == "changed"
    assert reported.maintenance[0].action == "system-update"


# Waiting


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        (["available"], None),
        (["available", "stopping"], None),
        (["available", "stopping", "stopped"], "stopped"),
        (["stopped"], None),  # a reading from before the last start
        (["stopped", "available", "stopping", "stopping", "stopped"], "stopped"),
        (["stopped", "available", "stopped"], None),
        (["stopped", "stopped"], "stopped"),  # a stop that is quicker than the first reading
        (["available", "stopped", "stopped"], "stopped"),
        (["stopping", "available"], "returned"),
        (["stopping", "starting"], "returned"),
    ],
)
def test_stopped_counts_after_stopping_or_twice_in_a_row(readings: list[str], expected: Optional[str]) -> None:
    progress = StopProgress(NOW)
    for status in readings:
        assert progress.result is None
        progress = progress.add_status(status, None, NOW)
    assert progress.result == expected


def test_a_restart_time_of_this_stop_proves_it_too() -> None:
    assert StopProgress(NOW).add_status("stopped", NOW + timedelta(days=7), NOW).result == "stopped"
    stale = StopProgress(NOW).add_status("stopped", NOW + timedelta(days=1), NOW)
    assert stale.result is None
    assert stale.add_status("stopped", NOW + timedelta(days=1), NOW).result is None, "a restart time of another stop"


@pytest.mark.parametrize(
    ("response", "readings", "expected"),
    [
        ("stopping", ["stopped"], "stopped"),
        ("stopped", ["stopped"], "stopped"),
        ("available", ["stopped"], None),
        ("stopping", ["available"], None),  # a stale reading: only a reading that shows stopping can be followed by it
        ("stopping", ["available", "stopping", "available"], "returned"),
    ],
)
def test_the_response_to_the_stop_is_later_than_the_stop(
    response: str, readings: list[str], expected: Optional[str]
) -> None:
    progress = StopProgress(NOW, response)
    for status in readings:
        progress = progress.add_status(status, None, NOW)
    assert progress.result == expected


def test_after_an_hour_no_reading_is_stale() -> None:
    assert StopProgress(NOW).add_status("stopped", None, NOW + timedelta(minutes=61)).result == "stopped"


# Responses of AWS


def test_clusters_are_read_from_an_answer_with_and_without_its_optional_fields() -> None:
    restart = datetime(2026, 12, 1, tzinfo=timezone.utc)
    full = AuroraCluster.parse(
        {
            "DBClusterArn": f"{PREFIX}:cluster:orders",
            "DBClusterIdentifier": "orders",
            "Engine": "aurora-mysql",
            "EngineVersion": "8.0",
            "Status": "stopped",
            "TagList": [{"Key": "autostop", "Value": "yes"}, {"Key": "empty"}],
            "DBClusterMembers": [{"DBInstanceIdentifier": "m"}],
            "GlobalClusterIdentifier": "world",
            "ReadReplicaIdentifiers": [ELSEWHERE],
            "AutomaticRestartTime": restart,
        }
    )
    assert full == cluster(
        status="stopped",
        engine_version="8.0",
        tags={"autostop": "yes", "empty": ""},
        members=("m",),
        global_cluster="world",
        replicas=(ELSEWHERE,),
        automatic_restart_time=restart,
    )
    bare = AuroraCluster.parse({"DBClusterArn": f"{PREFIX}:cluster:orders", "DBClusterIdentifier": "orders"})
    assert bare == cluster(engine="", status="", tags={})
    assert full.get_member_arn("m") == f"{PREFIX}:db:m"
