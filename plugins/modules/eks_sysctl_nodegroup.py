#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_sysctl_nodegroup
short_description: Create or change node groups whose kubelets allow the sysctls that pods need
version_added: 0.1.0
description:
  - Allow pods to set sysctls (the kubelet's C(allowedUnsafeSysctls)). No value is set, because pods set values in
    C(securityContext.sysctls).
  - Decide whether a node group is required at all. Most sysctls are safe by now, and safe sysctls need no node group.
  - If one is required, create it as a clone of an existing group, or make the smallest change to the existing group.
  - Render the user data for AL2023, Bottlerocket and AL2, and merge it with the user data of the group. The module
    manages its own launch templates, tagged C(daytwo.aws/nodegroup). It copies other launch templates and never edits
    them.
  - O(name) is a logical name. The first group has that name, and a blue/green replacement is called C(name-hash). Later
    runs find both by their tags. The module does not change the older group until its pods have moved. The role
    C(daytwo.aws.sysctl_nodegroup) runs the whole procedure.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Read the same state, return the same plan, and write nothing.
  diff_mode:
    support: full
    description: Return each step's fields before and after.
  idempotent:
    support: full
    description: A second run finds the group in its desired state, and changes nothing.
  platform:
    platforms: posix
    support: full
    description: Run on the controller, or on any host with boto3.
requirements:
  - PyYAML, to merge with a NodeConfig in existing user data
  - Python >= 3.11, to merge with Bottlerocket's user data
  - kubernetes, for state=absent without force
options:
  cluster:
    description: Name of the EKS cluster.
    type: str
    required: true
  name:
    description: Logical name of the node group.
    type: str
    required: true
  sysctls:
    description:
      - Sysctls and patterns in the kubelet's syntax, such as V(net.core.somaxconn) or V(net.ipv4.tcp_*). Names only,
        without values. A C(*) is allowed only as the last character. A pattern that keeps the kubelet from starting is
        rejected before any change.
      - Required, with at least one pattern, unless O(state=absent).
      - Sysctls that you remove from the list are removed from the user data, as long as one unsafe sysctl is left. If
        only safe ones are left, nothing changes (C(not_required)) unless O(force=true).
      - Sysctls that your own user data allows stay.
    type: list
    elements: str
    default: []
  state:
    description:
      - V(present) creates or changes the group.
      - V(absent) deletes its groups and launch templates, if only pods of daemon sets are left on them, or with
        O(force=true). Groups of CloudFormation, eksctl or Terraform are never deleted.
    type: str
    choices: [present, absent]
    default: present
  generations:
    description:
      - With O(state=absent), the groups to delete. V(all) deletes all groups of the name, V(previous) all
        but the newest.
    type: str
    choices: [all, previous]
    default: all
  clone_from:
    description:
      - Name of an existing node group to clone. The new group gets all its settings, the Kubernetes version and AMI
        release included. Only the sysctls and the options that are set differ.
      - Used only where O(name) has no group yet. A field of the existing group that this version does not know is an
        error.
    type: str
  instance_types:
    description: Instance types. A change needs a new group, unless the launch template sets the type.
    type: list
    elements: str
  subnets:
    description: Ids of the subnets. A change needs a new group. The order does not count.
    type: list
    elements: str
  node_role:
    description: ARN of the nodes' IAM role. A change needs a new group.
    type: str
  labels:
    description: Kubernetes labels to add or change. Other labels stay.
    type: dict
  taints:
    description: All taints of the group. Without this option the taints stay.
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
  scaling:
    description: Number of nodes.
    type: dict
    suboptions:
      min_size:
        description: Minimum number of nodes.
        type: int
      max_size:
        description: Maximum number of nodes.
        type: int
      desired_size:
        description: Number of nodes when a group is created. Never set again, because an autoscaler owns it.
        type: int
  update_config:
    description: How many nodes EKS replaces at a time.
    type: dict
    suboptions:
      max_unavailable:
        description: Maximum number of unavailable nodes.
        type: int
      max_unavailable_percentage:
        description: Maximum share of unavailable nodes, in percent.
        type: int
      update_strategy:
        description: Update strategy of EKS.
        type: str
        choices: [DEFAULT, MINIMAL]
  node_repair_config:
    description: Node repair by EKS.
    type: dict
    suboptions:
      enabled:
        description: Whether EKS repairs nodes.
        type: bool
        required: true
  capacity_type:
    description: Capacity type of the instances. A change needs a new group.
    type: str
    choices: [ON_DEMAND, SPOT, CAPACITY_BLOCK]
  ami_family:
    description:
      - AMI family. V(auto) uses the family of the group. With a custom AMI it uses the family that the user data shows.
        Without either it is V(al2023).
    type: str
    choices: [auto, al2023, bottlerocket, al2]
    default: auto
  ami_id:
    description: Id of a custom AMI. The user data then holds the cluster's settings, labels and taints included.
    type: str
  version:
    description:
      - Kubernetes version. The default is the group's own. EKS creates new groups only with the cluster's version.
    type: str
  release_version:
    description: AMI release. The default is the group's own.
    type: str
  user_data:
    description: Your own user data, in place of that of the group's launch template. The sysctls are merged into it.
    type: str
  kubelet_config:
    description: Further settings of the kubelet, merged into the same NodeConfig. AL2023 only. Set it on each run.
    type: dict
  disk_size:
    description: Size of the nodes' disk in GiB. With Bottlerocket, the size of the data volume.
    type: int
  security_groups:
    description: Ids of security groups of the nodes. The cluster's own security group is added.
    type: list
    elements: str
  tags:
    description: Tags to add or change. Other tags stay.
    type: dict
    aliases: [resource_tags]
  strategy:
    description:
      - Which changes are allowed. V(auto) makes the smallest change that allows the sysctls.
      - V(in_place) fails where only a new group allows them.
      - V(blue_green) creates a new group beside the old one, also where a rolling update is enough.
    type: str
    choices: [auto, in_place, blue_green]
    default: auto
  allow_version_change:
    description: Whether the Kubernetes version or the AMI release may change. There is no way back.
    type: bool
    default: false
  accept_shared_role:
    description:
      - Risk - nodes lose their role if the stack that owns it is deleted. This option allows to share the node role of
        a group that belongs to a stack.
    type: bool
    default: false
  dedicated:
    description:
      - Whether the group gets the label and taint C(daytwo.aws/sysctls), so that only pods with the matching toleration
        are scheduled to it. RV(node_selector) and RV(tolerations) hold the fields for those pods.
    type: bool
    default: false
  force:
    description:
      - Whether to create a group even if every sysctl is safe. With O(state=absent), whether to delete groups with
        pods. EKS then ends these pods, whatever their PodDisruptionBudgets allow.
    type: bool
    default: false
  force_update:
    description: Whether EKS's rolling update continues when a PodDisruptionBudget blocks it for 15 minutes.
    type: bool
    default: false
  kubeconfig:
    description:
      - Path of a kubeconfig file, to read the pods with O(state=absent). Without it the module uses AWS credentials.
    type: path
  context:
    description: Context in O(kubeconfig).
    type: str
  wait:
    description: Whether to wait until the change is complete and its outcome is known.
    type: bool
    default: true
  wait_timeout:
    description: Maximum waiting time in seconds. A change that is not complete by then continues in AWS.
    type: int
    default: 3600
  wait_delay:
    description: Seconds between two checks.
    type: int
    default: 10
notes:
  - The IAM permissions are listed in docs/iam/eks_sysctl_nodegroup.json.
seealso:
  - module: daytwo.aws.eks_node_drain
  - module: daytwo.aws.eks_sysctl_info
  - module: daytwo.aws.eks_sysctl_user_data_info
"""

EXAMPLES = r"""
- name: Clone a node group and allow net.core.somaxconn
  daytwo.aws.eks_sysctl_nodegroup:
    cluster: prod
    name: workers-sysctl
    clone_from: workers
    sysctls: [net.core.somaxconn]

- name: Create a node group only for pods with the matching toleration
  daytwo.aws.eks_sysctl_nodegroup:
    cluster: prod
    name: proxies
    clone_from: workers
    sysctls: [net.core.somaxconn, net.ipv4.tcp_max_syn_backlog]
    dedicated: true
    scaling: {min_size: 2, max_size: 4, desired_size: 2}
"""

RETURN = r"""
node_group_required:
  description: Whether the sysctls require a kubelet setting, and so a node group.
  returned: unless state=absent
  type: bool
  sample: true
classification:
  description:
    - For each sysctl, the classification V(safe), V(unsafe) or V(impossible) (C(verdict)), its reason, the version
      since which it is safe, the pattern that allows it, and similar valid patterns.
  returned: unless state=absent
  type: list
  elements: dict
  sample:
    - name: net.core.somaxconn
      verdict: unsafe
      reason: no Kubernetes version lists it as safe; net.core.somaxconn allows it there.
      safe_since: null
      allowed_by: net.core.somaxconn
      similar: []
classified_for:
  description: The group and the kubelet version of the classification.
  returned: state=present
  type: dict
  sample: {group: workers, kubelet: "1.34", kernel: null}
plan:
  description: The change, why it is the smallest one, and its steps with before and after. The same in check mode.
  returned: always
  type: dict
  sample:
    change: create
    reason: Create node group workers-sysctl as a clone of workers that allows the sysctls.
    steps: []
group:
  description: The current state of the group that allows the sysctls. Null where there is none.
  returned: state=present
  type: dict
  sample: {name: workers-sysctl, status: ACTIVE}
launch_template:
  description: The launch template of RV(group).
  returned: state=present
  type: dict
  sample: {id: lt-0abc, name: daytwo-prod-workers-sysctl, version: "1"}
nodes:
  description:
    - The instances of RV(group) that are, or become, nodes. Their nodes have C(provider_id) in C(spec.providerID).
      Instances of a warm pool are not in the list.
  returned: state=present
  type: list
  elements: dict
  sample: [{instance_id: i-0abc, provider_id: aws:///eu-central-1a/i-0abc, zone: eu-central-1a, state: running}]
previous:
  description: Older groups of the same name, which remain to be drained and deleted.
  returned: state=present
  type: list
  elements: str
  sample: [workers]
target:
  description: Name of the group that allows the sysctls, or will allow them.
  returned: state=present
  type: str
  sample: workers-sysctl
node_groups_to_drain:
  description: Existing groups whose pods must move, that is, those in RV(previous) and O(clone_from).
  returned: state=present
  type: list
  elements: dict
  sample: [{name: workers, status: ACTIVE, owner: null}]
verified:
  description: Whether the group was read back as planned. Null where the module did not wait for it.
  returned: state=present
  type: bool
  sample: true
not_cloned:
  description: Settings of O(clone_from) that could not be cloned.
  returned: state=present
  type: list
  elements: str
  sample: ["changes of the Auto Scaling group eks-workers itself (tags, target groups, lifecycle hooks)"]
clone_table:
  description: Each field of O(clone_from), and whether it was copied, translated or dropped.
  returned: state=present
  type: dict
  sample: {diskSize: "translated: to the template's block device"}
node_selector:
  description: With O(dedicated=true), the node selector for the pods.
  returned: state=present
  type: dict
  sample: {daytwo.aws/sysctls: proxies}
tolerations:
  description: With O(dedicated=true), the tolerations for the pods.
  returned: state=present
  type: list
  elements: dict
  sample: []
added_taints:
  description: With O(dedicated=true), the taints that the group gets, in the spelling of Kubernetes.
  returned: state=present
  type: list
  elements: dict
  sample: [{key: daytwo.aws/sysctls, value: proxies, effect: NoSchedule}]
default_proof:
  description: Sysctls with values for a proof pod, at least one of them unsafe. Empty where O(sysctls) allows no such.
  returned: state=present
  type: dict
  sample: {net.core.somaxconn: "2048"}
user_data:
  description: The user data as text.
  returned: unless state=absent
  type: str
  sample: "[settings.kubernetes]\nallowed-unsafe-sysctls = [\"net.core.*\"]\n"
ami_family:
  description: The AMI family for which the user data is written.
  returned: unless state=absent
  type: str
  sample: bottlerocket
progress:
  description: The states that the module observed while waiting.
  returned: always
  type: list
  elements: str
  sample: [workers-sysctl is CREATING]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._aws_call import ApiError
from ..module_utils._drain.kube import KubeError, list_node_group_pods
from ..module_utils._eks_token import ClusterError
from ..module_utils._sysctl_nodegroup import ec2, options, plan
from ..module_utils._sysctl_nodegroup.errors import SysctlError
from ..module_utils._sysctl_nodegroup.option_rules import check_options
from ..module_utils._sysctl_nodegroup.run import NodeGroupRun

STRINGS = {"type": "list", "elements": "str"}
ARGUMENT_SPEC: dict[str, Any] = {
    "cluster": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "sysctls": {**STRINGS, "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "generations": {"type": "str", "choices": ["all", "previous"], "default": "all"},
    "clone_from": {"type": "str"},
    "instance_types": STRINGS,
    "subnets": STRINGS,
    "node_role": {"type": "str"},
    "labels": {"type": "dict"},
    "taints": options.TAINTS,
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
    "strategy": {"type": "str", "choices": ["auto", "in_place", "blue_green"], "default": "auto"},
    "allow_version_change": {"type": "bool", "default": False},
    "accept_shared_role": {"type": "bool", "default": False},
    "dedicated": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "force_update": {"type": "bool", "default": False},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 3600},
    "wait_delay": {"type": "int", "default": 10},
}


def make_run(module: Any) -> NodeGroupRun:
    params = module.params
    return NodeGroupRun.connect(
        module.client,
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
    result["node_groups_to_drain"] = [
        {
            **options.format_node_group(old_group),
            "nodes": options.format_instances(run.list_nodes(old_group)),
        }
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
            raise SysctlError(
                f"node group {node_group_plan.group_name} was changed but is not as planned: {reason}. Run again",
                result,
            )
        if node_group_plan.steps and result["verified"]:
            run.delete_old_template_versions([*current.generations, *([group] if group else [])])
    result["group"] = options.format_node_group(group) if group else None
    template = group.template if group else None
    result["launch_template"] = (
        {"id": template.id, "name": template.name, "version": template.version} if template else None
    )
    result["nodes"] = options.format_instances(run.list_nodes(group)) if group else []
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
                f"nothing was deleted, because node group {group.name} belongs to {group.owner}. "
                f"Delete it with its owner's command: {group.owner.command}"
            )
    if groups_to_delete and not params["force"]:
        check_pods_drained(
            module,
            {group.name: [node.id for node in run.list_nodes(group)] for group in groups_to_delete},
        )
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
            run.delete_node_group(group)
        if not run.pending:
            for template in orphans:
                ec2.delete_template(run.ec2, template.id)
    return result


def check_pods_drained(module: Any, groups: dict[str, list[str]]) -> None:
    access = {
        "cluster": None if module.params["kubeconfig"] else module.params["cluster"],
        "kubeconfig": module.params["kubeconfig"],
        "context": module.params["context"],
    }
    remaining_pods = list_node_group_pods(_kubernetes.connect(access, module.client, module.tmpdir).api, groups)
    if remaining_pods:
        raise SysctlError(
            f"nothing was deleted, because {len(remaining_pods)} pods are left on these nodes, and EKS would end them "
            f"against their PodDisruptionBudgets: {', '.join(remaining_pods[:10])}. "
            "Drain the nodes first with daytwo.aws.eks_node_drain, or set force=true"
        )


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    run = None
    try:
        check_options(params)
        run = make_run(module)
        result = ensure_present(module, run) if params["state"] == "present" else ensure_absent(module, run)
        progress = run.progress
    except (SysctlError, ApiError, KubeError, ClusterError) as error:
        details = dict(getattr(error, "details", {}))
        details["changed"] = bool(run and run.applied_steps)
        if run:
            details["progress"] = run.progress
        module.fail_json(msg=error.explanation if isinstance(error, ApiError) else str(error), **details)
    module.exit_json(progress=progress, **result)


if __name__ == "__main__":
    main()
