# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node reaches a service: by a VPC endpoint if one is effective, else by the internet. Pure.

See docs/facts/pull.md#ecr-without-internet. An endpoint is effective for a node if its name or its route leads there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from . import filters
from .addresses import Destination, make_address
from .context import OK, UNKNOWN, WRONG, PullCheck, PullContext, find_worst, merge_checks
from .filters import HTTPS, NODE_PORTS
from .image import S3, PullTarget
from .internet import (
    check_acl_parts,
    check_internet,
    check_node_acl,
    check_node_groups,
    describe_filter,
    has_default_route,
)
from .messages import is_private_address
from .model import NetworkInterface, Route, VpcEndpoint

INTERNET, INTERFACE, GATEWAY = "internet", "interface", "gateway"


@dataclass(frozen=True)
class TargetPath:
    """The way to a target, and its checks. C(endpoint): the one that the node uses."""

    target: PullTarget
    way: str
    checks: tuple[PullCheck, ...]
    endpoint: Optional[VpcEndpoint] = None


@dataclass(frozen=True)
class _Candidate:
    """An endpoint of the service in the node's VPC. C(defect): why the node does not use it."""

    endpoint: VpcEndpoint
    defect: str = ""
    remediation: str = ""


def find_path(context: PullContext, target: PullTarget) -> TargetPath:
    candidates = list(_list_candidates(context, target))
    unreadable = context.snapshot.get_unreadable_reason("endpoints") if target.service else ""
    effective = [candidate.endpoint for candidate in candidates if not candidate.defect]
    interface = next((endpoint for endpoint in effective if endpoint.type == "Interface"), None)
    if interface is not None:
        checks = [
            PullCheck("endpoint", OK, f"{target.host} leads to {interface.id}.", target.name, (interface.id,)),
            *_check_interface(context, target, interface),
        ]
        return TargetPath(target, INTERFACE, tuple(checks), interface)
    if effective:
        checks = [
            PullCheck("endpoint", OK, f"The route to S3 leads to {effective[0].id}.", target.name, (effective[0].id,)),
            *_check_gateway(context, target, effective[0]),
        ]
        return TargetPath(target, GATEWAY, tuple(checks), effective[0])
    internet = check_internet(context, target)
    return TargetPath(target, INTERNET, tuple(_explain_internet(context, target, candidates, internet, unreadable)))


def _explain_internet(
    context: PullContext,
    target: PullTarget,
    candidates: list[_Candidate],
    internet: list[PullCheck],
    unreadable: str,
) -> list[PullCheck]:
    """The checks where no endpoint is effective: the cause is the endpoint's defect if there is one."""
    if not target.service:
        return internet
    worst = find_worst(internet)
    if worst == OK:
        return [PullCheck("endpoint", OK, "No endpoint is needed: the internet is in reach.", target.name), *internet]
    if unreadable:
        return [PullCheck("endpoint", UNKNOWN, unreadable, target.name), *_drop_wrong(internet)]
    if not candidates:
        if has_default_route(context) or worst == UNKNOWN:
            return [PullCheck("endpoint", OK, f"The VPC has no endpoint of {target.service}.", target.name), *internet]
        return [_make_missing_endpoint(context, target)]
    first = candidates[0]
    check = PullCheck(
        "endpoint",
        worst,
        first.defect,
        target.name,
        (first.endpoint.id, *((context.route_table.id,) if context.route_table and target.name == S3 else ())),
        first.remediation,
    )
    return [check, *internet] if has_default_route(context) or worst == UNKNOWN else [check]


def _drop_wrong(checks: list[PullCheck]) -> list[PullCheck]:
    """What is wrong with the internet is unknown as long as an endpoint may exist."""
    return [
        PullCheck(
            check.check, UNKNOWN if check.status == WRONG else check.status, check.reason, check.target, check.evidence
        )
        for check in checks
    ]


