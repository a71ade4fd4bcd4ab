# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries the proof out: pods on nodes side by side, each removed again whatever happens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

from .._drain.kube import KubeError, call
from .._result import ItemResult
from . import proof

MOST_IMAGES = 8
TICK = 0.5


@dataclass(frozen=True)
class Prover:
    api: Any
    namespace: str
    wanted: Mapping[str, str]
    image: Optional[str] = None
    timeout: float = 120
    workers: int = 10

    def prove(self, nodes: Sequence[Mapping[str, Any]]) -> list[ItemResult]:
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._node, nodes))

    def _node(self, node: Mapping[str, Any]) -> ItemResult:
        name = str(node["metadata"]["name"])
        images = [self.image] if self.image else proof.images_on(node)[:MOST_IMAGES]
        if not images:
            return self._result(name, "failed", "its node reports no image that could be tried: give image")
        tried = []
        for image in images:
            try:
                kind, said = self._pod(name, image)
            except KubeError as error:
                return self._result(name, "failed", explained(error))
            if kind == "unusable":
                tried.append(f"{image}: {said}")
                continue
            if kind != "read":
                return self._result(name, "failed", said, image)
            return self._compared(name, image, said)
        return self._result(name, "failed", f"no image there has cat: give image. {'; '.join(tried)}")

    def _compared(self, name: str, image: str, message: str) -> ItemResult:
        values = proof.read(message, list(self.wanted))
        if values is None:
            return self._result(name, "failed", f"the pod's values could not be read: {message}", image)
        found = dict(zip(self.wanted, values))
        wrong = [
            f"{key} is {found[key]}, not {proof.plain(value)}"
            for key, value in self.wanted.items()
            if found[key] != proof.plain(value)
        ]
        if wrong:
            return self._result(name, "failed", "; ".join(wrong), image, found)
        said = ", ".join(f"{key} = {value}" for key, value in found.items())
        return self._result(name, "ok", f"read inside a pod there: {said}", image, found)

    def _result(
        self, name: str, status: str, reason: str, image: str = "", values: Optional[Mapping[str, str]] = None
    ) -> ItemResult:
        return ItemResult(name, status, reason, fields={"image": image, "found": dict(values or {})})

    def _path(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")

    def _remove(self, name: str) -> None:
        """Gone afterwards: the next one bears the same name."""
        end = time.monotonic() + 30
        while True:
            try:
                call(self.api, "DELETE", self._path(name), {"gracePeriodSeconds": 0})
            except KubeError as error:
                if error.status == 404:
                    return
                if error.status not in (0, 409, 429, 500, 503) or time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise KubeError(f"DELETE {self._path(name)}", 0, "the pod does not go")
            time.sleep(TICK / 2)

    def _pod(self, node: str, image: str) -> tuple[str, str]:
        name = proof.pod_name(node)
        self._remove(name)  # of a run that was killed
        seconds = int(self.timeout) + 60
        try:
            body = proof.pod(node, self.namespace, self.wanted, image, bool(self.image), seconds)
            call(self.api, "POST", self._path(), body)
            end = time.monotonic() + self.timeout
            while True:
                kind, said = proof.outcome(call(self.api, "GET", self._path(name)))
                if kind != "waiting":
                    return kind, said
                if time.monotonic() > end:
                    return "failed", f"the pod on {node} came to nothing within {self.timeout:g} seconds: {said}"
                time.sleep(TICK)
        finally:
            self._remove(name)


def explained(error: KubeError) -> str:
    if error.status == 403 and "PodSecurity" in error.message:
        return (
            f"{error}. The namespace enforces Pod Security, whose levels baseline and restricted allow no unsafe "
            "sysctls: give a namespace of level privileged"
        )
    return str(error)
