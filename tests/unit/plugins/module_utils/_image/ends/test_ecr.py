# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, settings, immutable tags and templates of ECR, without a network."""

from __future__ import annotations

import re
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.ecr import (
    EcrHost,
    EcrSettings,
    TagMutability,
    matches_template,
)
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError

NOTHING: dict[str, Any] = {
    "create_repository": True,
    "tag_mutability": None,
    "exclusion_filters": None,
    "scan_on_push": None,
    "encryption_type": None,
    "kms_key": None,
    "profile": None,
    "endpoint_url": None,
}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", ("123456789012", "eu-west-1")),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com:443", ("123456789012", "eu-west-1")),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", ("123456789012", "us-gov-west-1")),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", ("123456789012", "cn-north-1")),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", ("123456789012", "eu-west-1")),
        ("public.ecr.aws", None),
        ("registry.example", None),
        ("12345.dkr.ecr.eu-west-1.amazonaws.com", None),
    ],
)
def test_hosts(host: str, expected: Optional[tuple[str, str]]) -> None:
    found = EcrHost.parse(host)
    assert (found and (found.account, found.region)) == expected


@pytest.mark.parametrize(
    ("setting", "filters", "tag", "expected"),
    [
        ("MUTABLE", (), "v1", True),
        ("IMMUTABLE", (), "v1", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest",), "latest", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest",), "latest1", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("a.b*",), "aXb", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("*-dev-*",), "x-dev-1", True),
        ("MUTABLE_WITH_EXCLUSION", ("*",), "v1", False),
        ("MUTABLE_WITH_EXCLUSION", ("v*",), "latest", True),
    ],
)
def test_moves_of_tags(setting: str, filters: tuple[str, ...], tag: str, expected: bool) -> None:
    assert TagMutability(setting, filters).allows_move(tag) is expected


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [
        ("team/app", "team", True),
        ("team/app", "team/", True),
        ("team/app", "team/app", False),
        ("teams/app", "team", False),
        ("app", "ROOT", True),
        ("ROOT/app", "root", False),
    ],
)
def test_templates(path: str, prefix: str, expected: bool) -> None:
    template = {"prefix": prefix, "appliedFor": ["PULL_THROUGH_CACHE", "CREATE_ON_PUSH"]}
    assert matches_template(path, [template]) is expected
    assert not matches_template(path, [{**template, "appliedFor": ["REPLICATION"]}])


def test_no_template() -> None:
    assert not matches_template("team/app", [])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"scan_on_push": False}, {"imageScanningConfiguration": {"scanOnPush": False}}),
        ({"tag_mutability": "IMMUTABLE"}, {"imageTagMutability": "IMMUTABLE"}),
        ({"encryption_type": "AES256"}, {"encryptionConfiguration": {"encryptionType": "AES256"}}),
        (
            {"encryption_type": "KMS", "kms_key": "alias/a"},
            {"encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "alias/a"}},
        ),
        (
            {"tag_mutability": "MUTABLE_WITH_EXCLUSION", "exclusion_filters": ["v*"]},
            {
                "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
                "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "v*"}],
            },
        ),
    ],
)
def test_arguments_of_a_repository(change: dict[str, Any], expected: dict[str, Any]) -> None:
    assert EcrSettings.parse({**NOTHING, **change}).get_arguments() == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tag_mutability": "IMMUTABLE_WITH_EXCLUSION"}, "Set both or neither"),
        ({"tag_mutability": "IMMUTABLE", "exclusion_filters": ["a"]}, "Set both or neither"),
        ({"tag_mutability": "MUTABLE_WITH_EXCLUSION", "exclusion_filters": ["a b"]}, "'a b' is malformed"),
        ({"tag_mutability": "MUTABLE_WITH_EXCLUSION", "exclusion_filters": list("abcdef")}, "more than 5"),
        ({"kms_key": "k"}, "kms_key needs the encryption_type KMS"),
        ({"kms_key": "k", "encryption_type": "AES256"}, "kms_key needs the encryption_type KMS"),
        ({"create_repository": False, "tag_mutability": "IMMUTABLE"}, "Set create_repository"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ImageError, match=re.escape(expected)):
        EcrSettings.parse({**NOTHING, **change})
