# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role trust documents: who may assume a role by web identity, by which statement; and edits that touch nothing else.

All of it is pure. Documents are what C(json.loads) makes of them, and never changed in place.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .model import ACTION, ANYBODY, AUDIENCE, Provider, Subject, has_wildcard

Document = Mapping[str, Any]
Statement = Mapping[str, Any]
NAME, WILDCARD, OPEN = "name", "wildcard", "open"
# How IAM shows users, roles, groups and instance profiles in a policy once they are deleted (facts: irsa).
_DELETED = re.compile(r"A(?:IDA|ROA|GPA|IPA)[A-Z0-9]{12,}")


@dataclass(frozen=True)
class Match:
    """A statement that applies to a subject. C(how): the subject is named there, falls under a wildcard, or the
    statement is open: it demands nothing of the subject.

    C(conditions): those that nothing here can judge, such as aws:SourceIp; whoever is let in by it has to meet them.
    C(loose): its condition on the subject also passes where a token has no subject (ForAllValues, IfExists).
    """

    index: int
    sid: str
    how: str
    conditions: tuple[str, ...] = ()
    loose: bool = False
    checks_audience: bool = True

    def __str__(self) -> str:
        return f"Statement[{self.index}]" + (f" ({self.sid})" if self.sid else "")

    def to_dict(self) -> dict[str, Any]:
        return {"index": self.index, "sid": self.sid, "how": self.how, "conditions": list(self.conditions)}


@dataclass(frozen=True)
class Verdict:
    """May the subject assume the role? C(by): the statements that say so; C(denied_by): those that overrule them;
    C(perhaps_denied_by): those that overrule them where conditions hold that cannot be judged here.
    """

    by: tuple[Match, ...] = ()
    denied_by: tuple[Match, ...] = ()
    perhaps_denied_by: tuple[Match, ...] = ()

    @property
    def allowed(self) -> bool:
        return bool(self.by) and not self.denied_by

    def __str__(self) -> str:
        if self.denied_by:
            return f"denied, by {_listed(self.denied_by)}"
        return f"allowed, by {_listed(self.by)}" if self.by else "denied: no statement allows it"


@dataclass(frozen=True)
class Grant:
    """Somebody whom a statement lets in: a named subject, a pattern, or (C(subject) is None) everybody."""

    subject: Optional[Subject]
    match: Match


def _listed(matches: Sequence[Match]) -> str:
    return ", ".join(map(str, matches))


