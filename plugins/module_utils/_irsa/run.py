# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All bindings of a task from end to end: observe, plan, apply, verify. Knows no Ansible.

IAM has no compare-and-swap for trust policies. So each write is preceded by a reading that is compared with what was
planned on, followed by a reading that must show it, and, C(settle) seconds after the last write of all, by another one:
a writer that had read before our write can have overwritten it until then. What is missing then is written again, a
bounded number of times. Writers that all do this lose nothing, as long as each writes within C(settle) seconds of its
reading; against others it is best effort, and told (C(overwritten)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .._clock import Clock
from . import eks, iam, plan
from .asked import Asked
from .calls import CallError
from .model import AUDIENCE, Binding, IrsaError, Provider, Role, Subject, Wish
from .plan import BindingPlan, RolePlan

WORKERS = 8  # roles at a time: IAM throttles writes per account
ATTEMPTS = 5  # writes of one role in a row
ROUNDS = 5  # settle readings that find something missing
LONGEST_SETTLE = 3600  # seconds
SHOWS = 15.0  # seconds until a write must show: IAM is eventually consistent


@dataclass(frozen=True)
class Wanted:
    """Everything that a task asks for."""

    bindings: tuple[Asked, ...]
    wish: Wish = field(default_factory=Wish)
    new_role: iam.NewRole = field(default_factory=iam.NewRole)
    create_provider: bool = False
    settle: float = 10.0

    def __post_init__(self) -> None:
        """Refuses what would fail only once something is written."""
        if not self.bindings:
            raise IrsaError("bindings is empty. Name at least one role and who may assume it.")
        if not 0 <= self.settle <= LONGEST_SETTLE:  # nor what is no number
            raise IrsaError(f"settle is {self.settle:g}. Give seconds from 0 to {LONGEST_SETTLE}.")
        if not self.wish.audience:
            raise IrsaError(f"audience is empty. Name one, or leave it out for {AUDIENCE}.")
        path = self.new_role.path
        if not (path.startswith("/") and path.endswith("/")):
            raise IrsaError(f"path {path!r} does not begin and end with a slash, as paths of roles do.")


@dataclass(frozen=True)
class ProviderOutcome:
    """An OIDC provider that present bindings need. C(trouble): why they cannot be made."""

    provider: Provider
    status: str
    reason: str
    trouble: Optional[str] = None


@dataclass(frozen=True)
class BindingOutcome:
    """What became of one entry of the bindings."""

    asked: Asked
    status: str
    reason: str
    provider: Optional[Provider] = None
    plan: Optional[BindingPlan] = None
    added: tuple[Subject, ...] = ()
    removed: tuple[Subject, ...] = ()
    overwritten: bool = False
    verified: Optional[bool] = None


@dataclass(frozen=True)
class RoleOutcome:
    """What became of one role. C(after): its trust document as it was read last; in check mode, as it would be."""

    role: str
    status: str
    reason: str
    planned: RolePlan
    arn: str = ""
    after: Optional[Mapping[str, Any]] = None
    wrote: bool = False
    overwritten: bool = False


@dataclass(frozen=True)
class Outcome:
    bindings: tuple[BindingOutcome, ...]
    roles: tuple[RoleOutcome, ...]
    providers: tuple[ProviderOutcome, ...]
    account: iam.Account
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clients:
    """C(eks) makes its client only where a cluster is named."""

    iam: Any
    eks: Callable[[], Any]


# --- Observe.


@dataclass(frozen=True)
class View:
    """What was seen. Troubles are told by what they concern: ("cluster", name), a provider, ("role", name)."""

    clusters: Mapping[str, Provider]
    audiences: Mapping[Provider, Optional[tuple[str, ...]]]
    roles: Mapping[str, Optional[Role]]
    account: iam.Account
    troubles: Mapping[Any, str]
    warnings: tuple[str, ...] = ()

    def provider(self, one: Asked) -> Optional[Provider]:
        return one.provider or self.clusters.get(one.cluster or "")


def observe(clients: Clients, wanted: Wanted) -> View:
    """Each cluster, provider and role once; roles from the list of all where that takes fewer calls."""
    troubles: dict[Any, str] = {}
    clusters: dict[str, Provider] = {}
    for name in dict.fromkeys(one.cluster for one in wanted.bindings if one.cluster):
        try:
            clusters[name] = eks.provider(clients.eks(), name)
        except IrsaError as error:
            troubles["cluster", name] = str(error)
    needed = [one.provider or clusters.get(one.cluster or "") for one in wanted.bindings if one.present]
    audiences: dict[Provider, Optional[tuple[str, ...]]] = {}
    for provider in dict.fromkeys(one for one in needed if one):
        try:
            audiences[provider] = iam.audiences(clients.iam, provider)
        except CallError as error:
            troubles[provider] = f"{error}. {error.way_out}"
    account, warnings = iam.Account(), []
    try:
        account = iam.account(clients.iam)
    except CallError as error:
        warnings.append(
            f"The quota of trust policies is not known here, IAM alone will judge: {error}. {error.way_out}"
        )
    names = list(dict.fromkeys(one.role for one in wanted.bindings))
    roles, unread = read_roles(clients.iam, names, account.roles)
    troubles.update({("role", name): told for name, told in unread.items()})
    return View(clusters, audiences, roles, account, troubles, tuple(warnings))


def read_roles(
    client: Any, names: Sequence[str], total: Optional[int]
) -> tuple[dict[str, Optional[Role]], dict[str, str]]:
    """Roles by name, None for one that is not there, and what could not be read."""
    if iam.listing_pays(names, total):
        try:
            found = {one.name: one for one in iam.every_role(client)}
            return {name: found.get(name) for name in names}, {}
        except CallError as error:
            if error.code not in ("AccessDenied", "AccessDeniedException"):
                return {}, dict.fromkeys(names, f"{error}. {error.way_out}")
    roles: dict[str, Optional[Role]] = {}
    troubles: dict[str, str] = {}

    def read(name: str) -> None:
        try:
            roles[name] = iam.role(client, name)
        except CallError as error:
            troubles[name] = f"{error}. {error.way_out}"

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(read, names))
    return roles, troubles


