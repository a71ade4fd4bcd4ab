# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Providers, statements and documents that these tests share."""

from __future__ import annotations

from typing import Any, Union

from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import OidcProvider, Subject

ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
OTHER_ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/FEDCBA9876543210FEDCBA9876543210"
CLUSTER = OidcProvider(f"arn:aws:iam::123456789012:oidc-provider/{ISSUER}")
OTHER = OidcProvider(f"arn:aws:iam::123456789012:oidc-provider/{OTHER_ISSUER}")
GITHUB = OidcProvider("arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com")
STS = "sts.amazonaws.com"


def sub(namespace: str, name: str) -> Subject:
    return Subject.from_service_account(namespace, name)


def value(namespace: str, name: str) -> str:
    return sub(namespace, name).value


def trust(
    *subjects: str, provider: OidcProvider = CLUSTER, operator: str = "StringEquals", aud: Union[str, None] = STS
) -> dict[str, Any]:
    """A statement as people write it: one subject as a scalar, several as an array, none without a condition."""
    condition: dict[str, dict[str, Any]] = {}
    if aud:
        condition.setdefault("StringEquals", {})[provider.get_condition_key("aud")] = aud
    if subjects:
        condition.setdefault(operator, {})[provider.get_condition_key("sub")] = (
            subjects[0] if len(subjects) == 1 else list(subjects)
        )
    return {
        "Effect": "Allow",
        "Principal": {"Federated": provider.arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    }


def document(*statements: Any, **more: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", **more, "Statement": list(statements)}


SERVICE = {
    "Sid": "Service",
    "Effect": "Allow",
    "Principal": {"Service": "ec2.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
GITHUB_STATEMENT = {
    "Sid": "GitHub",
    "Effect": "Allow",
    "Principal": {"Federated": GITHUB.arn},
    "Action": "sts:AssumeRoleWithWebIdentity",
    "Condition": {
        "StringEquals": {GITHUB.get_condition_key("aud"): STS},
        "StringLike": {GITHUB.get_condition_key("sub"): "repo:example/app:*"},
    },
}
