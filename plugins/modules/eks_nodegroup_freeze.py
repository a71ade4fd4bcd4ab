#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_nodegroup_freeze
short_description: Keeps node groups from growing while their pods move away
version_added: 0.1.0
description:
  - Cordoning nodes stops neither Cluster Autoscaler nor the Auto Scaling group from adding new ones. A frozen group has
    its present number of nodes as its maximum, and a taint C(daytwo.aws/frozen) that new pods do not tolerate.
  - What its scaling was stands in its own tag C(daytwo.aws/frozen-scaling), and comes back with O(state=thawed). The
    tag is written first and taken off last, so that a run which stops in between loses nothing.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Shows the same plan, and writes nothing.
  diff_mode:
    support: full
    description: Shows each step's fields before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever boto3 is.
options:
  cluster:
    description: Name of the EKS cluster.
    type: str
    required: true
  names:
    description: Names of node groups.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(thawed) brings minimum and maximum back. The number of nodes stays what it is, within them.
    type: str
    choices: [frozen, thawed]
    default: frozen
  wait_timeout:
    description: How long to wait for EKS's updates in all, in seconds.
    type: int
    default: 900
  wait_delay:
    description: Seconds between two readings.
    type: int
    default: 5
seealso:
  - module: daytwo.aws.eks_node_drain
"""

EXAMPLES = r"""
- name: No new nodes in the old group while it is drained
  daytwo.aws.eks_nodegroup_freeze:
    cluster: prod
    names: [workers]

- name: The replacement was given up, so the old group is in use again
  daytwo.aws.eks_nodegroup_freeze:
    cluster: prod
    names: [workers]
    state: thawed
"""

RETURN = r"""
groups:
  description: One result per node group, with the steps that it takes.
  returned: always
  type: list
  elements: dict
  sample:
    - name: workers
      status: changed
      reason: so that no autoscaler adds nodes to it, and no pod lands on it while it is drained
      steps: []
      desired_size: 3
progress:
  description: What was seen while waiting.
  returned: always
  type: list
  elements: str
  sample: ["update_config workers: done"]
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._result import ItemResult, summarize
from ..module_utils._sysctl_nodegroup import freeze, options
from ..module_utils._sysctl_nodegroup.aws import CLIENT_CONFIG
from ..module_utils._sysctl_nodegroup.errors import SysctlError
from ..module_utils._sysctl_nodegroup.run import NodeGroupRun

try:
    from botocore.config import Config
except ImportError:
    Config = None  # AnsibleAWSModule says so in words


def set_freeze_state(run: NodeGroupRun, name: str, state: str, check_mode: bool) -> ItemResult:
    """One group. What fails is its own failure."""
    began = len(run.applied_steps)
    try:
        group = run.get_node_group(name)
        if group is None:
            raise SysctlError(f"there is no node group {name} in {run.cluster}")
        steps = freeze.plan_freeze(group) if state == "frozen" else freeze.plan_thaw(group)
        if not check_mode:
            run.apply_steps(steps)
    except SysctlError as error:
        return ItemResult(
            name,
            "failed",
            str(error),
            fields={"steps": [options.format_step(step) for step in run.applied_steps[began:]]},
        )
    reason = steps[-1].reason if steps else f"it is {state} already"
    fields = {
        "steps": [options.format_step(step) for step in steps],
        "desired_size": int((group.description.get("scalingConfig") or {}).get("desiredSize") or 0),
    }
    diff = options.build_diff(steps)
    return ItemResult(name, "changed" if steps else "ok", reason, diff["before"], diff["after"], fields)


def main() -> None:
    spec: dict[str, Any] = {
        "cluster": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["frozen", "thawed"], "default": "frozen"},
        "wait_timeout": {"type": "int", "default": 900},
        "wait_delay": {"type": "int", "default": 5},
    }
    module = AnsibleAWSModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    config = Config(**CLIENT_CONFIG)
    run = NodeGroupRun(
        module.client("eks", config=config),
        module.client("ec2", config=config),
        params["cluster"],
        timeout=params["wait_timeout"],
        delay=params["wait_delay"],
    )
    items = [set_freeze_state(run, name, params["state"], module.check_mode) for name in dict.fromkeys(params["names"])]
    result = summarize(items, module._diff)
    result["changed"] = result["changed"] or bool(run.applied_steps)
    result.update(groups=[item.to_dict() for item in items], progress=run.progress)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
