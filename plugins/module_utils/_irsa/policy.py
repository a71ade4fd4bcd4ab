# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role trust policies: which subject may assume a role by web identity, and by which statement.

All of it is pure: no network, no files. Documents are the output of C(json.loads). No function changes its arguments.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .model import ACTION, ANY_SUBJECT, AUDIENCE, OidcProvider, Subject, has_wildcard

TrustDocument = Mapping[str, Any]
Statement = Mapping[str, Any]
NAME, WILDCARD, OPEN = "name", "wildcard", "open"
# A policy variable for a literal *, ? or $, which no subject contains (docs/facts/irsa.md#policy-variables).
_LITERAL_VARIABLE = re.compile(r"\$\{[*?$]\}")
OTHER_AUDIENCE = "any other audience"  # an audience that no condition names
_ARN_OPERATORS = ("arnlike", "arnequals")
# IAM shows a deleted user, role, group or instance profile as an id (docs/facts/irsa.md#deleted-principals).
_DELETED_PRINCIPAL = re.compile(r"A(?:IDA|ROA|GPA|IPA)[A-Z0-9]{12,}")


@dataclass(frozen=True)
class StatementMatch:
    """A statement that applies to a subject.

    C(how): C(name) if the statement names the subject, C(wildcard) if a pattern covers it, C(open) if the statement
    has no condition on the subject.
    C(conditions): conditions that cannot be evaluated here, such as aws:SourceIp. The caller has to meet them.
    C(is_loose): the condition on the subject also passes for a token without a subject (ForAllValues, IfExists).
    C(is_uncertain): the condition on the subject itself cannot be evaluated here, because of a policy variable.
    """

    index: int
    sid: str
    how: str
    conditions: tuple[str, ...] = ()
    is_loose: bool = False
    checks_audience: bool = True
    is_uncertain: bool = False

    @property
    def is_proper(self) -> bool:
        """Whether the statement counts as trust of the subject."""
        return not self.is_loose and not self.is_uncertain

    def __str__(self) -> str:
        return format_statement(self.index, self.sid)

    def to_dict(self) -> dict[str, Any]:
        return {"index": self.index, "sid": self.sid, "how": self.how, "conditions": list(self.conditions)}


@dataclass(frozen=True)
class Verdict:
    """May the subject assume the role?

    C(allowed_by): the Allow statements that match. C(denied_by): the Deny statements that match.
    C(possibly_denied_by): Deny statements that match if conditions hold that cannot be evaluated here.
    """

    allowed_by: tuple[StatementMatch, ...] = ()
    denied_by: tuple[StatementMatch, ...] = ()
    possibly_denied_by: tuple[StatementMatch, ...] = ()

    @property
    def is_allowed(self) -> bool:
        return bool(self.allowed_by) and not self.denied_by

    def __str__(self) -> str:
        if self.denied_by:
            return f"denied, by {_format_matches(self.denied_by)}"
        return (
            f"allowed, by {_format_matches(self.allowed_by)}" if self.allowed_by else "denied: no statement allows it"
        )


@dataclass(frozen=True)
class TrustGrant:
    """A statement trusts a subject: a name, a pattern, or (C(subject) is None) every subject of the provider."""

    subject: Optional[Subject]
    match: StatementMatch


@dataclass(frozen=True)
class IneffectiveStatement:
    """An Allow statement that names the provider and lets in none of its tokens, and why."""

    label: str
    reason: str


def format_statement(index: int, sid: str) -> str:
    return f"Statement[{index}]" + (f" ({sid})" if sid else "")


def _format_matches(matches: Sequence[StatementMatch]) -> str:
    return ", ".join(map(str, matches))


