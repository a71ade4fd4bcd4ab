# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All bindings of a task: observe, plan, apply, verify. No Ansible in here.

IAM has no optimistic lock for trust policies (docs/facts/irsa.md#concurrent-writers). Each write has four steps. Read
the role again and compare it with the plan's input. Write. Read back until the write shows. Recheck it
C(recheck_delay) seconds after the last write of the task: another writer that read before our write can overwrite it
until then. Missing subjects are written again, with a bounded number of retries. Writers that all do this lose nothing,
as long as each writes within C(recheck_delay) seconds of its read. Against other writers it is best effort, and
reported (C(overwritten_externally)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._aws_call import ApiError
from .._clock import Clock
from . import eks, iam, plan
from .binding_request import BindingRequest
from .model import AUDIENCE, Binding, IamRole, IrsaError, OidcProvider, PolicyOptions, Subject
from .plan import BindingPlan, RolePlan

WORKERS = 8  # roles at a time: IAM throttles writes per account
MAX_WRITE_ATTEMPTS = 5  # writes of one role in a row
MAX_RECHECKS = 5  # rechecks that find something missing
MAX_RECHECK_DELAY = 3600  # seconds
VISIBILITY_TIMEOUT = 15.0  # seconds until a write must show: IAM is eventually consistent


@dataclass(frozen=True)
class IrsaOptions:
    """The options of a task."""

    bindings: tuple[BindingRequest, ...]
    policy_options: PolicyOptions = field(default_factory=PolicyOptions)
    new_role: iam.NewRole = field(default_factory=iam.NewRole)
    create_provider: bool = False
    recheck_delay: float = 10.0

    def __post_init__(self) -> None:
        """Rejects options that would otherwise fail only after the first write."""
        if not self.bindings:
            raise IrsaError("bindings is empty. Give at least one role and its service accounts.")
        if not 0 <= self.recheck_delay <= MAX_RECHECK_DELAY:  # rejects NaN as well
            raise IrsaError(f"recheck_delay is {self.recheck_delay:g}. Give seconds from 0 to {MAX_RECHECK_DELAY}.")
        if not self.policy_options.audience:
            raise IrsaError(f"audience is empty. Give one, or omit the option for {AUDIENCE}.")
        path = self.new_role.path
        if not (path.startswith("/") and path.endswith("/")):
            raise IrsaError(f"path {path!r} is not a path of IAM roles. Begin and end it with a slash.")


@dataclass(frozen=True)
class ProviderOutcome:
    """An OIDC provider that present bindings need. C(error): why these bindings fail."""

    provider: OidcProvider
    status: str
    reason: str
    error: Optional[str] = None


@dataclass(frozen=True)
class BindingOutcome:
    """The outcome of one entry of the bindings."""

    request: BindingRequest
    status: str
    reason: str
    provider: Optional[OidcProvider] = None
    plan: Optional[BindingPlan] = None
    added: tuple[Subject, ...] = ()
    removed: tuple[Subject, ...] = ()
    overwritten_externally: bool = False
    verified: Optional[bool] = None


@dataclass(frozen=True)
class RoleOutcome:
    """The outcome of one role. C(after): the trust policy as it was read last; in check mode, as it would be."""

    role: str
    status: str
    reason: str
    plan: RolePlan
    arn: str = ""
    after: Optional[Mapping[str, Any]] = None
    is_written: bool = False
    overwritten_externally: bool = False


@dataclass(frozen=True)
class IrsaOutcome:
    bindings: tuple[BindingOutcome, ...]
    roles: tuple[RoleOutcome, ...]
    providers: tuple[ProviderOutcome, ...]
    account: iam.AccountSummary
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class IrsaClients:
    """The clients of a run. C(eks) is a function, so that a client is made only where a cluster is named."""

    iam: Any
    eks: Callable[[], Any]


# --- Observe.


@dataclass(frozen=True)
class IrsaState:
    """The current state. The keys of C(errors) are ("cluster", name), a provider, or ("role", name)."""

    clusters: Mapping[str, OidcProvider]
    audiences: Mapping[OidcProvider, Optional[tuple[str, ...]]]
    roles: Mapping[str, Optional[IamRole]]
    account: iam.AccountSummary
    errors: Mapping[Any, str]
    warnings: tuple[str, ...] = ()

    def find_provider(self, request: BindingRequest) -> Optional[OidcProvider]:
        return request.provider or self.clusters.get(request.cluster or "")


def observe(clients: IrsaClients, options: IrsaOptions) -> IrsaState:
    """Reads each cluster, provider and role once; roles with ListRoles where that takes fewer calls."""
    errors: dict[Any, str] = {}
    clusters: dict[str, OidcProvider] = {}
    for name in dict.fromkeys(request.cluster for request in options.bindings if request.cluster):
        try:
            clusters[name] = eks.get_provider(clients.eks(), name)
        except IrsaError as error:
            errors["cluster", name] = str(error)
    required = [
        request.provider or clusters.get(request.cluster or "") for request in options.bindings if request.is_present
    ]
    audiences: dict[OidcProvider, Optional[tuple[str, ...]]] = {}
    for provider in dict.fromkeys(provider for provider in required if provider):
        try:
            audiences[provider] = iam.get_audiences(clients.iam, provider)
        except ApiError as error:
            errors[provider] = error.explanation
    account, warnings = iam.AccountSummary(), []
    try:
        account = iam.get_account_summary(clients.iam)
    except ApiError as error:
        warnings.append(f"The quota of the trust policy size is unknown, so only IAM checks it: {error.explanation}")
    names = list(dict.fromkeys(request.role for request in options.bindings))
    roles, unread = read_roles(clients.iam, names, account.role_count)
    errors.update({("role", name): message for name, message in unread.items()})
    return IrsaState(clusters, audiences, roles, account, errors, tuple(warnings))


def read_roles(
    client: Any, names: Sequence[str], total: Optional[int]
) -> tuple[dict[str, Optional[IamRole]], dict[str, str]]:
    """Roles by name (None for a role that does not exist), and the errors of roles that could not be read."""
    if iam.is_listing_cheaper(names, total):
        try:
            found = {role.name: role for role in iam.list_roles(client)}
            return {name: found.get(name) for name in names}, {}
        except ApiError as error:
            if error.code not in ("AccessDenied", "AccessDeniedException"):
                return {}, dict.fromkeys(names, error.explanation)
    roles: dict[str, Optional[IamRole]] = {}
    errors: dict[str, str] = {}

    def read(name: str) -> None:
        try:
            roles[name] = iam.get_role(client, name)
        except ApiError as error:
            errors[name] = error.explanation

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(read, names))
    return roles, errors


# --- Plan.


def plan_providers(state: IrsaState, options: IrsaOptions) -> list[ProviderOutcome]:
    """The OIDC providers to create or to add the audience to, and those that make bindings fail."""
    outcomes = []
    audience = options.policy_options.audience
    accounts = {role.arn.split(":")[4] for role in state.roles.values() if role}
    for provider, known in state.audiences.items():
        if accounts and provider.account not in accounts:
            error = (
                f"{provider.arn} is in account {provider.account}, and the role is in {', '.join(accounts)}. A role "
                "trusts OIDC providers of its own account only. Create a provider there for the same issuer, and give "
                "its ARN."
            )
            outcomes.append(ProviderOutcome(provider, "failed", error, error))
            continue
        if known is not None and audience in known:
            outcomes.append(ProviderOutcome(provider, "ok", f"It exists and has the audience {audience}."))
            continue
        if known is None:
            missing = f"IAM has no OIDC provider {provider.arn}"
        else:
            others = ", ".join(known) or "none"
            missing = f"The OIDC provider {provider.arn} does not have the audience {audience} (it has {others})"
        if options.create_provider:
            action = "It is created with" if known is None else "It gets"
            outcomes.append(ProviderOutcome(provider, "changed", f"{action} the audience {audience}."))
        else:
            error = f"{missing}. Set create_provider=true, or fix the provider by other means."
            outcomes.append(ProviderOutcome(provider, "failed", error, error))
    return outcomes


def _get_blocking_reason(
    request: BindingRequest,
    state: IrsaState,
    provider_outcomes: Mapping[OidcProvider, ProviderOutcome],
    options: IrsaOptions,
) -> Optional[str]:
    """Why a binding cannot be planned: an error of its cluster, its provider or its role."""
    provider = state.find_provider(request)
    if provider is None:
        return state.errors["cluster", request.cluster]
    if request.is_present and provider in state.errors:
        return state.errors[provider]
    if request.is_present and provider_outcomes[provider].error:
        return provider_outcomes[provider].error
    if ("role", request.role) in state.errors:
        return state.errors["role", request.role]
    role = state.roles[request.role]
    if request.role_arn and role and role.arn != request.role_arn:
        return f"The role {request.role} of this account is {role.arn}, not {request.role_arn}. Give that ARN."
    if request.role_arn and not role and options.policy_options.create_role:
        return f"{request.role_arn} does not exist. To create the role, give its name, and its path in the option path."
    return None


# --- Apply and verify.


class _RoleUpdate:
    """The writes of one role, with retries."""

    def __init__(
        self,
        client: Any,
        role_plan: RolePlan,
        role: Optional[IamRole],
        options: IrsaOptions,
        state: IrsaState,
        clock: Clock,
    ) -> None:
        self.client = client
        self.first_plan = self.plan = role_plan
        self.options = options
        self.quota = state.account.trust_policy_quota
        self.clock = clock
        self.has_new_provider = False
        self.arn = role.arn if role else ""
        self.document = role_plan.before
        self.added: list[dict[Subject, None]] = [{} for _dummy in role_plan.bindings]
        self.removed: list[dict[Subject, None]] = [{} for _dummy in role_plan.bindings]
        self.is_written = self.overwritten_externally = False
        self.error: Optional[str] = None
        self.verified: Optional[bool] = None

    def replan(self, document: Optional[Mapping[str, Any]]) -> None:
        self.plan = self._plan_role(document)
        self.document = document

    def write_with_retry(self) -> None:
        """Retries until a read shows every planned subject, or an error ends it."""
        try:
            for _dummy in range(MAX_WRITE_ATTEMPTS):
                if not self._write_once():
                    return
            self.error = (
                f"Other writers overwrote the trust policy {MAX_WRITE_ATTEMPTS} times in a row. Find the writer in "
                "CloudTrail (event UpdateAssumeRolePolicy), and run again."
            )
        except ApiError as error:
            self.error = self._format_error(error)

    def _write_once(self) -> bool:
        """One write. True if a retry is necessary."""
        if self.plan.before is not None or self.is_written:
            role = iam.get_role(self.client, self.plan.role)
            if role is None:
                self.error = "The role was deleted during this run. Run again to have it created (create_role=true)."
                return False
            if role.document != self.plan.before:
                self.replan(role.document)
        if not self.plan.has_changes:
            self.verified = not self._has_missing(self.plan.before)
            return False
        if self.plan.after is None:
            return False
        if self.plan.before is None:
            if not self._create_role(self.plan.after):
                return True
        else:
            after = self.plan.after
            self._put_with_retry(lambda: iam.update_trust_policy(self.client, self.plan.role, after))
            self._record_changes()
        return self._read_back()

    def _put_with_retry(self, write: Callable[[], Any]) -> Any:
        """Calls C(write) once, and retries while a new provider is not yet visible everywhere in IAM."""
        end = self.clock.monotonic() + (VISIBILITY_TIMEOUT if self.has_new_provider else 0)
        while True:
            try:
                return write()
            except ApiError as error:
                if error.code != "MalformedPolicyDocument" or self.clock.monotonic() >= end:
                    raise
            self.clock.sleep(1)

    def _create_role(self, document: Mapping[str, Any]) -> bool:
        """Creates the role. False if another writer created it first."""
        try:
            made = self._put_with_retry(
                lambda: iam.create_role(self.client, self.plan.role, document, self.options.new_role)
            )
            self.arn = made.arn
        except ApiError as error:
            if error.code != "EntityAlreadyExists":
                raise
            role = iam.get_role(self.client, self.plan.role)
            self.first_plan = replace(self.first_plan, before=role.document if role else None)
            self.replan(role.document if role else None)
            return False
        self._record_changes()
        for number, arn in enumerate(self.options.new_role.managed_policies):
            try:
                iam.attach_policy(self.client, self.plan.role, arn)
            except ApiError as error:
                left = ", ".join(self.options.new_role.managed_policies[number:])
                raise ApiError(
                    error.service,
                    error.operation,
                    error.code,
                    f"{error.message} (the role exists without {left}: attach these policies by hand, because only a "
                    "new role gets them)",
                ) from error
        return True

    def _record_changes(self) -> None:
        self.is_written = True
        for index, binding_plan in enumerate(self.plan.bindings):
            self.added[index].update(dict.fromkeys(binding_plan.added))
            self.removed[index].update(dict.fromkeys(binding_plan.removed))

    def _read_back(self) -> bool:
        """Waits until the write shows. True if another writer overwrote it."""
        end, delay = self.clock.monotonic() + VISIBILITY_TIMEOUT, 0.1
        before = self.plan.before
        while True:
            role = iam.get_role(self.client, self.plan.role)
            current = role.document if role else None
            if current is not None and not self._has_missing(current):
                self.document, self.verified = current, True
                return False
            if current not in (before, None):
                self.overwritten_externally = True
                self.replan(current)
                return True
            if self.clock.monotonic() >= end:
                self.verified = False
                self.error = (
                    f"IAM accepted the write, but did not show it within {VISIBILITY_TIMEOUT:g} seconds. Either its "
                    "reads lag behind, or another writer restored the old trust policy. Run again to check."
                )
                return False
            self.clock.sleep(delay)
            delay = min(delay * 2, 2.0)

    def _plan_role(self, document: Optional[Mapping[str, Any]]) -> RolePlan:
        bindings = [binding_plan.binding for binding_plan in self.plan.bindings]
        return plan.make_plan(self.plan.role, document, bindings, self.options.policy_options, self.quota)

    def _has_missing(self, document: Optional[Mapping[str, Any]]) -> bool:
        """Whether a document misses anything that was written: planning on it would then have changes."""
        if document is None:
            return True
        now = self._plan_role(document)
        worse = any(
            binding_plan.status == "failed" != before.status
            for binding_plan, before in zip(now.bindings, self.plan.bindings)
        )
        return now.has_changes or worse or bool(now.rejection_reason) != bool(self.plan.rejection_reason)

    def recheck(self, role: Optional[IamRole]) -> bool:
        """Compares the recheck's read with the plan. True if a retry is necessary."""
        if role is None or self._has_missing(role.document):
            role = iam.get_role(self.client, self.plan.role)  # ListRoles can lag behind
        if role is not None and not self._has_missing(role.document):
            self.document = role.document
            return False
        self.overwritten_externally, self.verified = True, False
        return True

    def _format_error(self, error: ApiError) -> str:
        if error.code == "LimitExceeded" and self.plan.after is not None:
            size = self.plan.sizes[1] or 0
            return f"{error}. The role was not changed: {plan.get_quota_reason(size, self.quota)}"
        if error.code == "MalformedPolicyDocument":
            return (
                f"{error}. IAM rejected the trust policy, so it is unchanged. If IAM quotes 'Invalid principal', a "
                "principal or an OIDC provider in the policy no longer exists. Remove or replace it."
            )
        return error.explanation

    def _format_reason(self, index: int, reason: str) -> str:
        """The reason with the subjects of this run's earlier writes, which the last plan found unchanged."""
        done = [f"Added {', '.join(map(str, self.added[index]))}."] if self.added[index] else []
        done += [f"Removed {', '.join(map(str, self.removed[index]))}."] if self.removed[index] else []
        return " ".join([*done, reason.replace("Unchanged.", "").strip()]).strip()

    def build_outcomes(self) -> tuple[RoleOutcome, list[tuple[BindingPlan, str, str, bool, Optional[bool]]]]:
        results = []
        for index, binding_plan in enumerate(self.plan.bindings):
            changed = bool(self.added[index] or self.removed[index])
            status, reason = binding_plan.status, binding_plan.reason
            if status == "ok" and changed:
                status, reason = "changed", self._format_reason(index, reason)
            if status != "failed" and self.error and (binding_plan.has_changes or changed):
                status, reason = "failed", self.error
            results.append((binding_plan, status, reason, changed, None if status == "failed" else self.verified))
        rejected = self.plan.rejection_reason or self.error
        status = "failed" if rejected else ("changed" if self.is_written else "ok")
        return (
            RoleOutcome(
                self.plan.role,
                status,
                rejected or ("The trust policy was written." if self.is_written else "No write was necessary."),
                self.first_plan,
                self.arn,
                self.document,
                self.is_written,
                self.overwritten_externally,
            ),
            results,
        )


def _make_providers(
    client: Any, provider_outcomes: Sequence[ProviderOutcome], options: IrsaOptions, state: IrsaState
) -> list[ProviderOutcome]:
    outcomes = []
    for outcome in provider_outcomes:
        if outcome.status != "changed":
            outcomes.append(outcome)
            continue
        try:
            if state.audiences[outcome.provider] is None:
                iam.create_provider(client, outcome.provider, [options.policy_options.audience])
            else:
                iam.add_audience(client, outcome.provider, options.policy_options.audience)
            outcomes.append(outcome)
        except ApiError as error:
            message = error.explanation
            outcomes.append(replace(outcome, status="failed", reason=message, error=message))
    return outcomes


def run(clients: IrsaClients, options: IrsaOptions, apply: bool = True, clock: Optional[Clock] = None) -> IrsaOutcome:
    """Observe, plan, apply, verify. C(apply=False) (check mode): only observe and plan."""
    clock = clock or Clock()
    state = observe(clients, options)
    resolved = [
        request.to_binding(provider) for request in options.bindings if (provider := state.find_provider(request))
    ]
    plan.check_contradictions(resolved)
    provider_outcomes = plan_providers(state, options)
    if apply:
        provider_outcomes = _make_providers(clients.iam, provider_outcomes, options, state)
    by_provider = {outcome.provider: outcome for outcome in provider_outcomes}
    blocking_reasons = {
        request: _get_blocking_reason(request, state, by_provider, options) for request in options.bindings
    }
    role_updates: dict[str, _RoleUpdate] = {}
    requests_by_role: dict[str, list[BindingRequest]] = {}
    for request in options.bindings:
        requests_by_role.setdefault(request.role, []).append(request)
    for name, requests in requests_by_role.items():
        first_reason = next((blocking_reasons[request] for request in requests if blocking_reasons[request]), None)
        if first_reason and options.policy_options.purge:
            for request in requests:
                blocking_reasons[request] = blocking_reasons[request] or (
                    f"Another binding of this role fails, and purge would remove its service accounts. {first_reason}"
                )
        bindings = [_to_binding(request, state) for request in requests if not blocking_reasons[request]]
        if bindings:
            current = state.roles[name]
            document = current.document if current else None
            role_plan = plan.make_plan(
                name, document, bindings, options.policy_options, state.account.trust_policy_quota
            )
            role_updates[name] = _RoleUpdate(clients.iam, role_plan, current, options, state, clock)
            role_updates[name].has_new_provider = any(
                by_provider[binding.provider].status == "changed"
                for binding in bindings
                if binding.provider in by_provider
            )
    if apply:
        _apply(
            clients.iam,
            [role_update for role_update in role_updates.values() if role_update.plan.has_changes],
            options,
            state,
            clock,
        )
    roles, outcomes = [], {}
    for name, role_update in role_updates.items():
        role, results = role_update.build_outcomes() if apply else _preview(role_update)
        roles.append(role)
        planned = [request for request in requests_by_role[name] if not blocking_reasons[request]]
        for index, (request, (binding, status, reason, changed, verified)) in enumerate(zip(planned, results)):
            outcomes[id(request)] = BindingOutcome(
                request,
                status,
                reason,
                binding.binding.provider,
                binding,
                tuple(role_update.added[index]) if apply else binding.added,
                tuple(role_update.removed[index]) if apply else binding.removed,
                role.overwritten_externally and changed,
                verified,
            )
    binding_outcomes = tuple(
        outcomes.get(id(request))
        or BindingOutcome(request, "failed", blocking_reasons[request] or "", state.find_provider(request))
        for request in options.bindings
    )
    return IrsaOutcome(binding_outcomes, tuple(roles), tuple(provider_outcomes), state.account, state.warnings)


def _to_binding(request: BindingRequest, state: IrsaState) -> Binding:
    provider = state.find_provider(request)
    if provider is None:
        raise ValueError(f"{request} has no provider")
    return request.to_binding(provider)


def _preview(role_update: _RoleUpdate) -> tuple[RoleOutcome, list[tuple[BindingPlan, str, str, bool, Optional[bool]]]]:
    role_plan = role_update.first_plan
    status = "failed" if role_plan.rejection_reason else ("changed" if role_plan.has_changes else "ok")
    reason = role_plan.rejection_reason or (
        "The trust policy would be written." if role_plan.has_changes else "No write is necessary."
    )
    results: list[tuple[BindingPlan, str, str, bool, Optional[bool]]] = [
        (binding_plan, binding_plan.status, binding_plan.reason, binding_plan.has_changes, None)
        for binding_plan in role_plan.bindings
    ]
    return RoleOutcome(
        role_plan.role, status, reason, role_plan, role_update.arn, role_plan.after, role_plan.has_changes
    ), results


def _apply(
    client: Any, role_updates: Sequence[_RoleUpdate], options: IrsaOptions, state: IrsaState, clock: Clock
) -> None:
    """Writes the roles, several at a time, then rechecks all of them after C(recheck_delay), with retries."""
    pending = list(role_updates)
    for number in range(MAX_RECHECKS + 1):
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(_RoleUpdate.write_with_retry, pending))
        written = [role_update for role_update in role_updates if role_update.is_written and not role_update.error]
        if not written or options.recheck_delay <= 0:
            return
        clock.sleep(options.recheck_delay)
        found, unread = read_roles(client, [role_update.plan.role for role_update in written], state.account.role_count)
        pending = []
        for role_update in written:
            name = role_update.plan.role
            try:
                if name in unread:
                    role_update.verified, role_update.error = False, f"Written, but the recheck failed: {unread[name]}"
                elif role_update.recheck(found[name]):
                    pending.append(role_update)
            except ApiError as error:
                role_update.verified, role_update.error = (
                    False,
                    f"Written, but the recheck failed: {error.explanation}",
                )
        if not pending:
            return
        if number == MAX_RECHECKS:
            for role_update in pending:
                role_update.error = (
                    f"Other writers overwrote the trust policy, even after {MAX_RECHECKS} retries. Find the writer in "
                    "CloudTrail (event UpdateAssumeRolePolicy), and run again."
                )
