#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aurora_autostop_info
short_description: Says which tagged Aurora clusters run, and what M(daytwo.aws.aurora_autostop) would do
version_added: 0.1.0
description:
  - Reads and decides exactly as M(daytwo.aws.aurora_autostop) does with the same options, and writes nothing.
  - A status V(changed) means that the cluster would be stopped, or its tag moved.
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
requirements:
  - botocore >= 1.39.0
seealso:
  - module: daytwo.aws.aurora_autostop
"""

EXAMPLES = r"""
- name: Which tagged clusters run, in every region
  daytwo.aws.aurora_autostop_info:
    regions: [all]
  register: autostop

- name: Show what would be stopped
  ansible.builtin.debug:
    msg: "{{ autostop.clusters | selectattr('status', 'equalto', 'changed') | map(attribute='arn') }}"
"""

RETURN = r"""
clusters:
  description:
    - One result per cluster (and DB instance, with O(include_instances=true)) that is tagged, nearly tagged, or named
      in O(clusters). All others are counted in RV(totals).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Identifier.
      type: str
      sample: orders
    status:
      description:
        - V(changed) for one that this run stops or whose tag it moves, V(ok) for one that is off already,
          V(pending) for one that cannot be stopped yet, V(skipped) for one that is left alone, V(failed).
      type: str
      sample: changed
    reason:
      description: Why, in words, and what would mend it.
      type: str
      sample: It is running, and is tagged autostop=yes.
    arn:
      description: Its ARN.
      type: str
      sample: arn:aws:rds:eu-central-1:123456789012:cluster:orders
    kind:
      description: V(cluster) or V(instance).
      type: str
      sample: cluster
    region:
      description: Its region.
      type: str
      sample: eu-central-1
    engine:
      description: Its engine.
      type: str
      sample: aurora-mysql
    engine_version:
      description: The engine's version.
      type: str
      sample: 8.0.mysql_aurora.3.08.0
    status_before:
      description: Status in which it was found.
      type: str
      sample: available
    status_after:
      description: Status in which it was seen last; in check mode, the one that is expected.
      type: str
      sample: stopping
    verified:
      description: Whether a reading after the stop shows it stopping or stopped. Null where nothing was stopped.
      type: bool
      sample: true
    automatic_restart_time:
      description: When AWS will start it again, null while it runs.
      type: str
      sample: "2026-12-01T10:00:00Z"
    tag_source:
      description: Where the tag was found, V(cluster), V(instance), or the names of a cluster's instances.
      type: str
      sample: cluster
    obstacle:
      description:
        - Kind of what AWS never stops, or null. One of C(neptune), C(documentdb), C(multi_az_cluster),
          C(unknown_engine), C(serverless_v1), C(multi_master), C(parallel_query), C(global_member),
          C(cross_region_replica), C(replication_source), C(replication_target), C(blue_green), C(aurora_member),
          C(cluster_member), C(read_replica), C(read_replica_source), C(sqlserver_multi_az), C(rds_custom),
          C(limitless), C(not_eligible).
      type: str
      sample: null
    near_miss:
      description: Whether its tag nearly says what counts.
      type: bool
      sample: false
    held_until:
      description: The end of its hold, null without one.
      type: str
      sample: null
    started:
      description: V(automatic) or V(manual) where O(sweep_policy=auto_started_only) and the events say so, else null.
      type: str
      sample: null
    maintenance:
      description: Pending maintenance of it and its instances, read where something is to be stopped.
      type: list
      elements: dict
      sample: []
    steps:
      description: The writes that this takes, with target, before, after and reason; the same in check mode.
      type: list
      elements: dict
      sample:
        - action: stop
          target: arn:aws:rds:eu-central-1:123456789012:cluster:orders
          reason: It is running, and is tagged autostop=yes.
          before: {status: available}
          after: {status: stopping}
regions:
  description: One result per region, with how many clusters and instances were read there.
  returned: always
  type: list
  elements: dict
  sample:
    - name: eu-central-1
      status: changed
      reason: 130 clusters seen.
      clusters_seen: 130
      instances_seen: 0
totals:
  description: How many came to what.
  returned: always
  type: dict
  sample:
    changed: 12
    ok: 3
    pending: 1
    skipped: 2
    failed: 0
    clusters_seen: 130
    instances_seen: 0
    untagged: 112
    near_misses: 1
    regions: 1
    regions_failed: 0
msg:
  description: The totals as a sentence, then each failure.
  returned: always
  type: str
  sample: 12 changed, 3 off already, 1 pending, 2 skipped, 0 failed in 1 region.
"""

import contextlib
import os
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._autostop import fleet
from ..module_utils._autostop.report import build_result

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so in words
    from botocore.config import Config


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=dict(fleet.ARGUMENT_SPEC),
        supports_check_mode=True,
    )
    module.require_botocore_at_least(
        fleet.MINIMUM_BOTOCORE, reason="to see which clusters belong to a global database: older ones hide it"
    )

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region, config=Config(**fleet.CLIENT_CONFIG))

    params = module.params
    surrounding = [os.environ.get("AWS_REGION"), os.environ.get("AWS_DEFAULT_REGION")]
    try:
        wanted = fleet.parse_options(params)
        names = fleet.resolve_regions(params, module.region, surrounding, make_client)
    except fleet.OptionError as error:
        module.fail_json(msg=str(error))
    regions = fleet.run_regions(make_client, names, wanted, act=False)
    told = build_result(
        regions, params["fail_on_pending"], unknown_name_warnings=fleet.get_unknown_name_warnings(wanted, regions)
    )
    for warning in told.pop("warnings"):
        module.warn(warning)
    told["changed"] = False
    if told["failed"]:
        module.fail_json(**told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