def to_list(given: Any) -> list[Any]:
    """A scalar equals a list with one element (docs/facts/irsa.md#trust-policy-logic)."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def list_statements(document: TrustDocument) -> list[Statement]:
    """All statements. C(Statement) may be a single object instead of a list."""
    return [statement for statement in to_list(document.get("Statement", [])) if isinstance(statement, Mapping)]


def is_well_formed(document: TrustDocument) -> bool:
    """Whether every statement is an object, as IAM requires."""
    return all(isinstance(statement, Mapping) for statement in to_list(document.get("Statement", [])))


def to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def list_texts(given: Any) -> list[str]:
    """The values of a condition as IAM compares them, by their text."""
    values = to_list(given)
    return values if set(map(type, values)) <= {str} else [to_text(value) for value in values]


def matches_glob(pattern: str, text: str, ignore_case: bool = False) -> bool:
    """Whether a pattern covers a text. C(*) matches any characters, C(?) matches one.

    A wildcard C(*) in the text itself stands for any text: only C(*) covers it.
    """
    return bool(_build_glob(pattern, ignore_case).fullmatch(text))


@functools.lru_cache(maxsize=4096)  # the same patterns occur in the policies of many roles
def _build_glob(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "[^*]"}
    expression = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return re.compile(expression, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def has_overlap(pattern: str, other: str) -> bool:
    """Whether some text matches both patterns."""
    visited, pending = set(), [(0, 0)]
    while pending:
        place = pending.pop()
        if place in visited:
            continue
        visited.add(place)
        first, second = pattern[place[0] :], other[place[1] :]
        if not first.strip("*") and not second.strip("*"):
            return True
        if first[:1] == "*" or second[:1] == "*":
            pending += [(place[0] + 1, place[1])] if first else []
            pending += [(place[0], place[1] + 1)] if second else []
        elif first and second and (first[0] == second[0] or "?" in (first[0], second[0])):
            pending.append((place[0] + 1, place[1] + 1))
    return False


# --- Evaluation. A condition holds (True), does not hold (False), or cannot be evaluated here (None).


@dataclass(frozen=True)
class ConditionOperator:
    """The parts of a condition operator such as ForAllValues:StringLikeIfExists."""

    quantifier: str
    base: str
    has_if_exists: bool

    @classmethod
    def parse(cls, name: str) -> ConditionOperator:
        head, colon, tail = name.lower().partition(":")
        quantifier, base = (head, tail) if colon else ("", head)
        if_exists = base.endswith("ifexists")
        return cls(quantifier, base[: -len("ifexists")] if if_exists else base, if_exists)

    @property
    def is_negated(self) -> bool:
        return "not" in self.base

    @property
    def is_loose(self) -> bool:
        """The operator passes where the key is absent."""
        return self.has_if_exists or self.quantifier == "forallvalues"

    @property
    def is_allowlist(self) -> bool:
        """The operator passes only the values that it lists, provided that the key is present."""
        return self.base in ("stringequals", "stringequalsignorecase", "stringlike")


@dataclass(frozen=True)
class TokenContext:
    """The request context of a token of the provider: the condition keys and their values."""

    provider: OidcProvider
    subject: Subject
    audience: Optional[str]
    has_variables: bool  # whether the document's version supports policy variables, ${...}
    has_partial_match: bool = False  # whether a statement counts that matches only part of a pattern (Deny)

    def evaluate_condition(self, operator: ConditionOperator, key: str, given: Any) -> Optional[bool]:
        name = key.lower()
        expected = list_texts(given)
        if name == self.provider.get_condition_key("sub").lower():
            return self._compare(operator, self.subject, expected)
        if name == self.provider.get_condition_key("aud").lower():
            return None if self.audience is None else self._compare(operator, Subject(self.audience), expected)
        if name == "aws:federatedprovider":
            return self._compare(operator, Subject(self.provider.arn), expected)
        if _is_absent_key(name, self.provider):
            return _compare_absent(operator, expected)
        return None

    def _compare(self, operator: ConditionOperator, actual: Subject, expected: Sequence[str]) -> Optional[bool]:
        if operator.base == "null":
            return "false" in expected
        positive = operator.base.replace("not", "")
        if positive in _ARN_OPERATORS and not actual.value.startswith("arn:"):
            return None if operator.is_negated else False  # ARN operators match nothing but ARNs
        if positive == "stringequals":
            found = not actual.is_pattern and actual.value in expected
        elif positive == "stringequalsignorecase":
            found = not actual.is_pattern and actual.value.lower() in [value.lower() for value in expected]
        elif positive in ("stringlike", *_ARN_OPERATORS):
            found = any(matches_glob(value, actual.value) for value in expected)
        else:
            return None
        if not found and self.has_variables and any("${" in _LITERAL_VARIABLE.sub("", value) for value in expected):
            return None
        if not found and actual.is_pattern and (operator.is_negated or self.has_partial_match):
            # The condition may hold for some of the subjects that the pattern covers.
            literal = positive != "stringlike"
            if any(has_overlap(actual.value, value.replace("*", "") if literal else value) for value in expected):
                return None
        return found != operator.is_negated


def _is_absent_key(name: str, provider: OidcProvider) -> bool:
    """Whether no token of this provider has the key: claims of other issuers, and keys of other AssumeRole calls."""
    prefix = name.rpartition(":")[0]
    if prefix == provider.issuer.lower() or name.startswith("aws:"):
        return False
    return name.startswith("saml:") or name == "sts:externalid" or "." in prefix


def _compare_absent(operator: ConditionOperator, expected: Sequence[str]) -> bool:
    if operator.base == "null":
        return "true" in expected
    if operator.is_loose:
        return True
    return operator.is_negated and operator.quantifier != "foranyvalue"


def iterate_conditions(statement: Statement) -> Iterator[tuple[str, str, Any]]:
    """Operator, key and value of each condition."""
    block = statement.get("Condition")
    if isinstance(block, Mapping):
        for operator, keys in block.items():
            if isinstance(keys, Mapping):
                for key, given in keys.items():
                    yield operator, key, given


def matches_action(statement: Statement) -> bool:
    listed = [str(action) for action in to_list(statement.get("Action", statement.get("NotAction", [])))]
    found = any(matches_glob(action, ACTION, ignore_case=True) for action in listed)
    return found != ("Action" not in statement and "NotAction" in statement)


def list_federated_principals(statement: Statement) -> list[str]:
    principal = statement.get("Principal")
    return [str(arn) for arn in to_list(principal.get("Federated", []))] if isinstance(principal, Mapping) else []


def is_wildcard_principal(principal: Any) -> bool:
    """Whether the principal is the wildcard C(*): alone, or as AWS or Federated principal."""
    if isinstance(principal, Mapping):
        return any("*" in to_list(principal.get(kind, [])) for kind in ("AWS", "Federated"))
    return bool(principal == "*")


def matches_provider(statement: Statement, provider: OidcProvider) -> bool:
    if "NotPrincipal" in statement:
        excluded = statement["NotPrincipal"]
        return not is_wildcard_principal(excluded) and provider.arn not in list_federated_principals(
            {"Principal": excluded}
        )
    return is_wildcard_principal(statement.get("Principal")) or provider.arn in list_federated_principals(statement)


def list_subject_conditions(statement: Statement, provider: OidcProvider) -> list[tuple[str, str, Any]]:
    key = provider.get_condition_key("sub").lower()
    return [condition for condition in iterate_conditions(statement) if condition[1].lower() == key]


def match_statement(
    index: int, statement: Statement, context: TokenContext
) -> tuple[Optional[bool], Optional[StatementMatch]]:
    """Whether the statement applies to the request context (None: it depends on other conditions), and how."""
    if not matches_action(statement) or not matches_provider(statement, context.provider):
        return False, None
    unknown, hows, loose, checks_audience, uncertain = [], {OPEN}, False, False, False
    audience, subject = (context.provider.get_condition_key(claim).lower() for claim in ("aud", "sub"))
    for name, key, given in iterate_conditions(statement):
        operator = ConditionOperator.parse(name)
        holds = context.evaluate_condition(operator, key, given)
        if holds is False:
            return False, None
        if holds is None:
            unknown.append(format_condition(name, key, given))
        checks_audience = checks_audience or key.lower() == audience
        if key.lower() == subject:
            uncertain = uncertain or holds is None
            if operator.is_allowlist:
                loose = loose or operator.is_loose
                hows.add(NAME if context.subject.value in _list_operator_values(operator, given) else WILDCARD)
    how = next(candidate for candidate in (NAME, WILDCARD, OPEN) if candidate in hows)
    match = StatementMatch(
        index, str(statement.get("Sid", "")), how, tuple(unknown), loose, checks_audience, is_uncertain=uncertain
    )
    return (None if unknown else True), match


def format_condition(operator: str, key: str, given: Any) -> str:
    return f"{operator} {key}: {json.dumps(given)}"


def evaluate(
    document: TrustDocument, provider: OidcProvider, subject: Subject, audience: Optional[str] = AUDIENCE
) -> Verdict:
    """May a token of this provider with this subject and audience assume the role?

    C(audience) is None: may it with any audience that the conditions of the document tell apart? A pattern is allowed
    where one statement covers the whole pattern.
    """
    if audience is None:
        return _combine([evaluate(document, provider, subject, name) for name in list_audiences(document, provider)])
    context = TokenContext(provider, subject, audience, has_variables(document))
    allowed: list[StatementMatch] = []
    denied: list[StatementMatch] = []
    possibly_denied: list[StatementMatch] = []
    for index, statement in enumerate(list_statements(document)):
        deny = statement.get("Effect") == "Deny"
        applies, match = match_statement(index, statement, replace(context, has_partial_match=deny))
        if match is not None and deny:
            (denied if applies else possibly_denied).append(match)
        elif match is not None and statement.get("Effect") == "Allow":
            allowed.append(match)
    return Verdict(tuple(allowed), tuple(denied), tuple(possibly_denied))


def _combine(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict for any of several audiences: those that allow decide, if there are any."""
    deciding = [verdict for verdict in verdicts if verdict.is_allowed] or verdicts
    combined: list[tuple[StatementMatch, ...]] = [
        tuple(dict.fromkeys(match for verdict in deciding for match in getattr(verdict, name)))
        for name in ("allowed_by", "denied_by", "possibly_denied_by")
    ]
    return Verdict(*combined)


