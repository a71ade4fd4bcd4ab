# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bed's live EKS cluster for tests and people: created, described and deleted by EKS's own API."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import audit, control_plane, paths
from .aws.control import send_command
from .node import ENV, BedError

NAME = "testbed"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Cluster:
    def __init__(self, env: Callable[[], dict[str, str]]) -> None:
        self.env = env
        self._clients: dict[tuple[str, str], Any] = {}

    @property
    def live(self) -> control_plane.Live | None:
        return control_plane.live()

    @property
    def _found(self) -> control_plane.Live:
        if (found := control_plane.live()) is None:
            raise BedError(
                "no cluster runs. Start it with `make testbed-up CLUSTER=1` (python -m testbed up --cluster)"
            )
        return found

    @property
    def name(self) -> str:
        return self._found.name

    @property
    def endpoint(self) -> str:
        return self._found.endpoint

    @property
    def ca(self) -> str:
        return self._found.ca

    @property
    def issuer(self) -> str:
        return self._found.issuer

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig with a client certificate, for checks by tests. Users have tokens."""
        return self._found.kubeconfig

    @property
    def api(self) -> control_plane.Api:
        return self._found.api

    def requests(self, user: str) -> list[audit.Request]:
        """The requests of this user in the API server's audit log. Administrators with a certificate are not in it."""
        return audit.read(self._found.audit_log, user)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator."""
        argv = [str(control_plane.BIN / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        result = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=ENV, timeout=120)
        if check and result.returncode:
            raise BedError(f"kubectl {' '.join(arguments)} ended with {result.returncode}: {result.stderr}")
        return result

    def client(self, service: str) -> Any:
        """A boto3 client of the bed's own user."""
        import boto3

        env = self.env()
        key = (service, env["AWS_ACCESS_KEY_ID"])  # each `down` changes it
        if key not in self._clients:
            self._clients[key] = boto3.client(
                service,
                region_name=paths.REGION,
                endpoint_url=env["AWS_ENDPOINT_URL"],
                aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            )
        return self._clients[key]

    def active(self) -> bool:
        """Whether a cluster runs and EKS shows it as ACTIVE."""
        found = self.live
        eks = self.client("eks")
        return bool(
            found
            and found.name in eks.list_clusters()["clusters"]
            and eks.describe_cluster(name=found.name)["cluster"]["status"] == "ACTIVE"
        )

    def ensure(self) -> bool:
        """Create the cluster unless it exists. Returns whether it had to be created."""
        if self.active():
            return False
        if not (control_plane.BIN / "kubelet").exists():
            raise BedError("this bed has no programs for a cluster. Build them with `python -m testbed up --cluster`")
        if NAME in self.client("eks").list_clusters()["clusters"]:
            # The cluster is broken or has lost its control plane, so EKS's own calls cannot delete its node groups.
            send_command(self.env()["AWS_ENDPOINT_URL"], "eks/forget", region=paths.REGION, name=NAME)
        self.create()
        return True

    def create(self, name: str = NAME, seconds: float = 120, **more: Any) -> dict[str, Any]:
        """Create the cluster by CreateCluster, and wait until it is ACTIVE. Missing roles and subnets are created."""
        eks = self.client("eks")
        request = {
            "name": name,
            "roleArn": self.role(f"{name}-cluster"),
            "resourcesVpcConfig": {"subnetIds": self.subnets()},
            "accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"},
        }
        eks.create_cluster(**{**request, **more})
        return self.wait(name, seconds)

    def wait(self, name: str, seconds: float = 120) -> dict[str, Any]:
        eks = self.client("eks")
        end = time.monotonic() + seconds
        while True:
            cluster: dict[str, Any] = eks.describe_cluster(name=name)["cluster"]
            if cluster["status"] == "ACTIVE":
                return cluster
            if cluster["status"] != "CREATING" or time.monotonic() > end:
                raise BedError(f"cluster {name} is {cluster['status']}: {cluster.get('health')}")
            time.sleep(0.1)

    def delete(self, name: str = NAME, seconds: float = 60) -> None:
        """Delete the cluster by DeleteCluster, and wait until it is gone."""
        eks = self.client("eks")
        eks.delete_cluster(name=name)
        end = time.monotonic() + seconds
        while name in eks.list_clusters()["clusters"]:
            if time.monotonic() > end:
                raise BedError(f"cluster {name} is not deleted after {seconds:.0f} s")
            time.sleep(0.1)

    def role(self, name: str, service: str = "eks") -> str:
        """The ARN of a role that this service can assume."""
        iam = self.client("iam")
        trust = json.dumps(TRUST).replace("eks.amazonaws.com", f"{service}.amazonaws.com")
        try:
            return str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"])
        except iam.exceptions.EntityAlreadyExistsException:
            return str(iam.get_role(RoleName=name)["Role"]["Arn"])

    def subnets(self) -> list[str]:
        """Two subnets in two zones of a VPC with the addresses of the nodes."""
        ec2 = self.client("ec2")
        mine = [{"Name": "cidr-block", "Values": list(paths.SUBNETS.values())}]
        found = ec2.describe_subnets(Filters=mine)["Subnets"]
        if not found:
            vpc = ec2.create_vpc(CidrBlock=paths.NODES)["Vpc"]["VpcId"]
            ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
            for zone, block in paths.SUBNETS.items():
                made = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{paths.REGION}{zone}")
                found.append(made["Subnet"])
        return [subnet["SubnetId"] for subnet in found]
