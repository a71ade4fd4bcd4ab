# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence about a denial, the options besides its message, and the explanation that follows from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..model import AUDIENCE, OidcProvider, Subject
from .model import IDENTITY, TRUST, AccessDenial

ALLOWED, IMPLICIT_DENY, EXPLICIT_DENY = "allowed", "implicitDeny", "explicitDeny"


@dataclass(frozen=True)
class ObservedRole:
    """A role as GetRole returns it."""

    arn: str
    trust_policy: Mapping[str, Any]
    permissions_boundary: Optional[str] = None


@dataclass(frozen=True)
class Simulation:
    """The result of SimulatePrincipalPolicy, with C(tags) on the resource."""

    tags: Mapping[str, str]
    decision: str
    matched_policies: tuple[str, ...] = ()
    missing_context: tuple[str, ...] = ()
    allowed_by_boundary: Optional[bool] = None
    allowed_by_organizations: Optional[bool] = None


@dataclass(frozen=True)
class DenialEvidence:
    """The evidence about a denial. None: not checked; C(not_checked) has the reason, by source.

    C(simulation_with_tags): the simulator's result with tags that the resource lacks.
    """

    role: Optional[ObservedRole] = None
    missing_role: Optional[str] = None
    provider: Optional[OidcProvider] = None
    provider_exists: Optional[bool] = None
    client_ids: tuple[str, ...] = ()
    policies: Optional[tuple[tuple[str, Mapping[str, Any]], ...]] = None
    tags: Optional[Mapping[str, str]] = None
    simulation: Optional[Simulation] = None
    simulation_with_tags: Optional[Simulation] = None
    not_checked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExplainOptions:
    """The user's options besides the message."""

    role: Optional[str] = None
    subject: Optional[Subject] = None
    cluster: Optional[str] = None
    provider_arn: Optional[str] = None
    audience: str = AUDIENCE


@dataclass(frozen=True)
class Remediation:
    """The smallest change that helps (the suggested fix). At most one of binding, statement and tags is set."""

    description: str
    binding: Optional[Mapping[str, Any]] = None
    statement: Optional[Mapping[str, Any]] = None
    tags: Optional[Mapping[str, str]] = None


@dataclass(frozen=True)
class TrustVerdict:
    """Whether a service account may assume the role, independent of the message."""

    role: str
    subject: Optional[Subject]
    allowed: Optional[bool]
    reason: str
    allowed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    side: str
    reason: str
    evidence: tuple[Mapping[str, Any], ...]
    remediation: Remediation
    ineffective_remediation: Optional[str] = None
    trust: Optional[TrustVerdict] = None


def choose_subject(denial: AccessDenial, options: ExplainOptions) -> Optional[Subject]:
    """Choose the service account whose trust is checked: the user's, else the message's."""
    return options.subject or (Subject.from_service_account(*denial.subject) if denial.subject else None)


def choose_role(denial: AccessDenial, options: ExplainOptions) -> Optional[str]:
    """Choose the role to check: the user's, else the role that was requested, else the session's."""
    if options.role:
        return options.role
    if denial.side in (TRUST, IDENTITY) or denial.role:
        return denial.role
    return denial.caller.role if denial.caller else None
