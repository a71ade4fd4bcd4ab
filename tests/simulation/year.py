# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated year of an account: how long clusters run although they are tagged for autostop.

The test bed's AWS runs in this process: RDS with its start after seven days, EventBridge, the queues and the event
source mapping. Its clock stands still between moves. The guard is the real one: the handler that Lambda calls, the
rules and the mapping of the role's module, and the queues with the role's own parameters.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import botocore.session
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import handler, run
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import apply, plan
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import (
    DEAD_LETTER_QUEUE,
    DEFAULT_SWEEP_SCHEDULE,
    FUNCTION,
    QUEUE,
    GuardLocation,
)
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.policies import SETTINGS, build_queue_policy
from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock
from moto import mock_aws
from moto.rds.exceptions import RDSClientError
from moto.rds.models import RDSBackend
from moto.sqs.models import sqs_backends
from testbed import aws as rules
from testbed import paths
from testbed.aws import eventbridge, functions, rds_life, timeline
from testbed.aws.clock import CLOCK

ROLE = Path(__file__).parents[2] / "roles/aurora_autostop"
GIVEN = {
    "community.aws.sqs_queue": (
        *("name", "delay_seconds", "visibility_timeout", "message_retention_period", "redrive_policy", "policy"),
    ),
    "amazon.aws.lambda": ("name", "runtime", "handler", "timeout"),
}
START = datetime(2026, 1, 1, tzinfo=timezone.utc)  # a Thursday
REGION = paths.REGION
YES = {"autostop": "yes"}
HOUR = 3600.0
# The maximum time from an event's arrival, or the first `available` if that is later, to the stop
PROMISE = timedelta(minutes=15)
SWEEP = timedelta(days=1)
RETRIED = timedelta(minutes=1)  # the maximum duration of a call that is throttled and retried
WEEK = timedelta(days=7)

GUARD, DEAF, DAILY, WEEKLY = "the guard", "the guard, every event lost", "a daily cron alone", "a weekly cron"
CRONS = {DAILY: "cron(0 20 * * ? *)", WEEKLY: "cron(0 20 ? * 5 *)"}  # at eight in the evening; 5 is Thursday
STRATEGIES = (GUARD, DEAF, DAILY, WEEKLY)


@dataclass(frozen=True)
class Scenario:
    """The conditions of the year. Shares are of all stops, readings, calls and events."""

    days: float = 365
    clusters: int = 40
    seed: int = 1
    manual_starts: float = 10  # of each cluster in a year, by a person; every third time with a hold
    failing_stops: float = 0.03
    stale_reads: float = 0.2
    throttled: float = 0.05
    lost: float = 0.2
    late: float = 0.2
    doubled: float = 0.1
    reordered: float = 0.1
    start_seconds: tuple[float, float] = (600, 2 * HOUR)


@dataclass(frozen=True)
class Kind:
    """One kind of cluster. C(should_be_stopped): it is tagged, AWS can stop it, and nothing prevents that."""

    label: str
    share: int  # of 40
    tags: dict[str, str] = field(default_factory=dict)
    should_be_stopped: bool = False
    excluded: bool = False
    engine: str = "aurora-mysql"
    more: dict[str, Any] = field(default_factory=dict)
    edits: dict[str, Any] = field(default_factory=dict)  # attributes that moto's own calls cannot set


V2 = {"MinCapacity": 1, "MaxCapacity": 2}
HELD = {**YES, "autostop-until": "2099-01-01"}
KINDS = (
    Kind("mysql", 11, YES, should_be_stopped=True),
    Kind("postgresql", 10, YES, should_be_stopped=True, engine="aurora-postgresql"),
    Kind("serverless-v2", 3, YES, should_be_stopped=True, more={"ServerlessV2ScalingConfiguration": V2}),
    Kind("untagged", 4),
    Kind("says-no", 1, {"autostop": "no"}),
    Kind("nearly", 1, {"autostop": "Yes"}),
    Kind("excluded", 2, YES, excluded=True),
    Kind("held", 2, HELD),
    Kind("serverless-v1", 2, YES, more={"EngineMode": "serverless"}),
    Kind("multi-az", 1, YES, engine="postgres", more={"DBClusterInstanceClass": "db.r6g.large"}),
    Kind("neptune", 1, YES, engine="neptune"),
    Kind("documentdb", 1, YES, edits={"engine": "docdb"}),
    Kind("replica", 1, YES, edits={"read_replica_identifiers": ["arn:aws:rds:us-west-2:123456789012:cluster:far"]}),
)


