# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node groups as DescribeNodegroup describes them, for tests of the plan."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.model import (
    TAG_CLUSTER,
    TAG_GENERATION,
    TAG_NAME,
    ClusterConfig,
    LaunchTemplate,
    NodeGroup,
    SysctlNodegroupOptions,
)

NEEDS_TOMLLIB = pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is in Python 3.11 and newer")
UNSAFE = "net.core.somaxconn"
CLUSTER = ClusterConfig("prod", "1.34", "https://ABC", "Q0E=", "172.20.0.0/16", "sg-cluster")


def make_options(*sysctls: str, **more: Any) -> SysctlNodegroupOptions:
    return SysctlNodegroupOptions(**{"cluster": "prod", "name": "workers", "sysctls": sysctls or (UNSAFE,), **more})


def description(name: str = "workers", **more: Any) -> dict[str, Any]:
    return {
        "nodegroupName": name,
        "nodegroupArn": f"arn:aws:eks:eu-central-1:123456789012:nodegroup/prod/{name}/1",
        "clusterName": "prod",
        "version": "1.34",
        "releaseVersion": "1.34.1-20261101",
        "createdAt": "2026-11-01",
        "modifiedAt": "2026-11-01",
        "status": "ACTIVE",
        "capacityType": "ON_DEMAND",
        "scalingConfig": {"minSize": 1, "maxSize": 5, "desiredSize": 3},
        "instanceTypes": ["m6i.large"],
        "subnets": ["subnet-a", "subnet-b"],
        "amiType": "AL2023_x86_64_STANDARD",
        "nodeRole": "arn:aws:iam::123456789012:role/nodes",
        "labels": {"team": "a"},
        "taints": [],
        "resources": {"autoScalingGroups": [{"name": f"eks-{name}"}]},
        "health": {"issues": []},
        "updateConfig": {"maxUnavailable": 1},
        "nodeRepairConfig": {"enabled": False},
        "tags": {"cost": "1"},
        **more,
    }


def group(name: str = "workers", template: LaunchTemplate | None = None, **more: Any) -> NodeGroup:
    if template:
        more.setdefault("launchTemplate", {"id": template.id, "name": template.name, "version": template.version})
    else:
        more.setdefault("diskSize", 20)
    return NodeGroup(description(name, **more), template)


def template(name: str = "theirs", ours: bool = False, version: str = "1", **data: Any) -> LaunchTemplate:
    tags = {TAG_NAME: "workers", TAG_CLUSTER: "prod"} if ours else {}
    return LaunchTemplate("lt-1", name, version, data, tags, "1")


def generation(name: str, number: int, made: LaunchTemplate, **more: Any) -> NodeGroup:
    tags = {TAG_NAME: "workers", TAG_GENERATION: str(number), "cost": "1"}
    return group(name, made, tags=tags, **more)
