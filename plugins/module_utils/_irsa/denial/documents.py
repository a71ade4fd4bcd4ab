# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the documents in which AWS describes a denial: CloudTrail events, decoded authorization messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

from .model import PERMISSION, UNKNOWN, AccessDenial, Caller, describe_session
from .reader import flatten_text, to_mapping, to_mappings
from .sentences import build_web_identity_denial, find_node_program, read_denial

# Only names that Kubernetes allows: a name with a wildcard is no service account, and no binding is made of it.
SUBJECT_PATTERN = r"system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)"

_DENIAL_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
_ENDPOINT_CODE = "VpceAccessDenied"


def parse_event(event: Mapping[str, Any]) -> AccessDenial:
    """Parse a CloudTrail event: its own fields name the caller and the request, and its message can be empty."""
    identity = to_mapping(event.get("userIdentity"))
    request_parameters = to_mapping(event.get("requestParameters"))
    name, code = str(event["eventName"]), str(event.get("errorCode") or "")
    code = code.removeprefix("Client.")
    message = flatten_text(str(event.get("errorMessage") or ""))
    denial = read_denial(message) if message else AccessDenial(UNKNOWN, "no_denial", "")
    if denial.kind in ("no_denial", "bare_error_code") or code == _ENDPOINT_CODE:
        denial = _classify_event(name, code, message, identity, denial)
    arn = identity.get("arn")
    subject = re.fullmatch(SUBJECT_PATTERN, str(identity.get("userName") or ""))
    resources = [entry["ARN"] for entry in to_mappings(event.get("resources")) if entry.get("ARN")]
    provider = str(identity.get("identityProvider") or "").partition("oidc-provider/")[2]
    role = request_parameters.get("roleArn") if name.startswith("AssumeRole") else None
    return replace(
        denial,
        caller=denial.caller or (Caller.parse(str(arn)) if arn else None),
        operation=name,
        api_call=f"{str(event.get('eventSource') or '').partition('.')[0]}:{name}",
        node_program=denial.node_program or find_node_program(str(event.get("userAgent") or "")),
        resource=denial.resource or (str(resources[0]) if len(resources) == 1 else None),
        role=denial.role or (str(role) if role else None),
        subject=denial.subject or ((subject[1], subject[2]) if subject else None),
        issuer=denial.issuer or (f"https://{provider}" if provider else None),
        message=denial.message or f"{code} {message}".strip(),
    )


def _classify_event(
    event_name: str, error_code: str, message: str, identity: Mapping[str, Any], denial: AccessDenial
) -> AccessDenial:
    """Decide which side denied the call of a CloudTrail event by its name and error code: its message is empty."""
    error_text = f"{error_code} {message}".strip()
    arn = identity.get("arn")
    caller = Caller.parse(str(arn)) if arn else None
    if error_code == _ENDPOINT_CODE:
        reason = f"CloudTrail reports that the policy of the VPC endpoint denied it. {describe_session(caller)}"
        return AccessDenial(PERMISSION, "vpc_endpoint_policy", reason, error_text, policy_type="VPC endpoint policy")
    if event_name == "AssumeRoleWithWebIdentity" and error_code in _DENIAL_CODES:
        return build_web_identity_denial(error_text)
    if event_name == "AssumeRoleWithWebIdentity" and error_code:
        return replace(read_denial(f"{error_code}: {message}"), message=error_text)
    if error_code not in _DENIAL_CODES:
        return replace(denial, message=error_text)
    if event_name in ("AssumeRole", "AssumeRoleForPodIdentity", "AssumeRoleWithSAML"):
        reason = (
            f"CloudTrail does not state which side denied {event_name}: the caller's own policies, or the role's trust "
            "policy."
        )
        return AccessDenial(UNKNOWN, "unstated", reason, error_text)
    if identity.get("type") in ("AssumedRole", "IAMUser", "FederatedUser", "Root") and caller:
        reason = f"The event does not state which policy denied it. {describe_session(caller)}"
        return AccessDenial(PERMISSION, "unstated", reason, error_text, caller)
    reason = "The event names neither the caller nor the policy that denied access."
    return replace(denial, kind="bare_error_code", reason=reason, message=error_text)


def parse_decoded_message(document: Mapping[str, Any]) -> AccessDenial:
    """Parse a decoded authorization message: STS returns JSON with the context of the decision."""
    context = to_mapping(document.get("context"))
    principal = str(to_mapping(context.get("principal")).get("arn") or "")
    caller = Caller.parse(principal) if principal else None
    action, resource = context.get("action"), context.get("resource")
    if _is_true(document.get("allowed")):
        return AccessDenial(
            UNKNOWN, "allowed", "The authorization message reports that the request was allowed.", "allowed", caller
        )
    matched = to_mappings(to_mapping(document.get("matchedStatements")).get("items"))
    denying = [entry for entry in matched if str(entry.get("effect")).upper() == "DENY"]
    explicit = _is_true(document.get("explicitDeny")) or bool(denying)
    statements = tuple(dict.fromkeys(str(entry["statementId"]) for entry in denying if entry.get("statementId")))
    decision = "a policy denies it explicitly" if explicit else "no policy allows it"
    named = f" (statement {', '.join(statements)})" if statements else ""
    return AccessDenial(
        PERMISSION,
        "unstated",
        f"The authorization message reports that {decision}{named}. {describe_session(caller)}",
        f"explicitDeny: {str(explicit).lower()}",
        caller,
        str(action) if action else None,
        str(resource) if resource else None,
        explicit_deny=explicit,
        context=_read_conditions(context),
        deny_statements=statements,
    )


_PARTIAL = {
    "principal": re.compile(r'"arn": ?"(arn:aws[\w-]*:(?:iam|sts)::[^"]+)"'),
    "action": re.compile(r'"action": ?"([A-Za-z][\w-]*:\w+)"'),
    "resource": re.compile(r'"resource": ?"([^"]+)"'),
}


def parse_partial_message(text: str) -> Optional[AccessDenial]:
    """Parse a decoded authorization message that was cut off, so that it is no JSON any more."""
    explicit = re.search(r'"allowed": ?"?false"?,.{0,40}?"explicitDeny": ?"?(true|false)', text, re.IGNORECASE)
    if explicit is None:
        return None
    found = {name: pattern.search(text) for name, pattern in _PARTIAL.items()}
    values = {name: match[1] for name, match in found.items() if match}
    context: dict[str, Any] = {**values, "principal": {"arn": values.get("principal")}}
    return parse_decoded_message({"allowed": False, "explicitDeny": explicit[1], "context": context})


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _read_conditions(context: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        str(condition.get("key")): tuple(
            str(value.get("value")) for value in to_mappings(to_mapping(condition.get("values")).get("items"))
        )
        for condition in to_mappings(to_mapping(context.get("conditions")).get("items"))
    }
