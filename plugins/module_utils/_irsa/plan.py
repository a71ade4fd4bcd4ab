# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure decision: one role's trust document, the bindings that are wanted of it, and what makes them true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._plan import Step
from . import policy
from .model import Binding, IrsaError, OidcProvider, PolicyOptions, Subject
from .policy import StatementMatch, Verdict

UPDATE_TRUST_POLICY, CREATE_ROLE = "update trust policy", "create role"
EMPTY_DOCUMENT: Mapping[str, Any] = {"Version": "2012-10-17", "Statement": []}
QUOTA_SUGGESTION = (
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
    still_allowed_by: tuple[StatementMatch, ...] = ()

    @property
    def has_changes(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True)
class RolePlan:
    """One role. C(before) is None where the role is not there; C(after) is C(before) where nothing is to be written."""

    role: str
    before: Optional[Mapping[str, Any]]
    after: Optional[Mapping[str, Any]]
    bindings: tuple[BindingPlan, ...]
    purged: tuple[Subject, ...] = ()
    is_shortened: bool = False
    rejection_reason: Optional[str] = None
    warnings: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        return self.after != self.before

    @property
    def sizes(self) -> tuple[Optional[int], Optional[int]]:
        """Before and after, in the characters that count against the quota."""
        sized = [
            None if document is None else policy.count_characters(document) for document in (self.before, self.after)
        ]
        return sized[0], sized[1]

    @property
    def steps(self) -> list[Step]:
        if not self.has_changes:
            return []
        changed = [f"+ {subject}" for plan in self.bindings for subject in plan.added]
        changed += [f"- {subject}" for plan in self.bindings for subject in plan.removed]
        changed += [f"- {subject} (purge)" for subject in self.purged]
        before = None if self.before is None else policy.to_canonical(self.before)
        after = None if self.after is None else policy.to_canonical(self.after)
        return [
            Step(CREATE_ROLE if before is None else UPDATE_TRUST_POLICY, self.role, "; ".join(changed), before, after)
        ]


def check_contradictions(bindings: Sequence[Binding]) -> None:
    """A subject that is to be present and absent at once can be made neither."""
    desired: dict[tuple[str, str, str], bool] = {}
    for binding in bindings:
        for subject in binding.subjects:
            key = (binding.role, binding.provider.arn, subject.value)
            if desired.setdefault(key, binding.is_present) != binding.is_present:
                raise IrsaError(f"bindings: {subject} is both present and absent for role {binding.role}. Keep one.")


def make_plan(
    role: str,
    document: Optional[Mapping[str, Any]],
    bindings: Sequence[Binding],
    options: PolicyOptions,
    quota: Optional[int] = None,
) -> RolePlan:
    """What makes the bindings of one role true, by the smallest change of its trust document."""
    if document is None and not (options.create_role and any(binding.is_present for binding in bindings)):
        return RolePlan(role, None, None, tuple(_plan_missing_role(binding) for binding in bindings))
    edit = _TrustPolicyEdit(document if document is not None else EMPTY_DOCUMENT, options)
    try:
        for index, binding in enumerate(bindings):
            if not binding.is_present:
                edit.remove(index, binding)
        if options.purge:
            edit.purge(bindings)
        for index, binding in enumerate(bindings):
            if binding.is_present:
                edit.add(index, binding)
        written, is_shortened = edit.build_document(bindings, quota)
    except RejectedEditError as error:
        plans = tuple(_plan_rejected(binding, document, options, str(error)) for binding in bindings)
        return RolePlan(role, document, document, plans, rejection_reason=str(error))
    plans = tuple(_plan_binding(binding, index, edit, written, options) for index, binding in enumerate(bindings))
    return RolePlan(role, document, written, plans, edit.purged, is_shortened, warnings=_list_policy_warnings(written))


class RejectedEditError(Exception):
    """The role stays as it is: why, and what to do."""


class _TrustPolicyEdit:
    """A document on its way, with what each binding did to it."""

    def __init__(self, document: Mapping[str, Any], options: PolicyOptions) -> None:
        self.before = document
        self.document = document
        self.options = options
        self.added: dict[int, list[Subject]] = {}
        self.removed: dict[int, list[Subject]] = {}
        self.blocking_reasons: dict[int, str] = {}
        self.purged: tuple[Subject, ...] = ()

    def remove(self, index: int, binding: Binding) -> None:
        for subject in binding.subjects:
            try:
                after = policy.remove(self.document, binding.provider, subject)
            except policy.SharedStatementError as error:
                self.blocking_reasons[index] = f"{subject} cannot be removed from {error}."
                continue
            if after != self.document:
                self.removed.setdefault(index, []).append(subject)
                self.document = after

    def purge(self, bindings: Sequence[Binding]) -> None:
        for provider in dict.fromkeys(binding.provider for binding in bindings):
            keep = [
                subject
                for binding in bindings
                if binding.is_present and binding.provider == provider
                for subject in binding.subjects
            ]
            if not keep and not self.options.allow_empty:
                raise RejectedEditError(
                    f"purge would leave no service account of {provider.issuer}, because no binding of it is present. "
                    "Set allow_empty=true if that is what you want."
                )
            before = _list_trusted_subjects(self.document, provider)
            try:
                self.document = policy.purge(self.document, provider, keep)
            except policy.SharedStatementError as error:
                raise RejectedEditError(f"purge cannot be carried out. {error}.") from error
            left = set(_list_trusted_subjects(self.document, provider))
            self.purged += tuple(subject for subject in before if subject not in left and subject not in keep)

    def add(self, index: int, binding: Binding) -> None:
        for subject in binding.subjects:
            verdict = policy.evaluate(self.document, binding.provider, subject, self.options.audience)
            if verdict.denied_by or _is_trusted(verdict, self.options):
                continue
            self.document, _dummy = policy.add(self.document, binding.provider, subject, self.options.audience)
            self.added.setdefault(index, []).append(subject)

    def build_document(self, bindings: Sequence[Binding], quota: Optional[int]) -> tuple[Mapping[str, Any], bool]:
        """The document as it would be written, and whether it had to be made shorter; or why it cannot be."""
        if self.document == self.before:
            return self.before, False
        if not policy.list_statements(self.document):
            raise RejectedEditError(
                "its trust policy would be left without a statement, which IAM does not take. Delete the role if "
                "nobody is to assume it, or add in the same task whoever is."
            )
        deleted = policy.list_deleted_principals(self.document)
        if deleted:
            raise RejectedEditError(
                f"its trust policy names principals that have been deleted ({', '.join(deleted)}), and IAM refuses "
                "every write of it (Invalid principal in policy). Take them out, or put their successors in, and run "
                "again."
            )
        after, is_shortened = self.document, False
        if quota is not None and policy.count_characters(after) > max(quota, policy.count_characters(self.before)):
            for provider in dict.fromkeys(binding.provider for binding in bindings):
                after = policy.shorten(after, provider)
            is_shortened = True
            if policy.count_characters(after) > quota:
                raise RejectedEditError(get_quota_reason(policy.count_characters(after), quota))
        return after, is_shortened


def get_quota_reason(size: int, quota: Optional[int]) -> str:
    allowed = "more than this account's quota" if quota is None else f"and this account's quota is {quota}"
    return f"its trust policy would have {size} characters, {allowed}. {QUOTA_SUGGESTION}"


def _list_trusted_subjects(document: Mapping[str, Any], provider: OidcProvider) -> list[Subject]:
    """Whom the statements of a provider let in, everybody included, whatever the audience."""
    found = policy.list_grants(document, provider, None)
    return list(dict.fromkeys(grant.subject or Subject("*", True) for grant in found))


def _is_trusted(verdict: Verdict, options: PolicyOptions) -> bool:
    """Whether nothing is to be added. What passes without a subject, too, is no trust (facts: irsa, case 9)."""
    proper = [match for match in verdict.allowed_by if not match.is_loose]
    return any(match.how == policy.NAME for match in proper) or (bool(proper) and not options.explicit_subjects)


def _plan_missing_role(binding: Binding) -> BindingPlan:
    if not binding.is_present:
        return BindingPlan(binding, "ok", "The role does not exist, so that nobody can assume it.")
    reason = "The role does not exist. Name one that does, or set create_role=true to create it."
    return BindingPlan(binding, "failed", reason)


def _plan_rejected(
    binding: Binding, document: Optional[Mapping[str, Any]], options: PolicyOptions, rejection_reason: str
) -> BindingPlan:
    """What a refusal means for one binding: nothing, where it is true already."""
    plan = BindingPlan(
        binding, "ok", "Already so.", verdicts=_evaluate_subjects(binding, document or EMPTY_DOCUMENT, options)
    )
    if not list_missing(document or EMPTY_DOCUMENT, [plan], options):
        return plan
    return replace(plan, status="failed", reason=f"Nothing was changed in role {binding.role}: {rejection_reason}")


def _evaluate_subjects(
    binding: Binding, document: Mapping[str, Any], options: PolicyOptions
) -> tuple[tuple[Subject, Verdict], ...]:
    """Of absent ones, with whatever audience: an audience of another kind would let them in as well."""
    audience = options.audience if binding.is_present else None
    return tuple(
        (subject, policy.evaluate(document, binding.provider, subject, audience)) for subject in binding.subjects
    )


def _plan_binding(
    binding: Binding, index: int, edit: _TrustPolicyEdit, document: Mapping[str, Any], options: PolicyOptions
) -> BindingPlan:
    verdicts = _evaluate_subjects(binding, document, options)
    added, removed = tuple(edit.added.get(index, ())), tuple(edit.removed.get(index, ()))
    plan = BindingPlan(binding, "changed" if added or removed else "ok", "", added, removed, verdicts)
    if binding.is_present:
        return _complete_present_plan(plan, options)
    return _complete_absent_plan(plan, edit.blocking_reasons.get(index), document)


def _complete_present_plan(plan: BindingPlan, options: PolicyOptions) -> BindingPlan:
    denied = {str(subject): verdict for subject, verdict in plan.verdicts if verdict.denied_by}
    warnings = []
    for subject, verdict in plan.verdicts:
        warnings += [
            f"{subject}: {warning}" for warning in _list_subject_warnings(verdict, subject in plan.added, options)
        ]
    if denied:
        reason = " ".join(
            f"{name} is denied by {', '.join(map(str, verdict.denied_by))}, which overrules whatever allows it. Change "
            "that first."
            for name, verdict in denied.items()
        )
        if plan.added:
            reason = f"Added {', '.join(map(str, plan.added))}. {reason}"
        return replace(plan, status="failed", reason=reason, warnings=tuple(warnings))
    by = "; ".join(f"{subject} {verdict}" for subject, verdict in plan.verdicts)
    reason = f"Added. {by}." if plan.added else f"Already so. {by}."
    return replace(plan, reason=reason, warnings=tuple(warnings))


def _list_subject_warnings(verdict: Verdict, added: bool, options: PolicyOptions) -> list[str]:
    warnings = []
    if verdict.denied_by:
        warnings.append(f"a Deny overrules it: {', '.join(map(str, verdict.denied_by))}.")
    for match in verdict.possibly_denied_by:
        warnings.append(f"{match} may deny it, which depends on {'; '.join(match.conditions)}.")
    proper = [match for match in verdict.allowed_by if not match.is_loose]
    for match in verdict.allowed_by:
        if match.is_loose:
            warnings.append(
                f"{match} allows it by a condition that also passes without a subject (ForAllValues or IfExists), "
                "which does not count as trust. Write it as StringEquals."
            )
        elif not match.checks_audience:
            warnings.append(f"{match} does not check the audience. Add {options.audience} as the provider's aud to it.")
        if match.how == policy.OPEN:
            warnings.append(f"{match} is open to every service account of the cluster.")
    deciding = [match for match in proper if match.how == policy.NAME] or proper
    if deciding and all(match.conditions for match in deciding):
        for match in deciding:
            warnings.append(f"{match} also demands {'; '.join(match.conditions)}.")
    if deciding and not added and all(match.how == policy.WILDCARD for match in deciding):
        warnings.append(
            f"it is not named, a wildcard covers it: {', '.join(map(str, deciding))}. explicit=true would name it."
        )
    return warnings


def _complete_absent_plan(
    plan: BindingPlan, blocking_reason: Optional[str], document: Mapping[str, Any]
) -> BindingPlan:
    still = tuple(match for _dummy, verdict in plan.verdicts if verdict.is_allowed for match in verdict.allowed_by)
    still = tuple(dict.fromkeys(still))
    done = f"Removed {', '.join(map(str, plan.removed))}. " if plan.removed else ""
    if still:
        names = ", ".join(str(subject) for subject, verdict in plan.verdicts if verdict.is_allowed)
        why = " ".join(
            f"{match} still allows it, "
            + ("being open to every service account." if match.how == policy.OPEN else "by a wildcard.")
            for match in still
            if match.how != policy.NAME
        )
        reason = blocking_reason or f"{why} Narrow that, or purge."
        return replace(plan, status="failed", reason=f"{done}{names}: {reason}", still_allowed_by=still)
    if blocking_reason:
        return replace(plan, status="failed", reason=f"{done}{blocking_reason}")
    warnings = []
    for pattern in (subject for subject in plan.binding.subjects if subject.is_pattern):
        named = [
            str(subject)
            for subject in _list_trusted_subjects(document, plan.binding.provider)
            if subject != pattern and policy.has_overlap(pattern.value, subject.value)
        ]
        if named:
            warnings.append(f"{pattern} is gone, and {', '.join(named)} under it can still assume the role.")
    return replace(plan, reason=done.strip() or "Already so: no statement allows it.", warnings=tuple(warnings))


def _list_policy_warnings(document: Mapping[str, Any]) -> tuple[str, ...]:
    deleted = policy.list_deleted_principals(document)
    if not deleted:
        return ()
    return (
        f"its trust policy names deleted principals ({', '.join(deleted)}), so that IAM will refuse the next write of "
        "it.",
    )


def list_missing(document: Mapping[str, Any], plans: Sequence[BindingPlan], options: PolicyOptions) -> list[str]:
    """What a document that was read back does not show, of what the plan promised."""
    found = []
    for plan in plans:
        if plan.status == "failed":
            continue
        for subject, verdict in _evaluate_subjects(plan.binding, document, options):
            if plan.binding.is_present != (
                verdict.is_allowed and (not plan.binding.is_present or _is_trusted(verdict, options))
            ):
                found.append(f"{subject} is {verdict}")
    return found
