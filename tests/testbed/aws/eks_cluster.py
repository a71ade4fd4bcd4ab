# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS: clusters. The first cluster of the built version is real, where the bed has the programs. Any other cluster is
a record whose endpoint refuses connections."""

from __future__ import annotations

import base64
import contextlib
import copy
import secrets
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.eks.exceptions import InvalidParameterException, ResourceInUseException
from moto.eks.models import Cluster, EKSBackend, eks_backends
from moto.eks.responses import EKSResponse
from moto.eks.urls import response as dispatcher
from moto.eks.urls import url_paths

from .. import control_plane, paths, programs
from ..node import BedError
from . import eks_access
from .caller_identity import caller
from .clock import CLOCK
from .control import command
from .eks_life import begin_update, nodes_of
from .rules import rule

url_paths["{0}/cluster-versions$"] = dispatcher.dispatch

BUILT = programs.VERSION.rpartition(".")[0]
MODES = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")  # in the only order of changes that EKS allows
STARTING = threading.Lock()
AT_WORK = threading.Lock()  # on the control plane's processes


@dataclass(frozen=True)
class Version:
    """A Kubernetes version, by the release calendar of the EKS user guide."""

    patch: str
    released: datetime
    standard_until: datetime
    extended_until: datetime

    def status(self, now: datetime) -> str:
        if now < self.standard_until:
            return "standard-support"
        return "extended-support" if now < self.extended_until else "unsupported"


def _version(patch: str, *days: tuple[int, int, int]) -> Version:
    released, standard, extended = (datetime(*day, tzinfo=timezone.utc) for day in days)
    return Version(patch, released, standard, extended)


VERSIONS = {
    "1.29": _version("1.29.15", (2024, 1, 23), (2025, 3, 23), (2026, 3, 23)),
    "1.30": _version("1.30.14", (2024, 5, 23), (2025, 7, 23), (2026, 7, 23)),
    "1.31": _version("1.31.14", (2024, 9, 26), (2025, 11, 26), (2026, 11, 26)),
    "1.32": _version("1.32.11", (2025, 1, 23), (2026, 3, 23), (2027, 3, 23)),
    "1.33": _version("1.33.8", (2025, 5, 29), (2026, 7, 29), (2027, 7, 29)),
    "1.34": _version(programs.VERSION, (2025, 10, 2), (2026, 12, 2), (2027, 12, 2)),
    "1.35": _version("1.35.1", (2026, 1, 27), (2027, 3, 27), (2028, 3, 27)),
}


def issuer(region: str) -> str:
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://oidc.eks.{region}.{suffix}/id/{secrets.token_hex(16).upper()}"


def refusing_endpoint(region: str) -> str:
    """Return an address of the bed where nothing listens; elsewhere an unused name of EKS's form."""
    if control_plane.available():
        return f"https://{paths.RECORDS}"
    return f"https://{secrets.token_hex(16).upper()}.gr7.{region}.eks.amazonaws.com"


@rule(
    EKSBackend,
    "create_cluster",
    fact="A cluster has a version that EKS offers, an issuer and a security group of its own (EKS API reference); moto "
    "takes any version, and all its clusters share one issuer (docs/facts/irsa.md#moto-differs)",
)
def clusters_are_of_their_own(plain: Callable[..., Any], backend: EKSBackend, *args: Any, **params: Any) -> Cluster:
    version = params.get("version") or BUILT
    if version not in VERSIONS:
        raise InvalidParameterException(message=f"unsupported Kubernetes version {version}")
    cluster: Cluster = plain(backend, *args, **{**params, "version": version})
    cluster.created_at = CLOCK.now()
    cluster.identity = {"oidc": {"issuer": issuer(backend.region_name)}}
    cluster.endpoint = refusing_endpoint(backend.region_name)
    cluster.certificate_authority = {"data": base64.b64encode(b"the CA of a cluster that is a record").decode()}
    cluster.platformVersion = "eks.9"
    cluster.testbed_live = False
    cluster.testbed_access = {}
    cluster.access_config = {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True}
    cluster.upgrade_policy = {"supportType": "EXTENDED"}
    cluster.kubernetes_network_config = {"ipFamily": "ipv4", "serviceIpv4Cidr": "10.100.0.0/16"} | (
        params.get("kubernetes_network_config") or {}
    )
    cluster.resources_vpc_config = network(backend, cluster)
    return cluster


