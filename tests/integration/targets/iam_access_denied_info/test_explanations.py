# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages set against an account: which side, by what evidence, and what mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from integration.targets.iam_access_denied_info.kit import (
    DELETE,
    EC2,
    ONLY_TAGGED,
    SEEING,
    SERVICE_ACCOUNT,
    TAG,
    Account,
    document,
    refused,
    trust,
)
from testbed.aws.sts_decode import encode

NAMED = {"namespace": SERVICE_ACCOUNT[0], "service_account": SERVICE_ACCOUNT[1], "cluster": "blue"}
WEB_IDENTITY = (
    "WebIdentityErr: failed to retrieve credentials\ncaused by: AccessDenied: Not authorized to perform "
    "sts:AssumeRoleWithWebIdentity\n\tstatus code: 403, request id: 1"
)
POLICY = Path(__file__).parents[4] / "docs/iam/iam_access_denied_info.json"


def answers(told: Any, looked_at: str, seen: bool = True) -> list[str]:
    return [one["answer"] for one in told.result["evidence"] if looked_at in one["looked_at"] and one["seen"] == seen]


def test_the_classic_case_is_about_a_tag_and_not_about_a_namespace(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, ("kube-system", SERVICE_ACCOUNT[1]))], SEEING, ONLY_TAGGED)
    balancer = account.load_balancer("shop", {"owner": "old-controller"})
    told = account.explain(refused("lbc", DELETE, balancer), **NAMED)
    result = told.result
    assert not told.failed
    assert result["side"] == "permission"
    assert (result["action"], result["resource"], result["caller"]["role"]) == (DELETE, balancer, "lbc")
    # The tag, in words, by the statement that asks for it, and by IAM's own answers with and without it.
    assert f"on condition that it bears the tag {TAG}" in result["reason"]
    assert "owner=old-controller" in result["reason"]
    assert answers(told, "simulator, with the tags as they are")[0].startswith("implicitDeny")
    assert answers(told, f"with these tags added ({TAG}=blue)")[0].startswith("allowed")
    assert result["mend"]["tags"] == {TAG: "blue"}
    assert result["mend"]["binding"] is None
    # The namespace is not the mend for this message, and apart from it, it is not trusted either.
    assert "not the mend for this message" in result["not_the_mend"]
    assert "/".join(SERVICE_ACCOUNT) in result["not_the_mend"]
    assert result["trust"]["allowed"] is False
    assert "kube-system/aws-load-balancer-controller" in result["trust"]["reason"]
    assert account.writes() == []
    # And it is the mend: with it, IAM allows it.
    account.aws.client("elbv2").add_tags(ResourceArns=[balancer], Tags=[{"Key": TAG, "Value": "blue"}])
    after = account.explain(refused("lbc", DELETE, balancer), **NAMED)
    assert after.result["side"] == "permission"
    assert "As the policies stand now, they allow it" in after.result["reason"]


def test_a_policy_that_lacks_the_action_is_another_mend(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, SERVICE_ACCOUNT)], SEEING)
    balancer = account.load_balancer("shop", {})
    result = account.explain(refused("lbc", DELETE, balancer), **NAMED).result
    assert result["side"] == "permission"
    assert result["mend"]["tags"] is None
    statement = result["mend"]["statement"]
    assert statement == {"Effect": "Allow", "Action": DELETE, "Resource": balancer}
    assert result["trust"]["allowed"] is True
    assert result["trust"]["by"] == ["Statement[0]"]
    account.aws.client("iam").put_role_policy(RoleName="lbc", PolicyName="more", PolicyDocument=document(statement))
    result = account.explain(refused("lbc", DELETE, balancer), **NAMED).result
    assert "As the policies stand now, they allow it" in result["reason"]


def test_a_boundary_is_named(account: Account) -> None:
    boundary = account.aws.client("iam").create_policy(PolicyName="edge", PolicyDocument=document(SEEING))
    arn = boundary["Policy"]["Arn"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    account.role("lbc", [EC2], everything, PermissionsBoundary=arn)
    balancer = account.load_balancer("shop", {})
    result = account.explain(refused("lbc", DELETE, balancer)).result
    assert (result["side"], result["kind"]) == ("permission", "identity_policy")
    assert f"in the permissions boundary {arn}" in result["mend"]["what"]


def test_the_role_of_a_node_is_not_to_be_widened(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, ("kube-system", SERVICE_ACCOUNT[1]))], ONLY_TAGGED)
    account.role("workers", [EC2])
    told = account.explain(
        refused("workers", "elasticloadbalancing:DescribeLoadBalancers", "*", session="i-015251056f40ce440"),
        role="lbc",
        **NAMED,
    )
    result = told.result
    assert result["side"] == "permission"
    assert result["caller"]["node_role"] is True
    assert "Do not widen the node's role" in result["mend"]["what"]
    assert result["mend"]["binding"] == {
        "role": "lbc",
        "cluster": "blue",
        "namespace": SERVICE_ACCOUNT[0],
        "service_accounts": [SERVICE_ACCOUNT[1]],
        "state": "present",
    }
    assert result["trust"]["role"] == "lbc"


