# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin: what of a task reaches a host, what stays here, and what a dropped connection costs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Optional

import pytest
import yaml
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar
from ansible_collections.daytwo.aws.plugins.action import image_offline_transfer as action
from ansible_collections.daytwo.aws.plugins.modules import image_offline_transfer as module
from ansible_collections.daytwo.aws.plugins.modules.image_offline_transfer import CONTROLLER_OPTIONS, HOST_OPTIONS
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import TAG, FakeEngine, facts, make
from ansible_collections.daytwo.aws.tests.unit.plugins.plugin_utils._image.cloud import FakeS3, Source, Target

V1 = make(b"base" * 50, b"top")
SAVED = {"state": "saved", "images": [{"name": TAG}], "bucket": "images"}
LOADED = {"state": "loaded", "bundle": V1.bundle.to_dict(), "bucket": "images"}
ABSENT = {"state": "absent", "bundle": V1.bundle.to_dict(), "bucket": "images"}
HAS = json.loads(json.dumps({"host": "private-a", **facts().to_dict()}))
HostCall = Callable[[Mapping[str, Any]], dict[str, Any]]


class Connection:
    """Of a host that Ansible reaches; remembers what was done to it."""

    def __init__(self, has_pipelining: bool = True) -> None:
        self.has_pipelining = has_pipelining
        self.options: dict[str, Any] = {}
        self.resets = 0
        self._shell = SimpleNamespace(tmpdir=None, env_prefix=lambda **variables: "")
        self.transport = "ssh"

    def set_option(self, name: str, value: Any) -> None:
        self.options[name] = value

    def reset(self) -> None:
        self.resets += 1


class Run:
    """One task. C(host) answers what is sent to it; C(sent) and C(environments) are what it got."""

    def __init__(self, arguments: Mapping[str, Any], host: HostCall, environment: Any = (), **keywords: Any) -> None:
        task = Task()
        task.args = dict(arguments)
        task.action = "daytwo.aws.image_offline_transfer"
        task.environment = list(environment)
        for name, value in keywords.items():
            setattr(task, name, value)
        loader = DataLoader()
        self.task, self.connection = task, Connection()
        self.sent: list[dict[str, Any]] = []
        self.environments: list[Any] = []
        self.lines: list[str] = []
        self.host = host
        self.plugin = action.ActionModule(
            task=task,
            connection=self.connection,
            play_context=SimpleNamespace(),
            loader=loader,
            templar=Templar(loader=loader),
            shared_loader_obj=None,
        )
        self.plugin._execute_module = self._execute
        self.plugin._display = SimpleNamespace(display=self.lines.append, warning=self.lines.append)

    def _execute(self, module_args: dict[str, Any], task_vars: Mapping[str, Any], **_dummy: Any) -> dict[str, Any]:
        self.sent.append(json.loads(json.dumps(module_args)))
        self.environments.append(json.loads(json.dumps(self.task.environment)))
        return {"changed": False, **self.host(module_args)}

    def __call__(self) -> dict[str, Any]:
        result: dict[str, Any] = self.plugin.run(task_vars={"inventory_hostname": "private-a"})
        return result


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    """The bucket; C(clients) holds the options of each client, and the AWS variables at that time."""
    made = FakeS3()
    made.clients = []  # type: ignore[attr-defined]

    def client(options: Mapping[str, Any], bucket: Any) -> FakeS3:
        variables = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        made.clients.append((dict(options), variables))  # type: ignore[attr-defined]
        return made

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(action, "make_s3_client", client)
    return made


@pytest.fixture
def target(s3: FakeS3, tmp_path: Path) -> Target:
    s3.holds(V1.content)
    return Target(s3, tmp_path / "root")


# -- what reaches a host

SECRETS = {
    "access_key": "AKIAPLANTED",
    "secret_key": "planted-secret",
    "session_token": "planted-token",
    "region": "planted-region",
    "endpoint_url": "https://planted.test",
    "aws_ca_bundle": "/planted/ca",
    "aws_config": {"user_agent_extra": "planted-agent"},
    "expected_bucket_owner": "987654321098",
    "sse": "aws:kms",
    "kms_key_id": "planted-key",
    "prefix": "images-prefix",
}
ENVIRONMENT = [{"AWS_ACCESS_KEY_ID": "AKIAVARIABLE", "https_proxy": "http://proxy:3128"}, {"AWS_PROFILE": "variable"}]