def network(backend: EKSBackend, cluster: Cluster) -> dict[str, Any]:
    """Add what EKS adds: the VPC of the subnets, and in it a security group for the control plane and the nodes."""
    shown = {
        "securityGroupIds": [],
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
        "publicAccessCidrs": ["0.0.0.0/0"],
        **cluster.resources_vpc_config,
    }
    ec2 = ec2_backends[backend.account_id][backend.region_name]
    known = {subnet.id: subnet for subnet in ec2.describe_subnets()}
    subnets = [known[subnet_id] for subnet_id in shown.get("subnetIds", []) if subnet_id in known]
    if not subnets:
        return shown
    group = ec2.create_security_group(
        f"eks-cluster-sg-{cluster.name}-{secrets.randbelow(10**9)}",
        "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as any "
        "managed workloads.",
        subnets[0].vpc_id,
        {"aws:eks:cluster-name": cluster.name, f"kubernetes.io/cluster/{cluster.name}": "owned"},
    )
    ec2.authorize_security_group_ingress(group.id, "-1", "-1", "-1", [], source_groups=[{"GroupId": group.id}])
    return {**shown, "vpcId": subnets[0].vpc_id, "clusterSecurityGroupId": group.id}


def forget_network(backend: EKSBackend, cluster: Cluster) -> None:
    if group := cluster.resources_vpc_config.get("clusterSecurityGroupId"):
        with contextlib.suppress(EC2ClientError):  # deleted already, or still in use: then EKS leaves it behind
            ec2_backends[backend.account_id][backend.region_name].delete_security_group(group_id=group)


