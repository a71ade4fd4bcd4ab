# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module runs on: its options, the account before, and the part of the account that it can change."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import OTHER, REGION, YES
from integration.targets.aurora_autostop.kit import Account as AutostopAccount
from integration.targets.aws_faults.faults import FaultGate
from integration.targets.eks_sysctl_nodegroup.kit import CLUSTER
from integration.targets.eks_sysctl_nodegroup.kit import Account as NodeGroupAccount
from integration.targets.iam_irsa_namespace.kit import Account as IrsaAccount
from integration.targets.iam_irsa_namespace.kit import document
from testbed.gate import Rules
from testbed.own_aws import HOST, OwnAws, OwnGate
from testbed.proxy import Proxy

GUARD = "daytwo-autostop"
HERE = Path(__file__).parent
Account = Any
State = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A module with options that make it do all that it can. C(items): the key of its results by item."""

    name: str
    module: str
    args: Mapping[str, Any]
    prepare: Callable[[OwnAws], Account]
    read_state: Callable[[Account], State]
    items: str = ""
    fails: bool = False  # also without a failure of AWS: there is no Kubernetes API here


def read_databases(account: AutostopAccount) -> State:
    state: State = {}
    for region in (REGION, OTHER):
        rds = account.aws.client("rds", region)
        for cluster in rds.describe_db_clusters()["DBClusters"]:
            state[cluster["DBClusterArn"]] = (cluster["Status"], tags_of(cluster["TagList"]))
        for instance in rds.describe_db_instances()["DBInstances"]:
            state[instance["DBInstanceArn"]] = (instance["DBInstanceStatus"], tags_of(instance["TagList"]))
    return state


def tags_of(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def read_roles(account: IrsaAccount) -> State:
    iam = account.aws.client("iam")
    state: State = {}
    for role in iam.list_roles()["Roles"]:
        attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
        state[role["RoleName"]] = (role["AssumeRolePolicyDocument"], sorted(policy["PolicyArn"] for policy in attached))
    for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = provider["Arn"]
        state[arn] = sorted(iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"])
    return state


def read_node_groups(account: NodeGroupAccount) -> State:
    state: State = {}
    for name in account.groups():
        group = account.group(name)
        kept = ("scalingConfig", "taints", "tags", "labels", "amiType")
        state[name] = {key: group.get(key) for key in kept}
        state[name]["template"] = bool(group.get("launchTemplate"))
    ec2 = account.ec2
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        if not template["LaunchTemplateName"].startswith("eks-"):
            found = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
            versions = [version["LaunchTemplateData"].get("UserData") for version in found["LaunchTemplateVersions"]]
            state[f"template {template['LaunchTemplateName']}"] = versions
    return state


def read_guard(account: AutostopAccount) -> State:
    aws = account.aws
    rules, alarms, functions = aws.client("events"), aws.client("cloudwatch"), aws.client("lambda")
    state: State = {}
    for rule in rules.list_rules()["Rules"]:
        targets = rules.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        kept = {key: rule.get(key) for key in ("EventPattern", "ScheduleExpression", "State", "Description")}
        state[rule["Name"]] = (kept, sorted(target["Arn"] for target in targets))
    for alarm in alarms.describe_alarms()["MetricAlarms"]:
        state[alarm["AlarmName"]] = {key: alarm.get(key) for key in ("MetricName", "Threshold", "AlarmActions")}
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        state[f"mapping {mapping['EventSourceArn']}"] = (mapping["BatchSize"], mapping["FunctionArn"])
    return state


def read_nothing(_account: Account) -> State:
    return {}


def prepare_databases(aws: OwnAws) -> AutostopAccount:
    account = AutostopAccount(aws, HERE)
    aws.send_command("rds/settings", stop_seconds=0)
    account.cluster("a", YES)
    account.cluster("b", YES)
    account.cluster("c", members=("m",))
    account.tag(aws.client("rds").describe_db_instances()["DBInstances"][0]["DBInstanceArn"], YES)
    account.cluster("d", YES, region=OTHER)
    return account


def prepare_guard(aws: OwnAws) -> AutostopAccount:
    account = AutostopAccount(aws, HERE)
    role = aws.client("iam").create_role(
        RoleName=f"{GUARD}-{REGION}",
        AssumeRolePolicyDocument=json.dumps(
            document({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})
        ),
    )["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    policy = json.dumps(document(allowed))
    aws.client("iam").put_role_policy(RoleName=f"{GUARD}-{REGION}", PolicyName=GUARD, PolicyDocument=policy)
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "")
    owner = {"daytwo-aws-autostop-guard": GUARD}
    aws.client("lambda").create_function(
        FunctionName=GUARD,
        Runtime="python3.13",
        Role=role,
        Handler="handler.handle",
        Code={"ZipFile": code.getvalue()},
        Tags=owner,
        Timeout=60,
    )
    for name in (GUARD, f"{GUARD}-dlq"):
        aws.client("sqs").create_queue(QueueName=name, tags=owner, Attributes={"VisibilityTimeout": "400"})
    return account


def prepare_roles(aws: OwnAws) -> IrsaAccount:
    account = IrsaAccount(aws, HERE)
    cluster = account.cluster_of("blue")
    account.cluster_of("green", provider=False)
    policy = document({"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"})
    aws.client("iam").create_policy(PolicyName="read", PolicyDocument=json.dumps(policy))
    account.role("app", document(cluster.trust("shop/old", "shop/kept")))
    account.role("api", document(cluster.trust("shop/other", "shop/kept")))
    return account


def prepare_node_groups(aws: OwnAws) -> NodeGroupAccount:
    account = NodeGroupAccount(aws, HERE)
    account.create("old")
    account.create("other")
    return account


def then(prepare: Callable[[OwnAws], Account], change: Callable[[Account], None]) -> Callable[[OwnAws], Account]:
    def prepare_more(aws: OwnAws) -> Account:
        account = prepare(aws)
        change(account)
        return account

    return prepare_more


def freeze_both(account: NodeGroupAccount) -> None:
    for name in ("old", "other"):
        tags = {"daytwo.aws/frozen-scaling": "1/3/2"}
        account.eks.tag_resource(resourceArn=account.group(name)["nodegroupArn"], tags=tags)
        account.eks.update_nodegroup_config(
            clusterName=CLUSTER,
            nodegroupName=name,
            taints={"addOrUpdateTaints": [{"key": "daytwo.aws/frozen", "value": "true", "effect": "NO_SCHEDULE"}]},
            scalingConfig={"minSize": 1, "maxSize": 2, "desiredSize": 2},
        )
    account.aws.advance(seconds=60)


WAITS = {"wait_timeout": 5, "wait_delay": 1}
BINDINGS = [
    {"role": "app", "cluster": "blue", "namespace": "shop", "service_accounts": ["app"]},
    {"role": "api", "cluster": "green", "namespace": "shop", "service_accounts": ["api"]},
    {"role": "new", "cluster": "blue", "namespace": "shop", "service_accounts": ["new"]},
]
IRSA = {
    "bindings": BINDINGS,
    "create_role": True,
    "create_provider": True,
    "managed_policies": ["arn:aws:iam::123456789012:policy/read"],
    "recheck_delay": 0.1,
}
ROLE_DENIED = (
    "User: arn:aws:sts::123456789012:assumed-role/app/x is not authorized to perform: s3:GetObject on resource: "
    "arn:aws:s3:::b/k because no identity-based policy allows the s3:GetObject action"
)
SYSCTLS: dict[str, Any] = {"cluster": CLUSTER, "name": "workers", **WAITS}
CLONE: dict[str, Any] = {**SYSCTLS, "clone_from": "old", "sysctls": ["net.core.somaxconn"]}
AUTOSTOP = {"regions": [REGION, OTHER]}

SCENARIOS = [
    Scenario(
        "aurora_autostop",
        "aurora_autostop",
        {**AUTOSTOP, "migrate_tags": True},
        prepare_databases,
        read_databases,
        "clusters",
    ),
    Scenario("aurora_autostop_info", "aurora_autostop_info", AUTOSTOP, prepare_databases, read_databases, "clusters"),
    Scenario("aurora_autostop_guard_info", "aurora_autostop_guard_info", AUTOSTOP, prepare_guard, read_guard),
    Scenario("aurora_autostop_trigger", "aurora_autostop_trigger", {}, prepare_guard, read_guard, "parts"),
    Scenario(
        "eks_nodegroup_freeze",
        "eks_nodegroup_freeze",
        {
            "cluster": CLUSTER,
            "names": ["old", "other"],
            **WAITS,
        },
        prepare_node_groups,
        read_node_groups,
        "groups",
    ),
    Scenario(
        "eks_nodegroup_freeze, thawed",
        "eks_nodegroup_freeze",
        {
            "cluster": CLUSTER,
            "names": ["old", "other"],
            "state": "thawed",
            **WAITS,
        },
        then(prepare_node_groups, freeze_both),
        read_node_groups,
        "groups",
    ),
    Scenario("eks_sysctl_nodegroup", "eks_sysctl_nodegroup", CLONE, prepare_node_groups, read_node_groups),
    Scenario(
        "eks_sysctl_info",
        "eks_sysctl_info",
        {"cluster": CLUSTER, "pods": False, "configz": False},
        prepare_node_groups,
        read_node_groups,
    ),
    Scenario("iam_irsa_namespace", "iam_irsa_namespace", IRSA, prepare_roles, read_roles, "bindings"),
    Scenario(
        "iam_irsa_namespace, absent",
        "iam_irsa_namespace",
        {
            "bindings": [
                {"role": role, "cluster": "blue", "namespace": "shop", "service_accounts": [name], "state": "absent"}
                for role, name in (("app", "old"), ("api", "other"))
            ],
            "allow_empty": True,
            "recheck_delay": 0.1,
        },
        prepare_roles,
        read_roles,
        "bindings",
    ),
    Scenario("iam_irsa_info", "iam_irsa_info", {"cluster": "blue"}, prepare_roles, read_roles),
    Scenario(
        "iam_access_denied_info",
        "iam_access_denied_info",
        {
            "error_message": ROLE_DENIED,
            "role": "app",
            "cluster": "blue",
            "namespace": "shop",
            "service_account": "app",
        },
        prepare_roles,
        read_roles,
    ),
    Scenario(
        "eks_irsa_binding_info",
        "eks_irsa_binding_info",
        {
            "cluster": "blue",
            "bindings": [{"role": "app", "namespace": "shop", "service_accounts": ["app"]}],
        },
        prepare_roles,
        read_nothing,
        fails=True,
    ),
    Scenario(
        "eks_image_pull_info", "eks_image_pull_info", {"cluster": "blue"}, prepare_roles, read_nothing, fails=True
    ),
    Scenario(
        "eks_node_drain",
        "eks_node_drain",
        {"cluster": "blue", "nodes": ["n1"], "timeout": 1},
        prepare_roles,
        read_nothing,
        fails=True,
    ),
    Scenario(
        "eks_pod_fit_info",
        "eks_pod_fit_info",
        {"cluster": "blue", "name": "workers", "node_groups": ["old"]},
        prepare_roles,
        read_nothing,
        fails=True,
    ),
    Scenario(
        "eks_sysctl_proof",
        "eks_sysctl_proof",
        {"cluster": "blue", "nodes": ["n1"], "sysctls": {"net.core.somaxconn": "1024"}, "timeout": 1},
        prepare_roles,
        read_nothing,
        fails=True,
    ),
]


class Worker:
    """The process in which modules run. Each run is a fork of it."""

    def __init__(self) -> None:
        modules = sorted({scenario.module for scenario in SCENARIOS})
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def run(self, scenario: Scenario, env: Mapping[str, str]) -> dict[str, Any]:
        args = {"region": REGION, **scenario.args} if "regions" not in scenario.args else scenario.args
        job = {"module": scenario.module, "args": dict(args), "env": dict(env)}
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self._read()))

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(120)


class AccountCopies(OwnAws):
    """The account of a scenario, prepared once, and a copy of it for each run. What is behind both addresses changes:
    C(backend), which is plain, and C(endpoint), where one call of a run fails."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], Any] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / "server.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout
        self.first_port = int(self.process.stdout.readline())
        self.copies: list[int] = []
        self.rules = Rules()
        self.gate = FaultGate((HOST, self.first_port))
        self.plain = OwnGate(self.rules, (HOST, self.first_port))
        self.backend, self.endpoint = (self._serve(gate) for gate in (self.plain, self.gate))

    def _serve(self, gate: OwnGate) -> str:
        proxy = Proxy((HOST, 0), gate)
        threading.Thread(target=proxy.serve, daemon=True).start()
        return f"http://{HOST}:{proxy.listener.getsockname()[1]}"

    def switch(self, port: int) -> None:
        """From now on, both addresses lead there."""
        self.plain.backend = self.gate.backend = (HOST, port)

    def copy(self, port: int) -> int:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/fork", headers={"Content-Length": "0"})
            made = json.loads(connection.getresponse().read())
        self.copies.append(int(made["pid"]))
        return int(made["port"])

    def end_copies(self, keep: int = 0) -> None:
        for pid in self.copies[keep:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        del self.copies[keep:]

    def reset(self) -> None:
        """A copy of the empty account is empty already."""

    def close(self) -> None:
        self.end_copies()
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="session")
def aws() -> Iterator[AccountCopies]:
    started = AccountCopies()
    yield started
    started.close()


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    started = Worker()
    yield started
    started.close()
