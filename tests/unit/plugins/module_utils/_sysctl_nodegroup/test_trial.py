# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a sysctl trial, from what a node prints."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import trial
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.trial import TrialError

CONFIG, DIRECTORY = "/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/kubelet/config.json.d"
UNSAFE = "net.core.somaxconn"


def parse_json(text: str) -> Any:
    return json.loads(text)


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def printed(files: Any = None, **more: Any) -> list[str]:
    given = {CONFIG: {"maxPods": 17}} if files is None else files
    texts = {path: content if isinstance(content, str) else json.dumps(content) for path, content in given.items()}
    state = {
        "family": "kubelet",
        "expires": "",
        "running": "42",
        "flag": "",
        "name": encode("node-1"),
        "config": encode(CONFIG),
        "config_dir": encode(DIRECTORY),
        "files": [{"path": encode(path), "content": encode(content)} for path, content in texts.items()],
        **{key: encode(value) if key != "running" else value for key, value in more.items()},
    }
    return ["a banner", f"daytwo:{json.dumps(state)}", "an echo"]


def bottlerocket(setting: Any) -> list[str]:
    return [f"daytwo:{json.dumps({'family': 'bottlerocket', 'setting': encode(setting)})}"]


def node(version: str = "v1.34.4", kernel: str = "6.1.115", **annotations: str) -> dict[str, Any]:
    info = {"kubeletVersion": version, "kernelVersion": kernel}
    return {"metadata": {"annotations": annotations}, "status": {"nodeInfo": info}}


def plan(lines: list[str], values: Any = None, entry: Any = None) -> dict[str, Any]:
    state = trial.parse_state(lines, parse_json)
    return trial.plan_trial(state, entry or node(), "node-1", values or {UNSAFE: 2048}, parse_json)


def test_a_drop_in_is_added_with_the_merged_list() -> None:
    found = plan(printed({CONFIG: {"maxPods": 17}, f"{DIRECTORY}/00.conf": {"allowedUnsafeSysctls": ["kernel.msg*"]}}))
    assert (found["before"], found["allowed"]) == (["kernel.msg*"], ["kernel.msg*", UNSAFE])
    assert found["file"] == f"{DIRECTORY}/99-daytwo-sysctl-trial.conf"
    assert json.loads(found["content"]) == {**trial.KUBELET_KIND, "allowedUnsafeSysctls": ["kernel.msg*", UNSAFE]}
    assert found["lines"][-1] == f"would allow kernel.msg*, {UNSAFE} by {found['file']} on node-1"
    assert (found["rejected"], found["blocking_reasons"], found["node_group_required"]) == ([], [], True)


def test_the_last_list_counts_and_the_drop_in_sorts_after_all_others() -> None:
    files = {
        CONFIG: {"allowedUnsafeSysctls": ["net.*"]},
        f"{DIRECTORY}/10-a.conf": {"allowedUnsafeSysctls": ["kernel.sem"]},
        f"{DIRECTORY}/zz.conf": {"maxPods": 3},
    }
    found = plan(printed(files, config_dir=f"{DIRECTORY}/"))
    assert found["before"] == ["kernel.sem"]
    assert found["file"] == f"{DIRECTORY}/zz~daytwo-sysctl-trial.conf"
    assert plan(printed({CONFIG: {}, f"{DIRECTORY}/10-a.conf": {"allowedUnsafeSysctls": None}}))["before"] == []


def test_without_drop_ins_the_configuration_itself_changes() -> None:
    found = plan(printed({CONFIG: {"maxPods": 17, "allowedUnsafeSysctls": []}}, config_dir=""))
    assert found["file"] == CONFIG
    assert json.loads(found["content"]) == {"maxPods": 17, "allowedUnsafeSysctls": [UNSAFE]}


