# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each reading beside the clusters is made only when an option or a candidate needs it, and then once."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import rds
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import Wanted
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.things import NOW, PREFIX, YES

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
    """Answers every reading with nothing but clusters, and counts."""

    def __init__(self, clusters: list[dict[str, Any]]) -> None:
        self.clusters = clusters
        self.calls: Counter[str] = Counter()

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        def answer(**asked: Any) -> dict[str, Any]:
            self.calls[method] += 1
            return {"DBClusters": self.clusters} if method == CLUSTERS else {}

        return answer


MEMBERS = {"DBClusterMembers": [{"DBInstanceIdentifier": "orders-1"}]}


@pytest.mark.parametrize(
    ("found", "wanted", "calls"),
    [
        (None, Wanted(), {CLUSTERS: 1}),
        (cluster(tags={}), Wanted(), {CLUSTERS: 1}),
        # Off already, held, not stoppable, not available yet: nothing else could change that.
        (cluster(Status="stopped"), Wanted(finish_maintenance=True, sweep_policy="auto_started_only"), {CLUSTERS: 1}),
        (cluster(Status="starting"), Wanted(finish_maintenance=True, sweep_policy="auto_started_only"), {CLUSTERS: 1}),
        (cluster(EngineMode="serverless"), Wanted(sweep_policy="auto_started_only"), {CLUSTERS: 1}),
        (cluster(tags={**YES, "autostop-until": "2040-01-01"}), Wanted(finish_maintenance=True), {CLUSTERS: 1}),
        (cluster(), Wanted(exclude=("orders",)), {CLUSTERS: 1}),
        (cluster(Status="stopped", GlobalClusterIdentifier="g"), Wanted(), {CLUSTERS: 1}),
        # It would be stopped.
        (cluster(), Wanted(), CANDIDATE),
        (cluster(), Wanted(sweep_policy="auto_started_only"), {**CANDIDATE, EVENTS: 1}),
        (cluster(GlobalClusterIdentifier="g"), Wanted(), {**CANDIDATE, GLOBAL: 1}),
        # A tag may stand on an instance only where there is one, and the cluster does not say it already.
        (cluster(**MEMBERS), Wanted(), CANDIDATE),
        (cluster(Status="stopped", **MEMBERS), Wanted(), {CLUSTERS: 1}),
        (cluster(tags={}, **MEMBERS), Wanted(), {CLUSTERS: 1, INSTANCES: 1}),
        (cluster(tags={}, **MEMBERS), Wanted(exclude=("orders",)), {CLUSTERS: 1}),
        (cluster(tags={}, **MEMBERS), Wanted(clusters=("other",)), {CLUSTERS: 1}),
        (cluster(Status="stopped", **MEMBERS), Wanted(migrate_tags=True), {CLUSTERS: 1, INSTANCES: 1}),
        (cluster(Status="stopped"), Wanted(include_instances=True), {CLUSTERS: 1, INSTANCES: 1}),
    ],
)
def test_what_is_read(found: Any, wanted: Wanted, calls: dict[str, int]) -> None:
    client = Client([found] if found else [])
    rds.observe(client, wanted, "eu-central-1", NOW)
    assert client.calls == calls
