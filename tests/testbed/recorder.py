# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' interface to the gate: recorded calls, denied actions, injected faults."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .gate import SOCKET, Fault


@dataclass(frozen=True)
class Call:
    """A call to AWS or S3 as the gate recorded it."""

    service: str
    action: str  # as in a policy: s3:PutObject
    operation: str  # as in the API: UploadPart
    mutating: bool
    protocol: str
    region: str
    bucket: str
    key: str
    client: str  # public, private-a, private-b, controller
    method: str
    path: str
    status: int | None  # None: cut off before an answer
    error: str
    denied: bool
    fault: str
    bytes_in: int  # of the request's body
    bytes_out: int  # of the answer's body
    began: float
    seconds: float
    headers: dict[str, str]  # the x-amz-*, if-* and range headers, without those that authenticate


class Recorder:
    def _send(self, command: dict[str, Any]) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(30)
            connection.connect(str(SOCKET))
            connection.sendall(json.dumps(command).encode() + b"\n")
            return json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b"")))

    def calls(self, **criteria: Any) -> list[Call]:
        """Return the finished calls since the last reset in order; `calls(service="s3", mutating=True)` filters."""
        calls = sorted((Call(**record) for record in self._send({"do": "calls"})), key=lambda call: call.began)
        return [call for call in calls if all(getattr(call, name) == value for name, value in criteria.items())]

    def reset(self) -> None:
        """Forget the calls. Denials and faults stay."""
        self._send({"do": "reset"})

    def deny(self, actions: list[str]) -> None:
        """Refuse these actions (as in policies, globs allowed: "s3:Put*") from now on, and no others."""
        self._send({"do": "deny", "actions": actions})

    def faults(self, faults: list[Fault]) -> None:
        """Inject these faults from now on, and no others."""
        self._send({"do": "faults", "faults": [asdict(fault) for fault in faults]})

    @contextlib.contextmanager
    def denying(self, *actions: str) -> Iterator[None]:
        self.deny(list(actions))
        try:
            yield
        finally:
            self.deny([])

    @contextlib.contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        self.faults(list(faults))
        try:
            yield
        finally:
            self.faults([])
