# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which service account may assume which role, and the findings against a cluster's service accounts. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import policy
from .model import ANY_SUBJECT, AUDIENCE, LABEL, SUBDOMAIN, IamRole, OidcProvider, Subject, has_wildcard

ANNOTATION = "eks.amazonaws.com/role-arn"
# The DNS suffixes of all partitions, for IPv4 and for dual-stack (docs/facts/irsa.md#issuers-and-partitions).
DNS_SUFFIXES = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)
DUAL_STACK_SUFFIXES = (
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
    "api.aws.hci.ic.gov",
)
_EKS_ISSUER = re.compile(
    rf"oidc[.-]eks\.[a-z0-9-]+\.(?:{'|'.join(map(re.escape, (*DNS_SUFFIXES, *DUAL_STACK_SUFFIXES)))})/id/\w+"
)
_SUBJECT = re.compile(rf"system:serviceaccount:{LABEL}:{SUBDOMAIN}")
_PATTERN_LETTERS = re.compile(r"[-a-z0-9.:*?]+")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.+/)?[\w+=,.@-]{1,64}", re.ASCII)

ANNOTATED_NOT_TRUSTED = "annotated_not_trusted"
TRUSTED_NOT_FOUND = "trusted_not_found"
ROLE_MISSING = "role_missing"
# Where both exist, the association wins (docs/facts/irsa.md#pod-identity).
ANNOTATION_OVERRIDDEN = "annotation_overridden"


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
    """A role's statement trusts a subject. C(subject) is None where the statement is open to all."""

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


@dataclass(frozen=True)
class IneffectiveGrant:
    """A part of a trust policy that seems to let somebody in, and lets in nobody."""

    statement: str
    subject: Optional[str]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"statement": self.statement, "subject": self.subject, "reason": self.reason}


@dataclass(frozen=True)
class RoleTrust:
    """What a role's trust policy does for service accounts.

    C(other_issuers): OIDC issuers that are not EKS's, where no provider is given. Nothing is known about their tokens.
    """

    grants: tuple[RoleGrant, ...] = ()
    ineffective: tuple[IneffectiveGrant, ...] = ()
    other_issuers: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.grants and not self.ineffective


def is_eks_issuer(issuer: str) -> bool:
    return bool(_EKS_ISSUER.fullmatch(issuer))


def list_providers(role: IamRole, provider: Optional[OidcProvider]) -> list[OidcProvider]:
    """The given provider, or those of EKS clusters that the role names.

    A statement for every principal (wildcard) names no provider, but trusts the given one as well.
    """
    if provider is not None:
        return [provider]
    named = [OidcProvider(arn) for arn in policy.list_provider_arns(role.document)]
    return [candidate for candidate in named if is_eks_issuer(candidate.issuer)]


def list_role_grants(role: IamRole, provider: Optional[OidcProvider], audience: str = AUDIENCE) -> list[RoleGrant]:
    """The grants that have an effect: some service account can have that subject."""
    found = []
    for trusted_provider in list_providers(role, provider):
        for grant in policy.list_grants(role.document, trusted_provider, audience):
            if _get_impossible_reason(grant) is None:
                denied = policy.evaluate(
                    role.document, trusted_provider, grant.subject or ANY_SUBJECT, audience
                ).denied_by
                found.append(RoleGrant(trusted_provider, grant.subject, grant.match, tuple(map(str, denied))))
    return found


def read_trust(role: IamRole, provider: Optional[OidcProvider], audience: str = AUDIENCE) -> RoleTrust:
    """What the trust policy does, and which parts of it do nothing."""
    named = [OidcProvider(arn) for arn in policy.list_provider_arns(role.document)]
    ineffective: list[IneffectiveGrant] = []
    for candidate in list_providers(role, provider):
        for grant in policy.list_grants(role.document, candidate, audience):
            reason = _get_impossible_reason(grant)
            if reason and grant.subject:
                ineffective.append(IneffectiveGrant(str(grant.match), grant.subject.value, reason))
        for statement in policy.list_ineffective_statements(role.document, candidate, audience):
            ineffective.append(IneffectiveGrant(statement.label, None, statement.reason))
    for other in named:
        reason = _get_wrong_provider_reason(other, provider, role)
        if reason:
            ineffective.append(IneffectiveGrant("Principal", None, reason))
    others = () if provider else tuple(other.issuer for other in named if not is_eks_issuer(other.issuer))
    return RoleTrust(tuple(list_role_grants(role, provider, audience)), tuple(ineffective), others)


def _get_impossible_reason(grant: policy.TrustGrant) -> Optional[str]:
    """Why no service account can have the subject that a statement names; None where one can."""
    subject = grant.subject
    if subject is None or grant.match.is_uncertain or _can_exist(subject):
        return None
    if not subject.is_pattern and has_wildcard(subject.value):
        return (
            f"{grant.match} lets in nobody by {subject.value!r}: StringEquals takes * and ? literally, and no service "
            "account has such a name. Only StringLike knows wildcards."
        )
    return (
        f"{grant.match} lets in nobody by {subject.value!r}: no service account has such a subject, which reads "
        "system:serviceaccount:NAMESPACE:NAME in lowercase."
    )


def _can_exist(subject: Subject) -> bool:
    """Whether a service account can have this subject, or one that the pattern covers."""
    if not subject.is_pattern:
        return bool(_SUBJECT.fullmatch(subject.value))
    return bool(_PATTERN_LETTERS.fullmatch(subject.value)) and policy.has_overlap(subject.value, ANY_SUBJECT.value)


