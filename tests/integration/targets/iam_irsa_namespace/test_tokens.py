# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluator compared with the test bed's STS, which shares no code with it: same result for each trust policy."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import policy
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import OidcProvider, Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.documents import UNIVERSE, documents
from integration.targets.iam_irsa_namespace.kit import SERVICE, Account, Cluster, document, value
from testbed.aws import sts

A, B = "a/one", "b/two"


@hypothesis.settings(max_examples=500, deadline=None)
@hypothesis.given(documents())
def test_the_evaluator_agrees_with_sts_on_random_documents(trust_policy: dict[str, Any]) -> None:
    role: Any = SimpleNamespace(assume_role_policy_document=json.dumps(trust_policy))
    for provider, subject, audience in UNIVERSE:
        known: Any = SimpleNamespace(url=provider.issuer, arn=provider.arn)
        token = sts.Token({}, {"sub": subject.value, "aud": [audience]}, b"", b"")
        expected = sts.allows(role, known, token, "it")
        verdict = policy.evaluate(trust_policy, provider, subject, audience)
        matches = (*verdict.allowed_by, *verdict.denied_by, *verdict.possibly_denied_by)
        if any(match.is_uncertain or match.conditions for match in matches):
            continue  # conditions on the request itself, which only STS knows
        assert verdict.is_allowed is expected, f"{subject} for {audience}"


def trusts(blue: Cluster, green: Cluster) -> dict[str, dict[str, Any]]:
    """By the role's name."""
    sub, aud = blue.key("sub"), blue.key("aud")
    return {
        "named": document(SERVICE, blue.trust(A)),
        "several": document(blue.trust(A, B)),
        "wild": document(blue.trust("a/*", operator="StringLike")),
        "no-wildcard": document(blue.trust("a/*")),
        "open": document(blue.trust()),
        "no-audience": document(blue.trust(A, aud=None)),
        "vault": document(blue.trust(A, aud="vault")),
        "both-operators": document(
            {**blue.trust(), "Condition": {"StringEquals": {sub: [value(A), value(B)]}, "StringLike": {sub: "*:b:*"}}}
        ),
        "key-case": document(
            {**blue.trust(), "Condition": {"StringEquals": {sub.upper(): value(A), aud.title(): "sts.amazonaws.com"}}}
        ),
        "for-all": document(blue.trust(B, operator="ForAllValues:StringEquals")),
        "all-but": document(blue.trust(A, operator="StringNotEquals")),
        "denied": document(blue.trust(A, B), blue.trust(A, Effect="Deny")),
        "green": document(green.trust(A)),
        "two-clusters": document({**blue.trust(A), "Principal": {"Federated": [green.arn, blue.arn]}}),
        "one-object": {"Version": "2012-10-17", "Statement": blue.trust(A)},
        "another-action": document(blue.trust(A, Action="sts:TagSession")),
    }


def test_sts_answers_real_tokens_right_and_wrong_as_the_evaluator_does(account: Account) -> None:
    blue, green = account.cluster_of("blue"), account.cluster_of("green")
    iam = account.aws.client("iam")
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=blue.arn, ClientID="vault")
    trust_policies = trusts(blue, green)
    for name, trust in trust_policies.items():
        account.role(name, trust)
    answers = set()
    for name, cluster, subject, audience in itertools.product(
        trust_policies, (blue, green), (A, "a/two", B), ("sts.amazonaws.com", "vault")
    ):
        namespace, service_account = subject.split("/")
        answer = account.answer(name, cluster.issuer.token(namespace, service_account, audience))
        verdict = policy.evaluate(trust_policies[name], OidcProvider(cluster.arn), Subject(value(subject)), audience)
        if (
            cluster is green and audience == "vault"
        ):  # whatever the trust policy: the provider does not have the audience
            assert answer == "InvalidIdentityToken: Incorrect token audience"
        elif verdict.is_allowed:
            assert answer == value(subject), f"{name} {subject} of {cluster.name} for {audience}: {verdict}"
        else:
            assert answer == "AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity", (
                f"{name} {subject} of {cluster.name} for {audience}: {verdict}"
            )
        answers.add((verdict.is_allowed, answer.partition(":")[0]))
    assert {allowed for allowed, _answer in answers} == {True, False}
    for token, error in (
        (blue.issuer.token("a", "one", seconds=-1), "ExpiredTokenException"),
        (blue.issuer.token("a", "one", iss=green.issuer.url), "Couldn't retrieve verification key"),
        (blue.issuer.token("a", "one", header={"alg": "none"}), "InvalidIdentityToken"),
        (blue.issuer.token("a", "one", header={"alg": "HS256"}), "InvalidIdentityToken"),
        (f"{blue.issuer.token('a', 'one')}x", "InvalidIdentityToken"),
    ):
        assert error in account.answer("named", token)


@pytest.mark.full
@hypothesis.settings(max_examples=3000, deadline=None)
@hypothesis.given(documents())
def test_the_evaluator_agrees_with_sts_on_many_random_documents(trust_policy: dict[str, Any]) -> None:
    test_the_evaluator_agrees_with_sts_on_random_documents.hypothesis.inner_test(trust_policy)
