# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluator and the edits of trust policies, by tables."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import policy, policy_edit
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import IrsaError, OidcProvider, Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    GITHUB,
    GITHUB_STATEMENT,
    ISSUER,
    OTHER,
    SERVICE,
    STS,
    document,
    sub,
    trust,
    value,
)

A, B = value("a", "one"), value("b", "two")
SUB, AUD = CLUSTER.get_condition_key("sub"), CLUSTER.get_condition_key("aud")


def statement(condition: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**trust(), "Condition": condition, **more}


# Documents, and whether a/one may assume the role.
ANSWERS: list[tuple[str, dict[str, Any], bool]] = [
    ("named", document(trust(A)), True),
    ("named in a list", document(trust(B, A)), True),
    ("another", document(trust(B)), False),
    ("one object for Statement", {"Version": "2012-10-17", "Statement": trust(A)}, True),
    ("no statement", document(), False),
    ("wildcard", document(trust("system:serviceaccount:a:*", operator="StringLike")), True),
    ("wildcard under StringEquals is no wildcard", document(trust("system:serviceaccount:a:*")), False),
    ("question mark", document(trust("system:serviceaccount:?:one", operator="StringLike")), True),
    ("audience only: open to all", document(trust()), True),
    ("no condition at all", document(trust(aud=None)), True),
    ("another audience", document(trust(A, aud="vault")), False),
    ("another cluster", document(trust(A, provider=OTHER)), False),
    ("keys in another case", document(statement({"StringEquals": {SUB.upper(): A, AUD.title(): STS}})), True),
    (
        "both operators intersect",
        document(statement({"StringEquals": {SUB: [A, B]}, "StringLike": {SUB: "system:serviceaccount:b:*"}})),
        False,
    ),
    (
        "both operators hold",
        document(statement({"StringEquals": {SUB: [A, B]}, "StringLike": {SUB: "system:serviceaccount:a:*"}})),
        True,
    ),
    ("ForAllValues", document(trust(A, operator="ForAllValues:StringEquals")), True),
    ("ForAnyValue", document(trust(A, operator="ForAnyValue:StringLike")), True),
    ("ForAnyValue of another", document(trust(B, operator="ForAnyValue:StringLike")), False),
    ("IfExists", document(trust(B, operator="StringEqualsIfExists")), False),
    ("ignored case", document(trust(A.upper(), operator="StringEqualsIgnoreCase")), True),
    ("StringNotEquals", document(trust(A, operator="StringNotEquals")), False),
    ("StringNotEquals of another", document(trust(B, operator="StringNotEquals")), True),
    ("StringNotLike", document(trust("system:serviceaccount:a:*", operator="StringNotLike")), False),
    ("Null requires that there is none", document(statement({"Null": {SUB: "true"}})), False),
    ("Null requires that there is one", document(statement({"Null": {SUB: "false"}})), True),
    ("Null as a boolean", document(statement({"Null": {SUB: True}})), False),
    ("a claim of another issuer", document(statement({"StringEquals": {OTHER.get_condition_key("sub"): A}})), False),
    (
        "another issuer's, if it exists",
        document(statement({"StringEqualsIfExists": {OTHER.get_condition_key("sub"): A}})),
        True,
    ),
    (
        "another issuer's, for all",
        document(statement({"ForAllValues:StringLike": {OTHER.get_condition_key("sub"): A}})),
        True,
    ),
    ("another issuer's, negated", document(statement({"StringNotEquals": {OTHER.get_condition_key("sub"): A}})), True),
    ("an external id", document(statement({"StringEquals": {"sts:ExternalId": "x", SUB: A}})), False),
    ("this provider", document(statement({"ArnLike": {"aws:FederatedProvider": CLUSTER.arn}})), True),
    ("not this provider", document(statement({"StringEquals": {"aws:FederatedProvider": OTHER.arn}})), False),
    ("another condition", document(statement({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})), True),
    ("two providers", document({**trust(A), "Principal": {"Federated": [OTHER.arn, CLUSTER.arn]}}), True),
    ("everybody", document({**trust(A), "Principal": "*"}), True),
    ("every AWS principal", document({**trust(A), "Principal": {"AWS": ["*"]}}), True),
    ("a service", document(SERVICE), False),
    ("another action", document({**trust(A), "Action": "sts:AssumeRole"}), False),
    ("action by wildcard, any case", document({**trust(A), "Action": ["STS:assumerole*"]}), True),
    ("NotAction", document({**trust(A), "NotAction": "sts:TagSession", "Action": []}), False),
    ("denied", document(trust(A), {**trust(A), "Effect": "Deny"}), False),
    ("another is denied", document(trust(A), {**trust(B), "Effect": "Deny"}), True),
    ("denied by wildcard action", document(trust(A), {"Effect": "Deny", "Principal": "*", "Action": "*"}), False),
    (
        "all other principals denied",
        document(trust(A), {"Effect": "Deny", "NotPrincipal": {"Federated": CLUSTER.arn}, "Action": "sts:*"}),
        True,
    ),
]


