# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=loaded: from blobs in the store to verified images on one target."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ...module_utils._image.model import Blob, BlobOutcome, Bundle, EngineFacts, StoredObject, sum_blob_sizes
from ...module_utils._image.plan import plan_load
from ...module_utils._image.progress import FETCHING
from ...module_utils._result import ItemResult, summarize
from .flow import (
    FLOW_ERRORS,
    CallHost,
    ProgressReporter,
    StagingState,
    build_work,
    clean_staging,
    clean_staging_on_exit,
    format_bytes,
    run_job,
)
from .s3 import REQUESTS_PER_CALL, S3BlobStore

_MAX_URL_EXPIRIES = 5
# The engine may lose a layer after the inspection, and a blob may be damaged in transit: one retry for each.
_MAX_ATTEMPTS = 3


def load_bundle(
    host: CallHost,
    store: Optional[S3BlobStore],
    bundle: Bundle,
    target_facts: Optional[EngineFacts],
    check_mode: bool,
    diff: bool,
    progress: ProgressReporter,
    public_key: Optional[str] = None,
) -> dict[str, Any]:
    """Observe, plan, fetch and load, verify; in check mode only observe and plan.

    C(store): where the blobs are; None where a source has pushed them into the staging directory. C(target_facts): what
    the target had a while ago. The first URLs are signed for it; the call that uses them checks what the target has
    now. C(public_key): the key of a finished push, which the target revokes.
    """
    began = time.monotonic()
    plans = plan_load(bundle, target_facts) if target_facts and not check_mode else ()
    digests = _merge_digests([[blob.digest for blob in plan.blobs] for plan in plans])
    inspection: Optional[Mapping[str, Any]] = None
    fingerprint = _get_fingerprint(target_facts)
    if all(plan.action == "none" for plan in plans):
        work = build_work("inspect", archive_fingerprint=fingerprint)
        inspection = host({"bundle": bundle.to_dict(), "work": work})
        digests = _merge_digests(plan["blobs"] for plan in inspection["plans"])
    bundle_load = _BundleLoad(host, store, bundle, progress, public_key, fingerprint)
    if inspection is None or (not check_mode and any(plan["action"] != "none" for plan in inspection["plans"])):
        with clean_staging_on_exit(host, bundle) as staging_state:
            first_result = bundle_load.apply(digests, staging_state)
        bundle_load.cleanup_error = staging_state.cleanup_error or bundle_load.cleanup_error
        inspection = inspection or first_result
    elif not check_mode and inspection["leftover"]:
        # A run that was killed after its last load has left its staging directory.
        bundle_load.cleanup_error = clean_staging(host, bundle)
    warnings = [*inspection["load_warnings"], *([bundle_load.cleanup_error] if bundle_load.cleanup_error else [])]
    if not bundle_load.failures:
        warnings += [
            f"Layers could not be preloaded while others were in transit: {error}"
            for error in bundle_load.preload_errors
        ]
    blobs = {blob.digest: blob for blob in bundle.list_blobs()}
    items = [_make_item(plan, blobs, bundle_load.failures, bundle_load.seconds) for plan in inspection["plans"]]
    return {
        **summarize(items, diff),
        "images": [item.to_dict() for item in items],
        "steps": [
            plan["step"] for plan in inspection["plans"] if plan["step"] and plan["name"] not in bundle_load.failures
        ],
        "corrupt": [
            {"digest": digest, "etag": bundle_load.etags.get(digest)} for digest in sorted(bundle_load.damaged)
        ],
        "bytes_full": sum_blob_sizes(blobs.values()),
        "bytes_missing": sum_blob_sizes(
            _select_blobs(blobs, _merge_digests(plan["blobs"] for plan in inspection["plans"]))
        ),
        "bytes_transferred": bundle_load.bytes_received,
        "engine": inspection["engine"],
        **_select_archive_files(bundle_load.archive_files or inspection.get("archive_files"), items, check_mode),
        "path": str(store or "ssh"),
        "revoked": bundle_load.revoked,
        "seconds": round(time.monotonic() - began, 1),
        **({"warnings": warnings} if warnings else {}),
    }


def _get_fingerprint(target_facts: Optional[EngineFacts]) -> Optional[str]:
    """Gets the fingerprint of a complete archive. A damaged one has to be read again."""
    archive = target_facts.archive if target_facts else None
    return archive.fingerprint if archive and not archive.problem else None


