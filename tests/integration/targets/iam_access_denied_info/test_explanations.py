# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages set against an account: which side, by what evidence, and what mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
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
from testbed.own_aws import OwnAws

NAMED = {"namespace": SERVICE_ACCOUNT[0], "service_account": SERVICE_ACCOUNT[1], "cluster": "blue"}
WEB_IDENTITY = (
    "WebIdentityErr: failed to retrieve credentials\ncaused by: AccessDenied: Not authorized to perform "
    "sts:AssumeRoleWithWebIdentity\n\tstatus code: 403, request id: 1"
)
POLICY = Path(__file__).parents[4] / "docs/iam/iam_access_denied_info.json"


def answers(told: Any, looked_at: str, seen: bool = True) -> list[str]:
    return [one["answer"] for one in told.result["evidence"] if looked_at in one["looked_at"] and one["seen"] == seen]


class Played:
    """One account, and what everything that only looks at it was told: in one play, and in another after two mends."""

    def __init__(self, account: Account) -> None:
        self.provider = provider = account.cluster_provider()
        elsewhere = trust(provider, ("kube-system", SERVICE_ACCOUNT[1]))
        edge = account.aws.client("iam").create_policy(PolicyName="edge", PolicyDocument=document(SEEING))
        self.boundary = edge["Policy"]["Arn"]
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        account.role("lbc", [elsewhere], SEEING, ONLY_TAGGED)
        account.role("lacking", [trust(provider, SERVICE_ACCOUNT)], SEEING)
        account.role("edged", [EC2], everything, PermissionsBoundary=self.boundary)
        account.role("workers", [EC2])
        account.role("of-a-team", [elsewhere], Path="/team/")
        self.balancer = account.load_balancer("shop", {"owner": "old-controller"})
        self.plain = account.load_balancer("plain", {})
        asked = self.asked()
        account.aws.forget()
        self.told = dict(zip(asked, account.explanations(*asked.values()), strict=True))
        self.writes = account.writes()
        # What was named as the mend, done.
        account.aws.client("elbv2").add_tags(ResourceArns=[self.balancer], Tags=[{"Key": TAG, "Value": "blue"}])
        statement = document(self.told["no action"].result["mend"]["statement"])
        account.aws.client("iam").put_role_policy(RoleName="lacking", PolicyName="more", PolicyDocument=statement)
        mended = ("classic", "no action")
        self.mended = dict(zip(mended, account.explanations(*(asked[one] for one in mended)), strict=True))

    def asked(self) -> dict[str, dict[str, Any]]:
        issuer = self.provider.partition("oidc-provider/")[2]
        missing = "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://{}"
        node = refused("workers", "elasticloadbalancing:DescribeLoadBalancers", "*", session="i-015251056f40ce440")
        options: dict[str, dict[str, Any]] = {
            "classic": {"error_message": refused("lbc", DELETE, self.balancer), **NAMED},
            "no action": {"error_message": refused("lacking", DELETE, self.plain), **NAMED},
            "boundary": {"error_message": refused("edged", DELETE, self.plain)},
            "node": {"error_message": node, "role": "lbc", **NAMED},
            "trust": {"error_message": WEB_IDENTITY, "role": "lbc", **NAMED},
            "event": {"error_message": self.event("arn:aws:iam::123456789012:role/team/of-a-team")},
            "event elsewhere": {"error_message": self.event(ELSEWHERE)},
            "role elsewhere": {"error_message": WEB_IDENTITY, "role": ELSEWHERE, **NAMED},
            "session elsewhere": {"error_message": refused("lbc", DELETE, "*").replace("123456789012", "210987654321")},
            "no role": {"error_message": WEB_IDENTITY, "role": "lcb", **NAMED},
            "no provider": {"error_message": missing.format("oidc.eks.eu-central-1.amazonaws.com/id/AB")},
            "provider since": {"error_message": missing.format(issuer)},
            "wrapped": {"error_message": f"{ENCODED_IN}message: {ENCODED}\n\tstatus code: 403"},
            "encoded": {"error_message": ENCODED},
            "undecodable": {"error_message": f"{ENCODED_IN}message: {'a' * 40}"},
            "bare": {"error_message": BARE, "role": ""},
        }
        return options | {words: {"error_message": WEB_IDENTITY, **bad} for bad, words in BAD}

    def event(self, role: str) -> str:
        told = {
            "eventSource": "sts.amazonaws.com",
            "eventName": "AssumeRoleWithWebIdentity",
            "errorCode": "AccessDenied",
            "errorMessage": "An unknown error occurred",
            "userIdentity": {
                "type": "WebIdentityUser",
                "userName": f"system:serviceaccount:{':'.join(SERVICE_ACCOUNT)}",
                "identityProvider": self.provider,
            },
            "requestParameters": {"roleArn": role},
        }
        return json.dumps(told)

    def __getitem__(self, name: str) -> dict[str, Any]:
        assert not self.told[name].failed, self.told[name].message
        return self.told[name].result


