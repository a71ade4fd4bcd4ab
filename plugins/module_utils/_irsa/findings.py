# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may assume which role, and how that goes with what a cluster has. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import policy
from .model import AUDIENCE, IamRole, OidcProvider, Subject

ANNOTATION = "eks.amazonaws.com/role-arn"
_EKS_ISSUER = re.compile(r"oidc\.eks[.-]")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.+/)?[\w+=,.@-]{1,64}", re.ASCII)

ANNOTATED_NOT_TRUSTED = "annotated_not_trusted"
TRUSTED_NOT_FOUND = "trusted_not_there"
ROLE_MISSING = "role_missing"
ASSOCIATION_OVERRIDDEN = "association_overridden"


@dataclass(frozen=True)
class ServiceAccount:
    namespace: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        return Subject.from_service_account(self.namespace, self.name)

    @property
    def role_arn(self) -> Optional[str]:
        return self.annotations.get(ANNOTATION) or None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class RoleGrant:
    """Somebody whom a statement lets into a role. C(subject) is None where it lets in everybody."""

    provider: OidcProvider
    subject: Optional[Subject]
    match: policy.StatementMatch
    denied_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        namespace, name = (self.subject.namespaced_name if self.subject else None) or (None, None)
        return {
            "provider": self.provider.arn,
            "subject": self.subject.value if self.subject else None,
            "namespace": namespace,
            "service_account": name,
            "wildcard": bool(self.subject and self.subject.is_pattern),
            "open_to_all": self.subject is None,
            "statement": str(self.match),
            "conditions": list(self.match.conditions),
            "checks_audience": self.match.checks_audience,
            "denied_by": list(self.denied_by),
        }


def has_trust(role: IamRole, provider: Optional[OidcProvider]) -> bool:
    """Whether the role lets in anybody of that provider, or of any EKS cluster's."""
    return bool(list_providers(role, provider))


def list_providers(role: IamRole, provider: Optional[OidcProvider]) -> list[OidcProvider]:
    """Of which providers to tell: the one that is asked about, or every EKS cluster's that the role names.

    A statement for every principal names none, and lets in the one that is asked about all the same.
    """
    if provider is not None:
        return [provider] if policy.list_grants(role.document, provider) else []
    named = [OidcProvider(arn) for arn in policy.list_provider_arns(role.document)]
    return [candidate for candidate in named if _EKS_ISSUER.match(candidate.issuer)]


def list_role_grants(role: IamRole, provider: Optional[OidcProvider], audience: str = AUDIENCE) -> list[RoleGrant]:
    found = []
    for trusted_provider in list_providers(role, provider):
        for grant in policy.list_grants(role.document, trusted_provider, audience):
            denied = (
                policy.evaluate(role.document, trusted_provider, grant.subject, audience).denied_by
                if grant.subject
                else ()
            )
            found.append(RoleGrant(trusted_provider, grant.subject, grant.match, tuple(map(str, denied))))
    return found


def list_warnings(role: IamRole, grants: Sequence[RoleGrant]) -> Iterator[str]:
    for grant in grants:
        if grant.subject is None:
            yield (
                f"{role.name}: {grant.match} lets in every service account of {grant.provider.issuer}: it demands no "
                "subject."
            )
        elif not grant.match.checks_audience:
            yield f"{role.name}: {grant.match} does not look at the audience of {grant.subject}'s tokens."
        if grant.match.is_loose:
            yield f"{role.name}: {grant.match} passes tokens without a subject (ForAllValues or IfExists)."
    deleted = policy.list_deleted_principals(role.document)
    if deleted:
        yield (
            f"{role.name}: it names deleted principals ({', '.join(deleted)}), with which IAM refuses the next write "
            "of "
            "its trust policy."
        )


