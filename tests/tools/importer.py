# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run galaxy-importer on the built artifact, in its own venv. A warning fails, too.

Its ansible-lint is left out: lint runs ansible-lint itself, with more rules, on all files of the artifact.
"""

from __future__ import annotations

import os
import sys

from build import artifact
from common import HOME, make_venv, python_version, run


def main() -> None:
    venv = make_venv("importer", python_version())
    with artifact() as tarball:
        env = {
            "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "",
            "HOME": str(HOME),
            "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "no",
        }
        # It writes its result into the working directory.
        ran = run(venv / "bin/python", "-m", "galaxy_importer.main", tarball, cwd=tarball.parent, env=env)
    print(ran.output)
    wrong = [line for line in ran.output.splitlines() if line.startswith(("ERROR", "WARNING"))]
    sys.exit(1 if ran.returncode or wrong else 0)


if __name__ == "__main__":
    main()
