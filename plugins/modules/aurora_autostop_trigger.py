#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aurora_autostop_trigger
short_description: Makes the autostop guard's function run, on events and once a day
version_added: 0.1.0
description:
  - Manages, in one region, the EventBridge rules that put events of RDS and the daily sweep into the guard's queue, the
    event source mapping by which Lambda hands that queue's messages to the guard's function, and the alarm on its
    dead-letter queue. The role P(daytwo.aws.aurora_autostop#role) makes queues and function.
  - M(amazon.aws.cloudwatchevent_rule) knows neither tags nor check mode, M(amazon.aws.lambda_event) knows no tags, sets
    C(function_response_types) only on a new mapping, and needs the function in check mode, and
    M(amazon.aws.cloudwatch_metric_alarm) knows no tags. Here everything bears its tag from the moment it is made.
  - A rule, mapping or alarm of the same name without the guard's tag is somebody else's. It is left alone, and the task
    fails before anything is written, unless it only removes.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Reads the same, shows the same results, and writes nothing. Queues and function may be missing.
  diff_mode:
    support: full
    description: Shows each part before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever boto3 is.
options:
  state:
    description: Whether the parts are to be there.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description: What all names of the guard begin with, 1 to 40 letters, digits, hyphens and underscores.
    type: str
    default: daytwo-autostop
  sweep_schedule:
    description: How often every database is looked at, as a schedule expression of EventBridge.
    type: str
    default: rate(1 day)
  include_instances:
    description: Whether events of DB instances count as well.
    type: bool
    default: false
  alarm_actions:
    description: ARNs of what the alarm calls, such as an SNS topic.
    type: list
    elements: str
    default: []
  resource_tags:
    description: Tags beside the guard's own. Tags that others have added stay.
    type: dict
    default: {}
seealso:
  - module: daytwo.aws.aurora_autostop_guard_info
"""

EXAMPLES = r"""
- name: Let the guard's function run, in a region that has its queues
  daytwo.aws.aurora_autostop_trigger:
    region: eu-central-1
    alarm_actions: ["arn:aws:sns:eu-central-1:123456789012:operators"]
"""

RETURN = r"""
parts:
  description: One result per part.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: daytwo-autostop-events
    kind:
      description: V(event_source_mapping), V(event_rule), V(sweep_rule), or V(alarm).
      type: str
      sample: event_rule
    status:
      description: V(changed), V(ok), V(skipped) for somebody else's, V(failed).
      type: str
      sample: changed
    reason:
      description: Why.
      type: str
      sample: It is not there yet.
    verified:
      description: Whether a reading afterwards shows it. Null where nothing was written.
      type: bool
      sample: true
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._autostop_guard import apply, plan
from ..module_utils._autostop_guard.model import PrefixError
from ..module_utils._autostop_guard.observe import get_location
from ..module_utils._autostop_guard.service import GuardError
from ..module_utils._result import summarize


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "prefix": {"type": "str", "default": "daytwo-autostop"},
            "sweep_schedule": {"type": "str", "default": "rate(1 day)"},
            "include_instances": {"type": "bool", "default": False},
            "alarm_actions": {"type": "list", "elements": "str", "default": []},
            "resource_tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not module.region:
        module.fail_json(msg="No region. Give region, or set AWS_REGION.")
    present = params["state"] == "present"

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region)

    wish = plan.GuardOptions(
        params["sweep_schedule"],
        params["include_instances"],
        tuple(arn.strip() for arn in params["alarm_actions"] if arn.strip()),
        {str(key): str(value) for key, value in params["resource_tags"].items()},
    )
    try:
        place = get_location(make_client, params["prefix"], module.region)
        clients = apply.GuardClients(*(make_client(name, place.region) for name in ("lambda", "events", "cloudwatch")))
        changes = plan.plan_changes(place, wish, apply.observe(clients, place), present)
        foreign = [f"{change.kind} {change.name}" for change in changes if change.unmanaged]
        if foreign and present:
            module.fail_json(
                msg=f"Nothing was done in {place.region}, because {', '.join(foreign)} bears no tag of this guard, and "
                "is somebody else's. Choose another prefix, or remove it.",
            )
        parts = apply.preview(changes) if module.check_mode else apply.apply_changes(clients, place, changes)
    except (PrefixError, GuardError) as error:
        module.fail_json(msg=f"{module.region}: {error}")
    told = {**summarize(parts, diff=module._diff), "parts": [part.to_dict() for part in parts]}
    told["changed"] |= any(part.status == "failed" and part.before != part.after for part in parts)
    if told.get("failed"):
        module.fail_json(**told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
