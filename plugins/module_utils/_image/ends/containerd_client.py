# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs C(ctr), the client of containerd, and explains why it cannot run."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import suppress

from ..program import PipedProgram
from ..run_command import RunCommand
from .engine import EngineError

SHORT_TIMEOUT = 60
# A node has some hundred images and some thousand snapshots, of which each takes a line.
_MAX_OUTPUT = 64 * 1024 * 1024
_MAX_MESSAGE = 2000


class ContainerdClient:
    """C(ctr) for a namespace of the containerd that listens on a socket."""

    def __init__(self, address: str, namespace: str, run: RunCommand, program: str) -> None:
        self._address = address[len("unix://") :] if address.startswith("unix://") else address
        self._namespace = namespace
        self._run = run
        self._program = program
        self._local_flags: dict[str, list[str]] = {}

    def start(self, command: Sequence[str], timeout: int) -> PipedProgram:
        """Starts a command that reads or writes an archive. It ends after C(timeout) seconds at the latest."""
        return PipedProgram(self._run, self.make_command(command, timeout))

    def get_local_flag(self, command: str) -> list[str]:
        """Gets the flag for the client's own import and export (docs/facts/image_transfer.md#containerd-and-ctr)."""
        if command not in self._local_flags:
            self._local_flags[command] = ["--local"] if "--local" in self.request("images", command, "--help") else []
        return self._local_flags[command]

    def list_lines(self, header: str, *command: str) -> list[str]:
        output = self.request(*command)
        first, *lines = output.split("\n")
        if first.split() != header.split():
            raise EngineError(
                f"ctr {' '.join(command)} printed {first[:100]!r} instead of the columns {header}. Check that "
                f"{self._program} is containerd's client."
            )
        return lines

    def request(self, *command: str) -> str:
        code, output, errors = self.run_to_end(command)
        if code:
            self._check_socket()
            raise EngineError(f"containerd refused ctr {' '.join(command[:2])}: {_shorten(errors or output)}")
        if len(output) > _MAX_OUTPUT:
            raise EngineError(f"ctr {' '.join(command)} printed more than {_MAX_OUTPUT} characters.")
        return output

    def run_to_end(self, command: Sequence[str]) -> tuple[int, str, str]:
        # ctr waits 10 seconds for a socket that does not exist.
        self._check_socket()
        try:
            return self._run(self.make_command(command), "", ())
        except OSError as error:
            raise EngineError(
                f"containerd: its client {self._program} cannot be started: {error}. Install ctr, which is part of "
                "containerd, or add its directory to PATH by the task's environment."
            ) from error

    def make_command(self, command: Sequence[str], timeout: int = SHORT_TIMEOUT) -> list[str]:
        options = ["--address", self._address, "--namespace", self._namespace, "--timeout", f"{timeout}s"]
        return [self._program, *options, *command]

    def _check_socket(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(SHORT_TIMEOUT)
                connection.connect(self._address)
        except FileNotFoundError as error:
            raise EngineError(
                f"containerd is missing: {self._address} does not exist. Start containerd on this host, or set "
                "containerd_address."
            ) from error
        except PermissionError as error:
            raise EngineError(
                f"containerd denies access: user id {os.geteuid()} has no permission for {self._address}. Use become."
            ) from error
        except OSError as error:
            raise EngineError(
                f"containerd does not run: {self._address} does not respond ({error}). Start containerd on this host."
            ) from error


def end_program(program: PipedProgram) -> str:
    """Ends a program that may still write, and returns its messages."""
    with suppress(OSError):
        program.stdout.close()
    return _shorten(program.end())


def _shorten(messages: str) -> str:
    """Shortens messages of ctr: the lines with its own name have the reason. Its log of other levels has none."""
    lines = messages.strip().split("\n")
    reasons = [line for line in lines if line.startswith("ctr: ")] or lines
    return "\n".join(reasons)[-_MAX_MESSAGE:]
