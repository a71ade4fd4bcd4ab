# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions: which databases are stopped, which are left alone, and why. Pure: no network, no clock, no files."""

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

# A maintenance window comes once a week, and AWS starts what is stopped after seven days (facts: autostop): what is
# due later meets a later start.
MAINTENANCE_HORIZON = timedelta(days=7)


@dataclass(frozen=True)
class AutostopDecision:
    """What is done about one database, and why. C(status) is the item's, as if all steps had been carried out."""

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
    """Which readings a decision still lacks."""

    global_members: bool = False
    blue_green: bool = False
    maintenance: bool = False
    start_type_kinds: tuple[str, ...] = ()  # kinds: cluster, instance


@dataclass(frozen=True)
class _TagMigration:
    """What the tags on a cluster's instances come to."""

    steps: tuple[Step, ...] = ()
    added_tags: dict[str, str] = field(default_factory=dict)
    source: Optional[str] = None
    conflict_reason: Optional[str] = None
    misplaced_reason: Optional[str] = None


def needs_instances(options: AutostopOptions, clusters: Sequence[AuroraCluster]) -> bool:
    """Whether instances must be read: because they are wanted, or because a tag may stand on one by mistake."""
    return options.include_instances or any(
        _is_aurora(cluster)
        and cluster.members
        and is_in_scope(cluster, options)
        and (options.migrate_tags or tags.match_tags(cluster.tags, options).kind != MATCH)
        for cluster in clusters
    )


def find_missing_readings(options: AutostopOptions, current: RegionState, now: datetime) -> MissingReadings:
    """What else must be read: only what decides about a database that would be stopped without it.

    It is found out in two rounds, since who is stopped alone in the second is known only after the first.
    """
    lenient = replace(options, sweep_policy="all", finish_maintenance=False)
    stopped = [decision.database for decision in decide(lenient, current, now) if decision.has_stop_step]
    policy = options.sweep_policy == "auto_started_only"
    return MissingReadings(
        global_members=current.global_members is None
        and any(isinstance(d, AuroraCluster) and d.global_cluster for d in stopped),
        blue_green=current.blue_green is None and bool(stopped),
        maintenance=current.maintenance is None and bool(stopped),
        start_type_kinds=tuple(sorted({d.kind for d in stopped})) if policy and current.start_types is None else (),
    )


def is_in_scope(database: Database, options: AutostopOptions) -> bool:
    """Whether a database may be acted on by its name: it is named, where names are given, and not excluded."""
    return (not options.clusters or is_named(database, options.clusters)) and not is_named(database, options.exclude)


def is_named(database: Database, names: Sequence[str]) -> bool:
    """Identifiers are stored in lower case by RDS, whatever case a person writes."""
    return any(name == database.arn or name.casefold() == database.name.casefold() for name in names)


def decide(options: AutostopOptions, current: RegionState, now: datetime) -> tuple[AutostopDecision, ...]:
    """One decision per database that has something to be told about: tagged, nearly tagged, or named."""
    found = [_decide_cluster(cluster, options, current, now) for cluster in current.clusters]
    if options.include_instances:
        found += [
            _decide_instance(database, options, current, now)
            for database in list_standalone_databases(current)
            if isinstance(database, DbInstance)
        ]
    return tuple(decision for decision in found if decision)


def list_standalone_databases(current: RegionState) -> tuple[Database, ...]:
    """What can be decided about by itself: instances of Aurora clusters are told about with their cluster."""
    clusters = {cluster.name for cluster in current.clusters if _is_aurora(cluster)}
    alone = (instance for instance in current.instances or () if instance.cluster not in clusters)
    return (*current.clusters, *alone)


def _decide_cluster(
    cluster: AuroraCluster, options: AutostopOptions, current: RegionState, now: datetime
) -> Optional[AutostopDecision]:
    chosen = bool(options.clusters) and is_named(cluster, options.clusters)
    if options.clusters and not chosen:
        return None
    tagged = tags.match_tags(cluster.tags, options)
    moved = _plan_tag_migration(cluster, tagged, options, current) if _is_aurora(cluster) else _TagMigration()
    if not moved.source and tagged.kind == NONE and not chosen:
        return None
    if is_named(cluster, options.exclude):
        return AutostopDecision(
            cluster, "skipped", "It is excluded by name.", tag_source=_get_tag_source(tagged, moved)
        )
    if moved.conflict_reason or moved.misplaced_reason:
        words = moved.conflict_reason or moved.misplaced_reason or ""
        return AutostopDecision(cluster, "skipped", words, tag_source=_get_tag_source(tagged, moved), warnings=(words,))
    effective = {**cluster.tags, **moved.added_tags}
    tagged = tags.match_tags(effective, options)
    decision = _decide_database(
        replace(cluster, tags=effective),
        tagged,
        eligibility.get_cluster_ineligibility_reason(cluster, current),
        options,
        current,
        now,
    )
    decision = replace(decision, database=cluster, tag_source=_get_tag_source(tagged, moved))
    if not moved.steps:
        return decision
    words = f"The tag moves from {moved.source} to the cluster. {decision.reason}"
    return replace(decision, status="changed", reason=words, steps=(*moved.steps, *decision.steps))


