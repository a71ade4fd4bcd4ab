# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that are broken in one part: the cause is that part, and everything else is right. Then pairs of faults."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._pull.context import PullContext
from ansible_collections.daytwo.aws.plugins.module_utils._pull.model import (
    AclEntry,
    BlockPublicAccess,
    NetworkInterface,
    PullRequest,
    PullSecret,
    PullThroughRule,
    Route,
    SecurityGroupRule,
    Snapshot,
    VpcEndpoint,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._pull import networks as net
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._pull.networks import (
    IMAGE,
    PUBLIC_IMAGE,
    Change,
    make_request,
    make_snapshot,
    run,
)

PRIVATE = make_snapshot(endpoints=True)
NAT = make_snapshot(endpoints=False, internet="nat")
REGIONAL = make_snapshot(endpoints=False, internet="regional")
IGW = make_snapshot(endpoints=False, internet="igw")
DENY_443_OUT = AclEntry(50, True, False, "0.0.0.0/0", "6", 443, 443)
DENY_EPHEMERAL_IN = AclEntry(50, False, False, "0.0.0.0/0", "6", 40000, 40100)
ONLY_INSIDE = SecurityGroupRule("-1", cidrs=("10.0.0.0/16",))


@pytest.mark.parametrize(
    ("snapshot", "image"),
    [(PRIVATE, IMAGE), (NAT, IMAGE), (REGIONAL, IMAGE), (IGW, IMAGE)]
    + [(snapshot, PUBLIC_IMAGE) for snapshot in (NAT, REGIONAL, IGW)],
)
def test_a_network_that_works_has_nothing_wrong_and_nothing_unknown(snapshot: Snapshot, image: str) -> None:
    diagnosis = run(snapshot, make_request(image))
    assert [check for check in diagnosis.checks if check.status != "ok"] == []
    assert (diagnosis.status, diagnosis.cause) == ("ok", None)
    assert len(diagnosis.checks) > 6


MAYBE_DENY = {
    "Statement": {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "ecr:*",
        "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}},
    }
}


def endpoint(key: str, **fields: Any) -> Change:
    return net.change_listed("endpoints", key, **fields)


def group(key: str, **fields: Any) -> Change:
    return net.change_by_id("security_groups", key, **fields)


# name: (snapshot, image, change, the cause's name, a piece of evidence, other checks that the same part makes wrong)
FAULTS: dict[str, tuple[Snapshot, str, Change, str, str, set[str]]] = {
    "no ecr.api endpoint": (
        PRIVATE,
        IMAGE,
        net.drop_listed("endpoints", "vpce-api"),
        "ecr.api endpoint",
        "subnet-node",
        set(),
    ),
    "no ecr.dkr endpoint": (
        PRIVATE,
        IMAGE,
        net.drop_listed("endpoints", "vpce-dkr"),
        "ecr.dkr endpoint",
        "vpc-1",
        set(),
    ),
    "no S3 endpoint": (
        PRIVATE,
        IMAGE,
        net.combine(net.drop_listed("endpoints", "vpce-s3"), net.change_routes("rtb-node", drop="pl-s3")),
        "s3 endpoint",
        "rtb-node",
        set(),
    ),
    "S3 endpoint not on this table": (
        PRIVATE,
        IMAGE,
        net.change_routes("rtb-node", drop="pl-s3"),
        "s3 endpoint",
        "vpce-s3",
        set(),
    ),
    "endpoint pending": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-api", state="pendingAcceptance"),
        "ecr.api endpoint",
        "vpce-api",
        set(),
    ),
    "endpoint failed": (PRIVATE, IMAGE, endpoint("vpce-dkr", state="failed"), "ecr.dkr endpoint", "vpce-dkr", set()),
    "no private DNS": (PRIVATE, IMAGE, endpoint("vpce-dkr", private_dns=False), "ecr.dkr endpoint", "vpce-dkr", set()),
    "endpoint of another name": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-api", dns_names=("ecr.eu-central-1.api.aws",)),
        "ecr.api endpoint",
        "vpce-api",
        set(),
    ),
    "endpoint for IPv6 only": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-dkr", ip_type="ipv6"),
        "ecr.dkr endpoint",
        "vpce-dkr",
        set(),
    ),
    "endpoint policy of ecr.api": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-api", policy=net.allow("ecr:BatchGetImage")),
        "ecr.api endpoint_policy",
        "vpce-api",
        set(),
    ),
    "endpoint policy of ecr.dkr": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-dkr", policy=net.allow("ecr:*", "arn:aws:ecr:*:*:repository/other/*")),
        "ecr.dkr endpoint_policy",
        "vpce-dkr",
        set(),
    ),
    "endpoint policy for another role": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-dkr", policy=net.allow("ecr:*", principal={"AWS": "arn:aws:iam::123456789012:role/other"})),
        "ecr.dkr endpoint_policy",
        "vpce-dkr",
        set(),
    ),
    "endpoint policy of S3": (
        PRIVATE,
        IMAGE,
        endpoint("vpce-s3", policy=net.allow("s3:GetObject", "arn:aws:s3:::own-bucket/*")),
        "s3 endpoint_policy",
        "vpce-s3",
        set(),
    ),
    "endpoint's group without the node": (
        PRIVATE,
        IMAGE,
        group("sg-endpoint", ingress=(SecurityGroupRule("tcp", 443, 443, groups=("sg-other",)),)),
        "ecr.api endpoint_security_group",
        "sg-endpoint",
        {"ecr.dkr endpoint_security_group"},
    ),
    "endpoint's group with another port": (
        PRIVATE,
        IMAGE,
        group("sg-endpoint", ingress=(SecurityGroupRule("tcp", 80, 80, cidrs=("10.0.0.0/16",)),)),
        "ecr.api endpoint_security_group",
        "sg-endpoint",
        {"ecr.dkr endpoint_security_group"},
    ),
    "node's group without egress": (
        PRIVATE,
        IMAGE,
        group("sg-node", egress=()),
        "ecr.api security_group",
        "sg-node",
        {"ecr.dkr security_group", "s3 security_group"},
    ),
    "node's group without S3": (
        PRIVATE,
        IMAGE,
        group("sg-node", egress=(ONLY_INSIDE,)),
        "s3 security_group",
        "sg-node",
        set(),
    ),
    "node's ACL blocks 443": (
        PRIVATE,
        IMAGE,
        net.add_acl_entries("acl-node", DENY_443_OUT),
        "ecr.api network_acl",
        "rule 50 deny 443-443 0.0.0.0/0",
        {"ecr.dkr network_acl", "s3 network_acl"},
    ),
    "node's ACL blocks the way back": (
        PRIVATE,
        IMAGE,
        net.add_acl_entries("acl-node", DENY_EPHEMERAL_IN),
        "ecr.api network_acl",
        "rule 50 deny 40000-40100 0.0.0.0/0",
        {"ecr.dkr network_acl", "s3 network_acl"},
    ),
    "node's ACL blocks S3 only": (
        PRIVATE,
        IMAGE,
        net.add_acl_entries("acl-node", *(AclEntry(10 + n, True, False, cidr) for n, cidr in enumerate(net.S3_CIDRS))),
        "s3 network_acl",
        "acl-node",
        set(),
    ),
    "endpoint's ACL blocks the node": (
        PRIVATE,
        IMAGE,
        net.add_acl_entries("acl-endpoint", AclEntry(10, False, False, "10.0.1.0/24")),
        "ecr.api endpoint_network_acl",
        "rule 10 deny 10.0.1.0/24",
        {"ecr.dkr endpoint_network_acl"},
    ),
    "endpoint's ACL blocks the way back": (
        PRIVATE,
        IMAGE,
        net.add_acl_entries("acl-endpoint", AclEntry(10, True, False, "10.0.1.5/32", "6", 32768, 65535)),
        "ecr.api endpoint_network_acl",
        "acl-endpoint",
        {"ecr.dkr endpoint_network_acl"},
    ),
    "DNS off": (PRIVATE, IMAGE, net.change_by_id("vpcs", "vpc-1", dns_support=False), "dns", "vpc-1", set()),
    "DNS host names off": (
        PRIVATE,
        IMAGE,
        net.change_by_id("vpcs", "vpc-1", dns_hostnames=False),
        "ecr.api endpoint",
        "vpce-api",
        {"ecr.dkr endpoint"},
    ),
    "no instance profile": (PRIVATE, IMAGE, net.change_instance(profile_arn=""), "ecr.api node_role", "i-1", set()),
    "node role without policies": (
        PRIVATE,
        IMAGE,
        net.change_role(policies=()),
        "ecr.api node_role",
        net.ROLE,
        {"ecr.dkr node_role"},
    ),
    "node role for another repository": (
        PRIVATE,
        IMAGE,
        net.change_role(
            policies=(
                ("token", net.allow("ecr:GetAuthorizationToken")),
                (
                    "pull",
                    net.allow(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], "arn:aws:ecr:*:*:repository/x"),
                ),
            )
        ),
        "ecr.dkr node_role",
        net.ROLE,
        set(),
    ),
    "permissions boundary": (
        PRIVATE,
        IMAGE,
        net.change_role(boundary=net.allow("s3:*")),
        "ecr.api node_role",
        "the permissions boundary",
        {"ecr.dkr node_role"},
    ),
    "repository policy denies": (
        PRIVATE,
        IMAGE,
        net.change_repository(
            policy={"Statement": {"Effect": "Deny", "Principal": "*", "Action": "ecr:BatchGetImage"}}
        ),
        "ecr.dkr repository_policy",
        net.ROLE,
        set(),
    ),
    "registry policy denies": (
        PRIVATE,
        IMAGE,
        net.change_registry(policy={"Statement": {"Effect": "Deny", "Principal": "*", "Action": "ecr:*"}}),
        "ecr.dkr registry_policy",
        net.ROLE,
        set(),
    ),
    "no repository": (PRIVATE, IMAGE, net.change_registry(repositories={}), "ecr.dkr repository", "shop/app", set()),
    "no image": (PRIVATE, IMAGE, net.change_repository(images={"v1": None}), "ecr.dkr image", "v1", set()),
    "image archived": (
        PRIVATE,
        IMAGE,
        net.change_repository(images={"v1": "ARCHIVED"}),
        "ecr.dkr image",
        "ARCHIVED",
        set(),
    ),
    "image activating": (
        PRIVATE,
        IMAGE,
        net.change_repository(images={"v1": "ACTIVATING"}),
        "ecr.dkr image",
        "ACTIVATING",
        set(),
    ),
    "pull-through without a route to the internet": (
        PRIVATE,
        IMAGE,
        net.change_registry(
            repositories={},
            rules=(PullThroughRule("shop", "public.ecr.aws"),),
            policy=net.allow("ecr:CreateRepository"),
        ),
        "ecr.dkr pull_through",
        "public.ecr.aws",
        set(),
    ),
    "disk pressure": (PRIVATE, IMAGE, net.change_node(disk_pressure=True), "disk", "n1", set()),
    # With NAT.
    "no default route": (
        NAT,
        PUBLIC_IMAGE,
        net.change_routes("rtb-node", drop="0.0.0.0/0"),
        "registry route",
        "rtb-node",
        set(),
    ),
    "black hole": (
        NAT,
        PUBLIC_IMAGE,
        net.change_routes("rtb-node", drop="0.0.0.0/0", add=(Route("0.0.0.0/0", "nat-1", "blackhole"),)),
        "registry route",
        "0.0.0.0/0 to nat-1 (blackhole)",
        set(),
    ),
    "NAT gateway deleted": (
        NAT,
        PUBLIC_IMAGE,
        net.change_by_id("nat_gateways", "nat-1", state="deleted"),
        "registry gateway",
        "nat-1",
        set(),
    ),
    "NAT gateway failed": (
        NAT,
        PUBLIC_IMAGE,
        net.change_by_id("nat_gateways", "nat-1", state="failed", failure="no free addresses"),
        "registry gateway",
        "nat-1",
        set(),
    ),
    "NAT gateway in a private subnet": (
        NAT,
        PUBLIC_IMAGE,
        net.change_routes("rtb-public", drop="0.0.0.0/0"),
        "registry gateway",
        "rtb-public",
        set(),
    ),
    "internet gateway detached behind NAT": (
        NAT,
        PUBLIC_IMAGE,
        net.change_by_id("internet_gateways", "igw-1", vpc_ids=()),
        "registry gateway",
        "nat-1",
        set(),
    ),
    "NAT's ACL blocks the internet": (
        NAT,
        PUBLIC_IMAGE,
        net.add_acl_entries("acl-public", AclEntry(10, True, False, "0.0.0.0/0", "6", 443, 443)),
        "registry nat_network_acl",
        "acl-public",
        set(),
    ),
    "NAT's ACL blocks the way back": (
        NAT,
        PUBLIC_IMAGE,
        net.add_acl_entries("acl-public", AclEntry(10, False, False, "0.0.0.0/0", "6", 1024, 2000)),
        "registry nat_network_acl",
        "acl-public",
        set(),
    ),
    "NAT's ACL blocks the node": (
        NAT,
        PUBLIC_IMAGE,
        net.add_acl_entries("acl-public", AclEntry(10, False, False, "10.0.1.0/24")),
        "registry nat_network_acl",
        "acl-public",
        set(),
    ),
    "node's group for the VPC only": (
        NAT,
        PUBLIC_IMAGE,
        group("sg-node", egress=(ONLY_INSIDE,)),
        "registry security_group",
        "sg-node",
        set(),
    ),
    "node's ACL blocks the internet": (
        NAT,
        PUBLIC_IMAGE,
        net.add_acl_entries("acl-node", DENY_443_OUT),
        "registry network_acl",
        "acl-node",
        set(),
    ),
    "Block Public Access": (
        NAT,
        PUBLIC_IMAGE,
        net.change_network(public_access=BlockPublicAccess("block-bidirectional")),
        "registry block_public_access",
        "block-bidirectional",
        set(),
    ),
    "regional NAT without an internet gateway": (
        REGIONAL,
        PUBLIC_IMAGE,
        net.change_by_id("internet_gateways", "igw-1", vpc_ids=()),
        "registry gateway",
        "vpc-1",
        set(),
    ),
    # With an internet gateway.
    "no public address": (
        IGW,
        PUBLIC_IMAGE,
        net.change_interface(public_ip=""),
        "registry public_address",
        "eni-node",
        set(),
    ),
    "internet gateway detached": (
        IGW,
        PUBLIC_IMAGE,
        net.change_by_id("internet_gateways", "igw-1", vpc_ids=()),
        "registry gateway",
        "igw-1",
        set(),
    ),
    "Block Public Access, inbound": (
        IGW,
        PUBLIC_IMAGE,
        net.change_network(public_access=BlockPublicAccess("block-ingress")),
        "registry block_public_access",
        "block-ingress",
        set(),
    ),
    # ECR by NAT.
    "ECR by a dead NAT gateway": (
        NAT,
        IMAGE,
        net.change_by_id("nat_gateways", "nat-1", state="deleting"),
        "ecr.api gateway",
        "nat-1",
        {"ecr.dkr gateway", "s3 gateway"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_cause_is_what_was_broken_and_the_rest_is_right(name: str) -> None:
    snapshot, image, change, cause, evidence, same = FAULTS[name]
    diagnosis = run(change(snapshot), make_request(image))
    assert diagnosis.cause is not None
    assert diagnosis.cause.name == cause
    assert any(evidence in text for text in (*diagnosis.cause.evidence, diagnosis.cause.reason))
    assert diagnosis.cause.remediation
    assert {check.name for check in diagnosis.checks if check.status == "wrong"} == {cause, *same}
    assert {check.name for check in diagnosis.checks if check.status == "unknown"} - {"ecr.dkr node_role"} == set()
    # Undone, the pull works again.
    assert run(snapshot, make_request(image)).status == "ok"


def test_there_are_many_faults() -> None:
    assert len(FAULTS) >= 50
    assert len({fault[3] for fault in FAULTS.values()}) >= 25


NETWORK = (
    "endpoint",
    "route",
    "security_group",
    "network_acl",
    "endpoint_network_acl",
    "endpoint_security_group",
    "endpoint_policy",
)
REPOSITORY = ("node_role", "repository_policy", "registry_policy", "repository", "image", "pull_through")
ORDER = [
    "dns",
    *(f"ecr.api {check}" for check in (*NETWORK, "node_role")),
    *(f"ecr.dkr {check}" for check in (*NETWORK, *REPOSITORY)),
    *(f"s3 {check}" for check in NETWORK),
    "disk",
]
# Two changes of one part undo each other.
OF_REGISTRY = {"no repository", "no image", "image archived", "image activating", "registry policy denies"}
OF_REGISTRY |= {"repository policy denies", "pull-through without a route to the internet"}
PAIRS = [
    (first, second)
    for first, second in itertools.combinations([name for name in FAULTS if FAULTS[name][0] is PRIVATE], 2)
    if FAULTS[first][3] != FAULTS[second][3] and not {first, second} <= OF_REGISTRY
]


@pytest.mark.parametrize("first", sorted({pair[0] for pair in PAIRS}))
def test_of_two_faults_the_first_in_path_order_is_the_cause(first: str) -> None:
    for second in (pair[1] for pair in PAIRS if pair[0] == first):
        diagnosis = run(net.combine(FAULTS[first][2], FAULTS[second][2])(PRIVATE))
        wrong = {check.name for check in diagnosis.checks if check.status == "wrong"}
        assert {FAULTS[first][3], FAULTS[second][3]} & wrong, second
        assert diagnosis.cause is not None
        assert diagnosis.cause.name == min(wrong, key=ORDER.index), second


def test_there_are_many_pairs() -> None:
    assert len(PAIRS) > 400


# --- What is not known.


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("tgw-1", "a transit gateway (tgw-1)"),
        ("pcx-1", "a peering connection (pcx-1)"),
        ("vpce-fw", "an endpoint of a firewall or an appliance (vpce-fw)"),
        ("eni-9", "an appliance (eni-9)"),
        ("vgw-1", "a virtual private gateway (vgw-1)"),
        ("lgw-1", "a local gateway (lgw-1)"),
    ],
)
def test_what_is_behind_other_targets_is_unknown_and_named(target: str, named: str) -> None:
    snapshot = net.change_routes("rtb-node", drop="0.0.0.0/0", add=(Route("0.0.0.0/0", target),))(NAT)
    diagnosis = run(snapshot, make_request(PUBLIC_IMAGE))
    assert diagnosis.status == "unknown"
    assert diagnosis.cause is None
    assert [named in check.reason for check in diagnosis.checks if check.status == "unknown"] == [True]


def test_nat_behind_a_transit_gateway_or_a_private_nat_is_unknown() -> None:
    beyond = net.change_routes("rtb-public", drop="0.0.0.0/0", add=(Route("0.0.0.0/0", "tgw-1"),))(NAT)
    private = net.change_by_id("nat_gateways", "nat-1", connectivity="private")(NAT)
    for snapshot in (beyond, private):
        assert run(snapshot, make_request(PUBLIC_IMAGE)).status == "unknown"


@pytest.mark.parametrize(
    ("part", "unknown"),
    [
        ("subnets", {"dns"}),
        ("route_tables", {"ecr.api route", "ecr.dkr route", "s3 route"}),
        ("roles", {"ecr.api node_role"}),
        ("registries", {"ecr.dkr repository"}),
    ],
)
def test_what_could_not_be_read_is_unknown_and_names_the_permission(part: str, unknown: set[str]) -> None:
    snapshot = make_snapshot(endpoints=False, internet="nat")
    empty: dict[str, Change] = {
        "subnets": net.change_network(subnets={}, vpcs={}),
        "route_tables": net.change_network(route_tables=()),
        "roles": lambda found: replace(found, roles={}),
        "registries": lambda found: replace(found, registries={}),
    }
    denied = replace(empty[part](snapshot), unreadable={part: f"DescribeX: denied. Allow ec2:Describe{part}."})
    diagnosis = run(denied)
    assert diagnosis.status == "unknown"
    unreadable = [check for check in diagnosis.checks if f"Allow ec2:Describe{part}." in check.reason]
    assert unknown <= {check.name for check in unreadable}
    assert {check.status for check in unreadable} == {"unknown"}


@pytest.mark.parametrize(
    "part", ["network_acls", "security_groups", "nat_gateways", "internet_gateways", "public_access"]
)
def test_a_part_of_the_network_that_could_not_be_read_makes_only_its_checks_unknown(part: str) -> None:
    empty: Any = () if part == "network_acls" else BlockPublicAccess() if part == "public_access" else {}
    denied = replace(net.change_network(**{part: empty})(NAT), unreadable={part: "denied: allow it"})
    diagnosis = run(denied, make_request(PUBLIC_IMAGE))
    statuses = {check.name: check.status for check in diagnosis.checks}
    assert "wrong" not in statuses.values()
    unknown = {check.name for check in diagnosis.checks if check.reason == "denied: allow it"}
    assert unknown
    assert {name for name, status in statuses.items() if status == "unknown"} == unknown


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        (net.change_registry(unreadable={"policy": "denied"}), "registry_policy", "denied"),
        (net.change_repository(unreadable="denied"), "repository_policy", "denied"),
        (net.change_repository(policy=MAYBE_DENY), "repository_policy", "Whether the policy, Statement[0] denies"),
        (net.change_registry(policy=MAYBE_DENY), "registry_policy", "Whether the policy, Statement[0] denies"),
    ],
)
def test_a_policy_that_may_have_a_deny_is_unknown(change: Change, name: str, reason: str) -> None:
    (check,) = (check for check in run(change(PRIVATE)).checks if check.status == "unknown")
    assert check.name == f"ecr.dkr {name}"
    assert reason in check.reason


def test_unreadable_endpoints_are_no_missing_endpoints() -> None:
    snapshot = replace(net.change_network(endpoints=())(PRIVATE), unreadable={"endpoints": "denied"})
    diagnosis = run(snapshot)
    assert diagnosis.cause is None
    assert [check.reason for check in diagnosis.checks if check.check == "endpoint"] == ["denied"] * 3


def test_own_resolvers_are_unknown() -> None:
    snapshot = net.change_by_id("vpcs", "vpc-1", resolvers=("10.0.0.53",))(PRIVATE)
    assert [(check.name, check.status) for check in run(snapshot).checks if check.status != "ok"] == [
        ("dns", "unknown")
    ]
    message = "dial tcp: lookup registry.example on 10.0.0.53:53: no such host"
    cause = run(snapshot, make_request(IMAGE, message)).cause
    assert cause is not None
    assert cause.name == "dns"


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (
            net.change_node(instance_id="", provider_id="aws:///a/x/fargate-ip-10-0-1-5"),
            "The node is Fargate's",
        ),
        (net.change_node(instance_id="i-gone"), "No EC2 instance"),
        (lambda snapshot: replace(snapshot, nodes={}), "no node n1 any more"),
    ],
)
def test_a_node_without_an_instance_is_unknown(node: Change, text: str) -> None:
    snapshot = replace(node(PRIVATE), instances={})
    diagnosis = run(snapshot)
    assert text in next(check.reason for check in diagnosis.checks if check.check == "node")
    assert diagnosis.status == "unknown"
    assert diagnosis.cause is None


# --- The event decides.

DKR_URL = f"https://{net.ECR_HOST}/v2/shop/app/manifests/v1"
HEAD = f'failed to do request: Head "{DKR_URL}": '
S3_GET = f'failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://prod-{net.REGION}-starport-'


@pytest.mark.parametrize(
    ("changes", "message", "cause"),
    [
        # Both are wrong; the text names the one that was met.
        (("no ecr.api endpoint", "endpoint failed"), f"{HEAD}dial tcp 3.120.1.1:443: i/o timeout", "ecr.dkr endpoint"),
        (
            ("no ecr.api endpoint", "S3 endpoint not on this table"),
            f'{S3_GET}layer-bucket.s3.{net.REGION}.amazonaws.com/x": dial tcp 3.5.136.1:443: i/o timeout',
            "s3 endpoint",
        ),
        (("no ecr.api endpoint", "endpoint failed"), f"{HEAD}no basic auth credentials", "ecr.api endpoint"),
        (
            ("node role without policies", "endpoint failed"),
            "authorization failed: no basic auth credentials",
            "ecr.api node_role",
        ),
        (
            ("no ecr.api endpoint", "endpoint policy of S3"),
            f"unexpected status from GET request to https://prod-{net.REGION}-starport-layer-bucket.s3.{net.REGION}."
            "amazonaws.com/x: 403 Forbidden",
            "s3 endpoint_policy",
        ),
        (
            ("no ecr.api endpoint", "repository policy denies"),
            f"unexpected status from HEAD request to {DKR_URL}: 403 Forbidden",
            "ecr.dkr repository_policy",
        ),
        (("no ecr.api endpoint", "image archived"), f"{DKR_URL}: 404 Not Found", "ecr.dkr image"),
        (("no ecr.api endpoint", "disk pressure"), "write /x: no space left on device", "disk"),
        # What no API shows.
        (("no ecr.api endpoint",), f"{HEAD}net/http: TLS handshake timeout", "tls"),
        ((), f"{HEAD}x509: certificate signed by unknown authority", "certificate"),
        ((), f"{HEAD}proxyconnect tcp: dial tcp 10.0.9.9:3128: i/o timeout", "proxy"),
        ((), f"{HEAD}429 Too Many Requests", "rate_limit"),
        ((), "pull QPS exceeded", "kubelet_rate_limit"),
        ((), "no match for platform in manifest: not found", "platform"),
        ((), "read tcp 10.0.1.5:1->10.0.2.11:443: read: connection reset by peer", "interrupted"),
        ((), "dial tcp 10.0.2.11:443: connect: connection refused", "unreachable"),
        ((), "write /x: no space left on device", "disk"),
        ((), f"dial tcp: lookup {net.ECR_HOST} on 10.0.0.2:53: no such host", "dns"),
        ((), f"{HEAD}no basic auth credentials", "ecr.api credential_provider"),
        (
            (),
            "denied: Your authorization token has expired. Reauthenticate and try again.",
            "ecr.api credential_provider",
        ),
        ((), f"{HEAD}dial tcp 3.120.1.1:443: i/o timeout", "ecr.dkr private_dns"),
        ((), 'couldn\'t parse image reference "X": invalid reference format', "image_name"),
        ((), "Error: ErrImageNeverPull", "pull_policy"),
        ((), "denied: The authentication to the upstream registry failed. Verify", "upstream"),
        # Nothing explains these.
        ((), f"{HEAD}dial tcp 10.0.2.11:443: i/o timeout", None),
        ((), 'Back-off pulling image "x"', None),
        ((), "blocked by a plugin", None),
        (("no ecr.api endpoint", "endpoint failed"), "blocked by a plugin", "ecr.api endpoint"),
    ],
)
def test_the_message_decides_between_causes(changes: tuple[str, ...], message: str, cause: str | None) -> None:
    snapshot = net.combine(*(FAULTS[name][2] for name in changes))(PRIVATE)
    diagnosis = run(snapshot, make_request(IMAGE, message))
    assert (diagnosis.cause.name if diagnosis.cause else None) == cause


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("registry.example/team/app:1: not found", "not_found"),
        (
            "unexpected status from HEAD request to https://registry.example/v2/a/manifests/1: 403 Forbidden",
            "forbidden",
        ),
        ("401 Unauthorized", "registry pull_secret"),
    ],
)
def test_what_another_registry_answered_is_the_cause(message: str, cause: str) -> None:
    found = run(NAT, make_request("registry.example/team/app:1", message)).cause
    assert found is not None
    assert found.name == cause


def test_what_a_registry_answered_decides_where_a_check_is_unknown() -> None:
    denied = replace(NAT, registries={}, unreadable={"registries": "denied"})
    cause = run(denied, make_request(IMAGE, f"{net.ECR_HOST}/shop/app:v1: not found")).cause
    assert cause is not None
    assert cause.name == "not_found"
    # The image is there now.
    assert run(NAT, make_request(IMAGE, f"{net.ECR_HOST}/shop/app:v1: not found")).cause is None
    secret = make_request("registry.example/a:1", "401 Unauthorized", secrets=("regcred",))
    cause = run(NAT, secret).cause
    assert cause is not None
    assert cause.name == "unauthorized"


def test_a_mirror_is_named() -> None:
    text = (
        "unexpected status code https://mirror.example/v2/shop/app/blobs/sha256:1?ns=registry.example: 400 Bad Request"
    )
    diagnosis = run(NAT, make_request("registry.example/shop/app:v1", text))
    assert [check.reason for check in diagnosis.checks if check.check == "mirror"] == [
        "The node contacts mirror.example for images of registry.example: a mirror in containerd's certs.d."
    ]


def test_a_malformed_image_is_the_cause_whatever_else_is_wrong() -> None:
    diagnosis = run(FAULTS["DNS off"][2](PRIVATE), make_request("https://registry.example/a"))
    assert [check.name for check in diagnosis.checks] == ["image_name"]
    assert diagnosis.cause is not None
    assert "https://" in diagnosis.cause.reason


# --- Several interfaces of an endpoint.


def two_zones(second_subnet_blocked: bool) -> Change:
    changes: list[Change] = [
        net.change_network(
            interfaces={
                **PRIVATE.network.interfaces,
                "eni-dkr2": NetworkInterface("eni-dkr2", "subnet-public", ("10.0.9.11",), ("sg-endpoint",)),
            }
        ),
        endpoint("vpce-dkr", interface_ids=("eni-dkr", "eni-dkr2")),
    ]
    if second_subnet_blocked:
        changes.append(net.add_acl_entries("acl-public", AclEntry(10, False, False, "10.0.1.0/24")))
    return net.combine(*changes)


def test_an_endpoint_with_an_unreachable_address_is_unknown_and_the_message_decides() -> None:
    assert run(two_zones(False)(PRIVATE)).status == "ok"
    partly = run(two_zones(True)(PRIVATE))
    assert (partly.status, partly.cause) == ("unknown", None)
    assert "1 of 2 addresses" in next(check.reason for check in partly.checks if check.status == "unknown")
    dialed = run(two_zones(True)(PRIVATE), make_request(IMAGE, f"{HEAD}dial tcp 10.0.9.11:443: i/o timeout"))
    assert dialed.cause is not None
    assert dialed.cause.name == "ecr.dkr endpoint_network_acl"


# --- Plans without a pod.


def plan(snapshot: Snapshot, **more: Any) -> Any:
    return run(snapshot, PullRequest(IMAGE, **more))


def test_a_plan_for_a_node_needs_no_pod() -> None:
    assert plan(PRIVATE, node="n1").status == "ok"
    assert plan(FAULTS["no S3 endpoint"][2](PRIVATE), node="n1").cause.name == "s3 endpoint"
    assert plan(PRIVATE, node="i-1").status == "ok"


def test_a_plan_for_a_subnet_checks_what_it_names() -> None:
    bare = plan(PRIVATE, subnet_id="subnet-node")
    assert bare.status == "unknown"
    assert {check.check for check in bare.checks if check.status == "unknown"} == {
        "security_group",
        "endpoint_security_group",
        "node_role",
    }
    whole = {"subnet_id": "subnet-node", "group_ids": ("sg-node",), "role_arn": net.ROLE}
    assert plan(PRIVATE, **whole).status == "ok"
    assert plan(PRIVATE, **{**whole, "subnet_id": "subnet-endpoint"}).cause.name == "s3 endpoint"
    public = plan(IGW, **whole)
    assert [check.check for check in public.checks if check.status == "unknown"] == ["public_address"] * 3


# --- Foreign registries and pull secrets.

PRIVATE_IMAGE = "registry.example:5000/team/app:1"
UNAUTHORIZED = "401 Unauthorized"


def secrets(*found: PullSecret) -> Snapshot:
    return replace(NAT, secrets={"shop": found})


@pytest.mark.parametrize(
    ("snapshot", "names", "message", "status", "text"),
    [
        (NAT, (), "", "ok", "the pull is anonymous"),
        (NAT, (), UNAUTHORIZED, "wrong", "the pod has no pull secrets"),
        (NAT, ("regcred",), "", "unknown", "Set pull_secrets to true"),
        (
            replace(NAT, unreadable={"secrets": "list secrets: denied"}),
            ("regcred",),
            "",
            "unknown",
            "list secrets: denied",
        ),
        (secrets(), ("regcred",), "", "wrong", "shop has no secret regcred of type kubernetes.io/dockerconfigjson"),
        (secrets(PullSecret("regcred", ("registry.example:5000",))), ("regcred",), "", "ok", "has credentials for"),
        (
            secrets(PullSecret("regcred", ("https://registry.example:5000/v2/",))),
            ("regcred",),
            "",
            "ok",
            "has credentials",
        ),
        (secrets(PullSecret("regcred", ("*.example:5000",))), ("regcred",), "", "ok", "has credentials"),
        (secrets(PullSecret("regcred", ("registry.example:5000/team",))), ("regcred",), "", "ok", "has credentials"),
        (
            secrets(PullSecret("regcred", ("registry.example:5000/other",))),
            ("regcred",),
            "",
            "wrong",
            "not registry.example",
        ),
        (
            secrets(PullSecret("regcred", ("registry.example",))),
            ("regcred",),
            "",
            "wrong",
            "name registry.example, not",
        ),
        (secrets(PullSecret("regcred", ())), ("regcred",), "", "wrong", "name no host"),
        (secrets(PullSecret("regcred", None)), ("regcred",), "", "wrong", "malformed"),
        (secrets(PullSecret("a"), PullSecret("b", ("registry.example:5000",))), ("a", "b", "c"), "", "ok", "b has"),
        (
            secrets(PullSecret("regcred", ("registry.example:5000",))),
            ("regcred",),
            UNAUTHORIZED,
            "wrong",
            "rejects them",
        ),
    ],
)
def test_pull_secrets(snapshot: Snapshot, names: tuple[str, ...], message: str, status: str, text: str) -> None:
    diagnosis = run(snapshot, make_request(PRIVATE_IMAGE, *filter(None, (message,)), secrets=names))
    (check,) = (check for check in diagnosis.checks if check.check == "pull_secret")
    assert check.status == status
    assert text in check.reason


def test_docker_hub_has_names_of_its_own() -> None:
    request = make_request("busybox", UNAUTHORIZED, secrets=("hub",))
    for host in ("https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"):
        diagnosis = run(secrets(PullSecret("hub", (host,))), request)
        assert "hub has credentials" in next(check.reason for check in diagnosis.checks if check.check == "pull_secret")


def test_a_service_account_that_got_its_secret_later_is_named() -> None:
    snapshot = replace(NAT, service_account_secrets={("shop", "app"): ("regcred",)})
    cause = run(snapshot, make_request(PRIVATE_IMAGE, UNAUTHORIZED, service_account="app")).cause
    assert cause is not None
    assert "service account app has regcred" in cause.reason
    assert "Create the pod anew" in cause.remediation


# --- Other accounts and regions.

ELSEWHERE = IMAGE.replace(net.REGION, "us-east-1")
THEIRS = IMAGE.replace(net.ACCOUNT, net.OTHER_ACCOUNT)


def theirs(policy: Any) -> Snapshot:
    registry = PRIVATE.registries[net.ACCOUNT, net.REGION]
    repository = replace(registry.repositories["shop/app"], policy=policy)
    key = (net.OTHER_ACCOUNT, net.REGION)
    return replace(PRIVATE, registries={key: replace(registry, account=key[0], repositories={"shop/app": repository})})


def test_another_account_needs_a_repository_policy() -> None:
    cause = run(theirs(None), make_request(THEIRS)).cause
    assert cause is not None
    assert cause.name == "ecr.dkr repository_policy"
    both = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    allowed = {"Statement": {"Effect": "Allow", "Principal": {"AWS": net.ACCOUNT}, "Action": both}}
    assert run(theirs(allowed), make_request(THEIRS)).status == "ok"
    by_organization = {
        "Statement": {
            "Effect": "Allow",
            "Principal": "*",
            "Action": both,
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
        }
    }
    unknown = run(theirs(by_organization), make_request(THEIRS))
    assert [check.name for check in unknown.checks if check.status == "unknown"] == ["ecr.dkr repository_policy"]
    # The repository's policy alone is not enough there; in one account it is.
    by_policy = net.change_role(policies=(("token", net.allow("ecr:GetAuthorizationToken")),))
    cause = run(by_policy(theirs(allowed)), make_request(THEIRS)).cause
    assert cause is not None
    assert cause.name == "ecr.dkr node_role"
    assert run(net.combine(by_policy, net.change_repository(policy=allowed))(PRIVATE)).status == "ok"


def test_endpoints_serve_their_own_region_only() -> None:
    diagnosis = run(PRIVATE, make_request(ELSEWHERE))
    assert diagnosis.cause is not None
    assert diagnosis.cause.name == "ecr.api endpoint"
    assert "is in us-east-1, which endpoints of eu-central-1 do not serve" in diagnosis.cause.reason


# --- Pull-through caches.


def cached(rule: PullThroughRule, snapshot: Snapshot = NAT, **more: Any) -> Any:
    return run(net.change_registry(**{"repositories": {}, "rules": (rule,), **more})(snapshot))


def test_pull_through_caches() -> None:
    public, hub = PullThroughRule("shop", "public.ecr.aws"), PullThroughRule("shop", "registry-1.docker.io")
    create = net.allow("ecr:CreateRepository")
    assert cached(public, policy=create).status == "ok"
    diagnosis = cached(public)
    assert "not allowed ecr:CreateRepository" in diagnosis.cause.reason
    assert "has no credentials" in cached(hub, policy=create).cause.reason
    assert cached(replace(hub, has_credentials=True), policy=create).status == "ok"
    assert cached(PullThroughRule("other", "public.ecr.aws"), policy=create).cause.name == "ecr.dkr repository"
    assert cached(PullThroughRule("ROOT", "public.ecr.aws"), policy=create).status == "ok"
    # What is in the cache already needs neither rights nor a route.
    assert run(net.change_registry(rules=(hub,))(PRIVATE)).status == "ok"
    # A new tag of a cached image needs no new repository.
    missing = net.combine(net.change_repository(images={"v1": None}), net.change_registry(rules=(public,)))(NAT)
    assert run(missing).status == "ok"
    unreadable = net.change_registry(repositories={}, unreadable={"rules": "denied"})(NAT)
    assert run(unreadable).status == "unknown"


# --- Block Public Access, IPv6, S3 by an interface endpoint.


@pytest.mark.parametrize(
    ("snapshot", "mode", "exclusions", "status"),
    [
        (NAT, "block-ingress", {}, "ok"),
        (NAT, "block-bidirectional", {"vpc-1": "allow-egress"}, "ok"),
        (NAT, "block-bidirectional", {"subnet-public": "allow-bidirectional"}, "ok"),
        (NAT, "block-bidirectional", {"subnet-node": "allow-bidirectional"}, "wrong"),
        (IGW, "block-bidirectional", {"subnet-node": "allow-bidirectional"}, "ok"),
        (IGW, "block-bidirectional", {"subnet-node": "allow-egress"}, "unknown"),
        (IGW, "off", {}, "ok"),
    ],
)
def test_block_public_access(snapshot: Snapshot, mode: str, exclusions: dict[str, str], status: str) -> None:
    changed = net.change_network(public_access=BlockPublicAccess(mode, exclusions))(snapshot)
    assert run(changed, make_request(PUBLIC_IMAGE)).status == status
    # Endpoints are no matter of it.
    assert run(net.change_network(public_access=BlockPublicAccess(mode))(PRIVATE)).status == "ok"


def ipv6_only(*routes: Route, dns64: bool = False) -> Snapshot:
    from ansible_collections.daytwo.aws.plugins.module_utils._pull.model import InternetGateway

    return net.combine(
        net.change_interface(addresses=()),
        net.change_instance(ipv6_addresses=("2001:db8::5",)),
        net.change_routes("rtb-node", drop="0.0.0.0/0", add=routes),
        net.change_by_id("subnets", "subnet-node", cidr="", dns64=dns64),
        net.add_acl_entries("acl-node", AclEntry(101, True, True, "::/0"), AclEntry(101, False, True, "::/0")),
        net.add_acl_entries("acl-public", AclEntry(101, True, True, "::/0"), AclEntry(101, False, True, "::/0")),
        net.change_network(egress_only_gateways={"eigw-1": InternetGateway("eigw-1", ("vpc-1",))}),
    )(NAT)


def test_ipv6() -> None:
    dual = f"{net.ACCOUNT}.dkr-ecr.{net.REGION}.on.aws/shop/app:v1"
    open_route = Route("::/0", "eigw-1")
    assert run(ipv6_only(open_route), make_request(dual)).status == "ok"
    cause = run(ipv6_only(), make_request(dual)).cause
    assert cause is not None
    assert cause.name == "ecr.api endpoint"
    # A classic name has IPv4 addresses only.
    cause = run(ipv6_only(open_route), make_request(PUBLIC_IMAGE)).cause
    assert cause is not None
    assert "DNS64" in cause.reason
    by_nat64 = ipv6_only(open_route, Route("64:ff9b::/96", "nat-1"), dns64=True)
    assert run(by_nat64, make_request(PUBLIC_IMAGE)).status == "ok"
    cause = run(net.drop_by_id("egress_only_gateways", "eigw-1")(ipv6_only(open_route)), make_request(dual)).cause
    assert cause is not None
    assert cause.name == "ecr.api gateway"
    no_rule = net.change_by_id("security_groups", "sg-node", egress=(SecurityGroupRule("-1", cidrs=("0.0.0.0/0",)),))
    cause = run(no_rule(ipv6_only(open_route)), make_request(dual)).cause
    assert cause is not None
    assert cause.name == "ecr.api security_group"


def test_s3_by_an_interface_endpoint() -> None:
    interface = VpcEndpoint("vpce-s3i", "vpc-1", f"com.amazonaws.{net.REGION}.s3", interface_ids=("eni-dkr",))
    changed = net.combine(
        net.drop_listed("endpoints", "vpce-s3"),
        net.change_routes("rtb-node", drop="pl-s3"),
        lambda snapshot: net.change_network(endpoints=(*snapshot.network.endpoints, interface))(snapshot),
    )(PRIVATE)
    assert run(changed).status == "ok"
    for defect in ({"private_dns": False}, {"inbound_resolver_only": True}):
        cause = run(endpoint("vpce-s3i", **defect)(changed)).cause
        assert cause is not None
        assert cause.name == "s3 endpoint"


def test_an_empty_snapshot_is_unknown() -> None:
    diagnosis = run(Snapshot("eu-central-1"), make_request())
    assert diagnosis.status == "unknown"
    assert diagnosis.cause is None
    context = PullContext.build(PRIVATE, make_request())
    assert context.versions == (4,)