def _select_archive_files(
    files: Optional[Sequence[Mapping[str, Any]]], items: Sequence[ItemResult], check_mode: bool
) -> dict[str, Any]:
    """Selects the files of an archive for the result, if they are those that the result describes."""
    is_predicted = check_mode and any(item.status == "changed" for item in items)
    failed = any(item.status == "failed" for item in items)
    return {} if files is None or is_predicted or failed else {"archive_files": list(files)}


class _BundleLoad:
    """The load attempts of one target, and their outcome.

    C(bytes_received): bytes that came over the network. By digest: C(etags), the entity tags of the objects, and
    C(errors), why a blob could not be fetched. By image name: C(failures), why an image failed, and C(seconds), how
    long the engine took. C(damaged): digests whose object in the store is damaged. C(revoked): the target has revoked
    the push. C(cleanup_error): what could not be removed. C(preload_errors): why layers were not preloaded.
    C(archive_files): the files of an archive that was written.
    """

    def __init__(
        self,
        host: CallHost,
        store: Optional[S3BlobStore],
        bundle: Bundle,
        progress: ProgressReporter,
        public_key: Optional[str] = None,
        archive_fingerprint: Optional[str] = None,
    ) -> None:
        self._host = host
        self._store = store
        self._bundle = bundle
        self._progress = progress
        self._public_key = public_key
        self._archive_fingerprint = archive_fingerprint
        self.archive_files: Optional[Sequence[Mapping[str, Any]]] = None
        self.revoked = False
        self.bytes_received = 0
        self.etags: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.damaged: set[str] = set()
        self.cleanup_error: Optional[str] = None
        self.preload_errors: list[str] = []

    def apply(self, digests: Sequence[str], staging_state: StagingState) -> Mapping[str, Any]:
        """Fetches and loads, with retries. Returns the first result, which describes the target before any change."""
        first_result: Optional[Mapping[str, Any]] = None
        corrupt_once: set[str] = set()
        for _attempt in range(_MAX_ATTEMPTS):
            try:
                result = self._load_once(digests, staging_state)
            except FLOW_ERRORS as error:
                # What the first attempt has loaded is a change, which the result has to report.
                if first_result is None:
                    raise
                self.failures = {tag: f"{reason} The retry failed: {error}" for tag, reason in self.failures.items()}
                break
            first_result = first_result or result
            outcomes, self.cleanup_error = result["loaded"], result["cleanup_error"]
            self.archive_files = result.get("archive_files")
            for outcome in outcomes:
                self.seconds[outcome["tag"]] = self.seconds.get(outcome["tag"], 0.0) + outcome["seconds"]
            self.failures = {
                outcome["tag"]: self._get_failure_reason(outcome) for outcome in outcomes if not outcome["done"]
            }
            corrupt = {digest for outcome in outcomes for digest in outcome["corrupt"]}
            missing = {digest for outcome in outcomes for digest in outcome["missing"] if digest not in self.errors}
            # A blob may be damaged in transit, or in the staging directory since an earlier run. Only a blob that fails
            # twice, the second time fetched completely, is damaged in the store.
            self.damaged = corrupt & corrupt_once
            if self.damaged or self._store is None or not corrupt | missing:
                break
            corrupt_once |= corrupt
            digests = [*corrupt, *missing]
        return first_result or {}

    def _load_once(self, digests: Sequence[str], staging_state: StagingState) -> Mapping[str, Any]:
        """Has the target fetch these blobs and load; repeats while requests remain or presigned URLs have expired."""
        blobs = {blob.digest: blob for blob in self._bundle.list_blobs()}
        references = {blob.digest: image.reference for image in self._bundle.images for blob in image.list_blobs()}
        objects = self._find_objects(digests, blobs)
        pending = list(objects)
        expired: dict[str, int] = {}
        bytes_total = sum(stored_object.size for stored_object in objects.values())

        def get_bytes_done() -> int:
            return bytes_total - sum(objects[digest].size for digest in pending)

        def report_progress(state: Mapping[str, Any]) -> None:
            if state["activity"] == FETCHING:
                self._progress.report_bytes(f"from {self._store}", get_bytes_done() + state["bytes_done"], bytes_total)
            else:
                self._progress.report_job(state)

        while True:
            transfers = [
                self._store.sign_download(blobs[digest], objects[digest].size, references[digest])
                for digest in pending[:REQUESTS_PER_CALL]
                if self._store
            ]
            has_more = len(pending) > len(transfers)
            work: dict[str, Any] = {"transfers": transfers, "has_more": has_more, "public_key": self._public_key}
            work["archive_fingerprint"] = self._archive_fingerprint
            result = run_job(self._host, self._bundle, "load", report_progress, staging_state=staging_state, **work)
            self.revoked = self._public_key is not None
            self.preload_errors = list(dict.fromkeys([*self.preload_errors, *result["preload_errors"]]))
            outcomes = [BlobOutcome(**entry) for entry in result["outcomes"]]
            # Large blobs are fetched sequentially: where some bytes arrived, the URLs of other blobs expired while they
            # waited. That does not count as a failed attempt.
            stalled = not any(outcome.received for outcome in outcomes)
            for outcome in outcomes:
                self._record_outcome(outcome, expired, stalled)
                if outcome.done or outcome.digest in self.errors:
                    pending.remove(outcome.digest)
            if result["outcomes"]:
                self._progress.report_bytes(f"from {self._store}", get_bytes_done(), bytes_total)
            if result["loaded"] is not None:
                return result
            # The target has not fetched blobs that it turned out not to need.
            requested = {transfer["digest"] for transfer in transfers} - {
                entry["digest"] for entry in result["outcomes"]
            }
            pending = [digest for digest in pending if digest not in requested]

    def _find_objects(self, digests: Sequence[str], blobs: Mapping[str, Blob]) -> dict[str, StoredObject]:
        """The objects of these blobs that can be fetched. Records an error for each other blob."""
        if self._store is None or not digests:
            return {}
        self._store.check()
        objects = self._store.find_objects(digests)
        for digest in digests:
            reason = _get_unusable_reason(blobs[digest], objects.get(digest), self._store)
            if reason:
                self.errors[digest] = reason
        return {digest: objects[digest] for digest in digests if digest not in self.errors}

    def _record_outcome(self, outcome: BlobOutcome, expired: dict[str, int], stalled: bool) -> None:
        self.bytes_received += outcome.received
        if outcome.etag:
            self.etags[outcome.digest] = outcome.etag
        if outcome.expired:
            expired[outcome.digest] = expired.get(outcome.digest, 0) + stalled
            if expired[outcome.digest] <= _MAX_URL_EXPIRIES:
                return
        if outcome.error:
            self.errors[outcome.digest] = outcome.error

    def _get_failure_reason(self, outcome: Mapping[str, Any]) -> str:
        reasons = [self.errors[digest] for digest in outcome["missing"] if digest in self.errors]
        if outcome["corrupt"]:
            remediation = "Run again to push them again."
            if self._store is not None:
                remediation = (
                    "Run state=saved with 'corrupt' set to this result's 'corrupt' to replace the objects, then load "
                    "again."
                )
            digests = ", ".join(outcome["corrupt"])
            reasons.append(f"{outcome['error']}: {digests}. The name still refers to the previous image. {remediation}")
        return " ".join(reasons) or str(outcome["error"])


