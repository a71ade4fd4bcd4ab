#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iam_access_denied_info
short_description: Explain which side denied access, trust or permission, and which remediation helps
version_added: 0.1.0
description:
  - Read a message that a controller logged. Report the caller, the action, the side that denied it, the evidence, and
    the smallest change that remedies it. The module writes nothing.
  - A message that names a C(User) is about a session that STS B(already issued). The trust policy worked, and adding a
    namespace to it remedies nothing. The module reports this.
  - Where the credentials allow it, the module reads the role, its trust policy, its policies and the tags of the
    resource. It runs IAM's own policy simulator with the current tags, and with the tags that a policy requires.
  - What a message does not state, and what could not be read, is reported as such. Nothing is guessed.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  error_message:
    description:
      - Message to explain. It is a line of a log, a controller's JSON log, an error of a command or SDK, a CloudTrail
        event, or an encoded authorization message.
      - A CloudTrail event can be bare, or wrapped by C(LookupEvents) or EventBridge. An encoded message is decoded by
        C(sts:DecodeAuthorizationMessage).
      - The text may be quoted as logs, JSON, XML, Python, Terraform and terminals quote it, and be cut off.
      - If the text has several denials, only the first is explained. The evidence has the number of the others.
      - An empty message is refused.
    type: str
    required: true
  role:
    description:
      - Name or ARN of the role that the service account should use.
      - Without it, the module uses the role of the session that the message names, or the role that the caller tried to
        assume.
    type: str
  namespace:
    description: Namespace of the service account whose trust is checked, independent of the message.
    type: str
  service_account:
    description:
      - Name of the service account whose trust is checked. Without it, the module uses the service account that the
        message names, if any.
    type: str
  cluster:
    description:
      - Name of the service account's EKS cluster, in the region of the connection. The cluster determines the OIDC
        provider.
    type: str
  oidc_provider_arn:
    description: ARN of the cluster's IAM OIDC provider. Use it instead of O(cluster).
    type: str
  audience:
    description: Audience of the service account's tokens.
    type: str
    default: sts.amazonaws.com
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
    description: Runs on the controller, or on any host with boto3.
notes:
  - The IAM permissions are listed in docs/iam/iam_access_denied_info.json.
seealso:
  - module: daytwo.aws.iam_irsa_namespace
  - module: daytwo.aws.iam_irsa_info
"""

EXAMPLES = r"""
- name: Explain which side denied the load balancer controller
  daytwo.aws.iam_access_denied_info:
    error_message: >-
      AccessDenied: User: arn:aws:sts::123456789012:assumed-role/lbc/1677819233544969902 is not authorized to perform:
      elasticloadbalancing:DeleteLoadBalancer on resource:
      arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/shop/0123456789abcdef because no
      identity-based policy allows the elasticloadbalancing:DeleteLoadBalancer action
    namespace: cloudon
    service_account: aws-load-balancer-controller
    cluster: blue
  register: denied

- name: Show the explanation and the remediation
  ansible.builtin.debug:
    msg: >-
      {{ denied.side }}. {{ denied.reason }} {{ denied.remediation.description }} {{ denied.ineffective_remediation }}

- name: Add the service account to the trust policy, where that is the remediation
  daytwo.aws.iam_irsa_namespace:
    bindings: ["{{ denied.remediation.binding }}"]
  when: denied.remediation.binding
"""

RETURN = r"""
side:
  description:
    - The side that denied the request.
    - V(trust) if the role's trust policy did not allow the caller.
    - V(identity) if STS rejected the request before it evaluated the trust policy (no provider, wrong audience, expired
      token and the like).
    - V(permission) if a session was denied an action.
    - V(unknown) if the message does not state the side.
  returned: always
  type: str
  sample: permission
kind:
  description:
    - On the side V(permission), the policy type that AWS names, one of C(identity_policy), C(resource_policy),
      C(permissions_boundary), C(service_control_policy), C(resource_control_policy), C(session_policy),
      C(vpc_endpoint_policy), C(other_policy), C(unstated).
    - On the side V(trust), C(web_identity), C(trust_policy) or C(pod_identity).
    - On the side V(identity), C(no_provider), C(audience), C(verification_key), C(token_expired), C(token_invalid),
      C(role_arn), C(session_duration), C(region_disabled), C(token_file), C(credentials_expired),
      C(credentials_invalid), C(clock_skew) or C(no_credentials).
    - On the side V(unknown), C(bare_error_code), C(unstated), C(encoded), C(connection_error), C(instance_metadata),
      C(kubernetes_rbac), C(kubernetes_authentication), C(opensearch_access_control), C(lake_formation), C(allowed),
      C(other_policy) or C(no_denial).
  returned: always
  type: str
  sample: identity_policy
