# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of an image pull read: one snapshot of a cluster and of the network, roles and registries behind it.

A part that could not be read is named in C(Snapshot.unreadable), with the reason. A check that needs it is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

PolicyDocument = Mapping[str, Any]


# --- Security groups and network ACLs.


@dataclass(frozen=True)
class SecurityGroupRule:
    """One permission of a security group. C(protocol): C(-1) is every protocol; without ports, every port."""

    protocol: str
    from_port: Optional[int] = None
    to_port: Optional[int] = None
    cidrs: tuple[str, ...] = ()
    prefix_lists: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecurityGroup:
    id: str
    ingress: tuple[SecurityGroupRule, ...] = ()
    egress: tuple[SecurityGroupRule, ...] = ()


@dataclass(frozen=True)
class AclEntry:
    """An entry of a network ACL. The lowest number that matches decides; without ports, every port."""

    number: int
    egress: bool
    allow: bool
    cidr: str
    protocol: str = "-1"
    from_port: Optional[int] = None
    to_port: Optional[int] = None


@dataclass(frozen=True)
class NetworkAcl:
    id: str
    subnet_ids: tuple[str, ...] = ()
    entries: tuple[AclEntry, ...] = ()


@dataclass(frozen=True)
class PrefixList:
    """A prefix list. C(cidrs) is None where its entries could not be read."""

    id: str
    name: str = ""
    cidrs: Optional[tuple[str, ...]] = ()


# --- Routes and gateways.


@dataclass(frozen=True)
class Route:
    """A route. C(destination): a CIDR, or the id of a prefix list. C(target): the id of what it leads to."""

    destination: str
    target: str
    state: str = "active"

    def __str__(self) -> str:
        return f"{self.destination} to {self.target}{'' if self.state == 'active' else f' ({self.state})'}"


@dataclass(frozen=True)
class RouteTable:
    id: str
    vpc_id: str
    main: bool = False
    subnet_ids: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class NatGateway:
    """A NAT gateway. C(availability_mode): C(zonal), or C(regional) without a subnet of its own."""

    id: str
    vpc_id: str
    subnet_id: str = ""
    state: str = "available"
    connectivity: str = "public"
    availability_mode: str = "zonal"
    route_table_id: str = ""
    public_ips: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class InternetGateway:
    """An internet gateway, or an egress-only one. C(vpc_ids): those to which it is attached."""

    id: str
    vpc_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlockPublicAccess:
    """VPC Block Public Access of the region. C(exclusions): by the id of a VPC or a subnet, the mode."""

    mode: str = "off"
    exclusions: Mapping[str, str] = field(default_factory=dict)


# --- VPCs, subnets, endpoints.


@dataclass(frozen=True)
class Vpc:
    """C(dns_support), C(dns_hostnames) and C(resolvers) are None where they could not be read."""

    id: str
    cidrs: tuple[str, ...] = ()
    dns_support: Optional[bool] = True
    dns_hostnames: Optional[bool] = True
    resolvers: Optional[tuple[str, ...]] = ("AmazonProvidedDNS",)


@dataclass(frozen=True)
class VpcSubnet:
    id: str
    vpc_id: str
    cidr: str = ""
    zone: str = ""
    dns64: bool = False


@dataclass(frozen=True)
class NetworkInterface:
    """A network interface with its private addresses. C(public_ip): of its primary private address."""

    id: str
    subnet_id: str
    addresses: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()
    public_ip: str = ""


@dataclass(frozen=True)
class VpcEndpoint:
    """An endpoint. C(policy) is None where it has none, which allows everything.

    C(dns_names): the names that it serves, as EC2 lists them. C(inbound_resolver_only): private names are only for
    queries that come in by Route 53 Resolver, not for the VPC.
    """

    id: str
    vpc_id: str
    service: str
    type: str = "Interface"
    state: str = "available"
    policy: Optional[PolicyDocument] = None
    route_table_ids: tuple[str, ...] = ()
    subnet_ids: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()
    interface_ids: tuple[str, ...] = ()
    private_dns: bool = True
    inbound_resolver_only: bool = False
    ip_type: str = "ipv4"
    dns_names: tuple[str, ...] = ()
    region: str = ""


