# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes without machines on the bed's real API server: a thread reports their status as a kubelet does.

The API server, its eviction API, the disruption controller, the scheduler and the controllers of pods are real. Only
processes are missing. Pods are Ready at once, and end C(ending) seconds after their deletion.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timezone
from typing import Any

from testbed.control_plane import Api, ApiError

GROUP = "eks.amazonaws.com/nodegroup"
BEAT = 8.0


class Nodes:
    def __init__(
        self, api: Api, names: list[str], group: str, ending: float = 0.0, own: dict[str, dict[str, Any]] | None = None
    ) -> None:
        """C(own): more labels, the provider id and the allocatable resources of a node, by its name."""
        self.api = api
        self.names = names
        self.ending = ending
        self._own = own or {}
        self._stop = threading.Event()
        for name in names:
            more = self._own.get(name, {})
            labels = {GROUP: group, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
            labels |= more.get("labels", {})
            node = {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels},
                "spec": {"providerID": more["providerID"]} if "providerID" in more else {},
            }
            self.api.post("/api/v1/nodes", node)
            self._beat(name)
            self._schedulable(name)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _schedulable(self, name: str) -> None:
        """Remove the taint that a new node has until its first heartbeat."""
        self.api.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, "application/merge-patch+json")

    def _beat(self, name: str) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        size = self._own.get(name, {}).get("allocatable") or {"cpu": "64", "memory": "64Gi", "pods": "250"}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Stub",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        status = {"status": {"conditions": [ready], "capacity": size, "allocatable": size}}
        self.api.patch(f"/api/v1/nodes/{name}/status", status)

    def _work(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(0.1):
            try:
                if time.monotonic() - last > BEAT:
                    last = time.monotonic()
                    for name in self.names:
                        self._beat(name)
                for pod in self.api.get("/api/v1/pods")["items"]:
                    if pod["spec"].get("nodeName") in self.names:
                        self._kubelet(pod)
            except (OSError, ApiError):
                continue  # the next round reads again

    def _kubelet(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if meta.get("deletionTimestamp"):
            grace = min(self.ending, float(meta.get("deletionGracePeriodSeconds") or 0))
            due = datetime.fromisoformat(meta["deletionTimestamp"]).timestamp()
            ending_since = due - float(meta.get("deletionGracePeriodSeconds") or 0)
            if time.time() >= ending_since + grace:
                self.api.request("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}})
        elif pod["status"].get("phase") == "Pending":
            now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
            self.api.patch(f"{path}/status", {"status": {"phase": "Running", "conditions": [ready]}})

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        for name in self.names:
            self.api.delete(f"/api/v1/nodes/{name}")
