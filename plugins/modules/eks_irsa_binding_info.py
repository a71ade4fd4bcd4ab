#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: eks_irsa_binding_info
short_description: Verify that service accounts of a cluster have their IAM roles
version_added: 0.1.0
description:
  - Reads the cluster's side of the bindings that M(daytwo.aws.iam_irsa_namespace) writes to IAM. Reports for each
    service account whether it exists, whether its annotation names the role, and which pods run without the role.
  - With O(verify=true), creates a token of the service account (C(TokenRequest), without a pod), and calls STS with it
    to assume the role. The session is discarded at once. Token and session are neither shown nor stored.
  - Changes nothing. The role P(daytwo.aws.irsa_namespace#role) uses it before and after its changes.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - daytwo.aws.cluster_access
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  bindings:
    description: Service accounts, and the role of each.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name or ARN of the role. A name costs one C(GetRole).
        type: str
        required: true
      namespace:
        description: Namespace of the service accounts.
        type: str
        required: true
      service_accounts:
        description: Names of the service accounts.
        type: list
        elements: str
        required: true
      replaces:
        description:
          - Name or ARN of the role that the annotation may name until the role P(daytwo.aws.irsa_namespace#role)
            replaces it. Without it, an annotation that names another role is reported in
            RV(service_accounts[].conflict).
        type: str
      state:
        description: Whether the service accounts must have the role (V(present)) or must not have it (V(absent)).
        type: str
        choices: [present, absent]
        default: present
  verify:
    description:
      - Whether to verify with a token that STS lets the service account assume the role, or, with V(absent), that STS
        rejects it.
      - Conditions on the source of the request, such as C(aws:SourceIp), are evaluated for the machine that runs the
        module.
    type: bool
    default: false
  audience:
    description: Audience of the tokens.
    type: str
    default: sts.amazonaws.com
attributes:
  check_mode:
    support: full
    description: Only reads. With O(verify=true), verifies in check mode as well.
  diff_mode:
    support: none
    description: Nothing changes.
  idempotent:
    support: full
    description: Only reads.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with boto3 and kubernetes.
requirements:
  - kubernetes >= 24.2.0
notes:
  - The IAM permissions are listed in docs/iam/eks_irsa_binding_info.json.
seealso:
  - module: daytwo.aws.iam_irsa_namespace
  - module: daytwo.aws.iam_irsa_info
"""

EXAMPLES = r"""
- name: Verify that the load balancer controller has its role
  daytwo.aws.eks_irsa_binding_info:
    cluster: blue
    bindings:
      - role: lbc
        namespace: cloudon
        service_accounts: [aws-load-balancer-controller]
    verify: true
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
      description:
        - V(ok), V(pending) if the annotation or a pod does not match O(bindings) yet, V(failed) if the verification
          failed or an error occurred.
      type: str
      sample: ok
    reason:
      description: The reason of the status, as sentences.
      type: str
      sample: STS issues a session to its token.
    role:
      description: Name or ARN of the role, as in O(bindings).
      type: str
      sample: lbc
    role_arn:
      description: ARN of the role; null if the role does not exist.
      type: str
      sample: arn:aws:iam::123456789012:role/lbc
    namespace:
      description: Namespace of the service account.
      type: str
      sample: cloudon
    service_account:
      description: Name of the service account.
      type: str
      sample: aws-load-balancer-controller
    state:
      description: V(present) or V(absent), as requested.
      type: str
      sample: present
    exists:
      description: Whether the service account exists; null if it could not be read.
      type: bool
      sample: true
    annotation:
      description: The role that the annotation names; null without an annotation.
      type: str
      sample: arn:aws:iam::123456789012:role/lbc
    conflict:
      description: Why the annotation must not be replaced, because it names another role; null if it may be written.
      type: str
      sample: null
    pod_identity:
      description:
        - Whether the service account has a Pod Identity association, which wins over the annotation. Pods are not stale
          then. Only known with O(cluster).
      type: bool
      sample: false
    annotated:
      description: Whether the annotation of the service account names the role.
      type: bool
      sample: true
    service_account_ok:
      description: Whether service account and annotation match O(bindings), regardless of the pods.
      type: bool
      sample: true
    stale_pods:
      description: Pods that run without the role, or with V(absent) still have it, each with its owner.
      type: list
      elements: dict
      sample: []
    owners:
      description: Owners of the stale pods. C(restartable) is true for Deployments, StatefulSets and DaemonSets.
      type: list
      elements: dict
      sample: []
    verified:
      description: Whether STS accepted or rejected the token as requested; null if STS was not called.
      type: bool
      sample: true
bindings:
  description: The option O(bindings), as it was parsed.
  returned: always
  type: list
  elements: dict
  sample:
    - role: lbc
      namespace: cloudon
      service_accounts: [aws-load-balancer-controller]
      state: present
restarts:
  description: Owners whose restart replaces stale pods, each once, with its namespace.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: Deployment
      name: aws-load-balancer-controller
      api_version: apps/v1
      restartable: true
      namespace: cloudon
not_checked:
  description: Everything that could not be checked, and why.
  returned: always
  type: list
  elements: str
  sample: []
totals:
  description: Number of service accounts by status.
  returned: always
  type: dict
  sample: {ok: 1, pending: 0, failed: 0}
msg:
  description: The totals as a sentence, then each failure.
  returned: always
  type: str
  sample: 1 ok, 0 pending, 0 failed.
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._aws_call import ApiError
from ..module_utils._eks_token import ClusterError
from ..module_utils._irsa import binding_state
from ..module_utils._irsa.model import AUDIENCE, IrsaError

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports a missing boto3
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
            "replaces": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
    "verify": {"type": "bool", "default": False},
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

    not_checked: list[str] = []
    try:
        bindings = binding_state.ServiceAccountBinding.parse(params["bindings"])
        role_arns = binding_state.get_role_arns(lambda: make_client("iam"), bindings)
        reader = binding_state.PodReader(_kubernetes.connect(params, make_client, module.tmpdir).api)
        associations = binding_state.list_associations(lambda: make_client("eks"), params["cluster"], not_checked)
        items = binding_state.observe(
            reader, bindings, role_arns, params["verify"], make_unsigned_sts, params["audience"], associations
        )
    except (ClusterError, IrsaError) as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(msg=error.explanation)
    result = {**binding_state.build_result(items), "bindings": params["bindings"], "not_checked": not_checked}
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
