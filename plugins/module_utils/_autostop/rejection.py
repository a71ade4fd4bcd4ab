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
from .model import AuroraCluster, Database

# Patterns in AWS's message that name the kind of database that it does not stop. The first match counts. The message
# is normalized: lower case, words separated by blanks, the database's own name taken out.
_REASON_PATTERNS = (
    (r"global (database|db|cluster)", "global_member"),
    (r"is (a|the) cross region (read )?replica", "read_replica"),
    (r"cross region", "cross_region_replica"),
    (r"blue green", "blue_green"),
    (r"serverless(?! v ?2)", "serverless_v1"),
    (r"multi master", "multi_master"),
    (r"parallel query", "parallel_query"),
    (r"shard group|limitless", "limitless"),
    (r"sql ?server.*multi az|multi az.*sql ?server|mirror(ing|ed)", "sqlserver_multi_az"),
    (r"multi az (db )?cluster", "multi_az_cluster"),
    (r"aurora [a-z ]*db instances? (are|is) not eligible", "aurora_member"),
    (r"(member|part) of an? (aurora )?(db )?cluster", "aurora_member"),
    (r"(has|have|with) ((an|a|any|one|or|more|active|existing) )*read replicas?", "read_replica_source"),
    (r"source (of|for|to) .*read replica|source .*read replica", "read_replica_source"),
    (r"read replica|replica db cluster|replica cluster", "read_replica"),
    (r"rds custom|custom (for )?(oracle|sql)|custom engine", "rds_custom"),
    (r"zero etl|integration|activity stream", "not_eligible"),
    (r"(not|isn t|aren t) (eligible|supported) for (stop|the stop)", "not_eligible"),
    (r"(stop|stopping)\w* .*(not|isn t) supported|does(n t| not) support stop", "not_eligible"),
)
# The kinds of instances, where the same words are about a cluster.
_OF_CLUSTERS = {"read_replica": "replication_target", "read_replica_source": "replication_source"}
_IN_PROGRESS = r"in progress|(is|currently) being|try again later|pending modif"

_INVALID_CLUSTER_STATE = "InvalidDBClusterState"
_INVALID_INSTANCE_STATE = "InvalidDBInstanceState"
_SHARD_GROUP_STATE = "InvalidDBShardGroupState"
_NOT_FOUND = ("DBClusterNotFound", "DBInstanceNotFound")
_INELIGIBLE = (
    _INVALID_CLUSTER_STATE,
    _INVALID_INSTANCE_STATE,
    _SHARD_GROUP_STATE,
    "InvalidGlobalClusterState",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "OperationNotSupported",
    "OperationNotSupportedException",
    "UnsupportedOperation",
    "UnsupportedOperationException",
)

# How the message names the status (docs/facts/autostop.md#errors-of-stopdbcluster-and-stopdbinstance). The looser
# patterns count for known statuses only.
_STATUS_PATTERN = r"\bis (?:already |currently )?in (?:the |an? )?['\"]?([a-z][a-z-]*)['\"]? (?:state|status)\b"
_LOOSE_STATUS_PATTERNS = (
    r"\bin (?:the |an? )?['\"]?([a-z][a-z-]*)['\"]? (?:state|status)\b",
    r"\b(?:state|status)(?: of [^.]*?)?(?: is|:| =|=)+ ?(?:currently )?['\"]?([a-z][a-z-]*)",
    r"\bis (?:already |currently )?['\"]?([a-z][a-z-]*)\b",
)
_NOT_AVAILABLE = r"\b(?:not|isn't)(?: currently)?(?: in)?(?: an?| the)? ['\"]?available\b"


@dataclass(frozen=True)
class StopRejection:
    """An item's status and reason after AWS rejected the stop. C(database_status) is the status in AWS's message."""

    status: str
    reason: str
    database_status: Optional[str] = None
    ineligibility_reason: Optional[str] = None


