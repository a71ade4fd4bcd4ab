# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan, pure: from one role's trust policy and the desired bindings to the edited trust policy."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .._plan import Step
from . import policy, policy_edit
from .model import Binding, IrsaError, OidcProvider, PolicyOptions, Subject
from .policy import StatementMatch, Verdict

UPDATE_TRUST_POLICY, CREATE_ROLE, ATTACH_POLICY = "update trust policy", "create role", "attach managed policy"
EMPTY_DOCUMENT: Mapping[str, Any] = {"Version": "2012-10-17", "Statement": []}
QUOTA_SUGGESTION = (
    "Request a higher quota (role trust policy length, at most 4096), split the role into several, or move service "
    "accounts to EKS Pod Identity, which needs no subject in the trust policy."
)


@dataclass(frozen=True)
class BindingPlan:
    """The plan of one binding, and why. C(verdicts): the evaluation of the planned document, by subject."""

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
    """The plan of one role. C(before) is None if the role does not exist; C(after) equals C(before) without changes.

    C(attachments): the managed policies that are missing from the role.
    """

    role: str
    before: Optional[Mapping[str, Any]]
    after: Optional[Mapping[str, Any]]
    bindings: tuple[BindingPlan, ...]
    purged: tuple[Subject, ...] = ()
    is_shortened: bool = False
    rejection_reason: Optional[str] = None
    warnings: tuple[str, ...] = ()
    attachments: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        """Whether the trust policy changes."""
        return self.after != self.before

    @property
    def sizes(self) -> tuple[Optional[int], Optional[int]]:
        """The size before and after, in characters that count against the quota."""
        sized = [
            None if document is None else policy_edit.count_characters(document)
            for document in (self.before, self.after)
        ]
        return sized[0], sized[1]

    @property
    def steps(self) -> list[Step]:
        attachments = [
            Step(ATTACH_POLICY, self.role, f"The role does not have {arn}.", after=arn) for arn in self.attachments
        ]
        if not self.has_changes:
            return attachments
        changed = [f"+ {subject}" for plan in self.bindings for subject in plan.added]
        changed += [f"- {subject}" for plan in self.bindings for subject in plan.removed]
        changed += [f"- {subject} (purge)" for subject in self.purged]
        before = None if self.before is None else policy_edit.to_canonical(self.before)
        after = None if self.after is None else policy_edit.to_canonical(self.after)
        return [
            Step(CREATE_ROLE if before is None else UPDATE_TRUST_POLICY, self.role, "; ".join(changed), before, after),
            *attachments,
        ]


def list_attachments(
    role_plan: RolePlan, managed_policies: Sequence[str], attached: Optional[Collection[str]], options: PolicyOptions
) -> tuple[str, ...]:
    """The managed policies to attach to a role that is created, or that exists (C(attached): what it has)."""
    is_bound = any(plan.binding.is_present and plan.status != "failed" for plan in role_plan.bindings)
    if not options.create_role or not is_bound or role_plan.rejection_reason:
        return ()
    return tuple(arn for arn in dict.fromkeys(managed_policies) if arn not in (attached or ()))


def check_contradictions(bindings: Sequence[Binding]) -> None:
    """Raises IrsaError if a subject is both present and absent for the same role and provider."""
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
    """The smallest change of one role's trust policy that makes its bindings true."""
    if document is None and not (options.create_role and any(binding.is_present for binding in bindings)):
        return RolePlan(role, None, None, tuple(_plan_missing_role(binding) for binding in bindings))
    edit = _TrustPolicyEdit(document if document is not None else EMPTY_DOCUMENT, options)
    try:
        edit.check()
        for index, binding in enumerate(bindings):
            if not binding.is_present:
                edit.remove(index, binding)
        if options.purge:
            edit.purge(bindings)
        edit.add(bindings)
        written, is_shortened = edit.build_document(bindings, quota)
    except RejectedEditError as error:
        plans = tuple(_plan_rejected(binding, document, options, str(error)) for binding in bindings)
        return RolePlan(role, document, document, plans, rejection_reason=str(error))
    plans = tuple(_plan_binding(binding, index, edit, written, options) for index, binding in enumerate(bindings))
    return RolePlan(role, document, written, plans, edit.purged, is_shortened, warnings=_list_policy_warnings(written))


class RejectedEditError(Exception):
    """The trust policy stays unchanged: why, and what to do."""


