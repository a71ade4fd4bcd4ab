# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each reading besides the clusters is made only when an option or a candidate needs it, and only once."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import rds
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import NOW, PREFIX, YES

CLUSTERS, INSTANCES, EVENTS = "describe_db_clusters", "describe_db_instances", "describe_events"
BLUE_GREEN, MAINTENANCE = "describe_blue_green_deployments", "describe_pending_maintenance_actions"
GLOBAL = "describe_global_clusters"
CANDIDATE = {CLUSTERS: 1, BLUE_GREEN: 1, MAINTENANCE: 1}


def cluster(**changes: Any) -> dict[str, Any]:
    tags = changes.pop("tags", YES)
    return {
        "DBClusterArn": f"{PREFIX}:cluster:orders",
        "DBClusterIdentifier": "orders",
        "Engine": "aurora-mysql",
        "Status": "available",
        "TagList": [{"Key": key, "Value": value} for key, value in tags.items()],
        **changes,
    }


class Client:
    """Returns clusters and nothing else, and counts the calls."""

    def __init__(self, clusters: list[dict[str, Any]]) -> None:
        self.clusters = clusters
        self.calls: Counter[str] = Counter()

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        def respond(**arguments: Any) -> dict[str, Any]:
            self.calls[method] += 1
            return {"DBClusters": self.clusters} if method == CLUSTERS else {}

        return respond


MEMBERS = {"DBClusterMembers": [{"DBInstanceIdentifier": "orders-1"}]}


@pytest.mark.parametrize(
    ("found", "options", "calls"),
    [
        (None, AutostopOptions(), {CLUSTERS: 1}),
        (cluster(tags={}), AutostopOptions(), {CLUSTERS: 1}),
        # Stopped, held, ineligible, not available yet: no other reading could change that.
        (
            cluster(Status="stopped"),
            AutostopOptions(finish_maintenance=True, sweep_policy="auto_started_only"),
            {CLUSTERS: 1},
        ),
        (
            cluster(Status="starting"),
            AutostopOptions(finish_maintenance=True, sweep_policy="auto_started_only"),
            {CLUSTERS: 1},
        ),
        (cluster(EngineMode="serverless"), AutostopOptions(sweep_policy="auto_started_only"), {CLUSTERS: 1}),
        (
            cluster(tags={**YES, "autostop-until": "2040-01-01"}),
            AutostopOptions(finish_maintenance=True),
            {CLUSTERS: 1},
        ),
        (cluster(), AutostopOptions(exclude=("orders",)), {CLUSTERS: 1}),
        (cluster(Status="stopped", GlobalClusterIdentifier="g"), AutostopOptions(), {CLUSTERS: 1}),
        # It would be stopped.
        (cluster(), AutostopOptions(), CANDIDATE),
        (cluster(), AutostopOptions(sweep_policy="auto_started_only"), {**CANDIDATE, EVENTS: 1}),
        (cluster(GlobalClusterIdentifier="g"), AutostopOptions(), {**CANDIDATE, GLOBAL: 1}),
        # A tag may be on an instance only if the cluster has instances and no tag itself.
        (cluster(**MEMBERS), AutostopOptions(), CANDIDATE),
        (cluster(Status="stopped", **MEMBERS), AutostopOptions(), {CLUSTERS: 1}),
        (cluster(tags={}, **MEMBERS), AutostopOptions(), {CLUSTERS: 1, INSTANCES: 1}),
        (cluster(tags={}, **MEMBERS), AutostopOptions(exclude=("orders",)), {CLUSTERS: 1}),
        (cluster(tags={}, **MEMBERS), AutostopOptions(clusters=("other",)), {CLUSTERS: 1}),
        (cluster(Status="stopped", **MEMBERS), AutostopOptions(migrate_tags=True), {CLUSTERS: 1, INSTANCES: 1}),
        (cluster(Status="stopped"), AutostopOptions(include_instances=True), {CLUSTERS: 1, INSTANCES: 1}),
    ],
)
def test_what_is_read(found: Any, options: AutostopOptions, calls: dict[str, int]) -> None:
    client = Client([found] if found else [])
    rds.observe(client, options, "eu-central-1", NOW)
    assert client.calls == calls
