# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof pod: it sets sysctls on a node and prints its own /proc/sys. How it is built, and how it is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from .sysctls import normalize_name

PROOF_POD_LABEL = "daytwo.aws/sysctl-proof"
# cat fails on purpose at the end, because only a failed container has its last output as termination message. So the
# proof needs neither a shell in the image nor the permission to read logs.
END_MARKER = "/daytwo-no-such-file"
# What a pod without sysctls reads, to check that its image has cat.
IMAGE_CHECK_SYSCTL = "kernel.ostype"
SKIPPED_IMAGES = re.compile(r"(^|/)(pause|eks/pause)(:|@|$)|/kube-proxy|/aws-network-policy|/amazon-k8s-cni")
START_FAILURE_REASONS = ("StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError")


def to_proc_path(sysctl: str) -> str:
    """The path in /proc/sys, which swaps the dots and slashes of a sysctl's name."""
    return "/proc/sys/" + normalize_name(sysctl).translate(str.maketrans("./", "/."))


def normalize_value(value: str) -> str:
    """The kernel separates values by tabs, so white space is ignored."""
    return " ".join(str(value).split())


def list_read_names(sysctls: Mapping[str, str]) -> list[str]:
    """The sysctls whose values the pod prints."""
    return list(sysctls) or [IMAGE_CHECK_SYSCTL]


def build_pod_name(node: str) -> str:
    return f"daytwo-sysctl-proof-{hashlib.sha256(node.encode()).hexdigest()[:10]}"


def build_pod(
    node: str, namespace: str, sysctls: Mapping[str, str], image: str, allow_pull: bool, deadline_seconds: int
) -> dict[str, Any]:
    """A small pod within Pod Security "restricted", apart from its sysctls."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": build_pod_name(node), "namespace": namespace, "labels": {PROOF_POD_LABEL: "true"}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": deadline_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {
                "sysctls": [{"name": normalize_name(name), "value": str(value)} for name, value in sysctls.items()],
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "runAsGroup": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "proof",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent" if allow_pull else "Never",
                    "command": ["cat", *[to_proc_path(name) for name in list_read_names(sysctls)], END_MARKER],
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def list_images(node: Mapping[str, Any]) -> list[str]:
    """Images that the node holds, the smallest first. Small images are likely to hold a small system with cat."""
    return [names[0] for names in _list_image_names(node)]


def list_daemon_images(node: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Images on the node that a new node has as well, because pods of DaemonSets use them. The smallest first."""
    used = {
        str(container.get("image"))
        for pod in pods
        if any(owner.get("kind") == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or [])
        for container in (pod.get("spec") or {}).get("containers") or []
    }
    return [names[0] for names in _list_image_names(node) if _normalize_images(names) & _normalize_images(used)]


def _list_image_names(node: Mapping[str, Any]) -> list[list[str]]:
    """The names of each image that can be tried, tags before digests."""
    found = []
    for image in (node.get("status") or {}).get("images") or []:
        names = [str(name) for name in image.get("names") or [] if "<none>" not in str(name)]
        ordered = sorted(names, key=lambda name: "@" in name)
        if ordered and not SKIPPED_IMAGES.search(ordered[0]):
            found.append((int(image.get("sizeBytes") or 0), ordered))
    return [ordered for dummy_size, ordered in sorted(found)]


def _normalize_images(names: Iterable[str]) -> set[str]:
    """Names as the node reports them: with the host docker.io, the path library and the tag latest."""
    found = set()
    for name in names:
        host = name.partition("/")[0]
        if host == name:
            name = f"docker.io/library/{name}"
        elif "." not in host and ":" not in host and host != "localhost":
            name = f"docker.io/{name}"
        found.add(name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest")
    return found


def find_sandbox_failure(events: Iterable[Mapping[str, Any]]) -> str:
    """The event of a pod whose sysctls the node cannot set; empty where there is none.

    docs/facts/sysctl_nodegroup.md#sysctls-of-the-whole-node
    """
    for event in events:
        message = str(event.get("message"))
        if event.get("reason") == "FailedCreatePodSandBox" and "/proc/sys" in message:
            return f"FailedCreatePodSandBox: {message}"
    return ""


def describe_events(events: Iterable[Mapping[str, Any]]) -> str:
    """The warnings of a pod, the newest first."""
    warnings = [event for event in events if event.get("type") == "Warning"]
    warnings.sort(key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""), reverse=True)
    return "; ".join(dict.fromkeys(f"{event.get('reason')}: {event.get('message')}" for event in warnings[:3]))


def classify_pod_status(pod: Mapping[str, Any]) -> tuple[str, str]:
    """The state of a proof pod and its message.

    V(waiting), V(forbidden), V(unusable) (the image is missing or has no cat), V(failed) or V(read).
    """
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        state = "forbidden" if status["reason"] == "SysctlForbidden" else "failed"
        return state, f"{status['reason']}: {status.get('message')}"
    for container in status.get("containerStatuses") or []:
        container_state = container.get("state") or {}
        waiting = container_state.get("waiting") or {}
        if waiting.get("reason") in ("ErrImageNeverPull", "ImagePullBackOff", "ErrImagePull", "InvalidImageName"):
            return "unusable", f"{waiting['reason']}: {waiting.get('message')}"
        if waiting.get("reason") in START_FAILURE_REASONS:
            return "unusable", f"{waiting['reason']}: {waiting.get('message')}"
        ended = container_state.get("terminated")
        if ended:
            if ended.get("reason") in START_FAILURE_REASONS:
                return "unusable", f"{ended['reason']}: {ended.get('message')}"
            return "read", str(ended.get("message") or "")
    return "waiting", f"the pod is {status.get('phase') or 'unknown'}"


def parse_values(message: str, names: Sequence[str]) -> Optional[list[str]]:
    """The values in the order of the names; None where the message does not hold a line for each name."""
    lines = [line for line in message.splitlines() if END_MARKER not in line and line.strip()]
    return [normalize_value(line) for line in lines] if len(lines) == len(names) else None
