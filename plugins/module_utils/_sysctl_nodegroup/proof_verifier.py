# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify sysctls by proof pods on nodes side by side. Each pod is deleted again, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._drain.kube import KubeError, call_kube_api, list_node_pods, list_resources
from .._result import ItemResult
from . import proof_pod, sysctls
from .kernel import get_node_wide_reason

MAX_IMAGES = 8
POLL_INTERVAL = 0.5
EVENTS_DELAY = 3.0  # seconds until the events of a pod that does not start are read, and between two readings


@dataclass(frozen=True)
class ProofPodVerifier:
    """Runs a proof pod on each node and compares the values that it reads."""

    api: Any
    namespace: str
    sysctls: Mapping[str, str]
    image: Optional[str] = None
    timeout: float = 120
    workers: int = 10
    only_image: bool = False  # without sysctls: find out which image can be used on new nodes

    def verify(self, nodes: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._verify_node, nodes))

    def preview(self, nodes: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        """The result of check mode: what would be tried."""
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._preview_node, nodes))

    def _preview_node(self, node: Mapping[str, Any]) -> ItemResult:
        name = str(node["metadata"]["name"])
        try:
            images = self._list_candidates(node)
        except KubeError as error:
            return self._build_result(name, "failed", str(error))
        reason = self._get_failure_reason(node, images)
        if reason:
            return self._build_result(name, "failed", reason)
        return self._build_result(name, "skipped", f"would be verified by a pod with {' or '.join(images)}")

    def _list_candidates(self, node: Mapping[str, Any]) -> list[str]:
        if self.image:
            return [self.image]
        if self.only_image:
            return proof_pod.list_daemon_images(node, list_node_pods(self.api, node["metadata"]["name"]))[:MAX_IMAGES]
        return proof_pod.list_images(node)[:MAX_IMAGES]

    def _get_failure_reason(self, node: Mapping[str, Any], images: Sequence[str]) -> str:
        """Why a pod cannot verify anything there; empty where it can."""
        kernel = sysctls.parse_node_kernel(node)
        for name in self.sysctls:
            reason = get_node_wide_reason(sysctls.normalize_name(name), kernel)
            if reason:
                return f"{name}: {reason}. {sysctls.NODE_ADVICE}"
        if images:
            return ""
        if self.only_image:
            return (
                "a new node holds only the images of DaemonSets, and none of them can be tried: set the option image "
                "to an image with cat that the nodes can pull"
            )
        return "the node reports no image that can be tried: set the option image"

    def _verify_node(self, node: Mapping[str, Any]) -> ItemResult:
        name = str(node["metadata"]["name"])
        tried = []
        try:
            images = self._list_candidates(node)
            reason = self._get_failure_reason(node, images)
            if reason:
                return self._build_result(name, "failed", reason)
            for image in images:
                state, message = self._run_pod(name, image)
                if state == "unusable":
                    tried.append(f"{image}: {message}")
                    continue
                if state != "read":
                    return self._build_result(name, "failed", message, image)
                return self._compare_values(name, image, message)
        except KubeError as error:
            return self._build_result(name, "failed", explain_error(error))
        reason = f"no image on the node has cat: set the option image. Tried: {'; '.join(tried)}"
        result = self._build_result(name, "failed", reason)
        return replace(result, fields={**result.fields, "unusable_images": list(images)})

    def _compare_values(self, name: str, image: str, message: str) -> ItemResult:
        values = proof_pod.parse_values(message, proof_pod.list_read_names(self.sysctls))
        if values is None:
            return self._build_result(name, "failed", f"the values of the pod could not be read: {message}", image)
        if self.only_image:
            return self._build_result(name, "ok", f"a proof pod can run with {image}, which has cat", image)
        effective = dict(zip(self.sysctls, values))
        wrong = [
            f"{key} is {effective[key]}, not {proof_pod.normalize_value(value)}"
            for key, value in self.sysctls.items()
            if effective[key] != proof_pod.normalize_value(value)
        ]
        if wrong:
            return self._build_result(name, "failed", "; ".join(wrong), image, effective)
        text = ", ".join(f"{key} = {value}" for key, value in effective.items())
        return self._build_result(name, "ok", f"read in a pod on the node: {text}", image, effective)

    def _build_result(
        self, name: str, status: str, reason: str, image: str = "", values: Optional[Mapping[str, str]] = None
    ) -> ItemResult:
        fields = {"image": image, "effective": dict(values or {}), "unusable_images": []}
        return ItemResult(name, status, reason, fields=fields)

    def _build_path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")

    def _delete_pod(self, name: str) -> None:
        """Delete the pod, and wait until it is gone, because the next pod has the same name."""
        end = time.monotonic() + 30
        while True:
            try:
                call_kube_api(self.api, "DELETE", self._build_path(name), {"gracePeriodSeconds": 0})
            except KubeError as error:
                if error.status == 404:
                    return
                if error.status not in (0, 409, 429, 500, 503) or time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise KubeError(f"DELETE {self._build_path(name)}", 0, "the pod is not gone after 30 seconds")
            time.sleep(POLL_INTERVAL / 2)

    def _run_pod(self, node: str, image: str) -> tuple[str, str]:
        name = proof_pod.build_pod_name(node)
        self._delete_pod(name)  # left by a run that was killed
        seconds = int(self.timeout) + 60
        try:
            body = proof_pod.build_pod(node, self.namespace, self.sysctls, image, bool(self.image), seconds)
            call_kube_api(self.api, "POST", self._build_path(), body)
            return self._wait_for_pod(name, node)
        finally:
            self._delete_pod(name)

    def _wait_for_pod(self, name: str, node: str) -> tuple[str, str]:
        started_at = last_reading = time.monotonic()
        while True:
            pod = call_kube_api(self.api, "GET", self._build_path(name))
            state, message = proof_pod.classify_pod_status(pod)
            if state != "waiting":
                return state, message
            now = time.monotonic()
            if now - started_at > self.timeout:
                return "failed", f"the pod on {node} did not run within {self.timeout:g} seconds: {message}. " + (
                    self._describe_events(pod)
                )
            if now - last_reading > EVENTS_DELAY:
                last_reading = now
                failure = proof_pod.find_sandbox_failure(self._list_events(pod))
                if failure:
                    return "failed", f"{node} cannot set the sysctls of the pod: {failure}"
            time.sleep(POLL_INTERVAL)

    def _list_events(self, pod: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The events of the pod; nothing where they cannot be read, because the pod's status comes as well."""
        try:
            return self._read_events(pod)
        except KubeError:
            return []

    def _read_events(self, pod: Mapping[str, Any]) -> list[dict[str, Any]]:
        query = [("fieldSelector", f"involvedObject.uid={pod['metadata'].get('uid')}")]
        return list_resources(self.api, f"/api/v1/namespaces/{self.namespace}/events", query)

    def _describe_events(self, pod: Mapping[str, Any]) -> str:
        try:
            text = proof_pod.describe_events(self._read_events(pod))
        except KubeError as error:
            return f"Its events could not be read: {error}. Allow to list events in namespace {self.namespace}"
        return f"Its events: {text}" if text else "It has no events with a warning"


def explain_error(error: KubeError) -> str:
    if error.status == 403 and "PodSecurity" in error.message:
        return (
            f"{error}. The Pod Security levels baseline and restricted allow no unsafe sysctls: set a namespace with "
            "the level privileged"
        )
    return str(error)
