# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook sysctl_audit where there is nothing to report, and where something else answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from integration.targets.eks_sysctl_nodegroup.kit import CLUSTER, Account, TaskResult

PLAYBOOK = "daytwo.aws.sysctl_audit"
NODE = {
    "metadata": {"name": "n1", "labels": {}},
    "status": {"nodeInfo": {"kubeletVersion": "v1.34.4", "kernelVersion": "6.1.115"}},
}


class Kubernetes:
    """A server with these objects. Every other path answers 403, as for a user without nodes/proxy."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, Any] = {"/api/v1/nodes": [], "/api/v1/pods": []}
        self.page = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                found = path in outer.objects
                body = (
                    {"items": outer.objects[path]} if found else {"kind": "Status", "message": "forbidden: nodes/proxy"}
                )
                self.send_response(200 if found else 403)
                self.end_headers()
                self.wfile.write(outer.page.encode() or json.dumps(body).encode())

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.kubeconfig = folder / "kubeconfig"
        server = f"http://127.0.0.1:{self.server.server_port}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
        }
        self.kubeconfig.write_text(json.dumps(config))


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Kubernetes]:
    made = Kubernetes(tmp_path)
    yield made
    made.server.shutdown()


def audit(account: Account, kubernetes: Kubernetes, **more: str) -> list[TaskResult]:
    given = {"sysctl_audit_cluster": CLUSTER, "sysctl_audit_kubeconfig": str(kubernetes.kubeconfig), **more}
    return account.play(PLAYBOOK, *(word for pair in given.items() for word in ("-e", "=".join(pair))))


def test_a_cluster_without_groups_and_pods_is_reported_as_such(account: Account, kubernetes: Kubernetes) -> None:
    read, groups, pods = audit(account, kubernetes)
    assert not any(task.failed for task in (read, groups, pods)), read.message
    assert groups.result["msg"] == ["The cluster has no managed node group."]
    assert pods.result["msg"] == ["No pod sets sysctls."]


def test_without_pods_and_without_the_kubelets_permission_the_rest_is_reported(
    account: Account, kubernetes: Kubernetes
) -> None:
    account.create("workers")
    tasks = audit(account, kubernetes, sysctl_audit_pods="false")
    assert not any(task.failed for task in tasks)
    assert tasks[1].result["msg"] == ["workers (1.34, al2023): no unsafe sysctl"]
    kubernetes.objects["/api/v1/nodes"] = [NODE]
    read, groups, pods = audit(account, kubernetes, sysctl_audit_configz="true")
    assert not read.failed, read.message
    assert [entry["node"] for entry in read.result["not_checked"]] == ["n1"]
    assert groups.result["msg"][-1].startswith(
        "Not checked: the kubelets of n1. The first reason: GET /api/v1/nodes/n1/"
    )
    assert pods.result["msg"] == ["No pod sets sysctls."]


def test_a_page_in_place_of_the_api_is_an_error(account: Account, kubernetes: Kubernetes) -> None:
    kubernetes.page = "<html>Sign in</html>"
    (read,) = audit(account, kubernetes)
    assert read.failed
    assert "something that is not from the Kubernetes API: <html>Sign in</html>" in read.message
