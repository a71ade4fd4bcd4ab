# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 launch templates: refused user data, version numbers that are never reused, deletion of versions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidLaunchTemplateVersionNotFound,
    InvalidParameterValue,
    InvalidUserDataError,
    MissingParameter,
)
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.responses import EC2Response

from .control import command
from .rules import rule

USER_DATA_LIMIT = 16_384
DELETED_AT_ONCE = 200
PAGE = 200


@dataclass
class Settings:
    versions: int = 10_000  # of one template: the quota of EC2


SETTINGS = Settings()


@command("ec2/settings")
def set_settings(**changes: Any) -> None:
    """Restore the defaults, then apply the given changes."""
    SETTINGS.__init__(**changes)  # type: ignore[misc]  # the rules hold this very object


def check_user_data(response: EC2Response) -> None:
    encoded = (response._get_param("LaunchTemplateData") or {}).get("UserData")
    if encoded is None:
        return
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidUserDataError("Invalid BASE64 encoding of user data.") from None
    if len(raw) > USER_DATA_LIMIT:
        raise InvalidParameterValue(f"User data is limited to {USER_DATA_LIMIT} bytes")


@rule(
    EC2Response,
    "create_launch_template",
    fact="User data is base64 and at most 16,384 bytes raw (docs/facts/sysctl_nodegroup.md#managed-node-group-api)",
)
def user_data_of_templates_is_limited(plain: Callable[..., Any], response: EC2Response) -> Any:
    check_user_data(response)
    return plain(response)


@rule(
    EC2Response,
    "create_launch_template_version",
    fact="User data is base64 and at most 16,384 bytes raw (docs/facts/sysctl_nodegroup.md#managed-node-group-api)",
)
def user_data_of_versions_is_limited(plain: Callable[..., Any], response: EC2Response) -> Any:
    check_user_data(response)
    return plain(response)


@rule(
    EC2Response,
    "create_launch_template_version",
    fact="A version takes over what it does not name from its SourceVersion (EC2 API reference)",
)
def versions_build_on_their_source(plain: Callable[..., Any], response: EC2Response) -> Any:
    source = response._get_param("SourceVersion")
    answer = plain(response)
    if source:
        template = named(response)
        made = template.versions[-1]
        made.data = {**template.get_version(source).data, **made.data}
        answer.result["LaunchTemplateVersion"]["LaunchTemplateData"] = made.data
    return answer


@rule(
    EC2Response,
    "create_launch_template_version",
    fact="A template has at most 10,000 versions (EC2 quotas); the refusal's message is the test bed's",
)
def versions_are_limited(plain: Callable[..., Any], response: EC2Response) -> Any:
    template = named(response)
    if len(template.versions) >= SETTINGS.versions:
        raise EC2ClientError(
            "VersionLimitExceeded", f"You have reached the limit of {SETTINGS.versions} versions for {template.id}."
        )
    return plain(response)


@rule(
    EC2Response,
    "describe_launch_template_versions",
    fact="DescribeLaunchTemplateVersions takes a range of numbers and pages: 200 at once, with a NextToken (EC2 API)",
)
def versions_come_in_pages(plain: Callable[..., Any], response: EC2Response) -> Any:
    params = dict(response.params)
    low, high = (response._get_int_param(name) for name in ("MinVersion", "MaxVersion"))
    for name in ("MinVersion", "MaxVersion", "NextToken"):
        response.params.pop(name, None)
    response.params["MaxResults"] = SETTINGS.versions
    found = plain(response).result["LaunchTemplateVersions"]
    response.params.update(params)
    selected = [
        version for version in found if (low or 1) <= version["VersionNumber"] <= (high or version["VersionNumber"])
    ]
    return page("LaunchTemplateVersions", selected, params)


