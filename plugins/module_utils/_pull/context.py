# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pull and its place in the network, and the result of a check. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .image import PulledImage
from .messages import PullMessage, choose_message
from .model import (
    ClusterNode,
    Network,
    NodeInstance,
    NodeRole,
    PullRequest,
    RouteTable,
    SecurityGroup,
    Snapshot,
    Vpc,
    VpcSubnet,
)

OK, WRONG, UNKNOWN = "ok", "wrong", "unknown"


@dataclass(frozen=True)
class PullCheck:
    """The result of one check. C(target): the service that it is about, such as C(ecr.api)."""

    check: str
    status: str
    reason: str
    target: str = ""
    evidence: tuple[str, ...] = ()
    remediation: str = ""

    @property
    def name(self) -> str:
        return f"{self.target} {self.check}" if self.target else self.check

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "target": self.target or None,
            "status": self.status,
            "reason": self.reason,
            "evidence": list(self.evidence),
            "remediation": self.remediation or None,
        }


def find_worst(checks: Iterable[PullCheck]) -> str:
    statuses = {check.status for check in checks}
    return WRONG if WRONG in statuses else UNKNOWN if UNKNOWN in statuses else OK


def merge_checks(lists: Sequence[Sequence[PullCheck]]) -> list[PullCheck]:
    """The checks of several addresses of one name, by check: a client tries one address after the other.

    What is wrong with some addresses only is unknown as long as another address is right in everything.
    """
    if len(lists) == 1:
        return list(lists[0])
    has_right_address = any(find_worst(checks) == OK for checks in lists)
    merged = []
    for same in zip(*lists):
        worst = find_worst(same)
        chosen = next(check for check in same if check.status == worst)
        if worst == WRONG and has_right_address:
            count = sum(check.status != OK for check in same)
            reason = f"{count} of {len(same)} addresses are affected: {chosen.reason}"
            chosen = replace(chosen, status=UNKNOWN, reason=reason)
        evidence = dict.fromkeys(text for check in same if check.status == worst for text in check.evidence)
        merged.append(replace(chosen, evidence=tuple(evidence)))
    return merged


@dataclass(frozen=True)
class PullContext:
    """A pull with everything that the snapshot has about its node. C(public_ip) is None where it is not known."""

    snapshot: Snapshot
    request: PullRequest
    image: PulledImage
    node: Optional[ClusterNode] = None
    instance: Optional[NodeInstance] = None
    subnet_id: str = ""
    group_ids: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    public_ip: Optional[str] = None
    role: Optional[NodeRole] = None
    message: Optional[PullMessage] = None

    @classmethod
    def build(cls, snapshot: Snapshot, request: PullRequest, image: Optional[PulledImage] = None) -> PullContext:
        node = snapshot.nodes.get(request.node)
        instance = snapshot.instances.get(node.instance_id if node else request.node)
        base = cls(
            snapshot,
            request,
            image or PulledImage.parse(request.image),
            node,
            instance,
            message=choose_message(request.messages),
        )
        if instance is None:
            return replace(
                base,
                subnet_id=request.subnet_id,
                group_ids=request.group_ids,
                role=snapshot.roles.get(request.role_arn),
            )
        interface = instance.interface
        return replace(
            base,
            subnet_id=interface.subnet_id,
            group_ids=interface.group_ids,
            addresses=(*interface.addresses, *instance.ipv6_addresses),
            public_ip=interface.public_ip,
            role=snapshot.roles.get(instance.profile_arn),
        )

    @property
    def network(self) -> Network:
        return self.snapshot.network

    @property
    def subnet(self) -> Optional[VpcSubnet]:
        return self.network.subnets.get(self.subnet_id)

    @property
    def vpc(self) -> Optional[Vpc]:
        return self.network.vpcs.get(self.subnet.vpc_id) if self.subnet else None

    @property
    def route_table(self) -> Optional[RouteTable]:
        return self.network.get_route_table(self.subnet_id)

    @property
    def groups(self) -> Optional[list[SecurityGroup]]:
        """The security groups of the node; None where they are not known."""
        found = [self.network.security_groups.get(group_id) for group_id in self.group_ids]
        known = [group for group in found if group is not None]
        return known if known and len(known) == len(found) else None

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions that the node has addresses of."""
        if self.addresses:
            return tuple(sorted({6 if ":" in address else 4 for address in self.addresses}))
        return (4,) if not self.subnet or self.subnet.cidr else (6,)

    def get_address_range(self, version: int) -> tuple[str, ...]:
        """The node's addresses; where only the subnet is known, its range."""
        own = tuple(address for address in self.addresses if (":" in address) == (version == 6))
        return own or ((self.subnet.cidr,) if self.subnet and self.subnet.cidr and version == 4 else ())

    def get_dialed_address(self, host: str) -> str:
        """The address that the node dialed for a host, if the message names it."""
        return self.message.address if self.message and self.message.host == host else ""
