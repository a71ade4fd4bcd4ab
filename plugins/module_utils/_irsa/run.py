# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All bindings of a task: observe, plan, apply, verify. No Ansible in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from .._clock import Clock
from . import plan, provider_plan, role_update, trust_state
from .binding_request import BindingRequest
from .model import Binding, OidcProvider
from .plan import RolePlan
from .role_update import BindingResult, RoleUpdate
from .trust_options import BindingOutcome, IrsaOptions, IrsaOutcome, ProviderOutcome, RoleOutcome
from .trust_state import WORKERS, IrsaClients, IrsaState

__all__ = ["WORKERS", "IrsaClients", "IrsaOptions", "run"]


def _get_blocking_reason(
    request: BindingRequest,
    state: IrsaState,
    provider_outcomes: Mapping[OidcProvider, ProviderOutcome],
    options: IrsaOptions,
) -> Optional[str]:
    """Why a binding cannot be planned: an error of its cluster, its provider or its role."""
    provider = state.find_provider(request)
    if provider is None:
        return state.errors["cluster", request.cluster]
    if request.is_present and provider in state.errors:
        return state.errors[provider]
    if request.is_present and provider_outcomes[provider].error:
        return provider_outcomes[provider].error
    if ("role", request.role) in state.errors:
        return state.errors["role", request.role]
    role = state.roles[request.role]
    if request.role_arn and role and role.arn != request.role_arn:
        return f"The role {request.role} of this account is {role.arn}, not {request.role_arn}. Give that ARN."
    if request.role_arn and not role and options.policy_options.create_role:
        return f"{request.role_arn} does not exist. To create the role, give its name, and its path in the option path."
    return None


def run(clients: IrsaClients, options: IrsaOptions, apply: bool = True, clock: Optional[Clock] = None) -> IrsaOutcome:
    """Observe, plan, apply, verify. C(apply=False) (check mode): only observe and plan."""
    clock = clock or Clock()
    state = trust_state.observe(clients, options)
    resolved = [
        request.to_binding(provider) for request in options.bindings if (provider := state.find_provider(request))
    ]
    plan.check_contradictions(resolved)
    provider_outcomes = provider_plan.plan_providers(state, options)
    if apply:
        provider_outcomes = provider_plan.apply(clients.iam, provider_outcomes, options, state)
    requests = _RequestsByRole.from_options(state, provider_outcomes, options)
    role_plans = _plan_roles(state, requests, options)
    if any(role_plan.has_changes for role_plan in role_plans.values()):
        state = state.read_quota(clients.iam)
        if state.account.trust_policy_quota is not None:
            role_plans = _plan_roles(state, requests, options)
    role_updates = {
        name: RoleUpdate(clients.iam, role_plan, state.roles[name], options, state, clock)
        for name, role_plan in role_plans.items()
    }
    new_providers = {outcome.provider for outcome in provider_outcomes if outcome.status == "changed"}
    for update in role_updates.values():
        update.has_new_provider = any(item.binding.provider in new_providers for item in update.plan.bindings)
    if apply:
        due = [update for update in role_updates.values() if update.plan.has_changes or update.plan.attachments]
        role_update.apply_updates(clients.iam, due, options, state, clock)
    roles: list[RoleOutcome] = []
    outcomes: dict[int, BindingOutcome] = {}
    for name, update in role_updates.items():
        role, results = update.build_outcomes() if apply else role_update.preview(update)
        roles.append(role)
        for index, (request, result) in enumerate(zip(requests.list_planned(name), results)):
            outcomes[id(request)] = _build_outcome(request, role, result, update, index, apply)
    binding_outcomes = tuple(
        outcomes.get(id(request))
        or BindingOutcome(request, "failed", requests.blocking_reasons[request] or "", state.find_provider(request))
        for request in options.bindings
    )
    return IrsaOutcome(binding_outcomes, tuple(roles), tuple(provider_outcomes), state.account, state.warnings)


@dataclass(frozen=True)
class _RequestsByRole:
    """The requests of each role, and why some of them cannot be planned."""

    by_role: Mapping[str, Sequence[BindingRequest]]
    blocking_reasons: Mapping[BindingRequest, Optional[str]]

    @classmethod
    def from_options(
        cls, state: IrsaState, provider_outcomes: Sequence[ProviderOutcome], options: IrsaOptions
    ) -> _RequestsByRole:
        by_provider = {outcome.provider: outcome for outcome in provider_outcomes}
        reasons = {request: _get_blocking_reason(request, state, by_provider, options) for request in options.bindings}
        by_role: dict[str, list[BindingRequest]] = {}
        for request in options.bindings:
            by_role.setdefault(request.role, []).append(request)
        for requests in by_role.values() if options.policy_options.purge else ():
            first_reason = next((reasons[request] for request in requests if reasons[request]), None)
            for request in requests if first_reason else ():
                reasons[request] = reasons[request] or (
                    f"Another binding of this role fails, and purge would remove its service accounts. {first_reason}"
                )
        return cls(by_role, reasons)

    def list_planned(self, role: str) -> list[BindingRequest]:
        return [request for request in self.by_role[role] if not self.blocking_reasons[request]]


def _plan_roles(state: IrsaState, requests: _RequestsByRole, options: IrsaOptions) -> dict[str, RolePlan]:
    """The plans of all roles that have a binding to plan."""
    plans = {}
    for name in requests.by_role:
        bindings = [_to_binding(request, state) for request in requests.list_planned(name)]
        if bindings:
            role = state.roles[name]
            role_plan = plan.make_plan(
                name,
                role.document if role else None,
                bindings,
                options.policy_options,
                state.account.trust_policy_quota,
            )
            attachments = plan.list_attachments(
                role_plan, options.new_role.managed_policies, state.attached.get(name), options.policy_options
            )
            plans[name] = replace(role_plan, attachments=attachments)
    return plans


def _build_outcome(
    request: BindingRequest, role: RoleOutcome, result: BindingResult, update: RoleUpdate, index: int, apply: bool
) -> BindingOutcome:
    binding_plan, status, reason, changed, verified = result
    return BindingOutcome(
        request,
        status,
        reason,
        binding_plan.binding.provider,
        binding_plan,
        tuple(update.added[index]) if apply else binding_plan.added,
        tuple(update.removed[index]) if apply else binding_plan.removed,
        role.overwritten_externally and changed,
        verified,
    )


def _to_binding(request: BindingRequest, state: IrsaState) -> Binding:
    provider = state.find_provider(request)
    if provider is None:
        raise ValueError(f"{request} has no provider")
    return request.to_binding(provider)
