# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's side of bindings: service accounts, annotations, pods, and the check with STS. No Ansible in here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .._aws_call import ApiError
from .._result import ItemResult, summarize
from . import eks, iam, kubernetes, sts, workload
from .binding_request import check_name, check_role
from .findings import ANNOTATION
from .model import AUDIENCE, IrsaError, get_role_name

# The error code of STS for a valid token whose subject the role's trust policy does not allow.
REJECTED_CODE = "AccessDenied"


@dataclass(frozen=True)
class ServiceAccountBinding:
    """One service account, and the role that it must have (C(is_present)) or must not have."""

    role: str
    namespace: str
    service_account: str
    is_present: bool = True
    replaces: Optional[str] = None

    @classmethod
    def parse(cls, bindings: Sequence[Mapping[str, Any]]) -> list[ServiceAccountBinding]:
        """Refuses what neither IAM nor Kubernetes accepts as a name."""
        if not bindings:
            raise IrsaError("bindings is empty. Give at least one role and its service accounts.")
        for binding in bindings:
            check_role(binding["role"], "bindings: ")
            if binding.get("replaces"):
                check_role(binding["replaces"], "bindings: replaces: ")
            check_name("namespace", binding["namespace"], "bindings: ")
            if not binding["service_accounts"]:
                raise IrsaError(f"bindings: {binding['role']} has no service account. List service_accounts.")
            for name in binding["service_accounts"]:
                check_name("service account", name, "bindings: ")
        found = [
            cls(binding["role"], binding["namespace"], name, binding["state"] == "present", binding.get("replaces"))
            for binding in bindings
            for name in dict.fromkeys(binding["service_accounts"])
        ]
        return list(dict.fromkeys(found))

    def can_replace(self, annotation: str) -> bool:
        """Whether the binding names the role that the annotation names so far."""
        if self.replaces is None:
            return False
        return annotation == self.replaces or (
            not self.replaces.startswith("arn:") and get_role_name(annotation) == self.replaces
        )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service_account} with {get_role_name(self.role)}"


class PodReader:
    """Reads the pods of a cluster, each namespace once."""

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
    """The ARN of each role, by its name or ARN in the bindings; None where the role does not exist."""
    found: dict[str, Optional[str]] = {}
    for binding in bindings:
        if binding.role.startswith("arn:"):
            found[binding.role] = binding.role
        elif binding.role not in found:
            role = iam.get_role(make_client(), binding.role)
            found[binding.role] = role.arn if role else None
    return found


def list_associations(
    make_client: Callable[[], Any], cluster: Optional[str], not_checked: list[str]
) -> set[tuple[str, str]]:
    """The Pod Identity associations of a cluster. What could not be read goes to C(not_checked)."""
    if cluster is None:
        not_checked.append("Pod Identity associations: the option cluster is not set.")
        return set()
    try:
        return eks.list_pod_identity_associations(make_client(), cluster)
    except ApiError as error:
        not_checked.append(f"Pod Identity associations: {error.explanation}")
        return set()


def observe(
    reader: PodReader,
    bindings: Sequence[ServiceAccountBinding],
    role_arns: Mapping[str, Optional[str]],
    verify: bool,
    make_sts: Callable[[], Any],
    audience: str = AUDIENCE,
    associations: Collection[tuple[str, str]] = (),
) -> list[ItemResult]:
    """One result per service account. A failed item does not stop the others.

    C(associations): namespace and service account of each Pod Identity association, as far as they are known.
    """
    items = []
    for binding in bindings:
        try:
            has_association = (binding.namespace, binding.service_account) in associations
            items.append(
                _observe_binding(reader, binding, role_arns[binding.role], verify, make_sts, audience, has_association)
            )
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
        "annotation": None,
        "annotated": None,
        "conflict": None,
        "pod_identity": None,
        "service_account_ok": None,
        "stale_pods": [],
        "owners": [],
        "verified": None,
        **overrides,
    }


