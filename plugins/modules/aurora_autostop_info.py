#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aurora_autostop_info
short_description: List the tagged Aurora clusters, and what M(daytwo.aws.aurora_autostop) would do
version_added: 0.1.0
description:
  - Reads and decides exactly as M(daytwo.aws.aurora_autostop) with the same options, and writes nothing.
  - The status V(changed) means that M(daytwo.aws.aurora_autostop) would stop the cluster or move its tag.
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
requirements:
  - botocore >= 1.39.0
seealso:
  - module: daytwo.aws.aurora_autostop
"""

EXAMPLES = r"""
- name: List the tagged clusters in every region
  daytwo.aws.aurora_autostop_info:
    regions: [all]
  register: autostop

- name: Show the clusters that would be stopped
  ansible.builtin.debug:
    msg: "{{ autostop.clusters | selectattr('status', 'equalto', 'changed') | map(attribute='arn') }}"
"""

RETURN = r"""
clusters:
  description:
    - One result per cluster (and DB instance, with O(include_instances=true)) that is tagged, has a tag mismatch, or is
      named in O(clusters). RV(totals) counts all others.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Identifier of the cluster or DB instance.
      type: str
      sample: orders
    status:
      description:
        - V(changed) if M(daytwo.aws.aurora_autostop) would stop it or move its tag. V(ok) if it is stopped or stopping
          already. V(pending) if AWS cannot stop it yet. V(skipped) if it would leave it unchanged. V(failed) if an
          error occurred.
      type: str
      sample: changed
    reason:
      description: Reason for the status, with a remediation if there is one.
      type: str
      sample: It was running, and it is tagged autostop=yes.
    arn:
      description: ARN of the cluster or DB instance.
      type: str
      sample: arn:aws:rds:eu-central-1:123456789012:cluster:orders
    kind:
      description: V(cluster) or V(instance).
      type: str
      sample: cluster
    region:
      description: Region of the cluster or DB instance.
      type: str
      sample: eu-central-1
    engine:
      description: Engine, as RDS names it.
      type: str
      sample: aurora-mysql
    engine_version:
      description: Version of the engine.
      type: str
      sample: 8.0.mysql_aurora.3.08.0
    status_before:
      description: Status in the reading.
      type: str
      sample: available
    status_after:
      description: Expected status.
      type: str
      sample: stopping
    verified:
      description: Whether a reading after the stop shows it stopping or stopped. Null if nothing was stopped.
      type: bool
      sample: true
    automatic_restart_time:
      description: Time at which AWS starts it again. Null while it runs.
      type: str
      sample: "2026-12-01T10:00:00Z"
    tag_source:
      description: Location of the tag. V(cluster), V(instance), or the names of a cluster's instances.
      type: str
      sample: cluster
    ineligibility_reason:
      description:
        - Kind of database that AWS never stops, or null. One of C(neptune), C(documentdb), C(multi_az_cluster),
          C(unknown_engine), C(serverless_v1), C(multi_master), C(parallel_query), C(global_member),
          C(cross_region_replica), C(replication_source), C(replication_target), C(blue_green), C(aurora_member),
          C(cluster_member), C(read_replica), C(read_replica_source), C(sqlserver_multi_az), C(rds_custom),
          C(limitless), C(not_eligible). Some of them AWS names only when it refuses the stop.
      type: str
      sample: null
    tag_mismatch:
      description: Whether the tag is similar to the configured tag, but no exact match.
      type: bool
      sample: false
    held_until:
      description: End of the hold, from the hold tag C(autostop-until). Null without a hold or without an end date.
      type: str
      sample: null
    start_type:
      description:
        - Type of the last start. V(automatic) by AWS after seven days, or V(manual) by a person, as the events show.
          Read with O(sweep_policy=auto_started_only) only, else null.
      type: str
      sample: null
    auto_pause_seconds:
      description:
        - Idle seconds after which the Serverless v2 instances of the cluster pause by themselves. Null unless the
          minimum capacity is 0.
      type: int
      sample: null
    maintenance:
      description:
        - Pending maintenance actions of the cluster and its instances, each with C(action), C(description),
          C(apply_date) and C(opt_in_status). Read only in a region where a database is to be stopped.
      type: list
      elements: dict
      sample: []
    steps:
      description: Steps that M(daytwo.aws.aurora_autostop) would take, with target, before, after and reason.
      type: list
      elements: dict
      sample:
        - action: stop
          target: arn:aws:rds:eu-central-1:123456789012:cluster:orders
          reason: It was running, and it is tagged autostop=yes.
          before: {status: available}
          after: {status: stopping}
regions:
  description:
    - One result per region, with the number of clusters and instances that were checked there.
    - The status is V(changed), V(ok), V(failed), or V(skipped). A region is skipped if a service control policy denies
      it, with O(regions=all).
  returned: always
  type: list
  elements: dict
  sample:
    - name: eu-central-1
      status: changed
      reason: 130 clusters checked.
      clusters_checked: 130
      instances_checked: 0
totals:
  description: Number of results by status, and of clusters and instances checked.
  returned: always
  type: dict
  sample:
    changed: 12
    ok: 3
    pending: 1
    skipped: 2
    failed: 0
    clusters_checked: 130
    instances_checked: 0
    untagged: 112
    tag_mismatches: 1
    regions: 1
    regions_failed: 0
    regions_skipped: 0
lines:
  description: A line per entry of RV(clusters), and per region that was not read. The totals if there is no such line.
  returned: always
  type: list
  elements: str
  sample: ["orders (eu-central-1): changed. It was running, and it is tagged autostop=yes."]
msg:
  description: Totals as a sentence, followed by the failures. Failures with the same reason are one sentence.
  returned: always
  type: str
  sample: 12 changed, 3 off already, 1 pending, 2 skipped, 0 failed in 1 region.
"""

import contextlib
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._autostop import fleet
from ..module_utils._autostop.report import build_failure, build_result

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports the missing library
    from botocore.config import Config


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=dict(fleet.ARGUMENT_SPEC),
        supports_check_mode=True,
    )
    module.require_botocore_at_least(
        fleet.MINIMUM_BOTOCORE, reason="because older versions hide which clusters belong to a global database"
    )

    def make_client(service: str, region: str) -> Any:
        return module.client(service, region=region, config=Config(**fleet.CLIENT_CONFIG))

    params = module.params
    try:
        options = fleet.parse_options(params)
        region_names = fleet.resolve_regions(params, module.region, make_client)
    except fleet.OptionError as error:
        module.fail_json(**build_failure(str(error)))
    region_outcomes = fleet.run_regions(make_client, region_names, options, act=False)
    region_outcomes = fleet.skip_denied_regions(params, region_outcomes)
    result = build_result(
        region_outcomes,
        params["fail_on_pending"],
        unknown_name_warnings=fleet.get_unknown_name_warnings(options, region_outcomes),
    )
    for warning in result.pop("warnings"):
        module.warn(warning)
    result["changed"] = False
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
