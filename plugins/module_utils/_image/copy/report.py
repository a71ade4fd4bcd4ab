# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a copy: an item for each image, from its plan, and from its outcome outside of check mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ..._result import ItemResult, join_names, summarize
from .apply import CopyOutcome
from .plan import ImageCopyPlan
from .request import CopyRequest


def make_failed_item(request: CopyRequest, error: str) -> ItemResult:
    """Makes the item of an image that could not be read, or whose destination could not."""
    return ItemResult(request.name, "failed", error, fields={"to": str(request.destination)})


def make_item(plan: ImageCopyPlan, outcome: Optional[CopyOutcome]) -> ItemResult:
    """Makes the item of an image. Without an outcome, it is what a run would do."""
    image, tree = plan.image, plan.tree.tree
    referrers = [entry.tree.tag or entry.tree.digest for entry in plan.attached if entry.has_work]
    failed = outcome.failed if outcome else list(image.unreadable)
    transferred = outcome.transferred if outcome else plan.blobs
    fields: dict[str, Any] = {
        "to": str(image.destination),
        "source_digest": image.source_digest,
        "digest": tree.digest,
        "blobs_missing": len(plan.blobs),
        "bytes_missing": sum(blob.size for blob in plan.blobs),
        "blobs_transferred": len(transferred),
        "bytes_transferred": sum(blob.size for blob in transferred),
        "blobs_mounted": len(outcome.mounted) if outcome else 0,
        "blobs_nondistributable": sum(entry.tree.nondistributable_blobs for entry in plan.trees),
        "referrers": outcome.referrers if outcome else referrers,
        "referrers_failed": [{"name": name, "reason": reason} for name, reason in failed],
    }
    status, reason = _describe(plan, outcome, failed)
    if outcome is not None and outcome.moved:
        reason = f"{reason} {outcome.moved}"
    before: dict[str, Any] = {"digest": tree.tag_digest}
    after: dict[str, Any] = {"digest": tree.digest}
    if outcome is not None and outcome.error:
        after = before
    if fields["referrers"]:
        after = {**after, "referrers_added": fields["referrers"]}
    return ItemResult(str(image.source), status, reason, before, after, fields)


def _describe(
    plan: ImageCopyPlan, outcome: Optional[CopyOutcome], failed: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    image, destination = plan.image, plan.image.destination
    if outcome is not None and outcome.error:
        return "failed", outcome.error
    if failed:
        names = join_names([name for name, _reason in failed])
        return "failed", (
            f"The image itself is {'copied' if outcome else 'readable'}, but not what belongs to it: {names}. "
            f"{failed[0][1]}"
        )
    note = (
        f" Its digest there is {image.tree.digest}, not {image.source_digest} as in the source, because platforms were "
        "left out."
        if image.tree.digest != image.source_digest
        else ""
    )
    if not plan.steps:
        return "ok", f"{destination} has the image already.{note}"
    if plan.tree.moves_tag and image.tree.tag_digest:
        return "changed", f"{destination} was another image, {image.tree.tag_digest}.{note}"
    if plan.tree.has_work:
        return "changed", f"{destination} was missing.{note}"
    return "changed", f"{destination} was without some of what belongs to it.{note}"


def make_result(
    items: Sequence[ItemResult], plans: Sequence[ImageCopyPlan], outcomes: Optional[Sequence[CopyOutcome]], diff: bool
) -> dict[str, Any]:
    """Makes the result of the module. It is C(changed) also where an image failed after something was written."""
    result = summarize(items, diff)
    if outcomes is not None:
        result["changed"] = result["changed"] or any(outcome.has_written for outcome in outcomes)
    return {
        **result,
        "results": [item.to_dict() for item in items],
        "steps": [step.to_dict() for plan in plans for step in plan.steps],
        "bytes_transferred": sum(item.fields.get("bytes_transferred", 0) for item in items),
    }
