#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: iam_access_denied_info
short_description: Reads a message of refused access and says which side refused, trust or permission, and what mends it
version_added: 0.1.0
description:
  - Takes what a controller logged and says who wanted what, which side refused it, what was looked at, and the least
    change that mends it. It writes nothing.
  - A message that names a C(User) is about a session that STS B(had issued). Its trust policy worked, and adding a
    namespace to it mends nothing. The module says so.
  - Where the credentials may, it looks at the role, its trust policy and its policies, at the tags of the resource, and
    asks IAM's own policy simulator, with the tags as they are and with those that a policy asks for.
  - What a message does not say, and what could not be looked at, is told as such. Nothing is guessed.
author:
  - The daytwo.aws authors (@daytwo-aws)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
options:
  error_message:
    description:
      - A line of a log, a controller's JSON log, a CloudTrail event (bare, or as C(LookupEvents) or EventBridge wrap
        it), an error of a command or SDK, or an encoded authorization message, which
        C(sts:DecodeAuthorizationMessage) then decodes.
      - Of several refusals in one text, the first one counts; the others are counted in the evidence.
    type: str
    required: true
  role:
    description:
      - Name or ARN of the role that the service account is meant to have.
      - Without it, the role of the session that the message names, or the role that was to be assumed.
    type: str
  namespace:
    description: Namespace of the service account whose trust is checked, beside what the message is about.
    type: str
  service_account:
    description: Name of that service account. Without it, the one that the message names, if it names one.
    type: str
  cluster:
    description:
      - Name of the EKS cluster of that service account, in the region of the connection. Its OIDC provider follows from
        it.
    type: str
  oidc_provider_arn:
    description: ARN of the cluster's IAM OIDC provider, instead of O(cluster).
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
    description: Runs on the controller, or wherever boto3 is.
seealso:
  - module: daytwo.aws.iam_irsa_namespace
  - module: daytwo.aws.iam_irsa_info
"""

EXAMPLES = r"""
- name: Which side refused the load balancer controller?
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

- name: Say it
  ansible.builtin.debug:
    msg: "{{ denied.side }}. {{ denied.reason }} {{ denied.mend.what }} {{ denied.not_the_mend }}"

- name: Let the service account in, where that is the mend
  daytwo.aws.iam_irsa_namespace:
    bindings: ["{{ denied.mend.binding }}"]
  when: denied.mend.binding
"""

RETURN = r"""
side:
  description:
    - V(trust) where the role's trust policy did not let the caller in, V(identity) where STS did not get so far (no
      provider, wrong audience, expired token and the like), V(permission) where a session was refused an action,
      V(unknown) where the message does not say.
  returned: always
  type: str
  sample: permission
kind:
  description:
    - On the side V(permission), the type of policy that AWS names, one of C(identity_policy), C(resource_policy),
      C(permissions_boundary), C(service_control_policy), C(resource_control_policy), C(session_policy),
      C(vpc_endpoint_policy), C(other_policy), C(unstated).
    - On the side V(trust), C(web_identity), C(trust_policy) or C(pod_identity).
    - On the side V(identity), C(no_provider), C(audience), C(verification_key), C(token_expired), C(token_invalid),
      C(role_arn), C(token_file), C(credentials_expired), C(credentials_invalid) or C(no_credentials).
    - On the side V(unknown), C(bare), C(unstated), C(encoded), C(unreached), C(kubernetes_rbac), C(allowed),
      C(other_policy) or C(no_refusal).
  returned: always
  type: str
  sample: identity_policy
reason:
  description: Why this side, in words.
  returned: always
  type: str
  sample: AWS says that no identity-based policy allows it.
caller:
  description: Whose request it was, or null where the message does not say.
  returned: always
  type: dict
  contains:
    arn:
      description: The ARN as the message has it.
      type: str
      sample: arn:aws:sts::123456789012:assumed-role/lbc/1677819233544969902
    account:
      description: Its account.
      type: str
      sample: "123456789012"
    role:
      description: Name of its role, null for a user.
      type: str
      sample: lbc
    session:
      description: Name of its session.
      type: str
      sample: "1677819233544969902"
    node_role:
      description: Whether the session is an instance's, to which pods fall back without a role of their own.
      type: bool
      sample: false
action:
  description: The IAM action that was refused, or null.
  returned: always
  type: str
  sample: elasticloadbalancing:DeleteLoadBalancer
resource:
  description: On which resource, or null.
  returned: always
  type: str
  sample: arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/shop/0123456789abcdef
operation:
  description: The API operation, where the message's wrapping names it.
  returned: always
  type: str
  sample: DeleteLoadBalancer
explicit_deny:
  description: Whether a Deny refused it, rather than the lack of an Allow.
  returned: always
  type: bool
  sample: false
policy:
  description: ARN of the policy that refused it, where the message names it.
  returned: always
  type: str
  sample: null
