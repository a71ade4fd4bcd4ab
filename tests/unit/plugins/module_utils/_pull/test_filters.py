# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups, network ACLs, routes and policies as AWS evaluates them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._pull import filters, policies
from ansible_collections.daytwo.aws.plugins.module_utils._pull.addresses import (
    Destination,
    make_address,
    make_internet,
    measure_coverage,
)
from ansible_collections.daytwo.aws.plugins.module_utils._pull.image import PulledImage, matches_secret_host
from ansible_collections.daytwo.aws.plugins.module_utils._pull.model import (
    AclEntry,
    NetworkAcl,
    PrefixList,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityGroupRule,
)

ROLE = "arn:aws:iam::123456789012:role/nodes"
INTERNET, HOST = make_internet(4), make_address("3.120.1.1")
S3 = Destination("S3", ("3.5.136.0/22", "52.219.46.0/23"), prefix_list_id="pl-s3")
LISTS = {
    "pl-s3": PrefixList("pl-s3", "s3", S3.networks),
    "pl-own": PrefixList("pl-own", "own", ("3.120.0.0/16",)),
    "pl-unreadable": PrefixList("pl-unreadable", "", None),
}


@pytest.mark.parametrize(
    ("cidrs", "destination", "coverage"),
    [
        (("0.0.0.0/0",), INTERNET, "all"),
        (("0.0.0.0/1", "128.0.0.0/1"), INTERNET, "all"),
        (("0.0.0.0/1",), INTERNET, "some"),
        (("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"), INTERNET, "none"),
        (("10.0.0.0/7",), INTERNET, "some"),
        (("::/0",), INTERNET, "none"),
        (("::/0",), make_internet(6), "all"),
        (("fd00::/8",), make_internet(6), "none"),
        (("2600:1f00::/24",), make_internet(6), "some"),
        (("3.120.0.0/16",), HOST, "all"),
        (("3.121.0.0/16",), HOST, "none"),
        (("3.5.136.0/22",), S3, "some"),
        (("3.0.0.0/8", "52.0.0.0/8"), S3, "all"),
        (("not a cidr",), HOST, "none"),
        ((), HOST, "none"),
    ],
)
def test_coverage(cidrs: tuple[str, ...], destination: Destination, coverage: str) -> None:
    assert measure_coverage(cidrs, destination) == coverage


def rule(protocol: str = "tcp", first: int | None = 443, last: int | None = 443, **more: Any) -> SecurityGroupRule:
    return SecurityGroupRule(protocol, first, last, **more)


@pytest.mark.parametrize(
    ("rules", "remote", "result"),
    [
        ([], HOST, "blocked"),
        ([rule(cidrs=("0.0.0.0/0",))], HOST, "allowed"),
        ([rule(cidrs=("0.0.0.0/0",))], INTERNET, "allowed"),
        ([rule("-1", None, None, cidrs=("0.0.0.0/0",))], INTERNET, "allowed"),
        ([rule("6", 1, 65535, cidrs=("0.0.0.0/0",))], INTERNET, "allowed"),
        ([rule("udp", 443, 443, cidrs=("0.0.0.0/0",))], INTERNET, "blocked"),
        ([rule("tcp", 80, 80, cidrs=("0.0.0.0/0",))], INTERNET, "blocked"),
        ([rule("icmp", -1, -1, cidrs=("0.0.0.0/0",))], INTERNET, "blocked"),
        ([rule(cidrs=("::/0",))], INTERNET, "blocked"),
        ([rule(cidrs=("::/0",))], make_internet(6), "allowed"),
        ([rule(cidrs=("3.120.0.0/16",))], INTERNET, "uncertain"),
        ([rule(cidrs=("3.120.0.0/16",))], HOST, "allowed"),
        # Rules are added up.
        ([rule(cidrs=("0.0.0.0/1",)), rule(cidrs=("128.0.0.0/1",))], INTERNET, "allowed"),
        ([rule(prefix_lists=("pl-s3",))], S3, "allowed"),
        ([rule(prefix_lists=("pl-s3",))], HOST, "blocked"),
        ([rule(prefix_lists=("pl-own",))], HOST, "allowed"),
        ([rule(prefix_lists=("pl-unreadable",))], HOST, "uncertain"),
        ([rule(prefix_lists=("pl-nobody",))], HOST, "uncertain"),
        ([rule(prefix_lists=("pl-unreadable",)), rule(cidrs=("0.0.0.0/0",))], HOST, "allowed"),
        ([rule(cidrs=("3.5.136.0/22",))], S3, "uncertain"),
        ([rule(groups=("sg-endpoint",))], make_address("10.0.2.10", ("sg-endpoint",)), "allowed"),
        ([rule(groups=("sg-endpoint",))], make_address("10.0.2.10", ("sg-other",)), "blocked"),
        ([rule(groups=("sg-endpoint",))], INTERNET, "blocked"),
    ],
)
def test_security_groups(rules: list[SecurityGroupRule], remote: Destination, result: str) -> None:
    egress = SecurityGroup("sg-1", (), tuple(rules))
    assert filters.evaluate_groups([egress], True, remote, LISTS).result == result
    # The other direction has rules of its own, and a second group adds to the first.
    assert filters.evaluate_groups([egress], False, remote, {}).result == "blocked"
    assert filters.evaluate_groups([SecurityGroup("sg-0"), egress], True, remote, LISTS).result == result


