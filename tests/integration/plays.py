# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook of which each task's outcome is recorded."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLBACKS = Path(__file__).parent / "targets/image_offline_transfer/callbacks"
KEPT = ("PATH", "LC_ALL", "ANSIBLE_COLLECTIONS_PATH")  # of the environment of the tests


@dataclass(frozen=True)
class Recorded:
    """What the run printed, and what its callback wrote: status, task and result of each task."""

    output: str
    tasks: list[dict[str, Any]]


def playbook_of(folder: Path, number: int, tasks: Sequence[Mapping[str, Any]]) -> str:
    """A file with these tasks as a play on the controller."""
    path = folder / f"playbook-{number}.yml"
    path.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
    return str(path)


def play(folder: Path, number: int, *arguments: str, env: Mapping[str, str], timeout: float = 240) -> Recorded:
    """ansible-playbook with these words, in a folder that is its home, and with an environment of nothing but C(env)
    and what it needs itself. C(number) tells the runs of one folder apart; C(timeout) is in seconds."""
    record = folder / f"record-{number}.jsonl"
    (folder / "ansible.cfg").touch()
    ran = subprocess.run(
        ["ansible-playbook", *arguments],
        env={
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "HOME": str(folder),
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "IT_RECORD": str(record),
            **env,
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert record.exists(), ran.stdout
    return Recorded(ran.stdout, [json.loads(line) for line in record.read_text().splitlines()])
