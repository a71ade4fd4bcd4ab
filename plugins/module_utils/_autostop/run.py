# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One region from end to end: observe, plan, apply, verify. Knows neither Ansible nor Lambda, which both call it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Optional

from .._clock import Clock
from . import plan, rds, rejection, statuses, tags
from .errors import AutostopApiError
from .model import AutostopOptions, Database
from .plan import STOP, TAG, AutostopDecision, StopProgress

# Stops of one region at a time: RDS throttles control calls per account and region.
WORKERS = 4


@dataclass(frozen=True)
class WaitOptions:
    """How long to wait for C(stopped), and how long between two readings, in seconds."""

    timeout: float
    delay: float


@dataclass(frozen=True)
class DatabaseOutcome:
    """What became of one decision. C(wrote): something was changed, also where the whole failed."""

    decision: AutostopDecision
    status: str
    reason: str
    status_after: str
    has_changes: bool = False
    stop_accepted: bool = False
    verified: Optional[bool] = None
    ineligibility_reason: Optional[str] = None
    automatic_restart_time: Optional[datetime] = None

    @property
    def database(self) -> Database:
        return self.decision.database


@dataclass(frozen=True)
class RegionOutcome:
    """Everything about one region. C(error) is set where nothing could be read at all. C(not_excluded): what of the
    option exclude names nothing here."""

    region: str
    outcomes: tuple[DatabaseOutcome, ...] = ()
    clusters_checked: int = 0
    instances_checked: int = 0
    untagged: int = 0
    unmatched_excludes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Optional[str] = None
    instances_error: Optional[str] = None


def run_region(
    client: Any,
    options: AutostopOptions,
    region_name: str,
    clock: Clock,
    act: bool = True,
    wait_options: Optional[WaitOptions] = None,
) -> RegionOutcome:
    """Brings the region's databases to rest; with C(act=False), says what would be done."""
    now = clock.now()
    try:
        view = rds.observe(client, options, region_name, now)
    except AutostopApiError as error:
        return RegionOutcome(region_name, error=f"{error}. {error.suggestion}")
    decisions = plan.decide(options, view, now)
    outcomes = tuple(preview(decision) for decision in decisions)
    if act:
        with ThreadPoolExecutor(WORKERS) as pool:
            outcomes = tuple(pool.map(lambda decision: apply(client, decision), decisions))
        outcomes = _verify(client, outcomes, clock, wait_options)
    unread = view.read_errors.get("DescribeDBInstances")
    demanded = unread and (options.include_instances or options.migrate_tags)
    warnings = [f"not read, AWS's own refusals stand in: {text}" for text in view.read_errors.values()]
    warnings += [text for decision in decisions for text in decision.warnings]
    told = {decision.database.arn for decision in decisions}
    return RegionOutcome(
        region_name,
        outcomes,
        clusters_checked=len(view.clusters),
        instances_checked=len(view.instances or ()),
        untagged=sum(
            cluster.arn not in told and tags.match_tags(cluster.tags, options).kind == tags.NONE
            for cluster in view.clusters
        ),
        unmatched_excludes=tuple(
            given
            for given in options.exclude
            if not any(plan.is_named(database, [given]) for database in plan.list_standalone_databases(view))
        ),
        warnings=tuple(f"{region_name}: {text}" for text in warnings),
        instances_error=unread if demanded else None,
    )


def preview(decision: AutostopDecision) -> DatabaseOutcome:
    """As if every step had been carried out: what check mode shows."""
    after = decision.database.status
    for step in decision.steps:
        if step.action == STOP:
            after = step.after["status"] if step.after else after
    return DatabaseOutcome(
        decision,
        decision.status,
        decision.reason,
        after,
        automatic_restart_time=decision.database.automatic_restart_time,
        ineligibility_reason=decision.ineligibility_reason,
    )


def apply(client: Any, decision: AutostopDecision) -> DatabaseOutcome:
    """The steps of one database in their order. One that fails is its own failure, and ends none of the others."""
    outcome = replace(preview(decision), status_after=decision.database.status)
    troubles = []
    for step in decision.steps:
        try:
            if step.action == STOP:
                answered = rds.stop_database(client, decision.database)
                outcome = replace(
                    outcome, stop_accepted=True, has_changes=True, status_after=answered or outcome.status_after
                )
            elif step.action == TAG:
                rds.add_tags(client, step.target, step.after["tags"] if step.after else {})
                outcome = replace(outcome, has_changes=True)
            else:
                rds.remove_tags(client, step.target, list(step.before["tags"]) if step.before else [])
                outcome = replace(outcome, has_changes=True)
        except AutostopApiError as error:
            if step.action == STOP:
                outcome = _apply_rejection(outcome, error)
            else:
                troubles.append(f"{step.action} of {step.target} failed: {error}. {error.suggestion}")
                if step.action == TAG:
                    break  # without the tag on the cluster, taking it off the instance would lose it
    if troubles:
        outcome = replace(outcome, status="failed", reason=" ".join([outcome.reason, *troubles]))
    return outcome


