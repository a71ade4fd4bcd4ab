# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The info module's action: the host's name, and plays that do not stay in step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Optional

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.playbook.task import Task
from ansible.template import Templar
from ansible_collections.daytwo.aws.plugins.action.image_offline_transfer_info import ActionModule


def run(strategy: Optional[str], depth: int = 1, **arguments: Any) -> dict[str, Any]:
    """What the module is called with, by a task so deep in the blocks of a play."""
    task, play = Task(), Play()
    task.args, task.action, task.async_val = arguments, "daytwo.aws.image_offline_transfer_info", 0
    if strategy:
        play.strategy = strategy
    inner: Any = task
    for _level in range(depth):
        block = Block(play=play)
        inner._parent, inner = block, block
    loader = DataLoader()
    plugin = ActionModule(
        task=task,
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)),
        play_context=SimpleNamespace(),
        loader=loader,
        templar=Templar(loader=loader),
        shared_loader_obj=None,
    )
    sent: dict[str, Any] = {}

    def execute(module_args: dict[str, Any], **_dummy: Any) -> dict[str, Any]:
        sent.update(module_args)
        return {"changed": False}

    plugin._execute_module = execute
    assert plugin.run(task_vars={"inventory_hostname": "private-a"})["changed"] is False
    return sent


@pytest.mark.parametrize(("name", "sent"), [(None, "private-a"), ("other", "other")])
def test_a_target_is_called_by_its_inventory_name_unless_told_otherwise(name: Optional[str], sent: str) -> None:
    assert run(None, **({"name": name} if name else {}))["name"] == sent


@pytest.mark.parametrize("strategy", ["linear", "ansible.builtin.linear", None])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_option_lockstep_is_not_sent(strategy: Optional[str], depth: int) -> None:
    assert run(strategy, depth, lockstep=True) == {"name": "private-a"}


@pytest.mark.parametrize("strategy", ["free", "ansible.builtin.free", "host_pinned", "debug"])
@pytest.mark.parametrize("depth", [1, 3])
def test_toolchain_under_strategy_free_there_is_no_lockstep(strategy: str, depth: int) -> None:
    """facts: toolchain: under strategy free, run_once runs once per host."""
    with pytest.raises(AnsibleActionFail, match=f"The play's strategy is '{strategy}'.*use the strategy 'linear'"):
        run(strategy, depth, lockstep=True)
    assert run(strategy, depth) == {"name": "private-a"}


@pytest.mark.parametrize(
    ("value", "refused"), [("no", False), ("false", False), ("yes", True), (False, False), (0, False)]
)
def test_lockstep_is_read_as_a_boolean(value: Any, refused: bool) -> None:
    if refused:
        with pytest.raises(AnsibleActionFail):
            run("free", lockstep=value)
    else:
        assert run("free", lockstep=value) == {"name": "private-a"}
