# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A region from end to end against a client that answers by script, and a clock that does not wait."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import fleet, plan, rds, report, run
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.errors import AutostopApiError
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions, RegionState
from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock as RealClock
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.things import NOW, PREFIX, cluster, member

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
    """Answers by its tables. C(history): the statuses that successive listings show; the last one stays."""

    def __init__(self, **history: list[str]) -> None:
        self.history = history
        self.listings = 0
        self.calls: Counter[str] = Counter()
        self.refusals: dict[str, Exception] = {}
        self.broken: Optional[Callable[[int], Optional[Exception]]] = None

    def describe_db_clusters(self, **asked: Any) -> dict[str, Any]:
        self.calls["DescribeDBClusters"] += 1
        assert asked["MaxRecords"] == 100
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

    def describe_blue_green_deployments(self, **asked: Any) -> dict[str, Any]:
        return {"BlueGreenDeployments": []}

    def describe_pending_maintenance_actions(self, **asked: Any) -> dict[str, Any]:
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


def statuses(one: run.RegionOutcome) -> dict[str, str]:
    return {each.database.name: each.status for each in one.outcomes}


def test_one_that_raises_ends_none_of_the_others() -> None:
    client = Rds(a=["available", "stopping"], b=["available"], c=["available", "stopping"])
    client.refusals["b"] = RefusedError("InternalFailure", "try later")
    seen = outcome(client)
    told = report.build_result([seen])
    assert statuses(seen) == {"a": "changed", "b": "failed", "c": "changed"}
    assert (told["failed"], told["changed"]) == (True, True)
    assert "b (eu-central-1) failed: AWS answered InternalFailure: try later" in told["msg"]
    assert client.calls == {"DescribeDBClusters": 2, "StopDBCluster": 3}


def test_a_stale_reading_afterwards_is_told_as_not_verified() -> None:
    (one,) = outcome(Rds(a=["available", "available"])).outcomes
    assert (one.status, one.verified) == ("changed", False)
    assert "not verified" in one.reason


def test_an_unreadable_aftermath_is_told_as_not_verified() -> None:
    client = Rds(a=["available"])
    client.broken = lambda number: RefusedError("Throttling") if number else None
    (one,) = outcome(client).outcomes
    assert (one.status, one.verified) == ("changed", False)


def test_a_wait_polls_in_bulk_and_survives_a_failed_reading() -> None:
    client = Rds(a=["available", "available", "stopping", "stopping", "stopped"], b=["stopping", "stopped"])
    client.broken = lambda number: RefusedError("Throttling") if number == 3 else None
    seen = outcome(client, run.WaitOptions(600, 30))
    assert statuses(seen) == {"a": "changed", "b": "ok"}
    assert all(one.verified for one in seen.outcomes)
    assert client.calls["DescribeDBClusters"] == 5


def test_a_wait_ends_in_time_and_tells_what_it_saw() -> None:
    client = Rds(a=["available", "stopping"], b=["available", "stopping", "stopped"])
    seen = outcome(client, run.WaitOptions(100, 30))
    assert statuses(seen) == {"a": "failed", "b": "changed"}
    told = report.build_result([seen])
    assert told["changed"]
    assert "within 100 seconds (seen: stopping)" in told["msg"]


def test_one_that_comes_back_has_failed() -> None:
    seen = outcome(Rds(a=["available", "stopping", "available"]), run.WaitOptions(600, 30))
    assert statuses(seen) == {"a": "failed"}
    assert report.build_result([seen])["changed"], "the stop was taken all the same"


def test_without_acting_nothing_is_asked_of_aws_but_readings() -> None:
    client = Rds(a=["available"])
    told = report.build_result([outcome(client, act=False)], diff=True)
    assert told["changed"]
    assert told["diff"][0]["after"] == {"status": "stopping"}
    assert client.calls == {"DescribeDBClusters": 1}


def test_a_region_that_cannot_be_read_is_its_own_failure() -> None:
    client = Rds()
    client.broken = lambda number: RefusedError("AccessDenied", "not authorized")
    told = report.build_result([outcome(client), outcome(Rds(a=["stopped"]))])
    assert told["failed"]
    assert [one["status"] for one in told["regions"]] == ["failed", "ok"]
    assert "Allow rds:DescribeDBClusters" in told["msg"]


def test_a_marker_that_comes_back_is_no_endless_loop() -> None:
    class Round:
        def describe_db_clusters(self, **asked: Any) -> dict[str, Any]:
            return {"DBClusters": [], "Marker": "again"}

    with pytest.raises(AutostopApiError, match="RepeatedMarker"):
        rds.list_clusters(Round())


