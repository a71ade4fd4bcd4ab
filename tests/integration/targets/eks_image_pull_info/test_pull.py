# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pulls diagnosed against an account of the test's own: what is broken there is the cause, and calls are counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from integration.targets.aurora_autostop.kit import TaskResult
from integration.targets.eks_image_pull_info.kit import (
    IMAGE,
    PULL_ONLY,
    REGION,
    REGISTRY,
    Account,
    Kubernetes,
    document,
    make_event,
    make_node,
    make_secret,
    pull_failure,
)
from testbed.own_aws import OwnAws

POLICY = Path(__file__).parents[4] / "docs/iam/eks_image_pull_info.json"
TIMEOUT = (
    f'failed to do request: Head "https://{REGISTRY}/v2/shop/app/manifests/v1": dial tcp 10.0.2.4:443: i/o timeout'
)


@pytest.fixture
def account(aws: OwnAws, tmp_path: Path) -> Account:
    return Account(aws, tmp_path)


def plan(account: Account, instance: str, image: str = IMAGE, **more: Any) -> dict[str, Any]:
    task = account.diagnose(pulls=[{"image": image, "node": instance}], **more)
    assert not task.failed, task.message
    assert not task.changed
    (pull,) = task.result["pulls"]
    return dict(pull)


def test_a_private_network_that_works_and_what_breaks_it(account: Account) -> None:
    (instance,) = account.start_nodes()
    whole = plan(account, instance)
    assert (whole["status"], whole["cause"]) == ("ok", None), whole["reason"]
    assert len(whole["checks"]) > 15
    # Each fault is made in EC2, and undone.
    ec2 = account.ec2
    ec2.modify_vpc_attribute(VpcId=account.vpc, EnableDnsHostnames={"Value": False})
    off = plan(account, instance)
    assert (off["cause"]["target"], off["cause"]["check"]) == ("ecr.api", "endpoint")
    assert "enableDnsHostnames" in off["cause"]["reason"]
    ec2.modify_vpc_attribute(VpcId=account.vpc, EnableDnsHostnames={"Value": True})
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": account.node_group}]}
    ec2.revoke_security_group_ingress(GroupId=account.endpoint_group, IpPermissions=[rule])
    closed = plan(account, instance)
    assert closed["cause"]["check"] == "endpoint_security_group"
    assert account.endpoints["ecr.api"] in closed["cause"]["evidence"]
    account.allow_in(account.endpoint_group, account.node_group)
    acl = ec2.describe_network_acls(Filters=[{"Name": "vpc-id", "Values": [account.vpc]}])["NetworkAcls"][0]
    deny = {"NetworkAclId": acl["NetworkAclId"], "RuleNumber": 50, "Egress": True}
    ec2.create_network_acl_entry(**deny, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0",
                                 PortRange={"From": 443, "To": 443})  # fmt: skip
    assert plan(account, instance)["cause"]["check"] == "network_acl"
    ec2.delete_network_acl_entry(**deny)
    account.aws.client("iam").delete_role_policy(RoleName="nodes", PolicyName="pull")
    assert plan(account, instance)["cause"]["check"] == "node_role"
    account.aws.client("iam").put_role_policy(
        RoleName="nodes", PolicyName="pull", PolicyDocument=document(PULL_ONLY, "*")
    )
    # moto has no pull-through rules, so whether a cache would have the image is unknown.
    for image, check in ((f"{REGISTRY}/shop/app:v2", "image"), (f"{REGISTRY}/shop/other:v1", "repository")):
        missing = plan(account, instance, image)
        assert [found["check"] for found in missing["unknown"]] == [check]
        assert "does not exist; whether a pull-through cache has it" in missing["unknown"][0]["reason"]
    assert plan(account, instance)["status"] == "ok"


def test_endpoints_that_are_missing_or_limited(account: Account) -> None:
    (instance,) = account.start_nodes()
    account.ec2.modify_vpc_endpoint(
        VpcEndpointId=account.endpoints["s3"],
        PolicyDocument=document(["s3:GetObject"], "arn:aws:s3:::own/*", Principal="*"),
    )
    limited = plan(account, instance)
    assert (limited["cause"]["target"], limited["cause"]["check"]) == ("s3", "endpoint_policy")
    assert f"prod-{REGION}-starport-layer-bucket" in limited["cause"]["remediation"]
    account.ec2.delete_vpc_endpoints(VpcEndpointIds=[account.endpoints["ecr.dkr"]])
    missing = plan(account, instance)
    assert (missing["cause"]["target"], missing["cause"]["check"]) == ("ecr.dkr", "endpoint")
    assert [check["target"] for check in missing["also_wrong"]] == ["s3"]


