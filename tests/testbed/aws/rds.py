# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDS: the stops that RDS refuses and moto allows, and paging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue, RDSClientError
from moto.rds.models import RDSBackend, rds_backends
from moto.rds.responses import RDSResponse

from .rules import rule

LIMITS = "docs/facts/autostop.md#databases-that-aws-cannot-stop; the refusal's message is the test bed's"


@rule(
    RDSBackend,
    "stop_db_instance",
    fact="Members of an Aurora cluster cannot be stopped alone: InvalidParameterCombination, 'not eligible for "
    "stopping and starting' (docs/facts/autostop.md#databases-that-aws-cannot-stop)",
)
def aurora_members_are_not_stopped(
    plain: Callable[..., Any], backend: RDSBackend, db_instance_identifier: str, *args: Any, **kwargs: Any
) -> Any:
    instance = backend.describe_db_instances(db_instance_identifier)[0]
    if instance.engine.startswith("aurora"):
        raise InvalidParameterCombination(f"{instance.engine} DB instances are not eligible for stopping and starting.")
    return plain(backend, db_instance_identifier, *args, **kwargs)


@rule(
    RDSBackend,
    "stop_db_instance",
    fact="Read replicas, their sources and SQL Server with Multi-AZ cannot be stopped (RDS user guide on stopping an "
    "instance; docs/facts/autostop.md#databases-that-aws-cannot-stop); the refusal's message is the test bed's",
)
def replicas_and_mirrors_are_not_stopped(
    plain: Callable[..., Any], backend: RDSBackend, db_instance_identifier: str, *args: Any, **kwargs: Any
) -> Any:
    instance = backend.describe_db_instances(db_instance_identifier)[0]
    if instance.is_replica:
        raise RDSClientError("InvalidDBInstanceState", "Cannot stop or start a read replica instance")
    if instance.replicas:
        raise RDSClientError("InvalidDBInstanceState", "Cannot stop or start an instance that has a read replica")
    if instance.multi_az and instance.engine.startswith("sqlserver"):
        raise InvalidParameterCombination("SQL Server Multi-AZ DB instances are not eligible for stopping and starting")
    return plain(backend, db_instance_identifier, *args, **kwargs)


def refused(message: str) -> RDSClientError:
    return RDSClientError("InvalidDBClusterStateFault", message)


