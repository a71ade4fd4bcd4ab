# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reason and the remediation of a denied call of a node's session: a duty of the node, a pod that fell back to the
node role, or both readings. Pure.
"""

from __future__ import annotations

from typing import Any, Optional

from ..model import get_role_name
from .changes import build_binding, build_statement
from .errors import ROLE_ARN_ANNOTATION
from .evidence import DenialEvidence, ExplainOptions, Remediation
from .model import AccessDenial
from .node_duties import NodeDuty, find_duty


def explain_node_role(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence
) -> tuple[str, Remediation]:
    found = find_duty(denial)
    pod = (
        f"Give the service account its role{f', {options.role}' if options.role else ''}: first the trust policy, then "
        f"the annotation {ROLE_ARN_ANNOTATION} or a Pod Identity association, then a restart of its pods. Do not widen "
        "the node role."
    )
    binding = build_binding(denial, options, observed, get_role_name(options.role)) if options.role else None
    if found is None:
        reason = (
            f"{denial.reason} The session is a node's: most likely a pod whose service account has no working role, so "
            "that its SDK fell back to the node role."
        )
        return reason, Remediation(pod, binding=binding)
    duty, may_be_pod = found
    if not may_be_pod:
        reason = f"{denial.reason} The node made this call itself: {duty.description}."
        return reason, Remediation(_describe_duty(denial, duty), statement=_build_duty_statement(denial))
    reason = (
        f"{denial.reason} The session is a node's, and two readings are possible. The node made the call itself: "
        f"{duty.description}. Or a pod, whose service account has no working role, fell back to the node role."
    )
    return reason, Remediation(
        f"If the node made the call: {_describe_duty(denial, duty)} If a pod made it: {pod}", binding=binding
    )


def _build_duty_statement(denial: AccessDenial) -> Optional[dict[str, Any]]:
    return build_statement(denial) if denial.kind == "identity_policy" else None


def _describe_duty(denial: AccessDenial, duty: NodeDuty) -> str:
    caller = denial.caller
    if caller is None:
        return ""
    description = f"Attach AWS's policy {duty.policy} to the node role {caller.role}."
    account = denial.resource.split(":")[4] if denial.resource and denial.resource.count(":") >= 5 else ""
    if (denial.action or "").lower().startswith("ecr:") and account.isdigit() and account != caller.account:
        description += f" The repository's policy in the account {account} must allow the role, too."
    if denial.kind == "unstated":
        description += " If it has that policy already, another policy denies the call: AWS does not state which."
    return description
