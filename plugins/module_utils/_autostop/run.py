# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One region: observe, plan, apply, verify. Independent of Ansible and of Lambda, which both call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Optional

from .._aws_call import ApiError
from .._clock import Clock
from . import plan, rds, rejection, statuses, tags
from .migration import TAG
from .model import AutostopOptions, Database
from .plan import STOP, AutostopDecision
from .progress import StopProgress

# Stops of one region at a time: RDS throttles control calls per account and region.
WORKERS = 4


@dataclass(frozen=True)
class WaitOptions:
    """How long to wait for C(stopped), and the time between two readings, in seconds."""

    timeout: float
    delay: float


@dataclass(frozen=True)
class DatabaseOutcome:
    """The outcome of one decision. C(has_changes): a write succeeded, even if the decision as a whole failed.

    C(stop_uncertain): AWS may have accepted the stop, but its response was lost. Only a reading can tell.
    """

    decision: AutostopDecision
    status: str
    reason: str
    status_after: str
    has_changes: bool = False
    stop_accepted: bool = False
    stop_uncertain: bool = False
    verified: Optional[bool] = None
    ineligibility_reason: Optional[str] = None
    automatic_restart_time: Optional[datetime] = None

    @property
    def database(self) -> Database:
        return self.decision.database


@dataclass(frozen=True)
class RegionOutcome:
    """The outcome of one region. C(error) is set if the region could not be read, C(api_error) if a call failed.

    C(skip_reason): why the region was left out on purpose. C(unmatched_excludes): the names in the option exclude that
    no database here has. C(member_clusters): the cluster of each instance in one, by identifier and by ARN.
    """

    region: str
    outcomes: tuple[DatabaseOutcome, ...] = ()
    clusters_checked: int = 0
    instances_checked: int = 0
    untagged: int = 0
    unmatched_excludes: tuple[str, ...] = ()
    member_clusters: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: Optional[str] = None
    api_error: Optional[ApiError] = None
    skip_reason: Optional[str] = None
    instances_error: Optional[str] = None

    @property
    def has_credential_error(self) -> bool:
        return self.api_error is not None and self.api_error.is_credential_error

    @property
    def is_denied_by_organization(self) -> bool:
        return self.api_error is not None and self.api_error.is_denied_by_organization


def run_region(
    client: Any,
    options: AutostopOptions,
    region_name: str,
    clock: Clock,
    act: bool = True,
    wait_options: Optional[WaitOptions] = None,
) -> RegionOutcome:
    """Stops the region's databases. With C(act=False), returns what would be done."""
    now = clock.now()
    try:
        state = rds.observe(client, options, region_name, now)
    except ApiError as error:
        return RegionOutcome(region_name, error=error.explanation, api_error=error)
    decisions = plan.make_plan(options, state, now)
    outcomes = tuple(preview(decision) for decision in decisions)
    if act:
        with ThreadPoolExecutor(WORKERS) as pool:
            outcomes = tuple(pool.map(lambda decision: apply(client, decision), decisions))
        outcomes = _verify(client, outcomes, clock, wait_options)
    instances_error = state.read_errors.get("DescribeDBInstances")
    instances_required = instances_error and (options.include_instances or options.migrate_tags)
    warnings = [
        f"a reading failed, so AWS's own refusals decide instead: {text}" for text in state.read_errors.values()
    ]
    warnings += [text for decision in decisions for text in decision.warnings]
    decided_arns = {decision.database.arn for decision in decisions}
    return RegionOutcome(
        region_name,
        outcomes,
        clusters_checked=len(state.clusters),
        instances_checked=len(state.instances or ()),
        untagged=sum(
            cluster.arn not in decided_arns and tags.match_tags(cluster.tags, options).kind == tags.NONE
            for cluster in state.clusters
        ),
        unmatched_excludes=tuple(
            name
            for name in options.exclude
            if not any(plan.is_named(database, [name]) for database in plan.list_standalone_databases(state))
        ),
        member_clusters={
            name.casefold(): cluster.name
            for cluster in state.clusters
            for member in cluster.members
            for name in (member, cluster.get_member_arn(member))
        },
        warnings=tuple(f"{region_name}: {text}" for text in warnings),
        instances_error=instances_error if instances_required else None,
    )


