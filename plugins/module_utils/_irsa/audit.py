# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may assume which role, and how that goes with what a cluster has. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import policy
from .model import AUDIENCE, Provider, Role, Subject

ANNOTATION = "eks.amazonaws.com/role-arn"
_EKS_ISSUER = re.compile(r"oidc\.eks[.-]")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:.+/)?[\w+=,.@-]{1,64}", re.ASCII)

NOT_TRUSTED = "annotated_not_trusted"
NOT_THERE = "trusted_not_there"
ROLE_MISSING = "role_missing"
OVERRIDDEN = "association_overridden"


@dataclass(frozen=True)
class ServiceAccount:
    namespace: str
    name: str
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        return Subject.of(self.namespace, self.name)

    @property
    def role(self) -> Optional[str]:
        return self.annotations.get(ANNOTATION) or None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Entry:
    """Somebody whom a statement lets into a role. C(subject) is None where it lets in everybody."""

    provider: Provider
    subject: Optional[Subject]
    match: policy.Match
    denied_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        namespace, name = (self.subject.pair if self.subject else None) or (None, None)
        return {
            "provider": self.provider.arn,
            "subject": self.subject.value if self.subject else None,
            "namespace": namespace,
            "service_account": name,
            "wildcard": bool(self.subject and self.subject.pattern),
            "open_to_all": self.subject is None,
            "statement": str(self.match),
            "conditions": list(self.match.conditions),
            "checks_audience": self.match.checks_audience,
            "denied_by": list(self.denied_by),
        }


def trusts(role: Role, provider: Optional[Provider]) -> bool:
    """Whether the role lets in anybody of that provider, or of any EKS cluster's."""
    return bool(providers(role, provider))


def providers(role: Role, provider: Optional[Provider]) -> list[Provider]:
    """Of which providers to tell: the one that is asked about, or every EKS cluster's that the role names.

    A statement for every principal names none, and lets in the one that is asked about all the same.
    """
    if provider is not None:
        return [provider] if policy.grants(role.document, provider) else []
    named = [Provider(arn) for arn in policy.providers(role.document)]
    return [one for one in named if _EKS_ISSUER.match(one.issuer)]


def entries(role: Role, provider: Optional[Provider], audience: str = AUDIENCE) -> list[Entry]:
    found = []
    for one in providers(role, provider):
        for grant in policy.grants(role.document, one, audience):
            denied = policy.evaluate(role.document, one, grant.subject, audience).denied_by if grant.subject else ()
            found.append(Entry(one, grant.subject, grant.match, tuple(map(str, denied))))
    return found


def warnings(role: Role, told: Sequence[Entry]) -> Iterator[str]:
    for one in told:
        if one.subject is None:
            yield (
                f"{role.name}: {one.match} lets in every service account of {one.provider.issuer}: it demands no "
                "subject."
            )
        elif not one.match.checks_audience:
            yield f"{role.name}: {one.match} does not look at the audience of {one.subject}'s tokens."
        if one.match.loose:
            yield f"{role.name}: {one.match} passes tokens without a subject (ForAllValues or IfExists)."
    deleted = policy.deleted_principals(role.document)
    if deleted:
        yield (
            f"{role.name}: it names deleted principals ({', '.join(deleted)}), with which IAM refuses the next write "
            "of "
            "its trust policy."
        )


def reason(role: Role, told: Sequence[Entry]) -> str:
    """In one sentence."""
    if not told:
        return "It lets in no service account."
    names = [str(one.subject) if one.subject else f"everybody of {one.provider.issuer}" for one in told]
    shown = ", ".join(dict.fromkeys(names[:10]))
    return f"It lets in {shown}{f' and {len(names) - 10} more' if len(names) > 10 else ''}."


# --- Together with a cluster.


@dataclass(frozen=True)
class Finding:
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


def annotated_roles(accounts: Sequence[ServiceAccount], provider: Provider) -> list[str]:
    """The ARNs of the roles of the provider's account that annotations name."""
    named = dict.fromkeys(one.role for one in accounts if one.role)
    return [arn for arn in named if arn and _account_of(arn) == provider.account]


def _account_of(arn: str) -> Optional[str]:
    """The account of a role; None where the text is no ARN of one."""
    match = _ROLE_ARN.fullmatch(arn)
    return match[1] if match else None


def elsewhere(accounts: Sequence[ServiceAccount], provider: Provider) -> list[str]:
    """Service accounts whose roles are another account's. Those trust a provider of that account; neither is seen."""
    return [str(one) for one in accounts if one.role and _account_of(one.role) not in (None, provider.account)]


def findings(
    provider: Provider,
    roles: Sequence[Role],
    annotated: Mapping[str, Optional[Role]],
    accounts: Sequence[ServiceAccount],
    associations: Collection[tuple[str, str]],
    audience: str = AUDIENCE,
) -> list[Finding]:
    """C(roles): those that the audit is of. C(annotated): by ARN, the roles that annotations name, None where there is
    none; one that could not be read is not among them. C(associations): whose pod identity associations there are.
    """
    found: list[Finding] = []
    for one in accounts:
        if one.role:
            found += _of_annotation(one, one.role, provider, annotated, audience)
            if (one.namespace, one.name) in associations:
                words = "It has a pod identity association, too. The annotation comes before it: SDKs use that first."
                found.append(_finding(OVERRIDDEN, one, words))
    there = {(one.namespace, one.name) for one in accounts}
    for role in roles:
        for subject in dict.fromkeys(grant.subject for grant in policy.grants(role.document, provider, audience)):
            if subject is None or subject.pattern or subject.pair is None or subject.pair in there:
                continue
            words = f"{role.name} trusts it, and the cluster does not have it."
            found.append(Finding(NOT_THERE, *subject.pair, role.arn, words))
    return found


def _finding(kind: str, one: ServiceAccount, words: str) -> Finding:
    return Finding(kind, one.namespace, one.name, one.role, words)


def _of_annotation(
    one: ServiceAccount, arn: str, provider: Provider, annotated: Mapping[str, Optional[Role]], audience: str
) -> Iterator[Finding]:
    if _account_of(arn) is None:
        yield _finding(ROLE_MISSING, one, f"Its annotation is no ARN of a role: {arn}.")
    elif arn in annotated:
        role = annotated[arn]
        if role is None:
            yield _finding(ROLE_MISSING, one, f"There is no role {arn}.")
            return
        verdict = policy.evaluate(role.document, provider, one.subject, audience)
        if not verdict.allowed:
            yield _finding(NOT_TRUSTED, one, f"{role.name}: {verdict}.")
