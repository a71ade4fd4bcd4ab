# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's side of bindings, with a fake cluster."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import binding_state, kubernetes
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.binding_state import ServiceAccountBinding
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.findings import ANNOTATION, ServiceAccount
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import IrsaError

ARN = "arn:aws:iam::123456789012:role/team/lbc"
OTHER = "arn:aws:iam::123456789012:role/other"
CONTAINER_CREDENTIALS = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/token",
}


def pod(**environment: str) -> dict[str, Any]:
    container = {"name": "main", "env": [{"name": name, "value": value} for name, value in environment.items()]}
    owner = {"kind": "ReplicaSet", "name": "web-1", "apiVersion": "apps/v1", "controller": True}
    metadata = {"name": "web-1-a", "namespace": "shop", "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {"serviceAccountName": "web", "containers": [container]}}


def replica_set(**environment: str) -> dict[str, Any]:
    owner = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1", "controller": True}
    template = {"spec": pod(**environment)["spec"]}
    return {"metadata": {"name": "web-1", "ownerReferences": [owner]}, "spec": {"template": template}}


def observe(
    monkeypatch: pytest.MonkeyPatch,
    annotation: Optional[str],
    *pods: dict[str, Any],
    associations: Any = (),
    template: Optional[dict[str, str]] = None,
    **binding: Any,
) -> dict[str, Any]:
    annotations = {ANNOTATION: annotation} if annotation else {}
    monkeypatch.setattr(kubernetes, "get_service_account", lambda *_names: ServiceAccount("shop", "web", annotations))
    monkeypatch.setattr(kubernetes, "list_pods", lambda *_names: list(pods))
    monkeypatch.setattr(kubernetes, "list_replica_sets", lambda *_names: {"web-1": replica_set(**(template or {}))})
    bindings = [ServiceAccountBinding("lbc", "shop", "web", **binding)]
    reader = binding_state.PodReader(None)
    items = binding_state.observe(reader, bindings, {"lbc": ARN}, False, lambda: None, associations=associations)
    return binding_state.build_result(items)


def test_a_stale_pod_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    result = observe(monkeypatch, ARN, pod())
    assert [owner["name"] for owner in result["restarts"]] == ["web"]
    assert result["service_accounts"][0]["status"] == "pending"


def test_nothing_is_restarted_where_an_association_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    result = observe(monkeypatch, ARN, pod(), associations={("shop", "web")})
    (item,) = result["service_accounts"]
    assert (item["status"], item["pod_identity"], item["stale_pods"], result["restarts"]) == ("ok", True, [], [])
    assert "Its Pod Identity association wins" in item["reason"]


def test_a_pod_with_the_associations_credentials_is_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a kubeconfig alone, associations cannot be read."""
    result = observe(monkeypatch, ARN, pod(**CONTAINER_CREDENTIALS))
    assert (result["service_accounts"][0]["status"], result["restarts"]) == ("ok", [])


def test_a_removed_role_is_restarted_away_in_spite_of_an_association(monkeypatch: pytest.MonkeyPatch) -> None:
    result = observe(monkeypatch, None, pod(AWS_ROLE_ARN=ARN), associations={("shop", "web")}, is_present=False)
    assert len(result["restarts"]) == 1


def test_a_template_that_sets_the_role_itself_is_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    result = observe(monkeypatch, ARN, pod(AWS_ROLE_ARN=OTHER), template={"AWS_ROLE_ARN": OTHER})
    assert result["restarts"] == []
    assert result["service_accounts"][0]["status"] == "pending"


@pytest.mark.parametrize(
    ("annotation", "replaces", "conflict"),
    [
        (None, None, False),
        (ARN, None, False),
        (OTHER, None, True),
        (OTHER, "other", False),
        (OTHER, OTHER, False),
        (OTHER, "another", True),
        (OTHER, OTHER.replace("123456789012", "210987654321"), True),
        ("nonsense", None, True),
        ("nonsense", "nonsense", False),
    ],
)
def test_an_annotation_of_another_role_is_replaced_only_by_its_name(
    monkeypatch: pytest.MonkeyPatch, annotation: Optional[str], replaces: Optional[str], conflict: bool
) -> None:
    (item,) = observe(monkeypatch, annotation, replaces=replaces)["service_accounts"]
    assert bool(item["conflict"]) == conflict
    assert item["annotation"] == annotation
    if conflict:
        assert "name that role in replaces" in item["conflict"]
    absent = observe(monkeypatch, annotation, replaces=replaces, is_present=False)["service_accounts"][0]
    assert absent["conflict"] is None


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"role": ""}, "role '' is neither the name of a role"),
        ({"role": "no role"}, "role 'no role' is neither the name of a role"),
        ({"namespace": ""}, "'' is not a valid name of a namespace"),
        ({"namespace": "Shop"}, "'Shop' is not a valid name of a namespace"),
        ({"service_accounts": []}, "lbc has no service account"),
        ({"service_accounts": [""]}, "'' is not a valid name of a service account"),
        ({"service_accounts": ["*"]}, "'*' is not a valid name of a service account"),
        ({"replaces": "no role"}, "replaces: role 'no role' is neither"),
    ],
)
def test_bindings_that_are_rejected(more: dict[str, Any], text: str) -> None:
    entry = {"role": "lbc", "namespace": "shop", "service_accounts": ["web"], "state": "present", **more}
    with pytest.raises(IrsaError) as error:
        ServiceAccountBinding.parse([entry])
    assert text in str(error.value)


def test_no_bindings_are_rejected() -> None:
    with pytest.raises(IrsaError, match="bindings is empty"):
        ServiceAccountBinding.parse([])
