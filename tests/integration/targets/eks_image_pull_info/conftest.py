# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from integration.targets.aurora_autostop.kit import aws
from integration.targets.eks_image_pull_info.kit import kubernetes

__all__ = ["aws", "kubernetes"]
