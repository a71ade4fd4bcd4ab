#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aurora_autostop_trigger
short_description: Run the autostop guard's Lambda function on RDS events and on a schedule
version_added: 0.1.0
description:
  - Manages the trigger of the guard in one region. Two EventBridge rules send RDS events and the daily sweep to the
    guard's queue. An event source mapping sends the queue's messages to the guard's function. An alarm watches the
    dead-letter queue. The role P(daytwo.aws.aurora_autostop#role) creates the queues and the function.
  - Creates every part with its tag. M(amazon.aws.cloudwatchevent_rule) supports neither tags nor check mode.
    M(amazon.aws.lambda_event) supports no tags, sets C(function_response_types) only on a new mapping, and requires the
    function in check mode. M(amazon.aws.cloudwatch_metric_alarm) supports no tags.
  - Leaves a rule, mapping or alarm with the same name and without the guard's tag unchanged. The task then fails before
    it writes anything, unless O(state=absent).
  - Fails before it writes anything if the guard's function or queue does not exist, or has no tag of the guard.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Reads and reports the same as a real run, and writes nothing.
  diff_mode:
    support: full
    description: Shows each part before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with boto3.
options:
  state:
    description: Whether the parts exist.
    type: str
    choices: [present, absent]
    default: present
  prefix:
    description: Prefix of all names of the guard, 1 to 40 letters, digits, hyphens and underscores.
    type: str
    default: daytwo-autostop
  sweep_schedule:
    description:
      - Schedule of the sweep, which checks every database, as a schedule expression, such as V(rate(1 day\)) or
        V(cron(0 20 * * ? *\)), which EventBridge evaluates in UTC.
    type: str
    default: rate(1 day)
  allow_missing_function:
    description:
      - Whether check mode goes on without the guard's function and queue, as if another task had created them. Has no
        effect outside of check mode.
    type: bool
    default: false
  include_instances:
    description: Whether events of DB instances trigger the function as well.
    type: bool
    default: false
  alarm_actions:
    description: ARNs of the alarm's actions, such as an SNS topic.
    type: list
    elements: str
    default: []
  resource_tags:
    description: Tags besides the guard's own tag. Tags that others have added stay.
    type: dict
    default: {}
seealso:
  - module: daytwo.aws.aurora_autostop_guard_info
"""

EXAMPLES = r"""
- name: Trigger the guard's function in a region that has its queues
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
      description: Name of the part.
      type: str
      sample: daytwo-autostop-events
    kind:
      description: V(event_source_mapping), V(event_rule), V(sweep_rule), or V(alarm).
      type: str
      sample: event_rule
    status:
      description: V(changed), V(ok), V(skipped) for a part that the guard does not manage, V(failed).
      type: str
      sample: changed
    reason:
      description: Reason for the status.
      type: str
      sample: It does not exist yet.
    verified:
      description: Whether a reading after the change shows it. Null if nothing was written.
      type: bool
      sample: true
    unmanaged:
      description: Whether the name belongs to a resource without the guard's tag.
      type: bool
      sample: false
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._autostop_guard import apply, plan
from ..module_utils._autostop_guard.model import DEFAULT_SWEEP_SCHEDULE, PrefixError
from ..module_utils._autostop_guard.observe import get_location, observe_requirements
from ..module_utils._aws_call import ApiError
from ..module_utils._result import summarize


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "prefix": {"type": "str", "default": "daytwo-autostop"},
            "sweep_schedule": {"type": "str", "default": DEFAULT_SWEEP_SCHEDULE},
            "allow_missing_function": {"type": "bool", "default": False},
            "include_instances": {"type": "bool", "default": False},
            "alarm_actions": {"type": "list", "elements": "str", "default": []},
            "resource_tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not module.region:
        module.fail_json(changed=False, msg="No region is set. Set region, or AWS_REGION.", parts=[])
    should_exist = params["state"] == "present"

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region)

    options = plan.GuardOptions(
        params["sweep_schedule"],
        params["include_instances"],
        tuple(arn.strip() for arn in params["alarm_actions"] if arn.strip()),
        {str(key): str(value) for key, value in params["resource_tags"].items()},
    )
    try:
        location = get_location(make_client, params["prefix"], module.region)
        clients = apply.GuardClients(
            *(make_client(name, location.region) for name in ("lambda", "events", "cloudwatch"))
        )
        changes = plan.plan_changes(location, options, apply.observe(clients, location), should_exist)
        is_required = should_exist and not (module.check_mode and params["allow_missing_function"])
        requirements = observe_requirements(make_client, location) if is_required else None
        refusal = plan.get_refusal_reason(location, changes, requirements) if should_exist else None
        if refusal:
            module.fail_json(
                changed=False,
                msg=f"Nothing was changed in {location.region}: {refusal}",
                parts=[part.to_dict() for part in apply.refuse_changes(changes, refusal)],
            )
        parts = apply.preview(changes) if module.check_mode else apply.apply_changes(clients, location, changes)
    except PrefixError as error:
        module.fail_json(changed=False, msg=f"{module.region}: {error}", parts=[])
    except ApiError as error:
        place = "" if error.is_credential_error else f"{module.region}: "
        module.fail_json(changed=False, msg=f"{place}{error.explanation}", parts=[])
    result = {**summarize(parts, diff=module._diff), "parts": [part.to_dict() for part in parts]}
    result["changed"] |= any(part.status == "failed" and part.before != part.after for part in parts)
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
