# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's package: built twice, and run with nothing but Python."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from integration.targets.aurora_autostop.kit import REGION, YES, Account, TaskResult

UTILS = Path(__file__).parents[4] / "plugins/module_utils"


def play(account: Account, *checks: bool, **changes: Any) -> list[TaskResult]:
    """Runs the module once per entry of C(checks). True means check mode."""
    code = [UTILS / name for name in ("_autostop", "_aws_call.py", "_clock.py", "_plan.py", "_result.py")]
    options = {
        "dest": str(account.folder / "guard.zip"),
        "sources": [{"src": str(path), "dest": f"daytwo_aws/{path.name}"} for path in code],
        "distributions": ["botocore>=1.39.0"],
        "exclude": ["botocore/data/*/*"],
        "include": ["botocore/data/rds/*"],
        **changes,
    }
    tasks = [
        {
            "name": "Package",
            "daytwo.aws.lambda_package": options,
            "check_mode": check,
            "diff": True,
            "ignore_errors": True,
        }
        for check in checks
    ]
    playbook = account.folder / "package.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    return account.play(str(playbook))


def test_check_run_check_run(account: Account) -> None:
    results = play(account, True, False, True, False)
    assert [result.changed for result in results] == [True, True, False, False]
    assert len({result.result["code_sha256"] for result in results}) == 1
    assert results[0].result["diff"]["before"] == {"sha256": None}
    assert "botocore" in results[0].result["distributions"]
    assert (account.folder / "guard.zip").stat().st_size == results[1].result["size"]


def test_a_failure_has_its_reason_and_writes_nothing(account: Account) -> None:
    (result,) = play(account, False, distributions=["botocore==1.0"])
    assert result.failed
    assert "botocore==1.0 is required" in result.message
    assert not (account.folder / "guard.zip").exists()


def test_a_missing_directory_is_reported_in_check_mode_as_well(account: Account) -> None:
    results = play(account, True, False, dest=str(account.folder / "nowhere/guard.zip"), distributions=[])
    assert [result.failed for result in results] == [True, True]
    assert all("nowhere does not exist" in result.message for result in results)


RUN = """
import importlib.util, json, sys
sys.path.insert(0, sys.argv[1])
for name in ("ansible", "ansible_collections", "boto3"):
    assert importlib.util.find_spec(name) is None, name
from daytwo_aws._autostop import handler
print(json.dumps({"answer": handler.handle(json.loads(sys.argv[2])), "botocore": handler.botocore.__file__}))
"""


def test_the_package_runs_without_ansible_and_amazon_aws(account: Account) -> None:
    play(account, False)
    unpacked = account.folder / "task"
    with zipfile.ZipFile(account.folder / "guard.zip") as package:
        package.extractall(unpacked)
    arn = account.cluster("orders", YES)
    account.cluster("other")
    body = {"source": "aws.rds", "time": "2026-11-24T12:00:00Z", "detail": {"SourceArn": arn}}
    ran = subprocess.run(
        # -I and -S: neither the environment nor site-packages add anything to what can be imported.
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            RUN,
            unpacked,
            json.dumps({"Records": [{"messageId": "m", "body": json.dumps(body)}]}),
        ],
        env={**account.aws.env, "AWS_REGION": REGION},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    *lines, last = [json.loads(line) for line in ran.stdout.splitlines()]
    assert last["answer"] == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    assert last["botocore"].startswith(str(unpacked))
    assert lines[0]["name"] == "orders"
    assert lines[0]["status"] == "changed"
    assert account.statuses() == {"orders": "stopping", "other": "available"}
