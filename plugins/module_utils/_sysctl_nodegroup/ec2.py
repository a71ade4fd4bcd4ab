# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls to EC2 for launch templates and for the instances of a node group. No other file calls EC2."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Optional

from .._aws_call import ApiError, call_api, paginate
from .model import TAG_CLUSTER, TAG_NAME, GroupInstance, LaunchTemplate

KEPT_VERSIONS = 5
NOT_FOUND_CODES = ("InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException")


def _decode_user_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Decode C(UserData), which EC2 holds in base64."""
    result = dict(data)
    if result.get("UserData"):
        result["UserData"] = base64.b64decode(result["UserData"])
    return result


def _encode_user_data(data: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(data)
    if "UserData" in result:
        result["UserData"] = base64.b64encode(bytes(result["UserData"])).decode()
    return result


def _parse_tags(entry: Mapping[str, Any]) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in entry.get("Tags") or []}


def get_template(client: Any, reference: Mapping[str, Any]) -> Optional[LaunchTemplate]:
    """Get the template version that a node group uses; None where the template or the version is deleted."""
    try:
        found = call_api(client, "DescribeLaunchTemplates", LaunchTemplateIds=[reference["id"]])["LaunchTemplates"]
        versions = call_api(
            client,
            "DescribeLaunchTemplateVersions",
            LaunchTemplateId=reference["id"],
            Versions=[str(reference.get("version") or "$Default")],
        )["LaunchTemplateVersions"]
    except ApiError as error:
        if error.code in NOT_FOUND_CODES or "Version" in error.code:
            return None
        raise
    if not found or not versions:
        return None
    return _build_template(found[0], versions[0])


def _build_template(entry: Mapping[str, Any], version: Mapping[str, Any]) -> LaunchTemplate:
    return LaunchTemplate(
        id=str(entry["LaunchTemplateId"]),
        name=str(entry["LaunchTemplateName"]),
        version=str(version["VersionNumber"]),
        data=_decode_user_data(version.get("LaunchTemplateData") or {}),
        tags=_parse_tags(entry),
        default_version=str(entry.get("DefaultVersionNumber") or ""),
    )


def list_managed_templates(client: Any, cluster: str, name: str) -> dict[str, LaunchTemplate]:
    """List our launch templates of a logical node group by name, each in its latest version."""
    filters = [{"Name": f"tag:{TAG_NAME}", "Values": [name]}, {"Name": f"tag:{TAG_CLUSTER}", "Values": [cluster]}]
    result = {}
    for entry in paginate(client, "DescribeLaunchTemplates", "LaunchTemplates", Filters=filters):
        versions = call_api(
            client,
            "DescribeLaunchTemplateVersions",
            LaunchTemplateId=entry["LaunchTemplateId"],
            Versions=["$Latest"],
        )["LaunchTemplateVersions"]
        result[str(entry["LaunchTemplateName"])] = _build_template(entry, versions[0])
    return result


def create_template(client: Any, name: str, data: Mapping[str, Any], tags: Mapping[str, str]) -> tuple[str, str]:
    """Create a launch template, and return its id and its version."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    template = call_api(
        client,
        "CreateLaunchTemplate",
        LaunchTemplateName=name,
        LaunchTemplateData=_encode_user_data(data),
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": listed}],
    )["LaunchTemplate"]
    return str(template["LaunchTemplateId"]), "1"


def create_template_version(client: Any, template_id: str, data: Mapping[str, Any]) -> str:
    version = call_api(
        client, "CreateLaunchTemplateVersion", LaunchTemplateId=template_id, LaunchTemplateData=_encode_user_data(data)
    )["LaunchTemplateVersion"]
    return str(version["VersionNumber"])


def delete_old_template_versions(client: Any, template_id: str, in_use: set[str]) -> list[str]:
    """Delete old versions. The newest ones, the default and those in use stay; EC2 never deletes the default."""
    found = paginate(
        client,
        "DescribeLaunchTemplateVersions",
        "LaunchTemplateVersions",
        LaunchTemplateId=template_id,
    )
    versions = sorted(found, key=lambda version: -int(version["VersionNumber"]))
    old = [
        str(version["VersionNumber"])
        for version in versions[KEPT_VERSIONS:]
        if not version.get("DefaultVersion") and str(version["VersionNumber"]) not in in_use
    ]
    if old:
        call_api(client, "DeleteLaunchTemplateVersions", LaunchTemplateId=template_id, Versions=old)
    return old


def delete_template(client: Any, template_id: str) -> None:
    try:
        call_api(client, "DeleteLaunchTemplate", LaunchTemplateId=template_id)
    except ApiError as error:
        if error.code not in NOT_FOUND_CODES:
            raise


def list_instances(client: Any, cluster: str, group: str) -> tuple[GroupInstance, ...]:
    """List the instances that a node group runs now, those of its warm pool included."""
    filters = [
        {"Name": "tag:eks:cluster-name", "Values": [cluster]},
        {"Name": "tag:eks:nodegroup-name", "Values": [group]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = paginate(client, "DescribeInstances", "Reservations", Filters=filters)
    return tuple(
        GroupInstance(
            id=str(instance["InstanceId"]),
            zone=str((instance.get("Placement") or {}).get("AvailabilityZone") or ""),
            state=str((instance.get("State") or {}).get("Name") or ""),
            metadata_options=dict(instance.get("MetadataOptions") or {}),
        )
        for reservation in found
        for instance in reservation.get("Instances") or ()
    )
