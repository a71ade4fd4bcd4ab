# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options by which aurora_autostop and aurora_autostop_info choose what is to be off; their spec is fleet.OPTIONS."""

from __future__ import annotations


class ModuleDocFragment:
    """What both modules share."""

    DOCUMENTATION = r"""
options:
  regions:
    description:
      - Regions to work in, some at a time, or V(all) alone for every region that the account has enabled.
      - A region that is denied or cannot be reached is its own result; the others are done, and the task fails at the
        end.
      - Without it, the region of the connection. Excludes O(region), unless that comes from the environment.
    type: list
    elements: str
  tag_key:
    description: Key of the tag that says which clusters are to be off. Case matters.
    type: str
    default: autostop
  tag_values:
    description:
      - Values of the tag that say so. They match exactly. Near misses, such as C(Yes) or C(true) for V(yes), are
        reported and never acted on.
      - Quote C("yes"), which YAML else takes for V(true).
    type: list
    elements: str
    default: ["yes"]
  clusters:
    description:
      - Identifiers or ARNs. With it, nothing else is looked at, and what is named is reported even if it has no tag.
      - The tag decides all the same. A name that nothing bears is warned about. A list of nothing but blanks fails,
        since it would mean every cluster.
    type: list
    elements: str
    default: []
  exclude:
    description:
      - Identifiers or ARNs that are left alone, whatever their tags say. A name that nothing bears is warned about.
    type: list
    elements: str
    default: []
  include_instances:
    description: Whether tagged DB instances that belong to no Aurora cluster are treated by the same rules.
    type: bool
    default: false
  migrate_tags:
    description:
      - Whether tags that stand on instances of Aurora clusters, where they do nothing, move to their cluster and off
        the instance. The cluster is then stopped in the same run.
      - A hold, C(autostop-until), on an instance moves as well, and holds. Without this option one that stands on an
        instance is not looked for and does nothing.
      - Nothing moves where cluster and instances contradict each other; the result names both.
      - Without it, a warning names instance and cluster.
    type: bool
    default: false
  sweep_policy:
    description:
      - What is stopped of the tagged clusters that run.
      - V(all) stops every one, B(also those that a person has started on purpose), unless they are held by a tag
        C(autostop-until).
      - V(auto_started_only) stops only those that AWS has started after seven days, as their events of the last 14 days
        say. A cluster that has never been stopped stays on. It costs one paged C(DescribeEvents) per region that has a
        candidate, and the reasons then tell who started what.
    type: str
    choices: [all, auto_started_only]
    default: all
  finish_maintenance:
    description:
      - Whether a cluster with maintenance that AWS will carry out within seven days stays on until that is done. It is
        C(pending) meanwhile. AWS starts stopped clusters for the sake of their maintenance.
      - Pending maintenance is reported in any case.
    type: bool
    default: false
  fail_on_pending:
    description:
      - Whether the task fails at its end where a cluster is C(pending), that is, in a status which passes by itself but
        from which AWS does not stop, such as C(starting) or C(backing-up).
    type: bool
    default: false
"""
