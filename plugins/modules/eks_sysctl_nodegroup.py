#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_sysctl_nodegroup
short_description: Node groups whose kubelets allow the sysctls that pods need
version_added: 0.1.0
description:
  - Says whether a node group is needed at all (most sysctls are safe by now and need none), and if so makes one from an
    existing group, or makes the smallest change to the one that is there.
  - Writes the user data for AL2023, Bottlerocket and AL2, and merges it with what the group's own holds. It owns its
    launch templates, tagged C(daytwo.aws/nodegroup); those of others are copied and never edited.
  - O(name) is a logical name. The first group bears it, a replacement is called C(name-hash). Both are found again. The
    older one is left alone until its pods have moved; the role C(daytwo.aws.sysctl_nodegroup) does all of that.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Reads the same, shows the same plan, and writes nothing.
  diff_mode:
    support: full
    description: Shows each step's fields before and after.
  idempotent:
    support: full
    description: A second run finds the group as it is to be, and changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever boto3 is.
requirements:
  - PyYAML, to merge with a NodeConfig in existing user data
  - Python >= 3.11, to merge with Bottlerocket's user data
  - kubernetes, for state=absent without force
options:
  cluster:
    description: Name of the EKS cluster. Needed but for O(state=rendered).
    type: str
  name:
    description: Logical name of the node group.
    type: str
    required: true
  sysctls:
    description:
      - Sysctls and patterns as the kubelet takes them, such as V(net.core.somaxconn) or V(net.ipv4.tcp_*). A C(*) is
        allowed as the last character only. What would keep the kubelet from starting is refused before any change.
      - The list is what is wanted in all. What an earlier run added and is not in it any more goes; what the user's own
        user data allows stays.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) makes or changes the group.
      - V(absent) deletes its groups and launch templates, if no pods but those of daemon sets are left on them, or with
        O(force=true). Groups of CloudFormation, eksctl or Terraform are never deleted.
      - V(rendered) talks to no API, and returns user data for those whose groups belong to another tool.
    type: str
    choices: [present, absent, rendered]
    default: present
  generations:
    description: With O(state=absent), whether all groups of the name go, or V(previous) ones only, the newest staying.
    type: str
    choices: [all, previous]
    default: all
  clone_from:
    description:
      - An existing node group that a new one is made like. Everything is taken over, the Kubernetes version and AMI
        release included, and changes only the sysctls and the options that are given besides.
      - Used only where O(name) has no group yet. A field of it that is unknown here is an error.
    type: str
  instance_types:
    description: Instance types. Another list needs a new group, unless the launch template names the type.
    type: list
    elements: str
  subnets:
    description: Ids of the subnets. Another set needs a new group; the order does not count.
    type: list
    elements: str
  node_role:
    description: ARN of the nodes' IAM role. Another one needs a new group.
    type: str
  labels:
    description: Kubernetes labels that are added or changed. Others stay.
    type: dict
  taints:
    description: All taints of the group. Without it they stay as they are.
    type: list
    elements: dict
    suboptions:
      key:
        description: The taint's key.
        type: str
        required: true
      value:
        description: The taint's value.
        type: str
      effect:
        description: What it does, in Kubernetes' or in EKS's spelling.
        type: str
        required: true
        choices: [NoSchedule, NoExecute, PreferNoSchedule, NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE]
  scaling:
    description: Number of nodes.
    type: dict
    suboptions:
      min_size:
        description: Least number.
        type: int
      max_size:
        description: Greatest number.
        type: int
      desired_size:
        description: Number when a group is made. Never set again, since an autoscaler owns it then.
        type: int
  update_config:
    description: How many nodes EKS replaces at a time.
    type: dict
    suboptions:
      max_unavailable:
        description: As a number.
        type: int
      max_unavailable_percentage:
        description: In percent.
        type: int
      update_strategy:
        description: EKS's strategy.
        type: str
        choices: [DEFAULT, MINIMAL]
  node_repair_config:
    description: EKS's repair of nodes.
    type: dict
    suboptions:
      enabled:
        description: Whether EKS repairs nodes.
        type: bool
        required: true
  capacity_type:
    description: What is bought. Another one needs a new group.
    type: str
    choices: [ON_DEMAND, SPOT, CAPACITY_BLOCK]
  ami_family:
    description:
      - AMI family. V(auto) takes that of the group, or that which its user data shows with an AMI of one's own; without
        either it is V(al2023).
    type: str
    choices: [auto, al2023, bottlerocket, al2]
    default: auto
  ami_id:
    description: An AMI of your own. The nodes are then told the cluster by user data, labels and taints included.
    type: str
  version:
    description: Kubernetes version. Without it, the group's own. EKS makes new groups with the cluster's version only.
    type: str
  release_version:
    description: AMI release. Without it, the group's own.
    type: str
  user_data:
    description: Your own user data, in place of what the group's launch template holds. The sysctls are merged into it.
    type: str
  kubelet_config:
    description: Further settings of the kubelet, merged into the same NodeConfig. AL2023 only. Give it on each run.
    type: dict
  disk_size:
    description: Size of the nodes' disk in GiB. Bottlerocket's is its data volume.
    type: int
  security_groups:
    description: Ids of security groups of the nodes. The cluster's own group is added.
    type: list
    elements: str
  tags:
    description: Tags that are added or changed. Others stay.
    type: dict
    aliases: [resource_tags]
  strategy:
    description:
      - V(auto) takes the smallest change that does it. V(in_place) refuses where only a new group does it. V(replace)
        makes a new group also where a rolling update would do.
    type: str
    choices: [auto, in_place, replace]
    default: auto
  allow_version_change:
    description: Whether Kubernetes version or AMI release may change. There is no way back.
    type: bool
    default: false
  accept_shared_role:
    description: Whether the node role of a group that belongs to a stack may be shared. It can vanish with the stack.
    type: bool
    default: false
  dedicated:
    description:
      - Whether the group gets the label and taint C(daytwo.aws/sysctls), so that only pods that ask for it land there;
        RV(node_selector) and RV(tolerations) are for those pods.
    type: bool
    default: false
  force:
    description: Builds a group also where every sysctl is safe. With O(state=absent), deletes with pods on it.
    type: bool
    default: false
  force_update:
    description: Whether EKS's rolling update goes on where a PodDisruptionBudget is in its way for 15 minutes.
    type: bool
    default: false
  bootstrap:
    description: With O(state=rendered) and O(ami_id), what the nodes must be told of the cluster.
    type: dict
    suboptions:
      endpoint:
        description: Address of the API server.
        type: str
        required: true
      certificate_authority:
        description: Its certificate authority in base64.
        type: str
        required: true
      service_cidr:
        description: The range of the services' addresses.
        type: str
        required: true
      dns_ip:
        description: Address of the cluster's DNS.
        type: str
  kubeconfig:
    description: For O(state=absent), how the cluster is asked for pods. Without it, by AWS credentials.
    type: path
  context:
    description: Context in O(kubeconfig).
    type: str
  wait:
    description: Whether to wait until the change has been made and its outcome is known.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait in all, in seconds. What is not done by then goes on in AWS.
    type: int
    default: 3600
  wait_delay:
    description: Seconds between two readings.
    type: int
    default: 10
