#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iam_irsa_namespace
short_description: Allow service accounts of EKS clusters to assume IAM roles
version_added: 0.1.0
description:
  - Adds service accounts of a namespace to the trust policies of roles, or removes them, for one role or for hundreds
    in one task (IAM roles for service accounts, IRSA).
  - Edits a trust policy in place. Only the subjects of the cluster's own OIDC provider change. Other statements,
    conditions, C(Sid)s and everything else stay unchanged.
  - Never writes a statement without a condition on the subject. Writes a wildcard only with O(allow_wildcards=true) or
    with O(bindings[].all_service_accounts=true).
  - Reads each written trust policy back, and evaluates it, before it reports the result.
  - Fixes service accounts that B(cannot assume) their role. A message with C(no identity-based policy allows) comes
    from a role that was assumed already. Its remediation is a permission policy, not the trust policy; see
    M(daytwo.aws.iam_access_denied_info).
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Reads the same, reports the same results, and writes nothing.
  diff_mode:
    support: full
    description: Shows each role's trust policy before and after, in a canonical form.
  idempotent:
    support: full
    description: A second run finds the bindings in place, and writes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or on any host with boto3.
options:
  bindings:
    description:
      - Service accounts, and the role that they may or may not assume. All bindings of one role are written at once.
      - A failed binding does not stop the others. The task fails at the end, with every result.
    type: list
    elements: dict
    required: true
    suboptions:
      role:
        description: Name or ARN of the role.
        type: str
        required: true
      cluster:
        description:
          - Name of the EKS cluster in the region of the connection. One C(DescribeCluster) per cluster returns the
            issuer of its tokens, and with it the OIDC provider.
          - Exactly one of O(bindings[].cluster) and O(bindings[].oidc_provider_arn) is required.
        type: str
      oidc_provider_arn:
        description:
          - ARN of the cluster's OIDC provider in IAM, for a cluster in another region or account, or a deleted one.
        type: str
      namespace:
        description:
          - Kubernetes namespace of the service accounts.
          - Exactly one of O(bindings[].namespace) and O(bindings[].namespace_pattern) is required.
        type: str
      namespace_pattern:
        description:
          - Risk - whoever may create a matching namespace can run pods that assume the role.
          - Pattern of namespaces, in which C(*) matches any characters and C(?) matches one. Requires
            O(allow_wildcards=true).
        type: str
      service_accounts:
        description:
          - Names of the service accounts. They need not exist yet. With O(allow_wildcards=true), names may contain the
            wildcards C(*) and C(?).
          - Exactly one of O(bindings[].service_accounts) and O(bindings[].all_service_accounts) is required.
        type: list
        elements: str
      all_service_accounts:
        description:
          - Whether the binding covers all service accounts of the namespace, including those that are created later.
            They are written as one wildcard under C(StringLike), in a statement of its own. This does not require
            O(allow_wildcards=true).
          - With O(bindings[].state=absent), the wildcard is removed. Service accounts that are trusted by name stay,
            and a warning names them.
        type: bool
        default: false
      state:
        description:
          - V(present) allows the service accounts to assume the role.
          - V(absent) removes them from every statement that names them. A statement without any service account left is
            removed as well. Removing the last statement of a role fails, because IAM rejects an empty trust policy.
          - With V(absent), a binding fails if another statement, such as a wildcard, still allows a service account.
            RV(bindings[].still_allowed_by) names that statement.
          - V(absent) only edits the trust policy. The module never deletes a role, a permission policy or an OIDC
            provider.
        type: str
        choices: [present, absent]
        default: present
  allow_wildcards:
    description:
      - Whether O(bindings[].namespace_pattern), and wildcards in O(bindings[].service_accounts), are allowed.
      - O(bindings[].namespace) never contains a wildcard.
    type: bool
    default: false
  explicit_subjects:
    description:
      - Whether to add a service account by name even if a wildcard, or a statement that is open to all, allows it
        already. If V(false), nothing is written for it, and a warning names the statement.
    type: bool
    default: false
  audience:
    description:
      - Audience of the tokens. The OIDC provider has to have it. Statements for another audience are not edited.
    type: str
    default: sts.amazonaws.com
  purge:
    description:
      - Risk - removes service accounts that O(bindings) does not list.
      - Whether each role in O(bindings) keeps only its present bindings for the cluster's OIDC provider. All other
        service accounts, wildcards and statements open to all of that provider are removed. Statements of other
        providers and principals stay.
      - A role with a failed binding is not purged.
    type: bool
    default: false
  allow_empty:
    description: Whether O(purge) may remove the last service account of a provider from a role. If V(false), it fails.
    type: bool
    default: false
  create_provider:
    description:
      - Whether to create a missing OIDC provider of the cluster in IAM, and to add O(audience) to a provider that does
        not have it. If V(false), present bindings of such a cluster fail.
      - The provider is created without thumbprints, because IAM verifies the issuer's certificate itself.
    type: bool
    default: false
  create_role:
    description:
      - Whether to create a role that does not exist, with exactly the trust policy of O(bindings). If V(false), its
        present bindings fail.
      - The options O(path), O(description), O(permissions_boundary) and O(tags) apply only to created roles. An
        existing role keeps its own. O(managed_policies) applies to existing roles as well.
    type: bool
    default: false
  path:
    description: Path of created roles.
    type: str
    default: /
  description:
    description: Description of created roles.
    type: str
  permissions_boundary:
    description: ARN of the permissions boundary of created roles.
    type: str
  tags:
    description: Tags of created roles.
    type: dict
    default: {}
  managed_policies:
    description:
      - ARNs of managed policies that the roles of present bindings have. Requires O(create_role=true).
      - Missing ones are attached, also to roles that exist already. Nothing is detached. A policy that could not be
        attached is attached by the next run.
    type: list
    elements: str
    default: []
  recheck_delay:
    description:
      - Delay in seconds between the last write and the recheck, which reads all written roles once more.
      - IAM has no optimistic lock for trust policies. Another writer that read a role before this task wrote it can
        overwrite it afterwards. The recheck writes missing service accounts again, and reports that in
        RV(bindings[].overwritten_externally).
      - Set it longer than other writers take from their read to their write. V(0) disables the recheck. The maximum is
        3600.
    type: float
    default: 10