@rule(RDSBackend, "stop_db_cluster", fact=f"Members of a global database cannot be stopped, a sole one can: {LIMITS}")
def global_members_are_not_stopped(plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
    cluster = backend.clusters.get(cluster_identifier)
    name = cluster.global_cluster_identifier if cluster else None
    if name and global_members(backend, name) > 1:
        raise refused(f"Cluster {cluster_identifier} is part of global cluster {name}, and cannot be stopped.")
    return plain(backend, cluster_identifier)


def global_members(backend: RDSBackend, name: str) -> int:
    """moto keeps global clusters in the region that created them."""
    regions = rds_backends[backend.account_id].values()
    return max(
        (
            len(region_backend.global_clusters[name].members)
            for region_backend in regions
            if name in region_backend.global_clusters
        ),
        default=0,
    )


@rule(RDSBackend, "stop_db_cluster", fact=f"Clusters that replicate to or from another cannot be stopped: {LIMITS}")
def replicating_clusters_are_not_stopped(
    plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str
) -> Any:
    cluster = backend.clusters.get(cluster_identifier)
    if cluster and cluster.read_replica_identifiers:
        raise refused(f"Cluster {cluster_identifier} has a cross-region read replica, and cannot be stopped.")
    if cluster and cluster.replication_source_identifier:
        raise refused(f"Cluster {cluster_identifier} is a read replica, and cannot be stopped.")
    return plain(backend, cluster_identifier)


@rule(RDSBackend, "stop_db_cluster", fact=f"Members of a blue/green deployment cannot be stopped: {LIMITS}")
def blue_green_members_are_not_stopped(plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
    cluster = backend.clusters.get(cluster_identifier)
    members = {
        arn for deployment in backend.blue_green_deployments.values() for arn in (deployment.source, deployment.target)
    }
    if cluster and cluster.db_cluster_arn in members:
        raise refused(f"Cluster {cluster_identifier} is part of a blue/green deployment, and cannot be stopped.")
    return plain(backend, cluster_identifier)


@rule(RDSBackend, "stop_db_cluster", fact=f"Serverless v1 cannot be stopped, v2 can: {LIMITS}")
def serverless_v1_is_not_stopped(plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
    cluster = backend.clusters.get(cluster_identifier)
    if cluster and cluster.engine_mode == "serverless":
        raise refused(f"Cluster {cluster_identifier} has engine mode serverless, and cannot be stopped.")
    return plain(backend, cluster_identifier)


@rule(
    RDSBackend, "stop_db_cluster", fact=f"Multi-master, and parallel query on old versions, cannot be stopped: {LIMITS}"
)
def special_engine_modes_are_not_stopped(
    plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str
) -> Any:
    cluster = backend.clusters.get(cluster_identifier)
    if cluster and cluster.engine_mode == "multimaster":
        raise refused(f"Cluster {cluster_identifier} is a multi-master cluster, and cannot be stopped.")
    old = ("aurora.1.1", "aurora.1.20", "aurora.1.21", "aurora.1.22", *(f"aurora.2.0{n}" for n in range(9)))
    if cluster and cluster.engine_mode == "parallelquery" and any(version in cluster.engine_version for version in old):
        raise refused(f"Cluster {cluster_identifier} uses parallel query, and cannot be stopped on this version.")
    return plain(backend, cluster_identifier)


@rule(RDSBackend, "stop_db_cluster", fact=f"Multi-AZ DB clusters (mysql, postgres) cannot be stopped: {LIMITS}")
def multi_az_clusters_are_not_stopped(plain: Callable[..., Any], backend: RDSBackend, cluster_identifier: str) -> Any:
    cluster = backend.clusters.get(cluster_identifier)
    if cluster and cluster.engine in ("mysql", "postgres"):
        raise refused(f"Cluster {cluster_identifier} is a Multi-AZ DB cluster, and cannot be stopped.")
    return plain(backend, cluster_identifier)


@rule(
    RDSResponse,
    "describe_db_clusters",
    fact="DescribeDBClusters pages: MaxRecords is 20 to 100, 100 if not given, with a Marker (API reference)",
)
def clusters_come_in_pages(plain: Callable[..., Any], response: RDSResponse) -> Any:
    return paged(plain, response)


@rule(
    RDSResponse,
    "describe_global_clusters",
    fact="DescribeGlobalClusters pages: MaxRecords is 20 to 100, 100 if not given, with a Marker (API reference)",
)
def global_clusters_come_in_pages(plain: Callable[..., Any], response: RDSResponse) -> Any:
    return paged(plain, response)


@rule(
    RDSResponse,
    "describe_events",
    fact="DescribeEvents pages: MaxRecords is 20 to 100, 100 if not given, with a Marker (API reference)",
)
def events_come_in_pages(plain: Callable[..., Any], response: RDSResponse) -> Any:
    return paged(plain, response)


@rule(
    RDSBackend,
    "describe_blue_green_deployments",
    fact="DescribeBlueGreenDeployments takes MaxRecords and Marker (API reference); moto ends with an error of its own",
)
def blue_green_deployments_come_in_pages(
    plain: Callable[..., Any], backend: RDSBackend, *args: Any, **kwargs: Any
) -> Any:
    return plain(
        backend, *args, **{key: value for key, value in kwargs.items() if key not in ("max_records", "marker")}
    )


def paged(plain: Callable[..., Any], response: RDSResponse) -> ActionResult:
    return page(plain(response).result, response)


def page(everything: dict[str, Any], response: RDSResponse) -> ActionResult:
    """Return a page of the response's only list. The marker is the position of the next page."""
    requested = response.params.get("MaxRecords")
    if requested is not None and not 20 <= int(requested) <= 100:
        raise InvalidParameterValue(f"Invalid value {requested} for MaxRecords. Must be between 20 and 100")
    marker = response.params.get("Marker")
    if marker and not str(marker).startswith("page-"):
        raise InvalidParameterValue(f"Invalid value {marker} for Marker.")
    begin = int(str(marker).removeprefix("page-")) if marker else 0
    end = begin + int(requested or 100)
    ((key, entries),) = everything.items()
    more = {"Marker": f"page-{end}"} if end < len(entries) else {}
    return ActionResult({key: list(entries)[begin:end], **more})