seealso:
  - module: daytwo.aws.eks_node_drain
  - module: daytwo.aws.eks_sysctl_info
"""

EXAMPLES = r"""
- name: A group like the one there is, whose pods may set net.core.somaxconn
  daytwo.aws.eks_sysctl_nodegroup:
    cluster: prod
    name: workers-sysctl
    clone_from: workers
    sysctls: [net.core.somaxconn]

- name: Only pods that ask for it land there
  daytwo.aws.eks_sysctl_nodegroup:
    cluster: prod
    name: proxies
    clone_from: workers
    sysctls: [net.core.somaxconn, net.ipv4.tcp_max_syn_backlog]
    dedicated: true
    scaling: {min_size: 2, max_size: 4, desired_size: 2}

- name: User data for those who own their groups by Terraform, eksctl or Karpenter
  daytwo.aws.eks_sysctl_nodegroup:
    name: workers
    sysctls: ["net.core.*"]
    ami_family: bottlerocket
    state: rendered
"""

RETURN = r"""
needed:
  description: Whether a kubelet setting is needed at all.
  returned: unless state=absent
  type: bool
  sample: true
classification:
  description: For each sysctl V(safe), V(unsafe) or V(impossible), why, since when it is safe, what allows it.
  returned: unless state=absent
  type: list
  elements: dict
  sample:
    - name: net.core.somaxconn
      verdict: unsafe
      reason: no Kubernetes version lists it as safe; allowed there by net.core.somaxconn.
      safe_since: null
      allowed_by: net.core.somaxconn
      near: []
