#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iam_irsa_info
short_description: Report which service accounts may assume which IAM roles, and mismatches with a cluster
version_added: 0.1.0
description:
  - Reports which service accounts may assume a role, and by which statement of its trust policy. It covers named roles,
    roles under a path, or all roles that trust a cluster's OIDC provider.
  - Marks wildcards, and statements that are open to every service account of a cluster.
  - With O(service_accounts=true), also reads the cluster's service accounts, and reports those that do not match the
    roles.
  - Evaluates trust policies by the same rules as M(daytwo.aws.iam_irsa_namespace), and writes nothing.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  roles:
    description:
      - Names or ARNs of roles. A role that does not exist fails the task at the end; the others are reported.
      - Costs one C(GetRole) per role, or one C(ListRoles) per 1,000 roles of the account if that is less.
    type: list
    elements: str
  path_prefix:
    description: Path of the roles to read, such as C(/platform/). Costs one C(ListRoles) per 1,000 roles.
    type: str
  cluster:
    description:
      - Name of an EKS cluster in the region of the connection. Only grants to its OIDC provider are reported.
      - Without O(roles) and O(path_prefix), all roles of the account that trust the cluster are reported.
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
      - Whether to also read the cluster's service accounts and Pod Identity associations, and compare them with the
        roles.
      - Requires O(cluster), or O(oidc_provider_arn) with O(kubeconfig). Without O(cluster), associations are not read.
      - The cluster is reached with the AWS credentials, which need an access entry in it, or by O(kubeconfig).
    type: bool
    default: false
  kubeconfig:
    description: Path of a kubeconfig file by which to reach the cluster, instead of the AWS credentials.
    type: path
  context:
    description: Context of the kubeconfig. Defaults to the current context of the file.
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
    description: Runs on the controller, or on any host with boto3 (and kubernetes, with O(service_accounts=true)).
requirements:
  - kubernetes >= 24.2.0 (with O(service_accounts=true))
notes:
  - The IAM permissions are listed in docs/iam/iam_irsa_info.json.
seealso:
  - module: daytwo.aws.iam_irsa_namespace
  - module: daytwo.aws.iam_access_denied_info
"""

EXAMPLES = r"""
- name: Audit a cluster
  daytwo.aws.iam_irsa_info:
    cluster: blue
    service_accounts: true
  register: irsa

- name: Show roles that are open to every service account
  ansible.builtin.debug:
    msg: "{{ irsa.roles | selectattr('open_to_all') | map(attribute='arn') }}"

- name: Show annotations that do not work
  ansible.builtin.debug:
    msg: "{{ irsa.findings | selectattr('kind', 'in', ['annotated_not_trusted', 'role_missing']) }}"

- name: Audit two roles, for all clusters that they trust
  daytwo.aws.iam_irsa_info:
    roles: [lbc, external-dns]
"""

RETURN = r"""
roles:
  description:
    - One result per role. Without O(roles), roles that trust no service account are left out.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the role, or its ARN as given in O(roles).
      type: str
      sample: lbc
    status:
      description: V(ok), or V(failed) for a role that does not exist or could not be read.
      type: str
      sample: ok
    reason:
      description:
        - What the trust policy does, as sentences, or the error. A statement that lets in nobody is not reported as
          trust.
      type: str
      sample: It trusts kube-system/aws-load-balancer-controller, cloudon/aws-load-balancer-controller.
    arn:
      description: ARN of the role.
      type: str
      sample: arn:aws:iam::123456789012:role/lbc
    open_to_all:
      description: Whether a statement trusts every service account of a cluster.
      type: bool
      sample: false
    wildcards:
      description: Whether a statement trusts service accounts by a wildcard.
      type: bool
      sample: false
    grants:
      description: One entry per statement and subject that it trusts.
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
    ineffective:
      description:
        - Parts of the trust policy that seem to let somebody in and let in nobody, with the reason. Examples are a
          wildcard under C(StringEquals), and a statement that requires claims of two issuers.
      type: list
      elements: dict
      sample: []
    other_issuers:
      description:
        - OIDC issuers that are not EKS's, which are not checked. Give the ARN of such a provider as
          O(oidc_provider_arn) to check it. Empty with O(cluster) and O(oidc_provider_arn).
      type: list
      elements: str
      sample: []
findings:
  description:
    - Mismatches between service accounts and roles, with O(service_accounts=true), by C(kind).
    - C(annotated_not_trusted) - the annotation names a role that does not trust the service account.
    - C(trusted_not_found) - a role trusts a service account that does not exist in the cluster.
    - C(role_missing) - the annotation's role does not exist, or the annotation is not the ARN of a role.
    - C(annotation_overridden) - the service account also has a Pod Identity association, which wins. Only pods that
      were created before the association still use the annotation.
  returned: always
  type: list
  elements: dict
  sample:
    - kind: annotated_not_trusted
      namespace: cloudon
      service_account: aws-load-balancer-controller
      role: arn:aws:iam::123456789012:role/lbc
      reason: "lbc: denied: no statement allows it."
not_checked:
  description: Everything that could not be checked, and why.
  returned: always
  type: list
  elements: str
  sample: []
lines:
  description: Roles, findings and everything that was not checked, one line each, for people.
  returned: always
  type: list
  elements: str
  sample: ["lbc: It trusts cloudon/aws-load-balancer-controller."]
totals:
  description: Number of roles, grants, service accounts and findings.
  returned: always
  type: dict
  sample:
    roles_checked: 130
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
    12 of 130 roles trust service accounts, by 15 grants, 1 by wildcard, 0 open to all. 61 service accounts, 1 findings.
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils import _kubernetes
from ..module_utils._aws_call import ApiError
from ..module_utils._eks_token import ClusterError
from ..module_utils._irsa import audit
from ..module_utils._irsa.model import AUDIENCE, IrsaError

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports a missing boto3
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
    except ApiError as error:
        module.fail_json(msg=error.explanation)
    for warning in result.pop("warnings"):
        module.warn(warning)
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
