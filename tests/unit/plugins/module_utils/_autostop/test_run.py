# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A region from end to end against a scripted client, and a clock that does not wait."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import fleet, plan, rds, report, run
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions, RegionState
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError
from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock as RealClock
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import (
    NOW,
    PREFIX,
    cluster,
    member,
)

REGION = "eu-central-1"


class RefusedError(Exception):
    """As botocore's ClientError."""

    def __init__(self, code: str, message: str = "no") -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": message}}


@pytest.fixture(autouse=True)
def errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError,))


class Rds:
    """A scripted client. C(history): the statuses that successive listings show. The last status stays."""

    meta = SimpleNamespace(service_model=SimpleNamespace(service_name="rds", signing_name="rds"))

    def __init__(self, **history: list[str]) -> None:
        self.history = history
        self.listings = 0
        self.calls: Counter[str] = Counter()
        self.refusals: dict[str, Exception] = {}
        self.broken: Optional[Callable[[int], Optional[Exception]]] = None

    def describe_db_clusters(self, **arguments: Any) -> dict[str, Any]:
        self.calls["DescribeDBClusters"] += 1
        assert arguments["MaxRecords"] == 100
        number, self.listings = self.listings, self.listings + 1
        if self.broken and (error := self.broken(number)):
            raise error
        return {"DBClusters": [self._cluster(name, number) for name in self.history]}

    def _cluster(self, name: str, number: int) -> dict[str, Any]:
        statuses = self.history[name]
        return {
            "DBClusterArn": f"{PREFIX}:cluster:{name}",
            "DBClusterIdentifier": name,
            "Engine": "aurora-postgresql",
            "Status": statuses[min(number, len(statuses) - 1)],
            "TagList": [{"Key": "autostop", "Value": "yes"}],
        }

    def describe_blue_green_deployments(self, **arguments: Any) -> dict[str, Any]:
        return {"BlueGreenDeployments": []}

    def describe_pending_maintenance_actions(self, **arguments: Any) -> dict[str, Any]:
        return {"PendingMaintenanceActions": []}

    def stop_db_cluster(self, DBClusterIdentifier: str) -> dict[str, Any]:  # noqa: N803
        self.calls["StopDBCluster"] += 1
        if DBClusterIdentifier in self.refusals:
            raise self.refusals[DBClusterIdentifier]
        return {"DBCluster": {"Status": "available"}}


class Clock(RealClock):
    def __init__(self) -> None:
        self.time = NOW
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


def outcome(client: Any, waiting: Optional[run.WaitOptions] = None, act: bool = True) -> run.RegionOutcome:
    return run.run_region(client, AutostopOptions(wait=bool(waiting)), REGION, Clock(), act, waiting)


def statuses(region_outcome: run.RegionOutcome) -> dict[str, str]:
    return {database_outcome.database.name: database_outcome.status for database_outcome in region_outcome.outcomes}


def test_a_stop_that_fails_does_not_stop_the_others() -> None:
    client = Rds(a=["available", "stopping"], b=["available"], c=["available", "stopping"])
    client.refusals["b"] = RefusedError("InternalFailure", "try later")
    region_outcome = outcome(client)
    result = report.build_result([region_outcome])
    assert statuses(region_outcome) == {"a": "changed", "b": "failed", "c": "changed"}
    assert (result["failed"], result["changed"]) == (True, True)
    assert 'b (eu-central-1) failed: AWS returned InternalFailure: "try later"' in result["msg"]
    assert client.calls == {"DescribeDBClusters": 2, "StopDBCluster": 3}


def test_a_stale_reading_after_the_stop_is_reported_as_not_verified() -> None:
    (database_outcome,) = outcome(Rds(a=["available", "available"])).outcomes
    assert (database_outcome.status, database_outcome.verified) == ("changed", False)
    assert "not verified" in database_outcome.reason


def test_an_unreadable_result_is_reported_as_not_verified() -> None:
    client = Rds(a=["available"])
    client.broken = lambda number: RefusedError("Throttling") if number else None
    (database_outcome,) = outcome(client).outcomes
    assert (database_outcome.status, database_outcome.verified) == ("changed", False)