class _TrustPolicyEdit:
    """A trust policy under edit, with the subjects that each binding added and removed."""

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
                after = policy_edit.remove(self.document, binding.provider, subject)
            except policy_edit.SharedStatementError as error:
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
                    "Set allow_empty=true to allow that."
                )
            before = _list_trusted_subjects(self.document, provider)
            try:
                self.document = policy_edit.purge(self.document, provider, keep)
            except policy_edit.SharedStatementError as error:
                raise RejectedEditError(f"purge is not possible. {error}.") from error
            left = set(_list_trusted_subjects(self.document, provider))
            self.purged += tuple(subject for subject in before if subject not in left and subject not in keep)

    def check(self) -> None:
        if not policy.is_well_formed(self.before):
            raise RejectedEditError(
                "its trust policy has a statement that is not an object, so it cannot be edited safely. Correct it by "
                "hand, and run again."
            )

    def add(self, bindings: Sequence[Binding]) -> None:
        """Adds the subjects of present bindings that are not trusted yet, names of one provider at a time.

        Names do not change each other's verdicts. A wildcard can cover names that follow, so it is added alone.
        """
        requested = [
            (index, binding.provider, subject)
            for index, binding in enumerate(bindings)
            if binding.is_present
            for subject in binding.subjects
        ]
        for key, group in itertools.groupby(enumerate(requested), self._get_batch):
            self._add_batch(key[0], [(index, subject) for _number, (index, _provider, subject) in group])

    @staticmethod
    def _get_batch(numbered: tuple[int, tuple[int, OidcProvider, Subject]]) -> tuple[OidcProvider, int]:
        number, (_index, provider, subject) = numbered
        return provider, number if subject.is_pattern else -1

    def _add_batch(self, provider: OidcProvider, batch: Sequence[tuple[int, Subject]]) -> None:
        missing: dict[Subject, int] = {}
        for index, subject in batch:
            verdict = policy.evaluate(self.document, provider, subject, self.options.audience)
            if not verdict.denied_by and not _is_trusted(verdict, self.options):
                missing.setdefault(subject, index)
        if missing:
            self.document, _dummy = policy_edit.add(self.document, provider, list(missing), self.options.audience)
        for subject, index in missing.items():
            self.added.setdefault(index, []).append(subject)

    def build_document(self, bindings: Sequence[Binding], quota: Optional[int]) -> tuple[Mapping[str, Any], bool]:
        """The document to write, and whether it was shortened. Raises RejectedEditError where IAM would reject it."""
        if self.document == self.before:
            return self.before, False
        if not policy.list_statements(self.document):
            raise RejectedEditError(
                "the trust policy would have no statement left, and IAM rejects an empty one. Delete the role if "
                "nobody may assume it, or bind another service account in the same task."
            )
        deleted = policy.list_deleted_principals(self.document)
        if deleted:
            raise RejectedEditError(
                f"the trust policy names deleted principals ({', '.join(deleted)}), and IAM rejects every write of it "
                '("Invalid principal in policy"). Remove or replace these principals by hand, and run again.'
            )
        after, is_shortened = self.document, False
        if quota is not None and policy_edit.count_characters(after) > max(
            quota, policy_edit.count_characters(self.before)
        ):
            for provider in dict.fromkeys(binding.provider for binding in bindings):
                after = policy_edit.shorten(after, provider)
            is_shortened = True
            if policy_edit.count_characters(after) > quota:
                raise RejectedEditError(get_quota_reason(policy_edit.count_characters(after), quota))
        return after, is_shortened


def get_quota_reason(size: int, quota: Optional[int]) -> str:
    allowed = "more than this account's quota" if quota is None else f"and this account's quota is {quota}"
    return f"the trust policy would have {size} characters, {allowed}. {QUOTA_SUGGESTION}"


def _list_trusted_subjects(document: Mapping[str, Any], provider: OidcProvider) -> list[Subject]:
    """The subjects that the statements of a provider trust, for any audience; C(*) for every subject."""
    found = policy.list_grants(document, provider, None)
    return list(dict.fromkeys(grant.subject or Subject("*", True) for grant in found))


def _is_trusted(verdict: Verdict, options: PolicyOptions) -> bool:
    """Whether the subject is trusted already, so that nothing is added.

    A condition that also passes without a subject, or that cannot be evaluated, does not count as trust
    (docs/facts/irsa.md#hard-cases).
    """
    proper = [match for match in verdict.allowed_by if match.is_proper]
    return any(match.how == policy.NAME for match in proper) or (bool(proper) and not options.explicit_subjects)


def _plan_missing_role(binding: Binding) -> BindingPlan:
    if not binding.is_present:
        return BindingPlan(binding, "ok", "The role does not exist, so nobody can assume it.")
    reason = "The role does not exist. Name an existing role, or set create_role=true to create it."
    return BindingPlan(binding, "failed", reason)


def _plan_rejected(
    binding: Binding, document: Optional[Mapping[str, Any]], options: PolicyOptions, rejection_reason: str
) -> BindingPlan:
    """The plan of one binding where the edit is rejected: C(ok) where the binding is true already, else C(failed)."""
    plan = BindingPlan(
        binding, "ok", "Unchanged.", verdicts=_evaluate_subjects(binding, document or EMPTY_DOCUMENT, options)
    )
    if not list_missing(document or EMPTY_DOCUMENT, [plan], options):
        return plan
    return replace(plan, status="failed", reason=f"Role {binding.role} was not changed: {rejection_reason}")


