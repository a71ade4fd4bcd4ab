# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remediation of each kind of denial: an Allow only where one helps, a node's duties apart from pods, few lines."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.denied import parse_message
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.explain import (
    ALLOWED,
    EXPLICIT_DENY,
    IMPLICIT_DENY,
    DenialEvidence,
    ExplainOptions,
    Explanation,
    ObservedRole,
    Simulation,
    explain,
    summarize,
    summarize_evidence,
)
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    document,
    trust,
    value,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.denial_corpus import CORPUS, Case
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.denial_variants import (
    BUCKET,
    NODE_USER,
    SESSION,
    USER,
    VARIANTS,
    allowed_by_none,
)
from hypothesis import given, settings
from hypothesis import strategies as st

ALL = [*CORPUS, *VARIANTS]
ROLE = ObservedRole(
    "arn:aws:iam::123456789012:role/ctl", document(trust(value("shop", "web"))), "arn:aws:iam::1:policy/e"
)
# The kinds that only another policy than the role's lifts.
ELSEWHERE = {
    "resource_policy",
    "permissions_boundary",
    "service_control_policy",
    "resource_control_policy",
    "session_policy",
    "vpc_endpoint_policy",
    "other_policy",
}


def explain_message(message: str, observed: DenialEvidence | None = None, **options: str) -> Explanation:
    return explain(parse_message(message), ExplainOptions(**options), observed or DenialEvidence())  # type: ignore[arg-type]


def offers_allow(explanation: Explanation) -> bool:
    """Whether the remediation is an Allow in a policy of the caller."""
    remediation = explanation.remediation
    return remediation.statement is not None or bool(
        re.search(r"^Allow\b|Add this statement|^Attach AWS's policy", remediation.description)
    )


def make_evidence(decision: str) -> DenialEvidence:
    return DenialEvidence(role=ROLE, policies=(), tags={}, simulation=Simulation({}, decision))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_an_allow_is_offered_only_for_what_an_allow_lifts(case: Case) -> None:
    denial = parse_message(case.message)
    is_elsewhere = denial.explicit_deny or (denial.side == "permission" and denial.kind in ELSEWHERE)
    for decision in (None, IMPLICIT_DENY, EXPLICIT_DENY, ALLOWED):
        observed = DenialEvidence() if decision is None else make_evidence(decision)
        explanation = explain(denial, ExplainOptions(), observed)
        assert explanation.remediation.description
        if is_elsewhere or explanation.side == "unknown":
            assert not offers_allow(explanation), (decision, explanation.remediation)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_the_summary_is_short_and_the_evidence_stands_once(case: Case) -> None:
    subject = Subject.from_service_account("shop", "api")
    observed = replace(
        make_evidence(IMPLICIT_DENY), provider=CLUSTER, provider_exists=True, not_checked={"x": "y", "z": "y"}
    )
    explanation = explain(parse_message(case.message), ExplainOptions(subject=subject), observed)
    summary, evidence = summarize(explanation), summarize_evidence(explanation)
    assert 3 <= len(summary) <= 7
    assert not any("\n" in line for line in [*summary, *evidence])
    assert [line.partition(":")[0] for line in summary[:3]] == ["side", "reason", "remediation"]
    messages = [line.partition(": ")[2] for line in evidence]
    assert len(set(messages)) == len(messages)
    sentences = [sentence for line in summary for sentence in re.split(r"(?<=\.) (?=[A-Z])", line.partition(": ")[2])]
    assert not [sentence for sentence in sentences if len(sentence) > 60 and sentences.count(sentence) > 1]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("with an explicit deny in a service control policy: p-0abcd123", "Organizations"),
        ("with an explicit deny in a resource control policy", "Organizations"),
        (
            "with an explicit deny in a VPC endpoint policy transitively through a service control policy",
            "Organizations",
        ),
        (allowed_by_none("service control policy"), "Organizations"),
        (allowed_by_none("permissions boundary"), "the permissions boundary of the role ctl"),
        ("with an explicit deny in a permissions boundary", "the permissions boundary of the role ctl"),
        (allowed_by_none("session policy"), "AssumeRole passes it"),
        ("with an explicit deny in a VPC endpoint policy", "VPC endpoint"),
        (allowed_by_none("resource-based policy"), "policy of the bucket"),
        ("with an explicit deny in a resource-based policy", "policy of the bucket"),
        ("with an explicit deny in an identity-based policy: arn:aws:iam::123456789012:policy/x", "policy/x"),
        ("with an explicit deny", "Find the Deny"),
        (allowed_by_none("lunar policy"), "lunar policy"),
    ],
)
def test_the_remediation_is_where_the_policy_is(message: str, expected: str) -> None:
    explanation = explain_message(f"{USER} s3:GetObject on resource: {BUCKET} {message}", make_evidence(IMPLICIT_DENY))
    assert expected in explanation.remediation.description
    assert not offers_allow(explanation)
    assert explanation.ineffective_remediation


