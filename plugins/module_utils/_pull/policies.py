# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether policies allow the calls of a pull: of the node role, a VPC endpoint, a repository, a registry. Pure.

A condition on something that is not known here decides nothing: the verdict is then unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .._irsa import policy
from .model import PolicyDocument

GET_TOKEN = "ecr:GetAuthorizationToken"  # noqa: S105 (the name of an action)
PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
IMPORT_ACTIONS = ("ecr:BatchImportUpstreamImage", "ecr:CreateRepository")
GET_OBJECT = "s3:GetObject"


@dataclass(frozen=True)
class AccessRequest:
    """A call as policies see it. C(principals): the ARNs and ids by which a policy can name the caller.

    C(context): the condition keys whose values are known, in lower case.
    """

    action: str
    resource: str
    principals: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyDecision:
    """Whether a policy allows a call; None: it cannot be decided here. C(statements): those that decided.

    C(possible_denies): Deny statements that match if conditions hold that are not known here.
    """

    allowed: Optional[bool]
    explicit_deny: bool = False
    statements: tuple[str, ...] = ()
    possible_denies: tuple[str, ...] = ()


def make_role_request(action: str, resource: str, role_arn: str, context: Mapping[str, str]) -> AccessRequest:
    account, partition = role_arn.split(":")[4], role_arn.split(":")[1]
    principals = (role_arn, account, f"arn:{partition}:iam::{account}:root")
    known = {"aws:principalarn": role_arn, "aws:principalaccount": account, "aws:principaltype": "AssumedRole"}
    return AccessRequest(action, resource, principals, {**known, **context})


def evaluate_policies(
    documents: Sequence[tuple[str, PolicyDocument]], request: AccessRequest, has_principals: bool
) -> PolicyDecision:
    """Evaluate documents by name together. C(has_principals): they are policies of a resource or an endpoint."""
    allows: list[str] = []
    uncertain: list[str] = []
    uncertain_deny: list[str] = []
    for name, document in documents:
        for index, statement in enumerate(policy.list_statements(document)):
            match = _match_statement(statement, request, has_principals)
            label = f"{name}, {policy.format_statement(index, str(statement.get('Sid') or ''))}"
            denies = statement.get("Effect") == "Deny"
            if match is False:
                continue
            if match is None:
                (uncertain_deny if denies else uncertain).append(label)
            elif denies:
                return PolicyDecision(False, True, (label,))
            else:
                allows.append(label)
    possible_denies = tuple(uncertain_deny)
    if possible_denies and (allows or uncertain):
        return PolicyDecision(None, False, possible_denies, possible_denies)
    if allows:
        return PolicyDecision(True, False, tuple(allows))
    return PolicyDecision(None if uncertain else False, False, tuple(uncertain), possible_denies)


def _match_statement(statement: Mapping[str, Any], request: AccessRequest, has_principals: bool) -> Optional[bool]:
    if not _matches_element(statement, "Action", request.action, True):
        return False
    if not _matches_element(statement, "Resource", request.resource, False) and (
        "Resource" in statement or "NotResource" in statement
    ):
        return False
    results = [_match_condition(operator, key, given, request) for operator, key, given in _iterate(statement)]
    if has_principals:
        results.append(_match_principal(statement, request))
    if False in results:
        return False
    return None if None in results else True


def _iterate(statement: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return list(policy.iterate_conditions(statement))


def _matches_element(statement: Mapping[str, Any], element: str, text: str, ignore_case: bool) -> bool:
    named = element in statement
    patterns = policy.to_list(statement.get(element if named else f"Not{element}", []))
    found = any(policy.matches_glob(str(pattern), text, ignore_case) for pattern in patterns)
    return found if named else bool(patterns) and not found


def _match_principal(statement: Mapping[str, Any], request: AccessRequest) -> Optional[bool]:
    excluded = "NotPrincipal" in statement
    given = statement.get("NotPrincipal" if excluded else "Principal")
    if policy.is_wildcard_principal(given):
        return not excluded
    if not request.principals:  # a caller of the service's own, whose name nobody knows
        return None
    named = [str(entry) for entry in policy.to_list(given.get("AWS", []))] if isinstance(given, Mapping) else []
    return (any(principal in named for principal in request.principals)) != excluded


def _match_condition(operator_name: str, key: str, given: Any, request: AccessRequest) -> Optional[bool]:
    operator = policy.ConditionOperator.parse(operator_name)
    value = request.context.get(key.lower())
    if operator.base == "null":
        return None if value is None else policy.list_texts(given) == ["false"]
    expected = policy.list_texts(given)
    if value is None or any("${" in text for text in expected):
        return None
    base = operator.base.replace("not", "")
    if base in ("stringequals", "arnequals", "stringlike", "arnlike", "stringequalsignorecase"):
        literal = base in ("stringequals", "stringequalsignorecase")
        ignore_case = base == "stringequalsignorecase"
        if literal:
            found = value in expected or (ignore_case and value.lower() in [text.lower() for text in expected])
        else:
            found = any(policy.matches_glob(text, value) for text in expected)
        return found != operator.is_negated
    return None
