#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aurora_autostop_guard_info
short_description: List the parts of the autostop guard in each region, and which of them the guard manages
version_added: 0.1.0
description:
  - Lists the parts of the guard that the role P(daytwo.aws.aurora_autostop#role) installs. Reports which parts exist,
    and which names belong to resources that the guard does not manage.
  - Validates the options of the guard, and returns them in the form that its Lambda function accepts. Returns the
    policies, tags and settings that the role gives to the parts.
  - With O(regions=all), skips a region that a service control policy of the organization denies. Every other region
    that cannot be read is a failure.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.autostop_fleet
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
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
    description: Runs on the controller, or on any host with boto3.
options:
  prefix:
    description:
      - Prefix of the names of all parts, 1 to 40 letters, digits, hyphens and underscores. The guard manages the
        resources with the tag C(daytwo-aws-autostop-guard) and this value.
    type: str
    default: daytwo-autostop
  resource_tags:
    description: Tags of all parts besides the guard's own tag. Keys and values become text.
    type: dict
    default: {}
seealso:
  - module: daytwo.aws.aurora_autostop_trigger
"""

EXAMPLES = r"""
- name: Check where the guard is installed
  daytwo.aws.aurora_autostop_guard_info:
    regions: [eu-central-1, eu-west-1]
"""

RETURN = r"""
regions:
  description: One entry per region.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the region.
      type: str
      sample: eu-central-1
    prefix:
      description: Prefix of the names.
      type: str
      sample: daytwo-autostop
    account:
      description: Account ID.
      type: str
      sample: "123456789012"
    partition:
      description: Partition of the region.
      type: str
      sample: aws
    names:
      description:
        - Name of each part, by kind. C(log_group), C(dead_letter_queue), C(queue), C(role), C(function),
          C(event_rule), C(sweep_rule), C(alarm).
      type: dict
      sample: {queue: daytwo-autostop, function: daytwo-autostop}
    arns:
      description: ARN of each part, by kind, even if the part does not exist yet.
      type: dict
      sample: {queue: "arn:aws:sqs:eu-central-1:123456789012:daytwo-autostop"}
    present:
      description: Kinds of the parts that exist and have the guard's tag.
      type: list
      elements: str
      sample: [log_group, queue]
    unmanaged:
      description: Kinds whose name belongs to a resource without the guard's tag.
      type: list
      elements: str
      sample: []
    trust_policy:
      description: Trust policy of the function's role.
      type: dict
    queue_policy:
      description: Policy of the queue. Only the guard's own rules may send messages.
      type: dict
    function_policy:
      description: Policy of the function's role, with the least permissions for the options.
      type: dict
skipped_regions:
  description: Regions that a service control policy denies, each with C(name), C(status) and C(reason).
  returned: success
  type: list
  elements: dict
  sample: []
lines:
  description: A line per skipped region.
  returned: success
  type: list
  elements: str
  sample: []
unmanaged_reason:
  description: Reason why the guard cannot be installed, if some names belong to resources of others. Else null.
  returned: success
  type: str
  sample: null
options:
  description: Options of the guard, in the form that its Lambda function accepts.
  returned: success
  type: dict
  sample: {tag_key: autostop, tag_values: ["yes"], exclude: []}
owner_tag:
  description: Tag of all parts of the guard.
  returned: success
  type: dict
  sample: {daytwo-aws-autostop-guard: daytwo-autostop}
tags:
  description: Tags of all parts, O(resource_tags) included.
  returned: success
  type: dict
  sample: {daytwo-aws-autostop-guard: daytwo-autostop, team: data}
settings:
  description: Timing of the guard's retries, in seconds, and the receives before a message is given up.
  returned: success
  type: dict
  sample:
    function_timeout: 60
    visibility_timeout: 360
    delivery_delay: 60
    max_receive_count: 240
    queue_retention: 172800
    dead_letter_retention: 1209600
minimum_botocore:
  description: Lowest version of botocore that the function's package may have.
  returned: success
  type: str
  sample: 1.39.0
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._autostop import fleet
from ..module_utils._autostop_guard.model import GuardState, PrefixError
from ..module_utils._autostop_guard.observe import get_location, observe_guard
from ..module_utils._autostop_guard.policies import (
    SETTINGS,
    build_function_policy,
    build_queue_policy,
    build_trust_policy,
)
from ..module_utils._autostop_guard.report import get_unmanaged_reason
from ..module_utils._aws_call import ApiError

DECISION_OPTIONS = [name for name in fleet.ARGUMENT_SPEC if name not in ("regions", "fail_on_pending")]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            **fleet.ARGUMENT_SPEC,
            "prefix": {"type": "str", "default": "daytwo-autostop"},
            "resource_tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region)

    params = module.params
    guards: list[GuardState] = []
    skipped_regions = []
    name = ""
    try:
        options = fleet.parse_options(params)
        for name in fleet.resolve_regions(params, module.region, make_client):
            try:
                guards.append(observe_guard(make_client, get_location(make_client, params["prefix"], name)))
            except ApiError as error:
                if not (fleet.uses_all_regions(params) and error.is_denied_by_organization):
                    raise
                skipped_regions.append(
                    {"name": name, "status": "skipped", "reason": f"{fleet.DENIED_BY_ORGANIZATION} {error}."}
                )
    except (fleet.OptionError, PrefixError) as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        place = "" if error.is_credential_error else f"Region {name} could not be read. "
        module.fail_json(msg=f"{place}{error.explanation}")
    if not guards:
        reason = skipped_regions[0]["reason"]
        module.fail_json(msg=f"No region can have a guard. {reason}", skipped_regions=skipped_regions)
    decision_options = {option: params[option] for option in DECISION_OPTIONS}
    decision_options.update(
        tag_values=list(options.tag_values), clusters=list(options.clusters), exclude=list(options.exclude)
    )
    owner_tag = guards[0].location.owner_tag
    module.exit_json(
        changed=False,
        regions=[build_region(guard, decision_options) for guard in guards],
        skipped_regions=skipped_regions,
        lines=[f"{region['name']}: {region['status']}. {region['reason']}" for region in skipped_regions],
        unmanaged_reason=get_unmanaged_reason(guards),
        options=decision_options,
        owner_tag=owner_tag,
        tags={**{str(key): str(value) for key, value in params["resource_tags"].items()}, **owner_tag},
        settings=SETTINGS,
        minimum_botocore=fleet.MINIMUM_BOTOCORE,
    )


def build_region(guard: GuardState, options: dict[str, Any]) -> dict[str, Any]:
    location = guard.location
    return {
        "name": location.region,
        "prefix": location.prefix,
        "account": location.account,
        "partition": location.partition,
        "names": location.names,
        "arns": location.arns,
        "present": guard.present,
        "unmanaged": guard.unmanaged,
        "trust_policy": build_trust_policy(),
        "queue_policy": build_queue_policy(location),
        "function_policy": build_function_policy(location, options),
    }


if __name__ == "__main__":
    main()
