#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iam_irsa_namespace
short_description: Lets service accounts of EKS clusters assume IAM roles
version_added: 0.1.0
description:
  - Adds service accounts of a namespace to the trust policies of roles, or takes them out, for one role or for hundreds
    in one task (IAM roles for service accounts, IRSA).
  - A trust policy is edited in place. Only the subjects of the cluster's own OIDC provider change; other statements,
    conditions, C(Sid)s and everything else stay as they are. It never writes a statement that demands no service
    account, and no wildcard that was not asked for.
  - What was written is read back, and judged by an evaluator of trust policies, before it is reported.
  - This mends service accounts that B(cannot assume) their role. A refusal that says C(no identity-based policy allows)
    comes from a role that was assumed already, and is not mended here.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
attributes:
  check_mode:
    support: full
    description: Reads the same and reports the same results, and writes nothing.
  diff_mode:
    support: full
    description: Shows each role's trust policy before and after, in one spelling of what means the same.
  idempotent:
    support: full
    description: A second run finds the trust as wanted, and writes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on the controller, or wherever boto3 is.
options:
  bindings:
    description:
      - Who may, or may not, assume which role. All bindings of one role are written at once.
      - A binding that fails does not stop the others. The task fails at its end, with every result.
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
          - Name of the EKS cluster in the region of the connection. One C(DescribeCluster) per cluster says which OIDC
            provider its tokens come from.
          - One of O(bindings[].cluster) and O(bindings[].oidc_provider_arn) is needed.
        type: str
      oidc_provider_arn:
        description: ARN of the cluster's OIDC provider in IAM, for a cluster that is elsewhere or gone.
        type: str
      namespace:
        description:
          - Kubernetes namespace of the service accounts.
          - One of O(bindings[].namespace) and O(bindings[].namespace_pattern) is needed.
        type: str
      namespace_pattern:
        description:
          - Namespaces by pattern, in which C(*) stands for any characters and C(?) for one. Needs
            O(allow_wildcards=true).
          - Whoever may create a namespace that fits can then let pods assume the role.
        type: str
      service_accounts:
        description:
          - Names of the service accounts. They need not exist yet. With O(allow_wildcards=true) a name may have C(*)
            and C(?).
          - One of O(bindings[].service_accounts) and O(bindings[].all_service_accounts) is needed.
        type: list
        elements: str
      all_service_accounts:
        description:
          - Whether all service accounts of the namespace are meant, also those that come later. It is written as one
            wildcard under C(StringLike), in a statement apart from the named ones.
          - With O(bindings[].state=absent) that wildcard goes. Service accounts that are trusted by name stay, and a
            warning names them.
        type: bool
        default: false
      state:
        description:
          - V(present) lets them assume the role.
          - V(absent) takes them out of every statement that names them. A statement whose last service account goes,
            goes with it; the last statement of a role cannot go, which fails. Where another statement, such as a
            wildcard, still allows one, the binding has failed and RV(bindings[].still_allowed_by) names it.
        type: str
        choices: [present, absent]
        default: present
  allow_wildcards:
    description: Whether O(bindings) may have patterns for namespaces and service accounts.
    type: bool
    default: false
  explicit:
    description:
      - Whether a service account that is allowed by a wildcard, or by a statement that is open to all, is added by its
        name all the same. Without it nothing is written there, and a warning names the statement.
    type: bool
    default: false
  audience:
    description:
      - Audience of the tokens. Statements for another one are left alone, and a provider has to know it.
    type: str
    default: sts.amazonaws.com
  purge:
    description:
      - Whether the present bindings are all there is to be of their cluster's OIDC provider in each role that
        O(bindings) name. Other service accounts of that provider, its wildcards, and its statements that are open to
        all go. Statements of other providers and principals stay.
      - A role of which any binding cannot be made is not purged.
    type: bool
    default: false
  allow_empty:
    description: Whether O(purge) may leave no service account of a provider in a role. Without it, that fails.
    type: bool
    default: false
  create_provider:
    description:
      - Whether an OIDC provider that IAM does not have is created for the cluster, and O(audience) added to one that
        does not know it. Without it, present bindings of such a cluster fail.
      - It is created without thumbprints; IAM verifies the issuer's certificate itself.
    type: bool
    default: false
  create_role:
    description:
      - Whether a role that does not exist is created, with exactly the trust that O(bindings) say. Without it, its
        present bindings fail.
      - The options O(path), O(description), O(permissions_boundary), O(tags) and O(managed_policies) are for roles that
        are created. A role that exists keeps its own.
    type: bool
    default: false
  path:
    description: Path of roles that are created.
    type: str
    default: /
  description:
    description: Description of roles that are created.
    type: str
  permissions_boundary:
    description: ARN of the policy that bounds the permissions of roles that are created.
    type: str
  tags:
    description: Tags of roles that are created.
    type: dict
    default: {}
  managed_policies:
    description:
      - ARNs of managed policies that are attached to roles that are created. One that cannot be attached fails the
        bindings of that role, which is there by then and is not given it by a later run.
    type: list
    elements: str
    default: []
  settle:
    description:
      - Seconds after the last write until all written roles are read once more. IAM has no way to write only what
        nobody else has changed meanwhile; another writer that had read a role before this task wrote it can have
        overwritten it until then. What is missing is written again, and told in
        RV(bindings[].overwritten_by_others).
      - Let it be longer than other writers take from their reading to their write. With V(0) there is no second
        reading. At most an hour.
    type: float
    default: 10
