# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible.module_utils.parsing.convert_bool import boolean

from ..module_utils._irsa.procedure import ProcedureOptions, ProcedureResults, build_annotations, decide

DOCUMENTATION = r"""
name: irsa_namespace_steps
short_description: Decide the next steps of the role irsa_namespace
version_added: 0.1.0
description:
  - Takes the results of the tasks of the role P(daytwo.aws.irsa_namespace#role) so far. Returns what the next tasks do,
    the failures, and lines for people.
  - A service account that failed in one task is left out of those that follow.
author:
  - The daytwo.aws authors (@daytwo-aws)
positional: _input
options:
  _input:
    description:
      - The registered results by task, each empty if the task has not run. The keys are C(before), C(trusted),
        C(annotated), C(cleaned), C(stale), C(restarted), C(waited), C(untrusted) and C(after).
    type: dict
    required: true
  cluster:
    description: Name of the cluster, for the bindings of M(daytwo.aws.iam_irsa_namespace).
    type: str
    required: true
  create_service_accounts:
    description: Whether missing service accounts are created.
    type: bool
    default: true
  restart:
    description: Whether owners of stale pods are restarted.
    type: bool
    default: true
  check_mode:
    description: Whether the lines name planned changes.
    type: bool
    default: false
  token_expiration:
    description: Lifetime of tokens in pods, in seconds.
    type: int
  sts_regional_endpoints:
    description: Whether SDKs in pods use the regional endpoint of STS.
    type: bool
"""

EXAMPLES = r"""
- name: Show what would be annotated
  ansible.builtin.debug:
    msg: "{{ {'before': current} | daytwo.aws.irsa_namespace_steps(cluster='blue') }}"
"""

RETURN = r"""
_value:
  description:
    - C(to_trust) and C(to_untrust) are bindings. C(to_annotate) and C(to_clean) are service accounts.
    - C(restarts) are the owners of stale pods. C(failures) has name and reason of each failed service account.
    - C(service_accounts) are the service accounts as they were read last. C(lines) are for people.
  type: dict
"""


def list_steps(
    results: Mapping[str, Any],
    cluster: str,
    create_service_accounts: Any = True,
    restart: Any = True,
    check_mode: Any = False,
    token_expiration: Optional[Any] = None,
    sts_regional_endpoints: Optional[Any] = None,
) -> dict[str, Any]:
    endpoints = None if sts_regional_endpoints in (None, "") else boolean(sts_regional_endpoints)
    options = ProcedureOptions(
        cluster=cluster,
        create_service_accounts=boolean(create_service_accounts),
        restart=boolean(restart),
        check_mode=boolean(check_mode),
        annotations=build_annotations(None if token_expiration in (None, "") else int(token_expiration), endpoints),
    )
    return decide(ProcedureResults(**results), options)


class FilterModule:
    """The filter of the role irsa_namespace."""

    def filters(self) -> dict[str, Any]:
        return {"irsa_namespace_steps": list_steps}
