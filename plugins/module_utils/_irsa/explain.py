# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Explain why access was denied and which remediation helps: the message, compared with the evidence. Pure.

The message decides which side denied (refused) the request: the evidence was read later, and the cause can have been
fixed since. What could not be read is reported, and nothing is concluded from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from . import policy
from .denied import IDENTITY, PERMISSION, TRUST, AccessDenial
from .model import AUDIENCE, OidcProvider, Subject, get_role_account, get_role_name

ROLE_ARN_ANNOTATION = "eks.amazonaws.com/role-arn"
ALLOWED, IMPLICIT_DENY, EXPLICIT_DENY = "allowed", "implicitDeny", "explicitDeny"
_RESOURCE_TAG_KEY = re.compile(r"[\w-]+:ResourceTag/(.+)", re.IGNORECASE)
# Denials that no policy of the role itself can lift, and where the remediation is made.
_REMEDIATION_LOCATIONS = {
    "service_control_policy": "in AWS Organizations, by an administrator of the organization",
    "resource_control_policy": "in AWS Organizations, by an administrator of the organization",
    "vpc_endpoint_policy": "in the policy of the VPC endpoint that the request used",
    "session_policy": "where the role is assumed: the caller of AssumeRole passes the session policy",
    "resource_policy": "in the policy of the resource itself",
}


@dataclass(frozen=True)
class ObservedRole:
    """A role as GetRole returns it."""

    arn: str
    trust_policy: Mapping[str, Any]
    permissions_boundary: Optional[str] = None

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


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


# --- Conditions of policies on a resource's tags.


@dataclass(frozen=True)
class PolicyStatement:
    """A statement of a role's policy that matches the action and the resource."""

    policy: str
    index: int
    statement: Mapping[str, Any]

    def __str__(self) -> str:
        sid = self.statement.get("Sid")
        return f"{self.policy}, Statement[{self.index}]{f' ({sid})' if sid else ''}"


def find_statements(
    policies: Sequence[tuple[str, Mapping[str, Any]]], action: str, resource: Optional[str], effect: str = "Allow"
) -> list[PolicyStatement]:
    """Find the statements with this effect whose actions and resources match, whatever their conditions."""
    found = []
    for name, document in policies:
        for index, statement in enumerate(policy.list_statements(document)):
            is_match = _matches_element(statement, "Action", action, True) and (
                resource is None or _matches_element(statement, "Resource", resource, False)
            )
            if is_match and statement.get("Effect") == effect:
                found.append(PolicyStatement(name, index, statement))
    return found


def _matches_element(statement: Mapping[str, Any], element: str, text: str, ignore_case: bool) -> bool:
    if element in statement:
        patterns = policy.to_list(statement[element])
        return any(policy.matches_glob(str(pattern), text, ignore_case) for pattern in patterns)
    excluded = policy.to_list(statement.get(f"Not{element}", []))
    return bool(excluded) and not any(policy.matches_glob(str(pattern), text, ignore_case) for pattern in excluded)


@dataclass(frozen=True)
class TagCondition:
    """A condition on a tag of the resource."""

    operator: str
    tag: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        if self.operator.lower() == "null":
            return f"the resource has {'the' if self.requires_tag else 'no'} tag {self.tag}"
        return f"the resource's tag {self.tag} satisfies {self.operator} {' or '.join(self.values)}"

    @property
    def requires_tag(self) -> bool:
        return "false" in [value.lower() for value in self.values]

    def is_satisfied(self, tags: Mapping[str, str]) -> Optional[bool]:
        """Decide whether the tags satisfy the condition. None: this module cannot evaluate the operator."""
        current = {key.lower(): value for key, value in tags.items()}.get(self.tag.lower())
        operator = policy.ConditionOperator.parse(self.operator)
        if operator.base == "null":
            return (current is not None) == self.requires_tag
        if operator.is_negated or operator.base not in ("stringequals", "stringequalsignorecase", "stringlike"):
            return None
        if current is None:
            return operator.is_loose
        if operator.base == "stringlike":
            return any(policy.matches_glob(value, current) for value in self.values)
        if operator.base == "stringequalsignorecase":
            return current.lower() in [value.lower() for value in self.values]
        return current in self.values

    def get_satisfying_value(self, wildcard_value: str) -> Optional[str]:
        """Get a value of the tag that satisfies the condition."""
        operator = policy.ConditionOperator.parse(self.operator)
        if operator.base == "null":
            return wildcard_value if self.requires_tag else None
        if operator.is_negated or operator.base not in ("stringequals", "stringequalsignorecase", "stringlike"):
            return None
        plain = [value for value in self.values if "${" not in value]
        if not plain:
            return None
        return plain[0] if operator.base != "stringlike" else plain[0].replace("*", wildcard_value).replace("?", "x")


