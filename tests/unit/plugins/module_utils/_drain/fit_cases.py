# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that fit or do not fit on planned nodes. The unit tests run them, and the real scheduler does, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._drain.model import NODE_GROUP_LABEL

ZONE = "topology.kubernetes.io/zone"
EBS_ZONE = "topology.ebs.csi.aws.com/zone"
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
ZONE_ID = "topology.k8s.aws/zone-id"
LOCAL_NODE = "topology.local.example/node"
HOST = "kubernetes.io/hostname"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
ROOM = {"cpu": "1930m", "memory": "7Gi", "pods": "3", "ephemeral-storage": "20Gi", "example.com/gpu": "2"}
BIG_ROOM = {**ROOM, "cpu": "3920m"}
TAINT = {"key": "dedicated", "value": "sysctls", "effect": "NoSchedule"}


def labels(name: str, zone: str, **more: str) -> dict[str, str]:
    zones = {ZONE: zone, EBS_ZONE: zone, OLD_ZONE: zone, ZONE_ID: f"use1-az-{zone}"}
    return {**zones, HOST: name, LOCAL_NODE: name, "disk": "ssd", "generation": "7", **more}


def node(name: str, group: str, zone: str, room: dict[str, str], instance_type: str, **more: str) -> dict[str, Any]:
    own = {**labels(name, zone, **more), INSTANCE_TYPE: instance_type, NODE_GROUP_LABEL: group}
    provider = {"providerID": f"aws:///{zone}/i-{name}"}
    return {"metadata": {"name": name, "labels": own}, "spec": provider, "status": {"allocatable": room}}


OLD_NODES = [
    node("old-1", "old", "a", ROOM, "m7i.large", rack="1"),
    node("old-2", "old", "a", ROOM, "m7i.large", rack="2"),
    node("old-3", "old", "b", BIG_ROOM, "m7i.xlarge", rack="3"),
]
NEW_LABELS = {"team": "a"}
# The planned nodes as they are when they exist.
NEW_NODES = [
    node("new-1", "new", "a", ROOM, "m7i.large", **NEW_LABELS),
    node("new-2", "new", "a", ROOM, "m7i.large", **NEW_LABELS),
    node("new-3", "new", "b", BIG_ROOM, "m7i.xlarge", **NEW_LABELS),
]


@dataclass(frozen=True)
class FitCase:
    """A pod, and whether a planned node takes it. C(reason): a part of the reason where none does."""

    name: str
    spec: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    volumes: tuple[dict[str, Any], ...] = ()
    taints: tuple[dict[str, str], ...] = ()


def container(_limits: Any = None, **requests: str) -> dict[str, Any]:
    return {"resources": {"requests": dict(requests), **({"limits": _limits} if _limits else {})}}


def sidecar(**requests: str) -> dict[str, Any]:
    return {**container(**requests), "restartPolicy": "Always"}


