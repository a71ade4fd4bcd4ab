# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a run: one item per binding, per role and per provider. Check mode has the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._result import ItemResult, format_failures, join_names, summarize
from . import policy_edit
from .policy import StatementMatch
from .trust_options import BindingOutcome, IrsaOutcome, ProviderOutcome, RoleOutcome


def build_binding_result(outcome: BindingOutcome) -> ItemResult:
    verdicts = outcome.plan.verdicts if outcome.plan else ()
    warnings = list(outcome.plan.warnings) if outcome.plan else []
    if outcome.overwritten_externally:
        warnings.append("another writer overwrote the binding during this run, so it was written again.")
    return ItemResult(
        str(outcome.request),
        outcome.status,
        outcome.reason,
        fields={
            "role": outcome.request.role,
            "cluster": outcome.request.cluster,
            "oidc_provider_arn": outcome.provider.arn if outcome.provider else None,
            "namespace": outcome.request.namespace,
            "service_accounts": list(outcome.request.service_accounts),
            "state": "present" if outcome.request.is_present else "absent",
            "added": [subject.value for subject in outcome.added],
            "removed": [subject.value for subject in outcome.removed],
            "statements": [
                {**match.to_dict(), "subject": subject.value}
                for subject, verdict in verdicts
                for match in verdict.allowed_by
            ],
            "conditions": list(
                dict.fromkeys(
                    condition
                    for _subject, verdict in verdicts
                    for match in verdict.allowed_by
                    for condition in match.conditions
                )
            ),
            "still_allowed_by": _format_matches(outcome.plan.still_allowed_by if outcome.plan else ()),
            "overwritten_externally": outcome.overwritten_externally,
            "verified": outcome.verified,
            "warnings": warnings,
        },
    )


def _format_matches(matches: Sequence[StatementMatch]) -> list[dict[str, Any]]:
    return [match.to_dict() for match in matches]


def build_role_result(role_outcome: RoleOutcome, outcome: IrsaOutcome) -> ItemResult:
    before, after = role_outcome.plan.before, role_outcome.after
    return ItemResult(
        role_outcome.role,
        role_outcome.status,
        role_outcome.reason,
        None if before is None else policy_edit.to_canonical(before),
        None if after is None else policy_edit.to_canonical(after),
        {
            "arn": role_outcome.arn or None,
            "size_before": None if before is None else policy_edit.count_characters(before),
            "size_after": None if after is None else policy_edit.count_characters(after),
            "quota": outcome.account.trust_policy_quota,
            "shortened": role_outcome.plan.is_shortened,
            "purged": [subject.value for subject in role_outcome.plan.purged],
            "attached": list(role_outcome.attached),
            "overwritten_externally": role_outcome.overwritten_externally,
            "steps": [step.to_dict() for step in role_outcome.plan.steps],
        },
    )


def build_provider_result(outcome: ProviderOutcome) -> ItemResult:
    return ItemResult(outcome.provider.arn, outcome.status, outcome.reason)


def build_result(outcome: IrsaOutcome, diff: bool = False) -> dict[str, Any]:
    """The module's result. C(changed) is true after any write, also where items failed."""
    bindings = [build_binding_result(binding) for binding in outcome.bindings]
    roles = [build_role_result(role, outcome) for role in outcome.roles]
    providers = [build_provider_result(provider) for provider in outcome.providers]
    count = {status: sum(binding.status == status for binding in bindings) for status in ("changed", "ok", "failed")}
    # A failed role is listed in the message only if none of its bindings failed.
    reported = [*providers, *bindings]
    silent = {binding.request.role for binding in outcome.bindings if binding.status == "failed"}
    reported += [role for role in roles if role.name not in silent]
    failed = [item for item in reported if item.status == "failed"]
    changed_roles = sum(role.is_changed for role in outcome.roles)
    summary = (
        f"{changed_roles} of {len(roles)} roles changed. Bindings: {count['changed']} changed, "
        f"{count['ok']} unchanged, {count['failed']} failed."
    )
    return {
        "changed": changed_roles > 0 or any(provider.status == "changed" for provider in providers),
        "failed": bool(failed),
        "msg": f"{summary} {format_failures(failed)}".strip(),
        **({"diff": summarize(roles, diff=True)["diff"]} if diff else {}),
        "bindings": [binding.to_dict() for binding in bindings],
        "roles": [role.to_dict() for role in roles],
        "oidc_providers": [provider.to_dict() for provider in providers],
        "warnings": [*outcome.warnings, *_combine_warnings(outcome, bindings)],
    }


def _combine_warnings(outcome: IrsaOutcome, bindings: Sequence[ItemResult]) -> list[str]:
    """Each warning once, with the roles that it concerns."""
    names: dict[str, dict[str, None]] = {}
    for role in outcome.roles:
        for text in role.plan.warnings:
            names.setdefault(text, {})[role.role] = None
    for binding in bindings:
        for text in binding.fields["warnings"]:
            names.setdefault(text, {})[binding.fields["role"]] = None
    return [f"{join_names(list(roles))}: {text}" for text, roles in names.items()]
