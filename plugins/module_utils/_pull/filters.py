# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Security groups, network ACLs and route tables, as EC2 evaluates them (docs/facts/pull.md#packet-filters). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from .addresses import ALL, NONE, SOME, Destination, get_prefix_length, measure_coverage
from .model import AclEntry, NetworkAcl, PrefixList, Route, RouteTable, SecurityGroup, SecurityGroupRule

HTTPS = 443
# The ports from which Linux connects (net.ipv4.ip_local_port_range), and those of a NAT gateway.
NODE_PORTS, NAT_PORTS = (32768, 60999), (1024, 65535)
ALLOWED, BLOCKED, UNCERTAIN = "allowed", "blocked", "uncertain"
_TCP = ("-1", "6", "tcp")


@dataclass(frozen=True)
class FilterVerdict:
    """What a filter does with packets, and the rules that decided."""

    result: str
    rules: tuple[str, ...] = ()


# --- Security groups: every rule allows, and what no rule allows is blocked. Responses need no rule.


def evaluate_groups(
    groups: Sequence[SecurityGroup],
    egress: bool,
    remote: Destination,
    prefix_lists: Mapping[str, PrefixList],
    port: int = HTTPS,
) -> FilterVerdict:
    """Whether the groups of an interface let a TCP connection out to, or in from, a destination."""
    cidrs: list[str] = []
    matching: list[str] = []
    has_unreadable_list = False
    for group in groups:
        for rule in group.egress if egress else group.ingress:
            if not _has_port(rule, port):
                continue
            if set(rule.groups) & set(remote.group_ids) or (
                remote.prefix_list_id and remote.prefix_list_id in rule.prefix_lists
            ):
                return FilterVerdict(ALLOWED, (_describe_rule(group, rule),))
            covered, unreadable = _list_rule_cidrs(rule, prefix_lists)
            has_unreadable_list = has_unreadable_list or unreadable
            if measure_coverage(covered, remote) != NONE:
                cidrs += covered
                matching.append(_describe_rule(group, rule))
    coverage = measure_coverage(cidrs, remote)
    if coverage == ALL:
        return FilterVerdict(ALLOWED, tuple(matching))
    if coverage == SOME or has_unreadable_list:
        return FilterVerdict(UNCERTAIN, tuple(matching))
    return FilterVerdict(BLOCKED)


def _has_port(rule: SecurityGroupRule, port: int) -> bool:
    if rule.protocol not in _TCP:
        return False
    return rule.protocol == "-1" or rule.from_port is None or rule.from_port <= port <= (rule.to_port or 0)


def _list_rule_cidrs(rule: SecurityGroupRule, prefix_lists: Mapping[str, PrefixList]) -> tuple[list[str], bool]:
    """The CIDRs of a rule with those of its prefix lists, and whether one of the lists could not be read."""
    cidrs, unreadable = list(rule.cidrs), False
    for list_id in rule.prefix_lists:
        entries = prefix_lists[list_id].cidrs if list_id in prefix_lists else None
        cidrs += entries or ()
        unreadable = unreadable or entries is None
    return cidrs, unreadable


def _describe_rule(group: SecurityGroup, rule: SecurityGroupRule) -> str:
    ports = "all ports" if rule.protocol == "-1" or rule.from_port is None else f"{rule.from_port}-{rule.to_port}"
    return f"{group.id} {ports} {', '.join((*rule.cidrs, *rule.prefix_lists, *rule.groups))}"


# --- Network ACLs: the lowest number that matches decides, in both directions, and responses need a rule of their own.


def evaluate_acl(acl: NetworkAcl, egress: bool, remote: Destination, ports: tuple[int, int]) -> FilterVerdict:
    """What a network ACL does with TCP packets to, or from, a destination, for all of these ports.

    Of several networks, each is evaluated alone: what is blocked for some of them only is uncertain.
    """
    entries = sorted(
        (entry for entry in acl.entries if entry.egress == egress and entry.protocol in _TCP),
        key=lambda entry: entry.number,
    )
    boundaries = _list_boundaries(entries, ports)
    verdicts = [
        _evaluate_ports(entries, replace(remote, networks=(network,)), boundaries) for network in remote.networks
    ]
    results = {verdict.result for verdict in verdicts}
    rules = tuple(dict.fromkeys(rule for verdict in verdicts for rule in verdict.rules))
    return FilterVerdict(results.pop() if len(results) == 1 else UNCERTAIN, rules)