# --- Plan.


def providers(view: View, wanted: Wanted) -> list[ProviderOutcome]:
    """Which providers are to be made or told another audience, and which stand in the way."""
    outcomes = []
    audience = wanted.wish.audience
    accounts = {role.arn.split(":")[4] for role in view.roles.values() if role}
    for provider, known in view.audiences.items():
        if accounts and provider.account not in accounts:
            trouble = (
                f"{provider.arn} is of account {provider.account}, and the role of {', '.join(accounts)}: a role "
                "trusts OIDC providers of its own account only. Create one there for the same issuer, and give its "
                "ARN."
            )
            outcomes.append(ProviderOutcome(provider, "failed", trouble, trouble))
            continue
        if known is not None and audience in known:
            outcomes.append(ProviderOutcome(provider, "ok", f"It exists, and knows the audience {audience}."))
            continue
        if known is None:
            what = f"IAM has no OIDC provider {provider.arn}"
        else:
            others = ", ".join(known) or "none"
            what = f"The OIDC provider {provider.arn} does not know the audience {audience} (it knows {others})"
        if wanted.create_provider:
            told = "It is created" if known is None else "It is told"
            outcomes.append(ProviderOutcome(provider, "changed", f"{told} for the audience {audience}."))
        else:
            trouble = f"{what}. Set create_provider=true, or see to it otherwise."
            outcomes.append(ProviderOutcome(provider, "failed", trouble, trouble))
    return outcomes


def _trouble(one: Asked, view: View, made: Mapping[Provider, ProviderOutcome], wanted: Wanted) -> Optional[str]:
    """Why a binding cannot even be planned."""
    provider = view.provider(one)
    if provider is None:
        return view.troubles["cluster", one.cluster]
    if one.present and provider in view.troubles:
        return view.troubles[provider]
    if one.present and made[provider].trouble:
        return made[provider].trouble
    if ("role", one.role) in view.troubles:
        return view.troubles["role", one.role]
    seen = view.roles[one.role]
    if one.role_arn and seen and seen.arn != one.role_arn:
        return f"The role {one.role} of this account is {seen.arn}, not {one.role_arn}."
    if one.role_arn and not seen and wanted.wish.create_role:
        return f"{one.role_arn} does not exist. Give a role that is to be created by its name, and its path as path."
    return None