def test_a_registry_on_the_internet_by_nat(account: Account) -> None:
    (instance,) = account.start_nodes()
    closed = plan(account, instance, "busybox")
    assert closed["cause"]["check"] == "route"
    nat = account.add_nat()
    account.aws.deny("ec2:DescribeVpcBlockPublicAccessOptions")
    opened = plan(account, instance, "busybox")
    # Everything is right but for what may not be read, and that names the permission.
    assert [check["check"] for check in opened["unknown"]] == ["block_public_access"]
    assert "Allow ec2:DescribeVpcBlockPublicAccessOptions" in opened["unknown"][0]["reason"]
    assert opened["cause"] is None
    account.ec2.delete_nat_gateway(NatGatewayId=nat)
    assert plan(account, instance, "busybox")["cause"]["check"] == "gateway"


def run_cluster(account: Account, kubernetes: Kubernetes, **more: Any) -> TaskResult:
    task = account.diagnose(kubeconfig=str(kubernetes.kubeconfig), **more)
    assert not task.failed, task.message
    return task


def test_pods_with_their_events_and_secrets(account: Account, kubernetes: Kubernetes) -> None:
    (instance,) = account.start_nodes()
    kubernetes.objects["nodes"] = [make_node("n1", instance)]
    empty = run_cluster(account, kubernetes)
    assert empty.result["lines"] == ["No pod waits for an image."]
    assert empty.result["pulls"] == []
    private = "registry.example/team/app:1"
    kubernetes.objects["pods"] = [
        pull_failure("n1"),
        pull_failure("n1", "app-2", private, imagePullSecrets=[{"name": "regcred"}]),
    ]
    kubernetes.objects["events"] = [
        make_event("app-1", TIMEOUT),
        make_event("app-2", "401 Unauthorized", "2026-11-30T11:00:00Z"),
    ]
    kubernetes.objects["secrets"] = [make_secret("regcred", "other.example")]
    account.add_nat()
    account.ec2.delete_vpc_endpoints(VpcEndpointIds=[account.endpoints["s3"]])
    task = run_cluster(account, kubernetes, pull_secrets=True)
    first, second = task.result["pulls"]
    assert first["name"] == "shop/app-1: app"
    assert (first["message"]["class"], first["message"]["address"]) == ("timeout", "10.0.2.4")
    assert second["cause"]["check"] == "pull_secret"
    assert "other.example, not registry.example" in second["cause"]["reason"]
    assert "hunter2" not in json.dumps(task.result)
    assert "dTpodW50ZXIy" not in json.dumps(task.result)
    assert any(line.startswith("wrong: shop/app-2: app: ") for line in task.result["lines"])
    assert task.result["totals"]["wrong"] >= 1
    # Without the option, nothing is read; without the permission, it is unknown.
    kubernetes.requests.clear()
    without = run_cluster(account, kubernetes).result["pulls"][1]
    assert [check["check"] for check in without["unknown"] if check["target"] == "registry"][-1] == "pull_secret"
    assert not any("secrets" in path for path in kubernetes.requests)
    kubernetes.denied = {"secrets", "events"}
    denied = run_cluster(account, kubernetes, pull_secrets=True)
    assert any("secrets is forbidden" in text for text in denied.result["not_checked"])
    assert any("events is forbidden" in text for text in denied.result["not_checked"])
    kubernetes.denied = {"pods"}
    failed = account.diagnose(kubeconfig=str(kubernetes.kubeconfig))
    assert failed.failed
    assert "pods is forbidden" in failed.message


def test_calls_are_bounded_by_pages(account: Account, kubernetes: Kubernetes) -> None:
    instances = account.start_nodes(50)
    kubernetes.objects["nodes"] = [make_node(f"n{number}", instance) for number, instance in enumerate(instances)]

    def count(pods: int) -> Counter[str]:
        kubernetes.objects["pods"] = [pull_failure(f"n{number % 50}", f"app-{number}") for number in range(pods)]
        kubernetes.objects["events"] = [make_event(f"app-{number}", TIMEOUT) for number in range(pods)]
        kubernetes.requests.clear()
        account.aws.forget()
        task = run_cluster(account, kubernetes)
        assert len(task.result["pulls"]) == pods
        assert {pull["instance_id"] for pull in task.result["pulls"]} <= set(instances)
        assert len(task.result["lines"]) <= 5
        return account.counted()

    few, many = count(1), count(300)
    assert many == few
    assert sum(many.values()) == 23  # as docs/image_pull.md has it
    assert max(many.values()) <= 2
    assert len(kubernetes.requests) == 3
    # More than a page of pods is one call more.
    count(501)
    assert Counter(path.partition("?")[0] for path in kubernetes.requests) == {
        "/api/v1/pods": 2,
        "/api/v1/events": 2,
        "/api/v1/nodes": 1,
    }
    assert account.writes() == []


