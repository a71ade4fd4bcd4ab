# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""all.py [--full [--only=TARGET,...]] TARGET...: run make targets; the last line is the summary.

Two targets run side by side: one that uses the test bed, of which a machine has one, and one that does not.

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
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from common import CACHE, ROOT, VENV, Counts, echo, read_counts, read_failures, run

RESULT = "docs/test-full.md"
BED_ALIAS = "uses/testbed"  # in the aliases of an integration target
BED_TARGETS = ("molecule",)


@dataclass(frozen=True)
class Stage:
    """A target that ran."""

    target: str
    counts: Counts
    seconds: int
    commit: str
    again: bool = False  # it ran earlier
    failures: tuple[str, ...] = ()  # the lines that name what failed

    def __str__(self) -> str:
        return f"{self.target:<40} {self.counts!s:<36} {self.seconds:>5} s" + (" (earlier)" if self.again else "")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Target:
    """A make target, or a part of C(integration)."""

    name: str
    uses_bed: bool = False
    parts: tuple[str, ...] = ()  # the integration targets that it runs

    @property
    def command(self) -> list[str]:
        """What the bed runs has deadlines. The other target gives way to it."""
        make = ["make", "--no-print-directory", self.name.partition("/")[0]]
        return [*([] if self.uses_bed else ["nice", "-n", "5"]), *make]


def expanded(names: list[str], full: bool) -> list[Target]:
    """Split integration into what uses the test bed and what does not; with --full, into each integration target."""
    aliases = sorted((ROOT / "tests/integration/targets").glob("*/aliases"))
    integration = [
        Target(f"integration/{file.parent.name}", BED_ALIAS in file.read_text().splitlines(), (file.parent.name,))
        for file in aliases
    ]
    if not full:
        integration = [
            Target(
                f"integration/{name}",
                uses_bed,
                tuple(part for t in integration if t.uses_bed == uses_bed for part in t.parts),
            )
            for name, uses_bed in (("on-the-bed", True), ("without-bed", False))
        ]
    return [
        target
        for name in names
        for target in (integration if name == "integration" else [Target(name, name in BED_TARGETS)])
    ]


def run_target(target: Target, commit: str, full: bool) -> Stage:
    """Run a target. A failure that the target does not count itself counts as one."""
    # make passes its own ONLY=... to its children; lint would take it for jobs.
    # The tests that only a full run has are about our code, not about an interpreter: the matrix leaves them out.
    mark = ["MARK="] if full and target.name != "matrix" else []
    variables = ["ONLY=", *mark, *([f"TARGET={' '.join(target.parts)}"] if target.parts else [])]
    ran = run(*target.command, *variables, each=lambda line: echo(f"{target.name}: {line}"))
    counts = read_counts(ran.output) or Counts()
    if (ran.returncode and not counts.failed) or counts == Counts():
        counts += Counts(failed=1)
    return Stage(target.name, counts, round(ran.seconds), commit, failures=read_failures(ran.output))


def earlier(stamp: Path) -> Stage:
    """Read the stage from its stamp."""
    found = json.loads(stamp.read_text())
    return Stage(found["target"], Counts(**found["counts"]), found["seconds"], found["commit"], again=True)


def last_passed(target: str) -> Stage | None:
    """Return the newest stamp of a target, of any commit."""
    stamps = sorted((CACHE / "test-full").glob(f"*/{target}.json"), key=lambda stamp: stamp.stat().st_mtime)
    return earlier(stamps[-1]) if stamps else None


def resume(target: Target, commit: str) -> Stage:
    """Return the stamp of this target on this commit, or run the target and write a stamp if it passed."""
    stamp = CACHE / "test-full" / commit / f"{target.name}.json"
    if stamp.exists() and not changed_files():
        print(f"== {target.name}: passed on {commit[:12]} already; remove {stamp} to run it again", flush=True)
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


def start_build(name: str) -> None:
    """Start a build of programs, which takes minutes, so that it is done when the tests need them."""
    command = ["nice", sys.executable, "-m", "testbed", name]
    with (CACHE / f"{name}.out").open("w") as out:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def run_side_by_side(targets: list[Target], run_or_resume: Callable[[Target], Stage]) -> list[Stage]:
    """Run those that use the test bed one after the other, and beside them the others. The stages are in order."""
    begin = time.monotonic()
    numbers = iter(range(1, len(targets) + 1))
    lock = threading.Lock()

    def run_lane(lane: list[Target]) -> list[Stage]:
        stages = []
        for target in lane:
            with lock:
                minutes = (time.monotonic() - begin) / 60
                print(f"\n==== {next(numbers)} of {len(targets)}: {target.name} ({minutes:.0f} min so far)", flush=True)
            stages.append(run_or_resume(target))
        return stages

    with ThreadPoolExecutor(2) as pool:
        lanes = [[target for target in targets if target.uses_bed is uses_bed] for uses_bed in (True, False)]
        stages = [stage for ran in pool.map(run_lane, lanes) for stage in ran]
    order = [target.name for target in targets]
    return sorted(stages, key=lambda stage: order.index(stage.target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="", help="targets, comma-separated; all of them when empty")
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    targets = expanded(options.targets, options.full)
    names = {target.name: target for target in targets}
    only = [target.name for target in expanded(options.only.split(","), options.full)] if options.only else list(names)
    if unknown := sorted(set(only) - set(names)):
        parser.error(f"--only: {', '.join(unknown)} is not among {', '.join(names)}")
    commit = git("rev-parse", "HEAD")
    if any(names[name].uses_bed for name in only):
        start_build("build")
    if options.full and "integration/image_engines" in only:
        start_build("build-engines")
    stages = run_side_by_side(
        [names[name] for name in only],
        lambda target: resume(target, commit) if options.full else run_target(target, commit, full=False),
    )
    total = sum((stage.counts for stage in stages), Counts())
    if options.full:
        ran = {stage.target: stage for stage in stages}
        every = [stage for name in names if (stage := ran.get(name) or last_passed(name))]
        write_table(every, commit, sum((stage.counts for stage in every), Counts()))
    print(f"\n==== summary, commit {commit[:12]}, {VENV.name}")
    print("\n".join(map(str, stages)))
    for stage in stages:
        for failure in stage.failures:
            print(f"{stage.target}: {failure}")
    total.exit()


if __name__ == "__main__":
    main()
