# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One vocabulary (docs/glossary.md): the field's words in identifiers, in texts for people and in the documentation."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
FACTS = ROOT / "docs/facts"

# Class names that Ansible itself fixes.
FIXED_CLASSES = {"ActionModule", "FilterModule", "LookupModule", "ModuleDocFragment"}

VOCABULARY = {
    key: set(text.split())
    for key, text in yaml.safe_load((Path(__file__).parent / "vocabulary.yml").read_text()).items()
}
PRIVATE_TEXT = re.compile(
    r"\b(told|tells?|asked|asks?|wish(?:es|ed)?|mend(?:s|ed|ing)?|amiss|troubles?|obstacles?|said|says?|seen|ways? out"
    r"|folders?|pieces?|misfits?|near miss(?:es)?)\b",
    re.IGNORECASE,
)
LONGEST_SENTENCE = 30


def python_files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parts(identifier: str) -> list[str]:
    """C(_WayOut) and C(way_out) are both way, out."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", identifier)]


def identifiers(module: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg):
            yield node.arg, node.lineno


def collects_visited(module: ast.Module) -> bool:
    """Whether C(seen = set()) is in it, the idiom for what a loop has visited."""
    return any(
        isinstance(node, (ast.Assign, ast.AnnAssign)) and re.fullmatch(r"seen(: .*)? = set\(\)", ast.unparse(node))
        for node in ast.walk(module)
    )


def private_identifiers(module: ast.Module) -> list[str]:
    allowed = VOCABULARY["allowed"] | ({"seen"} if collects_visited(module) else set())
    return sorted(
        {
            f"{name}:{line}"
            for name, line in identifiers(module)
            if name not in allowed and VOCABULARY["private"].intersection(parts(name))
        }
    )


def test_a_class_name_stands_once() -> None:
    names = Counter(
        node.name for path in python_files("plugins") for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)
    )
    assert len(names) > 100
    assert sorted(name for name, count in names.items() if count > 1 and name not in FIXED_CLASSES) == []


@pytest.mark.parametrize("room", ["plugins", "tests"])
def test_identifiers_are_of_the_field(room: str) -> None:
    found = {name_of(path): private_identifiers(tree(path)) for path in python_files(room)}
    assert found
    assert {name: private for name, private in found.items() if private} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(wish): return wish.told", ["told:1", "wish:1"]),
        ("seen = set()\nseen.add(1)", []),
        ("seen: set[str] = set()\nseen.add('x')", []),
        ("seen = 3", ["seen:1"]),
        ("class Asked: pass", ["Asked:1"]),
    ],
)
def test_a_private_identifier_is_found(text: str, found: list[str]) -> None:
    assert private_identifiers(ast.parse(text)) == found


def functions(module: ast.Module) -> Iterator[ast.FunctionDef]:
    """Those that are called: no properties, which are nouns, and no dunders."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and not re.fullmatch(r"__\w+__", node.name):
            decorators = {getattr(item, "id", getattr(item, "attr", "")) for item in node.decorator_list}
            if not decorators & {"property", "cached_property", "setter"}:
                yield node


def test_functions_begin_with_a_verb() -> None:
    found = [
        f"{name_of(path)}: {function.name}"
        for path in python_files("plugins")
        for function in functions(tree(path))
        if parts(function.name)[0] not in VOCABULARY["verbs"] and function.name not in VOCABULARY["fixed"]
    ]
    assert found == []


# --- Texts for people


