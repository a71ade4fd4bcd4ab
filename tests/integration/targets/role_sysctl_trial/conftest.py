# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.targets.eks_node_drain.kit import bed
from integration.targets.role_sysctl_trial.kit import fleet, trial

__all__ = ["bed", "fleet", "trial"]
