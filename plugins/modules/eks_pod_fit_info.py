#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_pod_fit_info
short_description: Whether the pods of node groups will find room in a group that is planned
version_added: 0.1.0
description:
  - Looks at the pods on the nodes of the old groups, and says which of them would stay Pending on nodes that are like
    the old ones but in another group, with the labels, taints and number that are planned.
  - Node selectors, required node affinity, taints, zonal volumes, host ports, requests and pods per node are looked at.
    Affinity between pods and topology spread are not.
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
    description: Reads the same.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever the Python package kubernetes is.
requirements:
  - kubernetes
options:
  node_groups:
    description: Names of the old EKS node groups, whose nodes are found by their label.
    type: list
    elements: str
  old_nodes:
    description: Names of old nodes. With an AMI of one's own, nodes need not bear the label of their group.
    type: list
    elements: str
  name:
    description: Name of the planned group.
    type: str
    required: true
  labels:
    description: Labels of the planned group, beside those that all old nodes share.
    type: dict
    default: {}
  taints:
    description: Taints of the planned group, each with C(key), C(value) and C(effect) in Kubernetes' spelling.
    type: list
    elements: dict
    default: []
  nodes:
    description: Number of planned nodes. Without it, that of the old ones.
    type: int
seealso:
  - module: daytwo.aws.eks_node_drain
"""

EXAMPLES = r"""
- name: Will everything on workers fit on workers-sysctl
  daytwo.aws.eks_pod_fit_info:
    cluster: prod
    node_groups: [workers]
    name: workers-sysctl
  register: fit
  failed_when: fit.misfits | length > 0
"""

RETURN = r"""
misfits:
  description: Pods that would find no place, with the reasons.
  returned: always
  type: list
  elements: dict
  sample:
    - namespace: shop
      name: web-1
      reasons: [its node selector wants eks.amazonaws.com/nodegroup=workers]
pods:
  description: Number of pods that were looked at.
  returned: always
  type: int
  sample: 40
"""

from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._drain import fit
from ..module_utils._drain.kube import KubeError, list_resources
from ..module_utils._drain.model import NODE_GROUP_LABEL
from ..module_utils._eks_token import ClusterError


def main() -> None:
    spec: dict[str, Any] = {
        **_kubernetes.OPTIONS,
        "node_groups": {"type": "list", "elements": "str"},
        "old_nodes": {"type": "list", "elements": "str"},
        "name": {"type": "str", "required": True},
        "labels": {"type": "dict", "default": {}},
        "taints": {"type": "list", "elements": "dict", "default": []},
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
        api = _kubernetes.connect(params, module.client, module.tmpdir).api
        old = [
            node
            for node in list_resources(api, "/api/v1/nodes")
            if node["metadata"]["name"] in (params["old_nodes"] or [])
            or (node["metadata"].get("labels") or {}).get(NODE_GROUP_LABEL) in (params["node_groups"] or [])
        ]
        pods = []
        for node in old:
            pods += list_resources(
                api, "/api/v1/pods", [("fieldSelector", f"spec.nodeName={node['metadata']['name']}")]
            )
        claims = any("persistentVolumeClaim" in one for pod in pods for one in pod["spec"].get("volumes") or [])
        volumes = list_resources(api, "/api/v1/persistentvolumes") if claims else []
        count = len(old) if params["nodes"] is None else params["nodes"]
        there = fit.build_planned_nodes(old, params["name"], params["labels"], params["taints"], count)
        found = fit.find_unschedulable_pods(pods, there, volumes) if old else []
    except (KubeError, ClusterError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, misfits=found, pods=len(pods))


if __name__ == "__main__":
    main()