@pytest.mark.parametrize(
    ("trust_policy", "expected"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_answers(trust_policy: dict[str, Any], expected: bool) -> None:
    assert policy.evaluate(trust_policy, CLUSTER, Subject(A)).is_allowed is expected


def test_not_action_allows_the_rest() -> None:
    allow = trust(A)
    del allow["Action"]
    assert policy.evaluate(document({**allow, "NotAction": "sts:TagSession"}), CLUSTER, Subject(A)).is_allowed


def test_a_verdict_names_the_statements() -> None:
    trust_policy = document(SERVICE, {**trust(B), "Sid": "Two"}, trust(A))
    assert str(policy.evaluate(trust_policy, CLUSTER, Subject(B))) == "allowed, by Statement[1] (Two)"
    assert str(policy.evaluate(trust_policy, CLUSTER, Subject(A))) == "allowed, by Statement[2]"
    assert str(policy.evaluate(trust_policy, CLUSTER, sub("c", "three"))) == "denied: no statement allows it"
    denied = policy.evaluate(document(trust(A), {**trust(A), "Effect": "Deny"}), CLUSTER, Subject(A))
    assert str(denied) == "denied, by Statement[1]"


def test_conditions_that_cannot_be_evaluated_are_named() -> None:
    trust_policy = document(statement({"StringEquals": {SUB: A}, "IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}))
    (match,) = policy.evaluate(trust_policy, CLUSTER, Subject(A)).allowed_by
    assert match.conditions == ('IpAddress aws:SourceIp: "192.0.2.0/24"',)
    assert not match.checks_audience
    perhaps = policy.evaluate(
        document(
            trust(A),
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sts:*",
                "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}},
            },
        ),
        CLUSTER,
        Subject(A),
    )
    assert perhaps.is_allowed
    assert [match.index for match in perhaps.possibly_denied_by] == [1]


def test_policy_variables_cannot_be_evaluated_and_are_literal_in_old_versions() -> None:
    allow = trust("system:serviceaccount:a:${aws:username}", operator="StringLike")
    (match,) = policy.evaluate(document(allow), CLUSTER, Subject(A)).allowed_by
    assert match.conditions
    assert not policy.evaluate({"Version": "2008-10-17", "Statement": allow}, CLUSTER, Subject(A)).is_allowed


@pytest.mark.parametrize(
    ("allow", "how"),
    [
        (trust(A), "name"),
        (trust(A, "system:serviceaccount:*:*", operator="StringLike"), "name"),
        (trust("system:serviceaccount:a:*", operator="StringLike"), "wildcard"),
        (trust(), "open"),
        (trust(B, operator="StringNotEquals"), "open"),
    ],
)
def test_how(allow: dict[str, Any], how: str) -> None:
    assert policy.evaluate(document(allow), CLUSTER, Subject(A)).allowed_by[0].how == how


@pytest.mark.parametrize(
    ("allow", "loose"),
    [
        (trust(A), False),
        (trust(A, operator="ForAllValues:StringEquals"), True),
        (trust(A, operator="StringLikeIfExists"), True),
        (trust(A, operator="ForAnyValue:StringEquals"), False),
    ],
)
def test_loose(allow: dict[str, Any], loose: bool) -> None:
    assert policy.evaluate(document(allow), CLUSTER, Subject(A)).allowed_by[0].is_loose is loose


PATTERN = sub("a", "*")


@pytest.mark.parametrize(
    ("trust_policy", "allowed", "denied", "possibly_denied"),
    [
        (document(trust(PATTERN.value, operator="StringLike")), True, 0, 0),
        (document(trust("system:serviceaccount:*", operator="StringLike")), True, 0, 0),
        (document(trust("system:serviceaccount:a:o*", operator="StringLike")), False, 0, 0),
        (document(trust("system:serviceaccount:a:?", operator="StringLike")), False, 0, 0),
        (document(trust(PATTERN.value)), False, 0, 0),
        (document(trust()), True, 0, 0),
        (document(trust(), {**trust(A), "Effect": "Deny"}), True, 0, 1),
        (document(trust(), {**trust(B), "Effect": "Deny"}), True, 0, 0),
        (document(trust(), {**trust("*a:*", operator="StringLike"), "Effect": "Deny"}), False, 1, 0),
        (document(trust(), {**trust("*:o*", operator="StringLike"), "Effect": "Deny"}), True, 0, 1),
        (document(trust(), {**trust(B, operator="StringNotEquals"), "Effect": "Deny"}), False, 1, 0),
        (document(trust(), {**trust(A, operator="StringNotEquals"), "Effect": "Deny"}), True, 0, 1),
    ],
)
def test_patterns(trust_policy: dict[str, Any], allowed: bool, denied: int, possibly_denied: int) -> None:
    verdict = policy.evaluate(trust_policy, CLUSTER, PATTERN)
    assert (verdict.is_allowed, len(verdict.denied_by), len(verdict.possibly_denied_by)) == (
        allowed,
        denied,
        possibly_denied,
    )


@pytest.mark.parametrize(
    ("pattern", "other", "expected"),
    [
        ("a*", "*b", True),
        ("a", "b*", False),
        ("*", "", True),
        ("", "", True),
        ("a?c", "*bc", True),
        ("a?c", "abd*", False),
        ("*a*", "bb", False),
        ("x:*:y", "x:z:*", True),
    ],
)
def test_overlap(pattern: str, other: str, expected: bool) -> None:
    for pair in ((pattern, other), (other, pattern)):
        assert policy.has_overlap(*pair) is expected


def test_grants_show_whom_each_statement_trusts() -> None:
    trust_policy = document(
        SERVICE,
        GITHUB_STATEMENT,
        trust(A, B),
        trust("system:serviceaccount:c:*", operator="StringLike"),
        trust(),
        trust(A, provider=OTHER),
        {**trust(A), "Effect": "Deny"},
        statement({"StringEquals": {SUB: [A, B]}, "StringLike": {SUB: "system:serviceaccount:b:*"}}),
        trust("*", operator="StringLike"),
    )
    found = [
        (grant.match.index, grant.subject and str(grant.subject)) for grant in policy.list_grants(trust_policy, CLUSTER)
    ]
    assert found == [(2, "a/one"), (2, "b/two"), (3, "c/*"), (4, None), (7, "b/two"), (8, None)]
    assert policy.list_provider_arns(trust_policy) == [GITHUB.arn, CLUSTER.arn, OTHER.arn]


def test_deleted_principals_are_found() -> None:
    gone = {"Effect": "Allow", "Principal": {"AWS": ["AROAEXAMPLEEXAMPLE123", "arn:aws:iam::123456789012:root"]}}
    assert policy.list_deleted_principals(document(gone)) == ["AROAEXAMPLEEXAMPLE123"]
    user = {"Effect": "Deny", "NotPrincipal": {"AWS": "AIDAEXAMPLEEXAMPLE123"}, "Action": "*"}
    assert policy.list_deleted_principals(document(gone, user, gone)) == [
        "AROAEXAMPLEEXAMPLE123",
        "AIDAEXAMPLEEXAMPLE123",
    ]


def test_the_size_is_of_compact_text_in_characters() -> None:
    assert policy_edit.render_compact({"Sid": "é", "Action": ["a", "b"]}) == '{"Sid":"é","Action":["a","b"]}'
    assert policy_edit.count_characters({"Sid": "é", "Action": ["a", "b"]}) == 30


# Edits


def test_a_scalar_becomes_an_array_and_nothing_else_changes() -> None:
    before = document(SERVICE, trust(A), Id="mine")
    kept = copy.deepcopy(before)
    after, index = policy_edit.add(before, CLUSTER, [Subject(B)], STS)
    expected = copy.deepcopy(before)
    expected["Statement"][1]["Condition"]["StringEquals"][SUB] = [A, B]
    assert (after, index) == (expected, 1)
    assert before == kept
    assert list(after) == list(before)


@pytest.mark.parametrize("spelling", [str.upper, str.title])
def test_keys_in_another_case_are_the_same_keys(spelling: Callable[[str], str]) -> None:
    """IAM knows no case in the names of condition keys (docs/facts/irsa.md#trust-policy-logic)."""

    def spelt(subjects: Any) -> dict[str, Any]:
        return document(SERVICE, statement({"StringEquals": {spelling(SUB): subjects}}))

    assert policy_edit.add(spelt(A), CLUSTER, [Subject(B)], STS) == (spelt([A, B]), 1)
    assert policy_edit.remove(spelt([A, B]), CLUSTER, Subject(B)) == spelt([A])
    assert policy_edit.purge(spelt([A, B]), CLUSTER, [Subject(A)]) == spelt([A])
    assert policy_edit.remove(spelt(A), CLUSTER, Subject(A)) == document(SERVICE)


# Statements to which the subject cannot be added: a new statement is made.
CLOSED = [
    ("both operators", statement({"StringEquals": {SUB: A, AUD: STS}, "StringLike": {SUB: "*"}})),
    ("two spellings of the key", statement({"StringEquals": {SUB: A, SUB.upper(): A}})),
    ("two providers", {**trust(A), "Principal": {"Federated": [CLUSTER.arn, OTHER.arn]}}),
    ("another principal beside", {**trust(A), "Principal": {"Federated": CLUSTER.arn, "Service": "x.amazonaws.com"}}),
    ("everybody", {**trust(A), "Principal": "*"}),
    ("no subject", trust()),
    ("set operator", trust(A, operator="ForAllValues:StringEquals")),
    ("any value", trust(A, operator="ForAnyValue:StringEquals")),
    ("negated", trust(A, operator="StringNotEquals")),
    ("if it exists", trust(A, operator="StringEqualsIfExists")),
    ("another audience", trust(A, aud="vault")),
    ("another provider", trust(A, provider=OTHER)),
    ("another issuer's claim", statement({"StringEquals": {SUB: A, OTHER.get_condition_key("aud"): STS}})),
    ("a Deny", {**trust(A), "Effect": "Deny"}),
    ("another action", {**trust(A), "Action": "sts:TagSession"}),
]


@pytest.mark.parametrize("existing", [case[1] for case in CLOSED], ids=[case[0] for case in CLOSED])
def test_a_statement_of_its_own(existing: dict[str, Any]) -> None:
    after, index = policy_edit.add(document(existing), CLUSTER, [Subject(B)], STS)
    assert index == 1
    assert after == document(existing, trust(B))


def test_a_single_object_becomes_a_list_only_where_a_second_statement_joins() -> None:
    single = {"Version": "2012-10-17", "Statement": trust(A)}
    assert policy_edit.add(single, CLUSTER, [Subject(B)], STS)[0]["Statement"] == trust(A, B)
    assert policy_edit.add(single, CLUSTER, [PATTERN], STS)[0]["Statement"][0] == trust(A)


def test_a_pattern_keeps_to_statements_of_its_own() -> None:
    mixed = document(trust(A, operator="StringLike"))
    after, index = policy_edit.add(mixed, CLUSTER, [PATTERN], STS)
    assert index == 1
    assert after["Statement"][1] == trust(PATTERN.value, operator="StringLike")
    wide = document(trust(PATTERN.value, operator="StringLike"))
    assert policy_edit.add(wide, CLUSTER, [Subject(B)], STS)[0] == document(wide["Statement"][0], trust(B))
    again, index = policy_edit.add(after, CLUSTER, [sub("b", "*")], STS)
    assert index == 1
    assert again["Statement"][0] == trust(A, operator="StringLike")


def test_the_statement_with_the_fewest_other_conditions_is_edited() -> None:
    fenced = statement({"StringEquals": {SUB: A, AUD: STS}, "IpAddress": {"aws:SourceIp": "192.0.2.0/24"}})
    assert policy_edit.add(document(fenced), CLUSTER, [Subject(B)], STS)[1] == 0
    assert policy_edit.add(document(fenced, trust(A)), CLUSTER, [Subject(B)], STS)[1] == 1
    assert policy_edit.add(document(trust(A, aud=None), trust(A)), CLUSTER, [Subject(B)], STS)[1] == 1


def test_removing_narrows_every_statement_that_names_the_subject() -> None:
    before = document(
        SERVICE,
        trust(A, B),
        trust(A),
        trust(A, B, provider=OTHER),
        {**trust(A), "Effect": "Deny"},
        trust(A, B, operator="StringNotEquals"),
        trust(A, B, operator="ForAllValues:StringEquals"),
    )
    after = policy_edit.remove(before, CLUSTER, Subject(A))
    expected = copy.deepcopy(before)
    expected["Statement"][1]["Condition"]["StringEquals"][SUB] = [B]
    expected["Statement"][6]["Condition"]["ForAllValues:StringEquals"][SUB] = [B]
    del expected["Statement"][2]
    assert after == expected


def test_a_statement_of_two_providers_loses_this_provider_with_its_last_subject() -> None:
    shared = {**trust(A), "Principal": {"Federated": [CLUSTER.arn, OTHER.arn]}}
    assert policy_edit.remove(document(shared), CLUSTER, Subject(A)) == document(
        {**shared, "Principal": {"Federated": [OTHER.arn]}}
    )
    mixed = {**trust(A), "Principal": {"Federated": CLUSTER.arn, "AWS": "arn:aws:iam::123456789012:root"}}
    assert policy_edit.remove(document(mixed), CLUSTER, Subject(A)) == document(
        {**mixed, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}
    )


def test_the_last_subject_of_a_statement_for_everybody_cannot_go() -> None:
    with pytest.raises(policy_edit.SharedStatementError, match=r"Statement\[0\]: the statement trusts every principal"):
        policy_edit.remove(document({**trust(A), "Principal": "*"}), CLUSTER, Subject(A))
    after = policy_edit.remove(document({**trust(A, B), "Principal": "*"}), CLUSTER, Subject(A))
    assert after["Statement"][0]["Condition"]["StringEquals"][SUB] == [B]


def test_purge_leaves_what_is_kept_and_all_others() -> None:
    before = document(
        SERVICE,
        GITHUB_STATEMENT,
        trust(A, B),
        trust(B),
        trust(PATTERN.value, operator="StringLike"),
        trust(),
        trust(B, operator="StringNotEquals"),
        trust(A, B, provider=OTHER),
        {**trust(A), "Effect": "Deny"},
        statement({"StringEquals": {SUB: [A, B]}, "StringLike": {SUB: "system:serviceaccount:a:*"}}),
    )
    after = policy_edit.purge(before, CLUSTER, [Subject(A)])
    kept = copy.deepcopy(before["Statement"])
    kept[2]["Condition"]["StringEquals"][SUB] = [A]
    kept[9]["Condition"]["StringEquals"][SUB] = [A]
    assert after["Statement"] == [kept[index] for index in (0, 1, 2, 7, 8, 9)]


def test_statements_for_another_action_are_never_narrowed() -> None:
    """They do not allow anybody to assume the role, so this module does not change them."""
    other = {**trust(A, B), "Action": "sts:TagSession"}
    before = document(other, trust(A, B))
    expected = document(other, {**trust(A, B), "Condition": {"StringEquals": {AUD: STS, SUB: [B]}}})
    assert policy_edit.remove(before, CLUSTER, Subject(A)) == expected
    assert policy_edit.purge(before, CLUSTER, [Subject(B)]) == expected


def test_shortening_keeps_the_meaning() -> None:
    named = {**trust(A), "Sid": "Mine"}
    before = document(
        {**SERVICE, "Action": ["sts:AssumeRole"]}, trust(A, A, B), named, trust(value("c", "x")), trust(B, aud="vault")
    )
    after = policy_edit.shorten(before, CLUSTER)
    assert after == document(before["Statement"][0], trust(A, B, value("c", "x")), named, trust(B, aud="vault"))
    assert policy_edit.count_characters(after) < policy_edit.count_characters(before)
    apart = document({**trust(A), "Sid": "Team"}, {**trust(B), "Sid": "Team"}, {**trust(B), "Sid": "Other"})
    assert policy_edit.shorten(apart, CLUSTER) == apart  # a Sid is somebody's name for the statement


def test_canonical_forms_of_the_same_meaning_are_equal() -> None:
    canonical = {"Version": "2012-10-17", "Statement": {**trust(A, B), "Action": ["sts:AssumeRoleWithWebIdentity"]}}
    assert policy_edit.to_canonical(canonical) == policy_edit.to_canonical(document(trust(B, A)))
    assert policy_edit.to_canonical(canonical) != policy_edit.to_canonical(document(trust(B)))


def test_providers_and_subjects() -> None:
    assert (
        OidcProvider.from_cluster("arn:aws:eks:eu-central-1:123456789012:cluster/one", f"https://{ISSUER}") == CLUSTER
    )
    china = OidcProvider.from_cluster(
        "arn:aws-cn:eks:cn-north-1:123456789012:cluster/one",
        "https://oidc.eks.cn-north-1.amazonaws.com.cn/id/AB",
    )
    assert china.arn == "arn:aws-cn:iam::123456789012:oidc-provider/oidc.eks.cn-north-1.amazonaws.com.cn/id/AB"
    with pytest.raises(IrsaError, match="not the ARN of an OIDC provider"):
        OidcProvider.parse("arn:aws:iam::123456789012:saml-provider/x")
    assert sub("a", "one").namespaced_name == ("a", "one")
    assert str(Subject("repo:example/app")) == "repo:example/app"
