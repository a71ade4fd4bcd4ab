# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The default schedule of the sweep stands in one place; documentation and role follow it."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.model import DEFAULT_SWEEP_SCHEDULE
from ansible_collections.daytwo.aws.plugins.module_utils._autostop_guard.plan import GuardOptions
from ansible_collections.daytwo.aws.plugins.modules import aurora_autostop_trigger

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
