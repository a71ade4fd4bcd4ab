# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""molecule.py [SCENARIO...]: run every scenario of extensions/molecule on the test bed; each counts as one.

With MARK="not full", as in make test, the long scenarios are left out unless they are named.
"""

from __future__ import annotations

import os
import sys

from common import ROOT, VENV, Counts, echo, run

EXTENSIONS = ROOT / "extensions"
LONG = ("aurora_autostop", "image_transfer", "irsa_namespace", "sysctl_nodegroup", "sysctl_trial")  # a minute each


def main(names: list[str]) -> None:
    found = sorted(file.parent.name for file in EXTENSIONS.glob("molecule/*/molecule.yml"))
    left_out = LONG if os.environ.get("MARK") == "not full" else ()
    scenarios = names or [name for name in found if name not in left_out]
    total = Counts()
    if scenarios and run(VENV / "bin/python", "-m", "testbed", "up", each=echo).returncode:
        total = Counts(failed=1)
    else:
        for number, name in enumerate(scenarios, 1):
            print(f"== scenario {number} of {len(scenarios)}: {name}", flush=True)
            # Without a reset molecule keeps the state of an earlier test bed, and does not prepare this one.
            run(VENV / "bin/molecule", "reset", "--scenario-name", name, cwd=EXTENSIONS, each=echo)
            ran = run(VENV / "bin/molecule", "test", "--scenario-name", name, cwd=EXTENSIONS, each=echo)
            total += Counts(failed=1) if ran.returncode else Counts(passed=1)
            print(f"-- {name}: {'FAILED' if ran.returncode else 'ok'} in {ran.seconds:.0f} s", flush=True)
    total.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