def test_an_allow_names_no_more_than_was_denied() -> None:
    clause = allowed_by_none("identity-based policy", "secretsmanager:GetSecretValue")
    named = explain_message(f"{USER} secretsmanager:GetSecretValue on resource: team/orders/db {clause}")
    assert named.remediation.statement is None
    assert "team/orders/db" in named.remediation.description
    full = explain_message(f"{USER} s3:GetObject on resource: {BUCKET} {allowed_by_none('identity-based policy')}")
    assert full.remediation.statement == {"Effect": "Allow", "Action": "s3:GetObject", "Resource": BUCKET}


@pytest.mark.parametrize(
    ("message", "node_only", "policy"),
    [
        (f"kubelet Failed to pull image: {NODE_USER} ecr:BatchGetImage", True, "AmazonEC2ContainerRegistryPullOnly"),
        (f"{NODE_USER} ecr:GetAuthorizationToken on resource: *", False, "AmazonEC2ContainerRegistryPullOnly"),
        (f"{NODE_USER} eks-auth:AssumeRoleForPodIdentity", True, "AmazonEKSWorkerNodePolicy"),
        (f"{NODE_USER} eks:DescribeCluster", False, "AmazonEKSWorkerNodePolicy"),
        (f"nodeadm: {NODE_USER} eks:DescribeCluster", True, "AmazonEKSWorkerNodePolicy"),
        (f"{NODE_USER} ec2:AssignPrivateIpAddresses", False, "AmazonEKS_CNI_Policy"),
        (f"aws-node ipamd: {NODE_USER} ec2:DescribeNetworkInterfaces", True, "AmazonEKS_CNI_Policy"),
        (f"{NODE_USER} ssmmessages:CreateControlChannel", True, "AmazonSSMManagedInstanceCore"),
        (f"{NODE_USER} dynamodb:GetItem", None, ""),
        (f"{NODE_USER} ec2:CreateVolume", None, ""),
        (f"{NODE_USER} ecr:DescribeImages", None, ""),
    ],
)
@pytest.mark.parametrize("clause", ["", " because no identity-based policy allows the x:y action"])
def test_duties_of_nodes_are_distinguished_from_pods_that_fell_back(
    message: str, node_only: bool | None, policy: str, clause: str
) -> None:
    explanation = explain_message(message + clause)
    description = explanation.remediation.description
    assert (policy in description) if policy else ("AWS's policy" not in description)
    assert ("Give the service account its role" in description) == (node_only is not True)
    assert ("Do not widen the node role" in description) == (node_only is not True)
    assert ("two readings" in explanation.reason) == (node_only is False)
    assert (explanation.remediation.statement is not None) == (node_only is True and bool(clause))


def test_an_image_of_another_account_needs_the_repository_too() -> None:
    message = f"kubelet: {NODE_USER} ecr:BatchGetImage on resource: arn:aws:ecr:eu-west-1:{{}}:repository/shop"
    assert "account 210987654321" in explain_message(message.format("210987654321")).remediation.description
    assert "in the account" not in explain_message(message.format("123456789012")).remediation.description


def test_a_node_that_an_explicit_deny_stops_gets_no_allow() -> None:
    explanation = explain_message(f"kubelet: {NODE_USER} ecr:BatchGetImage with an explicit deny in an SCP")
    assert "Organizations" in explanation.remediation.description
    assert not offers_allow(explanation)


def test_a_role_that_assumes_itself_is_named() -> None:
    role = "arn:aws:iam::123456789012:role/ctl"
    itself = explain_message(f"{USER} sts:AssumeRole on resource: {role}")
    assert "assume itself" in itself.reason
    assert "own settings" in itself.remediation.description
    other = explain_message(f"{USER} sts:AssumeRole on resource: {role}-b")
    assert "assume itself" not in other.reason
    assert SESSION in other.remediation.description
    assert f"{role}-b" in other.remediation.description


@pytest.mark.parametrize("case", [case for case in ALL if case.kind == "no_denial"], ids=lambda case: case.name)
def test_what_is_not_understood_is_not_excluded_from_iam(case: Case) -> None:
    description = explain_message(case.message).remediation.description
    assert description.startswith("Not known.")
    assert "IAM" not in description


# --- Denials of public bug reports. Names and accounts are replaced.

REPORTED = json.loads((Path(__file__).parent / "reported_denials.json").read_text())


@pytest.mark.parametrize("report", REPORTED, ids=lambda report: report["name"])
def test_reported_denials(report: dict[str, Any]) -> None:
    denial = parse_message(report["message"])
    explanation = explain(denial, ExplainOptions(), DenialEvidence())
    remediation = explanation.remediation
    texts = {
        "reason": explanation.reason,
        "remediation": remediation.description,
        "ineffective_remediation": explanation.ineffective_remediation or "",
    }
    values = {
        "is_node_role": bool(denial.caller and denial.caller.is_node_role),
        "caller_role": denial.caller and denial.caller.role,
        "encoded": bool(denial.encoded_message),
        "statement": remediation.statement,
    }
    for name, expected in report["expect"].items():
        text = texts.get(name.removesuffix("_not"))
        if text is not None:
            assert bool(re.search(expected, text)) != name.endswith("_not"), (name, text)
        else:
            assert values.get(name, getattr(denial, name, None)) == expected, name


# --- Properties.

