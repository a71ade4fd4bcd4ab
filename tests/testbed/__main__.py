# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m testbed up [--cluster] | down | status | build | build-engines`."""

from __future__ import annotations

import sys
import time

from . import ecr, engines, programs
from .bed import Bed
from .node import BedError


def main(argv: list[str]) -> int:
    if argv not in (["up"], ["up", "--cluster"], ["down"], ["status"], ["build"], ["build-engines"]):
        print("usage: python -m testbed up [--cluster] | down | status | build | build-engines", file=sys.stderr)
        return 2
    bed = Bed()
    begin = time.monotonic()
    try:
        if argv[0] == "up":
            started = bed.up(cluster="--cluster" in argv)
            what = f"started {', '.join(started)}" if started else "nothing to do"
            print(f"test bed is up ({time.monotonic() - begin:.1f} s; {what})")
            print(f"inventory: {bed.inventory}\nenvironment: . {bed.env_file}")
            if bed.cluster.live:
                print(f"cluster: {bed.cluster.name}\nkubeconfig of an administrator: {bed.cluster.kubeconfig}")
        elif argv == ["build"]:
            print(f"the cluster's programs are in {programs.ensure()}")
            print(f"the kubelet's provider of credentials is {ecr.ensure_credential_provider()}")
        elif argv == ["build-engines"]:
            print(f"the newer container engines are in {engines.ensure()}")
        elif argv == ["down"]:
            bed.down()
            print(f"test bed is down ({time.monotonic() - begin:.1f} s)")
        else:
            rows = bed.status()
            width = max(len(row[0]) for row in rows)
            for name, state, where in rows:
                print(f"{name:{width}}  {state:4}  {where}")
            return 0 if all(state == "up" for _dummy, state, _dummy in rows) else 3
    except BedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
