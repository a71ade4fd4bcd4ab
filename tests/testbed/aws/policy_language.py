# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy language as IAM and STS apply it, from the IAM user guide's pages on policy elements and their evaluation.

It decides and never guesses: every context key is present with its values, or absent. It shares no code with the
collection's evaluator of trust policies, so that tests can compare the two.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

Context = Mapping[str, list[str]]  # by key in lower case


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(document: str) -> list[dict[str, Any]]:
    return listed(json.loads(document)["Statement"])


def wild(pattern: str, text: str) -> bool:
    rows = [True] + [False] * len(text)  # which prefixes of the text the pattern so far can match
    for letter in pattern:
        if letter == "*":
            for column in range(1, len(text) + 1):
                rows[column] = rows[column] or rows[column - 1]
        else:
            rows = [False] + [rows[column] and (letter in ("?", text[column])) for column in range(len(text))]
    return rows[-1]


def concerns_action(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(wild(pattern.lower(), action.lower()) for pattern in listed(statement["NotAction"]))
    return any(wild(pattern.lower(), action.lower()) for pattern in listed(statement["Action"]))


def concerns_resource(statement: Mapping[str, Any], resource: str) -> bool:
    if "NotResource" in statement:
        return not any(wild(pattern, resource) for pattern in listed(statement["NotResource"]))
    return any(wild(pattern, resource) for pattern in listed(statement["Resource"]))


def concerns_principal(statement: Mapping[str, Any], kind: str, name: str) -> bool:
    """C(kind): Federated, AWS, Service."""
    if "NotPrincipal" in statement:
        return not _names(statement["NotPrincipal"], kind, name)
    return _names(statement.get("Principal", {}), kind, name)


def _names(principal: Any, kind: str, name: str) -> bool:
    if principal == "*":
        return True
    return name in listed(principal.get(kind, [])) or "*" in (
        listed(principal.get("AWS", [])) + listed(principal.get(kind, []))
    )


def condition_keys(statement: Mapping[str, Any]) -> Iterator[str]:
    for keys in statement.get("Condition", {}).values():
        yield from keys


def conditions_met(statement: Mapping[str, Any], context: Context) -> bool:
    return all(
        _met(operator, context.get(key.lower()), [_text(value) for value in listed(expected)], context)
        for operator, keys in statement.get("Condition", {}).items()
        for key, expected in keys.items()
    )


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, int, float)) else value


def _met(operator: str, held: list[str] | None, expected: list[str], context: Context) -> bool:
    quantifier, _dummy, test = operator.rpartition(":")
    if test == "Null":
        return any(value == ("false" if held else "true") for value in expected)
    if test.endswith("IfExists"):
        if not held:
            return True
        test = test.removesuffix("IfExists")
    negated = re.match(r"(String|Numeric|Date|Arn)Not|NotIpAddress", test) is not None
    test = test.replace("Not", "", 1) if negated else test
    expected = [_substituted(value, context) for value in expected]

    def passes(value: str) -> bool:
        return any(TESTS[test](want, value) for want in expected) != negated

    if quantifier == "ForAllValues":
        return all(passes(value) for value in held or [])
    if quantifier == "ForAnyValue":
        return any(passes(value) for value in held or [])
    if not held:
        return negated
    return passes(held[0])


def _substituted(text: str, context: Context) -> str:
    """Replace policy variables. A variable without a value stays, and then matches nothing that a service sends."""
    return re.sub(r"\$\{([^}]+)\}", lambda found: (context.get(found[1].lower()) or [found[0]])[0], text)


def _moment(text: str) -> datetime:
    if text.isdigit():
        return datetime.fromtimestamp(int(text), timezone.utc)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _in_network(network: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def _arn(pattern: str, text: str) -> bool:
    """Match an ARN by its six parts: a wildcard does not span a colon among the first five. No other text matches."""
    expected, held = pattern.split(":", 5), text.split(":", 5)
    return (
        held[0] == "arn"
        and len(expected) == len(held)
        and all(wild(part, other) for part, other in zip(expected, held, strict=True))
    )


TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda want, held: want == held,
    "StringEqualsIgnoreCase": lambda want, held: want.lower() == held.lower(),
    "StringLike": wild,
    "ArnEquals": _arn,
    "ArnLike": _arn,
    "Bool": lambda want, held: want.lower() == held.lower(),
    "BinaryEquals": lambda want, held: want == held,
    "IpAddress": _in_network,
    "NumericEquals": lambda want, held: float(held) == float(want),
    "NumericLessThan": lambda want, held: float(held) < float(want),
    "NumericLessThanEquals": lambda want, held: float(held) <= float(want),
    "NumericGreaterThan": lambda want, held: float(held) > float(want),
    "NumericGreaterThanEquals": lambda want, held: float(held) >= float(want),
    "DateEquals": lambda want, held: _moment(held) == _moment(want),
    "DateLessThan": lambda want, held: _moment(held) < _moment(want),
    "DateLessThanEquals": lambda want, held: _moment(held) <= _moment(want),
    "DateGreaterThan": lambda want, held: _moment(held) > _moment(want),
    "DateGreaterThanEquals": lambda want, held: _moment(held) >= _moment(want),
}
