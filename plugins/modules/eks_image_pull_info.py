#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_image_pull_info
short_description: Explain why a pod cannot pull its image, and which remediation helps
version_added: 0.1.0
description:
  - Follows the path of a pull from the pod to the registry. Checks the node, DNS, VPC endpoints, routes, gateways,
    security groups, network ACLs, policies, the repository and pull secrets. Changes nothing.
  - The answer is the first cause in the order of the path, with evidence and a remediation, and everything else that is
    wrong. The text of the kubelet's event decides between causes that are otherwise equal.
  - Each check is V(ok), V(wrong) or V(unknown). What could not be read, and what lies beyond a transit gateway, a
    peering connection or a firewall, is V(unknown) and named. Nothing is guessed, and no packet is sent.
  - With O(pulls), answers whether a pull would work from a node or a subnet, without any pod.
  - Reads everything once for all pods. The number of calls depends on the pages, not on the pods.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.cluster_access
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  namespaces:
    description: Namespaces whose pods are diagnosed. An empty list selects all namespaces.
    type: list
    elements: str
    default: []
  label_selector:
    description: Label selector of the pods, in the notation of C(kubectl). Without it, no pod is left out.
    type: str
  all_pods:
    description: Whether to diagnose pods whose images are present, too. Only pods that have a node are diagnosed.
    type: bool
    default: false
  pull_secrets:
    description:
      - Whether to read the pull secrets that the pods name. Of each secret, only the registry hosts are kept.
      - Without it, or without the permission, the check of a pull secret is V(unknown).
    type: bool
    default: false
  pulls:
    description:
      - Pulls to plan. Each is an image, and a node or a subnet from which it would be pulled. No pod is read.
      - Without the name of a node in any entry, the cluster is not contacted.
      - Mutually exclusive with O(namespaces), O(label_selector) and O(all_pods).
    type: list
    elements: dict
    suboptions:
      image:
        description: Image reference, as a pod would name it.
        type: str
        required: true
      node:
        description: Name of a node, or the id of its instance.
        type: str
      subnet:
        description: Id of a subnet, instead of a node.
        type: str
      security_groups:
        description: Ids of the security groups that a node in the subnet would have.
        type: list
        elements: str
        default: []
      role:
        description: ARN of the node role that a node in the subnet would have.
        type: str
attributes:
  check_mode:
    support: full
    description: Only reads.
  diff_mode:
    support: none
    description: Nothing changes.
  idempotent:
    support: full
    description: Only reads.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with boto3 and kubernetes.
requirements:
  - kubernetes >= 24.2.0
notes:
  - The IAM permissions are listed in docs/iam/eks_image_pull_info.json, those of the cluster in
    docs/rbac/image_pull.yaml. A permission that is missing makes its checks V(unknown).
seealso:
  - module: daytwo.aws.image_offline_transfer
  - module: daytwo.aws.image_copy
"""

EXAMPLES = r"""
- name: Explain why pods of the shop cannot pull their images
  daytwo.aws.eks_image_pull_info:
    cluster: blue
    namespaces: [shop]
  register: report

- name: Show the causes
  ansible.builtin.debug:
    msg: "{{ report.lines }}"

- name: Check whether a new subnet could pull an image
  daytwo.aws.eks_image_pull_info:
    pulls:
      - image: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/app:v1
        subnet: subnet-0123456789abcdef0
        security_groups: [sg-0123456789abcdef0]
        role: arn:aws:iam::123456789012:role/nodes
"""

RETURN = r"""
pulls:
  description: One entry for each image that a container waits for, or for each entry of O(pulls).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The pod and its container, or the image and where it would be pulled.
      type: str
      sample: "shop/app-7d4b9c-x2x4z: app"
    status:
      description:
        - V(wrong) if a check is wrong, V(unknown) if a check is unknown and none is wrong, else V(ok).
      type: str
      sample: wrong
    reason:
      description: The first cause as a sentence, or what is not known.
      type: str
      sample: The gateway endpoint vpce-0a1b has no route in rtb-0c2d, which subnet-0e3f uses.
    namespace:
      description: Namespace of the pod; null in a plan.
      type: str
      sample: shop
    pod:
      description: Name of the pod; null in a plan.
      type: str
      sample: app-7d4b9c-x2x4z
    container:
      description: Name of the container; null in a plan.
      type: str
      sample: app
    image:
      description: Image reference.
      type: str
      sample: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop/app:v1
    node:
      description: Name of the node.
      type: str
      sample: ip-10-0-1-5.eu-central-1.compute.internal
    instance_id:
      description: Instance of the node; null if it is not known.
      type: str
      sample: i-0123456789abcdef0
    subnet_id:
      description: Subnet of the node's primary interface; null if it is not known.
      type: str
      sample: subnet-0e3f
    message:
      description: The kubelet's message that decided, with its class; null without any.
      type: dict
      sample:
        class: timeout
        text: "dial tcp 3.5.136.1:443: i/o timeout"
        host: prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com
        address: 3.5.136.1
    cause:
      description: The first check in the order of the path that is wrong and explains the message; null without any.
      type: dict
      sample:
        check: endpoint
        target: s3
        status: wrong
        reason: The gateway endpoint vpce-0a1b has no route in rtb-0c2d, which subnet-0e3f uses.
        evidence: [vpce-0a1b, rtb-0c2d]
        remediation: Associate vpce-0a1b with rtb-0c2d.
    also_wrong:
      description: Everything else that is wrong, in the form of RV(pulls[].cause).
      type: list
      elements: dict
      sample: []
    unknown:
      description: Checks whose result is not known, in the same form.
      type: list
      elements: dict
      sample: []
    checks:
      description: All checks in the order of the path, in the same form.
      type: list
      elements: dict
      sample: []
