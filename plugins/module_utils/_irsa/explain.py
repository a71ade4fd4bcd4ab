# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why access was refused and what mends it: what the message says, set against what was looked at. Pure.

The message decides the side: what was looked at came later, and can have been mended since. What could not be looked at
is said, and nothing is concluded from it.
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
# Refusals that no policy of the role itself can lift.
_REMEDIATION_LOCATIONS = {
    "service_control_policy": "in AWS Organizations, by whoever manages the organization",
    "resource_control_policy": "in AWS Organizations, by whoever manages the organization",
    "vpc_endpoint_policy": "in the policy of the VPC endpoint that the request went through",
    "session_policy": "where the session is made: whoever assumes the role hands over a session policy that narrows it",
    "resource_policy": "in the policy of the resource itself",
}


@dataclass(frozen=True)
class ObservedRole:
    """A role as GetRole shows it."""

    arn: str
    trust_policy: Mapping[str, Any]
    permissions_boundary: Optional[str] = None

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


@dataclass(frozen=True)
class Simulation:
    """What SimulatePrincipalPolicy answered, given C(tags) on the resource."""

    tags: Mapping[str, str]
    decision: str
    matched_policies: tuple[str, ...] = ()
    missing_context: tuple[str, ...] = ()
    allowed_by_boundary: Optional[bool] = None
    allowed_by_organizations: Optional[bool] = None


@dataclass(frozen=True)
class DenialEvidence:
    """What was looked at. None: not looked at; C(unseen) says why, by what it was.

    C(tried): what the simulator answered with tags that the resource has not.
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
    """What the user says besides the message."""

    role: Optional[str] = None
    subject: Optional[Subject] = None
    cluster: Optional[str] = None
    provider_arn: Optional[str] = None
    audience: str = AUDIENCE


@dataclass(frozen=True)
class Remediation:
    """The least change that mends it. At most one of binding, statement and tags."""

    description: str
    binding: Optional[Mapping[str, Any]] = None
    statement: Optional[Mapping[str, Any]] = None
    tags: Optional[Mapping[str, str]] = None


@dataclass(frozen=True)
class TrustVerdict:
    """Whether a service account may assume the role; apart from what the message is about."""

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
    """Whose trust is to be checked: whom the user names, or whom the message does."""
    return options.subject or (Subject.from_service_account(*denial.subject) if denial.subject else None)


def choose_role(denial: AccessDenial, options: ExplainOptions) -> Optional[str]:
    """The role to look at: of a session, the session's; else the one that was to be assumed."""
    if options.role:
        return options.role
    if denial.side in (TRUST, IDENTITY) or denial.role:
        return denial.role
    return denial.caller.role if denial.caller else None


# --- What policies ask of a resource's tags.


@dataclass(frozen=True)
class PolicyStatement:
    """A statement of a role's policy that is about the action and the resource."""

    policy: str
    index: int
    statement: Mapping[str, Any]

    def __str__(self) -> str:
        sid = self.statement.get("Sid")
        return f"{self.policy}, Statement[{self.index}]{f' ({sid})' if sid else ''}"


def find_statements(
    policies: Sequence[tuple[str, Mapping[str, Any]]], action: str, resource: Optional[str], effect: str = "Allow"
) -> list[PolicyStatement]:
    """The statements with this effect whose actions and resources fit, whatever their conditions."""
    found = []
    for name, document in policies:
        for index, statement in enumerate(policy.list_statements(document)):
            about = _matches_element(statement, "Action", action, True) and (
                resource is None or _matches_element(statement, "Resource", resource, False)
            )
            if about and statement.get("Effect") == effect:
                found.append(PolicyStatement(name, index, statement))
    return found


def _matches_element(statement: Mapping[str, Any], element: str, text: str, ignore_case: bool) -> bool:
    if element in statement:
        return any(policy.matches_glob(str(one), text, ignore_case) for one in policy.to_list(statement[element]))
    refused = policy.to_list(statement.get(f"Not{element}", []))
    return bool(refused) and not any(policy.matches_glob(str(one), text, ignore_case) for one in refused)


