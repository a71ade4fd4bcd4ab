# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls the Kubernetes API; no other file does. Takes a ready kubernetes.client.ApiClient."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Optional

from .findings import ServiceAccount
from .model import IrsaError

try:
    from kubernetes.client import AppsV1Api, AuthenticationV1TokenRequest, CoreV1Api, V1TokenRequestSpec
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    _SERVICE_ERRORS: tuple[type[Exception], ...] = (ApiException, HTTPError)
except ImportError:  # without the client, nothing can raise these
    _SERVICE_ERRORS = ()

PAGE_SIZE = 500


def list_service_accounts(api: Any) -> list[ServiceAccount]:
    """All service accounts of the cluster with their annotations, 500 per call."""
    found: list[ServiceAccount] = []
    more: dict[str, Any] = {}
    while True:
        try:
            response = CoreV1Api(api).list_service_account_for_all_namespaces(limit=PAGE_SIZE, **more)
        except _SERVICE_ERRORS as error:
            raise IrsaError(
                f"The service accounts of the cluster could not be listed: {_get_error_message(error)}. Allow these "
                "credentials to list serviceaccounts in all namespaces (an access entry with AmazonEKSViewPolicy does)."
            ) from error
        for account in response.items:
            metadata = account.metadata
            found.append(ServiceAccount(metadata.namespace, metadata.name, dict(metadata.annotations or {})))
        if not response.metadata._continue:
            return found
        more = {"_continue": response.metadata._continue}


def _get_error_message(error: Exception) -> str:
    """The API server's own message, instead of the client's text."""
    try:
        return f"{getattr(error, 'status', '')} {json.loads(getattr(error, 'body', None) or '')['message']}"
    except (ValueError, KeyError, TypeError):
        return str(error).splitlines()[0]


def get_service_account(api: Any, namespace: str, name: str) -> Optional[ServiceAccount]:
    """One service account; None where it does not exist."""
    try:
        found = CoreV1Api(api).read_namespaced_service_account(name, namespace)
    except _SERVICE_ERRORS as error:
        if getattr(error, "status", None) == 404:
            return None
        raise IrsaError(
            f"Service account {namespace}/{name} could not be read: {_get_error_message(error)}. Allow these "
            "credentials to get serviceaccounts in that namespace."
        ) from error
    return ServiceAccount(namespace, name, dict(found.metadata.annotations or {}))


def list_pods(api: Any, namespace: str) -> list[dict[str, Any]]:
    """The pods of a namespace, as the API returns them."""
    return _list_all(api, CoreV1Api(api).list_namespaced_pod, namespace, "pods")


def list_replica_sets(api: Any, namespace: str) -> dict[str, dict[str, Any]]:
    """The ReplicaSets of a namespace, by name."""
    found = _list_all(api, AppsV1Api(api).list_namespaced_replica_set, namespace, "replicasets")
    return {replica_set["metadata"]["name"]: replica_set for replica_set in found}


def _list_all(api: Any, list_page: Callable[..., Any], namespace: str, resource: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        try:
            response = list_page(namespace, limit=PAGE_SIZE, **more)
        except _SERVICE_ERRORS as error:
            raise IrsaError(
                f"The {resource} of {namespace} could not be listed: {_get_error_message(error)}. Allow these "
                f"credentials to list {resource} in that namespace."
            ) from error
        found += [api.sanitize_for_serialization(item) for item in response.items]
        if not response.metadata._continue:
            return found
        more = {"_continue": response.metadata._continue}


def create_token(api: Any, namespace: str, name: str, audience: str) -> str:
    """A token of the service account by TokenRequest, as the kubelet gets it for a pod. Ten minutes is the minimum."""
    request = AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[audience], expiration_seconds=600))
    try:
        response = CoreV1Api(api).create_namespaced_service_account_token(name, namespace, request)
    except _SERVICE_ERRORS as error:
        raise IrsaError(
            f"No token could be created for {namespace}/{name}: {_get_error_message(error)}. Allow these credentials "
            "to create serviceaccounts/token in that namespace (an access entry with AmazonEKSClusterAdminPolicy does)."
        ) from error
    return str(response.status.token)
