# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that a remediation can consist of, ready to use, and the names of who is concerned. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from .evidence import DenialEvidence, ExplainOptions, choose_subject
from .model import AccessDenial


def format_tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items()) or "none"


def describe_caller(denial: AccessDenial) -> str:
    if denial.caller is None:
        return "the caller"
    if denial.caller.role:
        return f"the role {denial.caller.role}"
    return denial.caller.arn


def build_statement(denial: AccessDenial) -> Optional[dict[str, Any]]:
    """Build the missing statement. None where the message names the resource, but not by its ARN: C(*) would allow
    more than was denied.
    """
    if not denial.action or (denial.resource and not denial.resource_arn):
        return None
    return {"Effect": "Allow", "Action": denial.action, "Resource": denial.resource or "*"}


def build_binding(
    denial: AccessDenial, options: ExplainOptions, observed: DenialEvidence, role: str
) -> Optional[dict[str, Any]]:
    """Build the remediation's binding as iam_irsa_namespace takes it."""
    subject = choose_subject(denial, options)
    if subject is None or subject.namespaced_name is None:
        return None
    provider = options.provider_arn or (observed.provider.arn if observed.provider else None)
    identity_provider = {"cluster": options.cluster} if options.cluster else {"oidc_provider_arn": provider}
    if not any(identity_provider.values()):
        return None
    namespace, name = subject.namespaced_name
    return {"role": role, **identity_provider, "namespace": namespace, "service_accounts": [name], "state": "present"}
