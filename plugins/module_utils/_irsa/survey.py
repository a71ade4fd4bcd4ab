# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads roles, and a cluster where that is asked for, and reports who may assume what. Knows no Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._result import ItemResult, summarize
from . import audit, eks, iam, kubernetes
from .audit import Entry, Finding
from .calls import CallError
from .model import AUDIENCE, IrsaError, Provider, Role, role_name

WORKERS = 8
MakeClient = Callable[..., Any]


@dataclass(frozen=True)
class Wanted:
    roles: Optional[tuple[str, ...]] = None
    path_prefix: Optional[str] = None
    cluster: Optional[str] = None
    provider: Optional[Provider] = None
    audience: str = AUDIENCE
    join: bool = False

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Wanted:
        arn, prefix = params["oidc_provider_arn"], params["path_prefix"]
        if params["roles"] is not None and not params["roles"]:
            raise IrsaError("roles is empty. Name roles, or leave it out for every role that trusts the cluster.")
        if prefix and not (prefix.startswith("/") and prefix.endswith("/")):
            raise IrsaError(f"path_prefix {prefix!r} does not begin and end with a slash, as paths of roles do.")
        if not params["audience"]:
            raise IrsaError(f"audience is empty. Name one, or leave it out for {AUDIENCE}.")
        if params["service_accounts"] and not (params["cluster"] or (arn and params["kubeconfig"])):
            raise IrsaError(
                "service_accounts needs a cluster: name it in cluster, or give oidc_provider_arn and kubeconfig."
            )
        return cls(
            roles=tuple(dict.fromkeys(params["roles"])) if params["roles"] else None,
            path_prefix=prefix or None,
            cluster=params["cluster"],
            provider=None if arn is None else Provider.parse(arn),
            audience=params["audience"],
            join=params["service_accounts"],
        )


@dataclass(frozen=True)
class Survey:
    """What was read. C(roles): each role that was asked about, by the name that it was asked by, or why it lacks."""

    wanted: Wanted
    provider: Optional[Provider]
    roles: Mapping[str, Any]
    seen: int
    findings: tuple[Finding, ...] = ()
    service_accounts: Optional[int] = None
    not_looked_at: tuple[str, ...] = ()
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)


def run(make_client: MakeClient, make_api: Callable[[], Any], wanted: Wanted) -> Survey:
    client = make_client("iam")
    provider = wanted.provider
    if wanted.cluster is not None:
        provider = eks.provider(make_client("eks"), wanted.cluster)
    roles = _roles(client, wanted)
    listed: list[Role] = [one for one in roles.values() if isinstance(one, Role)]
    survey = Survey(
        wanted,
        provider,
        roles,
        len(roles),
        entries={one.arn: tuple(audit.entries(one, provider, wanted.audience)) for one in listed},
    )
    if not wanted.join or provider is None:
        return survey
    return _joined(survey, provider, listed, client, make_client, make_api)


def _joined(
    survey: Survey,
    provider: Provider,
    listed: list[Role],
    client: Any,
    make_client: MakeClient,
    make_api: Callable[[], Any],
) -> Survey:
    wanted = survey.wanted
    not_looked_at: list[str] = []
    accounts = kubernetes.service_accounts(make_api())
    associations: set[tuple[str, str]] = set()
    if wanted.cluster is not None:
        try:
            associations = eks.associations(make_client("eks"), wanted.cluster)
        except CallError as error:
            not_looked_at.append(f"Pod identity associations: {error} {error.way_out}")
    else:
        not_looked_at.append("Pod identity associations: cluster is not named.")
    annotated = _annotated(client, wanted, listed, audit.annotated_roles(accounts, provider), not_looked_at)
    elsewhere = audit.elsewhere(accounts, provider)
    if elsewhere:
        not_looked_at.append(f"Roles of other accounts, which these are annotated with: {', '.join(elsewhere)}.")
    found = audit.findings(provider, listed, annotated, accounts, associations, wanted.audience)
    return replace(survey, findings=tuple(found), service_accounts=len(accounts), not_looked_at=tuple(not_looked_at))


