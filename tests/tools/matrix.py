# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""matrix.py [CELL...]: test the oldest and the newest ansible-core, the lowest Python of managed hosts, and whether the
newest dependencies go together.

A cell without an interpreter is named and counted as skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ansible_test import ansible_test
from common import ROOT, TOOLS, VENV, Counts, echo, make_venv, read_counts, run, site_packages, staged
from sanity import sanity


def core(venv: Path) -> str:
    """Return the version of ansible-core in a venv."""
    return next(site_packages(venv).glob("ansible_core-*.dist-info")).name.split("-")[1].removesuffix(".dist")


def controller(version: str) -> Counts:
    """Run unit tests and sanity with the packages of this Python's lock file."""
    venv = make_venv("test", version)
    print(f"-- ansible-core {core(venv)} on Python {version}: sanity, then unit tests", flush=True)
    passed, message = sanity(venv, version)
    print(message, flush=True)
    with staged(venv) as here:
        env = {
            "PYTHONPATH": f"{here.parents[2]}{os.pathsep}{here / 'tests'}",
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        }
        ran = run(
            venv / "bin/python",
            "-m",
            "pytest",
            "-q",
            "tests/unit",
            "-m",
            os.environ.get("MARK", "not full"),
            cwd=here,
            env=env,
            each=echo,
        )
    counts = read_counts(ran.output) or Counts()
    if ran.returncode and not counts.failed:
        counts += Counts(failed=1)
    return counts + Counts(passed=passed, failed=not passed)


def managed_host(version: str) -> Counts:
    """Test the code of managed hosts on a Python that is older than ansible-core supports on the controller.

    (docs/facts/toolchain.md#python-on-managed-hosts)
    """
    host = make_venv("units", version)
    path = str(host / "bin")
    print(f"-- managed hosts on Python {version}: import, compile and unit tests", flush=True)
    # Only these two sanity tests check a Python other than the controller's.
    passed, message = sanity(VENV, version, "--test", "import", "--test", "compile", fewest=2, path=path)
    print(message, flush=True)
    with staged() as here:
        ran = ansible_test("units", "--local", "--python", version, venv=VENV, cwd=here, path=path)
    print(ran.output, flush=True)
    counts = read_counts(ran.output) or Counts()
    if (ran.returncode and not counts.failed) or not counts.passed:
        counts += Counts(failed=1)
    return counts + Counts(passed=passed, failed=not passed)


def dependencies(version: str) -> Counts:
    """Resolve the newest of everything in requirements.txt. Botocore is then the newest that exists."""
    print(f"-- the newest dependencies that go together, on Python {version}", flush=True)
    together = resolve(version, "--requirement", str(ROOT / "requirements.txt"))
    alone = resolve(version, "--no-deps", "botocore")
    print(", ".join(f"{name} {together.get(name)}" for name in ("boto3", "botocore", "kubernetes")), flush=True)
    passed = bool(alone) and together.get("botocore") == alone["botocore"]
    return Counts(passed=passed, failed=not passed)


def resolve(version: str, *requirements: str) -> dict[str, str]:
    """The versions that pip would install, by name; empty where they do not go together."""
    python = make_venv("test", version) / "bin/python"
    with tempfile.TemporaryDirectory(prefix="matrix-") as directory:
        report = Path(directory, "report.json")
        run(
            *(python, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", report),
            *requirements,
            each=echo,
        )
        found_versions = json.loads(report.read_text())["install"] if report.exists() else []
    return {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in found_versions}


def newest() -> str:
    """Return the Python for the newest ansible-core: 3.13, or 3.12 where 3.13 does not exist."""
    return "3.13" if found("3.13") else "3.12"


def found(version: str) -> bool:
    return subprocess.run([TOOLS / "python.sh", version], stdout=subprocess.DEVNULL, check=False).returncode == 0


CELLS: dict[str, tuple[Callable[[str], Counts], str]] = {
    "oldest": (controller, "3.11"),
    "newest": (controller, newest()),
    "host": (managed_host, "3.9"),
    "together": (dependencies, newest()),
}


def main(names: list[str]) -> None:
    total = Counts()
    lines = []
    for name in names or CELLS:
        check, version = CELLS[name]
        if found(version):
            counts = check(version)
            lines.append(f"{name:<8} Python {version:<5} {counts}")
        else:
            counts = Counts(skipped=1)
            lines.append(
                f"{name:<8} Python {version:<5} SKIPPED: no working interpreter of this version on this machine"
            )
        total += counts
    print(f"== matrix of {ROOT.name}")
    print("\n".join(lines))
    total.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
