# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages explained against an account: the side, the evidence and the remediation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import TaskResult
from integration.targets.iam_access_denied_info.kit import (
    DELETE,
    EC2,
    ONLY_TAGGED,
    SEEING,
    SERVICE_ACCOUNT,
    TAG,
    Account,
    document,
    make_denial,
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


def evidence(task: TaskResult, source: str, readable: bool = True) -> list[str]:
    """The messages of the evidence from this source."""
    items = task.result["evidence"]
    return [item["message"] for item in items if source in item["source"] and item["readable"] == readable]


class Explained:
    """One account, and every explanation that only reads it: in one play, and in another after two remediations."""

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
        options = self.options()
        account.aws.forget()
        self.tasks = dict(zip(options, account.explanations(*options.values()), strict=True))
        self.writes = account.writes()
        # The remediations, applied.
        account.aws.client("elbv2").add_tags(ResourceArns=[self.balancer], Tags=[{"Key": TAG, "Value": "blue"}])
        statement = document(self.tasks["no action"].result["remediation"]["statement"])
        account.aws.client("iam").put_role_policy(RoleName="lacking", PolicyName="more", PolicyDocument=statement)
        remedied = ("classic", "no action")
        self.remedied = dict(zip(remedied, account.explanations(*(options[name] for name in remedied)), strict=True))

    def options(self) -> dict[str, dict[str, Any]]:
        issuer = self.provider.partition("oidc-provider/")[2]
        missing = "InvalidIdentityToken: No OpenIDConnect provider found in your account for https://{}"
        node = make_denial("workers", "elasticloadbalancing:DescribeLoadBalancers", "*", session="i-015251056f40ce440")
        options: dict[str, dict[str, Any]] = {
            "classic": {"error_message": make_denial("lbc", DELETE, self.balancer), **NAMED},
            "no action": {"error_message": make_denial("lacking", DELETE, self.plain), **NAMED},
            "boundary": {"error_message": make_denial("edged", DELETE, self.plain)},
            "node": {"error_message": node, "role": "lbc", **NAMED},
            "trust": {"error_message": WEB_IDENTITY, "role": "lbc", **NAMED},
            "event": {"error_message": self.event("arn:aws:iam::123456789012:role/team/of-a-team")},
            "event elsewhere": {"error_message": self.event(ELSEWHERE)},
            "role elsewhere": {"error_message": WEB_IDENTITY, "role": ELSEWHERE, **NAMED},
            "session elsewhere": {
                "error_message": make_denial("lbc", DELETE, "*").replace("123456789012", "210987654321")
            },
            "no role": {"error_message": WEB_IDENTITY, "role": "lcb", **NAMED},
            "no provider": {"error_message": missing.format("oidc.eks.eu-central-1.amazonaws.com/id/AB")},
            "provider since": {"error_message": missing.format(issuer)},
            "wrapped": {"error_message": f"{ENCODED_IN}message: {ENCODED}\n\tstatus code: 403"},
            "encoded": {"error_message": ENCODED},
            "undecodable": {"error_message": f"{ENCODED_IN}message: {'a' * 40}"},
            "bare": {"error_message": BARE, "role": ""},
        }
        return options | {message: {"error_message": WEB_IDENTITY, **bad} for bad, message in BAD}

    def event(self, role: str) -> str:
        event = {
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
        return json.dumps(event)

    def __getitem__(self, name: str) -> dict[str, Any]:
        assert not self.tasks[name].failed, self.tasks[name].message
        return self.tasks[name].result


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
    ({"oidc_provider_arn": "arn:aws:iam::123456789012:role/x"}, "is not the ARN of an OIDC provider"),
    # The remediation's binding would hold them.
    ({"namespace": "*", "service_account": "lbc"}, "'*' is not a valid name of a namespace"),
    ({"namespace": "shop", "service_account": ""}, "'' is not a valid name of a service account"),
    ({"role": "no role"}, "role 'no role' is neither the name of a role"),
    ({"audience": ""}, "audience is empty"),
    ({"error_message": " \n"}, "error_message is empty. Give the message to explain"),
]


@pytest.fixture(scope="module")
def explained(aws: OwnAws, tmp_path_factory: pytest.TempPathFactory) -> Explained:
    return Explained(Account(aws, Path(tmp_path_factory.mktemp("explained"))))


def test_the_classic_case_is_about_a_tag_and_not_about_a_namespace(explained: Explained) -> None:
    task, result = explained.tasks["classic"], explained["classic"]
    assert result["side"] == "permission"
    assert (result["action"], result["resource"], result["caller"]["role"]) == (DELETE, explained.balancer, "lbc")
    # The tag, in the reason, by the statement that requires it, and by IAM's own results with and without it.
    assert f"on condition that the resource has the tag {TAG}" in result["reason"]
    assert "owner=old-controller" in result["reason"]
    assert evidence(task, "simulator, with the current tags")[0].startswith("implicitDeny")
    assert evidence(task, f"with these tags added ({TAG}=blue)")[0].startswith("allowed")
    assert result["remediation"]["tags"] == {TAG: "blue"}
    assert result["remediation"]["binding"] is None
    # The namespace is not the remediation of this denial, and independent of it, it is not trusted either.
    assert "does not remedy this denial" in result["ineffective_remediation"]
    assert "/".join(SERVICE_ACCOUNT) in result["ineffective_remediation"]
    assert result["trust"]["allowed"] is False
    assert "kube-system/aws-load-balancer-controller" in result["trust"]["reason"]
    # And the tag is the remediation: with it, IAM allows it.
    after = explained.remedied["classic"].result
    assert after["side"] == "permission"
    assert "The current policies allow it" in after["reason"]


def test_nothing_is_written(explained: Explained) -> None:
    assert explained.writes == []


def test_a_policy_without_the_action_has_another_remediation(explained: Explained) -> None:
    result = explained["no action"]
    assert result["side"] == "permission"
    assert result["remediation"]["tags"] is None
    assert result["remediation"]["statement"] == {"Effect": "Allow", "Action": DELETE, "Resource": explained.plain}
    assert result["trust"]["allowed"] is True
    assert result["trust"]["allowed_by"] == ["Statement[0]"]
    assert "The current policies allow it" in explained.remedied["no action"].result["reason"]


def test_a_boundary_is_named(explained: Explained) -> None:
    result = explained["boundary"]
    assert (result["side"], result["kind"]) == ("permission", "identity_policy")
    assert f"in the permissions boundary {explained.boundary}" in result["remediation"]["description"]


def test_the_role_of_a_node_is_not_to_be_widened(explained: Explained) -> None:
    result = explained["node"]
    assert result["side"] == "permission"
    assert result["caller"]["is_node_role"] is True
    assert "Do not widen the node role" in result["remediation"]["description"]
    assert result["remediation"]["binding"] == {
        "role": "lbc",
        "cluster": "blue",
        "namespace": SERVICE_ACCOUNT[0],
        "service_accounts": [SERVICE_ACCOUNT[1]],
        "state": "present",
    }
    assert result["trust"]["role"] == "lbc"


def test_a_denied_role_has_a_ready_binding_as_remediation(explained: Explained) -> None:
    result = explained["trust"]
    assert (result["side"], result["kind"]) == ("trust", "web_identity")
    assert "kube-system/aws-load-balancer-controller" in result["reason"]
    assert result["remediation"]["binding"]["namespace"] == "cloudon"
    assert "Adding permissions to the role does not remedy" in result["ineffective_remediation"]
    assert result["trust"]["allowed"] is False


def test_a_cloudtrail_event_needs_no_other_option(explained: Explained) -> None:
    result = explained["event"]
    assert result["side"] == "trust"
    assert result["trust"]["allowed"] is False
    assert "kube-system/aws-load-balancer-controller" in result["reason"]
    assert result["remediation"]["binding"] == {
        "role": "of-a-team",
        "oidc_provider_arn": explained.provider,
        "namespace": SERVICE_ACCOUNT[0],
        "service_accounts": [SERVICE_ACCOUNT[1]],
        "state": "present",
    }


def test_a_missing_role_is_reported(explained: Explained) -> None:
    assert explained["no role"]["side"] == "trust"
    assert "The role lcb does not exist in the account of these credentials" in explained["no role"]["reason"]


@pytest.mark.parametrize("how", ["role elsewhere", "event elsewhere"])
def test_a_role_of_another_account_is_not_reported_missing(explained: Explained, how: str) -> None:
    """The other account is not read: whether this account has a role of that name proves nothing. (It has one.)"""
    assert explained[how]["side"] == "trust"
    assert not re.search(r"The role \S+ does not exist", explained[how]["reason"])
    assert "Create" not in explained[how]["remediation"]["description"]
    assert explained[how]["trust"] is None
    assert "210987654321" in evidence(explained.tasks[how], "the role lbc", readable=False)[0]


def test_a_role_of_the_same_name_in_another_account_is_not_mistaken(explained: Explained) -> None:
    assert explained["session elsewhere"]["trust"] is None
    assert "210987654321" in evidence(explained.tasks["session elsewhere"], "the role lbc", readable=False)[0]


def test_a_missing_provider_is_reported(explained: Explained) -> None:
    assert explained["no provider"]["side"] == "identity"
    assert evidence(explained.tasks["no provider"], "OIDC provider arn") == ["The provider does not exist in IAM."]
    assert explained["provider since"]["side"] == "identity"
    assert "This account has the provider now" in explained["provider since"]["reason"]


def test_an_encoded_message_is_decoded(explained: Explained) -> None:
    for how in ("wrapped", "encoded"):
        result = explained[how]
        assert (result["side"], result["action"]) == ("permission", "ec2:AuthorizeSecurityGroupIngress")
        assert result["caller"]["role"] == "lbc"
        assert result["remediation"]["statement"]["Resource"] == GROUP
    assert explained["undecodable"]["side"] == "permission"
    messages = evidence(explained.tasks["undecodable"], "encoded", readable=False)
    assert "InvalidAuthorizationMessageException" in messages[0]


def test_a_bare_error_code_stays_unknown(explained: Explained) -> None:
    assert (explained["bare"]["side"], explained["bare"]["kind"]) == ("unknown", "bare_error_code")


@pytest.mark.parametrize("message", [message for _bad, message in BAD])
def test_bad_options_are_refused(explained: Explained, message: str) -> None:
    assert explained.tasks[message].failed
    assert message in explained.tasks[message].message


def test_what_may_not_be_read_is_reported_and_nothing_concluded(account: Account) -> None:
    provider = account.cluster_provider()
    account.role("lbc", [trust(provider, SERVICE_ACCOUNT)], ONLY_TAGGED)
    balancer = account.load_balancer("shop", {})
    account.aws.deny("iam:*", "tag:*", "eks:*", "sts:*")
    task = account.explain(make_denial("lbc", DELETE, balancer), **NAMED)
    assert not task.failed
    assert task.result["side"] == "permission"
    assert task.result["trust"] is None
    assert "were not checked" in task.result["reason"]
    unreadable = [item["source"] for item in task.result["evidence"] if not item["readable"]]
    assert "the role lbc" in unreadable
    assert f"the tags of {balancer}" in unreadable
    assert "the OIDC provider" in unreadable
    assert "Allow iam:GetRole to these credentials" in evidence(task, "the role lbc", readable=False)[0]


def test_without_credentials_the_message_is_still_read(account: Account) -> None:
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_CONFIG_FILE": "/nonexistent"}
    task = account.explain(make_denial("lbc", DELETE, "*"), _env=env)
    assert not task.failed
    assert task.result["side"] == "permission"
    assert evidence(task, "the role lbc", readable=False)


def test_the_policy_names_what_is_called_and_nothing_more(account: Account) -> None:
    statements = json.loads(POLICY.read_text())["Statement"]
    allowed = {
        statement["Sid"]: set(statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
        for statement in statements
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
    role, permissions = allowed["ReadRole"], allowed["ReadRolePermissions"]
    assert called(make_denial("lbc", DELETE, balancer)) == role | permissions
    assert called(make_denial("lbc", DELETE, balancer), **NAMED) == role | permissions | allowed["OnlyForCluster"]
    assert called(WEB_IDENTITY, role="lbc", oidc_provider_arn=provider) == role | allowed["ReadOidcProvider"]
    encoded = encode("arn:aws:sts::123456789012:assumed-role/lbc/1", DELETE, balancer)
    assert called(encoded) == role | permissions | allowed["OnlyForEncodedMessages"]
    issuer = provider.partition("oidc-provider/")[2]
    missing = f"InvalidIdentityToken: No OpenIDConnect provider found in your account for https://{issuer}"
    # GetCallerIdentity needs no permission.
    assert called(missing) - {"sts:GetCallerIdentity"} == allowed["ReadOidcProvider"]
    assert len(allowed) == 5
