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

    def open_checked() -> S3BlobStore:
        store = open_store()
        store.check()
        return store

    with ThreadPoolExecutor(max_workers=1) as pool:
        opening = pool.submit(open_checked)
        inspection = inspect_source(host, options)
        store = opening.result()
    bundle = inspection.bundle
    # When every target is refused nothing is needed; only when none was named, everything is.
    needs = list_blob_needs(bundle, inspection.targets) if inspection.targets or not options.targets else ()
    present = store.find_objects([need.blob.digest for need in needs])
    blob_transfers = plan_transfers(needs, present, options.corrupt)
    kept = [blob_transfer.blob.digest for blob_transfer in blob_transfers if blob_transfer.action == "none"]
    bundle = bundle.fill_sizes({digest: present[digest].size for digest in kept})
    to_send = [blob_transfer for blob_transfer in blob_transfers if blob_transfer.action != "none"]
    estimated = any(blob_transfer.blob.size is None for blob_transfer in to_send)
    errors: dict[str, str] = {}
    stored: list[str] = []
    stored_externally: set[str] = set()
    aborted = 0
    if not options.check_mode:
        # A run that was killed after its last upload has left its folder, and this one may have nothing to send.
        if to_send or inspection.leftover:
            with clean_staging_on_exit(host, bundle) as staging_state:
                if to_send and options.from_engine:
                    bundle = export_blobs(
                        host, bundle, [blob_transfer.blob.digest for blob_transfer in to_send], progress
                    )
                known = {blob.digest: blob for blob in bundle.list_blobs()}
                to_send = [
                    BlobTransfer(known[blob_transfer.blob.digest], blob_transfer.action, blob_transfer.reason)
                    for blob_transfer in to_send
                ]
                errors, stored, stored_externally = _send_blobs(host, store, bundle, to_send, staging_state, progress)
        aborted = store.abort_superseded([blob.digest for blob in bundle.list_blobs()])
    sized_bundle = inspection.estimate_sizes(bundle)
    sized_blobs = {blob.digest: blob for blob in sized_bundle.list_blobs()}
    items = [
        _make_item(
            sized_blobs[blob_transfer.blob.digest],
            blob_transfer,
            errors,
            None if options.check_mode else stored,
            stored_externally,
        )
        for blob_transfer in blob_transfers
    ]
    result = summarize(items, options.diff)
    if errors:
        result["msg"] = f"{len(errors)} of {len(to_send)} blobs could not be carried: " + " ".join(errors.values())
    sent_digests = [blob_transfer.blob.digest for blob_transfer in to_send] if options.check_mode else stored
    return {
        **result,
        # The check of the loads that follow has nothing better than estimates; the run has the sizes.
        "bundle": (sized_bundle if options.check_mode else bundle).to_dict(),
        "blobs": [item.to_dict() for item in items],
        "steps": [
            step.to_dict()
            for blob_transfer, item in zip(blob_transfers, items)
            if (step := blob_transfer.to_step()) and item.status == "changed"
        ],
        "bytes_full": sum_blob_sizes(sized_blobs.values()),
        "bytes_missing": sum_blob_sizes(sized_blobs[blob_transfer.blob.digest] for blob_transfer in blob_transfers),
        "bytes_transferred": sum_blob_sizes(sized_blobs[digest] for digest in sent_digests),
        "estimated": estimated and options.check_mode,
        "uploads_aborted": aborted,
        "rejected": inspection.rejected,
        "path": str(store),
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
    bytes_total = sum_blob_sizes(blob_transfer.blob for blob_transfer in blob_transfers)
    references = {blob.digest: image.reference for image in bundle.images for blob in image.list_blobs()}
    upload = store.make_upload(blob_transfers, references)

    def report_progress(state: Mapping[str, Any]) -> None:
        activity = f"to {store}" if state["activity"] == SENDING else state["activity"]
        progress.report_bytes(activity, upload.bytes_done + state["bytes_done"], bytes_total)

    with upload:
        while transfers := upload.sign_next():
            result = run_job(host, bundle, "send", report_progress, staging_state=staging_state, transfers=transfers)
            for outcome in result["outcomes"]:
                upload.record(BlobOutcome(**outcome))
            progress.report_bytes(f"to {store}", upload.bytes_done, bytes_total)
    # An answer of 200 is not yet an object: what is not there now with its size and checksum was not carried.
    errors = upload.errors
    objects = store.find_objects(upload.stored)
    recheck = plan_transfers(list_blob_needs(bundle, ()), objects, {})
    for blob_transfer in recheck:
        if blob_transfer.blob.digest in upload.stored and blob_transfer.action != "none":
            errors[blob_transfer.blob.digest] = (
                f"{blob_transfer.blob.digest} was sent, but is not in the store as it should be: {blob_transfer.reason}."
            )
    # Another run that had the same blob there first takes other uploads of it away.
    replacing = {blob_transfer.blob.digest for blob_transfer in blob_transfers if blob_transfer.action == "replace"}
    failed = [digest for digest in errors if digest not in replacing and digest not in upload.stored]
    externally_stored = plan_transfers(
        [BlobNeed(blob, ()) for blob in bundle.list_blobs() if blob.digest in failed], store.find_objects(failed), {}
    )
    stored_externally = {
        blob_transfer.blob.digest for blob_transfer in externally_stored if blob_transfer.action == "none"
    }
    errors = {digest: error for digest, error in errors.items() if digest not in stored_externally}
    return errors, [digest for digest in upload.stored if digest not in errors], stored_externally


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