# --- Apply and verify.


class _Work:
    """One role on its way."""

    def __init__(
        self, client: Any, planned: RolePlan, role: Optional[Role], wanted: Wanted, view: View, clock: Clock
    ) -> None:
        self.client = client
        self.first = self.plan = planned
        self.wanted = wanted
        self.quota = view.account.quota
        self.clock = clock
        self.fresh_provider = False
        self.arn = role.arn if role else ""
        self.document = planned.before
        self.added: list[dict[Subject, None]] = [{} for _dummy in planned.bindings]
        self.removed: list[dict[Subject, None]] = [{} for _dummy in planned.bindings]
        self.wrote = self.overwritten = False
        self.trouble: Optional[str] = None
        self.verified: Optional[bool] = None

    def again(self, document: Optional[Mapping[str, Any]]) -> None:
        self.plan = self._decide(document)
        self.document = document

    def write(self) -> None:
        """Until a reading shows all of it, or something stands in the way."""
        try:
            for _dummy in range(ATTEMPTS):
                if not self._write():
                    return
            self.trouble = (
                f"Other writers overwrote it {ATTEMPTS} times in a row. Find out who writes this role's trust policy "
                "(CloudTrail: UpdateAssumeRolePolicy), and run again."
            )
        except CallError as error:
            self.trouble = self._told(error)

    def _write(self) -> bool:
        """One write. Whether another is needed."""
        if self.plan.before is not None or self.wrote:
            role = iam.role(self.client, self.plan.role)
            if role is None:
                self.trouble = "The role was deleted meanwhile. Run again if it is to be there."
                return False
            if role.document != self.plan.before:
                self.again(role.document)
        if not self.plan.writes:
            self.verified = not self._lacks(self.plan.before)
            return False
        if self.plan.after is None:
            return False
        if self.plan.before is None:
            if not self._create(self.plan.after):
                return True
        else:
            after = self.plan.after
            self._put(lambda: iam.update(self.client, self.plan.role, after))
            self._count()
        return self._read_back()

    def _put(self, write: Callable[[], Any]) -> Any:
        """Once; more often while a provider is so new that IAM may not yet know it everywhere."""
        end = self.clock.now() + (SHOWS if self.fresh_provider else 0)
        while True:
            try:
                return write()
            except CallError as error:
                if error.code != "MalformedPolicyDocument" or self.clock.now() >= end:
                    raise
            self.clock.sleep(1)

    def _create(self, document: Mapping[str, Any]) -> bool:
        """Whether the role is this one's; somebody else can have been faster."""
        try:
            made = self._put(lambda: iam.create(self.client, self.plan.role, document, self.wanted.new_role))
            self.arn = made.arn
        except CallError as error:
            if error.code != "EntityAlreadyExists":
                raise
            role = iam.role(self.client, self.plan.role)
            self.first = replace(self.first, before=role.document if role else None)
            self.again(role.document if role else None)
            return False
        self._count()
        for number, arn in enumerate(self.wanted.new_role.managed_policies):
            try:
                iam.attach(self.client, self.plan.role, arn)
            except CallError as error:
                left = ", ".join(self.wanted.new_role.managed_policies[number:])
                raise CallError(
                    error.service,
                    error.operation,
                    error.code,
                    f"{error.message} (the role is there, and lacks {left}: attach them, for they come only with a new "
                    "role)",
                ) from error
        return True

    def _count(self) -> None:
        self.wrote = True
        for index, one in enumerate(self.plan.bindings):
            self.added[index].update(dict.fromkeys(one.added))
            self.removed[index].update(dict.fromkeys(one.removed))

    def _read_back(self) -> bool:
        """Waits until the write shows. Whether it was overwritten."""
        end, delay = self.clock.now() + SHOWS, 0.1
        before = self.plan.before
        while True:
            role = iam.role(self.client, self.plan.role)
            seen = role.document if role else None
            if seen is not None and not self._lacks(seen):
                self.document, self.verified = seen, True
                return False
            if seen not in (before, None):
                self.overwritten = True
                self.again(seen)
                return True
            if self.clock.now() >= end:
                self.verified = False
                self.trouble = (
                    f"IAM took the write, and has not shown it within {SHOWS:g} seconds: either its readings are "
                    "late, or somebody put back what was there. Run again to see."
                )
                return False
            self.clock.sleep(delay)
            delay = min(delay * 2, 2.0)

    def _decide(self, document: Optional[Mapping[str, Any]]) -> RolePlan:
        bindings = [one.binding for one in self.plan.bindings]
        return plan.decide(self.plan.role, document, bindings, self.wanted.wish, self.quota)

    def _lacks(self, document: Optional[Mapping[str, Any]]) -> bool:
        """Whether a document that was read lacks anything of what was written: then there would be something to do."""
        if document is None:
            return True
        now = self._decide(document)
        worse = any(one.status == "failed" != before.status for one, before in zip(now.bindings, self.plan.bindings))
        return now.writes or worse or bool(now.refusal) != bool(self.plan.refusal)

    def settle(self, role: Optional[Role]) -> bool:
        """Holds the second reading against the plan. Whether something has to be written again."""
        if role is None or self._lacks(role.document):
            role = iam.role(self.client, self.plan.role)  # a list can be a late one
        if role is not None and not self._lacks(role.document):
            self.document = role.document
            return False
        self.overwritten, self.verified = True, False
        return True

    def _told(self, error: CallError) -> str:
        if error.code == "LimitExceeded" and self.plan.after is not None:
            size = self.plan.sizes[1] or 0
            return f"{error}. Unchanged: {plan.too_long(size, self.quota)}"
        if error.code == "MalformedPolicyDocument":
            return (
                f"{error}. IAM refused the trust policy, so that it stayed as it was. If it says 'Invalid principal', "
                "a principal or an OIDC provider that the policy names does not exist any more."
            )
        return f"{error}. {error.way_out}"

    def _since(self, index: int, reason: str) -> str:
        """What an earlier write of this run did: the last plan had nothing left to do."""
        done = [f"Added {', '.join(map(str, self.added[index]))}."] if self.added[index] else []
        done += [f"Removed {', '.join(map(str, self.removed[index]))}."] if self.removed[index] else []
        return " ".join([*done, reason.replace("Already so.", "").strip()]).strip()

    def outcomes(self) -> tuple[RoleOutcome, list[tuple[BindingPlan, str, str, bool, Optional[bool]]]]:
        told = []
        for index, one in enumerate(self.plan.bindings):
            changed = bool(self.added[index] or self.removed[index])
            status, reason = one.status, one.reason
            if status == "ok" and changed:
                status, reason = "changed", self._since(index, reason)
            if status != "failed" and self.trouble and (one.changes or changed):
                status, reason = "failed", self.trouble
            told.append((one, status, reason, changed, None if status == "failed" else self.verified))
        refused = self.plan.refusal or self.trouble
        status = "failed" if refused else ("changed" if self.wrote else "ok")
        return (
            RoleOutcome(
                self.plan.role,
                status,
                refused or ("Its trust policy was written." if self.wrote else "Nothing was to be written."),
                self.first,
                self.arn,
                self.document,
                self.wrote,
                self.overwritten,
            ),
            told,
        )


