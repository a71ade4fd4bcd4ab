# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard from its installation to its removal: the plays, and the function's runs between them.

Many tests check one recorded story, because each play takes seconds.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from integration.plays import playbook_of
from integration.targets.aurora_autostop.kit import OTHER, REGION, YES, Account, TaskResult
from testbed import paths
from testbed.gate import Fault
from testbed.own_aws import OwnAws
from testbed.recorder import Call

PLAYBOOK = "daytwo.aws.aurora_autostop_guard"
ROOT = Path(__file__).parents[4]
NAME = "daytwo-autostop"
OWNER = {"daytwo-aws-autostop-guard": NAME}
TAGS = {**OWNER, "team": "data"}
PARTS = [
    f"{REGION}: log group /aws/lambda/{NAME}",
    f"{REGION}: dead letter queue {NAME}-dlq",
    f"{REGION}: queue {NAME}",
    f"{REGION}: role {NAME}-{REGION}",
    f"{REGION}: policy {NAME}",
    f"{REGION}: function {NAME}",
    f"{REGION}: event source mapping {NAME} to {NAME}",
    f"{REGION}: event rule {NAME}-events",
    f"{REGION}: sweep rule {NAME}-sweep",
    f"{REGION}: alarm {NAME}-dlq",
]
EVERY_OPTION = {
    "aurora_autostop_include_instances": True,
    "aurora_autostop_migrate_tags": True,
    "aurora_autostop_sweep_policy": "auto_started_only",
    "aurora_autostop_tag_values": ["yes", "on"],
}

# Lambda sees a new role and its policy only after some seconds. The messages are from public reports.
SLOW_IAM = [
    Fault("error", operation, status=400, code="InvalidParameterValueException", message=message, times=1)
    for operation, message in {
        "CreateFunction": "The role defined for the function cannot be assumed by Lambda.",
        "CreateEventSourceMapping": "The function execution role does not have permissions to call ReceiveMessage.",
    }.items()
]


@dataclass
class Play:
    results: list[TaskResult]
    calls: list[Call]

    @property
    def lines(self) -> list[str]:
        (shown,) = [result for result in self.results if result.task.endswith("Show the result of each part")]
        return list(shown.result["msg"])

    @property
    def changed(self) -> list[str]:
        return [result.task for result in self.results if result.changed]

    @property
    def failures(self) -> list[str]:
        return [result.message for result in self.results if result.failed]

    @property
    def actions(self) -> set[str]:
        return {call.action for call in self.calls}

    @property
    def writes(self) -> list[str]:
        return [call.operation for call in self.calls if call.mutating]


@dataclass
class Story:
    plays: dict[str, Play] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)  # the guard's parts as AWS shows them after the installation
    restored: dict[str, Any] = field(default_factory=dict)  # the same after a drift and a play with other options
    policies: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    function: dict[str, set[str]] = field(default_factory=dict)  # the function's calls, as actions
    logs: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def play(account: Account, *options: str, **extra: Any) -> Play:
    account.aws.forget()
    results = account.play(PLAYBOOK, *options, "-e", json.dumps(extra))
    return Play(results, account.aws.calls())


