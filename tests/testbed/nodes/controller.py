# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes' controller: it makes the real nodes match EKS's records, again and again, from any current state.

It has no state of its own. After a kill, it reads the records, the machines and the Kubernetes API again.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from .. import control_plane, paths
from ..aws.control import send_command
from ..control_plane import Api, ApiError
from ..node import BedError, Node
from .decide import Group, Limits, NodeState, Plan, decide
from .machine import Machine, machines
from .model import Cluster, Instance, Order

AWS = f"http://{paths.AWS}:{paths.AWS_PORT}"
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
OURS = "testbed.daytwo.aws/instance"  # on a node whose instance is in an Auto Scaling group
CORDONED_AT = "testbed.daytwo.aws/cordoned-at"  # on a node that this controller cordoned
PAUSE = 0.3


def order_of(node: dict[str, Any]) -> Order:
    cluster = node["cluster"]
    return Order(
        node["family"],
        node["custom"],
        Cluster(cluster["name"], cluster["endpoint"], cluster["ca"], cluster["cidr"]),
        Instance(
            node["id"], node["type"], node["image"], node["role"]["AWS_REGION"], node["zone"], node["ip"], node["name"]
        ),
        base64.b64decode(node["user_data"]),
        node["labels"],
        node["taints"],
    )


def pods_of(ip: str) -> str:
    """The network for the pods of a node. Each node of the bed's subnets has its own network."""
    third, fourth = ip.split(".")[2:]
    return f"10.{240 + int(third) % 4}.{fourth}.0/24"


