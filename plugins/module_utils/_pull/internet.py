# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The route of a node to a host on the internet (docs/facts/pull.md#routes-to-the-internet). Pure.

The checks stand in the order of a packet's path. What EC2 does not describe, such as the other side of a transit
gateway, is unknown.
"""

from __future__ import annotations

from typing import Optional

from . import filters
from .addresses import EVERYWHERE, Destination, make_address, make_internet
from .context import OK, UNKNOWN, WRONG, PullCheck, PullContext
from .filters import ALLOWED, BLOCKED, HTTPS, NAT_PORTS, NODE_PORTS, FilterVerdict
from .image import PullTarget
from .messages import is_private_address
from .model import NatGateway, NetworkAcl, Route, RouteTable

NAT64 = "64:ff9b::/96"
_BEYOND = {
    "tgw-": "a transit gateway",
    "pcx-": "a peering connection",
    "vgw-": "a virtual private gateway",
    "vpce-": "an endpoint of a firewall or an appliance",
    "eni-": "an appliance",
    "i-": "an appliance",
    "lgw-": "a local gateway",
    "cagw-": "a carrier gateway",
    "arn:": "a core network",
}


def check_internet(context: PullContext, target: PullTarget) -> list[PullCheck]:
    """All checks of the node's route to a host on the internet, by the IP version that works best."""
    unreadable = context.snapshot.get_unreadable_reason("subnets", "route_tables")
    if unreadable:
        return [PullCheck("route", UNKNOWN, unreadable, target.name)]
    if context.subnet is None:
        return [
            PullCheck("route", UNKNOWN, f"The subnet {context.subnet_id or 'of the node'} is not known.", target.name)
        ]
    versions = context.versions if target.dual_stack or context.versions == (6,) else (4,)
    attempts = [_InternetRoute(context, target, version).list_checks() for version in versions]
    ranks = {OK: 0, UNKNOWN: 1, WRONG: 2}
    return min(attempts, key=lambda checks: max(ranks[check.status] for check in checks))


def has_default_route(context: PullContext) -> bool:
    table = context.route_table
    return table is not None and any(route.destination in EVERYWHERE.values() for route in table.routes)


def describe_filter(verdict: FilterVerdict) -> tuple[str, str]:
    """The status of a filter's verdict, and what it does with the packets."""
    if verdict.result == ALLOWED:
        return OK, "allows"
    return (WRONG, "does not allow") if verdict.result == BLOCKED else (UNKNOWN, "allows only a part of")


