#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_sysctl_info
short_description: Audit which sysctls node groups allow, and which pods are forbidden on which nodes
version_added: 0.1.0
description:
  - Read from the launch templates which sysctls each node group configures. With O(configz), also read from the
    kubelets which sysctls are effective, and report the drift between both.
  - List the pods that set sysctls, and the nodes where the scheduler can place them and the kubelet forbids them. The
    version and the kernel of each node decide.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Read the same state.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
  platform:
    platforms: posix
    support: full
    description: Run on the controller, or on any host with boto3 and the Python package kubernetes.
requirements:
  - kubernetes
options:
  cluster:
    description: Name of the EKS cluster.
    type: str
    required: true
  node_groups:
    description: Names of node groups. The default is all groups of the cluster.
    type: list
    elements: str
    default: []
  pods:
    description: Whether to check nodes and pods. V(false) needs no access to the Kubernetes API.
    type: bool
    default: true
  configz:
    description:
      - Whether to read the effective sysctls from the kubelets. Needs the permission to C(get) C(nodes/proxy), whose
        holder can run commands in every pod.
      - Kubelets that cannot be read are in RV(not_checked). The rest of the audit does not depend on them.
    type: bool
    default: false
  kubeconfig:
    description: Path of a kubeconfig file. Without it the module connects to the cluster with AWS credentials.
    type: path
  context:
    description: Context in O(kubeconfig). The default is its current context.
    type: str
seealso:
  - module: daytwo.aws.eks_sysctl_nodegroup
"""

EXAMPLES = r"""
- name: Audit a cluster
  daytwo.aws.eks_sysctl_info:
    cluster: prod
  register: audit

- name: Show pods that a node would forbid
  ansible.builtin.debug:
    msg: "{{ audit.pods | selectattr('forbidden') }}"
"""

RETURN = r"""
groups:
  description:
    - One entry per node group. C(configured) is the list of its user data, C(effective) the list of each kubelet, and
      C(drifted_nodes) the nodes where they differ.
  returned: always
  type: list
  elements: dict
  sample:
    - name: workers
      version: "1.34"
      ami_type: AL2023_x86_64_STANDARD
      ami_family: al2023
      configured: [net.core.somaxconn]
      error: null
      effective: {ip-10-0-0-1.ec2.internal: [net.core.somaxconn]}
      drifted_nodes: []
lines:
  description: For people, what each node group allows and where kubelets differ from it.
  returned: always
  type: list
  elements: str
  sample: ["workers (1.34, al2023): net.core.somaxconn"]
pod_lines:
  description: For people, which nodes reject which pods, and for which nodes that is not known.
  returned: with pods=true
  type: list
  elements: str
  sample: ["shop/web-1: net.core.somaxconn on nodes of other: \"net.core.somaxconn\" not allowlisted"]
not_checked:
  description: Kubelets that could not be read, with the reason.
  returned: always
  type: list
  elements: dict
  sample:
    - {node: ip-10-0-0-1.ec2.internal, reason: "GET /api/v1/nodes/ip-10-0-0-1.ec2.internal/proxy/configz: HTTP 403"}
pods:
  description: Pods that set sysctls.
  returned: with pods=true
  type: list
  elements: dict
  sample:
    - namespace: shop
      name: web-1
      node: ip-10-0-0-1.ec2.internal
      phase: Running
      sysctls: [{name: net.core.somaxconn, value: "2048"}]
      rejected: false
      message: null
      forbidden:
        - {node_group: other, nodes: [ip-10-0-0-9.ec2.internal], sysctl: net.core.somaxconn, reason: not allowlisted}
      unknown: []
