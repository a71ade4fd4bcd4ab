# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test runs these tests with a configuration of its own, which has no marker and selects none."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: runs only in make test-full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.inipath is None or config.inipath.name != "pyproject.toml":
        items[:] = [item for item in items if not item.get_closest_marker("full")]
