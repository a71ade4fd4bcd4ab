# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run tells: one result per binding, per role and per provider. The same in check mode and in the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._result import ItemResult, summarize
from . import policy
from .policy import Match
from .run import BindingOutcome, Outcome, ProviderOutcome, RoleOutcome


def binding(one: BindingOutcome) -> ItemResult:
    verdicts = one.plan.verdicts if one.plan else ()
    warnings = list(one.plan.warnings) if one.plan else []
    if one.overwritten:
        warnings.append("another writer overwrote it meanwhile, and it was written again.")
    return ItemResult(
        str(one.asked),
        one.status,
        one.reason,
        fields={
            "role": one.asked.role,
            "cluster": one.asked.cluster,
            "oidc_provider_arn": one.provider.arn if one.provider else None,
            "namespace": one.asked.namespace,
            "service_accounts": list(one.asked.service_accounts),
            "state": "present" if one.asked.present else "absent",
            "added": [subject.value for subject in one.added],
            "removed": [subject.value for subject in one.removed],
            "statements": [
                {**match.to_dict(), "subject": subject.value} for subject, verdict in verdicts for match in verdict.by
            ],
            "conditions": list(
                dict.fromkeys(
                    condition
                    for _subject, verdict in verdicts
                    for match in verdict.by
                    for condition in match.conditions
                )
            ),
            "still_allowed_by": _matches(one.plan.still_allowed_by if one.plan else ()),
            "overwritten_by_others": one.overwritten,
            "verified": one.verified,
            "warnings": warnings,
        },
    )


def _matches(matches: Sequence[Match]) -> list[dict[str, Any]]:
    return [match.to_dict() for match in matches]


def role(one: RoleOutcome, outcome: Outcome) -> ItemResult:
    before, after = one.planned.before, one.after
    return ItemResult(
        one.role,
        one.status,
        one.reason,
        None if before is None else policy.canonical(before),
        None if after is None else policy.canonical(after),
        {
            "arn": one.arn or None,
            "size_before": None if before is None else policy.size(before),
            "size_after": None if after is None else policy.size(after),
            "quota": outcome.account.quota,
            "shortened": one.planned.squeezed,
            "purged": [subject.value for subject in one.planned.purged],
            "overwritten_by_others": one.overwritten,
            "steps": [step.to_dict() for step in one.planned.steps],
        },
    )


def provider(one: ProviderOutcome) -> ItemResult:
    return ItemResult(one.provider.arn, one.status, one.reason)


def result(outcome: Outcome, diff: bool = False) -> dict[str, Any]:
    """The whole result. C(changed): something was written, also where the whole failed."""
    bindings = [binding(one) for one in outcome.bindings]
    roles = [role(one, outcome) for one in outcome.roles]
    providers = [provider(one) for one in outcome.providers]
    count = {status: sum(one.status == status for one in bindings) for status in ("changed", "ok", "failed")}
    # A role that cannot be written fails where its bindings do; on its own only where none of them does.
    told = [*providers, *bindings]
    silent = {one.asked.role for one in outcome.bindings if one.status == "failed"}
    told += [one for one in roles if one.name not in silent]
    failed = [one for one in told if one.status == "failed"]
    summary = f"{count['changed']} changed, {count['ok']} already so, {count['failed']} failed."
    return {
        "changed": any(one.wrote for one in outcome.roles) or any(one.status == "changed" for one in providers),
        "failed": bool(failed),
        "msg": " ".join([summary, *(f"{one.name}: {one.reason}" for one in failed)]),
        **({"diff": summarize(roles, diff=True)["diff"]} if diff else {}),
        "bindings": [one.to_dict() for one in bindings],
        "roles": [one.to_dict() for one in roles],
        "oidc_providers": [one.to_dict() for one in providers],
        "warnings": list(
            dict.fromkeys(
                [
                    *outcome.warnings,
                    *(f"{one.role}: {text}" for one in outcome.roles for text in one.planned.warnings),
                    *(f"{one.fields['role']}: {text}" for one in bindings for text in one.fields["warnings"]),
                ]
            )
        ),
    }