def has_variables(document: TrustDocument) -> bool:
    """Whether the document's version supports policy variables, C(${...})."""
    return document.get("Version") == "2012-10-17"


def list_audiences(document: TrustDocument, provider: OidcProvider) -> list[str]:
    """Audiences by which the conditions of a document differ: the usual one, each that a condition names, and any other
    one where a condition excludes audiences.
    """
    found = {AUDIENCE: None}
    for statement in list_statements(document):
        for name, key, given in iterate_conditions(statement):
            if key.lower() == provider.get_condition_key("aud").lower():
                found.update(
                    dict.fromkeys(to_text(value).replace("*", "").replace("?", "x") for value in to_list(given))
                )
                if ConditionOperator.parse(name).is_negated:
                    found[OTHER_AUDIENCE] = None
    return list(found)


def list_grants(
    document: TrustDocument, provider: OidcProvider, audience: Optional[str] = AUDIENCE
) -> list[TrustGrant]:
    """The subjects that each Allow statement of the provider trusts (C(audience) is None: for any audience).

    C(evaluate) also considers Deny statements.
    """
    found = []
    audiences = list_audiences(document, provider) if audience is None else [audience]
    contexts = [TokenContext(provider, ANY_SUBJECT, name, has_variables(document)) for name in audiences]
    for index, statement in enumerate(list_statements(document)):
        if statement.get("Effect") != "Allow":
            continue
        match = _match_any(index, statement, contexts)
        if match is not None:
            found.append(TrustGrant(None, match))
            continue
        for subject in list_named_subjects(statement, provider):
            match = _match_any(index, statement, [replace(context, subject=subject) for context in contexts])
            if match is not None:
                found.append(TrustGrant(subject, match))
    return found