OUT = {"egress": True, "allow": True, "cidr": "0.0.0.0/0"}


def entry(number: int, **more: Any) -> AclEntry:
    return AclEntry(**{"number": number, **OUT, **more})


@pytest.mark.parametrize(
    ("entries", "remote", "ports", "result", "decided"),
    [
        ([], HOST, (443, 443), "blocked", "rule * deny"),
        ([entry(100)], HOST, (443, 443), "allowed", "rule 100 allow 0.0.0.0/0"),
        # The lowest number decides, wherever it stands.
        ([entry(100), entry(90, allow=False)], HOST, (443, 443), "blocked", "rule 90 deny 0.0.0.0/0"),
        ([entry(110, allow=False), entry(100)], HOST, (443, 443), "allowed", "rule 100 allow 0.0.0.0/0"),
        ([entry(100), entry(32767, allow=False)], HOST, (443, 443), "allowed", "rule 100 allow 0.0.0.0/0"),
        ([entry(32767, allow=False)], HOST, (443, 443), "blocked", "rule * deny 0.0.0.0/0"),
        ([entry(100, egress=False)], HOST, (443, 443), "blocked", "rule * deny"),
        ([entry(100, protocol="17")], HOST, (443, 443), "blocked", "rule * deny"),
        ([entry(100, protocol="6", from_port=443, to_port=443)], HOST, (443, 443), "allowed",
         "rule 100 allow 443-443 0.0.0.0/0"),
        ([entry(100, cidr="::/0")], HOST, (443, 443), "blocked", "rule * deny"),
        # Every port of the range has to pass.
        ([entry(100, protocol="6", from_port=1024, to_port=65535)], HOST, (32768, 60999), "allowed",
         "rule 100 allow 1024-65535 0.0.0.0/0"),
        ([entry(100, protocol="6", from_port=49152, to_port=65535)], HOST, (32768, 60999), "blocked", "rule * deny"),
        ([entry(90, allow=False, protocol="6", from_port=50000, to_port=50000), entry(100)], HOST, (32768, 60999),
         "blocked", "rule 90 deny 50000-50000 0.0.0.0/0"),
        ([entry(90, allow=False, protocol="6", from_port=22, to_port=22), entry(100)], HOST, (32768, 60999), "allowed",
         "rule 100 allow 0.0.0.0/0"),
        # A rule for a part of the internet decides nothing about an unknown address.
        ([entry(90, allow=False, cidr="3.0.0.0/8"), entry(100)], INTERNET, (443, 443), "uncertain",
         "rule 100 allow 0.0.0.0/0"),
        ([entry(90, allow=False, cidr="3.0.0.0/8"), entry(100)], HOST, (443, 443), "blocked", "rule 90 deny 3.0.0.0/8"),
        ([entry(90, allow=False, cidr="10.0.0.0/8"), entry(100)], INTERNET, (443, 443), "allowed",
         "rule 100 allow 0.0.0.0/0"),
        ([entry(90, cidr="3.0.0.0/8")], INTERNET, (443, 443), "uncertain", "rule * deny"),
        ([entry(90, cidr="3.0.0.0/8"), entry(100)], INTERNET, (443, 443), "allowed", "rule 100 allow 0.0.0.0/0"),
        ([entry(90, allow=False, cidr="3.5.136.0/22"), entry(100)], S3, (443, 443), "uncertain",
         "rule 100 allow 0.0.0.0/0"),
    ],
)  # fmt: skip
def test_network_acls(
    entries: list[AclEntry], remote: Destination, ports: tuple[int, int], result: str, decided: str
) -> None:
    verdict = filters.evaluate_acl(NetworkAcl("acl-1", (), tuple(entries)), True, remote, ports)
    assert verdict.result == result
    assert verdict.rules[-1] == decided


