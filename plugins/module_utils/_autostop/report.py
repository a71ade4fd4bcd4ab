# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run tells: one result per cluster, region by region, with totals. The same in check mode and in the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from .._result import ItemResult, summarize
from .model import stamp
from .run import Outcome, RegionOutcome


def item(outcome: Outcome, label: Optional[str] = None) -> ItemResult:
    decision, database = outcome.decision, outcome.database
    before: dict[str, Any] = {"status": database.status}
    after: dict[str, Any] = {"status": outcome.after}
    for step in decision.steps:
        if "tags" in (step.after or {}) and (outcome.wrote or outcome.status == "changed"):
            before.setdefault("tags", {})[step.target] = step.before["tags"] if step.before else {}
            after.setdefault("tags", {})[step.target] = step.after["tags"] if step.after else {}
    return ItemResult(
        label or database.name,
        outcome.status,
        outcome.reason,
        before,
        after,
        {
            "arn": database.arn,
            "kind": database.kind,
            "region": database.region,
            "engine": database.engine,
            "engine_version": database.engine_version,
            "status_before": database.status,
            "status_after": outcome.after,
            "verified": outcome.verified,
            "automatic_restart_time": stamp(outcome.automatic_restart_time),
            "tag_source": decision.tag_source,
            "obstacle": outcome.obstacle,
            "near_miss": decision.near_miss,
            "held_until": stamp(decision.hold.until) if decision.hold else None,
            "started": decision.started,
            "maintenance": [one.to_dict() for one in decision.maintenance],
            "steps": [step.to_dict() for step in decision.steps],
        },
    )


def result(
    regions: Sequence[RegionOutcome], fail_on_pending: bool = False, diff: bool = False, unknown: Sequence[str] = ()
) -> dict[str, Any]:
    """The whole result. C(unknown): what to say of names that were given and found in no region."""
    outcomes = [outcome for one in regions for outcome in one.outcomes]
    items = [item(outcome) for outcome in outcomes]
    areas = [_area(one) for one in regions]
    count = {status: sum(one.status == status for one in items) for status in ("changed", "ok", "skipped", "pending")}
    pending = [one for one in items if one.status == "pending"]
    failed = [one for one in items if one.status == "failed"]
    dark = [one for one in areas if one.status == "failed"]
    summary = (
        f"{count['changed']} changed, {count['ok']} off already, {count['pending']} pending, {count['skipped']} "
        f"skipped, {len(failed)} failed in {len(regions)} "
        f"{'region' if len(regions) == 1 else 'regions'}."
    )
    messages = [summary, *(f"{one.name}: {one.reason}" for one in dark), *(_told(one) for one in failed)]
    if fail_on_pending:
        messages += [_told(one) for one in pending]
    return {
        "changed": any(one.wrote or one.status == "changed" for one in outcomes),
        "failed": bool(failed or dark) or (fail_on_pending and bool(pending)),
        "msg": " ".join(messages),
        # By ARN: two regions may have clusters of one name.
        **({"diff": summarize([item(one, one.database.arn) for one in outcomes], diff=True)["diff"]} if diff else {}),
        "clusters": [one.to_dict() for one in items],
        "regions": [
            {**area.to_dict(), "clusters_seen": one.seen, "instances_seen": one.seen_instances}
            for area, one in zip(areas, regions)
        ],
        "totals": {
            **count,
            "failed": len(failed),
            "clusters_seen": sum(one.seen for one in regions),
            "instances_seen": sum(one.seen_instances for one in regions),
            "untagged": sum(one.untagged for one in regions),
            "near_misses": sum(outcome.decision.near_miss for outcome in outcomes),
            "regions": len(regions),
            "regions_failed": len(dark),
        },
        "warnings": [
            *(text for one in regions for text in one.warnings),
            *unknown,
        ],
    }


def _told(one: ItemResult) -> str:
    return f"{one.name} ({one.fields['region']}) {one.status}: {one.reason}"


def _area(one: RegionOutcome) -> ItemResult:
    if one.error:
        return ItemResult(one.region, "failed", f"{one.error} Or leave {one.region} out of regions.")
    if one.incomplete:
        return ItemResult(one.region, "failed", f"Its instances could not be read: {one.incomplete}")
    changed = any(outcome.wrote or outcome.status == "changed" for outcome in one.outcomes)
    return ItemResult(one.region, "changed" if changed else "ok", f"{one.seen} clusters seen.")
