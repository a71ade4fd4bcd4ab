# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a run over many bindings, and its outcomes. No Ansible in here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from . import iam
from .binding_request import BindingRequest
from .model import AUDIENCE, IrsaError, OidcProvider, PolicyOptions, Subject
from .plan import BindingPlan, RolePlan

MAX_RECHECK_DELAY = 3600  # seconds
MAX_DESCRIPTION, MAX_TAG_KEY, MAX_TAG_VALUE = 1000, 128, 256  # characters
_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(?:\d{12}|aws):policy/(?:[!-~]+/)?[\w+=,.@-]{1,128}", re.ASCII)
_PATH = re.compile(r"/(?:[!-~]{1,510}/)?")


@dataclass(frozen=True)
class IrsaOptions:
    """The options of a task."""

    bindings: tuple[BindingRequest, ...]
    policy_options: PolicyOptions = field(default_factory=PolicyOptions)
    new_role: iam.NewRole = field(default_factory=iam.NewRole)
    create_provider: bool = False
    recheck_delay: float = 10.0

    def __post_init__(self) -> None:
        """Rejects options that would otherwise fail only after the first write."""
        if not self.bindings:
            raise IrsaError("bindings is empty. Give at least one role and its service accounts.")
        if not 0 <= self.recheck_delay <= MAX_RECHECK_DELAY:  # rejects NaN as well
            raise IrsaError(f"recheck_delay is {self.recheck_delay:g}. Give seconds from 0 to {MAX_RECHECK_DELAY}.")
        if not self.policy_options.audience:
            raise IrsaError(f"audience is empty. Give one, or omit the option for {AUDIENCE}.")
        self._check_new_role()

    def _check_new_role(self) -> None:
        """Rejects what IAM would reject after the role was created, or on creation."""
        role = self.new_role
        if not (role.path.startswith("/") and role.path.endswith("/")):
            raise IrsaError(f"path {role.path!r} is not a path of IAM roles. Begin and end it with a slash.")
        if not _PATH.fullmatch(role.path):
            raise IrsaError(f"path {role.path!r} is not a path of IAM roles: at most 512 ASCII characters, no spaces.")
        arns = [("managed_policies", arn) for arn in role.managed_policies]
        if role.permissions_boundary is not None:
            arns.append(("permissions_boundary", role.permissions_boundary))
        for option, arn in arns:
            if not _POLICY_ARN.fullmatch(arn):
                raise IrsaError(
                    f"{option} {arn!r} is not the ARN of a managed policy. Write "
                    "arn:PARTITION:iam::ACCOUNT:policy/NAME, or arn:PARTITION:iam::aws:policy/NAME for a policy of AWS."
                )
        if role.description is not None and len(role.description) > MAX_DESCRIPTION:
            raise IrsaError(
                f"description has {len(role.description)} characters, and IAM allows {MAX_DESCRIPTION}. Shorten it."
            )
        for key, value in role.tags:
            if not 0 < len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE or key.lower().startswith("aws:"):
                raise IrsaError(
                    f"tags: {key!r} is not a tag of IAM. A key has 1 to {MAX_TAG_KEY} characters and does not begin "
                    f"with aws:, a value has at most {MAX_TAG_VALUE}."
                )


@dataclass(frozen=True)
class ProviderOutcome:
    """An OIDC provider that present bindings need. C(error): why these bindings fail."""

    provider: OidcProvider
    status: str
    reason: str
    error: Optional[str] = None


@dataclass(frozen=True)
class BindingOutcome:
    """The outcome of one entry of the bindings."""

    request: BindingRequest
    status: str
    reason: str
    provider: Optional[OidcProvider] = None
    plan: Optional[BindingPlan] = None
    added: tuple[Subject, ...] = ()
    removed: tuple[Subject, ...] = ()
    overwritten_externally: bool = False
    verified: Optional[bool] = None


@dataclass(frozen=True)
class RoleOutcome:
    """The outcome of one role. C(after): the trust policy as it was read last; in check mode, as it would be."""

    role: str
    status: str
    reason: str
    plan: RolePlan
    arn: str = ""
    after: Optional[Mapping[str, Any]] = None
    is_changed: bool = False
    attached: tuple[str, ...] = ()
    overwritten_externally: bool = False


@dataclass(frozen=True)
class IrsaOutcome:
    bindings: tuple[BindingOutcome, ...]
    roles: tuple[RoleOutcome, ...]
    providers: tuple[ProviderOutcome, ...]
    account: iam.AccountSummary
    warnings: tuple[str, ...] = ()
