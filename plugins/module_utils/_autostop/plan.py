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
from .model import Cluster, Database, Instance, Maintenance, View, Wanted
from .tags import MATCH, NEAR, NONE, Hold, Tagged

TAG = "tag_cluster"
UNTAG = "untag_instance"
STOP = "stop"

# A maintenance window comes once a week, and AWS starts what is stopped after seven days (facts: autostop): what is
# due later meets a later start.
MAINTENANCE_HORIZON = timedelta(days=7)


@dataclass(frozen=True)
class Decision:
    """What is done about one database, and why. C(status) is the item's, as if all steps had been carried out."""

    database: Database
    status: str
    reason: str
    steps: tuple[Step, ...] = ()
    tag_source: Optional[str] = None
    obstacle: Optional[str] = None
    hold: Optional[Hold] = None
    maintenance: tuple[Maintenance, ...] = ()
    started: Optional[str] = None
    near_miss: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def stops(self) -> bool:
        return any(step.action == STOP for step in self.steps)


@dataclass(frozen=True)
class Needs:
    """Which readings a decision still lacks."""

    global_members: bool = False
    blue_green: bool = False
    maintenance: bool = False
    starts: tuple[str, ...] = ()  # kinds: cluster, instance


@dataclass(frozen=True)
class _Moved:
    """What the tags on a cluster's instances come to."""

    steps: tuple[Step, ...] = ()
    added: dict[str, str] = field(default_factory=dict)
    source: Optional[str] = None
    conflict: Optional[str] = None
    misplaced: Optional[str] = None


def needs_instances(wanted: Wanted, clusters: Sequence[Cluster]) -> bool:
    """Whether instances must be read: because they are wanted, or because a tag may stand on one by mistake."""
    return wanted.include_instances or any(
        _aurora(cluster)
        and cluster.members
        and in_scope(cluster, wanted)
        and (wanted.migrate_tags or tags.read(cluster.tags, wanted).says != MATCH)
        for cluster in clusters
    )


def needs(wanted: Wanted, view: View, now: datetime) -> Needs:
    """What else must be read: only what decides about a database that would be stopped without it.

    It is found out in two rounds, since who is stopped alone in the second is known only after the first.
    """
    lenient = replace(wanted, sweep_policy="all", finish_maintenance=False)
    stopped = [decision.database for decision in decide(lenient, view, now) if decision.stops]
    policy = wanted.sweep_policy == "auto_started_only"
    return Needs(
        global_members=view.global_members is None
        and any(isinstance(d, Cluster) and d.global_cluster for d in stopped),
        blue_green=view.blue_green is None and bool(stopped),
        maintenance=view.maintenance is None and bool(stopped),
        starts=tuple(sorted({d.kind for d in stopped})) if policy and view.starts is None else (),
    )


def in_scope(database: Database, wanted: Wanted) -> bool:
    """Whether a database may be acted on by its name: it is named, where names are given, and not excluded."""
    return (not wanted.clusters or named(database, wanted.clusters)) and not named(database, wanted.exclude)


def named(database: Database, names: Sequence[str]) -> bool:
    """Identifiers are stored in lower case by RDS, whatever case a person writes."""
    return any(name == database.arn or name.casefold() == database.name.casefold() for name in names)


def decide(wanted: Wanted, view: View, now: datetime) -> tuple[Decision, ...]:
    """One decision per database that has something to be told about: tagged, nearly tagged, or named."""
    found = [_about_cluster(cluster, wanted, view, now) for cluster in view.clusters]
    if wanted.include_instances:
        found += [
            _about_instance(database, wanted, view, now)
            for database in on_their_own(view)
            if isinstance(database, Instance)
        ]
    return tuple(decision for decision in found if decision)


def on_their_own(view: View) -> tuple[Database, ...]:
    """What can be decided about by itself: instances of Aurora clusters are told about with their cluster."""
    clusters = {cluster.name for cluster in view.clusters if _aurora(cluster)}
    alone = (instance for instance in view.instances or () if instance.cluster not in clusters)
    return (*view.clusters, *alone)


