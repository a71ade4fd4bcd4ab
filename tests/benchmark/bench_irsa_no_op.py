# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role whose trust policy is right already: iam_irsa_namespace, compared with amazon.aws.iam_role.

Each runs as a Python process of its own, as Ansible runs a module, against the benchmark's own AWS (the test bed's moto
with its rules, on loopback). The runs of both sides alternate, and the goal is the median of the ratios of the pairs.
Set PAIRS=5 to try it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench_irsa import Ground
from figures import Figure, Goal, publish, table
from testbed import paths
from testbed.own_aws import OwnAws, own_aws

PAIRS = int(os.environ.get("PAIRS", "30"))
OURS, PEER = "iam_irsa_namespace", "iam_role"
RUN = """
import runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv[2].encode(), "legacy"
runpy.run_module(sys.argv[1], run_name="__main__")
"""


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    calls: int


class Runner:
    def __init__(self, aws: OwnAws, folder: Path) -> None:
        self.aws = aws
        self.folder = folder
        ground = Ground(aws, folder)
        ground.lay(1)
        binding = {"role": "role-000", "cluster": "blue", "namespace": "old", "service_accounts": ["controller"]}
        self.modules: dict[str, tuple[str, dict[str, Any]]] = {
            OURS: ("ansible_collections.daytwo.aws.plugins.modules.iam_irsa_namespace", {"bindings": [binding]}),
            PEER: (
                "ansible_collections.amazon.aws.plugins.modules.iam_role",
                {"name": "role-000", "assume_role_policy_document": json.dumps(ground.trust("old"))},
            ),
        }

    def run(self, way: str) -> Cost:
        module, options = self.modules[way]
        options = {**options, "_ansible_remote_tmp": str(self.folder), "_ansible_keep_remote_files": False}
        self.aws.forget()
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        ran = subprocess.run(
            [sys.executable, "-c", RUN, module, json.dumps({"ANSIBLE_MODULE_ARGS": options})],
            env={
                **{name: os.environ[name] for name in ("PATH", "LC_ALL") if name in os.environ},
                **self.aws.env,
                "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
                "AWS_REGION": paths.REGION,
                "HOME": str(self.folder),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if ran.returncode:
            raise RuntimeError(ran.stdout + ran.stderr)
        if way == OURS and json.loads(ran.stdout)["changed"]:
            raise RuntimeError(f"it changed something: {ran.stdout}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(seconds, cpu, len(self.aws.calls()))


def main() -> int:
    costs: dict[str, list[Cost]] = {OURS: [], PEER: []}
    with own_aws() as aws, tempfile.TemporaryDirectory() as folder:
        runner = Runner(aws, Path(folder))
        for way in (PEER, OURS):  # iam_role makes an instance profile once
            runner.run(way)
        for number in range(PAIRS):
            for way in (OURS, PEER) if number % 2 else (PEER, OURS):
                costs[way].append(runner.run(way))
    ratio = median(ours.seconds / peer.seconds for ours, peer in zip(costs[OURS], costs[PEER], strict=True))
    figures = [Figure("seconds, median of the pairs' ratios", ratio, 1.0, PEER, "", Goal(ratio=1.0))]
    rows = []
    for measure, unit in (("seconds", "s"), ("cpu_seconds", "s"), ("calls", "calls")):
        ours, peer = (median(getattr(cost, measure) for cost in costs[way]) for way in (OURS, PEER))
        figures.append(Figure(measure.replace("_", " "), ours, peer, PEER, unit))
        rows.append((measure.replace("_", " "), f"{ours:.3f}", f"{peer:.3f}", f"{ours / peer:.2f}"))
    table(("median of one run", OURS, PEER, "ratio"), rows)
    return publish("irsa_no_op", figures)


if __name__ == "__main__":
    sys.exit(main())
