# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions and the report of the role image_transfer, from the results of its tasks. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MEGABYTE = 1_000_000


def choose_transport(requested: str, bucket: str | None) -> dict[str, str]:
    """Chooses the transport: C(auto) is the bucket where one is set, since each blob then leaves the source once."""
    if requested != "auto":
        transport, reason = requested, "set by image_transfer_transport"
    elif bucket:
        transport, reason = "s3", "image_transfer_bucket is set, and through a bucket each blob leaves the source once"
    else:
        transport, reason = "scp", "image_transfer_bucket is not set"
    return {"transport": transport, "message": f"transport {transport}: {reason}"}


def find_unpushed(pushed: Mapping[str, Any], host: str, source_host: str) -> dict[str, str]:
    """Finds the targets that could not be pushed to, and why. Without a result of the source, that is this host."""
    targets = pushed.get("targets")
    if targets is None:
        return {host: f"on the source {source_host}: {pushed.get('msg') or 'it could not push'}"}
    return {target["name"]: target["reason"] for target in targets if target["status"] == "failed"}


def build_report(results: Mapping[str, Any], host: str, check_mode: bool) -> dict[str, Any]:
    """Builds the report of a target: C(report) for later tasks, and C(lines) for an operator.

    C(results) has the results of the role's tasks by the variables that hold them, without their prefix.
    """
    saved, pushed, first_load, second_load = (
        results.get(name) or {} for name in ("saved", "pushed", "first_load", "second_load")
    )
    is_replaced = bool(second_load) and not second_load.get("skipped")
    loaded = second_load if is_replaced else first_load
    received = [target for target in pushed.get("targets") or () if target["name"] == host]
    # The push knows the exact sizes of blobs that the engine had not exported at state=saved.
    bytes_full = saved.get("bytes_full", 0)
    if not pushed.get("estimated", True):
        bytes_full += pushed["bytes_missing"] - saved["bytes_missing"]
    bytes_missing = loaded.get("bytes_missing", 0)
    report = {
        "host": host,
        "images": loaded.get("images", []),
        "steps": [*_list_source_steps(saved, received, host, check_mode), *loaded.get("steps", [])],
        "bytes_full": bytes_full,
        "bytes_missing": bytes_missing,
        "bytes_transferred": loaded.get("bytes_transferred", 0) + sum(target["bytes"] for target in received),
        "estimated": pushed.get("estimated", saved.get("estimated", False)),
        "replaced": [entry["digest"] for entry in first_load.get("corrupt") or ()],
        "bytes_saved": bytes_full - bytes_missing,
        "seconds": first_load.get("seconds", 0) + second_load.get("seconds", 0),
        **({"archive_files": loaded["archive_files"]} if "archive_files" in loaded else {}),
    }
    lines = _format_lines(report, check_mode) if "images" in loaded else ["nothing was loaded: see the error above"]
    return {"report": report, "lines": lines}


def _list_source_steps(
    saved: Mapping[str, Any], received: Sequence[Mapping[str, Any]], host: str, check_mode: bool
) -> list[Mapping[str, Any]]:
    """Lists the uploads, and the blobs that the source pushes to this host; in a run, only those that arrived."""
    arrived = {digest for target in received for digest in target["blobs"]}
    steps = []
    for step in saved.get("steps") or ():
        step_host = (step.get("after") or {}).get("host")
        is_pushed = step_host == host and (check_mode or step["target"] in arrived)
        if step_host is None or is_pushed:
            steps.append((step_host is not None, step))
    return [step for _is_push, step in sorted(steps, key=lambda entry: entry[0])]


def _format_lines(report: Mapping[str, Any], check_mode: bool) -> list[str]:
    images = [f"{image['name']}: {image['status']}: {image['reason']}" for image in report["images"]]
    steps = [f"would: {step['action']} {step['target']}" for step in report["steps"]] if check_mode else []

    def format_megabytes(name: str) -> str:
        return f"{report[name] / _MEGABYTE:.1f} MB"

    estimated = "estimated: " if report["estimated"] else ""
    summary = (
        f"{estimated}{format_megabytes('bytes_missing')} of {format_megabytes('bytes_full')} missing, "
        f"{format_megabytes('bytes_transferred')} received, {report['seconds']} s; "
        f"{format_megabytes('bytes_saved')} less than a full copy"
    )
    files = [f"{file['name']}: sha256 {file['sha256']}" for file in report.get("archive_files", ())]
    return [*images, *steps, *files, summary]
