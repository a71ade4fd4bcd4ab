# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test sanity on a staged copy, without ignore files. Report how many tests ran on how many files.

With MARK="not full", as in make test, tests/ is left out: the artifact does not contain it, and ruff and mypy check it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ansible_test import ansible_test
from common import VENV, python_version, staged

FEWEST_TESTS = 20
# The options of ansible-test sanity, and of ansible-lint, that leave out what the artifact does not contain.
SHIPPED_ONLY = ("--exclude", "tests/") if os.environ.get("MARK") == "not full" else ()


def check_output(output: str, returncode: int, fewest: int) -> tuple[int, list[str]]:
    """Return the number of tests and the run's problems. ansible-test exits with 0 also if it skipped everything."""
    tests = set(re.findall(r'^Running sanity test "([^"]+)"', output, re.MULTILINE))
    problems = re.findall(r".*(?:targets skipped|[Ss]kipping sanity test).*", output)
    if returncode:
        problems.append(f"ansible-test exits {returncode}")
    if len(tests) < fewest:
        problems.append(f"only {len(tests)} tests ran, {fewest} expected")
    return len(tests), problems


def sanity(venv: Path, version: str, *options: str, fewest: int = FEWEST_TESTS, path: str = "") -> tuple[bool, str]:
    """Run sanity with this Python. Return whether it passed, and a message."""
    with staged(venv) as here:
        files = sum(1 for file in here.rglob("*") if file.is_file() and ".git" not in file.parts)
        ran = ansible_test("sanity", "--local", "--python", version, *options, venv=venv, cwd=here, path=path)
    tests, problems = check_output(ran.output, ran.returncode, fewest)
    summary = f"ansible-test sanity, Python {version}: {tests} tests on {files} files in {ran.seconds:.0f} s"
    if problems:
        found = re.findall(r"^(?:ERROR|FATAL|WARNING: .*skip).*", ran.output, re.MULTILINE) or [ran.output.rstrip()]
        return False, "\n".join([*found, *problems, summary])
    return True, summary


if __name__ == "__main__":
    passed, message = sanity(VENV, python_version(), *SHIPPED_ONLY)
    print(message)
    sys.exit(not passed)
