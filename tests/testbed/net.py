# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's links and firewall rules. The bridge is in the cloud's namespace, so that it ends with the cloud."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from . import paths
from .node import BedError, Node

BRIDGE = "lan"


def _ip(pid: int | None, *args: str) -> str:
    enter = ["nsenter", "-t", str(pid), "-n", "--"] if pid else []
    result = subprocess.run([*enter, "ip", *args], capture_output=True, text=True, check=True)
    return result.stdout


def _links(pid: int | None) -> dict[str, dict[str, Any]]:
    links = json.loads(_ip(pid, "-json", "address", "show"))
    return {link["ifname"]: link for link in links}


def _delete(pid: int | None, name: str) -> None:
    """Remove a link, also while the kernel removes it with the namespace at its other end."""
    enter = ["nsenter", "-t", str(pid), "-n", "--"] if pid else []
    end = time.monotonic() + 10
    while name in _links(pid):
        result = subprocess.run([*enter, "ip", "link", "delete", name], capture_output=True, text=True, check=False)
        if time.monotonic() > end:
            raise BedError(f"interface {name} cannot be removed: {result.stderr}")


def _addresses(link: dict[str, Any]) -> set[str]:
    return {address["local"] for address in link.get("addr_info", []) if address["family"] == "inet"}


def mac(address: str) -> str:
    """Return a fixed hardware address, so that neighbours find a restarted node by their cached entry."""
    return "02:d2:" + ":".join(f"{int(number):02x}" for number in address.split("."))


def bridge(cloud: Node) -> None:
    """Create the cloud's bridge with the addresses of its services."""
    pid = cloud.init_pid()
    link = _links(pid).get(BRIDGE)
    if link is None:
        _ip(pid, "link", "add", BRIDGE, "address", mac(paths.REGISTRY), "type", "bridge")
        link = {}
    routers = [subnet.replace(".0/24", ".1") for subnet in paths.SUBNETS.values()]
    services = (
        *(paths.REGISTRY, paths.REGISTRY_AUTH, paths.S3, paths.AWS, paths.NAMES, paths.ECR, paths.ECR_API),
        *(paths.CLUSTER, paths.RECORDS),
    )
    for address in (*services, *routers):
        if address not in _addresses(link):
            _ip(pid, "address", "add", f"{address}/24", "dev", BRIDGE)
    _ip(pid, "link", "set", BRIDGE, "up")


def plug(cloud: Node, port: str, name: str, address: str, node: Node | None) -> None:
    """Create a link from the cloud's bridge to a node, or without a node to the machine. A working link stays."""
    cloud_pid = cloud.init_pid()
    pid = node.init_pid() if node else None
    inside, outside = _links(pid).get(name), _links(cloud_pid).get(port)
    if inside and outside and address in _addresses(inside) and inside["operstate"] == outside["operstate"] == "UP":
        return
    if outside:
        _delete(cloud_pid, port)
    if inside:  # it ends with its other end, unless that was another cloud's
        _delete(pid, name)
    space = str(pid or os.getpid())
    peer = ["peer", "name", name, "address", mac(address), "netns", space]
    _ip(cloud_pid, "link", "add", port, "type", "veth", *peer)
    _ip(cloud_pid, "link", "set", port, "master", BRIDGE, "up")
    _ip(pid, "address", "add", f"{address}/24", "dev", name)
    _ip(pid, "link", "set", name, "up")


def reach_nodes() -> None:
    """Route from the machine to the cluster's nodes on the same bridge. They respond if they have a route back."""
    _ip(None, "route", "replace", paths.NODES, "dev", paths.CONTROLLER_LINK, "src", paths.CONTROLLER)


def unplug_controller() -> None:
    _delete(None, paths.CONTROLLER_LINK)


# A host in a private subnet: egress only to the S3 endpoint's address and port. Ingress stays open.
PRIVATE_RULES = [
    "-P INPUT ACCEPT",
    "-P FORWARD DROP",
    "-P OUTPUT DROP",
    "-A OUTPUT -o lo -j ACCEPT",
    "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    f"-A OUTPUT -d {paths.S3}/32 -p tcp -m tcp --dport {paths.S3_PORT} -j ACCEPT",
]


def close(node: Node) -> None:
    """Limit a node's egress to the S3 endpoint."""
    if node.run("iptables", "-S").stdout.split("\n")[:-1] == PRIVATE_RULES:
        return
    chains = [rule.replace("-P ", ":") + " [0:0]" for rule in PRIVATE_RULES if rule.startswith("-P")]
    rules = [rule for rule in PRIVATE_RULES if rule.startswith("-A")]
    table = "\n".join(["*filter", *chains, *rules, "COMMIT", ""])
    node.run("iptables-restore", input=table.encode())


def limit(cloud: Node, port: str, node: Node, name: str, rate: str) -> None:
    """Put a token bucket on both ends of the host's link; `rate` as tc writes it, such as 50mbit."""
    for end, device in ((cloud, port), (node, name)):
        # The burst covers what the kernel's timer lets through in one tick at up to 1 Gbit/s.
        tbf = ["tbf", "rate", rate, "burst", "512kb", "latency", "200ms"]
        end.run("tc", "qdisc", "replace", "dev", device, "root", *tbf)


def unlimit(cloud: Node, port: str, node: Node, name: str) -> None:
    for end, device in ((cloud, port), (node, name)):
        if " tbf " in end.run("tc", "qdisc", "show", "dev", device).stdout:
            end.run("tc", "qdisc", "delete", "dev", device, "root")