notes:
  - The IAM permissions are listed in docs/iam/iam_irsa_namespace.json.
seealso:
  - module: amazon.aws.iam_role
    description: Manages roles, and replaces the whole trust policy.
"""

EXAMPLES = r"""
- name: Allow the load balancer controller in another namespace to assume its role
  daytwo.aws.iam_irsa_namespace:
    bindings:
      - role: aws-load-balancer-controller
        cluster: production
        namespace: cloudon
        service_accounts: [aws-load-balancer-controller]

- name: Update several roles at once, and remove one service account
  daytwo.aws.iam_irsa_namespace:
    bindings:
      - {role: dns, cluster: production, namespace: cloudon, service_accounts: [external-dns]}
      - {role: certs, cluster: production, namespace: cloudon, service_accounts: [cert-manager, cainjector]}
      - {role: dns, cluster: production, namespace: legacy, service_accounts: [external-dns], state: absent}

- name: Allow every service account in the namespaces of one team
  daytwo.aws.iam_irsa_namespace:
    allow_wildcards: true
    bindings:
      - role: team-blue
        cluster: production
        namespace_pattern: blue-*
        all_service_accounts: true

- name: Allow exactly these service accounts of the cluster, and create the role if it is missing
  daytwo.aws.iam_irsa_namespace:
    purge: true
    create_role: true
    create_provider: true
    managed_policies: ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
    bindings:
      - role: reports
        cluster: production
        namespace: reports
        service_accounts: [reader]
"""

RETURN = r"""
bindings:
  description: One result per entry of O(bindings), in the same order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Role, service accounts and cluster.
      type: str
      sample: "aws-load-balancer-controller: cloudon/aws-load-balancer-controller of production"
    status:
      description: V(changed), V(ok) if the binding was in place already, or V(failed).
      type: str
      sample: changed
    reason:
      description: The reason of the status, with the statement that allows or denies, and the remediation of a failure.
      type: str
      sample: Added. cloudon/aws-load-balancer-controller allowed, by Statement[0].
    role:
      description: Name of the role.
      type: str
      sample: aws-load-balancer-controller
    cluster:
      description: Name of the cluster; null if O(bindings[].oidc_provider_arn) was given.
      type: str
      sample: production
    oidc_provider_arn:
      description: ARN of the cluster's OIDC provider; null if the cluster could not be described.
      type: str
      sample: arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF
    namespace:
      description: The namespace, or its pattern.
      type: str
      sample: cloudon
    service_accounts:
      description: Names of the service accounts; C(*) for all of the namespace.
      type: list
      elements: str
      sample: [aws-load-balancer-controller]
    state:
      description: V(present) or V(absent), as requested.
      type: str
      sample: present
    added:
      description: Subjects that this run added to the trust policy; in check mode, that it would add.
      type: list
      elements: str
      sample: ["system:serviceaccount:cloudon:aws-load-balancer-controller"]
    removed:
      description: Subjects that this run removed, also if another statement still allows them and the binding failed.
      type: list
      elements: str
      sample: []
    statements:
      description:
        - The statements that allow each subject, by index in the trust policy. C(how) is V(name), V(wildcard), or
          V(open) for a statement without a condition on the subject.
      type: list
      elements: dict
      sample:
        - subject: system:serviceaccount:cloudon:aws-load-balancer-controller
          index: 0
          sid: ""
          how: name
          conditions: []
    conditions:
      description: Other conditions of those statements, which the service accounts have to meet as well.
      type: list
      elements: str
      sample: ['IpAddress aws:SourceIp: "192.0.2.0/24"']
    still_allowed_by:
      description: With O(bindings[].state=absent), the statements that still allow a service account.
      type: list
      elements: dict
      sample: []
    overwritten_externally:
      description: Whether another writer overwrote the binding during this run, so that it was written again.
      type: bool
      sample: false
    verified:
      description:
        - Whether the trust policy that was read back matches the request. Null if nothing was written, and if the
          binding failed.
      type: bool
      sample: true
    warnings:
      description:
        - Problems that the module reports and does not fix, such as a statement that does not check the audience.
      type: list
      elements: str
      sample: []