def _get_wrong_provider_reason(named: OidcProvider, provider: Optional[OidcProvider], role: IamRole) -> Optional[str]:
    """Why STS never finds a provider that the trust policy names."""
    if provider is not None:
        if named.issuer == provider.issuer and named.arn != provider.arn:
            return f"The principal {named.arn} is not the cluster's OIDC provider: that is {provider.arn}."
        return None
    partition, account = role.arn.split(":")[1], role.arn.split(":")[4]
    if is_eks_issuer(named.issuer) and (named.partition, named.account) != (partition, account):
        return (
            f"The principal {named.arn} is of another account or partition than the role ({account}, {partition}), and "
            "STS looks for the OIDC provider there only."
        )
    return None


def list_warnings(role: IamRole, grants: Sequence[RoleGrant]) -> Iterator[str]:
    for grant in grants:
        if grant.subject is None:
            yield (
                f"{role.name}: {grant.match} trusts every service account of {grant.provider.issuer}, because it has "
                "no condition on the subject."
            )
        elif not grant.match.checks_audience:
            yield f"{role.name}: {grant.match} does not check the audience of {grant.subject}'s tokens."
        if grant.match.is_loose:
            yield f"{role.name}: {grant.match} also passes tokens without a subject (ForAllValues or IfExists)."
    deleted = policy.list_deleted_principals(role.document)
    if deleted:
        yield (
            f"{role.name}: it names deleted principals ({', '.join(deleted)}), with which IAM refuses the next write "
            "of its trust policy."
        )


def format_reason(
    role: IamRole,
    grants: Sequence[RoleGrant],
    ineffective: Sequence[IneffectiveGrant] = (),
    other_issuers: Sequence[str] = (),
) -> str:
    """What the trust policy does for service accounts, as sentences."""
    found = []
    allowed = [grant for grant in grants if not grant.denied_by]
    if allowed:
        found.append(f"It trusts {_join_subjects(allowed)}.")
    found += [
        f"{_join_subjects([grant])} is denied by {', '.join(grant.denied_by)}." for grant in grants if grant.denied_by
    ]
    if not allowed and not other_issuers:
        found.insert(0, "It trusts no service account.")
    if not grants and other_issuers:
        found.append("It trusts no EKS cluster.")
    if other_issuers:
        found.append(
            f"Another issuer, not checked: {', '.join(other_issuers)}. Give the ARN of its OIDC provider to check it."
        )
    found += dict.fromkeys(entry.reason for entry in ineffective)
    return " ".join(found)


def _join_subjects(grants: Sequence[RoleGrant]) -> str:
    names = [
        str(grant.subject) if grant.subject else f"every service account of {grant.provider.issuer}" for grant in grants
    ]
    shown = ", ".join(dict.fromkeys(names[:10]))
    return f"{shown}{f' and {len(names) - 10} more' if len(names) > 10 else ''}"


# --- Together with a cluster.


@dataclass(frozen=True)
class IrsaFinding:
    """A mismatch between a service account of the cluster and a role."""

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
    """The ARNs in annotations that belong to the provider's account."""
    named = dict.fromkeys(account.role_arn for account in accounts if account.role_arn)
    return [arn for arn in named if arn and _parse_role_account(arn) == provider.account]


def _parse_role_account(arn: str) -> Optional[str]:
    """The account of a role's ARN; None where the text is not the ARN of a role."""
    match = _ROLE_ARN.fullmatch(arn)
    return match[1] if match else None


def list_cross_account(accounts: Sequence[ServiceAccount], provider: OidcProvider) -> list[str]:
    """Service accounts with a role of another account. That role and its OIDC provider are not readable here."""
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
    """Compares service accounts, roles and Pod Identity associations.

    C(roles): the audited roles. C(annotated): by ARN, the roles in annotations; None where the role does not exist.
    A role that could not be read is left out. C(associations): namespace and service account of each association.
    """
    found: list[IrsaFinding] = []
    for account in accounts:
        if account.role_arn:
            found += _check_annotation(account, account.role_arn, provider, annotated, audience)
            if (account.namespace, account.name) in associations:
                reason = (
                    "It also has a Pod Identity association, which wins: new pods get the association's role. Pods "
                    "that were created before the association still use the annotation."
                )
                found.append(_make_finding(ANNOTATION_OVERRIDDEN, account, reason))
    existing = {(account.namespace, account.name) for account in accounts}
    for role in roles:
        grants = [grant for grant in list_role_grants(role, provider, audience) if not grant.denied_by]
        for subject in dict.fromkeys(grant.subject for grant in grants):
            if (
                subject is None
                or subject.is_pattern
                or subject.namespaced_name is None
                or subject.namespaced_name in existing
            ):
                continue
            reason = f"{role.name} trusts it, but the cluster has no such service account."
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
        yield _make_finding(ROLE_MISSING, account, f"Its annotation is not the ARN of a role: {role_arn}.")
    elif role_arn in annotated:
        role = annotated[role_arn]
        if role is None:
            yield _make_finding(ROLE_MISSING, account, f"The role {role_arn} does not exist.")
            return
        verdict = policy.evaluate(role.document, provider, account.subject, audience)
        if not verdict.is_allowed:
            yield _make_finding(ANNOTATED_NOT_TRUSTED, account, f"{role.name}: {verdict}.")
