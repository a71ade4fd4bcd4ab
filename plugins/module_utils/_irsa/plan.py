# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure decision: one role's trust document, the bindings that are wanted of it, and what makes them true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._plan import Step
from . import policy
from .model import Binding, IrsaError, Provider, Subject, Wish
from .policy import Match, Verdict

UPDATE, CREATE = "update trust policy", "create role"
EMPTY: Mapping[str, Any] = {"Version": "2012-10-17", "Statement": []}
WAYS_OUT = (
    "Ways out: have the quota raised (role trust policy length, at most 4096), split the role into several, or move "
    "service accounts to EKS Pod Identity, which needs no subject here."
)


@dataclass(frozen=True)
class BindingPlan:
    """One binding: what becomes of it and why. C(verdicts): on the document as it will be, by subject."""

    binding: Binding
    status: str
    reason: str
    added: tuple[Subject, ...] = ()
    removed: tuple[Subject, ...] = ()
    verdicts: tuple[tuple[Subject, Verdict], ...] = ()
    warnings: tuple[str, ...] = ()
    still_allowed_by: tuple[Match, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True)
class RolePlan:
    """One role. C(before) is None where the role is not there; C(after) is C(before) where nothing is to be written."""

    role: str
    before: Optional[Mapping[str, Any]]
    after: Optional[Mapping[str, Any]]
    bindings: tuple[BindingPlan, ...]
    purged: tuple[Subject, ...] = ()
    squeezed: bool = False
    refusal: Optional[str] = None
    warnings: tuple[str, ...] = ()

    @property
    def writes(self) -> bool:
        return self.after != self.before

    @property
    def sizes(self) -> tuple[Optional[int], Optional[int]]:
        """Before and after, in the characters that count against the quota."""
        sized = [None if one is None else policy.size(one) for one in (self.before, self.after)]
        return sized[0], sized[1]

    @property
    def steps(self) -> list[Step]:
        if not self.writes:
            return []
        changed = [f"+ {one}" for plan in self.bindings for one in plan.added]
        changed += [f"- {one}" for plan in self.bindings for one in plan.removed]
        changed += [f"- {one} (purge)" for one in self.purged]
        before = None if self.before is None else policy.canonical(self.before)
        after = None if self.after is None else policy.canonical(self.after)
        return [Step(CREATE if before is None else UPDATE, self.role, "; ".join(changed), before, after)]


def contradictions(bindings: Sequence[Binding]) -> None:
    """A subject that is to be present and absent at once can be made neither."""
    wanted: dict[tuple[str, str, str], bool] = {}
    for binding in bindings:
        for subject in binding.subjects:
            key = (binding.role, binding.provider.arn, subject.value)
            if wanted.setdefault(key, binding.present) != binding.present:
                raise IrsaError(f"bindings: {subject} is both present and absent for role {binding.role}. Keep one.")


def decide(
    role: str,
    document: Optional[Mapping[str, Any]],
    bindings: Sequence[Binding],
    wish: Wish,
    quota: Optional[int] = None,
) -> RolePlan:
    """What makes the bindings of one role true, by the smallest change of its trust document."""
    if document is None and not (wish.create_role and any(one.present for one in bindings)):
        return RolePlan(role, None, None, tuple(_no_role(one) for one in bindings))
    edit = _Edit(document if document is not None else EMPTY, wish)
    try:
        for index, binding in enumerate(bindings):
            if not binding.present:
                edit.remove(index, binding)
        if wish.purge:
            edit.purge(bindings)
        for index, binding in enumerate(bindings):
            if binding.present:
                edit.add(index, binding)
        written, squeezed = edit.written(bindings, quota)
    except RefusedError as error:
        plans = tuple(_refused(one, document, wish, str(error)) for one in bindings)
        return RolePlan(role, document, document, plans, refusal=str(error))
    plans = tuple(_planned(one, index, edit, written, wish) for index, one in enumerate(bindings))
    return RolePlan(role, document, written, plans, edit.purged, squeezed, warnings=_warnings(written))


class RefusedError(Exception):
    """The role stays as it is: why, and what to do."""


