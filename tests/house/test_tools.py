# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summaries of make test: no outcome is dropped, and a run without checks is no success."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from common import ROOT, Counts, read_counts, read_failures
from sanity import check_output

RAN_20 = "".join(f'Running sanity test "test-{number}"\n' for number in range(20))


@pytest.mark.parametrize(
    ("output", "counts"),
    [
        ("3 passed, 0 failed", Counts(3)),
        ("3 passed, 1 failed, 2 skipped", Counts(3, 1, 2)),
        ("===== 5 passed in 8.45s =====", Counts(5)),
        ("===== 2 failed, 5 passed, 1 skipped, 4 deselected, 3 warnings in 61.20s (0:01:01) =====", Counts(5, 2, 1)),
        ("\x1b[31m===== \x1b[31m1 failed\x1b[0m, \x1b[32m5 passed\x1b[0m in 0.1s =====\x1b[0m", Counts(5, 1)),
        ("5 passed, 1 error in 0.5s", Counts(5, 1)),
        ("2 errors in 0.5s", Counts(0, 2)),
        ("1 passed, 1 xfailed, 1 xpassed in 0.5s", Counts(2, 1)),
        ("3 passed in 1.0s\n-- done\n4 passed, 1 failed\nmake: *** [lint] Error 1", Counts(4, 1)),
    ],
)
def test_counts_are_read_from_the_last_summary(output: str, counts: Counts) -> None:
    assert read_counts(output) == counts


@pytest.mark.parametrize(
    "output", ["", "no tests ran in 0.01s", "4 deselected in 0.01s", "0 passed, 0 failed", "see 3 passed"]
)
def test_no_counts_where_nothing_ran(output: str) -> None:
    assert read_counts(output) is None


def test_the_end_of_a_run_names_what_failed() -> None:
    output = "\n".join(
        [
            "tests/unit/test_a.py .F [100%]",
            "\x1b[31mFAILED\x1b[0m tests/unit/test_a.py::\x1b[1mtest_b[c d]\x1b[0m - assert 1 == 2",
            "ERROR tests/unit/test_a.py::test_c - OSError",
            "fatal: [localhost]: FAILED! => {}",
            "-- mypy: FAILED in 3 s. 1 error",
            "-- ruff: ok in 3 s.",
            "1 failed, 1 passed, 1 error in 0.1s",
        ]
    )
    assert read_failures(output) == (
        "FAILED tests/unit/test_a.py::test_b[c d] - assert 1 == 2",
        "ERROR tests/unit/test_a.py::test_c - OSError",
        "-- mypy: FAILED in 3 s. 1 error",
    )


@pytest.mark.parametrize(("counts", "code"), [(Counts(1), 0), (Counts(1, 1), 1), (Counts(0), 1), (Counts(0, 0, 3), 1)])
def test_only_something_passed_and_nothing_failed_is_success(counts: Counts, code: int) -> None:
    with pytest.raises(SystemExit) as stopped:
        counts.exit()
    assert stopped.value.code == code


@pytest.mark.parametrize(
    ("output", "returncode", "error"),
    [
        ("WARNING: All targets skipped.\n" + RAN_20, 0, "WARNING: All targets skipped."),
        (RAN_20, 1, "ansible-test exits 1"),
        (RAN_20.replace('"test-7"', '"test-6"'), 0, "only 19 tests ran, 20 expected"),
    ],
)
def test_sanity_that_checked_too_little_fails(output: str, returncode: int, error: str) -> None:
    assert check_output(output, returncode, 20)[1] == [error]


def test_sanity_that_checked_everything_passes() -> None:
    assert check_output(RAN_20, 0, 20) == (20, [])


def test_help_lists_every_target_with_its_description() -> None:
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    described = dict(line.split(maxsplit=1) for line in listed.splitlines())
    assert set(described) == {
        *("help", "demo", "test", "test-full", "lint", "unit", "integration", "molecule", "matrix", "bench", "docs"),
        "drift",
        *("build", "testbed-up", "testbed-down", "testbed-status", "clean", "simulate-year"),
    }


