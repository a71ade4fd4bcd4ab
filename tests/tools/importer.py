# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""galaxy-importer on the built artefact, in a venv of its own; a warning of it fails, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from build import artefact
from common import make_venv, python_version, run, site_packages


def main() -> None:
    venv = make_venv("importer", python_version())
    with artefact() as tarball:
        env = {
            "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "",
            "ANSIBLE_COLLECTIONS_PATH": str(site_packages()),  # the dependencies
        }
        ran = run(
            venv / "bin/python", "-m", "galaxy_importer.main", tarball, cwd=Path(tarball.parent), env=env
        )  # writes its result into the working directory
    print(ran.output)
    wrong = [line for line in ran.output.splitlines() if line.startswith(("ERROR", "WARNING"))]
    sys.exit(1 if ran.returncode or wrong else 0)


if __name__ == "__main__":
    main()