def classify_error(error: ApiError, database: Database) -> StopRejection:
    """Classifies AWS's rejection of a stop."""
    aws_message = _quote_error(error)
    code = re.sub(r"Fault$", "", error.code)
    if code in _NOT_FOUND:
        return StopRejection("skipped", f"It was deleted after it was read. {aws_message}")
    is_member_state = isinstance(database, AuroraCluster) and code == _INVALID_INSTANCE_STATE
    if code in (_INVALID_CLUSTER_STATE, _INVALID_INSTANCE_STATE) and not is_member_state:
        status = find_status(error.message, database)
        if status and status != "available":
            return _classify_status(status, database, aws_message)
        if re.search(_NOT_AVAILABLE, error.message, re.IGNORECASE):
            return StopRejection("pending", f"It is no longer available. {aws_message}")
    if code in _INELIGIBLE:
        ineligibility_reason = _find_ineligibility_reason(error.message, database)
        if code == _SHARD_GROUP_STATE:
            return StopRejection("pending", f"Its shard group is busy. {aws_message}", ineligibility_reason="limitless")
        if ineligibility_reason:
            text = INELIGIBILITY_REASONS[ineligibility_reason].message
            return StopRejection("skipped", f"{text} {aws_message}", ineligibility_reason=ineligibility_reason)
    if is_member_state:
        return StopRejection("pending", f"One of its instances is in a status that prevents the stop. {aws_message}")
    if code in _INELIGIBLE and re.search(_IN_PROGRESS, _normalize_message(error.message, database)):
        return StopRejection("pending", f"AWS is still changing it. {aws_message}")
    return StopRejection("failed", f"{aws_message} {error.suggestion}")


def find_status(message: str, database: Database) -> Optional[str]:
    """The status of the database in AWS's message, if the message names it."""
    text = re.split(r"\bbut\b|\bexpected\b|\bmust be\b", _hide_name(message, database).lower(), maxsplit=1)[0]
    match = re.search(_STATUS_PATTERN, text)
    if match:
        return match.group(1)
    found = (match.group(1) for pattern in _LOOSE_STATUS_PATTERNS for match in re.finditer(pattern, text))
    return next((status for status in found if statuses.is_known_status(status)), None)


def _find_ineligibility_reason(message: str, database: Database) -> Optional[str]:
    text = _normalize_message(message, database)
    for pattern, code in _REASON_PATTERNS:
        if re.search(pattern, text):
            return _OF_CLUSTERS.get(code, code) if isinstance(database, AuroraCluster) else code
    return None


def _hide_name(message: str, database: Database) -> str:
    """The message without the database's own name, which can have the words of a kind: serverless-shop.

    A name that is a plain word is masked only where the message uses it as a name: after the word cluster, for example.
    """
    name = rf"(?:{re.escape(database.arn)}|{re.escape(database.name)})(?![\w-])"
    before = r"(?:cluster|instance|database|identifier)[ :=]+['\"(]?" if database.name.isalpha() else r"(?<![\w-])"
    return re.sub(rf"({before}){name}", r"\1NAME", message, flags=re.IGNORECASE)


def _normalize_message(message: str, database: Database) -> str:
    """ReadReplica, read-replica and Read Replica are the same: lower case, text separated by blanks."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", _hide_name(message, database)).lower()
    return re.sub(r"\bdb(cluster|instance)", r"db \1", re.sub(r"[^a-z0-9]+", " ", text)).strip()


def _quote_error(error: ApiError) -> str:
    """AWS's code and message as one sentence."""
    return f'AWS returned {error.code}: "{error.message}"' + (
        "" if error.message.rstrip().endswith((".", "!", "?")) else "."
    )


def _classify_status(database_status: str, database: Database, message: str) -> StopRejection:
    meaning = statuses.get_status_meaning(database.kind, database_status)
    status = {statuses.OFF: "ok", statuses.TRANSITIONAL: "pending"}.get(meaning.group, "skipped")
    return StopRejection(status, f"It is {meaning.text} by now. {message}", database_status=database_status)
