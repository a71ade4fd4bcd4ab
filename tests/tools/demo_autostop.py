# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The act on Aurora clusters that stay off: real runs against an AWS of its own, in which a week passes."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from demo import ANSIBLE, check, explain, proved, run, title
from testbed import paths
from testbed.own_aws import OwnAws, own_aws

REGION = paths.REGION
YES = [{"Key": "autostop", "Value": "yes"}]
MANY = 110  # DescribeDBClusters gives 100 a page
TAGGED = ("orders", "billing")  # on the first page and on the second
CLUSTER = {"Engine": "aurora-mysql", "MasterUsername": "admin", "MasterUserPassword": "not-a-secret-1"}
MEMBER = {"Engine": "aurora-mysql", "DBInstanceClass": "db.r6g.large"}


def fill(aws: OwnAws) -> None:
    rds = aws.client("rds")
    rds.create_db_cluster(DBClusterIdentifier="orders", Tags=YES, **CLUSTER)
    rds.create_db_cluster(DBClusterIdentifier="reports", **CLUSTER)
    rds.create_db_instance(DBInstanceIdentifier="reports-1", DBClusterIdentifier="reports", Tags=YES, **MEMBER)
    rds.create_db_cluster(DBClusterIdentifier="legacy", EngineMode="serverless", Tags=YES, **CLUSTER)
    for number in range(MANY - 4):
        rds.create_db_cluster(DBClusterIdentifier=f"other-{number:03}", **CLUSTER)
    rds.create_db_cluster(DBClusterIdentifier="billing", Tags=YES, **CLUSTER)
    for name in (one["DBClusterIdentifier"] for one in clusters(aws)):
        aws.send_command("rds/edit", region=REGION, name=name, status="available")


def clusters(aws: OwnAws) -> list[dict[str, Any]]:
    pages = aws.client("rds").get_paginator("describe_db_clusters").paginate()
    return [one for page in pages for one in page["DBClusters"]]


def off(aws: OwnAws, status: str) -> list[str]:
    """All that are in this status, and nothing else but what is available."""
    found = {one["DBClusterIdentifier"]: one["Status"] for one in clusters(aws)}
    check(set(found.values()) <= {status, "available"}, f"there is more than {status} and available: {found}")
    return sorted(name for name, seen in found.items() if seen == status)


def playbook(aws: OwnAws, name: str, *options: str) -> str:
    code, output = run(
        "controller",
        *("ansible-playbook", f"daytwo.aws.{name}", *options),
        environment={**ANSIBLE, **aws.env, "AWS_REGION": REGION, "ANSIBLE_DEPRECATION_WARNINGS": "false"},
    )
    check(code == 0, f"ansible-playbook ends with {code}.")
    return output


def main() -> None:
    began = time.monotonic()
    title("Aurora clusters that stay off")
    explain(
        f"""An AWS account of its own, with {MANY} Aurora clusters, all of them running. Two are tagged autostop=yes,
        orders and billing, which stand on two pages of what AWS lists. Of reports, somebody tagged the instance. legacy
        is tagged, but is Aurora Serverless v1, which AWS does not stop."""
    )
    os.environ.pop("AWS_ENDPOINT_URL", None)
    with own_aws() as aws:
        fill(aws)
        stop(aws)
        guard(aws)
        week(aws)
    proved(f"It took {time.monotonic() - began:.0f} s. More: docs/aurora_autostop.md")


def stop(aws: OwnAws) -> None:
    title("1  One run stops what is tagged, and says of each why")
    aws.forget()
    output = playbook(aws, "aurora_autostop")
    check(off(aws, "stopping") == sorted(TAGGED), f"stopping are {off(aws, 'stopping')}.")
    for told in ("orders (eu-central-1): changed", "billing (eu-central-1): changed", "legacy (eu-central-1): skipped"):
        check(told in output, f"it does not say {told!r}.")
    check("reports-1 of cluster reports" in " ".join(output.split()), "it does not name the instance that is tagged.")
    calls = [call.operation for call in aws.calls(service="rds")]
    check(calls.count("StopDBCluster") == 2, f"the calls were {calls}.")
    check("ListTagsForResource" not in calls and "StopDBInstance" not in calls, f"the calls were {calls}.")
    proved(f"orders and billing stop, the other {MANY - 2} run on. AWS was asked for no tag and no instance to stop.")
    aws.advance(seconds=301)
    check(off(aws, "stopped") == sorted(TAGGED), f"stopped are {off(aws, 'stopped')}.")
    starts = {one["AutomaticRestartTime"] for one in clusters(aws) if "AutomaticRestartTime" in one}
    proved(f"Now they are stopped. AWS says when it will start them again: {min(starts):%A, %d %B, %H:%M}.")


def guard(aws: OwnAws) -> None:
    title("2  The guard is installed")
    explain("A Lambda function, a queue that feeds it, and rules for what RDS tells and for a look each day:")
    playbook(aws, "aurora_autostop_guard")


def week(aws: OwnAws) -> None:
    title("3  A week passes")
    left = min(one["AutomaticRestartTime"] for one in clusters(aws) if "AutomaticRestartTime" in one)
    now = datetime.fromisoformat(aws.send_command("clock"))
    aws.forget()
    aws.advance(seconds=(left - now + timedelta(minutes=2)).total_seconds())
    check(off(aws, "starting") == sorted(TAGGED), f"starting are {off(aws, 'starting')}.")
    explain("AWS has started both, as it does after seven days. They cannot be stopped while they start.")
    aws.advance(seconds=3600)
    check(off(aws, "stopped") == sorted(TAGGED), f"stopped are {off(aws, 'stopped')}.")
    explain("An hour later; what the function, a process of this machine, wrote about it in its log:")
    print()
    for line in logged(aws):
        if line.get("name") in TAGGED and line.get("status") in ("changed", "pending"):
            print(f"  {line['at']:%a %H:%M}  {line['name']:<9}{line['status']:<9}{line['reason']}")
    print()
    stops = [call for call in aws.calls(operation="StopDBCluster") if not call.error]
    check(len(stops) == 2, f"there were {len(stops)} stops.")
    proved("Both are stopped again. No other cluster was touched.")


def logged(aws: OwnAws) -> list[dict[str, Any]]:
    """The function's lines about clusters, in their order, with the time of the bed's clock."""
    logs, group = aws.client("logs"), "/aws/lambda/daytwo-autostop"
    found = []
    for event in logs.filter_log_events(logGroupName=group, limit=10000)["events"]:
        line = json.loads(event["message"])
        found.append({**line, "at": datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc)})
    return found


if __name__ == "__main__":
    main()
