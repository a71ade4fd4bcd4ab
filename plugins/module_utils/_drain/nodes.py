# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose nodes by name, instance, label selector and node group. The same way for every module."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .kube import KubeError, list_resources
from .model import NODE_GROUP_LABEL

NODES_PATH = "/api/v1/nodes"
_INSTANCE_ID = re.compile(r"m?i-[0-9a-f]{8,17}")


@dataclass(frozen=True)
class NodeSelection:
    """The nodes of all these options together. C(names): names of nodes, instance ids or provider ids."""

    names: tuple[str, ...] = ()
    selector: str = ""
    node_groups: tuple[str, ...] = ()

    @classmethod
    def parse(cls, params: Mapping[str, Any], names: str = "nodes") -> NodeSelection:
        """C(names): the option that has the names."""
        selection = cls(
            tuple(params.get(names) or ()), str(params.get("selector") or ""), tuple(params.get("node_groups") or ())
        )
        for option, values in ((names, selection.names), ("node_groups", selection.node_groups)):
            if not all(value.strip() for value in values):
                raise KubeError(option, 0, "an entry is empty. Nothing was changed. Remove it, or name a node")
        return selection


@dataclass(frozen=True)
class SelectedNodes:
    """The nodes that were found, each once, and a reason for each name that has no node."""

    nodes: tuple[dict[str, Any], ...]
    missing_reasons: tuple[str, ...] = ()

    def require_all(self) -> list[dict[str, Any]]:
        """The nodes; an error where a name has none, before anything is changed."""
        if self.missing_reasons:
            raise KubeError("nodes", 0, f"{'; '.join(self.missing_reasons)}. Nothing was changed")
        return list(self.nodes)


def select_nodes(api: Any, selection: NodeSelection) -> SelectedNodes:
    found: dict[str, dict[str, Any]] = {}
    missing_reasons = []
    all_nodes = list_resources(api, NODES_PATH) if selection.names else []
    for name in selection.names:
        matching = find_nodes(all_nodes, name)
        found.update({node["metadata"]["name"]: node for node in matching})
        if not matching:
            missing_reasons.append(describe_missing_node(name))
    selectors = [selection.selector] if selection.selector else []
    if selection.node_groups:
        selectors.append(f"{NODE_GROUP_LABEL} in ({','.join(selection.node_groups)})")
    for selector in selectors:
        for node in list_resources(api, NODES_PATH, [("labelSelector", selector)]):
            found[node["metadata"]["name"]] = node
    return SelectedNodes(tuple(found.values()), tuple(missing_reasons))


def find_nodes(nodes: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The nodes of this name, or of this instance.

    The name of a node may differ from its instance's: docs/facts/sysctl_nodegroup.md#nodes-and-instances
    """
    return [node for node in nodes if name == node["metadata"]["name"]] or [
        node for node in nodes if has_instance(node, name)
    ]


def has_instance(node: Mapping[str, Any], name: str) -> bool:
    """Whether the node runs on the instance of this id or provider id."""
    provider_id = str((node.get("spec") or {}).get("providerID") or "")
    if not provider_id:
        return False
    instance_id = get_instance_id(name)
    return provider_id == name or bool(instance_id and provider_id.rpartition("/")[2] == instance_id)


def get_instance_id(name: str) -> str:
    """The instance id in C(i-0123456789abcdef0) or C(aws:///eu-central-1a/i-0123456789abcdef0); empty without one."""
    last = name.rpartition("/")[2] if "://" in name else name
    return last if _INSTANCE_ID.fullmatch(last) else ""


def describe_missing_node(name: str) -> str:
    if get_instance_id(name) or "://" in name:
        return (
            f"no node has the instance {name}: it has not joined the cluster, or has left it. Wait until it has "
            "joined, or terminate it"
        )
    return f"the cluster has no node {name}. Correct the name, or give the id of its instance"