LOCAL = Route("10.0.0.0/16", "local")
DEFAULT = Route("0.0.0.0/0", "nat-1")


@pytest.mark.parametrize(
    ("routes", "remote", "target"),
    [
        ([LOCAL, DEFAULT], INTERNET, "nat-1"),
        ([LOCAL], INTERNET, None),
        ([LOCAL, DEFAULT], make_address("10.0.2.10"), "local"),
        # The most specific route wins, wherever it stands, also as a black hole.
        ([DEFAULT, Route("3.120.0.0/16", "tgw-1")], HOST, "tgw-1"),
        ([Route("3.0.0.0/8", "pcx-1"), Route("3.120.0.0/16", "tgw-1", "blackhole"), DEFAULT], HOST, "tgw-1"),
        ([LOCAL, Route("10.0.2.0/24", "vpce-fw")], make_address("10.0.2.10"), "vpce-fw"),
        ([DEFAULT, Route("pl-own", "tgw-1")], HOST, "tgw-1"),
        ([DEFAULT, Route("pl-nobody", "tgw-1")], HOST, "nat-1"),
        ([DEFAULT, Route("pl-s3", "vpce-s3")], S3, "vpce-s3"),
        ([DEFAULT, Route("pl-s3", "vpce-s3")], make_address("3.5.136.9"), "vpce-s3"),
        ([DEFAULT, Route("pl-s3", "vpce-s3")], INTERNET, "nat-1"),
        ([DEFAULT], make_internet(6), None),
        ([DEFAULT, Route("::/0", "eigw-1")], make_internet(6), "eigw-1"),
        ([Route("64:ff9b::/96", "nat-1"), Route("::/0", "eigw-1")], Destination("NAT64", ("64:ff9b::/96",)), "nat-1"),
    ],
)
def test_routes(routes: list[Route], remote: Destination, target: str | None) -> None:
    found = filters.find_route(RouteTable("rtb-1", "vpc-1", routes=tuple(routes)), remote, LISTS)
    assert (found.target if found else None) == target


def test_partial_routes_are_listed() -> None:
    table = RouteTable("rtb-1", "vpc-1", routes=(LOCAL, Route("3.0.0.0/8", "tgw-1"), Route("pl-s3", "vpce-s3")))
    partial = filters.list_partial_routes(table, INTERNET, LISTS)
    assert [str(route) for route in partial] == ["3.0.0.0/8 to tgw-1", "pl-s3 to vpce-s3"]


# --- Policies.

RESOURCE = "arn:aws:ecr:eu-central-1:123456789012:repository/shop/app"