def preview(decision: AutostopDecision) -> DatabaseOutcome:
    """The outcome as if every step had succeeded: what check mode shows."""
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
    """Applies the steps of one database in order. A step that fails is this database's failure alone."""
    outcome = replace(preview(decision), status_after=decision.database.status)
    errors = []
    for step in decision.steps:
        try:
            if step.action == STOP:
                status = rds.stop_database(client, decision.database)
                outcome = replace(
                    outcome, stop_accepted=True, has_changes=True, status_after=status or outcome.status_after
                )
            elif step.action == TAG:
                rds.add_tags(client, step.target, step.after["tags"] if step.after else {})
                outcome = replace(outcome, has_changes=True)
            else:
                rds.remove_tags(client, step.target, list(step.before["tags"]) if step.before else [])
                outcome = replace(outcome, has_changes=True)
        except ApiError as error:
            if step.action == STOP:
                outcome = _apply_rejection(outcome, error)
            else:
                outcome = replace(outcome, has_changes=outcome.has_changes or error.outcome_unknown)
                errors.append(f"{step.action} of {step.target} failed: {error.explanation}")
                if step.action == TAG:
                    break  # the cluster has no tag yet: removing it from the instance would lose it
    if errors:
        outcome = replace(outcome, status="failed", reason=" ".join([outcome.reason, *errors]))
    return outcome


def _apply_rejection(outcome: DatabaseOutcome, error: ApiError) -> DatabaseOutcome:
    stop_rejection = rejection.classify_error(error, outcome.database)
    status = stop_rejection.status
    if outcome.has_changes and status in ("ok", "skipped", "pending"):
        status = "changed"  # a tag has moved
    return replace(
        outcome,
        status=status,
        reason=stop_rejection.reason,
        status_after=stop_rejection.database_status or outcome.status_after,
        ineligibility_reason=stop_rejection.ineligibility_reason or outcome.ineligibility_reason,
        stop_uncertain=error.outcome_unknown,
    )


def _read_databases(client: Any, outcomes: Sequence[DatabaseOutcome]) -> dict[str, Database]:
    """Reads the clusters again in bulk, and the instances if one was stopped."""
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
    """Reads back what was stopped: once, or with C(wait) until every database is stopped."""
    outcomes = _resolve_uncertain_stops(client, outcomes)
    watched = [
        outcome
        for outcome in outcomes
        if outcome.stop_accepted or (wait_options and outcome.status_after == "stopping")
    ]
    if not watched:
        return outcomes
    if wait_options:
        verified = _wait_until_stopped(client, watched, clock, wait_options)
    else:
        try:
            databases = _read_databases(client, watched)
        except ApiError as error:
            reason = f"AWS accepted the stop, but the result could not be read: {error}."
            verified = [replace(outcome, reason=f"{outcome.reason} {reason}", verified=False) for outcome in watched]
        else:
            verified = [_verify_once(outcome, databases.get(outcome.database.arn)) for outcome in watched]
    by_arn = {outcome.database.arn: outcome for outcome in verified}
    return tuple(by_arn.get(outcome.database.arn, outcome) for outcome in outcomes)


def _resolve_uncertain_stops(client: Any, outcomes: tuple[DatabaseOutcome, ...]) -> tuple[DatabaseOutcome, ...]:
    """Reads whether the stops whose response was lost were accepted: each database was available before."""
    uncertain = [outcome for outcome in outcomes if outcome.stop_uncertain]
    if not uncertain:
        return outcomes
    databases: dict[str, Database] = {}
    read_error = "The next reading does not show it."
    try:
        databases = _read_databases(client, uncertain)
    except ApiError as error:
        read_error = f"The next reading failed, too: {error}."
    return tuple(
        _resolve_uncertain_stop(outcome, databases.get(outcome.database.arn), read_error)
        if outcome.stop_uncertain
        else outcome
        for outcome in outcomes
    )


