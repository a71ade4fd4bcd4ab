# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of autostop return is what they document, and their defaults stand in one place."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.daytwo.aws.plugins.module_utils._autostop import plan, report, run
from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AuroraCluster
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard import apply
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import DEFAULT_SWEEP_SCHEDULE
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.plan import GuardChange, GuardOptions
from ansible_collections.daytwo.aws.plugins.modules import (
    aurora_autostop,
    aurora_autostop_info,
    aurora_autostop_trigger,
)

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/aurora_autostop"
VARIABLE = "aurora_autostop_sweep_schedule"


def test_the_modules_default_is_documented() -> None:
    option = yaml.safe_load(aurora_autostop_trigger.DOCUMENTATION)["options"]["sweep_schedule"]
    assert option["default"] == DEFAULT_SWEEP_SCHEDULE == GuardOptions().sweep_schedule
    assert f"`{DEFAULT_SWEEP_SCHEDULE}`" in (ROOT / "docs/aurora_autostop.md").read_text()


def test_role_and_form_leave_the_default_to_the_module() -> None:
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert "default" not in options[VARIABLE]
    assert VARIABLE not in yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    form = json.loads((ROOT / "playbooks/aurora_autostop_guard.survey.json").read_text())
    (question,) = [question for question in form["spec"] if question["variable"] == VARIABLE]
    assert question["default"] == ""


def returned(module: ModuleType) -> dict[str, Any]:
    return dict(yaml.safe_load(module.RETURN))


@pytest.mark.parametrize("module", [aurora_autostop, aurora_autostop_info])
@pytest.mark.parametrize("status", ["ok", "changed", "skipped", "pending", "failed"])
def test_every_item_has_the_documented_keys(module: ModuleType, status: str) -> None:
    cluster = AuroraCluster("arn:aws:rds:eu-central-1:123456789012:cluster:a", "a", "aurora-mysql", "available")
    outcome = run.DatabaseOutcome(plan.AutostopDecision(cluster, status, "Why."), status, "Why.", "available")
    regions = [
        run.RegionOutcome("eu-central-1", (outcome,)),
        run.RegionOutcome("us-west-2", error="denied."),
        run.RegionOutcome("eu-west-1", skip_reason="denied."),
    ]
    result = report.build_result(regions)
    documented = returned(module)
    assert set(documented) == set(result) - {"changed", "failed", "warnings"}
    assert set(result["clusters"][0]) == set(documented["clusters"]["contains"])
    assert {frozenset(region) for region in result["regions"]} == {frozenset(documented["regions"]["sample"][0])}
    assert set(result["totals"]) == set(documented["totals"]["sample"])
    assert set(report.build_failure("Why.")) == set(result)


def test_every_part_has_the_documented_keys() -> None:
    change = GuardChange("alarm", "guard-dlq", "create", None, {}, "It does not exist yet.")
    (part,) = apply.preview([change])
    assert set(part.to_dict()) == set(returned(aurora_autostop_trigger)["parts"]["contains"])
