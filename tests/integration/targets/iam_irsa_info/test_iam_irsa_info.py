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
    """The findings of this test."""
    return {
        (finding["kind"], finding["namespace"].removeprefix(f"{fleet.mark}-"), finding["service_account"])
        for finding in result["findings"]
        if fleet.mark in f"{finding['namespace']}{finding['role']}"
    }


def test_who_may_assume_what_and_the_mismatches(fleet: Fleet) -> None:
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
    outcome = fleet.task(MODULE, cluster=fleet.kubernetes.name, service_accounts=True)
    assert not outcome.failed, outcome.message
    calls = fleet.operations()
    # Two DescribeCluster: one for the provider, one for the token. ListRoles has 1,000 to a page.
    assert sorted(calls) == ["DescribeCluster", "DescribeCluster", "ListPodIdentityAssociations", "ListRoles"]
    grants = of(outcome, lbc)["grants"]
    assert [(grant["namespace"], grant["service_account"], grant["statement"]) for grant in grants] == [
        (shop, "lbc", "Statement[1]"),
        (shop, "gone", "Statement[1]"),
    ]
    assert of(outcome, wild)["wildcards"]
    assert of(outcome, wild)["grants"][0]["wildcard"]
    assert of(outcome, opened)["open_to_all"]
    assert of(outcome, opened)["grants"][0]["statement"] == "Statement[0] (Open)"
    assert "trusts every service account" in outcome.warnings
    assert node not in [role["arn"] for role in outcome.result["roles"]]
    assert findings(outcome.result, fleet) == {
        ("annotated_not_trusted", "cloudon", "lbc"),
        ("trusted_not_found", "shop", "gone"),
        ("role_missing", "shop", "typo"),
        ("role_missing", "shop", "nonsense"),
        ("annotation_overridden", "shop", "lbc"),
    }
    eks.delete_pod_identity_association(clusterName=fleet.kubernetes.name, associationId=association)
    # By name, with the cluster by a kubeconfig: a missing role fails at the end, and the others are reported.
    outcome = fleet.task(
        MODULE,
        roles=[lbc, f"{fleet.mark}-node", "not-there"],
        oidc_provider_arn=fleet.provider,
        service_accounts=True,
        kubeconfig=str(fleet.kubernetes.kubeconfig),
    )
    assert outcome.failed
    assert "not-there: The role does not exist." in outcome.message
    assert [role["status"] for role in outcome.result["roles"]] == ["ok", "ok", "failed"]
    assert of(outcome, node)["reason"] == "It trusts no service account."
    assert ("role_missing", "shop", "typo") in findings(outcome.result, fleet)
    assert ("annotation_overridden", "shop", "lbc") not in findings(outcome.result, fleet)
    assert "Pod Identity associations: the option cluster is not set." in outcome.result["not_checked"]


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
    outcome = fleet.task(MODULE, path_prefix=f"/{fleet.mark}/")
    fleet.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=other)
    assert [role["arn"] for role in outcome.result["roles"]] == [both]
    assert {grant["provider"] for grant in of(outcome, both)["grants"]} == {fleet.provider, other}
    assert "does not check the audience" in outcome.warnings
    assert outcome.result["totals"]["roles_checked"] == 2


def test_options_that_are_rejected_are_named(fleet: Fleet) -> None:
    for options, text in (
        ({"roles": []}, "roles is empty"),
        ({"path_prefix": "platform"}, "Begin and end it with a slash"),
        ({"cluster": ""}, "name of the cluster is empty"),  # not every cluster
        ({"oidc_provider_arn": ""}, "not the ARN of an OIDC provider"),
        ({"cluster": "x", "audience": ""}, "audience is empty"),
        ({"roles": ["a"], "service_accounts": True}, "service_accounts needs a cluster"),
        ({"cluster": "nope"}, "DescribeCluster of nope: ResourceNotFoundException"),
        ({}, "one of the following is required"),
    ):
        outcome = fleet.task(MODULE, **options)
        assert outcome.failed
        assert text in outcome.message


def test_missing_access_to_the_cluster_is_reported(fleet: Fleet) -> None:
    """The credentials of a role without an access entry."""
    arn = fleet.kubernetes.role("irsa-stranger", "ec2")
    keys = fleet.kubernetes.client("sts").assume_role(RoleArn=arn, RoleSessionName="her")["Credentials"]
    env = {
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        "AWS_SESSION_TOKEN": keys["SessionToken"],
    }
    outcome = fleet.task(MODULE, env, cluster=fleet.kubernetes.name, service_accounts=True)
    assert outcome.failed
    assert "The service accounts of the cluster could not be listed: 401 Unauthorized" in outcome.message
    assert "access entry" in outcome.message


def test_the_policy_names_what_is_called_and_nothing_more(fleet: Fleet) -> None:
    statements = json.loads(POLICY.read_text())["Statement"]
    allowed = {
        statement["Sid"]: {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
        for statement in statements
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
