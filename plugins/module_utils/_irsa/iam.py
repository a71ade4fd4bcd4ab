# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes IAM roles and OIDC providers; no other file does. Takes a ready botocore client of IAM."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import unquote

from .._aws_call import ApiError, call_api, paginate
from . import policy_edit
from .model import IamRole, OidcProvider

PAGE_SIZE = 1000  # the maximum of ListRoles
PAGE_COST = 10  # a page of ListRoles takes about as long as this many GetRole calls


@dataclass(frozen=True)
class AccountSummary:
    """From GetAccountSummary: the quota of the trust policy size in characters, and the number of roles."""

    trust_policy_quota: Optional[int] = None
    role_count: Optional[int] = None
    is_read: bool = False


@dataclass(frozen=True)
class NewRole:
    """The settings of a role that is created, besides its trust policy. C(managed_policies): of existing ones, too."""

    path: str = "/"
    description: Optional[str] = None
    permissions_boundary: Optional[str] = None
    tags: tuple[tuple[str, str], ...] = ()
    managed_policies: tuple[str, ...] = ()


def get_account_summary(client: Any) -> AccountSummary:
    summary = call_api(client, "GetAccountSummary").get("SummaryMap", {})
    return AccountSummary(summary.get("AssumeRolePolicySizeQuota"), summary.get("Roles"), is_read=True)


def _parse_role(response: Mapping[str, Any]) -> IamRole:
    document = response.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):  # botocore decodes it, unless the client's event handlers were removed
        document = json.loads(unquote(document))
    return IamRole(str(response["RoleName"]), str(response["Arn"]), document)


def get_role(client: Any, name: str) -> Optional[IamRole]:
    """One role; None where it does not exist."""
    try:
        return _parse_role(call_api(client, "GetRole", RoleName=name)["Role"])
    except ApiError as error:
        if error.code == "NoSuchEntity":
            return None
        raise


def list_roles(client: Any, path_prefix: str = "/") -> Iterator[IamRole]:
    """All roles with their trust documents, 1,000 a call."""
    found = paginate(client, "ListRoles", "Roles", PathPrefix=path_prefix, MaxItems=PAGE_SIZE)
    return (_parse_role(role) for role in found)


def is_listing_cheaper(names: Collection[str], total: Optional[int]) -> bool:
    """Whether ListRoles is faster than a GetRole per name. False while the number of roles is unknown."""
    return total is not None and len(names) > PAGE_COST * -(-total // PAGE_SIZE)


def update_trust_policy(client: Any, name: str, document: Mapping[str, Any]) -> None:
    call_api(client, "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=policy_edit.render_compact(document))


def create_role(client: Any, name: str, document: Mapping[str, Any], new_role: NewRole) -> IamRole:
    arguments: dict[str, Any] = {
        "RoleName": name,
        "AssumeRolePolicyDocument": policy_edit.render_compact(document),
        "Path": new_role.path,
        "Description": new_role.description,
        "PermissionsBoundary": new_role.permissions_boundary,
        "Tags": [{"Key": key, "Value": value} for key, value in new_role.tags] or None,
    }
    given = {key: value for key, value in arguments.items() if value is not None}
    return _parse_role(call_api(client, "CreateRole", **given)["Role"])


def list_attached_policies(client: Any, name: str) -> frozenset[str]:
    """The ARNs of the managed policies that a role has."""
    found = paginate(client, "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name)
    return frozenset(str(policy["PolicyArn"]) for policy in found)


def attach_policy(client: Any, name: str, policy_arn: str) -> None:
    call_api(client, "AttachRolePolicy", RoleName=name, PolicyArn=policy_arn)


def get_audiences(client: Any, provider: OidcProvider) -> Optional[tuple[str, ...]]:
    """The audiences (client ids) of a provider; None where the account has no such provider."""
    try:
        response = call_api(client, "GetOpenIDConnectProvider", OpenIDConnectProviderArn=provider.arn)
    except ApiError as error:
        if error.code == "NoSuchEntity":
            return None
        raise
    return tuple(map(str, response.get("ClientIDList") or ()))


def create_provider(client: Any, provider: OidcProvider, audiences: Sequence[str]) -> str:
    """Creates the provider without thumbprints: IAM verifies EKS issuers by its own certificate authorities.

    See docs/facts/irsa.md#issuers-and-partitions.
    """
    response = call_api(
        client, "CreateOpenIDConnectProvider", Url=f"https://{provider.issuer}", ClientIDList=list(audiences)
    )
    return str(response["OpenIDConnectProviderArn"])


def add_audience(client: Any, provider: OidcProvider, audience: str) -> None:
    call_api(client, "AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=provider.arn, ClientID=audience)
