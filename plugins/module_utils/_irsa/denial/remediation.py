# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reason and the remediation of a denial, by its side. The message decides the side; the evidence decides what
helps. Pure.

No Allow in a policy of the caller lifts an explicit Deny, or replaces what another policy type must allow: such denials
never end in a statement for the role.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from .. import policy
from ..model import get_role_account
from .changes import build_binding, build_statement, describe_caller, format_tags
from .errors import AUDIENCE_ANNOTATION, ROLE_ARN_ANNOTATION
from .evidence import (
    ALLOWED,
    EXPLICIT_DENY,
    DenialEvidence,
    ExplainOptions,
    Remediation,
    Simulation,
    TrustVerdict,
    choose_role,
    choose_subject,
)
from .model import IDENTITY, PERMISSION, TRUST, AccessDenial
from .node_duties import find_duty
from .node_remediation import explain_node_role
from .tag_conditions import MissingTags, find_missing_tags, find_statements

Diagnosis = tuple[str, Remediation]  # the reason and the remediation

_ORGANIZATION = "An administrator of AWS Organizations makes this change."
# Policy types that no policy of the role replaces: where each is, and who changes it.
_OTHER_POLICIES = {
    "service_control_policy": ("the service control policy", _ORGANIZATION),
    "resource_control_policy": ("the resource control policy", _ORGANIZATION),
    "permissions_boundary": ("the permissions boundary of {caller}", "The boundary limits all policies of the caller."),
    "vpc_endpoint_policy": ("the policy of the VPC endpoint that the request used", ""),
    "session_policy": ("the session policy", "The caller of AssumeRole passes it when it requests the session."),
    "resource_policy": ("the {resource_policy}", ""),
}
_RESOURCE_POLICIES = {
    "s3": "policy of the bucket or access point",
    "kms": "key policy of the KMS key",
    "ecr": "policy of the ECR repository",
    "sqs": "policy of the queue",
    "sns": "policy of the topic",
    "secretsmanager": "policy of the secret",
    "lambda": "policy of the function or layer",
    "es": "access policy of the domain",
    "execute-api": "policy of the API",
    "glue": "policy of the Data Catalog, or the resource share",
    "dynamodb": "policy of the table",
}
_CLOUDTRAIL = (
    "Look up the event in CloudTrail and give it to this module: it names the caller and the action, and often the "
    "policy."
)


def find_remediation(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, trust: Optional[TrustVerdict]
) -> Diagnosis:
    """Find the reason and the remediation."""
    explainers: dict[str, Callable[..., Diagnosis]] = {
        TRUST: _explain_trust,
        IDENTITY: _explain_identity,
        PERMISSION: _explain_permission,
    }
    return explainers.get(denial.side, _explain_unknown)(denial, options, observed, trust)


# --- Trust and identity.


