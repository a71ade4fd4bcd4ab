# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node roles and their policies, by a ready IAM client. Each role and each managed policy is read once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Optional
from urllib.parse import unquote

from .._aws_call import ApiError, call_api, paginate
from .model import NodeRole, PolicyDocument


class NodeRoleReader:
    def __init__(self, client: Any) -> None:
        self.client = client
        self._roles: dict[str, NodeRole] = {}
        self._managed: dict[str, PolicyDocument] = {}

    def read_profile(self, profile_arn: str) -> Optional[NodeRole]:
        """The role of an instance profile; None where the profile has none."""
        name = profile_arn.rpartition("/")[2]
        profile = call_api(self.client, "GetInstanceProfile", InstanceProfileName=name)["InstanceProfile"]
        roles = profile.get("Roles") or ()
        return self.read_role(str(roles[0]["Arn"])) if roles else None

    def read_role(self, arn: str) -> NodeRole:
        """A role by its ARN, with what of its policies could be read."""
        if arn not in self._roles:
            self._roles[arn] = self._read(arn)
        return self._roles[arn]

    def _read(self, arn: str) -> NodeRole:
        name = arn.rpartition("/")[2]
        try:
            role = call_api(self.client, "GetRole", RoleName=name)["Role"]
            boundary_arn = (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
            boundary = self._read_managed(str(boundary_arn)) if boundary_arn else None
            return NodeRole(arn, tuple(self._list_policies(name)), boundary)
        except ApiError as error:
            if error.is_credential_error:
                raise
            return NodeRole(arn, unreadable=error.explanation)

    def _list_policies(self, name: str) -> Iterator[tuple[str, PolicyDocument]]:
        for inline in paginate(self.client, "ListRolePolicies", "PolicyNames", RoleName=name):
            response = call_api(self.client, "GetRolePolicy", RoleName=name, PolicyName=inline)
            yield str(inline), _parse_document(response["PolicyDocument"])
        for attached in paginate(self.client, "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name):
            arn = str(attached["PolicyArn"])
            yield arn, self._read_managed(arn)

    def _read_managed(self, arn: str) -> PolicyDocument:
        if arn not in self._managed:
            version = call_api(self.client, "GetPolicy", PolicyArn=arn)["Policy"]["DefaultVersionId"]
            response = call_api(self.client, "GetPolicyVersion", PolicyArn=arn, VersionId=version)
            self._managed[arn] = _parse_document(response["PolicyVersion"]["Document"])
        return self._managed[arn]


def _parse_document(document: Any) -> PolicyDocument:
    """Botocore decodes some of IAM's documents, and returns others URL-encoded."""
    if isinstance(document, str):
        document = json.loads(unquote(document))
    return document if isinstance(document, Mapping) else {}
