# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by these tests."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from unittest import mock

import pytest
from botocore.loaders import JSONFileLoader


@pytest.fixture(autouse=True, scope="session")
def _models_are_read_once() -> Iterator[None]:
    """A client's models take longer to parse than most tests take. By path alone: each client has its own loader."""
    read = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    with mock.patch.object(JSONFileLoader, "load_file", lambda _self, path: read(path)):
        yield