def affinity(key: str, operator: str, *values: str, kind: str = "matchExpressions") -> dict[str, Any]:
    expression = {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
    return node_affinity({kind: [expression]})


def node_affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def term(*expressions: tuple[str, str, list[str]]) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": v} for key, operator, v in expressions]}


def volume(name: str, *terms: dict[str, Any], zones: dict[str, str] | None = None) -> dict[str, Any]:
    """A persistent volume whose claim has the same name."""
    required = {"nodeAffinity": {"required": {"nodeSelectorTerms": list(terms)}}} if terms else {}
    return {
        "metadata": {"name": name, **({"labels": zones} if zones else {})},
        "spec": {"claimRef": {"namespace": "d", "name": name}, **required},
    }


def mounting(*claims: str) -> dict[str, Any]:
    return {"volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]}


def on(key: str, *zones: str) -> dict[str, Any]:
    return term((key, "In", list(zones)))


TOO_MUCH_CPU = "more cpu than a node has"
REQUESTS = [
    FitCase("one CPU", {"containers": [container(cpu="1")]}),
    FitCase("what the larger node has", {"containers": [container(cpu="3920m")]}),
    FitCase("a thousandth more", {"containers": [container(cpu="3921m")]}, TOO_MUCH_CPU),
    FitCase("a part of a thousandth more", {"containers": [container(cpu="3920000001n")]}, TOO_MUCH_CPU),
    FitCase("CPU in millionths", {"containers": [container(cpu="3920000u")]}),
    FitCase("CPU with an exponent", {"containers": [container(cpu="4e3")]}, TOO_MUCH_CPU),
    FitCase("memory in Mi", {"containers": [container(memory="7168Mi")]}),
    FitCase("memory with a fraction", {"containers": [container(memory="7.01Gi")]}, "more memory"),
    FitCase("memory with an exponent", {"containers": [container(memory="7e9")]}),
    FitCase("memory in millis", {"containers": [container(memory="7516192768000m")]}),
    FitCase("memory in Pi", {"containers": [container(memory="1Pi")]}, "more memory"),
    FitCase("memory in E", {"containers": [container(memory="1E")]}, "more memory"),
    FitCase("memory in Ei", {"containers": [container(memory="1Ei")]}, "more memory"),
    FitCase("memory in G", {"containers": [container(memory="8G")]}, "more memory"),
    FitCase("no requests at all", {"containers": [container()]}),
    FitCase("a request of zero", {"containers": [container(cpu="0", memory="0")]}),
    FitCase("containers add up", {"containers": [container(cpu="2"), container(cpu="2")]}, TOO_MUCH_CPU),
    FitCase("a limit is a request", {"containers": [{"resources": {"limits": {"cpu": "4"}}}]}, TOO_MUCH_CPU),
    FitCase("a request below its limit", {"containers": [container({"cpu": "4"}, cpu="1")]}),
    FitCase(
        "an init container larger than the containers",
        {"containers": [container(cpu="1")], "initContainers": [container(cpu="4")]},
        TOO_MUCH_CPU,
    ),
    FitCase(
        "init containers do not add up",
        {"containers": [container(cpu="3")], "initContainers": [container(cpu="3"), container(cpu="3")]},
    ),
    FitCase(
        "a native sidecar adds up",
        {"containers": [container(cpu="3")], "initContainers": [sidecar(cpu="1")]},
        TOO_MUCH_CPU,
    ),
    FitCase(
        "an init container after a sidecar",
        {"containers": [container(cpu="1")], "initContainers": [sidecar(cpu="1"), container(cpu="3")]},
        TOO_MUCH_CPU,
    ),
    FitCase(
        "an init container before a sidecar",
        {"containers": [container(cpu="1")], "initContainers": [container(cpu="3"), sidecar(cpu="1")]},
    ),
    FitCase(
        "requests of the whole pod",
        {"containers": [container(memory="1Gi")], "resources": {"requests": {"cpu": "4"}}},
        TOO_MUCH_CPU,
    ),
    FitCase(
        "requests of the whole pod beside those of its container",
        {"containers": [container(cpu="2")], "resources": {"requests": {"cpu": "3"}}},
    ),
    FitCase("an extended resource", {"containers": [container({"example.com/gpu": "2"})]}),
    FitCase("more of an extended resource", {"containers": [container({"example.com/gpu": "3"})]}, "more example"),
    FitCase("an extended resource that no node has", {"containers": [container({"example.com/fpga": "1"})]}, "fpga"),
    FitCase("local storage", {"containers": [container(**{"ephemeral-storage": "21Gi"})]}, "more ephemeral-storage"),
    FitCase("huge pages", {"containers": [container({"hugepages-2Mi": "4Mi", "memory": "1Gi"})]}, "hugepages"),
]
PLACES = [
    FitCase("a label of all nodes", {"nodeSelector": {"disk": "ssd"}}),
    FitCase("a label of the planned group", {"nodeSelector": {"team": "a"}}),
    FitCase("the old group", {"nodeSelector": {NODE_GROUP_LABEL: "old"}}, "nodegroup=old"),
    FitCase("the new group", {"nodeSelector": {NODE_GROUP_LABEL: "new"}}),
    FitCase("a node", {"nodeSelector": {HOST: "old-1"}}, "hostname=old-1"),
    FitCase("a label that is set by hand", {"nodeSelector": {"rack": "1"}}, "rack=1"),
    FitCase("a zone", {"nodeSelector": {ZONE: "b"}}),
    FitCase("a zone by another label", {"nodeSelector": {EBS_ZONE: "b"}}),
    FitCase("the id of a zone", {"nodeSelector": {ZONE_ID: "use1-az-a"}}),
    FitCase("a zone without a node", {"nodeSelector": {ZONE: "c"}}, "zone=c"),
    FitCase("an instance type", {"nodeSelector": {INSTANCE_TYPE: "m7i.xlarge"}}),
    FitCase("zone and type together", {"nodeSelector": {ZONE: "a", INSTANCE_TYPE: "m7i.xlarge"}}, "no single node"),
    FitCase("two labels of one zone", {"nodeSelector": {ZONE: "a", EBS_ZONE: "b"}}, "no single node"),
    FitCase("In", affinity("disk", "In", "ssd", "hdd")),
    FitCase("NotIn", affinity("disk", "NotIn", "ssd"), "the node affinity requires disk NotIn"),
    FitCase("NotIn for a label that no node has", affinity("color", "NotIn", "red")),
    FitCase("Exists", affinity("rack", "Exists"), "rack Exists"),
    FitCase("DoesNotExist", affinity("rack", "DoesNotExist")),
    FitCase("Gt", affinity("generation", "Gt", "6")),
    FitCase("Gt the same", affinity("generation", "Gt", "7"), "generation Gt"),
    FitCase("Lt", affinity("generation", "Lt", "7"), "generation Lt"),
    FitCase("Lt for text", affinity("disk", "Lt", "7"), "disk Lt"),
    FitCase("one of two terms", node_affinity(on("disk", "hdd"), on(ZONE, "a"))),
    FitCase("both parts of a term", node_affinity(term(("disk", "In", ["ssd"]), (ZONE, "In", ["c"]))), "zone In"),
    FitCase("parts of a term in two zones", node_affinity(term((ZONE, "In", ["a"]), (EBS_ZONE, "In", ["b"]))), "In"),
    FitCase("a node by its name", affinity("metadata.name", "In", "old-1", kind="matchFields"), "metadata.name In"),
    FitCase("not a node by its name", affinity("metadata.name", "NotIn", "old-1", kind="matchFields")),
    FitCase("an empty term beside another", node_affinity({}, on(ZONE, "a"))),
    FitCase("an empty term alone", node_affinity({}), "the node affinity requires"),
    FitCase("large in zone a", {"containers": [container(cpu="3")], "nodeSelector": {ZONE: "a"}}, TOO_MUCH_CPU),
    FitCase("large in zone b", {"containers": [container(cpu="3")], "nodeSelector": {ZONE: "b"}}),
]
VOLUMES = [
    FitCase(f"a volume by {key}", mounting("v"), volumes=(volume("v", on(key, value)),))
    for key, value in ((ZONE, "a"), (EBS_ZONE, "b"), (OLD_ZONE, "a"), (ZONE_ID, "use1-az-a"))
]
VOLUMES += [
    FitCase("a volume in a zone without a node", mounting("v"), "bound to c", (volume("v", on(EBS_ZONE, "c")),)),
    FitCase("a volume in one of two zones", mounting("v"), volumes=(volume("v", on(EBS_ZONE, "c", "b")),)),
    FitCase("a volume of an old node", mounting("v"), "bound to old-1", (volume("v", on(HOST, "old-1")),)),
    FitCase("a local volume", mounting("v"), "bound to old-1", (volume("v", on(LOCAL_NODE, "old-1")),)),
    FitCase("a volume with two terms", mounting("v"), volumes=(volume("v", on(HOST, "old-1"), on(EBS_ZONE, "b")),)),
    FitCase("a volume without a place", mounting("v"), volumes=(volume("v"),)),
    FitCase("another pod's volume", volumes=(volume("v", on(EBS_ZONE, "c")),)),
    FitCase("an old volume with a label", mounting("v"), volumes=(volume("v", zones={ZONE: "a"}),)),
    FitCase("an old volume in another zone", mounting("v"), "bound to c", (volume("v", zones={OLD_ZONE: "c"}),)),
    FitCase("an old volume of two zones", mounting("v"), volumes=(volume("v", zones={ZONE: "c__b"}),)),
    FitCase(
        "volumes in two zones",
        mounting("v", "w"),
        "no single node",
        (volume("v", on(EBS_ZONE, "a")), volume("w", on(EBS_ZONE, "b"))),
    ),
    FitCase(
        "a volume in a, and a selector for b",
        {**mounting("v"), "nodeSelector": {ZONE: "b"}},
        "no single node",
        (volume("v", on(EBS_ZONE, "a")),),
    ),
    FitCase(
        "a large pod with its volume where the nodes are small",
        {**mounting("v"), "containers": [container(cpu="3")]},
        "no single node",
        (volume("v", on(EBS_ZONE, "a")),),
    ),
]
TAINTS = [
    FitCase("a taint", {}, "does not tolerate the taint dedicated=sysctls:NoSchedule", taints=(TAINT,)),
    FitCase("a taint without an effect on scheduling", taints=({**TAINT, "effect": "PreferNoSchedule"},)),
    *(
        FitCase(f"toleration {number}", {"tolerations": [toleration]}, "" if fits else "not tolerate", taints=(TAINT,))
        for number, (toleration, fits) in enumerate(
            [
                ({"operator": "Exists"}, True),
                ({"key": "dedicated", "operator": "Exists"}, True),
                ({"key": "dedicated", "value": "sysctls"}, True),
                ({"key": "dedicated", "operator": "Equal", "value": "sysctls", "effect": "NoSchedule"}, True),
                ({"key": "dedicated", "operator": "Equal", "value": "other"}, False),
                ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
                ({"key": "other", "operator": "Exists"}, False),
                ({"key": "dedicated"}, False),
            ]
        )
    ),
]
CASES = [*REQUESTS, *PLACES, *VOLUMES, *TAINTS]