def _make_missing_endpoint(context: PullContext, target: PullTarget) -> PullCheck:
    subnet = context.subnet
    vpc_id = subnet.vpc_id if subnet else "the VPC"
    table = context.route_table
    region = target.region
    elsewhere = region != context.snapshot.region
    create = f"a {'gateway' if target.name == S3 else 'private'} endpoint of {target.service} in {vpc_id}"
    if target.name == S3 and table is not None:
        create += f" with {table.id}"
    reason = (
        f"{target.host} is in {region}, which endpoints of {context.snapshot.region} do not serve, and "
        if elsewhere
        else f"{vpc_id} has no endpoint of {target.service}, and "
    )
    return PullCheck(
        "endpoint",
        WRONG,
        f"{reason}{context.subnet_id} has no route to the internet.",
        target.name,
        tuple(text for text in (vpc_id, context.subnet_id, table.id if table else "") if text),
        "Replicate the repository to this region, or add a route to a NAT gateway."
        if elsewhere
        else f"Create {create}, or add a route to a NAT gateway.",
    )


# --- Which endpoints the node could use.


def _list_candidates(context: PullContext, target: PullTarget) -> Iterator[_Candidate]:
    if not target.service or context.subnet is None:
        return
    for endpoint in context.network.endpoints:
        if endpoint.vpc_id != context.subnet.vpc_id or not _is_for_target(target, endpoint):
            continue
        if endpoint.state.lower() == "deleted":  # EC2 lists it for a while
            continue
        if endpoint.state.lower() != "available":
            yield _Candidate(
                endpoint,
                f"The endpoint {endpoint.id} is {endpoint.state}, not available.",
                f"Wait until {endpoint.id} is available, accept it, or create it anew.",
            )
        elif endpoint.type == "Gateway":
            yield _evaluate_gateway(context, endpoint)
        elif endpoint.type == "Interface":
            yield _evaluate_interface(context, target, endpoint)


def _is_for_target(target: PullTarget, endpoint: VpcEndpoint) -> bool:
    """By the service, or by a private name that EC2 lists: services for FIPS have names of their own."""
    return endpoint.service == target.service or any(
        _matches_name(name, target.host) for name in _list_private_names(endpoint)
    )


def _list_private_names(endpoint: VpcEndpoint) -> list[str]:
    """Names of the endpoint's own begin with its id, as C(vpce-0a1b-2c3d.ecr.eu-central-1.vpce.amazonaws.com)."""
    return [
        name for name in endpoint.dns_names if not name.lstrip("*.").startswith(endpoint.id) and ".vpce." not in name
    ]


def _evaluate_gateway(context: PullContext, endpoint: VpcEndpoint) -> _Candidate:
    table = context.route_table
    if table is None or _find_gateway_route(context, endpoint) is None:
        name = table.id if table else "the route table"
        return _Candidate(
            endpoint,
            f"The gateway endpoint {endpoint.id} has no route in {name}, which {context.subnet_id} uses.",
            f"Associate {endpoint.id} with {name}.",
        )
    return _Candidate(endpoint)


def _find_gateway_route(context: PullContext, endpoint: VpcEndpoint) -> Optional[Route]:
    table = context.route_table
    routes = table.routes if table else ()
    return next((route for route in routes if route.target == endpoint.id and route.state != "blackhole"), None)


def _evaluate_interface(context: PullContext, target: PullTarget, endpoint: VpcEndpoint) -> _Candidate:
    vpc = context.vpc
    if not endpoint.private_dns:
        return _Candidate(
            endpoint,
            f"The endpoint {endpoint.id} has no private DNS, so {target.host} has its public addresses.",
            f"Enable private DNS for {endpoint.id}.",
        )
    if vpc is not None and vpc.dns_hostnames is False:
        return _Candidate(
            endpoint,
            f"{vpc.id} has enableDnsHostnames off, so the private DNS of {endpoint.id} has no effect.",
            f"Set enableDnsHostnames of {vpc.id} to true.",
        )
    if endpoint.inbound_resolver_only:
        return _Candidate(
            endpoint,
            f"The private DNS of {endpoint.id} is only for queries by Route 53 Resolver's inbound endpoints.",
            f"Add a gateway endpoint of {target.service}, or turn off PrivateDnsOnlyForInboundResolverEndpoint.",
        )
    if not _matches_host(target, endpoint):
        return _Candidate(
            endpoint,
            f"The endpoint {endpoint.id} ({endpoint.ip_type}) does not serve the name {target.host}.",
            "Create the endpoint with the IP address type dualstack, or use the other name of the registry.",
        )
    return _Candidate(endpoint)