seealso:
  - module: amazon.aws.iam_role
    description: Replaces the whole trust policy.
"""

EXAMPLES = r"""
- name: Let the load balancer controller of another namespace use its role
  daytwo.aws.iam_irsa_namespace:
    bindings:
      - role: aws-load-balancer-controller
        cluster: production
        namespace: cloudon
        service_accounts: [aws-load-balancer-controller]

- name: Many roles at once, and one service account out of another
  daytwo.aws.iam_irsa_namespace:
    bindings:
      - {role: dns, cluster: production, namespace: cloudon, service_accounts: [external-dns]}
      - {role: certs, cluster: production, namespace: cloudon, service_accounts: [cert-manager, cainjector]}
      - {role: dns, cluster: production, namespace: legacy, service_accounts: [external-dns], state: absent}

- name: Whatever runs in the namespaces of one team
  daytwo.aws.iam_irsa_namespace:
    allow_wildcards: true
    bindings:
      - role: team-blue
        cluster: production
        namespace_pattern: blue-*
        all_service_accounts: true

- name: Exactly these service accounts of the cluster, in a role that is made if need be
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
  description: One result per entry of O(bindings), in their order.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Role, service accounts and cluster.
      type: str
      sample: "aws-load-balancer-controller: cloudon/aws-load-balancer-controller of production"
    status:
      description: V(changed), V(ok) where it was so already, or V(failed).
      type: str
      sample: changed
    reason:
      description: Why, in words, with the statement that allows or denies it, and what would mend a failure.
      type: str
      sample: Added. cloudon/aws-load-balancer-controller allowed, by Statement[0].
    role:
      description: Name of the role.
      type: str
      sample: aws-load-balancer-controller
    cluster:
      description: Name of the cluster, null where the provider was given.
      type: str
      sample: production
    oidc_provider_arn:
      description: The cluster's OIDC provider, null where it could not be found out.
      type: str
      sample: arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF
    namespace:
      description: The namespace, or its pattern.
      type: str
      sample: cloudon
    service_accounts:
      description: Names of the service accounts, C(*) for all.
      type: list
      elements: str
      sample: [aws-load-balancer-controller]
    state:
      description: V(present) or V(absent), as it was asked.
      type: str
      sample: present
    added:
      description: Subjects that this run wrote into the trust policy; in check mode, that it would write.
      type: list
      elements: str
      sample: ["system:serviceaccount:cloudon:aws-load-balancer-controller"]
    removed:
      description: Subjects that this run took out, also where something else still allows them and the binding failed.
      type: list
      elements: str
      sample: []
    statements:
      description:
        - The statements that allow each subject, by their index in the trust policy. C(how) is V(name), V(wildcard), or
          V(open) for one that demands no subject.
      type: list
      elements: dict
      sample:
        - subject: system:serviceaccount:cloudon:aws-load-balancer-controller
          index: 0
          sid: ""
          how: name
          conditions: []
    conditions:
      description: What else those statements demand, which the service accounts have to meet as well.
      type: list
      elements: str
      sample: ['IpAddress aws:SourceIp: "192.0.2.0/24"']
    still_allowed_by:
      description: With O(bindings[].state=absent), the statements that still allow it.
      type: list
      elements: dict
      sample: []
    overwritten_by_others:
      description: Whether another writer overwrote it during this run, so that it was written again.
      type: bool
      sample: false
    verified:
      description:
        - Whether the trust policy that was read back says what was asked. Null where nothing was written, and where it
          failed.
      type: bool
      sample: true
    warnings:
      description: What is not as it should be and was left alone, such as a statement that does not check the audience.
      type: list
      elements: str
      sample: []
roles:
  description: One result per role.
  returned: always
  type: list
  elements: dict
  sample:
    - name: aws-load-balancer-controller
      status: changed
      reason: Its trust policy was written.
      arn: arn:aws:iam::123456789012:role/aws-load-balancer-controller
      size_before: 411
      size_after: 480
      quota: 2048
      shortened: false
      purged: []
      overwritten_by_others: false
      steps:
        - action: update trust policy
          target: aws-load-balancer-controller
          reason: + cloudon/aws-load-balancer-controller
          before: {Version: "2012-10-17", Statement: []}
          after: {Version: "2012-10-17", Statement: []}
oidc_providers:
  description: The OIDC providers that present bindings need, and whether each was there, was made, or is missing.
  returned: always
  type: list
  elements: dict
  sample:
    - name: arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF
      status: ok
      reason: It exists, and knows the audience sts.amazonaws.com.
msg:
  description: How many came to what, then each failure.
  returned: always
  type: str
  sample: 1 changed, 0 already so, 0 failed.
"""

import contextlib
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._irsa import iam, run
from ..module_utils._irsa.binding_request import parse_request
from ..module_utils._irsa.model import IrsaError, PolicyOptions
from ..module_utils._irsa.report import build_result

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so in words
    from botocore.config import Config

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
    "explicit": {"type": "bool", "default": False},
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
    "settle": {"type": "float", "default": 10},
}
# Adaptive retries slow all calls of a client down together when IAM throttles. As many connections as workers.
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
            explicit_subjects=params["explicit"],
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
        recheck_delay=params["settle"],
    )


def main() -> None:
    module = AnsibleAWSModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    config = Config(**CLIENT_CONFIG)
    try:
        options = parse_options(module.params)
        clients = run.IrsaClients(module.client("iam", config=config), lambda: module.client("eks", config=config))
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