def test_a_refused_role_has_a_ready_binding_for_its_mend(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, ("kube-system", SERVICE_ACCOUNT[1]))], ONLY_TAGGED)
    result = account.explain(WEB_IDENTITY, role="lbc", **NAMED).result
    assert (result["side"], result["kind"]) == ("trust", "web_identity")
    assert "kube-system/aws-load-balancer-controller" in result["reason"]
    assert result["mend"]["binding"]["namespace"] == "cloudon"
    assert "Adding permissions to the role is not the mend" in result["not_the_mend"]
    assert result["trust"]["allowed"] is False


def test_a_cloudtrail_event_needs_no_other_word(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, ("kube-system", SERVICE_ACCOUNT[1]))], Path="/team/")
    event = {
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRoleWithWebIdentity",
        "errorCode": "AccessDenied",
        "errorMessage": "An unknown error occurred",
        "userIdentity": {
            "type": "WebIdentityUser",
            "userName": "system:serviceaccount:cloudon:aws-load-balancer-controller",
            "identityProvider": provider,
        },
        "requestParameters": {"roleArn": "arn:aws:iam::123456789012:role/team/lbc"},
    }
    result = account.explain(json.dumps(event)).result
    assert result["side"] == "trust"
    assert result["trust"]["allowed"] is False
    assert "kube-system/aws-load-balancer-controller" in result["reason"]
    assert result["mend"]["binding"] == {
        "role": "lbc",
        "oidc_provider_arn": provider,
        "namespace": SERVICE_ACCOUNT[0],
        "service_accounts": [SERVICE_ACCOUNT[1]],
        "state": "present",
    }


def test_a_role_that_is_not_there_is_told(account: Account) -> None:
    account.cluster_provider()
    result = account.explain(WEB_IDENTITY, role="lcb", **NAMED).result
    assert result["side"] == "trust"
    assert "There is no role lcb" in result["reason"]


def test_a_provider_that_is_not_there_is_told(account: Account) -> None:
    message = "InvalidIdentityToken: No OpenIDConnect provider found in your account for {}"
    told = account.explain(message.format("https://oidc.eks.eu-central-1.amazonaws.com/id/AB"))
    assert told.result["side"] == "identity"
    assert answers(told, "OIDC provider arn") == ["There is no such provider in IAM."]
    issuer = account.cluster_provider().partition("oidc-provider/")[2]
    told = account.explain(message.format(f"https://{issuer}"))
    assert told.result["side"] == "identity"
    assert "As IAM stands now, this account has the provider" in told.result["reason"]


def test_an_encoded_message_is_decoded(account: Account) -> None:
    caller = "arn:aws:sts::123456789012:assumed-role/lbc/1"
    group = "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-1"
    account.role("lbc", [EC2], SEEING)
    encoded = encode(caller, "ec2:AuthorizeSecurityGroupIngress", group, conditions={"ec2:Vpc": "vpc-1"})
    wrapped = "UnauthorizedOperation: You are not authorized to perform this operation. Encoded authorization failure "
    for message in (f"{wrapped}message: {encoded}\n\tstatus code: 403", encoded):
        result = account.explain(message).result
        assert (result["side"], result["action"]) == ("permission", "ec2:AuthorizeSecurityGroupIngress")
        assert result["caller"]["role"] == "lbc"
        assert result["mend"]["statement"]["Resource"] == group
    told = account.explain(f"{wrapped}message: {'a' * 40}")
    assert told.result["side"] == "permission"
    assert "InvalidAuthorizationMessageException" in answers(told, "encoded", seen=False)[0]


def test_what_may_not_be_looked_at_is_said_and_nothing_concluded(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, SERVICE_ACCOUNT)], ONLY_TAGGED)
    balancer = account.load_balancer("shop", {})
    account.aws.deny("iam:*", "tag:*", "eks:*", "sts:*")
    told = account.explain(refused("lbc", DELETE, balancer), **NAMED)
    assert not told.failed
    assert told.result["side"] == "permission"
    assert told.result["trust"] is None
    assert "was not looked at" in told.result["reason"]
    unseen = [one["looked_at"] for one in told.result["evidence"] if not one["seen"]]
    assert "the role lbc" in unseen
    assert f"the tags of {balancer}" in unseen
    assert "the OIDC provider" in unseen
    assert "Allow iam:GetRole to these credentials" in answers(told, "the role lbc", seen=False)[0]


