# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDS: transitions that take time. Stops and starts, the start after seven days, events, stale reads, throttling."""

from __future__ import annotations

import contextlib
import copy
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.rds.exceptions import RDSClientError
from moto.rds.models import RDSBackend, rds_backends
from moto.rds.responses import RDSResponse

from . import eventbridge, timeline
from .clock import CLOCK
from .control import command
from .rds import page
from .rules import rule

WEEK = timedelta(days=7)

# Messages and ids of events, of clusters and of instances (docs/facts/autostop.md#rds-events; RDS guide, "Event
# messages")
NOTICES = {
    "stopped": ("DB {kind} stopped", {"cluster": "RDS-EVENT-0150", "instance": "RDS-EVENT-0087"}),
    "started": ("DB {kind} started", {"cluster": "RDS-EVENT-0151", "instance": "RDS-EVENT-0088"}),
    "failed": ("DB {kind} failed to stop", {"cluster": "RDS-EVENT-0152", "instance": "RDS-EVENT-0152"}),
    "auto": (
        "DB {kind} is being started due to it exceeding the maximum allowed time being stopped.",
        {"cluster": "RDS-EVENT-0153", "instance": "RDS-EVENT-0154"},
    ),
}
SOURCE_TYPES = {"cluster": "CLUSTER", "instance": "DB_INSTANCE"}
DETAIL_TYPES = {"cluster": "RDS DB Cluster Event", "instance": "RDS DB Instance Event"}


@dataclass
class Settings:
    """How long transitions take, in seconds of the bed's clock, and which of them fail."""

    stop_seconds: float = 300
    start_seconds: float = 600
    start_most: float = 0  # if set, each start takes between start_seconds and this
    stale_reads: int = 0  # this many of the next DescribeDBClusters show each status as it was before its last change
    stale_seconds: float = 300  # every read later than this shows a change
    failing_stops: list[str] = field(default_factory=list)  # clusters that return to available
    throttled: dict[str, int] = field(default_factory=dict)  # by cluster: the number of its next stops; -1: all
    # Shares of all stops that fail, of reads that are stale, of calls that are throttled
    failing_share: float = 0.0
    stale_share: float = 0.0
    throttled_share: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - the same faults each time

    def happens(self, share: float) -> bool:
        return share > 0 and self.dice.random() < share

    def starting(self) -> timedelta:
        """Return how long the next start takes."""
        most = max(self.start_seconds, self.start_most)
        return timedelta(seconds=self.dice.uniform(self.start_seconds, most))


SETTINGS = Settings()


@command("rds/settings")
def set_settings(**changes: Any) -> None:
    """Restore the defaults, then apply the given changes."""
    SETTINGS.__init__(**changes)  # type: ignore[misc]  # the rules hold this very object


@command("rds/edit")
def edit(region: str, name: str, kind: str = "cluster", **attributes: Any) -> None:
    """Set attributes of moto's own object, for kinds and statuses that no call produces."""
    backend = rds_backends[DEFAULT_ACCOUNT_ID][region]
    database = (backend.clusters if kind == "cluster" else backend.databases)[name]
    for key, value in attributes.items():
        setattr(database, key, value)


@command("rds/maintenance")
def set_maintenance(region: str, arn: str, actions: list[dict[str, Any]]) -> None:
    """Set the pending maintenance of a resource; moto has none."""
    dated = [{key: _moment(value) for key, value in action.items()} for action in actions]
    _pending(rds_backends[DEFAULT_ACCOUNT_ID][region])[arn] = dated


def _moment(value: str) -> Any:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _pending(backend: Any) -> dict[str, list[dict[str, Any]]]:
    kept: dict[str, list[dict[str, Any]]] = backend.__dict__.setdefault("testbed_maintenance", {})
    return kept


@dataclass
class Notice:
    """An event as DescribeEvents shows it: without an id (API reference of Event)."""

    source_identifier: str
    source_type: str
    message: str
    event_categories: list[str]
    date: datetime
    source_arn: str


def change(database: Any, status: str, due: datetime | None) -> None:
    database.testbed_before = (database.status, getattr(database, "automatic_restart_time", None))
    database.status = status
    database.testbed_changed = CLOCK.now()
    database.testbed_due = due