CLAUSE_TYPES = st.sampled_from(
    [
        "",
        " in a service control policy",
        " in a service control policy: arn:aws:organizations::210987654321:policy/o-a/service_control_policy/p-1",
        " in a resource control policy",
        " in an identity-based policy",
        " in an identity-based policy: arn:aws:iam::123456789012:policy/Fence",
        " in a permissions boundary",
        " in a session policy",
        " in a sessions policy",
        " in a VPC endpoint policy",
        " in a VPC endpoint policy transitively through a service control policy",
        " in a resource-based policy",
        " in the role trust policy",
        " in a policy that nobody knows",
    ]
)
RESOURCES = st.sampled_from(
    [
        "",
        " on resource: *",
        f" on resource: {BUCKET}",
        f' on resource: "{BUCKET}"',
        " on resource: role build",
        " on resource: team/orders/db",
        " on resource: secret orders",
        " on this resource",
        " on the resource associated with this ciphertext",
        " on resource: arn:aws:iam::123456789012:role/ctl",
        " on resource: arn:aws:ecr:eu-west-1:210987654321:repository/shop",
    ]
)
USERS = st.sampled_from(
    [USER, NODE_USER, "User: anonymous is not authorized to perform:", "User is not authorized to perform"]
)
ACTIONS = st.sampled_from(
    [
        "s3:GetObject",
        "sts:AssumeRole",
        "sts:TagSession",
        "ecr:BatchGetImage",
        "kms:Decrypt",
        "ec2:RunInstances",
        "eks-auth:AssumeRoleForPodIdentity",
        "iam:PassRole",
    ]
)
PREFIXES = st.sampled_from(
    [
        "",
        "AccessDenied: ",
        "UnauthorizedOperation: You are not authorized to perform this operation. ",
        "kubelet Failed to pull image: ",
        "operation error S3: GetObject, https response error StatusCode: 403, api error ",
        "An error occurred (AccessDenied) when calling the GetObject operation: ",
        "API: x:Y ",
        'level=error msg="',
    ]
)
SUFFIXES = st.sampled_from(
    [
        "",
        ".",
        '"',
        "\n\tstatus code: 403, request id: 1",
        " (Service: S3, Status Code: 403, Request ID: 1)",
        "</Message>",
        ". Encoded authorization failure message: " + "aB_1-" * 20,
    ]
)
QUOTINGS = st.lists(st.sampled_from(["json", "repr", "html", "lines", "ansi", "quote"]), max_size=3)


def quote_text(text: str, quotings: list[str]) -> str:
    for quoting in quotings:
        if quoting == "json":
            text = f'{{"level": "error", "error": {json_string(text)}}}'
        elif quoting == "repr":
            text = str({"Message": text})
        elif quoting == "html":
            text = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        elif quoting == "lines":
            text = text.replace(" ", "\n\t")
        elif quoting == "ansi":
            text = f"\x1b[31m{text}\x1b[0m"
        else:
            text = f'"{text}"'
    return text


def json_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


@settings(max_examples=300, deadline=None)
@given(
    PREFIXES,
    USERS,
    ACTIONS,
    RESOURCES,
    CLAUSE_TYPES,
    SUFFIXES,
    QUOTINGS,
    st.sampled_from([None, IMPLICIT_DENY, ALLOWED]),
)
def test_an_explicit_deny_never_ends_in_an_allow(
    prefix: str,
    user: str,
    action: str,
    resource: str,
    policy_type: str,
    suffix: str,
    quotings: list[str],
    decision: str | None,
) -> None:
    sentence = f"{prefix}{user} {action}{resource} with an explicit deny{policy_type}{suffix}"
    message = quote_text(sentence, quotings)
    denial = parse_message(message)
    assert denial.explicit_deny, message
    assert denial.action == action
    observed = DenialEvidence() if decision is None else make_evidence(decision)
    explanation = explain(denial, ExplainOptions(role="ctl"), observed)
    assert not offers_allow(explanation), (message, explanation.remediation)
    assert explanation.remediation.binding is None


FRAGMENTS = st.sampled_from([part for case in ALL for part in (case.message, case.message[:80], case.message[-80:])])
NOISE = st.text(alphabet="{}[]()<>\"'\\/:;,.| \n\tunrxé=*&#%@aA1_-", max_size=60)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(FRAGMENTS, NOISE, st.text(max_size=40)), max_size=5))
def test_nothing_that_is_pasted_crashes(parts: list[str]) -> None:
    denial = parse_message("".join(parts))
    explanation = explain(denial, ExplainOptions(), make_evidence(IMPLICIT_DENY))
    assert explanation.remediation.description
    assert len(summarize(explanation)) <= 7


@pytest.mark.parametrize(
    "text",
    [
        "{" * 60_000,
        '{"a":' * 20_000,
        "arn:aws:iam::" * 6_000,
        "is not authorized to perform: s3:Get " * 2_000,
        "<a " * 20_000,
        "\\" * 60_000,
        "because no " * 8_000,
        "explicit deny in a " * 5_000,
    ],
)
def test_long_texts_take_no_long_time(text: str) -> None:
    parse_message(text)