@rule(
    EC2Response,
    "describe_launch_templates",
    fact="DescribeLaunchTemplates pages: 200 at once, with a NextToken (EC2 API)",
)
def templates_come_in_pages(plain: Callable[..., Any], response: EC2Response) -> Any:
    params = dict(response.params)
    response.params.pop("NextToken", None)
    response.params["MaxResults"] = 1 << 30
    found = plain(response).result["LaunchTemplates"]
    response.params.update(params)
    return page("LaunchTemplates", found, params)


def page(key: str, entries: list[Any], params: dict[str, Any]) -> ActionResult:
    begin = int(str(params.get("NextToken") or "page-0").removeprefix("page-"))
    end = begin + int(params.get("MaxResults") or PAGE)
    more = {"NextToken": f"page-{end}"} if end < len(entries) else {}
    return ActionResult({key: entries[begin:end], **more})


@rule(
    LaunchTemplate,
    "create_version",
    fact="Version numbers are assigned in order and never reused, also after a deletion (EC2 API reference)",
)
def numbers_are_not_given_twice(plain: Callable[..., Any], template: LaunchTemplate, *args: Any, **kwargs: Any) -> Any:
    version: LaunchTemplateVersion = plain(template, *args, **kwargs)
    version.number = getattr(template, "testbed_last", 0) + 1
    template.testbed_last = version.number
    return version


@rule(
    LaunchTemplate, "get_version", fact="A version is found by its number, and a deleted one is not (EC2 API reference)"
)
def versions_are_found_by_number(plain: Callable[..., Any], template: LaunchTemplate, num: Any) -> Any:
    aliases = {"$latest": template.versions[-1].number, "$default": template.default_version_number}
    number = aliases.get(str(num).lower(), num)
    for version in template.versions:
        if str(version.number) == str(number):
            return version
    raise InvalidLaunchTemplateVersionNotFound(template_id=template.id, version=num)


@rule(
    LaunchTemplate,
    "default_version",
    fact="A version is found by its number, and a deleted one is not (EC2 API reference)",
)
def the_default_is_found_by_number(plain: Callable[..., Any], template: LaunchTemplate) -> Any:
    return template.get_version(template.default_version_number)


@rule(
    EC2Response,
    "delete_launch_template_versions",
    fact="DeleteLaunchTemplateVersions deletes up to 200 versions, never the default one, and answers per version "
    "(EC2 API reference); moto has none",
    new=True,
)
def versions_are_deleted(plain: Callable[..., Any], response: EC2Response) -> Any:
    numbers = [str(number) for number in response._get_param("Versions") or []]
    if not numbers:
        raise MissingParameter("The request must contain the parameter LaunchTemplateVersion")
    if len(numbers) > DELETED_AT_ONCE:
        raise InvalidParameterValue(f"At most {DELETED_AT_ONCE} launch template versions can be deleted at once.")
    template = named(response)
    known = {str(version.number): version for version in template.versions}
    done, failed = [], []
    for number in numbers:
        base = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
        entry: dict[str, Any] = {**base, "VersionNumber": int(number) if number.isdigit() else 0}
        if number not in known:
            message = f"Could not find the specified version {number} for the launch template with ID {template.id}."
            failed.append({**entry, "ResponseError": {"Code": "launchTemplateVersionDoesNotExist", "Message": message}})
        elif int(number) == template.default_version_number:
            message = "The specified launch template version is the default version and cannot be deleted."
            failed.append({**entry, "ResponseError": {"Code": "unexpectedError", "Message": message}})
        else:
            template.versions.remove(known[number])
            done.append(entry)
    return ActionResult(
        {
            "SuccessfullyDeletedLaunchTemplateVersions": done,
            "UnsuccessfullyDeletedLaunchTemplateVersions": failed,
        }
    )


def named(response: EC2Response) -> LaunchTemplate:
    backend = response.ec2_backend
    if name := response._get_param("LaunchTemplateName"):
        return backend.get_launch_template_by_name(name)
    return backend.get_launch_template(response._get_param("LaunchTemplateId"))
