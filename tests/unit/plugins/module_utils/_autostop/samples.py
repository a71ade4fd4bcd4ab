# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample clusters and instances for the tests of autostop."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ansible_collections.daytwo.aws.plugins.module_utils._autostop.model import AuroraCluster, DbInstance

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc)
YES = {"autostop": "yes"}
PREFIX = "arn:aws:rds:eu-central-1:123456789012"


def cluster(name: str = "orders", **changes: Any) -> AuroraCluster:
    """An Aurora cluster: available and tagged."""
    plain = AuroraCluster(f"{PREFIX}:cluster:{name}", name, "aurora-mysql", "available", YES)
    return replace(plain, **changes)


def instance(name: str = "alone", **changes: Any) -> DbInstance:
    """A PostgreSQL instance: available, tagged, in no cluster."""
    return replace(DbInstance(f"{PREFIX}:db:{name}", name, "postgres", "available", YES), **changes)


def member(name: str, of: str, **changes: Any) -> DbInstance:
    return instance(name, cluster=of, engine="aurora-mysql", **changes)
