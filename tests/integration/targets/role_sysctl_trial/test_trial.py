# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sysctl trial on a real kubelet: verified by a pod, and reverted byte for byte by the role or by the node."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator

import pytest
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.role_sysctl_nodegroup.kit import UNSAFE, Fleet, named
from integration.targets.role_sysctl_trial.kit import OWN, PLAYBOOK, TRIAL_LABEL, Trial

DROP_IN = "/etc/kubernetes/kubelet/config.json.d/99-daytwo-sysctl-trial.conf"
STATE = "/etc/daytwo-sysctl-trial"


def untouched(trial: Trial, before: str) -> None:
    assert trial.snapshot() == before
    assert trial.labels_and_taints() == []


@pytest.mark.parametrize(
    "name",
    [
        "vm.max_map_count",
        *(pytest.param(sysctl, marks=pytest.mark.full) for sysctl in ("net.core.*x", "kernel.sem_next_id")),
    ],
)
def test_what_a_kubelet_would_not_start_with_is_refused_before_anything_is_written(trial: Trial, name: str) -> None:
    before = trial.snapshot()
    tasks = trial.run(sysctl_trial_sysctls={name: 1})
    refused = named(tasks, "Reject sysctls with which the kubelet would not start")
    assert refused.failed
    assert "a kubelet" in refused.message
    assert not any(task.changed for task in tasks)
    untouched(trial, before)


def test_tried_proved_and_taken_back(trial: Trial) -> None:
    before = trial.snapshot()
    check = trial.run("--check")
    assert not any(task.failed or task.changed for task in check), trial.fleet.output
    assert f"would allow {OWN}, {UNSAFE} by {DROP_IN}" in named(check, "Show the plan").result["msg"][-1]
    untouched(trial, before)
    # With text, as AWX surveys send it, and with AWS credentials only.
    tasks = trial.run(
        sysctl_trial_cluster=trial.fleet.cluster.name, sysctl_trial_kubeconfig="", sysctl_trial_sysctls=f"{UNSAFE}=2048"
    )
    assert not any(task.failed for task in tasks), trial.fleet.output
    proof = named(tasks, "Verify by a pod").result["nodes"]
    assert [(entry["name"], entry["effective"]) for entry in proof] == [(trial.node, {UNSAFE: "2048"})]
    untouched(trial, before)
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")


@pytest.mark.full
def test_kept_it_is_there_until_it_is_reverted(trial: Trial) -> None:
    before = trial.snapshot()
    tasks = trial.run(sysctl_trial_keep=True)
    assert not any(task.failed for task in tasks), trial.fleet.output
    assert trial.labels_and_taints() == [f"taint {TRIAL_LABEL}", TRIAL_LABEL, f"{TRIAL_LABEL}-before"]
    assert json.loads(trial.ssh(f"cat {DROP_IN}"))["allowedUnsafeSysctls"] == [OWN, UNSAFE]
    assert trial.effective() == [OWN, UNSAFE]
    assert trial.ssh("systemctl is-active daytwo-sysctl-trial.timer") == "active"
    second = trial.run()
    assert "a trial is in progress on this node until" in second[-1].message
    assert second[-1].failed
    reverted = trial.run(sysctl_trial_mode="revert")
    assert not any(task.failed for task in reverted), trial.fleet.output
    assert named(reverted, "Restore the kubelet's configuration").changed
    untouched(trial, before)
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")
    again = trial.run(sysctl_trial_mode="revert")
    assert not any(task.failed or task.changed for task in again), trial.fleet.output


@pytest.mark.full
def test_a_proof_that_fails_is_taken_back(trial: Trial) -> None:
    before = trial.snapshot()
    tasks = trial.run(sysctl_trial_sysctls={UNSAFE: "no number"}, sysctl_trial_proof_timeout=5)
    assert named(tasks, "Verify by a pod").failed
    untouched(trial, before)
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")


@pytest.mark.full
def test_a_proof_that_the_kernel_refuses_quotes_the_event_of_its_pod(trial: Trial) -> None:
    """No table has this name, so it is tried: the kubelet accepts it, and the kernel does not have it."""
    before = trial.snapshot()
    tasks = trial.run(sysctl_trial_sysctls={"net.core.no_such_sysctl": "1"})
    failed = named(tasks, "Verify by a pod")
    assert failed.failed
    assert "cannot set the sysctls of the pod: FailedCreatePodSandBox: " in failed.message
    assert "/proc/sys/net/core/no_such_sysctl" in failed.message
    untouched(trial, before)
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")


