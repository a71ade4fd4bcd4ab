# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances and networks, by a ready EC2 client. Calls are made for all nodes together, 200 values a filter."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Optional

from .._aws_call import call_api, paginate
from .model import (
    AclEntry,
    BlockPublicAccess,
    InternetGateway,
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    NodeInstance,
    PolicyDocument,
    PrefixList,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Vpc,
    VpcEndpoint,
    VpcSubnet,
)

FILTER_VALUES = 200  # the most that EC2 takes in one filter
_ROUTE_TARGETS = (
    "GatewayId",
    "NatGatewayId",
    "EgressOnlyInternetGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "NetworkInterfaceId",
    "InstanceId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
    "OdbNetworkArn",
)


def _list_filtered(
    client: Any, operation: str, key: str, name: str, values: Collection[str], argument: str = "Filters"
) -> Iterator[Any]:
    """All entries whose field has one of the values. Ids that do not exist are no error in a filter."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), FILTER_VALUES):
        chunk = ordered[start : start + FILTER_VALUES]
        yield from paginate(client, operation, key, **{argument: [{"Name": name, "Values": chunk}]})


# --- Instances.


def list_instances(client: Any, instance_ids: Collection[str]) -> dict[str, NodeInstance]:
    found = {}
    for reservation in _list_filtered(client, "DescribeInstances", "Reservations", "instance-id", instance_ids):
        for instance in reservation.get("Instances") or ():
            parsed = _parse_instance(instance)
            found[parsed.id] = parsed
    return found


def _parse_instance(instance: Mapping[str, Any]) -> NodeInstance:
    """The primary interface is the first device of the first network card; its primary address leads."""
    interfaces = sorted(
        instance.get("NetworkInterfaces") or ({},),
        key=lambda entry: (
            int((entry.get("Attachment") or {}).get("NetworkCardIndex") or 0),
            int((entry.get("Attachment") or {}).get("DeviceIndex") or 0),
        ),
    )
    primary = interfaces[0]
    private = primary.get("PrivateIpAddresses") or ()
    leading: Mapping[str, Any] = next((entry for entry in private if entry.get("Primary")), {})
    association = leading.get("Association") or primary.get("Association") or {}
    address = str(leading.get("PrivateIpAddress") or primary.get("PrivateIpAddress") or "")
    groups = primary.get("Groups") or instance.get("SecurityGroups") or ()
    interface = NetworkInterface(
        str(primary.get("NetworkInterfaceId") or ""),
        str(primary.get("SubnetId") or instance.get("SubnetId") or ""),
        (address,) if address else (),
        tuple(str(group["GroupId"]) for group in groups),
        str(association.get("PublicIp") or ""),
    )
    return NodeInstance(
        str(instance["InstanceId"]),
        str(instance.get("VpcId") or ""),
        interface,
        tuple(str(entry["Ipv6Address"]) for entry in primary.get("Ipv6Addresses") or ()),
        str((instance.get("IamInstanceProfile") or {}).get("Arn") or ""),
    )


def list_subnets(client: Any, name: str, values: Collection[str]) -> dict[str, VpcSubnet]:
    """C(name): the filter's, C(vpc-id) or C(subnet-id)."""
    return {
        str(entry["SubnetId"]): VpcSubnet(
            str(entry["SubnetId"]),
            str(entry["VpcId"]),
            str(entry.get("CidrBlock") or ""),
            str(entry.get("AvailabilityZone") or ""),
            bool(entry.get("EnableDns64")),
        )
        for entry in _list_filtered(client, "DescribeSubnets", "Subnets", name, values)
    }


# --- Routes and gateways.


def list_route_tables(client: Any, vpc_ids: Collection[str]) -> tuple[RouteTable, ...]:
    tables = _list_filtered(client, "DescribeRouteTables", "RouteTables", "vpc-id", vpc_ids)
    return tuple(_parse_route_table(table) for table in tables)


def _parse_route_table(table: Mapping[str, Any]) -> RouteTable:
    associations = table.get("Associations") or ()
    return RouteTable(
        str(table["RouteTableId"]),
        str(table.get("VpcId") or ""),
        any(association.get("Main") for association in associations),
        tuple(str(association["SubnetId"]) for association in associations if association.get("SubnetId")),
        tuple(_parse_route(route) for route in table.get("Routes") or ()),
    )


def _parse_route(route: Mapping[str, Any]) -> Route:
    destinations = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
    return Route(
        next((str(route[key]) for key in destinations if route.get(key)), ""),
        next((str(route[key]) for key in _ROUTE_TARGETS if route.get(key)), ""),
        str(route.get("State") or "active"),
    )


