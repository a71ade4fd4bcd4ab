# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each playbook has an AWX survey whose questions are exactly the variables of its roles.

AWX calls a form of questions a survey. Here `form` is the content of a survey's file.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))

# The types of survey questions for an option of this type. AWX has no list or dict: those are text in YAML
# (docs/facts/fleet.md#awx-surveys).
KINDS = {
    "str": {"text", "textarea"},
    "path": {"text"},
    "int": {"integer"},
    "float": {"float"},
    "bool": {"multiplechoice"},
    "list": {"textarea"},
    "dict": {"textarea"},
}


def roles_used(node: Any) -> Iterator[tuple[str, str]]:
    """Yield the roles of a play and the entry point of each."""
    if isinstance(node, list):
        for entry in node:
            yield from roles_used(entry)
    elif isinstance(node, dict):
        # Only a list: a module may have an option of that name.
        for entry in node["roles"] if isinstance(node.get("roles"), list) else []:
            role = entry if isinstance(entry, str) else entry.get("role", entry.get("name"))
            yield role, "main"
        for key, value in node.items():
            if re.fullmatch(r"(ansible\.builtin\.)?(import|include)_role", key):
                yield value["name"], value.get("tasks_from", "main")
            elif key != "roles":
                yield from roles_used(value)


def options_of(plays: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the options of a playbook's roles."""
    options: dict[str, dict[str, Any]] = {}
    for name, entry_point in roles_used(plays):
        file = ROOT / "roles" / name.removeprefix("daytwo.aws.") / "meta/argument_specs.yml"
        specs = yaml.safe_load(file.read_text())["argument_specs"]
        options.update(specs[entry_point.removesuffix(".yml")].get("options", {}))
    return options


def play_variables(plays: list[dict[str, Any]]) -> set[str]:
    """Return the variables that a playbook itself reads: for hosts and serial, or to convert an answer to an option."""
    return set(re.findall(r"\{\{\s*(\w+)", json.dumps(plays)))


def given(node: Any) -> Iterator[str]:
    """Yield the variables that a playbook sets itself, which need no question."""
    if isinstance(node, list):
        for entry in node:
            yield from given(entry)
    elif isinstance(node, dict):
        yield from node.get("vars", {})
        for value in node.values():
            yield from given(value)


def kinds_for(option: dict[str, Any]) -> set[str]:
    if option.get("no_log"):
        return {"password"}
    if "choices" in option:
        return {"multiselect"} if option["type"] == "list" else {"multiplechoice"}
    return KINDS[option.get("type", "str")]


def as_text(value: Any) -> str:
    """Return a default as AWX and YAML spell it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def find_mismatches(
    form: dict[str, Any], options: dict[str, dict[str, Any]], others: set[str], known: set[str]
) -> list[str]:
    """Return the mismatches of a survey: each entry names the variable and the difference."""
    questions = {question["variable"]: question for question in form["spec"]}
    found = [] if len(questions) == len(form["spec"]) else ["a variable has two questions"]
    found += [
        f"{name}: no role and no play takes it" for name in questions if name not in options and name not in others
    ]
    for name, option in options.items():
        question = questions.get(name)
        if question is None:
            if option.get("required") and name not in known:
                found.append(f"{name}: required, and without a question")
            continue
        if question["type"] not in kinds_for(option):
            found.append(f"{name}: {question['type']} does not fit {option.get('type', 'str')}")
        if bool(question["required"]) != bool(option.get("required")):
            found.append(f"{name}: required differs")
        choices = (
            ["true", "false"]
            if option.get("type") == "bool"
            else [as_text(choice) for choice in option.get("choices", [])]
        )
        if choices and sorted(map(as_text, question.get("choices") or [])) != sorted(choices):
            found.append(f"{name}: choices differ")
        if as_text(question.get("default")) != as_text(option.get("default")):
            found.append(f"{name}: default {question.get('default')!r}, the role has {option.get('default')!r}")
    return found


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_questions_match_the_roles(playbook: Path) -> None:
    form = json.loads(playbook.with_suffix(".survey.json").read_text())
    plays = yaml.safe_load(playbook.read_text())
    assert form["name"]
    assert form["description"]
    assert form["spec"]
    for question in form["spec"]:
        assert set(question) >= {"question_name", "question_description", "required", "type", "variable"}
    assert find_mismatches(form, options_of(plays), play_variables(plays), set(given(plays))) == []


OPTIONS: dict[str, dict[str, Any]] = {
    "thing_names": {"type": "list", "elements": "str", "required": True},
    "thing_mode": {"type": "str", "choices": ["fast", "safe"], "default": "safe"},
    "thing_keep": {"type": "bool", "default": False},
    "thing_secret": {"type": "str", "no_log": True},
}
FORM: dict[str, Any] = {
    "spec": [
        {"variable": "thing_names", "type": "textarea", "required": True},
        {
            "variable": "thing_mode",
            "type": "multiplechoice",
            "required": False,
            "choices": ["fast", "safe"],
            "default": "safe",
        },
        {
            "variable": "thing_keep",
            "type": "multiplechoice",
            "required": False,
            "choices": ["true", "false"],
            "default": "false",
        },
        {"variable": "thing_secret", "type": "password", "required": False},
        {"variable": "thing_hosts", "type": "text", "required": True},
    ]
}


def test_matching_questions_have_no_mismatches() -> None:
    assert find_mismatches(FORM, OPTIONS, {"thing_hosts"}, set()) == []


@pytest.mark.parametrize(
    ("change", "mismatch"),
    [
        (lambda spec: spec.pop(0), "thing_names: required, and without a question"),
        (lambda spec: spec[0].update(required=False), "thing_names: required differs"),
        (lambda spec: spec[0].update(type="integer"), "thing_names: integer does not fit list"),
        (lambda spec: spec[1].update(choices=["fast"]), "thing_mode: choices differ"),
        (lambda spec: spec[1].update(default="fast"), "thing_mode: default 'fast', the role has 'safe'"),
        (lambda spec: spec[3].update(type="text"), "thing_secret: text does not fit str"),
        (lambda spec: spec[4].update(variable="thing_host"), "thing_host: no role and no play takes it"),
        (lambda spec: spec.append(spec[0]), "a variable has two questions"),
    ],
)
def test_each_difference_is_found(change: Callable[[list[dict[str, Any]]], None], mismatch: str) -> None:
    form = copy.deepcopy(FORM)
    change(form["spec"])
    assert find_mismatches(form, OPTIONS, {"thing_hosts"}, set()) == [mismatch]


def test_roles_are_found_wherever_a_play_uses_them() -> None:
    plays = yaml.safe_load(
        """
        - hosts: all
          roles: [daytwo.aws.one, {role: daytwo.aws.two}]
          tasks:
            - block:
                - ansible.builtin.include_role: {name: daytwo.aws.three, tasks_from: probe}
        """
    )
    assert sorted(roles_used(plays)) == [
        ("daytwo.aws.one", "main"),
        ("daytwo.aws.three", "probe"),
        ("daytwo.aws.two", "main"),
    ]
