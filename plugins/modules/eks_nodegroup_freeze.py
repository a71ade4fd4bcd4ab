#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_nodegroup_freeze
short_description: Freeze node groups so that they get no new nodes and no new pods
version_added: 0.1.0
description:
  - Freeze node groups before a drain, because cordoning nodes does not stop Cluster Autoscaler or the Auto Scaling
    group from adding nodes. A frozen group has its current number of nodes as its maximum, and a taint
    C(daytwo.aws/frozen) that new pods do not tolerate.
  - The number of nodes is never sent, because an autoscaler owns it, and EKS's own value can be out of date. The taint
    is set first. The maximum then covers the nodes that the Auto Scaling group has at that moment.
  - The original scaling is kept in the tag C(daytwo.aws/frozen-scaling) of the group. O(state=thawed) restores it. The
    tag is written first and removed last, so that a run that stops in between loses nothing.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Return the same plan, and write nothing.
  diff_mode:
    support: full
    description: Return each step's fields before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    platforms: posix
    support: full
    description: Run on the controller, or on any host with boto3.
options:
  cluster:
    description: Name of the EKS cluster.
    type: str
    required: true
  names:
    description: Names of node groups, at least one. Required unless O(generations_of) is set.
    type: list
    elements: str
  generations_of:
    description:
      - Logical name of M(daytwo.aws.eks_sysctl_nodegroup). Every existing group of that name is included, whatever its
        status.
    type: str
  state:
    description:
      - Desired state of the groups. V(frozen) keeps new nodes and new pods away.
      - V(thawed) restores the minimum and the maximum. The number of nodes does not change, as long as it is within
        them.
    type: str
    choices: [frozen, thawed]
    default: frozen
  wait_timeout:
    description: Maximum waiting time for EKS's updates, in seconds.
    type: int
    default: 900
  wait_delay:
    description: Seconds between two checks.
    type: int
    default: 5
seealso:
  - module: daytwo.aws.eks_node_drain
"""

EXAMPLES = r"""
- name: Freeze the old group while it is drained
  daytwo.aws.eks_nodegroup_freeze:
    cluster: prod
    names: [workers]

- name: Abandon a blue/green replacement, and use the old group again
  daytwo.aws.eks_nodegroup_freeze:
    cluster: prod
    generations_of: workers
    state: thawed
"""

RETURN = r"""
groups:
  description:
    - One result per node group, with its steps and its instances. C(newest_generation) is whether it is the newest
      group of O(generations_of), which replaces the others.
  returned: always
  type: list
  elements: dict
  sample:
    - name: workers
      status: changed
      reason: >-
        no autoscaler may add nodes to the group, and no new pod may be scheduled to it, while it is drained
      steps: []
      desired_size: 3
      newest_generation: false
      nodes: [{instance_id: i-0abc, provider_id: aws:///eu-central-1a/i-0abc, zone: eu-central-1a, state: running}]
progress:
  description: The states that the module observed while waiting.
  returned: always
  type: list
  elements: str
  sample: ["update_config workers: done"]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._aws_call import ApiError
from ..module_utils._result import ItemResult, summarize
from ..module_utils._sysctl_nodegroup import freeze, options
from ..module_utils._sysctl_nodegroup.errors import SysctlError
from ..module_utils._sysctl_nodegroup.option_rules import check_options
from ..module_utils._sysctl_nodegroup.run import NodeGroupRun


def set_freeze_state(run: NodeGroupRun, name: str, state: str, check_mode: bool, newest: str) -> ItemResult:
    """Freeze or thaw one group. A failure does not stop the other groups."""
    began = len(run.applied_steps)
    fields: dict[str, Any] = {"steps": [], "desired_size": None, "newest_generation": name == newest, "nodes": []}
    try:
        group = run.get_node_group(name)
        if group is None:
            raise SysctlError(f"cluster {run.cluster} has no node group {name}. Name an existing group")
        if state == "frozen" and not check_mode:  # it measures and plans again before each step
            group = run.freeze_node_group(name)
            steps = run.applied_steps[began:]
        else:
            group = run.measure(group)
            steps = freeze.plan_freeze(group) if state == "frozen" else freeze.plan_thaw(group)
            if not check_mode:
                run.apply_steps(steps)
        fields["desired_size"] = group.desired_size
        fields["nodes"] = options.format_instances(group.running.instances if group.running else ())
    except (SysctlError, ApiError) as error:
        fields["steps"] = [options.format_step(step) for step in run.applied_steps[began:]]
        reason = error.explanation if isinstance(error, ApiError) else str(error)
        return ItemResult(name, "failed", reason, fields=fields)
    reason = steps[-1].reason if steps else f"the group is already {state}"
    fields["steps"] = [options.format_step(step) for step in steps]
    diff = options.build_diff(steps)
    return ItemResult(name, "changed" if steps else "ok", reason, diff["before"], diff["after"], fields)


def list_group_names(run: NodeGroupRun, params: dict[str, Any]) -> tuple[list[str], str]:
    """List the groups of both options, each once, and the newest generation."""
    generations = run.list_generations(params["generations_of"]) if params["generations_of"] else ()
    names = [*(params["names"] or ()), *(group.name for group in generations)]
    return list(dict.fromkeys(names)), generations[-1].name if generations else ""


def main() -> None:
    spec: dict[str, Any] = {
        "cluster": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str"},
        "generations_of": {"type": "str"},
        "state": {"type": "str", "choices": ["frozen", "thawed"], "default": "frozen"},
        "wait_timeout": {"type": "int", "default": 900},
        "wait_delay": {"type": "int", "default": 5},
    }
    module = AnsibleAWSModule(
        argument_spec=spec, supports_check_mode=True, required_one_of=[("names", "generations_of")]
    )
    params = module.params
    try:
        check_options(params)
    except SysctlError as error:
        module.fail_json(msg=str(error), changed=False)
    run = NodeGroupRun.connect(
        module.client, params["cluster"], timeout=params["wait_timeout"], delay=params["wait_delay"]
    )
    try:
        names, newest = list_group_names(run, params)
    except (SysctlError, ApiError) as error:
        module.fail_json(msg=error.explanation if isinstance(error, ApiError) else str(error), changed=False)
    items = [set_freeze_state(run, name, params["state"], module.check_mode, newest) for name in names]
    result = summarize(items, module._diff)
    result["changed"] = result["changed"] or bool(run.applied_steps)
    result.update(groups=[item.to_dict() for item in items], progress=run.progress)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