_LIVING = threading.RLock()


def live(backend: Any) -> None:
    """Bring every database to its status at the bed's time: each change in order, at its own time."""
    with _LIVING:
        for kind, databases in (("cluster", backend.clusters), ("instance", backend.databases)):
            for database in list(databases.values()):
                while _step(backend, kind, database):
                    pass


def _due() -> datetime | None:
    moments = [
        database.testbed_due
        for backend in list(rds_backends[DEFAULT_ACCOUNT_ID].values())
        for database in [*backend.clusters.values(), *backend.databases.values()]
        if getattr(database, "testbed_due", None)
    ]
    return min(moments, default=None)


def _settle() -> None:
    for backend in list(rds_backends[DEFAULT_ACCOUNT_ID].values()):
        live(backend)


timeline.source(_due, _settle)


def _step(backend: Any, kind: str, database: Any) -> bool:
    due = getattr(database, "testbed_due", None)
    if due is None or CLOCK.now() < due:
        return False
    if database.status == "stopping":
        if database.resource_id in SETTINGS.failing_stops or SETTINGS.happens(SETTINGS.failing_share):
            change(database, "available", None)
            notify(backend, kind, database, "failed", due)
            return True
        change(database, "stopped", due + WEEK)
        database.automatic_restart_time = due + WEEK
        notify(backend, kind, database, "stopped", due)
    elif database.status == "stopped":
        notify(backend, kind, database, "auto", due)
        change(database, "starting", due + SETTINGS.starting())
        database.automatic_restart_time = None
    elif database.status == "starting":
        change(database, "available", None)
        notify(backend, kind, database, "started", due)
    else:  # a test set another status
        database.testbed_due = None
    return True


def notify(backend: Any, kind: str, database: Any, what: str, when: datetime) -> None:
    """Send an event to DescribeEvents, and to EventBridge, which also gets the event's id and the tags (RDS guide)."""
    template, ids = NOTICES[what]
    message = template.format(kind=kind)
    backend.events.append(Notice(database.resource_id, f"db-{kind}", message, ["notification"], when, database.arn))
    detail = {
        "EventCategories": ["notification"],
        "SourceType": SOURCE_TYPES[kind],
        "SourceArn": database.arn,
        "Date": when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "Message": message,
        "SourceIdentifier": database.resource_id,
        "EventID": ids[kind],
        "Tags": {tag["Key"]: tag["Value"] for tag in database.tags},
    }
    eventbridge.emit(backend.region_name, "aws.rds", DETAIL_TYPES[kind], [database.arn], detail, when)