def test_a_wait_polls_in_bulk_and_survives_a_failed_reading() -> None:
    client = Rds(a=["available", "available", "stopping", "stopping", "stopped"], b=["stopping", "stopped"])
    client.broken = lambda number: RefusedError("Throttling") if number == 3 else None
    region_outcome = outcome(client, run.WaitOptions(600, 30))
    assert statuses(region_outcome) == {"a": "changed", "b": "ok"}
    assert all(database_outcome.verified for database_outcome in region_outcome.outcomes)
    assert client.calls["DescribeDBClusters"] == 5


def test_a_wait_ends_in_time_and_reports_the_observed_statuses() -> None:
    client = Rds(a=["available", "stopping"], b=["available", "stopping", "stopped"])
    region_outcome = outcome(client, run.WaitOptions(100, 30))
    assert statuses(region_outcome) == {"a": "failed", "b": "changed"}
    result = report.build_result([region_outcome])
    assert result["changed"]
    assert "within 100 seconds (observed: stopping)" in result["msg"]


def test_a_database_that_returns_to_available_has_failed() -> None:
    region_outcome = outcome(Rds(a=["available", "stopping", "available"]), run.WaitOptions(600, 30))
    assert statuses(region_outcome) == {"a": "failed"}
    assert report.build_result([region_outcome])["changed"], "AWS accepted the stop"


def test_without_act_only_readings_are_called() -> None:
    client = Rds(a=["available"])
    result = report.build_result([outcome(client, act=False)], diff=True)
    assert result["changed"]
    assert result["diff"][0]["after"] == {"status": "stopping"}
    assert client.calls == {"DescribeDBClusters": 1}


def test_a_region_that_cannot_be_read_is_its_own_failure() -> None:
    client = Rds()
    client.broken = lambda number: RefusedError("AccessDenied", "not authorized")
    result = report.build_result([outcome(client), outcome(Rds(a=["stopped"]))])
    assert result["failed"]
    assert [region["status"] for region in result["regions"]] == ["failed", "ok"]
    assert "Allow rds:DescribeDBClusters" in result["msg"]


def test_a_marker_that_comes_back_is_no_endless_loop() -> None:
    class Round:
        def describe_db_clusters(self, **arguments: Any) -> dict[str, Any]:
            return {"DBClusters": [], "Marker": "again"}

    with pytest.raises(ApiError, match="RepeatedToken"):
        rds.list_clusters(Round())


def test_the_items_of_two_regions_add_up() -> None:
    result = report.build_result(
        [outcome(Rds(a=["available", "stopping"])), outcome(Rds(a=["starting"]))], fail_on_pending=True
    )
    assert result["failed"]
    assert result["totals"]["changed"] == result["totals"]["pending"] == 1
    assert result["msg"].startswith("1 changed, 0 off already, 1 pending, 0 skipped, 0 failed in 2 regions.")


class Tagging(Rds):
    """Accepts or rejects tags."""

    meta = Rds.meta

    def __init__(self, refuses: str) -> None:
        super().__init__()
        self.refuses = refuses

    def add_tags_to_resource(self, **arguments: Any) -> None:
        self._take("AddTagsToResource")

    def remove_tags_from_resource(self, **arguments: Any) -> None:
        self._take("RemoveTagsFromResource")

    def _take(self, operation: str) -> None:
        self.calls[operation] += 1
        if operation == self.refuses:
            raise RefusedError("AccessDenied")


@pytest.mark.parametrize(
    ("refuses", "calls"),
    [
        ("AddTagsToResource", ["AddTagsToResource"]),  # else the tag would be lost
        ("RemoveTagsFromResource", ["AddTagsToResource", "RemoveTagsFromResource", "StopDBCluster"]),
    ],
)
def test_a_tag_that_cannot_move_is_not_lost(refuses: str, calls: list[str]) -> None:
    state = RegionState(REGION, (cluster(tags={}, members=("m",)),), (member("m", "orders"),))
    (decision,) = plan.make_plan(AutostopOptions(migrate_tags=True), state, NOW)
    client = Tagging(refuses)
    database_outcome = run.apply(client, decision)
    assert database_outcome.status == "failed"
    assert f"Allow rds:{refuses}" in database_outcome.reason
    assert list(client.calls) == calls
    assert database_outcome.has_changes is (len(calls) > 1)