def _explain_trust(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, trust: Optional[TrustVerdict]
) -> Diagnosis:
    reason = denial.reason
    if denial.remediation:
        return reason, Remediation(denial.remediation)
    if denial.kind == "trust_policy":
        request = f"{denial.caller.arn if denial.caller else 'the caller'} {denial.action}"
        location = f"the trust policy of {choose_role(denial, options) or 'the requested role'}"
        return reason, Remediation(
            f"Narrow the Deny for {request} in {location}."
            if denial.explicit_deny
            else f"Let {location} allow {request}."
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
            description, binding=build_binding(denial, options, observed, trust.role)
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


def _explain_identity(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    reason, description = denial.reason, denial.remediation or "Not known."
    if denial.kind == "no_provider" and observed.provider_exists:
        reason += " This account has the provider now."
        description = (
            "None, if the provider was created since. Otherwise the role is in another account: create the provider "
            "there."
        )
    if denial.kind == "audience" and options.audience in observed.client_ids:
        reason += f" {options.audience} is one of the provider's client ids now."
        description = (
            f"Let the token be issued for {options.audience}: correct the annotation {AUDIENCE_ANNOTATION}, or "
            "remove it."
        )
    return reason, Remediation(description)


# --- Permissions.


def _explain_permission(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    if denial.remediation:
        return denial.reason, Remediation(denial.remediation)
    if denial.kind in _OTHER_POLICIES:
        return _explain_other_policy(denial)
    if denial.explicit_deny:
        return _explain_explicit_deny(denial, observed)
    if denial.kind == "other_policy":
        return denial.reason, Remediation(
            f"Change what AWS names: {denial.policy_type}. An Allow in a policy of {describe_caller(denial)} does not "
            "replace it."
        )
    if denial.caller and denial.caller.is_node_role:
        return explain_node_role(denial, options, observed)
    if observed.simulation is None:
        return _explain_unchecked(denial)
    return _explain_missing_permission(denial, observed, observed.simulation)


def _explain_other_policy(denial: AccessDenial) -> Diagnosis:
    kind = denial.kind
    if denial.transitive_policy_type in _OTHER_POLICIES:  # the Deny is in the policy that is named last
        kind = denial.transitive_policy_type
    location, note = _OTHER_POLICIES[kind]
    service = (denial.action or "").partition(":")[0].lower()
    location = location.format(
        caller=describe_caller(denial),
        resource_policy=_RESOURCE_POLICIES.get(service, "policy of the resource itself"),
    )
    if denial.policy:
        location += f" {denial.policy}"
    action = denial.action or "the request"
    on_resource = f" on {denial.resource}" if denial.resource else ""
    if denial.explicit_deny:
        change = f"Narrow the Deny for {action}{on_resource} in {location}. No Allow overrides it."
    else:
        change = f"Change {location}, so that it allows {action}{on_resource}. No other policy replaces this."
    if denial.is_anonymous:
        change = f"Sign the request with the credentials of a role: it was anonymous. Otherwise: {change}"
    if kind == "service_control_policy" and denial.explicit_deny:
        note += " Some services name an explicit Deny also where a service control policy only lacks the Allow."
    return denial.reason, Remediation(f"{change} {note}".strip())


def _explain_explicit_deny(denial: AccessDenial, observed: DenialEvidence) -> Diagnosis:
    location = denial.policy or _describe_deny_statements(denial, observed)
    if location is None and denial.kind != "unstated":
        location = f"the {denial.policy_type or denial.kind.replace('_', ' ')} of {describe_caller(denial)}"
    if location is not None:
        return denial.reason, Remediation(f"Narrow the Deny in {location}. No Allow overrides it.")
    statement = f" with the statement {', '.join(denial.deny_statements)}" if denial.deny_statements else ""
    return denial.reason, Remediation(
        f"Find the Deny{statement} and narrow it: no Allow overrides it. It is in a policy or the permissions boundary "
        f"of {describe_caller(denial)}, the resource's policy, the session policy, the VPC endpoint's policy, or a "
        "policy of the organization."
    )


def _explain_unchecked(denial: AccessDenial) -> Diagnosis:
    statement = build_statement(denial)
    reason = f"{denial.reason} The caller's missing permissions were not checked."
    if denial.kind == "identity_policy":
        description = f"Allow {denial.action} to the caller, in a policy of {describe_caller(denial)}."
        if statement is None and denial.resource:
            description += f" Name the resource by its ARN: {denial.resource}."
        return reason, Remediation(description, statement=statement)
    if denial.action is None:
        hint = "Decode the message (sts:DecodeAuthorizationMessage)." if denial.encoded_message else _CLOUDTRAIL
        return reason, Remediation(f"Not known. {_describe_authorization_details(denial) or hint}")
    return reason, Remediation(
        f"Not known which policy. If no policy of {describe_caller(denial)} allows {denial.action}, that is missing. "
        "If one does, a Deny, a boundary, a policy of the resource or of the organization denies it. "
        + (_describe_authorization_details(denial) or "Run this module with credentials that may read the role.")
    )


def _describe_authorization_details(denial: AccessDenial) -> str:
    if not denial.authorization_id:
        return ""
    return (
        "AWS keeps the details of this decision for a day: aws iam-toolbox get-request-authorization-details "
        f"--authorization-id {denial.authorization_id}."
    )


# --- What the evidence shows about a missing permission.


def _describe_deny_statements(denial: AccessDenial, observed: DenialEvidence) -> Optional[str]:
    if observed.policies is None or denial.action is None:
        return None
    found = find_statements(observed.policies, denial.action, denial.resource_arn, "Deny")
    return "; ".join(map(str, found)) or None


def _explain_missing_permission(denial: AccessDenial, observed: DenialEvidence, simulation: Simulation) -> Diagnosis:
    """Explain a denial that no policy allowed. The simulator decides what is missing, by its results with and without
    tags (docs/facts/irsa.md#accessdenied-messages).
    """
    reason = denial.reason
    if simulation.allowed_by_boundary is False:
        boundary = (
            f" {observed.role.permissions_boundary}" if observed.role and observed.role.permissions_boundary else ""
        )
        description = (
            f"Add {denial.action} to what is allowed in the permissions boundary{boundary}. The role's own policies "
            "are not enough."
        )
        return f"{reason} The role's permissions boundary does not allow it.", Remediation(description)
    if simulation.allowed_by_organizations is False:
        description = f"Change the organization's policies, so that they allow {denial.action}. {_ORGANIZATION}"
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
    with_tags = observed.simulation_with_tags
    if missing_tags is not None and with_tags is not None and with_tags.decision == ALLOWED:
        return _explain_missing_tags(denial, observed, missing_tags, with_tags)
    return _explain_missing_statement(denial, observed)


def _explain_missing_statement(denial: AccessDenial, observed: DenialEvidence) -> Diagnosis:
    reason, statement = denial.reason, build_statement(denial)
    role = denial.caller.role if denial.caller else None
    addition = (
        f"Add this statement to a policy of {role or 'the caller'}."
        if statement
        else f"Allow {denial.action} on {denial.resource} in a policy of {role or 'the caller'}: name it by its ARN."
    )
    if observed.policies is None:
        return f"{reason} The simulator denies it as well.", Remediation(addition, statement=statement)
    found = find_statements(observed.policies, denial.action or "", denial.resource_arn)
    if not found:
        return f"{reason} No policy of the role names this action for this resource.", Remediation(
            addition, statement=statement
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
        f"resource's tags: {format_tags(observed.tags or {})}. IAM's policy simulator denies it with the current "
        f"tags, and allows it with {format_tags(simulation.tags)}."
    )
    description = (
        f"Tag {denial.resource} with {format_tags(simulation.tags)}, if this caller is to manage the resource. Use "
        "credentials that may tag it: the condition keeps the caller away from resources that are not its own."
    )
    return reason, Remediation(description, tags=dict(simulation.tags))


# --- What the message leaves open.


def _explain_unknown(
    denial: AccessDenial, _options: ExplainOptions, _observed: DenialEvidence, _trust: Optional[TrustVerdict]
) -> Diagnosis:
    if denial.remediation:
        return denial.reason, Remediation(denial.remediation)
    if denial.kind == "allowed":
        return denial.reason, Remediation("None: this message is of a request that was allowed.")
    if denial.is_assuming:
        return denial.reason, Remediation(_describe_assuming(denial))
    if denial.kind == "encoded":
        return denial.reason, Remediation(
            "Not known. Decode the message: this module does, with credentials that may call "
            "sts:DecodeAuthorizationMessage."
        )
    if denial.kind == "no_denial":
        return denial.reason, Remediation(
            "Not known. Give the whole message, from the first line of the error to its last: the cause often stands "
            "at its end."
        )
    hint = _describe_authorization_details(denial) or _CLOUDTRAIL
    if denial.explicit_deny:
        return denial.reason, Remediation(f"Find the Deny and narrow it: no Allow overrides it. {hint}")
    if denial.kind == "other_policy":
        return denial.reason, Remediation(f"Not known. Check what AWS names: {denial.policy_type}. {hint}")
    return denial.reason, Remediation(f"Not known. {hint}")


def _describe_assuming(denial: AccessDenial) -> str:
    role = denial.role or "the requested role"
    if denial.explicit_deny:
        return (
            f"Find the Deny for {denial.action} and narrow it: no Allow overrides it. It is in a policy of "
            f"{describe_caller(denial)}, the trust policy of {role}, or a policy of the organization."
        )
    if denial.kind == "other_policy":
        return f"Not known. Check what AWS names: {denial.policy_type}."
    both = (
        f"Not known which of two is missing. A policy of {describe_caller(denial)} must allow {denial.action} on "
        f"{role}, and the trust policy of {role} must allow {denial.caller.arn if denial.caller else 'the caller'} "
        f"{denial.action}."
    )
    if "tries to assume itself" in denial.reason:
        return (
            "Remove the role from the program's own settings: its credentials are of this role already. If it must "
            f"assume itself, the trust policy of {role} must allow the role. A policy of the role must, too, unless "
            "the trust policy names the role itself."
        )
    return both


def get_ineffective_remediation(denial: AccessDenial, options: ExplainOptions) -> Optional[str]:
    """Get the change that people try first and that has no effect on this denial."""
    subject = choose_subject(denial, options)
    adding = f"Adding a namespace or service account{f' ({subject})' if subject else ''} to"
    caller = denial.caller
    if denial.side == PERMISSION and (denial.kind in _OTHER_POLICIES or denial.explicit_deny):
        because = (
            "an explicit Deny takes precedence" if denial.explicit_deny else f"the {denial.policy_type} must allow it"
        )
        trust = ", nor does a change of its trust policy" if caller and caller.role else ""
        return f"An Allow in a policy of {describe_caller(denial)} does not remedy this denial{trust}: {because}."
    if denial.side == PERMISSION and caller and caller.is_node_role:
        found = find_duty(denial)
        if found is not None and not found[1]:
            return (
                f"{adding} a trust policy does not remedy this denial: the node made this call, and nodes have no "
                "service account."
            )
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