@rule(
    EKSResponse,
    "create_cluster",
    fact="A cluster is CREATING, without endpoint, CA and issuer, until it is ACTIVE (EKS API reference, examples); "
    "moto's is ACTIVE at once and forgets accessConfig",
)
def clusters_take_time_to_come(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    access = response._get_param("accessConfig") or {}
    mode = access.get("authenticationMode", "CONFIG_MAP")
    bootstrap = access.get("bootstrapClusterCreatorAdminPermissions", True)
    plain(response)
    backend = response.eks_backend
    cluster = backend.clusters[response._get_param("name")]
    cluster.access_config = {"authenticationMode": mode, "bootstrapClusterCreatorAdminPermissions": bootstrap}
    cluster.upgrade_policy = response._get_param("upgradePolicy") or cluster.upgrade_policy
    if bootstrap:
        creator = caller(response.current_account, response.region, response.headers.get("Authorization", ""))
        eks_access.admit_creator(cluster, eks_access.principal(creator))
    answer = creating(cluster)
    with STARTING:
        if control_plane.available() and cluster.version == BUILT and not any_live():
            begin(backend, cluster)
    return ActionResult({"cluster": answer})


def any_live() -> bool:
    regions = [backend for account in eks_backends.values() for backend in account.values()]
    return any(getattr(cluster, "testbed_live", False) for backend in regions for cluster in backend.clusters.values())


def creating(cluster: Cluster) -> Cluster:
    shown = copy.copy(cluster)
    shown.status = "CREATING"
    shown.endpoint = shown.identity = None
    shown.certificate_authority = {}
    return shown


def begin(backend: EKSBackend, cluster: Cluster) -> None:
    """Start the control plane. The record's status is CREATING until it responds."""
    cluster.status = "CREATING"
    cluster.testbed_live = True
    found = control_plane.Live(
        cluster.name,
        backend.region_name,
        backend.account_id,
        cluster.identity["oidc"]["issuer"],
        cluster.kubernetes_network_config["serviceIpv4Cidr"],
    )
    threading.Thread(target=_come, args=(backend, cluster, found), daemon=True).start()


def _come(backend: EKSBackend, cluster: Cluster, found: control_plane.Live) -> None:
    try:
        with AT_WORK:
            if backend.clusters.get(cluster.name) is not cluster:
                return  # the account was emptied meanwhile
            control_plane.start(found, eks_access.files(cluster, found))
            eks_access.sync_access(cluster)
    except (BedError, OSError, control_plane.ApiError) as error:
        print(f"testbed: cluster {found.name} does not come up: {error}", file=sys.stderr, flush=True)
        cluster.health = {"issues": [{"code": "InternalFailure", "message": str(error), "resourceIds": [found.name]}]}
        cluster.status = "FAILED"
        return
    cluster.endpoint = found.endpoint
    cluster.certificate_authority = {"data": base64.b64encode(found.ca.encode()).decode()}
    cluster.status = "ACTIVE"


@rule(
    EKSBackend,
    "describe_cluster",
    fact="A cluster is CREATING, without endpoint, CA and issuer, until it is ACTIVE (EKS API reference, examples)",
)
def clusters_under_way_show_little(plain: Callable[..., Any], backend: EKSBackend, name: str) -> Cluster:
    cluster: Cluster = plain(backend, name)
    return creating(cluster) if cluster.status == "CREATING" else cluster


@rule(EKSBackend, "delete_cluster", fact="A cluster is DELETING until its control plane is gone (EKS API reference)")
def clusters_take_time_to_go(plain: Callable[..., Any], backend: EKSBackend, name: str) -> Cluster:
    cluster = backend.clusters.get(name)
    if cluster is None or not cluster.testbed_live:
        gone: Cluster = copy.copy(plain(backend, name))
        gone.status = "DELETING"
        forget_network(backend, gone)
        return gone
    if cluster.nodegroups or cluster.fargate_profiles:
        plain(backend, name)  # refuses
    if cluster.status == "CREATING":
        raise ResourceInUseException(
            clusterName=name, nodegroupName=None, addonName=None, message="Cluster is CREATING"
        )
    if cluster.status != "DELETING":
        cluster.status = "DELETING"
        threading.Thread(target=_go, args=(plain, backend, name), daemon=True).start()
    return cluster


def _go(plain: Callable[..., Any], backend: EKSBackend, name: str) -> None:
    with AT_WORK:
        control_plane.stop()
        if name in backend.clusters:
            forget_network(backend, plain(backend, name))


@command("eks/forget")
def forget(region: str, name: str) -> None:
    """Remove a cluster with its groups and their instances in any state: for a cluster whose control plane is gone, so
    that no call could end its groups. The controller ends the processes of these instances."""
    backend = eks_backends[DEFAULT_ACCOUNT_ID][region]
    with AT_WORK:  # a cluster that is starting is removed after its start
        cluster = backend.clusters.pop(name)
        instances = [key for group in cluster.nodegroups.values() for key in nodes_of(group)]
        if instances:
            ec2_backends[backend.account_id][region].terminate_instances(instances)
        if cluster.testbed_live:
            control_plane.stop()
        forget_network(backend, cluster)


@rule(EKSBackend, "reset", fact="none: an empty account has no running cluster")
def no_cluster_outlives_its_account(plain: Callable[..., Any], backend: EKSBackend) -> None:
    if not any(getattr(cluster, "testbed_live", False) for cluster in backend.clusters.values()):
        plain(backend)
        return
    with AT_WORK:  # a cluster that is starting is removed after its start
        control_plane.stop()
        plain(backend)


@rule(
    EKSResponse,
    "describe_cluster_versions",
    new=True,
    fact="DescribeClusterVersions lists what EKS offers, with the days when support ends (EKS API reference, calendar)",
)
def versions_are_described(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    now = CLOCK.now()
    named = response.querystring.get("clusterVersions") or []
    requested_status = response._get_param("versionStatus") or response._get_param("status")
    everything = named or str(response._get_param("includeAll")).lower() == "true"
    default_only = str(response._get_param("defaultOnly")).lower() == "true"
    shown = []
    for name, version in sorted(VERSIONS.items(), reverse=True):
        status = version.status(now)
        if requested_status and requested_status.lower().replace("_", "-") != status:
            continue
        if (status == "unsupported" and not (everything or requested_status)) or (named and name not in named):
            continue
        if default_only and name != BUILT:
            continue
        shown.append(
            {
                "clusterVersion": name,
                "clusterType": "eks",
                "defaultPlatformVersion": "eks.9",
                "defaultVersion": name == BUILT,
                "releaseDate": version.released,
                "endOfStandardSupportDate": version.standard_until,
                "endOfExtendedSupportDate": version.extended_until,
                "status": status,
                "versionStatus": status.replace("-", "_").upper(),
                "kubernetesPatchVersion": version.patch,
            }
        )
    return ActionResult({"clusterVersions": shown})


@rule(
    EKSResponse,
    "update_cluster_config",
    fact="The authentication mode goes from CONFIG_MAP by API_AND_CONFIG_MAP to API, and never back (EKS user guide on "
    "access entries); moto forgets it, and answers with a cluster",
)
def modes_never_go_back(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    access = response._get_param("accessConfig")
    if not access:
        result: ActionResult = plain(response)
        return result
    backend = response.eks_backend
    cluster = backend.describe_cluster(unquote(response._get_param("name")))
    old, new = eks_access.mode(cluster), access["authenticationMode"]
    if new == old:
        raise InvalidParameterException(message=f"Cluster is already at the authentication mode {new}")
    if MODES.index(new) != MODES.index(old) + 1:
        raise InvalidParameterException(message=f"Unsupported authentication mode update from {old} to {new}")
    cluster.access_config = {**cluster.access_config, "authenticationMode": new}
    for entry in cluster.testbed_access.values():
        entry.hidden = False
    eks_access.sync_access(cluster)
    update = begin_update(backend, cluster.name, None, "AccessConfigUpdate", {"AuthenticationMode": new})
    update.succeed()
    return ActionResult({"update": update.answer})