def _evaluate_ports(entries: Sequence[AclEntry], remote: Destination, ports: Sequence[int]) -> FilterVerdict:
    verdicts = [_evaluate_port(entries, remote, port) for port in ports]
    for result in (BLOCKED, UNCERTAIN):
        for verdict in verdicts:
            if verdict.result == result:
                return verdict
    return FilterVerdict(ALLOWED, tuple(dict.fromkeys(rule for verdict in verdicts for rule in verdict.rules)))


def _list_boundaries(entries: Iterable[AclEntry], ports: tuple[int, int]) -> list[int]:
    """One port of each range within which every entry treats all ports alike."""
    first, last = ports
    starts = {first}
    for entry in entries:
        if entry.protocol != "-1" and entry.from_port is not None and entry.to_port is not None:
            starts |= {port for port in (entry.from_port, entry.to_port + 1) if first <= port <= last}
    return sorted(starts)


def _evaluate_port(entries: Sequence[AclEntry], remote: Destination, port: int) -> FilterVerdict:
    partly: list[AclEntry] = []
    for entry in entries:
        if not _has_entry_port(entry, port):
            continue
        coverage = measure_coverage((entry.cidr,), remote)
        if coverage == ALL:
            return _combine(partly, entry)
        if coverage == SOME:
            partly.append(entry)
    return _combine(partly, None)


def _has_entry_port(entry: AclEntry, port: int) -> bool:
    if entry.protocol == "-1" or entry.from_port is None:
        return True
    return entry.from_port <= port <= (entry.to_port or 0)


def _combine(partly: Sequence[AclEntry], decisive: Optional[AclEntry]) -> FilterVerdict:
    allow = decisive.allow if decisive else False
    rule = _describe_entry(decisive) if decisive else "rule * deny"
    differing = [entry for entry in partly if entry.allow != allow]
    if differing:
        return FilterVerdict(UNCERTAIN, (*map(_describe_entry, differing), rule))
    return FilterVerdict(ALLOWED if allow else BLOCKED, (rule,))


def _describe_entry(entry: AclEntry) -> str:
    number = "*" if entry.number >= 32767 else entry.number
    ports = "" if entry.protocol == "-1" or entry.from_port is None else f" {entry.from_port}-{entry.to_port}"
    return f"rule {number} {'allow' if entry.allow else 'deny'}{ports} {entry.cidr}"


# --- Routes.


def find_route(table: RouteTable, destination: Destination, prefix_lists: Mapping[str, PrefixList]) -> Optional[Route]:
    """The route that EC2 takes for the whole destination: the most specific one. A black hole counts, too."""
    best: Optional[Route] = None
    best_length = -1
    for route in table.routes:
        if route.destination.startswith("pl-"):
            if route.destination == destination.prefix_list_id:
                return route
            entries = prefix_lists[route.destination].cidrs if route.destination in prefix_lists else None
            length = get_prefix_length(entries or (), destination)
        else:
            length = get_prefix_length((route.destination,), destination)
        if length is not None and length > best_length:
            best, best_length = route, length
    return best


def list_partial_routes(
    table: RouteTable, destination: Destination, prefix_lists: Mapping[str, PrefixList]
) -> list[Route]:
    """The routes for a part of the destination only."""
    found = []
    for route in table.routes:
        if route.destination.startswith("pl-"):
            cidrs = (prefix_lists[route.destination].cidrs if route.destination in prefix_lists else None) or ()
        else:
            cidrs = (route.destination,)
        if measure_coverage(cidrs, destination) == SOME:
            found.append(route)
    return found
