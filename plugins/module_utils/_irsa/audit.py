# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit: reads roles, and a cluster's service accounts if requested, and reports which may assume which role.

No Ansible in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._aws_call import ApiError
from .._result import ItemResult, join_names, summarize
from . import eks, findings, iam, kubernetes
from .binding_request import check_role
from .binding_state import list_associations
from .findings import IrsaFinding, RoleTrust
from .model import AUDIENCE, IamRole, IrsaError, OidcProvider, get_role_name

WORKERS = 8
MakeClient = Callable[..., Any]


@dataclass(frozen=True)
class AuditOptions:
    roles: Optional[tuple[str, ...]] = None
    path_prefix: Optional[str] = None
    cluster: Optional[str] = None
    provider: Optional[OidcProvider] = None
    audience: str = AUDIENCE
    join_service_accounts: bool = False

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> AuditOptions:
        arn, prefix = params["oidc_provider_arn"], params["path_prefix"]
        if params["roles"] is not None and not params["roles"]:
            raise IrsaError("roles is empty. Give roles, or omit the option for every role that trusts the cluster.")
        for role in params["roles"] or ():
            check_role(role, "roles: ")
        if prefix and not (prefix.startswith("/") and prefix.endswith("/")):
            raise IrsaError(f"path_prefix {prefix!r} is not a path of IAM roles. Begin and end it with a slash.")
        if not params["audience"]:
            raise IrsaError(f"audience is empty. Give one, or omit the option for {AUDIENCE}.")
        if params["service_accounts"] and not (params["cluster"] or (arn and params["kubeconfig"])):
            raise IrsaError("service_accounts needs a cluster: give cluster, or oidc_provider_arn and kubeconfig.")
        return cls(
            roles=tuple(dict.fromkeys(params["roles"])) if params["roles"] else None,
            path_prefix=prefix or None,
            cluster=params["cluster"],
            provider=None if arn is None else OidcProvider.parse(arn),
            audience=params["audience"],
            join_service_accounts=params["service_accounts"],
        )


@dataclass(frozen=True)
class RoleAudit:
    """The audit's state. C(roles): by the name in the options, each role, None (no such role), or its error."""

    options: AuditOptions
    provider: Optional[OidcProvider]
    roles: Mapping[str, Any]
    roles_checked: int
    findings: tuple[IrsaFinding, ...] = ()
    service_accounts: Optional[int] = None
    not_checked: tuple[str, ...] = ()
    trusts: Mapping[str, RoleTrust] = field(default_factory=dict)


def run(make_client: MakeClient, make_api: Callable[[], Any], options: AuditOptions) -> RoleAudit:
    client = make_client("iam")
    provider = options.provider
    if options.cluster is not None:
        provider = eks.get_provider(make_client("eks"), options.cluster)
    roles = _read_roles(client, options)
    listed: list[IamRole] = [role for role in roles.values() if isinstance(role, IamRole)]
    trusts = {role.arn: findings.read_trust(role, provider, options.audience) for role in listed}
    role_audit = RoleAudit(
        options,
        provider,
        roles,
        len(roles),
        not_checked=_list_other_issuers(listed, trusts),
        trusts=trusts,
    )
    if not options.join_service_accounts or provider is None:
        return role_audit
    return _join_cluster(role_audit, provider, listed, client, make_client, make_api)


def _list_other_issuers(roles: Sequence[IamRole], trusts: Mapping[str, RoleTrust]) -> tuple[str, ...]:
    """The issuers that are not EKS's, each with its roles, where the audit is about every EKS cluster."""
    names: dict[str, list[str]] = {}
    for role in roles:
        for issuer in trusts[role.arn].other_issuers:
            names.setdefault(issuer, []).append(role.name)
    return tuple(
        f"The issuer {issuer}, which is not EKS's: {join_names(roles)} trust it. Give the ARN of its OIDC provider."
        for issuer, roles in names.items()
    )


def _join_cluster(
    role_audit: RoleAudit,
    provider: OidcProvider,
    listed: list[IamRole],
    client: Any,
    make_client: MakeClient,
    make_api: Callable[[], Any],
) -> RoleAudit:
    options = role_audit.options
    not_checked = list(role_audit.not_checked)
    accounts = kubernetes.list_service_accounts(make_api())
    associations = list_associations(lambda: make_client("eks"), options.cluster, not_checked)
    annotated = _read_annotated_roles(
        client, options, listed, findings.list_annotated_roles(accounts, provider), not_checked
    )
    cross_account = findings.list_cross_account(accounts, provider)
    if cross_account:
        not_checked.append(f"Roles of other accounts, in the annotations of: {join_names(cross_account)}.")
    found = findings.list_findings(provider, listed, annotated, accounts, associations, options.audience)
    return replace(role_audit, findings=tuple(found), service_accounts=len(accounts), not_checked=tuple(not_checked))


