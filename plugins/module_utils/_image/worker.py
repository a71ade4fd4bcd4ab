# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that outlives the module that started it.

Feeding an engine is one stream that cannot be cut into slices, and neither is a request with a large body. Such work
runs in a process of its own; the module comes back every few seconds to ask how far it is, and a connection that drops
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

from .engine import ProgressCallback
from .errors import ImageError, format_disk_error
from .staging import open_private

_RESERVED_BYTES = 64 * 1024
# A controller that lost its connection tries for more than a minute to be back; one that is not by then was killed.
IDLE_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class JobState:
    """How far a job is. C(state) is C(running), C(done), C(failed) or C(died) (killed, or the host went down)."""

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
    """The one job of a name in a staging folder; two runs that start it at once share it."""

    def __init__(self, directory: Path, name: str = "job") -> None:
        self._state_path = directory / f"{name}.json"
        self._lock_path = directory / f"{name}.lock"
        self._reserve_path = directory / f"{name}.reserve"
        self._stop_path = directory / f"{name}.stop"

    def poll(self, seconds: float) -> JobState:
        """How the job that was started last is, after up to C(seconds)."""

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
        """Starts the job of this token unless it is there, waits up to C(seconds) and returns how far it is.

        The token names one attempt, so that the outcome of an earlier attempt is not taken for this one's. While an
        earlier attempt still runs, it is waited for first. C(afterwards) runs in the same process, once the outcome
        can be read.
        """

        def read_state(running: bool) -> tuple[JobState, bool]:
            state = self._read()
            if state.token != token:
                if not running:
                    self._start(token, work, on_finish)
                return JobState(token, "running", "waiting for an earlier run of the same transfer on this host"), False
            if state.status == "running" and not running:
                return replace(state, status="died", error="the process that did it was killed"), True
            # A process that is about to end still holds the staging folder, which is removed next.
            return state, state.status != "running" and (on_finish is not None or not running)

        if self._read().token != token and not self.is_running():
            self._start(token, work, on_finish)
        return self._poll_until_done(read_state, seconds)

    def stop(self, seconds: float) -> Optional[JobState]:
        """Asks a job that looks for C(stopped) to end; after C(seconds) at most, how far it is if it still runs."""
        deadline = time.monotonic() + seconds
        while self.is_running():
            with suppress(FileNotFoundError):  # whose folder has just gone, with the job
                self._stop_path.touch(mode=0o600)
            if time.monotonic() >= deadline:
                return self._read()
            time.sleep(_POLL_SECONDS)
        return None

    def get_error(self) -> Optional[str]:
        """Why the last one did not end well, if there was one."""
        state = self._read()
        return state.error if state.token and state.status != "done" else None

    def should_stop(self) -> bool:
        """Whether somebody has asked this job to end."""
        return self._stop_path.exists()

    def is_running(self) -> bool:
        """Whether its process is there."""
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        os.utime(lock)  # somebody has asked
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def add_idle_timeout(self, progress: ProgressCallback) -> ProgressCallback:
        """The same, but it ends a job that nobody has asked for a while: one that keeps a network busy for nobody."""
        last_poll = [0, 0.0]

        def report_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
            now, last = time.monotonic(), os.stat(self._lock_path).st_mtime_ns
            # Not by the hosts' clock, which may be set meanwhile.
            if last != last_poll[0]:
                last_poll[:] = last, now
            elif now - last_poll[1] > IDLE_TIMEOUT_SECONDS:
                raise ImageError(f"nobody has asked for {IDLE_TIMEOUT_SECONDS:.0f} seconds how far it is")
            progress(activity, bytes_done, bytes_total)

        return report_progress

    def _poll_until_done(self, read_state: Callable[[bool], tuple[JobState, bool]], seconds: float) -> JobState:
        """Looks until there is something to tell, or the time is over. C(look) is told whether the process runs."""
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
        # Room for the outcome: the blobs of this very job may fill the disk.
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
            # Whatever happened: a child that went on from here would be a second module.
            os._exit(code)

    def _run(self, token: str, work: Callable[[ProgressCallback], dict[str, Any]]) -> None:
        last, lock, has_ended = 0.0, threading.Lock(), False

        def report_progress(activity: str, bytes_done: int, bytes_total: int) -> None:
            nonlocal last
            with lock:
                if has_ended:
                    # A thread that the work has left behind must not tell that it runs, nor go on.
                    raise ImageError("the job that this is a part of has ended")
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
            # The detached process has nobody else to tell: a fault of ours must reach the result, with its kind.
            state = JobState(token, "failed", error=f"unexpected {type(error).__name__}: {error}")
        with lock:
            has_ended = True
            self._reserve_path.unlink(missing_ok=True)
            self._write(state)

    def _read(self) -> JobState:
        try:
            return JobState(**json.loads(self._state_path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return JobState("", "died", error="the process has left nothing to read: its folder was taken away")

    def _write(self, state: JobState) -> None:
        temporary_path = self._state_path.with_suffix(".new")
        with open(temporary_path, "w", opener=open_private) as file:
            json.dump(state.to_dict(), file)
        os.replace(temporary_path, self._state_path)


class _ImportBlocker:
    """Refuses to import more of the collection in a job's process.

    Ansible takes the archive that the module came in away when the module ends: sooner or later than the job asks.
    """

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.startswith(__package__):
            raise ImportError(f"{name} must be imported before the job starts")


def _detach() -> None:
    """Lets go of the module's standard streams, so that the connection that reads them is not kept open."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
