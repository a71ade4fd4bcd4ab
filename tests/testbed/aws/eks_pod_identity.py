# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS Pod Identity associations as records: moto has none. No pod gets credentials from them here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from moto.core.responses import ActionResult
from moto.eks.exceptions import ResourceInUseException, ResourceNotFoundException
from moto.eks.models import EKSBackend
from moto.eks.responses import EKSResponse
from moto.eks.urls import response as dispatcher
from moto.eks.urls import url_paths

from .clock import CLOCK
from .rules import rule

PATH = "{0}/clusters/(?P<name>[^/]+)/pod-identity-associations"
for path in (f"{PATH}$", f"{PATH}/(?P<associationId>[^/]+)$"):
    url_paths[path] = dispatcher.dispatch

FACT = "EKS API reference on pod identity associations: one for each service account; lists are paged; moto has none"
PAGE = 100


def associations(response: EKSResponse) -> dict[str, dict[str, Any]]:
    """Return the associations of the request's cluster. They end with the cluster."""
    backend: EKSBackend = response.eks_backend
    cluster = backend.describe_cluster(unquote(response._get_param("name")))
    if not hasattr(cluster, "testbed_associations"):
        cluster.testbed_associations = {}
    found: dict[str, dict[str, Any]] = cluster.testbed_associations
    return found


@rule(EKSResponse, "create_pod_identity_association", new=True, fact=FACT)
def associations_are_created(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    existing = associations(response)
    names = {key: response._get_param(key) for key in ("namespace", "serviceAccount", "roleArn")}
    names["clusterName"] = unquote(response._get_param("name"))
    owner_keys = ("namespace", "serviceAccount")
    if any(all(association[key] == names[key] for key in owner_keys) for association in existing.values()):
        raise ResourceInUseException(message=f"Association already exists: {', '.join(existing)}")
    key = f"a-{uuid.uuid4().hex[:17]}"
    home = f"arn:aws:eks:{response.region}:{response.current_account}:podidentityassociation"
    arn, now = f"{home}/{names['clusterName']}/{key}", CLOCK.now()
    existing[key] = {**names, "associationId": key, "associationArn": arn, "createdAt": now, "modifiedAt": now}
    return ActionResult({"association": existing[key]})


@rule(EKSResponse, "list_pod_identity_associations", new=True, fact=FACT)
def associations_are_listed(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    filters = {key: response._get_param(key) for key in ("namespace", "serviceAccount")}
    found = [
        {key: value for key, value in association.items() if key not in ("roleArn", "createdAt", "modifiedAt")}
        for association in associations(response).values()
        if all(value in (None, association[key]) for key, value in filters.items())
    ]
    start, size = int(response._get_param("nextToken") or 0), int(response._get_param("maxResults") or PAGE)
    more = {"nextToken": str(start + size)} if len(found) > start + size else {}
    return ActionResult({"associations": found[start : start + size], **more})


@rule(EKSResponse, "delete_pod_identity_association", new=True, fact=FACT)
def associations_are_deleted(plain: Callable[..., Any], response: EKSResponse) -> ActionResult:
    key = unquote(response._get_param("associationId"))
    found = associations(response).pop(key, None)
    if found is None:
        raise ResourceNotFoundException(message=f"No association found for id: {key}")
    return ActionResult({"association": found})
