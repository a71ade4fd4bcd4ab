# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.targets.eks_node_drain.kit import bed, shop
from integration.targets.testbed_cluster.conftest import cluster

__all__ = ["bed", "cluster", "shop"]