def _resolve_uncertain_stop(outcome: DatabaseOutcome, database: Optional[Database], read_error: str) -> DatabaseOutcome:
    """Without a reading, the stop counts as a change: AWS may have done it."""
    if database is None:
        return replace(outcome, reason=f"{outcome.reason} {read_error}", has_changes=True, verified=False)
    if statuses.get_status_meaning(database.kind, database.status).group != statuses.OFF:
        return replace(outcome, reason=f"{outcome.reason} The next reading shows {database.status}.", verified=False)
    return replace(
        outcome,
        status="changed",
        reason=f"{outcome.decision.reason} AWS's response to the stop was lost, and the next reading shows the stop.",
        status_after=database.status,
        has_changes=True,
        stop_accepted=True,
    )


def _verify_once(outcome: DatabaseOutcome, database: Optional[Database]) -> DatabaseOutcome:
    if database and statuses.get_status_meaning(database.kind, database.status).group == statuses.OFF:
        return replace(
            outcome,
            status_after=database.status,
            verified=True,
            automatic_restart_time=database.automatic_restart_time,
        )
    observation = f"still shows {database.status}" if database else "does not show the database"
    reason = f"AWS accepted the stop, but the next reading {observation}. It can be stale: the stop is not verified."
    return replace(outcome, reason=f"{outcome.reason} {reason}", verified=False)


def _wait_until_stopped(
    client: Any, watched: Sequence[DatabaseOutcome], clock: Clock, wait_options: WaitOptions
) -> list[DatabaseOutcome]:
    """Polls in bulk until each database shows C(stopped) after C(stopping), or until the time-out."""
    began = clock.now()
    deadline = began + timedelta(seconds=wait_options.timeout)
    waiting = {outcome.database.arn: outcome for outcome in watched}
    progress = {
        outcome.database.arn: StopProgress(began, outcome.status_after)
        if outcome.stop_accepted
        else StopProgress(began, observed_statuses=(outcome.status_after,))
        for outcome in watched
    }
    done: list[DatabaseOutcome] = []
    read_error = ""
    while True:
        databases: dict[str, Database] = {}
        try:
            databases = _read_databases(client, list(waiting.values()))
            read_error = ""
        except ApiError as error:  # a failed reading does not end the wait
            read_error = f" The last reading failed: {error}."
        for arn in [arn for arn in waiting if arn in databases]:
            database = databases[arn]
            progress[arn] = progress[arn].add_status(database.status, database.automatic_restart_time, clock.now())
            if progress[arn].result:
                done.append(_build_final_outcome(waiting.pop(arn), progress[arn], database))
        if not waiting:
            return done
        if clock.now() >= deadline:
            break
        clock.sleep(min(wait_options.delay, max(0.0, (deadline - clock.now()).total_seconds())))
    for arn, outcome in waiting.items():
        observed = ", ".join(progress[arn].observed_statuses) or "nothing"
        reason = (
            f"It was not stopped within {wait_options.timeout:g} seconds (observed: {observed}).{read_error} The stop "
            "continues in AWS. Run again to check, or increase wait_timeout."
        )
        after = progress[arn].observed_statuses[-1] if progress[arn].observed_statuses else outcome.status_after
        done.append(replace(outcome, status="failed", reason=reason, status_after=after, verified=False))
    return done


def _build_final_outcome(outcome: DatabaseOutcome, progress: StopProgress, database: Database) -> DatabaseOutcome:
    if progress.result == "stopped":
        return replace(
            outcome,
            reason=outcome.reason if outcome.stop_accepted else "It was being stopped already, and is stopped now.",
            status_after=database.status,
            verified=True,
            automatic_restart_time=database.automatic_restart_time,
        )
    reason = (
        f"It returned from stopping (observed: {', '.join(progress.observed_statuses)}). The stop failed in AWS, or "
        "somebody started the database. Check its events for RDS-EVENT-0152, then run again."
    )
    return replace(outcome, status="failed", reason=reason, status_after=database.status, verified=False)