@dataclass(frozen=True)
class TagCondition:
    """A condition on a tag of the resource."""

    operator: str
    tag: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        if self.operator.lower() == "null":
            return f"it bears {'the' if self.requires_tag else 'no'} tag {self.tag}"
        return f"its tag {self.tag} satisfies {self.operator} {' or '.join(self.values)}"

    @property
    def requires_tag(self) -> bool:
        return "false" in [value.lower() for value in self.values]

    def is_satisfied(self, tags: Mapping[str, str]) -> Optional[bool]:
        """None: cannot be judged here."""
        held = {key.lower(): value for key, value in tags.items()}.get(self.tag.lower())
        operator = policy.ConditionOperator.parse(self.operator)
        if operator.base == "null":
            return (held is not None) == self.requires_tag
        if operator.is_negated or operator.base not in ("stringequals", "stringequalsignorecase", "stringlike"):
            return None
        if held is None:
            return operator.is_loose
        if operator.base == "stringlike":
            return any(policy.matches_glob(value, held) for value in self.values)
        if operator.base == "stringequalsignorecase":
            return held.lower() in [value.lower() for value in self.values]
        return held in self.values

    def get_satisfying_value(self, wildcard_value: str) -> Optional[str]:
        """A value of the tag that meets it."""
        operator = policy.ConditionOperator.parse(self.operator)
        if operator.base == "null":
            return wildcard_value if self.requires_tag else None
        if operator.is_negated or operator.base not in ("stringequals", "stringequalsignorecase", "stringlike"):
            return None
        plain = [one for one in self.values if "${" not in one]
        if not plain:
            return None
        return plain[0] if operator.base != "stringlike" else plain[0].replace("*", wildcard_value).replace("?", "x")


def list_tag_conditions(statement: Mapping[str, Any]) -> list[TagCondition]:
    found = []
    for operator, key, given in policy.iterate_conditions(statement):
        match = _RESOURCE_TAG_KEY.fullmatch(key)
        if match:
            told = (str(one).lower() if isinstance(one, bool) else str(one) for one in policy.to_list(given))
            found.append(TagCondition(operator, match[1], tuple(told)))
    return found


@dataclass(frozen=True)
class MissingTags:
    """A statement that would allow the action if the resource bore these tags."""

    policy_statement: PolicyStatement
    unmet_conditions: tuple[TagCondition, ...]
    tags: Mapping[str, str]


def find_missing_tags(denial: AccessDenial, observed: DenialEvidence, wildcard_value: str) -> Optional[MissingTags]:
    """The statement that lacks the fewest tags; None where tags are not what is missing."""
    if observed.policies is None or observed.tags is None or denial.action is None:
        return None
    found = []
    for grant in find_statements(observed.policies, denial.action, denial.resource):
        unmet = [one for one in list_tag_conditions(grant.statement) if one.is_satisfied(observed.tags) is False]
        # Of two demands on one tag, a value that is asked for counts before a mere presence.
        wished: dict[str, Optional[str]] = {}
        for one in sorted(unmet, key=lambda demand: demand.operator.lower() != "null"):
            wished[one.tag] = one.get_satisfying_value(wildcard_value)
        if unmet and all(told is not None for told in wished.values()):
            found.append(MissingTags(grant, tuple(unmet), {key: str(told) for key, told in wished.items()}))
    return min(found, key=lambda one: len(one.tags)) if found else None


def build_context(denial: AccessDenial, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For the simulator: what the request is known to have brought, and the resource's tags by both their keys."""
    service = (denial.action or "").split(":")[0].lower()
    entries = dict(denial.context)
    for key, value in tags.items():
        for prefix in dict.fromkeys(("aws", service)):
            entries[f"{prefix}:ResourceTag/{key}"] = (value,)
    return entries


# --- The explanation.


def explain(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Explanation:
    evidence = [
        _build_evidence(
            "the message", f"{denial.reason} It says: {_shorten(denial.message)}" if denial.message else denial.reason
        )
    ]
    if denial.other_denials:
        evidence.append(
            _build_evidence(
                "the message", f"It tells of {denial.other_denials} more refusals. This is about the first one."
            )
        )
    evidence += _list_evidence(denial, observed)
    trusted = _check_trust(denial, options, observed)
    if trusted is not None:
        evidence.append(
            _build_evidence(f"the trust policy of {trusted.role}", trusted.reason, trusted.allowed is not None)
        )
    evidence += [_build_evidence(what, why, False) for what, why in observed.not_checked.items()]
    judge = {TRUST: _explain_trust, IDENTITY: _explain_identity, PERMISSION: _explain_permission}.get(
        denial.side, _explain_unknown
    )
    reason, mend = judge(denial, options, observed, trusted)
    return Explanation(
        denial.side, reason, tuple(evidence), mend, _get_ineffective_remediation(denial, options), trusted
    )


def _build_evidence(source: str, message: str, readable: bool = True) -> dict[str, Any]:
    return {"looked_at": source, "answer": message, "seen": readable}


def _shorten(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]}..."


def _format_tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items()) or "none"


