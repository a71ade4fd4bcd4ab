#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_node_drain
short_description: Drain nodes of a cluster in parallel, within every PodDisruptionBudget
version_added: 0.1.0
description:
  - Cordons all nodes first, so that no pod moves from a drained node to the next. Then evicts the pods of all nodes
    in parallel, and waits until each pod is gone.
  - Retries an eviction that a PodDisruptionBudget rejects. The retry comes when the budget allows it, or after the
    C(Retry-After) of the API server, until O(timeout) is over. The result names the budget that a pod waits for.
  - Rejects pods that would lose data, and pods without a controller that would create them again, before it changes
    anything. O(delete_emptydir_data) and O(delete_unmanaged) allow their eviction.
  - Leaves pods of DaemonSets and mirrors of static pods on the nodes.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.cluster_access
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Lists the pods that would be evicted, and the budgets that block them now. Changes nothing.
  diff_mode:
    support: full
    description: Shows for each node whether it is unschedulable, before and after.
  idempotent:
    support: full
    description: A second run finds the nodes cordoned and empty, and changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with the Python package kubernetes.
requirements:
  - kubernetes
options:
  nodes:
    description:
      - Names of nodes, ids of instances such as C(i-0123456789abcdef0), or provider ids such as
        C(aws:///eu-central-1a/i-0123456789abcdef0). A node that does not exist is an error.
    type: list
    elements: str
  selector:
    description: Label selector of nodes, in the syntax of C(kubectl).
    type: str
  node_groups:
    description:
      - Names of EKS node groups. Their nodes are found by the label C(eks.amazonaws.com/nodegroup).
      - With a custom AMI, nodes need not have this label. List them or their instances in O(nodes) then.
    type: list
    elements: str
  state:
    description:
      - V(drained) cordons the nodes and evicts their pods. V(cordoned) only cordons the nodes. V(uncordoned) makes the
        nodes schedulable again.
    type: str
    choices: [drained, cordoned, uncordoned]
    default: drained
  timeout:
    description:
      - Maximum time of the whole drain, in seconds, for all nodes together. With O(wait_for_replacements=true), the
        wait for replacements is included.
    type: int
    default: 3600
  grace_period:
    description:
      - Seconds that pods have to terminate. V(0) ends them at once. Without it, each pod's own grace period holds.
    type: int
  ignore_daemonsets:
    description: Whether pods of DaemonSets stay on the nodes. With V(false), such a pod makes the drain fail.
    type: bool
    default: true
  delete_emptydir_data:
    description: Whether pods with an emptyDir volume may be evicted. The data of the volume is lost.
    type: bool
    default: false
  delete_unmanaged:
    description: Whether pods without a controller may be evicted. Nothing creates them again.
    type: bool
    default: false
  uncordon_on_failure:
    description: Whether a failed drain uncordons the nodes that it has cordoned itself.
    type: bool
    default: true
  wait_for_replacements:
    description:
      - Whether to wait until the ReplicaSets and StatefulSets of the evicted pods have all their replicas Ready
        elsewhere.
    type: bool
    default: false
  workers:
    description: How many calls run at a time.
    type: int
    default: 10
seealso:
  - module: kubernetes.core.k8s_drain
    description: Drains a single node per call, and fails at the first budget that blocks an eviction.
"""

EXAMPLES = r"""
- name: Drain the nodes of a node group, for at most half an hour
  daytwo.aws.eks_node_drain:
    cluster: prod
    node_groups: [workers]
    delete_emptydir_data: true
    timeout: 1800

- name: List what blocks a drain of two nodes
  daytwo.aws.eks_node_drain:
    kubeconfig: ~/.kube/config
    nodes: [ip-10-0-0-1.ec2.internal, ip-10-0-0-2.ec2.internal]
  check_mode: true
"""

RETURN = r"""
nodes:
  description:
    - One result per node. C(status) is V(changed) if the node was cordoned or uncordoned, V(ok) if it was in the
      desired state already, or V(failed) if the drain failed.
  returned: always
  type: list
  elements: dict
  sample: [{name: ip-10-0-0-1.ec2.internal, status: changed, reason: cordoned and empty, unschedulable: true}]
pods:
  description: One result per pod. In check mode, RV(ignore:pods[].reason) names the budget that blocks the pod now.
  returned: with state=drained
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the pod.
      type: str
      sample: shop
    name:
      description: Name of the pod.
      type: str
      sample: web-6d4cf56db6-x2x4q
    node:
      description: Node of the pod.
      type: str
      sample: ip-10-0-0-1.ec2.internal
    status:
      description:
        - V(evicted) if the pod is gone.
        - V(failed) if it is not gone within O(timeout), or an error occurred. The reason names a budget that blocked
          it.
        - V(refused) if it needs an explicit option. Then nothing is evicted.
        - V(skipped) if it stays, such as a pod of a DaemonSet.
        - V(pending) if an error ended the drain before the pod was gone.
        - V(would_evict) in check mode.
      type: str
      sample: evicted
    reason:
      description: The reason of the status.
      type: str
      sample: gone
    attempts:
      description: How often the eviction was attempted.
      type: int
      sample: 3
    blocking_budgets:
      description: PodDisruptionBudgets that blocked the eviction.
      type: list
      elements: str
      sample: [shop/web]
    seconds:
      description: Seconds from the start of the drain until the pod was gone.
      type: float
      sample: 12.5
budgets:
  description: PodDisruptionBudgets that blocked evictions, with the number of pods that waited for each.
  returned: with state=drained
  type: dict
  sample: {shop/web: 3}
progress:
  description: Progress of the drain. Each entry shows how many pods are gone, are left, and wait for a budget.
  returned: always
  type: list
  elements: str
  sample: ["0 gone, 4 left, 3 wait for budget shop/web", "4 gone, 0 left"]
"""

from collections import Counter
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._drain import plan
from ..module_utils._drain.kube import KubeClient, KubeError
from ..module_utils._drain.model import DrainRules, Node
from ..module_utils._drain.nodes import NodeSelection, select_nodes
from ..module_utils._drain.run import Drain
from ..module_utils._eks_token import ClusterError

ARGUMENT_SPEC: dict[str, Any] = {
    **_kubernetes.OPTIONS,
    "nodes": {"type": "list", "elements": "str"},
    "selector": {"type": "str"},
    "node_groups": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": ["drained", "cordoned", "uncordoned"], "default": "drained"},
    "timeout": {"type": "int", "default": 3600},
    "grace_period": {"type": "int"},
    "ignore_daemonsets": {"type": "bool", "default": True},
    "delete_emptydir_data": {"type": "bool", "default": False},
    "delete_unmanaged": {"type": "bool", "default": False},
    "uncordon_on_failure": {"type": "bool", "default": True},
    "wait_for_replacements": {"type": "bool", "default": False},
    "workers": {"type": "int", "default": 10},
}


def preview_drain(drain: Drain, nodes: list[Node]) -> dict[str, Any]:
    """The evictions of a run, and the budgets that would block them now."""
    decisions = drain.plan_evictions(nodes)[0]
    pods = [
        {
            "namespace": decision.pod.namespace,
            "name": decision.pod.name,
            "node": decision.pod.node,
            "status": {plan.EVICT: "would_evict", plan.SKIP: "skipped", plan.REFUSE: "refused"}[decision.action],
            "reason": (decision.blocking_reason if decision.action == plan.EVICT else "") or decision.reason,
            "attempts": 0,
            "blocking_budgets": [budget.key for budget in decision.budgets if decision.blocking_reason],
            "seconds": 0.0,
        }
        for decision in decisions
    ]
    refused = drain.record_refused_pods(decisions)
    changed = any(not node.unschedulable for node in nodes) or any(pod["status"] == "would_evict" for pod in pods)
    return {"changed": changed and not refused, "pods": pods}


def run_drain(drain: Drain, nodes: list[Node], check_mode: bool) -> dict[str, Any]:
    if check_mode:
        result = preview_drain(drain, nodes)
    else:
        drain.run(nodes)
        pods = [outcome.to_dict() for outcome in drain.outcomes.values()]
        evicted = any(pod["status"] == "evicted" for pod in pods)
        kept = set(drain.cordoned_nodes) - set(drain.uncordoned_nodes)
        result = {"changed": evicted or bool(kept), "pods": pods}
    waiting = Counter(budget for pod in result["pods"] for budget in pod["blocking_budgets"])
    result["budgets"] = dict(sorted(waiting.items()))
    return result


def build_node_results(drain: Drain, nodes: list[Node], state: str, check_mode: bool) -> list[dict[str, Any]]:
    found = []
    for node in nodes:
        desired = state != "uncordoned"
        touched = node.name in drain.cordoned_nodes or node.name in drain.uncordoned_nodes
        back = node.name in drain.cordoned_nodes and node.name in drain.uncordoned_nodes
        would = check_mode and node.unschedulable != desired
        now = node.unschedulable if back or not (touched or would) else desired
        status = "failed" if drain.error else "changed" if now != node.unschedulable else "ok"
        reason = "uncordoned again, because the drain failed" if back else drain.error or f"{state}"
        found.append({"name": node.name, "status": status, "reason": reason, "unschedulable": now})
    return found


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=_kubernetes.MUTUALLY_EXCLUSIVE,
        required_one_of=[("nodes", "selector", "node_groups")],
        check_boto3=False,
    )
    if not _kubernetes.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"))
    params = module.params
    rules = DrainRules(
        params["ignore_daemonsets"], params["delete_emptydir_data"], params["delete_unmanaged"], params["grace_period"]
    )
    nodes: list[Node] = []
    drain = None
    result: dict[str, Any] = {"changed": False}
    try:
        selection = NodeSelection.parse(params)
        api = _kubernetes.connect(params, module.client, module.tmpdir).api
        drain = Drain(KubeClient(api), rules, params["timeout"], params["workers"], params["uncordon_on_failure"])
        drain.wait_for_replacements = params["wait_for_replacements"]
        nodes = [Node.parse(node) for node in select_nodes(api, selection).require_all()]
        if not nodes:
            module.warn("No node matches selector or node_groups, so there is nothing to do. Check the names.")
        if params["state"] == "drained":
            result.update(run_drain(drain, nodes, module.check_mode))
        else:
            cordoning = params["state"] == "cordoned"
            to_change = [node for node in nodes if node.unschedulable != cordoning]
            result["changed"] = bool(to_change)
            if not module.check_mode:
                drain.cordon(nodes, cordoning)
        result["nodes"] = build_node_results(drain, nodes, params["state"], module.check_mode)
        result["progress"] = drain.progress
        drain_error = drain.error
    except (KubeError, ClusterError) as error:
        touched = bool(drain and (drain.cordoned_nodes or drain.uncordoned_nodes))
        module.fail_json(msg=str(error), changed=touched, progress=drain.progress if drain else [])
    if module._diff:
        before = {node.name: {"unschedulable": node.unschedulable} for node in nodes}
        after = {node["name"]: {"unschedulable": node["unschedulable"]} for node in result["nodes"]}
        result["diff"] = {"before": before, "after": after}
    if drain_error:
        module.fail_json(msg=drain_error, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