def values(given: Any) -> list[Any]:
    """A scalar equals a list of one (facts: irsa)."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def statements(document: Document) -> list[Statement]:
    """C(Statement) may be one object."""
    return [one for one in values(document.get("Statement", [])) if isinstance(one, Mapping)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def glob(pattern: str, text: str, ignore_case: bool = False) -> bool:
    """C(*): any characters, C(?): one. A C(*) in the text stands for any text, which only C(*) covers."""
    parts = {"*": ".*", "?": "[^*]"}
    expression = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return bool(re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)))


def overlap(one: str, other: str) -> bool:
    """Whether some text falls under both patterns."""
    seen, ahead = set(), [(0, 0)]
    while ahead:
        place = ahead.pop()
        if place in seen:
            continue
        seen.add(place)
        first, second = one[place[0] :], other[place[1] :]
        if not first.strip("*") and not second.strip("*"):
            return True
        if first[:1] == "*" or second[:1] == "*":
            ahead += [(place[0] + 1, place[1])] if first else []
            ahead += [(place[0], place[1] + 1)] if second else []
        elif first and second and (first[0] == second[0] or "?" in (first[0], second[0])):
            ahead.append((place[0] + 1, place[1] + 1))
    return False


# --- Evaluation. A condition holds (True), does not (False), or cannot be judged (None).


@dataclass(frozen=True)
class Operator:
    """A condition operator taken apart: ForAllValues:StringLikeIfExists."""

    quantifier: str
    base: str
    if_exists: bool

    @classmethod
    def parse(cls, name: str) -> Operator:
        head, colon, tail = name.lower().partition(":")
        quantifier, base = (head, tail) if colon else ("", head)
        if_exists = base.endswith("ifexists")
        return cls(quantifier, base[: -len("ifexists")] if if_exists else base, if_exists)

    @property
    def negated(self) -> bool:
        return "not" in self.base

    @property
    def loose(self) -> bool:
        """It passes where the key is absent."""
        return self.if_exists or self.quantifier == "forallvalues"

    @property
    def names_values(self) -> bool:
        """It passes only what it names, as far as the key is there."""
        return self.base in ("stringequals", "stringequalsignorecase", "stringlike")


@dataclass(frozen=True)
class _Request:
    """What a token of the provider brings along."""

    provider: Provider
    subject: Subject
    audience: Optional[str]
    variables: bool  # whether the document's version knows ${...}
    in_part: bool = False  # whether a statement counts that applies to a part of a pattern

    def holds(self, operator: Operator, key: str, given: Any) -> Optional[bool]:
        name = key.lower()
        wanted = [_text(value) for value in values(given)]
        if name == self.provider.key("sub").lower():
            return self._compare(operator, self.subject, wanted)
        if name == self.provider.key("aud").lower():
            return None if self.audience is None else self._compare(operator, Subject(self.audience), wanted)
        if name == "aws:federatedprovider":
            return self._compare(operator, Subject(self.provider.arn), wanted)
        if _absent(name, self.provider):
            return _compare_absent(operator, wanted)
        return None

    def _compare(self, operator: Operator, held: Subject, wanted: Sequence[str]) -> Optional[bool]:
        if operator.base == "null":
            return "false" in wanted
        positive = operator.base.replace("not", "")
        if positive == "stringequals":
            found = not held.pattern and held.value in wanted
        elif positive == "stringequalsignorecase":
            found = not held.pattern and held.value.lower() in [value.lower() for value in wanted]
        elif positive in ("stringlike", "arnlike", "arnequals"):
            found = any(glob(value, held.value) for value in wanted)
        else:
            return None
        if not found and self.variables and any("${" in value for value in wanted):
            return None
        if not found and held.pattern and (operator.negated or self.in_part):
            # It may apply to some of those whom the pattern stands for.
            literal = positive != "stringlike"
            if any(overlap(held.value, value.replace("*", "") if literal else value) for value in wanted):
                return None
        return found != operator.negated


def _absent(name: str, provider: Provider) -> bool:
    """Keys that no token of this provider brings: claims of other issuers, and those of other ways to assume a role."""
    prefix = name.rpartition(":")[0]
    if prefix == provider.issuer.lower() or name.startswith("aws:"):
        return False
    return name.startswith("saml:") or name == "sts:externalid" or "." in prefix


def _compare_absent(operator: Operator, wanted: Sequence[str]) -> bool:
    if operator.base == "null":
        return "true" in wanted
    if operator.loose:
        return True
    return operator.negated and operator.quantifier != "foranyvalue"


def conditions(statement: Statement) -> Iterator[tuple[str, str, Any]]:
    """Operator, key and value of each condition."""
    block = statement.get("Condition")
    if isinstance(block, Mapping):
        for operator, keys in block.items():
            if isinstance(keys, Mapping):
                for key, given in keys.items():
                    yield operator, key, given


def _names_action(statement: Statement) -> bool:
    listed = [str(one) for one in values(statement.get("Action", statement.get("NotAction", [])))]
    found = any(glob(one, ACTION, ignore_case=True) for one in listed)
    return found != ("Action" not in statement and "NotAction" in statement)


def federated(statement: Statement) -> list[str]:
    principal = statement.get("Principal")
    return [str(one) for one in values(principal.get("Federated", []))] if isinstance(principal, Mapping) else []


def _everybody(principal: Any) -> bool:
    """C(*) as such, or as AWS or Federated principal."""
    if isinstance(principal, Mapping):
        return any("*" in values(principal.get(kind, [])) for kind in ("AWS", "Federated"))
    return bool(principal == "*")


def _names_provider(statement: Statement, provider: Provider) -> bool:
    if "NotPrincipal" in statement:
        return provider.arn not in federated({"Principal": statement["NotPrincipal"]})
    return _everybody(statement.get("Principal")) or provider.arn in federated(statement)


def _subject_conditions(statement: Statement, provider: Provider) -> list[tuple[str, str, Any]]:
    key = provider.key("sub").lower()
    return [one for one in conditions(statement) if one[1].lower() == key]


def _match(index: int, statement: Statement, request: _Request) -> tuple[Optional[bool], Optional[Match]]:
    """Whether the statement applies to the request (None: it depends), and how."""
    if not _names_action(statement) or not _names_provider(statement, request.provider):
        return False, None
    unknown, hows, loose, checks_audience = [], {OPEN}, False, False
    audience = request.provider.key("aud").lower()
    for name, key, given in conditions(statement):
        operator = Operator.parse(name)
        holds = request.holds(operator, key, given)
        if holds is False:
            return False, None
        if holds is None:
            unknown.append(f"{name} {key}: {json.dumps(given)}")
        checks_audience = checks_audience or key.lower() == audience
        if key.lower() == request.provider.key("sub").lower() and operator.names_values:
            loose = loose or operator.loose
            hows.add(NAME if request.subject.value in map(_text, values(given)) else WILDCARD)
    how = next(one for one in (NAME, WILDCARD, OPEN) if one in hows)
    match = Match(index, str(statement.get("Sid", "")), how, tuple(unknown), loose, checks_audience)
    return (None if unknown else True), match


def evaluate(document: Document, provider: Provider, subject: Subject, audience: Optional[str] = AUDIENCE) -> Verdict:
    """May a token of this provider with this subject and audience (None: with whichever) assume the role?

    A pattern is allowed where one statement covers all of it.
    """
    request = _Request(provider, subject, audience, document.get("Version") == "2012-10-17")
    by: list[Match] = []
    denied: list[Match] = []
    perhaps: list[Match] = []
    for index, statement in enumerate(statements(document)):
        deny = statement.get("Effect") == "Deny"
        applies, match = _match(index, statement, replace(request, in_part=deny))
        if match is not None and deny:
            (denied if applies else perhaps).append(match)
        elif match is not None and statement.get("Effect") == "Allow":
            by.append(match)
    return Verdict(tuple(by), tuple(denied), tuple(perhaps))


def grants(document: Document, provider: Provider, audience: Optional[str] = AUDIENCE) -> list[Grant]:
    """Whom each statement of the provider lets in, one entry a subject. C(evaluate) says what a Deny takes away."""
    found = []
    request = _Request(provider, ANYBODY, audience, document.get("Version") == "2012-10-17")
    for index, statement in enumerate(statements(document)):
        if statement.get("Effect") != "Allow":
            continue
        _dummy, match = _match(index, statement, request)
        if match is not None:
            found.append(Grant(None, match))
            continue
        for subject in named_subjects(statement, provider):
            one = _Request(provider, subject, audience, request.variables)
            _dummy, match = _match(index, statement, one)
            if match is not None:
                found.append(Grant(subject, match))
    return found


def named_subjects(statement: Statement, provider: Provider) -> list[Subject]:
    """Every subject that a statement's conditions name, in their order, patterns only where they act as such."""
    found: dict[Subject, None] = {}
    for name, _key, given in _subject_conditions(statement, provider):
        operator = Operator.parse(name)
        if operator.names_values:
            for value in map(_text, values(given)):
                found[Subject(value, operator.base == "stringlike" and has_wildcard(value))] = None
    return list(found)


