# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refusal of the service means: mapped to the reasons that planning gives, and never swallowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from . import statuses
from .eligibility import INELIGIBILITY_REASONS
from .errors import AutostopApiError
from .model import Database

# Words by which the service says what kind of database it will not stop; the first that fits counts.
_REASON_PATTERNS = (
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
_INVALID_STATE_CODES = ("InvalidDBClusterStateFault", "InvalidDBInstanceState", "InvalidDBInstanceStateFault")
_NOT_FOUND_CODES = ("DBClusterNotFoundFault", "DBInstanceNotFound")
_SHARD_GROUP_CODES = ("InvalidDBShardGroupState", "InvalidDBShardGroupStateFault")
_INELIGIBLE_CODES = (*_INVALID_STATE_CODES, *_SHARD_GROUP_CODES, "InvalidParameterCombination", "InvalidParameterValue")


@dataclass(frozen=True)
class StopRejection:
    """An item's status and reason after the service has refused. C(state): the status that the message names."""

    status: str
    reason: str
    database_status: Optional[str] = None
    ineligibility_reason: Optional[str] = None


def classify_error(error: AutostopApiError, database: Database) -> StopRejection:
    """What a refusal to stop comes to."""
    said = f"AWS answered {error.code}: {error.message}"
    if error.code in _NOT_FOUND_CODES:
        return StopRejection("skipped", f"It is gone since it was read. {said}")
    if error.code in _INVALID_STATE_CODES:
        # "DbCluster NAME is in STATE state but expected ..."; the message names the state (facts: autostop).
        found = re.search(r"\bis in (\S+) state\b", error.message)
        if found and found.group(1) != "available":
            return _classify_status(found.group(1), database, said)
        if re.search(r"\bis not in available state\b", error.message):
            return StopRejection("pending", f"It is not available any more since it was read. {said}")
    if error.code in _SHARD_GROUP_CODES:
        return StopRejection("pending", f"Its shard group is busy. {said}", ineligibility_reason="limitless")
    if error.code in _INELIGIBLE_CODES:
        for pattern, code in _REASON_PATTERNS:
            if re.search(pattern, error.message, re.IGNORECASE):
                return StopRejection(
                    "skipped", f"{INELIGIBILITY_REASONS[code].message} {said}", ineligibility_reason=code
                )
    return StopRejection("failed", f"{said}. {error.suggestion}")


def _classify_status(database_status: str, database: Database, message: str) -> StopRejection:
    line = statuses.get_status_meaning(database.kind, database_status)
    status = {statuses.OFF: "ok", statuses.TRANSITIONAL: "pending"}.get(line.group, "skipped")
    return StopRejection(status, f"It is {line.text} since it was read. {message}", database_status=database_status)
