# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop the 300 tagged of 1,000 clusters: the module, Cloud Custodian, and the loop of the usual guide's Lambda.

Everything runs against an AWS of its own: moto with the test bed's rules, behind a gate that counts the calls. moto
answers one call at a time, in some milliseconds. AWS answers many at a time, each in some hundred milliseconds. So each
way is measured twice: with moto's own speed, and with LATENCY added to each call, so that calls overlap. For a trial
run: ROUNDS=1 and CLUSTERS=100.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from figures import ROUNDS, Figure, Goal, interleaved, publish, table
from testbed import paths
from testbed.gate import Fault
from testbed.own_aws import OwnAws, own_aws

VENV_SH = Path(__file__).resolve().parents[1] / "tools/venv.sh"
CLUSTERS = int(os.environ.get("CLUSTERS", "1000"))
TAGGED = CLUSTERS * 3 // 10
LATENCY = 0.1  # seconds that are added to each call
PEERS = Path(__file__).with_name("autostop_peers.py")
OURS, C7N, LOOP = "daytwo.aws", "c7n", "the guide's loop"
# What is timed: the whole command as an operator types it, or its work after all imports.
WHOLE, WORK = "with process start", "without process start"
WAYS = [(who, what) for who in (OURS, C7N, LOOP) for what in (WHOLE, WORK)]
POLICY = {
    "policies": [
        {
            "name": "autostop",
            "resource": "aws.rds-cluster",
            "filters": [{"tag:autostop": "yes"}, {"Status": "available"}],
            "actions": ["stop"],
        }
    ]
}


@dataclass(frozen=True)
class Took:
    seconds: float
    stopped: int
    calls: Mapping[str, int] = field(default_factory=dict)


class Bench:
    def __init__(self, aws: OwnAws, work: Path) -> None:
        self.aws = aws
        self.work = work
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        made = subprocess.run([VENV_SH, "c7n", version], stdout=subprocess.PIPE, text=True, check=True)
        self.c7n = Path(made.stdout.strip()) / "bin"
        self.policy = work / "policy.json"
        self.policy.write_text(json.dumps(POLICY))
        self.playbook = work / "playbook.json"
        task = {"daytwo.aws.aurora_autostop": {}}
        self.playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))

    def fill(self) -> None:
        """Every page has the same number of tagged clusters."""
        rds = self.aws.client("rds")
        for number in range(CLUSTERS):
            rds.create_db_cluster(
                DBClusterIdentifier=f"c-{number:04}",
                Engine="aurora-mysql",
                MasterUsername="admin",
                MasterUserPassword="not-a-secret-1",
                Tags=[{"Key": "autostop", "Value": "yes"}] if number % 10 < 3 else [],
            )

    def ready(self, latency: float) -> None:
        """Resets all clusters to available. A stopping cluster stays stopping for longer than any run takes."""
        self.aws.fail()
        self.aws.send_command("rds/settings", stop_seconds=86400)
        for number in range(CLUSTERS):
            if number % 10 < 3:
                self.aws.send_command("rds/edit", region=paths.REGION, name=f"c-{number:04}", status="available")
        if latency:
            self.aws.fail(Fault("delay", service="rds", seconds=latency))
        self.aws.forget()

    def run(self, way: tuple[str, str], latency: float) -> Took:
        self.ready(latency)
        env = {**os.environ, **self.aws.env, "AWS_REGION": paths.REGION, "AWS_DEFAULT_REGION": paths.REGION}
        began = time.monotonic()
        ran = subprocess.run(
            self.command(way), env=env, cwd=self.work, capture_output=True, text=True, check=False, timeout=600
        )
        seconds = time.monotonic() - began
        if ran.returncode:
            raise RuntimeError(f"{way}: {ran.stdout}{ran.stderr}")
        if way[1] == WORK:
            seconds = float(ran.stdout.split()[-1])
        calls = Counter(call.operation for call in self.aws.calls())
        self.aws.fail()
        return Took(seconds, self.stopped(), calls)

    def command(self, way: tuple[str, str]) -> list[str]:
        here = Path(sys.executable).parent
        python = here / "python"
        commands: dict[tuple[str, str], list[object]] = {
            (OURS, WHOLE): [here / "ansible-playbook", self.playbook],
            (OURS, WORK): [python, PEERS, "ours"],
            (C7N, WHOLE): [self.c7n / "custodian", "run", "-s", "out", "--cache-period", "0", self.policy],
            (C7N, WORK): [self.c7n / "python", PEERS, "c7n", self.policy],
            (LOOP, WHOLE): [python, PEERS, "loop"],
            (LOOP, WORK): [python, PEERS, "loop"],
        }
        return [str(word) for word in commands[way]]

    def stopped(self) -> int:
        """The number of stopped clusters. All of them must be tagged."""
        pages = self.aws.client("rds").get_paginator("describe_db_clusters").paginate()
        found = [cluster for page in pages for cluster in page["DBClusters"] if cluster["Status"] != "available"]
        if wrong := [cluster["DBClusterIdentifier"] for cluster in found if not cluster["TagList"]]:
            raise RuntimeError(f"stopped without a tag: {wrong}")
        return len(found)


