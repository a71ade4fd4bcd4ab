# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run tells: one result per cluster, region by region, with totals. The same in check mode and in the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from .._result import ItemResult, summarize
from .model import format_timestamp
from .run import DatabaseOutcome, RegionOutcome


def build_item(outcome: DatabaseOutcome, label: Optional[str] = None) -> ItemResult:
    decision, database = outcome.decision, outcome.database
    before: dict[str, Any] = {"status": database.status}
    after: dict[str, Any] = {"status": outcome.status_after}
    for step in decision.steps:
        if "tags" in (step.after or {}) and (outcome.has_changes or outcome.status == "changed"):
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
            "status_after": outcome.status_after,
            "verified": outcome.verified,
            "automatic_restart_time": format_timestamp(outcome.automatic_restart_time),
            "tag_source": decision.tag_source,
            "obstacle": outcome.ineligibility_reason,
            "near_miss": decision.tag_mismatch,
            "held_until": format_timestamp(decision.hold.until) if decision.hold else None,
            "started": decision.start_type,
            "maintenance": [one.to_dict() for one in decision.maintenance],
            "steps": [step.to_dict() for step in decision.steps],
        },
    )


def build_result(
    region_outcomes: Sequence[RegionOutcome],
    fail_on_pending: bool = False,
    diff: bool = False,
    unknown_name_warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole result. C(unknown): what to say of names that were given and found in no region."""
    outcomes = [outcome for one in region_outcomes for outcome in one.outcomes]
    items = [build_item(outcome) for outcome in outcomes]
    areas = [_build_region_item(one) for one in region_outcomes]
    count = {status: sum(one.status == status for one in items) for status in ("changed", "ok", "skipped", "pending")}
    pending = [one for one in items if one.status == "pending"]
    failed = [one for one in items if one.status == "failed"]
    dark = [one for one in areas if one.status == "failed"]
    summary = (
        f"{count['changed']} changed, {count['ok']} off already, {count['pending']} pending, {count['skipped']} "
        f"skipped, {len(failed)} failed in {len(region_outcomes)} "
        f"{'region' if len(region_outcomes) == 1 else 'regions'}."
    )
    messages = [summary, *(f"{one.name}: {one.reason}" for one in dark), *(_format_item(one) for one in failed)]
    if fail_on_pending:
        messages += [_format_item(one) for one in pending]
    return {
        "changed": any(one.has_changes or one.status == "changed" for one in outcomes),
        "failed": bool(failed or dark) or (fail_on_pending and bool(pending)),
        "msg": " ".join(messages),
        # By ARN: two regions may have clusters of one name.
        **(
            {"diff": summarize([build_item(one, one.database.arn) for one in outcomes], diff=True)["diff"]}
            if diff
            else {}
        ),
        "clusters": [one.to_dict() for one in items],
        "regions": [
            {**area.to_dict(), "clusters_seen": one.clusters_checked, "instances_seen": one.instances_checked}
            for area, one in zip(areas, region_outcomes)
        ],
        "totals": {
            **count,
            "failed": len(failed),
            "clusters_seen": sum(one.clusters_checked for one in region_outcomes),
            "instances_seen": sum(one.instances_checked for one in region_outcomes),
            "untagged": sum(one.untagged for one in region_outcomes),
            "near_misses": sum(outcome.decision.tag_mismatch for outcome in outcomes),
            "regions": len(region_outcomes),
            "regions_failed": len(dark),
        },
        "warnings": [
            *(text for one in region_outcomes for text in one.warnings),
            *unknown_name_warnings,
        ],
    }


def _format_item(item: ItemResult) -> str:
    return f"{item.name} ({item.fields['region']}) {item.status}: {item.reason}"


def _build_region_item(region_outcome: RegionOutcome) -> ItemResult:
    if region_outcome.error:
        return ItemResult(
            region_outcome.region, "failed", f"{region_outcome.error} Or leave {region_outcome.region} out of regions."
        )
    if region_outcome.instances_error:
        return ItemResult(
            region_outcome.region, "failed", f"Its instances could not be read: {region_outcome.instances_error}"
        )
    changed = any(outcome.has_changes or outcome.status == "changed" for outcome in region_outcome.outcomes)
    return ItemResult(
        region_outcome.region, "changed" if changed else "ok", f"{region_outcome.clusters_checked} clusters seen."
    )
