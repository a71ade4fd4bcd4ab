# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a plan: each capability's C(plan.py) returns steps, and its C(apply) executes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Step:
    """One write: the action, the target, the state before and after, and the reason."""

    action: str
    target: str
    reason: str
    before: Optional[Any] = None
    after: Optional[Any] = None

    def to_dict(self) -> dict[str, Any]:
        """The step in a module's result; the same in check mode and in a real run."""
        return asdict(self)
