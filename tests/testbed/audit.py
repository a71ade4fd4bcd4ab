# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of users in the API server's audit log, without those of the bed and of Kubernetes' own parts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MUTATING = ("create", "update", "patch", "delete", "deletecollection")
PARTS = ["system:masters", "system:nodes", "system:serviceaccounts", "system:bootstrappers"]
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "userGroups": PARTS},
        {"level": "None", "users": [f"system:{user}" for user in ("apiserver", "anonymous")]},
        {"level": "None", "users": [f"system:kube-{user}" for user in ("scheduler", "controller-manager")]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class Request:
    """A request with its response."""

    user: str
    verb: str  # as in RBAC: get, list, watch, create, ...
    group: str  # of the API; empty for the core
    resource: str  # with its subresource, as in RBAC: pods/eviction; or the path of a request without a resource
    namespace: str
    name: str
    status: int

    @property
    def mutating(self) -> bool:
        return self.verb in MUTATING


def read(log: Path, user: str) -> list[Request]:
    """The requests of a user, in the order of the responses."""
    if not log.exists():  # the log starts with the first request of a user
        return []
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [request_of(event) for event in events if event["user"]["username"] == user]


def request_of(event: dict[str, Any]) -> Request:
    target = event.get("objectRef") or {"resource": event["requestURI"]}
    resource = "/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part)
    return Request(
        *(event["user"]["username"], event["verb"], target.get("apiGroup", ""), resource),
        *(target.get("namespace", ""), target.get("name", ""), event["responseStatus"]["code"]),
    )
