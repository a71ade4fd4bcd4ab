# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=saved: from what the source has and the targets lack to blobs in the store, each carried once."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Optional

from ...module_utils._image.engine import SENDING
from ...module_utils._image.model import Blob, BlobOutcome, Bundle, sum_blob_sizes
from ...module_utils._image.plan import BlobNeed, BlobTransfer, list_blob_needs, plan_transfers
from ...module_utils._result import ItemResult, summarize
from .flow import CallHost, ProgressReporter, StagingState, clean_staging_on_exit, format_bytes, run_job
from .s3 import S3BlobStore
from .source_inspection import SaveOptions, export_blobs, inspect_source


def save_bundle(
    host: CallHost, open_store: Callable[[], S3BlobStore], options: SaveOptions, progress: ProgressReporter
) -> dict[str, Any]:
    """Observe, plan, carry, verify; in check mode only the first two.

    C(open_path) is called, and the bucket looked for, while the source is asked: that takes as long.
    """
    began = time.monotonic()

    def opened() -> S3BlobStore:
        path = open_store()
        path.check()
        return path

    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(opened)
        offered = inspect_source(host, options)
        path = opening.result()
    bundle = offered.bundle
    # When every target is refused nothing is needed; only when none was named, everything is.
    needs = list_blob_needs(bundle, offered.targets) if offered.targets or not options.targets else ()
    present = path.find_objects([need.blob.digest for need in needs])
    carries = plan_transfers(needs, present, options.corrupt)
    kept = [carry.blob.digest for carry in carries if carry.action == "none"]
    bundle = bundle.fill_sizes({digest: present[digest].size for digest in kept})
    sending = [carry for carry in carries if carry.action != "none"]
    estimated = any(carry.blob.size is None for carry in sending)
    errors: dict[str, str] = {}
    stored: list[str] = []
    brought: set[str] = set()
    aborted = 0
    if not options.check_mode:
        # A run that was killed after its last upload has left its folder, and this one may have nothing to send.
        if sending or offered.leftover:
            with clean_staging_on_exit(host, bundle) as folder:
                if sending and options.from_engine:
                    bundle = export_blobs(host, bundle, [carry.blob.digest for carry in sending], progress)
                known = {blob.digest: blob for blob in bundle.list_blobs()}
                sending = [BlobTransfer(known[carry.blob.digest], carry.action, carry.reason) for carry in sending]
                errors, stored, brought = _send_blobs(host, path, bundle, sending, folder, progress)
        aborted = path.abort_superseded([blob.digest for blob in bundle.list_blobs()])
    sized = offered.estimate_sizes(bundle)
    sized_blobs = {blob.digest: blob for blob in sized.list_blobs()}
    items = [
        _make_item(sized_blobs[carry.blob.digest], carry, errors, None if options.check_mode else stored, brought)
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
            step.to_dict()
            for carry, item in zip(carries, items)
            if (step := carry.to_step()) and item.status == "changed"
        ],
        "bytes_full": sum_blob_sizes(sized_blobs.values()),
        "bytes_needed": sum_blob_sizes(sized_blobs[carry.blob.digest] for carry in carries),
        "bytes_carried": sum_blob_sizes(sized_blobs[digest] for digest in done),
        "estimated": estimated and options.check_mode,
        "uploads_aborted": aborted,
        "refused": offered.rejected,
        "path": str(path),
        "seconds": round(time.monotonic() - began, 1),
    }


def _send_blobs(
    host: CallHost,
    store: S3BlobStore,
    bundle: Bundle,
    blob_transfers: Sequence[BlobTransfer],
    staging_state: StagingState,
    progress: ProgressReporter,
) -> tuple[dict[str, str], list[str], set[str]]:
    """Sends blobs: the errors of those that failed, the digests that are in the store now by us, and by another run."""
    in_all = sum_blob_sizes(carry.blob for carry in blob_transfers)
    references = {blob.digest: image.reference for image in bundle.images for blob in image.list_blobs()}
    upload = store.make_upload(blob_transfers, references)

    def tell(state: Mapping[str, Any]) -> None:
        doing = f"to {store}" if state["doing"] == SENDING else state["doing"]
        progress.report_bytes(doing, upload.bytes_done + state["bytes_done"], in_all)

    with upload:
        while transfers := upload.sign_next():
            result = run_job(host, bundle, "send", tell, staging_state=staging_state, transfers=transfers)
            for outcome in result["outcomes"]:
                upload.record(BlobOutcome(**outcome))
            progress.report_bytes(f"to {store}", upload.bytes_done, in_all)
    # An answer of 200 is not yet an object: what is not there now with its size and checksum was not carried.
    errors = upload.errors
    seen = store.find_objects(upload.stored)
    again = plan_transfers(list_blob_needs(bundle, ()), seen, {})
    for carry in again:
        if carry.blob.digest in upload.stored and carry.action != "none":
            errors[carry.blob.digest] = (
                f"{carry.blob.digest} was sent, but is not in the store as it should be: {carry.reason}."
            )
    # Another run that had the same blob there first takes other uploads of it away.
    replacing = {carry.blob.digest for carry in blob_transfers if carry.action == "replace"}
    failed = [digest for digest in errors if digest not in replacing and digest not in upload.stored]
    there = plan_transfers(
        [BlobNeed(blob, ()) for blob in bundle.list_blobs() if blob.digest in failed], store.find_objects(failed), {}
    )
    brought = {carry.blob.digest for carry in there if carry.action == "none"}
    errors = {digest: words for digest, words in errors.items() if digest not in brought}
    return errors, [digest for digest in upload.stored if digest not in errors], brought


def _make_item(
    blob: Blob,
    blob_transfer: BlobTransfer,
    errors: Mapping[str, str],
    stored: Optional[Sequence[str]],
    stored_externally: Collection[str],
) -> ItemResult:
    """C(stored) is None in check mode: then what would be sent counts as sent."""
    fields = {"size": blob.size, "media_type": blob.media_type}
    if blob_transfer.action == "none":
        return ItemResult(blob.digest, "ok", blob_transfer.reason, fields=fields)
    if blob.digest in stored_externally:
        return ItemResult(blob.digest, "ok", "another run has put it into the store meanwhile", fields=fields)
    if blob.digest in errors:
        return ItemResult(blob.digest, "failed", errors[blob.digest], fields=fields)
    if stored is not None and blob.digest not in stored:
        return ItemResult(blob.digest, "failed", "was not sent", fields=fields)
    verb = "replaced" if blob_transfer.action == "replace" else "carried"
    reason = f"{verb}: {blob_transfer.reason} ({format_bytes(blob.size or 0)})"
    return ItemResult(blob.digest, "changed", reason, after={"size": blob.size}, fields=fields)
