# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets as public reports and AWS's guides describe them: what is stopped, what is skipped, and what is reported.

Each case goes from RDS's responses to the module's result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import fleet, report, run
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AutostopOptions
from ansible_collections.daytwo.aws.plugins.module_utils._clock import Clock
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.responses import (
    Entry,
    Rds,
    RefusedError,
    cluster,
    instance,
    member,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.samples import PREFIX, YES

ELSEWHERE = "arn:aws:rds:us-west-2:123456789012:cluster:copy"
HERE = f"{PREFIX}:cluster:copy"
CLUSTER_STATE = "InvalidDBClusterStateFault"
INSTANCE_STATE = "InvalidDBInstanceState"


@pytest.fixture(autouse=True)
def errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError,))


@dataclass(frozen=True)
class Case:
    """C(items): the status of each result. C(reported), C(unreported): patterns over the whole result."""

    id: str
    rds: dict[str, Any]
    stops: Sequence[str] = ()
    items: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Optional[str]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    reported: str = ""
    unreported: str = "never matches anything"


def clusters(*entries: Entry, **more: Any) -> dict[str, Any]:
    return {"clusters": entries, **more}


def instances(*entries: Entry, **more: Any) -> dict[str, Any]:
    return {"instances": entries, **more}


def refused(code: str, message: str, *entries: Entry) -> dict[str, Any]:
    found = entries or (cluster(),)
    return clusters(*found, refusals={entry["DBClusterIdentifier"]: (code, message) for entry in found})


def refused_instance(code: str, message: str, **more: Any) -> dict[str, Any]:
    return instances(instance(**more), refusals={"alone": (code, message)})


INSTANCES = {"include_instances": True}
DONE, SKIPPED, PENDING, FAILED = (
    {"items": {"orders": status}, "stops": ["orders"] if status == "changed" else []}
    for status in ("changed", "skipped", "pending", "failed")
)


def kind(code: Optional[str], name: str = "orders") -> dict[str, Any]:
    return {"items": {name: "skipped" if code else "changed"}, "kinds": {name: code}, "stops": [] if code else [name]}


def global_cluster(name: str, *members: str) -> Entry:
    return {"GlobalClusterIdentifier": name, "GlobalClusterMembers": [{"DBClusterArn": arn} for arn in members]}


ENGINES = [
    Case("documentdb", clusters(cluster(Engine="docdb"), cluster("a")), ["a"], {"orders": "skipped", "a": "changed"}),
    Case("neptune", clusters(cluster(Engine="neptune")), **kind("neptune")),
    Case("documentdb-paused", clusters(cluster(Engine="docdb", Status="stopped")), items={"orders": "ok"}),
    Case("multi-az-postgres", clusters(cluster(Engine="postgres")), **kind("multi_az_cluster")),
    Case("multi-az-mysql", clusters(cluster(Engine="mysql", DBClusterInstanceClass="db.r6gd.large")), **SKIPPED),
    Case("a-later-engine", clusters(cluster(Engine="aurora-mariadb")), **kind("unknown_engine")),
    Case("no-engine-mode", clusters(cluster(EngineMode=None)), **DONE),
    Case("a-later-engine-mode", clusters(cluster(EngineMode="iopt")), **DONE),
    Case("serverless-v1", clusters(cluster(EngineMode="serverless", Capacity=0)), **kind("serverless_v1")),
    Case("global-mode-of-1.22", clusters(cluster(EngineMode="global")), **DONE),
    Case(
        "members-of-documentdb",
        clusters(cluster("d", {}, Engine="docdb", members=["d-1"]), instances=[member("d-1", "d", Engine="docdb")]),
        items={"d-1": "skipped"},
        kinds={"d-1": "cluster_member"},
        options=INSTANCES,
    ),
    Case(
        "member-of-multi-az",
        clusters(cluster("m", {}, Engine="mysql", members=["m-1"]), instances=[member("m-1", "m", Engine="mysql")]),
        items={"m-1": "skipped"},
        kinds={"m-1": "cluster_member"},
        options=INSTANCES,
    ),
]

