# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rendered texts against the schemas of eksctl and Karpenter."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from integration.go_modules import read_module_file
from integration.targets.eks_sysctl_nodegroup.rendered import EKSCTL, FAMILIES, KARPENTER, OTHERS, rendered
from jsonschema import Draft7Validator


def list_problems(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    return [f"{list(error.path)}: {error.message}" for error in Draft7Validator(schema).iter_errors(document)]


@pytest.fixture(scope="module")
def eksctl() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_module_file(*EKSCTL))
    return found


@pytest.fixture(scope="module")
def node_class() -> dict[str, Any]:
    """The schema of EC2NodeClass that refuses fields that it does not know, as the API server does with Strict."""
    versions = yaml.safe_load(read_module_file(*KARPENTER))["spec"]["versions"]
    (schema,) = [version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"]
    spec: dict[str, Any] = make_strict(schema["properties"]["spec"])
    return spec


def make_strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [make_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: make_strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        strict["additionalProperties"] = False
    return strict


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_eksctls_schema_accepts_the_cluster_config(eksctl: dict[str, Any], family: str, own: bool) -> None:
    document = yaml.safe_load(rendered(family, own)["eksctl_cluster_config"])
    assert list_problems(eksctl, document) == []
    document["managedNodeGroups"][0]["allowedUnsafeSysctls"] = []
    assert list_problems(eksctl, document) != []


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_karpenters_schema_accepts_the_node_class(node_class: dict[str, Any], family: str, own: bool) -> None:
    result = rendered(family, own)
    document = yaml.safe_load(result["karpenter_ec2nodeclass"])
    assert (document["apiVersion"], document["kind"]) == ("karpenter.k8s.aws/v1", "EC2NodeClass")
    assert document["spec"]["userData"] == result["user_data"]
    assert list_problems(node_class, {**document["spec"], **OTHERS}) == []
    assert list_problems(node_class, {**document["spec"], **OTHERS, "allowedUnsafeSysctls": []}) != []
