# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classifies an error of StopDBCluster or StopDBInstance. AWS's own message is always reported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from .._aws_call import ApiError
from . import statuses
from .eligibility import INELIGIBILITY_REASONS
from .model import Database

# Patterns in AWS's message that name the kind of database that it does not stop. The first match counts.
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
    """An item's status and reason after AWS rejected the stop. C(database_status) is the status in AWS's message."""

    status: str
    reason: str
    database_status: Optional[str] = None
    ineligibility_reason: Optional[str] = None


def classify_error(error: ApiError, database: Database) -> StopRejection:
    """Classifies AWS's rejection of a stop."""
    aws_message = f'AWS returned {error.code}: "{error.message}"'
    if error.code in _NOT_FOUND_CODES:
        return StopRejection("skipped", f"It was deleted after it was read. {aws_message}")
    if error.code in _INVALID_STATE_CODES:
        # "DbCluster NAME is in STATE state but expected ..."
        # (docs/facts/autostop.md#errors-of-stopdbcluster-and-stopdbinstance)
        match = re.search(r"\bis in (\S+) state\b", error.message)
        if match and match.group(1) != "available":
            return _classify_status(match.group(1), database, aws_message)
        if re.search(r"\bis not in available state\b", error.message):
            return StopRejection("pending", f"It is no longer available. {aws_message}")
    if error.code in _SHARD_GROUP_CODES:
        return StopRejection("pending", f"Its shard group is busy. {aws_message}", ineligibility_reason="limitless")
    if error.code in _INELIGIBLE_CODES:
        for pattern, code in _REASON_PATTERNS:
            if re.search(pattern, error.message, re.IGNORECASE):
                return StopRejection(
                    "skipped", f"{INELIGIBILITY_REASONS[code].message} {aws_message}", ineligibility_reason=code
                )
    return StopRejection("failed", f"{aws_message}. {error.suggestion}")


def _classify_status(database_status: str, database: Database, message: str) -> StopRejection:
    meaning = statuses.get_status_meaning(database.kind, database_status)
    status = {statuses.OFF: "ok", statuses.TRANSITIONAL: "pending"}.get(meaning.group, "skipped")
    return StopRejection(status, f"It is {meaning.text} by now. {message}", database_status=database_status)
