# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan by tables: the ten hard cases (docs/facts/irsa.md#hard-cases), and related ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._irsa import plan, policy, policy_edit
from ansible_collections.daytwo.aws.plugins.module_utils._irsa.model import Binding, IrsaError, PolicyOptions, Subject
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._irsa.builders import (
    CLUSTER,
    GITHUB_STATEMENT,
    OTHER,
    SERVICE,
    STS,
    document,
    sub,
    trust,
    value,
)

A, B = sub("a", "one"), sub("b", "two")
ALL_OF_B = sub("b", "*")
SUB, AUD = CLUSTER.get_condition_key("sub"), CLUSTER.get_condition_key("aud")
FENCE = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}


def present(*subjects: Subject, provider: Any = CLUSTER) -> Binding:
    return Binding("lbc", provider, subjects or (B,))


def absent(*subjects: Subject, provider: Any = CLUSTER) -> Binding:
    return Binding("lbc", provider, subjects or (B,), is_present=False)


def decide(trust_policy: Any, *bindings: Binding, quota: int | None = 2048, **options: Any) -> plan.RolePlan:
    before = copy.deepcopy(trust_policy)
    decided = plan.make_plan("lbc", trust_policy, bindings, PolicyOptions(**options), quota)
    assert trust_policy == before
    if (
        decided.has_changes
        and decided.after is not None
        and not any(binding_plan.status == "failed" for binding_plan in decided.bindings)
    ):
        again = plan.make_plan("lbc", decided.after, bindings, PolicyOptions(**options), quota)
        assert not again.has_changes, "a second run would write"
        assert plan.list_missing(decided.after, decided.bindings, PolicyOptions(**options)) == []
    return decided


def only(decided: plan.RolePlan) -> plan.BindingPlan:
    (binding_plan,) = decided.bindings
    return binding_plan


# 1. String sub, add one: an array of both, the rest deep-equal; the second run writes nothing (decide() checks).
def test_case_1_a_string_becomes_an_array_of_both() -> None:
    before = document(SERVICE, trust(A.value), Id="x")
    decided = decide(before, present())
    expected = copy.deepcopy(before)
    expected["Statement"][1]["Condition"]["StringEquals"][SUB] = [A.value, B.value]
    assert decided.after == expected
    assert (only(decided).status, only(decided).added) == ("changed", (B,))
    assert only(decided).reason == "Added. b/two allowed, by Statement[1]."
    assert decided.steps[0].reason == "+ b/two"


# 2. A wildcard beside StringEquals: a separate StringLike statement; old and new both allowed.
def test_case_2_a_wildcard_gets_a_statement_of_its_own() -> None:
    decided = decide(document(trust(A.value)), present(ALL_OF_B))
    assert decided.after == document(trust(A.value), trust(ALL_OF_B.value, operator="StringLike"))
    for subject in (A, B, sub("b", "any")):
        assert policy.evaluate(decided.after, CLUSTER, subject).is_allowed
    assert not policy.evaluate(decided.after, CLUSTER, sub("c", "any")).is_allowed


# 3. sub under both operators: never edit only one of them; a statement is added.
def test_case_3_of_two_operators_none_is_edited() -> None:
    both = {**trust(), "Condition": {"StringEquals": {AUD: STS, SUB: A.value}, "StringLike": {SUB: "system:*"}}}
    decided = decide(document(both), present())
    assert decided.after == document(both, trust(B.value))


# 4. Two cluster statements: only the target. A Federated list of two: a new statement.
def test_case_4_only_the_clusters_own_statement_changes() -> None:
    decided = decide(document(trust(A.value, provider=OTHER), trust(A.value)), present())
    assert decided.after == document(trust(A.value, provider=OTHER), trust(A.value, B.value))
    shared = {**trust(A.value), "Principal": {"Federated": [CLUSTER.arn, OTHER.arn]}}
    assert decide(document(shared), present()).after == document(shared, trust(B.value))


