# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback that runs a program on a managed host."""

from __future__ import annotations

from typing import Any, Callable

RunCommand = Callable[[list[str], str, tuple[int, ...]], tuple[int, str, str]]
"""Runs a program to its end, with a text as its input and these open descriptors. Returns exit status, stdout, stderr.

Raises OSError where the program cannot be started. The module passes it in, because modules may run programs on managed
hosts only with Ansible's run_command.
"""


def make_run_command(module: Any) -> RunCommand:
    """Makes the callback from a module of Ansible."""

    def run_program(command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        code, output, errors = module.run_command(
            command, data=text, binary_data=True, pass_fds=descriptors, handle_exceptions=False
        )
        return code, output, errors

    return run_program