def test_bottlerocket_has_a_setting() -> None:
    setting = {"settings": {"kubernetes": {"allowed-unsafe-sysctls": ["net.*"]}}}
    found = plan(bottlerocket(json.dumps(setting)), {"kernel.sem": "1"})
    assert (found["before"], found["allowed"], found["file"]) == (["net.*"], ["net.*", "kernel.sem"], "")
    assert found["lines"][-1] == "would allow net.*, kernel.sem by apiclient on node-1"
    for empty in ("", "{}", '{"settings": {}}'):
        assert plan(bottlerocket(empty))["before"] == []


@pytest.mark.parametrize(
    ("lines", "entry", "reason"),
    [
        (printed(running="0"), None, "the kubelet does not run"),
        (printed(flag="net.*"), None, "--allowed-unsafe-sysctls, which overrides every file: net.*"),
        (printed(config=""), None, "the kubelet has no configuration file"),
        (printed({}), None, f"the kubelet's configuration file {CONFIG} is not there"),
        (printed({CONFIG: "{ broken"}), None, f"{CONFIG} cannot be read as a kubelet's configuration"),
        (printed({CONFIG: "[]"}), None, "it is no mapping"),
        (
            printed(expires="2026-11-30 12:00:00 UTC\n"),
            None,
            "on this node until 2026-11-30 12:00:00 UTC: end",
        ),
        (printed(), node(**{trial.ANNOTATION: "[]"}), "in progress on this node or its annotation was left there"),
        (bottlerocket("{}"), node(**{trial.ANNOTATION: "[]"}), "end it with sysctl_trial_mode=revert"),
    ],
)
def test_a_node_without_room_for_a_trial_is_refused(lines: list[str], entry: Any, reason: str) -> None:
    found = plan(lines, entry=entry)
    assert reason in "; ".join(found["blocking_reasons"])
    assert found["content"] == ""


@pytest.mark.parametrize("name", ["vm.max_map_count", "net.core.*x", "kernel.sem_next_id", "net.core.rmem_max"])
def test_what_no_trial_can_allow_is_rejected(name: str) -> None:
    (reason,) = plan(printed(), {name: 1})["rejected"]
    assert reason.startswith(f"{name}: ")
    assert "a kubelet" in reason.lower()


@pytest.mark.parametrize(
    "lines",
    [[], ["sudo: a password is required"], ["daytwo:"], ["daytwo:{}"], ['daytwo:{"family": "kubelet"}'], ["daytwo:[]"]],
)
def test_output_that_is_no_state_is_quoted(lines: list[str]) -> None:
    with pytest.raises(TrialError, match="printed something else") as caught:
        trial.parse_state(lines, parse_json)
    assert " ".join(lines) in str(caught.value)


def test_a_node_without_a_version_is_named() -> None:
    with pytest.raises(TrialError, match="node node-1: '' is not a Kubernetes version"):
        plan(printed(), entry={"metadata": {}, "status": {}})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ({UNSAFE: 2048}, {UNSAFE: 2048}),
        (f"{UNSAFE}=2048", {UNSAFE: "2048"}),
        (f"{UNSAFE}=2048, kernel.sem=1", {UNSAFE: "2048", "kernel.sem": "1"}),
        (f'{{"{UNSAFE}": 2048}}', {UNSAFE: 2048}),
        ("net.x=a=b", {"net.x": "a=b"}),
        ("", {}),
        (None, {}),
        ({}, {}),
    ],
)
def test_sysctls_in_text(text: Any, values: dict[str, Any]) -> None:
    assert trial.parse_values(text) == values


@pytest.mark.parametrize("text", [UNSAFE, "=1", f"{UNSAFE}=", "{broken", "a=1 b"])
def test_text_that_is_no_sysctl_with_a_value_is_refused(text: str) -> None:
    with pytest.raises(TrialError):
        trial.parse_values(text)


def test_a_state_becomes_plain_data() -> None:
    state = trial.parse_state(printed(), parse_json).to_dict()
    assert (state["name"], state["before"], state["bottlerocket"]) == ("node-1", [], False)
    assert state["files"] == [{"path": CONFIG, "content": '{"maxPods": 17}'}]
