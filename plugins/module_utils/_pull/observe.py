# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the snapshot that all pulls of a task share. Read only.

What cannot be read is recorded by its part, with the permission that is missing, and the rest is still read. Only
credentials that AWS does not accept at all end the task, as no other call can succeed with them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Optional, TypeVar

from .._aws_call import ApiError, call_api
from .._drain.kube import KubeError
from . import ec2, ecr, kubernetes
from .iam import NodeRoleReader
from .image import PulledImage
from .kubernetes import PodSelection
from .model import ClusterNode, Network, PrefixList, PullRequest, Snapshot, Vpc

Value = TypeVar("Value")
# (service, region): the region is None for that of the connection.
ClientFactory = Callable[[str, Optional[str]], Any]


class PullObserver:
    """Reads a C(Snapshot), part by part."""

    def __init__(self, get_client: ClientFactory, region: str, api: Any = None) -> None:
        self.get_client = get_client
        self.region = region
        self.api = api
        self.unreadable: dict[str, str] = {}

    def read(self, part: str, read_part: Callable[[], Value]) -> Optional[Value]:
        """A part; None where it cannot be read."""
        try:
            return read_part()
        except ApiError as error:
            if error.is_credential_error:
                raise
            self.unreadable[part] = error.explanation
        except KubeError as error:
            hint = "Allow these credentials to list them" if error.status == 403 else "Fix the cause, then run again"
            self.unreadable[part] = f"{str(error).rstrip('.')}. {hint}."
        return None

    # --- The cluster.

    def list_requests(self, selection: PodSelection) -> list[PullRequest]:
        """The pulls of pods. Pods that cannot be listed are an error: nothing could be diagnosed."""
        pods = kubernetes.list_pods(self.api, selection)
        events = self.read("events", lambda: kubernetes.list_events(self.api, selection.namespaces)) or []
        return kubernetes.list_pull_requests(pods, events, selection.all_pods)

    def read_snapshot(self, requests: Sequence[PullRequest], reads_secrets: bool) -> Snapshot:
        nodes = self._list_nodes(requests)
        named = {request.node for request in requests if request.node}
        instance_ids = {nodes[name].instance_id for name in named if name in nodes and nodes[name].instance_id}
        instance_ids |= {name for name in named if name.startswith("i-") and name not in nodes}
        client = self.get_client("ec2", None)
        instances = self.read("instances", lambda: ec2.list_instances(client, instance_ids)) or {}
        subnet_ids = {request.subnet_id for request in requests if request.subnet_id}
        planned = self.read("subnets", lambda: ec2.list_subnets(client, "subnet-id", subnet_ids)) or {}
        vpc_ids = {instance.vpc_id for instance in instances.values()} | {entry.vpc_id for entry in planned.values()}
        node_groups = {group for instance in instances.values() for group in instance.interface.group_ids}
        node_groups |= {group for request in requests for group in request.group_ids}
        network = self._read_network(client, vpc_ids, node_groups) if vpc_ids else Network()
        profiles = {instance.profile_arn for instance in instances.values() if instance.profile_arn}
        images = [PulledImage.parse(request.image) for request in requests]
        snapshot = Snapshot(self.region, nodes=nodes, instances=instances, network=network)
        snapshot = self._add_access(snapshot, images, profiles, {request.role_arn for request in requests} - {""})
        snapshot = self._add_secrets(snapshot, requests, images, reads_secrets)
        return replace(snapshot, unreadable=dict(self.unreadable))

    def _list_nodes(self, requests: Sequence[PullRequest]) -> dict[str, ClusterNode]:
        if self.api is None or not any(request.node for request in requests):
            return {}
        return self.read("nodes", lambda: kubernetes.list_nodes(self.api)) or {}

    def _add_secrets(
        self, snapshot: Snapshot, requests: Sequence[PullRequest], images: Sequence[PulledImage], reads_secrets: bool
    ) -> Snapshot:
        """Secrets and service accounts matter for registries other than ECR only."""
        others = [request for request, image in zip(requests, images) if image.ecr is None and request.pod]
        bare = sorted({request.namespace for request in others if not request.secrets and request.messages})
        if bare:
            found = self.read("service_accounts", lambda: kubernetes.list_service_account_secrets(self.api, bare)) or {}
            snapshot = replace(snapshot, service_account_secrets=found)
        named = sorted({request.namespace for request in others if request.secrets})
        if named and reads_secrets:
            read = self.read("secrets", lambda: kubernetes.list_pull_secrets(self.api, named))
            snapshot = replace(snapshot, secrets=read)
        return snapshot

    # --- The network.

    def _read_network(self, client: Any, vpc_ids: Collection[str], group_ids: Collection[str]) -> Network:
        tables = self.read("route_tables", lambda: ec2.list_route_tables(client, vpc_ids)) or ()
        endpoints = self.read("endpoints", lambda: ec2.list_endpoints(client, vpc_ids)) or ()
        interface_ids = {key for endpoint in endpoints for key in endpoint.interface_ids}
        interfaces = self.read("interfaces", lambda: ec2.list_interfaces(client, interface_ids)) or {}
        all_groups = {
            *group_ids,
            *(key for endpoint in endpoints for key in endpoint.group_ids),
            *(key for interface in interfaces.values() for key in interface.group_ids),
        }
        targets = [route.target for table in tables for route in table.routes]
        network = Network(
            vpcs=self._list_vpcs(client, vpc_ids),
            subnets=self.read("subnets", lambda: ec2.list_subnets(client, "vpc-id", vpc_ids)) or {},
            route_tables=tables,
            network_acls=self.read("network_acls", lambda: ec2.list_network_acls(client, vpc_ids)) or (),
            security_groups=self.read("security_groups", lambda: ec2.list_security_groups(client, all_groups)) or {},
            endpoints=endpoints,
            interfaces=interfaces,
        )
        if any(target.startswith("nat-") for target in targets):
            gateways = self.read("nat_gateways", lambda: ec2.list_nat_gateways(client, vpc_ids)) or {}
            network = replace(network, nat_gateways=gateways)
        if any(target.startswith(("igw-", "nat-")) for target in targets):
            attached = self.read("internet_gateways", lambda: ec2.list_internet_gateways(client, vpc_ids)) or {}
            network = replace(network, internet_gateways=attached)
        if any(target.startswith("eigw-") for target in targets):
            outbound = self.read("egress_only_gateways", lambda: ec2.list_egress_only_gateways(client)) or {}
            network = replace(network, egress_only_gateways=outbound)
        if any(target.startswith(("igw-", "nat-", "eigw-")) for target in targets):
            settings = self.read("public_access", lambda: ec2.get_public_access(client)) or network.public_access
            network = replace(network, public_access=settings)
        return replace(network, prefix_lists=self._list_prefix_lists(client, network))

    def _list_vpcs(self, client: Any, vpc_ids: Collection[str]) -> dict[str, Vpc]:
        found = self.read("vpcs", lambda: ec2.list_vpcs(client, vpc_ids)) or {}
        options = {options_id for _vpc, options_id in found.values()}
        resolvers = self.read("dns", lambda: ec2.list_resolvers(client, options)) or {}
        vpcs = {}
        for vpc_id, (vpc, options_id) in found.items():
            # A VPC whose DHCP options are C(default) has no set of its own, and no resolver from DHCP.
            known = resolvers.get(options_id) or (("AmazonProvidedDNS",) if options_id == "default" else None)
            vpcs[vpc_id] = replace(
                vpc,
                dns_support=self._get_dns_attribute(client, vpc_id, "EnableDnsSupport"),
                dns_hostnames=self._get_dns_attribute(client, vpc_id, "EnableDnsHostnames"),
                resolvers=known,
            )
        return vpcs

    def _get_dns_attribute(self, client: Any, vpc_id: str, attribute: str) -> Optional[bool]:
        return self.read("dns", lambda: ec2.get_dns_attribute(client, vpc_id, attribute))

    def _list_prefix_lists(self, client: Any, network: Network) -> dict[str, PrefixList]:
        """Those that routes and rules name: AWS's by one call, a customer's by one call each."""
        named = {route.destination for table in network.route_tables for route in table.routes if route.destination}
        named |= {
            key
            for group in network.security_groups.values()
            for rule in (*group.ingress, *group.egress)
            for key in rule.prefix_lists
        }
        named = {key for key in named if key.startswith("pl-")}
        if not named:
            return {}
        lists: dict[str, PrefixList] = self.read("prefix_lists", lambda: ec2.list_prefix_lists(client)) or {}
        for list_id in sorted(list_id for list_id in named if list_id not in lists or not lists[list_id].cidrs):
            unread = PrefixList(list_id, cidrs=None)
            lists[list_id] = self.read("prefix_lists", partial(ec2.get_prefix_list, client, list_id)) or unread
        return lists

    # --- Roles and registries.

    def _add_access(
        self, snapshot: Snapshot, images: Sequence[PulledImage], profiles: Collection[str], roles: Collection[str]
    ) -> Snapshot:
        by_registry: dict[tuple[str, str], dict[str, set[str]]] = {}
        for image in images:
            if image.ecr is not None:
                repositories = by_registry.setdefault((image.ecr.account, image.ecr.region), {})
                repositories.setdefault(image.repository, set()).add(image.version)
        if not by_registry:
            return snapshot
        reader = NodeRoleReader(self.get_client("iam", None))
        found = {}
        for profile in sorted(profiles):
            role = self.read("roles", partial(reader.read_profile, profile))
            if role is not None:
                found[profile] = role
        for arn in sorted(roles):
            found[arn] = reader.read_role(arn)
        account = self.read("account", self._get_account) or ""
        registries = {}
        for (owner, region), repositories in sorted(by_registry.items()):
            client = self.get_client("ecr", None if region == self.region else region)
            registries[owner, region] = ecr.read_registry(client, owner, region, repositories, owner == account)
        return replace(snapshot, account=account, roles=found, registries=registries)

    def _get_account(self) -> str:
        return str(call_api(self.get_client("sts", None), "GetCallerIdentity")["Account"])
