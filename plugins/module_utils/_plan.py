# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One step of a plan: what every capability's C(plan.py) returns and its C(apply) carries out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Step:
    """One write: what is done to which thing, how it stood before, how it will stand after, and why."""

    action: str
    target: str
    reason: str
    before: Optional[Any] = None
    after: Optional[Any] = None

    def to_dict(self) -> dict[str, Any]:
        """The step as it stands in a module's result; the same in check mode and in the run."""
        return asdict(self)
