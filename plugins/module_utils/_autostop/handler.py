# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's Lambda function: one look at the region per batch of messages, by the same decision as the module.

Its queue holds one message per thing to see to, and the queue's visibility time-out is the interval at which the guard
looks again: a message that is not settled yet is reported as a batch item failure, so that SQS keeps it and hands it
over anew after that time; one that is settled is not reported, and Lambda deletes it.

Function: C(daytwo_aws._autostop.handler.handle). Its trigger is an SQS event source mapping with
C(ReportBatchItemFailures).

Environment: C(AUTOSTOP_OPTIONS), a JSON object with options of the module aurora_autostop under their own names
(tag_key, tag_values, clusters, exclude, include_instances, migrate_tags, sweep_policy, finish_maintenance); what is
left out has the module's default. C(AWS_REGION), which Lambda sets: the region that is looked at.

Records: C(messageId), and in C(body) the event as EventBridge delivers it to SQS, as JSON:

- an RDS event, C(source) C(aws.rds), with C(time) and C(detail.SourceArn): see to that cluster or DB instance, whatever
  C(detail.EventID) says. It may be lost, late, doubled, or reordered (facts: autostop): all that counts is what a
  reading shows.
- the sweep's, C(source) C(aws.events): see to every database of the region.

Anything else is kept, so that it ends in the dead-letter queue.

A message is settled when each database that it is about

- is seen C(stopped), in answer to an RDS event by a stop later than that event: until then the reading is stale, or AWS
  has not begun yet. A stop that was just asked for is not settled: it may fail, and is looked at again;
- or is left alone (no tag, held, excluded, never stopped by AWS, started by a person, gone);
- or waits for maintenance (C(finish_maintenance)), which takes up to a week: the daily sweep sees to it.

It is kept while one is C(starting) or otherwise not yet available, is C(stopping), has failed, or could not be read.

Output: a line of JSON per database, C(kept) with the messages that stay because of it, and one per batch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Optional

from .._clock import Clock
from . import fleet, plan, report, statuses
from .model import AuroraCluster, AutostopOptions
from .run import DatabaseOutcome, RegionOutcome, run_region
from .tags import parse_timestamp

try:
    import botocore.session
    from botocore.config import Config
except ImportError:  # only its package needs them
    pass

OPTIONS_VARIABLE = "AUTOSTOP_OPTIONS"

# What a call may take at most leaves room for others within the function's time-out of a minute; a batch that is cut
# off all the same comes again.
CLIENT_CONFIG: dict[str, Any] = {
    "retries": {"mode": "adaptive", "total_max_attempts": 5},
    "connect_timeout": 5,
    "read_timeout": 15,
}

# AWS restarts seven days after the stop, so a restart time further ahead than this belongs to a stop after the event.
MINIMUM_RESTART_DELAY = timedelta(days=6)
# A reading that shows no restart time is believed once no reading can be stale any more.
MAX_STALENESS = timedelta(hours=1)


@dataclass(frozen=True)
class GuardMessage:
    """What one record asks for. C(database): an ARN, or empty for the sweep. C(at): when its event happened."""

    id: str
    database_arn: str = ""
    event_time: Optional[datetime] = None


def handle(event: Mapping[str, Any], context: Any = None) -> dict[str, Any]:
    """Lambda's entry point."""
    name = os.environ["AWS_REGION"]
    client = botocore.session.get_session().create_client("rds", region_name=name, config=Config(**CLIENT_CONFIG))
    return handle_batch(
        event, parse_options(os.environ.get(OPTIONS_VARIABLE) or "{}"), client, name, Clock(), _log_entry
    )


def parse_options(options_json: str) -> AutostopOptions:
    """The wish in the environment. A name that is no option is a mistake that must not pass for the default."""
    given = json.loads(options_json)
    unknown = sorted(set(given) - set(fleet.ARGUMENT_SPEC))
    if unknown:
        raise fleet.OptionError(
            f"{OPTIONS_VARIABLE} has {', '.join(unknown)}, which is no option. Install the guard again."
        )
    return fleet.parse_options({**{name: spec.get("default") for name, spec in fleet.ARGUMENT_SPEC.items()}, **given})


def handle_batch(
    event: Mapping[str, Any],
    options: AutostopOptions,
    client: Any,
    region_name: str,
    clock: Clock,
    log_entry: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    """One batch: read, decide and act once for all of its messages, then say which of them stay."""
    messages: list[GuardMessage] = []
    kept: set[str] = set()
    for record in event["Records"]:
        try:
            messages.append(parse_record(record))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            kept.add(record["messageId"])
            log_entry({"message": record["messageId"], "status": "failed", "reason": f"No event of ours: {error!r}."})
    narrowed = narrow_options(options, messages)
    outcome = run_region(client, narrowed, region_name, clock) if narrowed else RegionOutcome(region_name)
    for text in outcome.warnings:
        log_entry({"region": region_name, "warning": text})
    trouble = outcome.error or outcome.instances_error
    if trouble:
        kept.update(message.id for message in messages)
    for one in outcome.outcomes:
        about = [message for message in messages if message.database_arn in ("", one.database.arn)]
        stays = [message.id for message in about if not can_delete_message(one, message.event_time, clock.now())]
        kept.update(stays)
        log_entry({**report.build_item(one).to_dict(), "kept": stays})
    log_entry(
        {
            "region": region_name,
            "status": "failed" if trouble else "ok",
            "reason": trouble or f"{outcome.clusters_checked} clusters seen.",
            "messages": len(event["Records"]),
            "kept": sorted(kept),
        }
    )
    return {"batchItemFailures": [{"itemIdentifier": one} for one in sorted(kept)]}


def parse_record(record: Mapping[str, Any]) -> GuardMessage:
    """What a record asks for; raises ValueError, KeyError and the like for what is no event of ours."""
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
    """The wish, narrowed to the databases of the messages unless one is a sweep. None: nothing is in scope."""
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
    """A database of which only the name is known."""
    return AuroraCluster(arn, arn.split(":")[6], "", "")


def can_delete_message(outcome: DatabaseOutcome, event_time: Optional[datetime], now: datetime) -> bool:
    """Whether a message about this database may go. C(at): when its event happened, None for a sweep."""
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
    restart = outcome.automatic_restart_time
    return restart > event_time + MINIMUM_RESTART_DELAY if restart else now > event_time + MAX_STALENESS


def _log_entry(entry: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry, sort_keys=True) + "\n")
    sys.stdout.flush()