def _list_evidence(denial: AccessDenial, observed: DenialEvidence) -> Iterator[dict[str, Any]]:
    if denial.caller and denial.caller.is_node:
        yield _build_evidence(
            f"the session's name, {denial.caller.session}",
            f"It is the id of an instance: the role {denial.caller.role} is the node's, which pods fall back to where "
            "their service account has no role that works.",
        )
    if observed.missing_role:
        yield _build_evidence(f"the role {observed.missing_role}", "There is no such role.")
    if observed.provider is not None and observed.provider_exists is not None:
        ids = f" with the client ids {', '.join(observed.client_ids)}" if observed.client_ids else ""
        yield _build_evidence(
            f"the OIDC provider {observed.provider.arn}",
            f"It exists{ids}." if observed.provider_exists else "There is no such provider in IAM.",
        )
    if observed.tags is not None:
        told = _format_tags(observed.tags) if observed.tags else "None. It bears no tag, or does not exist any more."
        yield _build_evidence(f"the tags of {denial.resource}", told)
    if observed.policies is not None and denial.action:
        found = find_statements(observed.policies, denial.action, denial.resource)
        names = "; ".join(map(str, found)) or "none"
        yield _build_evidence(
            f"the {len(observed.policies)} policies of {denial.caller.role if denial.caller else 'the role'}",
            f"Statements that allow {denial.action} there, if their conditions hold: {names}.",
        )
    for simulation, how in (
        (observed.simulation, "with the tags as they are"),
        (observed.simulation_with_tags, "with these tags added"),
    ):
        if simulation is not None:
            added = f" ({_format_tags(simulation.tags)})" if simulation is observed.simulation_with_tags else ""
            yield _build_evidence(f"IAM's policy simulator, {how}{added}", _describe_simulation(simulation))


def _describe_simulation(simulation: Simulation) -> str:
    parts = [f"{simulation.decision}"]
    if simulation.matched_policies:
        parts.append(f"by {', '.join(simulation.matched_policies)}")
    if simulation.missing_context and simulation.decision != ALLOWED:
        parts.append(
            f"policies look at {', '.join(simulation.missing_context)}, which the request was not known to bring"
        )
    if simulation.allowed_by_boundary is False:
        parts.append("the permissions boundary does not allow it")
    if simulation.allowed_by_organizations is False:
        parts.append("the organization's policies do not allow it")
    return "; ".join(parts) + "."


