# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's function: what each message requests, and which messages the queue keeps."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import fleet, handler, plan, run
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions, format_timestamp
from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock as RealClock
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import (
    NOW,
    PREFIX,
    YES,
    cluster,
    instance,
)

REGION = "eu-central-1"
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)
SWEEP = {"source": "aws.events", "detail-type": "Scheduled Event", "time": format_timestamp(NOW), "detail": {}}


def started(arn: str, event_id: str = "RDS-EVENT-0153", ago: timedelta = timedelta()) -> dict[str, Any]:
    detail = {"EventID": event_id, "SourceArn": arn, "SourceType": "CLUSTER"}
    return {"source": "aws.rds", "time": format_timestamp(NOW - ago), "detail": detail}


def batch(*bodies: Any) -> dict[str, Any]:
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return {"Records": [{"messageId": f"m{number}", "body": text} for number, text in enumerate(texts)]}


class Clock(RealClock):
    def now(self) -> Any:
        return NOW


class RefusedError(Exception):
    """As botocore's ClientError."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": "no"}}


class Rds:
    """A region's clusters by name: status, tags, restart time. A stop shows at once."""

    def __init__(self, **clusters: Any) -> None:
        self.clusters = {name: {"status": "available", "tags": YES, **cluster} for name, cluster in clusters.items()}
        self.calls: Counter[str] = Counter()
        self.denied: tuple[str, ...] = ()

    def describe_db_clusters(self, **arguments: Any) -> dict[str, Any]:
        self._call("DescribeDBClusters")
        return {
            "DBClusters": [
                {
                    "DBClusterArn": f"{PREFIX}:cluster:{name}",
                    "DBClusterIdentifier": name,
                    "Engine": "aurora-postgresql",
                    "Status": cluster["status"],
                    "AutomaticRestartTime": cluster.get("restart"),
                    "TagList": [{"Key": key, "Value": value} for key, value in cluster["tags"].items()],
                }
                for name, cluster in self.clusters.items()
            ]
        }

    def describe_blue_green_deployments(self, **arguments: Any) -> dict[str, Any]:
        self._call("DescribeBlueGreenDeployments")
        return {"BlueGreenDeployments": []}

    def describe_pending_maintenance_actions(self, **arguments: Any) -> dict[str, Any]:
        self._call("DescribePendingMaintenanceActions")
        return {"PendingMaintenanceActions": []}

    def stop_db_cluster(self, DBClusterIdentifier: str) -> dict[str, Any]:  # noqa: N803
        self._call("StopDBCluster")
        self.clusters[DBClusterIdentifier]["status"] = "stopping"
        return {"DBCluster": {"Status": "available"}}

    def _call(self, operation: str) -> None:
        self.calls[operation] += 1
        if operation in self.denied:
            raise RefusedError("AccessDenied")


@pytest.fixture(autouse=True)
def errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError,))


def arn(name: str) -> str:
    return f"{PREFIX}:cluster:{name}"


def kept(
    client: Rds, *bodies: Any, options: Optional[AutostopOptions] = None, log_entries: Optional[list[Any]] = None
) -> list[str]:
    """The messages of a batch that the queue keeps."""
    entries: list[Any] = [] if log_entries is None else log_entries
    response = handler.handle_batch(
        batch(*bodies), options or AutostopOptions(), client, REGION, Clock(), entries.append
    )
    json.dumps(entries)
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def test_a_stopped_cluster_keeps_its_message_until_a_reading_shows_it() -> None:
    client = Rds(orders={}, other={})
    event = started(arn("orders"))
    assert kept(client, event) == ["m0"]
    assert {name: cluster["status"] for name, cluster in client.clusters.items()} == {
        "orders": "stopping",
        "other": "available",
    }
    assert kept(client, event) == ["m0"]
    client.clusters["orders"] = {"status": "stopped", "tags": YES, "restart": NOW + WEEK}
    assert kept(client, event) == []
    assert client.calls["StopDBCluster"] == 1


@pytest.mark.parametrize("status", ["starting", "backing-up", "upgrading", "stopping"])
def test_what_is_not_yet_available_stays(status: str) -> None:
    client = Rds(orders={"status": status})
    assert kept(client, started(arn("orders")), SWEEP) == ["m0", "m1"]
    assert client.calls["StopDBCluster"] == 0


def test_a_stale_reading_does_not_settle_an_event() -> None:
    """Just after the event, a reading can still show the cluster as it was: stopped, to be restarted about now."""
    client = Rds(orders={"status": "stopped", "restart": NOW})
    assert kept(client, started(arn("orders"))) == ["m0"]
    assert kept(client, SWEEP) == []


def test_a_stop_without_a_restart_time_is_believed_after_an_hour() -> None:
    client = Rds(orders={"status": "stopped"})
    assert kept(client, started(arn("orders"), ago=HOUR / 2), started(arn("orders"), ago=2 * HOUR)) == ["m0"]