classified_for:
  description: The group and the kubelet version that the classification is for.
  returned: state=present
  type: dict
  sample: {group: workers, kubelet: "1.34", kernel: null}
plan:
  description: Which change, why it is the smallest, and its steps with before and after; the same in check mode.
  returned: unless state=rendered
  type: dict
  sample:
    change: create
    reason: A new group workers-sysctl, as workers but with the sysctls allowed.
    steps: []
group:
  description: The group that has the sysctls, as it is now. Null where there is none.
  returned: state=present
  type: dict
  sample: {name: workers-sysctl, status: ACTIVE}
launch_template:
  description: Its launch template.
  returned: state=present
  type: dict
  sample: {id: lt-0abc, name: daytwo-prod-workers-sysctl, version: "1"}
nodes:
  description: Its instances.
  returned: state=present
  type: list
  elements: dict
  sample: [{instance_id: i-0abc, name: ip-10-0-0-1.ec2.internal, state: running}]
previous:
  description: Older groups of the same name, which are left to be drained and deleted.
  returned: state=present
  type: list
  elements: str
  sample: [workers]
target:
  description: Name of the group that has the sysctls, or will have.
  returned: state=present
  type: str
  sample: workers-sysctl
retiring:
  description: Groups whose pods are to move, those in RV(previous) and O(clone_from), as far as they are there.
  returned: state=present
  type: list
  elements: dict
  sample: [{name: workers, status: ACTIVE, owner: null}]
verified:
  description: Whether reading back shows the group as planned. Null where it was not waited for.
  returned: state=present
  type: bool
  sample: true
lost:
  description: What of O(clone_from) could not be taken over.
  returned: state=present
  type: list
  elements: str
  sample: ["what was put on the Auto Scaling group eks-workers itself (tags, target groups, lifecycle hooks)"]
clone_table:
  description: Each field of O(clone_from), and what became of it.
  returned: state=present
  type: dict
  sample: {diskSize: "translated: to the template's block device"}
node_selector:
  description: With O(dedicated=true), the node selector that pods need.
  returned: state=present
  type: dict
  sample: {daytwo.aws/sysctls: proxies}
tolerations:
  description: With O(dedicated=true), the tolerations that pods need.
  returned: state=present
  type: list
  elements: dict
  sample: []
user_data:
  description: The user data, readable.
  returned: unless state=absent
  type: str
  sample: "[settings.kubernetes]\nallowed-unsafe-sysctls = [\"net.core.*\"]\n"
eksctl_cluster_config:
  description: A ClusterConfig of eksctl with a managed node group that has it.
  returned: state=rendered
  type: str
  sample: "apiVersion: eksctl.io/v1alpha5\n"
karpenter_ec2nodeclass:
  description: An EC2NodeClass of Karpenter with it as userData. Its other fields are yours.
  returned: state=rendered
  type: str
  sample: "apiVersion: karpenter.k8s.aws/v1\n"
terraform_user_data:
  description: In base64, as C(user_data) of C(aws_launch_template) takes it.
  returned: state=rendered
  type: str
  sample: W3NldHRpbmdzXQ==
progress:
  description: What was seen while waiting.
  returned: unless state=rendered
  type: list
  elements: str
  sample: [workers-sysctl is CREATING]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._drain.kube import KubeError, list_node_group_pods