totals:
  description: Number of pulls by status.
  returned: always
  type: dict
  sample: {ok: 0, wrong: 12, unknown: 0}
lines:
  description: The result for people. Pulls with the same cause share a line.
  returned: always
  type: list
  elements: str
  sample:
    - "wrong: shop/app-1: app: The gateway endpoint vpce-0a1b has no route in rtb-0c2d, which subnet-0e3f uses."
    - "  remediation: Associate vpce-0a1b with rtb-0c2d."
    - "  evidence: vpce-0a1b, rtb-0c2d"
not_checked:
  description: Parts that could not be read, with the permission that is missing.
  returned: always
  type: list
  elements: str
  sample: []
msg:
  description: The totals as a sentence.
  returned: always
  type: str
  sample: 0 ok, 12 wrong, 0 unknown.
"""

import contextlib
import re
from typing import Any, Optional

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._aws_call import ApiError
from ..module_utils._aws_session import make_client_factory
from ..module_utils._drain.kube import KubeError
from ..module_utils._eks_token import ClusterError
from ..module_utils._pull.checks import explain_pull
from ..module_utils._pull.context import PullContext
from ..module_utils._pull.kubernetes import PodSelection
from ..module_utils._pull.model import PullRequest
from ..module_utils._pull.observe import PullObserver
from ..module_utils._pull.report import build_result

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports a missing boto3
    from botocore.config import Config

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **_kubernetes.OPTIONS,
    "namespaces": {"type": "list", "elements": "str", "default": []},
    "label_selector": {"type": "str"},
    "all_pods": {"type": "bool", "default": False},
    "pull_secrets": {"type": "bool", "default": False, "no_log": False},
    "pulls": {
        "type": "list",
        "elements": "dict",
        "options": {
            "image": {"type": "str", "required": True},
            "node": {"type": "str"},
            "subnet": {"type": "str"},
            "security_groups": {"type": "list", "elements": "str", "default": []},
            "role": {"type": "str"},
        },
        "required_one_of": [("node", "subnet")],
        "mutually_exclusive": [("node", "subnet"), ("node", "security_groups"), ("node", "role")],
    },
}
# A check that cannot be made must not take minutes to detect.
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 4},
    "connect_timeout": 5,
    "read_timeout": 60,
}
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/\S+")


def parse_pulls(params: dict[str, Any]) -> list[PullRequest]:
    """Parse the option C(pulls). Raises ValueError that names the value."""
    entries = params["pulls"] or []
    if params["pulls"] is not None and (params["namespaces"] or params["all_pods"]):
        raise ValueError("pulls: with pulls no pod is read. Omit namespaces and all_pods, or make two tasks of it.")
    for entry in entries:
        if not entry["image"]:
            raise ValueError("pulls: image is empty. Give an image reference.")
        if entry["subnet"] is not None and not entry["subnet"].startswith("subnet-"):
            raise ValueError(f"pulls: subnet {entry['subnet']!r} is no id of a subnet. Give an id such as subnet-0a1b.")
        if entry["role"] and not _ROLE_ARN.fullmatch(entry["role"]):
            raise ValueError(f"pulls: role {entry['role']!r} is no ARN of a role. Give the ARN of the node role.")
    return [
        PullRequest(
            entry["image"],
            node=entry["node"] or "",
            subnet_id=entry["subnet"] or "",
            group_ids=tuple(entry["security_groups"]),
            role_arn=entry["role"] or "",
        )
        for entry in entries
    ]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[
            *_kubernetes.MUTUALLY_EXCLUSIVE,
            ("pulls", "label_selector"),
        ],
    )
    params = module.params
    make_client = make_client_factory(module, CLIENT_CONFIG)
    clients: dict[tuple[str, Optional[str]], Any] = {}

    def get_client(service: str, region: Optional[str]) -> Any:
        if (service, region) not in clients:
            clients[service, region] = (
                module.client(service, region=region, config=Config(**CLIENT_CONFIG))
                if region
                else make_client(service)
            )
        return clients[service, region]

    def make_cluster_client(service: str, **more: Any) -> Any:
        return module.client(service, config=Config(**CLIENT_CONFIG), **more)

    try:
        requests = parse_pulls(params)
        reads_pods = params["pulls"] is None
        api = None
        if reads_pods or any(request.node and not request.node.startswith("i-") for request in requests):
            if not _kubernetes.HAS_KUBERNETES:
                module.fail_json(msg=missing_required_lib("kubernetes"))
            api = _kubernetes.connect(params, make_cluster_client, module.tmpdir).api
        region = str(getattr(get_client("ec2", None).meta, "region_name", "") or "")
        observer = PullObserver(get_client, region, api)
        if reads_pods:
            selection = PodSelection(tuple(params["namespaces"]), params["label_selector"] or "", params["all_pods"])
            requests = observer.list_requests(selection)
        snapshot = observer.read_snapshot(requests, params["pull_secrets"])
    except ApiError as error:
        module.fail_json(msg=error.explanation)
    except (ClusterError, KubeError, ValueError) as error:
        module.fail_json(msg=str(error))
    result = build_result(snapshot, [explain_pull(PullContext.build(snapshot, request)) for request in requests])
    totals = ", ".join(f"{count} {status}" for status, count in result["totals"].items())
    module.exit_json(changed=False, msg=f"{totals}.", **result)


if __name__ == "__main__":
    main()