def _decide_instance(
    instance: DbInstance, options: AutostopOptions, current: RegionState, now: datetime
) -> Optional[AutostopDecision]:
    chosen = bool(options.clusters) and is_named(instance, options.clusters)
    tagged = tags.match_tags(instance.tags, options)
    if (options.clusters and not chosen) or (tagged.kind == NONE and not chosen):
        return None
    if is_named(instance, options.exclude):
        return AutostopDecision(instance, "skipped", "It is excluded by name.", tag_source="instance")
    decision = _decide_database(
        instance, tagged, eligibility.get_instance_ineligibility_reason(instance, current), options, current, now
    )
    return replace(decision, tag_source=None if tagged.kind == NONE else "instance")


def _decide_database(
    database: Database,
    tag_match: TagMatch,
    ineligibility_reason: Optional[eligibility.IneligibilityReason],
    options: AutostopOptions,
    current: RegionState,
    now: datetime,
) -> AutostopDecision:
    """The order matters: what is off already needs no excuse, and what AWS never stops needs no hold."""
    if tag_match.kind != MATCH:
        return _decide_unmatched(database, tag_match, options)
    line = statuses.get_status_meaning(database.kind, database.status)
    if line.group == statuses.OFF:
        return AutostopDecision(database, "ok", f"It is {line.text}.")
    if ineligibility_reason:
        return AutostopDecision(
            database, "skipped", ineligibility_reason.message, ineligibility_reason=ineligibility_reason.code
        )
    if line.group == statuses.DELETING:
        return AutostopDecision(database, "skipped", f"It is {line.text}.")
    if line.group == statuses.BROKEN:
        return AutostopDecision(database, "skipped", f"It is {line.text}, and stays so until somebody mends it.")
    hold = tags.find_hold(database.tags)
    if hold and hold.is_active(now):
        warnings = (f"{database.name}: {hold.warning}",) if hold.warning else ()
        reason = f"It is {hold.text} by its tag {hold.key}={hold.value}."
        return AutostopDecision(database, "skipped", reason, hold=hold, warnings=warnings)
    maintenance = _list_maintenance(database, current)
    if line.group == statuses.TRANSITIONAL:
        reason = f"It is {line.text}, and can be stopped once it is available."
        return AutostopDecision(database, "pending", reason, hold=hold, maintenance=maintenance)
    return _decide_running(
        database, options, current, now, AutostopDecision(database, "ok", "", hold=hold, maintenance=maintenance)
    )


def _decide_running(
    database: Database, options: AutostopOptions, current: RegionState, now: datetime, decision: AutostopDecision
) -> AutostopDecision:
    """A database that could be stopped right now."""
    started = (current.start_types or {}).get(database.arn)
    decision = replace(decision, start_type=started)
    if options.sweep_policy == "auto_started_only":
        if "DescribeEvents" in current.read_errors:
            reason = f"How it was started could not be read: {current.read_errors['DescribeEvents']}"
            return replace(decision, status="failed", reason=reason)
        if started != "automatic":
            how = "A person started it" if started else "The events of the last 14 days do not say that AWS started it"
            return replace(decision, status="skipped", reason=f"{how}, and sweep_policy is auto_started_only.")
    if options.finish_maintenance:
        if "DescribePendingMaintenanceActions" in current.read_errors:
            unread = current.read_errors["DescribePendingMaintenanceActions"]
            return replace(decision, status="failed", reason=f"Its pending maintenance could not be read: {unread}")
        due = [one for one in decision.maintenance if one.apply_date and one.apply_date <= now + MAINTENANCE_HORIZON]
        if due:
            names = ", ".join(sorted({one.action for one in due}))
            return replace(decision, status="pending", reason=f"Pending maintenance ({names}) runs first.")
    why = {"automatic": "AWS started it after seven days", "manual": "A person started it"}.get(
        started or "", f"It is {statuses.get_status_meaning(database.kind, database.status).text}"
    )
    hold = decision.hold
    expired = f" Its hold {hold.key}={hold.value} has ended." if hold else ""
    reason = f"{why}, and is tagged {options.tag_key}={database.tags[options.tag_key]}.{expired}"
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
            f"Its tag {tag_match.key}={tag_match.value!r} is not exactly {expected}, and only that counts. "
            "Mend the tag, or add the value to tag_values."
        )
        return AutostopDecision(
            database, "skipped", reason, tag_mismatch=True, warnings=(f"{database.name}: {reason}",)
        )
    if tag_match.kind == NONE:
        return AutostopDecision(database, "skipped", f"It is not tagged {expected}.")
    return AutostopDecision(database, "skipped", f"Its tag says {tag_match.text}, not {expected}.")