reason:
  description: Reason why this side denied the request.
  returned: always
  type: str
  sample: AWS reports that no identity-based policy allows it.
caller:
  description: Principal that made the request, or null if the message does not name it.
  returned: always
  type: dict
  contains:
    arn:
      description: ARN as in the message.
      type: str
      sample: arn:aws:sts::123456789012:assumed-role/lbc/1677819233544969902
    account:
      description: Account of the caller.
      type: str
      sample: "123456789012"
    role:
      description: Name of the caller's role, null for a user.
      type: str
      sample: lbc
    session:
      description: Name of the caller's session.
      type: str
      sample: "1677819233544969902"
    is_node_role:
      description:
        - Whether the session is an instance's. A pod without a working role falls back to the node role; nodes also
          make calls of their own.
      type: bool
      sample: false
action:
  description: IAM action that was denied, or null.
  returned: always
  type: str
  sample: elasticloadbalancing:DeleteLoadBalancer
resource:
  description: Resource of the denied action as in the message, an ARN or a name, or null.
  returned: always
  type: str
  sample: arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/shop/0123456789abcdef
role:
  description: Role that the request tried to assume, if the message names it, else null.
  returned: always
  type: str
  sample: null
operation:
  description: API operation, if the SDK's error or the CloudTrail event names it, else null.
  returned: always
  type: str
  sample: DeleteLoadBalancer
explicit_deny:
  description: Whether an explicit Deny denied it, rather than a missing Allow.
  returned: always
  type: bool
  sample: false
policy:
  description: ARN or id of the policy that denied it, if the message names it, else null.
  returned: always
  type: str
  sample: null
evidence:
  description:
    - Evidence, source by source, with the message of each. C(readable) is false if the source could not be read or
      evaluated.
  returned: always
  type: list
  elements: dict
  sample:
    - source: IAM's policy simulator, with the current tags
      message: >-
        implicitDeny; policies evaluate aws:ResourceTag/elbv2.k8s.aws/cluster, whose value in the request is not known.
      readable: true
remediation:
  description: Smallest change that remedies the denial (the suggested fix).
  returned: always
  type: dict
  contains:
    description:
      description: Description of the change.
      type: str
      sample: Tag the load balancer with elbv2.k8s.aws/cluster=blue.
    binding:
      description: Binding for C(iam_irsa_namespace), if that is the remediation, else null.
      type: dict
      sample: null
    statement:
      description:
        - Statement for a policy of the caller, if that is the remediation, else null.
        - It is null for an explicit Deny, and for every policy type that no policy of the caller replaces.
      type: dict
      sample: null
    tags:
      description: Tags for the resource, if those are the remediation, else null.
      type: dict
      sample: {elbv2.k8s.aws/cluster: blue}
ineffective_remediation:
  description: Change that people try first and that does B(not) remedy this denial, or null.
  returned: always
  type: str
  sample: >-
    Adding a namespace or service account (cloudon/aws-load-balancer-controller) to the trust policy of lbc does not
    remedy this denial: STS issued the session, so the trust policy already allowed its caller.
trust:
  description: Whether the service account may assume the role, independent of the message. Null without a role.
  returned: always
  type: dict
  contains:
    role:
      description: Role whose trust policy was read.
      type: str
      sample: lbc
    service_account:
      description: Service account, as namespace/name, or null if none is named.
      type: str
      sample: cloudon/aws-load-balancer-controller
    allowed:
      description: Whether the service account may assume the role, null if that could not be checked.
      type: bool
      sample: false
    allowed_by:
      description: Statements that allow the service account.
      type: list
      elements: str
      sample: []
    reason:
      description: Reason, with the service accounts that the trust policy allows.
      type: str
      sample: "cloudon/aws-load-balancer-controller: denied: no statement allows it."
summary:
  description:
    - The explanation for people, in at most seven lines. The lines are side, reason, remediation, what is ready to use,
      ineffective remediation, and trust.
  returned: always
  type: list
  elements: str
  sample:
    - "side: permission"
evidence_summary:
  description: The evidence for people, one line for each message that RV(summary) does not have.
  returned: always
  type: list
  elements: str
  sample:
    - "checked IAM's policy simulator, with the current tags: implicitDeny."
