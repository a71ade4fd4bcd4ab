# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.targets.aws_faults.kit import aws, worker

__all__ = ["aws", "worker"]
