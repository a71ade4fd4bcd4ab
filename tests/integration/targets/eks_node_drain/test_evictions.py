# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What check mode says about evictions, against the real eviction API."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _kubernetes
from ansible_collections.daytwo.aws.plugins.module_utils._drain import plan
from ansible_collections.daytwo.aws.plugins.module_utils._drain.kube import KubeClient, KubeError, call_kube_api
from ansible_collections.daytwo.aws.plugins.module_utils._drain.model import DrainRules, Pod, PodDisruptionBudget
from ansible_collections.daytwo.aws.plugins.module_utils._drain.run import NAMESPACE_TERMINATING
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain import eviction_cases
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain.eviction_cases import EvictionCase
from integration.targets.eks_node_drain.kit import wait_for
from testbed.control_plane import ApiError
from testbed.eks import Cluster

FINALIZER = "daytwo.example/kept"


class Ground:
    """Namespaces with pods on a node without a kubelet, so that pods keep the phase that a test sets."""

    def __init__(self, cluster: Cluster) -> None:
        self.api = cluster.api
        self.client = _kubernetes.make_kubeconfig_client(str(cluster.kubeconfig), None)
        self.node = f"idle-{uuid.uuid4().hex[:6]}"
        self.namespaces: list[str] = []
        self.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.node}})

    def add_namespace(self) -> str:
        name = f"evict-{uuid.uuid4().hex[:8]}"
        self.api.post("/api/v1/namespaces", {"metadata": {"name": name}})
        self.namespaces.append(name)
        wait_for(lambda: self.api.get(f"/api/v1/namespaces/{name}/serviceaccounts")["items"], "the service account")
        return name

    def add_pod(self, namespace: str, name: str, labels: dict[str, str], **more: Any) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods"
        phase, ready, kept = more.get("phase", "Running"), more.get("ready", True), more.get("kept", False)
        container = {"name": "main", "image": "registry.example/none"}
        meta = {"name": name, "labels": labels, **({"finalizers": [FINALIZER]} if kept else {})}
        self.api.post(path, {"metadata": meta, "spec": {"nodeName": self.node, "containers": [container]}})
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        self.api.patch(f"{path}/{name}/status", {"status": {"phase": phase, "conditions": [condition]}})

    def add_case(self, case: EvictionCase) -> str:
        namespace = self.add_namespace()
        budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
        kept = case.terminating
        self.add_pod(namespace, "a", case.pod_labels, phase=case.phase, ready=case.ready, kept=kept)
        for number in range(case.companions):
            self.add_pod(namespace, f"c{number}", case.pod_labels)
        if kept:
            self.api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/a", {"gracePeriodSeconds": 30})
        for number, spec in enumerate(case.budgets):
            self.api.post(budgets, {"metadata": {"name": f"b{number}"}, "spec": spec})
        return namespace

    def wait_for_budgets(self, namespace: str, case: EvictionCase) -> None:
        def settled() -> bool:
            found = self.api.get(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")["items"]
            statuses = [entry.get("status", {}) for entry in found]
            return len(found) == len(case.budgets) and all(
                status.get("observedGeneration") and "expectedPods" in status for status in statuses
            )

        wait_for(settled, "the status of the budgets")

    def predict(self, namespace: str) -> str:
        """The reason of the plan, from the same readings as in check mode."""
        pod = self.api.get(f"/api/v1/namespaces/{namespace}/pods/a")
        budgets = self.api.get(f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")["items"]
        (decision,) = plan.make_plan(
            [Pod.parse(pod)], [PodDisruptionBudget.parse(entry) for entry in budgets], DrainRules(delete_unmanaged=True)
        )
        return decision.blocking_reason

    def try_eviction(self, namespace: str) -> tuple[int, str]:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": "a", "namespace": namespace},
            "deleteOptions": {"dryRun": ["All"]},
        }
        try:
            call_kube_api(self.client, "POST", f"/api/v1/namespaces/{namespace}/pods/a/eviction", body)
        except KubeError as error:
            return error.status, error.message
        return eviction_cases.ACCEPTED, ""

    def release(self, namespace: str) -> None:
        for pod in self.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]:
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
            if pod["metadata"].get("finalizers"):
                body = {"metadata": {"finalizers": None}}
                self.api.request("PATCH", path, body, "application/merge-patch+json")
            with contextlib.suppress(ApiError):  # gone with its namespace
                self.api.request("DELETE", path, {"gracePeriodSeconds": 0})

    def close(self) -> None:
        for namespace in self.namespaces:
            self.release(namespace)
            self.api.delete(f"/api/v1/namespaces/{namespace}")
        self.api.delete(f"/api/v1/nodes/{self.node}")


@pytest.fixture
def ground(cluster: Cluster) -> Iterator[Ground]:
    ground = Ground(cluster)
    yield ground
    ground.close()


def test_check_mode_knows_what_the_eviction_api_refuses(ground: Ground) -> None:
    namespaces = [(case, ground.add_case(case)) for case in eviction_cases.CASES]
    different = []
    for case, namespace in namespaces:
        ground.wait_for_budgets(namespace, case)
        status, message = ground.try_eviction(namespace)
        reason = ground.predict(namespace)
        if status != case.status or bool(reason) is (status == eviction_cases.ACCEPTED):
            different.append(f"{case.name}: {status} {message!r}, expected {case.status}, predicted {reason!r}")
    assert not different, "\n".join(different)


def read_error(ground: Ground, pod: Pod) -> KubeError:
    with pytest.raises(KubeError) as caught:
        KubeClient(ground.client).evict(pod, DrainRules())
    return caught.value


@pytest.mark.full
def test_the_errors_that_a_drain_handles_are_those_of_the_server(ground: Ground) -> None:
    namespace = ground.add_namespace()
    ground.add_pod(namespace, "a", {}, kept=True)
    path = f"/api/v1/namespaces/{namespace}/pods/a"
    pod = Pod.parse(ground.api.get(path))
    assert read_error(ground, Pod(namespace, "none", "1", ground.node)).status == 404
    assert read_error(ground, Pod(namespace, "a", "another-uid", ground.node)).status == 409
    ground.api.delete(f"/api/v1/namespaces/{namespace}")
    wait_for(lambda: ground.api.get(path)["metadata"].get("deletionTimestamp"), "the end of the namespace")
    error = read_error(ground, pod)
    assert (error.status, error.cause_types) == (403, (NAMESPACE_TERMINATING,))
