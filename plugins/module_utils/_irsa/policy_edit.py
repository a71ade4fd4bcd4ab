# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of role trust policies in place: add, remove and purge subjects, and shorten a document. All of it is pure.

No function changes its arguments.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from . import policy
from .model import ACTION, OidcProvider, Subject, has_wildcard
from .policy import Statement, TrustDocument


def render_compact(document: TrustDocument) -> str:
    """The document as it is sent: without white space. IAM counts none (docs/facts/irsa.md#trust-policy-size)."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def count_characters(document: TrustDocument) -> int:
    """The characters that count against the quota of the trust policy size."""
    return len(render_compact(document))


def to_canonical(document: TrustDocument) -> dict[str, Any]:
    """The document in one spelling, for the diff: statements as a list, lists sorted, a list of one as a scalar."""
    result = {key: value for key, value in document.items() if key != "Statement"}
    return {**result, "Statement": [_to_canonical_value(statement) for statement in policy.list_statements(document)]}


def _to_canonical_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _to_canonical_value(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        listed = sorted(
            (_to_canonical_value(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True)
        )
        return listed[0] if len(listed) == 1 else listed
    return value


def _replace_statements(document: TrustDocument, changed: Mapping[int, Optional[Statement]]) -> dict[str, Any]:
    """The document with some statements replaced, or removed (None). A single object stays a single object."""
    kept = [changed.get(index, statement) for index, statement in enumerate(policy.list_statements(document))]
    left = [copy.deepcopy(statement) for statement in kept if statement is not None]
    single = not isinstance(document.get("Statement"), (list, tuple))
    result = {key: copy.deepcopy(value) for key, value in document.items() if key != "Statement"}
    # The key stays where it was: the order of keys matters only to readers, not to IAM.
    result["Statement"] = left[0] if single and len(left) == 1 else left
    return {key: result[key] for key in [*document, *(() if "Statement" in document else ("Statement",))]}


def build_statement(provider: OidcProvider, subject: Subject, audience: str) -> dict[str, Any]:
    """A statement for one subject. It always checks audience and subject; a wildcard subject is under StringLike."""
    aud, sub = {provider.get_condition_key("aud"): audience}, {provider.get_condition_key("sub"): subject.value}
    condition = {"StringEquals": aud, "StringLike": sub} if subject.is_pattern else {"StringEquals": {**aud, **sub}}
    return {"Effect": "Allow", "Principal": {"Federated": provider.arn}, "Action": ACTION, "Condition": condition}


def _find_target_statement(
    document: TrustDocument, provider: OidcProvider, subject: Subject, audience: str
) -> Optional[tuple[int, str, str]]:
    """The statement to which the subject can be added, with the operator and key of its condition.

    The statement trusts this provider alone, lists subjects under exactly one plain operator, and would allow the
    subject. Subjects under two operators are never edited: both have to match (docs/facts/irsa.md#trust-policy-logic).
    Of several statements, the one with the fewest other conditions is chosen.
    """
    found = []
    context = policy.TokenContext(provider, subject, audience, policy.has_variables(document))
    for index, statement in enumerate(policy.list_statements(document)):
        named = policy.list_subject_conditions(statement, provider)
        if statement.get("Effect") != "Allow" or len(named) != 1 or "NotAction" in statement:
            continue
        name, key, given = named[0]
        operator = policy.ConditionOperator.parse(name)
        plain = not operator.is_loose and not operator.quantifier
        if not plain or operator.base not in (
            ("stringlike",) if subject.is_pattern else ("stringequals", "stringlike")
        ):
            continue
        if _get_sole_principal(statement) != provider.arn or not all(
            isinstance(value, str) for value in policy.to_list(given)
        ):
            continue
        if operator.base == "stringlike" and any(
            has_wildcard(text) != subject.is_pattern for text in policy.to_list(given)
        ):
            continue  # wildcard subjects and named subjects stay in separate statements
        _dummy, match = policy.match_statement(index, _replace_values(statement, name, key, [subject.value]), context)
        if match is not None:
            rank = (bool(match.conditions), not match.checks_audience, operator.base != "stringequals", index)
            found.append((rank, name, key))
    if not found:
        return None
    rank, name, key = min(found)
    return rank[-1], name, key


def _get_sole_principal(statement: Statement) -> Optional[str]:
    """The only principal of a statement, if it is a federated one."""
    principal = statement.get("Principal")
    listed = policy.list_federated_principals(statement)
    alone = isinstance(principal, Mapping) and list(principal) == ["Federated"] and len(listed) == 1
    return listed[0] if alone else None


def _replace_values(statement: Statement, operator: str, key: str, listed: Any) -> dict[str, Any]:
    result: dict[str, Any] = copy.deepcopy(dict(statement))
    result["Condition"][operator][key] = listed
    return result


def add(
    document: TrustDocument, provider: OidcProvider, subjects: Sequence[Subject], audience: str
) -> tuple[dict[str, Any], int]:
    """The document with the subjects added, and the index of the statement that has them: an existing or a new one.

    The subjects are all names, or all wildcards.
    """
    home = _find_target_statement(document, provider, subjects[0], audience)
    values = [subject.value for subject in subjects]
    if home is None:
        statement = build_statement(provider, subjects[0], audience)
        if len(values) > 1:
            ((operator, key, _value),) = policy.list_subject_conditions(statement, provider)
            statement = _replace_values(statement, operator, key, values)
        result = _replace_statements(document, {})
        result["Statement"] = [*policy.to_list(result["Statement"]), statement]
        return result, len(result["Statement"]) - 1
    index, operator, key = home
    existing = policy.list_statements(document)[index]
    listed = policy.to_list(existing["Condition"][operator][key])
    return _replace_statements(document, {index: _replace_values(existing, operator, key, [*listed, *values])}), index


def _strip_provider(statement: Statement, provider: OidcProvider) -> Optional[dict[str, Any]]:
    """The statement without the provider; None where the provider is the only principal."""
    if _get_sole_principal(statement) == provider.arn:
        return None
    result: dict[str, Any] = copy.deepcopy(dict(statement))
    left = [arn for arn in policy.list_federated_principals(statement) if arn != provider.arn]
    principal = {kind: value for kind, value in result["Principal"].items() if kind != "Federated"}
    result["Principal"] = {**principal, **({"Federated": left} if left else {})}
    return result if result["Principal"] else None


class SharedStatementError(Exception):
    """A statement that cannot be narrowed without a change for other principals."""


def _narrow_statement(index: int, statement: Statement, provider: OidcProvider, drop: Any) -> Optional[Statement]:
    """The statement without the values that C(drop) selects; without the provider where no value would remain.

    A condition is never removed. A statement without a condition on the subject would trust every service account of
    the cluster (docs/facts/irsa.md#hard-cases).
    """
    result: Statement = statement
    for name, key, given in policy.list_subject_conditions(statement, provider):
        if not policy.ConditionOperator.parse(name).is_allowlist:
            continue
        left = [value for value in policy.to_list(given) if not drop(name, policy.to_text(value))]
        if len(left) == len(policy.to_list(given)):
            continue
        if not left:
            return _remove_provider(index, statement, provider)
        result = _replace_values(result, name, key, left)
    return result


def _remove_provider(index: int, statement: Statement, provider: OidcProvider) -> Optional[Statement]:
    if "NotPrincipal" in statement or policy.is_wildcard_principal(statement.get("Principal")):
        raise SharedStatementError(
            f"Statement[{index}]: the statement trusts every principal (*), so this provider cannot be removed from "
            "it. Replace * by the principals that need the role"
        )
    return _strip_provider(statement, provider)


def _iterate_trusting_statements(document: TrustDocument, provider: OidcProvider) -> Iterator[tuple[int, Statement]]:
    """The Allow statements that trust this provider, whatever their conditions."""
    for index, statement in enumerate(policy.list_statements(document)):
        if (
            statement.get("Effect") == "Allow"
            and policy.matches_action(statement)
            and policy.matches_provider(statement, provider)
        ):
            yield index, statement


def remove(document: TrustDocument, provider: OidcProvider, subject: Subject) -> dict[str, Any]:
    """The document without the subject in any statement. The document may have no statement left."""
    changed: dict[int, Optional[Statement]] = {}
    for index, statement in _iterate_trusting_statements(document, provider):
        changed[index] = _narrow_statement(
            index, statement, provider, lambda name, value: _normalize_value(name, value) == subject.value
        )
    return _replace_statements(document, changed)


def _normalize_value(operator: str, value: str) -> str:
    """The value as a service account's subject has it: lowercase where the operator ignores case."""
    return value.lower() if policy.ConditionOperator.parse(operator).base == "stringequalsignorecase" else value


def purge(document: TrustDocument, provider: OidcProvider, keep: Sequence[Subject]) -> dict[str, Any]:
    """The document in which only these subjects of the provider remain.

    Statements that are open to all, or that allow by exception (StringNotEquals), are removed.
    """
    kept = {subject.value for subject in keep}
    patterns = {subject.value for subject in keep if subject.is_pattern}
    changed: dict[int, Optional[Statement]] = {}
    for index, statement in _iterate_trusting_statements(document, provider):
        named = [
            policy.ConditionOperator.parse(name)
            for name, _key, _given in policy.list_subject_conditions(statement, provider)
        ]
        naming = [operator for operator in named if operator.is_allowlist]
        if not naming:
            changed[index] = _remove_provider(index, statement, provider)
            continue
        # All operators must pass: where one of them lists literal subjects, the others only narrow those.
        literal = any(operator.base != "stringlike" for operator in naming)

        def drop(name: str, value: str, literal: bool = literal) -> bool:
            if policy.ConditionOperator.parse(name).base == "stringlike":
                return not literal and value not in (patterns if has_wildcard(value) else kept)
            return _normalize_value(name, value) not in kept

        changed[index] = _narrow_statement(index, statement, provider, drop)
    return _replace_statements(document, changed)


def shorten(document: TrustDocument, provider: OidcProvider) -> dict[str, Any]:
    """The same meaning in fewer characters. Only statements of this provider change.

    A list of one becomes a scalar, duplicate values go, and statements that differ only in their subjects are merged.
    """
    changed: dict[int, Optional[Statement]] = {}
    homes: dict[str, int] = {}
    for index, statement in enumerate(policy.list_statements(document)):
        if statement.get("Effect") != "Allow" or _get_sole_principal(statement) != provider.arn:
            continue
        changed[index] = statement
        named = policy.list_subject_conditions(statement, provider)
        if len(named) == 1 and "Sid" not in statement and policy.ConditionOperator.parse(named[0][0]).is_allowlist:
            name, key, given = named[0]
            rest: dict[str, Any] = copy.deepcopy(dict(statement))
            del rest["Condition"][name][key]
            alike = json.dumps([name, key.lower(), _to_canonical_value(rest)], sort_keys=True)
            home = homes.setdefault(alike, index)
            if home != index:
                into = changed[home] or {}
                _name, home_key, before = policy.list_subject_conditions(into, provider)[0]
                changed[home] = _replace_values(into, name, home_key, [*policy.to_list(before), *policy.to_list(given)])
                changed[index] = None
    short = {index: None if statement is None else _shorten_value(statement) for index, statement in changed.items()}
    return _replace_statements(document, short)


def _shorten_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shorten_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        listed = list(dict.fromkeys(value)) if all(isinstance(item, str) for item in value) else list(value)
        return listed[0] if len(listed) == 1 else listed
    return value
