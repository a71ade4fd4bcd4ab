# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=saved: uploads the blobs that the source has and some target lacks to the store, each once."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Optional

from ...module_utils._image.errors import ImageError
from ...module_utils._image.model import Blob, BlobOutcome, Bundle, sum_blob_sizes
from ...module_utils._image.plan import BlobNeed, BlobTransfer, list_blob_needs, plan_transfers
from ...module_utils._image.progress import SENDING
from ...module_utils._result import ItemResult, summarize
from .flow import FLOW_ERRORS, CallHost, ProgressReporter, StagingState, clean_staging_on_exit, format_bytes, run_job
from .s3 import S3BlobStore
from .source_inspection import SaveOptions, export_blobs, inspect_source


def save_bundle(
    host: CallHost, open_store: Callable[[], S3BlobStore], options: SaveOptions, progress: ProgressReporter
) -> dict[str, Any]:
    """Observe, plan, upload, verify; in check mode only observe and plan.

    C(open_store) is called, and the bucket checked, while the source is inspected: both take about as long.
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
    # When every target is rejected, no blob is needed. Only without any target, every blob is.
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
    aborted, warnings = 0, []
    if not options.check_mode:
        # A run that was killed after its last upload has left its directory, even where this run has nothing to send.
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
            warnings += [staging_state.cleanup_error] if staging_state.cleanup_error else []
        try:
            aborted = store.abort_superseded([blob.digest for blob in bundle.list_blobs()])
        except ImageError as error:
            # The blobs are stored, so their result must come out.
            warnings.append(f"Incomplete uploads of killed runs may remain, and AWS bills them. {error}")
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
        result["msg"] = f"{len(errors)} of {len(to_send)} blobs could not be transferred: " + " ".join(errors.values())
    sent_digests = [blob_transfer.blob.digest for blob_transfer in to_send] if options.check_mode else stored
    return {
        **result,
        # In check mode the following loads have only estimated sizes; a run has the exact sizes.
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
        **({"warnings": warnings} if warnings else {}),
    }


def _send_blobs(
    host: CallHost,
    store: S3BlobStore,
    bundle: Bundle,
    blob_transfers: Sequence[BlobTransfer],
    staging_state: StagingState,
    progress: ProgressReporter,
) -> tuple[dict[str, str], list[str], set[str]]:
    """Sends blobs. Returns errors by digest, the digests that this run stored, and those that another run stored."""
    bytes_total = sum_blob_sizes(blob_transfer.blob for blob_transfer in blob_transfers)
    references = {blob.digest: image.reference for image in bundle.images for blob in image.list_blobs()}
    upload = store.make_upload(blob_transfers, references)

    def report_progress(state: Mapping[str, Any]) -> None:
        activity = f"to {store}" if state["activity"] == SENDING else state["activity"]
        progress.report_bytes(activity, upload.bytes_done + state["bytes_done"], bytes_total)

    interruption = ""
    try:
        with upload:
            while transfers := upload.sign_next():
                result = run_job(
                    host, bundle, "send", report_progress, staging_state=staging_state, transfers=transfers
                )
                for outcome in result["outcomes"]:
                    upload.record(BlobOutcome(**outcome))
                progress.report_bytes(f"to {store}", upload.bytes_done, bytes_total)
    except FLOW_ERRORS as error:
        # Blobs that were stored before are a change, which the result has to report.
        if not upload.stored:
            raise
        interruption = str(error)
    stored = upload.stored
    errors = {
        blob_transfer.blob.digest: interruption
        for blob_transfer in blob_transfers
        if interruption and blob_transfer.blob.digest not in stored
    }
    errors.update(upload.errors)
    # A response of 200 is no evidence of an object: an upload counts only if the object has its size and checksum now.
    try:
        objects = store.find_objects(stored)
    except ImageError as error:
        errors.update(
            {
                digest: f"{digest} was sent, and the store may have it, but it could not be verified. {error}"
                for digest in stored
            }
        )
        return errors, [], set()
    recheck = plan_transfers(list_blob_needs(bundle, ()), objects, {})
    for blob_transfer in recheck:
        if blob_transfer.blob.digest in stored and blob_transfer.action != "none":
            errors[blob_transfer.blob.digest] = (
                f"{blob_transfer.blob.digest} was sent, but its verification in the store failed: "
                f"{blob_transfer.reason}. Run again."
            )
    stored_externally = _find_stored_externally(store, bundle, blob_transfers, errors, stored)
    errors = {digest: error for digest, error in errors.items() if digest not in stored_externally}
    return errors, [digest for digest in stored if digest not in errors], stored_externally


def _find_stored_externally(
    store: S3BlobStore,
    bundle: Bundle,
    blob_transfers: Sequence[BlobTransfer],
    errors: Mapping[str, str],
    stored: Collection[str],
) -> set[str]:
    """Finds blobs that another run stored first, which aborts other uploads of them."""
    replacing = {blob_transfer.blob.digest for blob_transfer in blob_transfers if blob_transfer.action == "replace"}
    failed = [digest for digest in errors if digest not in replacing and digest not in stored]
    try:
        objects = store.find_objects(failed)
    except ImageError:
        return set()  # the errors of the uploads are the ones to report
    externally_stored = plan_transfers(
        [BlobNeed(blob, ()) for blob in bundle.list_blobs() if blob.digest in failed], objects, {}
    )
    return {blob_transfer.blob.digest for blob_transfer in externally_stored if blob_transfer.action == "none"}


def _make_item(
    blob: Blob,
    blob_transfer: BlobTransfer,
    errors: Mapping[str, str],
    stored: Optional[Sequence[str]],
    stored_externally: Collection[str],
) -> ItemResult:
    """Makes the result of one blob. C(stored) is None in check mode: then a planned upload counts as done."""
    fields = {"size": blob.size, "media_type": blob.media_type}
    if blob_transfer.action == "none":
        return ItemResult(blob.digest, "ok", blob_transfer.reason, fields=fields)
    if blob.digest in stored_externally:
        return ItemResult(blob.digest, "ok", "another run stored it in the meantime", fields=fields)
    if blob.digest in errors:
        return ItemResult(blob.digest, "failed", errors[blob.digest], fields=fields)
    if stored is not None and blob.digest not in stored:
        return ItemResult(blob.digest, "failed", "was not sent", fields=fields)
    verb = "replaced" if blob_transfer.action == "replace" else "uploaded"
    reason = f"{verb}: {blob_transfer.reason} ({format_bytes(blob.size or 0)})"
    return ItemResult(blob.digest, "changed", reason, after={"size": blob.size}, fields=fields)
