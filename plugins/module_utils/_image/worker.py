# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A background job that outlives the module that started it.

A load into an engine is one stream that cannot be split over several calls, and neither is a request with a large body.
Such work runs in a process of its own. The module is called every few seconds to poll it, and a connection that drops
in between loses nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

from .errors import ImageError, format_disk_error
from .progress import ProgressCallback
from .staging import open_private

_RESERVED_BYTES = 64 * 1024
# A controller that lost its connection retries for more than a minute. After this time, it was killed.
IDLE_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class JobState:
    """The state of a job. C(status) is C(running), C(done), C(failed) or C(died) (killed, or the host went down)."""

    token: str
    status: str
    activity: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    result: Optional[dict[str, Any]] = None
    error: Optional[str] = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class BackgroundJob:
    """The job of this name in a staging directory; two runs that start it at once share it."""

    def __init__(self, directory: Path, name: str = "job") -> None:
        self._state_path = directory / f"{name}.json"
        self._lock_path = directory / f"{name}.lock"
        self._reserve_path = directory / f"{name}.reserve"
        self._stop_path = directory / f"{name}.stop"

    def poll(self, seconds: float) -> JobState:
        """Returns the state of the last started job, after up to C(seconds)."""

        def read_state(running: bool) -> tuple[JobState, bool]:
            state = self._read()
            if state.status == "running" and not running:
                return replace(state, status="died", error="the process was killed"), True
            return state, state.status != "running"

        return self._poll_until_done(read_state, seconds)

    def advance(
        self,
        token: str,
        work: Callable[[ProgressCallback], dict[str, Any]],
        seconds: float,
        on_finish: Optional[Callable[[], None]] = None,
    ) -> JobState:
        """Starts the job of this token unless it exists, waits up to C(seconds) and returns its state.

        The token identifies one attempt, so that the outcome of an earlier attempt is not mistaken for this one's. An
        earlier attempt that still runs is waited for first. C(on_finish) runs in the job's process, once the outcome
        can be read.
        """

        def read_state(running: bool) -> tuple[JobState, bool]:
            state = self._read()
            if state.token != token:
                if not running:
                    self._start(token, work, on_finish)
                return JobState(token, "running", "waiting for an earlier run of the same transfer on this host"), False
            if state.status == "running" and not running:
                return replace(state, status="died", error="the process of this job was killed"), True
            # A process that is about to exit still locks the staging directory, which is removed next.
            return state, state.status != "running" and (on_finish is not None or not running)

        if self._read().token != token and not self.is_running():
            self._start(token, work, on_finish)
        return self._poll_until_done(read_state, seconds)

    def stop(self, seconds: float) -> Optional[JobState]:
        """Requests the job to stop. Returns its state if it still runs after C(seconds), else None."""
        deadline = time.monotonic() + seconds
        while self.is_running():
            with suppress(FileNotFoundError):  # the directory was removed together with the job
                self._stop_path.touch(mode=0o600)
            if time.monotonic() >= deadline:
                return self._read()
            time.sleep(_POLL_SECONDS)
        return None

    def get_error(self) -> Optional[str]:
        """The error of the last job, if it did not succeed."""
        state = self._read()
        return state.error if state.token and state.status != "done" else None

    def should_stop(self) -> bool:
        """Whether this job was requested to stop."""
        return self._stop_path.exists()

    def is_running(self) -> bool:
        """Whether the job's process runs."""
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        os.utime(lock)  # records this poll for the idle timeout
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def add_idle_timeout(self, progress: ProgressCallback) -> ProgressCallback:
        """Wraps C(progress): it raises ImageError when no poll came within the idle timeout, and so ends the job.

        Without this, a job whose controller was killed would keep using the network.
        """
        last_poll = [0, 0.0]

        def report_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
            now, last = time.monotonic(), os.stat(self._lock_path).st_mtime_ns
            # Not by the host's clock, which may be set in the meantime.
            if last != last_poll[0]:
                last_poll[:] = last, now
            elif now - last_poll[1] > IDLE_TIMEOUT_SECONDS:
                raise ImageError(f"no call polled the job for {IDLE_TIMEOUT_SECONDS:.0f} seconds")
            progress(activity, bytes_done, bytes_total)

        return report_progress

    def _poll_until_done(self, read_state: Callable[[bool], tuple[JobState, bool]], seconds: float) -> JobState:
        """Polls until the state is final or C(seconds) are over. C(read_state) gets whether the process runs."""
        deadline = time.monotonic() + seconds
        while True:
            # Before the state is read: a process writes its outcome before it ends.
            state, is_final = read_state(self.is_running())
            if is_final or time.monotonic() >= deadline:
                return state
            time.sleep(_POLL_SECONDS)

    def _start(
        self, token: str, work: Callable[[ProgressCallback], dict[str, Any]], on_finish: Optional[Callable[[], None]]
    ) -> None:
        lock = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another run was faster.
            os.close(lock)
            return
        self._stop_path.unlink(missing_ok=True)
        self._write(JobState(token, "running", "starting"))
        # Reserves disk space for the outcome, because the blobs of this job may fill the disk.
        with open(self._reserve_path, "wb", opener=open_private) as file:
            file.write(bytes(_RESERVED_BYTES))
        child = os.fork()
        if child:
            # The child's copy of the descriptor holds the lock for as long as it lives.
            os.close(lock)
            os.waitpid(child, 0)
            return
        code = 0
        try:
            os.setsid()
            if not os.fork():
                code = 1
                sys.meta_path.insert(0, _ImportBlocker())
                _detach()
                self._run(token, work)
                if on_finish is not None:
                    on_finish()
                code = 0
        finally:
            # The child must exit in every case: otherwise it would continue as a second module.
            os._exit(code)

    def _run(self, token: str, work: Callable[[ProgressCallback], dict[str, Any]]) -> None:
        last, lock, has_ended = 0.0, threading.Lock(), False

        def report_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
            nonlocal last
            with lock:
                if has_ended:
                    # A thread that outlives the work must neither report progress nor continue.
                    raise ImageError("the job of this thread has ended")
                if time.monotonic() - last > 0.3:
                    last = time.monotonic()
                    self._write(JobState(token, "running", activity, bytes_done, bytes_total))

        try:
            state = JobState(token, "done", result=work(report_progress))
        except ImageError as error:
            state = JobState(token, "failed", error=str(error))
        except OSError as error:
            state = JobState(token, "failed", error=format_disk_error(error))
        except Exception as error:
            # A bug must reach the result with its type, because nobody reads the detached process's stderr.
            state = JobState(token, "failed", error=f"unexpected {type(error).__name__}: {error}")
        with lock:
            has_ended = True
            self._reserve_path.unlink(missing_ok=True)
            self._write(state)

    def _read(self) -> JobState:
        try:
            return JobState(**json.loads(self._state_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return JobState("", "died", error="the state of the job cannot be read: its staging directory was removed")

    def _write(self, state: JobState) -> None:
        temporary_path = self._state_path.with_suffix(".new")
        with open(temporary_path, "w", opener=open_private) as file:
            json.dump(state.to_dict(), file)
        os.replace(temporary_path, self._state_path)


class _ImportBlocker:
    """Rejects further imports of the collection in a job's process.

    Ansible removes the archive with the module's code when the module ends, which may be before the job imports it.
    """

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.startswith(__package__):
            raise ImportError(f"{name} must be imported before the job starts")


def _detach() -> None:
    """Detaches from the module's standard streams, so that the connection that reads them can close."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