def list_tag_conditions(statement: Mapping[str, Any]) -> list[TagCondition]:
    found = []
    for operator, key, given in policy.iterate_conditions(statement):
        match = _RESOURCE_TAG_KEY.fullmatch(key)
        if match:
            values = (str(value).lower() if isinstance(value, bool) else str(value) for value in policy.to_list(given))
            found.append(TagCondition(operator, match[1], tuple(values)))
    return found


@dataclass(frozen=True)
class MissingTags:
    """A statement that would allow the action if the resource had these tags."""

    policy_statement: PolicyStatement
    unmet_conditions: tuple[TagCondition, ...]
    tags: Mapping[str, str]


def find_missing_tags(denial: AccessDenial, observed: DenialEvidence, wildcard_value: str) -> Optional[MissingTags]:
    """Find the statement with the fewest missing tags. None where no tags are missing."""
    if observed.policies is None or observed.tags is None or denial.action is None:
        return None
    found = []
    for statement in find_statements(observed.policies, denial.action, denial.resource):
        conditions = list_tag_conditions(statement.statement)
        unmet = [condition for condition in conditions if condition.is_satisfied(observed.tags) is False]
        # Of two conditions on one tag, a required value takes precedence over mere presence.
        required: dict[str, Optional[str]] = {}
        for condition in sorted(unmet, key=lambda condition: condition.operator.lower() != "null"):
            required[condition.tag] = condition.get_satisfying_value(wildcard_value)
        if unmet and all(value is not None for value in required.values()):
            found.append(MissingTags(statement, tuple(unmet), {key: str(value) for key, value in required.items()}))
    return min(found, key=lambda missing: len(missing.tags)) if found else None


def build_context(denial: AccessDenial, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Build the simulator's context: the known condition keys of the request, and the tags under both their keys."""
    service = (denial.action or "").split(":")[0].lower()
    entries = dict(denial.context)
    for key, value in tags.items():
        for prefix in dict.fromkeys(("aws", service)):
            entries[f"{prefix}:ResourceTag/{key}"] = (value,)
    return entries


# --- The explanation.


def explain(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Explanation:
    """Explain a denial. The message has decided which side denied the request; the evidence decides the remediation."""
    text = f"{denial.reason} The message reads: {_shorten(denial.message)}" if denial.message else denial.reason
    evidence = [_build_evidence("the message", text)]
    if denial.other_denials:
        count = f"The message contains {denial.other_denials} more denials. Only the first denial is explained."
        evidence.append(_build_evidence("the message", count))
    evidence += _list_evidence(denial, observed)
    trust = _check_trust(denial, options, observed)
    if trust is not None:
        evidence.append(_build_evidence(f"the trust policy of {trust.role}", trust.reason, trust.allowed is not None))
    evidence += [_build_evidence(source, reason, False) for source, reason in observed.not_checked.items()]
    diagnose = {TRUST: _explain_trust, IDENTITY: _explain_identity, PERMISSION: _explain_permission}.get(
        denial.side, _explain_unknown
    )
    reason, remediation = diagnose(denial, options, observed, trust)
    return Explanation(
        denial.side, reason, tuple(evidence), remediation, _get_ineffective_remediation(denial, options), trust
    )


def _build_evidence(source: str, message: str, readable: bool = True) -> dict[str, Any]:
    return {"source": source, "message": message, "readable": readable}


def _shorten(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]}..."


def _format_tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items()) or "none"


