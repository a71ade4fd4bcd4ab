# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""C(transport=scp): the source pushes blobs to the staging directories of the targets.

Three hosts take part and a task has one connection, so there are three states. With C(saved), the source makes a key
and returns which blobs each target lacks. With C(authorized), a target authorizes the key for exactly these blobs. With
C(pushed), the source pushes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional
from uuid import uuid4

from ...module_utils._image.errors import ImageError
from ...module_utils._image.model import Blob, Bundle, sum_blob_sizes
from ...module_utils._image.plan import BlobNeed, list_blob_needs
from ...module_utils._plan import Step
from ...module_utils._result import ItemResult, summarize
from .flow import CallHost, ProgressReporter, StagingState, build_work, clean_staging, format_bytes, run_job
from .source_inspection import SaveOptions, SourceInspection, inspect_source

# The expiry of the push key: a killed run cannot revoke its authorization, so the authorization expires by itself. Each
# new connection needs an authorization that has not expired: the connection to the last of many targets, and a retry
# after a dropped connection. So it lasts as long as the whole push takes on a slow link. After the push it is useless,
# because the private key exists only in the memory of the process that pushes.
_MIN_KEY_SECONDS, _MAX_KEY_SECONDS = 900, 86_400
_SLOW_LINK_RATE = 125_000  # bytes per second


def prepare_push(host: CallHost, options: SaveOptions, progress: ProgressReporter) -> dict[str, Any]:
    """state=saved: which blobs of the source each target lacks. Outside check mode, the source then waits to push."""
    began = time.monotonic()
    if not options.targets:
        raise ImageError("targets: is empty, but transport=scp pushes to the targets. List the targets.")
    token = None if options.check_mode else uuid4().hex
    inspection = inspect_source(host, options, token)
    bundle = inspection.bundle
    sized_bundle = inspection.estimate_sizes(bundle)
    sized = {blob.digest: blob for blob in sized_bundle.list_blobs()}
    needs = list_blob_needs(bundle, inspection.targets) if inspection.targets else ()
    push: dict[str, Any] = {}
    if token and inspection.public_key:
        bytes_total = sum((sized[need.blob.digest].size or 0) * len(need.hosts) for need in needs)
        push = {
            "token": token,
            "public_key": inspection.public_key,
            "seconds": min(
                _MIN_KEY_SECONDS + bytes_total // min(_SLOW_LINK_RATE, options.bandwidth_limit or _SLOW_LINK_RATE),
                _MAX_KEY_SECONDS,
            ),
            "targets": _build_push_targets(inspection, needs),
        }
    elif token and inspection.leftover:
        clean_staging(host, bundle)
    items = [_make_blob_item(sized[need.blob.digest], need) for need in needs]
    return {
        **summarize(items, options.diff),
        # In check mode the following loads have only estimated sizes; a run has the exact sizes.
        "bundle": (sized_bundle if options.check_mode else bundle).to_dict(),
        "blobs": [item.to_dict() for item in items],
        "push": push,
        "steps": [
            Step("push", need.blob.digest, f"missing on {name}", after={"host": name}).to_dict()
            for need in needs
            for name in need.hosts
        ],
        "bytes_full": sum_blob_sizes(sized.values()),
        "bytes_missing": sum_blob_sizes(sized[need.blob.digest] for need in needs),
        "bytes_transferred": 0,
        "estimated": any(need.blob.size is None for need in needs),
        "rejected": inspection.rejected,
        "path": "ssh",
        "seconds": round(time.monotonic() - began, 1),
    }


def _build_push_targets(inspection: SourceInspection, needs: Sequence[BlobNeed]) -> dict[str, Any]:
    """The push parameters of each target that lacks blobs."""
    missing_by_target = {
        target: [need.blob.digest for need in needs if target.host in need.hosts] for target in inspection.targets
    }
    return {
        target.host: {
            "host": target.host,
            "address": target.address,
            "port": target.port,
            "from": inspection.addresses[target.host],
            "digests": digests,
        }
        for target, digests in missing_by_target.items()
        if digests
    }


def _make_blob_item(blob: Blob, need: BlobNeed) -> ItemResult:
    reason = f"missing on {', '.join(need.hosts)} ({format_bytes(blob.size or 0)})"
    return ItemResult(blob.digest, "changed", reason, fields={"size": blob.size, "media_type": blob.media_type})


