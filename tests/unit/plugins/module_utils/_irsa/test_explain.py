# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What mends a refusal, by what was seen; and all of the corpus is explained, also if nothing was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import explain
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.denied import parse_message
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.explain import (
    DenialEvidence,
    ExplainOptions,
    ObservedRole,
    Simulation,
    TagCondition,
)
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    document,
    trust,
    value,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.refusals import (
    CLASSIC,
    CORPUS,
    DELETE,
    LOAD_BALANCER,
    WEB_IDENTITY,
    Case,
)

TAG = "elbv2.k8s.aws/cluster"
KEY = f"aws:ResourceTag/{TAG}"
ALICE = ExplainOptions(subject=Subject.from_service_account("cloudon", "lbc"), cluster="blue")
LBC = ObservedRole("arn:aws:iam::123456789012:role/lbc", document(trust(value("kube-system", "lbc"))))


def allow(action: Any = DELETE, resource: str = "*", **condition: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**told, "Condition": condition} if condition else told


def seen(*statements: dict[str, Any], decision: str = explain.IMPLICIT_DENY, **more: Any) -> DenialEvidence:
    told = DenialEvidence(
        role=LBC,
        provider=CLUSTER,
        policies=(("inline", document(*statements)),),
        tags={},
        simulation=Simulation({}, decision),
    )
    return replace(told, **more)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_every_refusal_is_explained_also_if_nothing_was_seen(case: Case) -> None:
    told = explain.explain(parse_message(case.message), ExplainOptions(), DenialEvidence())
    assert told.side == case.side
    assert told.remediation.description
    assert told.trust is None
    assert told.evidence[0]["looked_at"] == "the message"
    given = [
        one for one in (told.remediation.binding, told.remediation.statement, told.remediation.tags) if one is not None
    ]
    assert len(given) <= 1


def test_the_classic_case() -> None:
    tried = Simulation({TAG: "blue"}, explain.ALLOWED)
    look = seen(allow(Null={KEY: "false"}), tags={"owner": "x"}, tried=tried)
    told = explain.explain(parse_message(CLASSIC), ALICE, look)
    assert told.side == "permission"
    assert told.remediation.tags == {TAG: "blue"}
    assert f"on condition that it bears the tag {TAG}" in told.reason
    assert told.ineffective_remediation
    assert "cloudon/lbc" in told.ineffective_remediation
    assert told.trust is not None
    assert told.trust.allowed is False


def test_tags_are_the_mend_only_where_the_simulator_says_so() -> None:
    look = seen(allow(Null={KEY: "false"}))
    for tried in (None, Simulation({TAG: "blue"}, explain.IMPLICIT_DENY)):
        told = explain.explain(parse_message(CLASSIC), ALICE, replace(look, tried=tried))
        assert told.remediation.tags is None
        assert "conditions" in told.remediation.description


@pytest.mark.parametrize(
    ("look", "words", "statement"),
    [
        (seen(allow("s3:*")), "Add this statement to a policy of lbc", True),
        (seen(allow(resource="arn:aws:elasticloadbalancing:*:*:targetgroup/*")), "Add this statement", True),
        (seen(allow(), decision=explain.ALLOWED), "None, if policies or tags were changed since", False),
        (
            seen({**allow("*"), "Effect": "Deny"}, decision=explain.EXPLICIT_DENY),
            "Narrow the Deny in inline, Statement[0]",
            False,
        ),
        (
            seen(allow(), simulated=Simulation({}, explain.IMPLICIT_DENY, allowed_by_boundary=False)),
            "permissions boundary",
            True,
        ),
        (
            seen(allow(), simulated=Simulation({}, explain.IMPLICIT_DENY, allowed_by_organizations=False)),
            "AWS Organizations",
            False,
        ),
        (seen(allow(IpAddress={"aws:SourceIp": "192.0.2.0/24"})), "IpAddress aws:SourceIp", False),
        (DenialEvidence(), "Allow elasticloadbalancing:DeleteLoadBalancer to the caller", True),
    ],
)
def test_the_least_change_of_a_missing_permission(look: DenialEvidence, words: str, statement: bool) -> None:
    told = explain.explain(parse_message(CLASSIC), ExplainOptions(), look)
    assert told.side == "permission"
    assert words in told.remediation.description
    wanted = {"Effect": "Allow", "Action": DELETE, "Resource": LOAD_BALANCER}
    assert told.remediation.statement == (wanted if statement else None)


@pytest.mark.parametrize(
    ("operator", "values", "tags", "met", "wished"),
    [
        ("Null", ("false",), {}, False, "v"),
        ("Null", ("false",), {TAG: "x"}, True, "v"),
        ("Null", ("true",), {TAG: "x"}, False, None),
        ("Null", ("true",), {}, True, None),
        ("StringEquals", ("blue", "green"), {}, False, "blue"),
        ("StringEquals", ("blue",), {TAG: "green"}, False, "blue"),
        ("StringEquals", ("blue",), {TAG.upper(): "blue"}, True, "blue"),
        ("StringEqualsIfExists", ("blue",), {}, True, "blue"),
        ("StringEqualsIgnoreCase", ("Blue",), {TAG: "bLUE"}, True, "Blue"),
        ("StringLike", ("prod-*",), {TAG: "prod-1"}, True, "prod-v"),
        ("StringLike", ("prod-*",), {}, False, "prod-v"),
        ("StringEquals", ("${aws:PrincipalTag/x}",), {}, False, None),
        ("StringNotEquals", ("blue",), {}, None, None),
        ("DateGreaterThan", ("2026-01-01",), {}, None, None),
    ],
)
def test_demands_on_tags(operator: str, values: tuple[str, ...], tags: dict[str, str], met: Any, wished: Any) -> None:
    demand = TagCondition(operator, TAG, values)
    assert demand.is_satisfied(tags) is met
    assert demand.get_satisfying_value("v") == wished


def test_the_statement_that_lacks_the_fewest_tags_is_taken() -> None:
    two = allow(StringEquals={KEY: "blue", "elasticloadbalancing:ResourceTag/team": "net"})
    one = allow(Null={KEY: "false"})
    lack = explain.find_missing_tags(parse_message(CLASSIC), seen(two, one), "owned")
    assert lack is not None
    assert (str(lack.policy_statement), lack.tags) == ("inline, Statement[1]", {TAG: "owned"})
    both = allow(Null={KEY: "false"}, StringEquals={KEY: "blue"})
    lack = explain.find_missing_tags(parse_message(CLASSIC), seen(both), "owned")
    assert lack is not None
    assert lack.tags == {TAG: "blue"}


def test_a_refused_role_has_its_binding() -> None:
    told = explain.explain(parse_message(WEB_IDENTITY), replace(ALICE, role="lbc"), seen())
    assert told.side == "trust"
    assert told.remediation.binding == {
        "role": "lbc",
        "cluster": "blue",
        "namespace": "cloudon",
        "service_accounts": ["lbc"],
        "state": "present",
    }
    mended = replace(LBC, trust=document(trust(value("cloudon", "lbc"))))
    told = explain.explain(parse_message(WEB_IDENTITY), ALICE, seen(role=mended))
    assert told.remediation.binding is None
    assert "As the trust policy stands now, it lets cloudon/lbc in" in told.reason


def test_without_a_cluster_no_binding_is_made_up() -> None:
    told = explain.explain(
        parse_message(WEB_IDENTITY), ExplainOptions(role="lbc", subject=ALICE.subject), seen(provider=None)
    )
    assert told.remediation.binding is None
    assert told.trust is not None
    assert told.trust.allowed is None
    assert "kube-system/lbc" in told.trust.reason
