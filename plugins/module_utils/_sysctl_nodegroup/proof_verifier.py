# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify sysctls by proof pods on nodes side by side. Each pod is deleted again, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

from .._drain.kube import KubeError, call_kube_api
from .._result import ItemResult
from . import proof_pod

MAX_IMAGES = 8
POLL_INTERVAL = 0.5


@dataclass(frozen=True)
class ProofPodVerifier:
    """Runs a proof pod on each node and compares the values that it reads."""

    api: Any
    namespace: str
    sysctls: Mapping[str, str]
    image: Optional[str] = None
    timeout: float = 120
    workers: int = 10

    def verify(self, nodes: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._verify_node, nodes))

    def _verify_node(self, node: Mapping[str, Any]) -> ItemResult:
        name = str(node["metadata"]["name"])
        images = [self.image] if self.image else proof_pod.list_images(node)[:MAX_IMAGES]
        if not images:
            return self._build_result(
                name, "failed", "the node reports no image that can be tried: set the option image"
            )
        tried = []
        for image in images:
            try:
                state, message = self._run_pod(name, image)
            except KubeError as error:
                return self._build_result(name, "failed", explain_error(error))
            if state == "unusable":
                tried.append(f"{image}: {message}")
                continue
            if state != "read":
                return self._build_result(name, "failed", message, image)
            return self._compare_values(name, image, message)
        reason = f"no image on the node has cat: set the option image. Tried: {'; '.join(tried)}"
        return self._build_result(name, "failed", reason)

    def _compare_values(self, name: str, image: str, message: str) -> ItemResult:
        values = proof_pod.parse_values(message, list(self.sysctls))
        if values is None:
            return self._build_result(name, "failed", f"the values of the pod could not be read: {message}", image)
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
        return ItemResult(name, status, reason, fields={"image": image, "effective": dict(values or {})})

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
            end = time.monotonic() + self.timeout
            while True:
                state, message = proof_pod.classify_pod_status(call_kube_api(self.api, "GET", self._build_path(name)))
                if state != "waiting":
                    return state, message
                if time.monotonic() > end:
                    return "failed", f"the pod on {node} did not run within {self.timeout:g} seconds: {message}"
                time.sleep(POLL_INTERVAL)
        finally:
            self._delete_pod(name)


def explain_error(error: KubeError) -> str:
    if error.status == 403 and "PodSecurity" in error.message:
        return (
            f"{error}. The Pod Security levels baseline and restricted allow no unsafe sysctls: set a namespace with "
            "the level privileged"
        )
    return str(error)
