# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is talked to while it runs. Ansible's run_command knows only whole inputs and outputs."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Optional

from .errors import ImageError

_PATIENCE = 60.0


class Program:
    """A child process with a pipe to it and a pipe from it; its errors go to a file without a name."""

    def __init__(self, command: Sequence[str]) -> None:
        their_input, our_output = os.pipe()
        our_input, their_output = os.pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as this
        self.to = os.fdopen(our_output, "wb")
        self.answers = os.fdopen(our_input, "rb")
        self._status: Optional[int] = None
        try:
            self._id = os.posix_spawnp(
                command[0],
                list(command),
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, their_input, 0),
                    (os.POSIX_SPAWN_DUP2, their_output, 1),
                    (os.POSIX_SPAWN_DUP2, self._errors.fileno(), 2),
                ],
            )
        except OSError as error:
            self._close()
            raise ImageError(f"{command[0]} cannot be run: {error.strerror}. Install it on this host.") from error
        finally:
            os.close(their_input)
            os.close(their_output)

    def finish(self) -> None:
        """Ends its input and waits for its end, with patience."""
        self.to.close()
        self._wait(_PATIENCE)

    def last_words(self) -> str:
        """Ends it, and returns what it wrote to its error stream."""
        self.end()
        size = os.fstat(self._errors.fileno()).st_size
        return os.pread(self._errors.fileno(), 4096, max(0, size - 4096)).decode("utf-8", "replace").strip()

    def end(self) -> None:
        """Kills it where it still runs, and closes the pipes."""
        with suppress(OSError):
            self.to.close()
        # One that was about to say why it goes is given the time.
        self._wait(1.0)
        if not self._ended():
            os.kill(self._id, signal.SIGKILL)
            self._status = os.waitpid(self._id, 0)[1]
        self._close()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._ended() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _ended(self) -> bool:
        if self._status is None:
            ended, status = os.waitpid(self._id, os.WNOHANG)
            self._status = status if ended else None
        return self._status is not None

    def _close(self) -> None:
        for stream in (self.to, self.answers):
            with suppress(OSError):
                stream.close()
