# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements of a role's policies that match a denied action, and their conditions on tags of the resource. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .. import policy
from .evidence import DenialEvidence
from .model import AccessDenial

_RESOURCE_TAG_KEY = re.compile(r"[\w-]+:ResourceTag/(.+)", re.IGNORECASE)


@dataclass(frozen=True)
class PolicyStatement:
    """A statement of a role's policy that matches the action and the resource."""

    policy: str
    index: int
    statement: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.policy}, {policy.format_statement(self.index, self.statement.get('Sid', ''))}"


def find_statements(
    policies: Sequence[tuple[str, Mapping[str, Any]]], action: str, resource: Optional[str], effect: str = "Allow"
) -> list[PolicyStatement]:
    """Find the statements with this effect whose actions and resources match, whatever their conditions."""
    found = []
    for name, document in policies:
        for index, statement in enumerate(policy.list_statements(document)):
            is_match = _matches_element(statement, "Action", action, True) and (
                resource is None or _matches_element(statement, "Resource", resource, False)
            )
            if is_match and statement.get("Effect") == effect:
                found.append(PolicyStatement(name, index, statement))
    return found


def _matches_element(statement: Mapping[str, Any], element: str, text: str, ignore_case: bool) -> bool:
    if element in statement:
        patterns = policy.to_list(statement[element])
        return any(policy.matches_glob(str(pattern), text, ignore_case) for pattern in patterns)
    excluded = policy.to_list(statement.get(f"Not{element}", []))
    return bool(excluded) and not any(policy.matches_glob(str(pattern), text, ignore_case) for pattern in excluded)


@dataclass(frozen=True)
class TagCondition:
    """A condition on a tag of the resource."""

    operator: str
    tag: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        if self.operator.lower() == "null":
            return f"the resource has {'the' if self.requires_tag else 'no'} tag {self.tag}"
        return f"the resource's tag {self.tag} satisfies {self.operator} {' or '.join(self.values)}"

    @property
    def requires_tag(self) -> bool:
        return "false" in [value.lower() for value in self.values]

    def is_satisfied(self, tags: Mapping[str, str]) -> Optional[bool]:
        """Decide whether the tags satisfy the condition. None: this module cannot evaluate the operator."""
        current = {key.lower(): value for key, value in tags.items()}.get(self.tag.lower())
        operator = policy.ConditionOperator.parse(self.operator)
        if operator.base == "null":
            return (current is not None) == self.requires_tag
        if not operator.is_allowlist:
            return None
        if current is None:
            return operator.is_loose
        if operator.base == "stringlike":
            return any(policy.matches_glob(value, current) for value in self.values)
        if operator.base == "stringequalsignorecase":
            return current.lower() in [value.lower() for value in self.values]
        return current in self.values

    def get_satisfying_value(self, wildcard_value: str) -> Optional[str]:
        """Get a value of the tag that satisfies the condition."""
        operator = policy.ConditionOperator.parse(self.operator)
        if operator.base == "null":
            return wildcard_value if self.requires_tag else None
        if not operator.is_allowlist:
            return None
        plain = [value for value in self.values if "${" not in value]
        if not plain:
            return None
        return plain[0] if operator.base != "stringlike" else plain[0].replace("*", wildcard_value).replace("?", "x")


def list_tag_conditions(statement: Mapping[str, Any]) -> list[TagCondition]:
    found = []
    for operator, key, given in policy.iterate_conditions(statement):
        match = _RESOURCE_TAG_KEY.fullmatch(key)
        if match:
            found.append(TagCondition(operator, match[1], tuple(policy.list_texts(given))))
    return found


@dataclass(frozen=True)
class MissingTags:
    """A statement that would allow the action if the resource had these tags."""

    policy_statement: PolicyStatement
    unmet_conditions: tuple[TagCondition, ...]
    tags: Mapping[str, str]


def find_missing_tags(denial: AccessDenial, observed: DenialEvidence, wildcard_value: str) -> Optional[MissingTags]:
    """Find the statement with the fewest missing tags. None where no tags are missing."""
    if observed.policies is None or observed.tags is None or denial.action is None:
        return None
    found = []
    for statement in find_statements(observed.policies, denial.action, denial.resource_arn):
        conditions = list_tag_conditions(statement.statement)
        unmet = [condition for condition in conditions if condition.is_satisfied(observed.tags) is False]
        # Of two conditions on one tag, a required value takes precedence over mere presence.
        required: dict[str, Optional[str]] = {}
        for condition in sorted(unmet, key=lambda condition: condition.operator.lower() != "null"):
            required[condition.tag] = condition.get_satisfying_value(wildcard_value)
        if unmet and all(value is not None for value in required.values()):
            found.append(MissingTags(statement, tuple(unmet), {key: str(value) for key, value in required.items()}))
    return min(found, key=lambda missing: len(missing.tags)) if found else None


def build_context(denial: AccessDenial, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Build the simulator's context: the known condition keys of the request, and the tags under both their keys."""
    service = (denial.action or "").split(":")[0].lower()
    entries = dict(denial.context)
    for key, value in tags.items():
        for prefix in dict.fromkeys(("aws", service)):
            entries[f"{prefix}:ResourceTag/{key}"] = (value,)
    return entries