def _annotated(
    client: Any, wanted: Wanted, listed: Sequence[Role], arns: Sequence[str], not_looked_at: list[str]
) -> dict[str, Optional[Role]]:
    """The roles that annotations name, by ARN; None for one that is not there. What cannot be read is noted."""
    known: dict[str, Optional[Role]] = {one.arn: one for one in listed}
    lacking = [arn for arn in arns if arn not in known]
    if wanted.roles is None and not wanted.path_prefix:  # then every role of the account has been read
        return {**known, **dict.fromkeys(lacking)}
    for arn, found in zip(lacking, _by_name(client, [role_name(arn) for arn in lacking]).values()):
        if isinstance(found, CallError):
            not_looked_at.append(f"The role {arn}: {found} {found.way_out}")
        else:
            known[arn] = found if found is not None and found.arn == arn else None
    return known


def _roles(client: Any, wanted: Wanted) -> dict[str, Any]:
    """By name: the role, None where there is none of that name, or the error that its reading ended with."""
    if wanted.roles is None:
        return {one.name: one for one in iam.every_role(client, wanted.path_prefix or "/")}
    names = {name: role_name(name) for name in wanted.roles}
    found: dict[str, Any]
    if len(names) > iam.PAGE_WORTH and iam.listing_pays(names, iam.account(client).roles):
        everybody = {one.name: one for one in iam.every_role(client)}
        found = {plain: everybody.get(plain) for plain in names.values()}
    else:
        found = _by_name(client, list(names.values()))
    told: dict[str, Any] = {}
    for name, plain in names.items():
        one = found[plain]
        other = isinstance(one, Role) and name.startswith("arn:") and one.arn != name
        told[name] = IrsaError(f"The role of that name is {one.arn}.") if other else one
    return told


def _by_name(client: Any, names: Sequence[str]) -> dict[str, Any]:
    def read(name: str) -> Any:
        try:
            return iam.role(client, name)
        except CallError as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(zip(names, pool.map(read, names)))


def report(survey: Survey) -> dict[str, Any]:
    """The module's result."""
    items: list[ItemResult] = []
    warnings: list[str] = []
    for name, role in survey.roles.items():
        if not isinstance(role, Role):
            way_out = f" {role.way_out}" if isinstance(role, CallError) else ""
            items.append(ItemResult(name, "failed", f"{role}{way_out}" if role else "There is no such role."))
            continue
        entries = survey.entries[role.arn]
        if survey.wanted.roles is None and not entries:
            continue
        warnings += audit.warnings(role, entries)
        fields = {
            "arn": role.arn,
            "open_to_all": any(one.subject is None for one in entries),
            "wildcards": any(one.subject is not None and one.subject.pattern for one in entries),
            "grants": [one.to_dict() for one in entries],
        }
        items.append(ItemResult(name, "ok", audit.reason(role, entries), fields=fields))
    shown = [item for item in items if item.status == "ok"]
    grants = [grant for item in shown for grant in item.fields["grants"]]
    totals = {
        "roles_seen": survey.seen,
        "roles": len([item for item in shown if item.fields["grants"]]),
        "failed": len(items) - len(shown),
        "grants": len(grants),
        "wildcards": sum(grant["wildcard"] for grant in grants),
        "open_to_all": sum(grant["open_to_all"] for grant in grants),
        "service_accounts": survey.service_accounts,
        "findings": len(survey.findings),
    }
    words = (
        f"{totals['roles']} of {survey.seen} roles let in service accounts, by {len(grants)} grants, "
        f"{totals['wildcards']} by wildcard, {totals['open_to_all']} open to all."
    )
    if survey.service_accounts is not None:
        words += f" {survey.service_accounts} service accounts, {len(survey.findings)} findings."
    told = summarize(items)
    return {
        "changed": False,
        "failed": bool(told.get("failed")),
        "msg": f"{words} {told['msg']}" if "msg" in told else words,
        "roles": [item.to_dict() for item in items],
        "findings": [one.to_dict() for one in survey.findings],
        "not_looked_at": list(survey.not_looked_at),
        "totals": totals,
        "warnings": warnings,
    }
