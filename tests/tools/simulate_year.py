# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""simulate_year.py [DAYS]: a simulated year with the guard, without its events, and with crons instead.

Prints the table, and with a whole year writes it into docs/aurora_autostop.md, the picture beside it. Fails where the
guard does not keep what it promises.
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


def tell(text: str) -> None:
    print(text, flush=True)


def run(scenario: Scenario, strategy: str) -> Year:
    return simulate(scenario, strategy, tell)


def write(table: str, svg: str) -> None:
    text = PAGE.read_text()
    found = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not found.search(text):
        raise ValueError(f"{PAGE} has no place for the table, between {BEGIN} and {END}")
    PAGE.write_text(found.sub(lambda _dummy: f"{BEGIN}\n{table}\n{END}", text))
    PICTURE.write_text(svg)


def main(days: float) -> None:
    scenario = Scenario(days=days)
    wanted = sum(kind.share for kind in KINDS if kind.wanted)
    with ProcessPoolExecutor(2) as pool:
        years = list(pool.map(run, [scenario] * len(STRATEGIES), STRATEGIES))
    table = picture.table(scenario, years, wanted)
    print(f"\n{scenario.clusters} clusters, {wanted} of them to be off, {days:.0f} days, seed {scenario.seed}\n")
    print(f"{table}\n")
    total = Counts()
    for year in years:
        told = broken(year)
        if year.strategy in (GUARD, DEAF):
            print("\n".join(f"{year.strategy}: {one}" for one in told) or f"{year.strategy}: keeps what it promises")
            total += Counts(failed=1) if told else Counts(passed=1)
    if days == WHOLE:
        write(table, picture.svg(scenario, years, wanted))
        print(f"written: {PAGE.relative_to(ROOT)}, {PICTURE.relative_to(ROOT)}")
    total.exit()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else WHOLE)
