#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_sysctl_user_data_info
short_description: Render user data that allows sysctls, for node groups of eksctl, Karpenter or Terraform
version_added: 0.1.0
description:
  - Render user data whose kubelets allow sysctls, for node groups that another tool owns. The module calls no API and
    writes nothing.
  - M(daytwo.aws.eks_sysctl_nodegroup) uses the same user data for its own node groups.
author:
  - The daytwo.aws authors (@daytwo-aws)
attributes:
  check_mode:
    support: full
    description: Render the same text.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
  platform:
    platforms: posix
    support: full
    description: Run on the controller, or on any host.
requirements:
  - PyYAML, to merge with a NodeConfig in existing user data
  - Python >= 3.11, to merge with Bottlerocket's user data
options:
  name:
    description: Name of the node group in the rendered texts.
    type: str
    required: true
  cluster:
    description: Name of the EKS cluster. Required with O(bootstrap).
    type: str
  sysctls:
    description: Sysctls and patterns in the kubelet's syntax, without values, at least one.
    type: list
    elements: str
    required: true
  ami_family:
    description: AMI family of the nodes.
    type: str
    choices: [al2023, bottlerocket, al2]
    default: al2023
  version:
    description: Kubernetes version of the nodes. The default is the newest one that this version knows.
    type: str
  user_data:
    description: Your own user data. The sysctls are merged into it.
    type: str
  kubelet_config:
    description: Further settings of the kubelet, merged into the same NodeConfig. AL2023 only.
    type: dict
  bootstrap:
    description: Settings of the cluster for nodes with a custom AMI. Without a custom AMI, EKS adds them itself.
    type: dict
    suboptions:
      endpoint:
        description: URL of the API server.
        type: str
        required: true
      certificate_authority:
        description: Certificate authority of the cluster, in base64.
        type: str
        required: true
      service_cidr:
        description: CIDR range of the cluster's services.
        type: str
        required: true
      dns_ip:
        description: IP address of the cluster DNS.
        type: str
  labels:
    description: Kubernetes labels of the nodes, written into the user data with O(bootstrap).
    type: dict
  taints:
    description: Taints of the nodes, written into the user data with O(bootstrap).
    type: list
    elements: dict
    suboptions:
      key:
        description: Key of the taint.
        type: str
        required: true
      value:
        description: Value of the taint.
        type: str
      effect:
        description: Effect of the taint, in the spelling of Kubernetes or of EKS.
        type: str
        required: true
        choices: [NoSchedule, NoExecute, PreferNoSchedule, NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE]
seealso:
  - module: daytwo.aws.eks_sysctl_nodegroup
"""

EXAMPLES = r"""
- name: Render user data for a node group that Terraform owns
  daytwo.aws.eks_sysctl_user_data_info:
    name: workers
    sysctls: ["net.core.*"]
    ami_family: bottlerocket
  register: rendered

- name: Keep the user data in base64 for Terraform
  ansible.builtin.copy:
    content: "{{ rendered.terraform_user_data }}"
    dest: workers.b64
    mode: "0644"
"""

RETURN = r"""
node_group_required:
  description: Whether the sysctls require a kubelet setting, and so a node group.
  returned: always
  type: bool
  sample: true
classification:
  description: For each sysctl, the classification V(safe), V(unsafe) or V(impossible) (C(verdict)) and its reason.
  returned: always
  type: list
  elements: dict
  sample:
    - name: net.core.somaxconn
      verdict: unsafe
      reason: no Kubernetes version lists it as safe; net.core.somaxconn allows it there.
ami_family:
  description: The AMI family for which the user data is written.
  returned: always
  type: str
  sample: bottlerocket
user_data:
  description: The user data as text.
  returned: always
  type: str
  sample: "[settings.kubernetes]\nallowed-unsafe-sysctls = [\"net.core.*\"]\n"
eksctl_cluster_config:
  description: A ClusterConfig of eksctl with a managed node group that allows the sysctls.
  returned: always
  type: str
  sample: "apiVersion: eksctl.io/v1alpha5\n"
karpenter_ec2nodeclass:
  description: An EC2NodeClass of Karpenter with the user data in C(userData). Add its other fields yourself.
  returned: always
  type: str
  sample: "apiVersion: karpenter.k8s.aws/v1\n"
terraform_user_data:
  description: The user data in base64, for C(user_data) of C(aws_launch_template).
  returned: always
  type: str
  sample: W3NldHRpbmdzXQ==
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._sysctl_nodegroup import options, render
from ..module_utils._sysctl_nodegroup.errors import SysctlError
from ..module_utils._sysctl_nodegroup.option_rules import check_options

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "cluster": {"type": "str"},
    "sysctls": {"type": "list", "elements": "str", "required": True},
    "ami_family": {"type": "str", "choices": ["al2023", "bottlerocket", "al2"], "default": "al2023"},
    "version": {"type": "str"},
    "user_data": {"type": "str"},
    "kubelet_config": {"type": "dict"},
    "bootstrap": {
        "type": "dict",
        "options": {
            "endpoint": {"type": "str", "required": True},
            "certificate_authority": {"type": "str", "required": True},
            "service_cidr": {"type": "str", "required": True},
            "dns_ip": {"type": "str"},
        },
    },
    "labels": {"type": "dict"},
    "taints": options.TAINTS,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_by={"bootstrap": "cluster"})
    try:
        check_options(module.params)
        bootstrap = options.parse_bootstrap(module.params)
        result = render.render_result(options.parse_user_data_options(module.params), bootstrap)
    except SysctlError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