def shown(account: Account) -> dict[str, Any]:
    """Reads every part from its service."""
    aws = account.aws
    sqs, events, awslambda = aws.client("sqs"), aws.client("events"), aws.client("lambda")
    found: dict[str, Any] = {}
    for name in (NAME, f"{NAME}-dlq"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found[f"queue {name}"] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        found[f"queue {name}"]["Tags"] = sqs.list_queue_tags(QueueUrl=url)["Tags"]
    for name in ("events", "sweep"):
        rule = events.describe_rule(Name=f"{NAME}-{name}")
        rule["Tags"] = pairs(events.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"])
        rule["Targets"] = events.list_targets_by_rule(Rule=f"{NAME}-{name}")["Targets"]
        found[f"rule {name}"] = rule
    found["function"] = awslambda.get_function(FunctionName=NAME)
    (mapping,) = awslambda.list_event_source_mappings(FunctionName=NAME)["EventSourceMappings"]
    found["mapping"] = {**mapping, "Tags": awslambda.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"]}
    role = aws.client("iam").get_role(RoleName=f"{NAME}-{REGION}")["Role"]
    found["role"] = {**role, "Tags": pairs(role["Tags"])}
    (group,) = aws.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{NAME}")["logGroups"]
    group["Tags"] = aws.client("logs").list_tags_log_group(logGroupName=group["logGroupName"])["tags"]
    found["log group"] = group
    (alarm,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[f"{NAME}-dlq"])["MetricAlarms"]
    alarm["Tags"] = pairs(aws.client("cloudwatch").list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])
    found["alarm"] = alarm
    return found


def drift(account: Account) -> None:
    """Drift by manual changes: tags removed, settings changed, the function's code replaced."""
    aws = account.aws
    events, awslambda, cloudwatch = aws.client("events"), aws.client("lambda"), aws.client("cloudwatch")
    for name in (NAME, f"{NAME}-dlq"):
        url = aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
        aws.client("sqs").untag_queue(QueueUrl=url, TagKeys=["team"])
        aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "60"})
    for name in ("events", "sweep"):
        events.untag_resource(ResourceARN=events.describe_rule(Name=f"{NAME}-{name}")["Arn"], TagKeys=["team"])
    events.put_targets(Rule=f"{NAME}-events", Targets=[{"Id": "mine", "Arn": f"arn:aws:sqs:{REGION}:1:mine"}])
    events.disable_rule(Name=f"{NAME}-sweep")
    function = awslambda.get_function(FunctionName=NAME)["Configuration"]["FunctionArn"]
    (mapping,) = awslambda.list_event_source_mappings(FunctionName=NAME)["EventSourceMappings"]
    for arn in (function, mapping["EventSourceMappingArn"]):
        awslambda.untag_resource(Resource=arn, TagKeys=["team"])
    awslambda.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=3)
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "")
    awslambda.update_function_code(FunctionName=NAME, ZipFile=package.getvalue())
    aws.client("iam").untag_role(RoleName=f"{NAME}-{REGION}", TagKeys=["team"])
    trust = aws.client("iam").get_role(RoleName=f"{NAME}-{REGION}")["Role"]["AssumeRolePolicyDocument"]
    trust["Statement"][0]["Principal"] = {"Service": "ec2.amazonaws.com"}
    aws.client("iam").update_assume_role_policy(RoleName=f"{NAME}-{REGION}", PolicyDocument=json.dumps(trust))
    aws.client("logs").untag_log_group(logGroupName=f"/aws/lambda/{NAME}", tags=["team"])
    aws.client("logs").put_retention_policy(logGroupName=f"/aws/lambda/{NAME}", retentionInDays=1)
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[f"{NAME}-dlq"])["MetricAlarms"]
    cloudwatch.untag_resource(ResourceARN=alarm["AlarmArn"], TagKeys=["team"])
    kept = ("AlarmName", "Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "ComparisonOperator")
    cloudwatch.put_metric_alarm(**{key: alarm[key] for key in kept}, Threshold=1000.0)


def pairs(listed: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed}


def policy(account: Account) -> dict[str, Any]:
    response = account.aws.client("iam").get_role_policy(RoleName=f"{NAME}-{REGION}", PolicyName=NAME)
    return dict(response["PolicyDocument"])


def logged(account: Account) -> list[dict[str, Any]]:
    logs = account.aws.client("logs")
    lines = []
    for stream in logs.describe_log_streams(logGroupName=f"/aws/lambda/{NAME}")["logStreams"]:
        events = logs.get_log_events(
            logGroupName=f"/aws/lambda/{NAME}", logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
        lines += [json.loads(text) for event in events for text in event["message"].splitlines() if text[:1] == "{"]
    return lines


def left(account: Account) -> list[str]:
    """The names of all remaining resources."""
    aws = account.aws
    names = [*(aws.client("sqs").list_queues().get("QueueUrls") or [])]
    names += [entry["Name"] for entry in aws.client("events").list_rules()["Rules"]]
    names += [entry["FunctionName"] for entry in aws.client("lambda").list_functions()["Functions"]]
    names += [entry["UUID"] for entry in aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]]
    names += [entry["RoleName"] for entry in aws.client("iam").list_roles()["Roles"]]
    names += [entry["logGroupName"] for entry in aws.client("logs").describe_log_groups()["logGroups"]]
    names += [entry["AlarmName"] for entry in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    return names


@pytest.fixture(scope="module")
def story(aws: OwnAws, tmp_path_factory: pytest.TempPathFactory) -> Story:
    account = Account(aws, tmp_path_factory.mktemp("guard"))
    recorded = Story()
    tags = {"aurora_autostop_resource_tags": {"team": "data"}}
    recorded.plays["check"] = play(account, "--check", **tags)
    aws.fail(*SLOW_IAM)
    recorded.plays["run"] = play(account, **tags)
    aws.fail()
    recorded.parts = shown(account)
    recorded.policies["plain"] = policy(account)
    recorded.plays["check again"] = play(account, "--check", **tags)
    recorded.plays["run again"] = play(account, **tags)

    # A day: the sweep finds clusters without an event. A week later: AWS starts the cluster, and the guard stops it.
    account.cluster("orders", YES)
    account.cluster("untagged")
    account.cluster("held", {**YES, "autostop-until": "2040-01-01"})
    aws.forget()
    aws.advance(days=1.1)
    recorded.statuses["after a day"] = account.statuses()
    aws.advance(days=7)
    aws.advance(seconds=3600)
    recorded.statuses["after a week"] = account.statuses()
    recorded.function["plain"] = {call.action for call in aws.calls()}
    recorded.logs = logged(account)

    drift(account)
    recorded.plays["every option"] = play(account, **tags, **EVERY_OPTION)
    recorded.restored = shown(account)
    recorded.policies["every option"] = policy(account)
    rds = aws.client("rds")
    rds.create_global_cluster(GlobalClusterIdentifier="alone", Engine="aurora-mysql")
    account.cluster("sole", YES, GlobalClusterIdentifier="alone")
    moved = account.cluster("moved", members=["moved-1"])
    account.tag(moved.replace("cluster:moved", "db:moved-1"), YES)
    account.instance("alone", YES)
    rds.stop_db_cluster(DBClusterIdentifier="moved")
    rds.stop_db_instance(DBInstanceIdentifier="alone")
    aws.forget()
    aws.advance(days=7.5)
    aws.advance(days=1)
    recorded.statuses["every option"] = account.statuses()
    recorded.tags = {"moved": account.tags(moved)}
    recorded.function["every option"] = {call.action for call in aws.calls()}

    recorded.plays["absent, check"] = play(account, "--check", aurora_autostop_state="absent")
    recorded.plays["absent"] = play(account, aurora_autostop_state="absent")
    recorded.left = left(account)
    recorded.plays["absent again"] = play(account, aurora_autostop_state="absent")
    return recorded


def test_nothing_failed(story: Story) -> None:
    assert {name: run.failures for name, run in story.plays.items() if run.failures} == {}


def test_check_mode_predicts_and_writes_nothing(story: Story) -> None:
    assert story.plays["check"].writes == []
    assert story.plays["check"].lines == story.plays["run"].lines == [f"{part}: changed" for part in PARTS]
    assert story.plays["absent, check"].writes == []
    assert story.plays["absent, check"].lines == story.plays["absent"].lines


def test_a_second_run_changes_nothing(story: Story) -> None:
    for name in ("check again", "run again"):
        assert story.plays[name].lines == [f"{part}: ok" for part in PARTS]
        assert story.plays[name].changed == []
        assert story.plays[name].writes == []


def test_every_part_bears_the_tags(story: Story) -> None:
    assert {name: part["Tags"] for name, part in story.parts.items()} == dict.fromkeys(story.parts, TAGS)


def test_the_arithmetic_of_the_queue(story: Story) -> None:
    """Receives times visibility cover a day, until the next sweep begins. Lambda requires six function timeouts."""
    queue, dead = story.parts[f"queue {NAME}"], story.parts[f"queue {NAME}-dlq"]
    configuration = story.parts["function"]["Configuration"]
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    visibility = int(queue["VisibilityTimeout"])
    assert visibility == 6 * configuration["Timeout"]
    assert visibility * int(redrive["maxReceiveCount"]) >= 24 * 3600
    assert int(queue["MessageRetentionPeriod"]) > visibility * int(redrive["maxReceiveCount"])
    assert 0 < int(queue["DelaySeconds"]) + visibility <= 900
    assert dead["MessageRetentionPeriod"] == "1209600"


def test_only_the_guards_rules_reach_its_queue(story: Story) -> None:
    (statement,) = json.loads(story.parts[f"queue {NAME}"]["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    rules = [story.parts[f"rule {name}"]["Arn"] for name in ("events", "sweep")]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": rules}}


def test_what_the_rules_wait_for(story: Story) -> None:
    pattern = json.loads(story.parts["rule events"]["EventPattern"])
    assert pattern["detail"] == {"EventID": ["RDS-EVENT-0153", "RDS-EVENT-0151"]}
    assert story.parts["rule sweep"]["ScheduleExpression"] == "rate(1 day)"
    arn = story.parts[f"queue {NAME}"]["QueueArn"]
    assert [story.parts[f"rule {name}"]["Targets"] for name in ("events", "sweep")] == [
        [{"Id": "queue", "Arn": arn}]
    ] * 2
    assert story.parts["mapping"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_function_keeps_clusters_off(story: Story) -> None:
    expected = {"orders": "stopped", "untagged": "available", "held": "available"}
    assert story.statuses["after a day"] == expected
    assert story.statuses["after a week"] == expected


def test_the_function_logs_a_line_per_cluster(story: Story) -> None:
    about = [line for line in story.logs if line.get("name") == "orders"]
    assert {line["status"] for line in about} >= {"changed", "ok"}
    assert all(line["reason"] for line in about)
    assert any(line["kept"] for line in about)
    assert [line for line in story.logs if line.get("name") == "held" and line["status"] != "skipped"] == []


def test_every_option_reaches_the_function(story: Story) -> None:
    assert story.statuses["every option"]["moved"] == "stopped"  # AWS started it
    assert story.statuses["every option"]["sole"] == "available"  # AWS did not
    assert story.tags["moved"] == YES
    assert any("update" in call.operation.lower() for call in story.plays["every option"].calls)


def test_drift_is_corrected(story: Story) -> None:
    """Everything except what the other options change."""
    before, after = settings(story.parts), settings(story.restored)
    pattern = json.loads(after["rule events"].pop("EventPattern"))
    assert pattern["detail"]["EventID"] == [f"RDS-EVENT-{number}" for number in ("0153", "0151", "0154", "0088")]
    before["rule events"].pop("EventPattern")
    assert after == before


def settings(parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    kept = {
        f"queue {NAME}": ("VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy", "Policy"),
        f"queue {NAME}-dlq": ("MessageRetentionPeriod",),
        "rule events": ("EventPattern", "State", "Targets"),
        "rule sweep": ("ScheduleExpression", "State", "Targets"),
        "mapping": ("BatchSize", "State", "FunctionResponseTypes", "ScalingConfig"),
        "role": ("AssumeRolePolicyDocument",),
        "log group": ("retentionInDays",),
        "alarm": ("Threshold", "Dimensions", "AlarmDescription", "TreatMissingData"),
    }
    found = {name: {key: parts[name][key] for key in (*keys, "Tags")} for name, keys in kept.items()}
    found["function"] = {key: parts["function"]["Configuration"][key] for key in ("CodeSha256", "Handler", "Timeout")}
    found["function"]["Tags"] = parts["function"]["Tags"]
    return found


def test_absent_leaves_nothing(story: Story) -> None:
    assert story.left == []
    assert story.plays["absent again"].changed == []
    assert story.plays["absent again"].writes == []


# The documented policies against the recorded calls


def statements(name: str) -> list[dict[str, Any]]:
    return list(json.loads((ROOT / f"docs/iam/{name}.json").read_text())["Statement"])


def actions(listed: list[dict[str, Any]]) -> set[str]:
    return {
        action
        for statement in listed
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


# Calls that Lambda itself makes with the function's role (Lambda guide on SQS, and on logs). The test bed makes them
# internally.
BY_LAMBDA = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} | {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
}


def test_the_functions_policy_is_what_it_calls_and_nothing_more(story: Story) -> None:
    plain = actions(story.policies["plain"]["Statement"])
    every = actions(story.policies["every option"]["Statement"])
    assert story.function["every option"] | story.function["plain"] == every - BY_LAMBDA
    assert story.function["plain"] <= plain
    assert every - plain == {
        "rds:StopDBInstance",
        "rds:AddTagsToResource",
        "rds:RemoveTagsFromResource",
        "rds:DescribeEvents",
    }
    for statement in story.policies["every option"]["Statement"]:
        if "Stop" in str(statement["Action"]):
            assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/autostop": ["yes", "on"]}}
            assert statement["Resource"] != "*"


def test_the_functions_policy_is_the_documented_policy(story: Story) -> None:
    text = (ROOT / "docs/iam/aurora_autostop_function.json").read_text()
    for name, value in {"REGION": REGION, "ACCOUNT": paths.ACCOUNT, "PREFIX": NAME}.items():
        text = text.replace(name, value)
    installed = json.dumps(story.policies["every option"]).replace('["yes", "on"]', '["yes"]')
    assert json.loads(installed) == json.loads(text)


def test_the_installers_policy_is_what_the_plays_call_and_nothing_more(story: Story) -> None:
    called = set().union(*(run.actions for run in story.plays.values()))
    listed = statements("aurora_autostop_guard")
    # Permissions without a call of their own: to pass a role, and to tag a new resource (service authorization
    # reference). GetCallerIdentity needs no permission.
    assert actions(listed) - called == {"iam:PassRole", "logs:TagResource", *OTHERWISE}
    assert called - actions(listed) == {"sts:GetCallerIdentity"}


# Permissions of options that the story does not use.
OTHERWISE = {"iam:PutRolePermissionsBoundary", "ec2:DescribeRegions"}


# Errors

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


def test_unmanaged_resources_are_never_taken_over(account: Account) -> None:
    account.aws.client("sqs").create_queue(QueueName=NAME, tags={"daytwo-aws-autostop-guard": "another"})
    account.aws.client("iam").create_role(RoleName=f"{NAME}-{OTHER}", AssumeRolePolicyDocument=json.dumps(TRUST))
    before = left(account)
    refused = play(account, aurora_autostop_regions=[REGION, OTHER])
    (message,) = refused.failures
    assert f"{NAME} (queue in {REGION}). {NAME}-{OTHER} (role in {OTHER})." in " ".join(message.split())
    removed = play(account, aurora_autostop_state="absent")
    assert f"{REGION}: queue {NAME}: skipped, not managed by the guard" in removed.lines
    assert refused.writes == removed.writes == []
    assert left(account) == before


def test_removal_leaves_somebody_elses_function_its_queue_and_what_joins_them(account: Account) -> None:
    queue = account.aws.client("sqs").create_queue(QueueName=NAME, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    trust = json.dumps(TRUST)
    role = account.aws.client("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument=trust)["Role"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("handler.py", "")
    awslambda = account.aws.client("lambda")
    awslambda.create_function(
        FunctionName=NAME, Runtime="python3.13", Role=role["Arn"], Handler="h.h", Code={"ZipFile": package.getvalue()}
    )
    arn = account.aws.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    awslambda.create_event_source_mapping(FunctionName=NAME, EventSourceArn=arn["QueueArn"])
    before = left(account)
    removed = play(account, aurora_autostop_state="absent")
    assert f"{REGION}: event source mapping {NAME} to {NAME}: skipped, not managed by the guard" in removed.lines
    assert removed.failures == removed.writes == []
    assert left(account) == before


def test_a_region_that_fails_does_not_stop_the_others_and_is_reported(account: Account) -> None:
    """Numbers are valid tag values: YAML reads a cost centre as a number."""
    options = {"aurora_autostop_regions": [REGION, OTHER], "aurora_autostop_resource_tags": {"cost-center": 7}}
    account.aws.deny(f"lambda:CreateFunction@{REGION}")
    made = play(account, **options)
    assert [line for line in made.lines if not line.endswith(": changed")] == [
        f"{REGION}: function {NAME}: failed",
        *(f"{part}: not done" for part in PARTS[6:]),
    ]
    assert len(made.lines) == 2 * len(PARTS)
    assert REGION in made.failures[-1]
    assert "CreateFunction" in made.failures[-1]
    assert OTHER not in made.failures[-1]
    assert account.aws.client("lambda", OTHER).get_function(FunctionName=NAME)["Tags"]["cost-center"] == "7"

    account.aws.deny(f"sqs:DeleteQueue@{OTHER}")
    removed = play(account, **options, aurora_autostop_state="absent")
    assert [line for line in removed.lines if line.startswith(f"{OTHER}: ") and not line.endswith(": changed")] == [
        f"{OTHER}: queue {NAME}: failed",
        f"{OTHER}: dead letter queue {NAME}-dlq: failed",
        f"{OTHER}: role {NAME}-{OTHER}: not done",
        f"{OTHER}: log group /aws/lambda/{NAME}: not done",
    ]
    assert f"{REGION}: log group /aws/lambda/{NAME}: changed" in removed.lines
    assert "DeleteQueue" in removed.failures[-1]


def test_a_botocore_that_hides_global_databases_is_refused(account: Account, tmp_path: Path) -> None:
    (tmp_path / "botocore").mkdir()
    (tmp_path / "botocore/__init__.py").write_text("")
    described = tmp_path / "botocore-1.38.46.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: botocore\nVersion: 1.38.46\n")
    (described / "RECORD").write_text("botocore/__init__.py,,\nbotocore-1.38.46.dist-info/METADATA,,\n")
    refused = play(
        account, aurora_autostop_botocore="botocore>=1.30", aurora_autostop_distributions_path=[str(tmp_path)]
    )
    assert "1.39" in refused.failures[0]
    assert "1.38.46" in refused.failures[0]
    assert refused.writes == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"aurora_autostop_prefix": "-a"}, "is invalid"),
        ({"aurora_autostop_tag_values": [], "aurora_autostop_tag_key": ""}, "tag_key is empty"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    account: Account, options: dict[str, Any], text: str
) -> None:
    refused = play(account, **options)
    assert text in refused.failures[0]
    assert refused.writes == []


def test_a_trigger_without_its_function_changes_nothing(account: Account) -> None:
    task = {"daytwo.aws.aurora_autostop_trigger": {}, "ignore_errors": True}
    steps = [{**task, "check_mode": True}, {**task, "check_mode": False}]
    checked, ran = account.play(playbook_of(account.folder, 0, steps))
    for refused in (checked, ran):
        assert f"function {NAME} does not exist" in refused.message
        assert {part["status"] for part in refused.result["parts"]} == {"failed"}
        assert not refused.changed
    assert account.writes() == []


@pytest.mark.full
def test_a_removal_where_nothing_is_installed(account: Account) -> None:
    for options in (("--check",), ()):
        removed = play(account, *options, aurora_autostop_state="absent")
        assert removed.failures == removed.changed == removed.writes == []
        assert {line.rsplit(": ", 1)[1] for line in removed.lines} == {"ok"}


def test_defaults_of_the_action_group_reach_every_module(account: Account, tmp_path: Path) -> None:
    """A profile and a region in the group: the profile has the only credentials, the region counts nowhere."""
    (tmp_path / "config").write_text(f"[profile planted]\nregion = {OTHER}\n")
    (tmp_path / "credentials").write_text("[planted]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    role = {"name": "daytwo.aws.aurora_autostop"}
    defaults = {"group/daytwo.aws.aws": {"profile": "planted", "region": OTHER}}
    steps = [{"ansible.builtin.include_role": role, "vars": {"aurora_autostop_mode": "guard"}}]
    playbook = tmp_path / "group.yml"
    variables = {"aurora_autostop_regions": [REGION]}
    plays = [
        {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "vars": variables, "tasks": steps}
    ]
    playbook.write_text(json.dumps(plays))
    files = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ""),
    }
    results = account.play(str(playbook), "--check", env=files)
    assert [result.message for result in results if result.failed] == []
    services = {call.service for call in account.aws.calls()}
    assert services >= {"logs", "sqs", "iam", "lambda", "events", "sts"}, "each module made its calls"
    assert {call.region for call in account.aws.calls() if call.service not in ("iam", "sts")} == {REGION}
