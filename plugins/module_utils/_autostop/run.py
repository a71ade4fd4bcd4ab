# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One region from end to end: observe, plan, apply, verify. Knows neither Ansible nor Lambda, which both call it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Optional

from . import plan, rds, refusal, statuses, tags
from .errors import ServiceError
from .model import Database, Wanted
from .plan import STOP, TAG, Decision, Progress

# Stops of one region at a time: RDS throttles control calls per account and region.
WORKERS = 4


class Clock:
    """The time, which tests and the Lambda's own limit set otherwise."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True)
class Waiting:
    """How long to wait for C(stopped), and how long between two readings, in seconds."""

    timeout: float
    delay: float


@dataclass(frozen=True)
class Outcome:
    """What became of one decision. C(wrote): something was changed, also where the whole failed."""

    decision: Decision
    status: str
    reason: str
    after: str
    wrote: bool = False
    stop_accepted: bool = False
    verified: Optional[bool] = None
    obstacle: Optional[str] = None
    automatic_restart_time: Optional[datetime] = None

    @property
    def database(self) -> Database:
        return self.decision.database


@dataclass(frozen=True)
class RegionOutcome:
    """Everything about one region. C(error) is set where nothing could be read at all. C(not_excluded): what of the
    option exclude names nothing here."""

    region: str
    outcomes: tuple[Outcome, ...] = ()
    seen: int = 0
    seen_instances: int = 0
    untagged: int = 0
    not_excluded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Optional[str] = None
    incomplete: Optional[str] = None


def region(
    client: Any,
    wanted: Wanted,
    name: str,
    clock: Clock,
    act: bool = True,
    waiting: Optional[Waiting] = None,
) -> RegionOutcome:
    """Brings the region's databases to rest; with C(act=False), says what would be done."""
    now = clock.now()
    try:
        view = rds.observe(client, wanted, name, now)
    except ServiceError as error:
        return RegionOutcome(name, error=f"{error}. {error.way_out}")
    decisions = plan.decide(wanted, view, now)
    outcomes = tuple(preview(decision) for decision in decisions)
    if act:
        with ThreadPoolExecutor(WORKERS) as pool:
            outcomes = tuple(pool.map(lambda decision: carry_out(client, decision), decisions))
        outcomes = _verified(client, outcomes, clock, waiting)
    unread = view.unread.get("DescribeDBInstances")
    demanded = unread and (wanted.include_instances or wanted.migrate_tags)
    warnings = [f"not read, AWS's own refusals stand in: {text}" for text in view.unread.values()]
    warnings += [text for decision in decisions for text in decision.warnings]
    told = {decision.database.arn for decision in decisions}
    return RegionOutcome(
        name,
        outcomes,
        seen=len(view.clusters),
        seen_instances=len(view.instances or ()),
        untagged=sum(
            cluster.arn not in told and tags.read(cluster.tags, wanted).says == tags.NONE for cluster in view.clusters
        ),
        not_excluded=tuple(
            given
            for given in wanted.exclude
            if not any(plan.named(database, [given]) for database in plan.on_their_own(view))
        ),
        warnings=tuple(f"{name}: {text}" for text in warnings),
        incomplete=unread if demanded else None,
    )


def preview(decision: Decision) -> Outcome:
    """As if every step had been carried out: what check mode shows."""
    after = decision.database.status
    for step in decision.steps:
        if step.action == STOP:
            after = step.after["status"] if step.after else after
    return Outcome(
        decision,
        decision.status,
        decision.reason,
        after,
        automatic_restart_time=decision.database.automatic_restart_time,
        obstacle=decision.obstacle,
    )


def carry_out(client: Any, decision: Decision) -> Outcome:
    """The steps of one database in their order. One that fails is its own failure, and ends none of the others."""
    outcome = replace(preview(decision), after=decision.database.status)
    troubles = []
    for step in decision.steps:
        try:
            if step.action == STOP:
                answered = rds.stop(client, decision.database)
                outcome = replace(outcome, stop_accepted=True, wrote=True, after=answered or outcome.after)
            elif step.action == TAG:
                rds.tag(client, step.target, step.after["tags"] if step.after else {})
                outcome = replace(outcome, wrote=True)
            else:
                rds.untag(client, step.target, list(step.before["tags"]) if step.before else [])
                outcome = replace(outcome, wrote=True)
        except ServiceError as error:
            if step.action == STOP:
                outcome = _refused(outcome, error)
            else:
                troubles.append(f"{step.action} of {step.target} failed: {error}. {error.way_out}")
                if step.action == TAG:
                    break  # without the tag on the cluster, taking it off the instance would lose it
    if troubles:
        outcome = replace(outcome, status="failed", reason=" ".join([outcome.reason, *troubles]))
    return outcome


