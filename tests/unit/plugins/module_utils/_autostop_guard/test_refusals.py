# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What prevents every change of a trigger, and what remains known if a reading fails."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils import _aws_call
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import apply, plan
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import (
    OWNER_TAG,
    GuardLocation,
    GuardState,
)
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.plan import GuardOptions
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._autostop.responses import RefusedError

LOCATION = GuardLocation("guard", "eu-central-1", "123456789012")
OWNED = {OWNER_TAG: "guard"}
EMPTY: dict[str, Any] = dict.fromkeys(plan.CREATE_ORDER)


def changes(found: dict[str, Any]) -> Any:
    return plan.plan_changes(LOCATION, GuardOptions(), found, should_exist=True)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"function": OWNED, "queue": OWNED}, None),
        ({"function": None, "queue": OWNED}, "function guard does not exist"),
        ({"function": OWNED, "queue": None}, "queue guard does not exist"),
        ({"function": {}, "queue": OWNED}, "function guard has no tag of this guard"),
        ({"function": OWNED, "queue": {OWNER_TAG: "another"}}, "queue guard has no tag of this guard"),
    ],
)
def test_function_and_queue_come_first(tags: dict[str, Any], text: Optional[str]) -> None:
    reason = plan.get_refusal_reason(LOCATION, changes(EMPTY), GuardState(LOCATION, tags))
    assert (text in reason) if text and reason else reason is text
    assert plan.get_refusal_reason(LOCATION, changes(EMPTY), None) is None


def test_an_unmanaged_part_prevents_every_change() -> None:
    found = changes({**EMPTY, "alarm": {"tags": {}}})
    reason = plan.get_refusal_reason(LOCATION, found, None)
    assert reason
    assert "alarm guard-dlq" in reason
    results = apply.refuse_changes(found, reason)
    assert {result.fields["kind"]: result.status for result in results} == {
        "event_source_mapping": "failed",
        "event_rule": "failed",
        "sweep_rule": "failed",
        "alarm": "skipped",
    }
    assert all(result.before == result.after for result in results)


def test_all_results_of_a_part_have_the_same_keys() -> None:
    found = changes(EMPTY)
    results = [*apply.preview(found), *apply.refuse_changes(found, "no.")]
    assert len({frozenset(result.to_dict()) for result in results}) == 1


class Service:
    """Accepts every write, and rejects every reading."""

    class Meta:
        class service_model:  # noqa: N801
            signing_name = "events"

    meta = Meta

    def __getattr__(self, method: str) -> Any:
        def respond(**_arguments: Any) -> dict[str, Any]:
            if method.startswith(("describe", "list", "get")):
                raise RefusedError("Throttling", "Rate exceeded")
            return {}

        return respond


def test_a_reading_that_fails_after_the_writes_leaves_them_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aws_call, "CLIENT_ERRORS", (RefusedError,))
    service = Service()
    results = apply.apply_changes(apply.GuardClients(service, service, service), LOCATION, changes(EMPTY))
    assert [result.status for result in results] == ["changed"] * 4
    assert {result.fields["verified"] for result in results} == {False}
    assert all("Rate exceeded" in result.reason for result in results)