ACTIONS = sorted(
    {action for statement in json.loads(POLICY.read_text())["Statement"] for action in statement["Action"]}
    - {"eks:DescribeCluster"}
)


def diagnose_denied(account: Account, instance: str, *actions: str) -> tuple[set[str], str]:
    """The statuses of two pulls, by endpoints and by NAT, and what is unknown about them."""
    account.aws.deny(*actions)
    task = account.diagnose(pulls=[{"image": image, "node": instance} for image in (IMAGE, "busybox")])
    assert not task.failed, (actions, task.message)
    assert [pull["cause"] for pull in task.result["pulls"]] == [None, None], actions
    unknown = [check["reason"] for pull in task.result["pulls"] for check in pull["unknown"]]
    return {pull["status"] for pull in task.result["pulls"]}, " ".join((*unknown, *task.result["not_checked"]))


def test_without_any_permission_everything_is_unknown(account: Account) -> None:
    (instance,) = account.start_nodes()
    statuses, unknown = diagnose_denied(account, instance, *ACTIONS)
    assert statuses == {"unknown"}
    assert "Allow ec2:DescribeInstances to these credentials" in unknown


@pytest.mark.full
def test_every_denied_call_is_unknown_and_named(account: Account) -> None:
    (instance,) = account.start_nodes()
    account.add_nat()
    for action in ACTIONS:
        statuses, unknown = diagnose_denied(account, instance, action)
        if action not in UNUSED:
            assert "unknown" in statuses, action
            assert action in unknown, action


# Not called for a network and an image like these.
UNUSED = {
    "ec2:DescribeEgressOnlyInternetGateways",
    "ec2:DescribeVpcBlockPublicAccessExclusions",
    "ecr:DescribePullThroughCacheRules",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
}


def test_the_documented_permissions_are_those_that_are_used(account: Account, kubernetes: Kubernetes) -> None:
    statements = json.loads(POLICY.read_text())["Statement"]
    allowed = {action for statement in statements for action in statement["Action"]}
    (instance,) = account.start_nodes()
    account.add_nat()
    policy = account.aws.client("iam").create_policy(PolicyName="more", PolicyDocument=document(["ecr:*"]))
    account.aws.client("iam").attach_role_policy(RoleName="nodes", PolicyArn=policy["Policy"]["Arn"])
    account.aws.forget()
    for image in (IMAGE, f"{REGISTRY}/shop/other:v1", "busybox"):
        plan(account, instance, image)
    used = {call.action for call in account.aws.calls()} - {"sts:GetCallerIdentity"}
    assert used <= allowed
    # Those of a cluster by its name, and of gateways and settings that this network does not have.
    assert allowed - used == {
        "eks:DescribeCluster",
        "ec2:DescribeEgressOnlyInternetGateways",
        "ec2:DescribeVpcBlockPublicAccessExclusions",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pulls": [{"image": "a"}]}, "one of the following is required: node, subnet"),
        ({"pulls": [{"image": "a", "node": "n", "subnet": "subnet-1"}]}, "mutually exclusive"),
        ({"pulls": [{"image": "a", "subnet": "vpc-1"}]}, "subnet 'vpc-1' is no id of a subnet"),
        ({"pulls": [{"image": "a", "subnet": "subnet-1", "role": "nodes"}]}, "role 'nodes' is no ARN of a role"),
        ({"pulls": [{"image": "", "subnet": "subnet-1"}]}, "image is empty"),
        ({"pulls": [], "namespaces": ["shop"]}, "with pulls no pod is read"),
    ],
)
def test_bad_options_are_refused(account: Account, options: dict[str, Any], message: str) -> None:
    task = account.diagnose(**options)
    assert task.failed
    assert message in task.message


def test_a_plan_for_a_subnet_needs_no_cluster(account: Account) -> None:
    where = {"subnet": account.nodes_subnet, "security_groups": [account.node_group], "role": account.role_arn}
    task = account.diagnose(pulls=[{"image": IMAGE, **where}, {"image": IMAGE, "subnet": account.endpoint_subnet}])
    assert not task.failed, task.message
    whole, bare = task.result["pulls"]
    assert whole["status"] == "ok", whole["reason"]
    assert bare["cause"]["target"] == "s3"
    assert task.result["totals"] == {"ok": 1, "wrong": 1, "unknown": 0}
