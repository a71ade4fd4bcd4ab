# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of one logical call, in front of a test's own AWS. All attempts of a logical call have one invocation id."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections import Counter
from dataclasses import dataclass

from testbed.gate import Rules, error
from testbed.identify import Identified
from testbed.own_aws import OwnGate
from testbed.proxy import Answer, Forward, Request, Reset

PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Welcome<br></body></html>"
FAILURES = (
    "reset before",  # no attempt reaches the service
    "reset after",  # each attempt is done, and its response is lost
    "reset after once",  # so is the first attempt; the retry is answered
    "time-out",  # each attempt is done, and its response comes too late
    "throttle",
    "500",
    "HTML page",
    "empty body",
    "wrong content",
)


@dataclass(frozen=True)
class ApiCall:
    """The C(number)th call of an operation in a run, from 0."""

    service: str
    operation: str
    number: int
    mutating: bool = False

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}#{self.number}"


class FaultGate(OwnGate):
    """Records the logical calls, and lets one of them fail."""

    def __init__(self, backend: tuple[str, int]) -> None:
        super().__init__(Rules(), backend)
        self.start(None, "")

    def start(self, call: ApiCall | None, failure: str) -> None:
        self.target, self.failure = call, failure
        self.calls_by_id: dict[str, ApiCall] = {}
        self.order: list[ApiCall] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.attempts: Counter[str] = Counter()

    def decide(self, request: Request) -> Answer | Forward | Reset:
        call = self.identify(request)
        invocation = request.head.get("amz-sdk-invocation-id") or str(id(request))
        with self.rules.lock:
            if invocation not in self.calls_by_id:
                key = (call.service, call.operation)
                self.calls_by_id[invocation] = ApiCall(*key, self.counts[key], call.mutating)
                self.order.append(self.calls_by_id[invocation])
                self.counts[key] += 1
            self.attempts[invocation] += 1
            made, attempt = self.calls_by_id[invocation], self.attempts[invocation]
        if made == self.target:
            return self.fail(request, call, attempt)
        return Forward(self.backend)

    def fail(self, request: Request, call: Identified, attempt: int) -> Answer | Forward | Reset:
        failure = self.failure
        if failure == "reset before":
            return Reset()
        if failure == "reset after once" and attempt > 1:
            return Forward(self.backend)
        if failure.startswith("reset after") or failure == "time-out":
            self.forward(request)
            if failure == "time-out":
                time.sleep(3.5)
            return Reset()
        if failure == "throttle":
            return error(call, 400, "ThrottlingException" if "json" in call.protocol else "Throttling", "Rate exceeded")
        if failure == "500":
            return error(call, 500, "InternalFailure", "An internal failure")
        if failure == "HTML page":
            return Answer(200, PAGE, (("Content-Type", "text/html"),))
        if failure == "empty body":
            return Answer(200, b"", (("Content-Type", "text/xml"),))
        wrong = b'{"unexpected": 1}' if "json" in call.protocol else b"<wrong><answer/></wrong>"
        return Answer(200, wrong, (("Content-Type", "text/xml"),))

    def forward(self, request: Request) -> None:
        """The service does it, and nobody reads the response."""
        connection = http.client.HTTPConnection(*self.backend, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.head.without("connection", "expect", "transfer-encoding"):
                connection.putheader(name, value)
            connection.endheaders(request.body)
            connection.getresponse().read()

    def done(self, request: Request) -> None:
        """Nothing is recorded per attempt."""
