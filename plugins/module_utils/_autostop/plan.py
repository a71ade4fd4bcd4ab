# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions: which databases to stop, which to skip, and why. Pure: no network, no clock, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Optional

from .._plan import Step
from . import eligibility, statuses, tags
from .migration import TagMigration, plan_tag_migration
from .model import AuroraCluster, AutostopOptions, Database, DbInstance, MaintenanceAction, RegionState
from .tags import MATCH, MISMATCH, NONE, Hold, TagMatch

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


def needs_instances(options: AutostopOptions, clusters: Sequence[AuroraCluster]) -> bool:
    """Whether to read instances: the options include or name them, or a tag may be on one by mistake."""
    return options.include_instances or any(
        (
            _is_aurora(cluster)
            and cluster.members
            and is_in_scope(cluster, options)
            and (options.migrate_tags or tags.match_tags(cluster.tags, options).kind != MATCH)
        )
        or any(is_member_named(cluster, member, options.clusters) for member in cluster.members)
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
    return _has_name(database.arn, database.name, names)


def is_member_named(cluster: AuroraCluster, member: str, names: Sequence[str]) -> bool:
    """Whether the names have an instance of a cluster."""
    return _has_name(cluster.get_member_arn(member), member, names)


def _has_name(arn: str, identifier: str, names: Sequence[str]) -> bool:
    return any(name == arn or name.casefold() == identifier.casefold() for name in names)


def make_plan(options: AutostopOptions, current: RegionState, now: datetime) -> tuple[AutostopDecision, ...]:
    """One decision per database to report: tagged, with a tag mismatch, or named in C(clusters)."""
    found = [_decide_cluster(cluster, options, current, now) for cluster in current.clusters]
    standalone = [database for database in list_standalone_databases(current) if isinstance(database, DbInstance)]
    if options.include_instances:
        found += [_decide_instance(database, options, current, now) for database in standalone]
    clusters = {cluster.name: cluster for cluster in current.clusters}
    found += [
        _decide_named_member(instance, clusters[instance.cluster], options)
        for instance in current.instances or ()
        if instance.cluster in clusters
        and is_named(instance, options.clusters)
        and not (options.include_instances and instance in standalone)
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
    decision = _decide_cluster_stop(cluster, options, current, now)
    if not decision or not _is_aurora(cluster):
        return decision
    doubt = eligibility.get_doubt(cluster) if decision.has_stop_step else None
    pause = None
    if cluster.auto_pause_seconds is not None and decision.tag_source:
        pause = (
            f"Its Serverless v2 instances pause by themselves after {cluster.auto_pause_seconds} idle seconds (minimum "
            "capacity 0), which may serve better than autostop."
        )
    return replace(decision, reason=" ".join(filter(None, (decision.reason, doubt, pause))))


def _decide_cluster_stop(
    cluster: AuroraCluster, options: AutostopOptions, current: RegionState, now: datetime
) -> Optional[AutostopDecision]:
    named = bool(options.clusters) and is_named(cluster, options.clusters)
    if options.clusters and not named:
        return None
    tag_match = tags.match_tags(cluster.tags, options)
    migration = plan_tag_migration(cluster, tag_match, options, current) if _is_aurora(cluster) else TagMigration()
    if not migration.source and tag_match.kind == NONE and not named:
        return None
    tag_source = migration.get_tag_source(tag_match)
    if is_named(cluster, options.exclude):
        return AutostopDecision(cluster, "skipped", "It is excluded by name.", tag_source=tag_source)
    if migration.blocking_reason:
        reason = migration.blocking_reason
        return AutostopDecision(
            cluster,
            "skipped",
            reason,
            tag_source=tag_source,
            tag_mismatch=migration.mismatch_reason is not None,
            warnings=(reason,),
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
    decision = replace(decision, database=cluster, tag_source=migration.get_tag_source(tag_match))
    if not migration.steps:
        return decision
    reason = f"The tag moves from {migration.source} to the cluster. {decision.reason}"
    return replace(decision, status="changed", reason=reason, steps=(*migration.steps, *decision.steps))


def _decide_named_member(instance: DbInstance, cluster: AuroraCluster, options: AutostopOptions) -> AutostopDecision:
    """An instance of a cluster that C(clusters) names: AWS stops only the cluster, which was not named."""
    code = "aurora_member" if _is_aurora(cluster) else "cluster_member"
    reason = (
        f"It is an instance of cluster {cluster.name}, and AWS stops a cluster only as a whole. "
        f"Name cluster {cluster.name} in clusters instead."
    )
    has_tag = tags.match_tags(instance.tags, options).kind != NONE
    return AutostopDecision(
        instance, "skipped", reason, tag_source="instance" if has_tag else None, ineligibility_reason=code
    )


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
        start_type or "", f"It was {statuses.get_status_meaning(database.kind, database.status).text}"
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
    if tag_match.kind == MISMATCH:
        reason = _describe_mismatch(tag_match, options)
        return AutostopDecision(
            database, "skipped", reason, tag_mismatch=True, warnings=(f"{database.name}: {reason}",)
        )
    if tag_match.kind == NONE:
        return AutostopDecision(database, "skipped", f"It is not tagged {options.expected_tag}.")
    return AutostopDecision(database, "skipped", f"Its tag is {tag_match.text}, not {options.expected_tag}.")


def _describe_mismatch(tag_match: TagMatch, options: AutostopOptions) -> str:
    """What is wrong with a tag, the key or the value, and how to correct it."""
    key, value = tag_match.key, tag_match.value
    exactly = f"is not exactly {options.expected_tag}, and only an exact match counts"
    if key == options.tag_key:
        return f"Its tag {key}={value!r} {exactly}. Correct the value, or add {value!r} to tag_values."
    if value in options.tag_values:
        return f"The key of its tag {key!r}={value} {exactly}. Rename the key to {options.tag_key}."
    return f"Its tag {key!r}={value!r} {exactly}. Tag it {options.expected_tag} instead."


def _list_maintenance(database: Database, current: RegionState) -> tuple[MaintenanceAction, ...]:
    arns = [database.arn]
    if isinstance(database, AuroraCluster):
        arns += [database.get_member_arn(member) for member in database.members]
    return tuple(action for arn in arns for action in (current.maintenance or {}).get(arn, ()))


def _is_aurora(cluster: AuroraCluster) -> bool:
    return statuses.CLUSTER_ENGINES.get(cluster.engine) == statuses.AURORA
