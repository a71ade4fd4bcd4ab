# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Providers, subjects and bindings: what the rooms of this capability hand each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

AUDIENCE = "sts.amazonaws.com"
ACTION = "sts:AssumeRoleWithWebIdentity"
_SERVICE_ACCOUNT = "system:serviceaccount"
_PROVIDER = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):oidc-provider/(.+)")


def has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


class IrsaError(Exception):
    """What was asked cannot be done: what, to which thing, why, and the way out."""


@dataclass(frozen=True)
class OidcProvider:
    """An IAM OIDC provider. Its issuer, without scheme, is the prefix of its condition keys."""

    arn: str

    @classmethod
    def parse(cls, arn: str) -> OidcProvider:
        if not _PROVIDER.fullmatch(arn):
            raise IrsaError(
                f"{arn!r} is no ARN of an OIDC provider. Write arn:PARTITION:iam::ACCOUNT:oidc-provider/ISSUER, as "
                "ListOpenIDConnectProviders shows it."
            )
        return cls(arn)

    @classmethod
    def from_cluster(cls, cluster_arn: str, issuer: str) -> OidcProvider:
        """The provider that a cluster's tokens need: of its own partition and account, its issuer to the letter."""
        parts = cluster_arn.split(":")
        return cls(f"arn:{parts[1]}:iam::{parts[4]}:oidc-provider/{issuer.partition('://')[2] or issuer}")

    @property
    def issuer(self) -> str:
        return self.arn.partition(":oidc-provider/")[2]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    def get_condition_key(self, claim: str) -> str:
        """The condition key of one of its claims."""
        return f"{self.issuer}:{claim}"


@dataclass(frozen=True)
class Subject:
    """The C(sub) of service accounts' tokens. C(pattern): C(*) and C(?) in it stand for any characters, for any one."""

    value: str
    is_pattern: bool = False

    @classmethod
    def from_service_account(cls, namespace: str, service_account: str) -> Subject:
        value = f"{_SERVICE_ACCOUNT}:{namespace}:{service_account}"
        return cls(value, has_wildcard(value))

    @property
    def namespaced_name(self) -> Optional[tuple[str, str]]:
        """Namespace and service account; None where it is no service account's."""
        head, _dummy, rest = self.value.partition(f"{_SERVICE_ACCOUNT}:")
        namespace, colon, name = rest.partition(":")
        return (namespace, name) if not head and colon else None

    def __str__(self) -> str:
        return "/".join(self.namespaced_name) if self.namespaced_name else self.value


# Every service account of a cluster: what a statement allows that names no subject.
ANY_SUBJECT = Subject.from_service_account("*", "*")


def get_role_name(role: str) -> str:
    """The name of a role that is given by name or by ARN: IAM's calls take names, whose paths play no part."""
    return role.rpartition("/")[2] if role.startswith("arn:") else role


def get_role_account(role: str) -> Optional[str]:
    """The account of a role that is given by its ARN."""
    parts = role.split(":", 5)
    return parts[4] if parts[0] == "arn" and len(parts) == 6 else None


@dataclass(frozen=True)
class Binding:
    """Service accounts of one namespace, and the role that they may or may not assume."""

    role: str
    provider: OidcProvider
    subjects: tuple[Subject, ...]
    is_present: bool = True

    def __str__(self) -> str:
        return f"{self.role}: {', '.join(map(str, self.subjects))}"


@dataclass(frozen=True)
class PolicyOptions:
    """How bindings are to be made true: what the plan needs besides them."""

    audience: str = AUDIENCE
    purge: bool = False
    allow_empty: bool = False
    explicit_subjects: bool = False
    create_role: bool = False


@dataclass(frozen=True)
class IamRole:
    """A role as IAM shows it. C(document): its trust document."""

    name: str
    arn: str
    document: Mapping[str, Any]
