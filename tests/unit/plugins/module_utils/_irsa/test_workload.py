# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods run with or without a role, and who owns them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import workload

ROLE = "arn:aws:iam::123456789012:role/lbc"
ROLE_ENVIRONMENT = [{"name": "AWS_ROLE_ARN", "value": ROLE}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/token"}]
TOKEN = {"projected": {"sources": [{"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}]}}
API_TOKEN = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"configMap": {}}]}}


def pod(
    name: str = "web", env: Any = None, volumes: Any = (API_TOKEN,), owner: Any = None, **status: Any
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", **({"ownerReferences": [owner]} if owner else {})}
    spec = {"serviceAccountName": "web", "containers": [{"name": "main", "env": env}], "volumes": list(volumes)}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running", **status}}


def owned(kind: str, name: str, version: str = "apps/v1") -> dict[str, Any]:
    return {"kind": kind, "name": name, "apiVersion": version, "controller": True}


@pytest.mark.parametrize(
    ("candidate", "has_role", "references_role"),
    [
        (pod(env=ROLE_ENVIRONMENT, volumes=[API_TOKEN, TOKEN]), True, True),
        (pod(), False, False),
        (pod(env=ROLE_ENVIRONMENT), False, True),  # no token of its own for STS
        (pod(volumes=[TOKEN]), False, False),
        (pod(env=[{"name": "AWS_ROLE_ARN", "value": f"{ROLE}2"}, ROLE_ENVIRONMENT[1]], volumes=[TOKEN]), False, False),
        (pod(env=ROLE_ENVIRONMENT[:1], volumes=[TOKEN]), False, True),
    ],
)
def test_a_pod_has_a_role(candidate: dict[str, Any], has_role: bool, references_role: bool) -> None:
    assert workload.has_role(candidate, ROLE) is has_role
    assert workload.references_role(candidate, ROLE) is references_role
    assert (list(workload.list_stale_pods([candidate], "web", ROLE, True)) == []) is has_role
    assert (list(workload.list_stale_pods([candidate], "web", ROLE, False)) == []) is not references_role
    assert list(workload.list_stale_pods([candidate], "other", ROLE, True)) == []


def test_pods_that_end_are_not_stale() -> None:
    ending = pod()
    ending["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    done = pod(phase="Succeeded")
    assert list(workload.list_stale_pods([ending, done, pod("left")], "web", ROLE, True)) == [pod("left")]


@pytest.mark.parametrize(
    ("owner", "expected", "restartable"),
    [
        (owned("ReplicaSet", "web-1"), "Deployment web", True),
        (owned("ReplicaSet", "alone"), "ReplicaSet alone", False),
        (owned("StatefulSet", "db"), "StatefulSet db", True),
        (owned("DaemonSet", "agent"), "DaemonSet agent", True),
        (owned("Job", "batch", "batch/v1"), "Job batch", False),
        (owned("Deployment", "odd", "example.org/v1"), "Deployment odd", False),
    ],
)
def test_whoever_makes_a_pod_is_found(owner: dict[str, Any], expected: str, restartable: bool) -> None:
    sets = {"web-1": {"metadata": {"ownerReferences": [owned("Deployment", "web")]}}, "alone": {"metadata": {}}}
    found = workload.find_owner(pod(owner=owner), sets)
    assert found is not None
    assert (str(found), found.is_restartable) == (expected, restartable)


def test_a_bare_pod_has_no_owner() -> None:
    assert workload.find_owner(pod(), {}) is None