@dataclass(frozen=True)
class Network:
    """The VPCs of the nodes. Each mapping is by id."""

    vpcs: Mapping[str, Vpc] = field(default_factory=dict)
    subnets: Mapping[str, VpcSubnet] = field(default_factory=dict)
    route_tables: tuple[RouteTable, ...] = ()
    network_acls: tuple[NetworkAcl, ...] = ()
    security_groups: Mapping[str, SecurityGroup] = field(default_factory=dict)
    prefix_lists: Mapping[str, PrefixList] = field(default_factory=dict)
    nat_gateways: Mapping[str, NatGateway] = field(default_factory=dict)
    internet_gateways: Mapping[str, InternetGateway] = field(default_factory=dict)
    egress_only_gateways: Mapping[str, InternetGateway] = field(default_factory=dict)
    endpoints: tuple[VpcEndpoint, ...] = ()
    interfaces: Mapping[str, NetworkInterface] = field(default_factory=dict)
    public_access: BlockPublicAccess = BlockPublicAccess()

    def get_route_table(self, subnet_id: str) -> Optional[RouteTable]:
        """The table that is associated with a subnet, else the main one (docs/facts/pull.md#order-of-a-pull)."""
        for table in self.route_tables:
            if subnet_id in table.subnet_ids:
                return table
        subnet = self.subnets.get(subnet_id)
        mains = [table for table in self.route_tables if table.main and subnet and table.vpc_id == subnet.vpc_id]
        return mains[0] if mains else None

    def get_network_acl(self, subnet_id: str) -> Optional[NetworkAcl]:
        return next((acl for acl in self.network_acls if subnet_id in acl.subnet_ids), None)


# --- Roles and registries.


@dataclass(frozen=True)
class NodeRole:
    """A node role with its policies by name. C(unreadable): why they could not be read."""

    arn: str
    policies: tuple[tuple[str, PolicyDocument], ...] = ()
    boundary: Optional[PolicyDocument] = None
    unreadable: str = ""

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


@dataclass(frozen=True)
class EcrRepository:
    """A repository. C(policy) is None without one. C(images): by tag or digest, the status; None: no such image."""

    name: str
    policy: Optional[PolicyDocument] = None
    images: Mapping[str, Optional[str]] = field(default_factory=dict)
    unreadable: str = ""
    images_unreadable: str = ""


@dataclass(frozen=True)
class PullThroughRule:
    prefix: str
    upstream: str
    has_credentials: bool = False


@dataclass(frozen=True)
class EcrRegistry:
    """A private registry. C(unreadable): by the name of a part (C(repositories), C(policy), C(rules)), the reason."""

    account: str
    region: str
    repositories: Mapping[str, EcrRepository] = field(default_factory=dict)
    policy: Optional[PolicyDocument] = None
    rules: tuple[PullThroughRule, ...] = ()
    unreadable: Mapping[str, str] = field(default_factory=dict)


# --- The cluster.


@dataclass(frozen=True)
class ClusterNode:
    """A node of the cluster. C(instance_id) is empty where no EC2 instance is behind it."""

    name: str
    instance_id: str = ""
    provider_id: str = ""
    architecture: str = ""
    disk_pressure: bool = False


@dataclass(frozen=True)
class NodeInstance:
    """The EC2 instance of a node. C(interface): the primary one."""

    id: str
    vpc_id: str
    interface: NetworkInterface
    ipv6_addresses: tuple[str, ...] = ()
    profile_arn: str = ""


@dataclass(frozen=True)
class PullSecret:
    """A pull secret. C(hosts): those that its document names; None where the document is malformed."""

    name: str
    hosts: Optional[tuple[str, ...]] = ()


@dataclass(frozen=True)
class PullRequest:
    """One image that a node has to pull: for a container of a pod, or planned without a pod.

    C(messages): what the kubelet reported, the newest first. C(waiting_reason): of the container's status.
    C(subnet_id), C(group_ids), C(role_arn): where a plan names a subnet instead of a node.
    """

    image: str
    namespace: str = ""
    pod: str = ""
    container: str = ""
    node: str = ""
    pull_policy: str = ""
    waiting_reason: str = ""
    messages: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    service_account: str = ""
    subnet_id: str = ""
    group_ids: tuple[str, ...] = ()
    role_arn: str = ""

    @property
    def is_planned(self) -> bool:
        return not self.pod

    @property
    def name(self) -> str:
        if self.pod:
            return f"{self.namespace}/{self.pod}: {self.container}"
        return f"{self.image} from {self.node or self.subnet_id}"


@dataclass(frozen=True)
class Snapshot:
    """Everything that the checks read.

    C(unreadable): by the name of a part, why it could not be read. C(roles): by the ARN of an instance profile, and by
    the ARN of a role. C(registries): by account and region. C(secrets): by namespace; None where nothing was read.
    """

    region: str
    account: str = ""
    nodes: Mapping[str, ClusterNode] = field(default_factory=dict)
    instances: Mapping[str, NodeInstance] = field(default_factory=dict)
    network: Network = field(default_factory=Network)
    roles: Mapping[str, NodeRole] = field(default_factory=dict)
    registries: Mapping[tuple[str, str], EcrRegistry] = field(default_factory=dict)
    secrets: Optional[Mapping[str, tuple[PullSecret, ...]]] = None
    service_account_secrets: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def get_unreadable_reason(self, *parts: str) -> str:
        """Why one of these parts could not be read; empty where all were."""
        return next((self.unreadable[part] for part in parts if part in self.unreadable), "")