def _match_any(index: int, statement: Statement, contexts: Sequence[TokenContext]) -> Optional[StatementMatch]:
    matches = (match_statement(index, statement, context)[1] for context in contexts)
    return next((match for match in matches if match is not None), None)


def list_named_subjects(statement: Statement, provider: OidcProvider) -> list[Subject]:
    """Every subject in a statement's conditions, in order. A value is a pattern only under C(StringLike)."""
    found: dict[Subject, None] = {}
    for name, _key, given in list_subject_conditions(statement, provider):
        operator = ConditionOperator.parse(name)
        if operator.is_allowlist:
            found.update(dict.fromkeys(_list_operator_subjects(operator, given)))
    return list(found)


def _list_operator_subjects(operator: ConditionOperator, given: Any) -> list[Subject]:
    return [
        Subject(value, operator.base == "stringlike" and has_wildcard(value))
        for value in _list_operator_values(operator, given)
    ]


def _list_operator_values(operator: ConditionOperator, given: Any) -> list[str]:
    """The subjects that a condition lists. Where case is ignored, in the lowercase of Kubernetes' names."""
    values = list_texts(given)
    return [value.lower() for value in values] if operator.base == "stringequalsignorecase" else values


def list_ineffective_statements(
    document: TrustDocument, provider: OidcProvider, audience: str = AUDIENCE
) -> list[IneffectiveStatement]:
    """The Allow statements that name the provider, and let in none of its tokens for an audience."""
    found = []
    for index, statement in enumerate(list_statements(document)):
        if statement.get("Effect") != "Allow" or provider.arn not in list_federated_principals(statement):
            continue
        reason = _get_ineffective_reason(index, statement, provider, audience, has_variables(document))
        if reason:
            label = format_statement(index, str(statement.get("Sid", "")))
            found.append(IneffectiveStatement(label, f"{label} lets in no token of {provider.issuer}: {reason}"))
    return found