class _InternetRoute:
    """The route of one pull to one target, by one IP version."""

    def __init__(self, context: PullContext, target: PullTarget, version: int) -> None:
        self.context = context
        self.target = target
        self.version = version
        self.network = context.network
        dialed = context.get_dialed_address(target.host)
        known = dialed if dialed and not is_private_address(dialed) and (":" in dialed) == (version == 6) else ""
        self.remote: Destination = make_address(known) if known else make_internet(version)

    def make(self, check: str, status: str, reason: str, *evidence: str, remediation: str = "") -> PullCheck:
        return PullCheck(check, status, reason, self.target.name, tuple(evidence), remediation)

    def list_checks(self) -> list[PullCheck]:
        table = self.context.route_table
        if table is None:
            return [self.make("route", UNKNOWN, f"No route table of {self.context.subnet_id} is known.")]
        if self.version == 6 and not self.target.dual_stack:
            if not (self.context.subnet and self.context.subnet.dns64):
                return [
                    self.make(
                        "route",
                        WRONG,
                        f"The node has only IPv6 addresses, its subnet no DNS64, and {self.target} may be IPv4 only.",
                        self.context.subnet_id,
                        remediation="Enable DNS64 for the subnet and route 64:ff9b::/96 to a NAT gateway, or use a "
                        "dual-stack name of the registry.",
                    )
                ]
            self.remote = Destination("64:ff9b::/96 (NAT64)", (NAT64,))
        route = filters.find_route(table, self.remote, self.network.prefix_lists)
        checks = [self.check_route(table, route), self.check_groups(), self.check_acl()]
        if route is not None and route.state != "blackhole":
            checks += self.check_gateway(route)
        return checks

    # --- The node's own side.

    def check_route(self, table: RouteTable, route: Optional[Route]) -> PullCheck:
        if route is None:
            partial = [
                str(part)
                for part in filters.list_partial_routes(table, self.remote, self.network.prefix_lists)
                if not (part.destination.startswith("pl-") and part.target.startswith("vpce-"))
            ]
            if partial:
                reason = f"{table.id} has no default route, only routes for a part of the internet."
                return self.make("route", UNKNOWN, reason, table.id, *partial)
            return self.make(
                "route",
                WRONG,
                f"{table.id} of {self.context.subnet_id} has no route to {self.remote.label}, where {self.target} is.",
                table.id,
                self.context.subnet_id,
                remediation=f"Add a route {EVERYWHERE[self.version]} to a NAT gateway to {table.id}, or transfer the "
                "image to the node.",
            )
        if route.state == "blackhole":
            return self.make(
                "route",
                WRONG,
                f"The route {route} in {table.id} leads to something that no longer exists.",
                table.id,
                str(route),
                remediation=f"Replace the target of the route {route.destination} in {table.id}.",
            )
        return self.make("route", OK, f"{table.id} has the route {route}.", table.id, str(route))

    def check_groups(self) -> PullCheck:
        return check_node_groups(self.context, self.target, self.remote)

    def check_acl(self) -> PullCheck:
        return check_node_acl(self.context, self.target, self.remote)

    # --- Gateways.

    def check_gateway(self, route: Route) -> list[PullCheck]:
        target = route.target
        if target.startswith("igw-"):
            return [self.check_internet_gateway(target), self.check_public_address(), self.check_public_access("")]
        if target.startswith("eigw-"):
            return [self.check_egress_only_gateway(target), self.check_public_access("")]
        if target.startswith("nat-"):
            return self.check_nat(target)
        kind = next((name for prefix, name in _BEYOND.items() if target.startswith(prefix)), "a target of another kind")
        reason = f"The route leads to {kind} ({target}). What is behind it is not known from here."
        return [self.make("gateway", UNKNOWN, reason, str(route))]

    def check_internet_gateway(self, gateway_id: str) -> PullCheck:
        unreadable = self.context.snapshot.get_unreadable_reason("internet_gateways")
        if unreadable:
            return self.make("gateway", UNKNOWN, unreadable, gateway_id)
        gateway = self.network.internet_gateways.get(gateway_id)
        vpc_id = self.context.subnet.vpc_id if self.context.subnet else ""
        if gateway is None or vpc_id not in gateway.vpc_ids:
            return self.make(
                "gateway",
                WRONG,
                f"{gateway_id} is not attached to {vpc_id}.",
                gateway_id,
                vpc_id,
                remediation=f"Attach {gateway_id} to {vpc_id}, or route to a gateway that is.",
            )
        return self.make("gateway", OK, f"{gateway_id} is attached to {vpc_id}.", gateway_id)

    def check_public_address(self) -> PullCheck:
        if self.version == 6:
            return self.make("public_address", OK, "The node has an IPv6 address.")
        if self.context.public_ip is None:
            reason = "Whether a node there has a public address is not known."
            return self.make("public_address", UNKNOWN, reason, self.context.subnet_id)
        if not self.context.public_ip:
            interface = self.context.instance.interface if self.context.instance else None
            return self.make(
                "public_address",
                WRONG,
                "The route leads to an internet gateway, and the node's primary private address has no public address.",
                *((interface.id, *interface.addresses[:1]) if interface else ()),
                remediation="Route the subnet to a NAT gateway, or associate an elastic IP with the node's primary "
                "private address.",
            )
        return self.make("public_address", OK, f"The node has the public address {self.context.public_ip}.")

    def check_egress_only_gateway(self, gateway_id: str) -> PullCheck:
        unreadable = self.context.snapshot.get_unreadable_reason("egress_only_gateways")
        if unreadable:
            return self.make("gateway", UNKNOWN, unreadable, gateway_id)
        gateway = self.network.egress_only_gateways.get(gateway_id)
        if gateway is None or not gateway.vpc_ids:
            reason = f"{gateway_id} is not attached to the VPC."
            return self.make("gateway", WRONG, reason, gateway_id, remediation="Route to a gateway that is attached.")
        return self.make("gateway", OK, f"{gateway_id} is attached.", gateway_id)

    def check_nat(self, gateway_id: str) -> list[PullCheck]:
        unreadable = self.context.snapshot.get_unreadable_reason("nat_gateways")
        if unreadable:
            return [self.make("gateway", UNKNOWN, unreadable, gateway_id)]
        nat = self.network.nat_gateways.get(gateway_id)
        if nat is None or nat.state != "available":
            state = nat.state if nat else "missing"
            failure = f": {nat.failure}" if nat and nat.failure else ""
            return [
                self.make(
                    "gateway",
                    WRONG,
                    f"The NAT gateway {gateway_id} is {state}{failure}.",
                    gateway_id,
                    remediation=f"Create a NAT gateway, and route to it instead of {gateway_id}.",
                )
            ]
        if nat.connectivity != "public":
            reason = f"{gateway_id} is a private NAT gateway. What is behind it is not known from here."
            return [self.make("gateway", UNKNOWN, reason, gateway_id)]
        checks = [self.check_nat_route(nat)]
        if nat.availability_mode != "regional":
            checks.append(self.check_nat_acl(nat))
        return [*checks, self.check_public_access(nat.subnet_id)]

    def check_nat_route(self, nat: NatGateway) -> PullCheck:
        """The way from the NAT gateway on: its subnet, or the VPC of a regional one, needs an internet gateway."""
        unreadable = self.context.snapshot.get_unreadable_reason("internet_gateways")
        if unreadable:
            return self.make("gateway", UNKNOWN, unreadable, nat.id)
        attached = [gateway.id for gateway in self.network.internet_gateways.values() if nat.vpc_id in gateway.vpc_ids]
        if nat.availability_mode == "regional":
            if attached:
                return self.make("gateway", OK, f"The regional NAT gateway {nat.id} is available.", nat.id, attached[0])
            return self.make(
                "gateway",
                WRONG,
                f"The regional NAT gateway {nat.id} is in {nat.vpc_id}, which has no internet gateway.",
                nat.id,
                nat.vpc_id,
                remediation=f"Attach an internet gateway to {nat.vpc_id}.",
            )
        table = self.network.get_route_table(nat.subnet_id)
        route = filters.find_route(table, make_internet(4), self.network.prefix_lists) if table else None
        if table is None:
            return self.make("gateway", UNKNOWN, f"No route table of {nat.subnet_id} is known.", nat.id)
        if route is not None and route.state != "blackhole" and not route.target.startswith("igw-"):
            reason = f"The NAT gateway {nat.id} sends packets on to {route.target}. What is behind it is not known."
            return self.make("gateway", UNKNOWN, reason, nat.id, table.id, str(route))
        if route is None or route.state == "blackhole" or route.target not in attached:
            found = f"only the route {route}" if route else "no default route"
            return self.make(
                "gateway",
                WRONG,
                f"The subnet {nat.subnet_id} of the NAT gateway {nat.id} has {found} in {table.id}, and no route to an "
                "attached internet gateway.",
                nat.id,
                nat.subnet_id,
                table.id,
                remediation=f"Add a route 0.0.0.0/0 to an internet gateway of the VPC to {table.id}.",
            )
        return self.make("gateway", OK, f"The NAT gateway {nat.id} is available.", nat.id, str(route))

    def check_nat_acl(self, nat: NatGateway) -> PullCheck:
        if nat.subnet_id == self.context.subnet_id:
            return self.make("nat_network_acl", OK, "The NAT gateway is in the node's subnet.", nat.id)
        acl = self.network.get_network_acl(nat.subnet_id)
        unreadable = self.context.snapshot.get_unreadable_reason("network_acls")
        if acl is None:
            reason = unreadable or f"No network ACL of {nat.subnet_id} is known."
            return self.make("nat_network_acl", UNKNOWN, reason, nat.id)
        node = Destination("the node", self.context.get_address_range(self.version))
        internet = make_internet(4)
        parts = [
            ("443 in from the node", False, node, (HTTPS, HTTPS)),
            ("443 out to the internet", True, internet, (HTTPS, HTTPS)),
            ("1024-65535 in from the internet", False, internet, NAT_PORTS),
            ("32768-60999 out to the node", True, node, NODE_PORTS),
        ]
        return check_acl_parts(self.target, "nat_network_acl", acl, [part for part in parts if part[2].networks])

    # --- VPC Block Public Access.

    def check_public_access(self, nat_subnet_id: str) -> PullCheck:
        """C(nat_subnet_id): the subnet from which packets leave by a NAT gateway; empty for the node's own."""
        unreadable = self.context.snapshot.get_unreadable_reason("public_access")
        if unreadable:
            return self.make("block_public_access", UNKNOWN, unreadable)
        settings = self.network.public_access
        if settings.mode not in ("block-bidirectional", "block-ingress"):
            return self.make("block_public_access", OK, "VPC Block Public Access is off.")
        subnet_id = nat_subnet_id or self.context.subnet_id
        vpc_id = self.context.subnet.vpc_id if self.context.subnet else ""
        exclusion = settings.exclusions.get(subnet_id) or settings.exclusions.get(vpc_id) or ""
        evidence = (settings.mode, subnet_id, vpc_id, *((exclusion,) if exclusion else ()))
        is_outbound_only = bool(nat_subnet_id) or self._uses_outbound_gateway()
        if exclusion == "allow-bidirectional" or (is_outbound_only and (settings.mode == "block-ingress" or exclusion)):
            return self.make("block_public_access", OK, "VPC Block Public Access lets these packets out.", *evidence)
        if exclusion:
            reason = f"The exclusion {exclusion} is for outbound traffic; whether it covers this route is not known."
            return self.make("block_public_access", UNKNOWN, reason, *evidence)
        return self.make(
            "block_public_access",
            WRONG,
            f"VPC Block Public Access ({settings.mode}) blocks the internet gateway, whatever the routes are.",
            *evidence,
            remediation=f"Create an exclusion for {subnet_id} or {vpc_id}, or use VPC endpoints.",
        )

    def _uses_outbound_gateway(self) -> bool:
        table = self.context.route_table
        route = filters.find_route(table, self.remote, self.network.prefix_lists) if table else None
        return route is not None and route.target.startswith(("nat-", "eigw-"))