def _observe_binding(
    reader: PodReader,
    binding: ServiceAccountBinding,
    role_arn: Optional[str],
    verify: bool,
    make_sts: Callable[[], Any],
    audience: str,
    has_association: bool,
) -> ItemResult:
    account = kubernetes.get_service_account(reader.api, binding.namespace, binding.service_account)
    annotation = account.role_arn if account else None
    annotated = annotation == role_arn if role_arn else get_role_name(annotation or "") == get_role_name(binding.role)
    stale_pods: list[dict[str, Any]] = []
    owners: dict[workload.PodOwner, None] = {}
    # An association wins, so a restart would not give a pod the role of the annotation.
    is_overridden = binding.is_present and has_association
    if account and role_arn and not is_overridden:
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
        annotation=annotation,
        annotated=bool(account and annotated),
        conflict=_get_conflict(binding, role_arn, annotation),
        pod_identity=has_association,
        service_account_ok=(
            bool(account and annotated and role_arn) if binding.is_present else not (account and annotated)
        ),
        stale_pods=stale_pods,
        owners=[owner.to_dict() for owner in owners],
    )
    reasons = list(_list_stale_reasons(binding, role_arn, account is not None, bool(annotated), annotation, stale_pods))
    if verify and account and role_arn:
        error = sts.assume_role(
            make_sts(),
            role_arn,
            kubernetes.create_token(reader.api, binding.namespace, binding.service_account, audience),
        )
        fields["verified"] = (error is None) if binding.is_present else bool(error and error.code == REJECTED_CODE)
        if not fields["verified"]:
            reasons.insert(0, _get_unverified_reason(binding, error))
    if not reasons:
        reason = "The service account and its pods are in order."
        if fields["verified"]:
            reason = "STS issues a session to its token." if binding.is_present else "STS rejects its token."
        if is_overridden:
            reason += (
                " Its Pod Identity association wins: new pods get the association's role, not the role of the "
                "annotation. No pod is restarted for the annotation."
            )
        return ItemResult(str(binding), "ok", reason, fields=fields)
    # A stale pod or a missing annotation leaves the item pending. A failed verification fails it.
    return ItemResult(
        str(binding), "failed" if fields["verified"] is False else "pending", " ".join(reasons), fields=fields
    )


def _get_conflict(binding: ServiceAccountBinding, role_arn: Optional[str], annotation: Optional[str]) -> Optional[str]:
    """Why the annotation must not be written: it names another role, and the binding does not name that one."""
    if not binding.is_present or not annotation or annotation == role_arn or binding.can_replace(annotation):
        return None
    return (
        f"The annotation {ANNOTATION} names another role: {annotation}. To replace it, name that role in replaces of "
        "the binding."
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
            found.append(f"The role {binding.role} does not exist.")
        if not exists:
            found.append("The service account does not exist.")
        elif not annotated:
            found.append(f"The annotation {ANNOTATION} is {annotation or 'missing'}.")
    elif exists and annotated:
        found.append(f"The annotation {ANNOTATION} still names the role.")
    if stale_pods:
        prefix = "Pods without the role" if binding.is_present else "Pods that still have the role"
        found.append(f"{prefix}: {', '.join(pod['name'] for pod in stale_pods)}.")
    return found


def _get_unverified_reason(binding: ServiceAccountBinding, error: Optional[ApiError]) -> str:
    if error is None:
        return "STS still issues a session to its token."
    message = f"STS answered {error.code}: {error.message}."
    return message if binding.is_present else f"Not verified that STS rejects its token. {message}"


def build_result(items: Sequence[ItemResult]) -> dict[str, Any]:
    summary = summarize(items)
    count = {status: sum(item.status == status for item in items) for status in ("ok", "pending", "failed")}
    message = f"{count['ok']} ok, {count['pending']} pending, {count['failed']} failed."
    return {
        "changed": False,
        "failed": bool(summary.get("failed")),
        "msg": f"{message} {summary['msg']}" if "msg" in summary else message,
        "service_accounts": [item.to_dict() for item in items],
        "restarts": workload.list_restarts(item.fields for item in items),
        "totals": count,
    }