PAUSE = {"ServerlessV2ScalingConfiguration": {"MinCapacity": 0.0, "MaxCapacity": 8.0, "SecondsUntilAutoPause": 900}}
FEATURES = [
    Case("auto-pause", clusters(cluster(**PAUSE)), **DONE, reported=r"pause by themselves after 900 idle seconds"),
    Case(
        "auto-pause-default",
        clusters(cluster(ServerlessV2ScalingConfiguration={"MinCapacity": 0, "MaxCapacity": 1})),
        **DONE,
        reported="after 300 idle seconds",
    ),
    Case(
        "auto-pause-beside-a-stopped-cluster",
        clusters(cluster(Status="stopped", **PAUSE)),
        items={"orders": "ok"},
        reported="pause by themselves",
    ),
    Case("auto-pause-without-tag", clusters(cluster(tags={}, **PAUSE)), unreported="pause by themselves"),
    Case(
        "no-auto-pause",
        clusters(cluster(ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 8})),
        **DONE,
        unreported="pause by themselves",
    ),
    Case("storage-change", clusters(cluster(Status="modifying", StorageType="aurora-iopt1")), **PENDING),
    Case("storage-optimization", clusters(cluster(Status="storage-optimization")), **PENDING),
    Case("pending-modifications", clusters(cluster(PendingModifiedValues={"EngineVersion": "8.0"})), **DONE),
    Case("activity-stream", clusters(cluster(ActivityStreamStatus="started", ActivityStreamMode="sync")), **DONE),
    Case("limitless", clusters(cluster(ClusterScalabilityType="limitless")), **DONE, reported="Limitless"),
    Case("backing-up", clusters(cluster(Status="backing-up")), **PENDING),
    Case("unknown-status", clusters(cluster(Status="hibernating")), **PENDING, reported="hibernating"),
    Case("a-status-of-instances", clusters(cluster(Status="incompatible-network")), **SKIPPED),
]

REPLICATION = [
    Case("replica-of-an-instance-here", clusters(cluster(ReplicationSourceIdentifier=f"{PREFIX}:db:old")), **DONE),
    Case(
        "replica-of-another-region",
        clusters(cluster(ReplicationSourceIdentifier=ELSEWHERE)),
        **DONE,
        reported="AWS does not document whether it can be stopped",
    ),
    Case("replicated-here", clusters(cluster(ReadReplicaIdentifiers=[HERE])), **DONE, reported="does not document"),
    Case("replicated-here-by-name", clusters(cluster(ReadReplicaIdentifiers=["copy"])), **DONE),
    Case("replicated-elsewhere", clusters(cluster(ReadReplicaIdentifiers=[ELSEWHERE])), **kind("cross_region_replica")),
    Case(
        "replicated-in-both",
        clusters(cluster(ReadReplicaIdentifiers=["copy", ELSEWHERE])),
        **kind("cross_region_replica"),
    ),
    Case(
        "replicated-in-china",
        clusters(
            {
                **cluster(ReadReplicaIdentifiers=["arn:aws-cn:rds:cn-northwest-1:123456789012:cluster:copy"]),
                "DBClusterArn": "arn:aws-cn:rds:cn-north-1:123456789012:cluster:orders",
            }
        ),
        **kind("cross_region_replica"),
    ),
    Case(
        "instance-and-its-replica",
        instances(
            instance("src", ReadReplicaDBInstanceIdentifiers=["rep"]),
            instance("rep", ReadReplicaSourceDBInstanceIdentifier="src"),
        ),
        items={"src": "skipped", "rep": "skipped"},
        options=INSTANCES,
    ),
    Case(
        "instance-that-a-cluster-replicates",
        instances(instance(ReadReplicaDBClusterIdentifiers=["dst"])),
        **kind("read_replica_source", "alone"),
        options=INSTANCES,
    ),
    Case(
        "two-global-members-and-a-sole-one",
        clusters(
            cluster("g", GlobalClusterIdentifier="two"),
            cluster("h", GlobalClusterIdentifier="one"),
            global_clusters=[global_cluster("two", "x", "y"), global_cluster("one", "z")],
        ),
        ["h"],
        {"g": "skipped", "h": "changed"},
    ),
    Case(
        "blue-and-green",
        clusters(
            cluster(),
            cluster("green"),
            deployments=[{"Source": f"{PREFIX}:cluster:orders", "Target": f"{PREFIX}:cluster:green"}],
        ),
        items={"orders": "skipped", "green": "skipped"},
        kinds={"orders": "blue_green", "green": "blue_green"},
    ),
]