ELSEWHERE = "arn:aws:iam::210987654321:role/lbc"
BARE = "An error occurred (AccessDenied) when calling the GetObject operation: Access Denied"
GROUP = "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-1"
ENCODED_IN = "UnauthorizedOperation: You are not authorized to perform this operation. Encoded authorization failure "
ENCODED = encode(
    "arn:aws:sts::123456789012:assumed-role/lbc/1",
    "ec2:AuthorizeSecurityGroupIngress",
    GROUP,
    conditions={"ec2:Vpc": "vpc-1"},
)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"oidc_provider_arn": "arn:aws:iam::123456789012:role/x"}, "is no ARN of an OIDC provider"),
    # They would stand in the binding that is offered as the mend.
    ({"namespace": "*", "service_account": "lbc"}, "'*' is no name of a namespace"),
    ({"namespace": "shop", "service_account": ""}, "'' is no name of a service account"),
    ({"role": "no role"}, "role 'no role' is neither a role's name"),
    ({"audience": ""}, "audience is empty"),
]


@pytest.fixture(scope="module")
def played(aws: OwnAws, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(Account(aws, Path(tmp_path_factory.mktemp("explained"))))


def test_the_classic_case_is_about_a_tag_and_not_about_a_namespace(played: Played) -> None:
    told, result = played.told["classic"], played["classic"]
    assert result["side"] == "permission"
    assert (result["action"], result["resource"], result["caller"]["role"]) == (DELETE, played.balancer, "lbc")
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
    # And the tag is the mend: with it, IAM allows it.
    after = played.mended["classic"].result
    assert after["side"] == "permission"
    assert "As the policies stand now, they allow it" in after["reason"]


def test_nothing_is_written(played: Played) -> None:
    assert played.writes == []


def test_a_policy_that_lacks_the_action_is_another_mend(played: Played) -> None:
    result = played["no action"]
    assert result["side"] == "permission"
    assert result["mend"]["tags"] is None
    assert result["mend"]["statement"] == {"Effect": "Allow", "Action": DELETE, "Resource": played.plain}
    assert result["trust"]["allowed"] is True
    assert result["trust"]["by"] == ["Statement[0]"]
    assert "As the policies stand now, they allow it" in played.mended["no action"].result["reason"]


def test_a_boundary_is_named(played: Played) -> None:
    result = played["boundary"]
    assert (result["side"], result["kind"]) == ("permission", "identity_policy")
    assert f"in the permissions boundary {played.boundary}" in result["mend"]["what"]


def test_the_role_of_a_node_is_not_to_be_widened(played: Played) -> None:
    result = played["node"]
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


def test_a_refused_role_has_a_ready_binding_for_its_mend(played: Played) -> None:
    result = played["trust"]
    assert (result["side"], result["kind"]) == ("trust", "web_identity")
    assert "kube-system/aws-load-balancer-controller" in result["reason"]
    assert result["mend"]["binding"]["namespace"] == "cloudon"
    assert "Adding permissions to the role is not the mend" in result["not_the_mend"]
    assert result["trust"]["allowed"] is False


def test_a_cloudtrail_event_needs_no_other_word(played: Played) -> None:
    result = played["event"]
    assert result["side"] == "trust"
    assert result["trust"]["allowed"] is False
    assert "kube-system/aws-load-balancer-controller" in result["reason"]
    assert result["mend"]["binding"] == {
        "role": "of-a-team",
        "oidc_provider_arn": played.provider,
        "namespace": SERVICE_ACCOUNT[0],
        "service_accounts": [SERVICE_ACCOUNT[1]],
        "state": "present",
    }


def test_a_role_that_is_not_there_is_told(played: Played) -> None:
    assert played["no role"]["side"] == "trust"
    assert "There is no role lcb in the account of these credentials" in played["no role"]["reason"]


@pytest.mark.parametrize("how", ["role elsewhere", "event elsewhere"])
def test_a_role_of_another_account_is_not_said_to_be_missing(played: Played, how: str) -> None:
    """Nobody has looked there: the account at hand having none of that name says nothing. (It has one, too.)"""
    assert played[how]["side"] == "trust"
    assert "There is no role" not in played[how]["reason"]
    assert "Create" not in played[how]["mend"]["what"]
    assert played[how]["trust"] is None
    assert "210987654321" in answers(played.told[how], "the role lbc", seen=False)[0]


def test_a_role_of_the_same_name_in_another_account_is_not_mistaken(played: Played) -> None:
    assert played["session elsewhere"]["trust"] is None
    assert "210987654321" in answers(played.told["session elsewhere"], "the role lbc", seen=False)[0]


def test_a_provider_that_is_not_there_is_told(played: Played) -> None:
    assert played["no provider"]["side"] == "identity"
    assert answers(played.told["no provider"], "OIDC provider arn") == ["There is no such provider in IAM."]
    assert played["provider since"]["side"] == "identity"
    assert "As IAM stands now, this account has the provider" in played["provider since"]["reason"]


def test_an_encoded_message_is_decoded(played: Played) -> None:
    for how in ("wrapped", "encoded"):
        result = played[how]
        assert (result["side"], result["action"]) == ("permission", "ec2:AuthorizeSecurityGroupIngress")
        assert result["caller"]["role"] == "lbc"
        assert result["mend"]["statement"]["Resource"] == GROUP
    assert played["undecodable"]["side"] == "permission"
    assert "InvalidAuthorizationMessageException" in answers(played.told["undecodable"], "encoded", seen=False)[0]


def test_what_says_nothing_stays_unknown(played: Played) -> None:
    assert (played["bare"]["side"], played["bare"]["kind"]) == ("unknown", "bare")


@pytest.mark.parametrize("words", [words for _bad, words in BAD])
def test_bad_options_are_refused(played: Played, words: str) -> None:
    assert played.told[words].failed
    assert words in played.told[words].message


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
