# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe: the clusters, OIDC providers, roles and quotas that the plan of all bindings needs. Never writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._aws_call import ApiError
from . import eks, iam
from .binding_request import BindingRequest
from .model import IamRole, IrsaError, OidcProvider
from .trust_options import IrsaOptions

WORKERS = 8  # roles at a time: IAM throttles writes per account


@dataclass(frozen=True)
class IrsaClients:
    """The clients of a run. C(eks) is a function, so that a client is made only where a cluster is named."""

    iam: Any
    eks: Callable[[], Any]


@dataclass(frozen=True)
class IrsaState:
    """The current state. The keys of C(errors) are ("cluster", name), a provider, or ("role", name).

    C(attached): for roles that exist already, the managed policies of the options that they have.
    """

    clusters: Mapping[str, OidcProvider]
    audiences: Mapping[OidcProvider, Optional[tuple[str, ...]]]
    roles: Mapping[str, Optional[IamRole]]
    attached: Mapping[str, frozenset[str]]
    account: iam.AccountSummary
    errors: Mapping[Any, str]
    warnings: tuple[str, ...] = ()

    def find_provider(self, request: BindingRequest) -> Optional[OidcProvider]:
        return request.provider or self.clusters.get(request.cluster or "")

    def read_quota(self, client: Any) -> IrsaState:
        """The state with the account's quota, which only a policy that grows needs."""
        if self.account.is_read:
            return self
        account, warnings = _read_account(client)
        return replace(self, account=account, warnings=(*self.warnings, *warnings))


def observe(clients: IrsaClients, options: IrsaOptions) -> IrsaState:
    """Reads each cluster, provider and role once; roles with ListRoles where that takes fewer calls.

    Clusters and roles are read at the same time. Making a client of EKS takes longer than reading a role.
    """
    names = list(dict.fromkeys(request.role for request in options.bindings))
    account = iam.AccountSummary()
    warnings: list[str] = []
    if sum(len(request.service_accounts) for request in options.bindings) > iam.PAGE_COST:
        account, warnings = _read_account(clients.iam)
    errors: dict[Any, str] = {}
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_read_roles_and_policies, clients.iam, options, names, account.role_count)
        clusters: dict[str, OidcProvider] = {}
        for name in dict.fromkeys(request.cluster for request in options.bindings if request.cluster):
            try:
                clusters[name] = eks.get_provider(clients.eks(), name)
            except IrsaError as error:
                errors["cluster", name] = str(error)
        required = [
            request.provider or clusters.get(request.cluster or "")
            for request in options.bindings
            if request.is_present
        ]
        audiences: dict[OidcProvider, Optional[tuple[str, ...]]] = {}
        for provider in dict.fromkeys(provider for provider in required if provider):
            try:
                audiences[provider] = iam.get_audiences(clients.iam, provider)
            except ApiError as error:
                errors[provider] = error.explanation
        roles, attached, unread = reading.result()
    errors.update({("role", name): message for name, message in unread.items()})
    return IrsaState(clusters, audiences, roles, attached, account, errors, tuple(warnings))


def _read_account(client: Any) -> tuple[iam.AccountSummary, list[str]]:
    try:
        return iam.get_account_summary(client), []
    except ApiError as error:
        warning = f"The quota of the trust policy size is unknown, so only IAM checks it: {error.explanation}"
        return iam.AccountSummary(is_read=True), [warning]


def _read_roles_and_policies(
    client: Any, options: IrsaOptions, names: Sequence[str], total: Optional[int]
) -> tuple[dict[str, Optional[IamRole]], dict[str, frozenset[str]], dict[str, str]]:
    roles, errors = read_roles(client, names, total)
    attached: dict[str, frozenset[str]] = {}
    if options.policy_options.create_role and options.new_role.managed_policies:
        present = {request.role for request in options.bindings if request.is_present}

        def read(name: str) -> None:
            try:
                attached[name] = iam.list_attached_policies(client, name)
            except ApiError as error:
                errors[name] = error.explanation

        _read_each(read, [name for name in names if name in present and roles.get(name)])
    return roles, attached, errors


def read_roles(
    client: Any, names: Sequence[str], total: Optional[int]
) -> tuple[dict[str, Optional[IamRole]], dict[str, str]]:
    """Roles by name (None for a role that does not exist), and the errors of roles that could not be read."""
    if iam.is_listing_cheaper(names, total):
        try:
            found = {role.name: role for role in iam.list_roles(client)}
            return {name: found.get(name) for name in names}, {}
        except ApiError as error:
            if error.code not in ("AccessDenied", "AccessDeniedException"):
                return {}, dict.fromkeys(names, error.explanation)
    roles: dict[str, Optional[IamRole]] = {}
    errors: dict[str, str] = {}

    def read(name: str) -> None:
        try:
            roles[name] = iam.get_role(client, name)
        except ApiError as error:
            errors[name] = error.explanation

    _read_each(read, names)
    return roles, errors


def _read_each(read: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(read, names))
