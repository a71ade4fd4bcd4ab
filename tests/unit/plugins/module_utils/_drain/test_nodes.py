# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes by name, by instance, by label and by node group."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._drain import nodes
from ansible_collections.daytwo.aws.plugins.module_utils._drain.kube import KubeError
from ansible_collections.daytwo.aws.plugins.module_utils._drain.nodes import NodeSelection


def node(name: str, provider_id: str = "", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"providerID": provider_id} if provider_id else {}}


FIRST, SECOND = "i-0123456789abcdef0", "i-0fedcba9876543210"
DNS = "ip-10-0-0-1.eu-central-1.compute.internal"
NODES = [
    node(DNS, f"aws:///eu-central-1a/{FIRST}", team="a"),
    node(SECOND, f"aws:///eu-central-1b/{SECOND}", team="b"),
    node("mi-0123456789abcdef0", "eks-hybrid:///eu-central-1/prod/mi-0123456789abcdef0"),
    node("bare"),
]


class Api:
    """An API server with nodes; it knows selectors of one label."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        manager = SimpleNamespace(request=self.request)
        self.rest_client = SimpleNamespace(pool_manager=manager)
        self.configuration = SimpleNamespace(host="https://cluster.example", auth_settings=dict)

    def request(self, _method: str, url: str, **_more: Any) -> Any:
        selector = parse_qs(urlsplit(url).query).get("labelSelector", [""])[0]
        self.calls.append(selector)
        key, _equals, value = selector.partition("=")
        found = [node for node in NODES if not key or node["metadata"]["labels"].get(key) == value]
        return SimpleNamespace(status=200, data=json.dumps({"items": found}).encode(), headers={}, reason="OK")


def names(selected: nodes.SelectedNodes) -> list[str]:
    return [node["metadata"]["name"] for node in selected.nodes]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (DNS, DNS),
        (FIRST, DNS),
        (f"aws:///eu-central-1a/{FIRST}", DNS),
        (SECOND, SECOND),
        (f"aws:///eu-central-1b/{SECOND}", SECOND),
        ("mi-0123456789abcdef0", "mi-0123456789abcdef0"),
        ("eks-hybrid:///eu-central-1/prod/mi-0123456789abcdef0", "mi-0123456789abcdef0"),
        ("bare", "bare"),
    ],
)
def test_a_node_is_found_by_its_name_and_by_its_instance(name: str, found: str) -> None:
    assert names(nodes.select_nodes(Api(), NodeSelection((name,)))) == [found]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("i-0aaaaaaaaaaaaaaaa", "no node has the instance i-0aaaaaaaaaaaaaaaa: it has not joined the cluster"),
        ("aws:///eu-central-1a/i-0aaaaaaaaaaaaaaaa", "has not joined the cluster"),
        ("ip-10-0-0-9.eu-central-1.compute.internal", "the cluster has no node ip-10-0-0-9"),
        ("0123456789abcdef0", "the cluster has no node"),
        ("abcdef0", "the cluster has no node"),
        ("eu-central-1a", "the cluster has no node"),
    ],
)
def test_what_has_no_node_is_an_error_with_a_reason(name: str, reason: str) -> None:
    selected = nodes.select_nodes(Api(), NodeSelection((name, DNS)))
    assert names(selected) == [DNS]
    with pytest.raises(KubeError, match="Nothing was changed") as caught:
        selected.require_all()
    assert reason in str(caught.value)


def test_all_missing_names_are_refused_together_after_a_single_reading() -> None:
    api = Api()
    selected = nodes.select_nodes(api, NodeSelection(("none-1", DNS, "none-2", FIRST)))
    assert api.calls == [""]
    assert names(selected) == [DNS]
    with pytest.raises(KubeError, match=r"none-1.*none-2"):
        selected.require_all()


def test_names_selector_and_groups_are_added_up() -> None:
    api = Api()
    selected = nodes.select_nodes(api, NodeSelection(("bare",), "team=a", ("workers", "others")))
    assert names(selected) == ["bare", DNS]
    assert api.calls == ["", "team=a", "eks.amazonaws.com/nodegroup in (workers,others)"]
    assert nodes.select_nodes(api, NodeSelection()).nodes == ()


@pytest.mark.parametrize("params", [{"nodes": [""]}, {"nodes": ["a", " "]}, {"node_groups": [""]}])
def test_an_empty_name_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(KubeError, match="an entry is empty"):
        NodeSelection.parse(params)
