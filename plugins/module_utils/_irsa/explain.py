# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explain why access was denied and which remediation helps: the message, compared with the evidence. Pure.

The message decides which side denied (refused) the request: the evidence was read later, and the cause can have been
fixed since. What could not be read is reported, and nothing is concluded from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from . import policy
from .denial.changes import format_tags
from .denial.evidence import (
    ALLOWED,
    EXPLICIT_DENY,
    IMPLICIT_DENY,
    DenialEvidence,
    ExplainOptions,
    Explanation,
    ObservedRole,
    Simulation,
    TrustVerdict,
    choose_role,
    choose_subject,
)
from .denial.model import AccessDenial
from .denial.node_duties import find_duty
from .denial.remediation import find_remediation, get_ineffective_remediation
from .denial.tag_conditions import TagCondition, build_context, find_missing_tags, find_statements
from .model import OidcProvider, get_role_name

__all__ = [
    "ALLOWED",
    "EXPLICIT_DENY",
    "IMPLICIT_DENY",
    "DenialEvidence",
    "ExplainOptions",
    "Explanation",
    "ObservedRole",
    "Simulation",
    "TagCondition",
    "TrustVerdict",
    "build_context",
    "choose_role",
    "choose_subject",
    "explain",
    "find_missing_tags",
    "find_statements",
    "summarize",
    "summarize_evidence",
]


def explain(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Explanation:
    """Explain a denial. The message has decided which side denied the request; the evidence decides the remediation."""
    trust = _check_trust(denial, options, observed)
    reason, remediation = find_remediation(denial, options, observed, trust)
    return Explanation(
        denial.side,
        reason,
        tuple(_list_all_evidence(denial, observed, trust)),
        remediation,
        get_ineffective_remediation(denial, options),
        trust,
    )


def _list_all_evidence(
    denial: AccessDenial, observed: DenialEvidence, trust: Optional[TrustVerdict]
) -> Iterator[dict[str, Any]]:
    yield _build_evidence("the message", _shorten(denial.message) if denial.message else denial.reason)
    if denial.other_denials:
        count = f"The message contains {denial.other_denials} more denials. Only the first denial is explained."
        yield _build_evidence("the rest of the message", count)
    yield from _list_evidence(denial, observed)
    if trust is not None:
        yield _build_evidence(f"the trust policy of {trust.role}", trust.reason, trust.allowed is not None)
    for source, reason in observed.not_checked.items():
        yield _build_evidence(source, reason, False)


def _build_evidence(source: str, message: str, readable: bool = True) -> dict[str, Any]:
    return {"source": source, "message": message, "readable": readable}


def _shorten(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]}..."


def _list_evidence(denial: AccessDenial, observed: DenialEvidence) -> Iterator[dict[str, Any]]:
    if denial.caller and denial.caller.is_node_role:
        yield _build_evidence(
            f"the session name {denial.caller.session}",
            f"The session name is the id of an instance, so {denial.caller.role} is the node role."
            + (
                ""
                if find_duty(denial)
                else " Pods fall back to it where their service account has no working role. Nodes make calls of "
                "their own, too; this is none that is known."
            ),
        )
    if observed.missing_role:
        yield _build_evidence(f"the role {observed.missing_role}", "The role does not exist.")
    if observed.provider is not None and observed.provider_exists is not None:
        ids = f" with the client ids {', '.join(observed.client_ids)}" if observed.client_ids else ""
        yield _build_evidence(
            f"the OIDC provider {observed.provider.arn}",
            f"The provider exists{ids}." if observed.provider_exists else "The provider does not exist in IAM.",
        )
    if observed.tags is not None:
        tags = format_tags(observed.tags) if observed.tags else "None. The resource has no tags, or no longer exists."
        yield _build_evidence(f"the tags of {denial.resource}", tags)
    if observed.policies is not None and denial.action:
        found = find_statements(observed.policies, denial.action, denial.resource_arn)
        names = "; ".join(map(str, found)) or "none"
        yield _build_evidence(
            f"the {len(observed.policies)} policies of {denial.caller.role if denial.caller else 'the role'}",
            f"Statements that allow {denial.action} on the resource, if their conditions match: {names}.",
        )
    for simulation, tags_used in (
        (observed.simulation, "with the current tags"),
        (observed.simulation_with_tags, "with these tags added"),
    ):
        if simulation is not None:
            added = f" ({format_tags(simulation.tags)})" if simulation is observed.simulation_with_tags else ""
            yield _build_evidence(f"IAM's policy simulator, {tags_used}{added}", _describe_simulation(simulation))


