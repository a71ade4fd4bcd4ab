#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_node_drain
short_description: Drains nodes of a cluster side by side, respecting every PodDisruptionBudget
version_added: 0.1.0
description:
  - Cordons all nodes first, so that no pod moves from one to the next, then evicts their pods on all nodes at once, and
    waits until each is gone.
  - An eviction that a PodDisruptionBudget refuses is tried again when the budget allows it, or after the time that the
    API server hints at, until O(timeout). The result names the budget.
  - Pods that would lose data, or that nothing makes again, are refused before anything is touched, unless asked for.
  - Pods of daemon sets and mirrors of static pods stay.
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
    description: Lists what would be evicted, and which budgets are in the way now. Writes nothing.
  diff_mode:
    support: full
    description: Shows which nodes were schedulable before and are after.
  idempotent:
    support: full
    description: A second run finds the nodes cordoned and empty, and changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever the Python package kubernetes is.
requirements:
  - kubernetes
options:
  nodes:
    description: Names of nodes. One that does not exist is an error.
    type: list
    elements: str
  selector:
    description: Label selector of nodes, as C(kubectl) takes it.
    type: str
  node_groups:
    description:
      - Names of EKS node groups, whose nodes are meant, found by their label. With an AMI of one's own, nodes need not
        bear it; name O(nodes) then.
    type: list
    elements: str
  state:
    description:
      - V(drained) cordons and evicts. V(cordoned) only cordons. V(uncordoned) lets pods be scheduled there again.
    type: str
    choices: [drained, cordoned, uncordoned]
    default: drained
  timeout:
    description: How long to go on until every pod is gone, in seconds, all nodes together.
    type: int
    default: 3600
  grace_period:
    description: Seconds that pods get to end. V(0) ends them at once. Without it, each pod's own.
    type: int
  ignore_daemonsets:
    description: Whether pods of daemon sets stay. V(false) refuses where there are any.
    type: bool
    default: true
  delete_emptydir_data:
    description: Whether pods with an emptyDir volume may go, whose data is lost.
    type: bool
    default: false
  delete_unmanaged:
    description: Whether pods that have no controller may go, which nothing makes again.
    type: bool
    default: false
  uncordon_on_failure:
    description: Whether a drain that fails uncordons the nodes that it has cordoned itself.
    type: bool
    default: true
  wait_for_replacements:
    description:
      - Whether to wait until the replica sets and stateful sets of the evicted pods are all Ready elsewhere.
    type: bool
    default: false
  workers:
    description: How many calls are made at a time.
    type: int
    default: 10
seealso:
  - module: kubernetes.core.k8s_drain
    description: Drains one node a call, and fails at the first budget that is in the way.
"""

EXAMPLES = r"""
- name: Drain the nodes of a node group, for at most half an hour
  daytwo.aws.eks_node_drain:
    cluster: prod
    node_groups: [workers]
    delete_emptydir_data: true
    timeout: 1800

- name: What is in the way of a drain of two nodes
  daytwo.aws.eks_node_drain:
    kubeconfig: ~/.kube/config
    nodes: [ip-10-0-0-1.ec2.internal, ip-10-0-0-2.ec2.internal]
  check_mode: true
"""

RETURN = r"""
nodes:
  description: One result per node.
  returned: always
  type: list
  elements: dict
  sample: [{name: ip-10-0-0-1.ec2.internal, status: changed, reason: cordoned and empty, unschedulable: true}]
pods:
  description: One result per pod. In check mode RV(ignore:pods[].reason) says which budget is in its way now.
  returned: with state=drained
  type: list
  elements: dict
  contains:
    namespace:
      description: Its namespace.
      type: str
      sample: shop
    name:
      description: Its name.
      type: str
      sample: web-6d4cf56db6-x2x4q
    node:
      description: Its node.
      type: str
      sample: ip-10-0-0-1.ec2.internal
    status:
      description: V(evicted), V(skipped), V(refused), V(failed), V(pending), or in check mode V(would_evict).
      type: str
      sample: evicted
    reason:
      description: Why, in words.
      type: str
      sample: gone
    tries:
      description: How often it was tried.
      type: int
      sample: 3
    waited_for:
      description: Budgets that were in its way.
      type: list
      elements: str
      sample: [shop/web]
    seconds:
      description: When it was gone, after the beginning.
      type: float
      sample: 12.5
budgets:
  description: Budgets that were in the way, with the number of pods that waited for each.
  returned: with state=drained
  type: dict
  sample: {shop/web: 3}
progress:
  description: What was seen while it went on.
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
from ..module_utils._drain.model import NODE_GROUP_LABEL, DrainRules, Node
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


