# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A denial as its message describes it, and who was denied."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

TRUST, IDENTITY, PERMISSION, UNKNOWN = "trust", "identity", "permission", "unknown"
SIDES = (TRUST, IDENTITY, PERMISSION, UNKNOWN)

# The actions that a trust policy decides.
ASSUME_ROLE_ACTIONS = ("sts:assumerole", "sts:tagsession", "sts:setsourceidentity", "sts:setcontext")

# EC2 names a session of an instance by the instance's id, Systems Manager one of a hybrid node by the managed node's id
# (docs/facts/irsa.md#sessions-of-nodes).
_NODE_SESSION = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?|mi-[0-9a-f]{17}")


def is_assume_role_action(action: Optional[str]) -> bool:
    return bool(action and action.lower().startswith(ASSUME_ROLE_ACTIONS))


@dataclass(frozen=True)
class Caller:
    """The principal that made the request. C(role): the role's name without its path, which ARNs of sessions omit."""

    arn: str
    account: str
    role: Optional[str] = None
    session: Optional[str] = None

    @classmethod
    def parse(cls, arn: str) -> Caller:
        parts = arn.split(":", 5)
        account, path = (parts[4], parts[5].split("/")) if len(parts) == 6 else ("", [""])
        if path[0] == "assumed-role" and len(path) >= 3:
            return cls(arn, account, path[1], "/".join(path[2:]))
        return cls(arn, account, path[-1] if path[0] == "role" else None)

    @property
    def is_node_role(self) -> bool:
        return bool(self.session and _NODE_SESSION.fullmatch(self.session))

    def to_dict(self) -> dict[str, Any]:
        return {
            "arn": self.arn,
            "account": self.account,
            "role": self.role,
            "session": self.session,
            "is_node_role": self.is_node_role,
        }


@dataclass(frozen=True)
class AccessDenial:
    """The content of a message. C(kind) is the policy type, or the error. C(message) is the deciding text.

    C(role), C(subject), C(issuer): the role to assume, the service account and the token's issuer, where the message
    names them. C(policy_type): the policy type as AWS writes it. C(remediation): what helps, where the message alone
    determines it. C(node_program): the program of a node that the text names, such as the kubelet that pulls images.
    C(context) holds the request's condition keys, and C(deny_statements) the ids of Deny statements, from a decoded
    authorization message. C(api_call): service and operation of a CloudTrail event; the IAM action that was denied can
    be another. C(other_denials) counts the other denials in the text: only the first is explained.
    """

    side: str
    kind: str
    reason: str
    message: str = ""
    caller: Optional[Caller] = None
    action: Optional[str] = None
    resource: Optional[str] = None
    operation: Optional[str] = None
    api_call: Optional[str] = None
    explicit_deny: bool = False
    policy: Optional[str] = None
    policy_type: Optional[str] = None
    transitive_policy_type: Optional[str] = None
    role: Optional[str] = None
    subject: Optional[tuple[str, str]] = None
    issuer: Optional[str] = None
    encoded_message: Optional[str] = None
    authorization_id: Optional[str] = None
    remediation: Optional[str] = None
    node_program: Optional[str] = None
    is_anonymous: bool = False
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    deny_statements: tuple[str, ...] = ()
    other_denials: int = 0

    @property
    def resource_arn(self) -> Optional[str]:
        """The resource where a policy can name it: IAM also writes names such as C(role build) or C(secret db)."""
        return self.resource if self.resource and (self.resource == "*" or self.resource.startswith("arn:")) else None

    @property
    def is_assuming(self) -> bool:
        return is_assume_role_action(self.action)


def describe_session(caller: Optional[Caller]) -> str:
    if caller is None or caller.role is None or caller.session is None:
        return "The denial is about permissions, not about who may assume a role."
    return (
        f"The caller is a session of the role {caller.role}. STS issued the session before this request, so assuming "
        "the role worked."
    )