from ..module_utils._eks_token import ClusterError
from ..module_utils._sysctl_nodegroup import ec2, options, plan, render
from ..module_utils._sysctl_nodegroup.aws import CLIENT_CONFIG
from ..module_utils._sysctl_nodegroup.errors import SysctlError
from ..module_utils._sysctl_nodegroup.run import NodeGroupRun

try:
    from botocore.config import Config
except ImportError:
    Config = None  # AnsibleAWSModule says so in words

STRINGS = {"type": "list", "elements": "str"}
EFFECTS = ["NoSchedule", "NoExecute", "PreferNoSchedule", "NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"]
ARGUMENT_SPEC: dict[str, Any] = {
    "cluster": {"type": "str"},
    "name": {"type": "str", "required": True},
    "sysctls": {**STRINGS, "default": []},
    "state": {"type": "str", "choices": ["present", "absent", "rendered"], "default": "present"},
    "generations": {"type": "str", "choices": ["all", "previous"], "default": "all"},
    "clone_from": {"type": "str"},
    "instance_types": STRINGS,
    "subnets": STRINGS,
    "node_role": {"type": "str"},
    "labels": {"type": "dict"},
    "taints": {
        "type": "list",
        "elements": "dict",
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "value": {"type": "str"},
            "effect": {"type": "str", "required": True, "choices": EFFECTS},
        },
    },
    "scaling": {
        "type": "dict",
        "options": {"min_size": {"type": "int"}, "max_size": {"type": "int"}, "desired_size": {"type": "int"}},
    },
    "update_config": {
        "type": "dict",
        "options": {
            "max_unavailable": {"type": "int"},
            "max_unavailable_percentage": {"type": "int"},
            "update_strategy": {"type": "str", "choices": ["DEFAULT", "MINIMAL"]},
        },
    },
    "node_repair_config": {"type": "dict", "options": {"enabled": {"type": "bool", "required": True}}},
    "capacity_type": {"type": "str", "choices": ["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"]},
    "ami_family": {"type": "str", "choices": ["auto", "al2023", "bottlerocket", "al2"], "default": "auto"},
    "ami_id": {"type": "str"},
    "version": {"type": "str"},
    "release_version": {"type": "str"},
    "user_data": {"type": "str"},
    "kubelet_config": {"type": "dict"},
    "disk_size": {"type": "int"},
    "security_groups": STRINGS,
    "tags": {"type": "dict", "aliases": ["resource_tags"]},
    "strategy": {"type": "str", "choices": ["auto", "in_place", "replace"], "default": "auto"},
    "allow_version_change": {"type": "bool", "default": False},
    "accept_shared_role": {"type": "bool", "default": False},
    "dedicated": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "force_update": {"type": "bool", "default": False},
    "bootstrap": {
        "type": "dict",
        "options": {
            "endpoint": {"type": "str", "required": True},
            "certificate_authority": {"type": "str", "required": True},
            "service_cidr": {"type": "str", "required": True},
            "dns_ip": {"type": "str"},
        },
    },
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 3600},
    "wait_delay": {"type": "int", "default": 10},
}


def make_run(module: Any) -> NodeGroupRun:
    config = Config(**CLIENT_CONFIG)
    params = module.params
    return NodeGroupRun(
        module.client("eks", config=config),
        module.client("ec2", config=config),
        params["cluster"],
        wait=params["wait"],
        timeout=params["wait_timeout"],
        delay=params["wait_delay"],
        force_update=params["force_update"],
    )


