# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to EC2: launch templates, and the instances of a group."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Optional

from .aws import call, pages
from .errors import ServiceError
from .model import TAG_CLUSTER, TAG_NAME, Template

KEPT_VERSIONS = 5
GONE = ("InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException")


def _decoded(data: Mapping[str, Any]) -> dict[str, Any]:
    """C(UserData) raw: EC2 has it in base64."""
    result = dict(data)
    if result.get("UserData"):
        result["UserData"] = base64.b64decode(result["UserData"])
    return result


def _encoded(data: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(data)
    if "UserData" in result:
        result["UserData"] = base64.b64encode(bytes(result["UserData"])).decode()
    return result


def _tags(entry: Mapping[str, Any]) -> dict[str, str]:
    return {str(one["Key"]): str(one["Value"]) for one in entry.get("Tags") or []}


def template(client: Any, reference: Mapping[str, Any]) -> Optional[Template]:
    """The version that a node group names; None where the template or the version is gone."""
    try:
        found = call(client, "DescribeLaunchTemplates", LaunchTemplateIds=[reference["id"]])["LaunchTemplates"]
        versions = call(
            client,
            "DescribeLaunchTemplateVersions",
            LaunchTemplateId=reference["id"],
            Versions=[str(reference.get("version") or "$Default")],
        )["LaunchTemplateVersions"]
    except ServiceError as error:
        if error.code in GONE or "Version" in error.code:
            return None
        raise
    if not found or not versions:
        return None
    return _made(found[0], versions[0])


def _made(entry: Mapping[str, Any], version: Mapping[str, Any]) -> Template:
    return Template(
        id=str(entry["LaunchTemplateId"]),
        name=str(entry["LaunchTemplateName"]),
        version=str(version["VersionNumber"]),
        data=_decoded(version.get("LaunchTemplateData") or {}),
        tags=_tags(entry),
        default_version=str(entry.get("DefaultVersionNumber") or ""),
    )


def owned(client: Any, cluster: str, name: str) -> dict[str, Template]:
    """Our templates for a logical group, by name, each in its latest version."""
    filters = [{"Name": f"tag:{TAG_NAME}", "Values": [name]}, {"Name": f"tag:{TAG_CLUSTER}", "Values": [cluster]}]
    result = {}
    for entry in pages(client, "DescribeLaunchTemplates", "LaunchTemplates", "NextToken", Filters=filters):
        versions = call(
            client,
            "DescribeLaunchTemplateVersions",
            LaunchTemplateId=entry["LaunchTemplateId"],
            Versions=["$Latest"],
        )["LaunchTemplateVersions"]
        result[str(entry["LaunchTemplateName"])] = _made(entry, versions[0])
    return result


def create_template(client: Any, name: str, data: Mapping[str, Any], tags: Mapping[str, str]) -> tuple[str, str]:
    """Its id and version."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    told = call(
        client,
        "CreateLaunchTemplate",
        LaunchTemplateName=name,
        LaunchTemplateData=_encoded(data),
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": listed}],
    )["LaunchTemplate"]
    return str(told["LaunchTemplateId"]), "1"


def create_version(client: Any, template_id: str, data: Mapping[str, Any]) -> str:
    told = call(client, "CreateLaunchTemplateVersion", LaunchTemplateId=template_id, LaunchTemplateData=_encoded(data))[
        "LaunchTemplateVersion"
    ]
    return str(told["VersionNumber"])


def delete_old_versions(client: Any, template_id: str, in_use: set[str]) -> list[str]:
    """All but the newest ones, the default, and those in use. EC2 keeps the default whatever is asked."""
    found = pages(
        client,
        "DescribeLaunchTemplateVersions",
        "LaunchTemplateVersions",
        "NextToken",
        LaunchTemplateId=template_id,
    )
    versions = sorted(found, key=lambda one: -int(one["VersionNumber"]))
    old = [
        str(one["VersionNumber"])
        for one in versions[KEPT_VERSIONS:]
        if not one.get("DefaultVersion") and str(one["VersionNumber"]) not in in_use
    ]
    if old:
        call(client, "DeleteLaunchTemplateVersions", LaunchTemplateId=template_id, Versions=old)
    return old


def delete_template(client: Any, template_id: str) -> None:
    try:
        call(client, "DeleteLaunchTemplate", LaunchTemplateId=template_id)
    except ServiceError as error:
        if error.code not in GONE:
            raise


def instances(client: Any, cluster: str, group: str) -> list[dict[str, str]]:
    """The instances that a group runs now."""
    filters = [
        {"Name": "tag:eks:cluster-name", "Values": [cluster]},
        {"Name": "tag:eks:nodegroup-name", "Values": [group]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = pages(client, "DescribeInstances", "Reservations", "NextToken", Filters=filters)
    return [
        {
            "instance_id": str(one["InstanceId"]),
            "name": str(one.get("PrivateDnsName") or ""),
            "state": str((one.get("State") or {}).get("Name") or ""),
        }
        for reservation in found
        for one in reservation.get("Instances") or ()
    ]
