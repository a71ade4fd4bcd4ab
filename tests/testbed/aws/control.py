# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control of the bed's AWS, which no AWS offers: tests move its clock or make it show stale responses.

Commands are POST requests below moto's own /moto-api. The gate does not record them as calls.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from . import timeline
from .clock import CLOCK

PREFIX = "/moto-api/testbed/"
Command = Callable[..., Any]
COMMANDS: dict[str, Command] = {}


def command(name: str) -> Callable[[Command], Command]:
    def register(function: Command) -> Command:
        COMMANDS[name] = function
        return function

    return register


@command("clock")
def clock(advance: float = 0, reset: bool = False) -> str:
    if reset:
        CLOCK.reset()
    timeline.advance(advance)
    return CLOCK.now().isoformat()


def controlled(app: Any) -> Any:
    """Add the commands to moto's WSGI application."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        if not path.startswith(PREFIX):
            answer: Iterable[bytes] = app(environ, start_response)
            return answer
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            result, status = COMMANDS[path[len(PREFIX) :]](**json.loads(body or b"{}")), "200 OK"
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            result, status = f"{type(error).__name__}: {error}", "400 Bad Request"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(result).encode()]

    return serve


def send_command(endpoint: str, command: str, /, **arguments: Any) -> Any:
    """Send a command to the AWS behind an endpoint."""
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port, timeout=600
    )  # a command may move the clock by weeks
    try:
        connection.request("POST", PREFIX + command, json.dumps(arguments), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        result = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{command}: {result}")
    return result