def list_nat_gateways(client: Any, vpc_ids: Collection[str]) -> dict[str, NatGateway]:
    # This operation alone names the argument Filter.
    found = _list_filtered(client, "DescribeNatGateways", "NatGateways", "vpc-id", vpc_ids, argument="Filter")
    return {
        str(entry["NatGatewayId"]): NatGateway(
            str(entry["NatGatewayId"]),
            str(entry.get("VpcId") or ""),
            str(entry.get("SubnetId") or ""),
            str(entry.get("State") or ""),
            str(entry.get("ConnectivityType") or "public"),
            str(entry.get("AvailabilityMode") or "zonal"),
            str(entry.get("RouteTableId") or ""),
            tuple(
                str(address["PublicIp"])
                for address in entry.get("NatGatewayAddresses") or ()
                if address.get("PublicIp")
            ),
            str(entry.get("FailureMessage") or entry.get("FailureCode") or ""),
        )
        for entry in found
    }


def list_internet_gateways(client: Any, vpc_ids: Collection[str]) -> dict[str, InternetGateway]:
    found = _list_filtered(client, "DescribeInternetGateways", "InternetGateways", "attachment.vpc-id", vpc_ids)
    return {str(entry["InternetGatewayId"]): _parse_gateway(entry, "InternetGatewayId") for entry in found}


def list_egress_only_gateways(client: Any) -> dict[str, InternetGateway]:
    key = "EgressOnlyInternetGatewayId"
    found = paginate(client, "DescribeEgressOnlyInternetGateways", "EgressOnlyInternetGateways")
    return {str(entry[key]): _parse_gateway(entry, key) for entry in found}


def _parse_gateway(entry: Mapping[str, Any], key: str) -> InternetGateway:
    attached = [
        str(attachment.get("VpcId"))
        for attachment in entry.get("Attachments") or ()
        if attachment.get("State") in ("available", "attached")
    ]
    return InternetGateway(str(entry[key]), tuple(attached))


def get_public_access(client: Any) -> BlockPublicAccess:
    options = call_api(client, "DescribeVpcBlockPublicAccessOptions").get("VpcBlockPublicAccessOptions") or {}
    mode = str(options.get("InternetGatewayBlockMode") or "off")
    if mode == "off":
        return BlockPublicAccess()
    exclusions = paginate(client, "DescribeVpcBlockPublicAccessExclusions", "VpcBlockPublicAccessExclusions")
    return BlockPublicAccess(
        mode,
        {
            str(entry.get("ResourceArn") or "").rpartition("/")[2]: str(entry.get("InternetGatewayExclusionMode") or "")
            for entry in exclusions
            if str(entry.get("State") or "") in ("create-complete", "update-complete", "update-in-progress")
        },
    )


# --- Filters.


def list_security_groups(client: Any, group_ids: Collection[str]) -> dict[str, SecurityGroup]:
    return {
        str(group["GroupId"]): SecurityGroup(
            str(group["GroupId"]),
            tuple(_parse_permission(entry) for entry in group.get("IpPermissions") or ()),
            tuple(_parse_permission(entry) for entry in group.get("IpPermissionsEgress") or ()),
        )
        for group in _list_filtered(client, "DescribeSecurityGroups", "SecurityGroups", "group-id", group_ids)
    }


def _parse_permission(entry: Mapping[str, Any]) -> SecurityGroupRule:
    return SecurityGroupRule(
        str(entry.get("IpProtocol") or "-1"),
        entry.get("FromPort"),
        entry.get("ToPort"),
        (
            *(str(block["CidrIp"]) for block in entry.get("IpRanges") or ()),
            *(str(block["CidrIpv6"]) for block in entry.get("Ipv6Ranges") or ()),
        ),
        tuple(str(block["PrefixListId"]) for block in entry.get("PrefixListIds") or ()),
        tuple(str(pair["GroupId"]) for pair in entry.get("UserIdGroupPairs") or () if pair.get("GroupId")),
    )


def list_network_acls(client: Any, vpc_ids: Collection[str]) -> tuple[NetworkAcl, ...]:
    return tuple(
        NetworkAcl(
            str(acl["NetworkAclId"]),
            tuple(str(entry["SubnetId"]) for entry in acl.get("Associations") or () if entry.get("SubnetId")),
            tuple(_parse_acl_entry(entry) for entry in acl.get("Entries") or ()),
        )
        for acl in _list_filtered(client, "DescribeNetworkAcls", "NetworkAcls", "vpc-id", vpc_ids)
    )


def _parse_acl_entry(entry: Mapping[str, Any]) -> AclEntry:
    ports = entry.get("PortRange") or {}
    return AclEntry(
        int(entry.get("RuleNumber") or 0),
        bool(entry.get("Egress")),
        entry.get("RuleAction") == "allow",
        str(entry.get("CidrBlock") or entry.get("Ipv6CidrBlock") or ""),
        str(entry.get("Protocol") or "-1"),
        ports.get("From"),
        ports.get("To"),
    )


def list_prefix_lists(client: Any) -> dict[str, PrefixList]:
    """The lists of AWS's services, such as S3, with their addresses."""
    return {
        str(entry["PrefixListId"]): PrefixList(
            str(entry["PrefixListId"]),
            str(entry.get("PrefixListName") or ""),
            tuple(map(str, entry.get("Cidrs") or ())),
        )
        for entry in paginate(client, "DescribePrefixLists", "PrefixLists")
    }


