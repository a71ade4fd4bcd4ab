# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions: which databases to stop, which to skip, and why. Pure: no network, no clock, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Optional

from .._plan import Step
from . import eligibility, statuses, tags
from .model import AuroraCluster, AutostopOptions, Database, DbInstance, MaintenanceAction, RegionState
from .tags import MATCH, MISMATCH, NONE, Hold, TagMatch

TAG = "tag_cluster"
UNTAG = "untag_instance"
STOP = "stop"

# A maintenance window comes once a week, and AWS starts a stopped database after seven days
# (docs/facts/autostop.md#seven-day-restart). Maintenance that is due later runs at a later start.
MAINTENANCE_HORIZON = timedelta(days=7)


@dataclass(frozen=True)
class AutostopDecision:
    """The steps for one database, and why. C(status) is the item's status as if all steps had been applied."""

    database: Database
    status: str
    reason: str
    steps: tuple[Step, ...] = ()
    tag_source: Optional[str] = None
    ineligibility_reason: Optional[str] = None
    hold: Optional[Hold] = None
    maintenance: tuple[MaintenanceAction, ...] = ()
    start_type: Optional[str] = None
    tag_mismatch: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def has_stop_step(self) -> bool:
        return any(step.action == STOP for step in self.steps)


@dataclass(frozen=True)
class MissingReadings:
    """Which readings a decision still needs."""

    global_members: bool = False
    blue_green: bool = False
    maintenance: bool = False
    start_type_kinds: tuple[str, ...] = ()  # kinds: cluster, instance


@dataclass(frozen=True)
class _TagMigration:
    """The tag migration from a cluster's instances to the cluster, or why there is none."""

    steps: tuple[Step, ...] = ()
    added_tags: dict[str, str] = field(default_factory=dict)
    source: Optional[str] = None
    conflict_reason: Optional[str] = None
    misplaced_reason: Optional[str] = None


def needs_instances(options: AutostopOptions, clusters: Sequence[AuroraCluster]) -> bool:
    """Whether to read instances: because the options include them, or because a tag may be on one by mistake."""
    return options.include_instances or any(
        _is_aurora(cluster)
        and cluster.members
        and is_in_scope(cluster, options)
        and (options.migrate_tags or tags.match_tags(cluster.tags, options).kind != MATCH)
        for cluster in clusters
    )


def find_missing_readings(options: AutostopOptions, current: RegionState, now: datetime) -> MissingReadings:
    """Which other readings are necessary: only those that can still prevent a stop.

    A first decision without policy and maintenance finds the databases that would be stopped; only those need more.
    """
    lenient = replace(options, sweep_policy="all", finish_maintenance=False)
    stopped = [decision.database for decision in make_plan(lenient, current, now) if decision.has_stop_step]
    policy = options.sweep_policy == "auto_started_only"
    return MissingReadings(
        global_members=current.global_members is None
        and any(isinstance(d, AuroraCluster) and d.global_cluster for d in stopped),
        blue_green=current.blue_green is None and bool(stopped),
        maintenance=current.maintenance is None and bool(stopped),
        start_type_kinds=tuple(sorted({d.kind for d in stopped})) if policy and current.start_types is None else (),
    )


def is_in_scope(database: Database, options: AutostopOptions) -> bool:
    """Whether the options select a database by its name: in C(clusters), if given, and not in C(exclude)."""
    return (not options.clusters or is_named(database, options.clusters)) and not is_named(database, options.exclude)


def is_named(database: Database, names: Sequence[str]) -> bool:
    """RDS stores identifiers in lower case, so identifiers match in any case."""
    return any(name == database.arn or name.casefold() == database.name.casefold() for name in names)


def make_plan(options: AutostopOptions, current: RegionState, now: datetime) -> tuple[AutostopDecision, ...]:
    """One decision per database to report: tagged, with a tag mismatch, or named in C(clusters)."""
    found = [_decide_cluster(cluster, options, current, now) for cluster in current.clusters]
    if options.include_instances:
        found += [
            _decide_instance(database, options, current, now)
            for database in list_standalone_databases(current)
            if isinstance(database, DbInstance)
        ]
    return tuple(decision for decision in found if decision)