def _read_annotated_roles(
    client: Any, options: AuditOptions, listed: Sequence[IamRole], arns: Sequence[str], not_checked: list[str]
) -> dict[str, Optional[IamRole]]:
    """The roles in annotations, by ARN; None for one that does not exist. Unreadable ones go to C(not_checked)."""
    known: dict[str, Optional[IamRole]] = {role.arn: role for role in listed}
    missing = [arn for arn in arns if arn not in known]
    if options.roles is None and not options.path_prefix:  # every role of the account has been read already
        return {**known, **dict.fromkeys(missing)}
    for arn, found in zip(missing, _read_roles_by_name(client, [get_role_name(arn) for arn in missing]).values()):
        if isinstance(found, ApiError):
            not_checked.append(f"The role {arn}: {found.explanation}")
        else:
            known[arn] = found if found is not None and found.arn == arn else None
    return known


def _read_roles(client: Any, options: AuditOptions) -> dict[str, Any]:
    """By name: the role, None where it does not exist, or the error of reading it."""
    if options.roles is None:
        return {role.name: role for role in iam.list_roles(client, options.path_prefix or "/")}
    names = {name: get_role_name(name) for name in options.roles}
    found: dict[str, Any]
    if len(names) > iam.PAGE_COST and iam.is_listing_cheaper(names, iam.get_account_summary(client).role_count):
        all_roles = {role.name: role for role in iam.list_roles(client)}
        found = {plain: all_roles.get(plain) for plain in names.values()}
    else:
        found = _read_roles_by_name(client, list(names.values()))
    result: dict[str, Any] = {}
    for name, plain in names.items():
        role = found[plain]
        other = isinstance(role, IamRole) and name.startswith("arn:") and role.arn != name
        result[name] = IrsaError(f"The role of that name is {role.arn}.") if other else role
    return result


def _read_roles_by_name(client: Any, names: Sequence[str]) -> dict[str, Any]:
    def read(name: str) -> Any:
        try:
            return iam.get_role(client, name)
        except ApiError as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(zip(names, pool.map(read, names)))


def build_result(role_audit: RoleAudit) -> dict[str, Any]:
    """The module's result."""
    items: list[ItemResult] = []
    warnings: list[str] = []
    for name, role in role_audit.roles.items():
        if not isinstance(role, IamRole):
            reason = role.explanation if isinstance(role, ApiError) else str(role or "The role does not exist.")
            items.append(ItemResult(name, "failed", reason))
            continue
        trust = role_audit.trusts[role.arn]
        entries = trust.grants
        if role_audit.options.roles is None and trust.is_empty:
            continue
        warnings += findings.list_warnings(role, entries)
        warnings += dict.fromkeys(f"{role.name}: {entry.reason}" for entry in trust.ineffective)
        fields = {
            "arn": role.arn,
            "open_to_all": any(grant.subject is None for grant in entries),
            "wildcards": any(grant.subject is not None and grant.subject.is_pattern for grant in entries),
            "grants": [grant.to_dict() for grant in entries],
            "ineffective": [entry.to_dict() for entry in trust.ineffective],
            "other_issuers": list(trust.other_issuers),
        }
        items.append(
            ItemResult(
                name, "ok", findings.format_reason(role, entries, trust.ineffective, trust.other_issuers), fields=fields
            )
        )
    shown = [item for item in items if item.status == "ok"]
    grants = [grant for item in shown for grant in item.fields["grants"]]
    totals = {
        "roles_checked": role_audit.roles_checked,
        "roles": len([item for item in shown if item.fields["grants"]]),
        "failed": len(items) - len(shown),
        "grants": len(grants),
        "wildcards": sum(grant["wildcard"] for grant in grants),
        "open_to_all": sum(grant["open_to_all"] for grant in grants),
        "service_accounts": role_audit.service_accounts,
        "findings": len(role_audit.findings),
    }
    message = (
        f"{totals['roles']} of {role_audit.roles_checked} roles trust service accounts, by {len(grants)} grants, "
        f"{totals['wildcards']} by wildcard, {totals['open_to_all']} open to all."
    )
    if role_audit.service_accounts is not None:
        message += f" {role_audit.service_accounts} service accounts, {len(role_audit.findings)} findings."
    summary = summarize(items)
    return {
        "changed": False,
        "failed": bool(summary.get("failed")),
        "msg": f"{message} {summary['msg']}" if "msg" in summary else message,
        "roles": [item.to_dict() for item in items],
        "findings": [finding.to_dict() for finding in role_audit.findings],
        "not_checked": list(role_audit.not_checked),
        "lines": _format_lines(role_audit, items),
        "totals": totals,
        "warnings": warnings,
    }


def _format_lines(role_audit: RoleAudit, items: Sequence[ItemResult]) -> list[str]:
    """What the audit found, one line each."""
    lines = [f"{item.name}: {item.reason}" for item in items] or [
        f"No role of {role_audit.roles_checked} trusts service accounts here."
    ]
    lines += [
        f"{finding.kind}: {finding.namespace}/{finding.service_account}: {finding.reason}"
        for finding in role_audit.findings
    ]
    if role_audit.service_accounts is not None and not role_audit.findings:
        lines.append(f"No mismatch between {role_audit.service_accounts} service accounts and the roles.")
    return [*lines, *(f"not checked: {reason}" for reason in role_audit.not_checked)]
