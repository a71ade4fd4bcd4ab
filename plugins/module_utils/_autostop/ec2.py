# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that talks to EC2: which regions the account has enabled."""

from __future__ import annotations

from typing import Any

from .rds import call_api


def list_enabled_regions(client: Any) -> tuple[str, ...]:
    """Every region that needs no opting in, or has been opted in to; DescribeRegions has no pages."""
    return tuple(sorted(str(entry["RegionName"]) for entry in call_api(client, "DescribeRegions")["Regions"]))