evidence:
  description: What was looked at, and what the answer was. C(seen) is false where it could not be looked at, or judged.
  returned: always
  type: list
  elements: dict
  sample:
    - looked_at: IAM's policy simulator, with the tags as they are
      answer: >-
        implicitDeny; policies look at aws:ResourceTag/elbv2.k8s.aws/cluster, which the request was not known to bring.
      seen: true
mend:
  description: The least change that mends it.
  returned: always
  type: dict
  contains:
    what:
      description: In words.
      type: str
      sample: Tag the load balancer with elbv2.k8s.aws/cluster=blue.
    binding:
      description: A binding for C(iam_irsa_namespace), where that is the mend, else null.
      type: dict
      sample: null
    statement:
      description: A statement for a policy, where that is the mend, else null.
      type: dict
      sample: null
    tags:
      description: Tags for the resource, where those are the mend, else null.
      type: dict
      sample: {elbv2.k8s.aws/cluster: blue}
not_the_mend:
  description: What does B(not) mend this message, although people try it first; null where nothing comes to mind.
  returned: always
  type: str
  sample: >-
    Adding a namespace or service account (cloudon/aws-load-balancer-controller) to the trust policy of lbc is not the
    mend for this message.
trust:
  description: Whether the service account may assume the role at all, apart from the message. Null without a role.
  returned: always
  type: dict
  contains:
    role:
      description: The role that was looked at.
      type: str
      sample: lbc
    service_account:
      description: The service account, as namespace/name, or null where none is named.
      type: str
      sample: cloudon/aws-load-balancer-controller
    allowed:
      description: Whether it may; null where that could not be checked.
      type: bool
      sample: false
    by:
      description: The statements that let it in.
      type: list
      elements: str
      sample: []
    reason:
      description: In words, with whom the role lets in.
      type: str
      sample: "cloudon/aws-load-balancer-controller: denied: no statement allows it."
msg:
  description: Side, reason, mend, and what is not the mend, as sentences.
  returned: always
  type: str
  sample: "permission: AWS says that no identity-based policy allows it."
"""

import contextlib
from dataclasses import asdict
from typing import Any, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from ..module_utils._irsa import observe
from ..module_utils._irsa.binding_request import check_name, check_role
from ..module_utils._irsa.calls import CallError
from ..module_utils._irsa.denied import parse_message
from ..module_utils._irsa.explain import DenialEvidence, ExplainOptions, explain
from ..module_utils._irsa.model import AUDIENCE, IrsaError, OidcProvider, Subject

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so in words
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
# Without credentials or a way to AWS, the message itself is all there is: that must not take minutes to find out.
CLIENT_CONFIG: dict[str, Any] = {"retries": {"total_max_attempts": 4}, "connect_timeout": 5, "read_timeout": 30}


def parse_options(params: dict[str, Any]) -> ExplainOptions:
    if params["oidc_provider_arn"]:
        OidcProvider.parse(params["oidc_provider_arn"])
    named = (params["namespace"] or "", params["service_account"] or "")
    if any(named):  # a binding may be made of them
        check_name("namespace", named[0])
        check_name("service account", named[1])
    if params["role"]:
        check_role(params["role"])
    if not params["audience"]:
        raise IrsaError(f"audience is empty. Name one, or leave it out for {AUDIENCE}.")
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
            raise CallError(service, "", "NoRegion", "no region is given")
        if (service, region) not in clients:
            more = {"region": region} if region else {}
            clients[service, region] = module.client(service, config=Config(**CLIENT_CONFIG), **more)
        return clients[service, region]

    try:
        asked = parse_options(module.params)
    except IrsaError as error:
        module.fail_json(msg=str(error))
    denied, undecoded = observe.decode_message(get_client, parse_message(module.params["error_message"]))
    seen: DenialEvidence = observe.read_evidence(get_client, denied, asked)
    if undecoded:
        seen = observe.add_not_checked(seen, "the encoded message", undecoded)
    told = explain(denied, asked, seen)
    trust = told.trust
    words = [
        f"{told.side}: {told.reason}",
        f"Mend: {told.remediation.description}",
        told.ineffective_remediation,
        trust and trust.reason,
    ]
    module.exit_json(
        changed=False,
        side=told.side,
        kind=denied.kind,
        reason=told.reason,
        caller=denied.caller.to_dict() if denied.caller else None,
        action=denied.action,
        resource=denied.resource,
        operation=denied.operation,
        explicit_deny=denied.explicit_deny,
        policy=denied.policy,
        evidence=list(told.evidence),
        mend=asdict(told.remediation),
        not_the_mend=told.ineffective_remediation,
        trust=None
        if trust is None
        else {
            "role": trust.role,
            "service_account": str(trust.subject) if trust.subject else None,
            "allowed": trust.allowed,
            "by": list(trust.allowed_by),
            "reason": trust.reason,
        },
        msg=" ".join(word for word in words if word),
    )


if __name__ == "__main__":
    main()
