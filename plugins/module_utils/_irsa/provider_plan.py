# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OIDC providers: which ones present bindings need, which ones to create or to add the audience to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .._aws_call import ApiError
from . import iam
from .trust_options import IrsaOptions, ProviderOutcome
from .trust_state import IrsaState


def plan_providers(state: IrsaState, options: IrsaOptions) -> list[ProviderOutcome]:
    """The OIDC providers to create or to add the audience to, and those that make bindings fail."""
    outcomes = []
    audience = options.policy_options.audience
    accounts = {role.arn.split(":")[4] for role in state.roles.values() if role}
    for provider, known in state.audiences.items():
        if accounts and provider.account not in accounts:
            error = (
                f"{provider.arn} is in account {provider.account}, and the role is in {', '.join(accounts)}. A role "
                "trusts OIDC providers of its own account only. Create a provider there for the same issuer, and give "
                "its ARN."
            )
            outcomes.append(ProviderOutcome(provider, "failed", error, error))
            continue
        if known is not None and audience in known:
            outcomes.append(ProviderOutcome(provider, "ok", f"It exists and has the audience {audience}."))
            continue
        if known is None:
            missing = f"IAM has no OIDC provider {provider.arn}"
        else:
            others = ", ".join(known) or "none"
            missing = f"The OIDC provider {provider.arn} does not have the audience {audience} (it has {others})"
        if options.create_provider:
            action = "It is created with" if known is None else "It gets"
            outcomes.append(ProviderOutcome(provider, "changed", f"{action} the audience {audience}."))
        else:
            error = f"{missing}. Set create_provider=true, or fix the provider by other means."
            outcomes.append(ProviderOutcome(provider, "failed", error, error))
    return outcomes


def apply(
    client: Any, provider_outcomes: Sequence[ProviderOutcome], options: IrsaOptions, state: IrsaState
) -> list[ProviderOutcome]:
    outcomes = []
    for outcome in provider_outcomes:
        if outcome.status != "changed":
            outcomes.append(outcome)
            continue
        try:
            if state.audiences[outcome.provider] is None:
                iam.create_provider(client, outcome.provider, [options.policy_options.audience])
            else:
                iam.add_audience(client, outcome.provider, options.policy_options.audience)
            outcomes.append(outcome)
        except ApiError as error:
            message = error.explanation
            outcomes.append(replace(outcome, status="failed", reason=message, error=message))
    return outcomes
