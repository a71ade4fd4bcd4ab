# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's rules for EventBridge, SQS and Lambda, in this process: plain moto's behavior, and the bed's."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.utils import unix_time as moto_time
from testbed import aws as rules
from testbed.aws import eventbridge, functions, rds_life, schedule, timeline
from testbed.aws.clock import CLOCK
from testbed.own_aws import own_aws

REGION = "eu-central-1"
START = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)  # a Thursday
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def client(service: str) -> Any:
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client(service, REGION, **keys, config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture(autouse=True)
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    CLOCK.reset()
    rds_life.set_settings()
    eventbridge.set_settings()
    with mock_aws():
        yield
    CLOCK.reset()
    rds_life.set_settings()
    eventbridge.set_settings()


@pytest.fixture
def ruled() -> Iterator[None]:
    with rules.installed(rules.load()):
        CLOCK.stand(START)
        yield


# Setup of the tests


def allowed(arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:events:{REGION}:123456789012:rule/guard*"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def queue(name: str = "guard", policy: bool = True, **attributes: Any) -> str:
    """Create a queue and return its URL. Messages stay for two weeks, the maximum."""
    attributes.setdefault("MessageRetentionPeriod", 14 * 86400)
    url = client("sqs").create_queue(QueueName=name, Attributes={key: str(value) for key, value in attributes.items()})
    if policy:
        client("sqs").set_queue_attributes(QueueUrl=url["QueueUrl"], Attributes={"Policy": allowed(arn_of(name))})
    return str(url["QueueUrl"])


def arn_of(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:123456789012:{name}"


def rule(name: str = "guard", target: str = arn_of("guard"), state: str = "ENABLED", **what: Any) -> None:
    what = what or {"EventPattern": json.dumps({"source": ["aws.rds"]})}
    client("events").put_rule(Name=name, State=state, **what)
    client("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target}])


def messages(url: str) -> list[dict[str, Any]]:
    """Receive and delete all messages of a queue."""
    found = []
    while got := client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in got:
            client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
    return found


def ids(url: str) -> list[str]:
    return [message["detail"]["EventID"][-4:] for message in messages(url)]


def stopped_cluster(tags: dict[str, str] | None = None) -> str:
    answer = client("rds").create_db_cluster(
        DBClusterIdentifier="orders",
        Engine="aurora-mysql",
        MasterUsername="admin",
        MasterUserPassword="not-a-secret-1",
        Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
    )
    rds_life.edit(REGION, "orders", status="available")
    client("rds").stop_db_cluster(DBClusterIdentifier="orders")
    return str(answer["DBCluster"]["DBClusterArn"])


def days(count: float) -> None:
    timeline.advance(count * 86400)


# Schedules


WRONG = [
    "cron(0 12 * * 5)",  # five fields
    "cron(0 12 * * 5 *)",  # neither of the two days is ?
    "cron(0 12 ? * ? *)",  # both days are ?
    "cron(0 24 ? * 5 *)",
    "cron(60 12 ? * 5 *)",
    "cron(0 12 ? * 8 *)",
    "cron(0 12 ? * 0 *)",
    "cron(0 12 32 * ? *)",
    "cron(0 12 ? FOO 5 *)",
    "cron(0 12 ? * 5 1969)",
    "cron(5-1 12 ? * 5 *)",
    "cron(0 12 ? * 5#6 *)",
    "cron(nonsense)",
    "rate(1 days)",
    "rate(2 day)",
    "rate(0 days)",
    "rate( day)",
]
REFUSED_BY_MOTO = ["rate(1 week)", "rate(-1 days)", "daily", "at(2026-01-01T00:00:00)", "rate(1.5 days)"]


@pytest.mark.full
@pytest.mark.parametrize("expression", WRONG)
def test_plain_moto_takes_schedules_that_aws_refuses(expression: str) -> None:
    client("events").put_rule(Name="guard", ScheduleExpression=expression)


@pytest.mark.parametrize("expression", [*WRONG, *REFUSED_BY_MOTO])
def test_the_bed_refuses_them(ruled: None, expression: str) -> None:
    with pytest.raises(ClientError, match=r"Parameter ScheduleExpression is not valid\.") as caught:
        client("events").put_rule(Name="guard", ScheduleExpression=expression)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert client("events").list_rules()["Rules"] == []


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("rate(1 day)", ["01-02T12:00", "01-03T12:00"]),
        ("rate(5 minutes)", ["01-01T12:05", "01-01T12:10"]),
        ("cron(0 12 ? * 5 *)", ["01-08T12:00", "01-15T12:00"]),  # 5 is Thursday
        ("cron(30 12 ? * THU *)", ["01-01T12:30", "01-08T12:30"]),
        ("cron(0 20 * * ? *)", ["01-01T20:00", "01-02T20:00"]),
        ("cron(0/15 10-12 ? * MON-FRI *)", ["01-01T12:15", "01-01T12:30", "01-01T12:45", "01-02T10:00"]),
        ("cron(0 8 L * ? *)", ["01-31T08:00", "02-28T08:00"]),
        ("cron(0 8 3W * ? *)", ["01-02T08:00", "02-03T08:00"]),  # the 3rd is a Saturday
        ("cron(0 8 LW 1-2 ? *)", ["01-30T08:00", "02-27T08:00"]),
        ("cron(0 8 ? * 6#3 *)", ["01-16T08:00", "02-20T08:00"]),
        ("cron(0 8 ? * 5L *)", ["01-29T08:00", "02-26T08:00"]),
        ("cron(0 8 1,15 */6 ? 2026)", ["01-15T08:00", "07-01T08:00"]),
        ("cron(0 8 1 1 ? 2025)", []),
        ("cron(0 8 30 2 ? *)", []),
    ],
)
def test_schedules_fire_when_they_should(expression: str, fires: list[str]) -> None:
    parsed, found, moment = schedule.parse(expression), [], START
    for _number in fires or [""]:
        after = parsed.after(moment)
        if after is None:
            break
        found.append(after.strftime("%m-%dT%H:%M"))
        moment = after
    assert found == fires


def test_a_sweep_reaches_the_queue_every_day(ruled: None) -> None:
    url = queue()
    rule(ScheduleExpression="rate(1 day)")
    days(2.5)
    found = messages(url)
    assert [event["time"] for event in found] == ["2026-01-02T12:00:00Z", "2026-01-03T12:00:00Z"]
    assert {(event["source"], event["detail-type"], event["account"]) for event in found} == {
        ("aws.events", "Scheduled Event", "123456789012")
    }


# Events of RDS


@pytest.mark.full
def test_plain_moto_has_no_events() -> None:
    url = queue()
    rule()
    stopped_cluster()
    assert messages(url) == []


def test_aws_starts_a_cluster_after_seven_days_and_events_report_it(ruled: None) -> None:
    url = queue()
    rule()
    arn = stopped_cluster({"autostop": "yes"})
    days(8)
    found = messages(url)
    assert [(event["detail"]["EventID"], event["time"]) for event in found] == [
        ("RDS-EVENT-0150", "2026-01-01T12:05:00Z"),
        ("RDS-EVENT-0153", "2026-01-08T12:05:00Z"),
        ("RDS-EVENT-0151", "2026-01-08T12:15:00Z"),
    ]
    last = found[-1]
    assert (last["source"], last["detail-type"], last["region"]) == ("aws.rds", "RDS DB Cluster Event", REGION)
    assert last["resources"] == [last["detail"]["SourceArn"]] == [arn]
    assert last["detail"]["SourceType"] == "CLUSTER"
    assert last["detail"]["SourceIdentifier"] == "orders"
    assert last["detail"]["Tags"] == {"autostop": "yes"}


def test_an_instance_has_events_of_its_own(ruled: None) -> None:
    url = queue()
    rule()
    client("rds").create_db_instance(
        DBInstanceIdentifier="alone",
        Engine="postgres",
        DBInstanceClass="db.r6g.large",
        AllocatedStorage=20,
        MasterUsername="admin",
        MasterUserPassword="not-a-secret-1",
    )
    client("rds").stop_db_instance(DBInstanceIdentifier="alone")
    days(8)
    found = messages(url)
    assert [event["detail"]["EventID"][-4:] for event in found] == ["0087", "0154", "0088"]
    assert {(event["detail-type"], event["detail"]["SourceType"]) for event in found} == {
        ("RDS DB Instance Event", "DB_INSTANCE")
    }


def test_a_failed_stop_sends_an_event(ruled: None) -> None:
    url = queue()
    rule()
    rds_life.set_settings(failing_stops=["orders"])
    stopped_cluster()
    days(1)
    assert ids(url) == ["0152"]


def test_events_are_lost(ruled: None) -> None:
    url = queue()
    rule()
    eventbridge.set_settings(lost=1.0)
    stopped_cluster()
    days(8)
    assert ids(url) == []


def test_events_are_doubled(ruled: None) -> None:
    url = queue()
    rule()
    eventbridge.set_settings(doubled=1.0)
    stopped_cluster()
    days(1)
    assert ids(url) == ["0150", "0150"]


def test_events_are_late(ruled: None) -> None:
    url = queue()
    rule()
    eventbridge.set_settings(late=1.0, late_seconds=7200, seed=3)
    stopped_cluster()
    timeline.advance(301)
    assert ids(url) == []
    timeline.advance(7200)
    assert ids(url) == ["0150"]


def test_events_are_reordered(ruled: None) -> None:
    url = queue()
    rule()
    stopped_cluster()
    days(1)
    assert ids(url) == ["0150"]
    eventbridge.set_settings(reordered=1.0)
    days(6.0001 + 300 / 86400)  # 0153 is held back
    assert ids(url) == []
    eventbridge.set_settings()
    timeline.advance(600)
    assert ids(url) == ["0151", "0153"]


def test_a_disabled_rule_sends_nothing(ruled: None) -> None:
    url = queue()
    rule(state="DISABLED")
    rule("guard-sweep", state="DISABLED", ScheduleExpression="rate(1 day)")
    stopped_cluster()
    days(8)
    assert messages(url) == []


def test_a_queue_without_a_policy_gets_nothing(ruled: None) -> None:
    url = queue(policy=False)
    rule()
    stopped_cluster()
    days(1)
    assert messages(url) == []


def test_a_policy_for_other_rules_does_not_do(ruled: None) -> None:
    url = queue()
    rule("foreign")
    stopped_cluster()
    days(1)
    assert messages(url) == []


def state() -> str:
    return str(client("rds").describe_db_clusters()["DBClusters"][0]["Status"])


def test_readings_are_stale_only_for_a_while(ruled: None) -> None:
    stopped_cluster()
    rds_life.set_settings(stale_share=1.0, stale_seconds=60)
    assert state() == "available"
    timeline.advance(61)
    assert state() == "stopping"


def test_starts_take_as_long_as_they_take(ruled: None) -> None:
    def took() -> float:
        client("rds").start_db_cluster(DBClusterIdentifier="orders")
        began = CLOCK.now()
        while state() != "available":
            timeline.advance(300)
        client("rds").stop_db_cluster(DBClusterIdentifier="orders")
        days(1)
        return (CLOCK.now() - began).total_seconds() - 86400

    stopped_cluster()
    days(1)
    rds_life.set_settings(start_seconds=600, start_most=7200)
    times = [took() for _number in range(3)]
    assert len(set(times)) > 1
    assert all(600 <= time <= 7500 for time in times)


def test_a_share_of_calls_is_throttled_and_a_share_of_stops_fails(ruled: None) -> None:
    stopped_cluster()
    rds_life.set_settings(throttled_share=1.0)
    with pytest.raises(ClientError, match="Rate exceeded"):
        state()
    rds_life.set_settings(failing_share=1.0)
    timeline.advance(301)
    assert state() == "available"


def put(**more: Any) -> None:
    event = {"Source": "shop", "DetailType": "sale", "Detail": '{"of": "tea"}', **more}
    client("events").put_events(Entries=[event])


@pytest.mark.full
def test_plain_moto_sends_events_without_their_account_and_of_disabled_rules() -> None:
    url = queue()
    rule(EventPattern='{"source": ["shop"]}', state="DISABLED")
    put()
    (event,) = messages(url)
    assert "account" not in event


def test_the_bed_sends_them_whole(ruled: None) -> None:
    url = queue()
    rule(EventPattern='{"source": ["shop"]}')
    put()
    (event,) = messages(url)
    assert (event["account"], event["detail"]) == ("123456789012", {"of": "tea"})


# Queues


@pytest.mark.full
def test_plain_moto_knows_no_other_time_than_the_machines() -> None:
    url = queue(DelaySeconds=900)
    client("sqs").send_message(QueueUrl=url, MessageBody='"late"')
    CLOCK.advance(901)
    assert messages(url) == []


def test_delays_and_visibility_end_on_the_beds_clock(ruled: None) -> None:
    url = queue(DelaySeconds=900, VisibilityTimeout=600)
    client("sqs").send_message(QueueUrl=url, MessageBody='"late"')

    def count_visible() -> int:
        return len(client("sqs").receive_message(QueueUrl=url).get("Messages", []))

    assert count_visible() == 0
    timeline.advance(901)
    assert [count_visible(), count_visible()] == [1, 0]
    timeline.advance(601)
    assert count_visible() == 1


@pytest.mark.full
def test_plain_moto_gives_nothing_while_an_old_message_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    url = queue(MessageRetentionPeriod=60)
    client("sqs").send_message(QueueUrl=url, MessageBody='"old"')
    now = moto_time()
    monkeypatch.setattr("moto.sqs.models.unix_time", lambda when=None: now + 61)
    client("sqs").send_message(QueueUrl=url, MessageBody='"new"')
    assert messages(url) == []


def test_old_messages_go_and_the_others_stay(ruled: None) -> None:
    url = queue(MessageRetentionPeriod=60)
    client("sqs").send_message(QueueUrl=url, MessageBody='"old"')
    timeline.advance(61)
    client("sqs").send_message(QueueUrl=url, MessageBody='"new"')
    assert messages(url) == ["new"]


# Functions


def package(code: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("guard/__init__.py", "")
        archive.writestr("guard/main.py", code)
    return file.getvalue()


def function(code: str, timeout: int = 20, **environment: str) -> str:
    """Create a function and return its ARN."""
    role = client("iam").create_role(RoleName="guard", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    answer = client("lambda").create_function(
        FunctionName="guard",
        Runtime="python3.13",
        Role=role,
        Handler="guard.main.handle",
        Code={"ZipFile": package(code)},
        Timeout=timeout,
        Environment={"Variables": environment},
    )
    return str(answer["FunctionArn"])


def invoke(payload: Any = None) -> tuple[Any, str | None]:
    answer = client("lambda").invoke(FunctionName="guard", Payload=json.dumps(payload or {}))
    return json.loads(answer["Payload"].read() or "null"), answer.get("FunctionError")


WHERE = """
import datetime, json, os, time
def handle(event, context):
    found = []
    for name in ("boto3", "botocore", "moto", "testbed", "ansible"):
        try:
            __import__(name)
            found.append(name)
        except ImportError:
            pass
    print("a line for the log")
    return {"event": event, "found": found, "env": dict(os.environ), "name": context.function_name,
            "now": datetime.datetime.now(datetime.timezone.utc).isoformat(), "time": time.time(), "pid": os.getpid(),
            "left": context.get_remaining_time_in_millis()}
"""


def test_a_function_runs_as_a_process_with_its_environment_and_its_roles_credentials(
    ruled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEAK", "yes")
    function(WHERE, AUTOSTOP_OPTIONS="{}")
    output, error = invoke({"a": 1})
    assert error is None
    assert (output["event"], output["name"], output["found"]) == ({"a": 1}, "guard", [])
    env = output["env"]
    assert env["AUTOSTOP_OPTIONS"] == "{}"
    assert (env["AWS_REGION"], env["AWS_ENDPOINT_URL"]) == (REGION, functions.MACHINE.endpoint)
    assert "LEAK" not in env
    assert 0 < output["left"] <= 20_000
    keys = {"aws_access_key_id": env["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
    caller = boto3.client("sts", REGION, aws_session_token=env["AWS_SESSION_TOKEN"], **keys).get_caller_identity()
    assert caller["Arn"] == "arn:aws:sts::123456789012:assumed-role/guard/guard"
    assert output["now"].startswith("2026-01-01T12:00")  # the bed's time
    assert abs(output["time"] - START.timestamp()) < 60
    streams = client("logs").describe_log_streams(logGroupName="/aws/lambda/guard")["logStreams"]
    log = {"logGroupName": "/aws/lambda/guard", "logStreamName": streams[0]["logStreamName"]}
    (line,) = client("logs").get_log_events(**log)["events"]
    assert (line["message"], line["timestamp"]) == ("a line for the log", START.timestamp() * 1000)


def test_a_function_that_raises_or_takes_too_long_or_ends_has_failed(ruled: None) -> None:
    arn = function("def handle(event, context):\n    raise ValueError('no such cluster')\n", timeout=2)
    output, error = invoke()
    assert error
    assert (output["errorType"], output["errorMessage"]) == ("ValueError", "no such cluster")
    for code, expected in (
        ("import time\ndef handle(event, context):\n    time.sleep(60)\n", "Task timed out after 2.00 seconds"),
        ("import os\ndef handle(event, context):\n    os._exit(3)\n", "exit status 3"),
        ("import nothing_like_it\n", "No module named"),
    ):
        client("lambda").update_function_code(FunctionName=arn, ZipFile=package(code))
        output, error = invoke()
        assert error
        assert expected in output["errorMessage"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record events with their time instead of running functions. ANSWERS has the responses."""
    received: list[Any] = []
    ANSWERS.clear()

    def run(called: Any, event: Any) -> functions.Ran:
        received.append((round((CLOCK.now() - START).total_seconds()), event))
        answer = ANSWERS.pop(0) if ANSWERS else None
        return ("{}", True, "") if answer is FAILS else (json.dumps(answer), False, "")

    monkeypatch.setattr(functions.MACHINE, "run", run)
    return received


FAILS = object()
ANSWERS: list[Any] = []


def fed(**attributes: Any) -> str:
    url = queue(VisibilityTimeout=600, **attributes)
    client("lambda").create_event_source_mapping(
        EventSourceArn=arn_of("guard"),
        FunctionName="guard",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    return url


@pytest.mark.full
def test_plain_moto_hands_a_delayed_message_over_at_once(calls: list[Any]) -> None:
    function("")
    url = fed(DelaySeconds=300)
    with rules.installed([rule for rule in rules.load() if rule.name == "functions_run"]):
        client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    # It polls the queue, which still hides the message, and invokes without messages. It never polls again.
    CLOCK.advance(301)
    assert calls == []


def test_a_queue_feeds_a_function_after_its_delay(ruled: None, calls: list[Any]) -> None:
    function("")
    url = fed(DelaySeconds=300)
    for number in range(12):
        client("sqs").send_message(QueueUrl=url, MessageBody=str(number))
    timeline.advance(299)
    assert calls == []
    timeline.advance(10)
    assert [(at, len(event["Records"])) for at, event in calls] == [(300, 10), (300, 2)]
    record = calls[0][1]["Records"][0]
    assert (record["body"], record["eventSource"], record["awsRegion"]) == ("0", "aws:sqs", REGION)
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    days(1)
    assert len(calls) == 2


def test_what_is_reported_as_failed_comes_back_and_ends_in_the_dead_letter_queue(ruled: None, calls: list[Any]) -> None:
    function("")
    dead = queue("dead")
    url = fed(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn_of("dead"), "maxReceiveCount": 3}))
    sent = [client("sqs").send_message(QueueUrl=url, MessageBody=body)["MessageId"] for body in ('"a"', '"b"')]
    ANSWERS.extend([{"batchItemFailures": [{"itemIdentifier": sent[1]}]}, FAILS, {"batchItemFailures": None}])
    timeline.advance(1)
    assert [record["body"] for record in calls[0][1]["Records"]] == ['"a"', '"b"']
    days(1)
    assert [(at, [r["body"] for r in event["Records"]]) for at, event in calls[1:]] == [(600, ['"b"']), (1200, ['"b"'])]
    assert calls[2][1]["Records"][0]["attributes"]["ApproximateReceiveCount"] == "3"
    assert messages(dead) == []

    client("sqs").send_message(QueueUrl=url, MessageBody='"c"')
    ANSWERS.extend([FAILS, {"batchItemFailures": [{"itemIdentifier": "of nobody"}]}, FAILS])
    days(1)
    assert len(calls) == 6
    assert messages(dead) == ["c"]


@pytest.mark.full
def test_plain_moto_takes_a_visibility_shorter_than_the_function_runs(calls: list[Any]) -> None:
    function("", timeout=900)
    fed()


def test_the_bed_refuses_it(ruled: None, calls: list[Any]) -> None:
    function("", timeout=900)
    expected = "Queue visibility timeout: 600 seconds is less than Function timeout: 900 seconds"
    with pytest.raises(ClientError, match=expected) as caught:
        fed()
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def grant() -> None:
    client("lambda").add_permission(
        FunctionName="guard",
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=f"arn:aws:events:{REGION}:123456789012:rule/guard",
    )


@pytest.mark.full
def test_plain_moto_sends_no_event_to_a_function() -> None:
    rule(target=function(""), EventPattern='{"source": ["shop"]}')
    with pytest.raises(NotImplementedError):
        put()


def test_events_reach_a_function_that_allows_it_and_are_tried_three_times(ruled: None, calls: list[Any]) -> None:
    rule(target=function(""))
    stopped_cluster()
    timeline.advance(301)
    assert calls == []
    grant()
    ANSWERS.extend([FAILS, FAILS, FAILS])
    days(8)
    assert [at for at, _event in calls[:3]] == [7 * 86400 + 300, 7 * 86400 + 360, 7 * 86400 + 480]
    assert [event["detail"]["EventID"][-4:] for _at, event in calls] == ["0153", "0153", "0153", "0151"]


def test_several_weeks_go_by_in_their_order(ruled: None, calls: list[Any]) -> None:
    rule(target=function(""))
    grant()
    stopped_cluster()
    days(28)
    assert [event["detail"]["EventID"][-4:] for _at, event in calls] == ["0150", "0153", "0151"]
    assert CLOCK.now() == START + timedelta(days=28)


# A server with all rules

CALLS = """
import http.client, json, os
from urllib.parse import urlsplit
def handle(event, context):
    address = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(address.hostname, address.port)
    sign = "AWS4-HMAC-SHA256 Credential=%s/20260101/%s/rds/aws4_request, SignedHeaders=host, Signature=0"
    headers = {"Content-Type": "application/x-www-form-urlencoded",
               "Authorization": sign % (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_REGION"])}
    name = json.loads(event["Records"][0]["body"])["detail"]["SourceIdentifier"]
    body = "Action=StopDBCluster&Version=2014-10-31&DBClusterIdentifier=" + name
    connection.request("POST", "/", body, headers)
    if connection.getresponse().status != 200:
        raise RuntimeError("not yet")
"""


def test_a_week_goes_by_on_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS starts a cluster. A queue passes its event to the function, which calls AWS until the stop succeeds."""
    with own_aws() as aws:
        monkeypatch.setattr(f"{__name__}.client", aws.client)
        function(CALLS)
        fed()
        rule(EventPattern=json.dumps({"source": ["aws.rds"], "detail": {"EventID": ["RDS-EVENT-0153"]}}))
        stopped = aws.client("rds").create_db_cluster(
            DBClusterIdentifier="orders",
            Engine="aurora-mysql",
            MasterUsername="admin",
            MasterUserPassword="not-a-secret-1",
        )
        assert stopped["DBCluster"]["DBClusterIdentifier"] == "orders"
        aws.send_command("rds/edit", region=REGION, name="orders", status="available")
        aws.client("rds").stop_db_cluster(DBClusterIdentifier="orders")
        aws.advance(days=7.1)
        assert [(call.operation, call.error) for call in aws.calls()] == [
            ("StopDBCluster", "InvalidDBClusterStateFault"),
            ("StopDBCluster", ""),
        ]
        cluster = aws.client("rds").describe_db_clusters()["DBClusters"][0]
        assert cluster["Status"] == "stopped"
