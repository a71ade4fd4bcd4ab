# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""all.py [--full [--only=TARGET,...]] TARGET...: run make targets one after the other; the last line is the summary.

With --full, no test is left out, each integration target is a separate target, and what passed on this commit is not
run again. The table goes to docs/test-full.md. Targets that --only leaves out have their last passed result there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from common import CACHE, ROOT, VENV, Counts, echo, read_counts, run

RESULT = "docs/test-full.md"


@dataclass(frozen=True)
class Stage:
    """A target that ran."""

    target: str
    counts: Counts
    seconds: int
    commit: str
    again: bool = False  # it ran earlier

    def __str__(self) -> str:
        return f"{self.target:<40} {self.counts!s:<36} {self.seconds:>5} s" + (" (earlier)" if self.again else "")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def expanded(targets: list[str]) -> list[str]:
    """Replace integration by integration/NAME for each integration target."""
    names = sorted(file.parent.name for file in (ROOT / "tests/integration/targets").glob("*/aliases"))
    integration = [f"integration/{name}" for name in names]
    return [name for target in targets for name in (integration if target == "integration" else [target])]


def run_target(target: str, commit: str, full: bool) -> Stage:
    """Run a target. A failure that the target does not count itself counts as one."""
    name, _slash, part = target.partition("/")
    # make passes its own ONLY=... to its children; lint would take it for jobs.
    variables = ["ONLY=", *(["MARK="] if full else []), *([f"TARGET={part}"] if part else [])]
    ran = run("make", "--no-print-directory", name, *variables, each=echo)
    counts = read_counts(ran.output) or Counts()
    if (ran.returncode and not counts.failed) or counts == Counts():
        counts += Counts(failed=1)
    return Stage(target, counts, round(ran.seconds), commit)


def earlier(stamp: Path) -> Stage:
    """Read the stage from its stamp."""
    found = json.loads(stamp.read_text())
    return Stage(found["target"], Counts(**found["counts"]), found["seconds"], found["commit"], again=True)


def last_passed(target: str) -> Stage | None:
    """Return the newest stamp of a target, of any commit."""
    stamps = sorted((CACHE / "test-full").glob(f"*/{target}.json"), key=lambda stamp: stamp.stat().st_mtime)
    return earlier(stamps[-1]) if stamps else None


def resume(target: str, commit: str) -> Stage:
    """Return the stamp of this target on this commit, or run the target and write a stamp if it passed."""
    stamp = CACHE / "test-full" / commit / f"{target}.json"
    if stamp.exists() and not changed_files():
        print(f"== {target}: passed on {commit[:12]} already; remove {stamp} to run it again", flush=True)
        return earlier(stamp)
    stage = run_target(target, commit, full=True)
    # A run on changed files verifies nothing about the commit.
    if not stage.counts.failed and not changed_files():
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps(asdict(stage)))
    return stage


def changed_files() -> str:
    """Return what differs from the commit, except the result of this run."""
    return git("status", "--porcelain", "--", ".", f":!{RESULT}")


def write_table(stages: list[Stage], commit: str, total: Counts) -> None:
    with_changes = " with uncommitted changes" if changed_files() else ""
    rows = [f"| {stage.target} | {stage.counts} | {stage.seconds} | `{stage.commit[:12]}` |" for stage in stages]
    (ROOT / RESULT).write_text(
        "\n".join(
            [
                "# The last run of `make test-full`",
                "",
                f"On commit `{commit}`{with_changes}, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, "
                f"Python {platform.python_version()}, {os.cpu_count()} cores.",
                "",
                "A target that this run left out has its last passed result, with the commit of that result.",
                "",
                "| target | result | seconds | commit |",
                "|---|---|---|---|",
                *rows,
                f"| all | {total} | {sum(stage.seconds for stage in stages)} | |",
                "",
            ]
        )
    )


def build_programs() -> None:
    """Start the build of Kubernetes' programs, which takes minutes, so that it is done when the test bed needs them."""
    command = ["nice", sys.executable, "-m", "testbed", "build"]
    with (CACHE / "build-cluster.out").open("w") as out:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="", help="targets, comma-separated; all of them when empty")
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    targets = expanded(options.targets) if options.full else options.targets
    only = expanded(options.only.split(",")) if options.only else targets
    if unknown := sorted(set(only) - set(targets)):
        parser.error(f"--only: {', '.join(unknown)} is not among {', '.join(targets)}")
    commit = git("rev-parse", "HEAD")
    if any(target.startswith("integration") for target in only):
        build_programs()
    begin = time.monotonic()
    stages: list[Stage] = []
    for number, target in enumerate(only, 1):
        minutes = (time.monotonic() - begin) / 60
        print(f"\n==== {number} of {len(only)}: {target} ({minutes:.0f} min so far)", flush=True)
        stages.append(resume(target, commit) if options.full else run_target(target, commit, full=False))
    total = sum((stage.counts for stage in stages), Counts())
    if options.full:
        ran = {stage.target: stage for stage in stages}
        every = [stage for target in targets if (stage := ran.get(target) or last_passed(target))]
        write_table(every, commit, sum((stage.counts for stage in every), Counts()))
    print(f"\n==== summary, commit {commit[:12]}, {VENV.name}")
    print("\n".join(map(str, stages)))
    total.exit()


if __name__ == "__main__":
    main()
