# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house rules that no other tool checks. They read the repository as it is."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCES = {".py", ".sh", ".yml", ".yaml", ".toml", ".cfg", ".rst", ".j2", ".txt", ".in", ".service"}
LICENCE = ("SPDX-FileCopyrightText: 2026 The daytwo.aws authors", "SPDX-License-Identifier: GPL-3.0-or-later")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def files() -> list[Path]:
    """Return the files that git knows or would add and that are not empty."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split("\0")
    paths = [ROOT / name for name in listed if name]
    return [path for path in paths if path.is_file() and path.stat().st_size]


def is_source(path: Path) -> bool:
    return path.suffix in SOURCES or path.name == "Makefile" or path.read_bytes().startswith(b"#!")


def module_names() -> set[str]:
    return {path.stem for path in (ROOT / "plugins/modules").glob("*.py") if path.stem != "__init__"}


def role_names() -> list[str]:
    return sorted(path.name for path in (ROOT / "roles").glob("*") if path.is_dir())


def has_no_licence(text: str) -> bool:
    head = "\n".join(text.splitlines()[:6])
    return not all(line in head for line in LICENCE)


def test_every_source_file_names_its_licence() -> None:
    sources = [path for path in files() if is_source(path)]
    assert len(sources) > 30
    assert [str(path.relative_to(ROOT)) for path in sources if has_no_licence(path.read_text())] == []


def test_a_file_without_licence_is_found() -> None:
    assert has_no_licence("# a comment\nprint()\n")
    assert not has_no_licence("#!/bin/sh\n" + "".join(f"# {line}\n" for line in LICENCE))


def test_nothing_is_switched_off() -> None:
    assert list((ROOT / "tests/sanity").glob("ignore*")) == []
    switch = re.compile("pylint" + r":\s*(disable|skip-file)")
    assert [
        str(path.relative_to(ROOT)) for path in files() if path.suffix == ".py" and switch.search(path.read_text())
    ] == []


def test_the_action_group_lists_every_module_that_takes_aws_options() -> None:
    listed = {name for name in load(ROOT / "meta/runtime.yml")["action_groups"]["aws"] if isinstance(name, str)}
    fragments = ("amazon.aws.common.modules", "daytwo.aws.controller_aws")
    texts = {name: (ROOT / "plugins/modules" / f"{name}.py").read_text() for name in module_names()}
    takes = {name for name, text in texts.items() if any(f"  - {fragment}\n" in text for fragment in fragments)}
    assert takes
    assert listed == takes


def test_the_action_group_extends_that_of_amazon_aws() -> None:
    assert load(ROOT / "meta/runtime.yml")["action_groups"]["aws"][0] == {
        "metadata": {"extend_group": ["amazon.aws.aws", "community.aws.aws"]}
    }


@pytest.mark.parametrize("role", role_names())
def test_role_variables_bear_the_roles_name(role: str) -> None:
    directory = ROOT / "roles" / role
    names = set()
    for specs in load(directory / "meta/argument_specs.yml")["argument_specs"].values():
        names |= set(specs.get("options", {}))
    for path in (*directory.glob("defaults/*.yml"), *directory.glob("vars/*.yml")):
        names |= set(load(path) or {})
    assert names
    assert [name for name in sorted(names) if not name.startswith((f"{role}_", f"__{role}_"))] == []


@pytest.mark.parametrize("lock", sorted((ROOT / "tests/requirements").glob("*.txt")), ids=lambda path: path.name)
def test_lock_files_pin_every_package_and_name_no_index(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 10
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!+-]+", line)] == []


def test_the_requirements_name_what_galaxy_yml_depends_on() -> None:
    dependencies = load(ROOT / "galaxy.yml")["dependencies"]
    listed = load(ROOT / "requirements.yml")["collections"]
    assert {entry["name"]: entry["version"] for entry in listed} == dependencies


IMPORT_ALL = """
import importlib, pkgutil, sys, testbed
for module in pkgutil.walk_packages(testbed.__path__, "testbed."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(sorted(name for name in sys.modules if name.startswith("ansible")))
"""


def test_the_test_bed_imports_without_the_collection_and_without_ansible() -> None:
    imported = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "tests")},
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert imported.stdout.strip() == "[]"


# One for calls, one for making the clients.
CATCH_BOTOCORE_ERRORS = {"plugins/module_utils/_aws_call.py", "plugins/module_utils/_aws_session.py"}


def test_no_other_file_imports_the_errors_of_botocore() -> None:
    importing = re.compile(r"^\s*(from botocore\.(exceptions|parsers)|import botocore\.exceptions)", re.MULTILINE)
    found = {
        str(path.relative_to(ROOT)) for path in (ROOT / "plugins").rglob("*.py") if importing.search(path.read_text())
    }
    assert found == CATCH_BOTOCORE_ERRORS


def count_code_lines(source: str) -> int:
    """Lines with code: blank lines, comments, docstrings and an Ansible plugin's documentation do not count."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    named = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            documentation |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in named:
            documentation |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - documentation)


def test_no_file_of_plugins_is_too_long_to_read() -> None:
    sizes = {str(path.relative_to(ROOT)): count_code_lines(path.read_text()) for path in ROOT.glob("plugins/**/*.py")}
    assert len(sizes) > 100
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_only_code_counts() -> None:
    source = '"""Says what."""\n\n# why\nDOCUMENTATION = """\nmodule: x\n"""\nvalue = [\n    1,\n]\ntext = """a\nb"""\n'
    assert count_code_lines(source) == 5
