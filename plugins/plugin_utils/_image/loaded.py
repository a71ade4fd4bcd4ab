# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=loaded: from blobs in the store to images that are proved on one target."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ...module_utils._image.model import Blob, Bundle, Object, Outcome, total
from ...module_utils._result import ItemResult, summarize
from .flow import Host, Progress, cleaned, megabytes, run_job, slice_of
from .s3 import UNITS_AT_ONCE, S3Path

_EXPIRED_LIMIT = 5
# The engine may lose a layer between the probe and the load, and a blob may be damaged on its way: once more each.
_ATTEMPTS = 3


@dataclass
class _Fetched:
    """What the fetching came to: bytes that came over the network, entity tags seen, errors by digest.

    C(seconds): how long the engine took for each image, by name.
    """

    received: int = 0
    etags: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def load(
    host: Host, path: Optional[S3Path], bundle: Bundle, check_mode: bool, diff: bool, progress: Progress
) -> dict[str, Any]:
    """Observe, plan, fetch and load, verify; in check mode only the first two.

    C(path): where the blobs are, None where a source has pushed them into the staging folder.
    """
    began = time.monotonic()
    seen = host({"bundle": bundle.to_dict(), "work": slice_of("inspect")})
    plans: Sequence[Mapping[str, Any]] = seen["plans"]
    blobs = {blob.digest: blob for blob in bundle.blobs()}
    needed = list(dict.fromkeys(digest for plan in plans for digest in plan["blobs"]))
    fetched = _Fetched()
    failures: dict[str, str] = {}
    corrupt: dict[str, Optional[str]] = {}
    if not check_mode and any(plan["action"] != "none" for plan in plans):
        with cleaned(host, bundle):
            failures, corrupt = _carry_out(host, path, bundle, needed, fetched, progress)
    elif not check_mode and seen["leftover"]:
        # A run that was killed after its last load has left its folder.
        host({"bundle": bundle.to_dict(), "work": slice_of("clean")})
    items = [_item(plan, blobs, failures, fetched.seconds) for plan in plans]
    return {
        **summarize(items, diff),
        "images": [item.to_dict() for item in items],
        "steps": [plan["step"] for plan in plans if plan["step"]],
        "corrupt": [{"digest": digest, "etag": etag} for digest, etag in corrupt.items()],
        "bytes_full": total(blobs.values()),
        "bytes_needed": total(blobs[digest] for digest in needed),
        "bytes_carried": fetched.received,
        "engine": seen["engine"],
        "path": str(path or "ssh"),
        "seconds": round(time.monotonic() - began, 1),
    }


def _carry_out(
    host: Host, path: Optional[S3Path], bundle: Bundle, needed: Sequence[str], fetched: _Fetched, progress: Progress
) -> tuple[dict[str, str], dict[str, Optional[str]]]:
    """Fetches and loads. What failed, by image name; and digests whose object in the store is damaged."""
    corrupt_once: set[str] = set()
    for _attempt in range(_ATTEMPTS):
        if path is not None:
            _fetch(host, path, bundle, needed, fetched, progress)
        outcomes = run_job(host, bundle, "load", progress)["loaded"]
        for outcome in outcomes:
            fetched.seconds[outcome["tag"]] = fetched.seconds.get(outcome["tag"], 0.0) + outcome["seconds"]
        failures = {outcome["tag"]: _reason(outcome, fetched, path) for outcome in outcomes if not outcome["done"]}
        corrupt = {digest for outcome in outcomes for digest in outcome["corrupt"]}
        missing = {digest for outcome in outcomes for digest in outcome["missing"] if digest not in fetched.errors}
        # A blob may have been damaged on its way, or while it lay here since an earlier run. Only one that fails twice,
        # the second time fetched whole, is damaged in the store.
        damaged = corrupt & corrupt_once
        if damaged or path is None or not corrupt | missing:
            break
        corrupt_once |= corrupt
        needed = [*corrupt, *missing]
    return failures, {digest: fetched.etags.get(digest) for digest in sorted(damaged)}