# Which regions


def params(**given: Any) -> dict[str, Any]:
    return {"regions": None, "region": None, **given}


class Ec2:
    def describe_regions(self) -> dict[str, Any]:
        return {"Regions": [{"RegionName": "us-west-2"}, {"RegionName": REGION}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [REGION]),
        ({"regions": ["us-west-2", "us-west-2"]}, ["us-west-2"]),
        ({"regions": ["us-west-2"], "region": "eu-west-1"}, ["us-west-2"]),  # a region of an action group, for example
        ({"regions": ["all"]}, [REGION, "us-west-2"]),
        ({"regions": ["us-gov-west-1", "eusc-de-east-1"]}, ["us-gov-west-1", "eusc-de-east-1"]),
    ],
)
def test_regions(given: dict[str, Any], expected: list[str]) -> None:
    assert fleet.resolve_regions(params(**given), REGION, lambda *_arguments: Ec2()) == expected


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"regions": []}, "regions is empty"),
        ({"regions": ["All"]}, "no name of a region"),
        ({"regions": ["eu-central-1", "eu central 1"]}, "no name of a region"),
        ({"regions": ["True"]}, "no name of a region"),
        ({"regions": ["all", "us-west-2"]}, "cannot be combined"),
    ],
)
def test_regions_that_cannot_be_meant(given: dict[str, Any], text: str) -> None:
    with pytest.raises(fleet.OptionError, match=text):
        fleet.resolve_regions(params(**given), REGION, lambda *_arguments: Ec2())


def test_no_region_at_all() -> None:
    with pytest.raises(fleet.OptionError, match="No region"):
        fleet.resolve_regions(params(), None, lambda *_arguments: Ec2())


def test_what_is_out_of_scope_is_not_called_untagged() -> None:
    region_outcome = run.run_region(
        Rds(a=["available"], b=["available"]), AutostopOptions(clusters=("a",)), REGION, Clock(), act=False
    )
    assert statuses(region_outcome) == {"a": "changed"}
    assert (region_outcome.clusters_checked, region_outcome.untagged) == (2, 0)


@pytest.mark.parametrize("given", [{"wait_delay": 0}, {"wait_timeout": 0}])
def test_waiting_without_a_pause_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(fleet.OptionError, match="at least 1"):
        fleet.parse_wait_options({"wait": True, "wait_timeout": 10, "wait_delay": 1, **given})
    assert fleet.parse_wait_options({"wait": False, "wait_timeout": 10, "wait_delay": 1, **given}) is None


def test_names_that_are_blanks_alone_do_not_mean_every_cluster() -> None:
    """A template makes such names from an empty variable."""
    defaults = {name: spec.get("default") for name, spec in fleet.ARGUMENT_SPEC.items()}
    with pytest.raises(fleet.OptionError, match="clusters contains only blanks"):
        fleet.parse_options({**defaults, "clusters": ["", " "]})
    assert fleet.parse_options({**defaults, "clusters": ["orders", " "]}).clusters == ("orders",)
    assert fleet.parse_options(defaults).clusters == ()


def test_an_unknown_name_causes_a_warning() -> None:
    """A mistyped exclude stops a cluster that was to be excluded."""
    options = AutostopOptions(clusters=("a", "nobody"), exclude=("B", "bb"))
    region_outcomes = [
        run.run_region(Rds(a=["available"], b=["available"]), options, name, Clock(), act=False) for name in ("x", "y")
    ]
    assert fleet.get_unknown_name_warnings(options, region_outcomes) == [
        "clusters names 'nobody', but no database that was read has that name. Check the spelling. "
        "DB instances are read with include_instances: true only.",
        "exclude names 'bb', but no database that was read has that name. Check the spelling. "
        "DB instances are read with include_instances: true only.",
    ]
    region_with_name = run.run_region(Rds(bb=["available"]), options, "z", Clock(), act=False)
    assert [
        text
        for text in fleet.get_unknown_name_warnings(options, [*region_outcomes, region_with_name])
        if "exclude" in text
    ] == []
    failed_region = run.RegionOutcome("dark", error="denied")
    assert fleet.get_unknown_name_warnings(options, [*region_outcomes, failed_region]) == []