def test_an_event_that_comes_late_is_settled_by_the_stop_since() -> None:
    client = Rds(orders={"status": "stopped", "restart": NOW + WEEK - 5 * HOUR})
    assert kept(client, started(arn("orders"), ago=6 * HOUR)) == []


@pytest.mark.parametrize("tags", [{}, {"autostop": "no"}, {"autostop": "Yes"}, {**YES, "autostop-until": "2027-01-01"}])
def test_what_is_left_alone_is_settled(tags: dict[str, str]) -> None:
    client = Rds(orders={"tags": tags})
    assert kept(client, started(arn("orders")), SWEEP) == []
    assert client.calls["StopDBCluster"] == 0


def test_a_cluster_that_is_gone_is_settled() -> None:
    assert kept(Rds(), started(arn("orders"))) == []


def test_events_narrow_a_sweep_does_not() -> None:
    client = Rds(orders={}, other={})
    kept(client, started(arn("orders")))
    assert client.clusters["other"]["status"] == "available"
    kept(client, started(arn("orders")), SWEEP)
    assert client.clusters["other"]["status"] == "stopping"


def test_a_batch_reads_once_and_settles_each_message_by_its_own() -> None:
    client = Rds(orders={}, off={"status": "stopped", "restart": NOW + WEEK})
    log_entries: list[Any] = []
    assert kept(
        client, started(arn("orders")), started(arn("off")), started(arn("orders")), log_entries=log_entries
    ) == ["m0", "m2"]
    assert client.calls["DescribeDBClusters"] == 2  # one to observe, one to verify
    by_name = {line["name"]: line for line in log_entries if "name" in line}
    assert by_name["orders"]["kept"] == ["m0", "m2"]
    assert by_name["off"]["kept"] == []


@pytest.mark.parametrize("options", [AutostopOptions(exclude=("orders",)), AutostopOptions(clusters=("other",))])
def test_events_about_what_is_out_of_scope_take_no_call(options: AutostopOptions) -> None:
    client = Rds(orders={})
    assert kept(client, started(arn("orders")), options=options) == []
    assert client.calls == {}


def test_a_region_that_cannot_be_read_keeps_everything() -> None:
    client = Rds(orders={})
    client.denied = ("DescribeDBClusters",)
    log_entries: list[Any] = []
    assert kept(client, started(arn("orders")), SWEEP, log_entries=log_entries) == ["m0", "m1"]
    assert "AccessDenied" in log_entries[-1]["reason"]


def test_a_stop_that_is_refused_keeps_its_message() -> None:
    client = Rds(orders={})
    client.denied = ("StopDBCluster",)
    assert kept(client, started(arn("orders"))) == ["m0"]


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "{}",
        "[]",
        {"source": "aws.ec2", "time": format_timestamp(NOW), "detail": {}},
        {**started(arn("orders")), "time": "today"},
        started("orders"),
    ],
)
def test_an_unknown_message_is_kept_and_logged(body: Any) -> None:
    client = Rds(orders={})
    log_entries: list[Any] = []
    assert kept(client, body, started(arn("orders")), log_entries=log_entries) == ["m0", "m1"]
    assert log_entries[0]["status"] == "failed"
    assert client.clusters["orders"]["status"] == "stopping"


def outcome(status: str, found: str, after: str, planned: str = "changed") -> run.DatabaseOutcome:
    return run.DatabaseOutcome(plan.AutostopDecision(cluster(status=found), planned, ""), status, "", after)


@pytest.mark.parametrize(
    ("status", "found", "after", "planned", "deleted"),
    [
        ("pending", "available", "available", "pending", True),  # waits for maintenance
        ("pending", "available", "available", "changed", False),  # was refused: not available any more
        ("pending", "starting", "starting", "pending", False),
        ("ok", "available", "stopping", "changed", False),  # was refused: stopping already
        ("failed", "available", "available", "changed", False),
        ("skipped", "available", "available", "changed", True),  # was refused: not eligible
        ("changed", "available", "stopped", "changed", True),
        ("changed", "available", "available", "changed", False),  # the reading after the stop was stale
    ],
)
def test_what_settles_a_sweep(status: str, found: str, after: str, planned: str, deleted: bool) -> None:
    assert handler.can_delete_message(outcome(status, found, after, planned), None, NOW) is deleted


def test_an_event_of_an_instance_is_about_that_instance() -> None:
    message = handler.parse_record({"messageId": "m", "body": json.dumps(started(instance("alone").arn))})
    narrowed = handler.narrow_options(AutostopOptions(include_instances=True), [message])
    assert narrowed
    assert narrowed.clusters == (f"{PREFIX}:db:alone",)


def test_the_options_are_the_modules_own() -> None:
    assert handler.parse_options("{}") == AutostopOptions()
    given = '{"tag_key": "off", "tag_values": ["x"], "sweep_policy": "auto_started_only", "exclude": ["a"]}'
    assert handler.parse_options(given) == AutostopOptions(
        "off", ("x",), exclude=("a",), sweep_policy="auto_started_only"
    )
    with pytest.raises(fleet.OptionError, match="tag_keys"):
        handler.parse_options('{"tag_keys": "off"}')
