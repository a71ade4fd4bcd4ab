# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refusal of the service means: mapped to the reasons that planning gives, and never swallowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from . import statuses
from .eligibility import OBSTACLES
from .errors import ServiceError
from .model import Database

# Words by which the service says what kind of database it will not stop; the first that fits counts.
_KINDS = (
    (r"global (database|cluster)", "global_member"),
    (r"cross-region", "cross_region_replica"),
    (r"blue[/-]green", "blue_green"),
    (r"serverless", "serverless_v1"),
    (r"multi-?master", "multi_master"),
    (r"parallel query", "parallel_query"),
    (r"shard group|limitless", "limitless"),
    (r"sql ?server.*multi-?az|mirror", "sqlserver_multi_az"),
    (r"multi-az db cluster", "multi_az_cluster"),
    (r"aurora\S* DB instances? (are|is) not eligible", "aurora_member"),
    (r"has (a )?read replicas?|source .*read replica", "read_replica_source"),
    (r"read replica", "read_replica"),
    (r"custom", "rds_custom"),
    (r"not eligible for stopping", "not_eligible"),
)
_STATES = ("InvalidDBClusterStateFault", "InvalidDBInstanceState", "InvalidDBInstanceStateFault")
_GONE = ("DBClusterNotFoundFault", "DBInstanceNotFound")
_SHARDS = ("InvalidDBShardGroupState", "InvalidDBShardGroupStateFault")
_INELIGIBLE = (*_STATES, *_SHARDS, "InvalidParameterCombination", "InvalidParameterValue")


@dataclass(frozen=True)
class Refusal:
    """An item's status and reason after the service has refused. C(state): the status that the message names."""

    status: str
    reason: str
    state: Optional[str] = None
    obstacle: Optional[str] = None


def judge(error: ServiceError, database: Database) -> Refusal:
    """What a refusal to stop comes to."""
    said = f"AWS answered {error.code}: {error.message}"
    if error.code in _GONE:
        return Refusal("skipped", f"It is gone since it was read. {said}")
    if error.code in _STATES:
        # "DbCluster NAME is in STATE state but expected ..."; the message names the state (facts: autostop).
        found = re.search(r"\bis in (\S+) state\b", error.message)
        if found and found.group(1) != "available":
            return _state(found.group(1), database, said)
        if re.search(r"\bis not in available state\b", error.message):
            return Refusal("pending", f"It is not available any more since it was read. {said}")
    if error.code in _SHARDS:
        return Refusal("pending", f"Its shard group is busy. {said}", obstacle="limitless")
    if error.code in _INELIGIBLE:
        for pattern, code in _KINDS:
            if re.search(pattern, error.message, re.IGNORECASE):
                return Refusal("skipped", f"{OBSTACLES[code].text} {said}", obstacle=code)
    return Refusal("failed", f"{said}. {error.way_out}")


def _state(state: str, database: Database, said: str) -> Refusal:
    line = statuses.line_of(database.kind, state)
    status = {statuses.AT_REST: "ok", statuses.PASSING: "pending"}.get(line.group, "skipped")
    return Refusal(status, f"It is {line.words} since it was read. {said}", state=state)
