# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a program is run to its end on a managed host."""

from __future__ import annotations

from typing import Callable

Run = Callable[[list[str], str], tuple[int, str, str]]
"""Runs a program with a text as its input: exit status, output, errors. Raises OSError where it cannot be started.

The module gives it, since only Ansible's own way to run programs is allowed on managed hosts.
"""
