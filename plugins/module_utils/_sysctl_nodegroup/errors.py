# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of this capability. Each message says what failed, why, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional


class SysctlError(Exception):
    """A rejected request or a failed step. C(str) is for the operator; C(details) go into the module's result."""

    def __init__(self, message: str, details: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(message)
        self.details = dict(details or {})


class GroupSizeError(SysctlError):
    """A bound that the present number of nodes does not allow."""
