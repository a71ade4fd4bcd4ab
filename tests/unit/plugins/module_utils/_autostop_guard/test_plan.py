# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a guard's trigger is made, changed, removed, or left alone, and by which names."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import model, plan
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import (
    OWNER_TAG,
    GuardLocation,
    GuardState,
    PrefixError,
)
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.plan import GuardChange, GuardOptions

PLACE = GuardLocation("guard", "eu-central-1", "123456789012")


def seen(wish: Optional[GuardOptions] = None, **changes: Any) -> dict[str, Any]:
    """A region in which everything is as wished, but for these."""
    mapping = {"uuid": "u", "arn": "a"}
    found: dict[str, Any] = {kind: dict(one) for kind, one in plan.build_desired(PLACE, wish or GuardOptions()).items()}
    found[plan.MAPPING].update(mapping)
    for kind, change in changes.items():
        found[kind] = None if change is None else {**found[kind], **change}
    return found


def changes(found: dict[str, Any], present: bool = True, wish: Optional[GuardOptions] = None) -> dict[str, GuardChange]:
    return {change.kind: change for change in plan.plan_changes(PLACE, wish or GuardOptions(), found, present)}


def actions(found: dict[str, Any], present: bool = True, wish: Optional[GuardOptions] = None) -> list[Optional[str]]:
    return [change.action for change in changes(found, present, wish).values()]


def test_in_an_empty_region_everything_is_made_and_nothing_removed() -> None:
    empty: dict[str, Any] = dict.fromkeys(plan.CREATE_ORDER)
    assert actions(empty) == ["create"] * 4
    assert actions(empty, present=False) == [None] * 4


def test_what_is_as_it_should_be_stays() -> None:
    assert actions(seen()) == [None] * 4
    assert actions(seen(), present=False) == ["delete"] * 4


def test_what_listens_is_there_before_what_speaks_and_goes_after_it() -> None:
    made = list(changes(dict.fromkeys(plan.CREATE_ORDER)))
    assert made.index(plan.MAPPING) < made.index(model.EVENT_RULE)
    assert list(changes(seen(), present=False)) == made[::-1]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (plan.MAPPING, {"FunctionResponseTypes": []}),
        (plan.MAPPING, {"Enabled": False}),
        (plan.MAPPING, {"MaximumConcurrency": None}),
        (model.EVENT_RULE, {"pattern": {"source": ["aws.rds"]}}),
        (model.EVENT_RULE, {"targets": {}}),
        (model.SWEEP_RULE, {"schedule": "rate(7 days)"}),
        (model.SWEEP_RULE, {"state": "DISABLED"}),
        (model.ALARM, {"Threshold": 5.0}),
        (model.ALARM, {"AlarmActions": ["arn:somebody"]}),
        (model.ALARM, {"ActionsEnabled": False}),
    ],
)
def test_what_differs_is_mended_alone(kind: str, change: dict[str, Any]) -> None:
    found = changes(seen(**{kind: change}))
    assert {name: one.action for name, one in found.items() if one.action} == {kind: "update"}
    assert next(iter(change)) in found[kind].reason


def test_tags_that_others_have_added_stay() -> None:
    tags = {OWNER_TAG: "guard", "cost-center": "7"}
    assert actions(seen(alarm={"tags": tags})) == [None] * 4
    after = changes(seen(alarm={"tags": tags}), wish=GuardOptions(tags={"team": "data"}))[model.ALARM].after
    assert after
    assert after["tags"] == {**tags, "team": "data"}


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("tags", [{}, {OWNER_TAG: "another"}])
@pytest.mark.parametrize("kind", plan.CREATE_ORDER)
def test_somebody_elses_thing_is_left_alone(kind: str, tags: dict[str, str], present: bool) -> None:
    change = changes(seen(**{kind: {"tags": tags}}), present)[kind]
    assert (change.action, change.unmanaged) == (None, True)


def test_events_of_instances_count_where_instances_are_included() -> None:
    plain = plan.build_desired(PLACE, GuardOptions())[model.EVENT_RULE]["pattern"]
    both = plan.build_desired(PLACE, GuardOptions(include_instances=True))[model.EVENT_RULE]["pattern"]
    assert plain["detail-type"] == ["RDS DB Cluster Event"]
    assert plain["detail"]["EventID"] == ["RDS-EVENT-0153", "RDS-EVENT-0151"]
    assert both["detail-type"] == ["RDS DB Cluster Event", "RDS DB Instance Event"]
    assert set(both["detail"]["EventID"]) == {f"RDS-EVENT-{number}" for number in ("0153", "0151", "0154", "0088")}


def test_names_come_from_the_prefix_and_fit() -> None:
    longest = GuardLocation("p" * 40, "ap-southeast-99", "123456789012")
    assert all(name.removeprefix("/aws/lambda/").startswith("p" * 40) for name in longest.names.values())
    assert max(len(name) for kind, name in longest.names.items() if kind != model.LOG_GROUP) <= 64
    assert PLACE.arns[model.EVENT_RULE] == "arn:aws:events:eu-central-1:123456789012:rule/guard-events"
    assert PLACE.arns[model.ROLE] == "arn:aws:iam::123456789012:role/guard-eu-central-1"
    china = GuardLocation("guard", "cn-north-1", "1", "aws-cn")
    assert all(arn.startswith("arn:aws-cn:") for arn in china.arns.values())


@pytest.mark.parametrize("prefix", ["", "-a", "p" * 41, "a/b", "a b", "a*"])
def test_a_prefix_that_cannot_begin_names_is_refused(prefix: str) -> None:
    with pytest.raises(PrefixError, match="1 to 40"):
        GuardLocation(prefix, "eu-central-1", "1")


def test_whose_things_are() -> None:
    found = GuardState(
        PLACE, {"queue": {OWNER_TAG: "guard"}, "role": {OWNER_TAG: "another"}, "alarm": {}, "function": None}
    )
    assert found.present == ["queue"]
    assert found.unmanaged == ["role", "alarm"]
