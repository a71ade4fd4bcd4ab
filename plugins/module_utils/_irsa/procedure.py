# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role irsa_namespace: what comes next, from the results of its tasks so far. Pure.

A service account that fails in one task is left out of those that follow, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .._result import ItemResult, format_failures
from . import workload
from .findings import ANNOTATION
from .model import get_role_name

Item = Mapping[str, Any]  # an entry of service_accounts in the result of eks_irsa_binding_info


@dataclass(frozen=True)
class ProcedureOptions:
    """The options of the role that its decisions depend on."""

    cluster: str
    create_service_accounts: bool = True
    restart: bool = True
    check_mode: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProcedureResults:
    """The registered results, in the order of the tasks. A task that has not run yet, or was skipped, is empty."""

    before: Mapping[str, Any] = field(default_factory=dict)
    trusted: Mapping[str, Any] = field(default_factory=dict)
    annotated: Mapping[str, Any] = field(default_factory=dict)
    cleaned: Mapping[str, Any] = field(default_factory=dict)
    stale: Mapping[str, Any] = field(default_factory=dict)
    restarted: Mapping[str, Any] = field(default_factory=dict)
    waited: Mapping[str, Any] = field(default_factory=dict)
    untrusted: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last_items(self) -> list[Item]:
        """The service accounts as they were read last."""
        for result in (self.after, self.waited, self.stale, self.before):
            if result.get("service_accounts") is not None:
                return list(result["service_accounts"])
        return []


def build_annotations(token_expiration: Optional[int], sts_regional_endpoints: Optional[bool]) -> dict[str, str]:
    """The annotations besides the role's ARN. Kubernetes takes texts only."""
    found = {}
    if token_expiration is not None:
        found["eks.amazonaws.com/token-expiration"] = str(token_expiration)
    if sts_regional_endpoints is not None:
        found["eks.amazonaws.com/sts-regional-endpoints"] = str(bool(sts_regional_endpoints)).lower()
    return found


def decide(results: ProcedureResults, options: ProcedureOptions) -> dict[str, Any]:
    """The next steps, the failures so far, and the lines for people."""
    failures: dict[str, str] = {}
    items = list(results.before.get("service_accounts") or ())
    for item in items:
        reason = _get_refusal(item, options)
        if reason:
            failures[item["name"]] = reason
    to_trust = _combine_bindings([item for item in items if _is_due(item, failures, "present")], options)
    _add_binding_failures(failures, items, results.trusted, "present")
    to_annotate = [
        {**_select_fields(item), "annotations": {ANNOTATION: item["role_arn"], **options.annotations}}
        for item in items
        if _is_due(item, failures, "present")
    ]
    to_clean = [_select_fields(item) for item in items if item["annotated"] and _is_due(item, failures, "absent")]
    for result in (results.annotated, results.cleaned):
        for entry in _list_failed(result):
            failures.setdefault(entry["item"]["name"], f"The service account was not changed: {_get_message(entry)}")
    due = [item for item in results.stale.get("service_accounts") or () if item["name"] not in failures]
    restarts = workload.list_restarts(due) if options.restart else []
    _add_restart_failures(failures, results, options)
    to_untrust = _combine_bindings([item for item in items if _is_due(item, failures, "absent")], options)
    _add_binding_failures(failures, items, results.untrusted, "absent")
    for item in results.after.get("service_accounts") or ():
        # Stale pods alone do not fail the role: those that can be restarted were waited for.
        if item["status"] == "failed" or (item["status"] == "pending" and not item["service_account_ok"]):
            failures.setdefault(item["name"], item["reason"])
    return {
        "to_trust": to_trust,
        "to_annotate": to_annotate,
        "to_clean": to_clean,
        "restarts": restarts,
        "to_untrust": to_untrust,
        "failures": [{"name": name, "reason": reason} for name, reason in failures.items()],
        "message": format_failures([ItemResult(name, "failed", reason) for name, reason in failures.items()]),
        "service_accounts": results.last_items,
        "lines": _format_lines(results, restarts, failures, options),
    }


def _get_refusal(item: Item, options: ProcedureOptions) -> Optional[str]:
    """Why a service account is left alone from the start."""
    if item["status"] == "failed":
        return str(item["reason"])
    if item["state"] == "absent":
        return None
    if item["role_arn"] is None:
        return f"The role {item['role']} does not exist. Create it first, for example with iam_irsa_namespace."
    if item["conflict"]:
        return str(item["conflict"])
    if not item["exists"] and not options.create_service_accounts:
        return "The service account does not exist. Create it, or set irsa_namespace_create_service_accounts=true."
    return None


