# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Responses of the Kubernetes API, and of what answers in its place."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._drain import kube
from ansible_collections.daytwo.aws.plugins.module_utils._drain.kube import KubeError
from ansible_collections.daytwo.aws.plugins.module_utils._eks_token import ClusterError


def client(status: int, body: Any, auth_settings: Any = dict, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = SimpleNamespace(status=status, data=data, headers=headers, reason="Reason")
    manager = SimpleNamespace(request=lambda *_arguments, **_more: response)
    configuration = SimpleNamespace(host="https://cluster.example", auth_settings=auth_settings)
    return SimpleNamespace(configuration=configuration, rest_client=SimpleNamespace(pool_manager=manager))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html><body>Sign in</body></html>"),
        (200, b""),
        (200, b"[]"),
        (200, b"null"),
        (302, b""),
        (502, b"<html>Bad Gateway</html>"),
    ],
)
def test_what_is_not_from_the_api_is_never_an_empty_list(status: int, body: bytes) -> None:
    with pytest.raises(KubeError) as caught:
        kube.list_resources(client(status, body), "/api/v1/pods")
    if status == 200:
        assert "https://cluster.example answered with status 200 and something that is not from" in str(caught.value)
    else:
        assert caught.value.status == status


def test_an_object_that_is_no_list_is_an_error() -> None:
    with pytest.raises(KubeError, match="no list: its kind is Status"):
        kube.list_resources(client(200, {"kind": "Status"}), "/api/v1/pods")
    assert kube.list_resources(client(200, {"kind": "PodList", "items": None}), "/api/v1/pods") == []


def test_causes_and_the_delay_of_a_refusal_are_read() -> None:
    causes = [{"reason": "NamespaceTerminating", "message": "namespace n is being terminated"}]
    body = {"kind": "Status", "message": "forbidden", "details": {"causes": causes, "retryAfterSeconds": 3}}
    with pytest.raises(KubeError) as caught:
        kube.call_kube_api(client(403, body), "POST", "/x")
    assert caught.value.cause_types == ("NamespaceTerminating",)
    assert caught.value.message == "forbidden namespace n is being terminated"
    assert caught.value.retry_after == 3.0
    dated = {"Retry-After": "Mon, 30 Nov 2026 12:00:00 GMT"}
    with pytest.raises(KubeError) as caught:
        kube.call_kube_api(client(429, {}, **dated), "POST", "/x")
    assert caught.value.retry_after == 0.0


def test_a_token_that_cannot_be_renewed_fails_the_call() -> None:
    def refuse() -> Any:
        raise ClusterError("No token could be signed")

    with pytest.raises(KubeError, match="GET /x: No token could be signed"):
        kube.call_kube_api(client(200, {}, auth_settings=refuse), "GET", "/x")