def _refused(outcome: Outcome, error: ServiceError) -> Outcome:
    verdict = refusal.judge(error, outcome.database)
    status = verdict.status
    if outcome.wrote and status in ("ok", "skipped", "pending"):
        status = "changed"  # a tag has moved
    return replace(
        outcome,
        status=status,
        reason=verdict.reason,
        after=verdict.state or outcome.after,
        obstacle=verdict.obstacle or outcome.obstacle,
    )


def _read(client: Any, outcomes: Sequence[Outcome]) -> dict[str, Database]:
    """The same bulk readings once more: of clusters, and of instances where one was stopped."""
    kinds = {outcome.database.kind for outcome in outcomes}
    found: dict[str, Database] = {}
    if "cluster" in kinds:
        found.update({cluster.arn: cluster for cluster in rds.clusters(client)})
    if "instance" in kinds:
        found.update({instance.arn: instance for instance in rds.instances(client)})
    return found


def _verified(
    client: Any, outcomes: tuple[Outcome, ...], clock: Clock, waiting: Optional[Waiting]
) -> tuple[Outcome, ...]:
    """Reads back what was stopped. Without waiting once, with it until everything has been seen stopped."""
    watched = [one for one in outcomes if one.stop_accepted or (waiting and one.after == "stopping")]
    if not watched:
        return outcomes
    if waiting:
        proved = _awaited(client, watched, clock, waiting)
    else:
        try:
            now = _read(client, watched)
        except ServiceError as error:
            reason = f"AWS took the stop; what came of it could not be read: {error}."
            proved = [replace(one, reason=f"{one.reason} {reason}", verified=False) for one in watched]
        else:
            proved = [_checked(one, now.get(one.database.arn)) for one in watched]
    by_arn = {one.database.arn: one for one in proved}
    return tuple(by_arn.get(one.database.arn, one) for one in outcomes)


def _checked(outcome: Outcome, database: Optional[Database]) -> Outcome:
    if database and statuses.line_of(database.kind, database.status).group == statuses.AT_REST:
        return replace(
            outcome,
            after=database.status,
            verified=True,
            automatic_restart_time=database.automatic_restart_time,
        )
    said = f"still shows {database.status}" if database else "does not show it"
    reason = f"AWS took the stop, but a reading just afterwards {said}, which can be stale: not verified."
    return replace(outcome, reason=f"{outcome.reason} {reason}", verified=False)


def _awaited(client: Any, watched: Sequence[Outcome], clock: Clock, waiting: Waiting) -> list[Outcome]:
    """Bulk readings until every database has been seen stopped after stopping, or the time is up."""
    began = clock.now()
    deadline = began + timedelta(seconds=waiting.timeout)
    open_ = {one.database.arn: one for one in watched}
    progress = {one.database.arn: Progress(began, ("stopping",) if one.after == "stopping" else ()) for one in watched}
    done: list[Outcome] = []
    trouble = ""
    while True:
        now: dict[str, Database] = {}
        try:
            now = _read(client, list(open_.values()))
            trouble = ""
        except ServiceError as error:  # one failed reading of many is no reason to give up
            trouble = f" The last reading failed: {error}."
        for arn in [arn for arn in open_ if arn in now]:
            progress[arn] = progress[arn].after(now[arn].status, now[arn].automatic_restart_time)
            if progress[arn].verdict:
                done.append(_settled(open_.pop(arn), progress[arn], now[arn]))
        if not open_:
            return done
        if clock.now() >= deadline:
            break
        clock.sleep(min(waiting.delay, max(0.0, (deadline - clock.now()).total_seconds())))
    for arn, one in open_.items():
        seen = ", ".join(progress[arn].seen) or "nothing"
        reason = (
            f"It was not seen stopped within {waiting.timeout:g} seconds (seen: {seen}).{trouble} The stop goes on in "
            "AWS; run again to see, or raise wait_timeout."
        )
        after = progress[arn].seen[-1] if progress[arn].seen else one.after
        done.append(replace(one, status="failed", reason=reason, after=after, verified=False))
    return done


def _settled(outcome: Outcome, progress: Progress, database: Database) -> Outcome:
    if progress.verdict == "stopped":
        return replace(
            outcome,
            after=database.status,
            verified=True,
            automatic_restart_time=database.automatic_restart_time,
        )
    reason = (
        f"It came back: seen {', '.join(progress.seen)}. The stop failed in AWS, or somebody started it. "
        "See the cluster's events (RDS-EVENT-0152), and run again."
    )
    return replace(outcome, status="failed", reason=reason, after=database.status, verified=False)
