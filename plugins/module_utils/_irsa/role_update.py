# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply and verify: the writes of roles, with read-back, recheck and retries.

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
from dataclasses import replace
from typing import Any, Optional

from .._aws_call import ApiError
from .._clock import Clock
from . import iam, plan
from .model import IamRole, Subject
from .plan import BindingPlan, RolePlan
from .trust_options import IrsaOptions, RoleOutcome
from .trust_state import WORKERS, IrsaState, read_roles

MAX_WRITE_ATTEMPTS = 5  # writes of one role in a row
MAX_RECHECKS = 5  # rechecks that find something missing
VISIBILITY_TIMEOUT = 15.0  # seconds until a write must show: IAM is eventually consistent

# Of one binding: its plan, status, reason, whether it changed, and whether it is verified.
BindingResult = tuple[BindingPlan, str, str, bool, Optional[bool]]


class RoleUpdate:
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
        self.attached: list[str] = []
        self.error: Optional[str] = None
        self.verified: Optional[bool] = None

    def replan(self, document: Optional[Mapping[str, Any]]) -> None:
        self.plan = self._plan_role(document)
        self.document = document

    def write(self) -> None:
        """Writes the trust policy, and attaches missing managed policies."""
        if self.plan.has_changes:
            self.write_with_retry()
        if not self.error and not self.attached:
            self._attach_policies()

    def write_with_retry(self) -> None:
        """Retries until a read shows every planned subject, or an error ends it."""
        try:
            if not any(not self._write_once() for _dummy in range(MAX_WRITE_ATTEMPTS)):
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
                if error.outcome_unknown and self._is_done():
                    return None
                if error.code != "MalformedPolicyDocument" or self.clock.monotonic() >= end:
                    raise
            self.clock.sleep(1)

    def _is_done(self) -> bool:
        """Whether a write whose response is unknown took effect."""
        role = iam.get_role(self.client, self.plan.role)
        return role is not None and not self._has_missing(role.document)

    def _create_role(self, document: Mapping[str, Any]) -> bool:
        """Creates the role. False if another writer created it first."""
        try:
            made = self._put_with_retry(
                lambda: iam.create_role(self.client, self.plan.role, document, self.options.new_role)
            )
            self.arn = made.arn if made else ""
        except ApiError as error:
            if error.code != "EntityAlreadyExists":
                raise
            role = iam.get_role(self.client, self.plan.role)
            self.first_plan = replace(self.first_plan, before=role.document if role else None)
            self.replan(role.document if role else None)
            return False
        self._record_changes()
        return True

    def _attach_policies(self) -> None:
        """Attaches the missing managed policies. The next run attaches what could not be attached."""
        for number, arn in enumerate(self.first_plan.attachments):
            try:
                iam.attach_policy(self.client, self.plan.role, arn)
            except ApiError as error:
                left = ", ".join(self.first_plan.attachments[number:])
                self.error = (
                    f"{error.explanation} The role exists without {left}; the next run with the same options "
                    "attaches it."
                )
                return
            self.attached.append(arn)

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

    def build_outcomes(self) -> tuple[RoleOutcome, list[BindingResult]]:
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
        is_changed = self.is_written or bool(self.attached)
        status = "failed" if rejected else ("changed" if is_changed else "ok")
        done = ["The trust policy was written."] if self.is_written else []
        done += [f"Attached {', '.join(self.attached)}."] if self.attached else []
        return (
            RoleOutcome(
                self.plan.role,
                status,
                rejected or " ".join(done) or "No write was necessary.",
                self.first_plan,
                self.arn,
                self.document,
                is_changed,
                tuple(self.attached),
                self.overwritten_externally,
            ),
            results,
        )


def preview(role_update: RoleUpdate) -> tuple[RoleOutcome, list[BindingResult]]:
    role_plan = role_update.first_plan
    planned = ["The trust policy would be written."] if role_plan.has_changes else []
    planned += [f"{', '.join(role_plan.attachments)} would be attached."] if role_plan.attachments else []
    status = "failed" if role_plan.rejection_reason else ("changed" if planned else "ok")
    reason = role_plan.rejection_reason or " ".join(planned) or "No write is necessary."
    results: list[BindingResult] = [
        (binding_plan, binding_plan.status, binding_plan.reason, binding_plan.has_changes, None)
        for binding_plan in role_plan.bindings
    ]
    return RoleOutcome(
        role_plan.role,
        status,
        reason,
        role_plan,
        role_update.arn,
        role_plan.after,
        bool(planned),
        role_plan.attachments,
    ), results


def apply_updates(
    client: Any, role_updates: Sequence[RoleUpdate], options: IrsaOptions, state: IrsaState, clock: Clock
) -> None:
    """Writes the roles, several at a time, then rechecks all of them after C(recheck_delay), with retries."""
    pending = list(role_updates)
    for number in range(MAX_RECHECKS + 1):
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(RoleUpdate.write, pending))
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