def format_reason(role: IamRole, grants: Sequence[RoleGrant]) -> str:
    """In one sentence."""
    if not grants:
        return "It lets in no service account."
    names = [str(grant.subject) if grant.subject else f"everybody of {grant.provider.issuer}" for grant in grants]
    shown = ", ".join(dict.fromkeys(names[:10]))
    return f"It lets in {shown}{f' and {len(names) - 10} more' if len(names) > 10 else ''}."


# --- Together with a cluster.


@dataclass(frozen=True)
class IrsaFinding:
    """Something that does not go together."""

    kind: str
    namespace: str
    service_account: str
    role: Optional[str]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "namespace": self.namespace,
            "service_account": self.service_account,
            "role": self.role,
            "reason": self.reason,
        }


def list_annotated_roles(accounts: Sequence[ServiceAccount], provider: OidcProvider) -> list[str]:
    """The ARNs of the roles of the provider's account that annotations name."""
    named = dict.fromkeys(account.role_arn for account in accounts if account.role_arn)
    return [arn for arn in named if arn and _parse_role_account(arn) == provider.account]


def _parse_role_account(arn: str) -> Optional[str]:
    """The account of a role; None where the text is no ARN of one."""
    match = _ROLE_ARN.fullmatch(arn)
    return match[1] if match else None


def list_cross_account(accounts: Sequence[ServiceAccount], provider: OidcProvider) -> list[str]:
    """Service accounts whose roles are another account's. Those trust a provider of that account; neither is seen."""
    return [
        str(account)
        for account in accounts
        if account.role_arn and _parse_role_account(account.role_arn) not in (None, provider.account)
    ]


def list_findings(
    provider: OidcProvider,
    roles: Sequence[IamRole],
    annotated: Mapping[str, Optional[IamRole]],
    accounts: Sequence[ServiceAccount],
    associations: Collection[tuple[str, str]],
    audience: str = AUDIENCE,
) -> list[IrsaFinding]:
    """C(roles): those that the audit is of. C(annotated): by ARN, the roles that annotations name, None where there is
    none; one that could not be read is not among them. C(associations): whose pod identity associations there are.
    """
    found: list[IrsaFinding] = []
    for account in accounts:
        if account.role_arn:
            found += _check_annotation(account, account.role_arn, provider, annotated, audience)
            if (account.namespace, account.name) in associations:
                reason = "It has a pod identity association, too. The annotation comes before it: SDKs use that first."
                found.append(_make_finding(ASSOCIATION_OVERRIDDEN, account, reason))
    existing = {(account.namespace, account.name) for account in accounts}
    for role in roles:
        for subject in dict.fromkeys(grant.subject for grant in policy.list_grants(role.document, provider, audience)):
            if (
                subject is None
                or subject.is_pattern
                or subject.namespaced_name is None
                or subject.namespaced_name in existing
            ):
                continue
            reason = f"{role.name} trusts it, and the cluster does not have it."
            found.append(IrsaFinding(TRUSTED_NOT_FOUND, *subject.namespaced_name, role.arn, reason))
    return found


def _make_finding(kind: str, account: ServiceAccount, reason: str) -> IrsaFinding:
    return IrsaFinding(kind, account.namespace, account.name, account.role_arn, reason)


def _check_annotation(
    account: ServiceAccount,
    role_arn: str,
    provider: OidcProvider,
    annotated: Mapping[str, Optional[IamRole]],
    audience: str,
) -> Iterator[IrsaFinding]:
    if _parse_role_account(role_arn) is None:
        yield _make_finding(ROLE_MISSING, account, f"Its annotation is no ARN of a role: {role_arn}.")
    elif role_arn in annotated:
        role = annotated[role_arn]
        if role is None:
            yield _make_finding(ROLE_MISSING, account, f"There is no role {role_arn}.")
            return
        verdict = policy.evaluate(role.document, provider, account.subject, audience)
        if not verdict.is_allowed:
            yield _make_finding(ANNOTATED_NOT_TRUSTED, account, f"{role.name}: {verdict}.")
