# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of aurora_autostop and aurora_autostop_info that select the clusters; their spec is fleet.ARGUMENT_SPEC."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that the modules share."""

    DOCUMENTATION = r"""
options:
  regions:
    description:
      - Regions to work in, or V(all) alone for every region that the account has enabled. The module works in several
        regions at a time.
      - A region that is denied or cannot be reached has its own result. The module finishes the other regions, and the
        task fails at the end.
      - With V(all), a region that a service control policy of the organization denies is skipped, and named with the
        reason. Such a denial of a region that O(regions) names is a failure, and so is a denial of all regions.
      - Without it, the region of the connection. With it, O(region) has no effect.
    type: list
    elements: str
  tag_key:
    description: Key of the tag that selects the clusters to stop. Case-sensitive.
    type: str
    default: autostop
  tag_values:
    description:
      - Values of the tag that select a cluster. They match exactly. A tag mismatch, such as C(Yes) or C(true) for
        V(yes), is reported and never acted on.
      - Quote C("yes"), because YAML reads it as the boolean V(true) otherwise. A boolean is an error.
    type: list
    elements: raw
    default: ["yes"]
  clusters:
    description:
      - Identifiers or ARNs. The module checks these clusters only, and reports each of them even if it has no tag.
      - The tag still decides. A name that no database has causes a warning. So does the name of an instance of a
        cluster, because AWS stops a cluster only as a whole. A list of blanks fails, because it would select every
        cluster.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Identifiers or ARNs to skip, whatever their tags are. A name that no database has causes a warning. So does the
        name of an instance of a cluster, because it excludes nothing.
    type: list
    elements: str
    default: []
  include_instances:
    description: Whether to treat tagged DB instances that belong to no Aurora cluster by the same rules.
    type: bool
    default: false
  migrate_tags:
    description:
      - Whether to move tags from instances of Aurora clusters, where they have no effect, to their cluster. The same
        run then stops the cluster.
      - A hold tag C(autostop-until) on an instance moves as well, and holds. Without this option, the module does not
        search instances for a hold tag, and it has no effect there.
      - No tag moves if the tags of the cluster and its instances contradict each other. The result names both.
      - Without this option, a warning names the instance and the cluster.
    type: bool
    default: false
  sweep_policy:
    description:
      - Policy that selects which of the running tagged clusters to stop.
      - V(all) stops every one, B(also those that a person has started on purpose), unless a hold tag C(autostop-until)
        keeps them running.
      - V(auto_started_only) stops only clusters that AWS has started after seven days, as their events of the last 14
        days show. A cluster that was never stopped keeps running. This costs one paged C(DescribeEvents) per region
        with a candidate. The reasons then include who started the cluster.
    type: str
    choices: [all, auto_started_only]
    default: all
  finish_maintenance:
    description:
      - Whether a cluster keeps running while AWS has maintenance to apply to it within seven days. The cluster is
        C(pending) meanwhile. AWS starts stopped clusters so that they get their maintenance.
      - The module always reports pending maintenance.
    type: bool
    default: false
  fail_on_pending:
    description:
      - Whether the task fails at its end if a cluster is C(pending). Such a cluster is in a transitional status from
        which AWS cannot stop it, such as C(starting) or C(backing-up).
    type: bool
    default: false
"""
