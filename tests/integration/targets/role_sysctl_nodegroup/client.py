# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of a service, as a load balancer with addresses as its targets is one: it watches the service's endpoints
and sends a request, on a connection of its own, to one that is ready, about every 50 ms. There is no kube-proxy in the
bed; this follows the same EndpointSlices. Runs in the cloud's network until its input ends, then tells what it saw.

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
PATIENCE = 2.0  # seconds for an answer


@dataclass
class ClientReport:
    """Requests sent; by the pod that answered, how many; and each that got no answer, with its reason."""

    requests: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Endpoints:
    """The addresses that are ready now, kept up to date by a watch."""

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
        """Begins anew where a watch ends: from version 0, its first events tell what there is."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPSConnection(paths.CLUSTER, 443, context=self.context)
                connection.request("GET", self.path)
                for line in connection.getresponse():
                    self.take(json.loads(line))

    def take(self, event: dict[str, Any]) -> None:
        entry = event["object"]
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            raise ValueError(f"the watch answers {entry}")  # to the log; the requests go on by what was known
        self.slices[entry["metadata"]["name"]] = [
            endpoint["addresses"][0]
            for endpoint in (entry["endpoints"] or [] if event["type"] != "DELETED" else [])
            if endpoint["conditions"]["ready"]
        ]


def send_request(address: str, port: int) -> str:
    """The name of the pod that answered."""
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