# 5. Another condition: preserved, and reported.
def test_case_5_another_condition_stays_and_is_inherited() -> None:
    fenced = trust(A.value)
    fenced["Condition"].update(FENCE)
    decided = decide(document(fenced), present())
    expected = trust(A.value, B.value)
    expected["Condition"].update(FENCE)
    assert decided.after == document(expected)
    assert only(decided).verdicts[0][1].allowed_by[0].conditions == ('IpAddress aws:SourceIp: "192.0.2.0/24"',)
    assert only(decided).warnings == ('b/two: Statement[0] also requires IpAddress aws:SourceIp: "192.0.2.0/24".',)


# 6. GitHub, service and Deny statements, Id, Sids: deep-equal. A matching Deny is reported.
def test_case_6_everything_else_stays_and_a_deny_is_reported() -> None:
    deny = {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "sts:*", "Condition": {"Null": {AUD: "true"}}}
    before = document(GITHUB_STATEMENT, SERVICE, deny, {**trust(A.value), "Sid": "Mine"}, Id="x")
    decided = decide(before, present())
    assert decided.after is not None
    for index in range(3):
        assert decided.after["Statement"][index] == before["Statement"][index]
    assert {**decided.after, "Statement": None} == {**before, "Statement": None}
    assert only(decided).status == "changed"

    before["Statement"][2] = {**trust(B.value), "Effect": "Deny", "Sid": "No"}
    decided = decide(before, present(A, B))
    assert only(decided).status == "failed"
    assert "b/two is denied by Statement[2] (No), and a Deny overrules" in only(decided).reason
    assert "b/two: a Deny overrules the Allow: Statement[2] (No)." in only(decided).warnings
    assert not decided.has_changes

    before["Statement"][2]["Condition"].update(FENCE)
    decided = decide(before, present())
    assert only(decided).status == "changed"
    assert "Statement[2] (No) may deny it, depending on IpAddress" in only(decided).warnings[0]


# 7. The last sub removes its statement; the only statement is rejected. Never an audience-only condition.
def test_case_7_the_last_subject_removes_its_statement() -> None:
    decided = decide(document(SERVICE, trust(B.value)), absent())
    assert decided.after == document(SERVICE)
    assert only(decided).removed == (B,)

    refused = decide(document(trust(B.value)), absent())
    assert not refused.has_changes
    assert only(refused).status == "failed"
    assert "would have no statement left" in only(refused).reason
    assert "Delete the role" in only(refused).reason

    replaced = decide(document(trust(B.value)), absent(), present(A))
    assert replaced.after == document(trust(A.value))


# 8. Over the quota: size, quota and suggestions; unchanged.
def test_case_8_over_the_quota() -> None:
    many = [sub("namespace", f"service-account-{number:03}") for number in range(40)]
    before = document(trust(A.value))
    decided = decide(before, present(*many))
    size = policy_edit.count_characters(document(trust(A.value, *(subject.value for subject in many))))
    assert size > 2048
    assert not decided.has_changes
    assert only(decided).status == "failed"
    for text in (f"{size} characters", "quota is 2048", "higher quota", "split the role", "Pod Identity"):
        assert text in only(decided).reason
    assert decide(before, present(*many), quota=4096).has_changes
    assert decide(before, present(*many), quota=None).has_changes  # the quota is unknown: IAM decides


# 9. A missing aud: a warning, nothing added silently; a custom aud stays; ForAllValues does not count as trust.
def test_case_9_audiences_and_set_operators() -> None:
    decided = decide(document(trust(A.value, aud=None)), present())
    assert decided.after == document(trust(A.value, B.value, aud=None))
    assert only(decided).warnings == (
        "b/two: Statement[0] does not check the audience. Add a condition on aud for sts.amazonaws.com.",
    )

    custom = trust(A.value, aud="vault")
    assert decide(document(custom), present()).after == document(custom, trust(B.value))
    assert decide(document(custom), present(), audience="vault").after == document(trust(A.value, B.value, aud="vault"))

    loose = trust(A.value, operator="ForAllValues:StringEquals")
    decided = decide(document(loose), present(A))
    assert decided.after == document(loose, trust(A.value))
    assert "ForAllValues" in only(decided).warnings[0]