def list_standalone_databases(current: RegionState) -> tuple[Database, ...]:
    """All databases with a decision of their own. Instances of Aurora clusters belong to their cluster's decision."""
    clusters = {cluster.name for cluster in current.clusters if _is_aurora(cluster)}
    alone = (instance for instance in current.instances or () if instance.cluster not in clusters)
    return (*current.clusters, *alone)


def _decide_cluster(
    cluster: AuroraCluster, options: AutostopOptions, current: RegionState, now: datetime
) -> Optional[AutostopDecision]:
    named = bool(options.clusters) and is_named(cluster, options.clusters)
    if options.clusters and not named:
        return None
    tag_match = tags.match_tags(cluster.tags, options)
    migration = _plan_tag_migration(cluster, tag_match, options, current) if _is_aurora(cluster) else _TagMigration()
    if not migration.source and tag_match.kind == NONE and not named:
        return None
    if is_named(cluster, options.exclude):
        return AutostopDecision(
            cluster, "skipped", "It is excluded by name.", tag_source=_get_tag_source(tag_match, migration)
        )
    if migration.conflict_reason or migration.misplaced_reason:
        reason = migration.conflict_reason or migration.misplaced_reason or ""
        return AutostopDecision(
            cluster, "skipped", reason, tag_source=_get_tag_source(tag_match, migration), warnings=(reason,)
        )
    effective = {**cluster.tags, **migration.added_tags}
    tag_match = tags.match_tags(effective, options)
    decision = _decide_database(
        replace(cluster, tags=effective),
        tag_match,
        eligibility.get_cluster_ineligibility_reason(cluster, current),
        options,
        current,
        now,
    )
    decision = replace(decision, database=cluster, tag_source=_get_tag_source(tag_match, migration))
    if not migration.steps:
        return decision
    reason = f"The tag moves from {migration.source} to the cluster. {decision.reason}"
    return replace(decision, status="changed", reason=reason, steps=(*migration.steps, *decision.steps))


def _decide_instance(
    instance: DbInstance, options: AutostopOptions, current: RegionState, now: datetime
) -> Optional[AutostopDecision]:
    named = bool(options.clusters) and is_named(instance, options.clusters)
    tag_match = tags.match_tags(instance.tags, options)
    if (options.clusters and not named) or (tag_match.kind == NONE and not named):
        return None
    if is_named(instance, options.exclude):
        return AutostopDecision(instance, "skipped", "It is excluded by name.", tag_source="instance")
    decision = _decide_database(
        instance, tag_match, eligibility.get_instance_ineligibility_reason(instance, current), options, current, now
    )
    return replace(decision, tag_source=None if tag_match.kind == NONE else "instance")


def _decide_database(
    database: Database,
    tag_match: TagMatch,
    ineligibility_reason: Optional[eligibility.IneligibilityReason],
    options: AutostopOptions,
    current: RegionState,
    now: datetime,
) -> AutostopDecision:
    """Decides by the first rule that applies. The status comes before eligibility, eligibility before the hold tag."""
    if tag_match.kind != MATCH:
        return _decide_unmatched(database, tag_match, options)
    meaning = statuses.get_status_meaning(database.kind, database.status)
    if meaning.group == statuses.OFF:
        return AutostopDecision(database, "ok", f"It is {meaning.text}.")
    if ineligibility_reason:
        return AutostopDecision(
            database, "skipped", ineligibility_reason.message, ineligibility_reason=ineligibility_reason.code
        )
    if meaning.group == statuses.DELETING:
        return AutostopDecision(database, "skipped", f"It is {meaning.text}.")
    if meaning.group == statuses.BROKEN:
        return AutostopDecision(database, "skipped", f"It is {meaning.text}, and stays so until somebody fixes it.")
    hold = tags.find_hold(database.tags)
    if hold and hold.is_active(now):
        warnings = (f"{database.name}: {hold.warning}",) if hold.warning else ()
        reason = f"It is {hold.text} by its hold tag {hold.key}={hold.value}."
        return AutostopDecision(database, "skipped", reason, hold=hold, warnings=warnings)
    maintenance = _list_maintenance(database, current)
    if meaning.group == statuses.TRANSITIONAL:
        reason = f"It is {meaning.text}. AWS can stop it once it is available."
        return AutostopDecision(database, "pending", reason, hold=hold, maintenance=maintenance)
    return _decide_running(
        database, options, current, now, AutostopDecision(database, "ok", "", hold=hold, maintenance=maintenance)
    )