def _make_providers(client: Any, made: Sequence[ProviderOutcome], wanted: Wanted, view: View) -> list[ProviderOutcome]:
    done = []
    for one in made:
        if one.status != "changed":
            done.append(one)
            continue
        try:
            if view.audiences[one.provider] is None:
                iam.create_provider(client, one.provider, [wanted.wish.audience])
            else:
                iam.add_audience(client, one.provider, wanted.wish.audience)
            done.append(one)
        except CallError as error:
            trouble = f"{error}. {error.way_out}"
            done.append(replace(one, status="failed", reason=trouble, trouble=trouble))
    return done


def run(clients: Clients, wanted: Wanted, act: bool = True, clock: Optional[Clock] = None) -> Outcome:
    """Everything; with C(act=False), only what would be done."""
    clock = clock or Clock()
    view = observe(clients, wanted)
    resolved = [one.bound(provider) for one in wanted.bindings if (provider := view.provider(one))]
    plan.contradictions(resolved)
    made = providers(view, wanted)
    if act:
        made = _make_providers(clients.iam, made, wanted, view)
    by_provider = {one.provider: one for one in made}
    troubles = {one: _trouble(one, view, by_provider, wanted) for one in wanted.bindings}
    work: dict[str, _Work] = {}
    entries: dict[str, list[Asked]] = {}
    for one in wanted.bindings:
        entries.setdefault(one.role, []).append(one)
    for name, listed in entries.items():
        broken = next((troubles[one] for one in listed if troubles[one]), None)
        if broken and wanted.wish.purge:
            for one in listed:
                troubles[one] = troubles[one] or (
                    f"Another binding of this role cannot be made, so that purge would take too much away. {broken}"
                )
        bindings = [_bound(one, view) for one in listed if not troubles[one]]
        if bindings:
            seen = view.roles[name]
            document = seen.document if seen else None
            decided = plan.decide(name, document, bindings, wanted.wish, view.account.quota)
            work[name] = _Work(clients.iam, decided, seen, wanted, view, clock)
            work[name].fresh_provider = any(
                by_provider[one.provider].status == "changed" for one in bindings if one.provider in by_provider
            )
    if act:
        _apply(clients.iam, [one for one in work.values() if one.plan.writes], wanted, view, clock)
    roles, outcomes = [], {}
    for name, one_work in work.items():
        role, told = one_work.outcomes() if act else _preview(one_work)
        roles.append(role)
        planned = [one for one in entries[name] if not troubles[one]]
        for index, (one, (binding, status, reason, changed, verified)) in enumerate(zip(planned, told)):
            outcomes[id(one)] = BindingOutcome(
                one,
                status,
                reason,
                binding.binding.provider,
                binding,
                tuple(one_work.added[index]) if act else binding.added,
                tuple(one_work.removed[index]) if act else binding.removed,
                role.overwritten and changed,
                verified,
            )
    bindings_told = tuple(
        outcomes.get(id(one)) or BindingOutcome(one, "failed", troubles[one] or "", view.provider(one))
        for one in wanted.bindings
    )
    return Outcome(bindings_told, tuple(roles), tuple(made), view.account, view.warnings)