@pytest.mark.parametrize("host", ["nope", ""])
def test_a_host_that_the_inventory_does_not_have_fails(host: str) -> None:
    command = ["ansible-playbook", PLAYBOOK, "-e", f"sysctl_trial_host={host}", "-e", "sysctl_trial_cluster=none"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert f"{host or 'sysctl_trial_host'} is the name of 0 hosts of the inventory" in ran.stdout + ran.stderr


@pytest.mark.full
def test_a_kubelet_that_does_not_come_back_is_noticed_at_once(trial: Trial) -> None:
    """The kubelet does not start again, because somebody has left a broken file."""
    bad = "/etc/kubernetes/kubelet/config.json.d/50-bad.conf"
    trial.ssh(f"echo '{{}}' > {bad}")
    before = trial.snapshot()
    tasks = trial.run()
    tried = named(tasks, "Add the sysctls to the kubelet's allow-list")
    assert tried.failed
    assert "the kubelet does not stay up" in tried.result["stdout"] + tried.result["stderr"]
    untouched(trial, before)
    trial.ssh(f"rm {bad}; systemctl restart kubelet")
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")


def test_the_node_takes_it_back_by_itself_when_the_controller_is_killed(trial: Trial) -> None:
    before = trial.snapshot()
    tasks = trial.run(env={"IT_DIE": "Verify by a pod"}, sysctl_trial_seconds=15)
    assert tasks[-1].task.endswith("Add the sysctls to the kubelet's allow-list, after the timer of the revert runs")
    assert tasks[-1].changed
    wait_for(lambda: trial.ssh(f"ls -d {STATE} || true") == "", "the node's own timer", 60)
    assert trial.snapshot() == before
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")
    # A node cannot remove its own taint.
    assert trial.labels_and_taints() == [f"taint {TRIAL_LABEL}", TRIAL_LABEL, f"{TRIAL_LABEL}-before"]
    tasks = trial.run(sysctl_trial_mode="revert")
    assert not any(task.failed for task in tasks), trial.fleet.output
    untouched(trial, before)


@pytest.mark.full
@pytest.mark.parametrize(
    "task",
    [
        "Label the node",
        "Taint the node",
        "Add the sysctls to the kubelet",
        "Add the verified",
        "Restore the",
        "Remove the taint",
    ],
)
def test_killed_anywhere_a_revert_leaves_nothing(trial: Trial, task: str) -> None:
    before = trial.snapshot()
    trial.run(env={"IT_DIE": task})
    tasks = trial.run(sysctl_trial_mode="revert")
    assert not any(task.failed for task in tasks), trial.fleet.output
    untouched(trial, before)
    wait_for(lambda: trial.effective() == [OWN], "the kubelet's previous allow-list")


@pytest.mark.full
def test_on_al2_the_configuration_itself_is_changed(fleet: Fleet) -> None:
    name = f"al2-{fleet.mark}"
    fleet.create(name, launchTemplate=fleet.al2_template())
    trial = Trial(fleet, name)
    before = trial.snapshot()
    tasks = trial.run()
    assert not any(task.failed for task in tasks), fleet.output
    assert named(tasks, "Verify by a pod").result["nodes"][0]["effective"] == {UNSAFE: "2048"}
    assert (
        f"by /etc/kubernetes/kubelet/kubelet-config.json on {trial.node}"
        in named(tasks, "Show the plan").result["msg"][-1]
    )
    untouched(trial, before)
    wait_for(lambda: trial.effective() == [], "the kubelet's previous allow-list")


# An imitation of apiclient by its documentation, on the AL2023 node: nobody can log in to the bed's Bottlerocket nodes.
APICLIENT = """\
#!/usr/bin/python3 -IS
import json, subprocess, sys
path = "/etc/kubernetes/kubelet/config.json.d/60-bottlerocket.conf"
kind = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
name = "allowed-unsafe-sysctls"
if sys.argv[1:] == ["get", f"settings.kubernetes.{name}"]:
    patterns = json.load(open(path))["allowedUnsafeSysctls"]
    print(json.dumps({"settings": {"kubernetes": {name: patterns}}}, indent=2))
elif sys.argv[1:3] == ["set", "--json"] and len(sys.argv) == 4:
    patterns = json.loads(sys.argv[3])["kubernetes"][name]
    json.dump({**kind, "allowedUnsafeSysctls": patterns}, open(path, "w"))
    subprocess.run(["systemctl", "restart", "kubelet"], check=True)
else:
    sys.exit(f"unknown: {sys.argv[1:]}")
"""


@pytest.fixture
def bottlerocket(trial: Trial) -> Iterator[Trial]:
    encoded = base64.b64encode(APICLIENT.encode()).decode()
    trial.ssh(f"echo {encoded} | base64 -d > /usr/bin/apiclient && chmod 755 /usr/bin/apiclient")
    setting = json.dumps({"kubernetes": {"allowed-unsafe-sysctls": [OWN]}})
    trial.ssh(f"apiclient set --json '{setting}'")
    yield trial
    trial.ssh("rm /usr/bin/apiclient /etc/kubernetes/kubelet/config.json.d/60-bottlerocket.conf")
    trial.ssh("systemctl restart kubelet")


@pytest.mark.full
def test_bottlerocket_gets_its_setting_back_from_the_controller(bottlerocket: Trial) -> None:
    trial = bottlerocket
    before = trial.ssh("apiclient get settings.kubernetes.allowed-unsafe-sysctls")
    tasks = trial.run(sysctl_trial_node=trial.node)
    assert not any(task.failed for task in tasks), trial.fleet.output
    assert named(tasks, "Verify by a pod").result["nodes"][0]["effective"] == {UNSAFE: "2048"}
    assert trial.ssh("apiclient get settings.kubernetes.allowed-unsafe-sysctls") == before
    assert trial.labels_and_taints() == []
    # Bottlerocket has no timer. The annotation of the node holds the previous setting.
    trial.run(sysctl_trial_node=trial.node, env={"IT_DIE": "Verify by a pod"})
    assert UNSAFE in trial.ssh("apiclient get settings.kubernetes.allowed-unsafe-sysctls")
    second = trial.run(sysctl_trial_node=trial.node)
    assert second[-1].failed
    assert "a trial is in progress on this node" in second[-1].message
    reverted = trial.run(sysctl_trial_node=trial.node, sysctl_trial_mode="revert")
    assert not any(task.failed for task in reverted), trial.fleet.output
    assert trial.ssh("apiclient get settings.kubernetes.allowed-unsafe-sysctls") == before
    assert trial.labels_and_taints() == []