def _is_due(item: Item, failures: Mapping[str, str], state: str) -> bool:
    return item["state"] == state and item["name"] not in failures


def _select_fields(item: Item) -> dict[str, Any]:
    return {key: item[key] for key in ("name", "namespace", "service_account")}


def _combine_bindings(items: Iterable[Item], options: ProcedureOptions) -> list[dict[str, Any]]:
    """The bindings for iam_irsa_namespace: one for each role and namespace."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for item in items:
        binding = found.setdefault(
            (item["role"], item["namespace"]),
            {
                "role": item["role"],
                "cluster": options.cluster,
                "namespace": item["namespace"],
                "service_accounts": [],
                "state": item["state"],
            },
        )
        if item["service_account"] not in binding["service_accounts"]:
            binding["service_accounts"].append(item["service_account"])
    return list(found.values())


def _add_binding_failures(
    failures: dict[str, str], items: Sequence[Item], result: Mapping[str, Any], state: str
) -> None:
    """The failures of iam_irsa_namespace, for each service account of a failed binding."""
    failed = {
        (binding["role"], binding["namespace"], name): binding["reason"]
        for binding in result.get("bindings") or ()
        if binding["status"] == "failed"
        for name in binding["service_accounts"]
    }
    for item in items:
        key = (get_role_name(item["role"]), item["namespace"], item["service_account"])
        if item["state"] == state and key in failed:
            failures.setdefault(item["name"], failed[key])


def _list_failed(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in result.get("results") or () if entry.get("failed")]


def _get_message(entry: Mapping[str, Any]) -> str:
    return str(entry.get("msg") or "the module gave no reason")


def _get_owner_key(item: Item, owner: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(item["namespace"]), str(owner["kind"]), str(owner["name"])


def _add_restart_failures(failures: dict[str, str], results: ProcedureResults, options: ProcedureOptions) -> None:
    """Owners that could not be restarted, and pods that are stale after the wait."""
    refused = {
        (entry["item"]["namespace"], entry["item"]["kind"], entry["item"]["name"]): _get_message(entry)
        for entry in _list_failed(results.restarted)
    }
    for item in results.stale.get("service_accounts") or ():
        for owner in item["owners"]:
            message = refused.get(_get_owner_key(item, owner))
            if message:
                failures.setdefault(item["name"], f"{owner['kind']} {owner['name']} was not restarted: {message}")
    for item in results.waited.get("service_accounts") or () if options.restart else ():
        if any(owner["restartable"] for owner in item["owners"]):
            failures.setdefault(item["name"], f"Its pods were not replaced in time. {item['reason']}")


def _format_lines(
    results: ProcedureResults,
    restarts: Sequence[Mapping[str, Any]],
    failures: Mapping[str, str],
    options: ProcedureOptions,
) -> list[str]:
    """One line for each step and each service account."""
    prefix = "would: " if options.check_mode else "done: "
    lines = _format_bindings(results.trusted)
    lines += [f"{prefix}annotate service account {place}" for place in _list_changed(results.annotated)]
    lines += [f"{prefix}remove the annotation from service account {place}" for place in _list_changed(results.cleaned)]
    refused = [entry["item"] for entry in _list_failed(results.restarted)]
    lines += [
        f"{prefix}restart {owner['kind']} {owner['namespace']}/{owner['name']}"
        for owner in restarts
        if owner not in refused
    ]
    lines += _format_bindings(results.untrusted)
    for item in results.last_items:
        reason = failures.get(item["name"])
        lines.append(
            f"{item['name']}: failed. {reason}" if reason else f"{item['name']}: {item['status']}. {item['reason']}"
        )
    return lines


def _format_bindings(result: Mapping[str, Any]) -> list[str]:
    return [f"IAM: {entry['name']}: {entry['status']}. {entry['reason']}" for entry in result.get("bindings") or ()]


def _list_changed(result: Mapping[str, Any]) -> list[str]:
    return [
        f"{entry['item']['namespace']}/{entry['item']['service_account']}"
        for entry in result.get("results") or ()
        if entry.get("changed") and not entry.get("failed")
    ]