def _describe_simulation(simulation: Simulation) -> str:
    parts = [f"{simulation.decision}"]
    if simulation.matched_policies:
        parts.append(f"by {', '.join(simulation.matched_policies)}")
    if simulation.missing_context and simulation.decision != ALLOWED:
        missing = ", ".join(simulation.missing_context)
        parts.append(f"policies evaluate {missing}, whose value in the request is not known")
    if simulation.allowed_by_boundary is False:
        parts.append("the permissions boundary does not allow it")
    if simulation.allowed_by_organizations is False:
        parts.append("the organization's policies do not allow it")
    return "; ".join(parts) + "."


def _check_trust(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Optional[TrustVerdict]:
    """Check whether the role's trust policy allows the service account, independent of the message."""
    subject, role = choose_subject(denial, options), observed.role
    if role is None:
        return None
    name = get_role_name(role.arn)
    if subject is None or observed.provider is None:
        grants = [
            _describe_trust_grants(role.trust_policy, OidcProvider(arn))
            for arn in policy.list_provider_arns(role.trust_policy)
        ]
        allowed = "; ".join(grant for grant in grants if grant) or "nobody of an OIDC provider"
        cause = "No service account is named" if subject is None else f"The cluster of {subject} is not known"
        return TrustVerdict(name, subject, None, f"{cause}, so trust was not checked. The role allows: {allowed}.")
    verdict = policy.evaluate(role.trust_policy, observed.provider, subject, options.audience)
    allowed_by = tuple(map(str, verdict.allowed_by))
    reason = f"{subject} of {observed.provider.issuer}: {verdict}."
    conditions = [condition for match in verdict.allowed_by for condition in match.conditions]
    if verdict.is_allowed and conditions:
        reason += f" The statement also requires {'; '.join(conditions)}, which this module cannot evaluate."
    if not verdict.is_allowed:
        reason += f" {_get_untrusted_reason(role.trust_policy, observed.provider, options)}"
    return TrustVerdict(name, subject, verdict.is_allowed, reason, allowed_by)


def _describe_trust_grants(document: Mapping[str, Any], provider: OidcProvider) -> str:
    names = [
        "everybody (no subject is required)" if grant.subject is None else str(grant.subject)
        for grant in policy.list_grants(document, provider)
    ]
    return f"{', '.join(dict.fromkeys(names))} of {provider.issuer}" if names else ""


def _get_untrusted_reason(document: Mapping[str, Any], provider: OidcProvider, options: ExplainOptions) -> str:
    named = policy.list_provider_arns(document)
    if provider.arn not in named:
        others = f" The policy names {', '.join(named)}." if named else ""
        return f"No statement names this cluster's provider.{others}"
    grants = _describe_trust_grants(document, provider)
    return f"From this provider the policy allows: {grants or f'nobody with the audience {options.audience}'}."


# --- For people.


def summarize(explanation: Explanation) -> list[str]:
    """Summarize an explanation in a few lines: side, reason, remediation, and what does not help."""
    remediation, trust = explanation.remediation, explanation.trust
    lines = [
        f"side: {explanation.side}",
        f"reason: {explanation.reason}",
        f"remediation: {remediation.description}",
    ]
    changes: dict[str, Optional[Mapping[str, Any]]] = {
        "binding": remediation.binding,
        "statement": remediation.statement,
        "tags": remediation.tags,
    }
    lines += [
        f"remediation, ready to use: {name} {json.dumps(change)}"
        for name, change in changes.items()
        if change is not None
    ]
    if explanation.ineffective_remediation:
        lines.append(f"ineffective remediation: {explanation.ineffective_remediation}")
    if trust is not None and trust.allowed is not None and trust.reason not in explanation.reason:
        lines.append(f"trust, independent of the message: {trust.reason}")
    return lines


def summarize_evidence(explanation: Explanation) -> list[str]:
    """Summarize the evidence, each message once, and none that the summary has already."""
    summary = "\n".join(summarize(explanation))
    lines: dict[str, str] = {}
    for item in explanation.evidence:
        if item["message"] not in summary:
            checked = "checked" if item["readable"] else "could not check"
            lines.setdefault(item["message"], f"{checked} {item['source']}: {item['message']}")
    return list(lines.values())