def _evaluate_subjects(
    binding: Binding, document: Mapping[str, Any], options: PolicyOptions
) -> tuple[tuple[Subject, Verdict], ...]:
    """One verdict per subject. Absent subjects are evaluated for any audience: each audience grants the role."""
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
            f"{name} is denied by {', '.join(map(str, verdict.denied_by))}, and a Deny overrules every Allow. Change "
            "that statement first."
            for name, verdict in denied.items()
        )
        if plan.added:
            reason = f"Added {', '.join(map(str, plan.added))}. {reason}"
        return replace(plan, status="failed", reason=reason, warnings=tuple(warnings))
    by = "; ".join(f"{subject} {verdict}" for subject, verdict in plan.verdicts)
    reason = f"Added. {by}." if plan.added else f"Unchanged. {by}."
    return replace(plan, reason=reason, warnings=tuple(warnings))


def _list_subject_warnings(verdict: Verdict, added: bool, options: PolicyOptions) -> list[str]:
    warnings = []
    if verdict.denied_by:
        warnings.append(f"a Deny overrules the Allow: {', '.join(map(str, verdict.denied_by))}.")
    for match in verdict.possibly_denied_by:
        warnings.append(f"{match} may deny it, depending on {'; '.join(match.conditions)}.")
    proper = [match for match in verdict.allowed_by if match.is_proper]
    for match in verdict.allowed_by:
        if match.is_loose:
            warnings.append(
                f"{match} also passes tokens without a subject (ForAllValues or IfExists), so it does not count as "
                "trust. Write the condition as StringEquals."
            )
        elif match.is_uncertain:
            warnings.append(
                f"{match} has a condition on the subject that cannot be evaluated here, so it does not count as trust: "
                f"{'; '.join(match.conditions)}."
            )
        elif not match.checks_audience:
            warnings.append(f"{match} does not check the audience. Add a condition on aud for {options.audience}.")
        if match.how == policy.OPEN:
            warnings.append(f"{match} is open to every service account of the cluster.")
    deciding = [match for match in proper if match.how == policy.NAME] or proper
    if deciding and all(match.conditions for match in deciding):
        for match in deciding:
            warnings.append(f"{match} also requires {'; '.join(match.conditions)}.")
    if deciding and not added and all(match.how == policy.WILDCARD for match in deciding):
        warnings.append(
            f"no statement names it, a wildcard covers it: {', '.join(map(str, deciding))}. Set explicit_subjects=true "
            "to add it by name."
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
        why = " ".join(_get_still_allowed_reason(match) for match in still if match.how != policy.NAME)
        reason = blocking_reason or f"{why} Narrow that statement, or set purge=true."
        return replace(plan, status="failed", reason=f"{done}{names}: {reason}", still_allowed_by=still)
    if blocking_reason:
        return replace(plan, status="failed", reason=f"{done}{blocking_reason}")
    warnings = [
        f"{', '.join(map(str, other))} still allows {subject} for any audience that the trust policy does not name. "
        "Check the audiences of the OIDC provider, or narrow that statement."
        for subject, verdict in plan.verdicts
        if (other := _list_other_audience_matches(document, plan.binding.provider, subject, verdict))
    ]
    for pattern in (subject for subject in plan.binding.subjects if subject.is_pattern):
        named = [
            str(subject)
            for subject in _list_trusted_subjects(document, plan.binding.provider)
            if subject != pattern and policy.has_overlap(pattern.value, subject.value)
        ]
        if named:
            warnings.append(f"{', '.join(named)} can still assume the role by name, although {pattern} is removed.")
    return replace(plan, reason=done.strip() or "Unchanged: no statement allows it.", warnings=tuple(warnings))


def _get_still_allowed_reason(match: StatementMatch) -> str:
    if match.is_uncertain:
        return f"{match} may still allow it, depending on {'; '.join(match.conditions)}."
    how = "because it is open to every service account." if match.how == policy.OPEN else "by a wildcard."
    return f"{match} still allows it, {how}"


def _list_other_audience_matches(
    document: Mapping[str, Any], provider: OidcProvider, subject: Subject, verdict: Verdict
) -> tuple[StatementMatch, ...]:
    """The statements that allow a subject only for an audience that the trust policy does not name.

    Such a statement checks no audience, and a Deny covers those that the policy names.
    """
    if not verdict.denied_by:
        return ()
    other = policy.evaluate(document, provider, subject, policy.OTHER_AUDIENCE)
    return other.allowed_by if other.is_allowed else ()


def _list_policy_warnings(document: Mapping[str, Any]) -> tuple[str, ...]:
    deleted = policy.list_deleted_principals(document)
    if not deleted:
        return ()
    return (
        f"IAM will reject the next write of the trust policy, because it names deleted principals "
        f"({', '.join(deleted)}). Remove or replace them.",
    )


def list_missing(document: Mapping[str, Any], plans: Sequence[BindingPlan], options: PolicyOptions) -> list[str]:
    """The planned subjects that a document does not show when it is read back."""
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
