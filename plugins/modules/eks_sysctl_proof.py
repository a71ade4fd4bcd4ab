#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_sysctl_proof
short_description: Verify on each node by a pod that sysctls can be set
version_added: 0.1.0
description:
  - Creates a small proof pod on each node. The proof pod sets the sysctls and reads the values back from its own
    C(/proc/sys). Then the pod is deleted. The nodes are verified in parallel.
  - A safe sysctl, such as C(net.ipv4.tcp_keepalive_time), does not show whether a node group allows unsafe sysctls. Use
    an unsafe one.
  - The pod needs an image with C(cat). Without O(image), the module tries the images that the node holds, the smallest
    first, and pulls nothing. It needs no shell in the image and no permission to read logs.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.cluster_access
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: partial
    description: Creates no pod, and so verifies nothing.
    details:
      - Lists the nodes that it would verify.
  diff_mode:
    support: none
    description: Leaves nothing changed.
  idempotent:
    support: full
    description: A second run verifies the same again.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with the Python package kubernetes.
requirements:
  - kubernetes
options:
  sysctls:
    description: Sysctls with the values that the pod sets.
    type: dict
    required: true
  nodes:
    description: Names of nodes.
    type: list
    elements: str
  selector:
    description: Label selector of nodes.
    type: str
  node_groups:
    description:
      - Names of EKS node groups. Their nodes are found by the label C(eks.amazonaws.com/nodegroup).
      - With a custom AMI, nodes need not have this label. List them in O(nodes) then.
    type: list
    elements: str
  expected_nodes:
    description: Number of nodes that must be Ready before the first pod is created.
    type: int
    default: 1
  namespace:
    description: Namespace of the proof pods. For unsafe sysctls, its Pod Security level must be C(privileged).
    type: str
    default: default
  image:
    description: Image with C(cat). A node that does not hold the image pulls it.
    type: str
  timeout:
    description: How long to wait for nodes to be Ready, and then for each pod, in seconds.
    type: int
    default: 120
seealso:
  - module: daytwo.aws.eks_sysctl_nodegroup
"""

EXAMPLES = r"""
- name: Verify that pods on these nodes may set net.core.somaxconn
  daytwo.aws.eks_sysctl_proof:
    cluster: prod
    node_groups: [workers-sysctl]
    sysctls:
      net.core.somaxconn: 2048
"""

RETURN = r"""
nodes:
  description: One result per node.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
      sample: ip-10-0-0-1.ec2.internal
    status:
      description: V(ok), V(failed), or in check mode V(skipped).
      type: str
      sample: ok
    reason:
      description: The values that were read, or why they could not be verified.
      type: str
      sample: "read in a pod on the node: net.core.somaxconn = 2048"
    image:
      description: Image of the proof pod.
      type: str
      sample: busybox:1.36
    effective:
      description: Values that the pod read.
      type: dict
      sample: {net.core.somaxconn: "2048"}
"""

import time
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._drain.kube import KubeError, call_kube_api
from ..module_utils._drain.model import NODE_GROUP_LABEL
from ..module_utils._eks_token import ClusterError
from ..module_utils._result import ItemResult, summarize
from ..module_utils._sysctl_nodegroup.proof_verifier import ProofPodVerifier

ARGUMENT_SPEC: dict[str, Any] = {
    **_kubernetes.OPTIONS,
    "sysctls": {"type": "dict", "required": True},
    "nodes": {"type": "list", "elements": "str"},
    "selector": {"type": "str"},
    "node_groups": {"type": "list", "elements": "str"},
    "expected_nodes": {"type": "int", "default": 1},
    "namespace": {"type": "str", "default": "default"},
    "image": {"type": "str"},
    "timeout": {"type": "int", "default": 120},
}


def find_nodes(api: Any, params: dict[str, Any]) -> list[dict[str, Any]]:
    selectors = [params["selector"]] if params["selector"] else []
    if params["node_groups"]:
        selectors.append(f"{NODE_GROUP_LABEL} in ({','.join(params['node_groups'])})")
    found = {}
    for selector in selectors:
        for node in call_kube_api(api, "GET", "/api/v1/nodes", query=[("labelSelector", selector)])["items"]:
            found[node["metadata"]["name"]] = node
    for name in params["nodes"] or []:
        found[name] = call_kube_api(api, "GET", f"/api/v1/nodes/{name}")
    return list(found.values())


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def wait_for_ready_nodes(api: Any, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Wait until enough nodes are Ready, and return them."""
    end = time.monotonic() + params["timeout"]
    while True:
        nodes = find_nodes(api, params)
        ready = [node for node in nodes if is_ready(node)]
        if len(ready) >= params["expected_nodes"] and len(ready) == len(nodes):
            return ready
        if time.monotonic() > end:
            not_ready = [node["metadata"]["name"] for node in nodes if node not in ready]
            raise KubeError(
                "nodes",
                0,
                f"{len(ready)} of {max(len(nodes), params['expected_nodes'])} nodes are Ready after "
                f"{params['timeout']} seconds{'. Not Ready: ' + ', '.join(not_ready) if not_ready else ''}",
            )
        time.sleep(1)


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
    sysctls = {str(key): str(value) for key, value in params["sysctls"].items()}
    try:
        api = _kubernetes.connect(params, module.client, module.tmpdir).api
        if module.check_mode:
            nodes = find_nodes(api, params)
            items = [ItemResult(node["metadata"]["name"], "skipped", "would be verified by a pod") for node in nodes]
        else:
            nodes = wait_for_ready_nodes(api, params)
            verifier = ProofPodVerifier(api, params["namespace"], sysctls, params["image"], params["timeout"])
            items = verifier.verify(nodes)
    except (KubeError, ClusterError) as error:
        module.fail_json(msg=str(error), nodes=[])
    result = {**summarize(items), "nodes": [item.to_dict() for item in items]}
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
