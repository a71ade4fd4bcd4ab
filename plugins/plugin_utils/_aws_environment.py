# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the AWS variables of a task's C(environment:) on the controller, for actions whose hosts need no AWS keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hide_aws_environment(action: Any) -> Iterator[dict[str, str]]:
    """Yields the task's AWS variables. Modules that the action runs meanwhile get only other variables (a proxy)."""
    given = action._task.environment
    merged: dict[str, Any] = {}
    action._compute_environment_string(merged)
    mine = {name: str(value) for name, value in merged.items() if name.startswith("AWS_")}
    action._task.environment = [{name: value for name, value in merged.items() if name not in mine}]
    try:
        yield mine
    finally:
        # The task may run again (until, retries).
        action._task.environment = given