msg:
  description: Side, reason, remediation, and ineffective remediation, as sentences.
  returned: always
  type: str
  sample: "permission: AWS reports that no identity-based policy allows it."
"""

import contextlib
from dataclasses import asdict
from typing import Any, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._aws_call import ApiError
from ..module_utils._irsa import observe
from ..module_utils._irsa.binding_request import check_name, check_role
from ..module_utils._irsa.denied import parse_message
from ..module_utils._irsa.explain import DenialEvidence, ExplainOptions, explain, summarize, summarize_evidence
from ..module_utils._irsa.model import AUDIENCE, IrsaError, OidcProvider, Subject

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports the missing library
    from botocore.config import Config

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "error_message": {"type": "str", "required": True},
    "role": {"type": "str"},
    "namespace": {"type": "str"},
    "service_account": {"type": "str"},
    "cluster": {"type": "str"},
    "oidc_provider_arn": {"type": "str"},
    "audience": {"type": "str", "default": AUDIENCE},
}
# Without credentials or a route to AWS, only the message can be explained. That must not take minutes to detect.
CLIENT_CONFIG: dict[str, Any] = {"retries": {"total_max_attempts": 4}, "connect_timeout": 5, "read_timeout": 30}


def parse_options(params: dict[str, Any]) -> ExplainOptions:
    if not params["error_message"].strip():
        raise IrsaError(
            "error_message is empty. Give the message to explain: a line of a log, a CloudTrail event, or the error "
            "of a command."
        )
    if params["oidc_provider_arn"]:
        OidcProvider.parse(params["oidc_provider_arn"])
    named = (params["namespace"] or "", params["service_account"] or "")
    if any(named):  # the remediation's binding may hold them
        check_name("namespace", named[0])
        check_name("service account", named[1])
    if params["role"]:
        check_role(params["role"])
    if not params["audience"]:
        raise IrsaError(f"audience is empty. Give an audience, or omit the option for {AUDIENCE}.")
    return ExplainOptions(
        role=params["role"] or None,
        subject=Subject.from_service_account(*named) if any(named) else None,
        cluster=params["cluster"] or None,
        provider_arn=params["oidc_provider_arn"] or None,
        audience=params["audience"],
    )


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("cluster", "oidc_provider_arn")],
        required_together=[("namespace", "service_account")],
    )
    clients: dict[tuple[str, Optional[str]], Any] = {}

    def get_client(service: str, region: Optional[str]) -> Any:
        if service != "iam" and not (region or module.region):
            raise ApiError(service, "", "NoRegion", "no region is given")
        if (service, region) not in clients:
            options = {"region": region} if region else {}
            clients[service, region] = module.client(service, config=Config(**CLIENT_CONFIG), **options)
        return clients[service, region]

    try:
        options = parse_options(module.params)
    except IrsaError as error:
        module.fail_json(msg=str(error))
    denial, not_decoded = observe.decode_message(get_client, parse_message(module.params["error_message"]))
    observed: DenialEvidence = observe.read_evidence(get_client, denial, options)
    if not_decoded:
        observed = observe.add_not_checked(observed, "the encoded message", not_decoded)
    explanation = explain(denial, options, observed)
    trust = explanation.trust
    sentences = [
        f"{explanation.side}: {explanation.reason}",
        f"Remediation: {explanation.remediation.description}",
        explanation.ineffective_remediation,
        trust.reason if trust is not None and trust.reason not in explanation.reason else None,
    ]
    module.exit_json(
        changed=False,
        side=explanation.side,
        kind=denial.kind,
        reason=explanation.reason,
        caller=denial.caller.to_dict() if denial.caller else None,
        action=denial.action,
        resource=denial.resource,
        role=denial.role,
        operation=denial.operation,
        explicit_deny=denial.explicit_deny,
        policy=denial.policy,
        evidence=list(explanation.evidence),
        remediation=asdict(explanation.remediation),
        ineffective_remediation=explanation.ineffective_remediation,
        trust=None
        if trust is None
        else {
            "role": trust.role,
            "service_account": str(trust.subject) if trust.subject else None,
            "allowed": trust.allowed,
            "allowed_by": list(trust.allowed_by),
            "reason": trust.reason,
        },
        summary=summarize(explanation),
        evidence_summary=summarize_evidence(explanation),
        msg=" ".join(sentence for sentence in sentences if sentence),
    )


if __name__ == "__main__":
    main()