class Controller:
    def __init__(self) -> None:
        self.cloud = Node("cloud")
        self.pool = ThreadPoolExecutor(4)
        self.busy: dict[str, Future[Any]] = {}  # by instance
        self.ready_at: dict[str, float] = {}  # by instance: when it was last ready, or first observed
        self.leaving: dict[str, float] = {}  # by instance: when its drain began, for instances that never joined

    def run(self) -> None:
        while True:
            try:
                self.step()
            except (OSError, http.client.HTTPException, ValueError, KeyError, ApiError, BedError) as error:
                # AWS, the API server or the cloud is starting or stopping. The next turn tries again.
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                time.sleep(1)
            time.sleep(PAUSE)

    def step(self) -> None:
        self.busy = {key: future for key, future in self.busy.items() if not self.finished(key, future)}
        work = send_command(AWS, "eks/nodes/work")
        known = {node["id"] for group in work["groups"] for node in group["nodes"]}
        for machine in machines(self.cloud):
            if machine.name not in known:
                self.start(machine.name, machine.remove)
        live = control_plane.live()
        if live is None:
            return
        api = live.api
        found = {node["metadata"]["name"]: node for node in api.get("/api/v1/nodes")["items"]}
        for group in work["groups"]:
            self.care(api, group, found, Limits(**work["limits"]))
        self.forget(api, found, known)

    def finished(self, key: str, future: Future[Any]) -> bool:
        if not future.done():
            return False
        if error := future.exception():
            print(f"{key}: {''.join(traceback.format_exception(error))}", file=sys.stderr, flush=True)
        return True

    def start(self, key: str, act: Callable[..., Any], *arguments: Any) -> None:
        if key not in self.busy:
            self.busy[key] = self.pool.submit(act, *arguments)

    # Node groups

    def care(self, api: Api, group: dict[str, Any], found: dict[str, Any], limits: Limits) -> None:
        where = {name: group[name] for name in ("region", "cluster", "group")}
        for node in group["nodes"]:
            if node["name"] in found:
                self.initialize(api, node, found[node["name"]])
                if group["status"] == "UPDATING" and not group["rolling"]:
                    self.relabel(api, where, group, node, found[node["name"]])
            if node["id"] not in self.busy and Machine(node["id"], self.cloud).holder() is None:
                self.boot(node)
        states = [self.observe_node(api, node, group["spec"], found.get(node["name"])) for node in group["nodes"]]
        desired = Group(
            *(group["group"], group["status"], group["desired"], group["rolling"]),
            *(group["unavailable"], group["minimal"], group["force"]),
        )
        self.apply_plan(api, where, group, decide(desired, states, limits))

    def boot(self, node: dict[str, Any]) -> None:
        machine = Machine(node["id"], self.cloud)
        self.start(node["id"], machine.launch, order_of(node), node["role"], pods_of(node["ip"]))

    def observe_node(self, api: Api, node: dict[str, Any], spec: str, object_: dict[str, Any] | None) -> NodeState:
        now = time.time()
        ready = object_ is not None and is_ready(object_)
        if ready or node["id"] not in self.ready_at:
            self.ready_at[node["id"]] = now
        draining, empty = None, True
        if object_ and (since := object_["metadata"].get("annotations", {}).get(CORDONED_AT)):
            draining = now - float(since)
            empty = self.evict(api, node["name"])
        elif object_ is None and node["id"] in self.leaving:
            draining = now - self.leaving[node["id"]]
        return NodeState(
            *(node["id"], node["name"], node["spec"] == spec, ready, now - self.ready_at[node["id"]]),
            *(draining, empty),
        )

    def apply_plan(self, api: Api, where: dict[str, str], group: dict[str, Any], plan: Plan) -> None:
        nodes = {node["id"]: node for node in group["nodes"]}
        for _number in range(plan.launch):
            self.boot(send_command(AWS, "eks/nodes/launch", **where))
        for key in plan.drain:
            self.leaving[key] = time.time()
            self.mark(api, nodes[key]["name"], str(time.time()))
        for key in plan.release:
            self.leaving.pop(key, None)
            self.mark(api, nodes[key]["name"], None)
        for key in plan.terminate:
            send_command(AWS, "eks/nodes/gone", **where, instance=key)
            self.leaving.pop(key, None)
            self.ready_at.pop(key, None)
        if plan.outcome:
            send_command(
                *(AWS, "eks/nodes/outcome"),
                **where,
                status=group["status"],
                outcome=plan.outcome,
                issue=plan.issue,
            )

    # Nodes in the Kubernetes API

    def mark(self, api: Api, name: str, since: str | None) -> None:
        """Cordon the node and annotate the time, or uncordon it."""
        body = {"metadata": {"annotations": {CORDONED_AT: since}}, "spec": {"unschedulable": since is not None}}
        with missing_is_fine():
            api.patch(f"/api/v1/nodes/{name}", body)

    def evict(self, api: Api, name: str) -> bool:
        """Evict every pod whose budget allows it. Returns whether no pod is left."""
        left = [pod for pod in api.get(f"/api/v1/pods?fieldSelector=spec.nodeName={name}")["items"] if evictable(pod)]
        for pod in left:
            meta = pod["metadata"]
            if meta.get("deletionTimestamp"):
                continue
            body = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            }
            try:
                api.post(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction", body)
            except ApiError as error:
                # 429: a budget blocks the pod. 500: two budgets match it. 404: the pod is gone.
                # docs/facts/sysctl_nodegroup.md#deleting-a-group
                if error.status not in (404, 429, 500):
                    raise
        return not left

    def initialize(self, api: Api, node: dict[str, Any], object_: dict[str, Any]) -> None:
        """Initialize a node that registers, as AWS's cloud controller manager does."""
        taints = object_["spec"].get("taints", [])
        if not any(taint["key"] == UNINITIALIZED for taint in taints):
            return
        labels = {
            "topology.kubernetes.io/region": node["role"]["AWS_REGION"],
            "topology.kubernetes.io/zone": node["zone"],
            "node.kubernetes.io/instance-type": node["type"],
        }
        kept = [taint for taint in taints if taint["key"] != UNINITIALIZED]
        metadata = {"labels": labels, "annotations": {OURS: node["id"]}}
        body = {"metadata": metadata, "spec": {"taints": kept}}
        with missing_is_fine():
            api.patch(f"/api/v1/nodes/{node['name']}", body)

    def relabel(
        self, api: Api, where: dict[str, str], group: dict[str, Any], node: dict[str, Any], object_: dict[str, Any]
    ) -> None:
        """Apply changed labels and taints of a group to its existing nodes."""
        labels, taints = own(group["labels"]), group["taints"]
        if own(node["labels"]) == labels and node["taints"] == taints:
            return
        gone = {key: None for key in own(node["labels"]) if key not in labels}
        parsed = [parse_taint(text) for text in taints]
        before = {(taint["key"], taint["effect"]) for taint in map(parse_taint, node["taints"])}
        others = [taint for taint in object_["spec"].get("taints", []) if (taint["key"], taint["effect"]) not in before]
        body = {
            "metadata": {"labels": {**gone, **labels}},
            "spec": {"taints": [*others, *parsed]},
        }
        api.patch(f"/api/v1/nodes/{node['name']}", body)
        kept = {key: value for key, value in node["labels"].items() if key not in own(node["labels"])}
        send_command(
            AWS, "eks/nodes/relabelled", **where, instance=node["id"], labels={**kept, **labels}, taints=taints
        )

    def forget(self, api: Api, found: dict[str, Any], known: set[str]) -> None:
        """Delete nodes whose instance is gone, as AWS's cloud controller manager does."""
        for name, object_ in found.items():
            instance = object_["metadata"].get("annotations", {}).get(OURS)
            if instance and instance not in known:
                api.delete(f"/api/v1/nodes/{name}")


def own(labels: dict[str, str]) -> dict[str, str]:
    """The labels that the user has set on the group."""
    return {key: value for key, value in labels.items() if not key.startswith("eks.amazonaws.com/")}


def parse_taint(text: str) -> dict[str, str]:
    key, _equals, rest = text.partition("=")
    value, _colon, effect = rest.rpartition(":")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}


def is_ready(object_: dict[str, Any]) -> bool:
    conditions = object_.get("status", {}).get("conditions", [])
    tainted = any(taint["key"] == UNINITIALIZED for taint in object_["spec"].get("taints", []))
    return not tainted and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def evictable(pod: dict[str, Any]) -> bool:
    """Whether a drain evicts the pod: no pod of a DaemonSet, no static pod and no finished pod."""
    owners = pod["metadata"].get("ownerReferences", [])
    static = "kubernetes.io/config.mirror" in pod["metadata"].get("annotations", {})
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not (static or ended or any(owner["kind"] == "DaemonSet" for owner in owners))


@contextlib.contextmanager
def missing_is_fine() -> Any:
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise
