#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_irsa_binding_info
short_description: Says whether service accounts of a cluster have their roles, and proves it
version_added: 0.1.0
description:
  - Looks at the cluster's side of what M(daytwo.aws.iam_irsa_namespace) does in IAM. For each service account, whether
    it is there, whether its annotation names the role, and which of its pods run without it.
  - With O(prove=true), has the cluster make a token for the service account (C(TokenRequest), no pod needed) and asks
    STS to let it assume the role. The session is dropped at once. Neither token nor session are shown or kept.
  - It changes nothing. The role P(daytwo.aws.irsa_namespace#role) uses it before and after its work.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.cluster_access
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  bindings:
    description: Service accounts and their roles.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name or ARN of the role. A name costs a C(GetRole).
        type: str
        required: true
      namespace:
        description: Namespace of the service accounts.
        type: str
        required: true
      service_accounts:
        description: Their names.
        type: list
        elements: str
        required: true
      state:
        description: Whether they are to have the role.
        type: str
        choices: [present, absent]
        default: present
  prove:
    description:
      - Whether to prove by a token that the role can be assumed, or, with V(absent), that STS refuses it.
      - A condition that looks at where the request comes from is then judged for the machine that the module runs on.
    type: bool
    default: false
  audience:
    description: Audience of the tokens.
    type: str
    default: sts.amazonaws.com
attributes:
  check_mode:
    support: full
    description: Only reads. With O(prove=true), proves in check mode as well.
  diff_mode:
    support: none
    description: Nothing changes.
  idempotent:
    support: full
    description: Only reads.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever boto3 and kubernetes are.
requirements:
  - kubernetes >= 24.2.0
seealso:
  - module: daytwo.aws.iam_irsa_namespace
  - module: daytwo.aws.iam_irsa_info
"""

EXAMPLES = r"""
- name: Prove that the load balancer controller has its role
  daytwo.aws.eks_irsa_binding_info:
    cluster: blue
    bindings:
      - role: lbc
        namespace: cloudon
        service_accounts: [aws-load-balancer-controller]
    prove: true
"""

RETURN = r"""
service_accounts:
  description: One result per service account, in the order of O(bindings).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The service account and the role.
      type: str
      sample: cloudon/aws-load-balancer-controller with lbc
    status:
      description: V(ok), V(pending) where the cluster's side is not as it should be, V(failed) where a proof failed.
      type: str
      sample: ok
    reason:
      description: What is amiss, in words.
      type: str
      sample: It may assume the role, as STS answers to a token of it.
    role:
      description: The role as it was given.
      type: str
      sample: lbc
    role_arn:
      description: Its ARN, null where there is no such role.
      type: str
      sample: arn:aws:iam::123456789012:role/lbc
    namespace:
      description: The namespace.
      type: str
      sample: cloudon
    service_account:
      description: The service account.
      type: str
      sample: aws-load-balancer-controller
    state:
      description: V(present) or V(absent), as it was asked.
      type: str
      sample: present
    exists:
      description: Whether the service account is there; null where that could not be read.
      type: bool
      sample: true
    annotated:
      description: Whether its annotation names the role.
      type: bool
      sample: true
    account_right:
      description: Whether service account and annotation are as they should be, whatever its pods are.
      type: bool
      sample: true
    pods_amiss:
      description: Its pods that run without the role, or with V(absent) that still name it, with what owns each.
      type: list
      elements: dict
      sample: []
    owners:
      description: What owns those pods. C(restartable) are Deployments, StatefulSets and DaemonSets.
      type: list
      elements: dict
      sample: []
    proved:
      description: Whether STS answered as it should; null where nothing was asked.
      type: bool
      sample: true
bindings:
  description: The option O(bindings), as it was understood.
  returned: always
  type: list
  elements: dict
  sample:
    - role: lbc
      namespace: cloudon
      service_accounts: [aws-load-balancer-controller]
      state: present
restarts:
  description: The owners whose restart mends pods, each once, with its namespace.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: Deployment
      name: aws-load-balancer-controller
      api_version: apps/v1
      restartable: true
      namespace: cloudon
totals:
  description: How many came to what.
  returned: always
  type: dict
  sample: {ok: 1, pending: 0, failed: 0}
msg:
  description: The totals as a sentence, then each failure.
  returned: always
  type: str
  sample: 1 as they should be, 0 not yet, 0 failed.
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._eks_token import ClusterError
from ..module_utils._irsa import binding_state
from ..module_utils._irsa.calls import CallError
from ..module_utils._irsa.model import AUDIENCE

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so in words
    from botocore import UNSIGNED
    from botocore.config import Config

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    **_kubernetes.OPTIONS,
    "bindings": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "role": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "service_accounts": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "prove": {"type": "bool", "default": False},
    "audience": {"type": "str", "default": AUDIENCE},
}
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 8},
    "connect_timeout": 5,
    "read_timeout": 60,
}


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=_kubernetes.MUTUALLY_EXCLUSIVE,
    )
    params = module.params
    if not _kubernetes.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"))

    def make_client(service: str, **more: Any) -> Any:
        return module.client(service, config=Config(**CLIENT_CONFIG), **more)

    def make_unsigned_sts() -> Any:
        return module.client("sts", config=Config(signature_version=UNSIGNED, **CLIENT_CONFIG))

    bindings = binding_state.ServiceAccountBinding.parse(params["bindings"])
    try:
        role_arns = binding_state.get_role_arns(lambda: make_client("iam"), bindings)
        reader = binding_state.PodReader(_kubernetes.connect(params, make_client, module.tmpdir).api)
        items = binding_state.observe(
            reader, bindings, role_arns, params["prove"], make_unsigned_sts, params["audience"]
        )
    except ClusterError as error:
        module.fail_json(msg=str(error))
    except CallError as error:
        module.fail_json(msg=f"{error} {error.suggestion}")
    result = {**binding_state.build_result(items), "bindings": params["bindings"]}
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
