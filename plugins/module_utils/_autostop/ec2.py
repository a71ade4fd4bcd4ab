# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that calls EC2. It lists the regions that the account has enabled."""

from __future__ import annotations

from typing import Any

from .._aws_call import call_api


def list_enabled_regions(client: Any) -> tuple[str, ...]:
    """Every region that the account can use: regions without opt-in, and regions that are opted in.

    DescribeRegions has no pages.
    """
    return tuple(sorted(str(entry["RegionName"]) for entry in call_api(client, "DescribeRegions")["Regions"]))
