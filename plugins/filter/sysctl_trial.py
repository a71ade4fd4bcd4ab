# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role sysctl_trial; the YAML files beside it document them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils._sysctl_nodegroup import trial


def parse_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def read_state(lines: Sequence[str]) -> dict[str, Any]:
    try:
        return trial.parse_state(lines, parse_yaml).to_dict()
    except trial.TrialError as error:
        raise AnsibleFilterError(f"sysctl_trial_state: {error}") from error


def plan_trial(lines: Sequence[str], node: Mapping[str, Any], name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return trial.plan_trial(trial.parse_state(lines, parse_yaml), node, name, values, parse_yaml)
    except trial.TrialError as error:
        raise AnsibleFilterError(f"sysctl_trial_plan: {error}") from error


def parse_values(text: Any) -> dict[str, Any]:
    try:
        return trial.parse_values(text)
    except trial.TrialError as error:
        raise AnsibleFilterError(f"sysctl_trial_sysctls: {error}") from error


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "sysctl_trial_plan": plan_trial,
            "sysctl_trial_state": read_state,
            "sysctl_trial_values": parse_values,
        }