roles:
  description:
    - One result per role. C(quota) is null where it was not read, because no trust policy grew. C(attached) are the
      managed policies that this run attached.
  returned: always
  type: list
  elements: dict
  sample:
    - name: aws-load-balancer-controller
      status: changed
      reason: The trust policy was written.
      arn: arn:aws:iam::123456789012:role/aws-load-balancer-controller
      size_before: 411
      size_after: 480
      quota: 2048
      shortened: false
      purged: []
      attached: []
      overwritten_externally: false
      steps:
        - action: update trust policy
          target: aws-load-balancer-controller
          reason: + cloudon/aws-load-balancer-controller
          before: {Version: "2012-10-17", Statement: []}
          after: {Version: "2012-10-17", Statement: []}
oidc_providers:
  description: The OIDC providers of present bindings, and whether each exists, was created or changed, or is missing.
  returned: always
  type: list
  elements: dict
  sample:
    - name: arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF
      status: ok
      reason: It exists and has the audience sts.amazonaws.com.
msg:
  description: The number of changed roles and of bindings by status, then the failures. Equal failures are grouped.
  returned: always
  type: str
  sample: "1 of 1 roles changed. Bindings: 1 changed, 0 unchanged, 0 failed."
"""

import gc

gc.set_threshold(100_000)  # what boto3 loads is many small objects, and none of them is garbage

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._aws_session import make_client_factory
from ..module_utils._irsa import iam, run
from ..module_utils._irsa.binding_request import parse_request
from ..module_utils._irsa.model import IrsaError, PolicyOptions
from ..module_utils._irsa.report import build_result

BINDING_SPEC = {
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        "role": {"type": "str", "required": True},
        "cluster": {"type": "str"},
        "oidc_provider_arn": {"type": "str"},
        "namespace": {"type": "str"},
        "namespace_pattern": {"type": "str"},
        "service_accounts": {"type": "list", "elements": "str"},
        "all_service_accounts": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    },
    "mutually_exclusive": [("cluster", "oidc_provider_arn"), ("namespace", "namespace_pattern")],
    "required_one_of": [("cluster", "oidc_provider_arn"), ("namespace", "namespace_pattern")],
}
ARGUMENT_SPEC = {
    "bindings": BINDING_SPEC,
    "allow_wildcards": {"type": "bool", "default": False},
    "explicit_subjects": {"type": "bool", "default": False},
    "audience": {"type": "str", "default": "sts.amazonaws.com"},
    "purge": {"type": "bool", "default": False},
    "allow_empty": {"type": "bool", "default": False},
    "create_provider": {"type": "bool", "default": False},
    "create_role": {"type": "bool", "default": False},
    "path": {"type": "str", "default": "/"},
    "description": {"type": "str"},
    "permissions_boundary": {"type": "str"},
    "tags": {"type": "dict", "default": {}},
    "managed_policies": {"type": "list", "elements": "str", "default": []},
    "recheck_delay": {"type": "float", "default": 10},
}
# With adaptive retries, all calls of a client slow down together when IAM throttles. One connection per worker.
CLIENT_CONFIG = {
    "retries": {"mode": "adaptive", "total_max_attempts": 8},
    "connect_timeout": 5,
    "read_timeout": 60,
    "max_pool_connections": run.WORKERS,
}


def parse_options(params: dict[str, Any]) -> run.IrsaOptions:
    return run.IrsaOptions(
        bindings=tuple(parse_request(entry, params["allow_wildcards"]) for entry in params["bindings"]),
        policy_options=PolicyOptions(
            audience=params["audience"],
            purge=params["purge"],
            allow_empty=params["allow_empty"],
            explicit_subjects=params["explicit_subjects"],
            create_role=params["create_role"],
        ),
        new_role=iam.NewRole(
            path=params["path"],
            description=params["description"],
            permissions_boundary=params["permissions_boundary"],
            tags=tuple((str(key), str(value)) for key, value in params["tags"].items()),
            managed_policies=tuple(params["managed_policies"]),
        ),
        create_provider=params["create_provider"],
        recheck_delay=params["recheck_delay"],
    )


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        options = parse_options(module.params)
        make_client = make_client_factory(module, CLIENT_CONFIG)
        clients = run.IrsaClients(make_client("iam"), lambda: make_client("eks"))
        outcome = run.run(clients, options, apply=not module.check_mode)
    except IrsaError as error:
        module.fail_json(msg=str(error))
    result = build_result(outcome, module._diff)
    for warning in result.pop("warnings"):
        module.warn(warning)
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
