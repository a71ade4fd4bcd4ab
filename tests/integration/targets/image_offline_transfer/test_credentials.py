# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose credentials count: the task's options, then its environment, then the controller's. None of them leaves it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.modules.image_offline_transfer import CONTROLLER_OPTIONS, HOST_OPTIONS
from integration.targets.image_offline_transfer.kit import BUCKET, MODULE, PLAIN, Case, Ran
from testbed import Bed

SMALL = f"{PLAIN}/it-small:v1"
WRONG = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "it-wrong"}
WRONG_OPTIONS = {"access_key": WRONG["AWS_ACCESS_KEY_ID"], "secret_key": WRONG["AWS_SECRET_ACCESS_KEY"]}
REFUSED = "No user exists with the provided access key"


def right(bed: Bed) -> dict[str, str]:
    return {name: bed.env[name] for name in WRONG}


def right_options(bed: Bed) -> dict[str, str]:
    return {"access_key": bed.env["AWS_ACCESS_KEY_ID"], "secret_key": bed.env["AWS_SECRET_ACCESS_KEY"]}


def task(name: str, case: Case, options: dict[str, str] | None = None, **keywords: Any) -> dict[str, Any]:
    arguments = {"state": "saved", "images": [{"name": SMALL}], "plain_http": True}
    arguments |= {"bucket": BUCKET, "prefix": case.prefix, **(options or {})}
    return {"name": name, MODULE: arguments, "ignore_errors": True, **keywords}


def run(case: Case, *tasks: dict[str, Any], env: dict[str, str | None]) -> Ran:
    return case.ansible.run([{"hosts": "public", "gather_facts": False, "tasks": tasks}], None, "--check", env=env)


def worked(ran: Ran) -> dict[str, bool]:
    """By task; what did not work was refused for its key and for nothing else."""
    for entry in ran.tasks:
        assert entry.status == "ok" or REFUSED in entry.message, entry.message
    return {entry.task: entry.status == "ok" for entry in ran.tasks}


@pytest.mark.full
def test_the_controllers_environment_is_right(case: Case) -> None:
    ran = run(
        case,
        task("controller", case),
        task("task", case, environment=WRONG),
        task("option", case, WRONG_OPTIONS),
        task("option over task", case, right_options(case.bed), environment=WRONG),
        env={},
    )
    assert worked(ran) == {"controller": True, "task": False, "option": False, "option over task": True}


def test_the_controllers_environment_is_wrong(case: Case) -> None:
    ran = run(
        case,
        task("controller", case),
        task("task", case, environment=right(case.bed)),
        task("option", case, right_options(case.bed)),
        task("option over task", case, WRONG_OPTIONS, environment=right(case.bed)),
        task("defaults of our group", case, module_defaults={"group/daytwo.aws.aws": right_options(case.bed)}),
        task("after them", case),
        env=dict(WRONG),
    )
    assert worked(ran) == {
        "controller": False,
        "task": True,
        "option": True,
        "option over task": False,
        "defaults of our group": True,
        "after them": False,
    }


def test_no_credentials_at_all(case: Case) -> None:
    ran = run(
        case,
        task("none", case),
        task("half of them", case, {"access_key": "AKIAIOSFODNN7EXAMPLE"}),
        task("a token alone", case, {"session_token": "it-token"}),
        env={"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
    )
    none, half, token = ran.tasks
    for entry in ran.tasks:
        assert entry.status == "failed"
    assert "set access_key and secret_key" in none.message
    assert "Set both access_key and secret_key" in half.message
    assert "Set both access_key and secret_key" in token.message


@pytest.fixture
def wire(bed: Bed) -> Iterator[Path]:
    """Interpreters on two hosts that keep what they are given: arguments, environment, standard input."""
    folder = "it-wire"
    kept = Path(bed.host("public").folder) / "tmp" / folder
    for name in ("public", "private-a"):
        host = bed.host(name)
        own = Path(host.folder) / "tmp" / folder
        own.mkdir(mode=0o700)
        script = own / "python"
        script.write_text(
            "#!/bin/sh\n"
            f"here=$(mktemp -d -p /tmp/{folder})\n"
            'env > $here/env; printf "%s\\n" "$@" > $here/argv; cat > $here/stdin\n'
            f'exec {host.python} "$@" < $here/stdin\n'
        )
        script.chmod(0o700)
    yield kept.relative_to(bed.host("public").folder)
    for name in ("public", "private-a"):
        host = bed.host(name)
        shutil.rmtree(Path(host.folder) / "tmp" / folder)


def test_no_aws_option_and_no_aws_variable_reaches_a_host(case: Case, wire: Path) -> None:
    bed = case.bed
    everything = {
        **right_options(bed),
        "region": bed.env["AWS_REGION"],
        "endpoint_url": bed.env["AWS_ENDPOINT_URL_S3"],
        "aws_ca_bundle": str(bed.ca),
        "validate_certs": True,
        "aws_config": {"retries": {"max_attempts": 2}},
        "expected_bucket_owner": bed.s3.account,
        "part_size": 5 * 1024 * 1024,
    }
    saved = {"state": "saved", "images": [{"name": SMALL}], "plain_http": True, "targets": []}
    loaded = {"state": "loaded", "bundle": "{{ saved.bundle }}"}
    common = {"bucket": BUCKET, "prefix": case.prefix, **everything}
    environment = {"AWS_DEFAULT_OUTPUT": "it-aws", "AWS_RETRY_MODE": "standard", "IT_PROXY": "goes through"}
    tasks = [
        {"name": "save", MODULE: {**common, **saved}, "delegate_to": "public", "register": "saved"},
        {"name": "load", MODULE: {**common, **loaded}},
    ]
    play = {"hosts": "private-a", "gather_facts": False, "tasks": tasks, "environment": environment}
    interpreter = {"ansible_python_interpreter": f"/{wire}/python"}
    case.ansible.run([play], hosts={"public": interpreter, "private-a": interpreter}).succeed()
    case.proves("private-a", SMALL, case.image("it-small:v1"))

    sent = [call for name in ("public", "private-a") for call in (Path(bed.host(name).folder) / wire).glob("tmp.*")]
    seen: set[str] = set()
    for call in sent:
        payload = (call / "stdin").read_text()
        arguments = module_arguments(payload)
        seen |= set(arguments)
        environment = (call / "env").read_text()
        assert "IT_PROXY=goes through" in environment
        assert re.findall(r"^AWS_.*", environment, re.MULTILINE) == []
        for text in (payload, environment, (call / "argv").read_text()):
            assert bed.env["AWS_SECRET_ACCESS_KEY"] not in text
            assert "it-aws" not in text
    assert len(sent) >= 4, "inspect and send on the source, inspect and load on the target"
    assert seen & set(CONTROLLER_OPTIONS) == set()
    assert seen >= {"state", "images", "bundle", "work"}
    assert seen <= set(HOST_OPTIONS)


def module_arguments(payload: str) -> dict[str, Any]:
    """The arguments in what Ansible pipes to an interpreter."""
    found = re.search(r'\{\\?"ANSIBLE_MODULE_ARGS\\?":.*\}', payload)
    assert found, payload[-3000:]
    arguments = json.loads(found.group(0))["ANSIBLE_MODULE_ARGS"]
    return {name: value for name, value in arguments.items() if not name.startswith("_ansible_")}