@dataclass
class Spell:
    """A time in which a cluster ran that should be stopped. C(cause): started, came back, or hold ended."""

    name: str
    cause: str
    began: datetime
    since: datetime  # the last stop: later events are about this start
    ended: datetime | None = None


@dataclass(frozen=True)
class DeliveredEvent:
    """An event that EventBridge delivered."""

    name: str
    happened: datetime
    arrived: datetime


@dataclass
class Year:
    """The results of one strategy."""

    strategy: str
    end: datetime
    spells: list[Spell] = field(default_factory=list)
    delivered: list[DeliveredEvent] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # stops by mistake
    stops: int = 0
    runs: int = 0  # of the function
    dead: int = 0  # messages in the dead-letter queue

    @property
    def hours(self) -> float:
        return sum(((spell.ended or self.end) - spell.began).total_seconds() for spell in self.spells) / HOUR

    def after_event(self) -> list[timedelta]:
        """From the first `available`, or an event's arrival if that is later, to the stop."""
        found = []
        for spell in self.spells:
            arrivals = [
                event.arrived
                for event in self.delivered
                if event.name == spell.name and spell.since <= event.happened <= spell.began + timedelta(seconds=1)
            ]
            if spell.cause == "started" and arrivals:
                found.append((spell.ended or self.end) - max(spell.began, min(arrivals)))
            elif spell.cause == "came back":  # the message that caused the stop is still in the queue
                found.append((spell.ended or self.end) - spell.began)
        return found

    def longest(self) -> timedelta:
        return max(((spell.ended or self.end) - spell.began for spell in self.spells), default=timedelta())


