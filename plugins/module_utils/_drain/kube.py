# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to the cluster for a drain. Takes a ready kubernetes.client.ApiClient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .model import Budget, Node, Pod, Rules

try:
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    _ERRORS: tuple[type[Exception], ...] = (ApiException, HTTPError)
except ImportError:  # without the package there is no client that could raise anything
    _ERRORS = ()

GROUP_LABEL = "eks.amazonaws.com/nodegroup"
PAGE = 500
TIMEOUT = (10, 60)  # to connect, to read, in seconds


class KubeError(Exception):
    """What the API server answered instead. C(status) 0: nothing was answered."""

    def __init__(self, what: str, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{what}: {f'HTTP {status}: ' if status else ''}{message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after


def call(
    api: Any,
    method: str,
    path: str,
    body: Optional[Mapping[str, Any]] = None,
    query: Sequence[tuple[str, str]] = (),
    content_type: str = "application/json",
) -> dict[str, Any]:
    headers = {"Accept": "application/json", **({"Content-Type": content_type} if body is not None else {})}
    what = f"{method} {path}"
    try:
        answer = api.call_api(
            path,
            method,
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=TIMEOUT,
        )
    except _ERRORS as error:
        status = int(getattr(error, "status", 0) or 0)
        told: Any = {}
        try:
            told = json.loads(getattr(error, "body", None) or "{}")
        except ValueError:
            told = {}
        told = told if isinstance(told, dict) else {}
        causes = "; ".join(str(one.get("message")) for one in (told.get("details") or {}).get("causes") or [])
        message = " ".join(one for one in (str(told.get("message") or error), causes) if one)
        heads = getattr(error, "headers", None) or {}
        hint = heads.get("Retry-After") or (told.get("details") or {}).get("retryAfterSeconds") or 0
        raise KubeError(what, status, message, float(hint)) from error
    found: dict[str, Any] = json.loads(answer.data or b"{}")
    return found


def _list(api: Any, path: str, query: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    more = ""
    while True:
        page = [("limit", str(PAGE)), *([("continue", more)] if more else [])]
        answer = call(api, "GET", path, query=[*query, *page])
        items += answer.get("items") or []
        more = str((answer.get("metadata") or {}).get("continue") or "")
        if not more:
            return items


class Kube:
    """The calls that a drain makes."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def nodes(self, selector: str = "") -> list[Node]:
        query = [("labelSelector", selector)] if selector else []
        return [Node.parse(one) for one in _list(self.api, "/api/v1/nodes", query)]

    def pods(self, node: str) -> list[Pod]:
        query = [("fieldSelector", f"spec.nodeName={node}")]
        return [Pod.parse(one) for one in _list(self.api, "/api/v1/pods", query)]

    def budgets(self) -> list[Budget]:
        return [Budget.parse(one) for one in _list(self.api, "/apis/policy/v1/poddisruptionbudgets")]

    def cordon(self, node: str, unschedulable: bool) -> None:
        body = {"spec": {"unschedulable": unschedulable or None}}
        call(self.api, "PATCH", f"/api/v1/nodes/{node}", body, content_type="application/merge-patch+json")

    def evict(self, pod: Pod, rules: Rules) -> None:
        """Of this very pod: one that has taken its name since is left alone."""
        options: dict[str, Any] = {"preconditions": {"uid": pod.uid}}
        if rules.grace_period is not None:
            options["gracePeriodSeconds"] = rules.grace_period
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": options,
        }
        call(self.api, "POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body)


def pods_on_groups(api: Any, groups: Sequence[str]) -> list[str]:
    """Pods on the nodes of these node groups that are more than daemon sets and mirrors."""
    kube = Kube(api)
    found = []
    for node in kube.nodes(f"{GROUP_LABEL} in ({','.join(groups)})"):
        found += [
            pod.key
            for pod in kube.pods(node.name)
            if not pod.mirror and pod.controller != "DaemonSet" and not pod.finished
        ]
    return sorted(found)