def _get_ineffective_reason(
    index: int, statement: Statement, provider: OidcProvider, audience: str, has_variables: bool
) -> Optional[str]:
    if not matches_action(statement):
        return f"its action is not {ACTION}."
    subjects = [ANY_SUBJECT, *list_named_subjects(statement, provider)]
    contexts = [TokenContext(provider, subject, audience, has_variables) for subject in subjects]
    if _match_any(index, statement, contexts):
        return None
    # Conditions that no subject meets, or all where each subject fails by another one.
    failed: list[list[str]] = [
        [
            format_condition(name, key, given)
            for name, key, given in iterate_conditions(statement)
            if context.evaluate_condition(ConditionOperator.parse(name), key, given) is False
        ]
        for context in contexts[1:] or contexts
    ]
    common = [condition for condition in failed[0] if all(condition in conditions for conditions in failed)]
    shown = common or list(dict.fromkeys(condition for conditions in failed for condition in conditions))
    return f"these conditions never hold for the audience {audience}: {'; '.join(shown)}."


def list_provider_arns(document: TrustDocument) -> list[str]:
    """The ARNs of the OIDC providers that the Allow statements name."""
    named = (
        arn
        for statement in list_statements(document)
        if statement.get("Effect") == "Allow"
        for arn in list_federated_principals(statement)
    )
    return list(dict.fromkeys(arn for arn in named if ":oidc-provider/" in arn))


def list_deleted_principals(document: TrustDocument) -> list[str]:
    """The ids of deleted principals. IAM rejects every write of a document that contains one.

    See docs/facts/irsa.md#deleted-principals.
    """
    found = []
    for statement in list_statements(document):
        for element in ("Principal", "NotPrincipal"):
            principal = statement.get(element)
            if isinstance(principal, Mapping):
                found += [
                    str(value)
                    for value in to_list(principal.get("AWS", []))
                    if _DELETED_PRINCIPAL.fullmatch(str(value))
                ]
    return list(dict.fromkeys(found))
