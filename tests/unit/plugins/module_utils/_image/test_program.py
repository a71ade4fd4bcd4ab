# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is talked to while it runs: streams both ways, its last words, and its end whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image import program
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.program import PipedProgram


def run(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
    """As Ansible runs programs: to their end."""
    done = subprocess.run(command, input=text.encode(), capture_output=True, pass_fds=descriptors, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_it_answers_while_it_runs() -> None:
    before = descriptors()
    talking = PipedProgram(run, ["cat"])
    for number in range(3):
        talking.stdin.write(b"%d\n" % number)
        talking.stdin.flush()
        assert talking.stdout.readline() == b"%d\n" % number
    assert talking.end() == ""
    assert descriptors() == before


def test_megabytes_go_both_ways() -> None:
    talking = PipedProgram(run, [sys.executable, "-c", "import sys; print(len(sys.stdin.buffer.read()))"])
    talking.stdin.write(b"x" * 20_000_000)
    talking.stdin.close()
    assert talking.stdout.read() == b"20000000\n"
    talking.end()


def test_the_error_output_is_returned() -> None:
    talking = PipedProgram(run, ["sh", "-c", "echo hello; echo no route to host >&2; exit 3"])
    assert talking.stdout.read() == b"hello\n"
    assert talking.end() == "no route to host"


def test_arguments_are_not_read_by_a_shell(tmp_path: Path) -> None:
    talking = PipedProgram(run, ["printf", "%s", f"$(touch {tmp_path}/x); `id` \" ' \\"])
    assert talking.stdout.read() == f"$(touch {tmp_path}/x); `id` \" ' \\".encode()
    talking.end()
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_ends_at_once_breaks_the_pipe_and_blocks_nobody() -> None:
    talking = PipedProgram(run, ["false"])
    with pytest.raises(BrokenPipeError):
        _write_on(talking)
    assert talking.stdout.read() == b""
    assert talking.end() == ""


def _write_on(talking: PipedProgram) -> None:
    for _number in range(1000):
        talking.stdin.write(b"x" * 100_000)
        talking.stdin.flush()


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file or directory"), ImageError("not allowed")])
def test_a_program_that_cannot_run_is_reported(error: Exception) -> None:
    def fails(command: list[str], text: str, passed: tuple[int, ...]) -> tuple[int, str, str]:
        raise error

    talking = PipedProgram(fails, ["ssh"])
    assert talking.stdout.read() == b""
    assert talking.end() == str(error)


def test_a_program_that_does_not_exist_is_reported() -> None:
    talking = PipedProgram(run, ["no-such-program-anywhere"])
    assert talking.stdout.read() == b""
    assert "no-such-program-anywhere: not found" in talking.end()


def test_a_program_that_does_not_end_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_EXIT_TIMEOUT_SECONDS", 0.3)
    began = time.monotonic()
    talking = PipedProgram(run, ["sleep", "3"])
    assert talking.end() == ""
    assert time.monotonic() - began < 2


def test_many_descriptors_do_no_harm(tmp_path: Path) -> None:
    """A shell need not know descriptors above 9."""
    open_files = [open(os.devnull, "rb") for _number in range(50)]  # noqa: SIM115
    try:
        talking = PipedProgram(run, ["cat"])
        talking.stdin.write(b"hello")
        talking.stdin.close()
        assert talking.stdout.read() == b"hello"
        talking.end()
    finally:
        for file in open_files:
            file.close()
