# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of every document and request: who may assume the role afterwards, and that nothing else changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import plan, policy, policy_edit
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import Binding, IrsaError, PolicyOptions, Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import CLUSTER, STS
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.documents import (
    PATTERNS,
    SUBJECTS,
    UNIVERSE,
    documents,
)

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

_SUBJECT = st.sampled_from((*SUBJECTS, *SUBJECTS, *PATTERNS))
_BINDINGS = st.lists(
    st.builds(
        lambda subjects, present: Binding("role", CLUSTER, tuple(subjects), present),
        st.lists(_SUBJECT, min_size=1, max_size=3, unique=True),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def allowed(document: Mapping[str, Any]) -> set[Any]:
    return {
        (provider, subject, audience)
        for provider, subject, audience in UNIVERSE
        if policy.evaluate(document, provider, subject, audience).is_allowed
    }


def under(subject: Subject, subjects: Sequence[Subject]) -> bool:
    return any(
        candidate == subject or (candidate.is_pattern and policy.matches_glob(candidate.value, subject.value))
        for candidate in subjects
    )


def blanked(statement: Mapping[str, Any]) -> Any:
    """A statement without the parts that may change: the values of this provider's subjects, and the provider itself
    if it is one of several principals.
    """
    blank: Any = copy.deepcopy(dict(statement))
    for name, keys in blank.get("Condition", {}).items():
        for key in keys:
            if (
                key.lower() == CLUSTER.get_condition_key("sub").lower()
                and policy.ConditionOperator.parse(name).is_allowlist
            ):
                keys[key] = "..."
    if isinstance(blank.get("Principal"), dict):
        listed = [arn for arn in policy.to_list(blank["Principal"].get("Federated", [])) if arn != CLUSTER.arn]
        blank["Principal"]["Federated"] = listed
    return blank


def ours(statement: Mapping[str, Any]) -> bool:
    return statement["Effect"] == "Allow" and (
        CLUSTER.arn in policy.list_federated_principals(statement) or statement.get("Principal") in ("*", {"AWS": "*"})
    )


def check_nothing_else_changed(
    before: Mapping[str, Any], after: Mapping[str, Any], bindings: Sequence[Binding], options: PolicyOptions
) -> None:
    assert {**before, "Statement": 0} == {**after, "Statement": 0}
    old, new = policy.list_statements(before), policy.list_statements(after)
    requested = {subject.value for binding in bindings if binding.is_present for subject in binding.subjects}
    kept = []
    rest = list(old)
    for place, statement in enumerate(new):
        while rest and blanked(rest[0]) != blanked(statement):
            gone = rest.pop(0)
            # A removed statement was of this provider alone.
            assert ours(gone), f"{gone} is gone"
            assert policy.list_federated_principals(gone) == [CLUSTER.arn], f"{gone} is gone"
        if not rest:
            kept = new[:place]
            break
        origin = rest.pop(0)
        assert ours(origin) or statement == origin, "another's statement changed"
        kept = new[: place + 1]
    for gone in rest:
        assert ours(gone), f"{gone} is gone"
        assert policy.list_federated_principals(gone) == [CLUSTER.arn], f"{gone} is gone"
    for made in new[len(kept) :]:  # nothing but new statements, each with audience and subject
        operator = "StringEquals" if "StringLike" not in made["Condition"] else "StringLike"
        subjects = policy.to_list(made["Condition"][operator][CLUSTER.get_condition_key("sub")])
        assert set(subjects) <= requested
        assert made == {
            **policy_edit.build_statement(CLUSTER, Subject(subjects[0], operator == "StringLike"), options.audience),
            "Condition": made["Condition"],
        }
        assert made["Condition"]["StringEquals"][CLUSTER.get_condition_key("aud")] == options.audience
    check_never_wider(old, new, requested)


def check_never_wider(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], requested: set[str]) -> None:
    known = {_open(statement) for statement in old}
    for statement in new:
        assert _open(statement) is None or _open(statement) in known, "an audience-only condition"
    assert _wildcards(new) <= _wildcards(old) | requested, "a wildcard that nobody requested"
    for _name, _key, value in (condition for statement in new for condition in policy.iterate_conditions(statement)):
        assert value != [], "a condition without a value"


def _open(statement: Mapping[str, Any]) -> Any:
    """The form of a statement of this provider without a condition on the subject; None for any other."""
    if not ours(statement):
        return None
    keys = [key.lower() for _name, key, _value in policy.iterate_conditions(statement)]
    return None if CLUSTER.get_condition_key("sub").lower() in keys else json.dumps(blanked(statement), sort_keys=True)


def _wildcards(statements: Sequence[Mapping[str, Any]]) -> set[str]:
    return {
        value
        for statement in statements
        if ours(statement)
        for subject in policy.list_named_subjects(statement, CLUSTER)
        if subject.is_pattern
        for value in [subject.value]
    }


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(documents(), _BINDINGS, st.booleans(), st.booleans())
def test_exactly_the_requested_subjects_change(
    document: dict[str, Any], bindings: list[Binding], explicit: bool, purge: bool
) -> None:
    check_edit(document, bindings, explicit, purge)


@pytest.mark.full
@hypothesis.settings(max_examples=20_000, deadline=None)
@hypothesis.given(documents(), _BINDINGS, st.booleans(), st.booleans())
def test_exactly_the_requested_subjects_change_in_20000_documents(
    document: dict[str, Any], bindings: list[Binding], explicit: bool, purge: bool
) -> None:
    check_edit(document, bindings, explicit, purge)


def check_edit(document: dict[str, Any], bindings: list[Binding], explicit: bool, purge: bool) -> None:
    try:
        plan.check_contradictions(bindings)
    except IrsaError:
        hypothesis.reject()
    options = PolicyOptions(explicit_subjects=explicit, purge=purge, allow_empty=True)
    untouched = copy.deepcopy(document)
    decided = plan.make_plan("role", document, bindings, options, None)
    assert document == untouched
    assert decided.after is not None
    again = plan.make_plan("role", decided.after, bindings, options, None)
    assert not again.has_changes, "a second run would write"
    if decided.rejection_reason:
        assert not decided.has_changes
        return

    before, after = allowed(document), allowed(decided.after)
    requested_subjects = [subject for binding in bindings if binding.is_present for subject in binding.subjects]
    dropped = [subject for binding in bindings if not binding.is_present for subject in binding.subjects]
    for provider, subject, audience in UNIVERSE:
        was, now = ((provider, subject, audience) in access for access in (before, after))
        message = f"{subject} of {provider.issuer} for {audience}: {was} -> {now}"
        if provider != CLUSTER:
            assert was == now, message
            continue
        if now and not was:
            assert under(subject, requested_subjects), message
        if was and not now:
            assert purge or under(subject, dropped), message
        if purge and now:
            # A requested wildcard trusts more than the names, and nothing else does.
            assert under(subject, requested_subjects), message
    for binding_plan in decided.bindings:
        for subject in binding_plan.binding.subjects:
            verdict = policy.evaluate(decided.after, CLUSTER, subject, STS if binding_plan.binding.is_present else None)
            if binding_plan.status != "failed":
                assert verdict.is_allowed == binding_plan.binding.is_present
            elif binding_plan.binding.is_present:
                assert not all(verdict.is_allowed for _dummy, verdict in binding_plan.verdicts)  # a Deny overrules
            else:
                # Statements that name it are narrowed, or reported as blocking: only wider statements may remain.
                named = any(match.how == policy.NAME for match in binding_plan.still_allowed_by)
                assert "trusts every principal" in binding_plan.reason or (binding_plan.still_allowed_by and not named)
    if not purge:
        check_nothing_else_changed(document, decided.after, bindings, options)
    else:
        old, new = policy.list_statements(document), policy.list_statements(decided.after)
        requested = {subject.value for subject in requested_subjects}
        check_never_wider(old, new, requested)
        left = iter(new)
        assert all(any(statement == found for found in left) for statement in old if not ours(statement)), (
            "another's statement changed"
        )


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(documents())
def test_shortening_keeps_the_meaning_of_every_document(document: dict[str, Any]) -> None:
    shortened = policy_edit.shorten(document, CLUSTER)
    assert allowed(shortened) == allowed(document)
    assert policy_edit.count_characters(shortened) <= policy_edit.count_characters(document)
    assert policy_edit.shorten(shortened, CLUSTER) == shortened
