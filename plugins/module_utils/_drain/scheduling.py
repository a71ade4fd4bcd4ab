# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler's rules for node selectors, node affinity, taints and volumes. Pure: it takes objects of the API.

docs/facts/sysctl_nodegroup.md#where-a-pod-can-run
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

ZONE_LABEL = "topology.kubernetes.io/zone"
# Labels of a volume that name its place, and the labels of a node with the same meaning.
_VOLUME_LABELS = {
    ZONE_LABEL: ZONE_LABEL,
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": ZONE_LABEL,
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}


def tolerates_taint(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Equal":
        return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")
    return bool(operator == "Exists")


def find_intolerable_taints(
    pod: Mapping[str, Any], taints: Sequence[Mapping[str, Any]], ignored_keys: Sequence[str] = ()
) -> list[Mapping[str, Any]]:
    """The taints that keep the pod away."""
    tolerations = (pod.get("spec") or {}).get("tolerations") or []
    return [
        taint
        for taint in taints
        if taint.get("effect") in ("NoSchedule", "NoExecute")
        and taint.get("key") not in ignored_keys
        and not any(tolerates_taint(toleration, taint) for toleration in tolerations)
    ]


def matches_expression(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels match an expression of a node selector."""
    operator, value, values = expression["operator"], labels.get(expression["key"]), expression.get("values") or []
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or len(values) != 1 or not all(re.fullmatch(r"[+-]?\d+", number) for number in (value, values[0])):
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def matches_terms(terms: Sequence[Mapping[str, Any]], labels: Mapping[str, str], node_name: str = "") -> bool:
    """Whether a node matches one of the terms. A term without an expression matches no node."""
    return any(_matches_term(term, labels, node_name) for term in terms)


def _matches_term(term: Mapping[str, Any], labels: Mapping[str, str], node_name: str) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    return bool(expressions or fields) and all(
        [
            *(matches_expression(expression, labels) for expression in expressions),
            *(matches_expression(field, {"metadata.name": node_name}) for field in fields),
        ]
    )


def get_affinity_terms(pod: Mapping[str, Any]) -> Optional[Sequence[Mapping[str, Any]]]:
    """The terms of the required node affinity; None where nothing is required."""
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required.get("nodeSelectorTerms") or []


def get_volume_terms(volume: Mapping[str, Any]) -> Optional[Sequence[Mapping[str, Any]]]:
    """The terms of a persistent volume's node affinity; None where nothing is required."""
    required = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    return None if required is None else required.get("nodeSelectorTerms") or []


def can_mount_volume(volume: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels can mount the persistent volume."""
    terms = get_volume_terms(volume)
    return (terms is None or matches_terms(terms, labels)) and all(
        labels.get(key, labels.get(_VOLUME_LABELS[key])) in values for key, values in list_volume_zones(volume).items()
    )


def list_volume_zones(volume: Mapping[str, Any]) -> dict[str, list[str]]:
    """The zones and regions in the labels of a volume, which older volumes have instead of a node affinity."""
    labels = volume["metadata"].get("labels") or {}
    return {key: labels[key].split("__") for key in _VOLUME_LABELS if key in labels}


def list_bound_volumes(pod: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The persistent volumes that a pod takes with it. An ephemeral volume is deleted with its pod."""
    claims = {
        (volume.get("persistentVolumeClaim") or {}).get("claimName")
        for volume in (pod.get("spec") or {}).get("volumes") or []
        if volume.get("persistentVolumeClaim")
    }
    found = []
    for volume in volumes:
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        if claim.get("namespace") == pod["metadata"]["namespace"] and claim.get("name") in claims:
            found.append(volume)
    return found