def _matches_host(target: PullTarget, endpoint: VpcEndpoint) -> bool:
    """By the private names that EC2 lists, else by the type of the addresses."""
    private = _list_private_names(endpoint)
    if private:
        return any(_matches_name(name, target.host) for name in private)
    return endpoint.ip_type in (("dualstack", "ipv6") if target.dual_stack else ("ipv4", "dualstack", ""))


def _matches_name(name: str, host: str) -> bool:
    bare = name.lstrip("*").lstrip(".").replace("\\052.", "")
    return host == bare or host.endswith(f".{bare}")


# --- The path to an interface endpoint, address by address.


def _check_interface(context: PullContext, target: PullTarget, endpoint: VpcEndpoint) -> list[PullCheck]:
    unreadable = context.snapshot.get_unreadable_reason("interfaces")
    interfaces = [
        context.network.interfaces[key] for key in endpoint.interface_ids if key in context.network.interfaces
    ]
    pairs = [
        (interface, address)
        for interface in interfaces
        for address in interface.addresses
        if (6 if ":" in address else 4) in context.versions
    ]
    if not pairs:
        reason = unreadable or f"The network interfaces of {endpoint.id} are not known."
        return [PullCheck("endpoint_security_group", UNKNOWN, reason, target.name, (endpoint.id,))]
    dialed = context.get_dialed_address(target.host)
    if dialed and not is_private_address(dialed):
        return [
            PullCheck(
                "private_dns",
                WRONG,
                f"The node dialed {dialed} for {target.host}, not {endpoint.id}, which has private DNS.",
                target.name,
                (endpoint.id, dialed),
                "Let the node use the VPC's resolver, or forward this name to it. If the endpoint is new, try again.",
            )
        ]
    exact = [pair for pair in pairs if pair[1] == dialed]
    return merge_checks([_check_address(context, target, endpoint, *pair) for pair in exact or pairs])


def _check_address(
    context: PullContext, target: PullTarget, endpoint: VpcEndpoint, interface: NetworkInterface, address: str
) -> list[PullCheck]:
    remote = make_address(address, endpoint.group_ids or interface.group_ids)
    same_subnet = interface.subnet_id == context.subnet_id
    inside = PullCheck("network_acl", OK, "Network ACLs do not filter within a subnet.", target.name)
    return [
        _check_local_route(context, target, remote),
        check_node_groups(context, target, remote),
        inside if same_subnet else check_node_acl(context, target, remote),
        PullCheck("endpoint_network_acl", OK, inside.reason, target.name)
        if same_subnet
        else _check_endpoint_acl(context, target, interface, address),
        _check_endpoint_groups(context, target, endpoint, interface, address),
    ]


def _check_local_route(context: PullContext, target: PullTarget, remote: Destination) -> PullCheck:
    table = context.route_table
    if table is None:
        reason = context.snapshot.get_unreadable_reason("route_tables") or "The node's route table is not known."
        return PullCheck("route", UNKNOWN, reason, target.name)
    route = filters.find_route(table, remote, context.network.prefix_lists)
    if route is None or route.target == "local":
        return PullCheck("route", OK, f"{remote.label} is in the VPC.", target.name, (table.id,))
    if route.state == "blackhole":
        reason = f"The route {route} in {table.id} leads to something that no longer exists."
        return PullCheck("route", WRONG, reason, target.name, (table.id, str(route)), "Delete this route.")
    reason = f"The route {route} in {table.id} takes packets for {remote.label} out of the VPC's local route."
    return PullCheck("route", UNKNOWN, reason, target.name, (table.id, str(route)))