def _check_trust(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Optional[TrustVerdict]:
    """Is the service account trusted at all?"""
    subject, role = choose_subject(denial, options), observed.role
    if role is None:
        return None
    name = get_role_name(role.arn)
    if subject is None or observed.provider is None:
        lets_in = [
            _describe_trust_grants(role.trust_policy, OidcProvider(arn))
            for arn in policy.list_provider_arns(role.trust_policy)
        ]
        who = "; ".join(one for one in lets_in if one) or "nobody by an OIDC provider"
        what = "No service account is named" if subject is None else f"Of which cluster {subject} is, is not known"
        return TrustVerdict(name, subject, None, f"{what}, so that it was not checked. The role lets in: {who}.")
    verdict = policy.evaluate(role.trust_policy, observed.provider, subject, options.audience)
    by = tuple(map(str, verdict.allowed_by))
    reason = f"{subject} of {observed.provider.issuer}: {verdict}."
    conditions = [condition for match in verdict.allowed_by for condition in match.conditions]
    if verdict.is_allowed and conditions:
        reason += f" The statement also demands {'; '.join(conditions)}, which cannot be judged here."
    if not verdict.is_allowed:
        reason += f" {_get_untrusted_reason(role.trust_policy, observed.provider, options)}"
    return TrustVerdict(name, subject, verdict.is_allowed, reason, by)


def _describe_trust_grants(document: Mapping[str, Any], provider: OidcProvider) -> str:
    names = [
        "everybody (no subject is demanded)" if one.subject is None else str(one.subject)
        for one in policy.list_grants(document, provider)
    ]
    return f"{', '.join(dict.fromkeys(names))} of {provider.issuer}" if names else ""


def _get_untrusted_reason(document: Mapping[str, Any], provider: OidcProvider, options: ExplainOptions) -> str:
    named = policy.list_provider_arns(document)
    if provider.arn not in named:
        others = f" It names {', '.join(named)}." if named else ""
        return f"No statement names this cluster's provider.{others}"
    lets_in = _describe_trust_grants(document, provider)
    return f"Of this provider it lets in: {lets_in or f'nobody with the audience {options.audience}'}."


def _build_binding(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, role: str
) -> Optional[dict[str, Any]]:
    """As iam_irsa_namespace takes it."""
    subject = choose_subject(denial, options)
    if subject is None or subject.namespaced_name is None:
        return None
    provider = options.provider_arn or (observed.provider.arn if observed.provider else None)
    where = {"cluster": options.cluster} if options.cluster else {"oidc_provider_arn": provider}
    if not any(where.values()):
        return None
    namespace, name = subject.namespaced_name
    return {"role": role, **where, "namespace": namespace, "service_accounts": [name], "state": "present"}


Diagnosis = tuple[str, Remediation]  # the reason, and what mends it; the side is the message's


def _explain_trust(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, trust: Optional[TrustVerdict]
) -> Diagnosis:
    reason = denial.reason
    if denial.kind == "pod_identity":
        what = "Allow pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession in its trust policy."
        return reason, Remediation(what)
    if denial.kind == "trust_policy":
        who = f"{denial.caller.arn if denial.caller else 'the caller'} {denial.action}"
        where = f"in the trust policy of {choose_role(denial, options) or 'the role that was to be assumed'}"
        return reason, Remediation(
            f"Narrow the Deny that refuses {who} {where}." if denial.explicit_deny else f"Allow {who} {where}."
        )
    if observed.missing_role:
        mend = Remediation(
            f"Create {observed.missing_role}, or mend the service account's annotation {ROLE_ARN_ANNOTATION}."
        )
        here = "" if get_role_account(observed.missing_role) else " in the account of these credentials"
        return f"{reason} There is no role {observed.missing_role}{here}.", mend
    if trust is not None and trust.allowed is False:
        what = f"Let {trust.subject} into the trust policy of {trust.role}."
        return f"{reason} {trust.reason}", Remediation(
            what, binding=_build_binding(denial, options, observed, trust.role)
        )
    if trust is not None and trust.allowed:
        return f"{reason} As the trust policy stands now, it lets {trust.subject} in.", Remediation(
            "None, if the trust policy was mended since: IAM takes some seconds to follow. Otherwise the token is of "
            "another service account or cluster than was said, a condition that was not judged does not hold, or a "
            "resource control policy denies it."
        )
    return reason, Remediation(
        "Let the service account into the trust policy of its role. Name role, namespace, service account and cluster, "
        "and the binding is checked and written out."
    )


_IDENTITY_REMEDIATIONS = {
    "no_provider": (
        "Create the IAM OIDC provider of the cluster, in the role's account: iam_irsa_namespace does, with "
        "create_provider."
    ),
    "audience": (
        "Add the token's audience to the client ids of the IAM OIDC provider, or have the token made for "
        f"{AUDIENCE} (annotation eks.amazonaws.com/audience of the service account)."
    ),
    "verification_key": (
        "See that the issuer's keys can be fetched from the internet, by way of its /.well-known/openid-configuration, "
        "and are those that the API server signs with."
    ),
    "token_expired": (
        "Have the program read its token file again before each use, as current SDKs do, and see that the clocks are "
        "right."
    ),
    "token_invalid": "Have the program send the projected token of the service account, as it is.",
    "role_arn": (
        f"Put the ARN of the role (arn:aws:iam::ACCOUNT:role/NAME) into the service account's annotation {ROLE_ARN_ANNOTATION}, "
        "and restart its pods."
    ),
    "token_file": (
        "Restart the pod, so that the webhook gives it its token. Where only the program's user may not read it, set "
        "fsGroup in the pod's security context."
    ),
    "credentials_expired": "Have the program renew its credentials: restart it, and use an SDK that does so by itself.",
    "credentials_invalid": (
        "See which credentials the program found first: keys in its environment come before its role. Check partition "
        "and region, too."
    ),
    "no_credentials": (
        f"Annotate the service account with its role ({ROLE_ARN_ANNOTATION}), restart its pods, and see that the program's SDK "
        "is recent enough to know web identities."
    ),
}


def _explain_identity(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    reason, what = denial.reason, _IDENTITY_REMEDIATIONS[denial.kind]
    if denial.kind == "no_provider" and observed.provider_exists:
        reason += " As IAM stands now, this account has the provider."
        what = (
            "None, if the provider was made since. Otherwise the role is in another account: make the provider there."
        )
    if denial.kind == "audience" and options.audience in observed.client_ids:
        reason += f" As IAM stands now, {options.audience} is one of the provider's client ids."
        what = (
            f"Have the token made for {options.audience}: mend the annotation eks.amazonaws.com/audience, or remove it."
        )
    return reason, Remediation(what)


def _explain_permission(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    if denial.kind in _REMEDIATION_LOCATIONS:
        named = f" It is {denial.policy}." if denial.policy else ""
        doing = "Take the Deny away" if denial.explicit_deny else f"Allow {denial.action}"
        return f"{denial.reason}{named}", Remediation(f"{doing} {_REMEDIATION_LOCATIONS[denial.kind]}.{named}")
    if denial.caller and denial.caller.is_node:
        return _explain_node_role(denial, options, observed)
    if denial.explicit_deny:
        where = (
            denial.policy
            or _describe_deny_statements(denial, observed)
            or f"the {denial.kind.replace('_', ' ')} of the caller"
        )
        return denial.reason, Remediation(f"Narrow the Deny in {where}. No Allow overrides it.")
    if observed.simulation is None:
        what = f"Allow {denial.action} to the caller." if denial.action else "Find out caller and action first."
        return f"{denial.reason} What its policies lack was not looked at.", Remediation(
            what, statement=_build_statement(denial)
        )
    return _explain_missing_permission(denial, observed, observed.simulation)


def _explain_node_role(denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence) -> Diagnosis:
    reason = (
        f"{denial.reason} That session is the node's: the pod's service account has no role that works, and the SDK "
        "fell back to the node."
    )
    what = (
        f"Give the service account its role{f', {options.role}' if options.role else ''}: trust first, then the annotation "
        f"{ROLE_ARN_ANNOTATION}, then a restart of its pods. Do not widen the node's role."
    )
    binding = _build_binding(denial, options, observed, get_role_name(options.role)) if options.role else None
    return reason, Remediation(what, binding=binding)


def _describe_deny_statements(denial: AccessDenial, observed: DenialEvidence) -> Optional[str]:
    if observed.policies is None or denial.action is None:
        return None
    return "; ".join(map(str, find_statements(observed.policies, denial.action, denial.resource, "Deny"))) or None


def _explain_missing_permission(denial: AccessDenial, observed: DenialEvidence, simulation: Simulation) -> Diagnosis:
    """No policy allowed it. Which piece is missing, the simulator tells: with and without tags (facts: irsa)."""
    reason, statement = denial.reason, _build_statement(denial)
    if simulation.allowed_by_boundary is False:
        boundary = (
            f" {observed.role.permissions_boundary}" if observed.role and observed.role.permissions_boundary else ""
        )
        what = f"Allow it in the permissions boundary{boundary}. The role's own policies are not enough."
        return f"{reason} The role's permissions boundary does not allow it.", Remediation(what, statement=statement)
    if simulation.allowed_by_organizations is False:
        what = f"Allow {denial.action} {_REMEDIATION_LOCATIONS['service_control_policy']}."
        return f"{reason} The organization's policies do not allow it.", Remediation(what)
    if simulation.decision == ALLOWED:
        return f"{reason} As the policies stand now, they allow it.", Remediation(
            "None, if policies or tags were changed since. Otherwise something refuses that the simulator does not "
            "judge: the resource's own policy, a session policy, an endpoint policy, or a condition on what was "
            "asked."
        )
    if simulation.decision == EXPLICIT_DENY:
        where = _describe_deny_statements(denial, observed) or ", ".join(simulation.matched_policies) or "its policies"
        return f"{reason} The simulator finds an explicit Deny.", Remediation(f"Narrow the Deny in {where}.")
    lack = find_missing_tags(denial, observed, "")
    if (
        lack is not None
        and observed.simulation_with_tags is not None
        and observed.simulation_with_tags.decision == ALLOWED
    ):
        return _explain_missing_tags(denial, observed, lack, observed.simulation_with_tags)
    holder = denial.caller.role if denial.caller else None
    if observed.policies is None:
        what = f"Add this statement to a policy of {holder or 'the caller'}."
        return f"{reason} The simulator denies it as well.", Remediation(what, statement=statement)
    found = find_statements(observed.policies, denial.action or "", denial.resource)
    if not found:
        what = f"Add this statement to a policy of {holder}."
        return f"{reason} No policy of the role names this action for this resource.", Remediation(
            what, statement=statement
        )
    conditions = "; ".join(
        f"{operator} {key}" for one in found for operator, key, _given in policy.iterate_conditions(one.statement)
    )
    reason = f"{reason} {'; '.join(map(str, found))} would allow it, on conditions that do not hold."
    return reason, Remediation(f"Meet the conditions, or loosen them: {conditions}.")


def _explain_missing_tags(
    denial: AccessDenial, observed: DenialEvidence, missing_tags: MissingTags, simulation: Simulation
) -> Diagnosis:
    reason = (
        f"{denial.reason} {missing_tags.policy_statement} would allow it, on condition that {' and '.join(map(str, missing_tags.unmet_conditions))}. The "
        f"resource's tags: {_format_tags(observed.tags or {})}. IAM's simulator denies it as it is, and allows it with "
        f"{_format_tags(simulation.tags)}."
    )
    what = (
        f"Tag {denial.resource} with {_format_tags(simulation.tags)}, if it is this caller's to handle, and with credentials that "
        "may: the condition is there so that the caller leaves alone what is not its own."
    )
    return reason, Remediation(what, tags=dict(simulation.tags))


def _build_statement(denial: AccessDenial) -> Optional[dict[str, Any]]:
    if not denial.action:
        return None
    return {"Effect": "Allow", "Action": denial.action, "Resource": denial.resource or "*"}


def _explain_unknown(
    denial: AccessDenial, _options: ExplainOptions, _observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    if denial.kind in ("bare", "unstated", "encoded"):
        return denial.reason, Remediation(
            "Not known. Look up the event in CloudTrail and give that: it names caller and action, often the policy."
        )
    return denial.reason, Remediation("Nothing in IAM.")


def _get_ineffective_remediation(denial: AccessDenial, options: ExplainOptions) -> Optional[str]:
    """What people try first, and what does nothing for this message."""
    subject = choose_subject(denial, options)
    adding = f"Adding a namespace or service account{f' ({subject})' if subject else ''} to"
    caller = denial.caller
    if denial.side == PERMISSION and caller and caller.is_node:
        return f"Allowing it to the node's role {caller.role} would give it to every pod on the node."
    if denial.side == PERMISSION and caller and caller.role:
        return (
            f"{adding} the trust policy of {caller.role} is not the mend for this message: STS had issued the session, "
            "so that the trust policy had let its caller in."
        )
    if denial.side == TRUST:
        return "Adding permissions to the role is not the mend for this message: no session was issued that had any."
    if denial.side == IDENTITY:
        return f"{adding} a trust policy is not the mend for this message: STS had not come to look at it."
    return None
