# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""lint.py [JOB...]: run the checks that need no test bed, two at a time. Each job and each house test counts as one.

With MARK="not full", as in make test, sanity and ansible-lint leave out tests/, which the artifact does not contain.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from common import CACHE, HOME, ROOT, TOOLS, VENV, Counts, Ran, read_counts, run, staged
from sanity import SHIPPED_ONLY

BIN = VENV / "bin"
PLUGINS = ROOT / "plugins"


def tool(name: str, *arguments: str) -> Ran:
    """Run a tool of this directory."""
    return run(BIN / "python", TOOLS / f"{name}.py", *arguments)


def in_stage(*command: str | Path) -> Ran:
    """Run a command in a staged copy, with its dependencies in the collection path."""
    with staged() as here:
        env = {"ANSIBLE_COLLECTIONS_PATH": str(here.parents[2]), "PYTHONPATH": "", "HOME": str(HOME)}
        return run(*command, cwd=here, env=env)


def mypy() -> Ran:
    """Check plugins under the collection's full name, as they are imported, and the tools by file, as they are run."""
    packages = [
        f"ansible_collections.daytwo.aws.plugins.{name}"
        for name in ("modules", "module_utils", "plugin_utils")
        if list((PLUGINS / name).rglob("*.py"))
    ]
    flags = [argument for package in [*packages, "testbed"] for argument in ("-p", package)]
    cache = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(CACHE / "mypy")]
    collection = run(BIN / "mypy", *cache, *flags, env={"MYPYPATH": os.environ["PYTHONPATH"]})
    path = os.pathsep.join([str(TOOLS), os.environ["PYTHONPATH"]])
    tools = run(BIN / "mypy", *cache, *TOOLS.glob("*.py"), env={"MYPYPATH": path})
    return Ran(
        collection.returncode or tools.returncode or (not packages),
        tools.output + collection.output,
        collection.seconds + tools.seconds,
    )


# The longest first: two run at a time.
JOBS: dict[str, Callable[[], Ran]] = {
    "sanity": lambda: tool("sanity"),
    "antsibull-docs": lambda: in_stage(
        BIN / "antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."
    ),
    "ansible-lint": lambda: in_stage(BIN / "ansible-lint", "--nocolor", *SHIPPED_ONLY),
    "galaxy-importer": lambda: tool("importer"),
    "mypy": mypy,
    "house": lambda: run(BIN / "python", "-m", "pytest", "-q", "tests/house"),
    "antsibull-changelog": lambda: in_stage(BIN / "antsibull-changelog", "lint"),
    "ruff": lambda: run(BIN / "ruff", "check", "--output-format=concise", "."),
    "ruff-format": lambda: run(BIN / "ruff", "format", "--check", "."),
}


def main(names: list[str]) -> None:
    if unknown := [name for name in names if name not in JOBS]:
        sys.exit(f"lint: there is no job {', '.join(unknown)}. There are: {', '.join(JOBS)}.")
    total = Counts()
    with ThreadPoolExecutor(2) as pool:
        running = {pool.submit(JOBS[name]): name for name in names}
        for done in as_completed(running):
            name, ran = running[done], done.result()
            counts = read_counts(ran.output) if name == "house" else None
            if ran.returncode:
                counts = counts if counts and counts.failed else Counts(failed=1)
                print(ran.output.rstrip())
            counts = counts or Counts(passed=1)
            total += counts
            last = (ran.output.rstrip().splitlines() or [""])[-1]
            print(f"-- {name}: {'FAILED' if counts.failed else 'ok'} in {ran.seconds:.0f} s. {last}", flush=True)
    total.exit()


if __name__ == "__main__":
    main(sys.argv[1:] or list(JOBS))
