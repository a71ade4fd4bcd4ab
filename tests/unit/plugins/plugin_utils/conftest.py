# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by these tests."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from unittest import mock

import botocore.loaders
import pytest


@pytest.fixture(autouse=True, scope="session")
def _models_are_read_once() -> Iterator[None]:
    """A client's models take longer to parse than most tests take."""
    loader = botocore.loaders.JSONFileLoader
    with mock.patch.object(loader, "load_file", functools.cache(loader.load_file)):
        yield
