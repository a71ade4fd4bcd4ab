# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo of autostop: real runs against an AWS of its own, in which a week passes."""

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
MANY = 110  # DescribeDBClusters returns 100 per page
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
    for name in (cluster["DBClusterIdentifier"] for cluster in clusters(aws)):
        aws.send_command("rds/edit", region=REGION, name=name, status="available")


def clusters(aws: OwnAws) -> list[dict[str, Any]]:
    pages = aws.client("rds").get_paginator("describe_db_clusters").paginate()
    return [cluster for page in pages for cluster in page["DBClusters"]]


def off(aws: OwnAws, status: str) -> list[str]:
    """The clusters in this status. All others must be available."""
    found = {cluster["DBClusterIdentifier"]: cluster["Status"] for cluster in clusters(aws)}
    check(set(found.values()) <= {status, "available"}, f"a cluster is neither {status} nor available: {found}")
    return sorted(name for name, cluster_status in found.items() if cluster_status == status)


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
    title("Keep Aurora clusters stopped")
    explain(
        f"""An AWS account of its own has {MANY} running Aurora clusters. Two have the tag autostop=yes: orders and
        billing, on two pages of AWS's list. The cluster reports has the tag on its instance only. legacy has the tag,
        but it is Aurora Serverless v1, which AWS does not stop."""
    )
    os.environ.pop("AWS_ENDPOINT_URL", None)
    with own_aws() as aws:
        fill(aws)
        stop(aws)
        guard(aws)
        week(aws)
    proved(f"It took {time.monotonic() - began:.0f} s. More: docs/aurora_autostop.md")


def stop(aws: OwnAws) -> None:
    title("1  One run stops the tagged clusters, and reports the reason for each")
    aws.forget()
    output = playbook(aws, "aurora_autostop")
    check(off(aws, "stopping") == sorted(TAGGED), f"stopping are {off(aws, 'stopping')}.")
    for line in ("orders (eu-central-1): changed", "billing (eu-central-1): changed", "legacy (eu-central-1): skipped"):
        check(line in output, f"the output does not have {line!r}.")
    check("reports-1 of cluster reports" in " ".join(output.split()), "the output does not name the tagged instance.")
    calls = [call.operation for call in aws.calls(service="rds")]
    check(calls.count("StopDBCluster") == 2, f"the calls were {calls}.")
    check("ListTagsForResource" not in calls and "StopDBInstance" not in calls, f"the calls were {calls}.")
    proved(f"orders and billing stop, the other {MANY - 2} keep running. No call read tags, none stopped an instance.")
    aws.advance(seconds=301)
    check(off(aws, "stopped") == sorted(TAGGED), f"stopped are {off(aws, 'stopped')}.")
    starts = {cluster["AutomaticRestartTime"] for cluster in clusters(aws) if "AutomaticRestartTime" in cluster}
    proved(f"Now they are stopped. AWS starts them again at {min(starts):%A, %d %B, %H:%M}.")


def guard(aws: OwnAws) -> None:
    title("2  The guard is installed")
    explain("A Lambda function, its queue, a rule for RDS events, and a rule for the daily sweep:")
    playbook(aws, "aurora_autostop_guard")


def week(aws: OwnAws) -> None:
    title("3  A week passes")
    left = min(cluster["AutomaticRestartTime"] for cluster in clusters(aws) if "AutomaticRestartTime" in cluster)
    now = datetime.fromisoformat(aws.send_command("clock"))
    aws.forget()
    aws.advance(seconds=(left - now + timedelta(minutes=2)).total_seconds())
    check(off(aws, "starting") == sorted(TAGGED), f"starting are {off(aws, 'starting')}.")
    explain("AWS has started both after seven days. AWS cannot stop a cluster while it starts.")
    aws.advance(seconds=3600)
    check(off(aws, "stopped") == sorted(TAGGED), f"stopped are {off(aws, 'stopped')}.")
    explain("An hour later. The log of the function, which runs as a process of this machine:")
    print()
    for line in logged(aws):
        if line.get("name") in TAGGED and line.get("status") in ("changed", "pending"):
            print(f"  {line['at']:%a %H:%M}  {line['name']:<9}{line['status']:<9}{line['reason']}")
    print()
    stops = [call for call in aws.calls(operation="StopDBCluster") if not call.error]
    check(len(stops) == 2, f"there were {len(stops)} stops.")
    proved("Both are stopped again. No other cluster was touched.")


def logged(aws: OwnAws) -> list[dict[str, Any]]:
    """The function's log lines about clusters, in order, with the time of the test bed's clock."""
    logs, group = aws.client("logs"), "/aws/lambda/daytwo-autostop"
    found = []
    for event in logs.filter_log_events(logGroupName=group, limit=10000)["events"]:
        line = json.loads(event["message"])
        found.append({**line, "at": datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc)})
    return found


if __name__ == "__main__":
    main()