def _apply_rejection(outcome: DatabaseOutcome, error: AutostopApiError) -> DatabaseOutcome:
    verdict = rejection.classify_error(error, outcome.database)
    status = verdict.status
    if outcome.has_changes and status in ("ok", "skipped", "pending"):
        status = "changed"  # a tag has moved
    return replace(
        outcome,
        status=status,
        reason=verdict.reason,
        status_after=verdict.database_status or outcome.status_after,
        ineligibility_reason=verdict.ineligibility_reason or outcome.ineligibility_reason,
    )


def _read_databases(client: Any, outcomes: Sequence[DatabaseOutcome]) -> dict[str, Database]:
    """The same bulk readings once more: of clusters, and of instances where one was stopped."""
    kinds = {outcome.database.kind for outcome in outcomes}
    found: dict[str, Database] = {}
    if "cluster" in kinds:
        found.update({cluster.arn: cluster for cluster in rds.list_clusters(client)})
    if "instance" in kinds:
        found.update({instance.arn: instance for instance in rds.list_instances(client)})
    return found


def _verify(
    client: Any, outcomes: tuple[DatabaseOutcome, ...], clock: Clock, wait_options: Optional[WaitOptions]
) -> tuple[DatabaseOutcome, ...]:
    """Reads back what was stopped. Without waiting once, with it until everything has been seen stopped."""
    watched = [one for one in outcomes if one.stop_accepted or (wait_options and one.status_after == "stopping")]
    if not watched:
        return outcomes
    if wait_options:
        proved = _wait_until_stopped(client, watched, clock, wait_options)
    else:
        try:
            now = _read_databases(client, watched)
        except AutostopApiError as error:
            reason = f"AWS took the stop; what came of it could not be read: {error}."
            proved = [replace(one, reason=f"{one.reason} {reason}", verified=False) for one in watched]
        else:
            proved = [_verify_once(one, now.get(one.database.arn)) for one in watched]
    by_arn = {one.database.arn: one for one in proved}
    return tuple(by_arn.get(one.database.arn, one) for one in outcomes)


def _verify_once(outcome: DatabaseOutcome, database: Optional[Database]) -> DatabaseOutcome:
    if database and statuses.get_status_meaning(database.kind, database.status).group == statuses.OFF:
        return replace(
            outcome,
            status_after=database.status,
            verified=True,
            automatic_restart_time=database.automatic_restart_time,
        )
    said = f"still shows {database.status}" if database else "does not show it"
    reason = f"AWS took the stop, but a reading just afterwards {said}, which can be stale: not verified."
    return replace(outcome, reason=f"{outcome.reason} {reason}", verified=False)


def _wait_until_stopped(
    client: Any, watched: Sequence[DatabaseOutcome], clock: Clock, wait_options: WaitOptions
) -> list[DatabaseOutcome]:
    """Bulk readings until every database has been seen stopped after stopping, or the time is up."""
    began = clock.now()
    deadline = began + timedelta(seconds=wait_options.timeout)
    open_ = {one.database.arn: one for one in watched}
    progress = {
        one.database.arn: StopProgress(began, ("stopping",) if one.status_after == "stopping" else ())
        for one in watched
    }
    done: list[DatabaseOutcome] = []
    trouble = ""
    while True:
        now: dict[str, Database] = {}
        try:
            now = _read_databases(client, list(open_.values()))
            trouble = ""
        except AutostopApiError as error:  # one failed reading of many is no reason to give up
            trouble = f" The last reading failed: {error}."
        for arn in [arn for arn in open_ if arn in now]:
            progress[arn] = progress[arn].add_status(now[arn].status, now[arn].automatic_restart_time)
            if progress[arn].result:
                done.append(_build_final_outcome(open_.pop(arn), progress[arn], now[arn]))
        if not open_:
            return done
        if clock.now() >= deadline:
            break
        clock.sleep(min(wait_options.delay, max(0.0, (deadline - clock.now()).total_seconds())))
    for arn, one in open_.items():
        seen = ", ".join(progress[arn].observed_statuses) or "nothing"
        reason = (
            f"It was not seen stopped within {wait_options.timeout:g} seconds (seen: {seen}).{trouble} The stop goes on in "
            "AWS; run again to see, or raise wait_timeout."
        )
        after = progress[arn].observed_statuses[-1] if progress[arn].observed_statuses else one.status_after
        done.append(replace(one, status="failed", reason=reason, status_after=after, verified=False))
    return done


def _build_final_outcome(outcome: DatabaseOutcome, progress: StopProgress, database: Database) -> DatabaseOutcome:
    if progress.result == "stopped":
        return replace(
            outcome,
            status_after=database.status,
            verified=True,
            automatic_restart_time=database.automatic_restart_time,
        )
    reason = (
        f"It came back: seen {', '.join(progress.observed_statuses)}. The stop failed in AWS, or somebody started it. "
        "See the cluster's events (RDS-EVENT-0152), and run again."
    )
    return replace(outcome, status="failed", reason=reason, status_after=database.status, verified=False)