def ensure_present(module: AnsibleModule, run: NodeGroupRun) -> dict[str, Any]:
    node_group_options = options.parse_options(module.params)
    current = run.observe(node_group_options)
    node_group_plan = plan.make_plan(node_group_options, current)
    result: dict[str, Any] = options.build_plan_result(node_group_plan)
    result["changed"] = bool(node_group_plan.steps)
    result["retiring"] = [
        {**options.format_node_group(old_group), "nodes": ec2.list_instances(run.ec2, node_group_options.cluster, old_group.name)}
        for old_group in run.list_groups_to_drain(node_group_options, current, node_group_plan)
    ]
    if module._diff:
        result["diff"] = options.build_diff(node_group_plan.steps)
    for warning in node_group_plan.warnings:
        module.warn(warning)
    group = current.current
    result["verified"] = None
    if node_group_plan.node_group_required and not module.check_mode:
        run.apply(node_group_plan, current)
        group, result["verified"], reason = run.verify(node_group_plan)
        if result["verified"] is False:
            raise SysctlError(f"node group {node_group_plan.group_name} is not as planned: {reason}", result)
        if node_group_plan.steps and result["verified"]:
            run.delete_old_template_versions([*current.generations, *([group] if group else [])])
    result["group"] = options.format_node_group(group) if group else None
    template = group.template if group else None
    result["launch_template"] = {"id": template.id, "name": template.name, "version": template.version} if template else None
    result["nodes"] = ec2.list_instances(run.ec2, node_group_options.cluster, group.name) if group else []
    return result


def ensure_absent(module: AnsibleModule, run: NodeGroupRun) -> dict[str, Any]:
    params = module.params
    groups = run.list_generations(params["name"])
    templates = ec2.list_managed_templates(run.ec2, params["cluster"], params["name"])
    groups_to_delete = list(groups[:-1] if params["generations"] == "previous" else groups)
    kept = {group.template.name for group in groups if group not in groups_to_delete and group.template}
    for group in groups_to_delete:
        if group.owner:
            raise SysctlError(
                f"node group {group.name} belongs to {group.owner}, and is not deleted behind its back: nothing was "
                f"deleted. Its owner's command: {group.owner.command}"
            )
    if groups_to_delete and not params["force"]:
        check_pods_drained(module, {group.name: ec2.list_instances(run.ec2, run.cluster, group.name) for group in groups_to_delete})
    orphans = [template for name, template in templates.items() if name not in kept]
    if params["generations"] == "previous" and not groups:
        orphans = []
    steps = [{"action": "delete_nodegroup", "target": group.name} for group in groups_to_delete]
    steps += [{"action": "delete_template", "target": template.name} for template in orphans]
    result: dict[str, Any] = {
        "changed": bool(steps),
        "plan": {"change": "delete" if steps else "nothing", "steps": steps},
    }
    if module._diff:
        result["diff"] = {"before": {step["target"]: step["action"] for step in steps}, "after": {}}
    if not module.check_mode:
        for group in groups_to_delete:
            run.delete_node_group(group, None)
        if not run.pending:
            for template in orphans:
                ec2.delete_template(run.ec2, template.id)
    return result


def check_pods_drained(module: Any, groups: dict[str, list[dict[str, str]]]) -> None:
    access = {
        "cluster": None if module.params["kubeconfig"] else module.params["cluster"],
        "kubeconfig": module.params["kubeconfig"],
        "context": module.params["context"],
    }
    remaining_pods = list_node_group_pods(_kubernetes.connect(access, module.client, module.tmpdir).api, groups)
    if remaining_pods:
        raise SysctlError(
            f"nothing was deleted: {len(remaining_pods)} pods are left on these nodes, which EKS would end whatever their "
            f"budgets say: {', '.join(remaining_pods[:10])}. Drain them first with daytwo.aws.eks_node_drain, or set force=true"
        )


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ["cluster"]), ("state", "absent", ["cluster"])],
    )
    params = module.params
    run = None
    try:
        if params["state"] == "rendered":
            bootstrap = options.parse_bootstrap(params)
            module.exit_json(changed=False, **render.render_result(options.parse_options(params), bootstrap))
        run = make_run(module)
        result = ensure_present(module, run) if params["state"] == "present" else ensure_absent(module, run)
    except (SysctlError, KubeError, ClusterError) as error:
        details = dict(getattr(error, "details", {}))
        details["changed"] = bool(run and run.applied_steps)
        if run:
            details["progress"] = run.progress
        module.fail_json(msg=str(error), **details)
    module.exit_json(progress=run.progress, **result)


if __name__ == "__main__":
    main()
