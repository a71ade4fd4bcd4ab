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
  - A pod that does not start is reported with its events, if the permission to list events in O(namespace) exists.
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
      - Lists the nodes that it would verify, and the images that it would try. Fails where none can be tried.
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
    description: Sysctls with the values that the pod sets. Required unless O(only_check_image=true).
    type: dict
    default: {}
  only_check_image:
    description:
      - Whether to check only with which image a proof pod can run on nodes like these, before a node group is created.
        The pod sets no sysctl.
      - Without O(image), the module tries the images of pods of DaemonSets on the nodes, because new nodes hold them,
        too. It needs the permission to list pods.
    type: bool
    default: false
  nodes:
    description:
      - Names of nodes, ids of instances such as C(i-0123456789abcdef0), or provider ids such as
        C(aws:///eu-central-1a/i-0123456789abcdef0).
      - The module waits for those that have not joined yet. In check mode they are an error.
    type: list
    elements: str
  selector:
    description: Label selector of nodes.
    type: str
  node_groups:
    description:
      - Names of EKS node groups. Their nodes are found by the label C(eks.amazonaws.com/nodegroup).
      - With a custom AMI, nodes need not have this label. List them or their instances in O(nodes) then.
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

- name: Check before a node group is created that a proof pod can run on nodes like these
  daytwo.aws.eks_sysctl_proof:
    cluster: prod
    node_groups: [workers]
    only_check_image: true
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
    unusable_images:
      description: Images that were tried and cannot run a proof pod, where none can.
      type: list
      elements: str
      sample: []
"""

import time
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._drain.kube import KubeError
from ..module_utils._drain.nodes import NodeSelection, select_nodes
from ..module_utils._eks_token import ClusterError
from ..module_utils._result import summarize
from ..module_utils._sysctl_nodegroup.proof_verifier import ProofPodVerifier

ARGUMENT_SPEC: dict[str, Any] = {
    **_kubernetes.OPTIONS,
    "sysctls": {"type": "dict", "default": {}},
    "only_check_image": {"type": "bool", "default": False},
    "nodes": {"type": "list", "elements": "str"},
    "selector": {"type": "str"},
    "node_groups": {"type": "list", "elements": "str"},
    "expected_nodes": {"type": "int", "default": 1},
    "namespace": {"type": "str", "default": "default"},
    "image": {"type": "str"},
    "timeout": {"type": "int", "default": 120},
}


def is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def wait_for_ready_nodes(api: Any, selection: NodeSelection, expected: int, timeout: float) -> list[dict[str, Any]]:
    """Wait until all nodes of the selection exist and enough nodes are Ready, and return them."""
    end = time.monotonic() + timeout
    while True:
        selected = select_nodes(api, selection)
        nodes = selected.nodes
        ready = [node for node in nodes if is_ready(node)]
        if len(ready) >= expected and len(ready) == len(nodes) and not selected.missing_reasons:
            return ready
        if time.monotonic() > end:
            names = [node["metadata"]["name"] for node in nodes if node not in ready]
            not_ready = [f"Not Ready: {', '.join(names)}"] if names else []
            count = max(len(nodes) + len(selected.missing_reasons), expected)
            reasons = [f"{len(ready)} of {count} nodes are Ready after {timeout:g} seconds", *not_ready]
            raise KubeError("nodes", 0, ". ".join([*reasons, *selected.missing_reasons]))
        time.sleep(1)


def get_options_error(params: dict[str, Any]) -> str:
    if params["only_check_image"] and params["sysctls"]:
        return "sysctls and only_check_image=true exclude each other. Remove one of them."
    if not params["only_check_image"] and not params["sysctls"]:
        return "sysctls is empty, so there is nothing to verify. Set it to sysctls with the values that a pod sets."
    return ""


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
    error_message = get_options_error(params)
    if error_message:
        module.fail_json(msg=error_message, nodes=[])
    sysctls = {str(key): str(value) for key, value in params["sysctls"].items()}
    try:
        selection = NodeSelection.parse(params)
        api = _kubernetes.connect(params, module.client, module.tmpdir).api
        verifier = ProofPodVerifier(
            api,
            params["namespace"],
            sysctls,
            params["image"],
            params["timeout"],
            only_image=params["only_check_image"],
        )
        if module.check_mode:
            items = verifier.preview(select_nodes(api, selection).require_all())
        else:
            nodes = wait_for_ready_nodes(api, selection, params["expected_nodes"], params["timeout"])
            items = verifier.verify(nodes)
    except (KubeError, ClusterError) as error:
        module.fail_json(msg=str(error), nodes=[])
    result = {**summarize(items), "nodes": [item.to_dict() for item in items]}
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