def find_nodes(kube: KubeClient, params: dict[str, Any]) -> list[Node]:
    """The nodes that are meant, each once."""
    found: dict[str, Node] = {}
    if params["nodes"]:
        there = {one.name: one for one in kube.list_nodes()}
        missing = [name for name in params["nodes"] if name not in there]
        if missing:
            raise KubeError("nodes", 0, f"there is no node {', '.join(missing)}. Nothing was changed")
        found.update({name: there[name] for name in params["nodes"]})
    if params["selector"]:
        found.update({one.name: one for one in kube.list_nodes(params["selector"])})
    if params["node_groups"]:
        selector = f"{NODE_GROUP_LABEL} in ({','.join(params['node_groups'])})"
        found.update({one.name: one for one in kube.list_nodes(selector)})
    return list(found.values())


def preview_drain(drain: Drain, nodes: list[Node]) -> dict[str, Any]:
    """What a run would do, and what would be in its way now."""
    decisions = drain.plan_evictions(nodes)[0]
    pods = [
        {
            "namespace": one.pod.namespace,
            "name": one.pod.name,
            "node": one.pod.node,
            "status": {plan.EVICT: "would_evict", plan.SKIP: "skipped", plan.REFUSE: "refused"}[one.action],
            "reason": (one.blocking_reason if one.action == plan.EVICT else "") or one.reason,
            "tries": 0,
            "waited_for": [budget.key for budget in one.budgets if one.blocking_reason],
            "seconds": 0.0,
        }
        for one in decisions
    ]
    refused = [one for one in decisions if one.action == plan.REFUSE]
    if refused:
        said = "; ".join(f"{one.pod.key} on {one.pod.node}: {one.reason}" for one in refused[:10])
        drain.error = f"{len(refused)} pods must not be evicted without being asked for: {said}"
    changed = any(not one.unschedulable for one in nodes) or any(one["status"] == "would_evict" for one in pods)
    return {"changed": changed and not refused, "pods": pods}


def run_drain(drain: Drain, nodes: list[Node], check_mode: bool) -> dict[str, Any]:
    if check_mode:
        result = preview_drain(drain, nodes)
    else:
        drain.run(nodes)
        pods = [one.to_dict() for one in drain.outcomes.values()]
        evicted = any(one["status"] == "evicted" for one in pods)
        kept = set(drain.cordoned_nodes) - set(drain.uncordoned_nodes)
        result = {"changed": evicted or bool(kept), "pods": pods}
    waited = Counter(budget for one in result["pods"] for budget in one["waited_for"])
    result["budgets"] = dict(sorted(waited.items()))
    return result


def build_node_results(drain: Drain, nodes: list[Node], state: str, check_mode: bool) -> list[dict[str, Any]]:
    found = []
    for node in nodes:
        wanted = state != "uncordoned"
        touched = node.name in drain.cordoned_nodes or node.name in drain.uncordoned_nodes
        back = node.name in drain.cordoned_nodes and node.name in drain.uncordoned_nodes
        would = check_mode and node.unschedulable != wanted
        now = node.unschedulable if back or not (touched or would) else wanted
        status = "failed" if drain.error else "changed" if now != node.unschedulable else "ok"
        reason = "uncordoned again, since the drain failed" if back else drain.error or f"{state}"
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
        kube = KubeClient(_kubernetes.connect(params, module.client, module.tmpdir).api)
        drain = Drain(kube, rules, params["timeout"], params["workers"], params["uncordon_on_failure"])
        drain.wait_for_replacements = params["wait_for_replacements"]
        nodes = find_nodes(kube, params)
        if params["state"] == "drained":
            result.update(run_drain(drain, nodes, module.check_mode))
        else:
            cordoning = params["state"] == "cordoned"
            todo = [one for one in nodes if one.unschedulable != cordoning]
            result["changed"] = bool(todo)
            if not module.check_mode:
                drain.cordon(nodes, cordoning)
    except (KubeError, ClusterError) as error:
        touched = bool(drain and (drain.cordoned_nodes or drain.uncordoned_nodes))
        module.fail_json(msg=str(error), changed=touched, progress=drain.progress if drain else [])
    result["nodes"] = build_node_results(drain, nodes, params["state"], module.check_mode)
    result["progress"] = drain.progress
    if module._diff:
        before = {one.name: {"unschedulable": one.unschedulable} for one in nodes}
        after = {one["name"]: {"unschedulable": one["unschedulable"]} for one in result["nodes"]}
        result["diff"] = {"before": before, "after": after}
    if drain.error:
        module.fail_json(msg=drain.error, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