ON_MEMBER = {"clusters": [cluster(tags={}, members=["m"])], "instances": [member("m", "orders")]}
TAGS = [
    Case(
        "tag-on-both",
        clusters(cluster(members=["m"]), instances=[member("m", "orders", Engine="aurora-postgresql")]),
        **DONE,
        options=INSTANCES,
    ),
    Case("tag-on-member", ON_MEMBER, **SKIPPED, reported="instance m of cluster orders"),
    *(
        Case(
            f"mismatch-on-member-{number}",
            clusters(cluster(tags={}, members=["m"]), instances=[member("m", "orders", tags)]),
            **SKIPPED,
            reported=r"instance m of cluster orders.*autostop=yes on the cluster",
            options=options,
        )
        for number, tags in enumerate(({"AutoStop": "yes"}, {"autostop": "Yes"}, {"auto stop": "TRUE"}))
        for options in ({}, INSTANCES, {"migrate_tags": True})
    ),
    Case(
        "mismatch-on-member-of-a-refusing-cluster",
        clusters(cluster(tags={"autostop": "no"}, members=["m"]), instances=[member("m", "orders", {"autostop": "Y"})]),
        **SKIPPED,
        reported="Its tag is autostop=no",
    ),
    *(
        Case(f"value-{value}", clusters(cluster(tags={"autostop": value})), **SKIPPED, reported="Correct the value")
        for value in (
            "Yes",
            "YES",
            "yes ",
            " yes",
            "true",
            "True",
            "TRUE",
            "1",
            "on",
            "y",
            "'yes'",
            '"yes"',
            "\uff59\uff45\uff53",
        )
    ),
    *(
        Case(
            f"key-{key}",
            clusters(cluster(tags={key: "yes"})),
            **SKIPPED,
            reported="Rename the key to autostop",
            unreported="tag_values",
        )
        for key in (
            "AutoStop",
            "AUTOSTOP",
            "auto-stop",
            "auto_stop",
            "Auto Stop",
            "autostop ",
            "auto:stop",
            "auto/stop",
        )
    ),
    Case(
        "key-and-value",
        clusters(cluster(tags={"Auto-Stop": "True"})),
        **SKIPPED,
        reported="Tag it autostop=yes instead",
        unreported="tag_values",
    ),
    Case("both-keys", clusters(cluster(tags={"AutoStop": "no", "autostop": "yes"})), **DONE),
    Case("key-that-says-no", clusters(cluster(tags={"AutoStop": "no"})), unreported='"name": "orders"'),
    Case("another-value", clusters(cluster(tags={"autostop": "nightly"})), **SKIPPED, unreported="tag_mismatch.: true"),
    Case(
        "two-holds",
        clusters(cluster(tags={**YES, "Autostop-Until": "2020-01-01", "autostop-until": "2999-01-01"})),
        **SKIPPED,
        reported="held running",
    ),
]