# --- The filters of the node, also for endpoints.


def check_node_groups(context: PullContext, target: PullTarget, remote: Destination) -> PullCheck:
    groups = context.groups
    if groups is None:
        reason = (
            context.snapshot.get_unreadable_reason("security_groups") or "The node's security groups are not known."
        )
        return PullCheck("security_group", UNKNOWN, reason, target.name, context.group_ids)
    verdict = filters.evaluate_groups(groups, True, remote, context.network.prefix_lists)
    status, verb = describe_filter(verdict)
    names = ", ".join(context.group_ids)
    return PullCheck(
        "security_group",
        status,
        f"The node's security groups ({names}) {'allow' if status == OK else verb.replace('does', 'do')} 443 out to "
        f"{remote.label}.",
        target.name,
        verdict.rules or context.group_ids,
        f"Add an outbound rule for TCP 443 to {remote.prefix_list_id or remote.label} to {context.group_ids[0]}."
        if status != OK
        else "",
    )


def check_node_acl(context: PullContext, target: PullTarget, remote: Destination) -> PullCheck:
    acl = context.network.get_network_acl(context.subnet_id)
    if acl is None:
        reason = context.snapshot.get_unreadable_reason("network_acls")
        reason = reason or f"No network ACL of {context.subnet_id} is known."
        return PullCheck("network_acl", UNKNOWN, reason, target.name)
    parts = [
        (f"443 out to {remote.label}", True, remote, (HTTPS, HTTPS)),
        (f"32768-60999 in from {remote.label}", False, remote, NODE_PORTS),
    ]
    return check_acl_parts(target, "network_acl", acl, parts)


def check_acl_parts(
    target: PullTarget, name: str, acl: NetworkAcl, parts: list[tuple[str, bool, Destination, tuple[int, int]]]
) -> PullCheck:
    """The parts of a connection that a network ACL must allow, each way: it keeps no state."""
    results = [
        (label, egress, filters.evaluate_acl(acl, egress, remote, ports)) for label, egress, remote, ports in parts
    ]
    for blocking_result in (BLOCKED, filters.UNCERTAIN):
        for label, egress, verdict in results:
            if verdict.result == blocking_result:
                status, verb = describe_filter(verdict)
                direction = "outbound" if egress else "inbound"
                return PullCheck(
                    name,
                    status,
                    f"The network ACL {acl.id} {verb} {label}: {verdict.rules[-1]}.",
                    target.name,
                    (acl.id, *verdict.rules),
                    f"Add an {direction} rule with a lower number to {acl.id} that allows TCP {label}.",
                )
    rules = dict.fromkeys(rule for _label, _egress, verdict in results for rule in verdict.rules)
    return PullCheck(name, OK, f"The network ACL {acl.id} allows it.", target.name, (acl.id, *rules))
