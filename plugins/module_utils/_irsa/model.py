# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OIDC providers, subjects, bindings and roles: the data classes that all of C(_irsa) shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

AUDIENCE = "sts.amazonaws.com"
ACTION = "sts:AssumeRoleWithWebIdentity"
_SERVICE_ACCOUNT = "system:serviceaccount"
# Kubernetes' rules: a namespace is an RFC 1123 label, a service account a subdomain of such labels.
LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
_PROVIDER = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):oidc-provider/(.+)")


def has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


class IrsaError(Exception):
    """An option or a call that fails: what failed, for which resource, why, and what to do."""


@dataclass(frozen=True)
class OidcProvider:
    """An IAM OIDC provider. Its issuer, without scheme, is the prefix of its condition keys."""

    arn: str

    @classmethod
    def parse(cls, arn: str) -> OidcProvider:
        if not _PROVIDER.fullmatch(arn):
            raise IrsaError(
                f"{arn!r} is not the ARN of an OIDC provider. Write arn:PARTITION:iam::ACCOUNT:oidc-provider/ISSUER, "
                "as ListOpenIDConnectProviders shows it."
            )
        return cls(arn)

    @classmethod
    def from_cluster(cls, cluster_arn: str, issuer: str) -> OidcProvider:
        """The provider that a cluster's tokens need: the cluster's partition and account, and its issuer verbatim."""
        parts = cluster_arn.split(":")
        return cls(f"arn:{parts[1]}:iam::{parts[4]}:oidc-provider/{issuer.partition('://')[2] or issuer}")

    @property
    def issuer(self) -> str:
        return self.arn.partition(":oidc-provider/")[2]

    @property
    def partition(self) -> str:
        return self.arn.split(":")[1]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    def get_condition_key(self, claim: str) -> str:
        """The condition key of a claim of this provider's tokens, such as C(ISSUER:sub)."""
        return f"{self.issuer}:{claim}"


@dataclass(frozen=True)
class Subject:
    """The C(sub) claim of service accounts' tokens.

    C(is_pattern): it contains wildcards. C(*) matches any characters, C(?) matches exactly one.
    """

    value: str
    is_pattern: bool = False

    @classmethod
    def from_service_account(cls, namespace: str, service_account: str) -> Subject:
        value = f"{_SERVICE_ACCOUNT}:{namespace}:{service_account}"
        return cls(value, has_wildcard(value))

    @property
    def namespaced_name(self) -> Optional[tuple[str, str]]:
        """Namespace and service account; None where the subject is not a service account's."""
        head, _dummy, rest = self.value.partition(f"{_SERVICE_ACCOUNT}:")
        namespace, colon, name = rest.partition(":")
        return (namespace, name) if not head and colon else None

    def __str__(self) -> str:
        return "/".join(self.namespaced_name) if self.namespaced_name else self.value


# Every service account of a cluster: a statement without a condition on the subject allows them all.
ANY_SUBJECT = Subject.from_service_account("*", "*")


def get_role_name(role: str) -> str:
    """The name of a role that is given by name or by ARN. IAM's API takes names, without the path."""
    return role.rpartition("/")[2] if role.startswith("arn:") else role


def get_role_account(role: str) -> Optional[str]:
    """The account of a role that is given by its ARN."""
    parts = role.split(":", 5)
    return parts[4] if parts[0] == "arn" and len(parts) == 6 else None


@dataclass(frozen=True)
class Binding:
    """Service accounts of one namespace, and the role that they may (C(is_present)) or may not assume."""

    role: str
    provider: OidcProvider
    subjects: tuple[Subject, ...]
    is_present: bool = True

    def __str__(self) -> str:
        return f"{self.role}: {', '.join(map(str, self.subjects))}"


@dataclass(frozen=True)
class PolicyOptions:
    """The options that decide how a trust policy is edited."""

    audience: str = AUDIENCE
    purge: bool = False
    allow_empty: bool = False
    explicit_subjects: bool = False
    create_role: bool = False


@dataclass(frozen=True)
class IamRole:
    """A role as IAM returns it. C(document): its trust policy document."""

    name: str
    arn: str
    document: Mapping[str, Any]