def strings(module: ast.Module) -> Iterator[tuple[str, int]]:
    """String literals with more than one word, docstrings aside."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
            continue
        if " " in node.value.strip():
            yield node.value, node.lineno


def yaml_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for entry in value.values():
            yield from yaml_texts(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from yaml_texts(entry)
    elif isinstance(value, str):
        yield re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", value, flags=re.DOTALL)


def without_quotes(text: str) -> str:
    """Without code and without what is quoted from somebody else."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return re.sub(r"`[^`\n]*`|\"[^\"\n]*\"|[CVOME]\([^)]*\)", "X", text)


def private_texts(text: str) -> list[str]:
    return sorted({match.group(0).lower() for match in PRIVATE_TEXT.finditer(without_quotes(text))})


def documents() -> list[Path]:
    rooms = ("docs", "roles", "tests")
    pages = [*ROOT.glob("*.md"), *(page for room in rooms for page in (ROOT / room).rglob("*.md"))]
    return sorted(path for path in pages if path.name not in ("glossary.md", "test-full.md"))


def yaml_files() -> list[Path]:
    return sorted(
        path
        for room in ("roles", "playbooks", "extensions")
        for pattern in ("*.yml", "*.json")
        for path in (ROOT / room).rglob(pattern)
    )


def test_messages_use_the_terms_of_the_field() -> None:
    found = {
        f"{name_of(path)}:{line}": private
        for path in python_files("plugins")
        for text, line in strings(tree(path))
        if (private := private_texts(text))
    }
    assert found == {}


def test_roles_and_playbooks_use_the_terms_of_the_field() -> None:
    found = {
        f"{name_of(path)}: {text[:60]}": private
        for path in yaml_files()
        for document in yaml.safe_load_all(path.read_text())
        for text in yaml_texts(document)
        if (private := private_texts(text))
    }
    assert found == {}


@pytest.mark.parametrize("page", documents(), ids=name_of)
def test_pages_use_the_terms_of_the_field(page: Path) -> None:
    assert private_texts(page.read_text()) == []


def test_a_private_text_is_found() -> None:
    assert private_texts("As we told them, mend it.") == ["mend", "told"]
    assert private_texts('The service answers "as told", `told`.') == []


def sentences(markdown: str) -> Iterator[str]:
    """Those of paragraphs and of list items; code is one word, tables and diagrams are left out."""
    text = re.sub(r"```.*?```", "\n\n", markdown, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    blocks: list[str] = [""]
    for line in text.splitlines():
        if not line.strip() or line.startswith(("#", "|")):
            blocks.append("")
        elif re.match(r"\s*([-*]|\d+\.) ", line):
            blocks.append(line)
        else:
            blocks[-1] += f" {line}"
    for block in blocks:
        plain = re.sub(r"`[^`]*`", "code", block)
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", plain)
        yield from re.split(r"(?<=[.!?:])[\"')]*\s+(?=[\"'(A-Z*]|code)", plain)


def long_sentences(markdown: str) -> list[str]:
    return [
        text.strip()
        for text in sentences(markdown)
        if sum(any(map(str.isalnum, word)) for word in text.split()) > LONGEST_SENTENCE
    ]


@pytest.mark.parametrize("page", documents(), ids=name_of)
def test_sentences_are_short(page: Path) -> None:
    assert long_sentences(page.read_text()) == []


def test_a_long_sentence_is_found() -> None:
    assert long_sentences(" ".join(["word"] * 30) + ". Another one.") == []
    assert len(long_sentences("A short one. W" + " word" * 30 + ".")) == 1


# --- What ansible-doc shows


def documentation(path: Path) -> dict[str, Any]:
    """DOCUMENTATION of a module, a lookup or a fragment."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return dict(yaml.safe_load(ast.literal_eval(node.value)))
    return {}


def options(documented: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, option in (documented.get("options") or {}).items():
        text = option["description"]
        yield f"{prefix}{name}", text if isinstance(text, str) else text[0]
        yield from options({"options": option.get("suboptions") or option.get("options") or {}}, f"{prefix}{name}.")


def documented() -> dict[str, dict[str, Any]]:
    found = {name_of(path): documentation(path) for path in python_files("plugins/modules", "plugins/lookup")}
    found |= {name_of(path): documentation(path) for path in python_files("plugins/doc_fragments")}
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for name, spec in yaml.safe_load(path.read_text())["argument_specs"].items():
            found[f"{name_of(path)} {name}"] = spec
    return {name: text for name, text in found.items() if text}


@pytest.mark.parametrize("name", documented())
def test_option_texts_can_be_read_alone(name: str) -> None:
    unreadable = [
        f"{option}: {text[:60]}"
        for option, text in options(documented()[name])
        if text.split()[0] in ("Its", "Their", "What", "As", "It", "They", "That", "This", "The same")
    ]
    assert unreadable == []


def test_short_descriptions_are_imperatives() -> None:
    found = {name: text["short_description"] for name, text in documented().items() if "short_description" in text}
    assert len(found) > 15
    assert {name: text for name, text in found.items() if text.split()[0].lower() not in VOCABULARY["verbs"]} == {}


# --- Facts and their citations

CITATION = re.compile(r"docs/facts/([\w-]+)\.md(?:#([\w-]+))?")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def citations() -> Iterator[tuple[str, str, str]]:
    for path in [*python_files("plugins", "tests"), *yaml_files(), *documents()]:
        for page, anchor in CITATION.findall(path.read_text()):
            yield name_of(path), page, anchor


def test_every_cited_fact_exists() -> None:
    cited = list(citations())
    assert len(cited) > 40
    dead = [
        f"{where}: {page}#{anchor}"
        for where, page, anchor in cited
        if where != "tests/house/test_vocabulary.py"
        and (not (FACTS / f"{page}.md").exists() or (anchor and anchor not in anchors(FACTS / f"{page}.md")))
    ]
    assert dead == []


ELSEWHERE = re.compile(r"\(facts[: ]|\bfacts (?:on|page)\b")


def test_nothing_cites_facts_that_are_elsewhere() -> None:
    files = [path for path in python_files("plugins", "tests") if path != Path(__file__)]
    assert [name_of(path) for path in files if ELSEWHERE.search(path.read_text())] == []


def test_a_fact_that_is_elsewhere_is_found() -> None:
    assert ELSEWHERE.search("Cordoning stops neither (facts: drain).")
    assert not ELSEWHERE.search("See docs/facts/irsa.md#trust-policy-logic, and other facts.")


@pytest.mark.parametrize("page", ["autostop", "image_transfer", "irsa", "sysctl_nodegroup", "testbed"])
def test_every_fact_names_its_source(page: str) -> None:
    """Each list item ends with how it was learned and where: C([executed: ...]), C([read: ...]), C([inferred])."""
    items = re.split(r"\n(?=- |\n|#)", (FACTS / f"{page}.md").read_text())
    facts = [item for item in items if item.lstrip("\n").startswith("- ")]
    assert facts
    assert [item for item in facts if not re.search(r"\[(executed|read|inferred)\b[^\]]*\]\.?\s*$", item)] == []
