# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""bench.py [NAME]: run tests/benchmark/bench_NAME.py, or all benchmarks; each prints its own table."""

from __future__ import annotations

import sys

from common import ROOT, VENV, Counts, echo, run


def main(names: list[str]) -> None:
    files = sorted((ROOT / "tests/benchmark").glob(f"bench_{names[0] if names else '*'}.py"))
    total = Counts()
    for file in files:
        print(f"== {file.stem}", flush=True)
        ran = run(VENV / "bin/python", file, each=echo)
        total += Counts(failed=1) if ran.returncode else Counts(passed=1)
    if not files:
        print(f"no benchmark {names[0] if names else ''} in tests/benchmark")
    total.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