# 10. Another writer's write between read and write is in test_run.py: it concerns more than the document.


def test_a_wildcard_covers_a_requested_subject() -> None:
    trust_policy = document(trust(ALL_OF_B.value, operator="StringLike"))
    decided = decide(trust_policy, present())
    assert not decided.has_changes
    assert only(decided).status == "ok"
    assert "a wildcard covers it: Statement[0]" in only(decided).warnings[0]
    explicit = decide(trust_policy, present(), explicit_subjects=True)
    assert explicit.after is not None
    assert B.value in policy_edit.render_compact(explicit.after)
    assert not only(explicit).warnings


def test_open_to_all_is_reported() -> None:
    decided = decide(document(trust()), present())
    assert not decided.has_changes
    assert "open to every service account" in only(decided).warnings[0]
    assert decide(document(trust()), present(), explicit_subjects=True).after == document(trust(), trust(B.value))


def test_removed_and_still_allowed_is_failed() -> None:
    trust_policy = document(trust(A.value, B.value), trust(ALL_OF_B.value, operator="StringLike"))
    decided = decide(trust_policy, absent())
    assert decided.after == document(
        {**trust(), "Condition": {"StringEquals": {AUD: STS, SUB: [A.value]}}},
        trust(ALL_OF_B.value, operator="StringLike"),
    )
    binding_plan = only(decided)
    assert (binding_plan.status, binding_plan.removed) == ("failed", (B,))
    assert [match.index for match in binding_plan.still_allowed_by] == [1]
    assert "Statement[1] still allows it, by a wildcard" in binding_plan.reason


def test_an_audience_of_another_kind_still_allows() -> None:
    decided = decide(document(trust(aud="vault"), trust(B.value)), absent())
    assert only(decided).status == "failed"
    assert [match.index for match in only(decided).still_allowed_by] == [0]


def test_a_denied_subject_is_absent() -> None:
    trust_policy = document(trust(), {**trust(B.value, aud=None), "Effect": "Deny"})
    assert only(decide(trust_policy, absent())).status == "ok"


def test_removing_a_wildcard_reports_who_is_left() -> None:
    trust_policy = document(trust(B.value), trust(ALL_OF_B.value, operator="StringLike"))
    decided = decide(trust_policy, absent(ALL_OF_B))
    assert decided.after == document(trust(B.value))
    assert only(decided).warnings == ("b/two can still assume the role by name, although b/* is removed.",)


def test_purge() -> None:
    trust_policy = document(SERVICE, trust(A.value, B.value), trust(), trust(A.value, provider=OTHER))
    decided = decide(trust_policy, present(), purge=True)
    assert decided.after == document(
        SERVICE,
        {**trust(), "Condition": {"StringEquals": {AUD: STS, SUB: [B.value]}}},
        trust(A.value, provider=OTHER),
    )
    assert [str(subject) for subject in decided.purged] == ["a/one", "*"]
    assert only(decided).status == "ok"
    assert decided.steps[0].reason == "- a/one (purge); - * (purge)"


def test_purge_of_everything_needs_allow_empty() -> None:
    trust_policy = document(SERVICE, trust(A.value, B.value))
    refused = decide(trust_policy, absent(), purge=True)
    assert not refused.has_changes
    assert refused.rejection_reason is not None
    assert "allow_empty=true" in refused.rejection_reason
    assert decide(trust_policy, absent(), purge=True, allow_empty=True).after == document(SERVICE)
    still = decide(document(trust(A.value, B.value)), absent(), purge=True, allow_empty=True)
    assert not still.has_changes
    assert "no statement left" in str(still.rejection_reason)


def test_purge_gives_a_wildcards_place_to_what_is_named() -> None:
    decided = decide(document(trust(ALL_OF_B.value, operator="StringLike")), present(), purge=True)
    assert decided.after == document(trust(B.value))
    assert only(decided).status == "changed"


