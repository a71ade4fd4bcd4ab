# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of pods, events, nodes and secrets; registries and EC2's answers; the report."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._aws_call import ApiError
from ansible_collections.daytwo.aws.plugins.module_utils._drain.kube import KubeError
from ansible_collections.daytwo.aws.plugins.module_utils._pull import ec2, ecr, kubernetes, report
from ansible_collections.daytwo.aws.plugins.module_utils._pull.kubernetes import PodSelection
from ansible_collections.daytwo.aws.plugins.module_utils._pull.model import PullRequest
from ansible_collections.daytwo.aws.plugins.module_utils._pull.observe import PullObserver
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._pull import networks as net


class Api:
    """An API server with these lists by path."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = lists
        self.queries: list[dict[str, str]] = []
        self.configuration = self
        self.host = "https://cluster.example"
        self.rest_client = self.pool_manager = self

    def auth_settings(self) -> dict[str, Any]:
        return {}

    def request(self, method: str, url: str, **_more: Any) -> Any:
        parts = urlsplit(url)
        self.queries.append({key: values[0] for key, values in parse_qs(parts.query).items()})
        name = parts.path.rpartition("/")[2]
        found = self.lists.get(name)
        if name == "secrets" and found is not None:
            found = [entry for entry in found if f"type={entry['type']}" == self.queries[-1]["fieldSelector"]]
        body = {"kind": "List", "items": found} if found is not None else {"message": f"{name} is forbidden"}
        return type("Response", (), {"status": 200 if found is not None else 403, "data": json.dumps(body).encode(),
                                     "reason": "", "headers": {}})()  # fmt: skip


def make_pod(state: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "app-1", "uid": "u1"},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "a:1"}], **spec},
        "status": {"containerStatuses": [{"name": "app", "state": state}]},
    }


def make_event(message: str, time: str, field: str = "spec.containers{app}", uid: str = "u1") -> dict[str, Any]:
    return {"involvedObject": {"uid": uid, "fieldPath": field}, "message": message, "lastTimestamp": time}


WAITING = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}


def test_the_messages_of_a_container_are_those_of_its_own_events_the_newest_first() -> None:
    events = [
        make_event("old", "2026-11-30T10:00:00Z"),
        make_event("new", "2026-11-30T11:00:00Z"),
        make_event("of another container", "2026-11-30T12:00:00Z", "spec.containers{side}"),
        make_event("of another pod", "2026-11-30T12:00:00Z", uid="u2"),
        {"involvedObject": {"uid": "u1"}, "note": "of the pod", "eventTime": "2026-11-30T09:00:00Z"},
    ]
    (request,) = kubernetes.list_pull_requests([make_pod(WAITING, imagePullSecrets=[{"name": "s"}])], events, False)
    assert request.messages == ("Back-off", "new", "old", "of the pod", "Error: ImagePullBackOff")
    assert (request.name, request.secrets, request.waiting_reason) == ("shop/app-1: app", ("s",), "ImagePullBackOff")


@pytest.mark.parametrize(
    ("pod", "all_pods", "count"),
    [
        (make_pod(WAITING), False, 1),
        (make_pod({"running": {}}), False, 0),
        (make_pod({"running": {}}), True, 1),
        (make_pod({"waiting": {"reason": "CrashLoopBackOff"}}), False, 0),
        (make_pod({"waiting": {"reason": "InvalidImageName"}}), False, 1),
        (make_pod(WAITING, nodeName=""), True, 0),
        (make_pod(WAITING, initContainers=[{"name": "init", "image": "b"}]), True, 2),
        ({"metadata": {"name": "bare"}}, True, 0),
    ],
)
def test_which_pods_are_diagnosed(pod: dict[str, Any], all_pods: bool, count: int) -> None:
    assert len(kubernetes.list_pull_requests([pod], [], all_pods)) == count


def test_nodes() -> None:
    pressure = {"conditions": [{"type": "DiskPressure", "status": "True"}], "nodeInfo": {"architecture": "arm64"}}
    items = [
        {"metadata": {"name": "n1"}, "spec": {"providerID": "aws:///eu-central-1a/i-1"}, "status": pressure},
        {"metadata": {"name": "f1"}, "spec": {"providerID": "aws:///eu-central-1a/x/fargate-ip-10-0-1-5"}},
        {"metadata": {"name": "h1"}},
    ]
    nodes = kubernetes.list_nodes(Api(nodes=items))
    assert [nodes[name].instance_id for name in ("n1", "f1", "h1")] == ["i-1", "", ""]
    assert (nodes["n1"].disk_pressure, nodes["n1"].architecture, nodes["h1"].disk_pressure) == (True, "arm64", False)


def make_secret(name: str, document: Any, key: str = ".dockerconfigjson", kind: str = "dockerconfigjson") -> Any:
    data = document if isinstance(document, str) else base64.b64encode(json.dumps(document).encode()).decode()
    return {"metadata": {"name": name}, "type": f"kubernetes.io/{kind}", "data": {key: data}}


def test_of_a_secret_only_the_hosts_are_kept() -> None:
    login = {"username": "u", "password": "hunter2", "auth": "dTpodW50ZXIy"}
    secrets = [
        make_secret("json", {"auths": {"registry.example": login, "other.example": login}}),
        make_secret("legacy", {"legacy.example": login}, ".dockercfg", "dockercfg"),
        make_secret("empty", {"auths": {}}),
        make_secret("no base64", "%%%"),
        make_secret("no json", base64.b64encode(b"x").decode()),
        make_secret("a list", {"auths": ["registry.example"]}),
        make_secret("no auths", {}),
        make_secret("deep", base64.b64encode(b"[" * 100_000).decode()),
        make_secret("no data", {}, "other"),
        make_secret("opaque", {"auths": {"registry.example": login}}, kind="other"),
    ]
    api = Api(secrets=secrets)
    found = {secret.name: secret.hosts for secret in kubernetes.list_pull_secrets(api, ["shop", "shop"])["shop"]}
    assert found == {
        "json": ("registry.example", "other.example"),
        "legacy": ("legacy.example",),
        "empty": (),
        **dict.fromkeys(("no base64", "no json", "a list", "no auths", "deep", "no data")),
    }
    assert "hunter2" not in repr(found)
    assert len(api.queries) == 2


# --- What is denied.


def refuse(service: str, region: str | None) -> Any:
    raise ApiError(service, "Call", "UnauthorizedOperation", "denied", action=f"{service}:Call")


class Refusing:
    """A client whose every call is refused."""

    def __init__(self, code: str = "UnauthorizedOperation") -> None:
        self.code = code

    def __getattr__(self, name: str) -> Any:
        def call(**_arguments: Any) -> Any:
            raise_refusal(name, self.code)

        return call


def raise_refusal(name: str, code: str) -> None:
    raise ApiError("aws", name, code, "no", action=f"aws:{name}")


REQUESTS = [PullRequest(net.IMAGE, "shop", "app-1", "app", "n1"), PullRequest(net.IMAGE, subnet_id="subnet-1")]


def test_denied_calls_become_parts_that_are_unknown() -> None:
    observer = PullObserver(lambda service, region: Refusing(), net.REGION, Api(pods=[]))
    snapshot = observer.read_snapshot(REQUESTS, reads_secrets=True)
    assert {"nodes", "subnets"} <= set(snapshot.unreadable)
    assert "Allow these credentials to list them" in snapshot.unreadable["nodes"]
    assert "Allow aws:describe_subnets to these credentials" in snapshot.unreadable["subnets"]
    assert "DescribeRepositories" not in repr(snapshot.registries[net.ACCOUNT, net.REGION].repositories)
    assert "repositories" in snapshot.registries[net.ACCOUNT, net.REGION].unreadable


def test_credentials_that_aws_does_not_accept_and_pods_that_cannot_be_listed_are_errors() -> None:
    observer = PullObserver(lambda service, region: Refusing("ExpiredToken"), net.REGION, Api(nodes=[]))
    with pytest.raises(ApiError):
        observer.read_snapshot(REQUESTS[1:], reads_secrets=False)
    with pytest.raises(KubeError, match="pods is forbidden"):
        observer.list_requests(PodSelection())
    assert PullObserver(refuse, net.REGION, Api(pods=[])).list_requests(PodSelection()) == []


# --- Registries.


class Ecr:
    """A registry with these images. DescribeImages refuses the whole call where one is missing."""

    def __init__(self, **images: str) -> None:
        self.images = images
        self.calls: list[str] = []

    def describe_repositories(self, **_arguments: Any) -> Any:
        self.calls.append("DescribeRepositories")
        return {"repositories": [{"repositoryName": "shop/app"}]}

    def get_repository_policy(self, **_arguments: Any) -> Any:
        raise ApiError("ecr", "GetRepositoryPolicy", "RepositoryPolicyNotFoundException", "none")

    def get_registry_policy(self, **_arguments: Any) -> Any:
        return {"policyText": "not json"}

    def describe_images(self, repositoryName: str, imageIds: list[dict[str, str]]) -> Any:  # noqa: N803
        self.calls.append("DescribeImages")
        tags = [image["imageTag"] for image in imageIds]
        if set(tags) - set(self.images):
            raise ApiError("ecr", "DescribeImages", "ImageNotFoundException", "missing")
        return {"imageDetails": [{"imageTags": [tag], "imageStatus": self.images[tag]} for tag in tags]}

    def describe_pull_through_cache_rules(self, **_arguments: Any) -> Any:
        self.calls.append("DescribePullThroughCacheRules")
        return {"pullThroughCacheRules": [{"ecrRepositoryPrefix": "hub", "credentialArn": "arn:aws:x"}]}


def test_images_are_described_together_and_halved_where_some_are_missing() -> None:
    client = Ecr(**{f"v{number}": "ACTIVE" for number in range(150)})
    registry = ecr.read_registry(client, net.ACCOUNT, net.REGION, {"shop/app": set(client.images)}, True)
    assert client.calls == ["DescribeRepositories", "DescribeImages", "DescribeImages"]
    assert (registry.policy, registry.rules) == ({}, ())
    client = Ecr(v1="ARCHIVED", v2="ACTIVE")
    registry = ecr.read_registry(
        client, net.ACCOUNT, net.REGION, {"shop/app": {"v1", "v2", "v3"}, "hub/x": {"1"}}, True
    )
    assert registry.repositories["shop/app"].images == {"v1": "ARCHIVED", "v2": "ACTIVE", "v3": None}
    assert [(rule.prefix, rule.has_credentials) for rule in registry.rules] == [("hub", True)]


# --- EC2's answers.


class Ec2:
    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.arguments: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.arguments.append(arguments)
            return self.answers[name]

        return call


def test_the_primary_interface_and_its_primary_address_are_used() -> None:
    def address(ip: str, primary: bool, public: str = "") -> dict[str, Any]:
        association = {"Association": {"PublicIp": public}} if public else {}
        return {"PrivateIpAddress": ip, "Primary": primary, **association}

    second = {"NetworkInterfaceId": "eni-2", "Attachment": {"DeviceIndex": 1}, "SubnetId": "subnet-pods"}
    first = {
        "NetworkInterfaceId": "eni-1",
        "Attachment": {"DeviceIndex": 0},
        "SubnetId": "subnet-node",
        "Groups": [{"GroupId": "sg-1"}],
        # An elastic IP of a pod's address is none of the node's.
        "PrivateIpAddresses": [address("10.0.1.9", False, "203.0.113.1"), address("10.0.1.5", True)],
        "Ipv6Addresses": [{"Ipv6Address": "2001:db8::5"}],
    }
    instance = {"InstanceId": "i-1", "VpcId": "vpc-1", "NetworkInterfaces": [second, first]}
    client = Ec2(describe_instances={"Reservations": [{"Instances": [instance]}]})
    found = ec2.list_instances(client, {f"i-{number}" for number in range(201)})["i-1"]
    assert (found.interface.id, found.interface.addresses, found.interface.public_ip) == ("eni-1", ("10.0.1.5",), "")
    assert (found.interface.subnet_id, found.ipv6_addresses) == ("subnet-node", ("2001:db8::5",))
    assert [len(call["Filters"][0]["Values"]) for call in client.arguments] == [200, 1]


def test_parts_of_networks() -> None:
    routes = [
        {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "blackhole"},
        {"DestinationPrefixListId": "pl-1", "GatewayId": "vpce-1"},
        {"DestinationIpv6CidrBlock": "::/0", "EgressOnlyInternetGatewayId": "eigw-1"},
        {"DestinationCidrBlock": "10.9.0.0/16", "TransitGatewayId": "tgw-1"},
        {"DestinationCidrBlock": "10.8.0.0/16", "NetworkInterfaceId": "eni-1", "InstanceId": "i-1"},
    ]
    table = {"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Associations": [{"Main": True}], "Routes": routes}
    (parsed,) = ec2.list_route_tables(Ec2(describe_route_tables={"RouteTables": [table]}), ["vpc-1"])
    assert [str(route) for route in parsed.routes] == [
        "0.0.0.0/0 to nat-1 (blackhole)",
        "pl-1 to vpce-1",
        "::/0 to eigw-1",
        "10.9.0.0/16 to tgw-1",
        "10.8.0.0/16 to eni-1",
    ]
    assert parsed.main
    options = {"VpcBlockPublicAccessOptions": {"InternetGatewayBlockMode": "block-ingress"}}
    exclusions = {
        "VpcBlockPublicAccessExclusions": [
            {"ResourceArn": "arn:aws:ec2:x:1:vpc/vpc-1", "State": "create-complete",
             "InternetGatewayExclusionMode": "allow-egress"},
            {"ResourceArn": "arn:aws:ec2:x:1:subnet/subnet-1", "State": "delete-complete"},
        ]
    }  # fmt: skip
    client = Ec2(
        describe_vpc_block_public_access_options=options, describe_vpc_block_public_access_exclusions=exclusions
    )
    access = ec2.get_public_access(client)
    assert (access.mode, access.exclusions) == ("block-ingress", {"vpc-1": "allow-egress"})
    endpoints = {"VpcEndpoints": [{"VpcEndpointId": "vpce-1", "State": "Available", "PolicyDocument": "nonsense"}]}
    (endpoint,) = ec2.list_endpoints(Ec2(describe_vpc_endpoints=endpoints), ["vpc-1"])
    assert endpoint.policy == {}
    assert ec2.list_subnets(Ec2(), "vpc-id", []) == {}


# --- The report.


def test_pulls_with_the_same_cause_share_a_line() -> None:
    broken = net.change_routes("rtb-node", drop="pl-s3")(net.make_snapshot(endpoints=True))
    requests = [replace(net.make_request(), pod=f"app-{number}") for number in range(300)]
    result = report.build_result(broken, [net.run(broken, request) for request in requests])
    assert result["totals"] == {"ok": 0, "wrong": 300, "unknown": 0}
    assert len(result["lines"]) == 3
    assert result["lines"][0].startswith("wrong: shop/app-0: app, shop/app-1: app")
    assert "and 290 more: The gateway endpoint vpce-s3 has no route in rtb-node" in result["lines"][0]
    assert result["lines"][1:] == ["  remediation: Associate vpce-s3 with rtb-node.", "  evidence: vpce-s3, rtb-node"]


def test_an_empty_result_and_a_pull_that_works_now() -> None:
    snapshot = net.make_snapshot(endpoints=True)
    assert report.build_result(snapshot, [])["lines"] == ["No pod waits for an image."]
    message = 'Back-off pulling image "x"'
    (entry,) = report.build_result(snapshot, [net.run(snapshot, net.make_request(net.IMAGE, message))])["pulls"]
    assert "The cause may have been fixed since" in entry["reason"]
    assert entry["message"]["class"] == "back_off"
    assert json.loads(json.dumps(entry)) == entry
