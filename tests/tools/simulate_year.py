# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""simulate_year.py [DAYS]: a simulated year with the guard, without its events, and with cron jobs instead.

Prints the table. A whole year also writes the table to docs/aurora_autostop.md, and the picture beside it. Fails if the
guard does not keep its promises.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ProcessPoolExecutor

from common import ROOT, Counts
from simulation import picture
from simulation.year import DEAF, GUARD, KINDS, STRATEGIES, Scenario, Year, broken, simulate

PAGE = ROOT / "docs/aurora_autostop.md"
PICTURE = ROOT / "docs/aurora_autostop_year.svg"
BEGIN, END = "<!-- make simulate-year writes this -->", "<!-- until here -->"
WHOLE = 365


def report_progress(text: str) -> None:
    print(text, flush=True)


def run(scenario: Scenario, strategy: str) -> Year:
    return simulate(scenario, strategy, report_progress)


def write(table: str, svg: str) -> None:
    text = PAGE.read_text()
    found = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not found.search(text):
        raise ValueError(f"{PAGE} has no place for the table, between {BEGIN} and {END}")
    PAGE.write_text(found.sub(lambda _dummy: f"{BEGIN}\n{table}\n{END}", text))
    PICTURE.write_text(svg)


def main(days: float) -> None:
    scenario = Scenario(days=days)
    cluster_count = sum(kind.share for kind in KINDS if kind.should_be_stopped)
    with ProcessPoolExecutor(2) as pool:
        years = list(pool.map(run, [scenario] * len(STRATEGIES), STRATEGIES))
    table = picture.table(scenario, years, cluster_count)
    print(
        f"\n{scenario.clusters} clusters, {cluster_count} tagged for autostop, {days:.0f} days, seed {scenario.seed}\n"
    )
    print(f"{table}\n")
    total = Counts()
    for year in years:
        failures = broken(year)
        if year.strategy in (GUARD, DEAF):
            print(
                "\n".join(f"{year.strategy}: {failure}" for failure in failures)
                or f"{year.strategy}: keeps its promises"
            )
            total += Counts(failed=1) if failures else Counts(passed=1)
    if days == WHOLE:
        write(table, picture.svg(scenario, years, cluster_count))
        print(f"written: {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")
    total.exit()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else WHOLE)
