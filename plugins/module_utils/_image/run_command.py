# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a program is run on a managed host."""

from __future__ import annotations

from typing import Callable

RunCommand = Callable[[list[str], str, tuple[int, ...]], tuple[int, str, str]]
"""Runs a program to its end, with a text as its input and these open descriptors: exit status, output, errors.

Raises OSError where it cannot be started. The module gives it, since only Ansible's own way to run programs is allowed
on managed hosts.
"""
