# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks in which a pull works, and functions that break them one part at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._pull.checks import PullDiagnosis, explain_pull
from ansible_collections.daytwo.aws.plugins.module_utils._pull.context import PullContext
from ansible_collections.daytwo.aws.plugins.module_utils._pull.model import (
    AclEntry,
    ClusterNode,
    EcrRegistry,
    EcrRepository,
    InternetGateway,
    NatGateway,
    Network,
    NetworkAcl,
    NetworkInterface,
    NodeInstance,
    NodeRole,
    PrefixList,
    PullRequest,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
    Snapshot,
    Vpc,
    VpcEndpoint,
    VpcSubnet,
)

ACCOUNT, OTHER_ACCOUNT, REGION = "123456789012", "210987654321", "eu-central-1"
ECR_HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
IMAGE = f"{ECR_HOST}/shop/app:v1"
REPOSITORY_ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/shop/app"
PUBLIC_IMAGE = "docker.io/library/busybox:1.36"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/nodes"
PROFILE = f"arn:aws:iam::{ACCOUNT}:instance-profile/nodes"
BUCKET = f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/*"
PULL_ONLY = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": [
            "ecr:GetAuthorizationToken",
            "ecr:BatchImportUpstreamImage",
            "ecr:BatchGetImage",
            "ecr:GetDownloadUrlForLayer",
        ],
        "Resource": "*",
    },
}
S3_CIDRS = ("3.5.136.0/22", "52.219.46.0/23")
HTTPS_ANYWHERE = SecurityGroupRule("tcp", 443, 443, cidrs=("0.0.0.0/0", "::/0"))
Change = Callable[[Snapshot], Snapshot]


def allow_all_acl(acl_id: str, *subnets: str) -> NetworkAcl:
    both = [
        entry
        for egress in (False, True)
        for entry in (AclEntry(100, egress, True, "0.0.0.0/0"), AclEntry(32767, egress, False, "0.0.0.0/0"))
    ]
    return NetworkAcl(acl_id, tuple(subnets), tuple(both))


def make_snapshot(*, endpoints: bool, internet: str = "") -> Snapshot:
    """A node in a private subnet, and endpoints or NAT. C(internet): C(nat), C(regional), C(igw), or none."""
    routes = [Route("10.0.0.0/16", "local")]
    if endpoints:
        routes.append(Route("pl-s3", "vpce-s3"))
    if internet:
        routes.append(Route("0.0.0.0/0", "igw-1" if internet == "igw" else "nat-1"))
    network = Network(
        vpcs={"vpc-1": Vpc("vpc-1", ("10.0.0.0/16",))},
        subnets={
            name: VpcSubnet(name, "vpc-1", cidr)
            for name, cidr in (
                ("subnet-node", "10.0.1.0/24"),
                ("subnet-endpoint", "10.0.2.0/24"),
                ("subnet-public", "10.0.9.0/24"),
            )
        },
        route_tables=(
            RouteTable("rtb-main", "vpc-1", True, (), (Route("10.0.0.0/16", "local"),)),
            RouteTable("rtb-node", "vpc-1", False, ("subnet-node",), tuple(routes)),
            RouteTable(
                "rtb-public",
                "vpc-1",
                False,
                ("subnet-public",),
                (Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "igw-1")),
            ),
        ),
        network_acls=(
            allow_all_acl("acl-node", "subnet-node"),
            allow_all_acl("acl-endpoint", "subnet-endpoint"),
            allow_all_acl("acl-public", "subnet-public"),
        ),
        security_groups={
            "sg-node": SecurityGroup("sg-node", (), (HTTPS_ANYWHERE,)),
            "sg-endpoint": SecurityGroup("sg-endpoint", (SecurityGroupRule("tcp", 443, 443, groups=("sg-node",)),)),
        },
        prefix_lists={"pl-s3": PrefixList("pl-s3", f"com.amazonaws.{REGION}.s3", S3_CIDRS)},
        nat_gateways={
            "nat-1": NatGateway("nat-1", "vpc-1", "", availability_mode="regional")
            if internet == "regional"
            else NatGateway("nat-1", "vpc-1", "subnet-public", public_ips=("198.51.100.7",))
        },
        internet_gateways={"igw-1": InternetGateway("igw-1", ("vpc-1",))},
        endpoints=(
            VpcEndpoint("vpce-api", "vpc-1", f"com.amazonaws.{REGION}.ecr.api", interface_ids=("eni-api",)),
            VpcEndpoint("vpce-dkr", "vpc-1", f"com.amazonaws.{REGION}.ecr.dkr", interface_ids=("eni-dkr",)),
            VpcEndpoint("vpce-s3", "vpc-1", f"com.amazonaws.{REGION}.s3", "Gateway", route_table_ids=("rtb-node",)),
        )
        if endpoints
        else (),
        interfaces={
            "eni-api": NetworkInterface("eni-api", "subnet-endpoint", ("10.0.2.10",), ("sg-endpoint",)),
            "eni-dkr": NetworkInterface("eni-dkr", "subnet-endpoint", ("10.0.2.11",), ("sg-endpoint",)),
        },
    )
    public_ip = "203.0.113.9" if internet == "igw" else ""
    interface = NetworkInterface("eni-node", "subnet-node", ("10.0.1.5",), ("sg-node",), public_ip)
    role = NodeRole(ROLE, (("pull", PULL_ONLY),))
    return Snapshot(
        region=REGION,
        account=ACCOUNT,
        nodes={"n1": ClusterNode("n1", "i-1", "aws:///eu-central-1a/i-1", "amd64")},
        instances={"i-1": NodeInstance("i-1", "vpc-1", interface, profile_arn=PROFILE)},
        network=network,
        roles={PROFILE: role, ROLE: role},
        registries={
            (ACCOUNT, REGION): EcrRegistry(
                ACCOUNT, REGION, {"shop/app": EcrRepository("shop/app", images={"v1": "ACTIVE"})}
            )
        },
    )


def make_request(image: str = IMAGE, *messages: str, **more: Any) -> PullRequest:
    return PullRequest(image, "shop", "app-1", "app", "n1", messages=messages, **more)


def run(snapshot: Snapshot, request: PullRequest | None = None) -> PullDiagnosis:
    return explain_pull(PullContext.build(snapshot, request or make_request()))


# --- Changes.


def change_network(**parts: Any) -> Change:
    return lambda snapshot: replace(snapshot, network=replace(snapshot.network, **parts))


def change_by_id(part: str, key: str, **fields: Any) -> Change:
    """Change fields of one entry of a mapping of the network."""

    def change(snapshot: Snapshot) -> Snapshot:
        entries: Mapping[str, Any] = getattr(snapshot.network, part)
        return change_network(**{part: {**entries, key: replace(entries[key], **fields)}})(snapshot)

    return change


def change_listed(part: str, key: str, **fields: Any) -> Change:
    """Change fields of one entry of a list of the network."""

    def change(snapshot: Snapshot) -> Snapshot:
        entries = tuple(
            replace(entry, **fields) if entry.id == key else entry for entry in getattr(snapshot.network, part)
        )
        return change_network(**{part: entries})(snapshot)

    return change


def drop_listed(part: str, key: str) -> Change:
    return lambda snapshot: change_network(
        **{part: tuple(entry for entry in getattr(snapshot.network, part) if entry.id != key)}
    )(snapshot)


def drop_by_id(part: str, key: str) -> Change:
    return lambda snapshot: change_network(
        **{part: {name: entry for name, entry in getattr(snapshot.network, part).items() if name != key}}
    )(snapshot)


def change_routes(table: str, *, drop: str = "", add: tuple[Route, ...] = ()) -> Change:
    def change(snapshot: Snapshot) -> Snapshot:
        found = next(entry for entry in snapshot.network.route_tables if entry.id == table)
        routes = tuple(route for route in found.routes if route.destination != drop) + add
        return change_listed("route_tables", table, routes=routes)(snapshot)

    return change


def add_acl_entries(acl: str, *entries: AclEntry) -> Change:
    def change(snapshot: Snapshot) -> Snapshot:
        found = next(entry for entry in snapshot.network.network_acls if entry.id == acl)
        return change_listed("network_acls", acl, entries=(*found.entries, *entries))(snapshot)

    return change


def change_interface(**fields: Any) -> Change:
    def change(snapshot: Snapshot) -> Snapshot:
        instance = snapshot.instances["i-1"]
        changed = replace(instance, interface=replace(instance.interface, **fields))
        return replace(snapshot, instances={"i-1": changed})

    return change


def change_instance(**fields: Any) -> Change:
    return lambda snapshot: replace(snapshot, instances={"i-1": replace(snapshot.instances["i-1"], **fields)})


def change_role(**fields: Any) -> Change:
    return lambda snapshot: replace(
        snapshot, roles={key: replace(role, **fields) for key, role in snapshot.roles.items()}
    )


def change_node(**fields: Any) -> Change:
    return lambda snapshot: replace(snapshot, nodes={"n1": replace(snapshot.nodes["n1"], **fields)})


def change_registry(**fields: Any) -> Change:
    def change(snapshot: Snapshot) -> Snapshot:
        key = (ACCOUNT, REGION)
        return replace(snapshot, registries={key: replace(snapshot.registries[key], **fields)})

    return change


def change_repository(**fields: Any) -> Change:
    def change(snapshot: Snapshot) -> Snapshot:
        repository = snapshot.registries[ACCOUNT, REGION].repositories["shop/app"]
        return change_registry(repositories={"shop/app": replace(repository, **fields)})(snapshot)

    return change


def allow(action: Any, resource: Any = "*", principal: Any = "*", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def combine(*changes: Change) -> Change:
    def change(snapshot: Snapshot) -> Snapshot:
        for part in changes:
            snapshot = part(snapshot)
        return snapshot

    return change
