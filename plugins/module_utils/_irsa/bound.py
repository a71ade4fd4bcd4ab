# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's side of bindings: service accounts, their annotations, their pods, and the proof. Knows no Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .._result import ItemResult, summarize
from . import iam, kubernetes, sts, workload
from .audit import ANNOTATION
from .calls import CallError
from .model import AUDIENCE, IrsaError, role_name

# What STS answers to a token that it knows, for a role whose trust policy does not let it in.
REFUSED = "AccessDenied"


@dataclass(frozen=True)
class Bound:
    """One service account and the role that it is to have, or not to have."""

    role: str
    namespace: str
    service_account: str
    present: bool = True

    @classmethod
    def parse(cls, bindings: Sequence[Mapping[str, Any]]) -> list[Bound]:
        return [
            cls(one["role"], one["namespace"], name, one["state"] == "present")
            for one in bindings
            for name in dict.fromkeys(one["service_accounts"])
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service_account} with {role_name(self.role)}"


class Cluster:
    """One cluster as it is now; each namespace is read once."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self._pods: dict[str, list[dict[str, Any]]] = {}
        self._replica_sets: dict[str, dict[str, dict[str, Any]]] = {}

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        if namespace not in self._pods:
            self._pods[namespace] = kubernetes.pods(self.api, namespace)
        return self._pods[namespace]

    def owner(self, pod: Mapping[str, Any]) -> Optional[workload.Owner]:
        namespace = pod["metadata"]["namespace"]
        if namespace not in self._replica_sets:
            self._replica_sets[namespace] = kubernetes.replica_sets(self.api, namespace)
        return workload.owner(pod, self._replica_sets[namespace])


def arns(client: Callable[[], Any], bounds: Sequence[Bound]) -> dict[str, Optional[str]]:
    """The ARN of each role by what it is called here; None where there is no such role."""
    found: dict[str, Optional[str]] = {}
    for one in bounds:
        if one.role.startswith("arn:"):
            found[one.role] = one.role
        elif one.role not in found:
            role = iam.role(client(), one.role)
            found[one.role] = role.arn if role else None
    return found


def look(
    cluster: Cluster,
    bounds: Sequence[Bound],
    roles: Mapping[str, Optional[str]],
    prove: bool,
    make_sts: Callable[[], Any],
    audience: str = AUDIENCE,
) -> list[ItemResult]:
    """One result per service account. One that fails does not end the others."""
    items = []
    for one in bounds:
        try:
            items.append(_look(cluster, one, roles[one.role], prove, make_sts, audience))
        except IrsaError as error:
            items.append(ItemResult(str(one), "failed", str(error), fields=_fields(one)))
    return items


def _fields(one: Bound, **more: Any) -> dict[str, Any]:
    return {
        "role": one.role,
        "role_arn": None,
        "namespace": one.namespace,
        "service_account": one.service_account,
        "state": "present" if one.present else "absent",
        "exists": None,
        "annotated": None,
        "account_right": None,
        "pods_amiss": [],
        "owners": [],
        "proved": None,
        **more,
    }


def _look(
    cluster: Cluster, one: Bound, arn: Optional[str], prove: bool, make_sts: Callable[[], Any], audience: str
) -> ItemResult:
    account = kubernetes.service_account(cluster.api, one.namespace, one.service_account)
    annotation = account.role if account else None
    annotated = annotation == arn if arn else role_name(annotation or "") == role_name(one.role)
    amiss: list[dict[str, Any]] = []
    owners: dict[workload.Owner, None] = {}
    if account and arn:
        for pod in workload.amiss(cluster.pods(one.namespace), one.service_account, arn, one.present):
            owner = cluster.owner(pod)
            amiss.append({"name": pod["metadata"]["name"], "owner": owner.to_dict() if owner else None})
            if owner:
                owners[owner] = None
    fields = _fields(
        one,
        role_arn=arn,
        exists=account is not None,
        annotated=bool(account and annotated),
        account_right=bool(account and annotated and arn) if one.present else not (account and annotated),
        pods_amiss=amiss,
        owners=[owner.to_dict() for owner in owners],
    )
    troubles = list(_troubles(one, arn, account is not None, bool(annotated), annotation, amiss))
    if prove and account and arn:
        error = sts.assume(make_sts(), arn, kubernetes.token(cluster.api, one.namespace, one.service_account, audience))
        fields["proved"] = (error is None) if one.present else bool(error and error.code == REFUSED)
        if not fields["proved"]:
            troubles.insert(0, _not_proved(one, error))
    if not troubles:
        how = {None: "", True: ", as STS answers to a token of it"}[fields["proved"]]
        doing = "may assume the role" if one.present else "may not assume the role"
        reason = f"It {doing}{how}." if fields["proved"] else "The cluster's side is as it should be."
        return ItemResult(str(one), "ok", reason, fields=fields)
    # What is amiss in a cluster is told, and what was to be proved and was not fails.
    return ItemResult(str(one), "failed" if fields["proved"] is False else "pending", " ".join(troubles), fields=fields)


def _troubles(
    one: Bound, arn: Optional[str], exists: bool, annotated: bool, annotation: Optional[str], amiss: Sequence[Any]
) -> list[str]:
    found = []
    if one.present:
        if arn is None:
            found.append(f"There is no role {one.role}.")
        if not exists:
            found.append("There is no such service account.")
        elif not annotated:
            found.append(f"Its annotation {ANNOTATION} is {annotation or 'not there'}.")
    elif exists and annotated:
        found.append(f"Its annotation {ANNOTATION} names the role.")
    if amiss:
        how = "without" if one.present else "with"
        found.append(f"Pods that run {how} the role: {', '.join(one['name'] for one in amiss)}.")
    return found


def _not_proved(one: Bound, error: Optional[CallError]) -> str:
    if error is None:
        return "STS still issues a session to a token of it."
    words = f"STS answered {error.code}: {error.message}."
    return words if one.present else f"Whether it is refused was not proved. {words}"


def report(items: Sequence[ItemResult]) -> dict[str, Any]:
    told = summarize(items)
    count = {status: sum(one.status == status for one in items) for status in ("ok", "pending", "failed")}
    words = f"{count['ok']} as they should be, {count['pending']} not yet, {count['failed']} failed."
    return {
        "changed": False,
        "failed": bool(told.get("failed")),
        "msg": f"{words} {told['msg']}" if "msg" in told else words,
        "service_accounts": [one.to_dict() for one in items],
        "restarts": _restarts(items),
        "totals": count,
    }


def _restarts(items: Sequence[ItemResult]) -> list[dict[str, Any]]:
    """Each owner once, with its namespace."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for item in items:
        for owner in item.fields["owners"]:
            if owner["restartable"]:
                one = {**owner, "namespace": item.fields["namespace"]}
                found[one["namespace"], one["kind"], one["name"]] = one
    return list(found.values())