def test_without_credentials_the_message_is_still_read(account: Account) -> None:
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "/nonexistent"}
    told = account.explain(refused("lbc", DELETE, "*"), _env=env)
    assert not told.failed
    assert told.result["side"] == "permission"
    assert answers(told, "the role lbc", seen=False)


def test_a_role_of_the_same_name_in_another_account_is_not_mistaken(account: Account) -> None:
    account.role("lbc", [EC2], SEEING)
    message = refused("lbc", DELETE, "*").replace("123456789012", "210987654321")
    told = account.explain(message)
    assert told.result["trust"] is None
    assert "210987654321" in answers(told, "the role lbc", seen=False)[0]


BAD = [
    ({"oidc_provider_arn": "arn:aws:iam::123456789012:role/x"}, "is no ARN of an OIDC provider"),
    ({"namespace": "shop"}, "parameters are required together"),
    ({"namespace": "shop", "service_account": ""}, "'' is no name of a service account"),
    # They would stand in the binding that is offered as the mend.
    ({"namespace": "*", "service_account": "lbc"}, "'*' is no name of a namespace"),
    ({"namespace": "shop", "service_account": "*"}, "'*' is no name of a service account"),
    ({"namespace": "Bad:NS", "service_account": "x"}, "'Bad:NS' is no name of a namespace"),
    ({"role": "no role"}, "role 'no role' is neither a role's name"),
    ({"audience": ""}, "audience is empty"),
]


def test_bad_options_are_refused(account: Account) -> None:
    bare = "An error occurred (AccessDenied) when calling the GetObject operation: Access Denied"
    *refused, told = account.explanations(
        *({"error_message": WEB_IDENTITY, **options} for options, _words in BAD), {"error_message": bare, "role": ""}
    )
    for one, (options, words) in zip(refused, BAD, strict=True):
        assert one.failed, options
        assert words in one.message
    assert (told.result["side"], told.result["kind"]) == ("unknown", "bare")


def test_a_role_of_another_account_is_not_said_to_be_missing(account: Account) -> None:
    """Nobody has looked there: the account at hand having none of that name says nothing."""
    provider = account.cluster_provider()
    arn = "arn:aws:iam::210987654321:role/lbc"
    event = {
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRoleWithWebIdentity",
        "errorCode": "AccessDenied",
        "userIdentity": {
            "type": "WebIdentityUser",
            "userName": "system:serviceaccount:cloudon:lbc",
            "identityProvider": provider,
        },
        "requestParameters": {"roleArn": arn},
    }
    for told in account.explanations(
        {"error_message": WEB_IDENTITY, "role": arn, **NAMED}, {"error_message": json.dumps(event)}
    ):
        assert told.result["side"] == "trust"
        assert "There is no role" not in told.result["reason"]
        assert "Create" not in told.result["mend"]["what"]
        assert "210987654321" in answers(told, "the role lbc", seen=False)[0]


def test_the_policy_names_what_is_called_and_nothing_more(account: Account) -> None:
    statements = json.loads(POLICY.read_text())["Statement"]
    allowed = {
        one["Sid"]: set(one["Action"] if isinstance(one["Action"], list) else [one["Action"]]) for one in statements
    }

    def called(message: str, **options: Any) -> set[str]:
        account.aws.forget()
        account.explain(message, **options)
        return {call.action for call in account.aws.calls()}

    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, SERVICE_ACCOUNT)], ONLY_TAGGED)
    managed = account.aws.client("iam").create_policy(PolicyName="see", PolicyDocument=document(SEEING))
    account.aws.client("iam").attach_role_policy(RoleName="lbc", PolicyArn=managed["Policy"]["Arn"])
    balancer = account.load_balancer("shop", {})
    role, permissions = allowed["SeeTheRole"], allowed["SeeItsPermissions"]
    assert called(refused("lbc", DELETE, balancer)) == role | permissions
    assert called(refused("lbc", DELETE, balancer), **NAMED) == role | permissions | allowed["OnlyForCluster"]
    assert called(WEB_IDENTITY, role="lbc", oidc_provider_arn=provider) == role | allowed["SeeItsProvider"]
    encoded = encode("arn:aws:sts::123456789012:assumed-role/lbc/1", DELETE, balancer)
    assert called(encoded) == role | permissions | allowed["OnlyForEncodedMessages"]
    issuer = provider.partition("oidc-provider/")[2]
    missing = f"InvalidIdentityToken: No OpenIDConnect provider found in your account for https://{issuer}"
    # GetCallerIdentity needs no permission.
    assert called(missing) - {"sts:GetCallerIdentity"} == allowed["SeeItsProvider"]
    assert len(allowed) == 5