def _about_cluster(cluster: Cluster, wanted: Wanted, view: View, now: datetime) -> Optional[Decision]:
    chosen = bool(wanted.clusters) and named(cluster, wanted.clusters)
    if wanted.clusters and not chosen:
        return None
    tagged = tags.read(cluster.tags, wanted)
    moved = _moved(cluster, tagged, wanted, view) if _aurora(cluster) else _Moved()
    if not moved.source and tagged.says == NONE and not chosen:
        return None
    if named(cluster, wanted.exclude):
        return Decision(cluster, "skipped", "It is excluded by name.", tag_source=_source(tagged, moved))
    if moved.conflict or moved.misplaced:
        words = moved.conflict or moved.misplaced or ""
        return Decision(cluster, "skipped", words, tag_source=_source(tagged, moved), warnings=(words,))
    effective = {**cluster.tags, **moved.added}
    tagged = tags.read(effective, wanted)
    decision = _about(
        replace(cluster, tags=effective), tagged, eligibility.of_cluster(cluster, view), wanted, view, now
    )
    decision = replace(decision, database=cluster, tag_source=_source(tagged, moved))
    if not moved.steps:
        return decision
    words = f"The tag moves from {moved.source} to the cluster. {decision.reason}"
    return replace(decision, status="changed", reason=words, steps=(*moved.steps, *decision.steps))


def _about_instance(instance: Instance, wanted: Wanted, view: View, now: datetime) -> Optional[Decision]:
    chosen = bool(wanted.clusters) and named(instance, wanted.clusters)
    tagged = tags.read(instance.tags, wanted)
    if (wanted.clusters and not chosen) or (tagged.says == NONE and not chosen):
        return None
    if named(instance, wanted.exclude):
        return Decision(instance, "skipped", "It is excluded by name.", tag_source="instance")
    decision = _about(instance, tagged, eligibility.of_instance(instance, view), wanted, view, now)
    return replace(decision, tag_source=None if tagged.says == NONE else "instance")


def _about(
    database: Database,
    tagged: Tagged,
    obstacle: Optional[eligibility.Obstacle],
    wanted: Wanted,
    view: View,
    now: datetime,
) -> Decision:
    """The order matters: what is off already needs no excuse, and what AWS never stops needs no hold."""
    if tagged.says != MATCH:
        return _unwanted(database, tagged, wanted)
    line = statuses.line_of(database.kind, database.status)
    if line.group == statuses.AT_REST:
        return Decision(database, "ok", f"It is {line.words}.")
    if obstacle:
        return Decision(database, "skipped", obstacle.text, obstacle=obstacle.code)
    if line.group == statuses.LEAVING:
        return Decision(database, "skipped", f"It is {line.words}.")
    if line.group == statuses.STUCK:
        return Decision(database, "skipped", f"It is {line.words}, and stays so until somebody mends it.")
    hold = tags.hold_of(database.tags)
    if hold and hold.holds(now):
        warnings = (f"{database.name}: {hold.warning}",) if hold.warning else ()
        reason = f"It is {hold.words} by its tag {hold.key}={hold.value}."
        return Decision(database, "skipped", reason, hold=hold, warnings=warnings)
    maintenance = _maintenance_of(database, view)
    if line.group == statuses.PASSING:
        reason = f"It is {line.words}, and can be stopped once it is available."
        return Decision(database, "pending", reason, hold=hold, maintenance=maintenance)
    return _about_running(database, wanted, view, now, Decision(database, "ok", "", hold=hold, maintenance=maintenance))


def _about_running(database: Database, wanted: Wanted, view: View, now: datetime, found: Decision) -> Decision:
    """A database that could be stopped right now."""
    started = (view.starts or {}).get(database.arn)
    found = replace(found, started=started)
    if wanted.sweep_policy == "auto_started_only":
        if "DescribeEvents" in view.unread:
            reason = f"How it was started could not be read: {view.unread['DescribeEvents']}"
            return replace(found, status="failed", reason=reason)
        if started != "automatic":
            how = "A person started it" if started else "The events of the last 14 days do not say that AWS started it"
            return replace(found, status="skipped", reason=f"{how}, and sweep_policy is auto_started_only.")
    if wanted.finish_maintenance:
        if "DescribePendingMaintenanceActions" in view.unread:
            unread = view.unread["DescribePendingMaintenanceActions"]
            return replace(found, status="failed", reason=f"Its pending maintenance could not be read: {unread}")
        due = [one for one in found.maintenance if one.applies and one.applies <= now + MAINTENANCE_HORIZON]
        if due:
            names = ", ".join(sorted({one.action for one in due}))
            return replace(found, status="pending", reason=f"Pending maintenance ({names}) runs first.")
    why = {"automatic": "AWS started it after seven days", "manual": "A person started it"}.get(
        started or "", f"It is {statuses.line_of(database.kind, database.status).words}"
    )
    hold = found.hold
    expired = f" Its hold {hold.key}={hold.value} has ended." if hold else ""
    reason = f"{why}, and is tagged {wanted.tag_key}={database.tags[wanted.tag_key]}.{expired}"
    step = Step(
        STOP,
        database.arn,
        reason,
        before={"status": database.status},
        after={"status": "stopped" if wanted.wait else "stopping"},
    )
    return replace(found, status="changed", reason=reason, steps=(step,))


