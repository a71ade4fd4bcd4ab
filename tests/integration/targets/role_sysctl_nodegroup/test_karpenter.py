# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rendered EC2NodeClass on the real API server, with Karpenter's own definition of the resource."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from integration.go_modules import read_module_file
from integration.targets.eks_node_drain.kit import wait_for
from integration.targets.eks_sysctl_nodegroup.rendered import FAMILIES, KARPENTER, OTHERS, rendered
from testbed.control_plane import ApiError
from testbed.eks import Cluster

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NODE_CLASSES = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"


@pytest.fixture
def karpenter(cluster: Cluster) -> Iterator[Cluster]:
    definition = yaml.safe_load(read_module_file(*KARPENTER))
    name = definition["metadata"]["name"]
    cluster.api.post(DEFINITIONS, definition)
    conditions = f"{DEFINITIONS}/{name}"
    wait_for(
        lambda: any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in cluster.api.get(conditions).get("status", {}).get("conditions") or []
        ),
        "the definition",
    )
    yield cluster
    cluster.api.delete(conditions)


@pytest.mark.full
def test_the_api_server_accepts_the_node_class(karpenter: Cluster) -> None:
    strict = f"{NODE_CLASSES}?fieldValidation=Strict&dryRun=All"
    for family in FAMILIES:
        document: dict[str, Any] = yaml.safe_load(rendered(family, own=False)["karpenter_ec2nodeclass"])
        document["spec"] |= OTHERS
        karpenter.api.post(strict, document)
        document["spec"]["allowedUnsafeSysctls"] = []
        with pytest.raises(ApiError, match="unknown field"):
            karpenter.api.post(strict, document)
