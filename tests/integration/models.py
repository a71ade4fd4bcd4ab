# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The models of AWS's services, parsed once in a process."""

from __future__ import annotations

import functools

from botocore.loaders import JSONFileLoader


def read_models_once() -> None:
    """Keep each model that botocore has read. By path alone: each session makes a loader of its own."""
    read = functools.cache(functools.partial(JSONFileLoader.load_file, JSONFileLoader()))
    JSONFileLoader.load_file = lambda _self, path: read(path)  # type: ignore[method-assign]
