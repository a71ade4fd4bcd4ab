# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of the option C(bindings): parsed, and validated by the rules of Kubernetes and IAM.

A wildcard in a namespace or a service account is refused here unless C(allow_wildcards) is set (C(parse_request)).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .model import LABEL, SUBDOMAIN, Binding, IrsaError, OidcProvider, Subject, get_role_name, has_wildcard

# With the maximum lengths.
_NAME_RULES = {"namespace": (re.compile(LABEL), 63), "service account": (re.compile(SUBDOMAIN), 253)}
_PATTERN = re.compile(r"[-a-z0-9.*?]+")
_ROLE = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/(.+/)?([\w+=,.@-]{1,64})", re.ASCII)


@dataclass(frozen=True)
class BindingRequest:
    """One entry of C(bindings). Either C(cluster) or C(provider) identifies the issuer of the tokens."""

    role: str
    cluster: Optional[str]
    provider: Optional[OidcProvider]
    namespace: str
    service_accounts: tuple[str, ...]
    is_present: bool
    role_arn: Optional[str] = None

    def to_binding(self, provider: OidcProvider) -> Binding:
        subjects = tuple(
            Subject.from_service_account(self.namespace, name) for name in dict.fromkeys(self.service_accounts)
        )
        return Binding(self.role, provider, subjects, self.is_present)

    def __str__(self) -> str:
        where = self.cluster or (self.provider.issuer if self.provider else "")
        return f"{self.role}: {', '.join(f'{self.namespace}/{name}' for name in self.service_accounts)} of {where}"


def check_role(role: str, prefix: str = "") -> None:
    """Raises IrsaError if IAM would not accept the role's name or ARN. C(prefix): the start of the message."""
    if not (_ROLE_ARN if role.startswith("arn:") else _ROLE).fullmatch(role):
        raise IrsaError(
            f"{prefix}role {role!r} is neither the name of a role (at most 64 of A-Z a-z 0-9 +=,.@_-) nor its ARN."
        )


def check_name(kind: str, name: str, prefix: str = "", wildcards: bool = False) -> None:
    """Raises IrsaError if Kubernetes would not accept the name of a namespace or a service account.

    C(wildcards): whether the name may contain wildcards.
    """
    rule, longest = _NAME_RULES[kind]
    if not (_PATTERN if wildcards and has_wildcard(name) else rule).fullmatch(name) or len(name) > longest:
        raise IrsaError(f"{prefix}{name!r} is not a valid name of a {kind} in Kubernetes.")


def parse_request(entry: Mapping[str, Any], allow_wildcards: bool) -> BindingRequest:
    """Parses one entry of the option C(bindings). Errors quote the entry.

    Refuses a wildcard in namespace or service_accounts unless C(allow_wildcards) is set.
    """
    role = str(entry["role"])
    check_role(role, "bindings: ")
    arn = role if role.startswith("arn:") else None
    pattern = entry.get("namespace_pattern")
    for option, alternative in (("cluster", "oidc_provider_arn"), ("namespace", "namespace_pattern")):
        if not entry.get(option) and not entry.get(alternative):  # set, but null or empty
            raise IrsaError(f"bindings: {role} has neither {option} nor {alternative}. Give one of them.")
    namespace = str(pattern or entry["namespace"])
    names = tuple(map(str, entry.get("service_accounts") or ()))
    if not names and not entry.get("all_service_accounts"):
        raise IrsaError(
            f"bindings: {role} has no service account of {namespace}. List service_accounts, or set "
            "all_service_accounts=true for every service account of the namespace."
        )
    if names and entry.get("all_service_accounts"):
        raise IrsaError(f"bindings: {role} has both service_accounts and all_service_accounts. Keep one.")
    wildcards = [name for name in (namespace, *names) if has_wildcard(name)]
    if not pattern and has_wildcard(namespace):
        raise IrsaError(
            f"bindings: namespace {namespace!r} has a wildcard. Write it as namespace_pattern, with "
            "allow_wildcards=true."
        )
    # Refuse a wildcard (not allowed without allow_wildcards).
    if wildcards and not allow_wildcards:
        raise IrsaError(
            f"bindings: {', '.join(map(repr, wildcards))} has a wildcard. Whoever creates a matching name later gets "
            "the role. Set allow_wildcards=true to allow that."
        )
    for kind, text in (("namespace", namespace), *(("service account", name) for name in names)):
        check_name(kind, text, "bindings: ", wildcards=True)
    given = entry.get("oidc_provider_arn")
    return BindingRequest(
        get_role_name(role),
        None if given else str(entry["cluster"]),
        OidcProvider.parse(str(given)) if given else None,
        namespace,
        names or ("*",),
        entry.get("state", "present") != "absent",
        arn,
    )
