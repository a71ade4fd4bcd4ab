# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every document and request: who may assume the role afterwards, and that all else is as it was."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import plan, policy
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import Binding, IrsaError, PolicyOptions, Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.documents import (
    PATTERNS,
    SUBJECTS,
    UNIVERSE,
    documents,
)
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.things import CLUSTER, STS

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


def under(subject: Subject, asked: Sequence[Subject]) -> bool:
    return any(one == subject or (one.is_pattern and policy.matches_glob(one.value, subject.value)) for one in asked)


def blanked(statement: Mapping[str, Any]) -> Any:
    """A statement without what may change in it: the values of this provider's subjects, and the provider itself
    where it is one of several principals.
    """
    told: Any = copy.deepcopy(dict(statement))
    for name, keys in told.get("Condition", {}).items():
        for key in keys:
            if (
                key.lower() == CLUSTER.get_condition_key("sub").lower()
                and policy.ConditionOperator.parse(name).is_allowlist
            ):
                keys[key] = "..."
    if isinstance(told["Principal"], dict):
        listed = [one for one in policy.to_list(told["Principal"].get("Federated", [])) if one != CLUSTER.arn]
        told["Principal"]["Federated"] = listed
    return told


def ours(statement: Mapping[str, Any]) -> bool:
    return statement["Effect"] == "Allow" and (
        CLUSTER.arn in policy.list_federated_principals(statement) or statement["Principal"] in ("*", {"AWS": "*"})
    )


def check_nothing_else_changed(
    before: Mapping[str, Any], after: Mapping[str, Any], bindings: Sequence[Binding], wish: PolicyOptions
) -> None:
    assert {**before, "Statement": 0} == {**after, "Statement": 0}
    old, new = policy.list_statements(before), policy.list_statements(after)
    asked = {subject.value for one in bindings if one.is_present for subject in one.subjects}
    kept = []
    rest = list(old)
    for place, statement in enumerate(new):
        while rest and blanked(rest[0]) != blanked(statement):
            gone = rest.pop(0)
            # What is gone was of this provider, and not of this one only for nothing.
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
        assert set(subjects) <= asked
        assert made == {
            **policy.build_statement(CLUSTER, Subject(subjects[0], operator == "StringLike"), wish.audience),
            "Condition": made["Condition"],
        }
        assert made["Condition"]["StringEquals"][CLUSTER.get_condition_key("aud")] == wish.audience
    check_never_wider(old, new, asked)


def check_never_wider(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], asked: set[str]) -> None:
    known = {_open(one) for one in old}
    for statement in new:
        assert _open(statement) is None or _open(statement) in known, "an audience-only condition"
    assert _wildcards(new) <= _wildcards(old) | asked, "a wildcard that nobody asked for"
    for _name, _key, value in (one for statement in new for one in policy.iterate_conditions(statement)):
        assert value != [], "a condition without a value"


def _open(statement: Mapping[str, Any]) -> Any:
    """What a statement of this provider looks like that names no subject; None for any other."""
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


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(documents(), _BINDINGS, st.booleans(), st.booleans())
def test_exactly_what_was_asked_changes(
    document: dict[str, Any], bindings: list[Binding], explicit: bool, purge: bool
) -> None:
    try:
        plan.check_contradictions(bindings)
    except IrsaError:
        hypothesis.reject()
    wish = PolicyOptions(explicit_subjects=explicit, purge=purge, allow_empty=True)
    untouched = copy.deepcopy(document)
    decided = plan.make_plan("role", document, bindings, wish, None)
    assert document == untouched
    assert decided.after is not None
    again = plan.make_plan("role", decided.after, bindings, wish, None)
    assert not again.has_changes, "a second run would write"
    if decided.rejection_reason:
        assert not decided.has_changes
        return

    before, after = allowed(document), allowed(decided.after)
    wanted = [subject for one in bindings if one.is_present for subject in one.subjects]
    dropped = [subject for one in bindings if not one.is_present for subject in one.subjects]
    for provider, subject, audience in UNIVERSE:
        was, now = ((provider, subject, audience) in one for one in (before, after))
        told = f"{subject} of {provider.issuer} for {audience}: {was} -> {now}"
        if provider != CLUSTER:
            assert was == now, told
            continue
        if now and not was:
            assert under(subject, wanted), told
        if was and not now:
            assert purge or under(subject, dropped), told
        if purge and now:
            # A wildcard that was asked for lets in more than is named, and nothing else does.
            assert under(subject, wanted), told
    for one in decided.bindings:
        for subject in one.binding.subjects:
            verdict = policy.evaluate(decided.after, CLUSTER, subject, STS if one.binding.is_present else None)
            if one.status != "failed":
                assert verdict.is_allowed == one.binding.is_present
            elif one.binding.is_present:
                assert not all(one.is_allowed for _dummy, one in one.verdicts)  # a Deny overrules
            else:
                # What names it to the letter is narrowed, or said to be stuck: only what is wider may be left.
                named = any(match.how == policy.NAME for match in one.still_allowed_by)
                assert "trusts every principal" in one.reason or (one.still_allowed_by and not named)
    if not purge:
        check_nothing_else_changed(document, decided.after, bindings, wish)
    else:
        old, new = policy.list_statements(document), policy.list_statements(decided.after)
        asked = {subject.value for subject in wanted}
        check_never_wider(old, new, asked)
        left = iter(new)
        assert all(any(one == found for found in left) for one in old if not ours(one)), "another's statement changed"


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(documents())
def test_squeezing_keeps_the_meaning_of_every_document(document: dict[str, Any]) -> None:
    squeezed = policy.shorten(document, CLUSTER)
    assert allowed(squeezed) == allowed(document)
    assert policy.count_characters(squeezed) <= policy.count_characters(document)
    assert policy.shorten(squeezed, CLUSTER) == squeezed