def providers(document: Document) -> list[str]:
    """The ARNs of the OIDC providers that the document's Allow statements name."""
    named = (arn for one in statements(document) if one.get("Effect") == "Allow" for arn in federated(one))
    return list(dict.fromkeys(arn for arn in named if ":oidc-provider/" in arn))


def deleted_principals(document: Document) -> list[str]:
    """Ids that stand where principals were that are deleted by now: IAM refuses to write a document with them."""
    found = []
    for statement in statements(document):
        for element in ("Principal", "NotPrincipal"):
            principal = statement.get(element)
            if isinstance(principal, Mapping):
                found += [str(one) for one in values(principal.get("AWS", [])) if _DELETED.fullmatch(str(one))]
    return list(dict.fromkeys(found))


# --- Writing.


def compact(document: Document) -> str:
    """As it is written: IAM does not count white space, and neither is any sent."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def size(document: Document) -> int:
    """Characters that count against the quota."""
    return len(compact(document))


def canonical(document: Document) -> dict[str, Any]:
    """For people's eyes: statements as a list, lists in order, one spelling of what means the same."""
    told = {key: value for key, value in document.items() if key != "Statement"}
    return {**told, "Statement": [_canonical(one) for one in statements(document)]}


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        listed = sorted((_canonical(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
        return listed[0] if len(listed) == 1 else listed
    return value


def _replaced(document: Document, changed: Mapping[int, Optional[Statement]]) -> dict[str, Any]:
    """The document with these statements in the place of others, None for none. One object stays one object."""
    kept = [changed.get(index, one) for index, one in enumerate(statements(document))]
    left = [copy.deepcopy(one) for one in kept if one is not None]
    single = not isinstance(document.get("Statement"), (list, tuple))
    result = {key: copy.deepcopy(value) for key, value in document.items() if key != "Statement"}
    # At the place where it was: the order of keys means nothing to IAM, and something to people.
    result["Statement"] = left[0] if single and len(left) == 1 else left
    return {key: result[key] for key in [*document, *(() if "Statement" in document else ("Statement",))]}


def new_statement(provider: Provider, subject: Subject, audience: str) -> dict[str, Any]:
    """A statement for one subject: the audience always, the subject always, a pattern under StringLike."""
    aud, sub = {provider.key("aud"): audience}, {provider.key("sub"): subject.value}
    condition = {"StringEquals": aud, "StringLike": sub} if subject.pattern else {"StringEquals": {**aud, **sub}}
    return {"Effect": "Allow", "Principal": {"Federated": provider.arn}, "Action": ACTION, "Condition": condition}


def _home(document: Document, provider: Provider, subject: Subject, audience: str) -> Optional[tuple[int, str, str]]:
    """The statement that can take the subject in, with operator and key of its condition.

    It trusts this provider alone, names subjects under one plain operator only, and would let the subject in: of two
    operators, both count, so that editing one would not do or do too much. The one that demands least else is best.
    """
    found = []
    request = _Request(provider, subject, audience, document.get("Version") == "2012-10-17")
    for index, statement in enumerate(statements(document)):
        named = _subject_conditions(statement, provider)
        if statement.get("Effect") != "Allow" or len(named) != 1 or "NotAction" in statement:
            continue
        name, key, given = named[0]
        operator = Operator.parse(name)
        plain = not operator.loose and not operator.quantifier
        if not plain or operator.base not in (("stringlike",) if subject.pattern else ("stringequals", "stringlike")):
            continue
        if _sole(statement) != provider.arn or not all(isinstance(value, str) for value in values(given)):
            continue
        if operator.base == "stringlike" and any(has_wildcard(one) != subject.pattern for one in values(given)):
            continue  # patterns keep to statements of their own
        _dummy, match = _match(index, _with_values(statement, name, key, [subject.value]), request)
        if match is not None:
            rank = (bool(match.conditions), not match.checks_audience, operator.base != "stringequals", index)
            found.append((rank, name, key))
    if not found:
        return None
    rank, name, key = min(found)
    return rank[-1], name, key


def _sole(statement: Statement) -> Optional[str]:
    """The one principal that a statement has, if it is a federated one."""
    principal = statement.get("Principal")
    listed = federated(statement)
    alone = isinstance(principal, Mapping) and list(principal) == ["Federated"] and len(listed) == 1
    return listed[0] if alone else None


def _with_values(statement: Statement, operator: str, key: str, listed: Any) -> dict[str, Any]:
    result: dict[str, Any] = copy.deepcopy(dict(statement))
    result["Condition"][operator][key] = listed
    return result


def add(document: Document, provider: Provider, subject: Subject, audience: str) -> tuple[dict[str, Any], int]:
    """The document with the subject in it, and the statement that took it in: one that is there, or a new one."""
    home = _home(document, provider, subject, audience)
    if home is None:
        result = _replaced(document, {})
        result["Statement"] = [*values(result["Statement"]), new_statement(provider, subject, audience)]
        return result, len(result["Statement"]) - 1
    index, operator, key = home
    statement = statements(document)[index]
    listed = values(statement["Condition"][operator][key])
    return _replaced(document, {index: _with_values(statement, operator, key, [*listed, subject.value])}), index


def _without_provider(statement: Statement, provider: Provider) -> Optional[dict[str, Any]]:
    """The statement for its other principals; None where it has no other."""
    if _sole(statement) == provider.arn:
        return None
    result: dict[str, Any] = copy.deepcopy(dict(statement))
    left = [one for one in federated(statement) if one != provider.arn]
    principal = {kind: value for kind, value in result["Principal"].items() if kind != "Federated"}
    result["Principal"] = {**principal, **({"Federated": left} if left else {})}
    return result if result["Principal"] else None


class StuckError(Exception):
    """A statement that cannot be narrowed without touching what belongs to others."""


def _narrowed(statement: Statement, provider: Provider, drop: Any) -> Optional[Statement]:
    """The statement without the values that C(drop) picks; without the provider where none would be left.

    A condition never goes: a statement without subjects would let in everybody (facts: irsa, case 7).
    """
    result: Statement = statement
    for name, key, given in _subject_conditions(statement, provider):
        if not Operator.parse(name).names_values:
            continue
        left = [value for value in values(given) if not drop(name, _text(value))]
        if len(left) == len(values(given)):
            continue
        if not left:
            return _ousted(statement, provider)
        result = _with_values(result, name, key, left)
    return result


def _ousted(statement: Statement, provider: Provider) -> Optional[Statement]:
    if "NotPrincipal" in statement or _everybody(statement.get("Principal")):
        raise StuckError(
            "it trusts every principal, so that this provider cannot be taken out of it. Give it the principals that "
            "it is meant for"
        )
    return _without_provider(statement, provider)


def _trusting(document: Document, provider: Provider) -> Iterator[tuple[int, Statement]]:
    """The Allow statements that a token of this provider can pass at all."""
    for index, statement in enumerate(statements(document)):
        if statement.get("Effect") == "Allow" and _names_action(statement) and _names_provider(statement, provider):
            yield index, statement


def remove(document: Document, provider: Provider, subject: Subject) -> dict[str, Any]:
    """The document without the subject, in whichever statements name it. It may be left without statements."""
    changed: dict[int, Optional[Statement]] = {}
    for index, statement in _trusting(document, provider):
        changed[index] = _tried(index, statement, provider, lambda _name, value: value == subject.value)
    return _replaced(document, changed)


def _tried(index: int, statement: Statement, provider: Provider, drop: Any) -> Optional[Statement]:
    try:
        return _narrowed(statement, provider, drop)
    except StuckError as error:
        raise StuckError(f"Statement[{index}]: {error}") from error


def purge(document: Document, provider: Provider, keep: Sequence[Subject]) -> dict[str, Any]:
    """The document with no subject of this provider but these. What is open to all, or allows by exception, goes."""
    kept = {subject.value for subject in keep}
    patterns = {subject.value for subject in keep if subject.pattern}
    changed: dict[int, Optional[Statement]] = {}
    for index, statement in _trusting(document, provider):
        named = [Operator.parse(name) for name, _key, _given in _subject_conditions(statement, provider)]
        naming = [operator for operator in named if operator.names_values]
        try:
            if not naming:
                changed[index] = _ousted(statement, provider)
                continue
        except StuckError as error:
            raise StuckError(f"Statement[{index}]: {error}") from error
        # Of several operators all must pass: where one names subjects to the letter, the others only narrow those.
        literal = any(operator.base != "stringlike" for operator in naming)

        def drop(name: str, value: str, literal: bool = literal) -> bool:
            if Operator.parse(name).base == "stringlike":
                return not literal and value not in (patterns if has_wildcard(value) else kept)
            return value not in kept

        changed[index] = _tried(index, statement, provider, drop)
    return _replaced(document, changed)


def squeeze(document: Document, provider: Provider) -> dict[str, Any]:
    """The same meaning in fewer characters, in this provider's own statements: lists of one as scalars, no value twice,
    and one statement in the place of several that differ in their subjects alone.
    """
    changed: dict[int, Optional[Statement]] = {}
    homes: dict[str, int] = {}
    for index, statement in enumerate(statements(document)):
        if statement.get("Effect") != "Allow" or _sole(statement) != provider.arn:
            continue
        changed[index] = statement
        named = _subject_conditions(statement, provider)
        if len(named) == 1 and "Sid" not in statement and Operator.parse(named[0][0]).names_values:
            name, key, given = named[0]
            rest: dict[str, Any] = copy.deepcopy(dict(statement))
            del rest["Condition"][name][key]
            alike = json.dumps([name, key.lower(), _canonical(rest)], sort_keys=True)
            home = homes.setdefault(alike, index)
            if home != index:
                into = changed[home] or {}
                _name, home_key, before = _subject_conditions(into, provider)[0]
                changed[home] = _with_values(into, name, home_key, [*values(before), *values(given)])
                changed[index] = None
    short = {index: None if one is None else _short(one) for index, one in changed.items()}
    return _replaced(document, short)


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        listed = list(dict.fromkeys(value)) if all(isinstance(one, str) for one in value) else list(value)
        return listed[0] if len(listed) == 1 else listed
    return value