class World:
    """The account, its people, and its strategy."""

    def __init__(self, scenario: Scenario, strategy: str) -> None:
        self.scenario = scenario
        self.year = Year(strategy, START + timedelta(days=scenario.days))
        self.kinds: dict[str, Kind] = {}
        self.holds: dict[str, datetime] = {}
        self.open: dict[str, Spell] = {}
        self.stopped: dict[str, datetime] = {}
        self.dice = random.Random(scenario.seed)  # noqa: S311 - the same year each time
        self.people = self._people()
        self.clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        if service not in self.clients:
            plain = botocore.session.Session()  # none of the guard's: everything goes over the wire
            plain.set_credentials("x", "x")
            self.clients[service] = boto3.Session(botocore_session=plain).client(service, REGION)
        return self.clients[service]

    # Resources

    def fill(self) -> None:
        for kind in KINDS:
            for number in range(max(1, round(kind.share * self.scenario.clusters / 40))):
                self._cluster(f"{kind.label}-{number}", kind)

    def _cluster(self, name: str, kind: Kind) -> None:
        self.kinds[name] = kind
        secret = {"MasterUsername": "admin", "MasterUserPassword": "not-a-secret-1"}
        self.client("rds").create_db_cluster(
            DBClusterIdentifier=name,
            Engine=kind.engine,
            Tags=[{"Key": key, "Value": value} for key, value in kind.tags.items()],
            **({} if kind.engine == "neptune" else secret),
            **kind.more,
        )
        rds_life.edit(REGION, name, status="available", **kind.edits)
        if kind.should_be_stopped:  # it was stopped in the week before
            self.stopped[name] = START - self.dice.random() * WEEK
            starts = self.stopped[name] + WEEK
            rds_life.edit(REGION, name, status="stopped", testbed_due=starts, automatic_restart_time=starts)

    def build_options(self) -> AutostopOptions:
        return AutostopOptions(exclude=tuple(name for name, kind in self.kinds.items() if kind.excluded))

    # Manual starts: the same for every strategy

    def _people(self) -> list[tuple[datetime, str, float | None]]:
        """Manual starts: the time, the cluster, and the hours of its hold, if it has one."""
        dice, found = self.dice, []
        for kind in KINDS:
            for number in range(
                max(1, round(kind.share * self.scenario.clusters / 40)) if kind.should_be_stopped else 0
            ):
                for _start in range(round(self.scenario.manual_starts * self.scenario.days / 365)):
                    when = START + timedelta(days=dice.uniform(1, self.scenario.days))
                    hold = dice.uniform(2, 60) if dice.random() < 1 / 3 else None
                    found.append((when, f"{kind.label}-{number}", hold))
        return sorted(found)

    def due(self) -> datetime | None:
        return min([*(start[0] for start in self.people[:1]), *self.holds.values()], default=None)

    def settle(self) -> None:
        rds = self.client("rds")
        while self.people and self.people[0][0] <= CLOCK.now():
            _when, name, hold = self.people.pop(0)
            if self.status(name) != "stopped":
                continue
            if hold:
                self.holds[name] = CLOCK.now().replace(microsecond=0) + timedelta(hours=round(hold))
                value = self.holds[name].isoformat()
                tags = [{"Key": "autostop-until", "Value": value}]
                rds.add_tags_to_resource(ResourceName=self.database(name).db_cluster_arn, Tags=tags)
            rds.start_db_cluster(DBClusterIdentifier=name)
        for name in [name for name, until in self.holds.items() if until <= CLOCK.now()]:
            del self.holds[name]
            if self.status(name) == "available":
                self._runs(name, "hold ended")

    # Observation

    def database(self, name: str) -> Any:
        return rds_life.rds_backends[paths.ACCOUNT][REGION].clusters[name]

    def status(self, name: str) -> str:
        return str(self.database(name).status)

    def changed(self, plain: Callable[..., None], database: Any, status: str, due: datetime | None) -> None:
        name, before = database.resource_id, database.status
        plain(database, status, due)
        if status == "stopped":
            self.stopped[name] = CLOCK.now()
        if not self.kinds[name].should_be_stopped:
            return
        if status == "available" and name not in self.holds:
            self._runs(name, "came back" if before == "stopping" else "started")
        elif status == "stopping" and name in self.open:
            self.open.pop(name).ended = CLOCK.now()

    def _runs(self, name: str, cause: str) -> None:
        self.open[name] = Spell(name, cause, CLOCK.now(), self.stopped[name])
        self.year.spells.append(self.open[name])

    def count_stop(self, plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
        """Counts every StopDBCluster, whatever its outcome is."""
        self.year.stops += 1
        if not self.kinds[cluster_identifier].should_be_stopped or cluster_identifier in self.holds:
            self.year.wrong.append(f"{cluster_identifier} at {CLOCK.now()}")
        return plain(backend, cluster_identifier)

    def delivered(self, plain: Callable[..., None], backend: Any, event: dict[str, Any]) -> None:
        plain(backend, event)
        if event["detail"]["EventID"] in plan.CLUSTER_EVENTS:
            happened = datetime.fromisoformat(event["time"])
            self.year.delivered.append(DeliveredEvent(event["detail"]["SourceIdentifier"], happened, CLOCK.now()))

    # Strategies

    def install(self) -> None:
        location = GuardLocation("daytwo-autostop", REGION, paths.ACCOUNT)
        role = self.client("iam").create_role(RoleName="guard", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        given = from_role(location)
        function = given[f"amazon.aws.lambda {location.names[FUNCTION]}"]
        self.client("lambda").create_function(
            FunctionName=function["name"],
            Runtime=function["runtime"],
            Role=role,
            Handler=function["handler"],
            Code={"ZipFile": b"run in this process"},
            Timeout=function["timeout"],
        )
        if self.year.strategy in CRONS:
            self._install_cron(location)
            return
        for kind in (DEAD_LETTER_QUEUE, QUEUE):
            self._make_queue(given[f"community.aws.sqs_queue {location.names[kind]}"])
        clients = apply.GuardClients(*(self.client(name) for name in ("lambda", "events", "cloudwatch")))
        changes = plan.plan_changes(
            location, plan.GuardOptions(given["schedule"]), apply.observe(clients, location), should_exist=True
        )
        for part in apply.apply_changes(clients, location, changes):
            if part.status != "changed":
                raise RuntimeError(f"{part.name}: {part.status}. {part.reason}")

    def _make_queue(self, given: Mapping[str, Any]) -> None:
        names = {
            "delay_seconds": "DelaySeconds",
            "visibility_timeout": "VisibilityTimeout",
            "message_retention_period": "MessageRetentionPeriod",
            "redrive_policy": "RedrivePolicy",
            "policy": "Policy",
        }
        attributes = {
            names[key]: json.dumps(value) if isinstance(value, dict) else str(value)
            for key, value in given.items()
            if key in names
        }
        self.client("sqs").create_queue(QueueName=given["name"], Attributes=attributes)

    def _install_cron(self, location: GuardLocation) -> None:
        """A schedule that invokes the function once, without retries."""
        rule = self.client("events").put_rule(Name="cron", ScheduleExpression=CRONS[self.year.strategy])["RuleArn"]
        self.client("lambda").add_permission(
            FunctionName=location.names[FUNCTION],
            StatementId="cron",
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
            SourceArn=rule,
        )
        self.client("events").put_targets(Rule="cron", Targets=[{"Id": "1", "Arn": location.arns[FUNCTION]}])

    def invoke(self, function: Any, event: Any) -> functions.Ran:
        self.year.runs += 1
        output = io.StringIO()
        exclude = {"exclude": list(self.build_options().exclude)}
        env = {"AWS_REGION": REGION, handler.OPTIONS_VARIABLE: json.dumps(exclude)}
        with contextlib.redirect_stdout(output), mock.patch.dict(os.environ, env):
            if self.year.strategy in CRONS:
                client = botocore.session.get_session().create_client("rds", REGION)
                run.run_region(client, self.build_options(), REGION, BedClock())
                return "null", False, output.getvalue()
            return json.dumps(handler.handle(event)), False, output.getvalue()


TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


class Readings:
    """DescribeDBClusters without the wire, which takes nine tenths of a year's time. The rules are the same as on the
    wire, and a throttled call is retried as often."""

    def __init__(self, attempts: int) -> None:
        self.attempts = attempts

    def __call__(self, **_dummy: Any) -> tuple[Any, dict[str, Any]]:
        """A handler of botocore's before-call event: its return value is the response."""
        backend = rds_life.rds_backends[paths.ACCOUNT][REGION]
        for attempt in range(self.attempts):
            try:
                found = backend.describe_db_clusters(None, None)
                return Status(200), {"DBClusters": [self.shown(cluster) for cluster in found], "ResponseMetadata": {}}
            except RDSClientError:
                CLOCK.advance(2**attempt)
        error = {"Code": "Throttling", "Message": "Rate exceeded"}
        return Status(400), {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def shown(self, cluster: Any) -> dict[str, Any]:
        return {
            "DBClusterArn": cluster.db_cluster_arn,
            "DBClusterIdentifier": cluster.db_cluster_identifier,
            "Engine": cluster.engine,
            "EngineVersion": cluster.engine_version,
            "EngineMode": cluster.engine_mode,
            "Status": cluster.status,
            "TagList": cluster.tags,
            "DBClusterMembers": [{"DBInstanceIdentifier": member.resource_id} for member in cluster.members],
            "GlobalClusterIdentifier": cluster.global_cluster_identifier,
            "ReadReplicaIdentifiers": cluster.read_replica_identifiers,
            "ReplicationSourceIdentifier": cluster.replication_source_identifier,
            "AutomaticRestartTime": getattr(cluster, "automatic_restart_time", None),
        }


@dataclass(frozen=True)
class Status:
    status_code: int


class BedClock(Clock):
    def now(self) -> datetime:
        return CLOCK.now()

    def sleep(self, seconds: float) -> None:
        CLOCK.advance(seconds)


def from_role(location: GuardLocation) -> dict[str, Any]:
    """The parameters of the role's queues and function in this location: the role's own tasks, templated by Ansible."""
    loader = DataLoader()

    def load(path: str) -> Any:
        return loader.load_from_file(str(ROLE / path), trusted_as_template=True)

    variables = {**load("defaults/main.yml"), **load("vars/main.yml")}
    variables["__aurora_autostop_region"] = {
        "name": location.region,
        "names": location.names,
        "arns": location.arns,
        "queue_policy": build_queue_policy(location),
    }
    variables["__aurora_autostop_guard"] = {"settings": SETTINGS}
    found = {}
    tasks = load("tasks/guard_present_region.yml")
    for task in itertools.chain.from_iterable(task.get("block", [task]) for task in tasks):
        for module, keys in GIVEN.items():
            if module in task:
                given = {key: value for key, value in task[module].items() if key in keys}
                given = Templar(loader=loader, variables=variables).template(given)
                found[f"{module} {given['name']}"] = given
    return found | {"schedule": DEFAULT_SWEEP_SCHEDULE}


@contextlib.contextmanager
def in_process(world: World) -> Iterator[None]:
    """The test bed's AWS in this process, with one clock for everything."""
    scenario = world.scenario
    session = botocore.session.get_session()
    session.set_credentials("x", "x")
    attempts = handler.CLIENT_CONFIG["retries"]["total_max_attempts"]
    session.register("before-call.rds.DescribeDBClusters", Readings(attempts))
    made: list[Any] = []
    create = session.create_client

    def create_once(*args: Any, **kwargs: Any) -> Any:
        if not made:
            made.append(create(*args, **kwargs))
        return made[0]

    change, deliver = rds_life.change, eventbridge.deliver
    watch = rules.Rule("every_stop_is_seen", "", RDSBackend, "stop_db_cluster", world.count_stop)
    source = timeline.Source(world.due, world.settle)
    with contextlib.ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        random.seed(scenario.seed)  # for botocore's delay before a retry
        stack.callback(CLOCK.reset)
        stack.callback(rds_life.set_settings)
        stack.callback(eventbridge.set_settings)
        for target, name, value in (
            (rds_life, "change", lambda *args: world.changed(change, *args)),
            (eventbridge, "deliver", lambda *args: world.delivered(deliver, *args)),
            (functions.MACHINE, "run", world.invoke),
            (handler, "Clock", BedClock),
            (run, "WORKERS", 1),  # in one order each time
            # Retries wait on the test bed's clock. Adaptive retries also spread calls by the machine's clock: not here.
            (time, "sleep", CLOCK.advance),
            (botocore.retries.bucket.TokenBucket, "acquire", lambda *args, **kwargs: True),
            (botocore.session, "get_session", lambda: session),  # clients are made once, not at each invocation
            (session, "create_client", create_once),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(mock.patch.dict(os.environ))
        os.environ.pop("AWS_ENDPOINT_URL", None)
        stack.enter_context(mock_aws())
        stack.enter_context(rules.installed([*rules.load(), watch]))
        CLOCK.stand(START)
        lost = 1.0 if world.year.strategy == DEAF else scenario.lost
        eventbridge.set_settings(
            lost=lost,
            late=scenario.late,
            doubled=scenario.doubled,
            reordered=scenario.reordered,
            seed=scenario.seed,
        )
        rds_life.set_settings(
            start_seconds=scenario.start_seconds[0],
            start_most=scenario.start_seconds[1],
            failing_share=scenario.failing_stops,
            stale_share=scenario.stale_reads,
            throttled_share=scenario.throttled,
            seed=scenario.seed,
        )
        timeline.SOURCES.append(source)
        stack.callback(timeline.SOURCES.remove, source)
        yield


def simulate(scenario: Scenario, strategy: str, report_progress: Callable[[str], None] = lambda text: None) -> Year:
    world = World(scenario, strategy)
    with in_process(world):
        world.fill()
        world.install()
        began = time.monotonic()
        for day in range(round(scenario.days)):
            timeline.advance(86400)
            if day % 28 == 27:
                world.year.end = CLOCK.now()
                report_progress(
                    f"{strategy}: day {day + 1}, {world.year.hours:.0f} h, {time.monotonic() - began:.0f} s"
                )
        world.year.end = CLOCK.now()
        queues = sqs_backends[paths.ACCOUNT][REGION].queues
        world.year.dead = sum(len(queue._messages) for name, queue in queues.items() if name.endswith("-dlq"))
    return world.year


def broken(year: Year) -> list[str]:
    """The promises that the guard did not keep."""
    found = [f"stopped by mistake: {stop}" for stop in year.wrong]
    late = max(year.after_event(), default=timedelta())
    if late > PROMISE:
        found.append(f"{late} from an event to the stop, not {PROMISE}")
    if year.longest() > SWEEP + RETRIED:
        found.append(f"{year.longest()} until a sweep stopped it, not {SWEEP}")
    return found
