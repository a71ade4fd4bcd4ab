# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags on instances of Aurora clusters, where they have no effect: what moves to the cluster, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from .._plan import Step
from . import tags
from .model import AuroraCluster, AutostopOptions, DbInstance, RegionState
from .tags import MATCH, MISMATCH, NONE, TagMatch

TAG = "tag_cluster"
UNTAG = "untag_instance"


@dataclass(frozen=True)
class TagMigration:
    """The tag migration from a cluster's instances to the cluster, or why there is none.

    C(source): the instances with a tag, or with a tag mismatch. C(mismatch_reason): no instance has the tag itself, but
    one has a tag mismatch.
    """

    steps: tuple[Step, ...] = ()
    added_tags: dict[str, str] = field(default_factory=dict)
    source: Optional[str] = None
    conflict_reason: Optional[str] = None
    misplaced_reason: Optional[str] = None
    mismatch_reason: Optional[str] = None

    @property
    def blocking_reason(self) -> Optional[str]:
        return self.conflict_reason or self.misplaced_reason or self.mismatch_reason

    def get_tag_source(self, tag_match: TagMatch) -> Optional[str]:
        """Where the tag was when it was read."""
        if self.source and (self.added_tags or self.blocking_reason):
            return self.source
        return None if tag_match.kind == NONE else "cluster"


def plan_tag_migration(
    cluster: AuroraCluster, tag_match: TagMatch, options: AutostopOptions, current: RegionState
) -> TagMigration:
    """Plans to move tags from instances of an Aurora cluster to the cluster: StopDBInstance refuses instances."""
    members = current.list_members(cluster)
    carriers = [member for member in members if tags.match_tags(member.tags, options).kind == MATCH]
    if options.migrate_tags and (carriers or tag_match.kind == MATCH):
        carriers = [member for member in members if member in carriers or tags.HOLD_KEY in member.tags]
    if not carriers:
        return _report_mismatch(cluster, members, options) if tag_match.kind == NONE else TagMigration()
    source = _join_names(carriers)
    keys = [key for key in (options.tag_key, tags.HOLD_KEY) if any(key in member.tags for member in carriers)]
    if not options.migrate_tags:
        if tag_match.kind == MATCH:
            return TagMigration()  # the cluster has the tag too: the tag on its instance does no harm
        return TagMigration(
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
            return TagMigration(
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
    return TagMigration(steps=tuple(steps), added_tags=added, source=source)


def _report_mismatch(cluster: AuroraCluster, members: tuple[DbInstance, ...], options: AutostopOptions) -> TagMigration:
    """A tag mismatch on an instance has two faults. Both are named, and no tag moves."""
    carriers = [member for member in members if tags.match_tags(member.tags, options).kind == MISMATCH]
    if not carriers:
        return TagMigration()
    source = _join_names(carriers)
    tag_match = tags.match_tags(carriers[0].tags, options)
    return TagMigration(
        source=source,
        mismatch_reason=(
            f"The tag {tag_match.key}={tag_match.value!r} is on {source} of cluster {cluster.name}, where it has no "
            f"effect, and it is not exactly {options.expected_tag}. AWS stops Aurora clusters only as a whole: put "
            f"the tag {options.expected_tag} on the cluster."
        ),
    )


def _join_names(members: list[DbInstance]) -> str:
    label = "instance" if len(members) == 1 else "instances"
    return f"{label} {', '.join(sorted(member.name for member in members))}"
