#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iam_irsa_info
short_description: Says which service accounts may assume which IAM roles, and what of that does not go together
version_added: 0.1.0
description:
  - For roles that are named, that stand below a path, or that trust a cluster's OIDC provider, tells who may assume
    each, by which statement of its trust policy. Wildcards are marked, and so are statements that are open to every
    service account of a cluster.
  - Joined with the cluster's service accounts (O(service_accounts=true)), tells which of them do not go together with
    the roles.
  - It evaluates trust policies by the same rules as M(daytwo.aws.iam_irsa_namespace), and writes nothing.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  roles:
    description:
      - Names or ARNs of roles. One that does not exist fails the task at its end; the others are told.
      - Costs a C(GetRole) each, or a page of C(ListRoles) per 1,000 roles of the account where that is less.
    type: list
    elements: str
  path_prefix:
    description: Path below which roles are looked at, such as C(/platform/). Costs a C(ListRoles) per 1,000.
    type: str
  cluster:
    description:
      - Name of an EKS cluster in the region of the connection. Only what its OIDC provider's tokens may do is told.
      - Without O(roles) and O(path_prefix), of every role of the account that trusts it.
    type: str
  oidc_provider_arn:
    description: ARN of a cluster's IAM OIDC provider, instead of O(cluster).
    type: str
  audience:
    description: Audience of the service accounts' tokens.
    type: str
    default: sts.amazonaws.com
  service_accounts:
    description:
      - Whether to read the cluster's service accounts and pod identity associations, too, and join them.
      - Needs O(cluster), or O(oidc_provider_arn) with O(kubeconfig). Without O(cluster), associations are left out.
      - The cluster is reached by the AWS credentials, which need an access entry in it, or by O(kubeconfig).
    type: bool
    default: false
  kubeconfig:
    description: File that says how to reach the cluster, instead of AWS credentials.
    type: path
  context:
    description: Context of the kubeconfig, instead of its current one.
    type: str
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
    description: Runs on the controller, or wherever boto3 (and kubernetes, with O(service_accounts=true)) is.
requirements:
  - kubernetes >= 24.2.0 (with O(service_accounts=true))
seealso:
  - module: daytwo.aws.iam_irsa_namespace
  - module: daytwo.aws.iam_access_denied_info
"""

EXAMPLES = r"""
- name: Who may assume what, in a cluster
  daytwo.aws.iam_irsa_info:
    cluster: blue
    service_accounts: true
  register: irsa

- name: Show roles that are open to everybody in a cluster
  ansible.builtin.debug:
    msg: "{{ irsa.roles | selectattr('open_to_all') | map(attribute='arn') }}"

- name: Show annotations that do not work
  ansible.builtin.debug:
    msg: "{{ irsa.findings | selectattr('kind', 'in', ['annotated_not_trusted', 'role_missing']) }}"

- name: Two roles, whichever clusters they trust
  daytwo.aws.iam_irsa_info:
    roles: [lbc, external-dns]
"""

RETURN = r"""
roles:
  description:
    - One result per role. Without O(roles), those that let in no service account are left out.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name, as it was asked for.
      type: str
      sample: lbc
    status:
      description: V(ok), or V(failed) for one that is not there or could not be read.
      type: str
      sample: ok
    reason:
      description: Whom it lets in, in a sentence, or what failed.
      type: str
      sample: It lets in kube-system/aws-load-balancer-controller, cloudon/aws-load-balancer-controller.
    arn:
      description: Its ARN.
      type: str
      sample: arn:aws:iam::123456789012:role/lbc
    open_to_all:
      description: Whether a statement lets in every service account of a cluster.
      type: bool
      sample: false
    wildcards:
      description: Whether a statement lets in service accounts by a pattern.
      type: bool
      sample: false
    grants:
      description: Who is let in by which statement, one entry each.
      type: list
      elements: dict
      sample:
        - provider: arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF
          subject: system:serviceaccount:kube-system:aws-load-balancer-controller
          namespace: kube-system
          service_account: aws-load-balancer-controller
          wildcard: false
          open_to_all: false
          statement: Statement[0]
          conditions: []
          checks_audience: true
          denied_by: []
findings:
  description:
    - What does not go together, with O(service_accounts=true). C(kind) is one of C(annotated_not_trusted) (the role
      does not let it in), C(trusted_not_there) (a role lets in a service account that the cluster has not),
      C(role_missing) (the annotation's role does not exist, or is no ARN of a role), C(association_overridden) (a pod
      identity association exists, and the annotation comes before it).
  returned: always
  type: list
  elements: dict
  sample:
    - kind: annotated_not_trusted
      namespace: cloudon
      service_account: aws-load-balancer-controller
      role: arn:aws:iam::123456789012:role/lbc
      reason: "lbc: denied: no statement allows it."
not_looked_at:
  description: What could not be looked at, and why.
  returned: always
  type: list
  elements: str
  sample: []
totals:
  description: How many of each.
  returned: always
  type: dict
  sample:
    roles_seen: 130
    roles: 12
    failed: 0
    grants: 15
    wildcards: 1
    open_to_all: 0
    service_accounts: 61
    findings: 1
msg:
  description: The totals as a sentence, then each failure.
  returned: always
  type: str
  sample: >-
    12 of 130 roles let in service accounts, by 15 grants, 1 by wildcard, 0 open to all. 61 service accounts, 1 finding.
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._eks_token import ClusterError
from ..module_utils._irsa import audit
from ..module_utils._irsa.calls import CallError
from ..module_utils._irsa.model import AUDIENCE, IrsaError

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so in words
    from botocore.config import Config

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "roles": {"type": "list", "elements": "str"},
    "path_prefix": {"type": "str"},
    "cluster": {"type": "str"},
    "oidc_provider_arn": {"type": "str"},
    "audience": {"type": "str", "default": AUDIENCE},
    "service_accounts": {"type": "bool", "default": False},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 8},
    "connect_timeout": 5,
    "read_timeout": 60,
    "max_pool_connections": audit.WORKERS,
}


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("cluster", "oidc_provider_arn"), ("roles", "path_prefix")],
        required_one_of=[("roles", "path_prefix", "cluster", "oidc_provider_arn")],
        required_by={"context": "kubeconfig"},
    )
    params = module.params
    if params["service_accounts"] and not _kubernetes.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"))

    def make_client(service: str, **more: Any) -> Any:
        return module.client(service, config=Config(**CLIENT_CONFIG), **more)

    def make_api() -> Any:
        access = {"kubeconfig": params["kubeconfig"], "context": params["context"]} if params["kubeconfig"] else params
        return _kubernetes.connect(access, make_client, module.tmpdir).api

    try:
        options = audit.AuditOptions.parse(params)
        result = audit.build_result(audit.run(make_client, make_api, options))
    except (IrsaError, ClusterError) as error:
        module.fail_json(msg=str(error))
    except CallError as error:
        module.fail_json(msg=f"{error} {error.suggestion}")
    for warning in result.pop("warnings"):
        module.warn(warning)
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
