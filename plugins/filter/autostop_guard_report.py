# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter of the role aurora_autostop; autostop_guard_report.yml documents it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..module_utils._autostop_guard.report import build_region_report


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"autostop_guard_report": build_region_report}
