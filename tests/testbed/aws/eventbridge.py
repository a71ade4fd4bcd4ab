# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EventBridge: schedules that fire, and events of services on their way to queues and functions, which can get lost."""

from __future__ import annotations

import copy
import fnmatch
import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from moto.awslambda.utils import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.events.exceptions import ValidationException
from moto.events.models import EventsBackend, Rule, events_backends
from moto.moto_api._internal import mock_random
from moto.sqs.models import sqs_backends

from . import schedule, timeline
from .clock import CLOCK
from .control import command
from .rules import rule

# EventBridge invokes functions asynchronously; one that fails is tried again after one minute and after two (Lambda
# guide, "Asynchronous invocation").
RETRIES = (60, 120)
HELD_BACK = 900  # seconds that a reordered event waits at most for the next one


@dataclass
class Settings:
    """Faults of the delivery of events, as shares of all events: RDS delivers with best effort.

    (docs/facts/autostop.md#rds-events)
    """

    lost: float = 0.0
    late: float = 0.0
    late_seconds: float = 3600.0  # at most
    doubled: float = 0.0
    reordered: float = 0.0  # held back until the next event has passed
    seed: int = 1

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - the same faults each time

    def happens(self, share: float) -> bool:
        return share > 0 and self.dice.random() < share


SETTINGS = Settings()


@command("events/settings")
def set_settings(**changes: Any) -> None:
    """Restore the defaults, then apply the given changes."""
    SETTINGS.__init__(**changes)  # type: ignore[misc]  # the rules hold this very object


# Events in transit, in the order of their arrival: kept in moto's backend, so that a reset of the account drops them

_NUMBERS = itertools.count()
Arrival = tuple[datetime, int, Callable[[], None]]


def _arrivals(backend: EventsBackend) -> list[Arrival]:
    kept: list[Arrival] = backend.__dict__.setdefault("testbed_arrivals", [])
    return kept


def later(backend: EventsBackend, when: datetime, what: Callable[[], None]) -> None:
    heapq.heappush(_arrivals(backend), (when, next(_NUMBERS), what))


def emit(
    region: str, source: str, detail_type: str, resources: list[str], detail: dict[str, Any], when: datetime
) -> None:
    """Send an event of a service."""
    backend = events_backends[DEFAULT_ACCOUNT_ID][region]
    event = envelope(backend, source, detail_type, resources, detail, when)
    held = backend.__dict__.setdefault("testbed_held", [])
    if SETTINGS.happens(SETTINGS.lost):
        return
    for _copy in range(2 if SETTINGS.happens(SETTINGS.doubled) else 1):
        arrives = when
        if SETTINGS.happens(SETTINGS.late):
            arrives += timedelta(seconds=SETTINGS.dice.uniform(0, SETTINGS.late_seconds))
        if SETTINGS.happens(SETTINGS.reordered):
            held.append(event)
            later(backend, arrives + timedelta(seconds=HELD_BACK), lambda: _let_go(backend, [event]))
        else:
            later(backend, arrives, lambda: deliver(backend, event))
            later(backend, arrives, lambda: _let_go(backend, list(held)))


def _let_go(backend: EventsBackend, events: list[dict[str, Any]]) -> None:
    held = backend.__dict__["testbed_held"]
    for event in events:
        if event in held:
            held.remove(event)
            deliver(backend, event)


def envelope(
    backend: EventsBackend, source: str, detail_type: str, resources: list[str], detail: dict[str, Any], when: datetime
) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(mock_random.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": backend.account_id,
        "time": stamp(when),
        "region": backend.region_name,
        "resources": resources,
        "detail": detail,
    }


def stamp(when: datetime) -> str:
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def deliver(backend: EventsBackend, event: dict[str, Any]) -> None:
    for event_rule in list(backend.event_buses["default"].rules.values()):
        event_rule.send_to_targets(event)


# Schedules


def _rules(backend: EventsBackend) -> Iterator[Rule]:
    for event_rule in list(backend.event_buses["default"].rules.values()):
        if event_rule.scheduled_expression and event_rule.state == "ENABLED":
            yield event_rule


def _fires(event_rule: Any) -> datetime | None:
    if not hasattr(event_rule, "testbed_fires"):
        event_rule.testbed_fires = schedule.parse(event_rule.scheduled_expression).after(CLOCK.now())
    fires: datetime | None = event_rule.testbed_fires
    return fires


def _due() -> datetime | None:
    moments = []
    for backend in list(events_backends[DEFAULT_ACCOUNT_ID].values()):
        moments += [fires for event_rule in _rules(backend) if (fires := _fires(event_rule))]
        moments += [arrival[0] for arrival in _arrivals(backend)[:1]]
    return min(moments, default=None)


