# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-builder accepts the example definition, and finds the collection's requirements."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_the_example_definition_makes_a_build_context(tmp_path: Path) -> None:
    example = ROOT / "docs/examples/execution-environment.yml"
    run("ansible-builder", "create", "--file", example, "--context", tmp_path, "--output-filename", "Containerfile")
    assert "ansible-core" in (tmp_path / "Containerfile").read_text()
    assert "daytwo.aws" in (tmp_path / "_build/requirements.yml").read_text()


def test_the_collection_lists_its_requirements(tmp_path: Path) -> None:
    run(
        "ansible-builder",
        "introspect",
        os.environ["ANSIBLE_COLLECTIONS_PATH"],
        f"--write-pip={tmp_path / 'pip'}",
        f"--write-bindep={tmp_path / 'bindep'}",
    )
    for written, source in (("pip", "requirements.txt"), ("bindep", "bindep.txt")):
        found = re.findall(r"^(.*?) *# from collection daytwo.aws$", (tmp_path / written).read_text(), re.MULTILINE)
        expected = [line for line in (ROOT / source).read_text().splitlines() if not line.startswith("#")]
        assert found
        assert sorted(found) == sorted(expected)


def test_the_example_names_this_version() -> None:
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    example = yaml.safe_load((ROOT / "docs/examples/execution-environment.yml").read_text())
    assert example["dependencies"]["galaxy"]["collections"] == [{"name": "daytwo.aws", "version": f">={version}"}]