@rule(RDSBackend, "stop_db_cluster", fact="A cluster goes from available by way of stopping to stopped (Aurora guide)")
def clusters_take_time_to_stop(plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
    live(backend)
    throttle(cluster_identifier)
    with uncopied(backend, cluster_identifier):
        plain(backend, cluster_identifier)
    cluster = backend.clusters[cluster_identifier]
    cluster.status = "available"  # moto stops it at once
    change(cluster, "stopping", CLOCK.now() + timedelta(seconds=SETTINGS.stop_seconds))
    return cluster


@rule(RDSBackend, "start_db_cluster", fact="A cluster goes from stopped by way of starting to available (Aurora guide)")
def clusters_take_time_to_start(plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
    live(backend)
    with uncopied(backend, cluster_identifier):
        plain(backend, cluster_identifier)
    return starting(backend.clusters[cluster_identifier])


@rule(RDSBackend, "stop_db_instance", fact="An instance goes from available by way of stopping to stopped (RDS guide)")
def instances_take_time_to_stop(plain: Callable[..., Any], backend: RDSBackend, name: str, *args: Any) -> Any:
    live(backend)
    instance = plain(backend, name, *args)
    instance.status = "available"
    change(instance, "stopping", CLOCK.now() + timedelta(seconds=SETTINGS.stop_seconds))
    return instance


@rule(RDSBackend, "start_db_instance", fact="An instance goes from stopped by way of starting to available (RDS guide)")
def instances_take_time_to_start(plain: Callable[..., Any], backend: RDSBackend, name: str) -> Any:
    live(backend)
    return starting(plain(backend, name))


@contextlib.contextmanager
def uncopied(backend: Any, name: str) -> Iterator[None]:
    """Keep moto from copying a cluster with its whole account for its response: 0.15 s with 1,000 clusters."""
    cluster = backend.clusters.get(name)
    if cluster is None:
        yield
        return
    cluster.__deepcopy__ = lambda memo: copy.copy(cluster)
    try:
        yield
    finally:
        del cluster.__deepcopy__


def starting(database: Any) -> Any:
    database.status = "stopped"
    change(database, "starting", CLOCK.now() + SETTINGS.starting())
    database.automatic_restart_time = None
    return database


def throttle(name: str) -> None:
    """Refuse as RDS does: HTTP 400, Throttling, Rate exceeded. On request only."""
    left = SETTINGS.throttled.get(name, 0)
    if left:
        SETTINGS.throttled[name] = left - 1 if left > 0 else left
    if left or SETTINGS.happens(SETTINGS.throttled_share):
        raise RDSClientError("Throttling", "Rate exceeded")


@rule(
    RDSBackend,
    "describe_db_clusters",
    fact="A stopped cluster shows its AutomaticRestartTime and is started then, after 7 days; reads can be stale just "
    "after a change (docs/facts/autostop.md#seven-day-restart, docs/facts/autostop.md#describedbclusters)",
)
def time_goes_on_for_clusters(plain: Callable[..., Any], backend: RDSBackend, *args: Any, **kwargs: Any) -> Any:
    live(backend)
    if SETTINGS.happens(SETTINGS.throttled_share):
        raise RDSClientError("Throttling", "Rate exceeded")
    clusters = plain(backend, *args, **kwargs)
    if SETTINGS.stale_reads <= 0 and not SETTINGS.happens(SETTINGS.stale_share):
        return clusters
    SETTINGS.stale_reads = max(0, SETTINGS.stale_reads - 1)
    return [stale(cluster) for cluster in clusters]


def stale(database: Any) -> Any:
    before = getattr(database, "testbed_before", None)
    if before is None or CLOCK.now() > database.testbed_changed + timedelta(seconds=SETTINGS.stale_seconds):
        return database
    shown = copy.copy(database)
    shown.status, shown.automatic_restart_time = before
    return shown


@rule(
    RDSBackend,
    "describe_db_instances",
    fact="A stopped instance shows its AutomaticRestartTime and is started then, after 7 days (RDS guide)",
)
def time_goes_on_for_instances(plain: Callable[..., Any], backend: RDSBackend, *args: Any, **kwargs: Any) -> Any:
    live(backend)
    return plain(backend, *args, **kwargs)


@rule(
    RDSBackend,
    "describe_events",
    fact="DescribeEvents has messages of stops, starts, and starts by AWS, of at most 14 days "
    "(docs/facts/autostop.md#rds-events)",
)
def events_report_stops_and_starts(plain: Callable[..., Any], backend: RDSBackend, *args: Any, **kwargs: Any) -> Any:
    live(backend)
    minutes = int(kwargs.get("duration") or 60)  # the API's own default is an hour
    categories = set(kwargs.get("event_categories") or ())
    since = CLOCK.now() - timedelta(minutes=min(minutes, 14 * 24 * 60))
    return [
        event
        for event in plain(backend, *args, **kwargs)
        if isinstance(event, Notice)
        and event.date >= since
        and (not categories or categories & set(event.event_categories))
    ]


@rule(
    RDSResponse,
    "describe_pending_maintenance_actions",
    fact="DescribePendingMaintenanceActions lists what waits for a maintenance window (API reference); moto has none",
    new=True,
)
def maintenance_is_pending(plain: Callable[..., Any], response: RDSResponse) -> Any:
    entries = [
        {"ResourceIdentifier": arn, "PendingMaintenanceActionDetails": actions}
        for arn, actions in _pending(response.backend).items()
        if actions
    ]
    return page({"PendingMaintenanceActions": entries}, response)