def _settle() -> None:
    for backend in list(events_backends[DEFAULT_ACCOUNT_ID].values()):
        for event_rule in _rules(backend):
            while (fires := _fires(event_rule)) and fires <= CLOCK.now():
                event_rule.testbed_fires = schedule.parse(event_rule.scheduled_expression).after(fires)
                _send(event_rule, envelope(backend, "aws.events", "Scheduled Event", [event_rule.arn], {}, fires))
        arrivals = _arrivals(backend)
        while arrivals and arrivals[0][0] <= CLOCK.now():
            heapq.heappop(arrivals)[2]()


timeline.source(_due, _settle)


@rule(
    EventsBackend,
    "put_rule",
    fact="PutRule refuses an invalid schedule: ValidationException, 'Parameter ScheduleExpression is not valid.' "
    "(public reports); moto checks little more than the word cron",
)
def schedules_are_valid(plain: Callable[..., Any], backend: EventsBackend, name: str, *args: Any, **kwargs: Any) -> Any:
    expression = kwargs.get("scheduled_expression")
    if expression:
        try:
            schedule.parse(expression)
        except schedule.ExpressionError as error:
            raise ValidationException("Parameter ScheduleExpression is not valid.") from error
    return plain(backend, name, *args, **kwargs)


# Targets


@rule(
    Rule,
    "send_to_targets",
    fact="A rule that is enabled sends matching events whole, or a target's constant Input, to queues and functions "
    "(EventBridge guide); moto sends those of disabled rules as well, without their account, and to no function",
)
def targets_get_the_whole_event(plain: Callable[..., Any], event_rule: Any, event: dict[str, Any], *args: Any) -> None:
    if event_rule.state != "ENABLED" or not event_rule.event_pattern.get_pattern():
        return
    if event_rule.event_pattern.matches_event(event):
        _send(event_rule, {key: value for key, value in event.items() if key != "ingestion-time"})
    others = copy.copy(event_rule)
    others.targets = [target for target in event_rule.targets if not _ours(target)]
    plain(others, event, *args)


def _ours(target: dict[str, Any]) -> bool:
    return ":sqs:" in target["Arn"] or ":lambda:" in target["Arn"]


def _send(event_rule: Any, event: dict[str, Any]) -> None:
    if isinstance(event["time"], (int, float)):  # of PutEvents, as moto keeps it
        event["time"] = stamp(datetime.fromtimestamp(event["time"], timezone.utc))
    backend = events_backends[event_rule.account_id][event_rule.region_name]
    for target in filter(_ours, event_rule.targets):
        text = target.get("Input") or json.dumps(event)
        if ":sqs:" in target["Arn"]:
            _to_queue(event_rule, target, text)
        else:
            _to_function(backend, event_rule, target, text)


def _to_queue(event_rule: Any, target: dict[str, Any], text: str) -> None:
    queues = sqs_backends[event_rule.account_id][event_rule.region_name]
    queue = queues.queues.get(target["Arn"].rpartition(":")[2])
    # "EventBridge must be allowed to send to the queue by the queue's own policy" (EventBridge guide); without it the
    # event is gone, as it is without the queue.
    if queue and allows(json.loads(queue.policy or "{}"), "sqs:SendMessage", event_rule.arn):
        group = target.get("SqsParameters", {}).get("MessageGroupId")
        queues.send_message(queue_name=queue.name, message_body=text, group_id=group)


def _to_function(backend: EventsBackend, event_rule: Any, target: dict[str, Any], text: str, attempt: int = 0) -> None:
    functions = get_backend(event_rule.account_id, event_rule.region_name)
    function = functions._lambdas.get_arn(target["Arn"])
    if not function or not allows({"Statement": function.policy.statements}, "lambda:InvokeFunction", event_rule.arn):
        return
    headers: dict[str, Any] = {}
    functions.invoke(target["Arn"], None, text, {"x-amz-invocation-type": "Event"}, headers)
    if "x-amz-function-error" in headers and attempt < len(RETRIES):
        when = CLOCK.now() + timedelta(seconds=RETRIES[attempt])
        later(backend, when, lambda: _to_function(backend, event_rule, target, text, attempt + 1))


def allows(policy: dict[str, Any], action: str, source_arn: str) -> bool:
    """Return whether a resource's policy allows EventBridge this action for a rule. The only known condition is
    aws:SourceArn."""
    for statement in policy.get("Statement", []):
        principals = statement.get("Principal")
        services = _listed(principals.get("Service")) if isinstance(principals, dict) else _listed(principals)
        actions = [str(name).lower() for name in _listed(statement.get("Action"))]
        sources = [
            pattern
            for test in statement.get("Condition", {}).values()
            for key, value in test.items()
            if key.lower() == "aws:sourcearn"
            for pattern in _listed(value)
        ]
        if (
            statement.get("Effect") == "Allow"
            and ("events.amazonaws.com" in services or "*" in services)
            and any(fnmatch.fnmatchcase(action.lower(), pattern) for pattern in actions)
            and (not sources or any(fnmatch.fnmatchcase(source_arn, pattern) for pattern in sources))
        ):
            return True
    return False


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
