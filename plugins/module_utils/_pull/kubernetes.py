# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods, events, nodes and pull secrets of a cluster, by a ready kubernetes.client.ApiClient. All lists are paged.

Of a pull secret only the registry hosts are kept. Its document is dropped where it is decoded.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .._drain.kube import list_resources
from .model import ClusterNode, PullRequest, PullSecret

# Reasons of a waiting container that are about its image (docs/facts/pull.md#messages-of-pull-events).
PULL_REASONS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)
# By the type of a secret: the key of its document, and whether the hosts are one level deeper.
SECRET_TYPES = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson", True),
    "kubernetes.io/dockercfg": (".dockercfg", False),
}
_MOST_MESSAGES = 20
_LONGEST_DOCUMENT = 1 << 20


@dataclass(frozen=True)
class PodSelection:
    """Which pods are diagnosed. Without namespaces, all. C(all_pods): also those whose images are there."""

    namespaces: tuple[str, ...] = ()
    label_selector: str = ""
    all_pods: bool = False


def list_pods(api: Any, selection: PodSelection) -> list[dict[str, Any]]:
    query = [("labelSelector", selection.label_selector)] if selection.label_selector else []
    return [pod for path in _list_paths(selection.namespaces, "pods") for pod in list_resources(api, path, query)]


def list_events(api: Any, namespaces: Sequence[str]) -> list[dict[str, Any]]:
    """The warnings about pods."""
    query = [("fieldSelector", "involvedObject.kind=Pod,type=Warning")]
    return [event for path in _list_paths(namespaces, "events") for event in list_resources(api, path, query)]


def _list_paths(namespaces: Sequence[str], resource: str) -> list[str]:
    if not namespaces:
        return [f"/api/v1/{resource}"]
    return [f"/api/v1/namespaces/{namespace}/{resource}" for namespace in dict.fromkeys(namespaces)]


def list_nodes(api: Any) -> dict[str, ClusterNode]:
    return {node.name: node for node in map(_parse_node, list_resources(api, "/api/v1/nodes"))}


def _parse_node(item: Mapping[str, Any]) -> ClusterNode:
    status = item.get("status") or {}
    provider_id = str((item.get("spec") or {}).get("providerID") or "")
    last = provider_id.rpartition("/")[2]
    return ClusterNode(
        str(item["metadata"]["name"]),
        last if last.startswith("i-") else "",
        provider_id,
        str((status.get("nodeInfo") or {}).get("architecture") or ""),
        any(
            condition.get("type") == "DiskPressure" and condition.get("status") == "True"
            for condition in status.get("conditions") or ()
        ),
    )


# --- Pulls of pods.


def list_pull_requests(
    pods: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]], all_pods: bool
) -> list[PullRequest]:
    """The images that containers wait for; with C(all_pods), those of every container that has a node."""
    by_pod: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        by_pod.setdefault(str((event.get("involvedObject") or {}).get("uid") or ""), []).append(event)
    return [
        request
        for pod in pods
        for request in _list_pod_requests(pod, by_pod.get(str(pod["metadata"].get("uid") or "-"), []), all_pods)
    ]


def _list_pod_requests(
    pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]], all_pods: bool
) -> Iterator[PullRequest]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if not spec.get("nodeName"):
        return
    states = {
        str(entry.get("name")): entry.get("state") or {}
        for key in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
        for entry in status.get(key) or ()
    }
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(key) or ():
            name = str(container.get("name"))
            waiting = (states.get(name) or {}).get("waiting") or {}
            reason = str(waiting.get("reason") or "")
            if reason in PULL_REASONS:
                texts = [str(waiting.get("message") or ""), *_list_messages(events, name)]
            elif all_pods:
                reason, texts = "", []
            else:
                continue
            yield PullRequest(
                image=str(container.get("image") or ""),
                namespace=str(pod["metadata"].get("namespace") or ""),
                pod=str(pod["metadata"]["name"]),
                container=name,
                node=str(spec["nodeName"]),
                pull_policy=str(container.get("imagePullPolicy") or ""),
                waiting_reason=reason,
                messages=tuple(text for text in (*texts, f"Error: {reason}" if reason else "") if text),
                secrets=tuple(str(entry.get("name")) for entry in spec.get("imagePullSecrets") or ()),
                service_account=str(spec.get("serviceAccountName") or ""),
            )


def _list_messages(events: Sequence[Mapping[str, Any]], container: str) -> list[str]:
    """The messages of a container's events, the newest first."""
    own = [
        event
        for event in events
        if f"{{{container}}}" in str((event.get("involvedObject") or {}).get("fieldPath") or f"{{{container}}}")
    ]
    newest = sorted(own, key=_get_time, reverse=True)[:_MOST_MESSAGES]
    return [str(event.get("message") or event.get("note") or "") for event in newest]


def _get_time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


# --- Secrets.


def list_service_account_secrets(api: Any, namespaces: Sequence[str]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The pull secrets that service accounts name."""
    return {
        (str(item["metadata"].get("namespace") or ""), str(item["metadata"]["name"])): tuple(
            str(entry.get("name")) for entry in item.get("imagePullSecrets") or ()
        )
        for path in _list_paths(namespaces, "serviceaccounts")
        for item in list_resources(api, path)
    }


def list_pull_secrets(api: Any, namespaces: Sequence[str]) -> dict[str, tuple[PullSecret, ...]]:
    """The pull secrets of namespaces, with the hosts that they name and nothing else of their content."""
    found: dict[str, tuple[PullSecret, ...]] = {}
    for namespace in dict.fromkeys(namespaces):
        found[namespace] = tuple(
            PullSecret(str(item["metadata"]["name"]), _read_hosts(item, *layout))
            for secret_type, layout in SECRET_TYPES.items()
            for item in list_resources(
                api, f"/api/v1/namespaces/{namespace}/secrets", [("fieldSelector", f"type={secret_type}")]
            )
        )
    return found


def _read_hosts(item: Mapping[str, Any], key: str, is_nested: bool) -> Optional[tuple[str, ...]]:
    """The hosts in a docker config; None where the document is malformed."""
    try:
        encoded = str((item.get("data") or {})[key])
        if len(encoded) > _LONGEST_DOCUMENT:
            return None
        document = json.loads(base64.b64decode(encoded, validate=True))
        hosts = document["auths"] if is_nested else document
        return tuple(str(host)[:255] for host in hosts) if isinstance(hosts, dict) else None
    except (KeyError, TypeError, ValueError, RecursionError, binascii.Error):
        return None
