# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of a cluster with a real node, and of a pod that its kubelet has rejected."""

from __future__ import annotations

import json

import pytest
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.role_sysctl_nodegroup.kit import UNSAFE, named
from integration.targets.role_sysctl_trial.kit import OWN, Trial
from testbed.nodes.image import BUSYBOX


def test_it_reports_allowed_sysctls_and_rejected_pods(trial: Trial) -> None:
    fleet = trial.fleet
    path = f"/api/v1/namespaces/{fleet.namespace}/pods"
    wait_for(
        lambda: fleet.api.get(f"/api/v1/namespaces/{fleet.namespace}/serviceaccounts")["items"], "the service account"
    )
    container = {"name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "1000"]}
    spec = {
        "nodeName": trial.node,
        "securityContext": {"sysctls": [{"name": UNSAFE, "value": "2048"}]},
        "containers": [container],
    }
    fleet.api.post(path, {"metadata": {"name": "wants"}, "spec": spec})
    wait_for(
        lambda: fleet.api.get(f"{path}/wants")["status"].get("reason") == "SysctlForbidden", "the rejection of the pod"
    )
    # AWX surveys send text.
    tasks = fleet.run(
        "daytwo.aws.sysctl_audit",
        {
            "sysctl_audit_cluster": fleet.cluster.name,
            "sysctl_audit_node_groups": f"{fleet.old}",
            "sysctl_audit_pods": "true",
            "sysctl_audit_configz": "true",
            "sysctl_audit_kubeconfig": str(fleet.cluster.kubeconfig),
        },
    )
    assert not any(task.failed or task.changed for task in tasks), fleet.output
    (group,) = named(tasks, "Read node groups").result["groups"]
    assert (group["name"], group["configured"], group["effective"]) == (fleet.old, [OWN], {trial.node: [OWN]})
    assert group["drifted_nodes"] == []
    (allowed,) = named(tasks, "Show what each node group allows").result["msg"]
    assert allowed == f"{fleet.old} ({group['version']}, al2023): {OWN}"
    lines = named(tasks, "Show which nodes reject which pods").result["msg"]
    assert f"{fleet.namespace}/wants: {UNSAFE} on nodes of {fleet.old}" in "\n".join(lines)
    assert any(line.startswith(f"{fleet.namespace}/wants on {trial.node}: ") and UNSAFE in line for line in lines)


@pytest.mark.full
def test_a_kubelet_that_somebody_changed_by_hand_is_reported(trial: Trial) -> None:
    fleet = trial.fleet
    kind = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    text = json.dumps({**kind, "allowedUnsafeSysctls": [UNSAFE]})
    by_hand = "/etc/kubernetes/kubelet/config.json.d/99-by-hand.conf"
    variables = {
        "sysctl_audit_cluster": fleet.cluster.name,
        "sysctl_audit_node_groups": fleet.old,
        "sysctl_audit_configz": "true",
        "sysctl_audit_kubeconfig": str(fleet.cluster.kubeconfig),
    }
    try:
        trial.ssh(f"echo '{text}' > {by_hand} && systemctl restart kubelet")
        wait_for(lambda: trial.effective() == [UNSAFE], "the changed allow-list of the kubelet")
        tasks = fleet.run("daytwo.aws.sysctl_audit", variables)
    finally:
        trial.ssh(f"rm -f {by_hand} && systemctl restart kubelet")
        wait_for(lambda: trial.effective() == [OWN], "the previous allow-list of the kubelet")
    assert not any(task.failed or task.changed for task in tasks), fleet.output
    (group,) = named(tasks, "Read node groups").result["groups"]
    assert (group["configured"], group["effective"], group["drifted_nodes"]) == (
        [OWN],
        {trial.node: [UNSAFE]},
        [trial.node],
    )
    shown = named(tasks, "Show what each node group allows").result["msg"]
    assert f"{fleet.old}: drift on {trial.node}, whose kubelet allows {UNSAFE}" in shown
