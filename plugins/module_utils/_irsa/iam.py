# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that reads and writes roles and OIDC providers. It takes a ready botocore client of IAM."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import unquote

from . import policy
from .calls import CallError, call
from .model import Provider, Role

PAGE = 1000  # the most that ListRoles gives at once
PAGE_WORTH = 10  # a page of trust documents takes about as long as so many single roles


@dataclass(frozen=True)
class Account:
    """What GetAccountSummary tells: the quota of a trust policy in characters, and how many roles there are."""

    quota: Optional[int] = None
    roles: Optional[int] = None


@dataclass(frozen=True)
class NewRole:
    """What a role is created with, besides its trust policy."""

    path: str = "/"
    description: Optional[str] = None
    permissions_boundary: Optional[str] = None
    tags: tuple[tuple[str, str], ...] = ()
    managed_policies: tuple[str, ...] = ()


def account(client: Any) -> Account:
    told = call(client, "GetAccountSummary").get("SummaryMap", {})
    return Account(told.get("AssumeRolePolicySizeQuota"), told.get("Roles"))


def _role(answer: Mapping[str, Any]) -> Role:
    document = answer.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):  # botocore decodes it; a client whose handlers were taken off does not
        document = json.loads(unquote(document))
    return Role(str(answer["RoleName"]), str(answer["Arn"]), document)


def role(client: Any, name: str) -> Optional[Role]:
    """One role; None where there is none of that name."""
    try:
        return _role(call(client, "GetRole", RoleName=name)["Role"])
    except CallError as error:
        if error.code == "NoSuchEntity":
            return None
        raise


def every_role(client: Any, path_prefix: str = "/") -> Iterator[Role]:
    """All roles with their trust documents, 1,000 a call."""
    more: dict[str, str] = {}
    while True:
        answer = call(client, "ListRoles", PathPrefix=path_prefix, MaxItems=PAGE, **more)
        for one in answer.get("Roles") or ():
            yield _role(one)
        if not answer.get("IsTruncated"):
            return
        more = {"Marker": str(answer["Marker"])}


def listing_pays(names: Collection[str], total: Optional[int]) -> bool:
    """Whether so many roles are had sooner from the list of all. Without knowing how many there are: one by one."""
    return total is not None and len(names) > PAGE_WORTH * -(-total // PAGE)


def update(client: Any, name: str, document: Mapping[str, Any]) -> None:
    call(client, "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=policy.compact(document))


def create(client: Any, name: str, document: Mapping[str, Any], new: NewRole) -> Role:
    arguments: dict[str, Any] = {
        "RoleName": name,
        "AssumeRolePolicyDocument": policy.compact(document),
        "Path": new.path,
        "Description": new.description,
        "PermissionsBoundary": new.permissions_boundary,
        "Tags": [{"Key": key, "Value": value} for key, value in new.tags] or None,
    }
    given = {key: value for key, value in arguments.items() if value is not None}
    return _role(call(client, "CreateRole", **given)["Role"])


def attach(client: Any, name: str, policy_arn: str) -> None:
    call(client, "AttachRolePolicy", RoleName=name, PolicyArn=policy_arn)


def audiences(client: Any, provider: Provider) -> Optional[tuple[str, ...]]:
    """The client ids that a provider knows; None where the account has no such provider."""
    try:
        answer = call(client, "GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider.arn)
    except CallError as error:
        if error.code == "NoSuchEntity":
            return None
        raise
    return tuple(map(str, answer.get("ClientIDList") or ()))


def create_provider(client: Any, provider: Provider, listed: Sequence[str]) -> str:
    """Without thumbprints: IAM trusts the issuer's certificate by its own authorities (facts: irsa)."""
    answer = call(client, "CreateOpenIDConnectProvider", Url=f"https://{provider.issuer}", ClientIDList=list(listed))
    return str(answer["OpenIDConnectProviderArn"])


def add_audience(client: Any, provider: Provider, audience: str) -> None:
    call(client, "AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=provider.arn, ClientID=audience)
