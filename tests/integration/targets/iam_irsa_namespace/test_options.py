# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing, purging, wildcards, created roles and providers, other partitions: verified with STS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from integration.targets.iam_irsa_namespace.kit import SERVICE, STS, Account, binding, document, of

A, B = "a/one", "b/two"
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org"


def without(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {key: given for key, given in entry.items() if key != name}


def test_removing(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("named", document(blue.trust(A, B)))
    account.role("wild", document(blue.trust(B), blue.trust("b/*", operator="StringLike")))
    absent = [binding(role, B, state="absent") for role in ("named", "wild")]
    (outcome, again) = account.tasks({"bindings": absent}, {"bindings": absent})
    assert outcome.changed
    assert outcome.failed
    assert not account.lets_in("named", blue, B)
    assert account.lets_in("named", blue, A)
    wild = of(outcome, "wild")
    assert (wild["status"], wild["removed"]) == ("failed", ["system:serviceaccount:b:two"])
    assert [(statement["index"], statement["how"]) for statement in wild["still_allowed_by"]] == [(0, "wildcard")]
    assert account.lets_in("wild", blue, B)
    assert not again.changed
    assert of(again, "named")["status"] == "ok"
    assert of(again, "wild")["status"] == "failed"


def test_a_wildcard_that_covers_it_is_reported_and_explicit_subjects_names_it(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("wild", document(blue.trust("b/*", operator="StringLike")))
    account.role("open", document(blue.trust()))
    bindings = [binding(role, B) for role in ("wild", "open")]
    outcome, explicit, again = account.tasks(
        {"bindings": bindings},
        {"bindings": bindings, "explicit_subjects": True},
        {"bindings": bindings, "explicit_subjects": True},
    )
    assert not outcome.changed
    assert "a wildcard covers it: Statement[0]" in outcome.warnings
    assert "open to every service account" in outcome.warnings
    assert explicit.changed
    assert not again.changed
    for role in ("wild", "open"):
        assert account.trust_of(role)["Statement"][1] == blue.trust(B)


def test_wildcards_only_where_they_are_allowed(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("team", document(blue.trust(A)))
    pattern = without("namespace", binding("team", B, namespace_pattern="blue-*"))
    refused, outcome = account.tasks({"bindings": [pattern]}, {"bindings": [pattern], "allow_wildcards": True})
    assert "allow_wildcards=true" in refused.message
    assert outcome.changed
    assert account.trust_of("team") == document(blue.trust(A), blue.trust("blue-*/two", operator="StringLike"))
    assert account.lets_in("team", blue, "blue-1/two")
    assert not account.lets_in("team", blue, "blue-1/one")
    assert not account.lets_in("team", blue, "green/two")


def test_purge(account: Account) -> None:
    blue, green = account.cluster_of("blue"), account.cluster_of("green")
    others = [SERVICE, green.trust(A, B)]
    account.role("lbc", document(*others, blue.trust(A, B), blue.trust(), blue.trust("b/*", operator="StringLike")))
    task = {"bindings": [binding("lbc", B)], "purge": True}
    nothing = {"bindings": [binding("lbc", B, state="absent")], "purge": True}
    outcome, again, refused, emptied = account.tasks(task, task, nothing, {**nothing, "allow_empty": True})
    assert outcome.changed
    assert outcome.result["roles"][0]["purged"] == ["system:serviceaccount:a:one", "*", "system:serviceaccount:b:*"]
    assert not again.changed
    assert refused.failed
    assert "allow_empty=true" in refused.message
    assert emptied.changed
    assert account.trust_of("lbc") == document(*others)
    assert account.lets_in("lbc", green, A)
    assert not account.lets_in("lbc", blue, B)


def test_a_role_is_made_with_exactly_this_trust(account: Account) -> None:
    blue = account.cluster_of("blue")
    iam = account.aws.client("iam")
    text = json.dumps(document({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}))
    limit = iam.create_policy(PolicyName="limit", PolicyDocument=text)["Policy"]["Arn"]
    options = {
        "bindings": [binding("new", B)],
        "create_role": True,
        "path": "/eks/",
        "description": "Reads reports",
        "permissions_boundary": limit,
        "tags": {"team": "a"},
        "managed_policies": [limit],
    }
    without, checked, outcome, again = account.tasks(
        {"bindings": [binding("new", B)]}, {**options, "_check": True}, options, {**options, "description": "Another"}
    )
    assert "create_role=true" in without.message
    assert checked.changed
    assert outcome.changed
    assert not again.changed
    role = iam.get_role(RoleName="new")["Role"]
    assert role["Arn"] == "arn:aws:iam::123456789012:role/eks/new"
    assert role["AssumeRolePolicyDocument"] == document(blue.trust(B))
    assert (role["Description"], role["Tags"]) == ("Reads reports", [{"Key": "team", "Value": "a"}])
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == limit
    attached = iam.list_attached_role_policies(RoleName="new")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [limit]
    assert account.lets_in("new", blue, B)
    assert not account.lets_in("new", blue, A)


def test_a_policy_that_is_not_attached_is_attached_by_the_next_run(account: Account) -> None:
    account.cluster_of("blue")
    iam = account.aws.client("iam")
    allow_read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    read = iam.create_policy(PolicyName="read", PolicyDocument=json.dumps(document(allow_read)))["Policy"]["Arn"]
    options = {"bindings": [binding("new", B)], "create_role": True, "managed_policies": [read]}
    refused, checked = account.tasks(
        {**options, "managed_policies": ["AmazonS3ReadOnlyAccess"], "_check": True},
        {**options, "managed_policies": ["AmazonS3ReadOnlyAccess"]},
    )
    for outcome in (refused, checked):
        assert "managed_policies 'AmazonS3ReadOnlyAccess' is not the ARN of a managed policy" in outcome.message
    assert iam.list_roles()["Roles"] == []
    account.aws.deny("iam:AttachRolePolicy")
    failed = account.task(*options["bindings"], create_role=True, managed_policies=[read])
    assert failed.failed
    assert failed.changed
    assert "the next run with the same options attaches it" in failed.message
    account.aws.deny()
    checked, outcome, again = account.tasks({**options, "_check": True}, options, options)
    for result in (checked, outcome):
        assert result.changed
        assert result.result["roles"][0]["attached"] == [read]
    assert not again.changed
    attached = iam.list_attached_role_policies(RoleName="new")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [read]


def test_a_missing_provider_is_named_and_created_on_request(account: Account) -> None:
    blue, green = account.cluster_of("blue", provider=False), account.cluster_of("green", provider=False)
    iam = account.aws.client("iam")
    iam.create_open_id_connect_provider(Url=green.issuer.url, ClientIDList=["vault"])
    account.role("lbc", document(SERVICE))
    task = {"bindings": [binding("lbc", B), binding("lbc", B, cluster="green"), binding("lbc", B, cluster="gone")]}
    refused, outcome, again = account.tasks(task, {**task, "create_provider": True}, {**task, "create_provider": True})
    assert f"IAM has no OIDC provider {blue.arn}" in refused.message
    assert "does not have the audience sts.amazonaws.com (it has vault)" in refused.message
    assert "No cluster found for name: gone" in refused.message
    assert [item["status"] for item in outcome.result["bindings"]] == ["changed", "changed", "failed"]
    assert [item["status"] for item in again.result["bindings"]] == ["ok", "ok", "failed"]
    assert not again.changed
    assert account.lets_in("lbc", blue, B)
    assert account.lets_in("lbc", green, B)
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=green.arn)["ClientIDList"] == ["vault", STS]


def test_the_audience_is_a_choice(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.aws.client("iam").add_client_id_to_open_id_connect_provider(
        OpenIDConnectProviderArn=blue.arn, ClientID="vault"
    )
    account.role("lbc", document(blue.trust(A, aud="vault"), blue.trust(A)))
    outcome = account.task(binding("lbc", B), audience="vault")
    assert outcome.changed
    assert account.lets_in("lbc", blue, B, "vault")
    assert not account.lets_in("lbc", blue, B)


def test_deleted_principals_are_reported_and_never_dropped(account: Account) -> None:
    blue = account.cluster_of("blue")
    gone = account.role("gone", document(SERVICE))
    account.role("lbc", document({**SERVICE, "Principal": {"AWS": gone}}, blue.trust(A)))
    account.aws.client("iam").delete_role(RoleName="gone")
    before = account.trust_of("lbc")
    outcome, satisfied = account.tasks({"bindings": [binding("lbc", B)]}, {"bindings": [binding("lbc", A)]})
    assert outcome.failed
    assert "AROA" in outcome.message
    assert "Invalid principal in policy" in outcome.message
    assert account.trust_of("lbc") == before
    assert not satisfied.failed
    assert "AROA" in satisfied.warnings


def test_a_cluster_that_is_gone_by_its_provider(account: Account) -> None:
    blue = account.cluster_of("blue")
    account.role("lbc", document(SERVICE, blue.trust(A, B)))
    entry = without("cluster", binding("lbc", B, state="absent", oidc_provider_arn=blue.arn))
    account.aws.client("eks").delete_cluster(name="blue")
    assert account.task(entry).changed
    assert not account.lets_in("lbc", blue, B)


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [("cn-north-1", "aws-cn", ".amazonaws.com.cn"), ("us-gov-west-1", "aws-us-gov", ".amazonaws.com")],
)
def test_other_partitions(account: Account, region: str, partition: str, suffix: str) -> None:
    url = account.cluster_of("blue", region, provider=False).issuer.url
    assert url.startswith(f"https://oidc.eks.{region}{suffix}/id/")
    account.role("lbc", document({**SERVICE, "Sid": "One"}), region)
    outcome = account.task(binding("lbc", B), create_provider=True, region=region)
    assert outcome.changed, outcome.message
    provider = f"arn:{partition}:iam::123456789012:oidc-provider/{url.removeprefix('https://')}"
    assert of(outcome, "lbc")["oidc_provider_arn"] == provider
    added = account.trust_of("lbc", region)["Statement"][1]
    assert added["Principal"] == {"Federated": provider}
    assert list(added["Condition"]["StringEquals"]) == [
        f"{provider.partition('oidc-provider/')[2]}:{claim}" for claim in ("aud", "sub")
    ]


def test_options_that_are_rejected(account: Account) -> None:
    both, neither, contradiction, none = account.tasks(
        {"bindings": [binding("lbc", B, oidc_provider_arn=PROVIDER)]},
        {"bindings": [without("cluster", binding("lbc", B))]},
        {
            "bindings": [
                without("cluster", binding("lbc", B, state=state, oidc_provider_arn=PROVIDER))
                for state in ("present", "absent")
            ]
        },
        {"bindings": []},
    )
    assert "mutually exclusive" in both.message
    assert "one of the following is required" in neither.message
    assert "b/two is both present and absent for role lbc" in contradiction.message
    assert "bindings is empty" in none.message
