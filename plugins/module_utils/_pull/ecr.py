# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private registries, by a ready ECR client. No call pulls, and none changes when an image was last pulled."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Optional

from .._aws_call import ApiError, call_api, paginate
from .model import EcrRegistry, EcrRepository, PolicyDocument, PullThroughRule

PAGE_SIZE = 1000
IMAGE_IDS = 100  # the most that DescribeImages takes


def read_registry(
    client: Any, account: str, region: str, images: Mapping[str, Collection[str]], own_account: bool
) -> EcrRegistry:
    """C(images): by repository, the tags and digests in question."""
    unreadable: dict[str, str] = {}
    arguments = {} if own_account else {"registryId": account}
    try:
        names = {
            str(entry["repositoryName"])
            for entry in paginate(client, "DescribeRepositories", "repositories", maxResults=PAGE_SIZE, **arguments)
        }
    except ApiError as error:
        _raise_credential_error(error)
        unreadable["repositories"] = error.explanation
        names = set(images)
    repositories = {
        name: _read_repository(client, name, versions, arguments)
        for name, versions in sorted(images.items())
        if name in names and "repositories" not in unreadable
    }
    policy: Optional[PolicyDocument] = None
    rules: tuple[PullThroughRule, ...] = ()
    if not own_account:
        reason = f"The policy and the pull-through rules of the registry {account} are of another account."
        unreadable.update(policy=reason, rules=reason)
    elif "repositories" not in unreadable:
        try:
            policy = _get_document(client, "GetRegistryPolicy", "RegistryPolicyNotFoundException", {})
        except ApiError as error:
            _raise_credential_error(error)
            unreadable["policy"] = error.explanation
        if _has_missing(images, repositories):
            try:
                rules = _list_rules(client)
            except ApiError as error:
                _raise_credential_error(error)
                unreadable["rules"] = error.explanation
    return EcrRegistry(account, region, repositories, policy, rules, unreadable)


def _raise_credential_error(error: ApiError) -> None:
    if error.is_credential_error:
        raise error


def _has_missing(images: Mapping[str, Collection[str]], repositories: Mapping[str, EcrRepository]) -> bool:
    return any(name not in repositories or None in repositories[name].images.values() for name in images)


def _read_repository(client: Any, name: str, versions: Collection[str], arguments: Mapping[str, str]) -> EcrRepository:
    policy: Optional[PolicyDocument] = None
    unreadable = images_unreadable = ""
    named = {"repositoryName": name, **arguments}
    try:
        policy = _get_document(client, "GetRepositoryPolicy", "RepositoryPolicyNotFoundException", named)
    except ApiError as error:
        _raise_credential_error(error)
        unreadable = error.explanation
    images: dict[str, Optional[str]] = {}
    ordered = sorted(versions)
    try:
        for start in range(0, len(ordered), IMAGE_IDS):
            images.update(_describe_images(client, ordered[start : start + IMAGE_IDS], named))
    except ApiError as error:
        _raise_credential_error(error)
        images_unreadable = error.explanation
    return EcrRepository(name, policy, images, unreadable, images_unreadable)


def _describe_images(client: Any, versions: list[str], named: Mapping[str, str]) -> dict[str, Optional[str]]:
    """By tag or digest, the status. ECR refuses the whole call where one image is missing, so it is then halved."""
    ids = [{"imageDigest": text} if text.startswith("sha256:") else {"imageTag": text} for text in versions]
    try:
        response = call_api(client, "DescribeImages", imageIds=ids, **named)
    except ApiError as error:
        if error.code != "ImageNotFoundException":
            raise
        if len(versions) == 1:
            return {versions[0]: None}
        middle = len(versions) // 2
        return {
            **_describe_images(client, versions[:middle], named),
            **_describe_images(client, versions[middle:], named),
        }
    statuses: dict[str, Optional[str]] = dict.fromkeys(versions)
    for detail in response.get("imageDetails") or ():
        for text in (str(detail.get("imageDigest") or ""), *map(str, detail.get("imageTags") or ())):
            if text in statuses:
                statuses[text] = str(detail.get("imageStatus") or "ACTIVE")
    return statuses


def _get_document(
    client: Any, operation: str, missing_code: str, arguments: Mapping[str, str]
) -> Optional[PolicyDocument]:
    """A policy; None where there is none."""
    try:
        document = json.loads(str(call_api(client, operation, **arguments)["policyText"]))
    except ApiError as error:
        if error.code == missing_code:
            return None
        raise
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _list_rules(client: Any) -> tuple[PullThroughRule, ...]:
    found = paginate(client, "DescribePullThroughCacheRules", "pullThroughCacheRules", maxResults=PAGE_SIZE)
    return tuple(
        PullThroughRule(
            str(entry["ecrRepositoryPrefix"]),
            str(entry.get("upstreamRegistryUrl") or ""),
            bool(entry.get("credentialArn")),
        )
        for entry in found
    )