def _get_unusable_reason(blob: Blob, stored_object: Optional[StoredObject], store: S3BlobStore) -> Optional[str]:
    if stored_object is None:
        return f"{blob.digest} is not in {store}. Run state=saved for this target first."
    if blob.size is not None and stored_object.size != blob.size:
        return (
            f"{blob.digest} has {stored_object.size} bytes in {store} instead of {blob.size}: run state=saved to "
            "replace it."
        )
    return None


def _make_item(
    plan: Mapping[str, Any], blobs: Mapping[str, Blob], failures: Mapping[str, str], seconds: Mapping[str, float]
) -> ItemResult:
    name, step = plan["name"], plan["step"]
    fields = {
        "previous_image": plan["previous"],
        "bytes": sum_blob_sizes(_select_blobs(blobs, plan["blobs"])),
        "seconds": round(seconds.get(name, 0.0), 1),
    }
    if name in failures:
        return ItemResult(name, "failed", failures[name], fields=fields)
    if step is None:
        return ItemResult(name, "ok", plan["reason"], fields=fields)
    reason = plan["reason"] + (f" ({format_bytes(fields['bytes'])})" if fields["bytes"] else "")
    return ItemResult(name, "changed", reason, before=step["before"], after=step["after"], fields=fields)


def _merge_digests(lists: Iterable[Sequence[str]]) -> list[str]:
    """All digests in their order, each once."""
    return list(dict.fromkeys(digest for digests in lists for digest in digests))


def _select_blobs(blobs: Mapping[str, Blob], digests: Iterable[str]) -> list[Blob]:
    return [blobs[digest] for digest in digests]
