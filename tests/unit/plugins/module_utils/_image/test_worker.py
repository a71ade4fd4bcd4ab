# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that outlives its starter: it runs once, its outcome is its own, and its death is noticed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image import worker
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.worker import BackgroundJob

Work = Callable[[Any], dict[str, Any]]
ENOUGH = 20.0


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A job that waits goes on when this file is there; at the end, none is left waiting."""
    yield tmp_path / "gate"
    (tmp_path / "gate").touch()


def waiting(gate: Path, **result: Any) -> Work:
    """Leaves its process id in C(pid), and a line in C(ran), and ends when the gate opens."""

    def work(progress: Any) -> dict[str, Any]:
        with open(gate.parent / "ran", "a") as ran:
            ran.write("x")
        progress("waiting", 3, 7)
        (gate.parent / "pid").write_text(str(os.getpid()))
        while not gate.exists():
            time.sleep(0.01)
        return result

    return work


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + ENOUGH
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def child_of(gate: Path) -> int:
    until(lambda: (gate.parent / "pid").exists() and (gate.parent / "pid").read_text() != "")
    return int((gate.parent / "pid").read_text())


def runs(gate: Path) -> int:
    return len((gate.parent / "ran").read_text())


def raising(error: BaseException) -> Work:
    def work(progress: Any) -> dict[str, Any]:
        raise error

    return work


def test_a_job_that_is_done_returns_its_result_at_every_poll(tmp_path: Path) -> None:
    state = BackgroundJob(tmp_path).advance("one", lambda progress: {"answer": 42}, ENOUGH)
    assert (state.token, state.status, state.result, state.error) == ("one", "done", {"answer": 42}, None)
    again = BackgroundJob(tmp_path).advance("one", raising(AssertionError("it ran again")), ENOUGH)
    assert again == state


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImageError("docker refused"), "docker refused"),
        (OSError(28, "No space left on device", "/staging/x"), "No space left on device: /staging/x"),
        (OSError("strange"), "strange"),
        (KeyError("RootFS"), "unexpected KeyError: 'RootFS'"),
        (MemoryError(), "unexpected MemoryError"),
    ],
)
def test_a_job_that_fails_reports_why(tmp_path: Path, error: BaseException, message: str) -> None:
    state = BackgroundJob(tmp_path).advance("one", raising(error), ENOUGH)
    assert (state.status, state.result) == ("failed", None)
    assert message in str(state.error)


def test_a_call_returns_in_time_with_what_is_done_until_then(gate: Path) -> None:
    job, began = BackgroundJob(gate.parent), time.monotonic()
    state = job.advance("one", waiting(gate, x=1), 0.4)
    assert time.monotonic() - began < 5
    assert (state.status, state.activity, state.bytes_done, state.bytes_total) == ("running", "waiting", 3, 7)
    gate.touch()
    assert job.advance("one", waiting(gate), ENOUGH).result == {"x": 1}
    assert runs(gate) == 1


def test_a_job_that_was_killed_has_died_and_a_new_attempt_runs(gate: Path) -> None:
    job = BackgroundJob(gate.parent)
    job.advance("one", waiting(gate), 0)
    os.kill(child_of(gate), signal.SIGKILL)
    state = job.advance("one", waiting(gate), ENOUGH)
    assert (state.status, state.activity) == ("died", "waiting")
    assert "killed" in str(state.error)
    gate.touch()
    assert job.advance("two", waiting(gate, x=2), ENOUGH).result == {"x": 2}


def test_progress_of_a_thread_after_the_end_of_its_job_does_not_hide_the_outcome(gate: Path) -> None:
    """A push may end while the engine still writes, with a target that cannot be reached."""

    def work(progress: Any) -> dict[str, Any]:
        def write() -> None:
            for number in range(1000):
                try:
                    progress("writing", number, 1000)
                except ImageError as error:
                    (gate.parent / "error").write_text(str(error))
                    raise
                time.sleep(0.01)

        threading.Thread(target=write, daemon=True).start()
        return {"x": 1}

    def afterwards() -> None:
        while not gate.exists():
            time.sleep(0.01)

    job = BackgroundJob(gate.parent)
    job.advance("one", work, 0, afterwards)
    until(lambda: job.poll(0).status == "done")
    time.sleep(0.5)
    assert job.poll(0).result == {"x": 1}
    until((gate.parent / "error").exists)
    assert "has ended" in (gate.parent / "error").read_text(), "the thread need not go on"


def test_a_job_with_an_idle_timeout_ends_when_nobody_polls_it(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "IDLE_TIMEOUT_SECONDS", 0.6)
    job = BackgroundJob(gate.parent)

    def work(progress: Any) -> dict[str, Any]:
        report_progress = job.add_idle_timeout(progress)
        (gate.parent / "pid").write_text(str(os.getpid()))
        while not gate.exists():
            report_progress("sending", 1, 2)
            time.sleep(0.01)
        return {}

    statuses = [job.advance("one", work, 0.3).status for _time in range(5)]
    assert statuses == ["running"] * 5, "it is polled often enough"
    child = child_of(gate)
    until(lambda: not Path(f"/proc/{child}").exists())
    state = job.advance("one", work, ENOUGH)
    assert (state.status, state.error) == ("failed", "no call polled the job for 1 seconds")


def test_a_job_whose_directory_was_removed_reports_it(tmp_path: Path) -> None:
    state = BackgroundJob(tmp_path).poll(0)
    assert (state.status, state.error) == (
        "died",
        "the state of the job cannot be read: its staging directory was removed",
    )


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt()])
def test_a_job_that_ends_without_an_outcome_has_died(tmp_path: Path, error: BaseException) -> None:
    assert BackgroundJob(tmp_path).advance("one", raising(error), ENOUGH).status == "died"


def test_the_outcome_of_an_earlier_attempt_is_not_taken_for_this_attempt_s(tmp_path: Path) -> None:
    BackgroundJob(tmp_path).advance("one", raising(ImageError("no disk")), ENOUGH)
    state = BackgroundJob(tmp_path).advance("two", lambda progress: {"x": 2}, ENOUGH)
    assert (state.token, state.status, state.result) == ("two", "done", {"x": 2})


def test_an_earlier_attempt_that_still_runs_is_waited_for(gate: Path) -> None:
    BackgroundJob(gate.parent).advance("one", waiting(gate, x=1), 0)
    child_of(gate)
    state = BackgroundJob(gate.parent).advance("two", waiting(gate, x=2), 0.2)
    assert (state.token, state.status) == ("two", "running")
    assert "earlier run" in state.activity
    assert runs(gate) == 1
    gate.touch()
    assert BackgroundJob(gate.parent).advance("two", waiting(gate, x=2), ENOUGH).result == {"x": 2}
    assert runs(gate) == 2


@pytest.mark.parametrize(
    "left", ["", "{", "null", "[]", '{"token": "one"}', '{"token": "one", "status": "done", "x": 1}']
)
def test_an_unreadable_state_file_does_not_keep_a_job_from_running(tmp_path: Path, left: str) -> None:
    (tmp_path / "job.json").write_text(left)
    assert BackgroundJob(tmp_path).advance("one", lambda progress: {"x": 1}, ENOUGH).result == {"x": 1}


def _start(gate: Path, begin: Any, answers: Any) -> None:
    begin.wait(ENOUGH)
    answers.put(BackgroundJob(gate.parent).advance("one", waiting(gate, x=1), ENOUGH).status)


def test_starters_at_once_run_it_once(gate: Path) -> None:
    """A connection that drops while the module starts the job: the controller calls the module again."""
    context = multiprocessing.get_context("fork")
    begin, answers = context.Event(), context.Queue()
    starters = [context.Process(target=_start, args=(gate, begin, answers)) for number in range(6)]
    for starter in starters:
        starter.start()
    begin.set()
    child_of(gate)
    gate.touch()
    assert [answers.get(timeout=ENOUGH) for starter in starters] == ["done"] * 6
    for starter in starters:
        starter.join(ENOUGH)
    assert runs(gate) == 1


def test_a_job_survives_its_starter_and_keeps_no_stream_of_it_open(gate: Path) -> None:
    """Ansible reads a module's output to its end: a job that held it would hold the connection."""
    reading, writing = os.pipe()
    starter = os.fork()
    if not starter:
        try:
            for stream in (0, 1, 2):
                os.dup2(writing, stream)
            os.close(writing)
            BackgroundJob(gate.parent).advance("one", waiting(gate, x=1), 0)
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(starter, 0)
    child = child_of(gate)
    os.set_blocking(reading, False)
    until(lambda: _at_end(reading))
    os.close(reading)

    os.kill(child, 0)  # it is still there
    assert os.getsid(child) != os.getsid(0)  # a session that ends with its terminal does not take it along
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)  # it is nobody's zombie
    gate.touch()
    assert BackgroundJob(gate.parent).advance("one", waiting(gate), ENOUGH).result == {"x": 1}


