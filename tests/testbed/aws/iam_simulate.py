# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM's policy simulator for the identity policies of roles and users, which moto does not have."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.iam.exceptions import InvalidInput, NoSuchEntity
from moto.iam.models import IAMBackend
from moto.iam.responses import IamResponse

from . import policy_language as language
from .rules import rule


@rule(
    IamResponse,
    "simulate_principal_policy",
    fact="SimulatePrincipalPolicy evaluates a principal's identity policies and its boundary for actions and resources "
    "with the context that the caller gives; conditions on keys that are not given do not hold, and their names come "
    "back as MissingContextValues. It evaluates no role trust policy (docs/facts/irsa.md#accessdenied-messages)",
    new=True,
)
def identity_policies_can_be_simulated(plain: None, response: IamResponse) -> ActionResult:
    params = response.params
    source = str(params["PolicySourceArn"])
    context: dict[str, list[str]] = {}
    for entry in params.get("ContextEntries") or []:
        context[str(entry["ContextKeyName"]).lower()] = [str(value) for value in entry.get("ContextKeyValues") or []]
    principal = _principal(response.backend, source)
    policies = [*_policies(response.backend, principal), *_given(params.get("PolicyInputList"))]
    context.setdefault("aws:principalarn", [principal.arn])
    boundary = principal.permissions_boundary_arn if hasattr(principal, "permissions_boundary_arn") else None
    limit = _given(params.get("PermissionsBoundaryPolicyInputList"))
    if boundary and not limit:
        limit = [(boundary, "IAM Policy", _document(response.backend, boundary))]
    results = [
        _result(action, resource, policies, limit, context)
        for action in params["ActionNames"]
        for resource in params.get("ResourceArns") or ["*"]
    ]
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def decide(backend: IAMBackend, principal_arn: str, action: str, resource: str) -> str:
    """Return what the identity policies and the boundary decide: allowed, explicitDeny or implicitDeny."""
    principal = _principal(backend, principal_arn)
    boundary = getattr(principal, "permissions_boundary_arn", None)
    limit = [(boundary, "IAM Policy", _document(backend, boundary))] if boundary else []
    context = {"aws:principalarn": [str(principal.arn)]}
    return str(_result(action, resource, _policies(backend, principal), limit, context)["EvalDecision"])


Policy = tuple[str, str, str]  # its id, its kind, its document


def _principal(backend: IAMBackend, arn: str) -> Any:
    kind = arn.split(":")[-1].split("/")[0]
    if kind == "role":
        found = [role for role in backend.roles.values() if role.arn == arn]
    elif kind == "user":
        found = [user for user in backend.users.values() if user.arn == arn]
    else:
        raise InvalidInput(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    if not found:
        raise NoSuchEntity(f"The {kind} with name {arn.rpartition('/')[2]} cannot be found.")
    return found[0]


def _document(backend: IAMBackend, arn: str) -> str:
    policy = backend.get_policy(arn)
    return str(backend.get_policy_version(arn, policy.default_version_id).document)


def _policies(backend: IAMBackend, principal: Any) -> list[Policy]:
    inline = principal.policies
    named = inline.items() if isinstance(inline, dict) else []
    attached = [(arn, "IAM Policy", _document(backend, arn)) for arn in principal.managed_policies]
    return [*((str(name), "IAM Policy", str(document)) for name, document in named), *attached]


def _given(documents: Any) -> list[Policy]:
    return [(f"PolicyInputList.{number}", "None", str(document)) for number, document in enumerate(documents or [], 1)]


def _result(
    action: str, resource: str, policies: list[Policy], limit: list[Policy], context: language.Context
) -> dict[str, Any]:
    missing: dict[str, None] = {}

    def match(among: list[Policy]) -> dict[str, list[Policy]]:
        found: dict[str, list[Policy]] = {"Allow": [], "Deny": []}
        for policy in among:
            for statement in language.statements(policy[2]):
                if not language.concerns_action(statement, action):
                    continue
                if not language.concerns_resource(statement, resource):
                    continue
                missing.update((key, None) for key in language.condition_keys(statement) if key.lower() not in context)
                if language.conditions_met(statement, context):
                    found[str(statement["Effect"])].append(policy)
        return found

    matched = match(policies)
    bounded = match(limit) if limit else {"Allow": [("", "", "")], "Deny": []}
    if matched["Deny"] or bounded["Deny"]:
        decision, decisive = "explicitDeny", matched["Deny"] + bounded["Deny"]
    elif matched["Allow"] and bounded["Allow"]:
        decision, decisive = "allowed", matched["Allow"]
    else:
        decision, decisive = "implicitDeny", []
    result: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": decision,
        "MatchedStatements": [{"SourcePolicyId": policy[0], "SourcePolicyType": policy[1]} for policy in decisive],
        "MissingContextValues": list(missing),
    }
    if limit:
        result["PermissionsBoundaryDecisionDetail"] = {
            "AllowedByPermissionsBoundary": bool(bounded["Allow"]) and not bounded["Deny"]
        }
    return result