def _bound(one: Asked, view: View) -> Binding:
    provider = view.provider(one)
    if provider is None:
        raise ValueError(f"{one} has no provider")
    return one.bound(provider)


def _preview(work: _Work) -> tuple[RoleOutcome, list[tuple[BindingPlan, str, str, bool, Optional[bool]]]]:
    decided = work.first
    status = "failed" if decided.refusal else ("changed" if decided.writes else "ok")
    reason = decided.refusal or (
        "Its trust policy is to be written." if decided.writes else "Nothing is to be written."
    )
    told: list[tuple[BindingPlan, str, str, bool, Optional[bool]]] = [
        (one, one.status, one.reason, one.changes, None) for one in decided.bindings
    ]
    return RoleOutcome(decided.role, status, reason, decided, work.arn, decided.after, decided.writes), told


def _apply(client: Any, works: Sequence[_Work], wanted: Wanted, view: View, clock: Clock) -> None:
    """Writes role by role, some at a time; then reads them all again, once they have had time to be overwritten."""
    waiting = list(works)
    for number in range(ROUNDS + 1):
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(_Work.write, waiting))
        written = [one for one in works if one.wrote and not one.trouble]
        if not written or wanted.settle <= 0:
            return
        clock.sleep(wanted.settle)
        found, unread = read_roles(client, [one.plan.role for one in written], view.account.roles)
        waiting = []
        for one in written:
            name = one.plan.role
            try:
                if name in unread:
                    one.verified, one.trouble = False, f"Written, and not read again: {unread[name]}"
                elif one.settle(found[name]):
                    waiting.append(one)
            except CallError as error:
                one.verified, one.trouble = False, f"Written, and not read again: {error}. {error.way_out}"
        if not waiting:
            return
        if number == ROUNDS:
            for one in waiting:
                one.trouble = (
                    f"Other writers overwrote it, also after {ROUNDS} repairs. Find out who writes this role's trust "
                    "policy (CloudTrail: UpdateAssumeRolePolicy), and run again."
                )