def _list_evidence(denial: AccessDenial, observed: DenialEvidence) -> Iterator[dict[str, Any]]:
    if denial.caller and denial.caller.is_node_role:
        yield _build_evidence(
            f"the session name {denial.caller.session}",
            f"The session name is the id of an instance, so {denial.caller.role} is the node role. Pods fall back to "
            "it where their service account has no working role.",
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
        tags = _format_tags(observed.tags) if observed.tags else "None. The resource has no tags, or no longer exists."
        yield _build_evidence(f"the tags of {denial.resource}", tags)
    if observed.policies is not None and denial.action:
        found = find_statements(observed.policies, denial.action, denial.resource)
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
            added = f" ({_format_tags(simulation.tags)})" if simulation is observed.simulation_with_tags else ""
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


def _build_binding(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, role: str
) -> Optional[dict[str, Any]]:
    """Build the remediation's binding as iam_irsa_namespace takes it."""
    subject = choose_subject(denial, options)
    if subject is None or subject.namespaced_name is None:
        return None
    provider = options.provider_arn or (observed.provider.arn if observed.provider else None)
    identity_provider = {"cluster": options.cluster} if options.cluster else {"oidc_provider_arn": provider}
    if not any(identity_provider.values()):
        return None
    namespace, name = subject.namespaced_name
    return {"role": role, **identity_provider, "namespace": namespace, "service_accounts": [name], "state": "present"}


Diagnosis = tuple[str, Remediation]  # the reason and the remediation; the message decides the side


def _explain_trust(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, trust: Optional[TrustVerdict]
) -> Diagnosis:
    reason = denial.reason
    if denial.kind == "pod_identity":
        description = "Allow pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession in the role's trust policy."
        return reason, Remediation(description)
    if denial.kind == "trust_policy":
        request = f"{denial.caller.arn if denial.caller else 'the caller'} {denial.action}"
        location = f"in the trust policy of {choose_role(denial, options) or 'the requested role'}"
        return reason, Remediation(
            f"Narrow the Deny for {request} {location}." if denial.explicit_deny else f"Allow {request} {location}."
        )
    if observed.missing_role:
        remediation = Remediation(
            f"Create {observed.missing_role}, or correct the service account's annotation {ROLE_ARN_ANNOTATION}."
        )
        here = "" if get_role_account(observed.missing_role) else " in the account of these credentials"
        return f"{reason} The role {observed.missing_role} does not exist{here}.", remediation
    if trust is not None and trust.allowed is False:
        description = f"Allow {trust.subject} in the trust policy of {trust.role}."
        return f"{reason} {trust.reason}", Remediation(
            description, binding=_build_binding(denial, options, observed, trust.role)
        )
    if trust is not None and trust.allowed:
        return f"{reason} The current trust policy allows {trust.subject}.", Remediation(
            "None, if the trust policy was corrected since: IAM takes some seconds to apply a change. Otherwise the "
            "cause is one of three. The token is of another service account or cluster than the given ones. A "
            "condition that was not evaluated does not match. A resource control policy denies it."
        )
    return reason, Remediation(
        "Allow the service account in the trust policy of its role. Give role, namespace, service account and cluster, "
        "and this module checks the trust policy and returns the binding."
    )


_IDENTITY_REMEDIATIONS = {
    "no_provider": (
        "Create the cluster's IAM OIDC provider in the role's account: iam_irsa_namespace creates it with "
        "create_provider."
    ),
    "audience": (
        "Add the token's audience to the client ids of the IAM OIDC provider, or let the token be issued for "
        f"{AUDIENCE} (annotation eks.amazonaws.com/audience of the service account)."
    ),
    "verification_key": (
        "Make sure that the issuer's keys can be fetched from the internet, through its "
        "/.well-known/openid-configuration, and that the API server signs with these keys."
    ),
    "token_expired": (
        "Make the program read its token file again before each use, as current SDKs do. Check that the clocks are "
        "right."
    ),
    "token_invalid": "Make the program send the projected token of the service account unchanged.",
    "role_arn": (
        f"Set the service account's annotation {ROLE_ARN_ANNOTATION} to the ARN of the role "
        "(arn:aws:iam::ACCOUNT:role/NAME), and restart its pods."
    ),
    "token_file": (
        "Restart the pod, so that the webhook mounts the token. Where only the program's user may not read it, set "
        "fsGroup in the pod's security context."
    ),
    "credentials_expired": (
        "Make the program renew its credentials: restart it, and use an SDK that renews credentials by itself."
    ),
    "credentials_invalid": (
        "Check which credentials the program found first: keys in its environment take precedence over its role. Check "
        "partition and region, too."
    ),
    "no_credentials": (
        f"Annotate the service account with its role ({ROLE_ARN_ANNOTATION}) and restart its pods. Check that the "
        "program's SDK is recent enough to support web identities."
    ),
}


def _explain_identity(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    reason, description = denial.reason, _IDENTITY_REMEDIATIONS[denial.kind]
    if denial.kind == "no_provider" and observed.provider_exists:
        reason += " This account has the provider now."
        description = (
            "None, if the provider was created since. Otherwise the role is in another account: create the provider "
            "there."
        )
    if denial.kind == "audience" and options.audience in observed.client_ids:
        reason += f" {options.audience} is one of the provider's client ids now."
        description = (
            f"Let the token be issued for {options.audience}: correct the annotation eks.amazonaws.com/audience, or "
            "remove it."
        )
    return reason, Remediation(description)


def _explain_permission(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    if denial.kind in _REMEDIATION_LOCATIONS:
        named = f" The policy is {denial.policy}." if denial.policy else ""
        change = "Remove the Deny" if denial.explicit_deny else f"Allow {denial.action}"
        return f"{denial.reason}{named}", Remediation(f"{change} {_REMEDIATION_LOCATIONS[denial.kind]}.{named}")
    if denial.caller and denial.caller.is_node_role:
        return _explain_node_role(denial, options, observed)
    if denial.explicit_deny:
        location = (
            denial.policy
            or _describe_deny_statements(denial, observed)
            or f"the {denial.kind.replace('_', ' ')} of the caller"
        )
        return denial.reason, Remediation(f"Narrow the Deny in {location}. No Allow overrides it.")
    if observed.simulation is None:
        description = (
            f"Allow {denial.action} to the caller." if denial.action else "Find out the caller and the action first."
        )
        return f"{denial.reason} The caller's missing permissions were not checked.", Remediation(
            description, statement=_build_statement(denial)
        )
    return _explain_missing_permission(denial, observed, observed.simulation)


def _explain_node_role(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Diagnosis:
    reason = (
        f"{denial.reason} The session is the node's: the pod's service account has no working role, and the SDK fell "
        "back to the node role."
    )
    description = (
        f"Give the service account its role{f', {options.role}' if options.role else ''}: first the trust policy, then "
        f"the annotation {ROLE_ARN_ANNOTATION}, then a restart of its pods. Do not widen the node role."
    )
    binding = _build_binding(denial, options, observed, get_role_name(options.role)) if options.role else None
    return reason, Remediation(description, binding=binding)


def _describe_deny_statements(denial: AccessDenial, observed: DenialEvidence) -> Optional[str]:
    if observed.policies is None or denial.action is None:
        return None
    return "; ".join(map(str, find_statements(observed.policies, denial.action, denial.resource, "Deny"))) or None


def _explain_missing_permission(denial: AccessDenial, observed: DenialEvidence, simulation: Simulation) -> Diagnosis:
    """Explain a denial that no policy allowed. The simulator decides what is missing, by its results with and without
    tags (docs/facts/irsa.md#accessdenied-messages).
    """
    reason, statement = denial.reason, _build_statement(denial)
    if simulation.allowed_by_boundary is False:
        boundary = (
            f" {observed.role.permissions_boundary}" if observed.role and observed.role.permissions_boundary else ""
        )
        description = f"Allow it in the permissions boundary{boundary}. The role's own policies are not enough."
        reason = f"{reason} The role's permissions boundary does not allow it."
        return reason, Remediation(description, statement=statement)
    if simulation.allowed_by_organizations is False:
        description = f"Allow {denial.action} {_REMEDIATION_LOCATIONS['service_control_policy']}."
        return f"{reason} The organization's policies do not allow it.", Remediation(description)
    if simulation.decision == ALLOWED:
        return f"{reason} The current policies allow it.", Remediation(
            "None, if policies or tags were changed since. Otherwise something denies it that the simulator does not "
            "evaluate: the resource's own policy, a session policy, an endpoint policy, or a condition on the request."
        )
    if simulation.decision == EXPLICIT_DENY:
        location = (
            _describe_deny_statements(denial, observed) or ", ".join(simulation.matched_policies) or "its policies"
        )
        return f"{reason} The simulator finds an explicit Deny.", Remediation(f"Narrow the Deny in {location}.")
    missing_tags = find_missing_tags(denial, observed, "")
    if (
        missing_tags is not None
        and observed.simulation_with_tags is not None
        and observed.simulation_with_tags.decision == ALLOWED
    ):
        return _explain_missing_tags(denial, observed, missing_tags, observed.simulation_with_tags)
    role = denial.caller.role if denial.caller else None
    if observed.policies is None:
        description = f"Add this statement to a policy of {role or 'the caller'}."
        return f"{reason} The simulator denies it as well.", Remediation(description, statement=statement)
    found = find_statements(observed.policies, denial.action or "", denial.resource)
    if not found:
        description = f"Add this statement to a policy of {role}."
        return f"{reason} No policy of the role names this action for this resource.", Remediation(
            description, statement=statement
        )
    conditions = "; ".join(
        f"{operator} {key}" for match in found for operator, key, _given in policy.iterate_conditions(match.statement)
    )
    reason = f"{reason} {'; '.join(map(str, found))} would allow it, on conditions that do not match."
    return reason, Remediation(f"Satisfy the conditions, or loosen them: {conditions}.")


def _explain_missing_tags(
    denial: AccessDenial, observed: DenialEvidence, missing_tags: MissingTags, simulation: Simulation
) -> Diagnosis:
    conditions = " and ".join(map(str, missing_tags.unmet_conditions))
    reason = (
        f"{denial.reason} {missing_tags.policy_statement} would allow it, on condition that {conditions}. The "
        f"resource's tags: {_format_tags(observed.tags or {})}. IAM's policy simulator denies it with the current "
        f"tags, and allows it with {_format_tags(simulation.tags)}."
    )
    description = (
        f"Tag {denial.resource} with {_format_tags(simulation.tags)}, if this caller is to manage the resource. Use "
        "credentials that may tag it: the condition keeps the caller away from resources that are not its own."
    )
    return reason, Remediation(description, tags=dict(simulation.tags))


def _build_statement(denial: AccessDenial) -> Optional[dict[str, Any]]:
    if not denial.action:
        return None
    return {"Effect": "Allow", "Action": denial.action, "Resource": denial.resource or "*"}


def _explain_unknown(
    denial: AccessDenial, _options: ExplainOptions, _observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    if denial.kind in ("bare_error_code", "unstated", "encoded"):
        return denial.reason, Remediation(
            "Not known. Look up the event in CloudTrail and give it to this module: it names the caller and the "
            "action, and often the policy."
        )
    return denial.reason, Remediation("None in IAM.")


def _get_ineffective_remediation(denial: AccessDenial, options: ExplainOptions) -> Optional[str]:
    """Get the change that people try first and that has no effect on this denial."""
    subject = choose_subject(denial, options)
    adding = f"Adding a namespace or service account{f' ({subject})' if subject else ''} to"
    caller = denial.caller
    if denial.side == PERMISSION and caller and caller.is_node_role:
        return f"Allowing it to the node role {caller.role} would give it to every pod on the node."
    if denial.side == PERMISSION and caller and caller.role:
        return (
            f"{adding} the trust policy of {caller.role} does not remedy this denial: STS issued the session, so the "
            "trust policy already allowed its caller."
        )
    if denial.side == TRUST:
        return "Adding permissions to the role does not remedy this denial: STS issued no session that could use them."
    if denial.side == IDENTITY:
        return f"{adding} a trust policy does not remedy this denial: STS did not evaluate it."
    return None
