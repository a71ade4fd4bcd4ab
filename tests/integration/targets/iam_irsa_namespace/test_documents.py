# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented policy and number of calls, compared with the calls that the gate recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from integration.targets.iam_irsa_namespace.kit import STS, Account, binding, document

ROOT = Path(__file__).parents[4]
A, B = "a/one", "b/two"
# No call is named TagRole: IAM requires the permission to create a role with tags (IAM User Guide, Tag IAM roles).
NOT_RECORDED = {"iam:TagRole"}


def policy() -> dict[str, set[str]]:
    """Actions by statement."""
    statements = json.loads((ROOT / "docs/iam/iam_irsa_namespace.json").read_text())["Statement"]
    return {
        statement["Sid"]: set([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        for statement in statements
    }


def test_the_policy_names_what_is_called_and_nothing_more(account: Account) -> None:
    def called(*bindings: object, **options: object) -> set[str]:
        account.aws.forget()
        outcome = account.tasks({"bindings": list(bindings), **options})[0]
        assert not outcome.failed, outcome.message
        return {call.action for call in account.aws.calls()}

    allowed = policy()
    blue, green = account.cluster_of("blue"), account.cluster_of("green", provider=False)
    for number in range(12):
        account.role(f"r{number}", document(blue.trust(A)))
    limit = account.aws.client("iam").create_policy(
        PolicyName="limit", PolicyDocument=json.dumps(document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
    )["Policy"]["Arn"]
    basic = allowed["ReadRoles"] | allowed["EditTrustPolicies"] | allowed["ReadClustersAndProviders"]
    basic |= {"iam:GetAccountSummary"}

    assert called(binding("r0", B)) == basic
    basic |= allowed["ReadQuotaAndListRoles"]
    assert called(*(binding(f"r{number}", B) for number in range(1, 12))) == basic
    made = called(binding("r0", B, cluster="green"), create_provider=True)
    account.aws.client("iam").create_open_id_connect_provider(
        Url=account.cluster_of("red", provider=False).issuer.url, ClientIDList=["vault"]
    )
    made |= called(binding("r0", B, cluster="red"), create_provider=True)
    assert made == (basic - {"iam:ListRoles"}) | allowed["OnlyForCreateProvider"]
    new = {"create_role": True, "tags": {"team": "a"}, "managed_policies": [limit], "permissions_boundary": limit}
    created = called(binding("new", B), **new) | called(binding("new", B), **new)
    assert created == (basic | allowed["OnlyForCreateRole"]) - NOT_RECORDED - {
        "iam:ListRoles",
        "iam:UpdateAssumeRolePolicy",
    }
    assert green.arn in json.dumps(account.trust_of("r0"))
    every = set().union(*allowed.values())
    assert every == basic.union(*(actions for name, actions in allowed.items() if name.startswith("OnlyFor")))


def test_check_mode_needs_no_write(account: Account) -> None:
    blue = account.cluster_of("blue", provider=False)
    account.aws.client("iam").create_open_id_connect_provider(Url=blue.issuer.url, ClientIDList=["vault"])
    account.cluster_of("green", provider=False)
    account.role("lbc", document(blue.trust(A)))
    account.aws.deny("iam:Update*", "iam:Create*", "iam:Add*", "iam:Attach*", "iam:Tag*", "iam:Put*")
    (outcome,) = account.tasks(
        {
            "bindings": [binding("lbc", B), binding("new", B, cluster="green")],
            "create_provider": True,
            "create_role": True,
            "purge": True,
            "_check": True,
        }
    )
    assert not outcome.failed, outcome.message
    assert account.writes() == []
    assert [item["status"] for item in outcome.result["bindings"]] == ["changed", "changed"]
    assert [item["status"] for item in outcome.result["oidc_providers"]] == ["changed", "changed"]
    assert STS in outcome.result["oidc_providers"][0]["reason"]


def test_a_refused_call_is_named_with_what_would_allow_it(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("lbc", document(blue.trust(A)))
    for action in ("iam:UpdateAssumeRolePolicy", "iam:GetRole", "iam:GetOpenIDConnectProvider", "eks:DescribeCluster"):
        account.aws.deny(action)
        outcome = account.task(binding("lbc", B))
        assert outcome.failed
        assert not outcome.changed
        assert f"Allow {action} to these credentials" in outcome.message
    assert account.trust_of("lbc") == document(blue.trust(A))


def test_the_calls_are_the_stated_ones(account: Account) -> None:
    blue = account.cluster_of("blue")
    for number in range(30):
        account.role(f"r{number:02}", document(blue.trust(A)))
    bindings = [binding(f"r{number:02}", B) for number in range(30)]
    account.aws.forget()
    account.tasks({"bindings": bindings, "_check": True})
    once = {"DescribeCluster": 1, "GetOpenIDConnectProvider": 1, "GetAccountSummary": 1}
    assert account.counted() == {**once, "ListRoles": 1}
    account.tasks({"bindings": bindings})
    assert account.counted() == {
        **once,
        "ListRoles": 2,  # all roles at once, before the writes, and in the recheck
        "GetRole": 60,  # of each role: just before the write, and after it
        "UpdateAssumeRolePolicy": 30,
    }
    account.tasks({"bindings": bindings})
    assert account.counted() == {**once, "ListRoles": 1}
    account.tasks({"bindings": bindings[:2]})
    # The quota is read for a policy that grows, and the number of roles for more than ten.
    assert account.counted() == {"DescribeCluster": 1, "GetOpenIDConnectProvider": 1, "GetRole": 2}


def test_the_examples_in_the_readme_and_the_guide_run(account: Account) -> None:
    blue = account.cluster_of("production")
    for number, page in enumerate(("README.md", "docs/irsa_namespace.md")):
        text = (ROOT / page).read_text()
        block = next(
            block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "iam_irsa_namespace" in block
        )
        (first,) = yaml.safe_load(block)
        options = first["tasks"][0] if "tasks" in first else first
        if number == 0:
            account.role("aws-load-balancer-controller", document(blue.trust(A)))
        (outcome,) = account.tasks(options["daytwo.aws.iam_irsa_namespace"])
        assert outcome.changed is (number == 0), outcome.message
    assert account.lets_in("aws-load-balancer-controller", blue, "cloudon/aws-load-balancer-controller")
