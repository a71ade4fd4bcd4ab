# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several of our processes edit one role at once, while calls of IAM take their time: no subject is lost."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import TaskResult
from integration.targets.iam_irsa_namespace.kit import Account, Cluster, binding, document, value
from testbed.gate import Fault

RECHECK_DELAY = 1.5  # longer than any delay below: a writer's time from its read to its write
# Half of the writes and a third of the reads are delayed, each by another time, so the writers' steps interleave in
# many ways.
DELAYS = [
    Fault("delay", operation="UpdateAssumeRolePolicy", seconds=seconds, rate=rate, seed=seed)
    for seed, (seconds, rate) in enumerate([(0.35, 0.25), (0.1, 0.25), (0.02, 0.3)])
] + [Fault("delay", operation="GetRole", seconds=0.15, rate=0.33, seed=7)]


class Writer:
    def __init__(self, account: Account, cluster: Cluster) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("writer.py")), cluster.arn, str(RECHECK_DELAY)],
            env={
                **{name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LC_ALL") if name in os.environ},
                **account.aws.env,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def start(self, role: str, subject: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{role} {subject.replace('/', ' ')}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


@contextlib.contextmanager
def writers(account: Account, cluster: Cluster, count: int) -> Iterator[list[Writer]]:
    made: list[Writer] = []
    try:
        made += [Writer(account, cluster) for _dummy in range(count)]
        assert [writer.read() for writer in made] == ["ready"] * count
        yield made
    finally:
        for writer in made:
            writer.close()


def rounds(account: Account, count: int, at_once: int = 2) -> list[dict[str, Any]]:
    """In each round all writers add another service account to one role, at the same time."""
    blue = account.cluster_of("blue")
    account.aws.fail(*DELAYS)
    collected = []
    with writers(account, blue, at_once) as made:
        for number in range(count):
            role = f"shared-{number}"
            account.role(role, document(blue.trust("first/one")))
            for index, writer in enumerate(made):
                writer.start(role, f"writer-{index}/one")
            results = [json.loads(writer.read()) for writer in made]
            after = json.dumps(account.trust_of(role))
            expected = ["first/one", *(f"writer-{index}/one" for index in range(at_once))]
            missing = [subject for subject in expected if value(subject) not in after]
            assert not missing, f"round {number}: {missing} missing; {results}; {after}"
            assert [result["status"] for result in results] == ["changed"] * at_once, results
            assert all(result["verified"] for result in results)
            collected += results
    return collected


def test_two_processes_at_once_lose_nothing(account: Account) -> None:
    rounds(account, 3)


@pytest.mark.full
def test_two_processes_at_once_lose_nothing_in_fifty_rounds(account: Account) -> None:
    results = rounds(account, 50)
    # The writers did overwrite each other: without the recheck, some subjects would be missing.
    assert any(result["overwritten_externally"] for result in results)


@pytest.mark.full
def test_four_processes_at_once_lose_nothing(account: Account) -> None:
    rounds(account, 10, at_once=4)


def test_two_tasks_at_once_lose_nothing(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("shared", document(blue.trust("first/one")))
    # Each is held at its first write, by which time the other has read.
    account.aws.fail(Fault("delay", operation="UpdateAssumeRolePolicy", seconds=1, times=2))
    done: list[TaskResult] = []

    def play(number: int) -> None:
        own = copy.copy(account)
        own.folder = account.folder / str(number)
        own.folder.mkdir()
        done.append(own.task(binding("shared", f"writer-{number}/one"), recheck_delay=4))

    threads = [threading.Thread(target=play, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [outcome.changed for outcome in done] == [True, True]
    assert all(account.lets_in("shared", blue, subject) for subject in ("first/one", "writer-0/one", "writer-1/one"))
