# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a run: one item per cluster and per region, with totals. The same in check mode and in the run."""

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
            "ineligibility_reason": outcome.ineligibility_reason,
            "tag_mismatch": decision.tag_mismatch,
            "held_until": format_timestamp(decision.hold.until) if decision.hold else None,
            "start_type": decision.start_type,
            "maintenance": [action.to_dict() for action in decision.maintenance],
            "steps": [step.to_dict() for step in decision.steps],
        },
    )


def build_result(
    region_outcomes: Sequence[RegionOutcome],
    fail_on_pending: bool = False,
    diff: bool = False,
    unknown_name_warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Builds the module's result. C(unknown_name_warnings): warnings for names that no region has."""
    outcomes = [outcome for region_outcome in region_outcomes for outcome in region_outcome.outcomes]
    items = [build_item(outcome) for outcome in outcomes]
    region_items = [_build_region_item(region_outcome) for region_outcome in region_outcomes]
    count = {status: sum(item.status == status for item in items) for status in ("changed", "ok", "skipped", "pending")}
    pending = [item for item in items if item.status == "pending"]
    failed = [item for item in items if item.status == "failed"]
    failed_regions = [item for item in region_items if item.status == "failed"]
    summary = (
        f"{count['changed']} changed, {count['ok']} off already, {count['pending']} pending, {count['skipped']} "
        f"skipped, {len(failed)} failed in {len(region_outcomes)} "
        f"{'region' if len(region_outcomes) == 1 else 'regions'}."
    )
    messages = [summary, *(f"{item.name}: {item.reason}" for item in failed_regions), *map(_format_item, failed)]
    if fail_on_pending:
        messages += [_format_item(item) for item in pending]
    return {
        "changed": any(outcome.has_changes or outcome.status == "changed" for outcome in outcomes),
        "failed": bool(failed or failed_regions) or (fail_on_pending and bool(pending)),
        "msg": " ".join(messages),
        # By ARN: two regions may have clusters with the same name.
        **(
            {"diff": summarize([build_item(outcome, outcome.database.arn) for outcome in outcomes], diff=True)["diff"]}
            if diff
            else {}
        ),
        "clusters": [item.to_dict() for item in items],
        "regions": [
            {
                **item.to_dict(),
                "clusters_checked": region_outcome.clusters_checked,
                "instances_checked": region_outcome.instances_checked,
            }
            for item, region_outcome in zip(region_items, region_outcomes)
        ],
        "totals": {
            **count,
            "failed": len(failed),
            "clusters_checked": sum(region_outcome.clusters_checked for region_outcome in region_outcomes),
            "instances_checked": sum(region_outcome.instances_checked for region_outcome in region_outcomes),
            "untagged": sum(region_outcome.untagged for region_outcome in region_outcomes),
            "tag_mismatches": sum(outcome.decision.tag_mismatch for outcome in outcomes),
            "regions": len(region_outcomes),
            "regions_failed": len(failed_regions),
        },
        "warnings": [
            *(text for region_outcome in region_outcomes for text in region_outcome.warnings),
            *unknown_name_warnings,
        ],
    }


def _format_item(item: ItemResult) -> str:
    return f"{item.name} ({item.fields['region']}) {item.status}: {item.reason}"


def _build_region_item(region_outcome: RegionOutcome) -> ItemResult:
    if region_outcome.error:
        return ItemResult(
            region_outcome.region, "failed", f"{region_outcome.error} Or remove {region_outcome.region} from regions."
        )
    if region_outcome.instances_error:
        return ItemResult(
            region_outcome.region, "failed", f"The DB instances could not be read: {region_outcome.instances_error}"
        )
    changed = any(outcome.has_changes or outcome.status == "changed" for outcome in region_outcome.outcomes)
    return ItemResult(
        region_outcome.region, "changed" if changed else "ok", f"{region_outcome.clusters_checked} clusters checked."
    )
