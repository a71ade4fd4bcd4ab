# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fit check against the real scheduler: each pod of the table on nodes like the planned ones."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._drain import fit
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain import fit_cases
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain.fit_cases import FitCase
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.eks_node_drain.stub import Nodes
from testbed.control_plane import ApiError
from testbed.eks import Cluster

RUN = "test-run"
EVERY = 9  # the default part tries every ninth case


class Place:
    """A namespace, and three nodes like the planned ones."""

    def __init__(self, cluster: Cluster) -> None:
        self.api = cluster.api
        self.mark = uuid.uuid4().hex[:6]
        self.namespace = f"fit-{self.mark}"
        self.api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.path = f"/api/v1/namespaces/{self.namespace}"
        self.volumes: list[str] = []
        own = {}
        for node in fit_cases.NEW_NODES:
            labels = {**node["metadata"]["labels"], RUN: self.mark}
            own[node["metadata"]["name"]] = {"labels": labels, "allocatable": node["status"]["allocatable"]}
        self.nodes = Nodes(self.api, list(own), "new", own=own)
        wait_for(lambda: self.api.get(f"{self.path}/serviceaccounts")["items"], "the service account")

    def taint(self, taints: Any) -> None:
        for name in self.nodes.names:
            body = {"spec": {"taints": list(taints) or None}}
            self.api.request("PATCH", f"/api/v1/nodes/{name}", body, "application/merge-patch+json")

    def bind(self, case: FitCase) -> dict[str, str]:
        """Create the volumes of a case with their claims; returns the name of each claim in the cluster."""
        names = {}
        for volume in case.volumes:
            claim = volume["spec"]["claimRef"]["name"]
            name = names[claim] = f"{claim}-{uuid.uuid4().hex[:8]}"
            size = {"storage": "1Gi"}
            self.api.post(
                "/api/v1/persistentvolumes",
                {
                    "metadata": {"name": name, "labels": volume["metadata"].get("labels") or {}},
                    "spec": {
                        **volume["spec"],
                        "claimRef": {"namespace": self.namespace, "name": name},
                        "capacity": size,
                        "accessModes": ["ReadWriteOnce"],
                        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": name},
                    },
                },
            )
            self.volumes.append(name)
            self.api.post(
                f"{self.path}/persistentvolumeclaims",
                {
                    "metadata": {"name": name},
                    "spec": {
                        "volumeName": name,
                        "storageClassName": "",
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": size},
                    },
                },
            )
        for name in names.values():
            path = f"{self.path}/persistentvolumeclaims/{name}"
            wait_for(lambda path=path: self.api.get(path)["status"].get("phase") == "Bound", "the claim")  # type: ignore[misc]
        return names

    def is_scheduled(self, case: FitCase, patience: float) -> bool:
        """Whether the scheduler assigns the pod to a node. It may see the end of the pod before a moment late."""
        claims = self.bind(case)
        spec: dict[str, Any] = {"containers": [{}], **case.spec}
        for key in ("containers", "initContainers"):
            if key in spec:
                spec[key] = [
                    {"name": f"{key.lower()}-{number}", "image": "registry.example/none", **container}
                    for number, container in enumerate(spec[key])
                ]
        if "volumes" in spec:
            spec["volumes"] = [
                {"name": entry["name"], "persistentVolumeClaim": {"claimName": claims[entry["name"]]}}
                for entry in spec["volumes"]
            ]
        spec["nodeSelector"] = {**spec.get("nodeSelector", {}), RUN: self.mark}
        spec["terminationGracePeriodSeconds"] = 0
        self.api.post(f"{self.path}/pods", {"metadata": {"name": "p"}, "spec": spec})
        try:
            return self._wait_for_decision(patience)
        finally:
            self.api.request("DELETE", f"{self.path}/pods/p", {"gracePeriodSeconds": 0})
            wait_for(lambda: not self.api.get(f"{self.path}/pods")["items"], "the end of the pod")

    def _wait_for_decision(self, patience: float) -> bool:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            conditions = self.api.get(f"{self.path}/pods/p")["status"].get("conditions") or []
            for condition in conditions:
                if condition["type"] == "PodScheduled" and condition["status"] == "True":
                    return True
                if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
                    end = min(end, time.monotonic() + patience)
                    patience = 30.0
            time.sleep(0.03)
        return False

    def close(self) -> None:
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")
        for name in self.volumes:
            with contextlib.suppress(ApiError):
                self.api.delete(f"/api/v1/persistentvolumes/{name}")
        self.nodes.close()


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Place]:
    place = Place(cluster)
    yield place
    place.close()


def compare(place: Place, cases: list[FitCase]) -> None:
    different = []
    for case in cases:
        planned = fit.build_planned_nodes(fit_cases.OLD_NODES, "new", fit_cases.NEW_LABELS, case.taints, 3)
        pod = {"metadata": {"namespace": "d", "name": "p"}, "spec": {"containers": [{}], **case.spec}, "status": {}}
        ours = not any(entry["name"] == "p" for entry in fit.find_unschedulable_pods([pod], planned, case.volumes))
        place.taint(case.taints)
        scheduled = place.is_scheduled(case, 5.0 if ours else 0.2)
        if not scheduled == ours == (not case.reason):
            different.append(f"{case.name}: the scheduler {scheduled}, the check {ours}, the table {not case.reason}")
    assert not different, "\n".join(different)


def test_some_pods_fit_exactly_where_the_scheduler_takes_them(place: Place) -> None:
    compare(place, fit_cases.CASES[::EVERY])


@pytest.mark.full
def test_all_pods_fit_exactly_where_the_scheduler_takes_them(place: Place) -> None:
    compare(place, [case for number, case in enumerate(fit_cases.CASES) if number % EVERY])
