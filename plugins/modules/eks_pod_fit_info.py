#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_pod_fit_info
short_description: Check whether the pods of node groups fit on a planned node group
version_added: 0.1.0
description:
  - Reads the pods on the nodes of the old node groups, and lists those that would stay Pending on the planned nodes.
    Each planned node is like one of the old nodes, but has the planned labels and taints.
  - Checks node selectors, required node affinity, taints, volumes that are bound to a place, host ports, requests and
    the number of pods per node, by the rules of the scheduler. What pods of DaemonSets request is not free.
  - Does not check affinity between pods, topology spread constraints, dynamic resource claims, and how many volumes a
    node can attach.
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
    description: Reads the same as without check mode.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with the Python package kubernetes.
requirements:
  - kubernetes
options:
  node_groups:
    description: Names of the old EKS node groups. Their nodes are found by the label C(eks.amazonaws.com/nodegroup).
    type: list
    elements: str
  old_nodes:
    description:
      - Names of old nodes, ids of their instances, or provider ids. A node that does not exist is an error.
      - Use it with a custom AMI, whose nodes need not have the label of their node group.
    type: list
    elements: str
  name:
    description: Name of the planned node group.
    type: str
    required: true
  labels:
    description: Labels of the planned node group, in addition to those that all old nodes share.
    type: dict
    default: {}
  taints:
    description: Taints of the planned node group.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Key of the taint.
        type: str
        required: true
      value:
        description: Value of the taint.
        type: str
        default: ""
      effect:
        description: Effect of the taint, in the spelling of Kubernetes.
        type: str
        choices: [NoSchedule, PreferNoSchedule, NoExecute]
        required: true
  nodes:
    description: Number of planned nodes. Without it, the number of old nodes.
    type: int
seealso:
  - module: daytwo.aws.eks_node_drain
"""

EXAMPLES = r"""
- name: Fail if a pod of workers does not fit on workers-sysctl
  daytwo.aws.eks_pod_fit_info:
    cluster: prod
    node_groups: [workers]
    name: workers-sysctl
  register: fit
  failed_when: fit.unschedulable_pods | length > 0
"""

RETURN = r"""
unschedulable_pods:
  description: Pods that would stay Pending, with the reasons.
  returned: always
  type: list
  elements: dict
  sample:
    - namespace: shop
      name: web-1
      reasons: [the node selector requires eks.amazonaws.com/nodegroup=workers]
pods_checked:
  description: Number of pods that were checked.
  returned: always
  type: int
  sample: 40
"""

from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._drain import fit
from ..module_utils._drain.kube import KubeError, list_node_pods, list_resources
from ..module_utils._drain.nodes import NodeSelection, select_nodes
from ..module_utils._eks_token import ClusterError


def main() -> None:
    spec: dict[str, Any] = {
        **_kubernetes.OPTIONS,
        "node_groups": {"type": "list", "elements": "str"},
        "old_nodes": {"type": "list", "elements": "str"},
        "name": {"type": "str", "required": True},
        "labels": {"type": "dict", "default": {}},
        "taints": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "key": {"type": "str", "required": True, "no_log": False},
                "value": {"type": "str", "default": ""},
                "effect": {
                    "type": "str",
                    "choices": ["NoSchedule", "PreferNoSchedule", "NoExecute"],
                    "required": True,
                },
            },
        },
        "nodes": {"type": "int"},
    }
    module = AnsibleAWSModule(
        argument_spec=spec,
        supports_check_mode=True,
        required_one_of=[("node_groups", "old_nodes")],
        mutually_exclusive=_kubernetes.MUTUALLY_EXCLUSIVE,
        check_boto3=False,
    )
    if not _kubernetes.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"))
    params = module.params
    try:
        selection = NodeSelection.parse(params, "old_nodes")
        api = _kubernetes.connect(params, module.client, module.tmpdir).api
        old_nodes = select_nodes(api, selection).require_all()
        pods = []
        for node in old_nodes:
            pods += list_node_pods(api, node["metadata"]["name"])
        claims = any("persistentVolumeClaim" in volume for pod in pods for volume in pod["spec"].get("volumes") or [])
        volumes = list_resources(api, "/api/v1/persistentvolumes") if claims else []
        count = len(old_nodes) if params["nodes"] is None else params["nodes"]
        planned = fit.build_planned_nodes(old_nodes, params["name"], params["labels"], params["taints"], count)
        unschedulable_pods = fit.find_unschedulable_pods(pods, planned, volumes) if old_nodes else []
    except (KubeError, ClusterError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, unschedulable_pods=unschedulable_pods, pods_checked=len(pods))


if __name__ == "__main__":
    main()
