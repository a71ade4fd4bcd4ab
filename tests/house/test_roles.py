# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""House rules for the calls of modules in roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TASK_FILES = sorted([*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml")])
BLOCKS = ("block", "rescue", "always")
# These take a string, which is no mapping of options.
FREE_FORM = ("command", "shell", "raw", "script", "meta", "include_tasks", "import_tasks", "include_vars")


def tasks(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield entry
        for name in BLOCKS:
            yield from tasks(entry.get(name) or [])


def templated(entries: list[dict[str, Any]]) -> list[str]:
    """Return tasks whose options come from a template as a whole, so that a value could add options by itself."""
    found = []
    for task in tasks(entries):
        for key, value in task.items():
            calls = key == "args" or ("." in key and key.rpartition(".")[2] not in FREE_FORM)
            if calls and isinstance(value, str) and "{{" in value:
                found.append(task.get("name", key))
    return found


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(ROOT / "roles")))
def test_options_are_named_individually(path: Path) -> None:
    assert templated(yaml.safe_load(path.read_text()) or []) == []


def test_options_from_a_template_are_found() -> None:
    text = """
    - name: in a block
      block:
        - name: whole
          daytwo.aws.eks_node_drain: "{{ everything }}"
      rescue:
        - name: by args
          ansible.builtin.ping:
          args: "{{ everything }}"
    - name: fine
      daytwo.aws.eks_node_drain:
        nodes: "{{ nodes }}"
    - name: free
      ansible.builtin.raw: "{{ script }}"
    """
    assert templated(yaml.safe_load(text)) == ["whole", "by args"]


def option_names(module: str) -> set[str]:
    text = (ROOT / f"plugins/modules/{module}.py").read_text()
    return set(yaml.safe_load(text.partition('DOCUMENTATION = r"""')[2].partition('"""')[0])["options"])


def test_sysctl_nodegroup_hands_every_option_on() -> None:
    """The role passes on each option of a group. It waits itself, and has its own access to the cluster."""
    module = "eks_sysctl_nodegroup"
    not_passed_on = {"state", "generations", "kubeconfig", "context", "wait"}
    entries = yaml.safe_load((ROOT / "roles/sysctl_nodegroup/tasks/run.yml").read_text())
    calls = [task[f"daytwo.aws.{module}"] for task in tasks(entries) if f"daytwo.aws.{module}" in task]
    making = [call for call in calls if "state" not in call]
    assert making
    for call in making:
        assert set(call) == option_names(module) - not_passed_on
    spec = yaml.safe_load((ROOT / "roles/sysctl_nodegroup/meta/argument_specs.yml").read_text())
    variables = spec["argument_specs"]["main"]["options"]
    named_once = [
        task for task in ROOT.glob("roles/sysctl_nodegroup/tasks/*.yml") if "instance_types" in task.read_text()
    ]
    assert [path.name for path in named_once] == ["run.yml"]
    own = {name for name in making[0] if f"sysctl_nodegroup_{name}" in variables}
    assert set(variables["sysctl_nodegroup_options"]["options"]) == set(making[0]) - own
