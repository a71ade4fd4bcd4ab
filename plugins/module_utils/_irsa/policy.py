# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role trust policies: which subject may assume a role by web identity, by which statement; and edits in place.

All of it is pure: no network, no files. Documents are the output of C(json.loads). No function changes its arguments.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .model import ACTION, ANY_SUBJECT, AUDIENCE, OidcProvider, Subject, has_wildcard

TrustDocument = Mapping[str, Any]
Statement = Mapping[str, Any]
NAME, WILDCARD, OPEN = "name", "wildcard", "open"
# IAM shows a deleted user, role, group or instance profile as an id (docs/facts/irsa.md#deleted-principals).
_DELETED_PRINCIPAL = re.compile(r"A(?:IDA|ROA|GPA|IPA)[A-Z0-9]{12,}")


@dataclass(frozen=True)
class StatementMatch:
    """A statement that applies to a subject.

    C(how): C(name) if the statement names the subject, C(wildcard) if a pattern covers it, C(open) if the statement
    has no condition on the subject.
    C(conditions): conditions that cannot be evaluated here, such as aws:SourceIp. The caller has to meet them.
    C(is_loose): the condition on the subject also passes for a token without a subject (ForAllValues, IfExists).
    """

    index: int
    sid: str
    how: str
    conditions: tuple[str, ...] = ()
    is_loose: bool = False
    checks_audience: bool = True

    def __str__(self) -> str:
        return f"Statement[{self.index}]" + (f" ({self.sid})" if self.sid else "")

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


def _format_matches(matches: Sequence[StatementMatch]) -> str:
    return ", ".join(map(str, matches))