def statement(effect: str = "Allow", action: Any = "ecr:*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, "Principal": "*", **more}


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([statement()], True),
        ([statement(action="ECR:batchgetimage")], True),
        ([statement(action="ecr:Get*")], False),
        ([statement(resource=RESOURCE)], True),
        ([statement(resource="arn:aws:ecr:*:*:repository/shop/*")], True),
        ([statement(resource=f"{RESOURCE}2")], False),
        ([{"Effect": "Allow", "NotAction": "ecr:Delete*", "NotResource": "x", "Principal": "*"}], True),
        ([statement(), statement("Deny", "ecr:BatchGetImage")], False),
        ([statement(), statement("Deny", Principal={"AWS": "arn:aws:iam::123456789012:role/other"})], True),
        ([statement(Principal={"AWS": ROLE})], True),
        ([statement(Principal={"AWS": ["123456789012"]})], True),
        ([statement(Principal={"AWS": "arn:aws:iam::123456789012:root"})], True),
        ([statement(Principal={"AWS": "arn:aws:iam::210987654321:root"})], False),
        ([statement(Principal={"Service": "ecs.amazonaws.com"})], False),
        ([statement("Deny", NotPrincipal={"AWS": ROLE}), statement()], True),
        ([statement(Condition={"StringEquals": {"aws:PrincipalAccount": "123456789012"}})], True),
        ([statement(Condition={"StringEquals": {"aws:PrincipalAccount": "210987654321"}})], False),
        ([statement(Condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/no*"}})], True),
        ([statement(Condition={"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})], False),
        ([statement(Condition={"StringEquals": {"aws:SourceVpce": ["vpce-0", "vpce-1"]}})], True),
        ([statement(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})], None),
        ([statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], None),
        ([statement(Condition={"StringEquals": {"aws:PrincipalAccount": "${aws:x}"}})], None),
        ([statement(), statement("Deny", Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}})], None),
        ([statement("Deny", Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}})], False),
        ([statement(Condition={"Null": {"aws:SourceVpce": "false"}})], True),
    ],
)
def test_policies(statements: list[dict[str, Any]], allowed: bool | None) -> None:
    request = policies.make_role_request("ecr:BatchGetImage", RESOURCE, ROLE, {"aws:sourcevpce": "vpce-1"})
    document = {"Statement": statements if len(statements) != 1 else statements[0]}
    assert policies.evaluate_policies([("p", document)], request, True).allowed is allowed


def test_a_caller_that_nobody_knows_is_allowed_by_everybody_only() -> None:
    request = policies.AccessRequest("s3:GetObject", "arn:aws:s3:::b/*")
    for principal, allowed in (("*", True), ({"AWS": "*"}, True), ({"AWS": ROLE}, None)):
        document = {"Statement": [statement(action="s3:*", Principal=principal)]}
        assert policies.evaluate_policies([("p", document)], request, True).allowed is allowed


# --- Images and the hosts of secrets.


@pytest.mark.parametrize(
    ("image", "hosts", "services"),
    [
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com/a:1",
         ["api.ecr.eu-central-1.amazonaws.com", "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
          "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com"],
         ["com.amazonaws.eu-central-1.ecr.api", "com.amazonaws.eu-central-1.ecr.dkr", "com.amazonaws.eu-central-1.s3"]),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a:1",
         ["api.ecr.cn-north-1.amazonaws.com.cn", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
          "prod-cn-north-1-starport-layer-bucket.s3.cn-north-1.amazonaws.com.cn"],
         ["cn.com.amazonaws.cn-north-1.ecr.api", "cn.com.amazonaws.cn-north-1.ecr.dkr", "com.amazonaws.cn-north-1.s3"]),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/a:1",
         ["ecr-fips.us-east-1.amazonaws.com", "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
          "prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com"],
         [f"com.amazonaws.us-east-1.{name}" for name in ("ecr.api-fips", "ecr.dkr-fips", "s3")]),
        ("123456789012.dkr-ecr.eu-central-1.on.aws/a:1",
         ["ecr.eu-central-1.api.aws", "123456789012.dkr-ecr.eu-central-1.on.aws",
          "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com"],
         ["com.amazonaws.eu-central-1.ecr.api", "com.amazonaws.eu-central-1.ecr.dkr", "com.amazonaws.eu-central-1.s3"]),
        ("busybox", ["registry-1.docker.io"], [""]),
        ("public.ecr.aws/eks/pause:1", ["public.ecr.aws"], [""]),
        ("registry.example:5000/a", ["registry.example:5000"], [""]),
    ],
)  # fmt: skip
def test_targets_of_an_image(image: str, hosts: list[str], services: list[str]) -> None:
    parsed = PulledImage.parse(image)
    assert [target.host for target in parsed.targets] == hosts
    assert [target.service for target in parsed.targets] == services


@pytest.mark.parametrize(
    ("host", "image", "matches"),
    [
        ("registry.example", "registry.example/a", True),
        ("https://registry.example", "registry.example/a", True),
        ("registry.example", "registry.example:5000/a", False),
        ("*.example", "registry.example/a", True),
        ("*.example", "a.b.example/a", False),
        ("registry.example/team", "registry.example/team/app", True),
        ("registry.example/team", "registry.example/teams/app", False),
        ("https://index.docker.io/v1/", "busybox", True),
        ("docker.io", "registry.example/a", False),
        ("", "registry.example/a", False),
    ],
)
def test_hosts_of_secrets(host: str, image: str, matches: bool) -> None:
    assert matches_secret_host(host, PulledImage.parse(image)) is matches
