# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the controller's two flows share: calls to the host, progress for a person, jobs that are asked for again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from uuid import uuid4

from ...module_utils._image.errors import ImageError
from ...module_utils._image.model import Bundle

CallHost = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Runs the module on the host with these options beside the task's own: C(work), and the C(bundle) once it is known."""

# Long enough that starting the module (half a second to a second) costs little, short enough to see something move.
SLICE_SECONDS = 5
# Where hosts are busy, starting the module takes longer, and takes from the work that is waited for: then less often.
_MAX_SLICE_SECONDS = 15
_OVERHEAD_FACTOR = 4


def build_work(phase: str, seconds: int = SLICE_SECONDS, **work: Any) -> dict[str, Any]:
    """The option C(work) for one call."""
    return {"phase": phase, "seconds": seconds, **work}


@dataclass
class StagingState:
    """The host's staging folder; whether the host has removed it already, and what could not be removed."""

    cleaned: bool = False
    cleanup_error: Optional[str] = None


def clean_staging(host: CallHost, bundle: Bundle) -> Optional[str]:
    """Has the host remove its staging folder; what it could not remove."""
    while True:
        response = host({"bundle": bundle.to_dict(), "work": build_work("clean")})
        # An engine that still unpacks is waited for.
        if not response.get("busy"):
            cleanup_error: Optional[str] = response.get("cleanup_error")
            return cleanup_error


@contextmanager
def clean_staging_on_exit(host: CallHost, bundle: Bundle) -> Iterator[StagingState]:
    """Removes the host's staging folder on every way out."""
    staging_state = StagingState()
    try:
        yield staging_state
    except BaseException:
        # What went wrong first is what must be told; the next run finds the folder and removes it.
        with suppress(Exception):
            clean_staging(host, bundle)
        raise
    if not staging_state.cleaned:
        staging_state.cleanup_error = clean_staging(host, bundle)


@dataclass
class ProgressReporter:
    """Lines for a person: what is done, how fast, how long it will take."""

    display_line: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    def report_job(self, state: Mapping[str, Any]) -> None:
        """How far a job is."""
        self.report_bytes(state["activity"], state["bytes_done"], state["bytes_total"])

    def report_bytes(self, activity: str, bytes_done: int, bytes_total: int) -> None:
        seconds = max(time.monotonic() - self.started, 0.001)
        rate = bytes_done / seconds
        time_left = f", {(bytes_total - bytes_done) / rate:.0f} s left" if rate and bytes_total > bytes_done else ""
        amount = (
            f"{format_bytes(bytes_done)} of {format_bytes(bytes_total)}" if bytes_total else format_bytes(bytes_done)
        )
        self.display_line(f"{activity}: {amount}, {rate / 1e6:.1f} MB/s{time_left}")


def format_bytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def run_job(
    host: CallHost,
    bundle: Bundle,
    phase: str,
    report_progress: Callable[[Mapping[str, Any]], None],
    token: Optional[str] = None,
    staging_state: Optional[StagingState] = None,
    **work: Any,
) -> Mapping[str, Any]:
    """Has the host do a job that outlives a call, asks every few seconds, and returns its result.

    C(tell) gets how far it is. C(token): of a job that was started before; else it is started now. C(folder) notes
    when the host has removed the staging folder in the same call.
    """
    token = token or uuid4().hex
    seconds = SLICE_SECONDS
    while True:
        began = time.monotonic()
        state = host({"bundle": bundle.to_dict(), "work": build_work(phase, seconds, token=token, **work)})
        overhead_seconds = int(time.monotonic() - began) - seconds
        seconds = min(max(SLICE_SECONDS, _OVERHEAD_FACTOR * overhead_seconds), _MAX_SLICE_SECONDS)
        if staging_state is not None:
            staging_state.cleaned = bool(state.get("cleaned"))
        if state["status"] == "done":
            result: Optional[Mapping[str, Any]] = state["result"]
            return result or {}
        if state["status"] != "running":
            raise ImageError(f"{phase}: {state['error']}")
        report_progress(state)