def to_list(given: Any) -> list[Any]:
    """A scalar equals a list with one element (docs/facts/irsa.md#trust-policy-logic)."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def list_statements(document: TrustDocument) -> list[Statement]:
    """All statements. C(Statement) may be a single object instead of a list."""
    return [statement for statement in to_list(document.get("Statement", [])) if isinstance(statement, Mapping)]


def _to_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def matches_glob(pattern: str, text: str, ignore_case: bool = False) -> bool:
    """Whether a pattern covers a text. C(*) matches any characters, C(?) matches one.

    A wildcard C(*) in the text itself stands for any text: only C(*) covers it.
    """
    parts = {"*": ".*", "?": "[^*]"}
    expression = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return bool(re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)))


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
class _TokenContext:
    """The request context of a token of the provider: the condition keys and their values."""

    provider: OidcProvider
    subject: Subject
    audience: Optional[str]
    has_variables: bool  # whether the document's version supports policy variables, ${...}
    has_partial_match: bool = False  # whether a statement counts that matches only part of a pattern (Deny)

    def evaluate_condition(self, operator: ConditionOperator, key: str, given: Any) -> Optional[bool]:
        name = key.lower()
        expected = [_to_text(value) for value in to_list(given)]
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
        if positive == "stringequals":
            found = not actual.is_pattern and actual.value in expected
        elif positive == "stringequalsignorecase":
            found = not actual.is_pattern and actual.value.lower() in [value.lower() for value in expected]
        elif positive in ("stringlike", "arnlike", "arnequals"):
            found = any(matches_glob(value, actual.value) for value in expected)
        else:
            return None
        if not found and self.has_variables and any("${" in value for value in expected):
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


def _matches_action(statement: Statement) -> bool:
    listed = [str(action) for action in to_list(statement.get("Action", statement.get("NotAction", [])))]
    found = any(matches_glob(action, ACTION, ignore_case=True) for action in listed)
    return found != ("Action" not in statement and "NotAction" in statement)


def list_federated_principals(statement: Statement) -> list[str]:
    principal = statement.get("Principal")
    return [str(arn) for arn in to_list(principal.get("Federated", []))] if isinstance(principal, Mapping) else []


def _is_wildcard_principal(principal: Any) -> bool:
    """Whether the principal is the wildcard C(*): alone, or as AWS or Federated principal."""
    if isinstance(principal, Mapping):
        return any("*" in to_list(principal.get(kind, [])) for kind in ("AWS", "Federated"))
    return bool(principal == "*")


def _matches_provider(statement: Statement, provider: OidcProvider) -> bool:
    if "NotPrincipal" in statement:
        return provider.arn not in list_federated_principals({"Principal": statement["NotPrincipal"]})
    return _is_wildcard_principal(statement.get("Principal")) or provider.arn in list_federated_principals(statement)


def _list_subject_conditions(statement: Statement, provider: OidcProvider) -> list[tuple[str, str, Any]]:
    key = provider.get_condition_key("sub").lower()
    return [condition for condition in iterate_conditions(statement) if condition[1].lower() == key]


def _match_statement(
    index: int, statement: Statement, context: _TokenContext
) -> tuple[Optional[bool], Optional[StatementMatch]]:
    """Whether the statement applies to the request context (None: it depends on other conditions), and how."""
    if not _matches_action(statement) or not _matches_provider(statement, context.provider):
        return False, None
    unknown, hows, loose, checks_audience = [], {OPEN}, False, False
    audience = context.provider.get_condition_key("aud").lower()
    for name, key, given in iterate_conditions(statement):
        operator = ConditionOperator.parse(name)
        holds = context.evaluate_condition(operator, key, given)
        if holds is False:
            return False, None
        if holds is None:
            unknown.append(f"{name} {key}: {json.dumps(given)}")
        checks_audience = checks_audience or key.lower() == audience
        if key.lower() == context.provider.get_condition_key("sub").lower() and operator.is_allowlist:
            loose = loose or operator.is_loose
            hows.add(NAME if context.subject.value in map(_to_text, to_list(given)) else WILDCARD)
    how = next(candidate for candidate in (NAME, WILDCARD, OPEN) if candidate in hows)
    match = StatementMatch(index, str(statement.get("Sid", "")), how, tuple(unknown), loose, checks_audience)
    return (None if unknown else True), match


def evaluate(
    document: TrustDocument, provider: OidcProvider, subject: Subject, audience: Optional[str] = AUDIENCE
) -> Verdict:
    """May a token of this provider with this subject and audience (None: any audience) assume the role?

    A pattern is allowed where one statement covers the whole pattern.
    """
    context = _TokenContext(provider, subject, audience, document.get("Version") == "2012-10-17")
    allowed: list[StatementMatch] = []
    denied: list[StatementMatch] = []
    possibly_denied: list[StatementMatch] = []
    for index, statement in enumerate(list_statements(document)):
        deny = statement.get("Effect") == "Deny"
        applies, match = _match_statement(index, statement, replace(context, has_partial_match=deny))
        if match is not None and deny:
            (denied if applies else possibly_denied).append(match)
        elif match is not None and statement.get("Effect") == "Allow":
            allowed.append(match)
    return Verdict(tuple(allowed), tuple(denied), tuple(possibly_denied))


def list_grants(
    document: TrustDocument, provider: OidcProvider, audience: Optional[str] = AUDIENCE
) -> list[TrustGrant]:
    """The subjects that each Allow statement of the provider trusts. C(evaluate) also considers Deny statements."""
    found = []
    context = _TokenContext(provider, ANY_SUBJECT, audience, document.get("Version") == "2012-10-17")
    for index, statement in enumerate(list_statements(document)):
        if statement.get("Effect") != "Allow":
            continue
        _dummy, match = _match_statement(index, statement, context)
        if match is not None:
            found.append(TrustGrant(None, match))
            continue
        for subject in list_named_subjects(statement, provider):
            subject_context = _TokenContext(provider, subject, audience, context.has_variables)
            _dummy, match = _match_statement(index, statement, subject_context)
            if match is not None:
                found.append(TrustGrant(subject, match))
    return found


def list_named_subjects(statement: Statement, provider: OidcProvider) -> list[Subject]:
    """Every subject in a statement's conditions, in order. A value is a pattern only under C(StringLike)."""
    found: dict[Subject, None] = {}
    for name, _key, given in _list_subject_conditions(statement, provider):
        operator = ConditionOperator.parse(name)
        if operator.is_allowlist:
            for value in map(_to_text, to_list(given)):
                found[Subject(value, operator.base == "stringlike" and has_wildcard(value))] = None
    return list(found)


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


