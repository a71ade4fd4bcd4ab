# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses a rule or a route covers. Pure.

The addresses of a host on the internet are not known here: they are the public addresses as a whole. A rule for a part
of them decides nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Optional, Union

IpNetwork = Union[IPv4Network, IPv6Network]
ALL, SOME, NONE = "all", "some", "none"
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_PUBLIC_IPV6 = ip_network("2000::/3")
# Blocks that no public host has; a rule for them says nothing about a registry.
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    )
) + tuple(map(ip_network, ("192.168.0.0/16", "224.0.0.0/3")))


@dataclass(frozen=True)
class Destination:
    """Where packets go. C(networks): all of its addresses. C(is_internet): they are any public address.

    C(group_ids): the security groups of the interface there. C(prefix_list_id): the list that has these addresses.
    """

    label: str
    networks: tuple[str, ...]
    group_ids: tuple[str, ...] = ()
    prefix_list_id: str = ""
    is_internet: bool = False

    @property
    def version(self) -> int:
        return parse_network(self.networks[0]).version if self.networks else 4


def make_internet(version: int) -> Destination:
    return Destination("the internet", (EVERYWHERE[version],), is_internet=True)


def make_address(address: str, group_ids: Sequence[str] = ()) -> Destination:
    return Destination(address, (str(ip_network(address)),), tuple(group_ids))


def parse_network(text: str) -> IpNetwork:
    return ip_network(text, strict=False)


def _list_networks(texts: Iterable[str]) -> list[IpNetwork]:
    networks = []
    for text in texts:
        try:
            networks.append(parse_network(text))
        except ValueError:
            continue
    return networks


def _is_within(network: IpNetwork, other: IpNetwork) -> bool:
    return network.version == other.version and bool(network.subnet_of(other))  # type: ignore[arg-type]


def _has_public_part(network: IpNetwork) -> bool:
    if network.version == 6:
        return network.overlaps(_PUBLIC_IPV6)
    return not any(_is_within(network, block) for block in _NOT_PUBLIC)


def measure_coverage(cidrs: Iterable[str], destination: Destination) -> str:
    """Whether these CIDRs together cover all, some or none of a destination's addresses."""
    version = destination.version
    same: list[Any] = [network for network in _list_networks(cidrs) if network.version == version]
    merged = list(collapse_addresses(same))
    found = set()
    for text in destination.networks:
        network = parse_network(text)
        if any(_is_within(network, cidr) for cidr in merged):
            found.add(ALL)
        elif any(cidr.overlaps(network) and (not destination.is_internet or _has_public_part(cidr)) for cidr in merged):
            found.add(SOME)
        else:
            found.add(NONE)
    return found.pop() if len(found) == 1 else SOME


def get_prefix_length(cidrs: Iterable[str], destination: Destination) -> Optional[int]:
    """The length of the longest of these prefixes that covers the whole destination; None where none does."""
    lengths = [parse_network(cidr).prefixlen for cidr in cidrs if measure_coverage((cidr,), destination) == ALL]
    return max(lengths) if lengths else None