def _decide_running(
    database: Database, options: AutostopOptions, current: RegionState, now: datetime, decision: AutostopDecision
) -> AutostopDecision:
    """Decides about a running database that AWS can stop now: by sweep policy and by pending maintenance."""
    start_type = (current.start_types or {}).get(database.arn)
    decision = replace(decision, start_type=start_type)
    if options.sweep_policy == "auto_started_only":
        if "DescribeEvents" in current.read_errors:
            reason = f"The events that show who started it could not be read: {current.read_errors['DescribeEvents']}"
            return replace(decision, status="failed", reason=reason)
        if start_type != "automatic":
            explanation = (
                "A person started it"
                if start_type
                else "The events of the last 14 days do not show that AWS started it"
            )
            return replace(decision, status="skipped", reason=f"{explanation}, and sweep_policy is auto_started_only.")
    if options.finish_maintenance:
        if "DescribePendingMaintenanceActions" in current.read_errors:
            read_error = current.read_errors["DescribePendingMaintenanceActions"]
            return replace(decision, status="failed", reason=f"Its pending maintenance could not be read: {read_error}")
        due = [
            action
            for action in decision.maintenance
            if action.apply_date and action.apply_date <= now + MAINTENANCE_HORIZON
        ]
        if due:
            names = ", ".join(sorted({action.action for action in due}))
            return replace(decision, status="pending", reason=f"Pending maintenance ({names}) runs first.")
    explanation = {"automatic": "AWS started it after seven days", "manual": "A person started it"}.get(
        start_type or "", f"It is {statuses.get_status_meaning(database.kind, database.status).text}"
    )
    hold = decision.hold
    expired = f" Its hold tag {hold.key}={hold.value} has expired." if hold else ""
    reason = f"{explanation}, and it is tagged {options.tag_key}={database.tags[options.tag_key]}.{expired}"
    step = Step(
        STOP,
        database.arn,
        reason,
        before={"status": database.status},
        after={"status": "stopped" if options.wait else "stopping"},
    )
    return replace(decision, status="changed", reason=reason, steps=(step,))


def _decide_unmatched(database: Database, tag_match: TagMatch, options: AutostopOptions) -> AutostopDecision:
    expected = " or ".join(f"{options.tag_key}={value}" for value in options.tag_values)
    if tag_match.kind == MISMATCH:
        reason = (
            f"Its tag {tag_match.key}={tag_match.value!r} is not exactly {expected}, and only an exact match counts. "
            "Correct the tag, or add the value to tag_values."
        )
        return AutostopDecision(
            database, "skipped", reason, tag_mismatch=True, warnings=(f"{database.name}: {reason}",)
        )
    if tag_match.kind == NONE:
        return AutostopDecision(database, "skipped", f"It is not tagged {expected}.")
    return AutostopDecision(database, "skipped", f"Its tag is {tag_match.text}, not {expected}.")


