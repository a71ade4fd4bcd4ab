# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of a node's boot, and its result."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FAMILIES = ("al2023", "al2", "bottlerocket")


class BootError(Exception):
    """The instance runs, but its kubelet never starts. The message has the reason."""


@dataclass(frozen=True)
class Cluster:
    """The cluster's data that a node needs."""

    name: str
    endpoint: str
    ca: str  # base64 of PEM
    cidr: str  # of services

    @property
    def dns(self) -> str:
        return str(ipaddress.ip_network(self.cidr)[10])


@dataclass(frozen=True)
class Instance:
    id: str
    type: str
    image: str
    region: str
    zone: str
    ip: str
    name: str  # the private DNS name, which is also the node's name

    @property
    def provider_id(self) -> str:
        return f"aws:///{self.zone}/{self.id}"


@dataclass(frozen=True)
class Order:
    """An instance to launch."""

    family: str
    custom: bool  # a custom image: EKS adds nothing to the user data
    cluster: Cluster
    instance: Instance
    user_data: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[str] = ()  # key=value:Effect

    @property
    def label_flag(self) -> str:
        return ",".join(f"{key}={value}" for key, value in self.labels.items())


@dataclass(frozen=True)
class Boot:
    """The files and scripts that an AMI derives from its user data, before the kubelet starts."""

    files: Mapping[str, str]  # by path on the node
    scripts: Sequence[str] = ()  # of the user data, in the order of their run
    starts: bool = True  # whether the AMI itself starts the kubelet, after the scripts


def family_of(ami_type: str, user_data: bytes) -> str:
    """The AMI family by the AMI type. For a custom image, the format of the user data decides."""
    if ami_type.startswith("BOTTLEROCKET"):
        return "bottlerocket"
    if ami_type.startswith("AL2023"):
        return "al2023"
    if ami_type.startswith("AL2_"):
        return "al2"
    if b"[settings" in user_data and b"MIME-Version" not in user_data:
        return "bottlerocket"
    return "al2023" if b"node.eks.aws" in user_data else "al2"