"""

from typing import Any, Optional

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._aws_call import ApiError
from ..module_utils._drain.kube import KubeError, call_kube_api, list_resources
from ..module_utils._drain.model import NODE_GROUP_LABEL
from ..module_utils._eks_token import ClusterError
from ..module_utils._sysctl_nodegroup import audit, clone, eks, userdata
from ..module_utils._sysctl_nodegroup.errors import SysctlError
from ..module_utils._sysctl_nodegroup.run import NodeGroupRun


def build_group_entry(run: NodeGroupRun, name: str) -> dict[str, Any]:
    """Build the entry of a group: the sysctls that its template configures, or why its user data is unreadable."""
    group = run.get_node_group(name)
    if group is None:
        raise SysctlError(f"cluster {run.cluster} has no node group {name}. Name an existing group")
    raw = group.user_data
    family: Optional[str] = None
    configured: Optional[list[str]] = None
    error_message = None
    try:
        family = clone.choose_ami_family(group, "auto", clone.detect_ami_family(raw))
        configured = userdata.list_allowed_sysctls(family, raw)
    except SysctlError as error:
        error_message = str(error)
    return {
        "name": name,
        "version": group.version,
        "ami_type": group.ami_type,
        "ami_family": family,
        "configured": configured,
        "error": error_message,
        "effective": {},
        "drifted_nodes": [],
    }


def get_effective_sysctls(api: Any, node: str) -> list[str]:
    configz = call_kube_api(api, "GET", f"/api/v1/nodes/{node}/proxy/configz")
    return [str(pattern) for pattern in (configz.get("kubeletconfig") or {}).get("allowedUnsafeSysctls") or []]


def compare_effective_sysctls(
    groups: list[dict[str, Any]], nodes: list[dict[str, Any]], api: Any
) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Read the effective sysctls of each kubelet, and add the drift from the template to each group.

    Also returns the kubelets that could not be read.
    """
    effective: dict[str, list[str]] = {}
    not_checked = []
    by_name = {group["name"]: group for group in groups}
    for node in nodes:
        name = node["metadata"]["name"]
        try:
            effective[name] = get_effective_sysctls(api, name)
        except KubeError as error:
            not_checked.append({"node": name, "reason": str(error)})
            continue
        group = by_name.get((node["metadata"].get("labels") or {}).get(NODE_GROUP_LABEL, ""))
        if group is not None:
            group["effective"][name] = effective[name]
            if group["configured"] is not None and sorted(effective[name]) != sorted(group["configured"]):
                group["drifted_nodes"].append(name)
    return effective, not_checked


def main() -> None:
    spec: dict[str, Any] = {
        "cluster": {"type": "str", "required": True},
        "node_groups": {"type": "list", "elements": "str", "default": []},
        "pods": {"type": "bool", "default": True},
        "configz": {"type": "bool", "default": False},
        "kubeconfig": {"type": "path"},
        "context": {"type": "str"},
    }
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    reads_cluster = params["pods"] or params["configz"]
    if reads_cluster and not _kubernetes.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"))
    run = NodeGroupRun.connect(module.client, params["cluster"])
    result: dict[str, Any] = {"changed": False, "not_checked": []}
    try:
        names = params["node_groups"] or eks.list_node_group_names(run.eks, params["cluster"])
        groups = [build_group_entry(run, name) for name in names]
        if reads_cluster:
            access = {**params, "cluster": None if params["kubeconfig"] else params["cluster"]}
            api = _kubernetes.connect(access, module.client, module.tmpdir).api
            nodes = list_resources(api, "/api/v1/nodes")
            allowed = {group["name"]: group["configured"] for group in groups if group["configured"] is not None}
            if params["configz"]:
                effective, result["not_checked"] = compare_effective_sysctls(groups, nodes, api)
                allowed.update(effective)
            if params["pods"]:
                result["pods"] = audit.audit_pods(
                    list_resources(api, "/api/v1/pods"), audit.build_node_profiles(nodes, allowed)
                )
                result["pod_lines"] = audit.describe_pods(result["pods"])
    except (SysctlError, ApiError, KubeError, ClusterError) as error:
        module.fail_json(msg=error.explanation if isinstance(error, ApiError) else str(error))
    lines = audit.describe_groups(groups) + audit.describe_unread_kubelets(result["not_checked"])
    module.exit_json(groups=groups, lines=lines, **result)


if __name__ == "__main__":
    main()
