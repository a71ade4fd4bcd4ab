# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random trust policies (hypothesis) of few providers and subjects, so that their statements overlap."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    GITHUB,
    OTHER,
    SERVICE,
    STS,
    sub,
)

st = pytest.importorskip("hypothesis.strategies")

PROVIDERS = (CLUSTER, OTHER, GITHUB)
SUBJECTS = tuple(sub(namespace, name) for namespace in "ab" for name in ("one", "two"))
PATTERNS = (sub("a", "*"), sub("*", "one"), sub("?", "t*"), sub("*", "*"))
AUDIENCES = (STS, "vault")
OPERATORS = (
    *("StringEquals", "StringEquals", "StringEquals", "StringLike", "StringLike", "StringEqualsIgnoreCase"),
    *("ForAllValues:StringEquals", "ForAnyValue:StringLike", "StringEqualsIfExists", "StringNotEquals"),
    *("StringNotLike", "ForAllValues:StringNotLike", "StringLikeIfExists", "ForAnyValue:StringEquals", "ArnLike"),
)
VALUES = [subject.value for subject in (*SUBJECTS, *PATTERNS)] + [
    "repo:example/app:*",
    SUBJECTS[0].value.upper(),
    "system:serviceaccount:${aws:PrincipalTag/namespace}:one",
    "system:serviceaccount:a:${*}",
]
# Beside those on subject and audience: some hold, some never do, some depend on the request.
OTHER_CONDITIONS = (
    ("StringNotEquals", OTHER.get_condition_key("aud"), "x"),
    ("Null", CLUSTER.get_condition_key("sub"), "false"),
    ("Null", CLUSTER.get_condition_key("sub"), True),
    ("Bool", "aws:SecureTransport", "true"),
    ("StringEquals", "sts:ExternalId", "x"),
    ("StringEquals", "aws:FederatedProvider", CLUSTER.arn),
)
SPELLINGS = (str, str, str.upper, str.title)


def scalar_or_list(values: Any, **sizes: int) -> Any:
    """A scalar or an array, which mean the same."""
    lists = st.lists(values, min_size=1, max_size=3, unique=True, **sizes)
    return st.one_of(values, lists)


@st.composite
def conditions(draw: Any, provider: Any) -> dict[str, dict[str, Any]]:
    block: dict[str, dict[str, Any]] = {}
    for _dummy in range(draw(st.sampled_from((0, 1, 1, 1, 1, 2)))):
        key = draw(st.sampled_from(SPELLINGS))(provider.get_condition_key("sub"))
        block.setdefault(draw(st.sampled_from(OPERATORS)), {})[key] = draw(scalar_or_list(st.sampled_from(VALUES)))
    if draw(st.sampled_from((True, True, True, False))):
        operator = draw(st.sampled_from(("StringEquals", "StringEquals", "StringLike", "ForAnyValue:StringEquals")))
        key = draw(st.sampled_from(SPELLINGS))(provider.get_condition_key("aud"))
        block.setdefault(operator, {})[key] = draw(scalar_or_list(st.sampled_from(AUDIENCES)))
    if draw(st.sampled_from((False, False, False, True))):
        operator, key, value = draw(st.sampled_from(OTHER_CONDITIONS))
        block.setdefault(operator, {})[key] = value
    return block


@st.composite
def web_identity(draw: Any) -> dict[str, Any]:
    provider = draw(st.sampled_from((CLUSTER, CLUSTER, CLUSTER, OTHER, GITHUB)))
    principal: Any = {"Federated": provider.arn}
    kind = draw(st.sampled_from(("one", "one", "one", "one", "list", "two", "everybody", "mixed")))
    if kind == "list":
        principal = {"Federated": [provider.arn]}
    elif kind == "two":
        principal = {"Federated": [provider.arn, draw(st.sampled_from([p for p in PROVIDERS if p != provider])).arn]}
    elif kind == "everybody":
        principal = draw(st.sampled_from(("*", {"AWS": "*"})))
    elif kind == "mixed":
        principal = {"Federated": provider.arn, "AWS": "arn:aws:iam::123456789012:root"}
    action = draw(
        st.sampled_from(
            (
                "sts:AssumeRoleWithWebIdentity",
                ["sts:AssumeRoleWithWebIdentity"],
                ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
                "sts:*",
                "sts:TagSession",
            )
        )
    )
    statement = {"Effect": draw(st.sampled_from(("Allow",) * 5 + ("Deny",))), "Principal": principal, "Action": action}
    block = draw(conditions(provider))
    return {**statement, "Condition": block} if block or draw(st.booleans()) else statement


# Statements of others, which stay as they are.
OTHERS = (
    SERVICE,
    {"Effect": "Deny", "Principal": "*", "NotAction": "sts:AssumeRoleWithWebIdentity"},
    {"Effect": "Deny", "NotPrincipal": {"Federated": [provider.arn for provider in PROVIDERS]}, "Action": "sts:*"},
)


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    listed = draw(
        st.lists(
            st.one_of(web_identity(), web_identity(), web_identity(), st.sampled_from(OTHERS)), min_size=1, max_size=5
        )
    )
    listed = [
        {**statement, "Sid": f"Sid{number}"} if draw(st.booleans()) else statement
        for number, statement in enumerate(listed)
    ]
    version = draw(st.sampled_from(("2012-10-17", "2012-10-17", "2012-10-17", "2008-10-17", None)))
    document: dict[str, Any] = {"Version": version} if version else {}
    if draw(st.booleans()):
        document["Id"] = "mine"
    document["Statement"] = listed[0] if len(listed) == 1 and draw(st.booleans()) else listed
    return document


UNIVERSE = list(itertools.product(PROVIDERS, SUBJECTS, AUDIENCES))