NAMES = [
    Case(
        "member-named",
        clusters(cluster("a", {}, members=["a-1"]), instances=[member("a-1", "a")]),
        items={"a-1": "skipped"},
        kinds={"a-1": "aurora_member"},
        options={"clusters": ("a-1",), **INSTANCES},
        reported="cluster a",
        unreported="no database that was read",
    ),
    Case(
        "member-named-without-instances",
        clusters(cluster("a", members=["a-1"]), instances=[member("a-1", "a", {})]),
        items={"a-1": "skipped"},
        options={"clusters": ("A-1",)},
        reported="Name cluster a",
    ),
    Case(
        "member-named-by-arn",
        clusters(cluster("a", members=["a-1"]), instances=[member("a-1", "a", {})]),
        items={"a-1": "skipped"},
        options={"clusters": (f"{PREFIX}:db:a-1",)},
        reported="Name cluster a",
    ),
    Case(
        "member-of-multi-az-named",
        clusters(cluster("m", Engine="mysql", members=["m-1"]), instances=[member("m-1", "m", Engine="mysql")]),
        items={"m-1": "skipped"},
        kinds={"m-1": "cluster_member"},
        options={"clusters": ("m-1",)},
    ),
    Case(
        "member-excluded",
        clusters(cluster("a", members=["a-1"])),
        ["a"],
        {"a": "changed"},
        options={"exclude": ("a-1",)},
        reported="exclude names 'a-1', which is an instance of cluster a",
    ),
    Case(
        "instance-named-and-not-included",
        instances(instance()),
        options={"clusters": ("alone",)},
        reported="include_instances: true",
    ),
]

REFUSALS = [
    Case(
        "read-replica-with-hyphen",
        refused_instance(INSTANCE_STATE, "Cannot stop or start a Read-Replica instance"),
        items={"alone": "skipped"},
        kinds={"alone": "read_replica"},
        options=INSTANCES,
    ),
    *(
        Case(f"instance: {message}", refused_instance(code, message), **kind(expected, "alone"), options=INSTANCES)
        for code, message, expected in (
            (INSTANCE_STATE, "Cannot stop or start a read replica instance", "read_replica"),
            (INSTANCE_STATE, "Cannot stop DB instance alone because it is a ReadReplica", "read_replica"),
            (INSTANCE_STATE, "Cannot stop or start an instance that has a read replica", "read_replica_source"),
            (INSTANCE_STATE, "DB instance alone is the source of one or more Read-Replicas", "read_replica_source"),
            (INSTANCE_STATE, "Cannot stop an instance with ReadReplicas", "read_replica_source"),
            ("InvalidParameterCombination", "SQL Server MultiAZ instances cannot be stopped", "sqlserver_multi_az"),
            ("InvalidParameterCombination", "sqlserver-ee Multi-AZ is not eligible for stopping", "sqlserver_multi_az"),
            ("InvalidParameterCombination", "aurora DB instances are not eligible for stopping", "aurora_member"),
            ("InvalidParameterCombination", "The DB instance is a member of a DB cluster", "aurora_member"),
            ("InvalidParameterCombination", "Stopping is not supported for RDS Custom for Oracle", "rds_custom"),
            (CLUSTER_STATE, "Instance is part of a Blue-Green Deployment", "blue_green"),
        )
    ),
    *(
        Case(f"cluster: {message}", refused(code, message), **kind(expected))
        for code, message, expected in (
            (CLUSTER_STATE, "DbCluster orders is part of a GlobalCluster", "global_member"),
            (CLUSTER_STATE, "This cluster is a member of a global-database.", "global_member"),
            (CLUSTER_STATE, "The cluster has a Cross-Region Read-Replica", "cross_region_replica"),
            (CLUSTER_STATE, "The cluster has cross region replicas", "cross_region_replica"),
            (CLUSTER_STATE, "Cluster orders is a cross-region read replica", "replication_target"),
            (CLUSTER_STATE, "The source DB cluster has read replicas", "replication_source"),
            (CLUSTER_STATE, "Cannot stop a ReadReplica cluster", "replication_target"),
            (CLUSTER_STATE, "Cluster is in a blue green deployment", "blue_green"),
            ("InvalidParameterCombination", "Aurora Serverless v1 clusters cannot be stopped", "serverless_v1"),
            ("InvalidParameterValue", "Cannot stop a MultiMaster cluster", "multi_master"),
            (CLUSTER_STATE, "Multi AZ DB Clusters cannot be stopped", "multi_az_cluster"),
            (CLUSTER_STATE, "Parallel-Query clusters cannot be stopped", "parallel_query"),
            (CLUSTER_STATE, "Stop is not supported while a zero-ETL integration exists", "not_eligible"),
            (CLUSTER_STATE, "The cluster has a database activity stream", "not_eligible"),
            ("InvalidGlobalClusterStateFault", "The global cluster has secondary clusters", "global_member"),
        )
    ),
    *(
        Case(f"status: {message}", refused(code, message), items={"orders": expected})
        for code, message, expected in (
            (CLUSTER_STATE, "DbCluster orders is in stopping state but expected it to be one of available.", "ok"),
            (CLUSTER_STATE, "Db cluster orders is in stopped state", "ok"),
            (CLUSTER_STATE, "DB cluster orders is already stopped", "ok"),
            (CLUSTER_STATE, "Cannot stop the cluster in the 'creating' state", "pending"),
            (CLUSTER_STATE, "The status of the cluster is backing-up.", "pending"),
            (CLUSTER_STATE, "Invalid cluster state: modifying", "pending"),
            (CLUSTER_STATE, "The DB cluster isn't in the available state.", "pending"),
            (CLUSTER_STATE, "Cluster not in Available status", "pending"),
            (CLUSTER_STATE, "The DB cluster is being modified", "pending"),
            (CLUSTER_STATE, "DbCluster orders is in deleting state", "skipped"),
            (INSTANCE_STATE, "DB instance orders-1 is in rebooting state", "pending"),
            (INSTANCE_STATE, "DB instance orders-1 is in stopped state", "pending"),
            ("InvalidDBShardGroupState", "The shard group is modifying.", "pending"),
            ("DBClusterNotFoundFault", "DBCluster orders not found.", "skipped"),
            (CLUSTER_STATE, "The cluster cannot be stopped.", "failed"),
            ("InternalFailure", "An internal error of the global database.", "failed"),
            ("AccessDenied", "User is not authorized to stop a read replica", "failed"),
        )
    ),
    *(
        # The name of a cluster has the words of a kind.
        Case(
            f"name: {name}",
            refused(CLUSTER_STATE, f"DbCluster {name} is in a mood", cluster(name)),
            items={name: "failed"},
            kinds={name: None},
        )
        for name in ("serverless-shop", "global-cluster", "blue-green", "limitless", "read-replica-2", "cross-region")
    ),
    Case(
        "a-cluster-named-replica",
        refused(CLUSTER_STATE, "DbCluster replica is a read replica", cluster("replica")),
        **kind("replication_target", "replica"),
    ),
]


