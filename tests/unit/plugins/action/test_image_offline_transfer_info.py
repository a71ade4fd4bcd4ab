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
from ansible.template import Templar, trust_as_template
from ansible_collections.daytwo.aws.plugins.action.image_offline_transfer_info import ActionModule
from ansible_collections.daytwo.aws.plugins.modules.image_offline_transfer import CONTROLLER_OPTIONS
from ansible_collections.daytwo.aws.plugins.plugin_utils._image.flow import SLICE_SECONDS


def run(
    strategy: Optional[str],
    depth: int = 1,
    variables: Optional[dict[str, Any]] = None,
    environment: Optional[dict[str, str]] = None,
    options: Optional[dict[str, Any]] = None,
    **arguments: Any,
) -> dict[str, Any]:
    """What the module is called with, by a task so deep in the blocks of a play; C(options): the connection's."""
    task, play = Task(), Play()
    task.args, task.action, task.async_val = arguments, "daytwo.aws.image_offline_transfer_info", 0
    task.environment = [environment] if environment else []
    if strategy:
        play.strategy = strategy
    inner: Any = task
    for _level in range(depth):
        block = Block(play=play)
        inner._parent, inner = block, block
    loader = DataLoader()
    plugin = ActionModule(
        task=task,
        connection=SimpleNamespace(
            _shell=SimpleNamespace(tmpdir=None, env_prefix=lambda **_variables: ""),
            has_pipelining=options is not None,
            set_option=lambda name, value: (options if options is not None else {}).update({name: value}),
        ),
        play_context=SimpleNamespace(),
        loader=loader,
        templar=Templar(loader=loader, variables={"my_port": 2222, "my_ip": "10.0.0.9"}),
        shared_loader_obj=None,
    )
    sent: dict[str, Any] = {}

    def execute(module_name: str, module_args: dict[str, Any], **_dummy: Any) -> dict[str, Any]:
        sent.update(module_args, module=module_name, environment=task.environment)
        return {"changed": False, "target": {"host": module_args["work"]["host"]}}

    plugin._execute_module = execute
    result = plugin.run(task_vars={"inventory_hostname": "private-a", **(variables or {})})
    assert result["changed"] is False
    return {**sent, "target": result["target"]}


def test_the_module_goes_by_a_pipe_where_the_connection_supports_it() -> None:
    options: dict[str, Any] = {}
    run("linear", options=options)
    assert options == {"pipelining": True}


@pytest.mark.parametrize(("name", "sent"), [(None, "private-a"), ("other", "other")])
def test_a_target_has_its_inventory_name_by_default(name: Optional[str], sent: str) -> None:
    assert run(None, **({"name": name} if name else {}))["target"]["host"] == sent


def test_the_transfer_s_own_module_is_run_so_that_ansible_packs_a_single_module_for_both() -> None:
    sent = run(None, docker_host="unix:///there", staging_dir="~/here", lockstep=False, address="10.0.0.9", port=2222)
    assert sent["module"] == "daytwo.aws.image_offline_transfer"
    # Not this machine's home, and nothing that is the controller's business.
    assert {name: sent[name] for name in set(sent) - {"module", "environment", "target"}} == {
        "state": "loaded",
        "bundle": {},
        "engine": "auto",
        "docker_host": "unix:///there",
        "containerd_address": "/run/containerd/containerd.sock",
        "containerd_namespace": "k8s.io",
        "containerd_pinned": True,
        "target_archive_path": None,
        "target_archive_part_size": None,
        "target_archive_platform": None,
        "staging_dir": "~/here",
        "work": {"phase": "gather_facts", "seconds": SLICE_SECONDS, "host": "private-a"},
    }
    assert set(sent) & set(CONTROLLER_OPTIONS) == set()


@pytest.mark.parametrize("strategy", ["linear", "ansible.builtin.linear", "debug", "ansible.builtin.debug", None])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_play_in_lockstep_is_accepted(strategy: Optional[str], depth: int) -> None:
    assert run(strategy, depth, lockstep=True)["target"]["host"] == "private-a"


@pytest.mark.parametrize("strategy", ["free", "ansible.builtin.free", "host_pinned", "other.linear"])
@pytest.mark.parametrize("depth", [1, 3])
def test_toolchain_under_strategy_free_there_is_no_lockstep(strategy: str, depth: int) -> None:
    """facts: toolchain: under strategy free, run_once runs once per host."""
    with pytest.raises(AnsibleActionFail, match=f"The play's strategy is '{strategy}'.*Use the strategy 'linear'"):
        run(strategy, depth, lockstep=True)
    assert run(strategy, depth)["target"]["host"] == "private-a"


@pytest.mark.parametrize(
    ("value", "refused"), [("no", False), ("false", False), ("yes", True), (False, False), (0, False)]
)
def test_lockstep_is_read_as_a_boolean(value: Any, refused: bool) -> None:
    if refused:
        with pytest.raises(AnsibleActionFail):
            run("free", lockstep=value)
    else:
        assert run("free", lockstep=value)["target"]["host"] == "private-a"


def test_no_aws_variable_of_the_play_s_environment_reaches_a_host() -> None:
    environment = {"AWS_SECRET_ACCESS_KEY": "planted", "AWS_PROFILE": "p", "https_proxy": "http://proxy:3128"}
    assert run(None, environment=environment)["environment"] == [{"https_proxy": "http://proxy:3128"}]


@pytest.mark.parametrize(
    ("variables", "address", "port"),
    [
        ({"ansible_host": "10.0.0.8"}, "10.0.0.8", 22),
        ({"ansible_host": "{{ my_ip }}", "ansible_port": "{{ my_port }}"}, "10.0.0.9", 2222),
        ({"ansible_port": "2200"}, "private-a", 2200),
    ],
)
def test_where_a_source_reaches_the_host(variables: dict[str, Any], address: str, port: int) -> None:
    trusted = {name: trust_as_template(value) for name, value in variables.items()}
    target = run(None, variables=trusted)["target"]
    assert (target["address"], target["port"]) == (address, port)


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match="port: 'ssh' is not a number"):
        run(None, port="ssh")


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AnsibleActionFail, match=r"Unsupported parameters.*dockerhost"):
        run(None, dockerhost="unix:///there")
