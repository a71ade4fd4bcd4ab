# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test's own AWS: the bed's moto with its rules on a loopback port, behind a gate in the test's process.

It is for tests that move the clock or empty the account, which would break other tests on the bed's shared AWS.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from . import paths
from .aws.control import send_command
from .gate import HOUSEKEEPING, Fault, Gate, Rules
from .identify import Identified
from .proxy import Answer, Forward, Proxy, Request
from .recorder import Call

HOST = "127.0.0.1"
KEYS = {"aws_access_key_id": "AKIATESTBEDOWNAWS000", "aws_secret_access_key": "testbed"}


class OwnGate(Gate):
    def __init__(self, rules: Rules, backend: tuple[str, int]) -> None:
        super().__init__(rules)
        self.backend = backend

    def route(self, request: Request, call: Identified) -> Answer | Forward:
        return Forward(self.backend)


class OwnAws:
    def __init__(self) -> None:
        self.port = free_port()
        self._clients: dict[tuple[str, str], Any] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="testbed-aws-")
        env = {
            **{name: os.environ[name] for name in ("PATH", "LC_ALL") if name in os.environ},
            "PYTHONPATH": str(paths.TESTS),
            "PYTHONDONTWRITEBYTECODE": "1",
            **{name.upper(): value for name, value in KEYS.items()},
            "AWS_EC2_METADATA_DISABLED": "true",
            "TMPDIR": self._directory.name,
        }
        argv = [sys.executable, "-m", "testbed.aws.server", str(self.port)]
        self.process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.backend = f"http://{HOST}:{self.port}"
        self._wait()
        self.rules = Rules()
        self.proxy = Proxy((HOST, 0), OwnGate(self.rules, (HOST, self.port)))
        threading.Thread(target=self.proxy.serve, daemon=True).start()
        self.endpoint = f"http://{HOST}:{self.proxy.listener.getsockname()[1]}"
        self.send_command("lambda/endpoint", url=self.endpoint)

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._post("/moto-api/reset") == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"moto does not come up on port {self.port}")
            time.sleep(0.1)

    def _post(self, path: str) -> int:
        address = urlsplit(self.backend)
        connection = http.client.HTTPConnection(address.hostname or HOST, address.port, timeout=10)
        try:
            connection.request("POST", path, headers={HOUSEKEEPING: "1"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        self.proxy.listener.close()
        self._directory.cleanup()

    def reset(self) -> None:
        """Empty the account, set the clock to the machine's time, remove denials, faults and recorded calls."""
        self._post("/moto-api/reset")
        self.send_command("clock", reset=True)
        self.send_command("rds/settings")
        self.send_command("events/settings")
        self.send_command("eks/settings")
        self.send_command("iam/settings")
        self.send_command("sts/settings")
        self.send_command("ec2/settings")
        self.rules.denied, self.rules.faults, self.rules.calls = [], [], []

    def send_command(self, command: str, /, **arguments: Any) -> Any:
        """Send a command of testbed.aws.control."""
        return send_command(self.backend, command, **arguments)

    def advance(self, *, days: float = 0, seconds: float = 0) -> None:
        self.send_command("clock", advance=days * 86400 + seconds)

    def deny(self, *actions: str) -> None:
        self.rules.denied = list(actions)

    def fail(self, *faults: Fault) -> None:
        self.rules.faults = [(fault, random.Random(fault.seed), [0]) for fault in faults]  # noqa: S311

    def calls(self, **criteria: Any) -> list[Call]:
        with self.rules.lock:
            self.rules.settle()
            calls = sorted((Call(**record) for record in self.rules.calls), key=lambda call: call.began)
        return [call for call in calls if all(getattr(call, name) == value for name, value in criteria.items())]

    def forget(self) -> None:
        """Drop the recorded calls up to now."""
        self.calls()
        self.rules.calls = []

    def client(self, service: str, region: str = paths.REGION) -> Any:
        """Return a boto3 client that bypasses the gate: the setup of a test is not recorded."""
        import boto3

        if (service, region) not in self._clients:
            self._clients[service, region] = boto3.client(
                service, region_name=region, endpoint_url=self.backend, **KEYS
            )
        return self._clients[service, region]

    @property
    def env(self) -> dict[str, str]:
        """The variables that make Ansible and boto3 use this AWS."""
        return {
            **{name.upper(): value for name, value in KEYS.items()},
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_aws() -> Iterator[OwnAws]:
    aws = OwnAws()
    try:
        yield aws
    finally:
        aws.close()
