# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._drain import fit, resources
from ansible_collections.daytwo.aws.plugins.module_utils._drain.model import NODE_GROUP_LABEL
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain import fit_cases
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._drain.fit_cases import FitCase

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


@pytest.mark.parametrize("case", fit_cases.CASES, ids=lambda case: case.name)
def test_a_pod_fits_where_the_scheduler_takes_it(case: FitCase) -> None:
    planned = fit.build_planned_nodes(fit_cases.OLD_NODES, "new", fit_cases.NEW_LABELS, case.taints, 3)
    found = fit.find_unschedulable_pods([pod(**case.spec)], planned, case.volumes)
    reasons = "; ".join(reason for entry in found if entry["name"] == "p" for reason in entry["reasons"])
    assert bool(reasons) is bool(case.reason), reasons
    assert case.reason in reasons


def daemon(node_name: str, **requests: str) -> dict[str, Any]:
    entry = pod(f"daemon-{node_name}", nodeName=node_name, **wants(**requests))
    entry["metadata"]["ownerReferences"] = [{"kind": "DaemonSet", "controller": True}]
    return entry


def test_what_daemon_sets_request_on_each_node_is_not_free() -> None:
    daemons = [daemon("n1", cpu="1"), daemon("n2", cpu="1")]
    assert fit.find_unschedulable_pods([pod(**wants(cpu="930m")), *daemons], planned_nodes()) == []
    (found,) = fit.find_unschedulable_pods([pod(**wants(cpu="931m")), *daemons], planned_nodes())
    assert found["reasons"] == [
        "the pod requests more cpu than a node has (1930m, of which pods of DaemonSets request 1000m)"
    ]
    three = [pod(f"p{number}", **wants(cpu="700m")) for number in range(3)]
    (together,) = fit.find_unschedulable_pods([*three, *daemons], planned_nodes())
    assert together["reasons"] == ["all pods together request more cpu than 2 nodes have beside DaemonSets (1860m)"]
    five = [pod(f"p{number}") for number in range(5)]
    (crowd,) = fit.find_unschedulable_pods([*five, *daemons], planned_nodes())
    assert crowd["reasons"] == ["there are 5 pods, but 2 nodes hold 4 pods beside DaemonSets"]


def test_host_ports_of_different_addresses_share_a_node() -> None:
    def listening(name: str, address: str = "") -> dict[str, Any]:
        port = {"hostPort": 80, **({"hostIP": address} if address else {})}
        return pod(name, containers=[{}], initContainers=[{"restartPolicy": "Always", "ports": [port]}])

    pods = [listening("a", "10.0.0.1"), listening("b", "10.0.0.2"), listening("c")]
    assert fit.find_unschedulable_pods(pods, planned_nodes()) == []
    assert fit.find_unschedulable_pods(pods, planned_nodes(1))[0]["name"] == "c"


def test_nodes_that_report_no_resources_are_not_judged_by_them() -> None:
    silent = {**node("n1"), "status": {}}
    planned = fit.build_planned_nodes([silent], "new", {}, (), 1)
    assert fit.find_unschedulable_pods([pod(**wants(cpu="100"))], planned) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("1Ki", 1024),
        ("2", 2),
        ("2.5", Fraction(5, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("+3", 3),
        ("-1", -1),
        ("1n", Fraction(1, 10**9)),
        ("1u", Fraction(1, 10**6)),
        ("1k", 1000),
        ("1M", 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Mi", 2**20),
        ("1Gi", 2**30),
        ("1Ti", 2**40),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(12, 10)),
        (3, 3),
    ],
)
def test_quantities(text: Any, value: Any) -> None:
    assert resources.parse_quantity(text) == value


@pytest.mark.parametrize("text", ["many", "", "1K", "1KI", "1ki", "1 Gi", "1e", "1ee3", "0x10", "1,5", "1e3Gi", "."])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        resources.parse_quantity(text)


@pytest.mark.parametrize(
    ("resource", "value", "text"),
    [("cpu", Fraction(3, 2), "1500m"), ("memory", 2**31, "2Gi"), ("memory", 1000, "1000"), ("example.com/gpu", 2, "2")],
)
def test_quantities_for_people(resource: str, value: Any, text: str) -> None:
    assert resources.format_quantity(resource, Fraction(value)) == text


def test_the_overhead_of_a_runtime_class_is_added() -> None:
    """The API server fills in the overhead from the RuntimeClass."""
    heavy = pod(**wants(cpu="1"), overhead={"cpu": "1"})
    assert "more cpu" in fit.find_unschedulable_pods([heavy], planned_nodes())[0]["reasons"][0]
