# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program with pipes to its input and output, by means of Ansible's run_command, which waits for its end."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Optional

from .errors import ImageError
from .run_command import RunCommand

_EXIT_TIMEOUT_SECONDS = 60.0


class PipedProgram:
    """A running program: C(stdin) writes to it, C(stdout) reads from it."""

    def __init__(self, run: RunCommand, command: list[str]) -> None:
        child_stdin, stdin = os.pipe()
        stdout, child_stdout = os.pipe()
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, "rb")
        # The exit status, once the program has ended.
        self.status: Optional[int] = None
        self._stderr = ""

        def run_program() -> None:
            # Not "<&12": POSIX shells need not support descriptors above 9.
            script = f'exec "$@" </proc/self/fd/{child_stdin} >/proc/self/fd/{child_stdout}'
            try:
                command_line = ["/bin/sh", "-c", script, "sh", *command]
                self.status, _stdout, self._stderr = run(command_line, "", (child_stdin, child_stdout))
            except (OSError, ImageError) as error:
                self._stderr = str(error)
            finally:
                os.close(child_stdin)
                os.close(child_stdout)

        # A daemon thread: a program whose connection hangs must not keep this process alive.
        self._thread = threading.Thread(target=run_program, daemon=True)
        self._thread.start()

    def end(self, timeout: Optional[float] = None) -> str:
        """Closes the program's input, waits C(timeout) seconds for its exit, and returns its stderr."""
        with suppress(OSError):
            self.stdin.close()
        self._thread.join(_EXIT_TIMEOUT_SECONDS if timeout is None else timeout)
        with suppress(OSError):
            self.stdout.close()
        return self._stderr.strip()
