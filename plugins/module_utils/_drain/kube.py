# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of the Kubernetes API for a drain, by a ready kubernetes.client.ApiClient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, Optional
from urllib.parse import urlencode

from .._eks_token import ClusterError
from .model import NODE_GROUP_LABEL, DrainRules, Pod, PodDisruptionBudget

# OSError: a file of credentials or certificates that cannot be read, a broken connection.
_HTTP_ERRORS: tuple[type[Exception], ...] = (OSError, HTTPException)
try:
    from urllib3 import Timeout
    from urllib3.exceptions import HTTPError

    _HTTP_ERRORS += (HTTPError,)
    TIMEOUT: Any = Timeout(connect=10, read=60)  # seconds
except ImportError:  # the kubernetes package requires urllib3; without it there is no client
    TIMEOUT = None

PAGE_SIZE = 500


class KubeError(Exception):
    """A call that failed, with the HTTP status of the response. C(status) 0: there was no response.

    C(cause_types): the types of the causes that the API server names, such as C(DisruptionBudget).
    """

    def __init__(
        self, operation: str, status: int, message: str, retry_after: float = 0.0, cause_types: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{operation}: {f'HTTP {status}: ' if status else ''}{message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.cause_types = tuple(cause_types)

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.status in (0, 408, 429, 500, 502, 503, 504)


def call_kube_api(
    api: Any,
    method: str,
    path: str,
    body: Optional[Mapping[str, Any]] = None,
    query: Sequence[tuple[str, str]] = (),
    content_type: str = "application/json",
) -> dict[str, Any]:
    """Call the API with the client's own connections and credentials.

    The client's own call functions differ between its versions, so they are not used.
    """
    configuration = api.configuration
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = content_type
    operation = f"{method} {path}"
    try:
        for setting in configuration.auth_settings().values():  # renews a token that is about to expire
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
    except ClusterError as error:
        raise KubeError(operation, 0, str(error)) from error
    url = configuration.host.rstrip("/") + path + (f"?{urlencode(list(query))}" if query else "")
    try:
        response = api.rest_client.pool_manager.request(
            method,
            url,
            body=None if body is None else json.dumps(body),
            headers=headers,
            timeout=TIMEOUT,
            retries=False,
        )
    except _HTTP_ERRORS as error:
        raise KubeError(operation, 0, str(error)) from error
    try:
        result: Any = json.loads(response.data or b"")
    except ValueError:
        result = None
    if response.status >= 300:
        raise _build_error(operation, response, result)
    if not isinstance(result, dict):
        raise KubeError(
            operation,
            0,
            f"{configuration.host} answered with status {response.status} and something that is not from the "
            f"Kubernetes API: {_quote_text(response.data)}. Check the endpoint, and proxies on the way",
        )
    return result


def _build_error(operation: str, response: Any, result: Any) -> KubeError:
    if not isinstance(result, dict):
        return KubeError(operation, response.status, _quote_text(response.data) or str(response.reason))
    details = result.get("details") or {}
    causes = details.get("causes") or []
    texts = "; ".join(str(cause.get("message")) for cause in causes)
    message = " ".join(part for part in (str(result.get("message") or response.reason), texts) if part)
    try:
        retry_after = float(response.headers.get("Retry-After") or details.get("retryAfterSeconds") or 0)
    except ValueError:  # a proxy may send a date
        retry_after = 0.0
    return KubeError(operation, response.status, message, retry_after, [str(cause.get("reason")) for cause in causes])


def _quote_text(data: Any) -> str:
    return " ".join((data or b"").decode("utf-8", "replace").split())[:200]


def list_resources(api: Any, path: str, query: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    """All objects of a list call, page by page."""
    items: list[dict[str, Any]] = []
    continue_token = ""
    while True:
        page = [("limit", str(PAGE_SIZE)), *([("continue", continue_token)] if continue_token else [])]
        response = call_kube_api(api, "GET", path, query=[*query, *page])
        if "items" not in response:
            raise KubeError(f"GET {path}", 0, f"the response is no list: its kind is {response.get('kind')}")
        items += response["items"] or []
        continue_token = str((response.get("metadata") or {}).get("continue") or "")
        if not continue_token:
            return items


def list_node_pods(api: Any, node: str) -> list[dict[str, Any]]:
    """All pods on a node, by the node's name."""
    return list_resources(api, "/api/v1/pods", [("fieldSelector", f"spec.nodeName={node}")])


class KubeClient:
    """The Kubernetes calls of a drain: pods, PodDisruptionBudgets, cordon and evict."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def list_pods(self, node: str) -> list[Pod]:
        return [Pod.parse(item) for item in list_node_pods(self.api, node)]

    def list_budgets(self) -> list[PodDisruptionBudget]:
        return [
            PodDisruptionBudget.parse(item) for item in list_resources(self.api, "/apis/policy/v1/poddisruptionbudgets")
        ]

    def cordon(self, node: str, unschedulable: bool) -> None:
        body = {"spec": {"unschedulable": unschedulable or None}}
        call_kube_api(self.api, "PATCH", f"/api/v1/nodes/{node}", body, content_type="application/merge-patch+json")

    def get_replicas(self, namespace: str, kind: str, name: str) -> Optional[tuple[int, int]]:
        """The Ready and the desired number of replicas; None for another kind, or where the controller is gone."""
        kinds = {"ReplicaSet": "apis/apps/v1", "StatefulSet": "apis/apps/v1", "ReplicationController": "api/v1"}
        if kind not in kinds:
            return None
        try:
            controller = call_kube_api(self.api, "GET", f"/{kinds[kind]}/namespaces/{namespace}/{kind.lower()}s/{name}")
        except KubeError as error:
            if error.status == 404:
                return None
            raise
        ready = int((controller.get("status") or {}).get("readyReplicas") or 0)
        return ready, int((controller.get("spec") or {}).get("replicas") or 0)

    def evict(self, pod: Pod, rules: DrainRules) -> None:
        """Evict exactly this pod. The uid keeps a new pod of the same name from being evicted."""
        options: dict[str, Any] = {"preconditions": {"uid": pod.uid}}
        if rules.grace_period is not None:
            options["gracePeriodSeconds"] = rules.grace_period
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": options,
        }
        call_kube_api(self.api, "POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body)


def list_node_group_pods(api: Any, groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Pods on the nodes of these node groups, without pods that a drain leaves. C(groups): the ids of their instances.

    Not in the result: pods of DaemonSets, mirrors of static pods and finished pods.
    With a custom AMI, nodes need not have the node group's label. So nodes are also found by their instances. An
    instance without a node is an error: otherwise its pods would be missing in the result.
    """
    kube = KubeClient(api)
    all_nodes = list_resources(api, "/api/v1/nodes")
    found = []
    for group, instance_ids in groups.items():
        group_nodes = [
            node for node in all_nodes if (node["metadata"].get("labels") or {}).get(NODE_GROUP_LABEL) == group
        ]
        for instance_id in instance_ids:
            matching = [node for node in all_nodes if matches_instance(node, instance_id)]
            if not matching:
                raise KubeError(
                    "GET /api/v1/nodes",
                    0,
                    f"no node has the instance {instance_id} of node group {group}. "
                    "Wait until the instance has joined the cluster, or terminate it",
                )
            group_nodes += [node for node in matching if node not in group_nodes]
        for node in group_nodes:
            found += [
                pod.key
                for pod in kube.list_pods(str(node["metadata"]["name"]))
                if not pod.is_mirror and pod.controller_kind != "DaemonSet" and not pod.is_finished
            ]
    return sorted(set(found))


def matches_instance(node: Mapping[str, Any], instance_id: str) -> bool:
    """By the provider id, or by the name for a node without one."""
    provider = str((node.get("spec") or {}).get("providerID") or "")
    if provider:
        return provider.rpartition("/")[2] == instance_id
    return bool(node["metadata"]["name"] == instance_id)
