# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action group: its defaults, such as a profile, reach every AWS module that a role or a playbook calls."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COLLECTIONS = ("amazon.aws.", "community.aws.", "daytwo.aws.")
CALLERS = sorted([*(ROOT / "roles").rglob("tasks/*.yml"), *(ROOT / "playbooks").glob("*.yml")])


def own_modules_without_aws() -> set[str]:
    """The modules of this collection that take no AWS connection options, so that no default reaches them."""
    return {
        f"daytwo.aws.{path.stem}"
        for path in (ROOT / "plugins/modules").glob("*.py")
        if "aws.common.modules" not in path.read_text() and "controller_aws" not in path.read_text()
    }


def called_modules(node: Any) -> Iterator[str]:
    """The modules of AWS collections that tasks call, by their full name."""
    if isinstance(node, list):
        for entry in node:
            yield from called_modules(entry)
    elif isinstance(node, dict):
        yield from (key for key in node if isinstance(key, str) and key.startswith(COLLECTIONS))
        for value in node.values():
            yield from called_modules(value)


def group_members(group: str) -> set[str]:
    """The modules of an action group and of the groups that it extends."""
    collection, name = group.rsplit(".", 1)
    package = importlib.import_module(f"ansible_collections.{collection}")
    runtime = yaml.safe_load((Path(next(iter(package.__path__))) / "meta/runtime.yml").read_text())
    found: set[str] = set()
    for entry in runtime["action_groups"][name]:
        if isinstance(entry, str):
            found.add(f"{collection}.{entry}")
        else:
            for extended in entry["metadata"]["extend_group"]:
                found |= group_members(extended)
    return found


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_defaults_of_the_group_reach_every_module_that_is_called(path: Path) -> None:
    called = set(called_modules(yaml.safe_load(path.read_text())))
    assert called - own_modules_without_aws() - group_members("daytwo.aws.aws") == set()


def test_the_queues_of_the_guard_are_reached() -> None:
    assert "community.aws.sqs_queue" in group_members("daytwo.aws.aws")
