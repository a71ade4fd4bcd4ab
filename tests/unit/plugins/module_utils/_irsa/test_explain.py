# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remediation of a denial, by the evidence. All of the corpus is explained, also without evidence."""

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
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.denial_corpus import (
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
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def make_evidence(*statements: dict[str, Any], decision: str = explain.IMPLICIT_DENY, **more: Any) -> DenialEvidence:
    evidence = DenialEvidence(
        role=LBC,
        provider=CLUSTER,
        policies=(("inline", document(*statements)),),
        tags={},
        simulation=Simulation({}, decision),
    )
    return replace(evidence, **more)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_every_denial_is_explained_also_without_evidence(case: Case) -> None:
    explanation = explain.explain(parse_message(case.message), ExplainOptions(), DenialEvidence())
    remediation = explanation.remediation
    assert explanation.side == case.side
    assert remediation.description
    assert explanation.trust is None
    assert explanation.evidence[0]["source"] == "the message"
    changes = (remediation.binding, remediation.statement, remediation.tags)
    assert len([change for change in changes if change is not None]) <= 1


def test_the_classic_case() -> None:
    with_tags = Simulation({TAG: "blue"}, explain.ALLOWED)
    evidence = make_evidence(allow(Null={KEY: "false"}), tags={"owner": "x"}, simulation_with_tags=with_tags)
    explanation = explain.explain(parse_message(CLASSIC), ALICE, evidence)
    assert explanation.side == "permission"
    assert explanation.remediation.tags == {TAG: "blue"}
    assert f"on condition that the resource has the tag {TAG}" in explanation.reason
    assert explanation.ineffective_remediation
    assert "cloudon/lbc" in explanation.ineffective_remediation
    assert explanation.trust is not None
    assert explanation.trust.allowed is False


def test_tags_are_the_remediation_only_where_the_simulator_allows_it_with_them() -> None:
    evidence = make_evidence(allow(Null={KEY: "false"}))
    for with_tags in (None, Simulation({TAG: "blue"}, explain.IMPLICIT_DENY)):
        observed = replace(evidence, simulation_with_tags=with_tags)
        explanation = explain.explain(parse_message(CLASSIC), ALICE, observed)
        assert explanation.remediation.tags is None
        assert "conditions" in explanation.remediation.description


@pytest.mark.parametrize(
    ("evidence", "description", "has_statement"),
    [
        (make_evidence(allow("s3:*")), "Add this statement to a policy of lbc", True),
        (make_evidence(allow(resource="arn:aws:elasticloadbalancing:*:*:targetgroup/*")), "Add this statement", True),
        (make_evidence(allow(), decision=explain.ALLOWED), "None, if policies or tags were changed since", False),
        (
            make_evidence({**allow("*"), "Effect": "Deny"}, decision=explain.EXPLICIT_DENY),
            "Narrow the Deny in inline, Statement[0]",
            False,
        ),
        (
            make_evidence(allow(), simulation=Simulation({}, explain.IMPLICIT_DENY, allowed_by_boundary=False)),
            "in the permissions boundary",
            False,  # a statement for the role would not help
        ),
        (
            make_evidence(allow(), simulation=Simulation({}, explain.IMPLICIT_DENY, allowed_by_organizations=False)),
            "AWS Organizations",
            False,
        ),
        (make_evidence(allow(IpAddress={"aws:SourceIp": "192.0.2.0/24"})), "IpAddress aws:SourceIp", False),
        (DenialEvidence(), "Allow elasticloadbalancing:DeleteLoadBalancer to the caller", True),
    ],
)
def test_the_least_change_of_a_missing_permission(
    evidence: DenialEvidence, description: str, has_statement: bool
) -> None:
    explanation = explain.explain(parse_message(CLASSIC), ExplainOptions(), evidence)
    assert explanation.side == "permission"
    assert description in explanation.remediation.description
    expected = {"Effect": "Allow", "Action": DELETE, "Resource": LOAD_BALANCER}
    assert explanation.remediation.statement == (expected if has_statement else None)


@pytest.mark.parametrize(
    ("operator", "values", "tags", "satisfied", "required"),
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
def test_conditions_on_tags(
    operator: str, values: tuple[str, ...], tags: dict[str, str], satisfied: Any, required: Any
) -> None:
    condition = TagCondition(operator, TAG, values)
    assert condition.is_satisfied(tags) is satisfied
    assert condition.get_satisfying_value("v") == required


def test_the_statement_with_the_fewest_missing_tags_is_taken() -> None:
    two_tags = allow(StringEquals={KEY: "blue", "elasticloadbalancing:ResourceTag/team": "net"})
    single_tag = allow(Null={KEY: "false"})
    missing = explain.find_missing_tags(parse_message(CLASSIC), make_evidence(two_tags, single_tag), "owned")
    assert missing is not None
    assert (str(missing.policy_statement), missing.tags) == ("inline, Statement[1]", {TAG: "owned"})
    both = allow(Null={KEY: "false"}, StringEquals={KEY: "blue"})
    missing = explain.find_missing_tags(parse_message(CLASSIC), make_evidence(both), "owned")
    assert missing is not None
    assert missing.tags == {TAG: "blue"}


def test_a_denied_role_has_its_binding() -> None:
    explanation = explain.explain(parse_message(WEB_IDENTITY), replace(ALICE, role="lbc"), make_evidence())
    assert explanation.side == "trust"
    assert explanation.remediation.binding == {
        "role": "lbc",
        "cluster": "blue",
        "namespace": "cloudon",
        "service_accounts": ["lbc"],
        "state": "present",
    }
    corrected = replace(LBC, trust_policy=document(trust(value("cloudon", "lbc"))))
    explanation = explain.explain(parse_message(WEB_IDENTITY), ALICE, make_evidence(role=corrected))
    assert explanation.remediation.binding is None
    assert "The current trust policy allows cloudon/lbc" in explanation.reason


def test_without_a_cluster_no_binding_is_made_up() -> None:
    explanation = explain.explain(
        parse_message(WEB_IDENTITY), ExplainOptions(role="lbc", subject=ALICE.subject), make_evidence(provider=None)
    )
    assert explanation.remediation.binding is None
    assert explanation.trust is not None
    assert explanation.trust.allowed is None
    assert "kube-system/lbc" in explanation.trust.reason
