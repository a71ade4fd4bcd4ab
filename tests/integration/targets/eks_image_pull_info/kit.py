# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An AWS of the test's own with a private cluster's network, and an API server that serves pods, events and nodes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from integration.targets.aurora_autostop.kit import Account as Base
from integration.targets.aurora_autostop.kit import TaskResult
from testbed import paths
from testbed.own_aws import OwnAws

MODULE = "daytwo.aws.eks_image_pull_info"
REGION = paths.REGION
ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
IMAGE = f"{REGISTRY}/shop/app:v1"
PULL_ONLY = ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
AMI = "ami-12c6146b"


def document(actions: Sequence[str], resource: str = "*", **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Account(Base):
    """A VPC with a private subnet for nodes and one for endpoints, a node role and a repository."""

    def __init__(self, aws: OwnAws, folder: Path) -> None:
        super().__init__(aws, folder)
        self.ec2 = ec2 = aws.client("ec2")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        servers = {"Key": "domain-name-servers", "Values": ["AmazonProvidedDNS"]}
        options = ec2.create_dhcp_options(DhcpConfigurations=[servers])["DhcpOptions"]["DhcpOptionsId"]
        ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=self.vpc)
        self.nodes_subnet, self.endpoint_subnet, self.public_subnet = (
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
            for number in (1, 2, 9)
        )
        self.table = self.make_table(self.nodes_subnet)
        self.node_group = self.make_group("nodes")
        self.endpoint_group = self.make_group("endpoints")
        self.allow_in(self.endpoint_group, self.node_group)
        self.role_arn = self.make_role()
        self.endpoints = {name: self.make_endpoint(name) for name in ("ecr.api", "ecr.dkr")}
        self.endpoints["s3"] = ec2.create_vpc_endpoint(
            VpcId=self.vpc,
            VpcEndpointType="Gateway",
            ServiceName=f"com.amazonaws.{REGION}.s3",
            RouteTableIds=[self.table],
        )["VpcEndpoint"]["VpcEndpointId"]
        self.s3_list = next(
            entry["PrefixListId"]
            for entry in ec2.describe_prefix_lists()["PrefixLists"]
            if entry["PrefixListName"] == f"com.amazonaws.{REGION}.s3"
        )
        self.make_repository("shop/app", "v1")

    def make_table(self, subnet: str) -> str:
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        return str(table)

    def make_group(self, name: str) -> str:
        group = self.ec2.create_security_group(VpcId=self.vpc, GroupName=name, Description=name)
        return str(group["GroupId"])

    def allow_in(self, group: str, source: str) -> None:
        pair = [{"GroupId": source}]
        rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": pair}
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])

    def make_endpoint(self, name: str, **more: Any) -> str:
        response = self.ec2.create_vpc_endpoint(
            VpcId=self.vpc,
            VpcEndpointType="Interface",
            ServiceName=f"com.amazonaws.{REGION}.{name}",
            SubnetIds=[self.endpoint_subnet],
            SecurityGroupIds=[self.endpoint_group],
            **{"PrivateDnsEnabled": True, **more},
        )
        return str(response["VpcEndpoint"]["VpcEndpointId"])

    def make_role(self) -> str:
        iam = self.aws.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        iam.put_role_policy(RoleName="nodes", PolicyName="pull", PolicyDocument=document(PULL_ONLY))
        iam.create_instance_profile(InstanceProfileName="nodes")
        iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName="nodes")
        return str(role["Role"]["Arn"])

    def make_repository(self, name: str, *tags: str) -> None:
        ecr = self.aws.client("ecr")
        ecr.create_repository(repositoryName=name)
        for tag in tags:
            manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "name": tag}
            ecr.put_image(repositoryName=name, imageTag=tag, imageManifest=json.dumps(manifest))

    def start_nodes(self, count: int = 1) -> list[str]:
        """Start instances as nodes, and return their ids. moto gives the profile to the first of a call only."""
        ids = []
        for _number in range(count):
            response = self.ec2.run_instances(
                ImageId=AMI,
                MinCount=1,
                MaxCount=1,
                SubnetId=self.nodes_subnet,
                SecurityGroupIds=[self.node_group],
                IamInstanceProfile={"Name": "nodes"},
            )
            ids.append(str(response["Instances"][0]["InstanceId"]))
        return ids

    def add_nat(self) -> str:
        """Replace nothing: add a NAT gateway in a public subnet, and the default route to it."""
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        public = self.make_table(self.public_subnet)
        self.ec2.create_route(RouteTableId=public, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        address = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        nat = self.ec2.create_nat_gateway(SubnetId=self.public_subnet, AllocationId=address)["NatGateway"][
            "NatGatewayId"
        ]
        self.ec2.create_route(RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)
        return str(nat)

    def diagnose(self, _env: Mapping[str, str] | None = None, **options: Any) -> TaskResult:
        playbook = self.folder / f"pull-{self._runs}.yml"
        tasks = [{"name": "Diagnose", MODULE: options, "ignore_errors": True}]
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        (result,) = self.play(str(playbook), env=_env)
        return result


def pull_failure(node: str, name: str = "app-1", image: str = IMAGE, **more: Any) -> dict[str, Any]:
    """A pod that waits for its image."""
    waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
    return {
        "metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}"},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "default",
            "containers": [{"name": "app", "image": image, "imagePullPolicy": "IfNotPresent"}],
            **more,
        },
        "status": {"phase": "Pending", "containerStatuses": [{"name": "app", "state": {"waiting": waiting}}]},
    }


def make_event(pod: str, message: str, time: str = "2026-11-30T10:00:00Z") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": f"{pod}.1"},
        "involvedObject": {"kind": "Pod", "name": pod, "uid": f"uid-{pod}", "fieldPath": "spec.containers{app}"},
        "reason": "Failed",
        "message": message,
        "lastTimestamp": time,
    }


def make_node(name: str, instance: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"providerID": f"aws:///{REGION}a/{instance}"},
        "status": {"nodeInfo": {"architecture": "amd64"}, "conditions": []},
    }


def make_secret(name: str, *hosts: str) -> dict[str, Any]:
    auths = {host: {"username": "u", "password": "hunter2-secret", "auth": "dTpodW50ZXIy"} for host in hosts}
    data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return {
        "metadata": {"namespace": "shop", "name": name},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": data},
    }


class Kubernetes:
    """An API server with these objects, in pages. C(denied): resources that it refuses."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("pods", "events", "nodes", "secrets", "serviceaccounts")
        }
        self.denied: set[str] = set()
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = outer.respond(self.path)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.kubeconfig = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "users": [{"name": "u", "user": {}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def respond(self, path: str) -> tuple[int, dict[str, Any]]:
        url = urlsplit(path)
        self.requests.append(path)
        resource = url.path.rpartition("/")[2]
        if resource in self.denied or resource not in self.objects:
            return 403, {"kind": "Status", "message": f"{resource} is forbidden"}
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        found = self.objects[resource]
        selected = dict(part.split("=", 1) for part in query.get("fieldSelector", "").split(",") if part)
        if resource == "secrets":
            found = [entry for entry in found if entry["type"] == selected.get("type")]
        start, limit = int(query.get("continue", 0)), int(query["limit"])
        more = {"continue": str(start + limit)} if start + limit < len(found) else {}
        return 200, {"kind": "List", "items": found[start : start + limit], "metadata": more}


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Kubernetes]:
    made = Kubernetes(tmp_path)
    yield made
    made.server.shutdown()