def authorize_push(
    host: CallHost, bundle: Bundle, push: Mapping[str, Any], name: str, source_address: Optional[str], check_mode: bool
) -> dict[str, Any]:
    """state=authorized: this target authorizes the source to push the blobs that it lacks.

    C(source_address): the address as which the target sees the source, where NAT changes the source's own address.
    """
    push_target = push.get("targets", {}).get(name)
    if push_target is None:
        return {"changed": False, "authorization": None}
    if check_mode:
        return {"changed": True, "authorization": None}
    sizes = {blob.digest: blob.size for blob in bundle.list_blobs()}
    work = build_work(
        "authorize",
        public_key=push["public_key"],
        addresses=[source_address or push_target["from"]],
        port=push_target["port"],
        expires=push["seconds"],
        blobs=[{"digest": digest, "size": sizes[digest]} for digest in push_target["digests"]],
    )
    response = host({"bundle": bundle.to_dict(), "work": work})
    authorization = {name: push_target[name] for name in ("host", "address", "port", "digests")}
    return {
        "changed": True,
        "authorization": {**authorization, "user": response["user"], "host_keys": response["host_keys"]},
    }


def push_all(
    host: CallHost,
    bundle: Bundle,
    push: Mapping[str, Any],
    authorizations: Sequence[Mapping[str, Any]],
    check_mode: bool,
    progress: ProgressReporter,
) -> dict[str, Any]:
    """state=pushed: the waiting source pushes to every target that authorized it."""
    began = time.monotonic()
    if check_mode:
        empty_result = {"targets": [], "bytes_transferred": 0, "seconds": 0.0}
        return {"changed": bool(push and authorizations), "bundle": bundle.to_dict(), **empty_result}
    outcomes: Sequence[Mapping[str, Any]] = ()
    sizes: Mapping[str, int] = {}
    if push:
        token, staging_state = push["token"], StagingState()
        try:
            if authorizations:
                result = run_job(
                    host, bundle, "push", progress.report_job, token, staging_state, authorizations=list(authorizations)
                )
                outcomes, sizes = result["pushed"], result.get("sizes", sizes)
        finally:
            if not staging_state.cleaned:
                host({"bundle": bundle.to_dict(), "work": build_work("clean", token=token)})
    items = [_make_target_item(outcome) for outcome in outcomes]
    # The sizes of blobs that the engine has exported in the meantime are known now.
    bundle = bundle.fill_sizes(sizes)
    missing_digests = {digest for push_target in push.get("targets", {}).values() for digest in push_target["digests"]}
    missing_blobs = [blob for blob in bundle.list_blobs() if blob.digest in missing_digests]
    return {
        # An unreachable target fails later by itself, because blobs are missing at its load.
        "changed": any(item.status == "changed" for item in items),
        "targets": [item.to_dict() for item in items],
        "bundle": bundle.to_dict(),
        "bytes_missing": sum_blob_sizes(missing_blobs),
        "estimated": any(blob.size is None for blob in missing_blobs),
        "bytes_transferred": sum(outcome["bytes_sent"] for outcome in outcomes),
        "seconds": round(time.monotonic() - began, 1),
    }


def _make_target_item(outcome: Mapping[str, Any]) -> ItemResult:
    fields = {"bytes": outcome["bytes_sent"], "blobs": outcome["digests"]}
    if outcome["error"]:
        return ItemResult(outcome["host"], "failed", outcome["error"], fields=fields)
    reason = f"{len(outcome['digests'])} blobs pushed ({format_bytes(outcome['bytes_sent'])})"
    return ItemResult(outcome["host"], "changed" if outcome["digests"] else "ok", reason, fields=fields)


def revoke_push(host: CallHost, bundle: Bundle, push: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """state=revoked: this target revokes this push; without C(push), every push of these images."""
    if check_mode:
        return {"changed": False}
    call = {"bundle": bundle.to_dict(), "work": build_work("revoke", public_key=push.get("public_key"))}
    response = host(call)
    revoked = response["revoked"]
    while response["busy"]:
        # The engine still unpacks pushed layers.
        response = host(call)
    return {
        "changed": bool(revoked),
        **({"warnings": [response["cleanup_error"]]} if response["cleanup_error"] else {}),
    }