@pytest.mark.parametrize("state", ["saved", "saved from docker", "loaded"])
@pytest.mark.parametrize("aliases", [False, True])
def test_no_aws_option_and_no_aws_variable_reaches_a_host(
    s3: FakeS3, target: Target, state: str, aliases: bool
) -> None:
    """DESIGN: the action takes every controller-only option off before anything is sent."""
    base: Mapping[str, Any] = LOADED
    host: HostCall = target
    if state.startswith("saved"):
        base = {**SAVED, "targets": [HAS], "corrupt": [{"digest": V1.image.config.digest}]}
        if "docker" in state:
            base = {**base, "source": "docker"}
        s3.objects.clear()
        host = Source(s3, (make(b"x" * 9, packed=False),) if "docker" in state else (V1,), "docker" in state)
    given = {**base, **SECRETS}
    if aliases:
        renamed = {"access_key": "aws_access_key_id", "secret_key": "aws_secret_key", "region": "ec2_region"}
        given = {renamed.get(name, name): value for name, value in given.items()}
    if state == "loaded":
        s3.objects = {f"images-prefix/{key}": stored for key, stored in s3.objects.items()}
    run = Run(given, host, ENVIRONMENT)
    assert run().get("failed", False) is False
    assert len(run.sent) >= 2
    for arguments, environment in zip(run.sent, run.environments):
        assert set(arguments) <= set(HOST_OPTIONS)
        assert not set(arguments) & {
            *CONTROLLER_OPTIONS,
            *(a for o in CONTROLLER_OPTIONS.values() for a in _aliases(o)),
        }
        # A signed URL and the headers that it covers are meant for the host.
        shown = json.dumps({**arguments, "work": {**arguments["work"], "transfers": []}})
        for planted in ("AKIA", "planted", "987654321098", "images-prefix", "kms", "AWS_", "aws_"):
            assert planted not in shown
        assert environment == [{"https_proxy": "http://proxy:3128"}]
    # The search does find what is there.
    assert any("images-prefix" in json.dumps(arguments["work"]) for arguments in run.sent)


def _aliases(option: Mapping[str, Any]) -> list[str]:
    found: list[str] = option.get("aliases", [])
    return found


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ([], {"AWS_REGION": "controller"}),
        ([{"AWS_ACCESS_KEY_ID": "AKIATASK"}], {"AWS_REGION": "controller", "AWS_ACCESS_KEY_ID": "AKIATASK"}),
        ([{"AWS_REGION": "play"}, {"AWS_REGION": "task"}], {"AWS_REGION": "task"}),
        ([{"PATH_LIKE": "x"}], {"AWS_REGION": "controller"}),
    ],
    ids=["controller", "task", "task over play", "not for AWS"],
)
def test_credentials_come_from_options_then_the_task_s_then_the_controller_s_environment(
    s3: FakeS3, target: Target, monkeypatch: pytest.MonkeyPatch, environment: Any, expected: Mapping[str, str]
) -> None:
    monkeypatch.setenv("AWS_REGION", "controller")
    before = dict(os.environ)
    Run({**LOADED, "aws_access_key": "AKIAOPTION", "secret_key": "s"}, target, environment)()
    options, variables = s3.clients[0]  # type: ignore[attr-defined]
    assert (options["access_key"], options["secret_key"]) == ("AKIAOPTION", "s")
    assert variables == expected
    assert dict(os.environ) == before


def test_a_task_that_is_tried_again_has_its_environment_still(s3: FakeS3, target: Target) -> None:
    """until/retries run the same action with the same task."""
    run = Run(LOADED, target, [{"AWS_ACCESS_KEY_ID": "AKIATASK", "http_proxy": "p"}])
    for _attempt in range(3):
        run()
    assert [variables for options, variables in s3.clients] == [{"AWS_ACCESS_KEY_ID": "AKIATASK"}] * 3  # type: ignore[attr-defined]
    assert all(environment == [{"http_proxy": "p"}] for environment in run.environments)