def _plan_tag_migration(
    cluster: AuroraCluster, tag_match: TagMatch, options: AutostopOptions, current: RegionState
) -> _TagMigration:
    """Plans to move tags from instances of an Aurora cluster to the cluster: StopDBInstance refuses instances."""
    members = current.list_members(cluster)
    carriers = [member for member in members if tags.match_tags(member.tags, options).kind == MATCH]
    if options.migrate_tags and (carriers or tag_match.kind == MATCH):
        carriers = [member for member in members if member in carriers or tags.HOLD_KEY in member.tags]
    if not carriers:
        return _TagMigration()
    names = ", ".join(sorted(member.name for member in carriers))
    label = "instance" if len(carriers) == 1 else "instances"
    source = f"{label} {names}"
    keys = [key for key in (options.tag_key, tags.HOLD_KEY) if any(key in member.tags for member in carriers)]
    if not options.migrate_tags:
        if tag_match.kind == MATCH:
            return _TagMigration()  # the cluster has the tag too: the tag on its instance does no harm
        return _TagMigration(
            source=source,
            misplaced_reason=(
                f"The tag {options.tag_key} is on {source} of cluster {cluster.name}, where it has no effect: AWS "
                "stops Aurora clusters only as a whole. Put the tag on the cluster, or set migrate_tags: true."
            ),
        )
    added: dict[str, str] = {}
    for key in keys:
        values = {member.name: member.tags[key] for member in members if key in member.tags}
        if key in cluster.tags:
            values[cluster.name] = cluster.tags[key]
        if len(set(values.values())) > 1:
            contradiction = ", ".join(f"{name} has {key}={value}" for name, value in sorted(values.items()))
            return _TagMigration(
                source=source,
                conflict_reason=(
                    f"The tags of cluster {cluster.name} and its instances contradict each other: {contradiction}. "
                    "No tag moves. Make the tags agree."
                ),
            )
        if key not in cluster.tags:
            added[key] = next(iter(values.values()))
    steps = []
    if added:
        steps.append(Step(TAG, cluster.arn, f"The tag is on {source}.", before={"tags": {}}, after={"tags": added}))
    for member in sorted(carriers, key=lambda member: member.name):
        removed_tags = {key: member.tags[key] for key in keys if key in member.tags}
        reason = f"The tag belongs on cluster {cluster.name}."
        steps.append(Step(UNTAG, member.arn, reason, before={"tags": removed_tags}, after={"tags": {}}))
    return _TagMigration(steps=tuple(steps), added_tags=added, source=source)


def _get_tag_source(tag_match: TagMatch, migration: _TagMigration) -> Optional[str]:
    """Where the tag was when it was read."""
    if migration.source and (migration.added_tags or migration.misplaced_reason or migration.conflict_reason):
        return migration.source
    return None if tag_match.kind == NONE else "cluster"


def _list_maintenance(database: Database, current: RegionState) -> tuple[MaintenanceAction, ...]:
    arns = [database.arn]
    if isinstance(database, AuroraCluster):
        arns += [database.get_member_arn(member) for member in database.members]
    return tuple(action for arn in arns for action in (current.maintenance or {}).get(arn, ()))


def _is_aurora(cluster: AuroraCluster) -> bool:
    return statuses.CLUSTER_ENGINES.get(cluster.engine) == statuses.AURORA


@dataclass(frozen=True)
class StopProgress:
    """What a wait has observed of one database. C(result): C(stopped), C(returned), or None while it waits."""

    stop_requested: datetime
    observed_statuses: tuple[str, ...] = ()
    result: Optional[str] = None

    @property
    def has_observed_stopping(self) -> bool:
        return "stopping" in self.observed_statuses

    def add_status(self, status: str, automatic_restart_time: Optional[datetime]) -> StopProgress:
        """The progress after another reading, which can be stale.

        C(stopped) counts only after C(stopping), or with a restart time that only this stop can have set: AWS
        restarts seven days after a stop. Without that, C(available) and C(stopped) can be from before the stop.
        """
        statuses_read = (
            self.observed_statuses
            if self.observed_statuses and self.observed_statuses[-1] == status
            else (*self.observed_statuses, status)
        )
        fresh = automatic_restart_time is not None and automatic_restart_time > self.stop_requested + timedelta(days=6)
        result = None
        if status == "stopped" and ("stopping" in statuses_read or fresh):
            result = "stopped"
        elif self.has_observed_stopping and status not in ("stopping", "stopped"):
            result = "returned"
        return replace(self, observed_statuses=statuses_read, result=result)