class _Edit:
    """A document on its way, with what each binding did to it."""

    def __init__(self, document: Mapping[str, Any], wish: Wish) -> None:
        self.before = document
        self.document = document
        self.wish = wish
        self.added: dict[int, list[Subject]] = {}
        self.removed: dict[int, list[Subject]] = {}
        self.stuck: dict[int, str] = {}
        self.purged: tuple[Subject, ...] = ()

    def remove(self, index: int, binding: Binding) -> None:
        for subject in binding.subjects:
            try:
                after = policy.remove(self.document, binding.provider, subject)
            except policy.StuckError as error:
                self.stuck[index] = f"{subject} cannot be removed from {error}."
                continue
            if after != self.document:
                self.removed.setdefault(index, []).append(subject)
                self.document = after

    def purge(self, bindings: Sequence[Binding]) -> None:
        for provider in dict.fromkeys(one.provider for one in bindings):
            keep = [subject for one in bindings if one.present and one.provider == provider for subject in one.subjects]
            if not keep and not self.wish.allow_empty:
                raise RefusedError(
                    f"purge would leave no service account of {provider.issuer}, because no binding of it is present. "
                    "Set allow_empty=true if that is what you want."
                )
            before = _named(self.document, provider)
            try:
                self.document = policy.purge(self.document, provider, keep)
            except policy.StuckError as error:
                raise RefusedError(f"purge cannot be carried out. {error}.") from error
            left = set(_named(self.document, provider))
            self.purged += tuple(one for one in before if one not in left and one not in keep)

    def add(self, index: int, binding: Binding) -> None:
        for subject in binding.subjects:
            verdict = policy.evaluate(self.document, binding.provider, subject, self.wish.audience)
            if verdict.denied_by or _trusted(verdict, self.wish):
                continue
            self.document, _dummy = policy.add(self.document, binding.provider, subject, self.wish.audience)
            self.added.setdefault(index, []).append(subject)

    def written(self, bindings: Sequence[Binding], quota: Optional[int]) -> tuple[Mapping[str, Any], bool]:
        """The document as it would be written, and whether it had to be made shorter; or why it cannot be."""
        if self.document == self.before:
            return self.before, False
        if not policy.statements(self.document):
            raise RefusedError(
                "its trust policy would be left without a statement, which IAM does not take. Delete the role if "
                "nobody is to assume it, or add in the same task whoever is."
            )
        deleted = policy.deleted_principals(self.document)
        if deleted:
            raise RefusedError(
                f"its trust policy names principals that have been deleted ({', '.join(deleted)}), and IAM refuses "
                "every write of it (Invalid principal in policy). Take them out, or put their successors in, and run "
                "again."
            )
        after, squeezed = self.document, False
        if quota is not None and policy.size(after) > max(quota, policy.size(self.before)):
            for provider in dict.fromkeys(one.provider for one in bindings):
                after = policy.squeeze(after, provider)
            squeezed = True
            if policy.size(after) > quota:
                raise RefusedError(too_long(policy.size(after), quota))
        return after, squeezed


def too_long(size: int, quota: Optional[int]) -> str:
    allowed = "more than this account's quota" if quota is None else f"and this account's quota is {quota}"
    return f"its trust policy would have {size} characters, {allowed}. {WAYS_OUT}"


def _named(document: Mapping[str, Any], provider: Provider) -> list[Subject]:
    """Whom the statements of a provider let in, everybody included, whatever the audience."""
    found = policy.grants(document, provider, None)
    return list(dict.fromkeys(grant.subject or Subject("*", True) for grant in found))


def _trusted(verdict: Verdict, wish: Wish) -> bool:
    """Whether nothing is to be added. What passes without a subject, too, is no trust (facts: irsa, case 9)."""
    proper = [match for match in verdict.by if not match.loose]
    return any(match.how == policy.NAME for match in proper) or (bool(proper) and not wish.explicit)


def _no_role(binding: Binding) -> BindingPlan:
    if not binding.present:
        return BindingPlan(binding, "ok", "The role does not exist, so that nobody can assume it.")
    reason = "The role does not exist. Name one that does, or set create_role=true to create it."
    return BindingPlan(binding, "failed", reason)


def _refused(binding: Binding, document: Optional[Mapping[str, Any]], wish: Wish, why: str) -> BindingPlan:
    """What a refusal means for one binding: nothing, where it is true already."""
    plan = BindingPlan(binding, "ok", "Already so.", verdicts=_verdicts(binding, document or EMPTY, wish))
    if not lacking(document or EMPTY, [plan], wish):
        return plan
    return replace(plan, status="failed", reason=f"Nothing was changed in role {binding.role}: {why}")


def _verdicts(binding: Binding, document: Mapping[str, Any], wish: Wish) -> tuple[tuple[Subject, Verdict], ...]:
    """Of absent ones, with whatever audience: an audience of another kind would let them in as well."""
    audience = wish.audience if binding.present else None
    return tuple((one, policy.evaluate(document, binding.provider, one, audience)) for one in binding.subjects)


def _planned(binding: Binding, index: int, edit: _Edit, document: Mapping[str, Any], wish: Wish) -> BindingPlan:
    verdicts = _verdicts(binding, document, wish)
    added, removed = tuple(edit.added.get(index, ())), tuple(edit.removed.get(index, ()))
    plan = BindingPlan(binding, "changed" if added or removed else "ok", "", added, removed, verdicts)
    if binding.present:
        return _present(plan, wish)
    return _absent(plan, edit.stuck.get(index), document)


