# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: sysctl_nodegroup_report
short_description: Build the report of the role sysctl_nodegroup
version_added: 0.1.0
description:
  - Build the report of the role C(daytwo.aws.sysctl_nodegroup) from a result of M(daytwo.aws.eks_sysctl_nodegroup).
author:
  - The daytwo.aws authors (@daytwo-aws)
positional: keep_old
options:
  _input:
    description: Result of M(daytwo.aws.eks_sysctl_nodegroup) with C(state=present).
    type: dict
    required: true
  keep_old:
    description: Whether the old groups stay.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show the plan and its reason
  ansible.builtin.debug:
    msg: "{{ (planned | daytwo.aws.sysctl_nodegroup_report).lines }}"
"""

RETURN = r"""
_value:
  description:
    - The plan, the groups to drain with their instances, which of them the role deletes, the steps (C(would)), and
      C(lines) for people.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._sysctl_nodegroup.report import build_report


def build_role_report(result: Mapping[str, Any], keep_old: bool = False) -> dict[str, Any]:
    if not isinstance(result, Mapping) or "plan" not in result:
        raise AnsibleFilterError(
            "sysctl_nodegroup_report: the input has no plan, so it is no result of daytwo.aws.eks_sysctl_nodegroup. "
            "Register that module's result, and pass it"
        )
    return build_report(result, keep_old)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"sysctl_nodegroup_report": build_role_report}
