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
  - Validates the options of the guard, and returns them in the form that its Lambda function accepts.
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
"""

import os
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._autostop import fleet
from ..module_utils._autostop_guard.model import PrefixError
from ..module_utils._autostop_guard.observe import get_location, observe_guard
from ..module_utils._aws_call import ApiError

DECISION_OPTIONS = [name for name in fleet.ARGUMENT_SPEC if name not in ("regions", "fail_on_pending")]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={**fleet.ARGUMENT_SPEC, "prefix": {"type": "str", "default": "daytwo-autostop"}},
        supports_check_mode=True,
    )

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region)

    params = module.params
    environment_regions = [os.environ.get("AWS_REGION"), os.environ.get("AWS_DEFAULT_REGION")]
    regions = []
    name = ""
    try:
        options = fleet.parse_options(params)
        for name in fleet.resolve_regions(params, module.region, environment_regions, make_client):
            guard = observe_guard(make_client, get_location(make_client, params["prefix"], name))
            location = guard.location
            regions.append(
                {
                    "name": name,
                    "account": location.account,
                    "partition": location.partition,
                    "names": location.names,
                    "arns": location.arns,
                    "present": guard.present,
                    "unmanaged": guard.unmanaged,
                }
            )
    except (fleet.OptionError, PrefixError) as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=f"Region {name} could not be read. {error.explanation}")
    decision_options = {option: params[option] for option in DECISION_OPTIONS}
    decision_options.update(clusters=list(options.clusters), exclude=list(options.exclude))
    owner_tag = location.owner_tag if regions else {}
    module.exit_json(changed=False, regions=regions, options=decision_options, owner_tag=owner_tag)


if __name__ == "__main__":
    main()
