# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""state=loaded: from blobs in the store to images that are proved on one target."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ...module_utils._image.engine import FETCHING
from ...module_utils._image.model import Blob, Bundle, EngineFacts, Object, Outcome, total
from ...module_utils._image.plan import plan_load
from ...module_utils._result import ItemResult, summarize
from .flow import Folder, Host, Progress, clean, cleaned, megabytes, run_job, slice_of
from .s3 import UNITS_AT_ONCE, S3Path

_EXPIRED_LIMIT = 5
# The engine may lose a layer between the probe and the load, and a blob may be damaged on its way: once more each.
_ATTEMPTS = 3


def load(
    host: Host,
    path: Optional[S3Path],
    bundle: Bundle,
    has: Optional[EngineFacts],
    check_mode: bool,
    diff: bool,
    progress: Progress,
    public_key: Optional[str] = None,
) -> dict[str, Any]:
    """Observe, plan, fetch and load, verify; in check mode only the first two.

    C(path): where the blobs are, None where a source has pushed them into the staging folder. C(has): what the target
    had a while ago; by it the first URLs are signed, and what is true is found out in the call that uses them.
    C(public_key): of a push that has ended, which the target must not permit any longer.
    """
    began = time.monotonic()
    plans = plan_load(bundle, has) if has and not check_mode else ()
    needed = _digests([[blob.digest for blob in plan.blobs] for plan in plans])
    seen: Optional[Mapping[str, Any]] = None
    if all(plan.action == "none" for plan in plans):
        seen = host({"bundle": bundle.to_dict(), "work": slice_of("inspect")})
        needed = _digests(plan["blobs"] for plan in seen["plans"])
    loading = _Loading(host, path, bundle, progress, public_key)
    if seen is None or (not check_mode and any(plan["action"] != "none" for plan in seen["plans"])):
        with cleaned(host, bundle) as folder:
            first = loading.carry_out(needed, folder)
        loading.left = folder.left or loading.left
        seen = seen or first
    elif not check_mode and seen["leftover"]:
        # A run that was killed after its last load has left its folder.
        loading.left = clean(host, bundle)
    warnings = [*seen["misgivings"], *([loading.left] if loading.left else [])]
    if not loading.failures:
        warnings += [f"Layers could not be unpacked while others were on their way: {words}" for words in loading.slow]
    blobs = {blob.digest: blob for blob in bundle.blobs()}
    items = [_item(plan, blobs, loading.failures, loading.seconds) for plan in seen["plans"]]
    return {
        **summarize(items, diff),
        "images": [item.to_dict() for item in items],
        "steps": [plan["step"] for plan in seen["plans"] if plan["step"] and plan["name"] not in loading.failures],
        "corrupt": [{"digest": digest, "etag": loading.etags.get(digest)} for digest in sorted(loading.damaged)],
        "bytes_full": total(blobs.values()),
        "bytes_needed": total(_of(blobs, _digests(plan["blobs"] for plan in seen["plans"]))),
        "bytes_carried": loading.received,
        "engine": seen["engine"],
        "path": str(path or "ssh"),
        "revoked": loading.revoked,
        "seconds": round(time.monotonic() - began, 1),
        **({"warnings": warnings} if warnings else {}),
    }


