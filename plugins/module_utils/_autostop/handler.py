# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's Lambda function: it reads the region once per batch of messages, and decides by the module's own code.

The queue has one message per RDS event or sweep. The queue's visibility time-out is the retry interval. A message
whose databases are not all done is reported as a batch item failure: SQS keeps it, and delivers it again after the
visibility time-out. Lambda deletes every other message.

Function: C(daytwo_aws._autostop.handler.handle). Its trigger is an SQS event source mapping with
C(ReportBatchItemFailures).

Environment: C(AUTOSTOP_OPTIONS) is a JSON object with options of the module aurora_autostop under their own names
(tag_key, tag_values, clusters, exclude, include_instances, migrate_tags, sweep_policy, finish_maintenance). An omitted
option has the module's default. C(AWS_REGION), which Lambda sets, is the region to read.

Records: C(messageId), and in C(body) the event as JSON, as EventBridge delivers it to SQS:

- an RDS event, C(source) C(aws.rds), with C(time) and C(detail.SourceArn): check that cluster or DB instance, whatever
  C(detail.EventID) is. The event may be lost, late, duplicated or reordered (docs/facts/autostop.md#rds-events), so
  only a reading decides.
- the sweep's event, C(source) C(aws.events): check every database of the region.

Every other message is kept, so that it ends in the dead-letter queue.

A message is deleted when each of its databases

- is C(stopped). For an RDS event, the stop must be later than the event: before that, the reading is stale, or AWS has
  not begun yet. A database that was stopped in this batch is not done: the stop can fail, so it is checked again;
- or is skipped (no tag, held, excluded, never stopped by AWS, started by a person, deleted);
- or waits for maintenance (C(finish_maintenance)), which takes up to a week: the daily sweep checks it again.

A message is kept while one of its databases is C(starting) or otherwise not yet available, is C(stopping), has failed,
or could not be read.

Output: a line of JSON per database, with the IDs of the messages that it keeps in C(kept), and a line per batch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Optional

from .._clock import Clock
from . import fleet, plan, report, statuses
from .model import AuroraCluster, AutostopOptions
from .progress import is_stopped_since
from .run import DatabaseOutcome, RegionOutcome, run_region
from .tags import parse_timestamp

try:
    import botocore.session
    from botocore.config import Config
except ImportError:  # only the Lambda package needs them
    pass

OPTIONS_VARIABLE = "AUTOSTOP_OPTIONS"

# These limits leave time for several calls within the function's time-out of a minute. If the function times out, SQS
# delivers the batch again.
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 5},
    "connect_timeout": 5,
    "read_timeout": 15,
}


@dataclass(frozen=True)
class GuardMessage:
    """One record of the queue. C(database_arn) is empty for the sweep. C(event_time) is when the RDS event happened."""

    id: str
    database_arn: str = ""
    event_time: Optional[datetime] = None


def handle(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
    """The entry point of the Lambda function."""
    name = os.environ["AWS_REGION"]
    client = botocore.session.get_session().create_client("rds", region_name=name, config=Config(**CLIENT_CONFIG))
    return handle_batch(
        event, parse_options(os.environ.get(OPTIONS_VARIABLE) or "{}"), client, name, Clock(), _log_entry
    )


def parse_options(options_json: str) -> AutostopOptions:
    """Parses the options in the environment. An unknown name is an error: it must not pass for the default."""
    environment_options = json.loads(options_json)
    unknown = sorted(set(environment_options) - set(fleet.ARGUMENT_SPEC))
    if unknown:
        raise fleet.OptionError(
            f"{OPTIONS_VARIABLE} has unknown options: {', '.join(unknown)}. Install the guard again."
        )
    return fleet.parse_options(
        {**{name: spec.get("default") for name, spec in fleet.ARGUMENT_SPEC.items()}, **environment_options}
    )


def handle_batch(
    event: Mapping[str, Any],
    options: AutostopOptions,
    client: Any,
    region_name: str,
    clock: Clock,
    log_entry: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """One batch: observes, decides and stops once for all messages, then returns which messages to keep (retry)."""
    messages: list[GuardMessage] = []
    kept: set[str] = set()
    for record in event["Records"]:
        try:
            messages.append(parse_record(record))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            kept.add(record["messageId"])
            log_entry(
                {
                    "message": record["messageId"],
                    "status": "failed",
                    "reason": f"The message is neither an RDS event nor a sweep: {error!r}.",
                }
            )
    narrowed_options = narrow_options(options, messages)
    outcome = (
        run_region(client, narrowed_options, region_name, clock) if narrowed_options else RegionOutcome(region_name)
    )
    for text in outcome.warnings:
        log_entry({"region": region_name, "warning": text})
    region_error = outcome.error or outcome.instances_error
    if region_error:
        kept.update(message.id for message in messages)
    for database_outcome in outcome.outcomes:
        database_messages = [
            message for message in messages if message.database_arn in ("", database_outcome.database.arn)
        ]
        kept_ids = [
            message.id
            for message in database_messages
            if not can_delete_message(database_outcome, message.event_time, clock.now())
        ]
        kept.update(kept_ids)
        log_entry({**report.build_item(database_outcome).to_dict(), "kept": kept_ids})
    log_entry(
        {
            "region": region_name,
            "status": "failed" if region_error else "ok",
            "reason": region_error or f"{outcome.clusters_checked} clusters checked.",
            "messages": len(event["Records"]),
            "kept": sorted(kept),
        }
    )
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in sorted(kept)]}


def parse_record(record: Mapping[str, Any]) -> GuardMessage:
    """Parses a record. Raises ValueError, KeyError and the like if it is neither an RDS event nor a sweep."""
    body = json.loads(record["body"])
    if body["source"] == "aws.events":
        return GuardMessage(record["messageId"])
    if body["source"] != "aws.rds":
        raise ValueError(f"source {body['source']!r}")
    arn, at = str(body["detail"]["SourceArn"]), parse_timestamp(body["time"])
    if len(arn.split(":")) < 7 or at is None:
        raise ValueError(f"ARN {arn!r}, time {body['time']!r}")
    return GuardMessage(record["messageId"], arn, at)


def narrow_options(options: AutostopOptions, messages: Sequence[GuardMessage]) -> Optional[AutostopOptions]:
    """Narrows the options to the databases of the messages, unless one is a sweep. None: no database is in scope."""
    if any(not message.database_arn for message in messages):
        return options
    arns = sorted(
        {
            message.database_arn
            for message in messages
            if plan.is_in_scope(_build_database(message.database_arn), options)
        }
    )
    return replace(options, clusters=tuple(arns)) if arns else None


def _build_database(arn: str) -> AuroraCluster:
    """A database with its ARN and name alone, to check whether it is in scope."""
    return AuroraCluster(arn, arn.split(":")[6], "", "")


def can_delete_message(outcome: DatabaseOutcome, event_time: Optional[datetime], now: datetime) -> bool:
    """Whether this database allows to delete the message. C(event_time) is None for a sweep."""
    decision, database = outcome.decision, outcome.database
    if outcome.status == "skipped":
        return True
    if decision.status == "pending":
        return (
            statuses.get_status_meaning(database.kind, database.status).group == statuses.RUNNING
        )  # waits for maintenance
    if outcome.status not in ("ok", "changed") or outcome.status_after != "stopped":
        return False
    if event_time is None:
        return True
    return is_stopped_since(event_time, outcome.automatic_restart_time, now)


def _log_entry(entry: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry, sort_keys=True) + "\n")
    sys.stdout.flush()