def test_a_host_that_has_no_process_left_does_not_run_the_module_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, forks, test = os.fork, [0], os.getpid()

    def fork() -> int:
        forks[0] += 1
        if forks[0] == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real()

    monkeypatch.setattr(os, "fork", fork)
    try:
        state = BackgroundJob(tmp_path).advance("one", lambda progress: {}, ENOUGH)
    finally:
        if os.getpid() != test:
            (tmp_path / "went on").touch()
            os._exit(1)
    assert state.status == "died"
    assert not (tmp_path / "went on").exists()


def test_when_the_outcome_is_returned_the_process_has_exited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock of the staging directory, which could not be removed otherwise."""
    real = os._exit

    def slow(code: int) -> None:
        time.sleep(0.3)
        real(code)

    monkeypatch.setattr(os, "_exit", slow)
    reading, writing = os.pipe()
    try:
        assert BackgroundJob(tmp_path).advance("one", lambda progress: {}, ENOUGH).status == "done"
    finally:
        os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b""  # nobody else holds what the process had inherited
    os.close(reading)


def test_what_is_done_afterwards_follows_the_outcome_and_keeps_the_process(gate: Path) -> None:
    def linger() -> None:
        waiting(gate)(lambda *_dummy: None)

    job = BackgroundJob(gate.parent)
    assert job.advance("one", lambda progress: {"x": 1}, ENOUGH, on_finish=linger).result == {"x": 1}
    os.kill(child_of(gate), 0)
    assert job.poll(0).result == {"x": 1}
    gate.touch()


def test_polling_returns_the_state_of_the_last_job_and_starts_none(gate: Path) -> None:
    job = BackgroundJob(gate.parent)
    assert job.poll(0).status == "died"
    job.advance("one", waiting(gate, x=1), 0)
    child = child_of(gate)
    until(lambda: job.poll(0).activity == "waiting")
    os.kill(child, signal.SIGKILL)
    assert job.poll(ENOUGH).status == "died"
    assert runs(gate) == 1


def _at_end(reading: int) -> bool:
    try:
        return os.read(reading, 1000) == b""
    except BlockingIOError:
        return False


def test_its_files_are_for_this_user_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        BackgroundJob(tmp_path).advance("one", lambda progress: {}, ENOUGH)
    finally:
        os.umask(before)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "job.json": "0o600",
        "job.lock": "0o600",
    }


def test_there_is_room_for_the_outcome_of_a_job_that_fills_the_disk(tmp_path: Path) -> None:
    """Kept from the start, and given back before the outcome is written."""

    def work(progress: Any) -> dict[str, Any]:
        return {"kept": (tmp_path / "job.reserve").stat().st_blocks * 512}

    state = BackgroundJob(tmp_path).advance("one", work, ENOUGH)
    assert state.result is not None
    assert state.result["kept"] >= 16 * 1024
    assert not (tmp_path / "job.reserve").exists()


# -- a job that can be requested to stop


def test_a_job_that_checks_for_it_stops_on_request(tmp_path: Path, gate: Path) -> None:
    job = BackgroundJob(tmp_path, "ahead")

    def work(progress: Any) -> dict[str, Any]:
        progress("unpacking", 3, 7)
        while not job.should_stop():
            time.sleep(0.01)
        return {}

    assert job.advance("one", work, 0).status == "running"
    assert job.stop(ENOUGH) is None
    assert not job.is_running()


def test_a_job_that_is_slow_to_stop_returns_its_state(tmp_path: Path, gate: Path) -> None:
    job = BackgroundJob(tmp_path, "ahead")
    job.advance("one", waiting(gate), 0)
    child_of(gate)
    state = job.stop(0)
    assert state is not None
    assert (state.status, state.activity, state.bytes_done, state.bytes_total) == ("running", "waiting", 3, 7)
    gate.touch()
    assert job.stop(ENOUGH) is None


def test_a_stop_request_does_not_apply_to_the_next_job(tmp_path: Path, gate: Path) -> None:
    job = BackgroundJob(tmp_path, "ahead")
    job.advance("one", waiting(gate), 0)
    job.stop(0)
    assert job.should_stop()
    gate.touch()
    assert job.stop(ENOUGH) is None
    assert job.advance("two", lambda progress: {"stopped": job.should_stop()}, ENOUGH).result == {"stopped": False}


def test_without_a_job_or_its_folder_there_is_nothing_to_end(tmp_path: Path) -> None:
    assert BackgroundJob(tmp_path, "ahead").stop(ENOUGH) is None
    assert BackgroundJob(tmp_path / "gone", "ahead").stop(ENOUGH) is None
    assert list(tmp_path.iterdir()) == []


def test_the_error_of_the_last_job_can_be_read(tmp_path: Path) -> None:
    job = BackgroundJob(tmp_path, "ahead")
    assert job.get_error() is None
    job.advance("one", lambda progress: {}, ENOUGH)
    assert job.get_error() is None
    job.advance("two", raising(ImageError("docker refused")), ENOUGH)
    assert job.get_error() == "docker refused"


def test_two_jobs_of_a_folder_do_not_meet(tmp_path: Path, gate: Path) -> None:
    BackgroundJob(tmp_path, "ahead").advance("one", waiting(gate), 0)
    assert BackgroundJob(tmp_path).advance("two", lambda progress: {"other": True}, ENOUGH).result == {"other": True}
    assert BackgroundJob(tmp_path, "ahead").is_running()
