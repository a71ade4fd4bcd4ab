# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role image_transfer with actions that only record their states: what the role does with their results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.modules.image_offline_transfer import CONTROLLER_OPTIONS, HOST_OPTIONS
from ansible_collections.daytwo.aws.plugins.modules.image_offline_transfer_info import OPTIONS as INFO_OPTIONS

ROOT = Path(__file__).parents[3]
# An action, which needs no process of its own: it returns the next of its results for a state, and records the state.
ACTION = """
import json, pathlib
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    _supports_check_mode = True
    def run(self, tmp=None, task_vars=None):
        given = self._task.args
        if unknown := set(given) - set(OPTIONS):
            return {"failed": True, "msg": f"Unsupported parameters: {unknown}"}
        folder, state = pathlib.Path(FOLDER), given.get("state", "info")
        with open(folder / "states", "a") as states:
            states.write(state + (" in check mode" if self._task.check_mode else "") + chr(10))
        answers = json.loads((folder / "answers").read_text())
        answer = answers[state].pop(0)
        (folder / "answers").write_text(json.dumps(answers))
        return answer
"""
OPTIONS = {
    "image_offline_transfer": [*CONTROLLER_OPTIONS, *HOST_OPTIONS],
    "image_offline_transfer_info": [*INFO_OPTIONS],
}
SAVED = {
    "changed": True,
    "bundle": {},
    "push": {"token": "0", "public_key": "k", "targets": {"localhost": {}}},
    "rejected": {},
    "steps": [],
    "bytes_full": 9_000_000,
    "bytes_missing": 5_000_000,
    "estimated": True,
}
PUSHED = {"name": "localhost", "status": "changed", "reason": "pushed", "bytes": 6_000_000, "blobs": ["a"]}
LOADED = {
    "changed": True,
    "images": [{"name": "one", "status": "changed", "reason": "loaded"}],
    "steps": [],
    "corrupt": [],
    "bytes_missing": 6_000_000,
    "bytes_transferred": 0,
    "revoked": True,
    "seconds": 1.0,
}


@dataclass
class Play:
    """Transfers of one run of Ansible. C(states): in their order. C(report_lines): of each transfer."""

    states: Sequence[str]
    report_lines: Sequence[Sequence[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    collection = tmp_path / "ansible_collections" / "daytwo" / "aws"
    for kind in ("action", "modules"):
        (collection / "plugins" / kind).mkdir(parents=True)
    shutil.copytree(ROOT / "roles" / "image_transfer", collection / "roles" / "image_transfer")
    shutil.copytree(ROOT / "plugins" / "filter", collection / "plugins" / "filter")
    (collection / "plugins" / "plugin_utils" / "_image").mkdir(parents=True)
    report = Path("plugins", "plugin_utils", "_image", "report.py")
    shutil.copy(ROOT / report, collection / report)
    for name, options in OPTIONS.items():
        text = ACTION.replace("OPTIONS", repr(options)).replace("FOLDER", repr(str(tmp_path)))
        (collection / "plugins" / "action" / f"{name}.py").write_text(text)
        (collection / "plugins" / "modules" / f"{name}.py").touch()
    return tmp_path


def play(folder: Path, transfers: int, **answers: Sequence[Mapping[str, Any]]) -> Play:
    """Runs the role C(transfers) times, with these results of each state."""
    role: dict[str, Any] = {
        "include_role": {"name": "daytwo.aws.image_transfer"},
        "vars": {
            "image_transfer_images": [{"name": "one:v1"}],
            "image_transfer_source_host": "localhost",
            "image_transfer_transport": "scp",
        },
    }
    tasks = [{"block": [role], "rescue": [{"debug": {"msg": "failed"}}]}] * transfers
    plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(plays))
    info = [{"target": {"host": "localhost", "engine": "docker"}}] * transfers
    (folder / "answers").write_text(json.dumps({"info": info, "revoked": [{}] * transfers, **answers}))
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_STDOUT_CALLBACK": "json",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "play.yml"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    done = [task for entry in json.loads(ran.stdout)["plays"] for task in entry["tasks"]]
    reports = [task["hosts"]["localhost"] for task in done if task["task"]["name"].endswith(" : Report")]
    return Play((folder / "states").read_text().splitlines(), [report["msg"] for report in reports])


def pushed(**more: Any) -> dict[str, Any]:
    return {"changed": True, "bundle": {}, "targets": [{**PUSHED, **more}]}


@pytest.mark.parametrize("pattern", ["nope", "", None], ids=repr)
def test_a_pattern_without_a_host_is_refused(folder: Path, pattern: Any) -> None:
    shutil.copy(ROOT / "playbooks" / "image_transfer.yml", folder / "play.yml")
    variables = {} if pattern is None else {"image_transfer_targets": pattern}
    ran = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "other,", "-e", json.dumps(variables), "play.yml"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_LOCALHOST_WARNING": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    named = pattern or "image_transfer_targets"
    assert f"image_transfer_targets: {named} matches no host of the inventory" in " ".join(ran.stdout.split())
    assert not (folder / "states").exists()


GRANTED = {"changed": True, "authorization": {"host": "localhost"}}


def test_a_transfer_that_fails_revokes_its_own_authorization_and_reports_nothing_of_an_earlier_transfer(
    folder: Path,
) -> None:
    failed = {**LOADED, "revoked": False}
    ran = play(
        folder,
        2,
        saved=[SAVED] * 2,
        authorized=[GRANTED] * 2,
        pushed=[pushed(), pushed(status="failed", reason="no way")],
        loaded=[LOADED, failed],
    )
    first = ["info", "saved", "authorized", "pushed", "loaded"]
    assert ran.states == [*first, *first[:4], "loaded in check mode", "revoked"]
    assert ran.report_lines[0][0] == "one: changed: loaded"
    assert ran.report_lines[1] == ["nothing was loaded: see the error above"]


def test_exact_sizes_of_the_push_are_no_estimates(folder: Path) -> None:
    exact = {**pushed(), "estimated": False, "bytes_missing": 6_000_000}
    ran = play(folder, 1, saved=[SAVED], authorized=[GRANTED], pushed=[exact], loaded=[LOADED])
    expected = "6.0 MB of 10.0 MB missing, 6.0 MB received, 1.0 s; 4.0 MB less than a full copy"
    assert ran.report_lines == [["one: changed: loaded", expected]]
