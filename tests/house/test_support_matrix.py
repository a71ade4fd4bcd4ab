# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/support-matrix.md lists every module and role, and which of them talk to AWS and to a cluster."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "support-matrix.md"


def read_table() -> dict[str, tuple[bool, bool]]:
    """By the name of a module, a lookup or a role: whether it talks to AWS, and to a cluster's API."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (aws == "yes", cluster == "yes") for name, _kind, aws, cluster in rows}


def read_plugins() -> dict[str, tuple[bool, bool]]:
    group = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["aws"]
    paths = [path for kind in ("modules", "lookup") for path in (ROOT / "plugins" / kind).glob("*.py")]
    # A token is no call to the cluster: the lookup plugin's user makes the calls.
    return {
        path.stem: (
            path.stem in group or path.parent.name == "lookup",
            "_kubernetes.connect(" in path.read_text(),
        )
        for path in paths
    }


def read_roles(plugins: dict[str, tuple[bool, bool]]) -> dict[str, tuple[bool, bool]]:
    found: dict[str, tuple[bool, bool]] = {}
    for role in sorted((ROOT / "roles").iterdir()):
        text = "\n".join(path.read_text() for path in sorted((role / "tasks").glob("*.yml")))
        used = [plugins[name] for name in re.findall(r"daytwo\.aws\.(\w+):", text) if name in plugins]
        aws, cluster = any(entry[0] for entry in used), any(entry[1] for entry in used)
        found[role.name] = (
            aws or "amazon.aws." in text or "community.aws." in text,
            cluster or "kubernetes.core." in text,
        )
    return found


def test_every_module_and_role_is_listed_with_what_it_talks_to() -> None:
    plugins = read_plugins()
    roles = read_roles(plugins)
    assert len(plugins) > 10
    assert any(cluster for _aws, cluster in roles.values())
    listed = read_table()
    # A role and a module have one name in one case.
    expected = {**plugins, **{name: entry for name, entry in roles.items() if name not in plugins}}
    assert listed == expected