# --- Writing.


def render_compact(document: TrustDocument) -> str:
    """The document as it is sent: without white space. IAM counts none (docs/facts/irsa.md#trust-policy-size)."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def count_characters(document: TrustDocument) -> int:
    """The characters that count against the quota of the trust policy size."""
    return len(render_compact(document))


def to_canonical(document: TrustDocument) -> dict[str, Any]:
    """The document in one spelling, for the diff: statements as a list, lists sorted, a list of one as a scalar."""
    result = {key: value for key, value in document.items() if key != "Statement"}
    return {**result, "Statement": [_to_canonical_value(statement) for statement in list_statements(document)]}


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
    kept = [changed.get(index, statement) for index, statement in enumerate(list_statements(document))]
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
    context = _TokenContext(provider, subject, audience, document.get("Version") == "2012-10-17")
    for index, statement in enumerate(list_statements(document)):
        named = _list_subject_conditions(statement, provider)
        if statement.get("Effect") != "Allow" or len(named) != 1 or "NotAction" in statement:
            continue
        name, key, given = named[0]
        operator = ConditionOperator.parse(name)
        plain = not operator.is_loose and not operator.quantifier
        if not plain or operator.base not in (
            ("stringlike",) if subject.is_pattern else ("stringequals", "stringlike")
        ):
            continue
        if _get_sole_principal(statement) != provider.arn or not all(
            isinstance(value, str) for value in to_list(given)
        ):
            continue
        if operator.base == "stringlike" and any(has_wildcard(text) != subject.is_pattern for text in to_list(given)):
            continue  # wildcard subjects and named subjects stay in separate statements
        _dummy, match = _match_statement(index, _replace_values(statement, name, key, [subject.value]), context)
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
    listed = list_federated_principals(statement)
    alone = isinstance(principal, Mapping) and list(principal) == ["Federated"] and len(listed) == 1
    return listed[0] if alone else None


def _replace_values(statement: Statement, operator: str, key: str, listed: Any) -> dict[str, Any]:
    result: dict[str, Any] = copy.deepcopy(dict(statement))
    result["Condition"][operator][key] = listed
    return result


def add(document: TrustDocument, provider: OidcProvider, subject: Subject, audience: str) -> tuple[dict[str, Any], int]:
    """The document with the subject added, and the index of the statement that has it: an existing or a new one."""
    home = _find_target_statement(document, provider, subject, audience)
    if home is None:
        result = _replace_statements(document, {})
        result["Statement"] = [*to_list(result["Statement"]), build_statement(provider, subject, audience)]
        return result, len(result["Statement"]) - 1
    index, operator, key = home
    statement = list_statements(document)[index]
    listed = to_list(statement["Condition"][operator][key])
    return _replace_statements(
        document, {index: _replace_values(statement, operator, key, [*listed, subject.value])}
    ), index


def _strip_provider(statement: Statement, provider: OidcProvider) -> Optional[dict[str, Any]]:
    """The statement without the provider; None where the provider is the only principal."""
    if _get_sole_principal(statement) == provider.arn:
        return None
    result: dict[str, Any] = copy.deepcopy(dict(statement))
    left = [arn for arn in list_federated_principals(statement) if arn != provider.arn]
    principal = {kind: value for kind, value in result["Principal"].items() if kind != "Federated"}
    result["Principal"] = {**principal, **({"Federated": left} if left else {})}
    return result if result["Principal"] else None


class SharedStatementError(Exception):
    """A statement that cannot be narrowed without a change for other principals."""


def _narrow_statement(statement: Statement, provider: OidcProvider, drop: Any) -> Optional[Statement]:
    """The statement without the values that C(drop) selects; without the provider where no value would remain.

    A condition is never removed. A statement without a condition on the subject would trust every service account of
    the cluster (docs/facts/irsa.md#hard-cases).
    """
    result: Statement = statement
    for name, key, given in _list_subject_conditions(statement, provider):
        if not ConditionOperator.parse(name).is_allowlist:
            continue
        left = [value for value in to_list(given) if not drop(name, _to_text(value))]
        if len(left) == len(to_list(given)):
            continue
        if not left:
            return _remove_provider(statement, provider)
        result = _replace_values(result, name, key, left)
    return result


def _remove_provider(statement: Statement, provider: OidcProvider) -> Optional[Statement]:
    if "NotPrincipal" in statement or _is_wildcard_principal(statement.get("Principal")):
        raise SharedStatementError(
            "the statement trusts every principal (*), so this provider cannot be removed from it. Replace * by the "
            "principals that need the role"
        )
    return _strip_provider(statement, provider)


def _iterate_trusting_statements(document: TrustDocument, provider: OidcProvider) -> Iterator[tuple[int, Statement]]:
    """The Allow statements that trust this provider, whatever their conditions."""
    for index, statement in enumerate(list_statements(document)):
        if statement.get("Effect") == "Allow" and _matches_action(statement) and _matches_provider(statement, provider):
            yield index, statement


def remove(document: TrustDocument, provider: OidcProvider, subject: Subject) -> dict[str, Any]:
    """The document without the subject in any statement. The document may have no statement left."""
    changed: dict[int, Optional[Statement]] = {}
    for index, statement in _iterate_trusting_statements(document, provider):
        changed[index] = _try_narrow_statement(index, statement, provider, lambda _name, value: value == subject.value)
    return _replace_statements(document, changed)


def _try_narrow_statement(index: int, statement: Statement, provider: OidcProvider, drop: Any) -> Optional[Statement]:
    try:
        return _narrow_statement(statement, provider, drop)
    except SharedStatementError as error:
        raise SharedStatementError(f"Statement[{index}]: {error}") from error


def purge(document: TrustDocument, provider: OidcProvider, keep: Sequence[Subject]) -> dict[str, Any]:
    """The document in which only these subjects of the provider remain.

    Statements that are open to all, or that allow by exception (StringNotEquals), are removed.
    """
    kept = {subject.value for subject in keep}
    patterns = {subject.value for subject in keep if subject.is_pattern}
    changed: dict[int, Optional[Statement]] = {}
    for index, statement in _iterate_trusting_statements(document, provider):
        named = [ConditionOperator.parse(name) for name, _key, _given in _list_subject_conditions(statement, provider)]
        naming = [operator for operator in named if operator.is_allowlist]
        try:
            if not naming:
                changed[index] = _remove_provider(statement, provider)
                continue
        except SharedStatementError as error:
            raise SharedStatementError(f"Statement[{index}]: {error}") from error
        # All operators must pass: where one of them lists literal subjects, the others only narrow those.
        literal = any(operator.base != "stringlike" for operator in naming)

        def drop(name: str, value: str, literal: bool = literal) -> bool:
            if ConditionOperator.parse(name).base == "stringlike":
                return not literal and value not in (patterns if has_wildcard(value) else kept)
            return value not in kept

        changed[index] = _try_narrow_statement(index, statement, provider, drop)
    return _replace_statements(document, changed)


def shorten(document: TrustDocument, provider: OidcProvider) -> dict[str, Any]:
    """The same meaning in fewer characters. Only statements of this provider change.

    A list of one becomes a scalar, duplicate values go, and statements that differ only in their subjects are merged.
    """
    changed: dict[int, Optional[Statement]] = {}
    homes: dict[str, int] = {}
    for index, statement in enumerate(list_statements(document)):
        if statement.get("Effect") != "Allow" or _get_sole_principal(statement) != provider.arn:
            continue
        changed[index] = statement
        named = _list_subject_conditions(statement, provider)
        if len(named) == 1 and "Sid" not in statement and ConditionOperator.parse(named[0][0]).is_allowlist:
            name, key, given = named[0]
            rest: dict[str, Any] = copy.deepcopy(dict(statement))
            del rest["Condition"][name][key]
            alike = json.dumps([name, key.lower(), _to_canonical_value(rest)], sort_keys=True)
            home = homes.setdefault(alike, index)
            if home != index:
                into = changed[home] or {}
                _name, home_key, before = _list_subject_conditions(into, provider)[0]
                changed[home] = _replace_values(into, name, home_key, [*to_list(before), *to_list(given)])
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
