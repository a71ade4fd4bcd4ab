# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drain three nodes with 30 pods: our module, kubectl drain node by node, and kubernetes.core.k8s_drain in a loop.

The API server, the pods and the run are the same, and whole processes are measured. The nodes are stubs without
machines. Their pods end ten seconds after the request, like servers that finish their requests. The module saves
that time for every node but one. With pods that end at once it saves nothing, and ansible's own start counts. There
are no budgets, because k8s_drain fails at the first budget that blocks it. ROUNDS=1 is for a quick run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from statistics import median
from typing import Any

from figures import Figure, Goal, interleaved, publish
from integration.targets.eks_node_drain.stub import Nodes
from testbed import Bed
from testbed.control_plane import BIN, Api

PODS, NODES, ENDING = 30, 3, 10.0
WAYS = ("ours", "kubectl", "k8s_drain")


def wait_for(condition: Any, what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"no {what} within two minutes")
        time.sleep(0.1)


def running(api: Api, namespace: str, nodes: list[str]) -> int:
    pods = api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return sum(
        pod["spec"].get("nodeName") in nodes
        and pod["status"].get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
        for pod in pods
    )


def deploy(api: Api, namespace: str) -> None:
    labels = {"app": "bench"}
    pod = {
        "terminationGracePeriodSeconds": int(ENDING),
        "containers": [{"name": "main", "image": "registry.example/none"}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": PODS, "selector": {"matchLabels": labels}, "template": template}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, {"metadata": {"name": "bench"}, "spec": spec})


def play(folder: Path, tasks: list[dict[str, Any]]) -> None:
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    env = {**os.environ, "AWS_REGION": "eu-central-1", "HOME": str(folder)}
    ran = subprocess.run(
        ["ansible-playbook", str(playbook)], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.exit(ran.stdout + ran.stderr)


def drain(way: str, nodes: list[str], kubeconfig: str, folder: Path) -> float:
    began = time.monotonic()
    if way == "ours":
        play(folder, [{"daytwo.aws.eks_node_drain": {"kubeconfig": kubeconfig, "nodes": nodes}}])
    elif way == "kubectl":
        for node in nodes:
            argv = [BIN / "kubectl", "--kubeconfig", kubeconfig, "drain", node, "--ignore-daemonsets", "--timeout=120s"]
            subprocess.run(argv, check=True, capture_output=True)
    else:
        options = {"ignore_daemonsets": True, "wait_timeout": 120}
        task = {"kubeconfig": kubeconfig, "name": "{{ item }}", "state": "drain", "delete_options": options}
        play(folder, [{"kubernetes.core.k8s_drain": task, "loop": nodes}])
    return time.monotonic() - began


def main() -> int:
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True, stdout=subprocess.DEVNULL)
    bed = Bed.load()
    bed.cluster.ensure()
    api, kubeconfig = bed.cluster.api, str(bed.cluster.kubeconfig)
    mark = uuid.uuid4().hex[:6]
    namespace = f"bench-{mark}"
    sides = [[f"{side}-{mark}-{number}" for number in range(NODES)] for side in ("a", "b")]
    api.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
    first = Nodes(api, sides[0], f"a-{mark}", ENDING)
    others: list[Nodes] = []
    try:
        deploy(api, namespace)
        wait_for(lambda: running(api, namespace, sides[0]) == PODS, "pods on the first side")
        others.append(Nodes(api, sides[1], f"b-{mark}", ENDING))
        with tempfile.TemporaryDirectory() as folder:

            def once(way: str) -> float:
                """Drain to the other side, and uncordon the empty nodes for the next round."""
                full, empty = sides
                seconds = drain(way, full, kubeconfig, Path(folder))
                wait_for(lambda: running(api, namespace, empty) == PODS, "pods on the other side")
                for node in full:
                    body = {"spec": {"unschedulable": None}}
                    api.request("PATCH", f"/api/v1/nodes/{node}", body, "application/merge-patch+json")
                sides.reverse()
                return seconds

            taken = interleaved(WAYS, once)
    finally:
        api.delete(f"/api/v1/namespaces/{namespace}")
        wait_for(lambda: not api.get(f"/api/v1/namespaces/{namespace}/pods")["items"], "end of the pods")
        for nodes in (first, *others):
            nodes.close()
    what = f"drain of {NODES} nodes, {PODS} pods"
    ours = median(taken["ours"])
    figures = [
        Figure(what, ours, median(taken["kubectl"]), "kubectl drain, node by node", "s", Goal(ratio=0.6)),
        Figure(what, ours, median(taken["k8s_drain"]), "kubernetes.core.k8s_drain in a loop", "s"),
    ]
    return publish("sysctl", figures)


if __name__ == "__main__":
    sys.exit(main())
