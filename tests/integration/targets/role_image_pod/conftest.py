# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.targets.image_offline_transfer.kit import ansible, bed, case
from integration.targets.testbed_nodes.kit import groups

__all__ = ["ansible", "bed", "case", "groups"]
