# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The common parts of the controller's flows: calls to the host, progress for operators, polling of jobs."""

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
"""Runs the module on the host with these options added to the task's: C(work), and C(bundle) once it is known."""


class HostModuleError(Exception):
    """The module failed on the host; holds its result."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result.get("msg", "the module failed"))
        self.result = result


FLOW_ERRORS = (ImageError, HostModuleError)
"""The errors of a call to the store, of a job, and of the module on the host."""

# Long enough that starting the module (0.5 to 1 s) costs little, short enough to show progress.
SLICE_SECONDS = 5
# On a busy host, starting the module takes longer and slows the job down, so the job is polled less often.
_MAX_SLICE_SECONDS = 15
_OVERHEAD_FACTOR = 4


def build_work(phase: str, seconds: int = SLICE_SECONDS, **work: Any) -> dict[str, Any]:
    """Builds the option C(work) for one call."""
    return {"phase": phase, "seconds": seconds, **work}


@dataclass
class StagingState:
    """Whether the host has removed its staging directory, and the error where it could not."""

    cleaned: bool = False
    cleanup_error: Optional[str] = None


def clean_staging(host: CallHost, bundle: Bundle) -> Optional[str]:
    """Has the host remove its staging directory. Returns the error where something could not be removed."""
    while True:
        response = host({"bundle": bundle.to_dict(), "work": build_work("clean")})
        # Waits for an engine that still unpacks.
        if not response.get("busy"):
            cleanup_error: Optional[str] = response.get("cleanup_error")
            return cleanup_error


@contextmanager
def clean_staging_on_exit(host: CallHost, bundle: Bundle) -> Iterator[StagingState]:
    """Removes the host's staging directory in every case, also after an error."""
    staging_state = StagingState()
    try:
        yield staging_state
    except BaseException:
        # The first error must be reported, so cleanup errors are ignored. The next run removes the directory.
        with suppress(Exception):
            clean_staging(host, bundle)
        raise
    if not staging_state.cleaned:
        try:
            staging_state.cleanup_error = clean_staging(host, bundle)
        except FLOW_ERRORS as error:
            # The work is done, so its result must come out.
            staging_state.cleanup_error = f"The staging directory may remain. The next run removes it. {error}"


@dataclass
class ProgressReporter:
    """Progress lines for an operator: bytes, rate, time left."""

    display_line: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    def report_job(self, state: Mapping[str, Any]) -> None:
        """Reports the progress of a job."""
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
    """Formats a number of bytes for a message."""
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
    """Has the host run a background job, polls it every few seconds, and returns its result.

    C(report_progress) gets each state. C(token): identifies a job that was started before; without it, a job is started
    now. C(staging_state) records whether the host removed the staging directory in the same call.
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