@pytest.mark.parametrize("name", ["staging_dir", "ca_path"])
def test_paths_on_the_host_are_not_expanded_by_the_controller(
    s3: FakeS3, target: Target, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", "/home/controller")
    run = Run({**LOADED, name: "~/$USER/x"}, target)
    run()
    assert {arguments[name] for arguments in run.sent} == {"~/$USER/x"}


def test_a_target_does_not_get_the_registry_s_password(s3: FakeS3, target: Target) -> None:
    secrets = {
        "registry_username": "me",
        "registry_password": "planted",
        "registry_config_path": "/x",
        "plain_http": True,
    }
    run = Run({**LOADED, **secrets}, target)
    run()
    assert run.sent
    assert not [arguments for arguments in run.sent if set(arguments) & set(secrets)]


def test_a_signed_url_reaches_the_host_by_a_pipe(target: Target) -> None:
    """facts: S3: a presigned URL is a secret. Without pipelining it would stand in a file on the host."""
    run = Run(LOADED, target)
    run()
    assert run.connection.options == {"pipelining": True}


def test_a_connection_without_pipelining_is_left_as_it_is(target: Target) -> None:
    run = Run(LOADED, target)
    run.connection.has_pipelining = False
    run()
    assert run.connection.options == {}


# -- what is refused


@pytest.mark.parametrize(
    ("arguments", "expected_message"),
    [
        ({**LOADED, "work": {"phase": "inspect", "seconds": 1}}, "work: the action plugin sets this option."),
        ({**LOADED, "work": None}, "work: the action plugin sets this option."),
        ({**LOADED, "bucket": None}, "bucket: is required with transport=s3"),
        ({**LOADED, "bucket": "s3://images/apps"}, "bucket: 's3://images/apps' is not a bucket name"),
        ({**LOADED, "prefix": "apps/../other"}, "prefix: 'apps/../other' has a part '..'"),
        ({**LOADED, "part_size": 5 * 1024**2 - 1}, "part_size: 5242879 is below 5242880"),
        ({**LOADED, "kms_key_id": "k"}, "kms_key_id: requires sse=aws:kms"),
        ({**LOADED, "kms_key_id": "k", "sse": "AES256"}, "kms_key_id: requires sse=aws:kms"),
        ({**LOADED, "bundle": {"version": 9}}, "bundle: version 9 is not 1"),
        ({**SAVED, "targets": [{"host": "x"}]}, "targets[0]"),
        ({"state": "saved", "bucket": "images"}, "images"),
        ({"state": "loaded", "bucket": "images"}, "bundle"),
        ({**LOADED, "state": "copied"}, "copied"),
        ({**LOADED, "sse": "rot13"}, "rot13"),
        ({**LOADED, "no_such": 1}, "no_such"),
    ],
)
def test_bad_options_are_refused_before_any_host_is_called(
    s3: FakeS3, target: Target, arguments: Mapping[str, Any], expected_message: str
) -> None:
    run = Run(arguments, target)
    try:
        result = run()
    except AnsibleActionFail as error:  # what Ansible's own validation refuses
        message = str(error)
    else:
        assert result["failed"] is True, "a result, for failed_when counts only there"
        message = result["msg"]
    assert expected_message in message
    assert (run.sent, s3.calls) == ([], [])


def test_a_failure_of_the_module_is_the_task_s_result(s3: FakeS3) -> None:
    run = Run(LOADED, lambda call: {"failed": True, "msg": "docker does not run", "exception": "x"})
    result = run()
    assert (result["failed"], result["msg"], result["exception"]) == (True, "docker does not run", "x")
    assert s3.writes == []


def test_a_failure_in_the_middle_is_reported_after_cleaning(target: Target) -> None:
    def host(call: Mapping[str, Any]) -> dict[str, Any]:
        return {"failed": True, "msg": "no disk"} if call["work"]["phase"] == "load" else target(call)

    run = Run(LOADED, host)
    assert run()["msg"] == "no disk"
    assert run.sent[-1]["work"]["phase"] == "clean"


# -- check mode, platform, progress


@pytest.mark.parametrize("arguments", [SAVED, LOADED, ABSENT], ids=["saved", "loaded", "absent"])
def test_in_check_mode_a_host_is_only_inspected(s3: FakeS3, target: Target, arguments: Mapping[str, Any]) -> None:
    host: HostCall = target
    if arguments is SAVED:
        s3.objects.clear()
        host = Source(s3, (V1,))
    run = Run(arguments, host, check_mode=True)
    result = run()
    assert (result["changed"], s3.writes) == (True, [])
    assert [sent["work"]["phase"] for sent in run.sent] == ([] if arguments is ABSENT else ["inspect"])
    assert result["steps"]


def test_the_diff_is_shown_where_it_is_requested(target: Target) -> None:
    assert "diff" not in Run(LOADED, target, check_mode=True)()
    assert Run(LOADED, target, check_mode=True, diff=True)()["diff"][0]["after"]


@pytest.mark.parametrize(
    ("own", "platforms", "sent"),
    [
        (None, [], None),
        (None, ["linux/arm64"], "linux/arm64"),
        (None, ["linux/arm64", "linux/arm64"], "linux/arm64"),
        (None, ["linux/arm64", "linux/amd64"], None),
        ("linux/386", ["linux/arm64"], "linux/arm64"),
    ],
    ids=["no targets", "one", "two alike", "two different", "its own"],
)
def test_images_get_the_platform_that_all_targets_have_in_common(
    s3: FakeS3, own: Optional[str], platforms: list[str], sent: Optional[str]
) -> None:
    targets = [{**HAS, "host": f"h{number}", "platform": platform} for number, platform in enumerate(platforms)]
    image = {"name": TAG, **({"platform": own} if own else {})}
    run = Run({**SAVED, "images": [image], "targets": targets}, Source(s3, (V1,)), check_mode=True)
    run()
    assert run.sent[0]["work"]["platform"] == sent
    assert run.sent[0]["images"][0].get("platform") == own


@pytest.mark.parametrize(("host", "phases"), [("private-a", ["load"]), ("private-b", ["inspect", "load"])])
def test_a_target_with_facts_of_the_play_is_called_once(target: Target, host: str, phases: list[str]) -> None:
    run = Run({**LOADED, "targets": [{**HAS, "host": host}]}, target)
    assert run()["changed"]
    assert [sent["work"]["phase"] for sent in run.sent] == phases


@pytest.mark.parametrize("show", [True, False])
def test_progress_is_shown_with_the_host_s_name_unless_it_is_silenced(target: Target, show: bool) -> None:
    run = Run({**LOADED, "show_progress": show}, target)
    run()
    assert bool(run.lines) == show
    assert all(line.startswith("private-a: from s3://images/: ") for line in run.lines)


def test_progress_names_the_host_that_the_task_is_delegated_to(target: Target) -> None:
    run = Run(LOADED, target, delegate_to="bastion")
    run()
    assert run.lines[0].startswith("bastion: ")


# -- a connection that drops


def dropping(host: HostCall, times: int, phase: str) -> HostCall:
    left = [times]

    def answer(call: Mapping[str, Any]) -> dict[str, Any]:
        if call["work"]["phase"] == phase and left[0]:
            left[0] -= 1
            raise AnsibleConnectionFailure("Connection reset by peer")
        return host(call)

    return answer


@pytest.mark.parametrize("phase", ["inspect", "load", "clean"])
def test_a_connection_that_drops_is_made_anew(target: Target, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(action.time, "sleep", pauses.append)
    if phase == "clean":  # what a run that was killed has left
        target.engine.has(V1, TAG)
        target.leftover = True
    run = Run(LOADED, dropping(target, 2, phase))
    result = run()
    assert (result["changed"], result.get("failed", False)) == (phase != "clean", False)
    assert run.connection.resets == len(pauses) == 2
    assert pauses == sorted(pauses)
    again = [sent for sent in run.sent if sent["work"]["phase"] == phase]
    # The same attempt, so it runs once; "retry" tells the host that a response may have been lost.
    assert {**again[0]["work"], "retry": True} == again[1]["work"] == again[2]["work"]
    assert "again" not in again[0]["work"]
    assert len([line for line in run.lines if "Connection reset by peer" in line]) == 2


def test_a_host_that_stays_away_is_unreachable_in_the_end(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action.time, "sleep", lambda seconds: None)
    run = Run(LOADED, dropping(target, 1000, "load"))
    with pytest.raises(AnsibleConnectionFailure):
        run()
    assert len([sent for sent in run.sent if sent["work"]["phase"] == "load"]) <= 10


def test_a_broken_load_fails_the_task_with_what_is_true_of_changed(target: Target) -> None:
    target.engine = FakeEngine(spoil=lambda stored: None)
    result = Run(LOADED, target)()
    assert (result["failed"], result["changed"]) == (True, False)
    assert TAG in result["msg"]


def test_each_state_is_for_playbooks_or_documented_as_the_role_s_protocol() -> None:
    choices = yaml.safe_load(module.DOCUMENTATION)["options"]["state"]["choices"]
    assert list(choices) == [*module.PLAYBOOK_STATES, *module.PROTOCOL_STATES] == HOST_OPTIONS["state"]["choices"]
    described = {state: " ".join([text] if isinstance(text, str) else text) for state, text in choices.items()}
    protocol = [state for state, text in described.items() if text.startswith("Protocol of the role. ")]
    assert tuple(protocol) == module.PROTOCOL_STATES
