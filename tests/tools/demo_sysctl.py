# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Demo of node groups whose pods may set sysctls: a real Kubernetes, and two real kubelets, one after the other."""

from __future__ import annotations

import subprocess
import sys
import time

import demo_pod
from demo import check, explain, proved, refuse, title
from demo_cluster import NEW, OLD, SPACE, UNSAFE, Stage
from testbed import Bed, BedError, programs


def main() -> None:
    title("Node groups whose pods may set sysctls")
    if not programs.directory().exists():
        explain(
            """This demo needs the programs of Kubernetes, and they are not built yet. Run `make demo` again when
            `make testbed-up CLUSTER=1` has ended."""
        )
        return
    subprocess.run([sys.executable, "-m", "testbed", "up", "--cluster"], check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    bed = Bed.load()
    bed.cluster.ensure()
    stage = Stage(bed)
    stage.clear()
    try:
        stage.fill()
        play_act(stage)
        demo_pod.play(stage, 5)
    finally:
        stage.clear()
    proved(f"It took {time.monotonic() - began:.0f} s. More: docs/sysctl_nodegroup.md")


def play_act(stage: Stage) -> None:
    explain(
        f"""An EKS cluster with a real Kubernetes has a node group {OLD} with one real kubelet. An application of two
        pods runs there. Its PodDisruptionBudget allows one unavailable pod."""
    )
    title("1  Does keep-alive require a node group?")
    output = " ".join(stage.playbook("net.ipv4.tcp_keepalive_time", "--check").split())
    check("safe since Kubernetes 1.29" in output, "the output does not name the version since which it is safe.")
    check("would:" not in output, "the plan has steps.")
    proved("No. Since 1.29, every kubelet lets pods set it.")
    title(f"2  Another pod sets {UNSAFE}")
    check("SysctlForbidden" in stage.cache("SysctlForbidden"), "the pod is not forbidden.")
    proved("The kubelet refuses the pod.")
    title("3  Blue/green replacement by a group that allows it")
    output = " ".join(stage.playbook(UNSAFE).split())
    check(stage.groups() == [NEW], f"the node groups are {stage.groups()}.")
    check(stage.ready() == 2, "the application is not complete.")
    proved(
        f"{NEW} exists, and a proof pod verified its node. The application runs there. {OLD} is drained and deleted."
    )
    title("4  The same pod again")
    stage.cache("Running")
    value = stage.run("kubectl", "exec", "-n", SPACE, "cache", "--", "cat", "/proc/sys/net/core/somaxconn").strip()
    check(value == "2048", f"the value is {value}.")
    proved("The pod runs with the requested value.")


if __name__ == "__main__":
    try:
        main()
    except BedError as error:
        refuse(str(error))
