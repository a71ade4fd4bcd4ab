# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=saved: from what the source has and the targets lack to blobs in the store, each carried once."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Optional

from ...module_utils._image.engine import SENDING
from ...module_utils._image.model import Blob, Bundle, Outcome, total
from ...module_utils._image.plan import Carry, Need, needed_blobs, plan_carry
from ...module_utils._result import ItemResult, summarize
from .flow import Folder, Host, Progress, cleaned, megabytes, run_job
from .offered import SaveOptions, ask, export
from .s3 import S3Path


def save(host: Host, open_path: Callable[[], S3Path], options: SaveOptions, progress: Progress) -> dict[str, Any]:
    """Observe, plan, carry, verify; in check mode only the first two.

    C(open_path) is called, and the bucket looked for, while the source is asked: that takes as long.
    """
    began = time.monotonic()

    def opened() -> S3Path:
        path = open_path()
        path.check()
        return path

    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(opened)
        offered = ask(host, options)
        path = opening.result()
    bundle = offered.bundle
    # When every target is refused nothing is needed; only when none was named, everything is.
    needs = needed_blobs(bundle, offered.targets) if offered.targets or not options.targets else ()
    present = path.present([need.blob.digest for need in needs])
    carries = plan_carry(needs, present, options.corrupt)
    kept = [carry.blob.digest for carry in carries if carry.action == "none"]
    bundle = bundle.with_sizes({digest: present[digest].size for digest in kept})
    sending = [carry for carry in carries if carry.action != "none"]
    estimated = any(carry.blob.size is None for carry in sending)
    errors: dict[str, str] = {}
    stored: list[str] = []
    brought: set[str] = set()
    aborted = 0
    if not options.check_mode:
        # A run that was killed after its last upload has left its folder, and this one may have nothing to send.
        if sending or offered.leftover:
            with cleaned(host, bundle) as folder:
                if sending and options.from_engine:
                    bundle = export(host, bundle, [carry.blob.digest for carry in sending], progress)
                known = {blob.digest: blob for blob in bundle.blobs()}
                sending = [Carry(known[carry.blob.digest], carry.action, carry.reason) for carry in sending]
                errors, stored, brought = _send(host, path, bundle, sending, folder, progress)
        aborted = path.abort_superseded([blob.digest for blob in bundle.blobs()])
    sized = offered.estimated(bundle)
    sized_blobs = {blob.digest: blob for blob in sized.blobs()}
    items = [
        _item(sized_blobs[carry.blob.digest], carry, errors, None if options.check_mode else stored, brought)
        for carry in carries
    ]
    result = summarize(items, options.diff)
    if errors:
        result["msg"] = f"{len(errors)} of {len(sending)} blobs could not be carried: " + " ".join(errors.values())
    done = [carry.blob.digest for carry in sending] if options.check_mode else stored
    return {
        **result,
        # The check of the loads that follow has nothing better than estimates; the run has the sizes.
        "bundle": (sized if options.check_mode else bundle).to_dict(),
        "blobs": [item.to_dict() for item in items],
        "steps": [
            step.to_dict() for carry, item in zip(carries, items) if (step := carry.step()) and item.status == "changed"
        ],
        "bytes_full": total(sized_blobs.values()),
        "bytes_needed": total(sized_blobs[carry.blob.digest] for carry in carries),
        "bytes_carried": total(sized_blobs[digest] for digest in done),
        "estimated": estimated and options.check_mode,
        "uploads_aborted": aborted,
        "refused": offered.refused,
        "path": str(path),
        "seconds": round(time.monotonic() - began, 1),
    }


def _send(
    host: Host, path: S3Path, bundle: Bundle, sending: Sequence[Carry], folder: Folder, progress: Progress
) -> tuple[dict[str, str], list[str], set[str]]:
    """Sends blobs: the errors of those that failed, the digests that are in the store now by us, and by another run."""
    in_all = total(carry.blob for carry in sending)
    references = {blob.digest: image.reference for image in bundle.images for blob in image.blobs()}
    upload = path.upload(sending, references)

    def tell(state: Mapping[str, Any]) -> None:
        doing = f"to {path}" if state["doing"] == SENDING else state["doing"]
        progress.line(doing, upload.bytes_done + state["bytes_done"], in_all)

    with upload:
        while transfers := upload.next():
            result = run_job(host, bundle, "send", tell, folder=folder, transfers=transfers)
            for outcome in result["outcomes"]:
                upload.record(Outcome(**outcome))
            progress.line(f"to {path}", upload.bytes_done, in_all)
    # An answer of 200 is not yet an object: what is not there now with its size and checksum was not carried.
    errors = upload.errors
    seen = path.present(upload.stored)
    again = plan_carry(needed_blobs(bundle, ()), seen, {})
    for carry in again:
        if carry.blob.digest in upload.stored and carry.action != "none":
            errors[carry.blob.digest] = (
                f"{carry.blob.digest} was sent, but is not in the store as it should be: {carry.reason}."
            )
    # Another run that had the same blob there first takes other uploads of it away.
    replacing = {carry.blob.digest for carry in sending if carry.action == "replace"}
    failed = [digest for digest in errors if digest not in replacing and digest not in upload.stored]
    there = plan_carry([Need(blob, ()) for blob in bundle.blobs() if blob.digest in failed], path.present(failed), {})
    brought = {carry.blob.digest for carry in there if carry.action == "none"}
    errors = {digest: words for digest, words in errors.items() if digest not in brought}
    return errors, [digest for digest in upload.stored if digest not in errors], brought


def _item(
    blob: Blob, carry: Carry, errors: Mapping[str, str], stored: Optional[Sequence[str]], brought: Collection[str]
) -> ItemResult:
    """C(stored) is None in check mode: then what would be sent counts as sent."""
    fields = {"size": blob.size, "media_type": blob.media_type}
    if carry.action == "none":
        return ItemResult(blob.digest, "ok", carry.reason, fields=fields)
    if blob.digest in brought:
        return ItemResult(blob.digest, "ok", "another run has put it into the store meanwhile", fields=fields)
    if blob.digest in errors:
        return ItemResult(blob.digest, "failed", errors[blob.digest], fields=fields)
    if stored is not None and blob.digest not in stored:
        return ItemResult(blob.digest, "failed", "was not sent", fields=fields)
    verb = "replaced" if carry.action == "replace" else "carried"
    reason = f"{verb}: {carry.reason} ({megabytes(blob.size or 0)})"
    return ItemResult(blob.digest, "changed", reason, after={"size": blob.size}, fields=fields)