def _present(plan: BindingPlan, wish: Wish) -> BindingPlan:
    denied = {str(subject): verdict for subject, verdict in plan.verdicts if verdict.denied_by}
    warnings = []
    for subject, verdict in plan.verdicts:
        warnings += [f"{subject}: {one}" for one in _doubts(verdict, subject in plan.added, wish)]
    if denied:
        reason = " ".join(
            f"{name} is denied by {', '.join(map(str, one.denied_by))}, which overrules whatever allows it. Change "
            "that first."
            for name, one in denied.items()
        )
        if plan.added:
            reason = f"Added {', '.join(map(str, plan.added))}. {reason}"
        return replace(plan, status="failed", reason=reason, warnings=tuple(warnings))
    by = "; ".join(f"{subject} {verdict}" for subject, verdict in plan.verdicts)
    told = f"Added. {by}." if plan.added else f"Already so. {by}."
    return replace(plan, reason=told, warnings=tuple(warnings))


def _doubts(verdict: Verdict, added: bool, wish: Wish) -> list[str]:
    doubts = []
    if verdict.denied_by:
        doubts.append(f"a Deny overrules it: {', '.join(map(str, verdict.denied_by))}.")
    for match in verdict.perhaps_denied_by:
        doubts.append(f"{match} may deny it, which depends on {'; '.join(match.conditions)}.")
    proper = [match for match in verdict.by if not match.loose]
    for match in verdict.by:
        if match.loose:
            doubts.append(
                f"{match} allows it by a condition that also passes without a subject (ForAllValues or IfExists), "
                "which does not count as trust. Write it as StringEquals."
            )
        elif not match.checks_audience:
            doubts.append(f"{match} does not check the audience. Add {wish.audience} as the provider's aud to it.")
        if match.how == policy.OPEN:
            doubts.append(f"{match} is open to every service account of the cluster.")
    carrying = [match for match in proper if match.how == policy.NAME] or proper
    if carrying and all(match.conditions for match in carrying):
        for match in carrying:
            doubts.append(f"{match} also demands {'; '.join(match.conditions)}.")
    if carrying and not added and all(match.how == policy.WILDCARD for match in carrying):
        doubts.append(
            f"it is not named, a wildcard covers it: {', '.join(map(str, carrying))}. explicit=true would name it."
        )
    return doubts


def _absent(plan: BindingPlan, stuck: Optional[str], document: Mapping[str, Any]) -> BindingPlan:
    still = tuple(match for _dummy, verdict in plan.verdicts if verdict.allowed for match in verdict.by)
    still = tuple(dict.fromkeys(still))
    done = f"Removed {', '.join(map(str, plan.removed))}. " if plan.removed else ""
    if still:
        names = ", ".join(str(subject) for subject, verdict in plan.verdicts if verdict.allowed)
        why = " ".join(
            f"{match} still allows it, "
            + ("being open to every service account." if match.how == policy.OPEN else "by a wildcard.")
            for match in still
            if match.how != policy.NAME
        )
        told = stuck or f"{why} Narrow that, or purge."
        return replace(plan, status="failed", reason=f"{done}{names}: {told}", still_allowed_by=still)
    if stuck:
        return replace(plan, status="failed", reason=f"{done}{stuck}")
    warnings = []
    for pattern in (subject for subject in plan.binding.subjects if subject.pattern):
        named = [
            str(one)
            for one in _named(document, plan.binding.provider)
            if one != pattern and policy.overlap(pattern.value, one.value)
        ]
        if named:
            warnings.append(f"{pattern} is gone, and {', '.join(named)} under it can still assume the role.")
    return replace(plan, reason=done.strip() or "Already so: no statement allows it.", warnings=tuple(warnings))


def _warnings(document: Mapping[str, Any]) -> tuple[str, ...]:
    deleted = policy.deleted_principals(document)
    if not deleted:
        return ()
    return (
        f"its trust policy names deleted principals ({', '.join(deleted)}), so that IAM will refuse the next write of "
        "it.",
    )


def lacking(document: Mapping[str, Any], plans: Sequence[BindingPlan], wish: Wish) -> list[str]:
    """What a document that was read back does not show, of what the plan promised."""
    found = []
    for plan in plans:
        if plan.status == "failed":
            continue
        for subject, verdict in _verdicts(plan.binding, document, wish):
            if plan.binding.present != (verdict.allowed and (not plan.binding.present or _trusted(verdict, wish))):
                found.append(f"{subject} is {verdict}")
    return found
