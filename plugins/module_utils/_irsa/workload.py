# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods run with or without a role, and which owner to restart. Pure; takes the objects of the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

KubernetesObject = Mapping[str, Any]
# Kinds whose rollout replaces the pods after a change of the template.
RESTARTABLE_KINDS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}


@dataclass(frozen=True)
class PodOwner:
    """The controller of a pod. C(is_restartable): a changed annotation of its template replaces its pods."""

    kind: str
    name: str
    api_version: str
    sets_role: bool = False

    @property
    def is_restartable(self) -> bool:
        """A template that sets the variables of the role itself keeps them in new pods."""
        return RESTARTABLE_KINDS.get(self.kind) == self.api_version and not self.sets_role

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "api_version": self.api_version,
            "restartable": self.is_restartable,
        }

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def list_restarts(service_accounts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The owners to restart, each once, with its namespace. Takes entries of the result of eks_irsa_binding_info."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for service_account in service_accounts:
        for owner in service_account["owners"]:
            if owner["restartable"]:
                namespace = service_account["namespace"]
                found[namespace, owner["kind"], owner["name"]] = {**owner, "namespace": namespace}
    return list(found.values())


def uses_service_account(pod: KubernetesObject, service_account: str) -> bool:
    return str((pod.get("spec") or {}).get("serviceAccountName") or "default") == service_account


def is_ending(pod: KubernetesObject) -> bool:
    """Whether the pod is being deleted, or has completed."""
    status = pod.get("status") or {}
    return bool(pod["metadata"].get("deletionTimestamp")) or status.get("phase") in ("Succeeded", "Failed")


def has_role(pod: KubernetesObject, role_arn: str) -> bool:
    """Whether the pod has a token volume, and a container with the variables of the role and the token."""
    spec = pod.get("spec") or {}
    projected = [
        source["serviceAccountToken"]
        for volume in spec.get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if source.get("serviceAccountToken")
    ]
    # The default token for the API server has no audience; the token for STS has one.
    token = any(source.get("audience") for source in projected)
    return token and any(_has_role_environment(container, role_arn) for container in spec.get("containers") or ())


def _has_role_environment(container: KubernetesObject, role_arn: str) -> bool:
    values = {variable.get("name"): variable.get("value") for variable in container.get("env") or ()}
    return values.get("AWS_ROLE_ARN") == role_arn and bool(values.get("AWS_WEB_IDENTITY_TOKEN_FILE"))


def has_pod_identity(pod: KubernetesObject) -> bool:
    """Whether EKS's webhook gave the pod the variables of a Pod Identity association, instead of those of the role.

    See docs/facts/irsa.md#pod-identity.
    """
    required = {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(
        required <= {variable.get("name") for variable in container.get("env") or () if variable.get("value")}
        for container in containers
    )


def references_role(pod: KubernetesObject, role_arn: str) -> bool:
    """Whether a container still has the role in a variable."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(variable.get("value") == role_arn for container in containers for variable in container.get("env") or ())


def list_stale_pods(
    pods: Sequence[KubernetesObject], service_account: str, role_arn: str, present: bool
) -> Iterator[KubernetesObject]:
    """The service account's pods that run without the role (C(present)), or that still have it."""
    for pod in pods:
        if uses_service_account(pod, service_account) and not is_ending(pod):
            if present:
                wrong = not has_role(pod, role_arn) and not has_pod_identity(pod)
            else:
                wrong = references_role(pod, role_arn)
            if wrong:
                yield pod


def _get_controller(resource: KubernetesObject) -> Optional[KubernetesObject]:
    owners = resource["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def find_owner(pod: KubernetesObject, replica_sets: Mapping[str, KubernetesObject]) -> Optional[PodOwner]:
    """The controller of the pod; for a ReplicaSet, the Deployment that owns it. C(replica_sets): by name."""
    found = _get_controller(pod)
    sets_role = False
    if found is not None and found["kind"] == "ReplicaSet" and found["name"] in replica_sets:
        replica_set = replica_sets[found["name"]]
        sets_role = _has_own_role(((replica_set.get("spec") or {}).get("template") or {}).get("spec") or {})
        found = _get_controller(replica_set) or found
    if found is None:
        return None
    return PodOwner(str(found["kind"]), str(found["name"]), str(found["apiVersion"]), sets_role)


def _has_own_role(spec: KubernetesObject) -> bool:
    """Whether a pod template sets variables that EKS's webhook would set, and then leaves as they are."""
    variables = {
        variable.get("name") for container in spec.get("containers") or () for variable in container.get("env") or ()
    }
    return bool(variables & {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"})
