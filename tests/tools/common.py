# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that the tools share: paths, running a command, the summary line, a staged copy of the collection."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(os.environ["ROOT"])
CACHE = Path(os.environ["CACHE"])
# For tools that write to a home directory. Short: a program's path in ansible-test's venvs must fit into a shebang of
# 127 characters.
HOME = CACHE / "at"
TOOLS = ROOT / "tests" / "tools"
VENV = (CACHE / "venv").resolve()

# The dependencies of the collection, as directories of the ansible distribution.
NAMESPACES = ("amazon", "ansible", "community", "kubernetes")


@dataclass(frozen=True)
class Counts:
    """The number of checks, by outcome."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")

    def exit(self) -> None:
        """Print the summary alone on the last line. A run without checks fails, too."""
        print(self, flush=True)
        sys.exit(0 if self.passed and not self.failed else 1)


def read_counts(output: str) -> Counts | None:
    """Read the counts from the last summary line of these tools or of pytest. Return None where there is none."""
    for line in reversed(output.splitlines()):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line).strip("= ")
        if not re.fullmatch(r"\d+ [a-z]+(, \d+ [a-z]+)*( in [\d.]+s.*)?", plain):
            continue
        by_status = {status: int(number) for number, status in re.findall(r"(\d+) ([a-z]+)", plain.split(" in ")[0])}
        counts = Counts(
            # An expected failure is a passed check; an unexpected pass is reported as failed (strict).
            by_status.get("passed", 0) + by_status.get("xfailed", 0),
            sum(by_status.get(status, 0) for status in ("failed", "error", "errors", "xpassed")),
            by_status.get("skipped", 0),
        )
        if counts != Counts():
            return counts
    return None


def read_failures(output: str) -> tuple[str, ...]:
    """Read the lines in which these tools or pytest name what failed, for the end of a long log."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    return tuple(line[:300] for line in plain.splitlines() if re.match(r"(FAILED|ERROR) \S+::|-- \S+: FAILED ", line))


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    returncode: int
    output: str
    seconds: float


def echo(line: str) -> None:
    """Show a line of a command's output at once."""
    print(line, end="", flush=True)


def run(
    *command: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    each: Callable[[str], None] = lambda _line: None,
) -> Ran:
    """Run a command and capture its output. Pass each line to `each` at once."""
    begin = time.monotonic()
    lines = []
    with subprocess.Popen(
        [str(argument) for argument in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            each(line)
    return Ran(process.returncode, "".join(lines), time.monotonic() - begin)


def make_venv(name: str, version: str) -> Path:
    """Return the venv with the packages of tests/requirements/NAME-VERSION.txt."""
    made = subprocess.run([TOOLS / "venv.sh", name, version], stdout=subprocess.PIPE, text=True, check=True)
    return Path(made.stdout.strip())


def python_version(venv: Path = VENV) -> str:
    """Return the major and minor version of a venv's interpreter."""
    return next((venv / "lib").glob("python3.*")).name.removeprefix("python")


def site_packages(venv: Path = VENV) -> Path:
    """Return the directory of a venv's packages."""
    return next((venv / "lib").glob("python3.*")) / "site-packages"


@contextlib.contextmanager
def staged(venv: Path = VENV) -> Iterator[Path]:
    """Stage a copy of what git knows or would add, with its dependencies from a venv beside it.

    ansible-test resolves symlinks. It reports "All targets skipped" for a copy inside a repository that ignores it.
    A build from the checkout itself packs caches (docs/facts/toolchain.md#the-repository-is-the-collection).
    """
    HOME.mkdir(parents=True, exist_ok=True)
    (CACHE / "stage").mkdir(parents=True, exist_ok=True)
    top = Path(tempfile.mkdtemp(dir=CACHE / "stage"))
    try:
        collections = top / "ansible_collections"
        here = collections / "daytwo" / "aws"
        here.mkdir(parents=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.split(b"\0")
        for name in sorted({os.fsdecode(name) for name in listed if name}):
            source, target = ROOT / name, here / name
            if source.is_symlink() or source.is_file():  # a deleted file is still listed
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        for namespace in NAMESPACES:
            (collections / namespace).symlink_to(site_packages(venv) / "ansible_collections" / namespace)
        subprocess.run(["git", "init", "--quiet"], cwd=here, check=True)
        yield here
    finally:
        shutil.rmtree(top)