def run_with_make(tmp_path: Path, targets: dict[str, str], *command: str | Path) -> tuple[int, list[str]]:
    """Run a command where make has these targets and recipes. Return its exit code and output."""
    (tmp_path / "Makefile").write_text("".join(f"{name}:\n\t@{recipe}\n" for name, recipe in targets.items()))
    stand_in = tmp_path / "make"
    stand_in.write_text(f'#!/bin/sh\nexec {shutil.which("make")} -f {tmp_path}/Makefile "$@"\n')
    stand_in.chmod(0o755)
    done = subprocess.run(
        command,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOT": str(ROOT), "CACHE": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def make_test(tmp_path: Path, targets: dict[str, str]) -> tuple[int, list[str]]:
    """Run these targets as make test does."""
    return run_with_make(tmp_path, targets, sys.executable, ROOT / "tests/tools/all.py", *targets)


@pytest.mark.parametrize(("recipe", "code"), [("echo 3 passed, 0 failed", 0), ("echo 3 passed, 1 failed; exit 1", 2)])
def test_the_summary_is_the_last_line_of_ci(tmp_path: Path, recipe: str, code: int) -> None:
    returned, lines = run_with_make(tmp_path, {"test": recipe}, ROOT / ".ci/run")
    assert (returned, lines[-1]) == (code, recipe.removeprefix("echo ").removesuffix("; exit 1"))


def test_every_target_runs_and_the_last_line_sums_them_up(tmp_path: Path) -> None:
    code, lines = make_test(
        tmp_path, {"one": "echo 3 passed, 1 failed; exit 1", "two": "exit 2", "three": "echo 4 passed in 1.2s"}
    )
    assert (code, lines[-1]) == (1, "7 passed, 2 failed")
    assert [line.split()[0] for line in lines[-4:-1]] == ["one", "two", "three"]


def test_what_passes_everywhere_passes(tmp_path: Path) -> None:
    code, lines = make_test(tmp_path, {"one": "echo 3 passed, 0 failed", "two": "echo 4 passed in 1.2s"})
    assert (code, lines[-1]) == (0, "7 passed, 0 failed")


def test_what_uses_no_test_bed_runs_beside_what_uses_it(tmp_path: Path) -> None:
    """Each of the two waits until the other has begun."""
    wait = f"for _ in $$(seq 100); do test -e {tmp_path}/$$other && break; sleep 0.1; done; test -e {tmp_path}/$$other"
    code, lines = make_test(
        tmp_path,
        {
            "molecule": f"touch {tmp_path}/a; other=b; {wait} && echo 1 passed",
            "lint": f"touch {tmp_path}/b; other=a; {wait} && echo 2 passed",
        },
    )
    assert (code, lines[-1]) == (0, "3 passed, 0 failed")


def test_no_two_targets_use_the_test_bed_together(tmp_path: Path) -> None:
    """mkdir fails while the other target has the directory."""
    use_bed = f"mkdir {tmp_path}/bed && sleep 0.5 && rmdir {tmp_path}/bed && echo 1 passed"
    integration = f"case '$(TARGET)' in *role_image_transfer*) {use_bed};; *) echo 1 passed;; esac"
    code, lines = make_test(tmp_path, {"molecule": use_bed, "integration": integration})
    assert (code, lines[-1]) == (0, "3 passed, 0 failed")


@pytest.mark.parametrize(
    "target", sorted((ROOT / "tests/integration/targets").glob("*/aliases")), ids=lambda p: p.parent.name
)
def test_targets_that_use_the_test_bed_have_its_alias(target: Path) -> None:
    uses_bed = any(re.search(r"\bbed\b[,:)\]]", file.read_text()) for file in target.parent.glob("*.py"))
    assert ("uses/testbed" in target.read_text().splitlines()) == uses_bed


def test_what_chooses_targets_chooses_nothing_within_them(tmp_path: Path) -> None:
    targets = {"one": "echo $(ONLY)3 passed, 0 failed"}
    tools = [sys.executable, ROOT / "tests/tools/all.py", "one"]
    code, lines = run_with_make(tmp_path, targets, "env", "MAKEFLAGS= -- ONLY=wrong", *tools)
    assert (code, lines[-1]) == (0, "3 passed, 0 failed")


def test_a_target_that_checks_nothing_fails(tmp_path: Path) -> None:
    code, lines = make_test(tmp_path, {"one": "echo 3 passed, 0 failed", "two": "true"})
    assert (code, lines[-1]) == (1, "3 passed, 1 failed")


def test_a_job_of_lint_that_is_not_there_is_named_beside_those_that_are() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "tests/tools/lint.py", "ruff", "typo"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("lint: there is no job typo. There are: sanity, ")
    assert ran.stdout == "", "nothing was run"
