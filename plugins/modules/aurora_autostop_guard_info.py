#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aurora_autostop_guard_info
short_description: Says which parts of the autostop guard stand in each region, and whose they are
version_added: 0.1.0
description:
  - Names everything of which the guard consists that the role P(daytwo.aws.aurora_autostop#role) installs, and says
    which of it is there, and which of its names somebody else's things bear.
  - Also checks the options by which the guard decides, and returns them as its function takes them.
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
    description: Runs on the controller, or wherever boto3 is.
options:
  prefix:
    description:
      - What all names begin with, 1 to 40 letters, digits, hyphens and underscores. What is there and bears the tag
        C(daytwo-aws-autostop-guard) with this value is the guard's.
    type: str
    default: daytwo-autostop
seealso:
  - module: daytwo.aws.aurora_autostop_trigger
"""

EXAMPLES = r"""
- name: Is the guard installed everywhere
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
      description: The region.
      type: str
      sample: eu-central-1
    account:
      description: The account.
      type: str
      sample: "123456789012"
    partition:
      description: The partition.
      type: str
      sample: aws
    names:
      description:
        - What each part is called, by kind. C(log_group), C(dead_letter_queue), C(queue), C(role), C(function),
          C(event_rule), C(sweep_rule), C(alarm).
      type: dict
      sample: {queue: daytwo-autostop, function: daytwo-autostop}
    arns:
      description: The ARN of each part, by kind, also where it is not there yet.
      type: dict
      sample: {queue: "arn:aws:sqs:eu-central-1:123456789012:daytwo-autostop"}
    present:
      description: The kinds that are there and bear the guard's tag.
      type: list
      elements: str
      sample: [log_group, queue]
    foreign:
      description: The kinds whose name is borne by something without the guard's tag.
      type: list
      elements: str
      sample: []
options:
  description: The options by which the guard decides, as its function takes them.
  returned: success
  type: dict
  sample: {tag_key: autostop, tag_values: ["yes"], exclude: []}
owner_tag:
  description: The tag that all parts bear.
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
from ..module_utils._autostop_guard.service import GuardError

DECISION_OPTIONS = [name for name in fleet.ARGUMENT_SPEC if name not in ("regions", "fail_on_pending")]


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={**fleet.ARGUMENT_SPEC, "prefix": {"type": "str", "default": "daytwo-autostop"}},
        supports_check_mode=True,
    )

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region)

    params = module.params
    surrounding = [os.environ.get("AWS_REGION"), os.environ.get("AWS_DEFAULT_REGION")]
    regions = []
    name = ""
    try:
        wanted = fleet.parse_options(params)
        for name in fleet.resolve_regions(params, module.region, surrounding, make_client):
            found = observe_guard(make_client, get_location(make_client, params["prefix"], name))
            place = found.location
            regions.append(
                {
                    "name": name,
                    "account": place.account,
                    "partition": place.partition,
                    "names": place.names,
                    "arns": place.arns,
                    "present": found.present,
                    "foreign": found.unmanaged,
                }
            )
    except (fleet.OptionError, PrefixError) as error:
        module.fail_json(msg=str(error))
    except GuardError as error:
        module.fail_json(msg=f"{name} could not be read. {error}")
    options = {option: params[option] for option in DECISION_OPTIONS}
    options.update(clusters=list(wanted.clusters), exclude=list(wanted.exclude))
    owner_tag = place.owner_tag if regions else {}
    module.exit_json(changed=False, regions=regions, options=options, owner_tag=owner_tag)


if __name__ == "__main__":
    main()
