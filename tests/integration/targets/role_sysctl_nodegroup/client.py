# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of a service, like a load balancer with IP targets. It watches the service's endpoints and sends a request
to a ready endpoint, on a new connection, about every 50 ms. The test bed has no kube-proxy; this client follows the
same EndpointSlices. It runs in the cloud's network until its input ends, then prints its report.

    python client.py NAMESPACE SERVICE PORT
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from testbed import control_plane, paths

PAUSE = 0.05  # seconds between two requests
PATIENCE = 2.0  # seconds for a response


@dataclass
class ClientReport:
    """The number of requests, the number of responses by pod, and each failed request with its reason."""

    requests: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Endpoints:
    """The currently ready addresses, kept up to date by a watch."""

    def __init__(self, api: control_plane.Api, namespace: str, service: str) -> None:
        self.path = (
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            f"?labelSelector=kubernetes.io/service-name%3D{service}&watch=true&resourceVersion=0"
        )
        self.context = api.context
        self.slices: dict[str, list[str]] = {}

    def ready(self) -> list[str]:
        return [address for addresses in list(self.slices.values()) for address in addresses]

    def follow(self) -> None:
        """Follow the watch, and restart it where it ends. From version 0 its first events are the current objects."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPSConnection(paths.CLUSTER, 443, context=self.context)
                connection.request("GET", self.path)
                for line in connection.getresponse():
                    self.take(json.loads(line))

    def take(self, event: dict[str, Any]) -> None:
        entry = event["object"]
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            raise ValueError(f"the watch returns {entry}")  # to the log; the requests continue with the known endpoints
        self.slices[entry["metadata"]["name"]] = [
            endpoint["addresses"][0]
            for endpoint in (entry["endpoints"] or [] if event["type"] != "DELETED" else [])
            if endpoint["conditions"]["ready"]
        ]


def send_request(address: str, port: int) -> str:
    """Send a request, and return the name of the pod that responds."""
    connection = http.client.HTTPConnection(address, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        return text.strip()
    finally:
        connection.close()


def main(namespace: str, service: str, port: str) -> None:
    live = control_plane.live()
    assert live is not None
    endpoints = Endpoints(live.api, namespace, service)
    threading.Thread(target=endpoints.follow, daemon=True).start()
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    end = time.monotonic() + 30
    while not endpoints.ready():
        assert time.monotonic() < end, "the service has no ready endpoint"
        time.sleep(PAUSE)
    print("ready", flush=True)
    report = ClientReport()
    while not over.wait(PAUSE):
        report.requests += 1
        targets = endpoints.ready()
        if not targets:
            report.failures.append(f"{time.time():.3f} no endpoint is ready")
            continue
        address = random.choice(targets)  # noqa: S311 - as kube-proxy's rules choose
        try:
            pod = send_request(address, int(port))
        except (OSError, http.client.HTTPException, ValueError) as error:
            report.failures.append(f"{time.time():.3f} {address}: {type(error).__name__}: {error}")
        else:
            report.answers[pod] = report.answers.get(pod, 0) + 1
    print(json.dumps(asdict(report)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
