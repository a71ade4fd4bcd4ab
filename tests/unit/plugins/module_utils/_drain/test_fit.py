# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._drain import fit
from ansible_collections.daytwo.aws.plugins.module_utils._drain.model import NODE_GROUP_LABEL

ZONE = fit.ZONE_LABEL
ROOM = {"cpu": "1930m", "memory": "7Gi", "pods": "3"}


def node(name: str, zone: str = "a", **labels: str) -> dict[str, Any]:
    own = {NODE_GROUP_LABEL: "old", "kubernetes.io/hostname": name, ZONE: zone, "disk": "ssd", **labels}
    return {"metadata": {"name": name, "labels": own}, "status": {"allocatable": ROOM}}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "d", "name": name}, "spec": {"containers": [{}], **spec}, "status": {}}


def planned_nodes(nodes: int = 2, **more: Any) -> fit.PlannedNodes:
    given = {"labels": {}, "taints": (), **more}
    return fit.build_planned_nodes(
        [node("n1", "a", rack="1"), node("n2", "b", rack="2")], "new", node_count=nodes, **given
    )


def affinity(key: str, operator: str, *values: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


def wants(**requests: str) -> dict[str, Any]:
    return {"containers": [{"resources": {"requests": requests}}]}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, ""),
        ({"nodeSelector": {"disk": "ssd"}}, ""),
        ({"nodeSelector": {"team": "a"}}, ""),
        ({"nodeSelector": {NODE_GROUP_LABEL: "old"}}, "node selector requires eks.amazonaws.com/nodegroup=old"),
        ({"nodeSelector": {"kubernetes.io/hostname": "n1"}}, "kubernetes.io/hostname=n1"),
        ({"nodeSelector": {"rack": "1"}}, "rack=1"),
        ({"nodeSelector": {ZONE: "b"}}, ""),
        ({"nodeSelector": {ZONE: "c"}}, "zone=c"),
        (affinity("disk", "In", "ssd", "hdd"), ""),
        (affinity("disk", "NotIn", "ssd"), "node affinity requires disk NotIn"),
        (affinity(NODE_GROUP_LABEL, "In", "old"), "node affinity requires eks.amazonaws.com/nodegroup In"),
        (affinity("alpha.eksctl.io/nodegroup-name", "Exists"), "alpha.eksctl.io/nodegroup-name Exists"),
        (wants(cpu="1", memory="1Gi"), ""),
        (wants(cpu="2"), "more cpu than a node has (1930m)"),
        (wants(memory="8Gi"), "more memory than a node has"),
    ],
)
def test_a_pod_fits_or_has_a_reason(spec: dict[str, Any], reason: str) -> None:
    found = fit.find_unschedulable_pods([pod(**spec)], planned_nodes(labels={"team": "a"}))
    assert bool(found) is bool(reason)
    if reason:
        assert reason in found[0]["reasons"][0]


def test_taints_of_the_planned_group() -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    assert (
        "does not tolerate the taint k=v"
        in fit.find_unschedulable_pods([pod()], planned_nodes(taints=[taint]))[0]["reasons"][0]
    )
    tolerant = pod(tolerations=[{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}])
    assert fit.find_unschedulable_pods([tolerant], planned_nodes(taints=[taint])) == []
    assert fit.find_unschedulable_pods([pod()], planned_nodes(taints=[{**taint, "effect": "PreferNoSchedule"}])) == []


@pytest.mark.parametrize(("zone", "fits"), [("a", True), ("c", False)])
def test_zonal_volumes(zone: str, fits: bool) -> None:
    term = {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
    volume = {
        "metadata": {"name": "pv-1"},
        "spec": {
            "claimRef": {"namespace": "d", "name": "data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }
    stateful = pod(volumes=[{"name": "x", "persistentVolumeClaim": {"claimName": "data"}}])
    found = fit.find_unschedulable_pods([stateful], planned_nodes(), [volume])
    assert (found == []) is fits
    if not fits:
        assert found[0]["reasons"] == ["the volume pv-1 is bound to c"]
    assert fit.find_unschedulable_pods([pod()], planned_nodes(), [volume]) == []


def test_host_ports_and_the_crowd() -> None:
    ports = {"containers": [{"ports": [{"hostPort": 80}]}]}
    three = [pod(f"p{number}", **ports) for number in range(3)]
    assert fit.find_unschedulable_pods(three[:2], planned_nodes()) == []
    assert "more pods use host port 80 than" in fit.find_unschedulable_pods(three, planned_nodes())[0]["reasons"][0]
    many = [pod(f"p{number}") for number in range(7)]
    assert fit.find_unschedulable_pods(many[:6], planned_nodes()) == []
    assert fit.find_unschedulable_pods(many, planned_nodes())[0]["reasons"] == [
        "there are 7 pods, but 2 nodes hold 3 pods each"
    ]
    greedy = [pod(f"p{number}", **wants(cpu="1500m")) for number in range(3)]
    assert "all pods together request more cpu" in fit.find_unschedulable_pods(greedy, planned_nodes())[0]["reasons"][0]


def test_daemon_sets_and_finished_pods_do_not_move() -> None:
    daemon = pod(nodeSelector={NODE_GROUP_LABEL: "old"})
    daemon["metadata"]["ownerReferences"] = [{"kind": "DaemonSet", "controller": True}]
    done = {**pod(nodeSelector={NODE_GROUP_LABEL: "old"}), "status": {"phase": "Succeeded"}}
    assert fit.find_unschedulable_pods([daemon, done], planned_nodes()) == []


def test_quantities() -> None:
    assert fit.parse_quantity("100m") == 0.1
    assert fit.parse_quantity("1Ki") == 1024
    assert fit.parse_quantity("2") == 2
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        fit.parse_quantity("many")
