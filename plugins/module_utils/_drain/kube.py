# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to the cluster for a drain. Takes a ready kubernetes.client.ApiClient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional
from urllib.parse import urlencode

from .model import NODE_GROUP_LABEL, DrainRules, Node, Pod, PodDisruptionBudget

try:
    from urllib3 import Timeout
    from urllib3.exceptions import HTTPError

    _HTTP_ERRORS: tuple[type[Exception], ...] = (HTTPError,)
    TIMEOUT: Any = Timeout(connect=10, read=60)  # seconds
except ImportError:  # without the kubernetes package, which needs it, there is no client either
    _HTTP_ERRORS = ()
    TIMEOUT = None

PAGE_SIZE = 500


class KubeError(Exception):
    """What the API server answered instead. C(status) 0: nothing was answered."""

    def __init__(self, operation: str, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{operation}: {f'HTTP {status}: ' if status else ''}{message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after


def call_kube_api(
    api: Any,
    method: str,
    path: str,
    body: Optional[Mapping[str, Any]] = None,
    query: Sequence[tuple[str, str]] = (),
    content_type: str = "application/json",
) -> dict[str, Any]:
    """By the client's own connections and credentials. Its calling functions differ between versions; these do not."""
    configuration = api.configuration
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = content_type
    for setting in configuration.auth_settings().values():  # renews a token that nears its end
        if setting["in"] == "header" and setting["value"]:
            headers[setting["key"]] = setting["value"]
    url = configuration.host.rstrip("/") + path + (f"?{urlencode(list(query))}" if query else "")
    what = f"{method} {path}"
    try:
        answer = api.rest_client.pool_manager.request(
            method,
            url,
            body=None if body is None else json.dumps(body),
            headers=headers,
            timeout=TIMEOUT,
            retries=False,
        )
    except _HTTP_ERRORS as error:
        raise KubeError(what, 0, str(error)) from error
    try:
        told = json.loads(answer.data or b"{}")
    except ValueError:
        told = {"message": answer.data.decode("utf-8", "replace")[:200]}
    if answer.status >= 400:
        causes = "; ".join(str(one.get("message")) for one in (told.get("details") or {}).get("causes") or [])
        message = " ".join(one for one in (str(told.get("message") or answer.reason), causes) if one)
        hint = answer.headers.get("Retry-After") or (told.get("details") or {}).get("retryAfterSeconds") or 0
        raise KubeError(what, answer.status, message, float(hint))
    found: dict[str, Any] = told
    return found


def list_resources(api: Any, path: str, query: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    more = ""
    while True:
        page = [("limit", str(PAGE_SIZE)), *([("continue", more)] if more else [])]
        answer = call_kube_api(api, "GET", path, query=[*query, *page])
        items += answer.get("items") or []
        more = str((answer.get("metadata") or {}).get("continue") or "")
        if not more:
            return items


class KubeClient:
    """The calls that a drain makes."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def list_nodes(self, selector: str = "") -> list[Node]:
        query = [("labelSelector", selector)] if selector else []
        return [Node.parse(one) for one in list_resources(self.api, "/api/v1/nodes", query)]

    def list_pods(self, node: str) -> list[Pod]:
        query = [("fieldSelector", f"spec.nodeName={node}")]
        return [Pod.parse(one) for one in list_resources(self.api, "/api/v1/pods", query)]

    def list_budgets(self) -> list[PodDisruptionBudget]:
        return [
            PodDisruptionBudget.parse(one) for one in list_resources(self.api, "/apis/policy/v1/poddisruptionbudgets")
        ]

    def cordon(self, node: str, unschedulable: bool) -> None:
        body = {"spec": {"unschedulable": unschedulable or None}}
        call_kube_api(self.api, "PATCH", f"/api/v1/nodes/{node}", body, content_type="application/merge-patch+json")

    def get_replicas(self, namespace: str, kind: str, name: str) -> Optional[tuple[int, int]]:
        """How many are Ready and how many there are to be; None where that is not known, or it is gone."""
        kinds = {"ReplicaSet": "apis/apps/v1", "StatefulSet": "apis/apps/v1", "ReplicationController": "api/v1"}
        if kind not in kinds:
            return None
        try:
            told = call_kube_api(self.api, "GET", f"/{kinds[kind]}/namespaces/{namespace}/{kind.lower()}s/{name}")
        except KubeError as error:
            if error.status == 404:
                return None
            raise
        ready = int((told.get("status") or {}).get("readyReplicas") or 0)
        return ready, int((told.get("spec") or {}).get("replicas") or 0)

    def evict(self, pod: Pod, rules: DrainRules) -> None:
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
        call_kube_api(self.api, "POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body)


def list_node_group_pods(api: Any, groups: Mapping[str, Sequence[Mapping[str, str]]]) -> list[str]:
    """Pods on the nodes of these groups that are more than daemon sets and mirrors. C(groups): their instances.

    Nodes with an AMI of one's own need not bear the group's label, so they are found by their instances as well; an
    instance that is found by neither name nor id is an error, lest its pods be taken for none.
    """
    kube = KubeClient(api)
    there = list_resources(api, "/api/v1/nodes")
    found = []
    for group, instances in groups.items():
        mine = [one for one in there if (one["metadata"].get("labels") or {}).get(NODE_GROUP_LABEL) == group]
        for instance in instances:
            fitting = [one for one in there if matches_instance(one, instance)]
            if not fitting:
                raise KubeError(
                    "nodes", 0, f"instance {instance['instance_id']} of {group} is no node that can be found"
                )
            mine += [one for one in fitting if one not in mine]
        for node in mine:
            found += [
                pod.key
                for pod in kube.list_pods(str(node["metadata"]["name"]))
                if not pod.is_mirror and pod.controller_kind != "DaemonSet" and not pod.is_finished
            ]
    return sorted(set(found))


def matches_instance(node: Mapping[str, Any], instance: Mapping[str, str]) -> bool:
    provider = str((node.get("spec") or {}).get("providerID") or "")
    if provider:
        return provider.rpartition("/")[2] == instance["instance_id"]
    return node["metadata"]["name"] in (instance["name"], instance["instance_id"])