class _Loading:
    """The attempts of one target, and what they came to.

    C(received): bytes that came over the network. C(etags): entity tags seen, C(errors): what could not be fetched, by
    digest. C(failures): what failed, C(seconds): how long the engine took, by image name. C(damaged): digests whose
    object in the store is damaged. C(revoked): the target permits the push no longer. C(left): what could not be
    removed, C(slow): why layers were not loaded ahead.
    """

    def __init__(
        self,
        host: Host,
        path: Optional[S3Path],
        bundle: Bundle,
        progress: Progress,
        public_key: Optional[str] = None,
    ) -> None:
        self._host = host
        self._path = path
        self._bundle = bundle
        self._progress = progress
        self._public_key = public_key
        self.revoked = False
        self.received = 0
        self.etags: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.damaged: set[str] = set()
        self.left: Optional[str] = None
        self.slow: list[str] = []

    def carry_out(self, needed: Sequence[str], folder: Folder) -> Mapping[str, Any]:
        """Fetches and loads; what the target said before anything was changed."""
        first: Optional[Mapping[str, Any]] = None
        corrupt_once: set[str] = set()
        for _attempt in range(_ATTEMPTS):
            result = self._attempt(needed, folder)
            first = first or result
            outcomes, self.left = result["loaded"], result["left"]
            for outcome in outcomes:
                self.seconds[outcome["tag"]] = self.seconds.get(outcome["tag"], 0.0) + outcome["seconds"]
            self.failures = {outcome["tag"]: self._reason(outcome) for outcome in outcomes if not outcome["done"]}
            corrupt = {digest for outcome in outcomes for digest in outcome["corrupt"]}
            missing = {digest for outcome in outcomes for digest in outcome["missing"] if digest not in self.errors}
            # A blob may have been damaged on its way, or while it lay here since an earlier run. Only one that fails
            # twice, the second time fetched whole, is damaged in the store.
            self.damaged = corrupt & corrupt_once
            if self.damaged or self._path is None or not corrupt | missing:
                break
            corrupt_once |= corrupt
            needed = [*corrupt, *missing]
        return first or {}

    def _attempt(self, needed: Sequence[str], folder: Folder) -> Mapping[str, Any]:
        """Has the target fetch these blobs and load; asked again while there are more, or URLs have expired."""
        blobs = {blob.digest: blob for blob in self._bundle.blobs()}
        references = {blob.digest: image.reference for image in self._bundle.images for blob in image.blobs()}
        objects = self._objects(needed, blobs)
        waiting = list(objects)
        expired: dict[str, int] = {}
        in_all = sum(found.size for found in objects.values())

        def done() -> int:
            return in_all - sum(objects[digest].size for digest in waiting)

        def tell(state: Mapping[str, Any]) -> None:
            if state["doing"] == FETCHING:
                self._progress.line(f"from {self._path}", done() + state["bytes_done"], in_all)
            else:
                self._progress.job(state)

        while True:
            transfers = [
                self._path.download(blobs[digest], objects[digest].size, references[digest])
                for digest in waiting[:UNITS_AT_ONCE]
                if self._path
            ]
            more = len(waiting) > len(transfers)
            work: dict[str, Any] = {"transfers": transfers, "more": more, "public_key": self._public_key}
            result = run_job(self._host, self._bundle, "load", tell, folder=folder, **work)
            self.revoked = self._public_key is not None
            self.slow = list(dict.fromkeys([*self.slow, *result["not_ahead"]]))
            outcomes = [Outcome(**entry) for entry in result["outcomes"]]
            # Large blobs come one after the other: where something has come, the URLs of others had to wait.
            stood_still = not any(outcome.received for outcome in outcomes)
            for outcome in outcomes:
                self._record(outcome, expired, stood_still)
                if outcome.done or outcome.digest in self.errors:
                    waiting.remove(outcome.digest)
            if result["outcomes"]:
                self._progress.line(f"from {self._path}", done(), in_all)
            if result["loaded"] is not None:
                return result
            # What the target has turned out not to need, it has not fetched.
            asked = {transfer["digest"] for transfer in transfers} - {entry["digest"] for entry in result["outcomes"]}
            waiting = [digest for digest in waiting if digest not in asked]

    def _objects(self, needed: Sequence[str], blobs: Mapping[str, Blob]) -> dict[str, Object]:
        """The objects of these blobs that can be fetched; what is wrong with others goes to the errors."""
        if self._path is None or not needed:
            return {}
        self._path.check()
        objects = self._path.present(needed)
        for digest in needed:
            problem = _unfit(blobs[digest], objects.get(digest), self._path)
            if problem:
                self.errors[digest] = problem
        return {digest: objects[digest] for digest in needed if digest not in self.errors}

    def _record(self, outcome: Outcome, expired: dict[str, int], stood_still: bool) -> None:
        self.received += outcome.received
        if outcome.etag:
            self.etags[outcome.digest] = outcome.etag
        if outcome.expired:
            expired[outcome.digest] = expired.get(outcome.digest, 0) + stood_still
            if expired[outcome.digest] <= _EXPIRED_LIMIT:
                return
        if outcome.error:
            self.errors[outcome.digest] = outcome.error

    def _reason(self, outcome: Mapping[str, Any]) -> str:
        reasons = [self.errors[digest] for digest in outcome["missing"] if digest in self.errors]
        if outcome["corrupt"]:
            mend = "Run again: they are pushed anew."
            if self._path is not None:
                mend = (
                    "Run state=saved with 'corrupt' set to this result's 'corrupt' to replace the objects, then load "
                    "again."
                )
            digests = ", ".join(outcome["corrupt"])
            reasons.append(f"{outcome['error']}: {digests}. The name still holds what it held before. {mend}")
        return " ".join(reasons) or str(outcome["error"])


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


def _digests(lists: Iterable[Sequence[str]]) -> list[str]:
    """Each once, in their order."""
    return list(dict.fromkeys(digest for digests in lists for digest in digests))


def _of(blobs: Mapping[str, Blob], digests: Iterable[str]) -> list[Blob]:
    return [blobs[digest] for digest in digests]