def _unwanted(database: Database, tagged: Tagged, wanted: Wanted) -> Decision:
    expected = " or ".join(f"{wanted.tag_key}={value}" for value in wanted.tag_values)
    if tagged.says == NEAR:
        reason = (
            f"Its tag {tagged.key}={tagged.value!r} is not exactly {expected}, and only that counts. "
            "Mend the tag, or add the value to tag_values."
        )
        return Decision(database, "skipped", reason, near_miss=True, warnings=(f"{database.name}: {reason}",))
    if tagged.says == NONE:
        return Decision(database, "skipped", f"It is not tagged {expected}.")
    return Decision(database, "skipped", f"Its tag says {tagged.text}, not {expected}.")


def _moved(cluster: Cluster, tagged: Tagged, wanted: Wanted, view: View) -> _Moved:
    """Tags that stand on instances of an Aurora cluster, where StopDBInstance refuses to act on them."""
    members = view.members_of(cluster)
    carriers = [one for one in members if tags.read(one.tags, wanted).says == MATCH]
    if wanted.migrate_tags and (carriers or tagged.says == MATCH):
        carriers = [one for one in members if one in carriers or tags.HOLD_KEY in one.tags]
    if not carriers:
        return _Moved()
    names = ", ".join(sorted(one.name for one in carriers))
    label = "instance" if len(carriers) == 1 else "instances"
    source = f"{label} {names}"
    keys = [key for key in (wanted.tag_key, tags.HOLD_KEY) if any(key in one.tags for one in carriers)]
    if not wanted.migrate_tags:
        if tagged.says == MATCH:
            return _Moved()  # the cluster says the same: the tag on its instance does no harm
        return _Moved(
            source=source,
            misplaced=(
                f"The tag {wanted.tag_key} stands on {source} of cluster {cluster.name}, where it does nothing: AWS "
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
            return _Moved(
                source=source,
                conflict=f"The tags of cluster {cluster.name} and its instances contradict: {said}. Nothing moves. "
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
    return _Moved(steps=tuple(steps), added=added, source=source)


def _source(tagged: Tagged, moved: _Moved) -> Optional[str]:
    """Where the tag stood when it was read."""
    if moved.source and (moved.added or moved.misplaced or moved.conflict):
        return moved.source
    return None if tagged.says == NONE else "cluster"


def _maintenance_of(database: Database, view: View) -> tuple[Maintenance, ...]:
    arns = [database.arn]
    if isinstance(database, Cluster):
        arns += [database.member_arn(member) for member in database.members]
    return tuple(one for arn in arns for one in (view.maintenance or {}).get(arn, ()))


def _aurora(cluster: Cluster) -> bool:
    return statuses.CLUSTER_ENGINES.get(cluster.engine) == statuses.AURORA


@dataclass(frozen=True)
class Progress:
    """What a wait has seen of one database so far. C(verdict): C(stopped), C(returned), or None while it goes on."""

    stop_requested: datetime
    seen: tuple[str, ...] = ()
    verdict: Optional[str] = None

    @property
    def stopping_seen(self) -> bool:
        return "stopping" in self.seen

    def after(self, status: str, automatic_restart_time: Optional[datetime]) -> Progress:
        """The progress after one more reading, which can be stale.

        An old C(available) or C(stopped) proves nothing, so C(stopped) counts after C(stopping) alone, or with a
        restart time that only this stop can have given it: AWS restarts after seven days.
        """
        seen = self.seen if self.seen and self.seen[-1] == status else (*self.seen, status)
        fresh = automatic_restart_time is not None and automatic_restart_time > self.stop_requested + timedelta(days=6)
        verdict = None
        if status == "stopped" and ("stopping" in seen or fresh):
            verdict = "stopped"
        elif self.stopping_seen and status not in ("stopping", "stopped"):
            verdict = "returned"
        return replace(self, seen=seen, verdict=verdict)