def test_purge_does_not_narrow_a_statement_for_everybody() -> None:
    trust_policy = document({**trust(A.value), "Principal": "*"}, trust(B.value))
    refused = decide(trust_policy, present(), purge=True)
    assert "Statement[0]: the statement trusts every principal" in str(refused.rejection_reason)
    assert not refused.has_changes
    assert only(refused).status == "ok"  # that binding is in place anyway; the role's own result fails


def test_a_statement_for_everybody_keeps_its_last_subject() -> None:
    decided = decide(document({**trust(B.value), "Principal": "*"}, SERVICE), absent())
    assert only(decided).status == "failed"
    assert "trusts every principal" in only(decided).reason
    assert not decided.has_changes


def test_deleted_principals_are_reported_and_never_dropped() -> None:
    gone = {"Effect": "Allow", "Principal": {"AWS": "AROAEXAMPLEEXAMPLE123"}, "Action": "sts:AssumeRole"}
    refused = decide(document(gone, trust(A.value)), present())
    assert not refused.has_changes
    assert "AROAEXAMPLEEXAMPLE123" in only(refused).reason
    unchanged = decide(document(gone, trust(A.value)), present(A))
    assert only(unchanged).status == "ok"
    assert "AROAEXAMPLEEXAMPLE123" in unchanged.warnings[0]


def test_over_the_quota_a_shorter_form_of_the_same_meaning_is_taken() -> None:
    trust_policy = document(trust(A.value), trust(sub("c", "x").value), trust(sub("d", "x").value))
    added, _index = policy_edit.add(trust_policy, CLUSTER, [B], STS)
    short = policy_edit.count_characters(policy_edit.shorten(added, CLUSTER))
    decided = decide(trust_policy, present(), quota=short)
    assert decided.is_shortened
    assert decided.after == document(trust(A.value, B.value, sub("c", "x").value, sub("d", "x").value))
    assert not decide(trust_policy, present()).is_shortened
    assert "quota is" in only(decide(trust_policy, present(), quota=short - 1)).reason


def test_what_shrinks_is_written_though_it_stays_over_the_quota() -> None:
    assert decide(document(trust(A.value, B.value)), absent(), quota=10).has_changes


def test_a_role_that_does_not_exist() -> None:
    assert only(decide(None, absent())).status == "ok"
    refused = decide(None, present())
    assert only(refused).status == "failed"
    assert "create_role=true" in only(refused).reason
    created = decide(None, present(), absent(A), create_role=True)
    assert created.after == document(trust(B.value))
    assert created.before is None
    assert created.steps[0].action == plan.CREATE_ROLE
    assert [binding_plan.status for binding_plan in created.bindings] == ["changed", "ok"]
    nobody = decide(None, absent(), create_role=True)
    assert not nobody.has_changes


def test_sizes() -> None:
    decided = decide(document(trust(A.value)), present())
    before, after = decided.sizes
    assert before == policy_edit.count_characters(document(trust(A.value)))
    assert after == policy_edit.count_characters(document(trust(A.value, B.value)))


def test_a_subject_cannot_be_both() -> None:
    plan.check_contradictions([present(), absent(A), absent(provider=OTHER)])
    with pytest.raises(IrsaError, match="b/two is both present and absent for role lbc"):
        plan.check_contradictions([present(A, B), absent()])


def test_the_document_read_back_is_compared_with_the_plan() -> None:
    decided = decide(document(trust(A.value)), present())
    assert plan.list_missing(document(trust(A.value)), decided.bindings, PolicyOptions()) == [
        "b/two is denied: no statement allows it"
    ]
    removed = decide(document(trust(A.value, B.value)), absent())
    assert plan.list_missing(document(trust(A.value, B.value)), removed.bindings, PolicyOptions()) == [
        "b/two is allowed, by Statement[0]"
    ]
    assert value("a", "one") == A.value
