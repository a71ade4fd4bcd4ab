# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries the proof out: pods on nodes side by side, each removed again whatever happens."""

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
            return self._build_result(name, "failed", "its node reports no image that could be tried: give image")
        tried = []
        for image in images:
            try:
                kind, said = self._run_pod(name, image)
            except KubeError as error:
                return self._build_result(name, "failed", explain_error(error))
            if kind == "unusable":
                tried.append(f"{image}: {said}")
                continue
            if kind != "read":
                return self._build_result(name, "failed", said, image)
            return self._compare_values(name, image, said)
        return self._build_result(name, "failed", f"no image there has cat: give image. {'; '.join(tried)}")

    def _compare_values(self, name: str, image: str, message: str) -> ItemResult:
        values = proof_pod.parse_values(message, list(self.sysctls))
        if values is None:
            return self._build_result(name, "failed", f"the pod's values could not be read: {message}", image)
        found = dict(zip(self.sysctls, values))
        wrong = [
            f"{key} is {found[key]}, not {proof_pod.normalize_value(value)}"
            for key, value in self.sysctls.items()
            if found[key] != proof_pod.normalize_value(value)
        ]
        if wrong:
            return self._build_result(name, "failed", "; ".join(wrong), image, found)
        said = ", ".join(f"{key} = {value}" for key, value in found.items())
        return self._build_result(name, "ok", f"read inside a pod there: {said}", image, found)

    def _build_result(
        self, name: str, status: str, reason: str, image: str = "", values: Optional[Mapping[str, str]] = None
    ) -> ItemResult:
        return ItemResult(name, status, reason, fields={"image": image, "found": dict(values or {})})

    def _build_path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")

    def _delete_pod(self, name: str) -> None:
        """Gone afterwards: the next one bears the same name."""
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
                raise KubeError(f"DELETE {self._build_path(name)}", 0, "the pod does not go")
            time.sleep(POLL_INTERVAL / 2)

    def _run_pod(self, node: str, image: str) -> tuple[str, str]:
        name = proof_pod.build_pod_name(node)
        self._delete_pod(name)  # of a run that was killed
        seconds = int(self.timeout) + 60
        try:
            body = proof_pod.build_pod(node, self.namespace, self.sysctls, image, bool(self.image), seconds)
            call_kube_api(self.api, "POST", self._build_path(), body)
            end = time.monotonic() + self.timeout
            while True:
                kind, said = proof_pod.classify_pod_status(call_kube_api(self.api, "GET", self._build_path(name)))
                if kind != "waiting":
                    return kind, said
                if time.monotonic() > end:
                    return "failed", f"the pod on {node} came to nothing within {self.timeout:g} seconds: {said}"
                time.sleep(POLL_INTERVAL)
        finally:
            self._delete_pod(name)


def explain_error(error: KubeError) -> str:
    if error.status == 403 and "PodSecurity" in error.message:
        return (
            f"{error}. The namespace enforces Pod Security, whose levels baseline and restricted allow no unsafe "
            "sysctls: give a namespace of level privileged"
        )
    return str(error)
