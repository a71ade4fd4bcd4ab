# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit, against roles in the bed's IAM and service accounts in a real cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from integration.targets.iam_irsa_info.kit import Fleet, of

MODULE = "daytwo.aws.iam_irsa_info"
EC2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
POLICY = Path(__file__).parents[4] / "docs/iam/iam_irsa_info.json"


def findings(result: dict[str, Any], fleet: Fleet) -> set[tuple[str, str, str]]:
    """Those of this test."""
    return {
        (one["kind"], one["namespace"].removeprefix(f"{fleet.mark}-"), one["service_account"])
        for one in result["findings"]
        if fleet.mark in f"{one['namespace']}{one['role']}"
    }


def test_who_may_assume_what_and_what_does_not_go_together(fleet: Fleet) -> None:
    shop, cloudon = fleet.namespace("shop"), fleet.namespace("cloudon")
    lbc = fleet.role("lbc", EC2, fleet.statement((shop, "lbc"), (shop, "gone")))
    wild = fleet.role("wild", fleet.statement((f"{fleet.mark}-*", "*"), operator="StringLike"))
    opened = fleet.role("open", fleet.statement(Sid="Open"))
    node = fleet.role("node", EC2)
    missing = lbc.replace("-lbc", "-lcb")
    fleet.service_account(shop, "lbc", lbc)
    fleet.service_account(cloudon, "lbc", lbc)
    fleet.service_account(shop, "typo", missing)
    fleet.service_account(shop, "nonsense", "lbc")
    fleet.service_account(shop, "wild", wild)
    eks = fleet.kubernetes.client("eks")
    association = eks.create_pod_identity_association(
        clusterName=fleet.kubernetes.name, namespace=shop, serviceAccount="lbc", roleArn=lbc
    )["association"]["associationId"]
    fleet.operations()
    told = fleet.task(MODULE, cluster=fleet.kubernetes.name, service_accounts=True)
    assert not told.failed, told.message
    calls = fleet.operations()
    # Two DescribeCluster: one for the provider, one for the token. ListRoles has 1,000 to a page.
    assert sorted(calls) == ["DescribeCluster", "DescribeCluster", "ListPodIdentityAssociations", "ListRoles"]
    grants = of(told, lbc)["grants"]
    assert [(one["namespace"], one["service_account"], one["statement"]) for one in grants] == [
        (shop, "lbc", "Statement[1]"),
        (shop, "gone", "Statement[1]"),
    ]
    assert of(told, wild)["wildcards"]
    assert of(told, wild)["grants"][0]["wildcard"]
    assert of(told, opened)["open_to_all"]
    assert of(told, opened)["grants"][0]["statement"] == "Statement[0] (Open)"
    assert "lets in every service account" in told.warnings
    assert node not in [one["arn"] for one in told.result["roles"]]
    assert findings(told.result, fleet) == {
        ("annotated_not_trusted", "cloudon", "lbc"),
        ("trusted_not_there", "shop", "gone"),
        ("role_missing", "shop", "typo"),
        ("role_missing", "shop", "nonsense"),
        ("association_overridden", "shop", "lbc"),
    }
    eks.delete_pod_identity_association(clusterName=fleet.kubernetes.name, associationId=association)
    # By name, with the cluster by a kubeconfig: a role that is not there fails at the end, and the others are told.
    told = fleet.task(
        MODULE,
        roles=[lbc, f"{fleet.mark}-node", "not-there"],
        oidc_provider_arn=fleet.provider,
        service_accounts=True,
        kubeconfig=str(fleet.kubernetes.kubeconfig),
    )
    assert told.failed
    assert "not-there: There is no such role." in told.message
    assert [one["status"] for one in told.result["roles"]] == ["ok", "ok", "failed"]
    assert of(told, node)["reason"] == "It lets in no service account."
    assert ("role_missing", "shop", "typo") in findings(told.result, fleet)
    assert ("association_overridden", "shop", "lbc") not in findings(told.result, fleet)
    assert "Pod identity associations: cluster is not named." in told.result["not_looked_at"]


def test_roles_below_a_path_and_of_every_cluster(fleet: Fleet) -> None:
    other = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-west-2.amazonaws.com/id/AB"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": other},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{other.partition('provider/')[2]}:sub": "system:serviceaccount:a:b"}},
    }
    fleet.iam.create_open_id_connect_provider(Url=f"https://{other.partition('provider/')[2]}", ClientIDList=["x"])
    both = fleet.role("both", fleet.statement(("shop", "web")), statement)
    fleet.role("node", EC2)
    told = fleet.task(MODULE, path_prefix=f"/{fleet.mark}/")
    fleet.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=other)
    assert [one["arn"] for one in told.result["roles"]] == [both]
    assert {one["provider"] for one in of(told, both)["grants"]} == {fleet.provider, other}
    assert "does not look at the audience" in told.warnings
    assert told.result["totals"]["roles_seen"] == 2


def test_options_that_cannot_be_followed_are_named(fleet: Fleet) -> None:
    for options, words in (
        ({"roles": []}, "roles is empty"),
        ({"path_prefix": "platform"}, "begin and end with a slash"),
        ({"cluster": ""}, "cluster's name is empty"),  # not every cluster
        ({"oidc_provider_arn": ""}, "no ARN of an OIDC provider"),
        ({"cluster": "x", "audience": ""}, "audience is empty"),
        ({"roles": ["a"], "service_accounts": True}, "service_accounts needs a cluster"),
        ({"cluster": "nope"}, "DescribeCluster of nope: ResourceNotFoundException"),
        ({}, "one of the following is required"),
    ):
        told = fleet.task(MODULE, **options)
        assert told.failed
        assert words in told.message


def test_whoever_may_not_look_into_the_cluster_is_told(fleet: Fleet) -> None:
    """The credentials of a role without an access entry."""
    arn = fleet.kubernetes.role("irsa-stranger", "ec2")
    keys = fleet.kubernetes.client("sts").assume_role(RoleArn=arn, RoleSessionName="her")["Credentials"]
    env = {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }
    told = fleet.task(MODULE, env, cluster=fleet.kubernetes.name, service_accounts=True)
    assert told.failed
    assert "The cluster's service accounts could not be listed: 401 Unauthorized" in told.message
    assert "access entry" in told.message


def test_the_policy_names_what_is_called_and_nothing_more(fleet: Fleet) -> None:
    statements = json.loads(POLICY.read_text())["Statement"]
    allowed = {
        one["Sid"]: {one["Action"]} if isinstance(one["Action"], str) else set(one["Action"]) for one in statements
    }

    def called(**options: Any) -> set[str]:
        fleet.operations()
        fleet.task(MODULE, **options)
        found = {call.action for call in fleet.bed.recorder.calls(client="controller")}
        assert fleet.operations(mutating=True) == []
        return found

    fleet.role("r", EC2)
    cluster, name = fleet.kubernetes.name, f"{fleet.mark}-r"
    assert called(cluster=cluster) == allowed["OnlyForCluster"] | allowed["OnlyWithoutRoles"]
    joined = allowed["OnlyForCluster"] | allowed["OnlyForServiceAccounts"]
    assert called(cluster=cluster, service_accounts=True) == joined | allowed["OnlyWithoutRoles"]
    assert called(roles=[name]) == allowed["OnlyForRoles"]
    many = called(roles=[name, *(f"none-{number}" for number in range(12))])
    assert many == allowed["OnlyForMoreThanTenRoles"] | allowed["OnlyWithoutRoles"]
    assert len(allowed) == 5
