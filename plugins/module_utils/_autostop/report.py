# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a run: one item per cluster and per region, with totals. The same in check mode and in the run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Optional

from .._result import ItemResult, join_names, summarize
from .model import AuroraCluster, format_timestamp
from .run import DatabaseOutcome, RegionOutcome

# A region that the account has not enabled rejects valid credentials (docs/facts/autostop.md#denials).
CODES_OF_DISABLED_REGIONS = ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")


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
            "auto_pause_seconds": database.auto_pause_seconds if isinstance(database, AuroraCluster) else None,
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
    regions_without_credentials = [outcome for outcome in region_outcomes if outcome.has_credential_error]
    credentials_work = len(regions_without_credentials) < len(region_outcomes)
    region_items = [_build_region_item(region_outcome, credentials_work) for region_outcome in region_outcomes]
    count = {status: sum(item.status == status for item in items) for status in ("changed", "ok", "skipped", "pending")}
    pending = [item for item in items if item.status == "pending"]
    failed = [item for item in items if item.status == "failed"]
    failed_regions = [item for item in region_items if item.status == "failed"]
    summary = (
        f"{count['changed']} changed, {count['ok']} off already, {count['pending']} pending, {count['skipped']} "
        f"skipped, {len(failed)} failed in {len(region_outcomes)} "
        f"{'region' if len(region_outcomes) == 1 else 'regions'}."
    )
    messages = [summary, *_combine_messages(failed_regions), *_combine_messages(failed)]
    if fail_on_pending:
        messages += _combine_messages(pending)
    if region_outcomes and not credentials_work:
        messages[1:] = [str(region_outcomes[0].error)]
    return {
        "changed": any(outcome.has_changes or outcome.status == "changed" for outcome in outcomes),
        "failed": bool(failed or failed_regions) or (fail_on_pending and bool(pending)),
        "msg": " ".join(messages),
        "lines": _build_lines(items, region_items) or [summary],
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
            "regions_skipped": sum(item.status == "skipped" for item in region_items),
        },
        "warnings": [
            *(text for region_outcome in region_outcomes for text in region_outcome.warnings),
            *unknown_name_warnings,
        ],
    }


def build_failure(message: str) -> dict[str, Any]:
    """The result of a task that cannot begin: the same keys, and nothing in them."""
    return {**build_result([]), "failed": True, "msg": message, "lines": [message]}


def _build_lines(items: Sequence[ItemResult], region_items: Sequence[ItemResult]) -> list[str]:
    """A line for each database, and for each region that was not read."""
    return [
        *(f"{item.name} ({item.fields['region']}): {item.status}. {item.reason}" for item in items),
        *(
            f"{item.name}: {item.status}. {item.reason}"
            for item in region_items
            if item.status in ("failed", "skipped")
        ),
    ]


def _combine_messages(items: Sequence[ItemResult]) -> list[str]:
    """A sentence for each reason. Items whose reasons differ in their own names only are grouped."""
    groups: dict[str, list[ItemResult]] = {}
    for item in items:
        own_names = [item.name, str(item.fields.get("arn") or ""), str(item.fields.get("region") or "")]
        pattern = "|".join(re.escape(name) for name in sorted(own_names, key=len, reverse=True) if name)
        groups.setdefault(re.sub(rf"(?<![\w-])({pattern})(?![\w-])", "NAME", item.reason), []).append(item)
    return [_format_group(group) for group in groups.values()]


def _format_group(group: Sequence[ItemResult]) -> str:
    """The names of at most ten items, and the reason of the first."""
    names = join_names([_format_name(item) for item in group])
    detail = f". The first: {group[0].reason}" if len(group) > 1 else f": {group[0].reason}"
    return f"{names} {group[0].status}{detail}"


def _format_name(item: ItemResult) -> str:
    return f"{item.name} ({item.fields['region']})" if "region" in item.fields else item.name


def _build_region_item(region_outcome: RegionOutcome, credentials_work: bool) -> ItemResult:
    """C(credentials_work): whether some region accepts the credentials, so that another is the cause of its error."""
    name = region_outcome.region
    if region_outcome.skip_reason:
        return ItemResult(name, "skipped", region_outcome.skip_reason)
    if region_outcome.error:
        alternative = f"Or leave {name} out of regions."
        if region_outcome.api_error and region_outcome.has_credential_error:
            alternative = ""
            if credentials_work and region_outcome.api_error.code in CODES_OF_DISABLED_REGIONS:
                alternative = f"Other regions accept them: enable {name} in the account, or leave it out of regions."
        return ItemResult(name, "failed", f"{region_outcome.error} {alternative}".strip())
    if region_outcome.instances_error:
        return ItemResult(name, "failed", f"The DB instances could not be read: {region_outcome.instances_error}")
    changed = any(outcome.has_changes or outcome.status == "changed" for outcome in region_outcome.outcomes)
    return ItemResult(name, "changed" if changed else "ok", f"{region_outcome.clusters_checked} clusters checked.")
