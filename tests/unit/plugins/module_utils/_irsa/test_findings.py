# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may assume which role, and the mismatches with a cluster's service accounts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import findings
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.findings import ANNOTATION, ServiceAccount
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import IamRole
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    GITHUB_STATEMENT,
    OTHER,
    SERVICE,
    document,
    trust,
    value,
)

WEB, API = value("shop", "web"), value("shop", "api")


def role(name: str, *statements: Any, path: str = "") -> IamRole:
    return IamRole(name, f"arn:aws:iam::123456789012:role/{path}{name}", document(*statements))


def account(name: str, arn: str = "", namespace: str = "shop") -> ServiceAccount:
    return ServiceAccount(namespace, name, {ANNOTATION: arn} if arn else {})


def list_grants(iam_role: IamRole, provider: Any = None) -> list[tuple[Any, ...]]:
    entries = [entry.to_dict() for entry in findings.list_role_grants(iam_role, provider)]
    return [
        (entry["namespace"], entry["service_account"], entry["wildcard"], entry["open_to_all"], entry["statement"])
        for entry in entries
    ]


def test_each_subject_is_reported_with_its_statement() -> None:
    iam_role = role("r", SERVICE, trust(WEB, API), GITHUB_STATEMENT, trust(WEB, provider=OTHER))
    assert list_grants(iam_role) == [
        ("shop", "web", False, False, "Statement[1]"),
        ("shop", "api", False, False, "Statement[1]"),
        ("shop", "web", False, False, "Statement[3]"),
    ]
    assert list_grants(iam_role, OTHER) == [("shop", "web", False, False, "Statement[3]")]
    assert list_grants(iam_role, CLUSTER) == [
        ("shop", "web", False, False, "Statement[1]"),
        ("shop", "api", False, False, "Statement[1]"),
    ]
    assert list_grants(role("r", SERVICE, GITHUB_STATEMENT), CLUSTER) == []
    assert list_grants(role("r", SERVICE, GITHUB_STATEMENT)) == []


@pytest.mark.parametrize("provider", [CLUSTER, None])
def test_grants_of_another_audience_are_reported_by_that_audience(provider: Any) -> None:
    iam_role = role("r", trust(WEB, aud="vault"))
    assert [grant.subject.value for grant in findings.list_role_grants(iam_role, provider, "vault")] == [WEB]
    assert findings.list_role_grants(iam_role, provider) == []


def test_wildcards_and_what_is_open_are_marked() -> None:
    wild = role("r", trust(value("shop", "*"), operator="StringLike"))
    assert list_grants(wild) == [("shop", "*", True, False, "Statement[0]")]
    opened = role("r", trust())
    assert list_grants(opened) == [(None, None, False, True, "Statement[0]")]
    assert "trusts every service account" in " ".join(
        findings.list_warnings(opened, findings.list_role_grants(opened, None))
    )
    assert findings.format_reason(opened, findings.list_role_grants(opened, None)).startswith(
        "It trusts every service account of oidc.eks."
    )


def test_a_star_under_string_equals_lets_in_nobody() -> None:
    starred = role("r", trust(value("shop", "*")))
    assert list_grants(starred) == []
    assert [entry.subject for entry in findings.read_trust(starred, CLUSTER).ineffective] == [value("shop", "*")]


def test_whom_a_deny_rejects_is_reported() -> None:
    deny = {**trust(WEB), "Effect": "Deny", "Sid": "NotTheWeb"}
    entries = findings.list_role_grants(role("r", trust(WEB, API), deny), CLUSTER)
    assert [grant.denied_by for grant in entries] == [("Statement[1] (NotTheWeb)",), ()]


def test_a_missing_audience_is_warned_about() -> None:
    iam_role = role("r", trust(WEB, aud=None))
    assert "does not check the audience" in " ".join(
        findings.list_warnings(iam_role, findings.list_role_grants(iam_role, None))
    )


LBC = role("lbc", trust(value("kube-system", "lbc")), path="team/")


@pytest.mark.parametrize(
    ("accounts", "associations", "expected"),
    [
        ([account("lbc", LBC.arn, "kube-system")], [], []),
        ([account("lbc", LBC.arn, "kube-system"), account("web")], [], []),
        (
            [account("lbc", LBC.arn, "kube-system"), account("lbc", LBC.arn, "cloudon")],
            [],
            [("annotated_not_trusted", "cloudon", "lbc", LBC.arn)],
        ),
        ([], [], [("trusted_not_found", "kube-system", "lbc", LBC.arn)]),
        (
            [account("lbc", namespace="kube-system"), account("web", f"{LBC.arn}x")],
            [],
            [("role_missing", "shop", "web", f"{LBC.arn}x")],
        ),
        (
            [account("lbc", namespace="kube-system"), account("web", "arn:aws:acm:eu-central-1:1:certificate/x")],
            [],
            [("role_missing", "shop", "web", "arn:aws:acm:eu-central-1:1:certificate/x")],
        ),
        # A role that exists under another path: no role has the annotation's ARN.
        (
            [account("lbc", "arn:aws:iam::123456789012:role/lbc", "kube-system")],
            [],
            [("role_missing", "kube-system", "lbc", "arn:aws:iam::123456789012:role/lbc")],
        ),
        (
            [account("lbc", LBC.arn, "kube-system"), account("web")],
            [("kube-system", "lbc"), ("shop", "web")],
            [("annotation_overridden", "kube-system", "lbc", LBC.arn)],
        ),
        ([account("lbc", namespace="kube-system"), account("web", "arn:aws:iam::999999999999:role/x")], [], []),
    ],
)
def test_mismatches_are_found(
    accounts: list[ServiceAccount], associations: list[tuple[str, str]], expected: list[tuple[str, ...]]
) -> None:
    named = findings.list_annotated_roles(accounts, CLUSTER)
    annotated = {arn: LBC if arn == LBC.arn else None for arn in named}
    found = findings.list_findings(CLUSTER, [LBC], annotated, accounts, set(associations))
    assert [(finding.kind, finding.namespace, finding.service_account, finding.role) for finding in found] == expected
    assert all(finding.reason for finding in found)


def test_a_role_that_could_not_be_read_is_no_finding() -> None:
    accounts = [account("lbc", namespace="kube-system"), account("web", "arn:aws:iam::123456789012:role/unread")]
    assert findings.list_findings(CLUSTER, [LBC], {}, accounts, set()) == []


def test_roles_of_other_accounts_are_named_as_not_checked() -> None:
    accounts = [account("web", "arn:aws:iam::999999999999:role/x"), account("api", LBC.arn), account("db", "nonsense")]
    assert findings.list_cross_account(accounts, CLUSTER) == ["shop/web"]
    assert findings.list_annotated_roles(accounts, CLUSTER) == [LBC.arn]