def get_prefix_list(client: Any, list_id: str) -> PrefixList:
    """A list of a customer, which rules and routes name."""
    entries = paginate(client, "GetManagedPrefixListEntries", "Entries", PrefixListId=list_id)
    return PrefixList(list_id, "", tuple(str(entry["Cidr"]) for entry in entries))


# --- VPCs and endpoints.


def list_vpcs(client: Any, vpc_ids: Collection[str]) -> dict[str, tuple[Vpc, str]]:
    """The VPCs without their DNS settings, each with the id of its DHCP options."""
    return {
        str(entry["VpcId"]): (
            Vpc(
                str(entry["VpcId"]),
                tuple(
                    str(block.get("CidrBlock"))
                    for block in entry.get("CidrBlockAssociationSet") or ({"CidrBlock": entry.get("CidrBlock")},)
                ),
                None,
                None,
                None,
            ),
            str(entry.get("DhcpOptionsId") or ""),
        )
        for entry in _list_filtered(client, "DescribeVpcs", "Vpcs", "vpc-id", vpc_ids)
    }


def get_dns_attribute(client: Any, vpc_id: str, attribute: str) -> bool:
    """C(attribute): C(EnableDnsSupport) or C(EnableDnsHostnames)."""
    name = attribute[0].lower() + attribute[1:]
    response = call_api(client, "DescribeVpcAttribute", VpcId=vpc_id, Attribute=name)
    return bool((response.get(attribute) or {}).get("Value"))


def list_resolvers(client: Any, options_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The name servers of DHCP options."""
    found = {}
    real = [options_id for options_id in options_ids if options_id.startswith("dopt-")]
    for options in _list_filtered(client, "DescribeDhcpOptions", "DhcpOptions", "dhcp-options-id", real):
        servers = [
            str(value.get("Value"))
            for configuration in options.get("DhcpConfigurations") or ()
            if configuration.get("Key") == "domain-name-servers"
            for value in configuration.get("Values") or ()
        ]
        found[str(options["DhcpOptionsId"])] = tuple(servers)
    return found


def list_endpoints(client: Any, vpc_ids: Collection[str]) -> tuple[VpcEndpoint, ...]:
    found = _list_filtered(client, "DescribeVpcEndpoints", "VpcEndpoints", "vpc-id", vpc_ids)
    return tuple(_parse_endpoint(entry) for entry in found)


def _parse_endpoint(entry: Mapping[str, Any]) -> VpcEndpoint:
    dns = entry.get("DnsOptions") or {}
    return VpcEndpoint(
        id=str(entry["VpcEndpointId"]),
        vpc_id=str(entry.get("VpcId") or ""),
        service=str(entry.get("ServiceName") or ""),
        type=str(entry.get("VpcEndpointType") or "Interface"),
        state=str(entry.get("State") or ""),
        policy=_parse_policy(entry.get("PolicyDocument")),
        route_table_ids=tuple(map(str, entry.get("RouteTableIds") or ())),
        subnet_ids=tuple(map(str, entry.get("SubnetIds") or ())),
        group_ids=tuple(str(group["GroupId"]) for group in entry.get("Groups") or ()),
        interface_ids=tuple(map(str, entry.get("NetworkInterfaceIds") or ())),
        private_dns=bool(entry.get("PrivateDnsEnabled")),
        inbound_resolver_only=bool(dns.get("PrivateDnsOnlyForInboundResolverEndpoint")),
        ip_type=str(entry.get("IpAddressType") or "ipv4"),
        dns_names=tuple(str(name["DnsName"]) for name in entry.get("DnsEntries") or () if name.get("DnsName")),
        region=str(entry.get("ServiceRegion") or ""),
    )


def _parse_policy(text: Any) -> Optional[PolicyDocument]:
    """The policy of an endpoint. One that is no JSON object allows nothing that could be evaluated."""
    if not text:
        return None
    try:
        document = json.loads(str(text))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def list_interfaces(client: Any, interface_ids: Collection[str]) -> dict[str, NetworkInterface]:
    return {
        str(entry["NetworkInterfaceId"]): NetworkInterface(
            str(entry["NetworkInterfaceId"]),
            str(entry.get("SubnetId") or ""),
            (
                *(str(address["PrivateIpAddress"]) for address in entry.get("PrivateIpAddresses") or ()),
                *(str(address["Ipv6Address"]) for address in entry.get("Ipv6Addresses") or ()),
            )
            or ((str(entry["PrivateIpAddress"]),) if entry.get("PrivateIpAddress") else ()),
            tuple(str(group["GroupId"]) for group in entry.get("Groups") or ()),
        )
        for entry in _list_filtered(
            client, "DescribeNetworkInterfaces", "NetworkInterfaces", "network-interface-id", interface_ids
        )
    }