def run_case(case: Case) -> tuple[Rds, dict[str, Any]]:
    client = Rds(**case.rds)
    options = AutostopOptions(**case.options)
    outcomes = [run.run_region(client, options, "eu-central-1", Clock())]
    return client, report.build_result(
        outcomes, unknown_name_warnings=fleet.get_unknown_name_warnings(options, outcomes)
    )


@pytest.mark.parametrize(
    "case", [*ENGINES, *FEATURES, *REPLICATION, *TAGS, *NAMES, *REFUSALS], ids=lambda case: case.id
)
def test_what_is_stopped_and_what_is_reported(case: Case) -> None:
    client, result = run_case(case)
    items = {item["name"]: item for item in result["clusters"]}
    text = json.dumps(result, ensure_ascii=False)
    assert {name: item["status"] for name, item in items.items()} == dict(case.items)
    assert client.stops == list(case.stops)
    assert {name: items[name]["ineligibility_reason"] for name in case.kinds} == dict(case.kinds)
    assert re.search(case.reported, text)
    assert not re.search(case.unreported, text)
    assert len({frozenset(item) for item in items.values()}) <= 1, "every item has the same keys"
    for name in case.rds.get("refusals", {}):
        assert case.rds["refusals"][name][1] in items[name]["reason"], "AWS's own message is in the reason"


@pytest.mark.parametrize(
    "case", [*ENGINES, *FEATURES, *REPLICATION, *TAGS, *NAMES, *REFUSALS], ids=lambda case: case.id
)
def test_every_reason_is_made_of_whole_sentences(case: Case) -> None:
    _client, result = run_case(case)
    for text in [*(item["reason"] for item in result["clusters"]), *result["lines"], result["msg"]]:
        assert re.search(r"[.!?][\"')]*$", text), text
        assert not re.search(r"(?<!\.)\.\.(?!\.)|\"\.\.|\. \.|  ", text), text
