# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook that record each task's outcome."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLBACKS = Path(__file__).parent / "targets/image_offline_transfer/callbacks"
KEPT = ("PATH", "LC_ALL", "ANSIBLE_COLLECTIONS_PATH")  # kept from the environment of the tests


@dataclass(frozen=True)
class Recorded:
    """The output of a run, and the records of its callback: status, task and result of each task."""

    output: str
    tasks: list[dict[str, Any]]


def playbook_of(directory: Path, number: int, tasks: Sequence[Mapping[str, Any]]) -> str:
    """Write a playbook with these tasks as a play on the controller, and return its path."""
    path = directory / f"playbook-{number}.yml"
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
    return str(path)


def play(directory: Path, number: int, *arguments: str, env: Mapping[str, str], timeout: float = 240) -> Recorded:
    """Run ansible-playbook with these arguments in C(directory), which is its home. The environment has only C(env) and
    what ansible-playbook needs. C(number) distinguishes the runs of a directory; C(timeout) is in seconds."""
    record = directory / f"record-{number}.jsonl"
    (directory / "ansible.cfg").touch()
    ran = subprocess.run(
        ["ansible-playbook", *arguments],
        env={
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "HOME": str(directory),
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "IT_RECORD": str(record),
            **env,
        },
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert record.exists(), ran.stdout
    return Recorded(ran.stdout, [json.loads(line) for line in record.read_text().splitlines()])