def _reason(outcome: Mapping[str, Any], fetched: _Fetched, path: Optional[S3Path]) -> str:
    reasons = [fetched.errors[digest] for digest in outcome["missing"] if digest in fetched.errors]
    if outcome["corrupt"]:
        mend = "Run again: they are pushed anew."
        if path is not None:
            mend = (
                "Run state=saved with 'corrupt' set to this result's 'corrupt' to replace the objects, then load again."
            )
        digests = ", ".join(outcome["corrupt"])
        reasons.append(f"{outcome['error']}: {digests}. The name still holds what it held before. {mend}")
    return " ".join(reasons) or str(outcome["error"])


def _fetch(
    host: Host, path: S3Path, bundle: Bundle, needed: Sequence[str], fetched: _Fetched, progress: Progress
) -> None:
    if not needed:
        return
    blobs = {blob.digest: blob for blob in bundle.blobs()}
    path.check()
    objects = path.present(needed)
    for digest in needed:
        problem = _unfit(blobs[digest], objects.get(digest), path)
        if problem:
            fetched.errors[digest] = problem
    references = {blob.digest: image.reference for image in bundle.images for blob in image.blobs()}
    waiting = [digest for digest in needed if digest not in fetched.errors]
    in_all = sum(objects[digest].size for digest in waiting)
    sizes: dict[str, int] = {}
    expired: dict[str, int] = {}
    while waiting:
        transfers = [
            path.download(blobs[digest], objects[digest].size, references[digest]) for digest in waiting[:UNITS_AT_ONCE]
        ]
        answer = host({"bundle": bundle.to_dict(), "work": slice_of("fetch", transfers=transfers)})
        for outcome in (Outcome(**entry) for entry in answer["outcomes"]):
            _record(outcome, fetched, sizes, expired)
            if outcome.done or outcome.digest in fetched.errors:
                waiting.remove(outcome.digest)
        progress.line(f"from {path}", sum(sizes.values()), in_all)


def _record(outcome: Outcome, fetched: _Fetched, sizes: dict[str, int], expired: dict[str, int]) -> None:
    fetched.received += outcome.received
    if outcome.etag:
        fetched.etags[outcome.digest] = outcome.etag
    sizes[outcome.digest] = max(outcome.size, sizes.get(outcome.digest, 0))
    if outcome.expired:
        expired[outcome.digest] = expired.get(outcome.digest, 0) + 1
        if expired[outcome.digest] <= _EXPIRED_LIMIT:
            return
    if outcome.error:
        fetched.errors[outcome.digest] = outcome.error


def _unfit(blob: Blob, found: Optional[Object], path: S3Path) -> Optional[str]:
    if found is None:
        return f"{blob.digest} is not in {path}: run state=saved for this target first."
    if blob.size is not None and found.size != blob.size:
        return f"{blob.digest} has {found.size} bytes in {path} instead of {blob.size}: state=saved replaces it."
    return None


def _item(
    plan: Mapping[str, Any], blobs: Mapping[str, Blob], failures: Mapping[str, str], seconds: Mapping[str, float]
) -> ItemResult:
    name, step = plan["name"], plan["step"]
    fields = {
        "previous_image": plan["previous"],
        "bytes": total(_of(blobs, plan["blobs"])),
        "seconds": round(seconds.get(name, 0.0), 1),
    }
    if name in failures:
        return ItemResult(name, "failed", failures[name], fields=fields)
    if step is None:
        return ItemResult(name, "ok", plan["reason"], fields=fields)
    reason = plan["reason"] + (f" ({megabytes(fields['bytes'])})" if fields["bytes"] else "")
    return ItemResult(name, "changed", reason, before=step["before"], after=step["after"], fields=fields)


def _of(blobs: Mapping[str, Blob], digests: Iterable[str]) -> list[Blob]:
    return [blobs[digest] for digest in digests]
