# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's side of bindings: service accounts, their annotations, their pods, and the proof. Knows no Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .._result import ItemResult, summarize
from . import iam, kubernetes, sts, workload
from .calls import CallError
from .findings import ANNOTATION
from .model import AUDIENCE, IrsaError, get_role_name

# What STS answers to a token that it knows, for a role whose trust policy does not let it in.
REJECTED_CODE = "AccessDenied"


@dataclass(frozen=True)
class ServiceAccountBinding:
    """One service account and the role that it is to have, or not to have."""

    role: str
    namespace: str
    service_account: str
    is_present: bool = True

    @classmethod
    def parse(cls, bindings: Sequence[Mapping[str, Any]]) -> list[ServiceAccountBinding]:
        return [
            cls(binding["role"], binding["namespace"], name, binding["state"] == "present")
            for binding in bindings
            for name in dict.fromkeys(binding["service_accounts"])
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service_account} with {get_role_name(self.role)}"


class PodReader:
    """One cluster as it is now; each namespace is read once."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self._pods: dict[str, list[dict[str, Any]]] = {}
        self._replica_sets: dict[str, dict[str, dict[str, Any]]] = {}

    def list_pods(self, namespace: str) -> list[dict[str, Any]]:
        if namespace not in self._pods:
            self._pods[namespace] = kubernetes.list_pods(self.api, namespace)
        return self._pods[namespace]

    def find_owner(self, pod: Mapping[str, Any]) -> Optional[workload.PodOwner]:
        namespace = pod["metadata"]["namespace"]
        if namespace not in self._replica_sets:
            self._replica_sets[namespace] = kubernetes.list_replica_sets(self.api, namespace)
        return workload.find_owner(pod, self._replica_sets[namespace])


def get_role_arns(
    make_client: Callable[[], Any], bindings: Sequence[ServiceAccountBinding]
) -> dict[str, Optional[str]]:
    """The ARN of each role by what it is called here; None where there is no such role."""
    found: dict[str, Optional[str]] = {}
    for binding in bindings:
        if binding.role.startswith("arn:"):
            found[binding.role] = binding.role
        elif binding.role not in found:
            role = iam.get_role(make_client(), binding.role)
            found[binding.role] = role.arn if role else None
    return found


def observe(
    reader: PodReader,
    bindings: Sequence[ServiceAccountBinding],
    role_arns: Mapping[str, Optional[str]],
    verify: bool,
    make_sts: Callable[[], Any],
    audience: str = AUDIENCE,
) -> list[ItemResult]:
    """One result per service account. One that fails does not end the others."""
    items = []
    for binding in bindings:
        try:
            items.append(_observe_binding(reader, binding, role_arns[binding.role], verify, make_sts, audience))
        except IrsaError as error:
            items.append(ItemResult(str(binding), "failed", str(error), fields=_build_fields(binding)))
    return items


def _build_fields(binding: ServiceAccountBinding, **overrides: Any) -> dict[str, Any]:
    return {
        "role": binding.role,
        "role_arn": None,
        "namespace": binding.namespace,
        "service_account": binding.service_account,
        "state": "present" if binding.is_present else "absent",
        "exists": None,
        "annotated": None,
        "account_right": None,
        "pods_amiss": [],
        "owners": [],
        "proved": None,
        **overrides,
    }


def _observe_binding(
    reader: PodReader,
    binding: ServiceAccountBinding,
    role_arn: Optional[str],
    verify: bool,
    make_sts: Callable[[], Any],
    audience: str,
) -> ItemResult:
    account = kubernetes.get_service_account(reader.api, binding.namespace, binding.service_account)
    annotation = account.role_arn if account else None
    annotated = annotation == role_arn if role_arn else get_role_name(annotation or "") == get_role_name(binding.role)
    stale_pods: list[dict[str, Any]] = []
    owners: dict[workload.PodOwner, None] = {}
    if account and role_arn:
        for pod in workload.list_stale_pods(
            reader.list_pods(binding.namespace), binding.service_account, role_arn, binding.is_present
        ):
            owner = reader.find_owner(pod)
            stale_pods.append({"name": pod["metadata"]["name"], "owner": owner.to_dict() if owner else None})
            if owner:
                owners[owner] = None
    fields = _build_fields(
        binding,
        role_arn=role_arn,
        exists=account is not None,
        annotated=bool(account and annotated),
        account_right=bool(account and annotated and role_arn) if binding.is_present else not (account and annotated),
        pods_amiss=stale_pods,
        owners=[owner.to_dict() for owner in owners],
    )
    reasons = list(_list_stale_reasons(binding, role_arn, account is not None, bool(annotated), annotation, stale_pods))
    if verify and account and role_arn:
        error = sts.assume_role(
            make_sts(),
            role_arn,
            kubernetes.create_token(reader.api, binding.namespace, binding.service_account, audience),
        )
        fields["proved"] = (error is None) if binding.is_present else bool(error and error.code == REJECTED_CODE)
        if not fields["proved"]:
            reasons.insert(0, _get_unverified_reason(binding, error))
    if not reasons:
        how = {None: "", True: ", as STS answers to a token of it"}[fields["proved"]]
        doing = "may assume the role" if binding.is_present else "may not assume the role"
        reason = f"It {doing}{how}." if fields["proved"] else "The cluster's side is as it should be."
        return ItemResult(str(binding), "ok", reason, fields=fields)
    # What is amiss in a cluster is told, and what was to be proved and was not fails.
    return ItemResult(
        str(binding), "failed" if fields["proved"] is False else "pending", " ".join(reasons), fields=fields
    )


def _list_stale_reasons(
    binding: ServiceAccountBinding,
    role_arn: Optional[str],
    exists: bool,
    annotated: bool,
    annotation: Optional[str],
    stale_pods: Sequence[Any],
) -> list[str]:
    found = []
    if binding.is_present:
        if role_arn is None:
            found.append(f"There is no role {binding.role}.")
        if not exists:
            found.append("There is no such service account.")
        elif not annotated:
            found.append(f"Its annotation {ANNOTATION} is {annotation or 'not there'}.")
    elif exists and annotated:
        found.append(f"Its annotation {ANNOTATION} names the role.")
    if stale_pods:
        how = "without" if binding.is_present else "with"
        found.append(f"Pods that run {how} the role: {', '.join(pod['name'] for pod in stale_pods)}.")
    return found


def _get_unverified_reason(binding: ServiceAccountBinding, error: Optional[CallError]) -> str:
    if error is None:
        return "STS still issues a session to a token of it."
    message = f"STS answered {error.code}: {error.message}."
    return message if binding.is_present else f"Whether it is refused was not proved. {message}"


def build_result(items: Sequence[ItemResult]) -> dict[str, Any]:
    summary = summarize(items)
    count = {status: sum(item.status == status for item in items) for status in ("ok", "pending", "failed")}
    message = f"{count['ok']} as they should be, {count['pending']} not yet, {count['failed']} failed."
    return {
        "changed": False,
        "failed": bool(summary.get("failed")),
        "msg": f"{message} {summary['msg']}" if "msg" in summary else message,
        "service_accounts": [item.to_dict() for item in items],
        "restarts": _list_restarts(items),
        "totals": count,
    }


def _list_restarts(items: Sequence[ItemResult]) -> list[dict[str, Any]]:
    """Each owner once, with its namespace."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for item in items:
        for owner in item.fields["owners"]:
            if owner["restartable"]:
                restart = {**owner, "namespace": item.fields["namespace"]}
                found[restart["namespace"], restart["kind"], restart["name"]] = restart
    return list(found.values())
