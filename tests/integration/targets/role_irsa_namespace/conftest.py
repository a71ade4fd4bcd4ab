# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.targets.iam_irsa_info.kit import fleet
from integration.targets.testbed_cluster.conftest import bed, cluster

__all__ = ["bed", "cluster", "fleet"]
