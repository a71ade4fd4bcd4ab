# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented policy against the recorded calls: nothing missing, nothing unused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from integration.targets.aurora_autostop.kit import OTHER, REGION, YES, Account
from testbed import paths

ROOT = Path(__file__).parents[4]


def policy() -> dict[str, set[str]]:
    """Actions by statement."""
    statements = json.loads((ROOT / "docs/iam/aurora_autostop.json").read_text())["Statement"]
    return {
        statement["Sid"]: set([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for statement in statements
    }


def test_the_policy_names_what_is_called_and_nothing_more(account: Account) -> None:
    def called(**options: object) -> set[str]:
        account.aws.forget()
        account.run_task(**options)
        return {call.action for call in account.aws.calls()}

    def restart() -> None:
        for name in ("orders", "sole", "moved"):
            account.edit(name, status="available")

    rds = account.aws.client("rds")
    rds.create_global_cluster(GlobalClusterIdentifier="alone", Engine="aurora-mysql")
    account.cluster("orders", YES)
    moved = account.cluster("moved", {"autostop": "no"}, members=["moved-1"])
    account.cluster("far", region=OTHER, members=["far-1"])
    account.instance("alone", YES)
    allowed = policy()
    basic = allowed["DescribeDatabases"] | allowed["StopTaggedDatabases"]

    assert called() == basic
    account.cluster("sole", YES, GlobalClusterIdentifier="alone")
    restart()
    assert called() == basic | allowed["DescribeGlobalDatabases"]
    basic |= allowed["DescribeGlobalDatabases"]
    restart()
    assert called(include_instances=True) == basic | allowed["OnlyForIncludeInstances"]
    restart()
    assert called(sweep_policy="auto_started_only") == (
        (basic | allowed["OnlyForSweepPolicyAutoStartedOnly"]) - allowed["StopTaggedDatabases"]
    )
    rds.remove_tags_from_resource(ResourceName=moved, TagKeys=["autostop"])
    account.tag(moved.replace("cluster:moved", "db:moved-1"), YES)
    assert called(migrate_tags=True) == basic | allowed["OnlyForMigrateTags"]
    restart()
    assert called(regions=["all"]) == basic | allowed["OnlyForRegionsAll"]
    every = set().union(*allowed.values())
    assert every == basic.union(*(actions for name, actions in allowed.items() if name.startswith("OnlyFor")))


def arn(kind: str, region: str = REGION) -> str:
    return f"arn:aws:rds:{region}:{paths.ACCOUNT}:{kind}:orders"


REQUESTS = [
    ("rds:StopDBCluster", arn("cluster"), {"aws:ResourceTag/autostop": ["yes"]}, True),
    ("rds:StopDBCluster", arn("cluster"), {"aws:ResourceTag/autostop": ["Yes"]}, False),
    ("rds:StopDBCluster", arn("cluster"), {}, False),
    ("rds:StopDBInstance", arn("db"), {"aws:ResourceTag/autostop": ["yes"]}, True),
    ("rds:StopDBInstance", arn("db"), {"aws:ResourceTag/autostop": ["no"]}, False),
    ("rds:AddTagsToResource", arn("cluster"), {"aws:TagKeys": ["autostop", "autostop-until"]}, True),
    ("rds:AddTagsToResource", arn("cluster"), {"aws:TagKeys": ["autostop", "team"]}, False),
    ("rds:AddTagsToResource", arn("snapshot"), {"aws:TagKeys": ["autostop"]}, False),
    ("rds:RemoveTagsFromResource", arn("db"), {"aws:TagKeys": ["autostop"]}, True),
    ("rds:RemoveTagsFromResource", arn("db"), {"aws:TagKeys": ["team"]}, False),
    ("rds:DescribeDBClusters", "*", {}, True),
    ("rds:DescribeEvents", "*", {}, True),
    ("rds:StartDBCluster", arn("cluster"), {"aws:ResourceTag/autostop": ["yes"]}, False),
    ("rds:DeleteDBCluster", arn("cluster"), {"aws:ResourceTag/autostop": ["yes"]}, False),
]


@pytest.mark.parametrize("document", ["aurora_autostop", "aurora_autostop_function"])
def test_the_policies_allow_stopping_what_bears_the_tag_and_nothing_else(account: Account, document: str) -> None:
    """Evaluated with resources and conditions, which the names of the actions do not show."""
    text = (ROOT / f"docs/iam/{document}.json").read_text()
    for name, value in {"REGION": REGION, "ACCOUNT": paths.ACCOUNT, "PREFIX": "daytwo-autostop"}.items():
        text = text.replace(name, value)
    iam = account.aws.client("iam")
    iam.create_user(UserName="runner")
    iam.put_user_policy(UserName="runner", PolicyName="documented", PolicyDocument=text)

    def allowed(action: str, resource: str, context: dict[str, list[str]]) -> bool:
        response = iam.simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{paths.ACCOUNT}:user/runner",
            ActionNames=[action],
            ResourceArns=[resource],
            ContextEntries=[
                {"ContextKeyName": key, "ContextKeyValues": values, "ContextKeyType": "stringList"}
                for key, values in context.items()
            ],
        )
        return bool(response["EvaluationResults"][0]["EvalDecision"] == "allowed")

    wrong = [request for request in REQUESTS if allowed(*request[:3]) is not request[3]]
    assert wrong == []
    elsewhere = allowed("rds:StopDBCluster", arn("cluster", OTHER), {"aws:ResourceTag/autostop": ["yes"]})
    assert elsewhere is (document == "aurora_autostop")  # a function has one region


def test_info_and_check_mode_need_no_write(account: Account) -> None:
    account.cluster("orders", YES)
    account.aws.deny("rds:Stop*", "rds:Add*", "rds:Remove*")
    info, check = account.run({"_info": True}, {"_check": True})
    assert info.statuses == check.statuses == {"orders": "changed"}
    assert not info.failed
    assert not check.failed


def test_the_playbook_in_the_readme_runs(account: Account) -> None:
    """In all regions of the account."""
    account.cluster("orders", YES)
    account.cluster("far", YES, region=OTHER)
    text = (ROOT / "README.md").read_text()
    block = next(
        code_block
        for code_block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        if "aurora_autostop" in code_block
    )
    assert len(block.splitlines()) <= 10
    result = account.run_task(**yaml.safe_load(block)[0]["tasks"][0]["daytwo.aws.aurora_autostop"])
    assert result.statuses == {"orders": "changed", "far": "changed"}
    calls = account.counted()
    assert calls["DescribeRegions"] == 1
    assert calls["DescribeDBClusters"] == len(result.result["regions"]) + 2