def main() -> int:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory, own_aws() as aws:
        bench = Bench(aws, Path(directory))
        bench.fill()
        for latency in (0.0, LATENCY):
            where = f"{latency * 1000:.0f} ms per call" if latency else "moto's own speed"
            print(f"{where}: {CLUSTERS} clusters, {TAGGED} tagged, {ROUNDS} rounds", flush=True)
            taken = interleaved(WAYS, lambda way, latency=latency: bench.run(way, latency))
            seconds = {way: median(took.seconds for took in runs) for way, runs in taken.items()}
            last = {way: runs[-1] for way, runs in taken.items()}
            print_table(seconds, last)
            for what in (WHOLE, WORK):
                for peer in (C7N, LOOP):
                    goal = Goal(ratio=0.5) if peer == C7N and latency else None
                    pair = seconds[OURS, what], seconds[peer, what]
                    figures.append(Figure(f"{what}, {where}", *pair, peer, "s", goal))
        figures += counted(last)
    return publish("autostop", figures)


def print_table(seconds: Mapping[tuple[str, str], float], last: Mapping[tuple[str, str], Took]) -> None:
    rows = [
        (
            f"{who}, {what}",
            f"{seconds[who, what]:.2f} s",
            f"{last[who, what].stopped} of {TAGGED}",
            ", ".join(f"{count} {name}" for name, count in sorted(last[who, what].calls.items())),
        )
        for who, what in WAYS
    ]
    table(("way", "time", "stopped", "calls"), rows)


def counted(last: Mapping[tuple[str, str], Took]) -> list[Figure]:
    """Our calls: DescribeDBClusters per 100 clusters, twice; two bulk readings; one stop per tagged cluster."""
    ours = last[OURS, WHOLE]
    pages = -(-CLUSTERS // 100)
    stated = {
        "DescribeDBClusters": 2 * pages,
        "DescribeBlueGreenDeployments": 1,
        "DescribePendingMaintenanceActions": 1,
        "StopDBCluster": TAGGED,
    }
    found = [
        Figure(f"calls of {name}", ours.calls.get(name, 0), count, "as documented", "calls", Goal(ratio=1))
        for name, count in stated.items()
    ]
    other = sum(count for name, count in ours.calls.items() if name not in stated)
    found.append(Figure("other calls", other, 0, "as documented", "calls", Goal(more=0)))
    found.append(Figure("not stopped", TAGGED - ours.stopped, 0, "none", "clusters", Goal(more=0)))
    for peer in (C7N, LOOP):
        took = last[peer, WHOLE]
        found.append(Figure("all calls", sum(ours.calls.values()), sum(took.calls.values()), peer, "calls"))
        found.append(Figure("stopped", ours.stopped, took.stopped, peer, "clusters"))
    return found


if __name__ == "__main__":
    sys.exit(main())
