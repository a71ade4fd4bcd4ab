# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trust policies as people write them, from public reports and around them: exactly what was requested changes, or the
edit is refused. The table has the document, the request, and the document afterwards.
"""

from __future__ import annotations

import copy
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import findings, plan, policy, policy_edit
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import (
    Binding,
    IamRole,
    OidcProvider,
    PolicyOptions,
    Subject,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    GITHUB_STATEMENT,
    OTHER,
    SERVICE,
    STS,
    document,
    sub,
    trust,
    value,
)

SUB, AUD = CLUSTER.get_condition_key("sub"), CLUSTER.get_condition_key("aud")
OTHER_SUB, OTHER_AUD = OTHER.get_condition_key("sub"), OTHER.get_condition_key("aud")
A, B, C = value("a", "one"), value("b", "two"), value("c", "three")
ALL_OF_B = "system:serviceaccount:b:*"
DUAL_STACK = OidcProvider("arn:aws:iam::123456789012:oidc-provider/oidc-eks.eu-west-2.api.aws/id/CC")
CHINA = OidcProvider("arn:aws-cn:iam::123456789012:oidc-provider/oidc.eks.cn-northwest-1.amazonaws.com.cn/id/DD")
POD_IDENTITY = {
    "Sid": "podid",
    "Effect": "Allow",
    "Principal": {"Service": "pods.eks.amazonaws.com"},
    "Action": ["sts:AssumeRole", "sts:TagSession"],
    "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
}


def statement(condition: Any, **more: Any) -> dict[str, Any]:
    return {**trust(), "Condition": condition, **more}


def deny(*subjects: str, **more: Any) -> dict[str, Any]:
    return {**trust(*subjects, **more), "Effect": "Deny"}


ANDED = statement(
    {"StringEquals": {AUD: STS, OTHER_AUD: STS, SUB: A, OTHER_SUB: A}},
    Principal={"Federated": [CLUSTER.arn, OTHER.arn]},
)
PRESENT, ABSENT = True, False
Case = tuple[str, dict[str, Any], bool, str, str, Optional[dict[str, Any]]]
# Name, document, present or absent, the subject, the status, and the document afterwards (None: unchanged).
CASES: list[Case] = [
    # Two providers in one statement: the conditions of both are ANDed, and a token has one issuer.
    ("two providers ANDed", document(ANDED), PRESENT, A, "changed", document(ANDED, trust(A))),
    (
        "two providers ANDed, removed",
        document(ANDED, SERVICE),
        ABSENT,
        A,
        "changed",
        document({**ANDED, "Principal": {"Federated": [OTHER.arn]}}, SERVICE),
    ),
    (
        "two providers, each if it exists",
        document(
            statement(
                {"StringEqualsIfExists": {SUB: A, OTHER_SUB: C}}, Principal={"Federated": [CLUSTER.arn, OTHER.arn]}
            )
        ),
        ABSENT,
        A,
        "changed",
        document(statement({"StringEqualsIfExists": {SUB: A, OTHER_SUB: C}}, Principal={"Federated": [OTHER.arn]})),
    ),
    (
        "a list of one provider",
        document({**trust(A), "Principal": {"Federated": [CLUSTER.arn]}}),
        PRESENT,
        B,
        "changed",
        document({**trust(A, B), "Principal": {"Federated": [CLUSTER.arn]}}),
    ),
    # Set operators.
    (
        "ForAnyValue",
        document(trust(A, B, operator="ForAnyValue:StringEquals", aud=None)),
        PRESENT,
        C,
        "changed",
        document(trust(A, B, operator="ForAnyValue:StringEquals", aud=None), trust(C)),
    ),
    ("ForAnyValue names it", document(trust(A, B, operator="ForAnyValue:StringEquals")), PRESENT, B, "ok", None),
    (
        "ForAnyValue, removed",
        document(trust(A, B, operator="ForAnyValue:StringEquals")),
        ABSENT,
        B,
        "changed",
        document(statement({"StringEquals": {AUD: STS}, "ForAnyValue:StringEquals": {SUB: [A]}})),
    ),
    (
        "ForAnyValue and a wildcard",
        document(trust(ALL_OF_B, operator="ForAnyValue:StringLike")),
        PRESENT,
        B,
        "ok",
        None,
    ),
    (
        "ForAllValues names it",
        document(trust(A, operator="ForAllValues:StringEquals")),
        PRESENT,
        A,
        "changed",
        document(trust(A, operator="ForAllValues:StringEquals"), trust(A)),
    ),
    (
        "ForAllValues, removed",
        document(SERVICE, trust(A, operator="ForAllValues:StringEquals")),
        ABSENT,
        A,
        "changed",
        document(SERVICE),
    ),
    # A star that is a letter.
    (
        "a literal star",
        document(trust("system:serviceaccount:*:two")),
        PRESENT,
        B,
        "changed",
        document(trust("system:serviceaccount:*:two", B)),
    ),
    ("a literal star allows nobody", document(trust(ALL_OF_B)), ABSENT, B, "ok", None),
    (
        "a literal star is removed by its name",
        document(SERVICE, trust(ALL_OF_B)),
        ABSENT,
        ALL_OF_B,
        "changed",
        document(SERVICE),
    ),
    (
        "a star and a literal",
        document(trust(A, ALL_OF_B)),
        ABSENT,
        A,
        "changed",
        document(statement({"StringEquals": {AUD: STS, SUB: [ALL_OF_B]}})),
    ),
    # Operators besides those of strings.
    (
        "Null requires a subject",
        document(statement({"Null": {SUB: "false"}, "StringEquals": {AUD: STS}})),
        PRESENT,
        A,
        "ok",
        None,
    ),
    (
        "Null forbids a subject",
        document(statement({"Null": {SUB: "true"}, "StringEquals": {AUD: STS}})),
        PRESENT,
        A,
        "changed",
        document(statement({"Null": {SUB: "true"}, "StringEquals": {AUD: STS}}), trust(A)),
    ),
    (
        "Null as a boolean, beside a name",
        document(statement({"Null": {AUD: False}, "StringEquals": {SUB: A}})),
        PRESENT,
        B,
        "changed",
        document(statement({"Null": {AUD: False}, "StringEquals": {SUB: [A, B]}})),
    ),
    (
        "Bool beside a name",
        document(statement({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {SUB: A}})),
        PRESENT,
        B,
        "changed",
        document(statement({"Bool": {"aws:SecureTransport": "true"}, "StringEquals": {SUB: [A, B]}})),
    ),
    (
        "Bool on the subject",
        document(statement({"Bool": {SUB: "true"}})),
        PRESENT,
        A,
        "changed",
        document(statement({"Bool": {SUB: "true"}}), trust(A)),
    ),
    (
        "an ARN operator on the subject",
        document(statement({"ArnLike": {SUB: "system:serviceaccount:a:*"}})),
        PRESENT,
        A,
        "changed",
        document(statement({"ArnLike": {SUB: "system:serviceaccount:a:*"}}), trust(A)),
    ),
    (
        "IfExists names it",
        document(trust(A, operator="StringEqualsIfExists")),
        PRESENT,
        A,
        "changed",
        document(trust(A, operator="StringEqualsIfExists"), trust(A)),
    ),
    (
        "IfExists, removed",
        document(trust(A, B, operator="StringEqualsIfExists")),
        ABSENT,
        A,
        "changed",
        document(statement({"StringEquals": {AUD: STS}, "StringEqualsIfExists": {SUB: [B]}})),
    ),
    (
        "everybody but one",
        document(trust(A, operator="StringNotEquals")),
        PRESENT,
        A,
        "changed",
        document(trust(A, operator="StringNotEquals"), trust(A)),
    ),
    (
        "everybody but one, another removed",
        document(SERVICE, trust(A, operator="StringNotEquals")),
        ABSENT,
        B,
        "failed",
        None,
    ),
    (
        "case is ignored",
        document(trust(A.upper(), B.upper(), operator="StringEqualsIgnoreCase")),
        PRESENT,
        A,
        "ok",
        None,
    ),
    (
        "case is ignored, removed",
        document(trust(A.upper(), B.upper(), operator="StringEqualsIgnoreCase")),
        ABSENT,
        A,
        "changed",
        document(statement({"StringEquals": {AUD: STS}, "StringEqualsIgnoreCase": {SUB: [B.upper()]}})),
    ),
    # Case of keys and operators.
    (
        "keys and operators in another case",
        document(statement({"stringequals": {AUD.upper(): STS, SUB.title(): A}})),
        PRESENT,
        B,
        "changed",
        document(statement({"stringequals": {AUD.upper(): STS, SUB.title(): [A, B]}})),
    ),
    (
        "the subject twice, in two spellings",
        document(statement({"StringEquals": {SUB: A, SUB.upper(): A, AUD: STS}})),
        PRESENT,
        B,
        "changed",
        document(statement({"StringEquals": {SUB: A, SUB.upper(): A, AUD: STS}}), trust(B)),
    ),
    (
        "a key with the scheme",
        document(statement({"StringEquals": {f"https://{SUB}": A}})),
        PRESENT,
        A,
        "changed",
        document(statement({"StringEquals": {f"https://{SUB}": A}}), trust(A)),
    ),
    # Shapes.
    (
        "one object for Statement",
        {"Version": "2012-10-17", "Statement": trust(A)},
        PRESENT,
        B,
        "changed",
        {"Version": "2012-10-17", "Statement": trust(A, B)},
    ),
    (
        "one object that gets company",
        {"Version": "2012-10-17", "Statement": SERVICE},
        PRESENT,
        B,
        "changed",
        document(SERVICE, trust(B)),
    ),
    ("one object, the last subject", {"Version": "2012-10-17", "Statement": trust(A)}, ABSENT, A, "failed", None),
    ("a statement that is a text", {"Version": "2012-10-17", "Statement": [trust(A), "x"]}, PRESENT, B, "failed", None),
    (
        "an action in a list",
        document({**trust(A), "Action": ["sts:AssumeRoleWithWebIdentity"]}),
        PRESENT,
        B,
        "changed",
        document({**trust(A, B), "Action": ["sts:AssumeRoleWithWebIdentity"]}),
    ),
    (
        "another action",
        document({**trust(A), "Action": "sts:AssumeRole"}),
        PRESENT,
        A,
        "changed",
        document({**trust(A), "Action": "sts:AssumeRole"}, trust(A)),
    ),
    ("an action with a wildcard", document({**trust(A), "Action": "sts:AssumeRole*"}), PRESENT, A, "ok", None),
    (
        "NotAction",
        document({key: given for key, given in {**trust(A), "NotAction": "sts:TagSession"}.items() if key != "Action"}),
        PRESENT,
        B,
        "changed",
        document(
            {key: given for key, given in {**trust(A), "NotAction": "sts:TagSession"}.items() if key != "Action"},
            trust(B),
        ),
    ),
    (
        "a mixed principal",
        document({**trust(A), "Principal": {"Federated": CLUSTER.arn, "Service": "x.amazonaws.com"}}),
        ABSENT,
        A,
        "changed",
        document({**trust(A), "Principal": {"Service": "x.amazonaws.com"}}),
    ),
    (
        "a mixed principal, added",
        document({**trust(A), "Principal": {"Federated": CLUSTER.arn, "AWS": "1"}}),
        PRESENT,
        B,
        "changed",
        document({**trust(A), "Principal": {"Federated": CLUSTER.arn, "AWS": "1"}}, trust(B)),
    ),
    (
        "every principal",
        document({**trust(A, B), "Principal": "*"}),
        ABSENT,
        A,
        "changed",
        document({**statement({"StringEquals": {AUD: STS, SUB: [B]}}), "Principal": "*"}),
    ),
    ("every principal, the last subject", document({**trust(A), "Principal": {"AWS": "*"}}), ABSENT, A, "failed", None),
    (
        "NotPrincipal of another",
        document({"Effect": "Deny", "NotPrincipal": {"Federated": CLUSTER.arn}, "Action": "sts:*"}, trust(A)),
        PRESENT,
        B,
        "changed",
        document({"Effect": "Deny", "NotPrincipal": {"Federated": CLUSTER.arn}, "Action": "sts:*"}, trust(A, B)),
    ),
    (
        "NotPrincipal denies this provider",
        document(
            {"Effect": "Deny", "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:*"}, trust(A)
        ),
        PRESENT,
        B,
        "failed",
        None,
    ),
    (
        "NotPrincipal of everybody denies nobody",
        document({"Effect": "Deny", "NotPrincipal": "*", "Action": "sts:*"}, trust(A)),
        PRESENT,
        B,
        "changed",
        document({"Effect": "Deny", "NotPrincipal": "*", "Action": "sts:*"}, trust(A, B)),
    ),
    # Policy variables and versions.
    (
        "a variable in the subject",
        document(trust("system:serviceaccount:${aws:PrincipalTag/ns}:one", operator="StringLike")),
        PRESENT,
        A,
        "changed",
        document(trust("system:serviceaccount:${aws:PrincipalTag/ns}:one", A, operator="StringLike")),
    ),
    (
        "a variable may allow it",
        document(trust("system:serviceaccount:${aws:PrincipalTag/ns}:one", operator="StringLike")),
        ABSENT,
        A,
        "failed",
        None,
    ),
    (
        "a variable for a literal star",
        document(trust("system:serviceaccount:a:${*}", operator="StringLike")),
        ABSENT,
        A,
        "ok",
        None,
    ),
    (
        "no variables in the old version",
        {**document(trust("system:serviceaccount:${x}:one", operator="StringLike")), "Version": "2008-10-17"},
        ABSENT,
        A,
        "ok",
        None,
    ),
    (
        "the old version stays",
        {**document(trust(A)), "Version": "2008-10-17"},
        PRESENT,
        B,
        "changed",
        {**document(trust(A, B)), "Version": "2008-10-17"},
    ),
    ("no version stays so", {"Statement": [trust(A)]}, PRESENT, B, "changed", {"Statement": [trust(A, B)]}),
    # Sids: a new statement has none, so it never collides.
    (
        "a Sid",
        document({**trust(ALL_OF_B, operator="StringLike"), "Sid": "S"}, {**SERVICE, "Sid": "T"}),
        PRESENT,
        A,
        "changed",
        document({**trust(ALL_OF_B, operator="StringLike"), "Sid": "S"}, {**SERVICE, "Sid": "T"}, trust(A)),
    ),
    # Another provider of the same issuer, or its twin.
    (
        "for IRSA and for Pod Identity",
        document({**trust(A), "Sid": "irsa"}, POD_IDENTITY),
        ABSENT,
        A,
        "changed",
        document(POD_IDENTITY),
    ),
    (
        "a GitHub statement beside",
        document(GITHUB_STATEMENT, trust(A)),
        ABSENT,
        A,
        "changed",
        document(GITHUB_STATEMENT),
    ),
    (
        "another account's provider",
        document({**trust(A), "Principal": {"Federated": CLUSTER.arn.replace("123456789012", "210987654321")}}),
        PRESENT,
        A,
        "changed",
        document(
            {**trust(A), "Principal": {"Federated": CLUSTER.arn.replace("123456789012", "210987654321")}}, trust(A)
        ),
    ),
    # Audiences.
    (
        "two audiences",
        document(statement({"StringEquals": {AUD: [STS, "vault"], SUB: A}})),
        PRESENT,
        B,
        "changed",
        document(statement({"StringEquals": {AUD: [STS, "vault"], SUB: [A, B]}})),
    ),
    (
        "an audience by wildcard",
        document(statement({"StringLike": {AUD: "sts.*", SUB: A}})),
        PRESENT,
        B,
        "changed",
        document(statement({"StringLike": {AUD: "sts.*", SUB: [A, B]}})),
    ),
    (
        "an audience that is excluded",
        document(statement({"StringNotEquals": {AUD: STS}, "StringEquals": {SUB: A}})),
        PRESENT,
        A,
        "changed",
        document(statement({"StringNotEquals": {AUD: STS}, "StringEquals": {SUB: A}}), trust(A)),
    ),
    # A Deny covers the pair for its audience.
    (
        "a Deny with the audience covers it",
        document(trust(ALL_OF_B, operator="StringLike"), deny(B)),
        ABSENT,
        B,
        "ok",
        None,
    ),
    ("a Deny with the audience, and no condition on it", document(trust(aud=None), deny(B)), ABSENT, B, "ok", None),
    (
        "a Deny for another audience",
        document(trust(ALL_OF_B, operator="StringLike"), deny(B, aud="vault")),
        ABSENT,
        B,
        "failed",
        None,
    ),
    (
        "a Deny for one of two audiences",
        document(statement({"StringEquals": {AUD: [STS, "vault"]}}), deny(B)),
        ABSENT,
        B,
        "failed",
        None,
    ),
    (
        "a Deny for every other audience",
        document(trust(A, aud=None), statement({"StringNotEquals": {AUD: STS}}, Effect="Deny")),
        ABSENT,
        B,
        "ok",
        None,
    ),
    (
        "denied, and named as well",
        document(trust(A, B), deny(B)),
        ABSENT,
        B,
        "changed",
        document(statement({"StringEquals": {AUD: STS, SUB: [A]}}), deny(B)),
    ),
    ("a Deny on a wildcard", document(trust(B), deny(ALL_OF_B, operator="StringLike")), PRESENT, B, "failed", None),
    (
        "a Deny on a literal star",
        document(trust(A), deny(ALL_OF_B)),
        PRESENT,
        B,
        "changed",
        document(trust(A, B), deny(ALL_OF_B)),
    ),
    (
        "a Deny that may match",
        document(trust(A), {**deny(B), "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}),
        PRESENT,
        B,
        "changed",
        document(trust(A, B), {**deny(B), "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}),
    ),
    # Conditions of other issuers and keys that a web identity never has.
    (
        "an external id",
        document(statement({"StringEquals": {SUB: A, "sts:ExternalId": "x"}})),
        PRESENT,
        A,
        "changed",
        document(statement({"StringEquals": {SUB: A, "sts:ExternalId": "x"}}), trust(A)),
    ),
    (
        "the provider in a condition",
        document(statement({"StringEquals": {SUB: A, "aws:FederatedProvider": CLUSTER.arn}})),
        PRESENT,
        B,
        "changed",
        document(statement({"StringEquals": {SUB: [A, B], "aws:FederatedProvider": CLUSTER.arn}})),
    ),
    (
        "both operators",
        document(statement({"StringEquals": {SUB: A}, "StringLike": {SUB: "system:serviceaccount:a:*"}})),
        PRESENT,
        B,
        "changed",
        document(statement({"StringEquals": {SUB: A}, "StringLike": {SUB: "system:serviceaccount:a:*"}}), trust(B)),
    ),
    (
        "both operators, removed",
        document(SERVICE, statement({"StringEquals": {SUB: A}, "StringLike": {SUB: "system:serviceaccount:a:*"}})),
        ABSENT,
        A,
        "changed",
        document(SERVICE),
    ),
    (
        "a name and a wildcard under StringLike",
        document(trust(A, ALL_OF_B, operator="StringLike")),
        PRESENT,
        C,
        "changed",
        document(trust(A, ALL_OF_B, operator="StringLike"), trust(C)),
    ),
    (
        "a name and a wildcard, the name removed",
        document(trust(A, ALL_OF_B, operator="StringLike")),
        ABSENT,
        A,
        "changed",
        document(statement({"StringEquals": {AUD: STS}, "StringLike": {SUB: [ALL_OF_B]}})),
    ),
    (
        "an empty list",
        document(statement({"StringEquals": {SUB: []}})),
        PRESENT,
        A,
        "changed",
        document(statement({"StringEquals": {SUB: [A]}})),
    ),
    (
        "the same name twice",
        document(trust(A, A, B)),
        ABSENT,
        A,
        "changed",
        document(statement({"StringEquals": {AUD: STS, SUB: [B]}})),
    ),
]


def decide(
    before: dict[str, Any], present: bool, subject: str, provider: OidcProvider = CLUSTER, quota: int | None = 2048
) -> plan.RolePlan:
    untouched = copy.deepcopy(before)
    pattern = Subject(subject, is_pattern="*" in subject)
    decided = plan.make_plan("r", before, [Binding("r", provider, (pattern,), present)], PolicyOptions(), quota)
    assert before == untouched
    return decided


@pytest.mark.parametrize(
    ("before", "present", "subject", "status", "after"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_exactly_the_requested_subject_changes(
    before: dict[str, Any], present: bool, subject: str, status: str, after: Optional[dict[str, Any]]
) -> None:
    decided = decide(before, present, subject)
    (binding_plan,) = decided.bindings
    assert (binding_plan.status, decided.after) == (status, before if after is None else after), binding_plan.reason
    if status == "failed":
        return
    verdict = policy.evaluate(decided.after or {}, CLUSTER, Subject(subject), STS if present else None)
    assert verdict.is_allowed == present
    assert not decide(dict(decided.after or {}), present, subject).has_changes, "a second run would write"


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 60
    assert len({case[0] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("claim", ["StringEquals", "ForAnyValue:StringLike"])
def test_two_providers_anded_let_in_neither(claim: str) -> None:
    block = {claim: {SUB: A, OTHER_SUB: A}, "StringEquals": {AUD: STS, OTHER_AUD: STS}}
    both = document(statement(block, Principal={"Federated": [CLUSTER.arn, OTHER.arn]}))
    decided = decide(both, PRESENT, A)
    assert decided.after is not None
    assert policy.evaluate(decided.after, CLUSTER, Subject(A)).is_allowed
    assert not policy.evaluate(decided.after, OTHER, Subject(A)).is_allowed


def test_the_other_partition_gets_a_statement_of_its_own() -> None:
    wrong = trust(A, provider=CHINA)
    wrong["Principal"] = {"Federated": CHINA.arn.replace("aws-cn", "aws")}
    decided = decide(document(wrong), PRESENT, A, CHINA)
    assert decided.after == document(wrong, trust(A, provider=CHINA))


@pytest.mark.parametrize("quota", [2048, 4096])
def test_a_full_policy_is_refused_with_size_and_quota(quota: int) -> None:
    subjects: list[str] = []
    while policy_edit.count_characters(document(trust(*subjects, B))) <= quota:
        subjects.append(value(f"profile-{len(subjects):03}", "default-editor"))
    full = document(trust(*subjects[:-1]))
    assert policy_edit.count_characters(full) <= quota
    decided = decide(full, PRESENT, value("profile-999", "e" * 99), quota=quota)
    assert (decided.after, decided.bindings[0].status) == (full, "failed")
    for text in (str(quota), "characters", "split the role", "Pod Identity"):
        assert text in decided.bindings[0].reason


def test_a_deny_that_leaves_other_audiences_is_reported() -> None:
    (binding_plan,) = decide(document(trust(aud=None), deny(B)), ABSENT, B).bindings
    assert binding_plan.warnings == (
        "Statement[0] still allows b/two for any audience that the trust policy does not name. Check the audiences of "
        "the OIDC provider, or narrow that statement.",
    )
    (binding_plan,) = decide(document(trust(ALL_OF_B, operator="StringLike"), deny(B)), ABSENT, B).bindings
    assert binding_plan.warnings == ()


def test_an_uncertain_subject_is_reported() -> None:
    operator = "ForAnyValue:StringLike"
    unclear = document(trust("system:serviceaccount:${aws:PrincipalTag/ns}:one", operator=operator))
    (present,) = decide(unclear, PRESENT, A).bindings
    assert "cannot be evaluated here, so it does not count as trust" in present.warnings[0]
    (absent,) = decide(unclear, ABSENT, A).bindings
    assert "Statement[0] may still allow it, depending on ForAnyValue:StringLike" in absent.reason


# --- The audit.


def audit(*statements: Any, provider: Optional[OidcProvider] = None, arn: str = "") -> tuple[findings.RoleTrust, str]:
    role = IamRole("r", arn or "arn:aws:iam::123456789012:role/r", document(*statements))
    found = findings.read_trust(role, provider)
    return found, findings.format_reason(role, found.grants, found.ineffective, found.other_issuers)


def names(found: findings.RoleTrust) -> list[str]:
    return [str(grant.subject) for grant in found.grants]


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:*:autoscaler",
        "system:serviceaccount:shop:*",
        "system:serviceaccount:shop:we?",
        "*",
        "system:serviceaccount:shop:Web",
        "system:serviceaccounts:shop:web",
        "system:serviceaccount:shop",
        "shop:web",
        " system:serviceaccount:shop:web",
    ],
)
@pytest.mark.parametrize("operator", ["StringEquals", "ForAnyValue:StringEquals"])
def test_a_subject_that_nobody_can_have_lets_in_nobody(subject: str, operator: str) -> None:
    found, reason = audit(trust(subject, A, operator=operator))
    assert names(found) == ["a/one"]
    assert [entry.subject for entry in found.ineffective] == [subject]
    assert reason.startswith("It trusts a/one. Statement[0] lets in nobody by ")
    alone, reason = audit(trust(subject, operator=operator))
    assert names(alone) == []
    assert reason.startswith("It trusts no service account. Statement[0] lets in nobody by ")
    assert ("StringEquals takes * and ? literally" in reason) == ("*" in subject or "?" in subject)


@pytest.mark.parametrize("pattern", ["system:serviceaccounts:*", "repo:x/y:*", "system:serviceaccount:Shop:*", "shop*"])
def test_a_pattern_that_covers_no_service_account_lets_in_nobody(pattern: str) -> None:
    found, _reason = audit(trust(pattern, operator="StringLike"))
    assert names(found) == []
    assert [entry.subject for entry in found.ineffective] == [pattern]


@pytest.mark.parametrize(
    "pattern", ["system:serviceaccount:shop:*", "*", "system:*:web", "system:serviceaccount:*", "*:shop:*"]
)
def test_a_pattern_that_covers_some_lets_them_in(pattern: str) -> None:
    found, _reason = audit(trust(pattern, operator="StringLike"))
    assert len(found.grants) == 1
    assert not found.ineffective


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (ANDED, "never hold"),
        (statement({"StringEquals": {f"https://{SUB}": A}}), f"https://{SUB}"),
        (statement({"StringEquals": {SUB: A, "sts:ExternalId": "x"}}), "sts:ExternalId"),
        (statement({"StringEquals": {SUB: A}, "StringLike": {SUB: ALL_OF_B}}), "StringLike"),
        (trust(A, aud="vault"), "for the audience sts.amazonaws.com"),
        ({**trust(A), "Action": "sts:AssumeRole"}, "its action is not sts:AssumeRoleWithWebIdentity"),
    ],
)
def test_a_statement_that_lets_in_nobody_is_named_with_its_reason(entry: dict[str, Any], text: str) -> None:
    found, reason = audit({**entry, "Sid": "S"}, provider=CLUSTER)
    assert names(found) == []
    assert "Statement[0] (S) lets in no token of" in reason
    assert text in reason


def test_a_denied_subject_is_not_reported_as_trusted() -> None:
    found, reason = audit(trust(A, B), deny(B))
    assert reason == "It trusts a/one. b/two is denied by Statement[1]."
    assert [grant.denied_by for grant in found.grants] == [(), ("Statement[1]",)]
    _found, reason = audit(trust(), deny())
    assert reason.startswith("It trusts no service account. every service account of ")


@pytest.mark.parametrize(
    "issuer",
    [
        "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
        "oidc.eks.cn-north-1.amazonaws.com.cn/id/0123456789ABCDEF0123456789ABCDEF",
        "oidc.eks.us-gov-west-1.amazonaws.com/id/AB",
        "oidc.eks.eusc-de-east-1.amazonaws.eu/id/AB",
        "oidc-eks.eu-west-2.api.aws/id/CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC",
        "oidc-eks.cn-northwest-1.api.amazonwebservices.com.cn/id/AB",
    ],
)
def test_issuers_of_eks_are_known(issuer: str) -> None:
    provider = OidcProvider(f"arn:aws:iam::123456789012:oidc-provider/{issuer}")
    found, reason = audit(trust(A, provider=provider))
    assert names(found) == ["a/one"]
    assert reason == "It trusts a/one."


@pytest.mark.parametrize(
    "issuer",
    [
        "rh-oidc.s3.us-east-1.amazonaws.com/24ABC",
        "oidc.op1.openshiftapps.com/24ABC",
        "example-irsa.s3.eu-west-1.amazonaws.com",
        "token.actions.githubusercontent.com",
        "oidc.eks.eu-central-1.amazonaws.com.example.org/id/AB",
    ],
)
def test_another_issuer_is_named_as_not_checked(issuer: str) -> None:
    provider = OidcProvider(f"arn:aws:iam::123456789012:oidc-provider/{issuer}")
    found, reason = audit(trust(A, provider=provider))
    assert names(found) == []
    assert reason == (
        f"It trusts no EKS cluster. Another issuer, not checked: {issuer}. Give the ARN of its OIDC provider to check "
        "it."
    )
    explicit, reason = audit(trust(A, provider=provider), provider=provider)
    assert names(explicit) == ["a/one"]
    assert reason == "It trusts a/one."


def test_a_provider_that_sts_never_finds_is_named() -> None:
    wrong = OidcProvider(CHINA.arn.replace("aws-cn", "aws"))
    _found, reason = audit(trust(A, provider=wrong), provider=CHINA, arn="arn:aws-cn:iam::123456789012:role/r")
    assert reason == (
        f"It trusts no service account. The principal {wrong.arn} is not the cluster's OIDC provider: that is "
        f"{CHINA.arn}."
    )
    _found, reason = audit(trust(A, provider=wrong), arn="arn:aws-cn:iam::123456789012:role/r")
    assert "is of another account or partition than the role (123456789012, aws-cn)" in reason
    _found, reason = audit(trust(A, provider=DUAL_STACK), arn="arn:aws:iam::210987654321:role/r")
    assert "STS looks for the OIDC provider there only" in reason
    assert not audit(trust(A))[0].ineffective


def test_the_suffixes_are_those_of_every_partition() -> None:
    loader = pytest.importorskip("botocore.loaders").Loader()
    partitions = loader.load_data("partitions")["partitions"]
    assert set(findings.DNS_SUFFIXES) == {entry["outputs"]["dnsSuffix"] for entry in partitions}
    assert set(findings.DUAL_STACK_SUFFIXES) == {entry["outputs"]["dualStackDnsSuffix"] for entry in partitions}


def test_a_name_of_a_subject_is_never_changed() -> None:
    assert sub("a", "one").value == A
