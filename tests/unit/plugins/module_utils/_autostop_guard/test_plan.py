# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of a guard's trigger are created, updated, deleted or left unchanged, and their names."""

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

LOCATION = GuardLocation("guard", "eu-central-1", "123456789012")


def current_state(options: Optional[GuardOptions] = None, **changes: Any) -> dict[str, Any]:
    """A region in the desired state, except for these changes."""
    mapping = {"uuid": "u", "arn": "a"}
    found: dict[str, Any] = {
        kind: dict(part) for kind, part in plan.build_desired(LOCATION, options or GuardOptions()).items()
    }
    found[plan.MAPPING].update(mapping)
    for kind, change in changes.items():
        found[kind] = None if change is None else {**found[kind], **change}
    return found


def changes(
    found: dict[str, Any], should_exist: bool = True, options: Optional[GuardOptions] = None
) -> dict[str, GuardChange]:
    return {
        change.kind: change for change in plan.plan_changes(LOCATION, options or GuardOptions(), found, should_exist)
    }


def actions(
    found: dict[str, Any], should_exist: bool = True, options: Optional[GuardOptions] = None
) -> list[Optional[str]]:
    return [change.action for change in changes(found, should_exist, options).values()]


def test_in_an_empty_region_everything_is_made_and_nothing_removed() -> None:
    empty: dict[str, Any] = dict.fromkeys(plan.CREATE_ORDER)
    assert actions(empty) == ["create"] * 4
    assert actions(empty, should_exist=False) == [None] * 4


def test_what_is_as_it_should_be_stays() -> None:
    assert actions(current_state()) == [None] * 4
    assert actions(current_state(), should_exist=False) == ["delete"] * 4


def test_what_listens_is_there_before_what_speaks_and_goes_after_it() -> None:
    made = list(changes(dict.fromkeys(plan.CREATE_ORDER)))
    assert made.index(plan.MAPPING) < made.index(model.EVENT_RULE)
    assert list(changes(current_state(), should_exist=False)) == made[::-1]


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
def test_only_the_part_that_differs_is_updated(kind: str, change: dict[str, Any]) -> None:
    found = changes(current_state(**{kind: change}))
    assert {name: change.action for name, change in found.items() if change.action} == {kind: "update"}
    assert next(iter(change)) in found[kind].reason


def test_tags_that_others_have_added_stay() -> None:
    tags = {OWNER_TAG: "guard", "cost-center": "7"}
    assert actions(current_state(alarm={"tags": tags})) == [None] * 4
    after = changes(current_state(alarm={"tags": tags}), options=GuardOptions(tags={"team": "data"}))[model.ALARM].after
    assert after
    assert after["tags"] == {**tags, "team": "data"}


@pytest.mark.parametrize("should_exist", [True, False])
@pytest.mark.parametrize("tags", [{}, {OWNER_TAG: "another"}])
@pytest.mark.parametrize("kind", plan.CREATE_ORDER)
def test_an_unmanaged_part_is_left_unchanged(kind: str, tags: dict[str, str], should_exist: bool) -> None:
    change = changes(current_state(**{kind: {"tags": tags}}), should_exist)[kind]
    assert (change.action, change.unmanaged) == (None, True)


def test_events_of_instances_count_where_instances_are_included() -> None:
    plain = plan.build_desired(LOCATION, GuardOptions())[model.EVENT_RULE]["pattern"]
    both = plan.build_desired(LOCATION, GuardOptions(include_instances=True))[model.EVENT_RULE]["pattern"]
    assert plain["detail-type"] == ["RDS DB Cluster Event"]
    assert plain["detail"]["EventID"] == ["RDS-EVENT-0153", "RDS-EVENT-0151"]
    assert both["detail-type"] == ["RDS DB Cluster Event", "RDS DB Instance Event"]
    assert set(both["detail"]["EventID"]) == {f"RDS-EVENT-{number}" for number in ("0153", "0151", "0154", "0088")}


def test_names_come_from_the_prefix_and_fit() -> None:
    longest = GuardLocation("p" * 40, "ap-southeast-99", "123456789012")
    assert all(name.removeprefix("/aws/lambda/").startswith("p" * 40) for name in longest.names.values())
    assert max(len(name) for kind, name in longest.names.items() if kind != model.LOG_GROUP) <= 64
    assert LOCATION.arns[model.EVENT_RULE] == "arn:aws:events:eu-central-1:123456789012:rule/guard-events"
    assert LOCATION.arns[model.ROLE] == "arn:aws:iam::123456789012:role/guard-eu-central-1"
    china = GuardLocation("guard", "cn-north-1", "1", "aws-cn")
    assert all(arn.startswith("arn:aws-cn:") for arn in china.arns.values())


@pytest.mark.parametrize("prefix", ["", "-a", "p" * 41, "a/b", "a b", "a*"])
def test_a_prefix_that_cannot_begin_names_is_refused(prefix: str) -> None:
    with pytest.raises(PrefixError, match="1 to 40"):
        GuardLocation(prefix, "eu-central-1", "1")


def test_present_and_unmanaged_parts() -> None:
    found = GuardState(
        LOCATION, {"queue": {OWNER_TAG: "guard"}, "role": {OWNER_TAG: "another"}, "alarm": {}, "function": None}
    )
    assert found.present == ["queue"]
    assert found.unmanaged == ["role", "alarm"]