def test_the_items_of_two_regions_add_up() -> None:
    told = report.build_result(
        [outcome(Rds(a=["available", "stopping"])), outcome(Rds(a=["starting"]))], fail_on_pending=True
    )
    assert told["failed"]
    assert told["totals"]["changed"] == told["totals"]["pending"] == 1
    assert told["msg"].startswith("1 changed, 0 off already, 1 pending, 0 skipped, 0 failed in 2 regions.")


class Tagging(Rds):
    """Takes or refuses tags."""

    def __init__(self, refuses: str) -> None:
        super().__init__()
        self.refuses = refuses

    def add_tags_to_resource(self, **asked: Any) -> None:
        self._take("AddTagsToResource")

    def remove_tags_from_resource(self, **asked: Any) -> None:
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
    seen = RegionState(REGION, (cluster(tags={}, members=("m",)),), (member("m", "orders"),))
    (decision,) = plan.decide(AutostopOptions(migrate_tags=True), seen, NOW)
    client = Tagging(refuses)
    one = run.apply(client, decision)
    assert one.status == "failed"
    assert f"Allow rds:{refuses}" in one.reason
    assert list(client.calls) == calls
    assert one.has_changes is (len(calls) > 1)


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
        ({"regions": ["us-west-2"], "region": REGION}, ["us-west-2"]),  # the environment's
        ({"regions": ["all"]}, [REGION, "us-west-2"]),
    ],
)
def test_regions(given: dict[str, Any], expected: list[str]) -> None:
    assert fleet.resolve_regions(params(**given), REGION, [REGION, None], lambda *_asked: Ec2()) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"regions": ["us-west-2"], "region": "eu-west-1"}, "exclude each other"),
        ({"regions": []}, "regions is empty"),
        ({"regions": ["all", "us-west-2"]}, "stands alone"),
    ],
)
def test_regions_that_cannot_be_meant(given: dict[str, Any], words: str) -> None:
    with pytest.raises(fleet.OptionError, match=words):
        fleet.resolve_regions(params(**given), REGION, [REGION], lambda *_asked: Ec2())


def test_no_region_at_all() -> None:
    with pytest.raises(fleet.OptionError, match="No region"):
        fleet.resolve_regions(params(), None, [], lambda *_asked: Ec2())


def test_what_is_out_of_scope_is_not_called_untagged() -> None:
    seen = run.run_region(
        Rds(a=["available"], b=["available"]), AutostopOptions(clusters=("a",)), REGION, Clock(), act=False
    )
    assert statuses(seen) == {"a": "changed"}
    assert (seen.clusters_checked, seen.untagged) == (2, 0)


@pytest.mark.parametrize("given", [{"wait_delay": 0}, {"wait_timeout": 0}])
def test_waiting_without_a_pause_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(fleet.OptionError, match="at least 1"):
        fleet.parse_wait_options({"wait": True, "wait_timeout": 10, "wait_delay": 1, **given})
    assert fleet.parse_wait_options({"wait": False, "wait_timeout": 10, "wait_delay": 1, **given}) is None


def test_names_that_are_blanks_alone_do_not_mean_every_cluster() -> None:
    """As a template makes them of a variable that is empty."""
    defaults = {name: spec.get("default") for name, spec in fleet.ARGUMENT_SPEC.items()}
    with pytest.raises(fleet.OptionError, match="clusters has nothing but blanks"):
        fleet.parse_options({**defaults, "clusters": ["", " "]})
    assert fleet.parse_options({**defaults, "clusters": ["orders", " "]}).clusters == ("orders",)
    assert fleet.parse_options(defaults).clusters == ()


def test_a_name_that_nothing_bears_is_told_of() -> None:
    """A mistyped exclude stops a cluster that was to be left alone."""
    wanted = AutostopOptions(clusters=("a", "nobody"), exclude=("B", "bb"))
    seen = [
        run.run_region(Rds(a=["available"], b=["available"]), wanted, name, Clock(), act=False) for name in ("x", "y")
    ]
    assert fleet.get_unknown_name_warnings(wanted, seen) == [
        "Nothing that was read is called 'nobody', which clusters names.",
        "Nothing that was read is called 'bb', which exclude names.",
    ]
    one_has_it = run.run_region(Rds(bb=["available"]), wanted, "z", Clock(), act=False)
    assert [text for text in fleet.get_unknown_name_warnings(wanted, [*seen, one_has_it]) if "exclude" in text] == []
    dark = run.RegionOutcome("dark", error="denied")
    assert fleet.get_unknown_name_warnings(wanted, [*seen, dark]) == []