def _plan_tag_migration(
    cluster: AuroraCluster, tag_match: TagMatch, options: AutostopOptions, current: RegionState
) -> _TagMigration:
    """Tags that stand on instances of an Aurora cluster, where StopDBInstance refuses to act on them."""
    members = current.list_members(cluster)
    carriers = [one for one in members if tags.match_tags(one.tags, options).kind == MATCH]
    if options.migrate_tags and (carriers or tag_match.kind == MATCH):
        carriers = [one for one in members if one in carriers or tags.HOLD_KEY in one.tags]
    if not carriers:
        return _TagMigration()
    names = ", ".join(sorted(one.name for one in carriers))
    label = "instance" if len(carriers) == 1 else "instances"
    source = f"{label} {names}"
    keys = [key for key in (options.tag_key, tags.HOLD_KEY) if any(key in one.tags for one in carriers)]
    if not options.migrate_tags:
        if tag_match.kind == MATCH:
            return _TagMigration()  # the cluster says the same: the tag on its instance does no harm
        return _TagMigration(
            source=source,
            misplaced_reason=(
                f"The tag {options.tag_key} stands on {source} of cluster {cluster.name}, where it does nothing: AWS "
                "stops Aurora clusters only as a whole. Put it on the cluster, or set migrate_tags: true."
            ),
        )
    added: dict[str, str] = {}
    for key in keys:
        values = {one.name: one.tags[key] for one in members if key in one.tags}
        if key in cluster.tags:
            values[cluster.name] = cluster.tags[key]
        if len(set(values.values())) > 1:
            said = ", ".join(f"{name} says {key}={value}" for name, value in sorted(values.items()))
            return _TagMigration(
                source=source,
                conflict_reason=f"The tags of cluster {cluster.name} and its instances contradict: {said}. Nothing moves. "
                "Make them agree.",
            )
        if key not in cluster.tags:
            added[key] = next(iter(values.values()))
    steps = []
    if added:
        steps.append(Step(TAG, cluster.arn, f"The tag stands on {source}.", before={"tags": {}}, after={"tags": added}))
    for one in sorted(carriers, key=lambda carrier: carrier.name):
        held = {key: one.tags[key] for key in keys if key in one.tags}
        reason = f"The tag belongs on cluster {cluster.name}."
        steps.append(Step(UNTAG, one.arn, reason, before={"tags": held}, after={"tags": {}}))
    return _TagMigration(steps=tuple(steps), added_tags=added, source=source)


def _get_tag_source(tag_match: TagMatch, migration: _TagMigration) -> Optional[str]:
    """Where the tag stood when it was read."""
    if migration.source and (migration.added_tags or migration.misplaced_reason or migration.conflict_reason):
        return migration.source
    return None if tag_match.kind == NONE else "cluster"


def _list_maintenance(database: Database, current: RegionState) -> tuple[MaintenanceAction, ...]:
    arns = [database.arn]
    if isinstance(database, AuroraCluster):
        arns += [database.get_member_arn(member) for member in database.members]
    return tuple(one for arn in arns for one in (current.maintenance or {}).get(arn, ()))


def _is_aurora(cluster: AuroraCluster) -> bool:
    return statuses.CLUSTER_ENGINES.get(cluster.engine) == statuses.AURORA


@dataclass(frozen=True)
class StopProgress:
    """What a wait has seen of one database so far. C(verdict): C(stopped), C(returned), or None while it goes on."""

    stop_requested: datetime
    observed_statuses: tuple[str, ...] = ()
    result: Optional[str] = None

    @property
    def has_observed_stopping(self) -> bool:
        return "stopping" in self.observed_statuses

    def add_status(self, status: str, automatic_restart_time: Optional[datetime]) -> StopProgress:
        """The progress after one more reading, which can be stale.

        An old C(available) or C(stopped) proves nothing, so C(stopped) counts after C(stopping) alone, or with a
        restart time that only this stop can have given it: AWS restarts after seven days.
        """
        seen = (
            self.observed_statuses
            if self.observed_statuses and self.observed_statuses[-1] == status
            else (*self.observed_statuses, status)
        )
        fresh = automatic_restart_time is not None and automatic_restart_time > self.stop_requested + timedelta(days=6)
        verdict = None
        if status == "stopped" and ("stopping" in seen or fresh):
            verdict = "stopped"
        elif self.has_observed_stopping and status not in ("stopping", "stopped"):
            verdict = "returned"
        return replace(self, observed_statuses=seen, result=verdict)
