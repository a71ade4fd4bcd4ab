#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_sysctl_proof
short_description: Proves on each node that pods may set sysctls there, by a pod that does
version_added: 0.1.0
description:
  - Puts a small pod that sets the sysctls on each of the nodes, reads the values back from the pod's own C(/proc/sys),
    and removes the pod. Nodes are proved side by side.
  - A safe sysctl, such as C(net.ipv4.tcp_keepalive_time), proves nothing about a node group. Use one that is unsafe.
  - The pod needs an image that has C(cat). Without O(image), those that the node holds are tried in turn, the smallest
    first, so nothing is pulled. No shell and no right to read logs is needed.
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
    description: Makes no pod, and so proves nothing.
    details:
      - Says which nodes it would try.
  diff_mode:
    support: none
    description: Nothing stays changed.
  idempotent:
    support: full
    description: A second run proves the same again.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever the Python package kubernetes is.
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
      - Names of EKS node groups, whose nodes are meant, found by their label. With an AMI of one's own, nodes need not
        bear it; name O(nodes) then.
    type: list
    elements: str
  expected_nodes:
    description: Waits until so many of the nodes are Ready before it begins.
    type: int
    default: 1
  namespace:
    description: Where the pods are made. Pod Security must be C(privileged) there for unsafe sysctls.
    type: str
    default: default
  image:
    description: An image with C(cat), pulled where it is not there.
    type: str
  timeout:
    description: How long to wait for nodes to be Ready, and then for each pod, in seconds.
    type: int
    default: 120
seealso:
  - module: daytwo.aws.eks_sysctl_nodegroup
"""

EXAMPLES = r"""
- name: Pods on these nodes may set what they need
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
      description: Its name.
      type: str
      sample: ip-10-0-0-1.ec2.internal
    status:
      description: V(ok), V(failed), or in check mode V(skipped).
      type: str
      sample: ok
    reason:
      description: What was read, or what hinders it.
      type: str
      sample: read inside a pod there, net.core.somaxconn = 2048
    image:
      description: The image that served.
      type: str
      sample: busybox:1.36
    found:
      description: What the pod read.
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
        for one in call_kube_api(api, "GET", "/api/v1/nodes", query=[("labelSelector", selector)])["items"]:
            found[one["metadata"]["name"]] = one
    for name in params["nodes"] or []:
        found[name] = call_kube_api(api, "GET", f"/api/v1/nodes/{name}")
    return list(found.values())


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def wait_for_ready_nodes(api: Any, params: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes, once enough of them are Ready."""
    end = time.monotonic() + params["timeout"]
    while True:
        nodes = find_nodes(api, params)
        good = [one for one in nodes if is_ready(one)]
        if len(good) >= params["expected_nodes"] and len(good) == len(nodes):
            return good
        if time.monotonic() > end:
            waiting = [one["metadata"]["name"] for one in nodes if one not in good]
            raise KubeError(
                "nodes",
                0,
                f"{len(good)} of {max(len(nodes), params['expected_nodes'])} nodes are Ready after {params['timeout']} "
                f"seconds{', not ' + ', '.join(waiting) if waiting else ''}",
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
    wanted = {str(key): str(value) for key, value in params["sysctls"].items()}
    try:
        api = _kubernetes.connect(params, module.client, module.tmpdir).api
        if module.check_mode:
            nodes = find_nodes(api, params)
            items = [ItemResult(one["metadata"]["name"], "skipped", "would be proved by a pod") for one in nodes]
        else:
            nodes = wait_for_ready_nodes(api, params)
            prover = ProofPodVerifier(api, params["namespace"], wanted, params["image"], params["timeout"])
            items = prover.verify(nodes)
    except (KubeError, ClusterError) as error:
        module.fail_json(msg=str(error), nodes=[])
    result = {**summarize(items), "nodes": [one.to_dict() for one in items]}
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
