# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""all.py [--full] TARGET...: runs make targets one after the other, whatever fails, and sums up in the last line.

With --full, no test is left out, a target that passed on this commit is not run again, and the table goes into
docs/test-full.md.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from common import CACHE, ROOT, VENV, Counts, echo, read_counts, run

RESULT = "docs/test-full.md"


@dataclass(frozen=True)
class Stage:
    """A target that ran."""

    target: str
    counts: Counts
    seconds: int
    again: bool = False  # it ran earlier, on this commit

    def __str__(self) -> str:
        return f"{self.target:<12} {self.counts!s:<36} {self.seconds:>5} s" + (" (earlier)" if self.again else "")


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def run_target(target: str, full: bool) -> Stage:
    """Run one target; a failure that it doesn't count itself counts one."""
    ran = run("make", "--no-print-directory", target, *(["MARK="] if full else []), each=echo)
    counts = read_counts(ran.output) or Counts()
    if (ran.returncode and not counts.failed) or counts == Counts():
        counts += Counts(failed=1)
    return Stage(target, counts, round(ran.seconds))


def resume(target: str, commit: str) -> Stage:
    """The stamp of this target on this commit, or a run that leaves one if it passed."""
    stamp = CACHE / "test-full" / commit / f"{target}.json"
    if stamp.exists():
        found = json.loads(stamp.read_text())
        print(f"== {target}: passed on {commit[:12]} already; remove {stamp} to run it again", flush=True)
        return Stage(target, Counts(**found["counts"]), found["seconds"], again=True)
    stage = run_target(target, full=True)
    # What ran on changed files proves nothing about the commit.
    if not stage.counts.failed and not changed_files():
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps(asdict(stage)))
    return stage


def changed_files() -> str:
    """What differs from the commit, the result of this run aside."""
    return git("status", "--porcelain", "--", ".", f":!{RESULT}")


def write_table(stages: list[Stage], commit: str, total: Counts) -> None:
    with_changes = " with uncommitted changes" if changed_files() else ""
    rows = [f"| {stage.target} | {stage.counts} | {stage.seconds} |" for stage in stages]
    (ROOT / RESULT).write_text(
        "\n".join(
            [
                "# The last run of `make test-full`",
                "",
                f"On commit `{commit}`{with_changes}, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, "
                f"Python {platform.python_version()}, {os.cpu_count()} cores.",
                "",
                "| target | result | seconds |",
                "|---|---|---|",
                *rows,
                f"| all | {total} | {sum(stage.seconds for stage in stages)} |",
                "",
            ]
        )
    )


def build_programs() -> None:
    """Kubernetes' programs take minutes to build: begin, so that they are there when the test bed wants them."""
    command = ["nice", sys.executable, "-m", "testbed", "build"]
    with (CACHE / "build-cluster.out").open("w") as out:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def main(arguments: list[str]) -> None:
    full = "--full" in arguments
    targets = [word for word in arguments if word != "--full"]
    commit = git("rev-parse", "HEAD")
    if "integration" in targets:
        build_programs()
    begin = time.monotonic()
    stages: list[Stage] = []
    for number, target in enumerate(targets, 1):
        minutes = (time.monotonic() - begin) / 60
        print(f"\n==== {number} of {len(targets)}: {target} ({minutes:.0f} min so far)", flush=True)
        stages.append(resume(target, commit) if full and not changed_files() else run_target(target, full))
    total = sum((stage.counts for stage in stages), Counts())
    if full:
        write_table(stages, commit, total)
    print(f"\n==== summary, commit {commit[:12]}, {VENV.name}")
    print("\n".join(map(str, stages)))
    total.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