def _check_endpoint_acl(
    context: PullContext, target: PullTarget, interface: NetworkInterface, address: str
) -> PullCheck:
    acl = context.network.get_network_acl(interface.subnet_id)
    node = Destination("the node", context.get_address_range(6 if ":" in address else 4))
    if acl is None or not node.networks:
        reason = context.snapshot.get_unreadable_reason("network_acls")
        reason = reason or f"The network ACL of {interface.subnet_id} or the node's address is not known."
        return PullCheck("endpoint_network_acl", UNKNOWN, reason, target.name)
    parts = [
        ("443 in from the node", False, node, (HTTPS, HTTPS)),
        ("32768-60999 out to the node", True, node, NODE_PORTS),
    ]
    return check_acl_parts(target, "endpoint_network_acl", acl, parts)


def _check_endpoint_groups(
    context: PullContext, target: PullTarget, endpoint: VpcEndpoint, interface: NetworkInterface, address: str
) -> PullCheck:
    name = "endpoint_security_group"
    group_ids = endpoint.group_ids or interface.group_ids
    groups = [context.network.security_groups[key] for key in group_ids if key in context.network.security_groups]
    node = Destination("the node", context.get_address_range(6 if ":" in address else 4), context.group_ids)
    if not groups or len(groups) != len(group_ids) or not node.networks:
        reason = context.snapshot.get_unreadable_reason("security_groups")
        reason = reason or f"The security groups of {endpoint.id} or the node's address are not known."
        return PullCheck(name, UNKNOWN, reason, target.name, (endpoint.id,))
    verdict = filters.evaluate_groups(groups, False, node, context.network.prefix_lists)
    if (
        verdict.result == filters.BLOCKED
        and not context.group_ids
        and any(rule.groups for group in groups for rule in group.ingress)
    ):
        reason = f"The security groups of {endpoint.id} name groups, and those of the node are not known."
        return PullCheck(name, UNKNOWN, reason, target.name, (endpoint.id, *group_ids))
    status, verb = describe_filter(verdict)
    listed = ", ".join(group_ids)
    verb = verb.replace("does", "do").replace("allows", "allow")
    return PullCheck(
        name,
        status,
        f"The security groups ({listed}) of {endpoint.id} {verb} 443 in from the node.",
        target.name,
        (endpoint.id, *(verdict.rules or group_ids)),
        f"Add an inbound rule for TCP 443 from {(*context.group_ids, *node.networks)[0]} to {group_ids[0]}."
        if status != OK
        else "",
    )


# --- The path to a gateway endpoint.


def _check_gateway(context: PullContext, target: PullTarget, endpoint: VpcEndpoint) -> list[PullCheck]:
    route = _find_gateway_route(context, endpoint)
    list_id = route.destination if route else ""
    known = context.network.prefix_lists.get(list_id)
    table = context.route_table
    checks = [PullCheck("route", OK, f"{table.id if table else ''} has the route {route}.", target.name, (str(route),))]
    if known is None or not known.cidrs:
        reason = context.snapshot.get_unreadable_reason("prefix_lists") or f"The entries of {list_id} are not known."
        remote = Destination(f"S3 ({list_id})", ("0.0.0.0/0",), prefix_list_id=list_id, is_internet=True)
        return [
            *checks,
            check_node_groups(context, target, remote),
            PullCheck("network_acl", UNKNOWN, reason, target.name),
        ]
    cidrs = tuple(cidr for cidr in known.cidrs if ":" not in cidr)
    remote = Destination(f"S3 ({list_id})", cidrs, prefix_list_id=list_id)
    return [*checks, check_node_groups(context, target, remote), check_node_acl(context, target, remote)]
